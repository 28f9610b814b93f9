//! Usage rows: one for each call that went upstream.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection};

use crate::spend::UsageRow;
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::writer::Fault;
use crate::types::{ModelName, Money, TokenId};

/// How many columns there are besides the token's.
const COLUMNS: usize = 19;

const TOKEN: usize = 20;

const PUT: &str = "
    INSERT OR IGNORE INTO usage (at, call, account, key, model, cost, input, output, cached, cache_write,
        reasoning, duration, reported, metered, status, outcome, took, route, request_id, token)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";

/// The statement that puts rows, with what it is told so far: of a row only what differs from the one before it is told,
/// since telling all takes a third as long as putting.
pub(super) struct UsageRows<'a> {
    put: CachedStatement<'a>,
    told: [ValueRef<'a>; COLUMNS],
    token: Option<&'a TokenId>,
}

impl<'a> UsageRows<'a> {
    pub(super) fn new(connection: &'a Connection) -> Result<Self, Fault> {
        Ok(Self {
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
        Ok(self.put.raw_execute()? == 1)
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
    use crate::types::{AccountId, CallId, KeyName, RequestId, Usage};

    fn tables() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(include_str!("../V2__ledger.sql"))
            .unwrap();
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
                FROM usage ORDER BY at, call",
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
            rows.sort_by_key(|row| (row.entry.at, *row.entry.call.as_bytes()));
            let expected: Vec<_> = rows.into_iter().map(expected).collect();
            prop_assert_eq!(found(&connection), expected);
        }
    }
}
