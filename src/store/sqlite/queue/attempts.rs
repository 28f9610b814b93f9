//! What was attempted of a job. What others have said is sealed: it may repeat what the job must not tell.

use rusqlite::{Connection, params};

use super::row::{get, time};
use crate::queue::{Attempt, JobId, Phase};
use crate::store::seal::{MasterKeys, Place};
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::ledger::damaged;
use crate::store::sqlite::writer::Fault;

/// The longest text that is kept, in bytes.
const MAX_TEXT: usize = 1024;

const PUT: &str = "
    INSERT INTO attempts (job, number, phase, at, status, error, said)
    VALUES (?1, coalesce((SELECT max(number) FROM attempts WHERE job = ?1), 0) + 1, ?2, ?3, ?4, ?5, ?6)";

// The last 100.
const DROP: &str = "
    DELETE FROM attempts WHERE job = ?1
    AND number <= (SELECT max(number) FROM attempts WHERE job = ?1) - 100";

const LIST: &str = "SELECT phase, at, status, error, said FROM attempts WHERE job = ?1 ORDER BY number";

/// An attempt with what is secret of it sealed.
#[derive(Debug)]
pub(super) struct Sealed {
    attempt: Attempt,
    said: Option<Vec<u8>>,
}

impl Sealed {
    /// Seals it. Where that fails nothing is kept of what others have said.
    pub(super) fn of(master: &MasterKeys, job: &JobId, mut attempt: Attempt) -> Self {
        let said = attempt.said.take();
        let said = said.and_then(|said| master.seal(place(job), cut(&said).as_bytes()).ok());
        Self { attempt, said }
    }

    /// Writes it down, behind those before it.
    pub(super) fn put(&self, connection: &Connection, job: i64) -> Result<(), Fault> {
        let Self { attempt, said } = self;
        let phase = match attempt.phase {
            Phase::Run => 0,
            Phase::Deliver => 1,
        };
        let error = attempt.error.as_deref().map(cut);
        let at = rounded_down(attempt.at);
        let mut put = connection.prepare_cached(PUT)?;
        put.execute(params![job, phase, at, attempt.status, error, said])?;
        connection.prepare_cached(DROP)?.execute([job])?;
        Ok(())
    }

    /// When it began.
    pub(super) fn at(&self) -> std::time::Duration {
        self.attempt.at
    }
}

/// The attempts of a job, the oldest first. What another key has sealed is left out.
pub(super) fn list(
    connection: &Connection,
    master: &MasterKeys,
    (seq, job): (i64, &JobId),
) -> Result<Vec<Attempt>, Fault> {
    let mut select = connection.prepare_cached(LIST)?;
    let mut rows = select.query([seq])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        let phase = match get(row, "phase")? {
            0 => Phase::Run,
            1 => Phase::Deliver,
            _ => return Err(damaged("the phase of an attempt")),
        };
        let said: Option<Vec<u8>> = get(row, "said")?;
        let said = said.and_then(|said| master.open(place(job), &said).ok());
        attempts.push(Attempt {
            phase,
            at: time(row, "at")?,
            status: get(row, "status")?,
            error: get(row, "error")?,
            said: said.and_then(|said| String::from_utf8(said.to_vec()).ok()),
        });
    }
    Ok(attempts)
}

fn place(job: &JobId) -> Place<'_> {
    Place {
        table: "attempts",
        account: job.as_str(),
        name: "said",
        slot: 0,
    }
}

/// A text as it is kept.
fn cut(text: &str) -> String {
    let mut kept = String::new();
    for char in text.chars().filter(|char| !char.is_control()) {
        if kept.len().saturating_add(char.len_utf8()) > MAX_TEXT {
            break;
        }
        kept.push(char);
    }
    kept
}
