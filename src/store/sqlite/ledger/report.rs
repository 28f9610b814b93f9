//! Sums over usage rows, read beside the writer; and the end of rows that are too old.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, params};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::damaged;
use crate::spend::{By, Group, LedgerError, Report, ReportRow};
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::writer::{Base, Fault};
use crate::types::{AccountId, KeyName, ModelName, Money, TokenId};

/// How long a report may take: as long as one reads, the log can't begin anew and grows.
const MAX_TIME: Duration = Duration::from_secs(20);

/// A reader writes nothing, not even into the database what the writer has put into the log.
const SETTINGS: &str = "
    PRAGMA query_only = ON;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
";

const FORGET_USAGE: &str = "
    DELETE FROM usage WHERE (at, call) IN (SELECT at, call FROM usage WHERE at < ?1 ORDER BY at, call LIMIT ?2)";

// A month has at most 31 days.
const FORGET_PURSES: &str = "
    DELETE FROM purses WHERE id IN (
        SELECT id FROM purses WHERE span <> 0 AND held = 0 AND begins < ?1 - 31 * 86400000 LIMIT ?2
    )";

/// Each sum in two halves: SQLite refuses a sum that is too large, and two halves never are.
const SUMS: &str = "count(*),
    sum(input >> 32), sum(input & 4294967295),
    sum(output >> 32), sum(output & 4294967295),
    sum(cached >> 32), sum(cached & 4294967295),
    sum(cost >> 32), sum(cost & 4294967295)";

/// Reads a report on a thread and a connection of its own.
pub(super) async fn run(path: PathBuf, report: Report) -> Result<Vec<ReportRow>, LedgerError> {
    let (tell, told) = oneshot::channel();
    let reading = spawn_blocking(move || {
        let connection = open(&path)?;
        // Whoever asked may be gone.
        drop(tell.send(connection.get_interrupt_handle()));
        read(&connection, &report)
    });
    tokio::pin!(reading);
    let read = match timeout(MAX_TIME, &mut reading).await {
        Ok(read) => read,
        Err(_elapsed) => {
            if let Ok(handle) = told.await {
                handle.interrupt();
            }
            reading.await
        }
    };
    read.map_err(|error| LedgerError::Unavailable {
        why: error.to_string(),
    })?
}

fn open(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(MAX_TIME)?;
    connection.execute_batch(SETTINGS)?;
    Ok(connection)
}

fn read(connection: &Connection, report: &Report) -> Result<Vec<ReportRow>, LedgerError> {
    let (columns, condition) = match report.by {
        By::Account => ("account, NULL", ""),
        By::Key => ("account, key", ""),
        By::Token => ("account, token", "AND token IS NOT NULL"),
        By::Model => ("model, NULL", ""),
        By::Day => ("at / 86400000 * 86400000, NULL", ""),
    };
    let order = match report.by {
        By::Day => "1",
        By::Account | By::Key | By::Token | By::Model => {
            "sum(cost >> 32) + (sum(cost & 4294967295) >> 32) DESC,
            sum(cost & 4294967295) & 4294967295 DESC, 1, 2"
        }
    };
    let sql = format!(
        "SELECT {columns}, {SUMS} FROM usage WHERE at >= ?1 AND at < ?2 AND (?3 IS NULL OR account = ?3) {condition}
        GROUP BY 1, 2 ORDER BY {order} LIMIT ?4"
    );
    let mut select = connection.prepare(&sql)?;
    let account = report.account.as_ref().map(AccountId::as_str);
    let (from, to) = (rounded_down(report.from), rounded_down(report.to));
    let mut rows = select.query(params![from, to, account, report.limit])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(ReportRow {
            group: group(row, report.by)?,
            calls: positive(row.get(2)?),
            input: sum(row, 3)?,
            output: sum(row, 5)?,
            cached: sum(row, 7)?,
            cost: Money::from_nanos(i64::try_from(sum(row, 9)?).unwrap_or(i64::MAX)).unwrap_or_default(),
        });
    }
    Ok(all)
}

fn group(row: &Row<'_>, by: By) -> Result<Group, LedgerError> {
    let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let account = || AccountId::parse(text(0)?).map_err(|_invalid| damaged("the account of a usage row"));
    Ok(match by {
        By::Account => Group::Account(account()?),
        By::Key => {
            let key = KeyName::parse(text(1)?);
            Group::Key(
                account()?,
                key.map_err(|_invalid| damaged("the key of a usage row"))?,
            )
        }
        By::Token => {
            let token = TokenId::parse(text(1)?);
            Group::Token(
                account()?,
                token.map_err(|_invalid| damaged("the token of a usage row"))?,
            )
        }
        By::Model => {
            let model: Option<String> = row.get(0)?;
            let model = model.map(|name| ModelName::parse(&name)).transpose();
            Group::Model(model.map_err(|_invalid| damaged("the model of a usage row"))?)
        }
        By::Day => Group::Day(Duration::from_millis(positive(row.get(0)?))),
    })
}

fn positive(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

/// The sum whose upper half is in `column` and whose lower half is in the next.
fn sum(row: &Row<'_>, column: usize) -> Result<u64, LedgerError> {
    let (high, low): (i64, i64) = (row.get(column)?, row.get(column.saturating_add(1))?);
    let sum = (i128::from(high) << 32).saturating_add(i128::from(low));
    Ok(u64::try_from(sum).unwrap_or(u64::MAX))
}

/// Deletes at most `limit` rows of calls from before `before`. Returns how many there were.
pub(super) fn forget_usage(base: &mut Base, before: Duration, limit: usize) -> Result<usize, Fault> {
    let mut delete = base.connection.prepare_cached(FORGET_USAGE)?;
    Ok(delete.execute(params![rounded_down(before), rows(limit)])?)
}

/// Deletes at most `limit` purses of days and months that were over before `before`. Returns how many there were.
pub(super) fn forget_purses(base: &mut Base, before: Duration, limit: usize) -> Result<usize, Fault> {
    let Base { connection, book } = base;
    book.write(connection)?;
    let mut delete = connection.prepare_cached(FORGET_PURSES)?;
    let deleted = delete.execute(params![rounded_down(before), rows(limit)])?;
    // What is remembered may have gone.
    book.clear();
    Ok(deleted)
}

fn rows(limit: usize) -> i64 {
    limit.try_into().unwrap_or(i64::MAX)
}
