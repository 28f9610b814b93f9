//! One transaction for many pieces of work.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Base, Fault, Piece, Verdict, join_all_that_waits};

/// The most pieces of work that share a commit.
pub(super) const MAX_BATCH: usize = 256;

/// How long a batch takes further work: its first piece waits for the last.
const MAX_BATCH_TIME: Duration = Duration::from_millis(2);

/// How a batch went that was done without savepoints.
#[derive(PartialEq, Eq)]
enum Course {
    Committed,
    /// A piece failed when it had changed something already.
    Torn,
}

/// Runs and commits what is in `batch` and what joins it. Work that fails takes back what it did itself, no more.
///
/// A savepoint for each piece costs as much as some pieces do, and few fail half-way: so there are none until one does,
/// and then all is done anew with them.
pub(super) fn commit(
    base: &mut Base,
    batch: &mut Vec<Piece>,
    pieces: &mut mpsc::Receiver<Piece>,
) -> Result<(), Fault> {
    match commit_together(base, batch, pieces)? {
        Course::Committed => Ok(()),
        Course::Torn => {
            base.roll_back()?;
            commit_each(base, batch)
        }
    }
}

fn commit_together(
    base: &mut Base,
    batch: &mut Vec<Piece>,
    pieces: &mut mpsc::Receiver<Piece>,
) -> Result<Course, Fault> {
    let until = Instant::now() + MAX_BATCH_TIME;
    base.execute("BEGIN IMMEDIATE")
        .inspect_err(|_| join_all_that_waits(batch, pieces))?;
    while let Some(piece) = batch.last_mut() {
        let mark = base.book.mark(&base.connection);
        let verdict = piece.run(base);
        if !is_kept(base, verdict)? && base.book.mark(&base.connection) != mark {
            return Ok(Course::Torn);
        }
        if batch.len() >= MAX_BATCH || Instant::now() >= until {
            break;
        }
        match pieces.try_recv() {
            Ok(next) => batch.push(next),
            Err(_none_or_closed) => break,
        }
    }
    finish(base)?;
    Ok(Course::Committed)
}

fn commit_each(base: &mut Base, batch: &mut [Piece]) -> Result<(), Fault> {
    base.execute("BEGIN IMMEDIATE")?;
    for piece in batch {
        base.execute("SAVEPOINT piece")?;
        let verdict = piece.run(base);
        if is_kept(base, verdict)? {
            base.book.write(&base.connection)?;
        } else {
            base.book.clear();
            base.execute("ROLLBACK TO piece")?;
        }
        base.execute("RELEASE piece")?;
    }
    finish(base)
}

fn finish(base: &mut Base) -> Result<(), Fault> {
    base.book.write(&base.connection)?;
    base.execute("COMMIT")
}

/// Whether to keep what a piece did. An error where it did more than fail is one of the whole batch.
fn is_kept(base: &Base, verdict: Verdict) -> Result<bool, Fault> {
    let has_ended = base.connection.is_autocommit();
    match verdict {
        Verdict::Failed(fault) if has_ended || matches!(fault, Fault::InDoubt(_)) => Err(fault),
        Verdict::Kept | Verdict::Refused if has_ended => {
            Err(Fault::InDoubt("the transaction has ended early".to_owned()))
        }
        Verdict::Kept => Ok(true),
        Verdict::Refused | Verdict::Failed(_) => Ok(false),
    }
}
