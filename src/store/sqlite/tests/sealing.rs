//! Secrets at rest: who opens them, and that nothing that was changed does.

use super::*;
use std::fs;

const SECRET: &str = "0123456789abcdef";

// Two rows that change places would meet for a moment, so one goes by way of another name.
const BETWEEN_ACCOUNTS: &str = "
    UPDATE keys SET name = 'waits' WHERE account = 'di:2' AND name = 'auto';
    UPDATE keys SET account = 'di:2' WHERE account = 'di:1' AND name = 'auto';
    UPDATE keys SET account = 'di:1', name = 'auto' WHERE account = 'di:2' AND name = 'waits'";
const BETWEEN_NAMES: &str = "
    UPDATE keys SET name = 'waits' WHERE account = 'di:1' AND name = 'other';
    UPDATE keys SET name = 'other' WHERE account = 'di:1' AND name = 'auto';
    UPDATE keys SET name = 'auto' WHERE account = 'di:1' AND name = 'waits'";
const BETWEEN_SLOTS: &str = "
    UPDATE keys SET secret_1 = secret_2, secret_2 = secret_1 WHERE account = 'di:1' AND name = 'auto'";
const MOVED_UP: &str = "
    UPDATE keys SET secret_1 = secret_2, secret_2 = NULL WHERE account = 'di:1' AND name = 'auto'";
const COPIED: &str = "
    UPDATE keys SET secret_1 = (SELECT secret_1 FROM keys WHERE account = 'di:2') WHERE account = 'di:1'";

/// A store with a key `auto` for each of two accounts, and a second key for the first.
async fn filled(home: &Home, master: &[u8]) -> Sqlite {
    let store = home.try_open(master).unwrap();
    let two = [secret(SECRET, Some(5)), secret("the second secret", None)];
    apply(&store, [put_account("di:1"), put_account("di:2")]).await;
    apply(
        &store,
        [put_key("di:1", "auto", &two), put_key("di:2", "auto", &two)],
    )
    .await;
    apply(&store, [put_key("di:1", "other", &two)]).await;
    store
}

