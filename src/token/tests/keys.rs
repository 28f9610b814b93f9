//! Keys and their tokens while keys come, rotate and go, and while the store fails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::task::TaskTracker;

use super::super::store::{Change, Kept, KeptAccount, KeyStore, KeyStoreError, Revoked};
use super::super::{ChangeError, Keys, Mint, PREFIX, Refused, SigningKey};
use crate::config::{Account, AccountKey, Config};
use crate::types::{AccountId, KeyName, ManualClock, TokenId};

const NOW: Duration = Duration::from_secs(1_790_000_000);

/// A store that keeps what it is told for as long as it lives, and can be made to fail.
#[derive(Debug, Default)]
struct Memory {
    kept: Mutex<Kept>,
    failing: Mutex<bool>,
}

impl KeyStore for Memory {
    fn load(&self) -> BoxFuture<'_, Result<Kept, KeyStoreError>> {
        Box::pin(async { Ok(self.kept.lock().unwrap().clone()) })
    }

    fn apply(&self, change: Change) -> BoxFuture<'_, Result<(), KeyStoreError>> {
        Box::pin(async move {
            if *self.failing.lock().unwrap() {
                return Err(KeyStoreError::Unavailable {
                    why: "the disk is full".into(),
                });
            }
            let mut kept = self.kept.lock().unwrap();
            if let Change::Revoke {
                account,
                token,
                until,
            } = change.clone()
            {
                kept.revoked.push(Revoked {
                    account,
                    token,
                    until,
                });
            }
            kept.change(change);
            Ok(())
        })
    }
}

/// Keys of a settings file with these accounts and an empty store.
pub(crate) async fn keys_of(accounts: Vec<Account>) -> Keys {
    Gate::with(accounts).await.keys
}

struct Gate {
    keys: Keys,
    store: Arc<Memory>,
    clock: Arc<ManualClock>,
}

impl Gate {
    async fn with(accounts: Vec<Account>) -> Self {
        let (store, clock) = (Arc::new(Memory::default()), Arc::new(ManualClock::new(NOW)));
        let env = std::collections::BTreeMap::<String, String>::new();
        let mut config = Config::parse("", std::path::Path::new("."), &env).unwrap();
        config.accounts = accounts;
        let keys = Keys::open(
            &config,
            Arc::clone(&store) as _,
            Arc::clone(&clock) as _,
            TaskTracker::new(),
        );
        Self {
            keys: keys.await.unwrap(),
            store,
            clock,
        }
    }
}

fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn configured() -> Vec<Account> {
    vec![Account {
        id: account("a"),
        name: None,
        management: true,
        keys: vec![AccountKey {
            name: name("file"),
            secret: "secret-of-the-file".into(),
        }],
    }]
}

fn kept(id: &str, management: bool) -> KeptAccount {
    KeptAccount {
        id: account(id),
        name: None,
        management,
    }
}

fn token(id: &str, key: &str, secret: &SecretString, jti: Option<&str>) -> Vec<u8> {
    let mint = Mint {
        account: account(id),
        key: name(key),
        models: None,
        expires_at: NOW + Duration::from_secs(3600),
        spending_limit: None,
        jti: jti.map(str::to_owned),
    };
    let key = SigningKey::new(secret.expose_secret().as_bytes()).unwrap();
    mint.sign(&key).unwrap().strip_prefix(PREFIX).unwrap().into()
}

fn shown(keys: &Keys, secret: &SecretString) -> bool {
    keys.find(secret.expose_secret().as_bytes()).is_some()
}

fn invalid(outcome: Result<Arc<super::super::Caller>, Refused>) -> bool {
    matches!(outcome, Err(Refused::Invalid(_)))
}

#[tokio::test]
async fn a_key_holds_from_its_making_to_its_removal_and_so_do_its_tokens() {
    let Gate { keys, .. } = Gate::with(configured()).await;
    let keys = Arc::new(keys);
    let made = keys.make_key(account("b"), name("k")).await;
    assert_eq!(made.unwrap_err(), ChangeError::Unknown("account"));
    keys.add_account(kept("b", true)).await.unwrap();
    let secret = keys.make_key(account("b"), name("k")).await.unwrap();
    assert!(secret.expose_secret().len() >= 32);
    let signed = token("b", "k", &secret, Some("j"));
    let caller = keys.find(secret.expose_secret().as_bytes()).unwrap();
    assert!(caller.management && caller.scope.is_none());
    let caller = keys.verify(&signed).unwrap();
    assert!(!caller.management, "a token manages nothing");
    let twice = keys.make_key(account("b"), name("k")).await;
    assert_eq!(twice.unwrap_err(), ChangeError::Exists("key"));

    keys.set_disabled(account("b"), name("k"), true).await.unwrap();
    assert!(!shown(&keys, &secret) && invalid(keys.verify(&signed)));
    keys.set_disabled(account("b"), name("k"), false).await.unwrap();
    assert!(shown(&keys, &secret) && keys.verify(&signed).is_ok());

    keys.remove_key(account("b"), name("k")).await.unwrap();
    assert!(!shown(&keys, &secret) && invalid(keys.verify(&signed)));
    keys.make_key(account("b"), name("k")).await.unwrap();
    assert!(
        invalid(keys.verify(&signed)),
        "a new key of the same name is another key"
    );
    keys.remove_account(account("b")).await.unwrap();
    assert_eq!(keys.keys(&account("b")), None);
}

