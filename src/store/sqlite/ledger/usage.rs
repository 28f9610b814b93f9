//! Usage rows: one for each call that went upstream.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::damaged;
use crate::spend::UsageRow;
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::writer::Fault;
use crate::types::{CallId, ModelName, Money, TokenId};

/// How many columns there are besides the token's and the number.
const COLUMNS: usize = 19;

const TOKEN: usize = 20;

const ID: usize = 21;

const PUT: &str = "
    INSERT OR IGNORE INTO usage (at, call, account, key, model, cost, input, output, cached, cache_write,
        reasoning, duration, reported, metered, status, outcome, took, route, request_id, token, id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";

const CALL_OF: &str = "SELECT call FROM usage WHERE id = ?1";

/// How many bits of a row's number are its call's: the others, but for the sign, are the time.
const CALL_BITS: u32 = 21;

/// The last time that the number of a row can have, in the year 2109.
const LAST: i64 = (1 << (63 - CALL_BITS)) - 1;

/// The least number that a row of a call of the time `at`, or of a later one, has.
pub(super) fn first_id(at: i64) -> i64 {
    at.clamp(0, LAST) << CALL_BITS
}

/// The numbers that the row of a call may have: the first that no other call has is its own.
fn ids(at: i64, call: CallId) -> impl Iterator<Item = i64> {
    let [.., high, middle, low] = *call.as_bytes();
    let mask = (1_i64 << CALL_BITS) - 1;
    let bits = i64::from(u32::from_be_bytes([0, high, middle, low]));
    (0..=mask).map(move |next| first_id(at) | (bits.saturating_add(next) & mask))
}

/// Puts the row of a call with `put`, which is told its number and returns how many rows came. Returns whether there was
/// no row of the call.
pub(super) fn put_once(
    connection: &Connection,
    (at, call): (i64, CallId),
    mut put: impl FnMut(i64) -> rusqlite::Result<usize>,
) -> Result<bool, Fault> {
    for id in ids(at, call) {
        if put(id)? == 1 {
            return Ok(true);
        }
        if is_of(connection, id, call)? {
            return Ok(false);
        }
    }
    Err(damaged("a usage row"))
}

/// Whether the row of that number, which was refused, is there as that of `call`, and not as another one's.
#[cold]
fn is_of(connection: &Connection, id: i64, call: CallId) -> Result<bool, Fault> {
    let mut select = connection.prepare_cached(CALL_OF)?;
    let there: Option<[u8; 16]> = select.query_row([id], |row| row.get(0)).optional()?;
    // Where there is none, the table does not take what the row has.
    let there = there.ok_or_else(|| damaged("a usage row"))?;
    Ok(there == *call.as_bytes())
}

/// The statement that puts rows, with what it is told so far: of a row only what differs from the one before it is told,
/// since telling all takes a third as long as putting.
pub(super) struct UsageRows<'a> {
    connection: &'a Connection,
    put: CachedStatement<'a>,
    told: [ValueRef<'a>; COLUMNS],
    token: Option<&'a TokenId>,
}

impl<'a> UsageRows<'a> {
    pub(super) fn new(connection: &'a Connection) -> Result<Self, Fault> {
        Ok(Self {
            connection,
            put: connection.prepare_cached(PUT)?,
            told: [ValueRef::Null; COLUMNS],
            token: None,
        })
    }

    /// Puts a row, if there is none of its call. Returns whether there was none.
    pub(super) fn put(&mut self, row: &'a UsageRow) -> Result<bool, Fault> {
        for (column, (value, told)) in (1_usize..).zip(columns(row).into_iter().zip(&mut self.told)) {
            if value != *told {
                self.put
                    .raw_bind_parameter(column, ToSqlOutput::Borrowed(value))?;
                *told = value;
            }
        }
        let token = row.entry.token.as_ref();
        if token != self.token {
            self.put
                .raw_bind_parameter(TOKEN, token.map(ToString::to_string))?;
            self.token = token;
        }
        put_once(
            self.connection,
            (rounded_down(row.entry.at), row.entry.call),
            |id| {
                self.put.raw_bind_parameter(ID, id)?;
                self.put.raw_execute()
            },
        )
    }
}

/// All but the token, in the order of the statement.
fn columns(row: &UsageRow) -> [ValueRef<'_>; COLUMNS] {
    let (entry, usage) = (&row.entry, &row.usage);
    [
        ValueRef::Integer(rounded_down(entry.at)),
        ValueRef::Blob(entry.call.as_bytes()),
        text(entry.account.as_str()),
        text(entry.key.as_str()),
        entry
            .model
            .as_ref()
            .map(ModelName::as_str)
            .map_or(ValueRef::Null, text),
        ValueRef::Integer(row.cost.as_nanos()),
        count(usage.input),
        count(usage.output),
        count(usage.cached),
        count(usage.cache_write),
        count(usage.reasoning),
        usage
            .duration
            .map(rounded_down)
            .map_or(ValueRef::Null, ValueRef::Integer),
        usage
            .cost
            .map(Money::as_nanos)
            .map_or(ValueRef::Null, ValueRef::Integer),
        text(row.metered.as_str()),
        ValueRef::Integer(row.status.into()),
        text(row.outcome),
        ValueRef::Integer(rounded_down(row.took)),
        text(entry.route),
        text(entry.request_id.as_str()),
    ]
}

fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Text(text.as_bytes())
}