fn sealed(raw: &Connection) -> Vec<u8> {
    let select = "SELECT secret_1 FROM keys WHERE account = 'di:1' AND name = 'auto'";
    raw.query_row(select, [], |row| row.get(0)).unwrap()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What is in the files of the store, each with its name.
fn files(home: &Home) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(home.path().parent().unwrap()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect()
}

fn is_damage(outcome: &Result<Kept, KeyStoreError>) -> bool {
    matches!(outcome, Err(KeyStoreError::Damaged { .. }))
}

#[tokio::test]
async fn no_secret_is_in_any_file() {
    let home = Home::new();
    let store = filled(&home, &[1]).await;
    for (name, bytes) in files(&home) {
        assert!(!contains(&bytes, SECRET.as_bytes()), "{name}");
        assert!(!contains(&bytes, b"second secret"), "{name}");
    }
    assert!(files(&home).iter().any(|(_, bytes)| contains(bytes, b"other")));
    drop(store);
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_a_sealed_secret_is_damage() {
    let home = Home::new();
    let store = filled(&home, &[1]).await;
    let raw = home.raw();
    raw.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let good = sealed(&raw);
    let mut put = raw
        .prepare("UPDATE keys SET secret_1 = ?1 WHERE account = 'di:1' AND name = 'auto'")
        .unwrap();
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        put.execute([flipped]).unwrap();
        let outcome = store.load().await;
        assert!(is_damage(&outcome), "bit {bit}: {outcome:?}");
        assert!(
            outcome
                .unwrap_err()
                .to_string()
                .contains("key `auto` of account `di:1`")
        );
    }
    put.execute([good]).unwrap();
    assert_eq!(lines(&store.load().await.unwrap()).len(), 3);
}

#[tokio::test]
async fn rows_and_secrets_that_changed_places_do_not_open() {
    let home = Home::new();
    let store = filled(&home, &[1]).await;
    let raw = home.raw();
    raw.execute_batch("CREATE TABLE aside AS SELECT * FROM keys")
        .unwrap();
    for swap in [BETWEEN_ACCOUNTS, BETWEEN_NAMES, BETWEEN_SLOTS, MOVED_UP, COPIED] {
        raw.execute_batch(swap).unwrap();
        let outcome = store.load().await;
        assert!(is_damage(&outcome), "{swap}: {outcome:?}");
        raw.execute_batch("DELETE FROM keys; INSERT INTO keys SELECT * FROM aside")
            .unwrap();
        assert_eq!(lines(&store.load().await.unwrap()).len(), 3);
    }
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_damage_and_never_left_out() {
    let home = Home::new();
    let store = filled(&home, &[1]).await;
    apply(&store, [revoke("di:1", &TokenId::of_jti("a").unwrap(), None)]).await;
    let raw = home.raw();
    for (break_it, mend_it) in [
        (
            "INSERT INTO accounts VALUES ('', NULL, 0)",
            "DELETE FROM accounts WHERE id = ''",
        ),
        (
            "UPDATE revoked SET token = 'a'",
            "UPDATE revoked SET token = 'jti:a'",
        ),
        (
            "UPDATE revoked SET token = CAST(x'6a74693aff' AS TEXT)",
            "UPDATE revoked SET token = 'jti:a'",
        ),
        ("UPDATE revoked SET until = -1", "UPDATE revoked SET until = NULL"),
        ("UPDATE keys SET until_1 = -1", "UPDATE keys SET until_1 = 5000"),
    ] {
        raw.execute_batch(break_it).unwrap();
        let outcome = store.load().await;
        assert!(is_damage(&outcome), "{break_it}: {outcome:?}");
        raw.execute_batch(mend_it).unwrap();
        assert!(store.load().await.is_ok(), "{mend_it}");
    }
}

#[tokio::test]
async fn a_wrong_master_key_is_refused_at_the_start() {
    let home = Home::new();
    // Even before there is anything to open.
    drop(home.open());
    let refused = home.try_open(&[2]).unwrap_err();
    assert!(matches!(refused, OpenError::WrongMasterKey), "{refused}");
    drop(filled(&home, &[1]).await);
    let refused = home.try_open(&[3, 2]).unwrap_err();
    assert!(matches!(refused, OpenError::WrongMasterKey), "{refused}");
    assert_eq!(lines(&home.open().load().await.unwrap()).len(), 3);
}

#[tokio::test]
async fn a_new_master_key_before_the_old_one_takes_over_and_the_old_one_can_go() {
    let home = Home::new();
    drop(filled(&home, &[1]).await);
    let (old, before) = {
        let raw = home.raw();
        let kept = lines(&home.open().load().await.unwrap());
        (sealed(&raw), kept)
    };
    let store = home.try_open(&[2, 1]).unwrap();
    assert_eq!(lines(&store.load().await.unwrap()), before);
    for (name, bytes) in files(&home) {
        assert!(
            !contains(&bytes, &old),
            "{name} still has what the old key sealed"
        );
    }
    drop(store);
    assert!(matches!(
        home.try_open(&[1]).unwrap_err(),
        OpenError::WrongMasterKey
    ));
    assert_eq!(lines(&home.try_open(&[2]).unwrap().load().await.unwrap()), before);
    // The way back is the same.
    drop(home.try_open(&[1, 2]).unwrap());
    assert_eq!(lines(&home.open().load().await.unwrap()), before);
}

#[tokio::test]
async fn a_rotation_that_meets_damage_changes_nothing() {
    let home = Home::new();
    drop(filled(&home, &[1]).await);
    let spoil = "UPDATE keys SET secret_1 = x'00' WHERE account = 'di:2'";
    let mend = "UPDATE keys SET secret_1 = ?1 WHERE account = 'di:2'";
    let select = "SELECT secret_1 FROM keys WHERE account = 'di:2'";
    let good: Vec<u8> = home.raw().query_row(select, [], |row| row.get(0)).unwrap();
    home.raw().execute_batch(spoil).unwrap();
    let refused = home.try_open(&[2, 1]).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert!(
        refused.to_string().contains("key `auto` of account `di:2`"),
        "{refused}"
    );
    home.raw().execute(mend, [good]).unwrap();
    assert_eq!(lines(&home.open().load().await.unwrap()).len(), 3);
}

#[tokio::test]
async fn keys_without_the_row_that_tells_the_master_key_are_refused() {
    let home = Home::new();
    drop(filled(&home, &[1]).await);
    home.raw().execute_batch("DELETE FROM sentinel").unwrap();
    assert!(matches!(
        home.try_open(&[2]).unwrap_err(),
        OpenError::Damaged { .. }
    ));
}
