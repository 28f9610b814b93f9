//! The one thread that owns the connection: work comes over a bounded channel and is committed in groups.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::token::KeyStoreError;

/// How much work may wait, in pieces: what waits for the disk longer than a few commits waits at its caller.
const MAX_QUEUED: usize = 1024;

/// The most pieces of work that share a commit.
const MAX_BATCH: usize = 256;

/// How long a batch takes further work: its first piece waits for the last.
const MAX_BATCH_TIME: Duration = Duration::from_millis(2);

/// A connection, and the lock that keeps other processes from the file as long as it is open.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) lock: File,
    /// Connects once more, to the same file; the first connection is closed by then.
    pub(super) reopen: Reopen,
}

pub(super) type Reopen = Box<dyn Fn() -> Result<Connection, Fault> + Send>;

/// Hands work to the thread. Dropping it ends the thread once the work that waits is done.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Piece>>,
    thread: Option<JoinHandle<()>>,
}

/// Why the thread did not start with a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("the thread of the store can't be started")]
    Thread(#[source] io::Error),
    #[error("the thread of the store panicked")]
    Panicked,
}

/// Why work was not done, or does not last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Unavailable(String),
    Damaged(String),
}

type Piece = Box<dyn Work>;

/// Work that waits for its commit.
trait Work: Send {
    /// Does it, within a savepoint. Tells whether what it did is to be kept.
    fn run(&mut self, connection: &Connection) -> bool;

    /// Answers, after the commit or after what went wrong with it.
    fn answer(self: Box<Self>, committed: &Result<(), Fault>);
}

struct Task<F, T, E> {
    work: Option<F>,
    outcome: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<T, E>>,
}

impl Writer {
    /// Starts the thread, which opens the connection and then serves; waits for the opening.
    pub(super) fn start<E>(
        metrics: Arc<Metrics>,
        open: impl FnOnce() -> Result<Opened, E> + Send + 'static,
    ) -> Result<Self, E>
    where
        E: From<StartError> + Send + 'static,
    {
        let (queue, pieces) = mpsc::channel(MAX_QUEUED);
        let (tell, told) = sync_channel(1);
        let serve_from_open = move || {
            let (opened, outcome) = match open() {
                Ok(opened) => (Some(opened), Ok(())),
                Err(error) => (None, Err(error)),
            };
            if tell.send(outcome).is_ok()
                && let Some(opened) = opened
            {
                Desk::new(opened, metrics).serve(pieces);
            }
        };
        let thread = Builder::new().name("store".to_owned()).spawn(serve_from_open);
        let mut writer = Self {
            queue: Some(queue),
            thread: Some(thread.map_err(StartError::Thread)?),
        };
        let outcome = told
            .recv()
            .unwrap_or_else(|_gone| Err(StartError::Panicked.into()));
        if outcome.is_err() {
            // Whoever tries again must find the lock free.
            writer.stop().unwrap_or_default();
        }
        outcome.map(|()| writer)
    }

    /// Does `work` on the thread, in a transaction with other work: all of it or, if it fails, nothing.
    ///
    /// Returns when that is on the disk. Once the work is handed over, dropping the future changes nothing.
    pub(super) async fn run<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let task = Task {
            work: Some(work),
            outcome: None,
            caller,
        };
        let queue = self.queue.as_ref().ok_or_else(Fault::stopped)?;
        let handed = queue.send(Box::new(task)).await;
        handed.map_err(|_closed| Fault::stopped())?;
        answer.await.map_err(|_dropped| Fault::stopped())?
    }

    /// Ends the thread once the work that waits is done. Blocks until then.
    pub(super) fn stop(&mut self) -> Result<(), Fault> {
        drop(self.queue.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_panic)) => Err(Fault::stopped()),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop().unwrap_or_default();
    }
}

impl<F, T, E> Work for Task<F, T, E>
where
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    T: Send,
    E: From<Fault> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.outcome = self.work.take().map(|work| work(connection));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: &Result<(), Fault>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(fault)) => Err(fault.clone().into()),
            (Some(outcome), Ok(())) => outcome,
            (None, Ok(())) => Err(Fault::stopped().into()),
        };
        // Whoever asked may be gone.
        drop(self.caller.send(outcome));
    }
}

