//! The end of a call: its hold goes, what it cost is spent, its usage row is there. Again changes nothing.

use std::time::Duration;

use rusqlite::{CachedStatement, Connection, Row, params};

use super::book::{Book, Expense};
use super::usage::UsageRows;
use super::{damaged, money};
use crate::spend::{Closed, Recovered, Settlement, UsageRow, WAITING};
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::writer::{Base, Fault};
use crate::types::{AccountId, CallId, KeyName, ModelName, Money, TokenId};

const HELD: &str = "SELECT amount, purses FROM holds WHERE call = ?1";

const DROP_HOLD: &str = "DELETE FROM holds WHERE call = ?1";

const PUT_KILLED: &str = "
    INSERT OR IGNORE INTO usage (at, call, account, key, token, model, cost, input, output, cached, cache_write,
        reasoning, duration, reported, metered, status, outcome, took, route, request_id)
    SELECT at, call, account, key, token, model, amount, 0, 0, 0, 0, 0, NULL, NULL, 'killed', 0, 'killed', 0, route,
        request_id
    FROM holds WHERE call = ?1";

const LEFT_OPEN: &str = "
    SELECT call, at, amount, account, key, token, model FROM holds
    WHERE (owner <> ?1 OR at < ?2) AND owner <> ?3 ORDER BY call";

const LEFT: &str = "SELECT call, at, amount, account, key, token, model FROM holds WHERE call = ?1";

/// A hold that has just gone.
struct Ended {
    amount: Money,
    /// Ids of purses, and the limits that they were checked against.
    purses: Vec<(i64, Money)>,
}

/// Ends calls.
pub(in crate::store::sqlite) fn close(
    base: &mut Base,
    settlements: &[Settlement],
) -> Result<Vec<Closed>, Fault> {
    let Base { connection, book } = base;
    let mut holds = Holds::new(connection)?;
    let mut rows = UsageRows::new(connection)?;
    settlements
        .iter()
        .map(|settlement| match settlement {
            Settlement::Release(call) => release(connection, book, &mut holds, *call),
            Settlement::Charge(row) => {
                let ended = if row.may_hold {
                    holds.take(row.entry.call)?
                } else {
                    None
                };
                let is_new = rows.put(row)?;
                charge(connection, book, row, is_new, ended)
            }
        })
        .collect()
}

fn release(
    connection: &Connection,
    book: &mut Book,
    holds: &mut Holds<'_>,
    call: CallId,
) -> Result<Closed, Fault> {
    let ended = holds.take(call)?;
    give_back(connection, book, ended.as_ref(), Money::ZERO, &[])?;
    Ok(Closed {
        held: ended.map(|ended| ended.amount),
        charged: Money::ZERO,
        overspent: Money::ZERO,
    })
}

fn charge(
    connection: &Connection,
    book: &mut Book,
    row: &UsageRow,
    is_new: bool,
    ended: Option<Ended>,
) -> Result<Closed, Fault> {
    let entry = &row.entry;
    let expense = Expense {
        at: rounded_down(entry.at),
        account: &entry.account,
        key: &entry.key,
        token: entry.token.as_ref(),
        cost: if is_new { row.cost } else { Money::ZERO },
    };
    let overspent = spend(connection, book, &expense, ended.as_ref())?;
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
    token: Option<TokenId>,
    recovered: Recovered,
}

/// Charges what is held by others than `owner`, or since before `expired`.
pub(super) fn recover(base: &mut Base, owner: CallId, expired: Duration) -> Result<Vec<Recovered>, Fault> {
    let mut all = Vec::new();
    for hold in left_open(&base.connection, owner, expired)? {
        all.extend(charge_left(base, hold)?);
    }
    Ok(all)
}

/// Charges what is held for a call that nobody will end; gives what that was. One without a hold is left as it is.
pub(in crate::store::sqlite) fn charge_held(
    base: &mut Base,
    call: CallId,
) -> Result<Option<Recovered>, Fault> {
    let mut select = base.connection.prepare_cached(LEFT)?;
    let mut rows = select.query([call.as_bytes()])?;
    let left = rows.next()?.map(LeftOpen::read).transpose()?;
    drop(rows);
    drop(select);
    match left {
        Some(left) => charge_left(base, left),
        None => Ok(None),
    }
}

fn charge_left(base: &mut Base, left: LeftOpen) -> Result<Option<Recovered>, Fault> {
    let mut put = base.connection.prepare_cached(PUT_KILLED)?;
    let is_new = put.execute([left.call.as_bytes()])? == 1;
    drop(put);
    let Base { connection, book } = base;
    let ended = Holds::new(connection)?.take(left.call)?;
    let recovered = left.recovered;
    let expense = Expense {
        at: left.at,
        account: &recovered.account,
        key: &recovered.key,
        token: left.token.as_ref(),
        cost: if is_new { recovered.amount } else { Money::ZERO },
    };
    spend(connection, book, &expense, ended.as_ref())?;
    Ok(is_new.then_some(recovered))
}

