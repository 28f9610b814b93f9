//! What columns of jobs stand for.

use std::time::Duration;

use rusqlite::types::FromSql;
use rusqlite::{Connection, Row, params};

use crate::queue::{Attempt, Death, Job, JobId, JobState, Phase, View};
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::ledger::damaged;
use crate::store::sqlite::writer::Fault;
use crate::types::{AccountId, CallId, KeyName, ModelName, TokenId};

pub(super) const QUEUED: i64 = 0;
pub(super) const RUNNING: i64 = 1;
pub(super) const DELIVERING: i64 = 2;
pub(super) const DELIVERED: i64 = 3;
pub(super) const FAILED: i64 = 4;
pub(super) const DEAD: i64 = 5;

/// The longest text of an error that is kept, in bytes.
const MAX_ERROR: usize = 1024;

const PUT_ATTEMPT: &str = "
    INSERT INTO attempts (job, number, phase, at, status, error)
    VALUES (?1, coalesce((SELECT max(number) FROM attempts WHERE job = ?1), 0) + 1, ?2, ?3, ?4, ?5)";

// The last 100.
const DROP_ATTEMPTS: &str = "
    DELETE FROM attempts WHERE job = ?1
    AND number <= (SELECT max(number) FROM attempts WHERE job = ?1) - 100";

const ATTEMPTS: &str = "SELECT phase, at, status, error FROM attempts WHERE job = ?1 ORDER BY number";

/// What a state is in its column.
pub(super) fn code(state: JobState) -> i64 {
    match state {
        JobState::Queued => QUEUED,
        JobState::Running => RUNNING,
        JobState::Delivering => DELIVERING,
        JobState::Delivered => DELIVERED,
        JobState::Failed => FAILED,
        JobState::Dead => DEAD,
    }
}

/// The state of a column.
pub(super) fn state(code: i64) -> Result<JobState, Fault> {
    let found = JobState::ALL.into_iter().find(|state| self::code(*state) == code);
    found.ok_or_else(|| damaged("the state of a job"))
}

/// A column as it is.
pub(super) fn get<T: FromSql>(row: &Row<'_>, column: &str) -> Result<T, Fault> {
    Ok(row.get(column)?)
}

/// A time in a column.
pub(super) fn time(row: &Row<'_>, column: &str) -> Result<Duration, Fault> {
    let millis: i64 = row.get(column)?;
    let millis = u64::try_from(millis).map_err(|_negative| damaged("a time of a job"))?;
    Ok(Duration::from_millis(millis))
}

fn text<'a>(row: &'a Row<'_>, column: &str) -> Result<&'a str, Fault> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

fn optional<T, E>(
    row: &Row<'_>,
    column: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Fault> {
    let text = row
        .get_ref(column)?
        .as_str_or_null()
        .map_err(rusqlite::Error::from)?;
    let parsed = text.map(parse).transpose();
    parsed.map_err(|_invalid| damaged("the token or model of a job"))
}

pub(super) fn account(row: &Row<'_>) -> Result<AccountId, Fault> {
    AccountId::parse(text(row, "account")?).map_err(|_invalid| damaged("the account of a job"))
}

pub(super) fn id(row: &Row<'_>) -> Result<JobId, Fault> {
    JobId::parse(text(row, "id")?).ok_or_else(|| damaged("the id of a job"))
}

pub(super) fn model(row: &Row<'_>) -> Result<Option<ModelName>, Fault> {
    optional(row, "model", ModelName::parse)
}

fn key(row: &Row<'_>) -> Result<KeyName, Fault> {
    KeyName::parse(text(row, "key")?).map_err(|_invalid| damaged("the key of a job"))
}

/// What a worker has to know of a job.
pub(super) fn job(row: &Row<'_>) -> Result<Job, Fault> {
    Ok(Job {
        id: id(row)?,
        call: CallId::from_bytes(row.get("call")?),
        at: time(row, "at")?,
        account: account(row)?,
        key: key(row)?,
        token: optional(row, "token", TokenId::parse)?,
        model: model(row)?,
        origin: get(row, "origin")?,
        failed: get(row, "failed")?,
    })
}

/// A job as clients and operators see it, still without its attempts.
pub(super) fn view(row: &Row<'_>) -> Result<View, Fault> {
    let state = state(row.get("state")?)?;
    let death: Option<String> = row.get("death")?;
    let death = death.map(|word| Death::parse(&word).ok_or_else(|| damaged("the death of a job")));
    let waits = !state.is_final()
        && row
            .get_ref("owner")?
            .as_blob_or_null()
            .is_ok_and(|owner| owner.is_none());
    Ok(View {
        id: id(row)?,
        account: account(row)?,
        key: key(row)?,
        token: optional(row, "token", TokenId::parse)?,
        model: model(row)?,
        origin: get(row, "origin")?,
        state,
        death: death.transpose()?,
        at: time(row, "at")?,
        next_attempt_at: waits.then(|| time(row, "due")).transpose()?,
        attempts: Vec::new(),
    })
}

/// Writes down an attempt.
pub(super) fn put_attempt(connection: &Connection, job: i64, attempt: &Attempt) -> Result<(), Fault> {
    let phase = match attempt.phase {
        Phase::Run => 0,
        Phase::Deliver => 1,
    };
    let error = attempt.error.as_deref().map(cut);
    let mut put = connection.prepare_cached(PUT_ATTEMPT)?;
    put.execute(params![
        job,
        phase,
        rounded_down(attempt.at),
        attempt.status,
        error
    ])?;
    connection.prepare_cached(DROP_ATTEMPTS)?.execute([job])?;
    Ok(())
}

/// An error as it is kept.
fn cut(error: &str) -> String {
    let mut kept = String::new();
    for char in error.chars().filter(|char| !char.is_control()) {
        if kept.len().saturating_add(char.len_utf8()) > MAX_ERROR {
            break;
        }
        kept.push(char);
    }
    kept
}

/// The attempts of a job, the oldest first.
pub(super) fn attempts(connection: &Connection, job: i64) -> Result<Vec<Attempt>, Fault> {
    let mut select = connection.prepare_cached(ATTEMPTS)?;
    let mut rows = select.query([job])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        let phase = match get(row, "phase")? {
            0 => Phase::Run,
            1 => Phase::Deliver,
            _ => return Err(damaged("the phase of an attempt")),
        };
        attempts.push(Attempt {
            phase,
            at: time(row, "at")?,
            status: get(row, "status")?,
            error: get(row, "error")?,
        });
    }
    Ok(attempts)
}