impl Fault {
    fn stopped() -> Self {
        Self::Unavailable("the thread of the store has ended".to_owned())
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}

/// Whether an error tells of a file that holds something else than what was written.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    ) || matches!(
        error,
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
    )
}

impl From<Fault> for KeyStoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(why) => Self::Unavailable { why },
            Fault::Damaged(what) => Self::Damaged { what },
        }
    }
}

impl fmt::Debug for dyn Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

/// What the thread works with.
struct Desk {
    /// None after an error that leaves open what the connection still knows rightly.
    connection: Option<Connection>,
    reopen: Reopen,
    metrics: Arc<Metrics>,
    // The last field: the lock outlives the connection whatever happens.
    _lock: File,
}

impl Desk {
    fn new(opened: Opened, metrics: Arc<Metrics>) -> Self {
        Self {
            connection: Some(opened.connection),
            reopen: opened.reopen,
            metrics,
            _lock: opened.lock,
        }
    }

    fn serve(mut self, mut pieces: mpsc::Receiver<Piece>) {
        while let Some(first) = pieces.blocking_recv() {
            self.serve_batch(first, &mut pieces);
        }
        if let Some(Err((_connection, error))) = self.connection.take().map(Connection::close) {
            tracing::warn!(%error, "the store was not closed in order; nothing is lost");
        }
    }

    /// Commits `first` together with what waits behind it, then answers all. Returns how many there were.
    fn serve_batch(&mut self, first: Piece, pieces: &mut mpsc::Receiver<Piece>) -> usize {
        let began = Instant::now();
        let mut batch = vec![first];
        let committed = self.commit(&mut batch, pieces);
        let len = batch.len();
        if committed.is_ok() {
            self.metrics.ledger_committed(len, began.elapsed());
        }
        for piece in batch {
            piece.answer(&committed);
        }
        len
    }

    fn commit(&mut self, batch: &mut Vec<Piece>, pieces: &mut mpsc::Receiver<Piece>) -> Result<(), Fault> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => (self.reopen)().inspect_err(|_| join_all_that_waits(batch, pieces))?,
        };
        match commit(&mut connection, batch, pieces) {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                if is_sound(&connection, &error) {
                    self.connection = Some(connection);
                } else {
                    tracing::error!(%error, "the store failed and is opened anew");
                }
                Err(error.into())
            }
        }
    }
}

/// Whether a connection can go on after an error. After a failed write to the disk the system may have dropped what it
/// was to write and say nothing about it the second time: then what the connection remembers counts no more.
fn is_sound(connection: &Connection, error: &rusqlite::Error) -> bool {
    let harmless = matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::ConstraintViolation
        )
    );
    harmless && connection.is_autocommit()
}

/// What waits would only wait as long for the same answer.
fn join_all_that_waits(batch: &mut Vec<Piece>, pieces: &mut mpsc::Receiver<Piece>) {
    batch.extend(std::iter::from_fn(|| pieces.try_recv().ok()).take(MAX_QUEUED));
}

/// Runs and commits what is in `batch` and what joins it. Work that fails takes back what it did itself, no more.
fn commit(
    connection: &mut Connection,
    batch: &mut Vec<Piece>,
    pieces: &mut mpsc::Receiver<Piece>,
) -> rusqlite::Result<()> {
    let until = Instant::now() + MAX_BATCH_TIME;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .inspect_err(|_| join_all_that_waits(batch, pieces))?;
    while let Some(piece) = batch.last_mut() {
        // Prepared once, unlike those of the library's own savepoints.
        transaction.prepare_cached("SAVEPOINT piece")?.execute([])?;
        if !piece.run(&transaction) {
            // Fails when the error took the whole transaction back: then nothing of the batch is kept.
            transaction.prepare_cached("ROLLBACK TO piece")?.execute([])?;
        }
        transaction.prepare_cached("RELEASE piece")?.execute([])?;
        if batch.len() >= MAX_BATCH || Instant::now() >= until {
            break;
        }
        match pieces.try_recv() {
            Ok(next) => batch.push(next),
            Err(_none_or_closed) => break,
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests;
