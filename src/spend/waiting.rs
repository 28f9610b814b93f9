//! Money for calls that wait in the queue: it is held when a call is accepted and settled when it was made, maybe by another
//! process. Whoever keeps the call writes both down, each together with what becomes of the call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::ledger::{HoldOrder, WAITING};
use super::reservation::{Reservation, Unsent};
use super::settling::Ended;
use super::weigh::entry;
use super::{ReserveError, Route, Spend, Spending, caps};
use crate::types::{CallId, Money};

/// The longest wait for the end of a call whose answer was left: longer than any is read on.
const LEFT: Duration = Duration::from_secs(5);

/// A call that has waited.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// Its name in the ledger.
    pub call: CallId,
    /// When it was accepted: its usage belongs to that time.
    pub at: Duration,
    /// What is held for it, where a limit held for its caller.
    pub held: Option<Money>,
}

/// Where the end of such a call comes out, once its reservation has settled or fallen.
#[derive(Debug)]
pub struct Closing(mpsc::Receiver<Ended>);

impl Closing {
    /// The end, once it is there: a stream that was left is read on for a moment. A call without a limit that was never sent
    /// has none.
    pub async fn ended(mut self) -> Option<Ended> {
        tokio::time::timeout(LEFT, self.0.recv()).await.ok().flatten()
    }
}

impl Spend {
    /// What must be held for a call that is going to wait; `None` where no limit holds for its caller.
    ///
    /// # Errors
    /// Its price must be known and is not.
    pub async fn foresee(
        self: &Arc<Self>,
        route: Route<'_>,
        call: &mut impl Spending,
    ) -> Result<Option<HoldOrder>, ReserveError> {
        let at = self.clock.now();
        let rules = self.rules.load_full();
        let purses = caps::purses(route.payer, &rules.caps, at);
        if purses.is_empty() {
            return Ok(None);
        }
        let entry = entry(route, at, call.models().first());
        let mut open = self.weigh(route, call, entry, true);
        self.await_prices(&mut open, call.models()).await;
        let ceiling = open.set_ceiling(&rules, call.output_can_be_clamped())?;
        Ok(Some(HoldOrder {
            owner: WAITING,
            entry: open.entry,
            purses,
            wanted: ceiling.wanted,
            least: ceiling.least,
        }))
    }

    /// Takes up a call that has waited, with what is held for it, and clamps its output where that does not pay for more.
    /// Its end does not go into the ledger but comes out at the [`Closing`].
    ///
    /// # Errors
    /// Its price must be known and is not, or has risen beyond what is held.
    pub async fn resume(
        self: &Arc<Self>,
        route: Route<'_>,
        call: &mut impl Spending,
        waiting: Waiting,
    ) -> Result<(Reservation<Unsent>, Closing), ReserveError> {
        let (ended, closing) = mpsc::channel(1);
        let mut entry = entry(route, waiting.at, call.models().first());
        entry.call = waiting.call;
        let mut open = self.weigh(route, call, entry, waiting.held.is_some());
        open.slot = ended.try_reserve_owned().ok();
        if let Some(held) = waiting.held {
            self.await_prices(&mut open, call.models()).await;
            let rules = self.rules.load_full();
            let ceiling = open.set_ceiling(&rules, call.output_can_be_clamped())?;
            if held < ceiling.least {
                return Err(ReserveError::Outgrown {
                    held,
                    least: ceiling.least,
                });
            }
            open.asked = true;
            open.money = Some(self.metrics.money_held(held));
            if let Some(tokens) = open.output_within(&ceiling, rules.max_output) {
                call.clamp_output(tokens);
                open.clamped = Some(tokens);
            }
        }
        Ok((Reservation::new(open), Closing(closing)))
    }
}
