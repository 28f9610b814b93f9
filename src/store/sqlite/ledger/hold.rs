//! Setting money aside: checked and taken in one transaction over all purses of a call.

use rusqlite::{Connection, ToSql};

use super::purse::Kept;
use crate::spend::{Denial, Held, HoldError, HoldOrder, LedgerError, Purse};
use crate::store::sqlite::keys::rounded_down;
use crate::types::{ModelName, Money};

const PUT: &str = "
    INSERT INTO holds (call, owner, at, amount, purses, account, key, token, model, route, request_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// A purse of an order.
struct Payer<'a> {
    purse: &'a Purse,
    limit: Money,
    kept: Kept<'a>,
}

impl Payer<'_> {
    /// What calls in flight may still leave.
    fn unspent(&self) -> Money {
        self.limit.saturating_sub(self.kept.balance.spent)
    }

    fn room(&self) -> Money {
        self.unspent().saturating_sub(self.kept.balance.held)
    }

    fn denial(&self) -> Denial {
        Denial {
            purse: self.purse.clone(),
            limit: self.limit,
            balance: self.kept.balance,
        }
    }
}

/// Makes a hold.
pub(super) fn hold(connection: &Connection, order: &HoldOrder) -> Result<Held, HoldError> {
    let payers = payers(connection, &order.purses)?;
    let is_spent = |payer: &&Payer<'_>| payer.unspent() < order.least || payer.unspent() == Money::ZERO;
    if let Some(payer) = payers.iter().find(is_spent) {
        return Err(HoldError::Spent(payer.denial()));
    }
    if let Some(payer) = payers.iter().find(|payer| payer.room() < order.least) {
        return Err(HoldError::Held(payer.denial()));
    }
    let rooms = payers.iter().map(Payer::room);
    let amount = rooms.fold(order.wanted, Money::min);
    let mut taken = Vec::with_capacity(payers.len());
    for payer in &payers {
        taken.push((payer.kept.take(connection, amount)?, payer.limit.as_nanos()));
    }
    put(connection, order, amount, &taken)?;
    let left = payers.first().map_or(Money::ZERO, Payer::room);
    Ok(Held {
        amount,
        left: left.saturating_sub(amount),
    })
}

/// The purses of an order, each once, with the smallest limit that stands beside it.
fn payers<'a>(connection: &Connection, purses: &'a [(Purse, Money)]) -> Result<Vec<Payer<'a>>, LedgerError> {
    let mut payers: Vec<Payer<'a>> = Vec::with_capacity(purses.len());
    for (purse, limit) in purses {
        match payers.iter_mut().find(|payer| payer.purse == purse) {
            Some(payer) => payer.limit = payer.limit.min(*limit),
            None => payers.push(Payer {
                purse,
                limit: *limit,
                kept: Kept::find(connection, purse)?,
            }),
        }
    }
    Ok(payers)
}

fn put(
    connection: &Connection,
    order: &HoldOrder,
    amount: Money,
    purses: &[(i64, i64)],
) -> Result<(), LedgerError> {
    let entry = &order.entry;
    let purses = serde_json::to_string(purses).map_err(|error| LedgerError::Unavailable {
        why: error.to_string(),
    })?;
    let params: [&dyn ToSql; 11] = [
        entry.call.as_bytes(),
        order.owner.as_bytes(),
        &rounded_down(entry.at),
        &amount.as_nanos(),
        &purses,
        &entry.account.as_str(),
        &entry.key.as_str(),
        &entry.token.as_ref().map(ToString::to_string),
        &entry.model.as_ref().map(ModelName::as_str),
        &entry.route,
        &entry.request_id.as_str(),
    ];
    connection.prepare_cached(PUT)?.execute(&params[..])?;
    Ok(())
}
