//! A folder for a store.

use std::path::PathBuf;

use tempfile::TempDir;
use tidegate::store::Sqlite;

use super::open;

/// A folder with a store in it, which may be open or not.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("kept/tidegate.db")
    }

    pub(crate) fn open(&self) -> Sqlite {
        open(&self.path())
    }

    /// The sealed files of jobs.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.path().join("kept/jobs"));
        let entries = entries.into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}
