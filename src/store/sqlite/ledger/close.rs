//! The end of a call: its hold goes, what it cost is spent, its usage row is there. Again changes nothing.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::{damaged, money};
use crate::spend::{Closed, LedgerError, Recovered, Settlement, UsageRow};
use crate::store::sqlite::keys::rounded_down;
use crate::types::{AccountId, CallId, KeyName, ModelName, Money};

const DROP_HOLD: &str = "DELETE FROM holds WHERE call = ?1 RETURNING amount, purses";

const PUT_USAGE: &str = "
    INSERT OR IGNORE INTO usage (at, call, account, key, token, model, cost, input, output, cached, cache_write,
        reasoning, duration, reported, metered, status, outcome, took, route, request_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";

const PUT_KILLED: &str = "
    INSERT OR IGNORE INTO usage (at, call, account, key, token, model, cost, input, output, cached, cache_write,
        reasoning, duration, reported, metered, status, outcome, took, route, request_id)
    SELECT at, call, account, key, token, model, amount, 0, 0, 0, 0, 0, NULL, NULL, 'killed', 0, 'killed', 0, route,
        request_id
    FROM holds WHERE call = ?1";

const LEFT_OPEN: &str = "
    SELECT call, at, amount, account, key, token, model FROM holds WHERE owner <> ?1 OR at < ?2 ORDER BY call";

// Every purse that counts the call, whether its hold names it or not: a cap may have come while the call was under way.
// The largest amount that a column holds stays what it is.
const SPEND: &str = "
    UPDATE purses
    SET spent = CASE WHEN spent > 9223372036854775807 - ?1 THEN 9223372036854775807 ELSE spent + ?1 END
    WHERE id IN (
        SELECT id FROM purses WHERE account = ?2 AND kind = 0 AND name = ?4 AND span = 0 AND begins = 0
        UNION ALL
        SELECT id FROM purses WHERE account = ?2 AND kind = 1 AND name = ?3 AND (
            (span = 0 AND begins = 0)
            OR (span = 1 AND begins = ?5 / 86400000 * 86400000)
            OR (span = 2 AND begins = 1000 * unixepoch(?5 / 1000, 'unixepoch', 'start of month')))
        UNION ALL
        SELECT id FROM purses WHERE account = ?2 AND kind = 2 AND name = '' AND (
            (span = 0 AND begins = 0)
            OR (span = 1 AND begins = ?5 / 86400000 * 86400000)
            OR (span = 2 AND begins = 1000 * unixepoch(?5 / 1000, 'unixepoch', 'start of month')))
    )
    RETURNING id, kind";

const FIRST_SPENT_OF_TOKEN: &str = "
    INSERT INTO purses (account, kind, name, span, begins, spent, held) VALUES (?1, 0, ?2, 0, 0, ?3, 0)";

const SPEND_DAILY: &str = "
    INSERT INTO daily (account, day, key, cost) VALUES (?1, ?2 / 86400000 * 86400000, ?3, ?4)
    ON CONFLICT (account, day, key) DO UPDATE
    SET cost = CASE WHEN cost > 9223372036854775807 - ?4 THEN 9223372036854775807 ELSE cost + ?4 END";

const GIVE_BACK: &str = "
    UPDATE purses SET held = max(held - ?2, 0),
        spent = CASE WHEN spent > 9223372036854775807 - ?3 THEN 9223372036854775807 ELSE spent + ?3 END
    WHERE id = ?1
    RETURNING spent";

/// A hold that has just gone.
struct Ended {
    amount: Money,
    /// Ids of purses, and the limits that they were checked against.
    purses: Vec<(i64, i64)>,
}

/// Who has spent how much, and when.
struct Expense<'a> {
    at: i64,
    account: &'a str,
    key: &'a str,
    token: Option<&'a str>,
    cost: Money,
}

/// Ends calls.
pub(super) fn close(connection: &Connection, settlements: &[Settlement]) -> Result<Vec<Closed>, LedgerError> {
    settlements
        .iter()
        .map(|settlement| match settlement {
            Settlement::Release(call) => release(connection, *call),
            Settlement::Charge(row) => charge(connection, row),
        })
        .collect()
}

fn release(connection: &Connection, call: CallId) -> Result<Closed, LedgerError> {
    let ended = drop_hold(connection, call)?;
    give_back(connection, ended.as_ref(), Money::ZERO, &[])?;
    Ok(Closed {
        held: ended.map(|ended| ended.amount),
        charged: Money::ZERO,
        overspent: Money::ZERO,
    })
}

fn charge(connection: &Connection, row: &UsageRow) -> Result<Closed, LedgerError> {
    let entry = &row.entry;
    let ended = drop_hold(connection, entry.call)?;
    let token = entry.token.as_ref().map(ToString::to_string);
    let is_new = put_usage(connection, row, token.as_deref())?;
    let expense = Expense {
        at: rounded_down(entry.at),
        account: entry.account.as_str(),
        key: entry.key.as_str(),
        token: token.as_deref(),
        cost: if is_new { row.cost } else { Money::ZERO },
    };
    let overspent = spend(connection, &expense, ended.as_ref())?;
    Ok(Closed {
        held: ended.map(|ended| ended.amount),
        charged: expense.cost,
        overspent,
    })
}

/// A hold that nobody will end.
struct LeftOpen {
    call: CallId,
    at: i64,
    token: Option<String>,
    recovered: Recovered,
}

