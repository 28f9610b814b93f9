//! What the store promises: what was put is found, whole, by the right master key alone.

mod opening;
mod sealing;

use super::*;
use crate::token::{KeptAccount, KeptSecret, Revoked};
use crate::types::{AccountId, KeyName, TokenId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use rusqlite::Connection;
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// A folder with a store in it, which may be open or not.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("kept/tidegate.db")
    }

    fn try_open(&self, master: &[u8]) -> Result<Sqlite, OpenError> {
        Sqlite::open(&self.path(), masters(master), metrics())
    }

    fn open(&self) -> Sqlite {
        self.try_open(&[1]).unwrap()
    }

    /// A connection of somebody else's.
    fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

/// Master keys that are told apart by a byte.
fn masters(bytes: &[u8]) -> MasterKeys {
    let text = |byte: &u8| SecretString::from(STANDARD.encode([*byte; 32]));
    MasterKeys::parse(&bytes.iter().map(text).collect::<Vec<_>>()).unwrap()
}

fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

fn secret(text: &str, until: Option<u64>) -> KeptSecret {
    KeptSecret {
        secret: text.into(),
        until: until.map(Duration::from_secs),
    }
}

fn put_account(id: &str) -> Change {
    Change::PutAccount {
        id: account(id),
        name: None,
        management: false,
    }
}

fn put_key(id: &str, name: &str, secrets: &[KeptSecret]) -> Change {
    Change::PutKey {
        account: account(id),
        name: KeyName::parse(name).unwrap(),
        secrets: secrets.to_vec(),
        disabled: false,
    }
}

fn revoke(id: &str, token: &TokenId, until: Option<Duration>) -> Change {
    Change::Revoke {
        account: account(id),
        token: token.clone(),
        until,
    }
}

async fn apply(store: &Sqlite, changes: impl IntoIterator<Item = Change>) {
    for change in changes {
        store.apply(change).await.unwrap();
    }
}

