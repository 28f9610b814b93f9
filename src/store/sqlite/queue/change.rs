//! What becomes of leased jobs. Whoever's lease holds no more changes nothing.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::attempts::Sealed;
use super::contents::{self, New, Piece};
use super::{money, row};
use crate::queue::{Again, Attempt, Death, Lane, Lease, Part, QueueError, Ran, Settled};
use crate::spend::Settlement;
use crate::store::sqlite::Sqlite;
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::ledger;
use crate::store::sqlite::writer::{Base, Fault};
use crate::types::{AccountId, CallId};

const LEASED: &str = "
    SELECT seq, state, call, account, origin, succeeded FROM jobs
    WHERE id = ?1 AND epoch = ?2 AND owner IS NOT NULL";

const RENEW: &str = "UPDATE jobs SET lease_until = ?3 WHERE id = ?1 AND epoch = ?2 AND owner IS NOT NULL";

const PUT_BACK: &str = "
    UPDATE jobs SET state = CASE state WHEN 1 THEN 0 ELSE state END, owner = NULL, lease_until = NULL, due = ?2,
        gap = ?3, failed = failed + ?4, crashes = iif(?4, 0, crashes)
    WHERE seq = ?1";

const RAN: &str = "
    UPDATE jobs SET state = 2, owner = NULL, lease_until = NULL, due = ?2, gap = 0, lane = ?3, crashes = 0, failed = 0,
        succeeded = ?4
    WHERE seq = ?1";

const DELIVERED: &str = "
    UPDATE jobs SET state = ?2, owner = NULL, lease_until = NULL, ended = ?3, kept = 0 WHERE seq = ?1";

const DIED: &str = "
    UPDATE jobs SET state = 5, death = ?2, owner = NULL, lease_until = NULL, ended = ?3 WHERE seq = ?1";

/// A job whose lease holds.
struct Leased {
    seq: i64,
    state: i64,
    call: CallId,
    account: String,
    origin: String,
    succeeded: Option<bool>,
}

fn leased(base: &Base, lease: &Lease) -> Result<Option<Leased>, Fault> {
    let mut select = base.connection.prepare_cached(LEASED)?;
    let leased = select.query_row(params![lease.job.as_str(), lease.epoch], |row| {
        Ok(Leased {
            seq: row.get(0)?,
            state: row.get(1)?,
            call: CallId::from_bytes(row.get(2)?),
            account: row.get(3)?,
            origin: row.get(4)?,
            succeeded: row.get(5)?,
        })
    });
    Ok(leased.optional()?)
}

pub(super) async fn renew(
    store: &Sqlite,
    leases: Vec<Lease>,
    until: Duration,
) -> Result<Vec<Lease>, QueueError> {
    let until = rounded_down(until);
    store
        .change(move |base| {
            let mut renew = base.connection.prepare_cached(RENEW)?;
            let mut lost = Vec::new();
            for lease in &leases {
                if renew.execute(params![lease.job.as_str(), lease.epoch, until])? == 0 {
                    lost.push(lease.clone());
                }
            }
            Ok(lost)
        })
        .await
}

pub(super) async fn put_back(store: &Sqlite, lease: Lease, mut again: Again) -> Result<Settled, QueueError> {
    let attempt = again.attempt.take();
    let attempt = attempt.map(|attempt| Sealed::of(&store.master, &lease.job, attempt));
    let put_back = move |base: &mut Base| {
        let Some(job) = leased(base, &lease)? else {
            return Ok(Settled::Lost);
        };
        if let Some((settlement, call)) = &again.charge
            && !money::charge_and_hold(base, (job.seq, job.call), settlement, *call)?
        {
            return Ok(Settled::Broke);
        }
        if let Some(attempt) = &attempt {
            attempt.put(&base.connection, job.seq)?;
        }
        let mut put_back = base.connection.prepare_cached(PUT_BACK)?;
        put_back.execute(params![
            job.seq,
            rounded_down(again.due),
            rounded_down(again.gap),
            i64::from(attempt.is_some())
        ])?;
        Ok(Settled::Waits)
    };
    store.change(put_back).await
}

