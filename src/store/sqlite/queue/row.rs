//! What columns of jobs stand for.

use std::time::Duration;

use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::queue::{Death, Job, JobId, JobState, View};
use crate::store::sqlite::ledger::damaged;
use crate::store::sqlite::writer::Fault;
use crate::types::{AccountId, CallId, KeyName, ModelName, TokenId};

pub(super) const QUEUED: i64 = 0;
pub(super) const RUNNING: i64 = 1;
pub(super) const DELIVERING: i64 = 2;
pub(super) const DELIVERED: i64 = 3;
pub(super) const FAILED: i64 = 4;
pub(super) const DEAD: i64 = 5;

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
