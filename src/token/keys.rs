//! The accounts, keys and revocations in force: those of the settings, and those of the store, which change at run time.
//!
//! A change is durable before it is in force, and in force before it is answered. It is made by a task of its own, so
//! that whoever asked for it can leave.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use tokio_util::task::TaskTracker;

use super::manage::ChangeError;
use super::ring::{Caller, KeyRing};
use super::store::{Change, Kept, KeyStore, KeyStoreError, Revoked};
use super::{Flaw, Lifetimes, Scope, SigningKey};
use crate::config::{Account, Config};
use crate::types::{AccountId, Clock, KeyName, TokenId};

/// How long after a token's end its revocation is forgotten: longer than a clock may be wrong before somebody notices.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Who may call.
#[derive(Debug)]
pub struct Keys {
    ring: ArcSwap<KeyRing>,
    revoked: DashMap<(AccountId, TokenId), Revocation>,
    known: Mutex<Known>,
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    /// One change at a time, so that each is decided on what the one before left.
    changing: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
}

/// A revocation that is in force.
#[derive(Debug, Clone, Copy)]
struct Revocation {
    /// From when on the token is worth nothing anyway; none keeps it for good.
    until: Option<Duration>,
    /// Whether the store has it.
    kept: bool,
}

impl Revocation {
    fn lasts_as_long_as(self, until: Option<Duration>) -> bool {
        self.until
            .is_none_or(|mine| until.is_some_and(|until| until <= mine))
    }
}

/// What the keys in force are made of.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) configured: Vec<Account>,
    pub(super) kept: Kept,
    lifetimes: Lifetimes,
}

/// Why a scoped token is no good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What is wrong with it is for the log only.
    #[error(transparent)]
    Invalid(Flaw),
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its issuer took it back.
    #[error("the token was revoked")]
    Revoked,
}

impl From<Flaw> for Refused {
    fn from(flaw: Flaw) -> Self {
        if flaw.is_expiry() {
            Self::Expired
        } else {
            Self::Invalid(flaw)
        }
    }
}

