//! What operators and the start of the process do to jobs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::{change, money, row};
use crate::queue::{Death, Denied, JobId, JobState, Lane, QueueError};
use crate::spend::Recovered;
use crate::store::sqlite::Sqlite;
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::ledger;
use crate::store::sqlite::writer::{Base, Fault};
use crate::types::CallId;

/// How often in a row a process may die, or lose the lease, while it makes a job's call, before the job counts as what kills it.
const MAX_CRASHES: i64 = 3;

/// How long a job waits after the last time but one: a process that only dies often does not meet it again so soon.
const SUSPECT_WAITS: Duration = Duration::from_secs(30);

/// How many rows one transaction changes.
const AT_ONCE: usize = 1000;

#[cfg(test)]
pub(super) const LEASES: [&str; 2] = [LEFT, EXPIRED];

const LEFT: &str = "SELECT seq, call, state, crashes FROM jobs WHERE owner IS NOT NULL AND owner <> ?1";

const EXPIRED: &str = "
    SELECT seq, call, state, crashes FROM jobs WHERE owner IS NOT NULL AND lease_until <= ?1";

const FREE: &str = "
    UPDATE jobs SET state = CASE state WHEN 1 THEN 0 ELSE state END, owner = NULL, lease_until = NULL,
        crashes = crashes + (state = 1)
    WHERE seq = ?1";

const WAIT: &str = "UPDATE jobs SET due = ?2, gap = ?3 WHERE seq = ?1";

const BRING_BACK: &str = "
    UPDATE jobs SET due = ?1 + gap WHERE seq IN (
        SELECT seq FROM jobs WHERE owner IS NULL AND ended IS NULL AND due - ?1 > gap + gap / 5 LIMIT ?2
    )";

const JOB: &str = "
    SELECT seq, state, call, kept, succeeded, account, model, origin, id FROM jobs WHERE id = ?1";

const REDELIVER: &str = "
    UPDATE jobs SET state = ?2, lane = ?3, due = ?4, gap = 0, death = NULL, ended = NULL, crashes = 0, failed = 0,
        epoch = epoch + 1
    WHERE seq = ?1";

const VOID: &str = "UPDATE jobs SET epoch = epoch + 1 WHERE seq = ?1";

pub(super) async fn take_over(
    store: &Sqlite,
    owner: CallId,
    expired: Option<Duration>,
    now: Duration,
) -> Result<u64, QueueError> {
    let freeing = store.change(move |base| free(base, owner, expired, now));
    let (freed, charged) = freeing.await?;
    store.count_charged(charged);
    let millis = rounded_down(now);
    let latest = store.latest.fetch_max(millis, Ordering::Relaxed);
    if expired.is_none() || latest > millis {
        store.latest.store(millis, Ordering::Relaxed);
        let at_once = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
        loop {
            let brought = store.change(move |base| {
                let mut bring = base.connection.prepare_cached(BRING_BACK)?;
                Ok(bring.execute([millis, at_once])?)
            });
            if brought.await? < AT_ONCE {
                break;
            }
        }
    }
    Ok(freed)
}

/// Gives how many leases there were, and what calls of dead jobs were charged.
fn free(
    base: &mut Base,
    owner: CallId,
    expired: Option<Duration>,
    now: Duration,
) -> Result<(u64, Vec<Recovered>), Fault> {
    let mut charged = Vec::new();
    let leases: Vec<(i64, [u8; 16], i64, i64)> = {
        let connection = &base.connection;
        let (sql, until) = match expired {
            Some(expired) => (EXPIRED, rounded_down(expired)),
            None => (LEFT, 0),
        };
        let mut select = connection.prepare_cached(sql)?;
        let rows = match expired {
            Some(_) => select.query([until])?,
            None => select.query([owner.as_bytes()])?,
        };
        rows.mapped(|row| row.try_into()).collect::<Result<_, _>>()?
    };
    for (seq, call, state, crashes) in &leases {
        base.connection.prepare_cached(FREE)?.execute([seq])?;
        // What a call has cost is paid for: a delivery goes on.
        if *state != row::RUNNING {
            continue;
        }
        let crashes = crashes.saturating_add(1);
        if crashes >= MAX_CRASHES {
            let call = CallId::from_bytes(*call);
            // Its call may have cost something each time.
            charged.extend(ledger::charge_held(base, call)?);
            change::die(base, (*seq, call), Death::Quarantined, now)?;
        } else if crashes == MAX_CRASHES - 1 {
            let due = rounded_down(now.saturating_add(SUSPECT_WAITS));
            let mut wait = base.connection.prepare_cached(WAIT)?;
            wait.execute([*seq, due, rounded_down(SUSPECT_WAITS)])?;
        }
    }
    Ok((leases.len().try_into().unwrap_or(u64::MAX), charged))
}

/// A job that an operator names.
struct Named {
    seq: i64,
    state: JobState,
    call: CallId,
    is_kept: bool,
    has_result: bool,
    to_run: Lane,
    to_deliver: Lane,
}

fn find(connection: &Connection, job: &JobId) -> Result<Option<Named>, Fault> {
    let mut select = connection.prepare_cached(JOB)?;
    let mut rows = select.query([job.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (account, origin): (_, String) = (row::account(row)?, row::get(row, "origin")?);
    Ok(Some(Named {
        seq: row::get(row, "seq")?,
        state: row::state(row::get(row, "state")?)?,
        call: CallId::from_bytes(row::get(row, "call")?),
        is_kept: row::get(row, "kept")?,
        has_result: row::get::<Option<bool>>(row, "succeeded")?.is_some(),
        to_run: Lane::of_model(&account, row::model(row)?.as_ref()),
        to_deliver: Lane::of_receiver(&account, &origin),
    }))
}

/// A dead job is tried again; `call` is its new name in the ledger, if it is to be run.
pub(super) fn redeliver(
    base: &mut Base,
    job: &JobId,
    now: Duration,
    call: CallId,
) -> Result<Result<JobState, Denied>, Fault> {
    let Some(job) = find(&base.connection, job)? else {
        return Ok(Err(Denied::Unknown));
    };
    if job.state != JobState::Dead {
        return Ok(Err(Denied::State(job.state)));
    }
    if !job.is_kept {
        return Ok(Err(Denied::Deleted));
    }
    let (state, lane) = if job.has_result {
        (JobState::Delivering, &job.to_deliver)
    } else {
        // A charge under the old name would not count a second time.
        money::rename(base, job.seq, call)?;
        if !money::hold(base, job.seq)? {
            return Ok(Err(Denied::Broke));
        }
        (JobState::Queued, &job.to_run)
    };
    let mut update = base.connection.prepare_cached(REDELIVER)?;
    update.execute(params![
        job.seq,
        row::code(state),
        lane.as_str(),
        rounded_down(now)
    ])?;
    Ok(Ok(state))
}

/// Ends a job that has not ended; gives what its call was charged.
pub(super) fn cancel(
    base: &mut Base,
    job: &JobId,
    now: Duration,
) -> Result<Result<Option<Recovered>, Denied>, Fault> {
    let Some(job) = find(&base.connection, job)? else {
        return Ok(Err(Denied::Unknown));
    };
    if job.state.is_final() {
        return Ok(Err(Denied::State(job.state)));
    }
    let mut charged = None;
    if job.state == JobState::Running {
        // Its call may have cost something, and whoever made it can't tell any more.
        charged = ledger::charge_held(base, job.call)?;
    }
    base.connection.prepare_cached(VOID)?.execute([job.seq])?;
    change::die(base, (job.seq, job.call), Death::Cancelled, now)?;
    Ok(Ok(charged))
}