/// The keys as lines `account name: secrets`, with secrets and their ends in the open.
fn lines(kept: &Kept) -> Vec<String> {
    let line = |key: &crate::token::KeptKey| {
        let secrets = key.secrets.iter().map(|kept| {
            let until = kept.until.map(|until| format!(" until {}", until.as_secs()));
            format!("{}{}", kept.secret.expose_secret(), until.unwrap_or_default())
        });
        let secrets = secrets.collect::<Vec<_>>().join(", ");
        let disabled = if key.disabled { " (disabled)" } else { "" };
        format!("{} {}: {secrets}{disabled}", key.account, key.name)
    };
    let mut lines: Vec<_> = kept.keys.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn everything_that_was_put_is_found_after_the_next_start() {
    let home = Home::new();
    let store = home.open();
    let named = Change::PutAccount {
        id: account("di:1"),
        name: Some("Ocean \u{1f30a}".to_owned()),
        management: true,
    };
    let disabled = Change::PutKey {
        account: account("di:2"),
        name: KeyName::parse("auto").unwrap(),
        secrets: vec![secret(&"long".repeat(1000), None)],
        disabled: true,
    };
    let two = [
        secret("0123456789abcdef", None),
        secret("fedcba9876543210", Some(5)),
    ];
    apply(&store, [named, put_account("di:2"), disabled]).await;
    apply(&store, [put_key("di:1", "caf\u{e9} 'x'", &two)]).await;
    store.close().unwrap();

    let kept = home.open().load().await.unwrap();
    let mut accounts = kept.accounts.clone();
    accounts.sort_by_key(|account| account.id.clone());
    let expected = |id, name: Option<&str>, management| KeptAccount {
        id: account(id),
        name: name.map(str::to_owned),
        management,
    };
    let named = expected("di:1", Some("Ocean \u{1f30a}"), true);
    assert_eq!(accounts, [named, expected("di:2", None, false)]);
    assert_eq!(
        lines(&kept),
        [
            "di:1 caf\u{e9} 'x': 0123456789abcdef, fedcba9876543210 until 5".to_owned(),
            format!("di:2 auto: {} (disabled)", "long".repeat(1000)),
        ]
    );
}

#[tokio::test]
async fn a_revocation_is_found_after_the_next_start_whatever_the_token_is_called() {
    let home = Home::new();
    let store = home.open();
    let tokens = [
        TokenId::of_jti("a").unwrap(),
        TokenId::of_jti("sha256:\0\u{1f30a}").unwrap(),
        TokenId::of_digest([0xab; 32]),
    ];
    let millis = Some(Duration::from_millis(1_700_000_000_123));
    for (token, until) in tokens.iter().zip([None, millis, Some(Duration::MAX)]) {
        apply(&store, [revoke("di:1", token, until)]).await;
    }
    store.close().unwrap();
    let kept = home.open().load().await.unwrap();
    assert_eq!(kept.revoked.len(), tokens.len());
    let farthest = Some(Duration::from_millis(i64::MAX as u64));
    for (token, until) in tokens.into_iter().zip([None, millis, farthest]) {
        let account = account("di:1");
        assert!(kept.revoked.contains(&Revoked {
            account,
            token,
            until
        }));
    }
}

#[tokio::test]
async fn an_account_that_is_put_again_keeps_its_keys_and_a_key_is_replaced_whole() {
    let home = Home::new();
    let store = home.open();
    let two = [secret("old", Some(5)), secret("new", None)];
    apply(&store, [put_account("di:1"), put_key("di:1", "auto", &two)]).await;
    apply(&store, [put_account("di:1")]).await;
    assert_eq!(
        lines(&store.load().await.unwrap()),
        ["di:1 auto: old until 5, new"]
    );
    apply(&store, [put_key("di:1", "auto", &[secret("newest", None)])]).await;
    assert_eq!(lines(&store.load().await.unwrap()), ["di:1 auto: newest"]);
}

#[tokio::test]
async fn an_account_takes_its_keys_with_it_and_leaves_its_revocations() {
    let home = Home::new();
    let store = home.open();
    let token = TokenId::of_jti("a").unwrap();
    for id in ["di:1", "di:2"] {
        apply(&store, [put_account(id)]).await;
        for name in ["auto", "other"] {
            apply(&store, [put_key(id, name, &[secret("secret", None)])]).await;
        }
        apply(&store, [revoke(id, &token, None)]).await;
    }
    let remove_key = Change::RemoveKey {
        account: account("di:2"),
        name: KeyName::parse("auto").unwrap(),
    };
    let remove = Change::RemoveAccount(account("di:1"));
    // Again, since whoever did not hear the answer asks again.
    apply(&store, [remove.clone(), remove, remove_key.clone(), remove_key]).await;
    let kept = store.load().await.unwrap();
    assert_eq!(lines(&kept), ["di:2 other: secret"]);
    assert_eq!((kept.accounts.len(), kept.revoked.len()), (1, 2));
    apply(&store, [put_account("di:1")]).await;
    assert_eq!(lines(&store.load().await.unwrap()), ["di:2 other: secret"]);
}

#[tokio::test]
async fn a_key_of_no_account_or_with_another_number_of_secrets_is_refused_without_harm() {
    let home = Home::new();
    let store = home.open();
    let one = secret("secret", None);
    let (good, orphan) = (
        put_account("di:1"),
        put_key("di:9", "auto", std::slice::from_ref(&one)),
    );
    let none = put_key("di:1", "none", &[]);
    let three = put_key("di:1", "three", &[one.clone(), one.clone(), one.clone()]);
    let key = put_key("di:1", "auto", &[one]);
    let changes = [good, orphan, none, three, key];
    let outcomes = join_all(changes.map(|change| store.apply(change))).await;
    assert_eq!(
        outcomes,
        [
            Ok(()),
            Err(KeyStoreError::UnknownAccount),
            Err(KeyStoreError::SecretCount),
            Err(KeyStoreError::SecretCount),
            Ok(()),
        ]
    );
    assert_eq!(lines(&store.load().await.unwrap()), ["di:1 auto: secret"]);
}

#[tokio::test]
async fn of_two_revocations_of_a_token_the_longer_counts() {
    let home = Home::new();
    let store = home.open();
    let at = |seconds| Some(Duration::from_secs(seconds));
    let token = TokenId::of_jti("a").unwrap();
    for (until, kept_until) in [
        (at(10), at(10)),
        (at(5), at(10)),
        (at(20), at(20)),
        (None, None),
        (at(30), None),
    ] {
        apply(&store, [revoke("di:1", &token, until)]).await;
        let kept = store.load().await.unwrap();
        assert_eq!(kept.revoked.len(), 1);
        assert_eq!(kept.revoked[0].until, kept_until);
    }
}

#[tokio::test]
async fn revocations_that_ended_before_a_time_are_forgotten() {
    let home = Home::new();
    let store = home.open();
    let just_after = Duration::from_secs(10) + Duration::from_nanos(1);
    for (jti, until) in [
        ("ended", Some(Duration::from_secs(9))),
        ("ends now", Some(Duration::from_secs(10))),
        ("rounded up", Some(just_after)),
        ("for good", None),
    ] {
        apply(&store, [revoke("di:1", &TokenId::of_jti(jti).unwrap(), until)]).await;
    }
    let left = async |before| {
        apply(&store, [Change::Forget { before }]).await;
        let kept = store.load().await.unwrap();
        let mut left: Vec<_> = kept
            .revoked
            .iter()
            .map(|revoked| revoked.token.to_string())
            .collect();
        left.sort_unstable();
        left
    };
    assert_eq!(
        left(Duration::from_secs(10)).await,
        ["jti:ends now", "jti:for good", "jti:rounded up"]
    );
    assert_eq!(
        left(Duration::from_millis(10_001)).await,
        ["jti:for good", "jti:rounded up"]
    );
    assert_eq!(left(Duration::MAX).await, ["jti:for good"]);
}

#[tokio::test]
async fn a_commit_is_on_the_disk_and_references_are_checked() {
    let home = Home::new();
    let store = home.open();
    let pragmas = store
        .writer
        .run(|base| -> Result<Result<_, KeyStoreError>, Fault> {
            let connection = &base.connection;
            let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
            Ok(Ok((
                mode,
                number("synchronous")?,
                number("foreign_keys")?,
                number("secure_delete")?,
            )))
        });
    assert_eq!(pragmas.await.unwrap(), ("wal".to_owned(), 2, 1, 1));
}

#[test]
fn no_secret_shows_in_debug_output() {
    let home = Home::new();
    let shown = format!(
        "{:?} {:?}",
        home.open(),
        put_key("di:1", "auto", &[secret("0123456789abcdef", None)])
    );
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
}
