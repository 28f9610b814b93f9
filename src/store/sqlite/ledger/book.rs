//! What purses have, in memory: as the transaction that is open will leave them. Written down once a transaction.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{Connection, OptionalExtension, ToSql, params};
use time::{OffsetDateTime, Time};

use super::money;
use crate::spend::{Balance, Purse, Share, Span};
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::writer::Fault;
use crate::types::{AccountId, KeyName, Money, TokenId};

/// How many purses, and how many days of keys, are remembered between transactions, some 250 bytes each.
const MAX_REMEMBERED: usize = 65_536;

const DAY: i64 = 86_400_000;

const FIND: &str = "
    SELECT id, spent, held FROM purses
    WHERE account = ?1 AND kind = ?2 AND name = ?3 AND span = ?4 AND begins = ?5";

const READ: &str = "SELECT spent, held FROM purses WHERE id = ?1";

const MAKE: &str = "
    INSERT INTO purses (account, kind, name, span, begins, spent, held) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const WRITE: &str = "UPDATE purses SET spent = ?2, held = ?3 WHERE id = ?1";

const WRITE_DAY: &str = "
    INSERT INTO daily (account, day, key, cost) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (account, day, key) DO UPDATE
    SET cost = CASE WHEN cost > 9223372036854775807 - ?4 THEN 9223372036854775807 ELSE cost + ?4 END";

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    account: AccountId,
    whose: Whose,
    span: i64,
    begins: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    Token(TokenId),
    Key(KeyName),
    Everybody,
}

/// Who has spent how much, and when.
pub(super) struct Expense<'a> {
    pub(super) at: i64,
    pub(super) account: &'a AccountId,
    pub(super) key: &'a KeyName,
    pub(super) token: Option<&'a TokenId>,
    pub(super) cost: Money,
}

/// The purses that were met, and what the transaction that is open has changed of them.
#[derive(Debug, Default)]
pub(in crate::store::sqlite) struct Book {
    /// None for a purse that is not there.
    ids: HashMap<Name, Option<i64>, RandomState>,
    sums: HashMap<i64, Sums, RandomState>,
    /// Whose sums the table does not have yet.
    changed: Vec<i64>,
    days: HashMap<Day, Spending, RandomState>,
    /// What of `days` the table `daily` does not have yet.
    days_changed: Vec<Day>,
    /// How often a purse of a key or an account was made.
    made: u64,
    /// How often anything was changed here.
    changes: u64,
    /// How many rows of the file were changed to write it down.
    written: u64,
}

/// An account, the beginning of a day, and a key: all of its calls pay from the same purses, besides their tokens'.
type Day = (AccountId, i64, KeyName);

#[derive(Debug, Default)]
struct Spending {
    /// What the table does not have yet.
    unwritten: Money,
    /// The ids of the purses, and how many had been made when they were looked up.
    purses: Option<(u64, Vec<i64>)>,
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    balance: Balance,
    is_changed: bool,
}

impl Name {
    pub(super) fn of(purse: &Purse) -> Self {
        let (whose, span) = match &purse.share {
            Share::Token(token) => (Whose::Token(token.clone()), Span::Total),
            Share::Key(key, span) => (Whose::Key(key.clone()), *span),
            Share::Account(span) => (Whose::Everybody, *span),
        };
        let (span, begins) = match span {
            Span::Total => (0, 0),
            Span::Day(begins) => (1, rounded_down(begins)),
            Span::Month(begins) => (2, rounded_down(begins)),
        };
        Self {
            account: purse.account.clone(),
            whose,
            span,
            begins,
        }
    }

    pub(super) fn of_token(account: &AccountId, token: &TokenId) -> Self {
        Self {
            account: account.clone(),
            whose: Whose::Token(token.clone()),
            span: 0,
            begins: 0,
        }
    }

    /// The purses of a key, then those of its account, that count what is spent at a time.
    fn of_all(expense: &Expense<'_>) -> impl Iterator<Item = Self> {
        let spans = [
            Some((0, 0)),
            Some((1, day_of(expense.at))),
            month_of(expense.at).map(|month| (2, month)),
        ];
        let whose = [Whose::Key(expense.key.clone()), Whose::Everybody];
        let account = expense.account.clone();
        whose.into_iter().flat_map(move |whose| {
            let account = account.clone();
            spans.into_iter().flatten().map(move |(span, begins)| Self {
                account: account.clone(),
                whose: whose.clone(),
                span,
                begins,
            })
        })
    }

