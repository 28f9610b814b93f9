//! Money with no ledger behind it, for tests of those who only pass it on.

mod model;
mod player;
mod schedules;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{self, BoxFuture, FutureExt};

use super::*;
use crate::types::SystemClock;

/// A ledger that forgets everything, and closes calls as it is told to.
#[derive(Debug)]
pub(super) struct Scripted {
    /// How many calls it was to close, each time.
    pub(super) asked: Arc<Mutex<Vec<usize>>>,
    /// What it answers: by how often it was asked before, and by what the calls cost in nano-dollars.
    pub(super) answer: fn(usize, &[i64]) -> Result<(), LedgerError>,
}

impl Ledger for Scripted {
    fn hold(&self, order: HoldOrder) -> BoxFuture<'_, Result<Held, HoldError>> {
        let held = Held {
            amount: order.wanted,
            left: Money::ZERO,
        };
        future::ready(Ok(held)).boxed()
    }

    fn close(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<Vec<Closed>, LedgerError>> {
        let costs: Vec<i64> = settlements
            .iter()
            .map(|settlement| match settlement {
                Settlement::Release(_) => 0,
                Settlement::Charge(row) => row.cost.as_nanos(),
            })
            .collect();
        let mut asked = self.asked.lock().unwrap();
        let answer = (self.answer)(asked.len(), &costs);
        asked.push(costs.len());
        // As if they had all been closed before.
        let closed = Closed {
            held: None,
            charged: Money::ZERO,
            overspent: Money::ZERO,
        };
        future::ready(answer.map(|()| vec![closed; costs.len()])).boxed()
    }

    fn recover(&self, _: CallId, _: Duration) -> BoxFuture<'_, Result<Vec<Recovered>, LedgerError>> {
        future::ready(Ok(Vec::new())).boxed()
    }

    fn balance(&self, _: Purse) -> BoxFuture<'_, Result<Balance, LedgerError>> {
        future::ready(Ok(Balance::default())).boxed()
    }

    fn report(&self, _: Report) -> BoxFuture<'_, Result<Vec<ReportRow>, LedgerError>> {
        future::ready(Ok(Vec::new())).boxed()
    }

    fn forget(&self, _: Duration) -> BoxFuture<'_, Result<u64, LedgerError>> {
        future::ready(Ok(0)).boxed()
    }
}

/// Money by the default settings, without any price.
pub(crate) async fn spend(metrics: &Arc<Metrics>) -> Arc<Spend> {
    let config = Config::parse("", Path::new(""), &BTreeMap::<String, String>::new());
    let config = config.unwrap();
    let opened = Spend::open(
        &config,
        Arc::new(Scripted {
            asked: Arc::default(),
            answer: |_, _| Ok(()),
        }),
        Arc::default(),
        Arc::clone(metrics),
        Arc::new(SystemClock),
    );
    opened.await.unwrap().0
}
