//! The master key of a file: whether it is the right one, and what happens when another follows it.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::open::OpenError;
use super::{keys, queue};
use crate::store::seal::{MasterKeys, Place, SealError};

const SENTINEL: Place<'static> = Place {
    table: "sentinel",
    account: "",
    name: "",
    slot: 0,
};

/// What the sentinel holds; nothing depends on it but that it opens.
const SENTINEL_TEXT: &[u8] = b"tidegate";

/// Checks the master keys against the sentinel, and seals anew with the first what another sealed.
pub(super) fn unlock(connection: &mut Connection, master: &MasterKeys) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sealed: Option<Vec<u8>> = transaction
        .query_row("SELECT sealed FROM sentinel", [], |row| row.get(0))
        .optional()?;
    match sealed {
        Some(sealed) => {
            check(&sealed, master)?;
            if !sealed.starts_with(master.header()) {
                put_sentinel(&transaction, master)?;
            }
        }
        None if keys::any(&transaction)? => return Err(damaged("the row that tells the master key is gone")),
        None => put_sentinel(&transaction, master)?,
    }
    // What jobs have is sealed anew later, while the work goes on; so it may need an older key still.
    if !queue::all_known(&transaction, master)? {
        return Err(OpenError::WrongMasterKey);
    }
    let renewed = seal_anew(&transaction, master)?;
    transaction.commit()?;
    if renewed > 0 {
        // What the old key sealed must not stay in the log. Another reader may hold that up; a later one will do.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        tracing::info!(
            keys = renewed,
            "sealed anew with the first master key; the others can go when that is said of the jobs too"
        );
    }
    Ok(())
}

fn check(sealed: &[u8], master: &MasterKeys) -> Result<(), OpenError> {
    match master.open(SENTINEL, sealed) {
        Ok(_) => Ok(()),
        Err(SealError::UnknownKey) => Err(OpenError::WrongMasterKey),
        Err(SealError::Broken | SealError::Cipher) => Err(damaged("the row that tells the master key")),
    }
}

fn put_sentinel(connection: &Connection, master: &MasterKeys) -> Result<(), OpenError> {
    let sealed = master
        .seal(SENTINEL, SENTINEL_TEXT)
        .map_err(|_refused| OpenError::Cipher)?;
    connection.execute(
        "INSERT INTO sentinel (id, sealed) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET sealed = ?1",
        [sealed],
    )?;
    Ok(())
}

/// Seals anew what another key than the first sealed. Returns how many keys that were.
fn seal_anew(connection: &Connection, master: &MasterKeys) -> Result<usize, OpenError> {
    let old = keys::sealed_otherwise(connection, master.header())?;
    let mut update = connection
        .prepare("UPDATE keys SET secret_1 = ?3, secret_2 = ?4 WHERE account = ?1 AND name = ?2")?;
    for row in &old {
        let anew = |slot, sealed: &Vec<u8>| {
            let secret = row.open(slot, sealed, master).map_err(damaged)?;
            let sealed = master.seal(row.place(slot), &secret);
            sealed.map_err(|_refused| OpenError::Cipher)
        };
        let first = anew(1, &row.first)?;
        let second = row.second.as_ref().map(|sealed| anew(2, sealed)).transpose()?;
        update.execute(params![row.account, row.name, first, second])?;
    }
    Ok(old.len())
}

fn damaged(what: impl Into<String>) -> OpenError {
    OpenError::Damaged { what: what.into() }
}
