//! A call's place in the ledger, from before it is sent until it is closed: what becomes of it is in its type.
//!
//! A [`Reservation`] that falls while it is [`Unsent`] gives everything back; one that falls [`InFlight`] is charged what
//! is held. Neither waits: its place in the queue to the ledger is taken before anything else is.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::OwnedPermit;

use super::Spend;
use super::charge::{Charge, Ending, Terms};
use super::ledger::{Entry, Metered, Settlement, UsageRow};
use super::price::Price;
use super::settling::Ended;
use crate::metrics::{MoneyHeld, SpendLabels};
use crate::types::{Demand, ModelName, Money, Usage};

/// Nothing has gone upstream: falling costs nothing.
#[derive(Debug)]
pub enum Unsent {}

/// The call is upstream: falling costs what is held.
#[derive(Debug)]
pub enum InFlight {}

/// Where a reservation stands.
pub trait Stage: Debug {
    /// Whether the call has been sent.
    const SENT: bool;
}

impl Stage for Unsent {
    const SENT: bool = false;
}

impl Stage for InFlight {
    const SENT: bool = true;
}

/// The right to close one call in the ledger, once.
#[must_use = "dropping it closes the call"]
#[derive(Debug)]
pub struct Reservation<S: Stage> {
    open: Option<Box<Open>>,
    stage: PhantomData<S>,
}

/// What a reservation carries.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) spend: Arc<Spend>,
    /// The place in the queue to the ledger; absent where it was full and the call has no limit.
    pub(super) slot: Option<OwnedPermit<Ended>>,
    pub(super) entry: Entry,
    pub(super) labels: SpendLabels,
    /// Who may serve the call, at which price.
    pub(super) offers: Vec<Offer>,
    /// The upstream that serves it.
    pub(super) upstream: String,
    pub(super) demand: Demand,
    /// Whether the demand is whole, and not an outline.
    pub(super) weighed: bool,
    pub(super) ceiling: Option<Money>,
    /// Whether a hold was asked for; whether it was made may never be known.
    pub(super) asked: bool,
    /// Whether the ledger may hold something for it, whoever asked for that.
    pub(super) may_hold: bool,
    pub(super) money: Option<MoneyHeld>,
    /// What the purse of the token has left, if it has one.
    pub(super) left: Option<Money>,
    pub(super) clamped: Option<u64>,
}

/// A model and its price.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) model: ModelName,
    pub(super) price: Option<Arc<Price>>,
}

/// What is known of a call that has ended.
#[derive(Debug)]
pub struct Seen<'a> {
    /// How it ended.
    pub ending: Ending,
    /// What its answer has reported.
    pub usage: Option<&'a Usage>,
    /// The model that its answer says it is from.
    pub model: Option<ModelName>,
    /// The status of the answer, 0 where there was none.
    pub status: u16,
    /// How it ended, as a word.
    pub outcome: &'static str,
    /// From the request's head to the end.
    pub took: Duration,
}

impl<S: Stage> Reservation<S> {
    pub(super) fn new(open: Open) -> Self {
        Self {
            open: Some(Box::new(open)),
            stage: PhantomData,
        }
    }

    /// What the caller's token has left after all holds, this one too; `None` where its token has no limit.
    pub fn left(&self) -> Option<Money> {
        self.open.as_ref()?.left
    }

    /// Whether a limit holds for its caller.
    pub fn is_capped(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.asked)
    }

    /// To how many tokens its output had to be lowered.
    pub fn clamped(&self) -> Option<u64> {
        self.open.as_ref()?.clamped
    }

    pub(super) fn open(&mut self) -> Option<&mut Open> {
        self.open.as_deref_mut()
    }
}

impl Reservation<Unsent> {
    /// From here on the call may have cost something.
    pub fn sent(mut self) -> Reservation<InFlight> {
        Reservation {
            open: self.open.take(),
            stage: PhantomData,
        }
    }

