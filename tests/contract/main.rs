//! What every store promises, whatever stands behind it; one store, SQLite, is there so far.

mod crash;
mod home;
mod ledger;
mod many;
mod queue;
mod victim;

use std::path::Path;
use std::sync::Arc;

use tidegate::metrics::Metrics;
use tidegate::store::{MasterKeys, Sqlite};
use tidegate::token::{Change, KeptSecret};
use tidegate::types::{AccountId, KeyName};

const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn open(path: &Path) -> Sqlite {
    let master = MasterKeys::parse(&[MASTER_KEY.into()]).unwrap();
    Sqlite::open(path, master, metrics()).unwrap()
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

fn account() -> AccountId {
    AccountId::parse("di:1").unwrap()
}

fn put_account() -> Change {
    Change::PutAccount {
        id: account(),
        name: None,
        management: false,
    }
}

/// A key whose secret follows from its name.
fn put_key(name: &str) -> Change {
    Change::PutKey {
        account: account(),
        name: KeyName::parse(name).unwrap(),
        secrets: vec![KeptSecret {
            secret: secret_of(name).into(),
            until: None,
        }],
        disabled: false,
    }
}

fn secret_of(name: &str) -> String {
    format!("tgk_{name}_0123456789abcdef0123456789abcdef")
}
