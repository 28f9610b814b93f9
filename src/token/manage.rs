//! Accounts and keys of the store, changed at run time by operators.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use super::keys::{Keys, Known};
use super::store::{Change, KeptAccount, KeptKey, KeptSecret, KeyStoreError};
use crate::config::Account;
use crate::types::{AccountId, KeyName};

/// What a key made here begins with, so that a scanner of leaked secrets can know it.
pub const SECRET_PREFIX: &str = "tgk_";

/// The randomness of a key made here, in bytes.
const SECRET_BYTES: usize = 32;

/// Why a change of accounts or keys is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no such account or key.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// There is one of this name.
    #[error("there is a {0} of this name")]
    Exists(&'static str),
    /// It stands in the settings.
    #[error("this {0} stands in the configuration file and is changed there")]
    Configured(&'static str),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// The system gives no random bytes, or the change broke off.
    #[error("the change could not be made")]
    Broken,
}

/// What becomes of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountEdit {
    /// What people call it from now on; `Some(None)` takes the name away.
    pub name: Option<Option<String>>,
    /// Whether the upstream's account routes are open to it from now on.
    pub management: Option<bool>,
}

/// An account, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountEntry {
    /// The account.
    pub account: KeptAccount,
    /// Whether it stands in the settings.
    pub configured: bool,
}

/// A key without its secrets, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// Its name.
    pub name: KeyName,
    /// Whether it is disabled: it proves nothing then.
    pub disabled: bool,
    /// How many secrets hold: two while it rotates.
    pub secrets: usize,
    /// Whether it stands in the settings.
    pub configured: bool,
}

impl Keys {
    /// The accounts, by their ids.
    pub fn accounts(&self) -> Vec<AccountEntry> {
        self.known().accounts()
    }

    /// The keys of an account, by their names; `None` if there is no such account.
    pub fn keys(&self, account: &AccountId) -> Option<Vec<KeyEntry>> {
        self.known().keys(account, self.now())
    }

    /// Adds an account to the store that is not there yet.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn add_account(self: &Arc<Self>, account: KeptAccount) -> Result<(), ChangeError> {
        self.change(move |known| {
            let KeptAccount { id, name, management } = account;
            known.free_account(&id)?;
            if known.kept_account(&id).is_ok() {
                return Err(ChangeError::Exists("account"));
            }
            Ok(vec![Change::PutAccount { id, name, management }])
        })
        .await
    }

    /// Changes an account of the store; what the edit does not name stays.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn change_account(
        self: &Arc<Self>,
        id: AccountId,
        edit: AccountEdit,
    ) -> Result<(), ChangeError> {
        self.change(move |known| {
            known.free_account(&id)?;
            let old = known.kept_account(&id)?;
            Ok(vec![Change::PutAccount {
                name: edit.name.unwrap_or_else(|| old.name.clone()),
                management: edit.management.unwrap_or(old.management),
                id,
            }])
        })
        .await
    }

    /// Removes an account from the store, with its keys; their tokens end at once.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn remove_account(self: &Arc<Self>, id: AccountId) -> Result<(), ChangeError> {
        self.change(move |known| {
            known.free_account(&id)?;
            known.kept_account(&id)?;
            Ok(vec![Change::RemoveAccount(id)])
        })
        .await
    }

    /// Makes a key of an account and gives its secret, which is shown this once.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn make_key(
        self: &Arc<Self>,
        account: AccountId,
        name: KeyName,
    ) -> Result<SecretString, ChangeError> {
        let secret = new_secret()?;
        let kept = vec![for_good(&secret)];
        self.change(move |known| {
            let entries = known
                .keys(&account, Duration::ZERO)
                .ok_or(ChangeError::Unknown("account"))?;
            if entries.iter().any(|entry| entry.name == name) {
                return Err(ChangeError::Exists("key"));
            }
            // An account of the settings gets its row with its first key.
            let row = known
                .kept_account(&account)
                .is_err()
                .then(|| known.configured_row(&account))
                .flatten();
            let key = Change::PutKey {
                account,
                name,
                secrets: kept,
                disabled: false,
            };
            Ok(row.into_iter().chain([key]).collect())
        })
        .await?;
        Ok(secret)
    }

    /// Gives a key a new secret; the one that it had holds for `grace` more. Older ones end at once.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn rotate_key(
        self: &Arc<Self>,
        account: AccountId,
        name: KeyName,
        grace: Duration,
    ) -> Result<SecretString, ChangeError> {
        let secret = new_secret()?;
        let new = for_good(&secret);
        let until = self.now().saturating_add(grace);
        self.change(move |known| {
            let key = known.kept_key(&account, &name)?;
            let old = key.secrets.first().filter(|_| !grace.is_zero());
            let old = old.map(|old| KeptSecret {
                secret: old.secret.clone(),
                until: Some(old.until.map_or(until, |end| end.min(until))),
            });
            let disabled = key.disabled;
            Ok(vec![Change::PutKey {
                account,
                name,
                secrets: std::iter::once(new).chain(old).collect(),
                disabled,
            }])
        })
        .await?;
        Ok(secret)
    }

    /// Disables a key, so that it proves nothing, nor do its tokens; or enables it again.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn set_disabled(
        self: &Arc<Self>,
        account: AccountId,
        name: KeyName,
        disabled: bool,
    ) -> Result<(), ChangeError> {
        self.change(move |known| {
            let secrets = known.kept_key(&account, &name)?.secrets.clone();
            Ok(vec![Change::PutKey {
                account,
                name,
                secrets,
                disabled,
            }])
        })
        .await
    }

    /// Removes a key; its tokens end at once.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn remove_key(self: &Arc<Self>, account: AccountId, name: KeyName) -> Result<(), ChangeError> {
        self.change(move |known| {
            known.kept_key(&account, &name)?;
            Ok(vec![Change::RemoveKey { account, name }])
        })
        .await
    }
}

