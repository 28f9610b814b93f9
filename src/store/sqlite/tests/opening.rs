//! What is refused at the start, and how what is there is taken over.

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn refused(home: &Home) -> OpenError {
    home.try_open(&[1]).unwrap_err()
}

#[tokio::test]
async fn what_is_made_is_for_its_owner_alone() {
    let home = Home::new();
    let store = home.open();
    apply(&store, [put_account("di:1")]).await;
    let folder = home.path().parent().unwrap().to_owned();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let own = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), own, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort_unstable();
    let expected = [
        "jobs",
        "tidegate.db",
        "tidegate.db-shm",
        "tidegate.db-wal",
        "tidegate.db.lock",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_second_opening_is_refused_while_the_first_holds_and_by_any_name() {
    let home = Home::new();
    let store = home.open();
    let link = home.dir.path().join("link.db");
    symlink(home.path(), &link).unwrap();
    for path in [home.path(), link] {
        let refused = Sqlite::open(&path, masters(&[1]), metrics()).unwrap_err();
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
        assert!(
            refused.to_string().contains("in use by another process"),
            "{refused}"
        );
    }
    drop(store);
    home.open();
}

#[test]
fn an_opening_that_fails_leaves_the_file_free() {
    let home = Home::new();
    drop(home.open());
    for _ in 0..3 {
        assert!(matches!(
            home.try_open(&[2]).unwrap_err(),
            OpenError::WrongMasterKey
        ));
    }
    home.open();
}

#[test]
fn a_database_of_a_newer_program_is_refused_untouched() {
    let home = Home::new();
    drop(home.open());
    let note = "INSERT INTO refinery_schema_history VALUES (7, 'jobs', '2026-01-01T00:00:00Z', '1')";
    home.raw().execute_batch(note).unwrap();
    let before = fs::read(home.path()).unwrap();
    let OpenError::Newer { found, known } = refused(&home) else {
        panic!("a newer database was opened");
    };
    assert_eq!((found, known), (7, 3));
    assert_eq!(fs::read(home.path()).unwrap(), before);
}

#[test]
fn tables_that_are_not_those_of_their_version_are_refused() {
    let home = Home::new();
    drop(home.open());
    let history = |checksum: &str| {
        let update = "UPDATE refinery_schema_history SET checksum = ?1";
        home.raw().execute(update, [checksum]).unwrap();
        refused(&home)
    };
    assert!(matches!(history("1"), OpenError::Migration(_)));
    assert!(matches!(history("no number"), OpenError::Damaged { .. }));
}

#[test]
fn a_file_that_is_no_database_of_ours_is_refused_untouched() {
    let home = Home::new();
    fs::create_dir(home.path().parent().unwrap()).unwrap();
    home.raw().execute_batch("CREATE TABLE theirs (number)").unwrap();
    let before = fs::read(home.path()).unwrap();
    let first = refused(&home);
    assert!(matches!(first, OpenError::Foreign { .. }), "{first}");
    assert_eq!(fs::read(home.path()).unwrap(), before);

    let text = "This is no database at all. ".repeat(100);
    fs::write(home.path(), &text).unwrap();
    let second = refused(&home);
    assert!(matches!(second, OpenError::Damaged { .. }), "{second}");
    assert_eq!(fs::read_to_string(home.path()).unwrap(), text);
}

#[test]
fn a_place_where_no_file_can_be_is_named() {
    let home = Home::new();
    fs::create_dir_all(home.path()).unwrap();
    let refused = refused(&home);
    assert!(matches!(refused, OpenError::File { .. }));
    assert!(refused.to_string().contains("tidegate.db"), "{refused}");
}
