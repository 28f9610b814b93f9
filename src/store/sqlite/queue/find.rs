//! Jobs as clients and operators see them.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::task::spawn_blocking;

use super::{attempts, row};
use crate::queue::{Census, Filter, JobId, JobState, QueueError, StateCount, View};
use crate::store::seal::MasterKeys;
use crate::store::sqlite::Sqlite;
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::ledger;
use crate::store::sqlite::writer::{Base, Fault};
use crate::types::AccountId;

const FIND: &str = "SELECT * FROM jobs WHERE id = ?1";

pub(super) const OF_STATE: &str = "
    SELECT * FROM jobs WHERE state = ?1 AND ?2 IS NULL AND (at, seq) < (?4, ?5)
    ORDER BY at DESC, seq DESC LIMIT ?3";

pub(super) const OF_ACCOUNT: &str = "
    SELECT * FROM jobs WHERE state = ?1 AND account = ?2 AND (at, seq) < (?4, ?5)
    ORDER BY at DESC, seq DESC LIMIT ?3";

const SEQ: &str = "SELECT seq FROM jobs WHERE id = ?1";

const COUNTS: &str = "SELECT jobs FROM job_states WHERE state = ?1";

pub(super) const OLDEST: &str = "SELECT min(at) FROM jobs WHERE state = ?1";

pub(super) fn find(base: &mut Base, master: &MasterKeys, job: &JobId) -> Result<Option<View>, Fault> {
    let mut select = base.connection.prepare_cached(FIND)?;
    let mut rows = select.query([job.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut view = row::view(row)?;
    view.attempts = attempts::list(&base.connection, master, (row::get(row, "seq")?, job))?;
    Ok(Some(view))
}

/// Reads beside the writer.
pub(super) async fn list(store: &Sqlite, filter: Filter) -> Result<Vec<View>, QueueError> {
    let path = store.path.clone();
    let reading = spawn_blocking(move || read(&path, &filter));
    let read = reading.await.map_err(|error| QueueError::Unavailable {
        why: error.to_string(),
    })?;
    Ok(read?)
}

fn read(path: &Path, filter: &Filter) -> Result<Vec<View>, Fault> {
    let connection = ledger::open_reader(path)?;
    // All states as they were at one moment: no job is seen twice or not at all.
    let snapshot = connection.unchecked_transaction()?;
    let before = match &filter.after {
        // Where it is forgotten by now, with those of the same millisecond.
        Some((at, job)) => {
            let seq = snapshot.query_row(SEQ, [job.as_str()], |row| row.get(0));
            (rounded_down(*at), seq.optional()?.unwrap_or(0))
        }
        None => (i64::MAX, i64::MAX),
    };
    let mut views = Vec::new();
    for state in JobState::ALL {
        if filter.state.is_none_or(|wanted| wanted == state) {
            read_state(&snapshot, state, (filter, before), &mut views)?;
        }
    }
    views.sort_by_key(|(at, seq, _)| std::cmp::Reverse((*at, *seq)));
    views.truncate(usize::try_from(filter.most).unwrap_or(usize::MAX));
    Ok(views.into_iter().map(|(_, _, view)| view).collect())
}

fn read_state(
    connection: &Connection,
    state: JobState,
    (filter, (at, seq)): (&Filter, (i64, i64)),
    views: &mut Vec<(Duration, i64, View)>,
) -> Result<(), Fault> {
    let account = filter.account.as_ref().map(AccountId::as_str);
    let mut select = connection.prepare(if account.is_some() { OF_ACCOUNT } else { OF_STATE })?;
    let mut rows = select.query(params![row::code(state), account, filter.most, at, seq])?;
    while let Some(row) = rows.next()? {
        let view = row::view(row)?;
        views.push((view.at, row::get(row, "seq")?, view));
    }
    Ok(())
}

pub(super) fn census(base: &mut Base) -> Result<Census, Fault> {
    let mut counts = base.connection.prepare_cached(COUNTS)?;
    let mut oldest = base.connection.prepare_cached(OLDEST)?;
    let mut census = Vec::with_capacity(JobState::ALL.len());
    for state in JobState::ALL {
        let code = [row::code(state)];
        let jobs: Option<i64> = counts.query_row(code, |row| row.get(0)).optional()?;
        let since: Option<i64> = match state.is_final() {
            true => None,
            false => oldest.query_row(code, |row| row.get(0))?,
        };
        census.push(StateCount {
            state,
            jobs: jobs.unwrap_or(0).try_into().unwrap_or(0),
            oldest: since.map(|at| Duration::from_millis(at.try_into().unwrap_or(0))),
        });
    }
    Ok(census)
}