impl Known {
    fn configured(&self, id: &AccountId) -> Option<&Account> {
        self.configured.iter().find(|account| account.id == *id)
    }

    fn kept_account(&self, id: &AccountId) -> Result<&KeptAccount, ChangeError> {
        let mut accounts = self.kept.accounts.iter();
        accounts
            .find(|account| account.id == *id)
            .ok_or(ChangeError::Unknown("account"))
    }

    fn configured_row(&self, id: &AccountId) -> Option<Change> {
        self.configured(id).map(|account| Change::PutAccount {
            id: id.clone(),
            name: account.name.clone(),
            // As long as the account stands in the settings, they decide; after that nothing is left of what they allowed.
            management: false,
        })
    }

    /// Checks that an account is not one of the settings.
    fn free_account(&self, id: &AccountId) -> Result<(), ChangeError> {
        match self.configured(id) {
            Some(_) => Err(ChangeError::Configured("account")),
            None => Ok(()),
        }
    }

    /// A key that can be changed.
    fn kept_key(&self, account: &AccountId, name: &KeyName) -> Result<&KeptKey, ChangeError> {
        let configured = self.configured(account).map(|account| &account.keys);
        if configured.is_some_and(|keys| keys.iter().any(|key| key.name == *name)) {
            return Err(ChangeError::Configured("key"));
        }
        let mut keys = self.kept.keys.iter();
        keys.find(|key| key.account == *account && key.name == *name)
            .ok_or(ChangeError::Unknown("key"))
    }

    fn accounts(&self) -> Vec<AccountEntry> {
        let configured = self.configured.iter().map(|account| AccountEntry {
            account: KeptAccount {
                id: account.id.clone(),
                name: account.name.clone(),
                management: account.management,
            },
            configured: true,
        });
        let kept = self.kept.accounts.iter();
        let kept = kept.filter(|account| self.configured(&account.id).is_none());
        let mut all: Vec<_> = configured
            .chain(kept.map(|account| AccountEntry {
                account: account.clone(),
                configured: false,
            }))
            .collect();
        all.sort_by(|one, other| one.account.id.cmp(&other.account.id));
        all
    }

    fn keys(&self, account: &AccountId, now: Duration) -> Option<Vec<KeyEntry>> {
        let configured = self.configured(account);
        if configured.is_none() && self.kept_account(account).is_err() {
            return None;
        }
        let configured = configured.iter().flat_map(|account| &account.keys);
        let mut all: Vec<_> = configured
            .map(|key| KeyEntry {
                name: key.name.clone(),
                disabled: false,
                secrets: 1,
                configured: true,
            })
            .collect();
        for key in self.kept.keys.iter().filter(|key| key.account == *account) {
            if all.iter().any(|entry| entry.configured && entry.name == key.name) {
                continue;
            }
            let holding = key.secrets.iter();
            all.push(KeyEntry {
                name: key.name.clone(),
                disabled: key.disabled,
                secrets: holding
                    .filter(|secret| secret.until.is_none_or(|until| now < until))
                    .count(),
                configured: false,
            });
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Some(all)
    }
}

fn for_good(secret: &SecretString) -> KeptSecret {
    KeptSecret {
        secret: secret.clone(),
        until: None,
    }
}

fn new_secret() -> Result<SecretString, ChangeError> {
    let mut bytes = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ChangeError::Broken)?;
    Ok(format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).into())
}
