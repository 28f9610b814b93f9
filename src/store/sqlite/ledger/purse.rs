//! Purses: how each is found, and where one begins that is met for the first time.

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::money;
use crate::spend::{Balance, LedgerError, Purse, Share, Span};
use crate::store::sqlite::keys::rounded_down;
use crate::types::Money;

const FIND: &str = "
    SELECT id, spent, held FROM purses
    WHERE account = ?1 AND kind = ?2 AND name = ?3 AND span = ?4 AND begins = ?5";

const MAKE: &str = "
    INSERT INTO purses (account, kind, name, span, begins, spent, held) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const TAKE: &str = "UPDATE purses SET held = held + ?2 WHERE id = ?1";

// ?2 and ?3 are a span and its beginning.
const DAYS: &str = "
    SELECT cost FROM daily WHERE account = ?1
    AND day >= CASE ?2 WHEN 0 THEN -1 ELSE ?3 END
    AND day < CASE ?2
        WHEN 0 THEN 9223372036854775807
        WHEN 1 THEN ?3 + 86400000
        ELSE 1000 * unixepoch(?3 / 1000, 'unixepoch', 'start of month', '+1 month') END
    AND (?4 IS NULL OR key = ?4)";

/// What a purse is called in the table.
struct Columns<'a> {
    account: &'a str,
    kind: i64,
    name: Cow<'a, str>,
    span: i64,
    begins: i64,
}

impl<'a> Columns<'a> {
    fn of(purse: &'a Purse) -> Self {
        let (kind, name, span) = match &purse.share {
            Share::Token(token) => (0, Cow::Owned(token.to_string()), Span::Total),
            Share::Key(key, span) => (1, Cow::Borrowed(key.as_str()), *span),
            Share::Account(span) => (2, Cow::Borrowed(""), *span),
        };
        let (span, begins) = match span {
            Span::Total => (0, 0),
            Span::Day(begins) => (1, rounded_down(begins)),
            Span::Month(begins) => (2, rounded_down(begins)),
        };
        Self {
            account: purse.account.as_str(),
            kind,
            name,
            span,
            begins,
        }
    }

    fn params(&self) -> [&dyn ToSql; 5] {
        [&self.account, &self.kind, &self.name, &self.span, &self.begins]
    }

    /// What calls had cost before the purse was met. Of a token every call is in its purse from the first on.
    fn spent_before(&self, connection: &Connection) -> Result<Money, LedgerError> {
        let key = match self.kind {
            0 => return Ok(Money::ZERO),
            1 => Some(&*self.name),
            _ => None,
        };
        let mut days = connection.prepare_cached(DAYS)?;
        let mut rows = days.query(params![self.account, self.span, self.begins, key])?;
        let mut spent = Money::ZERO;
        while let Some(row) = rows.next()? {
            spent = spent.saturating_add(money(row.get(0)?)?);
        }
        Ok(spent)
    }
}

/// A purse as the ledger has it, or as it would begin.
pub(super) struct Kept<'a> {
    columns: Columns<'a>,
    id: Option<i64>,
    pub(super) balance: Balance,
}

impl<'a> Kept<'a> {
    pub(super) fn find(connection: &Connection, purse: &'a Purse) -> Result<Self, LedgerError> {
        let columns = Columns::of(purse);
        let found: Option<(i64, i64, i64)> = connection
            .prepare_cached(FIND)?
            .query_row(&columns.params()[..], |row| row.try_into())
            .optional()?;
        let (id, balance) = match found {
            Some((id, spent, held)) => {
                let (spent, held) = (money(spent)?, money(held)?);
                (Some(id), Balance { spent, held })
            }
            None => {
                let (spent, held) = (columns.spent_before(connection)?, Money::ZERO);
                (None, Balance { spent, held })
            }
        };
        Ok(Self { columns, id, balance })
    }

    /// Adds to what is held; there must be room for it. Returns the purse's id.
    pub(super) fn take(&self, connection: &Connection, amount: Money) -> Result<i64, LedgerError> {
        if let Some(id) = self.id {
            let params = [id, amount.as_nanos()];
            connection.prepare_cached(TAKE)?.execute(params)?;
            return Ok(id);
        }
        let [account, kind, name, span, begins] = self.columns.params();
        let (spent, held) = (self.balance.spent.as_nanos(), amount.as_nanos());
        let params: [&dyn ToSql; 7] = [account, kind, name, span, begins, &spent, &held];
        Ok(connection.prepare_cached(MAKE)?.insert(&params[..])?)
    }
}
