//! Setting money aside: checked and taken in one transaction over all purses of a call.

use rusqlite::{Connection, ToSql};

use super::book::Name;
use super::close::purses_of;
use crate::spend::{Balance, Denial, Held, HoldError, HoldOrder, Purse};
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::writer::{Base, Fault};
use crate::types::{ModelName, Money};

const PUT: &str = "
    INSERT INTO holds (call, owner, at, amount, purses, account, key, token, model, route, request_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// A purse of an order.
struct Payer<'a> {
    purse: &'a Purse,
    name: Name,
    limit: Money,
    /// None for a purse that is not there yet.
    id: Option<i64>,
    balance: Balance,
}

impl<'a> Payer<'a> {
    fn find(base: &mut Base, purse: &'a Purse, name: Name, limit: Money) -> Result<Self, Fault> {
        let (id, balance) = find(base, &name)?;
        Ok(Self {
            purse,
            name,
            limit,
            id,
            balance,
        })
    }

    /// What calls in flight may still leave.
    fn unspent(&self) -> Money {
        self.limit.saturating_sub(self.balance.spent)
    }

    fn room(&self) -> Money {
        self.unspent().saturating_sub(self.balance.held)
    }

    fn denial(&self) -> Denial {
        Denial {
            purse: self.purse.clone(),
            limit: self.limit,
            balance: self.balance,
        }
    }

    /// The purse's id; there must be room for the amount.
    fn id(&self, base: &mut Base) -> Result<i64, Fault> {
        match self.id {
            Some(id) => Ok(id),
            None => base.book.make(&base.connection, &self.name, self.balance),
        }
    }
}

/// A purse, or what it would begin with.
fn find(base: &mut Base, name: &Name) -> Result<(Option<i64>, Balance), Fault> {
    let Base { connection, book } = base;
    if let Some(id) = book.find(connection, name)?
        && let Some(balance) = book.balance(connection, id)?
    {
        return Ok((Some(id), balance));
    }
    let (spent, held) = (book.spent_before(connection, name)?, Money::ZERO);
    Ok((None, Balance { spent, held }))
}

/// What a purse has.
pub(super) fn balance(base: &mut Base, purse: &Purse) -> Result<Balance, Fault> {
    Ok(find(base, &Name::of(purse))?.1)
}

/// Makes a hold.
pub(in crate::store::sqlite) fn hold(
    base: &mut Base,
    order: &HoldOrder,
) -> Result<Result<Held, HoldError>, Fault> {
    let payers = payers(base, &order.purses)?;
    let is_spent = |payer: &&Payer<'_>| payer.unspent() < order.least || payer.unspent() == Money::ZERO;
    if let Some(payer) = payers.iter().find(is_spent) {
        return Ok(Err(HoldError::Spent(payer.denial())));
    }
    if let Some(payer) = payers.iter().find(|payer| payer.room() < order.least) {
        return Ok(Err(HoldError::Held(payer.denial())));
    }
    let rooms = payers.iter().map(Payer::room);
    let amount = rooms.fold(order.wanted, Money::min);
    let mut ids = Vec::with_capacity(payers.len());
    let mut blob = Vec::with_capacity(payers.len().saturating_mul(16));
    for payer in &payers {
        let id = payer.id(base)?;
        ids.push(id);
        blob.extend_from_slice(&id.to_be_bytes());
        blob.extend_from_slice(&payer.limit.as_nanos().to_be_bytes());
    }
    put(&base.connection, order, amount, &blob)?;
    for id in ids {
        base.book
            .change(id, |balance| balance.held = balance.held.saturating_add(amount));
    }
    let left = payers.first().map_or(Money::ZERO, Payer::room);
    Ok(Ok(Held {
        amount,
        left: left.saturating_sub(amount),
    }))
}

/// Takes `amount` out of the rooms of the purses of an earlier hold, whose row is the caller's to write, or nothing where
/// one of them has less. Returns whether it was taken.
pub(in crate::store::sqlite) fn hold_again(
    base: &mut Base,
    purses: &[u8],
    amount: Money,
) -> Result<bool, Fault> {
    let Base { connection, book } = base;
    let mut payers = Vec::new();
    for (id, limit) in purses_of(purses)? {
        // A purse that is gone was of a time long over.
        let Some(balance) = book.balance(connection, id)? else {
            continue;
        };
        let unspent = limit.saturating_sub(balance.spent);
        if unspent == Money::ZERO || unspent.saturating_sub(balance.held) < amount {
            return Ok(false);
        }
        payers.push(id);
    }
    for id in payers {
        book.change(id, |balance| balance.held = balance.held.saturating_add(amount));
    }
    Ok(true)
}

/// The purses of an order, each once, with the smallest limit that stands beside it.
fn payers<'a>(base: &mut Base, purses: &'a [(Purse, Money)]) -> Result<Vec<Payer<'a>>, Fault> {
    let mut payers: Vec<Payer<'a>> = Vec::with_capacity(purses.len());
    for (purse, limit) in purses {
        let name = Name::of(purse);
        match payers.iter_mut().find(|payer| payer.name == name) {
            Some(payer) => payer.limit = payer.limit.min(*limit),
            None => payers.push(Payer::find(base, purse, name, *limit)?),
        }
    }
    Ok(payers)
}

fn put(connection: &Connection, order: &HoldOrder, amount: Money, purses: &[u8]) -> Result<(), Fault> {
    let entry = &order.entry;
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
