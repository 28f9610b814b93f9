//! The room in which accounts, keys and revocations outlast the process, as seen from outside.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use crate::types::{AccountId, KeyName, TokenId};

/// Keeps accounts, keys and revocations.
///
/// Wall times are since the Unix epoch and kept in whole milliseconds: the end of a secret is rounded down, that of a
/// revocation up.
pub trait KeyStore: Send + Sync + Debug {
    /// Gives all that is kept.
    ///
    /// # Errors
    /// The store can't be read, or a single piece of it can't be understood: then nothing is given.
    fn load(&self) -> BoxFuture<'_, Result<Kept, KeyStoreError>>;

    /// Makes one change, which outlasts a crash of process and machine once this returns `Ok`.
    ///
    /// A change is made whole or not at all. Dropping the future neither undoes nor tears it; whether it was made is
    /// then unknown. Changes that wait for each other are made in that order.
    ///
    /// # Errors
    /// The change can't be made, or, with [`KeyStoreError::Unavailable`], may or may not have been made.
    fn apply(&self, change: Change) -> BoxFuture<'_, Result<(), KeyStoreError>>;
}

/// A change of what is kept.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds an account, or replaces what is known of it; its keys stay.
    PutAccount {
        /// The account.
        id: AccountId,
        /// What people call it.
        name: Option<String>,
        /// Whether the upstream's account routes are open to it.
        management: bool,
    },
    /// Removes an account with its keys, if it is there. Its revocations stay.
    RemoveAccount(AccountId),
    /// Adds a key to an account that exists, or replaces it.
    PutKey {
        /// The account that the key belongs to.
        account: AccountId,
        /// The key's name, unique within the account.
        name: KeyName,
        /// One secret, or two while it rotates; their order is kept.
        secrets: Vec<KeptSecret>,
        /// Whether it is disabled: it proves nothing then.
        disabled: bool,
    },
    /// Removes a key, if it is there.
    RemoveKey {
        /// The account that the key belongs to.
        account: AccountId,
        /// The key's name.
        name: KeyName,
    },
    /// Revokes a token of an account, which need not exist. Of two revocations of one token the longer counts.
    Revoke {
        /// The account that the token speaks for.
        account: AccountId,
        /// The token.
        token: TokenId,
        /// From when on it may be forgotten; `None` means never.
        until: Option<Duration>,
    },
    /// Forgets the revocations that end before this time.
    Forget {
        /// The wall time, since the Unix epoch.
        before: Duration,
    },
}

/// A secret of a key.
#[derive(Debug, Clone)]
pub struct KeptSecret {
    /// The secret itself.
    pub secret: SecretString,
    /// When a secret that was rotated out stops to hold, since the Unix epoch; `None` means for good.
    pub until: Option<Duration>,
}

/// All that is kept, in no order that may be relied upon.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The accounts.
    pub accounts: Vec<KeptAccount>,
    /// The keys of all accounts. Every key's account is among the accounts.
    pub keys: Vec<KeptKey>,
    /// The revocations that were not forgotten.
    pub revoked: Vec<Revoked>,
}

impl Kept {
    /// Makes a change here as the store makes it; `false` if it concerns no account and no key.
    pub(super) fn change(&mut self, change: Change) -> bool {
        match change {
            Change::PutAccount { id, name, management } => {
                self.accounts.retain(|account| account.id != id);
                self.accounts.push(KeptAccount { id, name, management });
            }
            Change::RemoveAccount(id) => {
                self.accounts.retain(|account| account.id != id);
                self.keys.retain(|key| key.account != id);
            }
            Change::PutKey {
                account,
                name,
                secrets,
                disabled,
            } => {
                self.keys.retain(|key| key.account != account || key.name != name);
                self.keys.push(KeptKey {
                    account,
                    name,
                    secrets,
                    disabled,
                });
            }
            Change::RemoveKey { account, name } => {
                self.keys.retain(|key| key.account != account || key.name != name);
            }
            Change::Revoke { .. } | Change::Forget { .. } => return false,
        }
        true
    }
}

/// An account that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAccount {
    /// The account.
    pub id: AccountId,
    /// What people call it.
    pub name: Option<String>,
    /// Whether the upstream's account routes are open to it.
    pub management: bool,
}

/// A key that is kept.
#[derive(Debug, Clone)]
pub struct KeptKey {
    /// The account that the key belongs to.
    pub account: AccountId,
    /// The key's name.
    pub name: KeyName,
    /// One secret, or two while it rotates.
    pub secrets: Vec<KeptSecret>,
    /// Whether it is disabled: it proves nothing then.
    pub disabled: bool,
}

/// A token that was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The account that the token speaks for.
    pub account: AccountId,
    /// The token.
    pub token: TokenId,
    /// From when on it may be forgotten, since the Unix epoch; `None` means never.
    pub until: Option<Duration>,
}

/// Why the store did not do what was asked. No text of it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyStoreError {
    /// It can't be reached, written or read at the moment, or its disk is full.
    #[error("the key store is unavailable: {why}")]
    Unavailable {
        /// What the storage said.
        why: String,
    },
    /// What it holds is not what was put there.
    #[error("the key store is damaged: {what}")]
    Damaged {
        /// The piece that can't be understood.
        what: String,
    },
    /// A key was put into an account that does not exist.
    #[error("there is no such account")]
    UnknownAccount,
    /// A key was put with no secret, or with more than two.
    #[error("a key has one secret, or two while it rotates")]
    SecretCount,
}
