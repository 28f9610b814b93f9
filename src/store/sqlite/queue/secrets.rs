//! What signs an account's deliveries.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::{Connection, OptionalExtension, params};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::queue::{QueueError, Secrets};
use crate::store::seal::{MasterKeys, Place, random_key};
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::ledger::damaged;
use crate::store::sqlite::writer::Fault;

const READ: &str = "SELECT first, before, until FROM webhook_secrets WHERE account = ?1";

const PUT: &str = "
    INSERT INTO webhook_secrets (account, first, before, until) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (account) DO UPDATE SET first = ?2, before = ?3, until = ?4";

pub(super) const SEALED_OTHERWISE: &str = "
    SELECT account, first, before, until FROM webhook_secrets
    WHERE substr(first, 1, length(?1)) <> ?1 OR substr(before, 1, length(?1)) <> ?1 LIMIT ?2";

/// The slots of a row.
const FIRST: u8 = 1;
const BEFORE: u8 = 2;

/// A row as it is.
struct Row {
    account: String,
    first: Vec<u8>,
    before: Option<Vec<u8>>,
    until: Option<i64>,
}

/// `whsec_` and 32 bytes that nobody can guess, in standard base64.
pub(super) fn fresh() -> Result<SecretString, QueueError> {
    let bytes = random_key().ok_or_else(|| QueueError::Unavailable {
        why: "the system gives no random bytes".to_owned(),
    })?;
    let text = Zeroizing::new(STANDARD.encode(*bytes));
    Ok(format!("whsec_{}", *text).into())
}

/// The secrets at `now`; `fresh` becomes the first where there is none.
pub(super) fn read_or_make(
    connection: &Connection,
    master: &MasterKeys,
    account: &str,
    (now, fresh): (Duration, &SecretString),
) -> Result<Secrets, Fault> {
    let Some(row) = read(connection, account)? else {
        put(connection, master, account, (fresh, None))?;
        return Ok(Secrets {
            first: fresh.clone(),
            before: None,
        });
    };
    let before = match (&row.before, row.until) {
        (Some(before), Some(until)) if rounded_down(now) < until => {
            Some(open(master, account, BEFORE, before)?)
        }
        _ => None,
    };
    Ok(Secrets {
        first: open(master, account, FIRST, &row.first)?,
        before,
    })
}

/// Puts another secret before the one that there is, which still signs until `until`.
pub(super) fn rotate(
    connection: &Connection,
    master: &MasterKeys,
    account: &str,
    (secret, until): (&SecretString, Duration),
) -> Result<(), Fault> {
    let before = read(connection, account)?.map(|row| open(master, account, FIRST, &row.first));
    let before = before.transpose()?;
    let before = before.as_ref().map(|before| (before, rounded_down(until)));
    put(connection, master, account, (secret, before))
}

/// Seals anew, with the first master key, at most `limit` rows that another one sealed. Returns how many there were.
pub(super) fn reseal(connection: &Connection, master: &MasterKeys, limit: i64) -> Result<usize, Fault> {
    let mut select = connection.prepare_cached(SEALED_OTHERWISE)?;
    let rows = select.query_map(params![master.header(), limit], |row| {
        Ok(Row {
            account: row.get(0)?,
            first: row.get(1)?,
            before: row.get(2)?,
            until: row.get(3)?,
        })
    })?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    for row in &rows {
        let account = &row.account;
        let first = open(master, account, FIRST, &row.first)?;
        let before = row
            .before
            .as_ref()
            .map(|sealed| open(master, account, BEFORE, sealed));
        let before = before.transpose()?;
        put(
            connection,
            master,
            account,
            (&first, before.as_ref().zip(row.until)),
        )?;
    }
    Ok(rows.len())
}

fn read(connection: &Connection, account: &str) -> Result<Option<Row>, Fault> {
    let mut read = connection.prepare_cached(READ)?;
    let row = read.query_row([account], |row| {
        Ok(Row {
            account: account.to_owned(),
            first: row.get(0)?,
            before: row.get(1)?,
            until: row.get(2)?,
        })
    });
    Ok(row.optional()?)
}

fn put(
    connection: &Connection,
    master: &MasterKeys,
    account: &str,
    (first, before): (&SecretString, Option<(&SecretString, i64)>),
) -> Result<(), Fault> {
    let seal = |slot, secret: &SecretString| {
        let sealed = master.seal(place(account, slot), secret.expose_secret().as_bytes());
        sealed.map_err(|error| Fault::Unavailable(error.to_string()))
    };
    let first = seal(FIRST, first)?;
    let until = before.map(|(_, until)| until);
    let before = before.map(|(secret, _)| seal(BEFORE, secret)).transpose()?;
    let mut put = connection.prepare_cached(PUT)?;
    put.execute(params![account, first, before, until])?;
    Ok(())
}

fn open(master: &MasterKeys, account: &str, slot: u8, sealed: &[u8]) -> Result<SecretString, Fault> {
    let broken = || damaged("the webhook secret of an account");
    let opened = master
        .open(place(account, slot), sealed)
        .map_err(|_error| broken())?;
    Ok(str::from_utf8(&opened).map_err(|_not_text| broken())?.into())
}

fn place(account: &str, slot: u8) -> Place<'_> {
    Place {
        table: "webhook_secrets",
        account,
        name: "",
        slot,
    }
}
