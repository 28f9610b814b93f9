//! A process that is killed: what it was told is kept is kept, and the next one can open the store at once.

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::ExposeSecret;
use tidegate::store::{MasterKeys, OpenError, Sqlite};
use tidegate::token::{Change, KeyStore};
use tidegate::types::{KeyName, TokenId};

use super::home::Home;
use super::victim::{self, Victim, say};
use super::{MASTER_KEY, account, metrics, open, put_account, put_key, secret_of};

const WRITERS: usize = 8;

#[test]
fn what_was_acknowledged_outlasts_a_kill() {
    let home = Home::new();
    let path = home.path();
    // What must be there: a name for good, or, once its removal was asked for, perhaps.
    let mut acknowledged = BTreeMap::new();
    // Killed with the first answers, under way, and later.
    for (round, answers) in [1, 150, 400, 40].into_iter().enumerate() {
        let victim = Victim {
            test: "crash::the_process_that_is_killed",
            store: &path,
            round,
        };
        let mut heard = 0;
        victim.kill_after(answers, |line| {
            let is_answer = take(line, &mut acknowledged);
            heard += usize::from(is_answer);
            if is_answer && heard == answers {
                assert_in_use(&path);
            }
            is_answer
        });
        assert_kept(&path, &acknowledged);
    }
}

/// What became of a name, as far as answers tell.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Put,
    /// Its removal was asked for and may have been made.
    Leaving,
    Removed,
    Revoked,
}

/// Whether the line is an answer.
fn take(line: &str, acknowledged: &mut BTreeMap<String, Told>) -> bool {
    let Some((told, name)) = line.split_once(' ') else {
        return false;
    };
    let told = match told {
        "put" => Told::Put,
        "leaving" => Told::Leaving,
        "removed" => Told::Removed,
        "revoked" => Told::Revoked,
        _ => return false,
    };
    acknowledged.insert(name.to_owned(), told);
    true
}

fn assert_in_use(path: &Path) {
    let master = MasterKeys::parse(&[MASTER_KEY.into()]).unwrap();
    let refused = Sqlite::open(path, master, metrics()).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
}

#[tokio::main(flavor = "current_thread")]
async fn assert_kept(path: &Path, acknowledged: &BTreeMap<String, Told>) {
    let kept = open(path).load().await.unwrap();
    let mut keys = BTreeMap::new();
    for key in &kept.keys {
        assert_eq!(key.secrets.len(), 1);
        let secret = key.secrets[0].secret.expose_secret();
        assert_eq!(secret, secret_of(key.name.as_str()));
        keys.insert(key.name.as_str(), secret);
    }
    for (name, told) in acknowledged {
        let token = TokenId::of_jti(name).unwrap();
        match told {
            Told::Put => assert!(keys.contains_key(name.as_str()), "{name} is lost"),
            Told::Removed => assert!(!keys.contains_key(name.as_str()), "{name} came back"),
            Told::Revoked => assert!(kept.revoked.iter().any(|revoked| revoked.token == token)),
            Told::Leaving => {}
        }
    }
}

/// Nothing by itself: the test above runs it in a process of its own, which changes things until it is killed.
#[test]
fn the_process_that_is_killed() {
    let Some((path, round)) = victim::part() else {
        return;
    };
    victim::work(async {
        let store = open(&path);
        store.apply(put_account()).await.unwrap();
        let writers = (0..WRITERS).map(|writer| write(&store, format!("{round}-{writer}")));
        futures_util::future::join_all(writers).await;
    });
}

/// Puts keys, revokes tokens and removes every fourth key again; says what it asks for and what it was answered.
async fn write(store: &Sqlite, prefix: String) {
    for number in 0_u64.. {
        let name = format!("{prefix}-{number}");
        if number % 4 == 1 {
            let token = TokenId::of_jti(&name).unwrap();
            let (account, until) = (account(), None);
            store
                .apply(Change::Revoke {
                    account,
                    token,
                    until,
                })
                .await
                .unwrap();
            say("revoked", &name);
            continue;
        }
        store.apply(put_key(&name)).await.unwrap();
        say("put", &name);
        if number % 4 == 3 {
            say("leaving", &name);
            let (account, key) = (account(), KeyName::parse(&name).unwrap());
            store
                .apply(Change::RemoveKey { account, name: key })
                .await
                .unwrap();
            say("removed", &name);
        }
    }
}