/// What a column holds at most.
fn count(tokens: u64) -> ValueRef<'static> {
    ValueRef::Integer(tokens.try_into().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rusqlite::types::Value;

    use super::*;
    use crate::spend::{Entry, Metered};
    use crate::types::{AccountId, KeyName, RequestId, Usage};

    fn tables() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for sql in [
            include_str!("../V2__ledger.sql"),
            include_str!("../V4__usage.sql"),
        ] {
            connection.execute_batch(sql).unwrap();
        }
        connection
    }

    fn call(first: u8, last: [u8; 3]) -> CallId {
        let mut bytes = [first; 16];
        bytes[13..].copy_from_slice(&last);
        CallId::from_bytes(bytes)
    }

    fn row(call: CallId, at: u64) -> UsageRow {
        UsageRow {
            entry: Entry {
                call,
                at: Duration::from_millis(at),
                account: AccountId::parse("di:1").unwrap(),
                key: KeyName::parse("auto").unwrap(),
                token: None,
                model: None,
                route: "native",
                request_id: RequestId::new(Duration::from_millis(at)),
            },
            usage: Usage::default(),
            cost: Money::ZERO,
            metered: Metered::Free,
            status: 200,
            outcome: "completed",
            took: Duration::ZERO,
            may_hold: false,
        }
    }

    /// Rows that often have what the one before them has, and often not.
    fn any_row() -> impl Strategy<Value = UsageRow> {
        let names = (0..3_u8, 0..2_u8, 0..3_u8, 0..3_u8, 0..2_usize);
        let counts = (
            0..2_u64,
            0..2_u64,
            prop_oneof![Just(1), Just(u64::MAX)],
            0..2_u64,
            0..2_u64,
        );
        let rest = (0..2_u16, 0..7_usize, 0..3_i64, 0..3_u64);
        (any::<u8>(), 0..3_u64, names, counts, rest).prop_map(|(number, at, names, counts, rest)| {
            let mut row = row(call(number, [0, 0, number]), at);
            let (account, key, token, model, route) = names;
            let entry = &mut row.entry;
            entry.account = AccountId::parse(&format!("di:{account}")).unwrap();
            entry.key = KeyName::parse(&format!("key-{key}")).unwrap();
            entry.token = (token > 0).then(|| TokenId::of_jti(&token.to_string()).unwrap());
            entry.model = (model > 0).then(|| ModelName::parse(&format!("acme/{model}")).unwrap());
            entry.route = ["native", "messages"][route];
            let usage = &mut row.usage;
            (
                usage.input,
                usage.output,
                usage.cached,
                usage.cache_write,
                usage.reasoning,
            ) = counts;
            let (status, metered, cost, took) = rest;
            row.status = status;
            row.metered = Metered::ALL[metered];
            row.cost = Money::from_nanos(cost).unwrap();
            row.usage.cost = (cost > 1).then_some(row.cost);
            row.took = Duration::from_millis(took);
            row.usage.duration = (took > 1).then_some(row.took);
            row
        })
    }

    /// What the table has to have of a row, in the order of its columns, and its number.
    fn expected(row: &UsageRow) -> Vec<Value> {
        let mut values: Vec<Value> = columns(row)
            .into_iter()
            .map(|value| value.try_into().unwrap())
            .collect();
        let token = row.entry.token.as_ref().map(ToString::to_string);
        values.insert(4, token.map_or(Value::Null, Value::Text));
        values
    }

    fn found(connection: &Connection) -> Vec<Vec<Value>> {
        let mut select = connection
            .prepare(
                "SELECT at, call, account, key, token, model, cost, input, output, cached, cache_write, reasoning,
                    duration, reported, metered, status, outcome, took, route, request_id
                FROM usage ORDER BY id",
            )
            .unwrap();
        let rows = select.query_map([], |row| (0..20).map(|column| row.get(column)).collect());
        rows.unwrap().map(Result::unwrap).collect()
    }

    proptest! {
        #[test]
        fn every_row_has_what_it_was_put_with_whatever_was_put_before_it(
            batches in proptest::collection::vec(proptest::collection::vec(any_row(), 0..12), 1..4),
        ) {
            let connection = tables();
            let mut rows: Vec<&UsageRow> = Vec::new();
            for batch in &batches {
                let mut put = UsageRows::new(&connection).unwrap();
                for row in batch {
                    let same = |put: &&UsageRow| (put.entry.at, put.entry.call) == (row.entry.at, row.entry.call);
                    let is_new = !rows.iter().any(same);
                    prop_assert_eq!(put.put(row).unwrap(), is_new);
                    rows.extend(is_new.then_some(row));
                }
            }
            rows.sort_by_key(|row| (row.entry.at, row.entry.call.as_bytes()[15]));
            let expected: Vec<_> = rows.into_iter().map(expected).collect();
            prop_assert_eq!(found(&connection), expected);
        }
    }

    #[test]
    fn calls_that_would_have_the_same_number_have_a_row_each_and_no_second_one() {
        let connection = tables();
        // At the end of a millisecond those that are free are at its beginning, and the next one's are its own.
        let of = |first, at| row(call(first, [0xff, 0xff, 0xff]), at);
        let rows = [
            of(1, 5),
            of(2, 5),
            of(3, 5),
            of(1, 6),
            row(call(4, [0xe0, 0, 0]), 5),
        ];
        for is_new in [true, false] {
            let mut put = UsageRows::new(&connection).unwrap();
            for row in &rows {
                assert_eq!(put.put(row).unwrap(), is_new);
            }
        }
        let mut select = connection
            .prepare("SELECT id, at FROM usage ORDER BY id")
            .unwrap();
        let ids = select.query_map([], |row| row.try_into()).unwrap();
        let ids: Vec<(i64, i64)> = ids.map(Result::unwrap).collect();
        let (five, six) = (first_id(5), first_id(6));
        let expected = [
            (five, 5),
            (five + 1, 5),
            (five + 2, 5),
            (six - 1, 5),
            (first_id(7) - 1, 6),
        ];
        assert_eq!(ids, expected);
    }

    #[test]
    fn times_beyond_the_last_one_still_have_numbers() {
        let connection = tables();
        let rows = [
            row(call(1, [0xff; 3]), u64::MAX),
            row(call(2, [0xff; 3]), 1 << 43),
        ];
        let mut put = UsageRows::new(&connection).unwrap();
        for row in &rows {
            assert!(put.put(row).unwrap());
            assert!(!put.put(row).unwrap());
        }
        assert_eq!(first_id(i64::MAX), first_id(LAST));
        assert_eq!(first_id(-1), 0);
    }

    #[test]
    fn a_row_that_the_table_does_not_take_is_an_error_and_no_second_row() {
        let connection = tables();
        let refused = put_once(&connection, (5, call(1, [0; 3])), |_| Ok(0));
        assert!(matches!(refused, Err(Fault::Damaged(_))), "{refused:?}");
    }
}
