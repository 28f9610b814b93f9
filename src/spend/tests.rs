//! Money with no ledger behind it, for tests of those who only pass it on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, BoxFuture, FutureExt};

use super::*;
use crate::types::SystemClock;

/// A ledger that forgets everything.
#[derive(Debug)]
struct Oblivion;

impl Ledger for Oblivion {
    fn hold(&self, order: HoldOrder) -> BoxFuture<'_, Result<Held, HoldError>> {
        let held = Held {
            amount: order.wanted,
            left: Money::ZERO,
        };
        future::ready(Ok(held)).boxed()
    }

    fn close(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<Vec<Closed>, LedgerError>> {
        let closed = Closed {
            held: None,
            charged: Money::ZERO,
            overspent: Money::ZERO,
        };
        future::ready(Ok(vec![closed; settlements.len()])).boxed()
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
        Arc::new(Oblivion),
        Arc::default(),
        Arc::clone(metrics),
        Arc::new(SystemClock),
    );
    opened.await.unwrap().0
}
