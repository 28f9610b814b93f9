//! What is held for jobs that are tried again.

use rusqlite::{OptionalExtension, params};

use crate::spend::{Settlement, WAITING};
use crate::store::sqlite::ledger;
use crate::store::sqlite::writer::{Base, Fault};
use crate::types::CallId;

const IS_HELD: &str = "SELECT EXISTS (SELECT 1 FROM holds WHERE call = ?1)";

const RENAME: &str = "UPDATE jobs SET call = ?2 WHERE seq = ?1";

const HELD_BEFORE: &str =
    "SELECT amount, purses FROM jobs WHERE seq = ?1 AND amount IS NOT NULL AND purses IS NOT NULL";

const HOLD: &str = "
    INSERT INTO holds (call, owner, at, amount, purses, account, key, token, model, route, request_id)
    SELECT call, ?2, at, amount, purses, account, key, token, model, surface, id FROM jobs WHERE seq = ?1";

/// Closes the call of a job and gives the job another one, for which as much is held again if something was. Returns
/// whether there was room for that.
pub(super) fn charge_and_hold(
    base: &mut Base,
    (job, old): (i64, CallId),
    settlement: &Settlement,
    call: CallId,
) -> Result<bool, Fault> {
    let mut is_held = base.connection.prepare_cached(IS_HELD)?;
    let was_held: bool = is_held.query_row([old.as_bytes()], |row| row.get(0))?;
    drop(is_held);
    ledger::close(base, std::slice::from_ref(settlement))?;
    rename(base, job, call)?;
    Ok(!was_held || hold(base, job)?)
}

/// Gives a job another call.
pub(super) fn rename(base: &Base, job: i64, call: CallId) -> Result<(), Fault> {
    let mut rename = base.connection.prepare_cached(RENAME)?;
    rename.execute(params![job, call.as_bytes()])?;
    Ok(())
}

/// Holds for the call of a job what was held when the job came, in the same purses. Returns whether there was room.
pub(super) fn hold(base: &mut Base, job: i64) -> Result<bool, Fault> {
    let mut select = base.connection.prepare_cached(HELD_BEFORE)?;
    let before: Option<(i64, Vec<u8>)> = select.query_row([job], |row| row.try_into()).optional()?;
    drop(select);
    let Some((amount, purses)) = before else {
        return Ok(true);
    };
    if !ledger::hold_again(base, &purses, ledger::money(amount)?)? {
        return Ok(false);
    }
    let mut hold = base.connection.prepare_cached(HOLD)?;
    hold.execute(params![job, WAITING.as_bytes()])?;
    Ok(true)
}