#[tokio::test]
async fn a_rotated_key_has_two_secrets_until_its_grace_is_over() {
    let Gate { keys, clock, .. } = Gate::with(vec![]).await;
    let keys = Arc::new(keys);
    keys.add_account(kept("b", false)).await.unwrap();
    let first = keys.make_key(account("b"), name("k")).await.unwrap();
    let old = token("b", "k", &first, Some("1"));
    let hour = Duration::from_secs(600);
    let second = keys.rotate_key(account("b"), name("k"), hour).await.unwrap();
    let new = token("b", "k", &second, Some("2"));
    assert!(shown(&keys, &first) && shown(&keys, &second));
    assert!(keys.verify(&old).is_ok() && keys.verify(&new).is_ok());
    clock.advance(hour);
    assert!(!shown(&keys, &first) && shown(&keys, &second));
    assert!(invalid(keys.verify(&old)), "though it was good a moment ago");
    assert!(keys.verify(&new).is_ok());
    let third = keys
        .rotate_key(account("b"), name("k"), Duration::ZERO)
        .await
        .unwrap();
    assert!(!shown(&keys, &second) && shown(&keys, &third));
    assert!(invalid(keys.verify(&new)));
}

#[tokio::test]
async fn what_stands_in_the_settings_is_changed_there() {
    let Gate { keys, .. } = Gate::with(configured()).await;
    let keys = Arc::new(keys);
    let (id, file) = (account("a"), name("file"));
    assert_eq!(
        keys.add_account(kept("a", false)).await,
        Err(ChangeError::Configured("account"))
    );
    assert_eq!(
        keys.remove_account(id.clone()).await,
        Err(ChangeError::Configured("account"))
    );
    let disabled = keys.set_disabled(id.clone(), file.clone(), true).await;
    assert_eq!(disabled, Err(ChangeError::Configured("key")));
    let removed = keys.remove_key(id.clone(), file.clone()).await;
    assert_eq!(removed, Err(ChangeError::Configured("key")));
    let made = keys.make_key(id.clone(), file).await;
    assert_eq!(made.unwrap_err(), ChangeError::Exists("key"));
    let secret = keys.make_key(id.clone(), name("more")).await.unwrap();
    let caller = keys.find(secret.expose_secret().as_bytes()).unwrap();
    assert!(caller.management, "the settings say what the account may");
    let names: Vec<_> = keys
        .keys(&id)
        .unwrap()
        .into_iter()
        .map(|key| (key.name, key.configured))
        .collect();
    assert_eq!(names, [(name("file"), true), (name("more"), false)]);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_also_where_the_store_fails() {
    let gate = Gate::with(configured()).await;
    let keys = Arc::new(gate.keys);
    let secret = SecretString::from("secret-of-the-file");
    let (one, other) = (
        token("a", "file", &secret, Some("1")),
        token("a", "file", &secret, Some("2")),
    );
    assert!(keys.verify(&one).is_ok() && keys.verify(&other).is_ok());
    let id = |jti| TokenId::of_jti(jti).unwrap();
    keys.revoke(account("a"), id("1"), None).await.unwrap();
    assert_eq!(keys.verify(&one).unwrap_err(), Refused::Revoked);
    assert!(keys.verify(&other).is_ok());
    assert!(keys.is_revoked(&account("a"), &id("1")) && !keys.is_revoked(&account("b"), &id("1")));
    *gate.store.failing.lock().unwrap() = true;
    assert!(keys.revoke(account("a"), id("2"), None).await.is_err());
    assert_eq!(keys.verify(&other).unwrap_err(), Refused::Revoked);
    assert!(keys.remove_key(account("a"), name("none")).await.is_err());
}

#[tokio::test]
async fn a_remembered_token_ends_with_its_time_and_its_name_alone_is_worth_nothing() {
    let Gate { keys, clock, .. } = Gate::with(configured()).await;
    let secret = SecretString::from("secret-of-the-file");
    let good = token("a", "file", &secret, None);
    assert!(keys.verify(&good).is_ok() && keys.verify(&good).is_ok());
    let mut other = good.clone();
    *other.last_mut().unwrap() ^= 1;
    assert!(invalid(keys.verify(&other)));
    assert!(invalid(keys.verify(&good[..good.len() - 1])));
    assert!(invalid(keys.verify(&token("a", "none", &secret, None))));
    assert!(invalid(keys.verify(&token("b", "file", &secret, None))));
    clock.advance(Duration::from_secs(3600));
    assert_eq!(keys.verify(&good).unwrap_err(), Refused::Expired);
    assert!(keys.inspect(&good).is_some(), "it can still be looked into");
}

#[tokio::test]
async fn revocations_are_forgotten_long_after_their_tokens_end_and_others_never() {
    let gate = Gate::with(configured()).await;
    let keys = Arc::new(gate.keys);
    let ended = TokenId::of_digest([7; 32]);
    keys.revoke(account("a"), ended.clone(), Some(NOW + Duration::from_secs(60)))
        .await
        .unwrap();
    let named = TokenId::of_jti("j").unwrap();
    keys.revoke(account("a"), named.clone(), None).await.unwrap();
    gate.clock.advance(Duration::from_secs(400 * 24 * 60 * 60));
    keys.tidy().await.unwrap();
    assert!(keys.is_revoked(&account("a"), &ended));
    gate.clock.advance(Duration::from_secs(120));
    keys.tidy().await.unwrap();
    assert!(!keys.is_revoked(&account("a"), &ended) && keys.is_revoked(&account("a"), &named));
}

#[tokio::test]
async fn a_million_tokens_that_are_no_good_leave_nothing_behind() {
    // Only what was verified is remembered, so a part of the million shows it.
    let Gate { keys, .. } = Gate::with(configured()).await;
    let secret = SecretString::from("another-secret-of-nobody");
    for number in 0..2000 {
        let bad = token("a", "file", &secret, Some(&number.to_string()));
        assert!(invalid(keys.verify(&bad)));
    }
    assert_eq!(keys.remembered(), 0);
    let secret = SecretString::from("secret-of-the-file");
    for number in 0..12_000 {
        keys.verify(&token("a", "file", &secret, Some(&number.to_string())))
            .unwrap();
    }
    assert!(keys.remembered() <= 10_000, "{}", keys.remembered());
}

fn config_of(accounts: Vec<Account>) -> Config {
    let env = std::collections::BTreeMap::<String, String>::new();
    let mut config = Config::parse("", std::path::Path::new("."), &env).unwrap();
    config.accounts = accounts;
    config
}

#[tokio::test]
async fn an_account_that_left_the_settings_manages_no_more() {
    let keys = Arc::new(Gate::with(configured()).await.keys);
    let secret = keys.make_key(account("a"), name("kept")).await.unwrap();
    let mut tamed = configured();
    tamed[0].management = false;
    keys.reload(&config_of(tamed));
    assert!(!keys.find(secret.expose_secret().as_bytes()).unwrap().management);
    keys.reload(&config_of(vec![]));
    let still = keys.find(secret.expose_secret().as_bytes());
    assert!(
        still.is_none_or(|caller| !caller.management),
        "management came back"
    );
}

#[tokio::test]
async fn a_revocation_outlasts_a_clock_that_jumps_ahead_and_back() {
    let gate = Gate::with(configured()).await;
    let (keys, clock) = (Arc::new(gate.keys), gate.clock);
    let shown = token("a", "file", &"secret-of-the-file".into(), None);
    let scope = keys.verify(&shown).unwrap().scope.clone().unwrap();
    keys.revoke(scope.account, scope.id, Some(scope.expires_at))
        .await
        .unwrap();
    clock.set(NOW + Duration::from_secs(2 * 86400));
    keys.tidy().await.unwrap();
    clock.set(NOW);
    assert_eq!(keys.verify(&shown).unwrap_err(), Refused::Revoked);
}

#[tokio::test]
async fn a_revocation_for_good_is_not_taken_for_one_with_an_end() {
    let gate = Gate::with(configured()).await;
    let token = TokenId::of_digest([7; 32]);
    let revoke = |until| gate.keys.revoke(account("a"), token.clone(), until);
    let kept = || {
        gate.store
            .kept
            .lock()
            .unwrap()
            .revoked
            .last()
            .and_then(|one| one.until)
    };
    revoke(Some(NOW)).await.unwrap();
    assert_eq!(kept(), Some(NOW));
    revoke(None).await.unwrap();
    assert_eq!(kept(), None);
    revoke(Some(NOW)).await.unwrap();
    assert_eq!(
        gate.store.kept.lock().unwrap().revoked.len(),
        2,
        "the last one says nothing new"
    );
}
