//! What stands in a database, read by itself: of a copy, or when no gate has it open.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::gate::database;

/// The books of one folder.
#[derive(Debug)]
pub struct Books {
    /// How many holds are open, and how much they hold.
    pub holds: (usize, i64),
    /// What each call has cost, by its request id.
    pub costs: HashMap<String, i64>,
    /// All of that together.
    pub spent: i64,
    /// How many calls were charged what was held, because the gate was killed.
    pub killed: usize,
    /// Each row in words, for who looks for a mistake.
    pub rows: Vec<String>,
}

/// Reads a copy of the books in `folder`, and checks that they are sound. The copy is made while nobody writes.
pub fn read(folder: &Path) -> Books {
    let copy = copy(folder);
    let connection = Connection::open(database(copy.path())).unwrap();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let (holds, held): (i64, i64) = connection
        .query_row(
            "SELECT count(*), coalesce(sum(amount), 0) FROM holds",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    let mut books = Books {
        holds: (usize::try_from(holds).unwrap(), held),
        costs: HashMap::new(),
        spent: 0,
        killed: 0,
        rows: Vec::new(),
    };
    let mut statement = connection
        .prepare("SELECT request_id, cost, metered, \
             format('%s %s %s %d token=%d output=%d', route, metered, outcome, cost, token IS NOT NULL, output) FROM usage")
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    for row in rows.unwrap() {
        let (id, cost, metered, text): (String, i64, String, String) = row.unwrap();
        books.rows.push(text);
        books.spent += cost;
        books.killed += usize::from(metered == "killed");
        assert!(books.costs.insert(id, cost).is_none(), "a call has two rows");
    }
    books
}

/// A copy of everything in `folder` but what only living processes share.
fn copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let is_shared = entry.file_name().to_string_lossy().ends_with("-shm");
        if !is_shared && entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}
