//! All keys of one moment, found by the digest of their secret and by their name. It never changes: a change of keys makes
//! a new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use quick_cache::sync::Cache;
use secrecy::ExposeSecret;

use super::jwt::{Lifetimes, Scope, Unverified};
use super::signing_key::SigningKey;
use super::store::{Kept, KeptAccount, KeptKey, KeptSecret};
use super::{Flaw, Refused};
use crate::config::Account;
use crate::types::{AccountId, KeyName, sha256};

/// How many verified tokens are remembered, about 1 KiB each.
const MAX_VERIFIED: usize = 10_000;

/// A caller whose credential was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account that pays.
    pub account: AccountId,
    /// The key that was shown, or that signed the token that was.
    pub key: KeyName,
    /// Whether the upstream's account routes are open to it.
    pub management: bool,
    /// What the token allows; a key allows everything.
    pub scope: Option<Scope>,
}

/// Every key that holds, and the tokens that were verified with them.
#[derive(Debug)]
pub(super) struct KeyRing {
    by_digest: HashMap<[u8; 32], Shown, RandomState>,
    by_name: HashMap<(AccountId, KeyName), Vec<Secret>>,
    lifetimes: Lifetimes,
    /// Checked in place of a key that a token names and nobody has, so that it takes as long.
    nobody: Option<SigningKey>,
    /// By the SHA-256 of the whole token: never by a part of it, since that is all that tells two tokens apart.
    verified: Cache<[u8; 32], Arc<Verified>>,
}

/// Who shows a secret.
#[derive(Debug)]
struct Shown {
    caller: Arc<Caller>,
    until: Option<Duration>,
}

/// A secret that may have signed a token.
#[derive(Debug)]
struct Secret {
    key: SigningKey,
    until: Option<Duration>,
}

/// A token that was good when it was seen first.
#[derive(Debug)]
struct Verified {
    caller: Arc<Caller>,
    /// When the secret that signed it stops to hold.
    until: Option<Duration>,
}

impl KeyRing {
    /// Takes the accounts and keys of the settings, and those that are kept. Where both have an account or a key the
    /// settings' stands, and so does a secret that was there first.
    ///
    /// A secret that can sign no token opens nothing either: settings and store take none that is so short.
    pub(super) fn new(accounts: &[Account], kept: &Kept, lifetimes: Lifetimes) -> Self {
        let mut ring = Self {
            by_digest: HashMap::with_capacity_and_hasher(kept.keys.len(), RandomState::default()),
            by_name: HashMap::with_capacity(kept.keys.len()),
            lifetimes,
            nobody: nobodys_key(),
            verified: Cache::new(MAX_VERIFIED),
        };
        for account in accounts {
            for key in &account.keys {
                let secret = KeptSecret {
                    secret: key.secret.clone(),
                    until: None,
                };
                ring.add(&account.id, &key.name, account.management, &[secret]);
            }
        }
        let management = management(accounts, &kept.accounts);
        for KeptKey {
            account,
            name,
            secrets,
            ..
        } in kept.keys.iter().filter(|key| !key.disabled)
        {
            let management = management.get(account).copied().unwrap_or(false);
            ring.add(account, name, management, secrets);
        }
        ring
    }

    fn add(&mut self, account: &AccountId, name: &KeyName, management: bool, secrets: &[KeptSecret]) {
        let named = (account.clone(), name.clone());
        if self.by_name.contains_key(&named) {
            return;
        }
        let caller = Arc::new(Caller {
            account: account.clone(),
            key: name.clone(),
            management,
            scope: None,
        });
        let mut signing = Vec::with_capacity(secrets.len());
        for KeptSecret { secret, until } in secrets {
            let bytes = secret.expose_secret().as_bytes();
            let Ok(key) = SigningKey::new(bytes) else { continue };
            signing.push(Secret { key, until: *until });
            let shown = Shown {
                caller: Arc::clone(&caller),
                until: *until,
            };
            self.by_digest.entry(sha256(bytes)).or_insert(shown);
        }
        self.by_name.insert(named, signing);
    }

