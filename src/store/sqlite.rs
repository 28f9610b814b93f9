//! The store in one SQLite file, which one thread writes.

mod keys;
mod ledger;
mod open;
mod queue;
mod rotation;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::mpsc::sync_channel;

use futures_util::future::BoxFuture;

use self::writer::{Fault, StartError, Writer};
use super::seal::MasterKeys;
use super::stash::Stashes;
use crate::metrics::Metrics;
use crate::token::{Change, Kept, KeyStore, KeyStoreError};

pub use self::open::OpenError;

/// A SQLite file and the thread that owns the connection to it.
///
/// Dropping it waits until everything that was handed over is written and the file is closed.
#[derive(Debug)]
pub struct Sqlite {
    writer: Writer,
    master: Arc<MasterKeys>,
    metrics: Arc<Metrics>,
    path: PathBuf,
    stashes: Stashes,
    /// The latest time that was told: an earlier one tells that the clock was put back. Milliseconds.
    latest: AtomicI64,
}

impl Sqlite {
    /// Opens the file at `path`, or makes it (mode 0600, with a folder of mode 0700 where that is missing).
    ///
    /// Brings the tables up to this version of the program, and seals anew with the first of the master keys what
    /// an older one sealed, so that after this the others are needed no more. Blocks while it works. `metrics` count
    /// each commit.
    ///
    /// # Errors
    /// Another process has the file open; the master key is a wrong one; the file is damaged, of a newer version or
    /// of another program; or the system refuses.
    pub fn open(path: &Path, master: MasterKeys, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        let master = Arc::new(master);
        let (to_open, keys) = (path.to_owned(), Arc::clone(&master));
        let (tell, told) = sync_channel(1);
        let writer = Writer::start(Arc::clone(&metrics), move || {
            let (opened, stashes) = open::open(&to_open, &keys)?;
            // Nobody else waits for it.
            tell.send(stashes).unwrap_or_default();
            Ok::<_, OpenError>(opened)
        })?;
        let stashes = told.recv().map_err(|_gone| StartError::Panicked)?;
        let path = path.to_owned();
        Ok(Self {
            writer,
            master,
            metrics,
            path,
            stashes,
            latest: AtomicI64::new(0),
        })
    }

    /// Writes everything that was handed over and closes the file. Blocks while it works, as dropping does.
    ///
    /// # Errors
    /// The writer ended early; what it had answered is in the file all the same.
    pub fn close(mut self) -> Result<(), KeyStoreError> {
        Ok(self.writer.stop()?)
    }
}

impl KeyStore for Sqlite {
    fn load(&self) -> BoxFuture<'_, Result<Kept, KeyStoreError>> {
        let master = Arc::clone(&self.master);
        Box::pin(
            self.writer
                .run(move |base| judged(keys::load(&base.connection, &master))),
        )
    }

    fn apply(&self, change: Change) -> BoxFuture<'_, Result<(), KeyStoreError>> {
        let master = Arc::clone(&self.master);
        Box::pin(
            self.writer
                .run(move |base| judged(keys::apply(&base.connection, &master, &change))),
        )
    }
}

/// Tells what the file refuses from what the key store does.
fn judged<T>(outcome: Result<T, KeyStoreError>) -> Result<Result<T, KeyStoreError>, Fault> {
    match outcome {
        Err(KeyStoreError::Unavailable { why }) => Err(Fault::InDoubt(why)),
        done => Ok(done),
    }
}

#[cfg(test)]
mod tests;