    /// Calls `with` with the columns that make up the name.
    fn columns<T>(&self, with: impl FnOnce([&dyn ToSql; 5]) -> T) -> T {
        let account = self.account.as_str();
        let (span, begins) = (&self.span, &self.begins);
        match &self.whose {
            Whose::Token(token) => with([&account, &0, &token.to_string(), span, begins]),
            Whose::Key(key) => with([&account, &1, &key.as_str(), span, begins]),
            Whose::Everybody => with([&account, &2, &"", span, begins]),
        }
    }
}

impl Spending {
    /// Whether its purses are those that there are, so many having been made.
    fn has_purses(&self, made: u64) -> bool {
        self.purses.as_ref().is_some_and(|(then, _)| *then == made)
    }
}

impl Book {
    /// The id of a purse that is there.
    pub(super) fn find(&mut self, connection: &Connection, name: &Name) -> Result<Option<i64>, Fault> {
        if let Some(known) = self.ids.get(name) {
            return Ok(*known);
        }
        let mut find = connection.prepare_cached(FIND)?;
        let found: Option<(i64, i64, i64)> = name
            .columns(|columns| find.query_row(&columns[..], |row| row.try_into()))
            .optional()?;
        let id = found.map(|(id, ..)| id);
        if let Some((id, spent, held)) = found {
            self.remember(id, spent, held)?;
        }
        self.ids.insert(name.clone(), id);
        Ok(id)
    }

    /// What a purse has that is there; None if it is not there any more.
    pub(super) fn balance(&mut self, connection: &Connection, id: i64) -> Result<Option<Balance>, Fault> {
        if let Some(sums) = self.sums.get(&id) {
            return Ok(Some(sums.balance));
        }
        let mut read = connection.prepare_cached(READ)?;
        let found: Option<(i64, i64)> = read.query_row([id], |row| row.try_into()).optional()?;
        found
            .map(|(spent, held)| self.remember(id, spent, held))
            .transpose()
    }

    fn remember(&mut self, id: i64, spent: i64, held: i64) -> Result<Balance, Fault> {
        let (spent, held) = (money(spent)?, money(held)?);
        let balance = Balance { spent, held };
        let is_changed = false;
        // What is here already may be newer than what was read.
        Ok(self
            .sums
            .entry(id)
            .or_insert(Sums { balance, is_changed })
            .balance)
    }

    /// What calls had cost before a purse is met that is not there. Of a token every call is in its purse from the first
    /// on.
    pub(super) fn spent_before(&mut self, connection: &Connection, name: &Name) -> Result<Money, Fault> {
        let key = match &name.whose {
            Whose::Token(_) => return Ok(Money::ZERO),
            Whose::Key(key) => Some(key.as_str()),
            Whose::Everybody => None,
        };
        self.write_days(connection)?;
        let mut days = connection.prepare_cached(DAYS)?;
        let mut rows = days.query(params![name.account.as_str(), name.span, name.begins, key])?;
        let mut spent = Money::ZERO;
        while let Some(row) = rows.next()? {
            spent = spent.saturating_add(money(row.get(0)?)?);
        }
        Ok(spent)
    }

    /// Puts a purse into the table that is not there. Returns its id.
    pub(super) fn make(
        &mut self,
        connection: &Connection,
        name: &Name,
        balance: Balance,
    ) -> Result<i64, Fault> {
        let (spent, held) = (balance.spent.as_nanos(), balance.held.as_nanos());
        let mut make = connection.prepare_cached(MAKE)?;
        let id = name.columns(|[account, kind, name, span, begins]| {
            let params: [&dyn ToSql; 7] = [account, kind, name, span, begins, &spent, &held];
            make.insert(&params[..])
        })?;
        self.remember(id, spent, held)?;
        self.ids.insert(name.clone(), Some(id));
        if !matches!(name.whose, Whose::Token(_)) {
            self.made = self.made.wrapping_add(1);
        }
        Ok(id)
    }

    /// Changes what a purse has that was read before.
    pub(super) fn change(&mut self, id: i64, change: impl FnOnce(&mut Balance)) {
        let Some(sums) = self.sums.get_mut(&id) else {
            return;
        };
        change(&mut sums.balance);
        if !sums.is_changed {
            sums.is_changed = true;
            self.changed.push(id);
        }
        self.changes = self.changes.wrapping_add(1);
    }