    /// Who shows `secret`, if anybody does. It is looked up by its digest, so that neither the time nor the memory that
    /// this takes tells anything of the secrets that are there.
    pub(super) fn find(&self, secret: &[u8], now: Duration) -> Option<Arc<Caller>> {
        let shown = self.by_digest.get(&sha256(secret))?;
        holds(shown.until, now).then(|| Arc::clone(&shown.caller))
    }

    /// Who shows a scoped token, `text` being what stands behind its prefix. Whether it was revoked is not looked at.
    pub(super) fn verify(&self, text: &[u8], now: Duration) -> Result<Arc<Caller>, Refused> {
        let digest = sha256(text);
        if let Some(known) = self.verified.get(&digest) {
            return known.still(now);
        }
        let token = Unverified::read(text)?;
        let named = (token.account().clone(), token.key().clone());
        let secrets = self.by_name.get(&named).map(Vec::as_slice).unwrap_or_default();
        let mut holding = secrets
            .iter()
            .filter(|secret| holds(secret.until, now))
            .peekable();
        if holding.peek().is_none()
            && let Some(nobody) = &self.nobody
        {
            // Whatever comes of it, no key has signed the token.
            token.verify(nobody, now, &self.lifetimes).ok();
        }
        for secret in holding {
            match token.verify(&secret.key, now, &self.lifetimes) {
                Err(flaw) if flaw.is_of_key() => {}
                Err(flaw) => return Err(flaw.into()),
                Ok(scope) => return Ok(self.remember(digest, scope, secret.until)),
            }
        }
        Err(Flaw::Signature.into())
    }

    /// What a token says whose signature is a key's, whether or not its time is over; `None` if no key has signed it.
    pub(super) fn inspect(&self, text: &[u8], now: Duration) -> Option<Scope> {
        let token = Unverified::read(text).ok()?;
        let secrets = self
            .by_name
            .get(&(token.account().clone(), token.key().clone()))?;
        let mut holding = secrets.iter().filter(|secret| holds(secret.until, now));
        holding.find_map(|secret| token.inspect(&secret.key).ok())
    }

    fn remember(&self, digest: [u8; 32], scope: Scope, until: Option<Duration>) -> Arc<Caller> {
        let caller = Arc::new(Caller {
            account: scope.account.clone(),
            key: scope.key.clone(),
            management: false,
            scope: Some(scope),
        });
        let verified = Verified {
            caller: Arc::clone(&caller),
            until,
        };
        self.verified.insert(digest, Arc::new(verified));
        caller
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.verified.len()
    }

    /// What signs tokens in the name of a key: its newest secret.
    pub(super) fn signing(&self, account: &AccountId, name: &KeyName, now: Duration) -> Option<&SigningKey> {
        let secrets = self.by_name.get(&(account.clone(), name.clone()))?;
        let mut holding = secrets.iter().filter(|secret| holds(secret.until, now));
        holding.next().map(|secret| &secret.key)
    }
}

impl Verified {
    fn still(&self, now: Duration) -> Result<Arc<Caller>, Refused> {
        let expired = self
            .caller
            .scope
            .as_ref()
            .is_none_or(|scope| now >= scope.expires_at);
        if expired {
            return Err(Flaw::Expired.into());
        }
        if !holds(self.until, now) {
            return Err(Flaw::Signature.into());
        }
        Ok(Arc::clone(&self.caller))
    }
}

/// A key that nobody has; none where the system gives no random bytes.
fn nobodys_key() -> Option<SigningKey> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).ok()?;
    SigningKey::new(&secret).ok()
}

fn holds(until: Option<Duration>, now: Duration) -> bool {
    until.is_none_or(|until| now < until)
}

/// Which accounts may manage; the settings decide where they know the account.
fn management<'a>(accounts: &'a [Account], kept: &'a [KeptAccount]) -> HashMap<&'a AccountId, bool> {
    let kept = kept.iter().map(|account| (&account.id, account.management));
    let settings = accounts.iter().map(|account| (&account.id, account.management));
    kept.chain(settings).collect()
}
