//! Sums over usage rows, read beside the writer; and the end of rows that are too old.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use foldhash::fast::RandomState;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, params};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::damaged;
use crate::spend::{By, Group, LedgerError, Report, ReportRow};
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::open::keep_plans;
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

/// How many groups a report tells apart, some 300 bytes each.
const MAX_GROUPS: usize = 1_000_000;

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

/// Connects beside the writer, to read.
pub(in crate::store::sqlite) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(MAX_TIME)?;
    connection.execute_batch(SETTINGS)?;
    keep_plans(&connection)?;
    Ok(connection)
}

/// Sums up here: SQLite would sort all rows first, which takes longer than reading them.
fn read(connection: &Connection, report: &Report) -> Result<Vec<ReportRow>, LedgerError> {
    let (columns, condition) = match report.by {
        By::Account => ("account, NULL", ""),
        By::Key => ("account, key", ""),
        By::Token => ("account, token", "AND token IS NOT NULL"),
        By::Model => ("model, NULL", ""),
        By::Day => ("at / 86400000 * 86400000, NULL", ""),
    };
    let sql = format!(
        "SELECT {columns}, input, output, cached, cost FROM usage
        WHERE at >= ?1 AND at < ?2 AND (?3 IS NULL OR account = ?3) {condition}"
    );
    let mut select = connection.prepare(&sql)?;
    let account = report.account.as_ref().map(AccountId::as_str);
    let mut rows = select.query(params![
        rounded_down(report.from),
        rounded_down(report.to),
        account
    ])?;
    let mut groups = Groups::default();
    let mut name = Vec::new();
    while let Some(row) = rows.next()? {
        put_name(row, &mut name)?;
        groups.of(&name)?.add(row)?;
    }
    let limit = usize::try_from(report.limit).unwrap_or(usize::MAX);
    let groups = groups.first(limit, report.by).into_iter();
    groups
        .map(|(name, sums)| Ok(sums.row(group(&name, report.by)?)))
        .collect()
}

/// Sums by the names of their groups. Sums stand apart from names, and names are read only of the groups that are told:
/// what is touched for every row must be small, or it is not in the cache of the processor.
#[derive(Default)]
struct Groups {
    places: HashMap<Vec<u8>, usize, RandomState>,
    sums: Vec<Sums>,
}

impl Groups {
    fn of(&mut self, name: &[u8]) -> Result<&mut Sums, LedgerError> {
        let next = self.sums.len();
        let place = match self.places.get(name) {
            Some(place) => *place,
            None if next >= MAX_GROUPS => {
                return Err(LedgerError::Unavailable {
                    why: format!("the report has more than {MAX_GROUPS} rows; ask for a shorter time"),
                });
            }
            None => {
                self.places.insert(name.to_vec(), next);
                self.sums.push(Sums::default());
                next
            }
        };
        self.sums.get_mut(place).ok_or_else(|| LedgerError::Unavailable {
            why: "a report has lost a row".to_owned(),
        })
    }

    /// The first `limit` of them in the order of a report.
    fn first(self, limit: usize, by: By) -> Vec<(Vec<u8>, Sums)> {
        let Self { places, sums } = self;
        let named = places
            .into_iter()
            .filter_map(|(name, place)| Some((name, *sums.get(place)?)));
        let mut groups: Vec<_> = named.collect();
        let order = |(name, sums): &(Vec<u8>, Sums), (other_name, other): &(Vec<u8>, Sums)| {
            let by_cost = match by {
                By::Day => Ordering::Equal,
                By::Account | By::Key | By::Token | By::Model => other.cost.cmp(&sums.cost),
            };
            by_cost.then_with(|| name.cmp(other_name))
        };
        if limit < groups.len() {
            // Those before it come to the front, in any order.
            groups.select_nth_unstable_by(limit, order);
            groups.truncate(limit);
        }
        groups.sort_unstable_by(order);
        groups
    }
}

/// Sums of the rows of a group.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    calls: u64,
    input: u64,
    output: u64,
    cached: u64,
    cost: u128,
}

impl Sums {
    fn add(&mut self, row: &Row<'_>) -> Result<(), LedgerError> {
        let [input, output, cached, cost] =
            [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?].map(positive);
        self.calls = self.calls.saturating_add(1);
        self.input = self.input.saturating_add(input);
        self.output = self.output.saturating_add(output);
        self.cached = self.cached.saturating_add(cached);
        self.cost = self.cost.saturating_add(cost.into());
        Ok(())
    }

    fn row(self, group: Group) -> ReportRow {
        let cost = i64::try_from(self.cost).unwrap_or(i64::MAX);
        ReportRow {
            group,
            calls: self.calls,
            input: self.input,
            output: self.output,
            cached: self.cached,
            cost: Money::from_nanos(cost).unwrap_or_default(),
        }
    }
}

/// The first two columns of a row as bytes that sort as they do. None of their texts has a zero in it.
fn put_name(row: &Row<'_>, name: &mut Vec<u8>) -> Result<(), LedgerError> {
    name.clear();
    for column in 0..2 {
        match row.get_ref(column)? {
            ValueRef::Null => name.push(0),
            ValueRef::Integer(number) => name.extend_from_slice(&number.to_be_bytes()),
            ValueRef::Text(text) => {
                name.push(1);
                name.extend_from_slice(text);
                name.push(0);
            }
            ValueRef::Real(_) | ValueRef::Blob(_) => return Err(damaged("a usage row").into()),
        }
    }
    Ok(())
}

/// What [`put_name`] has made a name of.
fn group(name: &[u8], by: By) -> Result<Group, LedgerError> {
    let read = match by {
        By::Account => {
            text(name).and_then(|(account, _)| Some(Group::Account(AccountId::parse(account).ok()?)))
        }
        By::Key => two_texts(name).and_then(|(account, key)| {
            let account = AccountId::parse(account).ok()?;
            Some(Group::Key(account, KeyName::parse(key).ok()?))
        }),
        By::Token => two_texts(name).and_then(|(account, token)| {
            let account = AccountId::parse(account).ok()?;
            Some(Group::Token(account, TokenId::parse(token).ok()?))
        }),
        By::Model => match name.first() {
            Some(0) => Some(Group::Model(None)),
            _ => text(name).and_then(|(model, _)| Some(Group::Model(Some(ModelName::parse(model).ok()?)))),
        },
        By::Day => name
            .first_chunk()
            .map(|day| Group::Day(Duration::from_millis(positive(i64::from_be_bytes(*day))))),
    };
    read.ok_or_else(|| damaged("a name in a usage row").into())
}

fn two_texts(name: &[u8]) -> Option<(&str, &str)> {
    let (first, rest) = text(name)?;
    let (second, _) = text(rest)?;
    Some((first, second))
}

/// The text at the beginning of a name, and what comes after it.
fn text(name: &[u8]) -> Option<(&str, &[u8])> {
    let mut parts = name.strip_prefix(&[1])?.splitn(2, |byte| *byte == 0);
    let text = str::from_utf8(parts.next()?).ok()?;
    Some((text, parts.next()?))
}

fn positive(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
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
