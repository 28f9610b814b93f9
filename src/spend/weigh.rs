//! What is known of a call before anything is held for it: who may serve it, at which price, and what it may use.

use std::sync::Arc;
use std::time::Duration;

use super::ledger::Entry;
use super::reservation::{Offer, Open};
use super::{Route, Spend, Spending};
use crate::metrics::SpendLabels;
use crate::types::{CallId, ModelName};

/// The longest wait for the first price lists.
const PRICES_TIMEOUT: Duration = Duration::from_secs(2);

impl Spend {
    /// A call's place in the ledger, of which nothing is known there yet.
    pub(super) fn weigh(
        self: &Arc<Self>,
        route: Route<'_>,
        call: &mut impl Spending,
        entry: Entry,
        capped: bool,
    ) -> Open {
        let offers = self.offers(route.upstream, call.models());
        let mut prices = offers.iter().filter_map(|offer| offer.price.as_ref());
        let weighed = capped || prices.any(|price| price.goes_by_demand());
        Open {
            spend: Arc::clone(self),
            slot: None,
            entry,
            labels: labels(route),
            offers,
            upstream: route.upstream.to_owned(),
            demand: if weighed { call.demand() } else { call.outline() },
            weighed,
            ceiling: None,
            asked: false,
            may_hold: true,
            money: None,
            left: None,
            clamped: None,
        }
    }

    /// Waits for the upstream's first price list where a price is missing that it may have.
    pub(super) async fn await_prices(&self, open: &mut Open, models: &[ModelName]) {
        if open.offers.iter().any(|offer| offer.price.is_none()) {
            self.prices.ready(&open.upstream, PRICES_TIMEOUT).await;
            open.offers = self.offers(&open.upstream, models);
        }
    }

    fn offers(&self, upstream: &str, models: &[ModelName]) -> Vec<Offer> {
        let offer = |model: &ModelName| Offer {
            model: model.clone(),
            price: self.prices.price(upstream, model),
        };
        models.iter().map(offer).collect()
    }
}

/// What is written down of a call, whatever becomes of it.
pub(super) fn entry(route: Route<'_>, at: Duration, model: Option<&ModelName>) -> Entry {
    Entry {
        call: CallId::new(at),
        at,
        account: route.payer.account.clone(),
        key: route.payer.key.clone(),
        token: route.payer.token.cloned(),
        model: model.cloned(),
        route: route.surface,
        request_id: route.request_id.clone(),
    }
}

fn labels(route: Route<'_>) -> SpendLabels {
    SpendLabels::new(
        route.payer.account.clone(),
        route.payer.key.clone(),
        route.label.clone(),
    )
}
