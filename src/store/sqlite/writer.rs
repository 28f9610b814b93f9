//! The one thread that owns the connection: work comes over a bounded channel and is committed in groups.

mod batch;

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::ledger::Book;
use crate::metrics::Metrics;
use crate::token::KeyStoreError;

/// How much work may wait, in pieces: what waits for the disk longer than a few commits waits at its caller.
const MAX_QUEUED: usize = 1024;

/// A connection, and the lock that keeps other processes from the file as long as it is open.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) lock: File,
    /// Connects once more, to the same file; the first connection is closed by then.
    pub(super) reopen: Reopen,
}

pub(super) type Reopen = Box<dyn Fn() -> Result<Connection, Fault> + Send>;

/// What work works with.
pub(super) struct Base {
    pub(super) connection: Connection,
    pub(super) book: Book,
}

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
    /// After a failed write to the disk the system may have dropped what it was to write and say nothing about it the
    /// second time: then what the connection remembers counts no more.
    InDoubt(String),
    Damaged(String),
}

type Piece = Box<dyn Work>;

/// Work that waits for its commit.
trait Work: Send {
    /// Does it, once more if what it did was taken back.
    fn run(&mut self, base: &mut Base) -> Verdict;

    /// Answers, after the commit or after what went wrong with it.
    fn answer(self: Box<Self>, committed: &Result<(), Fault>);
}

/// Whether what work did is to be kept.
enum Verdict {
    Kept,
    Refused,
    Failed(Fault),
}

struct Task<F, T, E> {
    work: F,
    outcome: Option<Result<Result<T, E>, Fault>>,
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

    /// Does `work` on the thread, in a transaction with other work: all of it or, if it fails, nothing. It may have to be
    /// done more than once, what it did before being taken back.
    ///
    /// Returns when that is on the disk. Once the work is handed over, dropping the future changes nothing.
    pub(super) async fn run<T, E>(
        &self,
        work: impl Fn(&mut Base) -> Result<Result<T, E>, Fault> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let task = Task {
            work,
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
    F: Fn(&mut Base) -> Result<Result<T, E>, Fault> + Send,
    T: Send,
    E: From<Fault> + Send,
{
    fn run(&mut self, base: &mut Base) -> Verdict {
        let outcome = (self.work)(base);
        let verdict = match &outcome {
            Ok(Ok(_)) => Verdict::Kept,
            Ok(Err(_)) => Verdict::Refused,
            Err(fault) => Verdict::Failed(fault.clone()),
        };
        self.outcome = Some(outcome);
        verdict
    }

    fn answer(self: Box<Self>, committed: &Result<(), Fault>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(fault)), _) => Err(fault.into()),
            (Some(Ok(Err(own))), _) => Err(own),
            (_, Err(fault)) => Err(fault.clone().into()),
            (Some(Ok(done)), Ok(())) => done,
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
        let what = error.to_string();
        if is_damage(&error) {
            Self::Damaged(what)
        } else if is_harmless(&error) {
            Self::Unavailable(what)
        } else {
            Self::InDoubt(what)
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

/// Whether a connection can go on after an error.
fn is_harmless(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::ConstraintViolation
        )
    )
}

impl From<Fault> for KeyStoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(why) | Fault::InDoubt(why) => Self::Unavailable { why },
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
    base: Option<Base>,
    reopen: Reopen,
    metrics: Arc<Metrics>,
    // The last field: the lock outlives the connection whatever happens.
    _lock: File,
}

impl Desk {
    fn new(opened: Opened, metrics: Arc<Metrics>) -> Self {
        Self {
            base: Some(Base::new(opened.connection)),
            reopen: opened.reopen,
            metrics,
            _lock: opened.lock,
        }
    }

    fn serve(mut self, mut pieces: mpsc::Receiver<Piece>) {
        while let Some(first) = pieces.blocking_recv() {
            self.serve_batch(first, &mut pieces);
        }
        if let Some(Err((_connection, error))) = self.base.take().map(|base| base.connection.close()) {
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
        let mut base = match self.base.take() {
            Some(base) => base,
            None => {
                let connection = (self.reopen)().inspect_err(|_| join_all_that_waits(batch, pieces))?;
                Base::new(connection)
            }
        };
        let committed = batch::commit(&mut base, batch, pieces);
        let Err(fault) = &committed else {
            base.book.trim();
            self.base = Some(base);
            return Ok(());
        };
        if matches!(fault, Fault::Unavailable(_)) && base.roll_back().is_ok() {
            self.base = Some(base);
        } else {
            tracing::error!(?fault, "the store failed and is opened anew");
        }
        committed
    }
}

impl Base {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            book: Book::default(),
        }
    }

    fn roll_back(&mut self) -> Result<(), Fault> {
        self.book.clear();
        if !self.connection.is_autocommit() {
            self.execute("ROLLBACK")?;
        }
        Ok(())
    }

    fn execute(&self, sql: &str) -> Result<(), Fault> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

/// What waits would only wait as long for the same answer.
fn join_all_that_waits(batch: &mut Vec<Piece>, pieces: &mut mpsc::Receiver<Piece>) {
    batch.extend(std::iter::from_fn(|| pieces.try_recv().ok()).take(MAX_QUEUED));
}

#[cfg(test)]
mod tests;
