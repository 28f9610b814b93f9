//! One line of the log for every change: who changed what. No secret stands in it.

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
}

impl Entry {
    /// Writes what came of it; a change that was refused is none and leaves no line.
    pub(super) fn write<T>(&self, outcome: &Result<T, ChangeError>) {
        let by = if self.operator.has_token {
            "admin token"
        } else {
            "loopback"
        };
        let (action, account) = (self.action, self.account.as_str());
        let key = self.key.as_ref().map(KeyName::as_str);
        let token = self.token.as_ref().map(ToString::to_string);
        let peer = self.operator.peer;
        match outcome {
            Ok(_) => {
                tracing::info!(target: "audit", by, peer = ?peer, action, account, key, token, "changed");
            }
            Err(error @ (ChangeError::Store(_) | ChangeError::Broken)) => {
                tracing::error!(
                    target: "audit", by, peer = ?peer, action, account, key, token, %error,
                    "this change may or may not have been made"
                );
            }
            Err(ChangeError::Unknown(_) | ChangeError::Exists(_) | ChangeError::Configured(_)) => {}
        }
    }
}