    /// There is no hold, for sure: nothing needs to be given back.
    pub(super) fn was_refused(mut self) {
        drop(self.open.take());
    }
}

impl Reservation<InFlight> {
    /// Closes the call: what it is charged goes to the ledger.
    pub fn settle(mut self, seen: &Seen<'_>) -> Option<Charge> {
        self.open.take().map(|open| open.settle(seen))
    }
}

impl<S: Stage> Drop for Reservation<S> {
    fn drop(&mut self) {
        match self.open.take() {
            Some(open) if S::SENT => {
                let cut = Seen {
                    ending: Ending::Unseen,
                    usage: None,
                    model: None,
                    status: 0,
                    outcome: "client_gone",
                    took: Duration::ZERO,
                };
                open.settle(&cut);
            }
            Some(open) => open.release(),
            None => {}
        }
    }
}

impl Open {
    fn release(self: Box<Self>) {
        if !self.asked {
            return;
        }
        let settlement = Settlement::Release(self.entry.call);
        let ended = Ended {
            settlement,
            labels: self.labels,
            money: self.money,
        };
        send(self.slot, ended);
    }

    fn settle(self: Box<Self>, seen: &Seen<'_>) -> Charge {
        let offer = self.served(seen.model.as_ref());
        let model = offer.map(|offer| offer.model.clone());
        // A call without a limit does not wait for the first price list: it may have come by now.
        let price = offer.and_then(|offer| {
            let late = || self.spend.prices.price(&self.upstream, &offer.model);
            offer.price.clone().or_else(late)
        });
        let terms = Terms {
            price: price.as_deref(),
            demand: &self.demand,
            prompt: model.as_ref().map_or(self.demand.bytes, |model| {
                self.spend.ratios.tokens(model, self.demand.bytes)
            }),
            held: self.money.as_ref().map(MoneyHeld::amount),
            ceiling: self.ceiling,
            max_divergence: self.spend.max_divergence(),
            at: self.entry.at,
        };
        let charge = terms.charge(seen.ending, seen.usage);
        if charge.metered == Metered::Bounded {
            self.spend.metrics.cost_diverged(self.labels.model());
            tracing::warn!(
                request_id = self.entry.request_id.as_str(),
                reported = seen.usage.and_then(|usage| usage.cost).map(tracing::field::display),
                charged = %charge.cost,
                "the upstream reports a cost far above the price list"
            );
        }
        if seen.ending == Ending::Whole
            && let (Some(model), Some(usage)) = (&model, seen.usage)
            && self.weighed
            && self.demand.media == 0
            && !self.demand.elsewhere
        {
            self.spend.ratios.learn(model, self.demand.bytes, usage.input);
        }
        let Self {
            entry,
            labels,
            money,
            slot,
            may_hold,
            ..
        } = *self;
        let row = UsageRow {
            entry: Entry { model, ..entry },
            usage: charge.usage,
            cost: charge.cost,
            metered: charge.metered,
            status: seen.status,
            outcome: seen.outcome,
            took: seen.took,
            may_hold,
        };
        let ended = Ended {
            settlement: Settlement::Charge(Arc::new(row)),
            labels,
            money,
        };
        send(slot, ended);
        charge
    }

    /// The offer of the model that served, else the dearest of all.
    fn served(&self, model: Option<&ModelName>) -> Option<&Offer> {
        let named = self
            .offers
            .iter()
            .find(|offer| model.is_some_and(|model| model.base() == offer.model.base()));
        let ceiling = |offer: &&Offer| {
            let price = offer.price.as_ref();
            price.map(|price| price.ceiling(&self.demand, self.spend.max_output()))
        };
        named.or_else(|| self.offers.iter().max_by_key(ceiling))
    }
}

fn send(slot: Option<OwnedPermit<Ended>>, ended: Ended) {
    if let Some(slot) = slot {
        // The sender comes back; the queue needs no further one.
        drop(slot.send(ended));
    }
}