fn left_open(connection: &Connection, owner: CallId, expired: Duration) -> Result<Vec<LeftOpen>, Fault> {
    let mut select = connection.prepare_cached(LEFT_OPEN)?;
    let mut rows = select.query(params![
        owner.as_bytes(),
        rounded_down(expired),
        WAITING.as_bytes()
    ])?;
    let mut left_open = Vec::new();
    while let Some(row) = rows.next()? {
        left_open.push(LeftOpen::read(row)?);
    }
    Ok(left_open)
}

impl LeftOpen {
    fn read(row: &Row<'_>) -> Result<Self, Fault> {
        let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let account = AccountId::parse(text("account")?);
        let key = KeyName::parse(text("key")?);
        let token: Option<String> = row.get("token")?;
        let token = token.map(|name| TokenId::parse(&name)).transpose();
        let model: Option<String> = row.get("model")?;
        let model = model.map(|name| ModelName::parse(&name)).transpose();
        Ok(Self {
            call: CallId::from_bytes(row.get("call")?),
            at: row.get("at")?,
            token: token.map_err(|_invalid| damaged("the token of a hold"))?,
            recovered: Recovered {
                account: account.map_err(|_invalid| damaged("the account of a hold"))?,
                key: key.map_err(|_invalid| damaged("the key of a hold"))?,
                model: model.map_err(|_invalid| damaged("the model of a hold"))?,
                amount: money(row.get("amount")?)?,
            },
        })
    }
}

/// The statements that end holds.
struct Holds<'a> {
    find: CachedStatement<'a>,
    delete: CachedStatement<'a>,
}

impl<'a> Holds<'a> {
    fn new(connection: &'a Connection) -> Result<Self, Fault> {
        Ok(Self {
            find: connection.prepare_cached(HELD)?,
            delete: connection.prepare_cached(DROP_HOLD)?,
        })
    }

    /// Deletes the hold of a call, if there is one.
    fn take(&mut self, call: CallId) -> Result<Option<Ended>, Fault> {
        let mut rows = self.find.query([call.as_bytes()])?;
        // To delete what is not there takes longer than to look.
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let ended = Ended {
            amount: money(row.get(0)?)?,
            purses: purses_of(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?,
        };
        drop(rows);
        self.delete.execute([call.as_bytes()])?;
        Ok(Some(ended))
    }
}

pub(super) fn purses_of(blob: &[u8]) -> Result<Vec<(i64, Money)>, Fault> {
    let (pairs, []) = blob.as_chunks::<8>() else {
        return Err(damaged("the purses of a hold"));
    };
    let (pairs, []) = pairs.as_chunks::<2>() else {
        return Err(damaged("the purses of a hold"));
    };
    pairs
        .iter()
        .map(|[id, limit]| Ok((i64::from_be_bytes(*id), money(i64::from_be_bytes(*limit))?)))
        .collect()
}

/// Charges every purse that counts the expense and gives back what was held for it. Returns the largest growth of what
/// the hold's purses are beyond their limits.
fn spend(
    connection: &Connection,
    book: &mut Book,
    expense: &Expense<'_>,
    ended: Option<&Ended>,
) -> Result<Money, Fault> {
    let charged = if expense.cost > Money::ZERO {
        book.spend(connection, expense)?
    } else {
        Vec::new()
    };
    give_back(connection, book, ended, expense.cost, &charged)
}

/// Takes a hold out of its purses, and charges `cost` to those that are not `charged` yet.
fn give_back(
    connection: &Connection,
    book: &mut Book,
    ended: Option<&Ended>,
    cost: Money,
    charged: &[i64],
) -> Result<Money, Fault> {
    let mut overspent = Money::ZERO;
    let Some(ended) = ended else {
        return Ok(overspent);
    };
    for (id, limit) in &ended.purses {
        // A purse that is gone was of a time long over.
        if book.balance(connection, *id)?.is_none() {
            continue;
        }
        let now = if charged.contains(id) { Money::ZERO } else { cost };
        book.change(*id, |balance| {
            balance.held = balance.held.saturating_sub(ended.amount);
            balance.spent = balance.spent.saturating_add(now);
            let beyond = |spent: Money| spent.saturating_sub(*limit);
            let before = beyond(balance.spent.saturating_sub(cost));
            overspent = overspent.max(beyond(balance.spent).saturating_sub(before));
        });
    }
    Ok(overspent)
}
