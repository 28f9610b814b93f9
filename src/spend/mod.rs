//! How much money: what a call may cost, what is set aside for it, and what it has cost.
//!
//! A *purse* is an amount that must not be passed: the limit in a token, or a cap of the settings over a day, a month or
//! all time. Before a capped call is sent its *ceiling*, the most that it can cost, is *held* in every purse that it
//! pays from, in one durable step: all that is spent and all that is held is never more than the limit. When it has
//! ended the hold is *settled*: it goes, and what the call has cost is spent ([`charge`]).

mod caps;
mod ceiling;
mod charge;
mod community;
mod fields;
mod ledger;
mod listed;
pub mod price;
mod prices;
mod ratios;
mod reservation;
mod settling;
mod waiting;
mod weigh;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::{self, Sender};

use crate::config::{BudgetLimit, Config, Unpriced};
use crate::metrics::{Metrics, ModelLabel, SpendLabels};
use crate::types::{CallId, Clock, Demand, Factor, ModelName, Money, RequestId};

pub use caps::Payer;
pub use charge::{Charge, Ending};
pub use community::TableError;
pub use fields::EntryError;
pub use ledger::{
    Balance, By, Closed, Denial, Entry, Group, Held, HoldError, HoldOrder, Ledger, LedgerError, Metered,
    Purse, Recovered, Report, ReportRow, Settlement, Share, Span, UsageRow, WAITING,
};
pub use price::Price;
pub use prices::{PriceTable, Prices};
use reservation::Open;
pub use reservation::{InFlight, Reservation, Seen, Stage, Unsent};
use settling::MAX_OPEN;
pub use settling::{Ended, Settling};
pub use waiting::{Closing, Waiting};
use weigh::entry;

/// The longest wait for a hold. A ledger that takes longer counts as one that can't be written.
const HOLD_TIMEOUT: Duration = Duration::from_secs(3);

/// A hold older than this is of no call: it is longer than any timeout lets one run.
const LONGEST_CALL: Duration = Duration::from_secs(48 * 60 * 60);

/// How long usage rows are kept: more than a year, so that years can be compared.
const RETENTION: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Money: the rules in force, the prices, and the way into the ledger.
#[derive(Debug)]
pub struct Spend {
    /// This process among the owners of holds.
    owner: CallId,
    rules: ArcSwap<Rules>,
    prices: Arc<Prices>,
    ledger: Arc<dyn Ledger>,
    queue: Sender<Ended>,
    ratios: ratios::Ratios,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// What the settings say of money.
#[derive(Debug)]
struct Rules {
    caps: Vec<BudgetLimit>,
    unpriced_hold: Money,
    unpriced: Unpriced,
    clamp_output: bool,
    max_output: u64,
    max_divergence: Factor,
}

impl Rules {
    fn of(config: &Config) -> Self {
        Self {
            caps: config.budget.limits.clone(),
            unpriced_hold: config.budget.unpriced_hold,
            unpriced: config.budget.unpriced,
            clamp_output: config.budget.clamp_output,
            max_output: config.models.max_output_tokens,
            max_divergence: config.prices.max_divergence,
        }
    }
}

/// A call that wants to go upstream.
pub trait Spending {
    /// Every model that may serve it, the one asked for first.
    fn models(&self) -> &[ModelName];
    /// What it may use at the most.
    fn demand(&self) -> Demand;
    /// As much of that as is known at once.
    fn outline(&self) -> Demand;
    /// Whether a bound on its output can be lowered or put in.
    fn output_can_be_clamped(&self) -> bool;
    /// Lowers its output to so many tokens for each answer.
    fn clamp_output(&mut self, tokens: u64);
}

/// Where a call comes from and goes to.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// Who pays.
    pub payer: Payer<'a>,
    /// What is asked, such as `chat_completions`.
    pub surface: &'static str,
    /// The upstream that will serve it.
    pub upstream: &'a str,
    /// The model as a label value.
    pub label: &'a ModelLabel,
    /// The id that client and upstream know.
    pub request_id: &'a RequestId,
}

/// Why a call can't be paid for.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// No price is known, and the settings want none to go without.
    #[error("no price is known for `{0}`")]
    Unpriced(ModelName),
    /// A purse has no room.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// The call has waited, and prices have risen.
    #[error("{held} USD are held for the call, which costs {least} USD at least by now")]
    Outgrown {
        /// What is held.
        held: Money,
        /// The least that would do.
        least: Money,
    },
    /// The ledger did not answer in time, or too much waits for it.
    #[error("the ledger does not answer")]
    Slow,
}

impl Spend {
    /// Puts it together with the task that closes calls, which has to run. Calls that an earlier process left open are
    /// charged first.
    ///
    /// # Errors
    /// The ledger can't be used.
    pub async fn open(
        config: &Config,
        ledger: Arc<dyn Ledger>,
        prices: Arc<Prices>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Self>, Settling), LedgerError> {
        let owner = CallId::new(clock.now());
        for left in ledger.recover(owner, Duration::ZERO).await? {
            tracing::warn!(
                account = %left.account,
                amount = %left.amount,
                "a call was open when the gate was killed: what was held for it is spent"
            );
            count_recovered(&metrics, left);
        }
        let (queue, ended) = mpsc::channel(MAX_OPEN);
        let settling = Settling {
            ended,
            ledger: Arc::clone(&ledger),
            metrics: Arc::clone(&metrics),
        };
        let spend = Self {
            owner,
            rules: ArcSwap::from_pointee(Rules::of(config)),
            prices,
            ledger,
            queue,
            ratios: ratios::Ratios::default(),
            metrics,
            clock,
        };
        Ok((Arc::new(spend), settling))
    }

