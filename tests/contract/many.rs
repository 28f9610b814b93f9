//! Many keys at once: all of them are there after the next start.

use std::env;
use std::time::Instant;

use futures_util::future::join_all;
use tidegate::token::KeyStore;

use super::{open, put_account, put_key};

/// How many keys, where it is not to be as few as a quick test needs; the figures are printed.
const COUNT: &str = "TIDEGATE_TEST_KEYS";

#[tokio::test]
async fn many_keys_are_put_in_groups_and_loaded_at_once() {
    let count: usize = env::var(COUNT).map_or(3_000, |count| count.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidegate.db");
    let store = open(&path);
    store.apply(put_account()).await.unwrap();
    let began = Instant::now();
    let puts = (0..count).map(|number| store.apply(put_key(&format!("key-{number}"))));
    assert!(join_all(puts).await.iter().all(Result::is_ok));
    println!("put {count} keys in {:?}", began.elapsed());
    store.close().unwrap();

    let began = Instant::now();
    let store = open(&path);
    println!("opened in {:?}", began.elapsed());
    let began = Instant::now();
    let kept = store.load().await.unwrap();
    println!("loaded {count} keys in {:?}", began.elapsed());
    assert_eq!(kept.keys.len(), count);
}