impl Keys {
    /// Takes the keys of the settings and loads those of the store. `tasks` runs what changes them.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn open(
        config: &Config,
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
    ) -> Result<Self, KeyStoreError> {
        let mut kept = store.load().await?;
        let revoked = std::mem::take(&mut kept.revoked).into_iter();
        let known = Known {
            configured: config.accounts.clone(),
            kept,
            lifetimes: Lifetimes::from(&config.scoped_jwt),
        };
        Ok(Self {
            ring: ArcSwap::from_pointee(known.ring()),
            revoked: revoked
                .map(
                    |Revoked {
                         account,
                         token,
                         until,
                     }| { ((account, token), Revocation { until, kept: true }) },
                )
                .collect(),
            known: Mutex::new(known),
            store,
            clock,
            changing: tokio::sync::Mutex::default(),
            tasks,
        })
    }

    /// Whether nobody could call.
    pub fn is_empty(&self) -> bool {
        self.ring.load().is_empty()
    }

    /// How many verified tokens are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.ring.load().remembered()
    }

    /// Puts the keys of other settings in force, beside those of the store.
    pub fn reload(&self, config: &Config) {
        let mut known = self.known();
        known.configured = config.accounts.clone();
        known.lifetimes = Lifetimes::from(&config.scoped_jwt);
        self.ring.store(Arc::new(known.ring()));
    }

    /// Who shows the secret of an API key, if anybody does.
    pub fn find(&self, secret: &[u8]) -> Option<Arc<Caller>> {
        self.ring.load().find(secret, self.now())
    }

    /// Who shows a scoped token, `text` being what stands behind its prefix.
    ///
    /// # Errors
    /// The token is no good, or no more.
    pub fn verify(&self, text: &[u8]) -> Result<Arc<Caller>, Refused> {
        let caller = self.ring.load().verify(text, self.now())?;
        // Looked at anew for each call: a token may have been revoked between its check and its being remembered.
        let scope = caller.scope.as_ref();
        if scope.is_some_and(|scope| self.is_revoked(&scope.account, &scope.id)) {
            return Err(Refused::Revoked);
        }
        Ok(caller)
    }

    /// What a token says whose signature is a key's, also one that has expired or was revoked; `None` if no key that
    /// holds has signed it.
    pub fn inspect(&self, text: &[u8]) -> Option<Scope> {
        self.ring.load().inspect(text, self.now())
    }

    /// Whether a token was revoked.
    pub fn is_revoked(&self, account: &AccountId, token: &TokenId) -> bool {
        self.revoked.contains_key(&(account.clone(), token.clone()))
    }

    /// Gives what signs tokens in the name of a key to `sign`; `None` if there is no such key, or it does not hold.
    pub fn with_signing<T>(
        &self,
        account: &AccountId,
        name: &KeyName,
        sign: impl FnOnce(&SigningKey) -> T,
    ) -> Option<T> {
        let ring = self.ring.load();
        ring.signing(account, name, self.now()).map(sign)
    }

    /// How long tokens may live.
    pub fn lifetimes(&self) -> Lifetimes {
        self.known().lifetimes
    }

    /// The wall time by which keys and tokens are judged.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Revokes a token of an account. It holds at once, also if the store then fails.
    ///
    /// `until` says from when on the token is worth nothing anyway; `None` keeps the revocation for good.
    ///
    /// # Errors
    /// The store does not take it: the revocation may not outlast this process.
    pub async fn revoke(
        &self,
        account: AccountId,
        token: TokenId,
        until: Option<Duration>,
    ) -> Result<(), ChangeError> {
        let which = (account.clone(), token.clone());
        let known = self.revoked.get(&which).map(|known| *known);
        if known.is_some_and(|known| known.kept && known.lasts_as_long_as(until)) {
            return Ok(());
        }
        self.revoked
            .insert(which.clone(), Revocation { until, kept: false });
        let change = Change::Revoke {
            account,
            token,
            until,
        };
        // It decides on nothing that others change, and so waits for none of their changes.
        self.store.apply(change).await?;
        self.revoked.insert(which, Revocation { until, kept: true });
        Ok(())
    }

    /// Forgets the revocations of tokens that have expired long since.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn tidy(&self) -> Result<(), KeyStoreError> {
        let before = self.now().saturating_sub(FORGOTTEN_AFTER);
        let gone = |one: &Revocation| one.until.is_some_and(|until| until < before);
        if !self.revoked.iter().any(|one| gone(one.value())) {
            return Ok(());
        }
        self.store.apply(Change::Forget { before }).await?;
        self.revoked.retain(|_, one| !gone(one));
        Ok(())
    }

    /// Decides on changes, and in turn makes each durable and puts it in force. Goes on if the future is dropped.
    pub(super) async fn change<D>(self: &Arc<Self>, decide: D) -> Result<(), ChangeError>
    where
        D: FnOnce(&Known) -> Result<Vec<Change>, ChangeError> + Send + 'static,
    {
        let keys = Arc::clone(self);
        let changing = self.tasks.spawn(async move {
            let _one_at_a_time = keys.changing.lock().await;
            let changes = decide(&keys.known())?;
            for change in changes {
                keys.store.apply(change.clone()).await?;
                let adopting = Arc::clone(&keys);
                let adopting = keys.tasks.spawn_blocking(move || adopting.adopt(change));
                adopting.await.map_err(|_| ChangeError::Broken)?;
            }
            Ok(())
        });
        changing.await.map_err(|_| ChangeError::Broken)?
    }

    /// Puts a change in force. Takes a while where there are very many keys.
    fn adopt(&self, change: Change) {
        let mut known = self.known();
        if known.kept.change(change) {
            self.ring.store(Arc::new(known.ring()));
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn ring(&self) -> KeyRing {
        KeyRing::new(&self.configured, &self.kept, self.lifetimes)
    }
}