    /// Other rules for the calls that begin from now on. What is spent and held stays.
    pub fn change(&self, config: &Config) {
        self.rules.store(Arc::new(Rules::of(config)));
    }

    /// Makes a call's place in the ledger, and holds its ceiling where a limit holds for its caller; clamps its output
    /// where the rest does not pay for more.
    ///
    /// Dropping the future gives everything back.
    ///
    /// # Errors
    /// See [`ReserveError`].
    pub async fn reserve(
        self: &Arc<Self>,
        route: Route<'_>,
        call: &mut impl Spending,
    ) -> Result<Reservation<Unsent>, ReserveError> {
        let at = self.clock.now();
        let rules = self.rules.load_full();
        let purses = caps::purses(route.payer, &rules.caps, at);
        let capped = !purses.is_empty();
        let slot = self.slot(capped)?;
        let entry = entry(route, at, call.models().first());
        let mut open = self.weigh(route, call, entry, capped);
        open.slot = slot;
        if !capped {
            open.may_hold = false;
            return Ok(Reservation::new(open));
        }
        // Boxed, so that other calls do not carry what it takes.
        Box::pin(self.hold_ceiling(open, purses, call, &rules)).await
    }

    /// Holds what a call costs at the most, and clamps its output where the rest does not pay for more.
    async fn hold_ceiling(
        &self,
        mut open: Open,
        purses: Vec<(Purse, Money)>,
        call: &mut impl Spending,
        rules: &Rules,
    ) -> Result<Reservation<Unsent>, ReserveError> {
        self.await_prices(&mut open, call.models()).await;
        let ceiling = open.set_ceiling(rules, call.output_can_be_clamped())?;
        let order = HoldOrder {
            owner: self.owner,
            entry: open.entry.clone(),
            purses,
            wanted: ceiling.wanted,
            least: ceiling.least,
        };
        let mut reservation = self.hold(open, order).await?;
        if let Some(open) = reservation.open()
            && let Some(tokens) = open.output_within(&ceiling, rules.max_output)
        {
            call.clamp_output(tokens);
            open.clamped = Some(tokens);
        }
        Ok(reservation)
    }

    async fn hold(&self, mut open: Open, order: HoldOrder) -> Result<Reservation<Unsent>, ReserveError> {
        let has_token_limit = open.entry.token.is_some()
            && matches!(
                order.purses.first(),
                Some((
                    Purse {
                        share: Share::Token(_),
                        ..
                    },
                    _
                ))
            );
        open.asked = true;
        let mut reservation = Reservation::new(open);
        let holding = tokio::time::timeout(HOLD_TIMEOUT, self.ledger.hold(order));
        match holding.await {
            Ok(Ok(held)) => {
                if let Some(open) = reservation.open() {
                    open.money = Some(self.metrics.money_held(held.amount));
                    open.left = has_token_limit.then_some(held.left);
                }
                Ok(reservation)
            }
            Ok(Err(refused @ (HoldError::Spent(_) | HoldError::Held(_)))) => {
                reservation.was_refused();
                Err(refused.into())
            }
            Ok(Err(error @ HoldError::Ledger(_))) => Err(error.into()),
            Err(_elapsed) => Err(ReserveError::Slow),
        }
    }

    /// What a purse has; nothing of it if it was never used.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn balance(&self, purse: Purse) -> Result<Balance, LedgerError> {
        self.ledger.balance(purse).await
    }

    /// Sums up what calls have used.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn report(&self, report: Report) -> Result<Vec<ReportRow>, LedgerError> {
        self.ledger.report(report).await
    }

    /// Deletes usage rows older than 400 days, and charges holds that are older than any call: nobody will close them. To
    /// be called now and then.
    ///
    /// # Errors
    /// The ledger can't be written.
    pub async fn tidy(&self) -> Result<(), LedgerError> {
        let now = self.clock.now();
        for lost in self
            .ledger
            .recover(self.owner, now.saturating_sub(LONGEST_CALL))
            .await?
        {
            tracing::error!(account = %lost.account, amount = %lost.amount, "a hold was never closed: it is spent");
            count_recovered(&self.metrics, lost);
        }
        let gone = self.ledger.forget(now.saturating_sub(RETENTION)).await?;
        if gone > 0 {
            tracing::info!(gone, "old usage is forgotten");
        }
        Ok(())
    }

    /// A place in the queue. A call without a limit goes on without one: its usage is not written down then.
    fn slot(&self, capped: bool) -> Result<Option<mpsc::OwnedPermit<Ended>>, ReserveError> {
        match self.queue.clone().try_reserve_owned() {
            Ok(slot) => Ok(Some(slot)),
            Err(_full) if capped => Err(ReserveError::Slow),
            Err(_full) => {
                self.metrics.ledger_failed();
                Ok(None)
            }
        }
    }

    fn max_output(&self) -> u64 {
        self.rules.load().max_output
    }

    fn max_divergence(&self) -> Factor {
        self.rules.load().max_divergence
    }
}

fn count_recovered(metrics: &Metrics, left: Recovered) {
    let model = left.model.as_ref().map(|model| metrics.models().label(model));
    let labels = SpendLabels::new(left.account, left.key, model.unwrap_or_else(ModelLabel::none));
    metrics.spent(&labels, left.amount);
}

#[cfg(test)]
pub(crate) mod tests;
