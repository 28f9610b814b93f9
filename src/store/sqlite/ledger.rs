//! The ledger in its tables: purses, holds and usage rows.

mod book;
mod close;
mod hold;
mod report;
mod usage;

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Sqlite;
use super::writer::{Base, Fault};
use crate::spend::{
    Balance, Closed, Held, HoldError, HoldOrder, Ledger, LedgerError, Purse, Recovered, Report, ReportRow,
    Settlement,
};
use crate::types::{CallId, Money};

pub(super) use book::Book;
pub(super) use close::{charge_held, close};
pub(super) use hold::{hold, hold_again};
pub(super) use report::open as open_reader;

/// How many rows one transaction of [`Ledger::forget`] deletes: calls wait for it.
const FORGET_AT_ONCE: usize = 1000;

impl Ledger for Sqlite {
    fn hold(&self, order: HoldOrder) -> BoxFuture<'_, Result<Held, HoldError>> {
        Box::pin(async move {
            let held = self.writer.run(move |base| hold::hold(base, &order));
            held.await.inspect_err(|error| match error {
                HoldError::Ledger(_) => self.metrics.ledger_failed(),
                HoldError::Spent(_) | HoldError::Held(_) => {}
            })
        })
    }

    fn close(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<Vec<Closed>, LedgerError>> {
        Box::pin(self.write(move |base| close::close(base, &settlements)))
    }

    fn recover(
        &self,
        owner: CallId,
        expired: Duration,
    ) -> BoxFuture<'_, Result<Vec<Recovered>, LedgerError>> {
        Box::pin(self.write(move |base| close::recover(base, owner, expired)))
    }

    fn balance(&self, purse: Purse) -> BoxFuture<'_, Result<Balance, LedgerError>> {
        Box::pin(self.write(move |base| hold::balance(base, &purse)))
    }

    fn report(&self, report: Report) -> BoxFuture<'_, Result<Vec<ReportRow>, LedgerError>> {
        Box::pin(async move {
            let rows = report::run(self.path.clone(), report).await;
            rows.inspect_err(|_| self.metrics.ledger_failed())
        })
    }

    fn forget(&self, before: Duration) -> BoxFuture<'_, Result<u64, LedgerError>> {
        Box::pin(async move {
            let mut forgotten: u64 = 0;
            for forget in [report::forget_usage, report::forget_purses] {
                loop {
                    let deleted = self.write(move |base| forget(base, before, FORGET_AT_ONCE));
                    let deleted = deleted.await?;
                    forgotten = forgotten.saturating_add(deleted.try_into().unwrap_or(u64::MAX));
                    if deleted < FORGET_AT_ONCE {
                        break;
                    }
                }
            }
            Ok(forgotten)
        })
    }
}

impl Sqlite {
    /// Does `work` on the writer's thread; what goes wrong is counted.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Base) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let done = self.writer.run(move |base| work(base).map(Ok)).await;
        done.inspect_err(|_| self.metrics.ledger_failed())
    }
}

/// An amount in a column; the tables allow none below zero.
pub(super) fn money(nanos: i64) -> Result<Money, Fault> {
    Money::from_nanos(nanos).ok_or_else(|| damaged("an amount"))
}

pub(super) fn damaged(what: &str) -> Fault {
    Fault::Damaged(what.to_owned())
}

impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(why) | Fault::InDoubt(why) => Self::Unavailable { why },
            Fault::Damaged(what) => Self::Damaged { what },
        }
    }
}

impl From<Fault> for HoldError {
    fn from(fault: Fault) -> Self {
        Self::Ledger(fault.into())
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        Fault::from(error).into()
    }
}