/// Charges what is held by others than `owner`, or since before `expired`.
pub(super) fn recover(
    connection: &Connection,
    owner: CallId,
    expired: Duration,
) -> Result<Vec<Recovered>, LedgerError> {
    let mut select = connection.prepare_cached(LEFT_OPEN)?;
    let mut rows = select.query(params![owner.as_bytes(), rounded_down(expired)])?;
    let mut left_open = Vec::new();
    while let Some(row) = rows.next()? {
        left_open.push(LeftOpen::read(row)?);
    }
    let mut all = Vec::with_capacity(left_open.len());
    for hold in left_open {
        let mut put = connection.prepare_cached(PUT_KILLED)?;
        let is_new = put.execute([hold.call.as_bytes()])? == 1;
        let ended = drop_hold(connection, hold.call)?;
        let recovered = hold.recovered;
        let expense = Expense {
            at: hold.at,
            account: recovered.account.as_str(),
            key: recovered.key.as_str(),
            token: hold.token.as_deref(),
            cost: if is_new { recovered.amount } else { Money::ZERO },
        };
        spend(connection, &expense, ended.as_ref())?;
        if is_new {
            all.push(recovered);
        }
    }
    Ok(all)
}

impl LeftOpen {
    fn read(row: &Row<'_>) -> Result<Self, LedgerError> {
        let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let account = AccountId::parse(text("account")?);
        let key = KeyName::parse(text("key")?);
        let model: Option<String> = row.get("model")?;
        let model = model.map(|name| ModelName::parse(&name)).transpose();
        Ok(Self {
            call: CallId::from_bytes(row.get("call")?),
            at: row.get("at")?,
            token: row.get("token")?,
            recovered: Recovered {
                account: account.map_err(|_invalid| damaged("the account of a hold"))?,
                key: key.map_err(|_invalid| damaged("the key of a hold"))?,
                model: model.map_err(|_invalid| damaged("the model of a hold"))?,
                amount: money(row.get("amount")?)?,
            },
        })
    }
}

fn drop_hold(connection: &Connection, call: CallId) -> Result<Option<Ended>, LedgerError> {
    let mut drop_hold = connection.prepare_cached(DROP_HOLD)?;
    let found: Option<(i64, String)> = drop_hold
        .query_row([call.as_bytes()], |row| row.try_into())
        .optional()?;
    let Some((amount, purses)) = found else {
        return Ok(None);
    };
    let purses = serde_json::from_str(&purses).map_err(|_invalid| damaged("the purses of a hold"))?;
    let amount = money(amount)?;
    Ok(Some(Ended { amount, purses }))
}

/// Returns whether the row was not there before.
fn put_usage(connection: &Connection, row: &UsageRow, token: Option<&str>) -> Result<bool, LedgerError> {
    let (entry, usage) = (&row.entry, &row.usage);
    let params: [&dyn ToSql; 20] = [
        &rounded_down(entry.at),
        entry.call.as_bytes(),
        &entry.account.as_str(),
        &entry.key.as_str(),
        &token,
        &entry.model.as_ref().map(ModelName::as_str),
        &row.cost.as_nanos(),
        &count(usage.input),
        &count(usage.output),
        &count(usage.cached),
        &count(usage.cache_write),
        &count(usage.reasoning),
        &usage.duration.map(rounded_down),
        &usage.cost.map(Money::as_nanos),
        &row.metered.as_str(),
        &row.status,
        &row.outcome,
        &rounded_down(row.took),
        &entry.route,
        &entry.request_id.as_str(),
    ];
    Ok(connection.prepare_cached(PUT_USAGE)?.execute(&params[..])? == 1)
}

/// What a column holds at most.
fn count(tokens: u64) -> i64 {
    tokens.try_into().unwrap_or(i64::MAX)
}

/// Charges every purse that counts the expense and gives back what was held for it. Returns the largest growth of what
/// the hold's purses are beyond their limits.
fn spend(
    connection: &Connection,
    expense: &Expense<'_>,
    ended: Option<&Ended>,
) -> Result<Money, LedgerError> {
    let Expense {
        at,
        account,
        key,
        token,
        cost,
    } = *expense;
    let nanos = cost.as_nanos();
    let mut charged = Vec::new();
    if cost > Money::ZERO {
        let mut spend = connection.prepare_cached(SPEND)?;
        let mut rows = spend.query(params![nanos, account, key, token, at])?;
        let mut token_is_known = false;
        while let Some(row) = rows.next()? {
            charged.push(row.get(0)?);
            token_is_known |= row.get::<_, i64>(1)? == 0;
        }
        if let Some(token) = token.filter(|_| !token_is_known) {
            let mut first = connection.prepare_cached(FIRST_SPENT_OF_TOKEN)?;
            first.execute(params![account, token, nanos])?;
        }
        let mut daily = connection.prepare_cached(SPEND_DAILY)?;
        daily.execute(params![account, at, key, nanos])?;
    }
    give_back(connection, ended, cost, &charged)
}

/// Takes a hold out of its purses, and charges `cost` to those that are not `charged` yet.
fn give_back(
    connection: &Connection,
    ended: Option<&Ended>,
    cost: Money,
    charged: &[i64],
) -> Result<Money, LedgerError> {
    let mut overspent = Money::ZERO;
    let Some(ended) = ended else {
        return Ok(overspent);
    };
    let mut update = connection.prepare_cached(GIVE_BACK)?;
    for (id, limit) in &ended.purses {
        let now = if charged.contains(id) { Money::ZERO } else { cost };
        let spent: Option<i64> = update
            .query_row([*id, ended.amount.as_nanos(), now.as_nanos()], |row| row.get(0))
            .optional()?;
        // A purse that is gone was of a time long over.
        let Some(spent) = spent else { continue };
        let (spent, limit) = (money(spent)?, money(*limit)?);
        let beyond = |spent: Money| spent.saturating_sub(limit);
        let growth = beyond(spent).saturating_sub(beyond(spent.saturating_sub(cost)));
        overspent = overspent.max(growth);
    }
    Ok(overspent)
}
