//! The end of what nobody needs any more, in small steps.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::task::spawn_blocking;

use super::contents;
use super::put::ONCE;
use crate::queue::QueueError;
use crate::store::sqlite::Sqlite;
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::writer::Fault;

/// How many rows one transaction deletes.
const AT_ONCE: usize = 1000;

/// How many jobs lose their contents in one transaction: what is deleted is overwritten.
const CONTENTS_AT_ONCE: usize = 100;

pub(super) const DEAD: &str = "
    SELECT seq FROM jobs WHERE ended IS NOT NULL AND kept = 1 AND ended < ?1 ORDER BY ended LIMIT ?2";

pub(super) const ENDED: &str =
    "SELECT seq FROM jobs WHERE ended IS NOT NULL AND ended < ?1 ORDER BY ended LIMIT ?2";

const EMPTY: &str = "UPDATE jobs SET kept = 0 WHERE seq = ?1";

const REMOVE: &str = "DELETE FROM jobs WHERE seq = ?1";

const FORGET_ONCE: &str = "
    DELETE FROM once WHERE (account, key) IN (SELECT account, key FROM once WHERE at <= ?1 LIMIT ?2)";

const FORGET_SECRETS: &str = "
    UPDATE webhook_secrets SET before = NULL, until = NULL WHERE account IN (
        SELECT account FROM webhook_secrets WHERE until < ?1 LIMIT ?2
    )";

const KNOWN: &str = "SELECT 1 FROM contents WHERE file = ?1";

/// What a step has deleted.
struct Gone {
    rows: usize,
    files: Vec<String>,
}

pub(super) async fn forget(
    store: &Sqlite,
    now: Duration,
    results: Duration,
    ended: Duration,
) -> Result<u64, QueueError> {
    let (results, ended) = (rounded_down(results), rounded_down(ended));
    let mut forgotten: u64 = 0;
    for (step, before) in [(empty as Step, results), (remove as Step, ended)] {
        forgotten = forgotten.saturating_add(go_on(store, step, before, CONTENTS_AT_ONCE).await?);
    }
    let tries = rounded_down(now.saturating_sub(ONCE));
    let secrets = rounded_down(now);
    for (step, before) in [(forget_once as Step, tries), (forget_secrets as Step, secrets)] {
        forgotten = forgotten.saturating_add(go_on(store, step, before, AT_ONCE).await?);
    }
    Ok(forgotten.saturating_add(sweep(store).await?))
}

type Step = fn(&Connection, i64, usize) -> Result<Gone, Fault>;

async fn go_on(store: &Sqlite, step: Step, before: i64, at_once: usize) -> Result<u64, QueueError> {
    let mut forgotten: u64 = 0;
    loop {
        let gone = store
            .change(move |base| step(&base.connection, before, at_once))
            .await?;
        store.stashes.remove(gone.files).await;
        forgotten = forgotten.saturating_add(gone.rows.try_into().unwrap_or(u64::MAX));
        if gone.rows < at_once {
            return Ok(forgotten);
        }
    }
}

fn jobs(connection: &Connection, sql: &str, before: i64, at_once: usize) -> Result<Vec<i64>, Fault> {
    let mut select = connection.prepare_cached(sql)?;
    let jobs = select.query_map(params![before, rows(at_once)], |row| row.get(0))?;
    Ok(jobs.collect::<Result<_, _>>()?)
}

/// Deletes the contents of dead jobs.
fn empty(connection: &Connection, before: i64, at_once: usize) -> Result<Gone, Fault> {
    let jobs = jobs(connection, DEAD, before, at_once)?;
    let mut files = Vec::new();
    for job in &jobs {
        files.extend(contents::remove_all(connection, *job)?);
        connection.prepare_cached(EMPTY)?.execute([job])?;
    }
    let rows = jobs.len();
    Ok(Gone { rows, files })
}

/// Deletes jobs that have ended.
fn remove(connection: &Connection, before: i64, at_once: usize) -> Result<Gone, Fault> {
    let jobs = jobs(connection, ENDED, before, at_once)?;
    let mut files = Vec::new();
    for job in &jobs {
        files.extend(contents::remove_all(connection, *job)?);
        connection.prepare_cached(REMOVE)?.execute([job])?;
    }
    let rows = jobs.len();
    Ok(Gone { rows, files })
}

fn forget_once(connection: &Connection, before: i64, at_once: usize) -> Result<Gone, Fault> {
    delete(connection, FORGET_ONCE, before, at_once)
}

fn forget_secrets(connection: &Connection, before: i64, at_once: usize) -> Result<Gone, Fault> {
    delete(connection, FORGET_SECRETS, before, at_once)
}

fn delete(connection: &Connection, sql: &str, before: i64, at_once: usize) -> Result<Gone, Fault> {
    let mut delete = connection.prepare_cached(sql)?;
    let rows = delete.execute(params![before, rows(at_once)])?;
    let files = Vec::new();
    Ok(Gone { rows, files })
}

fn rows(limit: usize) -> i64 {
    limit.try_into().unwrap_or(i64::MAX)
}

/// Removes files of no job, as a process leaves them that is killed. Returns how many there were.
async fn sweep(store: &Sqlite) -> Result<u64, QueueError> {
    let stashes = store.stashes.clone();
    let listing = spawn_blocking(move || stashes.names()).await;
    let listed = listing.map_err(std::io::Error::other).flatten();
    let names = listed.map_err(|error| QueueError::Unavailable {
        why: error.to_string(),
    })?;
    let mut swept: u64 = 0;
    for names in names.chunks(AT_ONCE) {
        let names = names.to_vec();
        let unknown = store
            .change(move |base| Ok(of_no_job(&base.connection, &names)?))
            .await?;
        swept = swept.saturating_add(unknown.len().try_into().unwrap_or(u64::MAX));
        store.stashes.remove(unknown).await;
    }
    Ok(swept)
}

/// Which of the files no job has.
pub(in crate::store::sqlite) fn of_no_job(
    connection: &Connection,
    names: &[String],
) -> rusqlite::Result<Vec<String>> {
    let mut known = connection.prepare_cached(KNOWN)?;
    let mut unknown = Vec::new();
    for name in names {
        let is_known: Option<i64> = known.query_row([name], |row| row.get(0)).optional()?;
        if is_known.is_none() {
            unknown.push(name.clone());
        }
    }
    Ok(unknown)
}
