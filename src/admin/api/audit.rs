//! One line of the log for every change: who changed what. No secret stands in it.

use crate::queue::{Denied, JobId, QueueError};
use crate::token::ChangeError;
use crate::types::{AccountId, KeyName, Peer, TokenId};

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(in crate::admin) struct Operator {
    /// Where from.
    pub(in crate::admin) peer: Peer,
    /// Whether the admin token was shown, as opposed to none being needed.
    pub(in crate::admin) has_token: bool,
}

/// A change that is about to be made.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) operator: Operator,
    pub(super) action: &'static str,
    pub(super) account: AccountId,
    pub(super) key: Option<KeyName>,
    pub(super) token: Option<TokenId>,
    pub(super) job: Option<JobId>,
}

/// Why a change was not made, or may not have been.
pub(super) trait NoChange: std::error::Error {
    /// Whether it may have been made all the same.
    fn is_in_doubt(&self) -> bool;
}

impl NoChange for ChangeError {
    fn is_in_doubt(&self) -> bool {
        match self {
            Self::Store(_) | Self::Broken => true,
            Self::Unknown(_) | Self::Exists(_) | Self::Configured(_) => false,
        }
    }
}

impl NoChange for QueueError {
    fn is_in_doubt(&self) -> bool {
        true
    }
}

impl NoChange for Denied {
    fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Queue(_))
    }
}

impl Entry {
    /// Writes what came of it; a change that was refused is none and leaves no line.
    pub(super) fn write<T, E: NoChange>(&self, outcome: &Result<T, E>) {
        let by = if self.operator.has_token {
            "admin token"
        } else {
            "loopback"
        };
        let (action, account) = (self.action, self.account.as_str());
        let key = self.key.as_ref().map(KeyName::as_str);
        let token = self.token.as_ref().map(ToString::to_string);
        let job = self.job.as_ref().map(JobId::as_str);
        let peer = self.operator.peer;
        match outcome {
            Ok(_) => {
                tracing::info!(target: "audit", by, peer = ?peer, action, account, key, token, job, "changed");
            }
            Err(error) if error.is_in_doubt() => {
                tracing::error!(
                    target: "audit", by, peer = ?peer, action, account, key, token, job, %error,
                    "this change may or may not have been made"
                );
            }
            Err(_) => {}
        }
    }
}