pub(super) async fn ran(store: &Sqlite, lease: Lease, ran: Ran) -> Result<bool, QueueError> {
    let Ran {
        result,
        succeeded,
        settlement,
        attempt,
    } = ran;
    let result = New::of(&store.stashes, &store.master, &lease.job, (Part::Result, result))?;
    let file: Vec<_> = result.file().map(str::to_owned).into_iter().collect();
    let attempt = Sealed::of(&store.master, &lease.job, attempt);
    let done = store.change(move |base| {
        let Some(job) = leased(base, &lease)?.filter(|job| job.state == row::RUNNING) else {
            return Ok(None);
        };
        let account = AccountId::parse(&job.account);
        let account = account.map_err(|_invalid| ledger::damaged("the account of a job"))?;
        let lane = Lane::of_receiver(&account, &job.origin);
        // Without a settlement the call was never made: what is held for it goes back.
        let release = Settlement::Release(job.call);
        let closed = ledger::close(base, &[settlement.clone().unwrap_or(release)])?;
        let connection = &base.connection;
        let gone = contents::remove_one(connection, job.seq, Piece::Request)?;
        result.put(connection, job.seq)?;
        attempt.put(connection, job.seq)?;
        let mut update = connection.prepare_cached(RAN)?;
        update.execute(params![
            job.seq,
            rounded_down(attempt.at()),
            lane.as_str(),
            succeeded
        ])?;
        Ok(Some((gone, closed)))
    });
    let Some((gone, closed)) = done.await? else {
        store.stashes.remove(file).await;
        return Ok(false);
    };
    for closed in closed {
        store.metrics.overspent(closed.overspent);
    }
    store.stashes.remove(gone).await;
    Ok(true)
}

pub(super) async fn delivered(store: &Sqlite, lease: Lease, attempt: Attempt) -> Result<bool, QueueError> {
    let attempt = Sealed::of(&store.master, &lease.job, attempt);
    let done = store.change(move |base| {
        let Some(job) = leased(base, &lease)?.filter(|job| job.state == row::DELIVERING) else {
            return Ok(None);
        };
        let connection = &base.connection;
        let gone = contents::remove_all(connection, job.seq)?;
        attempt.put(connection, job.seq)?;
        let state = match job.succeeded {
            Some(true) => row::DELIVERED,
            Some(false) | None => row::FAILED,
        };
        let mut update = connection.prepare_cached(DELIVERED)?;
        update.execute(params![job.seq, state, rounded_down(attempt.at())])?;
        Ok(Some(gone))
    });
    let gone = done.await?;
    let is_done = gone.is_some();
    store.stashes.remove(gone.unwrap_or_default()).await;
    Ok(is_done)
}

pub(super) async fn died(
    store: &Sqlite,
    lease: Lease,
    attempt: Attempt,
    death: Death,
) -> Result<bool, QueueError> {
    let attempt = Sealed::of(&store.master, &lease.job, attempt);
    let died = move |base: &mut Base| {
        let Some(job) = leased(base, &lease)? else {
            return Ok(false);
        };
        attempt.put(&base.connection, job.seq)?;
        die(base, (job.seq, job.call), death, attempt.at())?;
        Ok(true)
    };
    store.change(died).await
}

/// Ends a job; what is held for it goes back.
pub(super) fn die(
    base: &mut Base,
    (seq, call): (i64, CallId),
    death: Death,
    at: Duration,
) -> Result<(), Fault> {
    ledger::close(base, &[Settlement::Release(call)])?;
    let mut update = base.connection.prepare_cached(DIED)?;
    update.execute(params![seq, death.as_str(), rounded_down(at)])?;
    Ok(())
}