    /// Charges every purse that counts an expense, whether a hold names it or not: a cap may have come while the call
    /// was under way. The largest amount that a column holds stays what it is. Returns the ids.
    pub(super) fn spend(
        &mut self,
        connection: &Connection,
        expense: &Expense<'_>,
    ) -> Result<Vec<i64>, Fault> {
        let cost = expense.cost;
        let mut charged = Vec::new();
        if let Some(token) = expense.token {
            let name = Name::of_token(expense.account, token);
            match self.find(connection, &name)? {
                Some(id) => charged.push(id),
                None => {
                    let (spent, held) = (cost, Money::ZERO);
                    self.make(connection, &name, Balance { spent, held })?;
                }
            }
        }
        self.spend_of_day(connection, expense, &mut charged)?;
        for id in &charged {
            self.change(*id, |balance| balance.spent = balance.spent.saturating_add(cost));
        }
        Ok(charged)
    }

    /// Notes an expense for `daily`, and puts the purses of its account and key into `purses`.
    fn spend_of_day(
        &mut self,
        connection: &Connection,
        expense: &Expense<'_>,
        purses: &mut Vec<i64>,
    ) -> Result<(), Fault> {
        let day = (expense.account.clone(), day_of(expense.at), expense.key.clone());
        if !self
            .days
            .get(&day)
            .is_some_and(|known| known.has_purses(self.made))
        {
            let mut found = Vec::new();
            for name in Name::of_all(expense) {
                found.extend(self.find(connection, &name)?);
            }
            self.days.entry(day.clone()).or_default().purses = Some((self.made, found));
        }
        let Some(known) = self.days.get_mut(&day) else {
            return Ok(());
        };
        purses.extend(known.purses.iter().flat_map(|(_, ids)| ids));
        if known.unwritten == Money::ZERO {
            self.days_changed.push(day);
        }
        known.unwritten = known.unwritten.saturating_add(expense.cost);
        Ok(())
    }

    /// Writes down what was changed.
    pub(in crate::store::sqlite) fn write(&mut self, connection: &Connection) -> Result<(), Fault> {
        // Should writing fail half-way, the transaction has changed and can't be kept.
        if !self.changed.is_empty() || !self.days_changed.is_empty() {
            self.changes = self.changes.wrapping_add(1);
        }
        self.write_days(connection)?;
        if self.changed.is_empty() {
            return Ok(());
        }
        self.changed.sort_unstable();
        let mut write = connection.prepare_cached(WRITE)?;
        for id in std::mem::take(&mut self.changed) {
            let Some(sums) = self.sums.get_mut(&id) else {
                continue;
            };
            let Balance { spent, held } = sums.balance;
            write.execute([id, spent.as_nanos(), held.as_nanos()])?;
            sums.is_changed = false;
            self.written = self.written.wrapping_add(1);
        }
        Ok(())
    }

    fn write_days(&mut self, connection: &Connection) -> Result<(), Fault> {
        if self.days_changed.is_empty() {
            return Ok(());
        }
        let mut write = connection.prepare_cached(WRITE_DAY)?;
        for name in std::mem::take(&mut self.days_changed) {
            let Some(known) = self.days.get_mut(&name) else {
                continue;
            };
            let cost = std::mem::take(&mut known.unwritten);
            let (account, day, key) = name;
            write.execute(params![account.as_str(), day, key.as_str(), cost.as_nanos()])?;
            self.written = self.written.wrapping_add(1);
        }
        Ok(())
    }

    /// Forgets everything, as after a rollback: the file knows better.
    pub(in crate::store::sqlite) fn clear(&mut self) {
        self.ids.clear();
        self.sums.clear();
        self.changed.clear();
        self.days.clear();
        self.days_changed.clear();
    }

    /// Forgets what is too much to remember, when all is written down.
    pub(in crate::store::sqlite) fn trim(&mut self) {
        if self.ids.len().max(self.sums.len()).max(self.days.len()) > MAX_REMEMBERED {
            self.clear();
        }
    }

    /// A number that is another one after anything that a rollback would have to take back, here or in the file.
    pub(in crate::store::sqlite) fn mark(&self, connection: &Connection) -> u64 {
        let rows = connection.total_changes().wrapping_sub(self.written);
        rows.wrapping_add(self.changes)
    }
}

fn day_of(at: i64) -> i64 {
    at.saturating_sub(at.rem_euclid(DAY))
}

/// None for a time beyond the calendar.
fn month_of(at: i64) -> Option<i64> {
    let day = OffsetDateTime::from_unix_timestamp(at.div_euclid(1000)).ok()?;
    let first = day.replace_day(1).ok()?.replace_time(Time::MIDNIGHT);
    first.unix_timestamp().checked_mul(1000)
}
