//! What a call is charged, by how it ended: the table of the contract as one pure function.

use std::time::Duration;

use super::ledger::Metered;
use super::price::Price;
use crate::types::{Demand, Factor, Money, Usage};

/// How a call ended, as far as money is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing is owed: the gate refused it, it could not be sent, or the upstream answered that it failed.
    Failed,
    /// The answer went well and is whole.
    Whole,
    /// The call went upstream and was cut, before its answer or in the middle of it. Of an event stream it is known how
    /// many events with content had passed.
    Cut {
        /// How many; `None` where the answer is none that comes in events.
        events: Option<u64>,
    },
}

/// What the charge of a call goes by, besides how it ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    /// The price of the model that has served.
    pub(super) price: Option<&'a Price>,
    /// What the call could use at the most.
    pub(super) demand: &'a Demand,
    /// How many tokens its prompt seems to have.
    pub(super) prompt: u64,
    /// What is held for it.
    pub(super) held: Option<Money>,
    /// The most that it can cost by the table.
    pub(super) ceiling: Option<Money>,
    /// How far above the table a reported cost may lie.
    pub(super) max_divergence: Factor,
    /// When it began.
    pub(super) at: Duration,
}

/// What a call is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// How much.
    pub cost: Money,
    /// How that is known.
    pub metered: Metered,
    /// What was used: as it was reported, or as it was estimated.
    pub usage: Usage,
}

impl Terms<'_> {
    /// The charge of a call that ended so, `usage` being what its answer has reported.
    pub(super) fn charge(&self, ending: Ending, usage: Option<&Usage>) -> Charge {
        match (ending, usage) {
            (Ending::Failed, _) => charge(Money::ZERO, Metered::Free, Usage::default()),
            (Ending::Cut { events: Some(events) }, Some(usage))
                if usage.cost.is_none() && usage.output < events =>
            {
                self.begun(usage, events)
            }
            (Ending::Whole | Ending::Cut { .. }, Some(usage)) => self.reported(usage),
            (Ending::Whole, None) => self
                .priced(&Usage::default())
                .filter(|charge| charge.cost > Money::ZERO)
                .unwrap_or_else(|| self.unknown(Usage::default())),
            (Ending::Cut { events }, None) => self.estimated(events),
        }
    }

    fn reported(&self, usage: &Usage) -> Charge {
        let priced = self.priced(usage);
        let Some(cost) = usage.cost else {
            return priced.unwrap_or_else(|| self.unknown(*usage));
        };
        // Where the table can't price what was used it still bounds what the call could use.
        let table = priced.map(|charge| charge.cost).or(self.ceiling);
        let bound = table
            .filter(|table| *table > Money::ZERO)
            .map(|table| times(table, self.max_divergence));
        match bound.filter(|bound| cost > *bound) {
            Some(bound) => charge(bound, Metered::Bounded, *usage),
            None => charge(cost, Metered::Reported, *usage),
        }
    }

    fn priced(&self, usage: &Usage) -> Option<Charge> {
        let cost = self.price?.cost(usage, self.demand, self.at)?;
        Some(charge(cost, Metered::Priced, *usage))
    }

    /// What was seen, by the table, but never more than was held: of what is not seen nothing is known. An answer in one
    /// piece shows nothing of itself before its end.
    fn estimated(&self, events: Option<u64>) -> Charge {
        let Some(output) = events else {
            return self.unknown(Usage::default());
        };
        let seen = Usage {
            input: self.prompt,
            output,
            ..Usage::default()
        };
        match self.priced(&seen) {
            Some(Charge { cost, usage, .. }) => {
                let cost = self.held.map_or(cost, |held| cost.min(held));
                charge(cost, Metered::Estimated, usage)
            }
            None => self.unknown(seen),
        }
    }

    /// The usage that a stream had reported when it was cut may be that of its beginning: what came after it counts too.
    fn begun(&self, usage: &Usage, events: u64) -> Charge {
        let seen = Usage {
            output: events,
            ..*usage
        };
        let reported = self.reported(usage);
        match self.priced(&seen) {
            Some(Charge { cost, usage, .. }) => {
                let cost = self.held.map_or(cost, |held| cost.min(held)).max(reported.cost);
                charge(cost, Metered::Estimated, usage)
            }
            None => reported,
        }
    }

    fn unknown(&self, usage: Usage) -> Charge {
        charge(self.held.unwrap_or(Money::ZERO), Metered::Held, usage)
    }
}

/// An amount so many times, rounded down: it is a bound.
fn times(amount: Money, factor: Factor) -> Money {
    let nanos = i128::from(amount.as_nanos()).saturating_mul(i128::from(factor.billionths()));
    let nanos = nanos
        .checked_div(1_000_000_000)
        .and_then(|nanos| i64::try_from(nanos).ok());
    nanos.and_then(Money::from_nanos).unwrap_or(Money::MAX)
}

fn charge(cost: Money, metered: Metered, usage: Usage) -> Charge {
    Charge { cost, metered, usage }
}

#[cfg(test)]
mod tests {
    use super::super::price::{Charge as Paid, Price, Tiers, TokenRates};
    use super::*;
    use crate::types::Rate;

    /// Ten nano-dollars for a token of the prompt, a hundred for one of the answer.
    fn price() -> Price {
        let rate = |nanos: &str| Rate::parse(nanos).unwrap();
        let rates = TokenRates {
            input: rate("0.00000001"),
            cached: rate("0.00000001"),
            cache_write: rate("0.00000001"),
            output: rate("0.0000001"),
        };
        Price::new(Paid::Tokens(Tiers {
            default: rates,
            priority: rates,
            flex: rates,
        }))
    }

    fn nanos(nanos: i64) -> Money {
        Money::from_nanos(nanos).unwrap()
    }

    fn used(input: u64, output: u64, cost: Option<i64>) -> Usage {
        Usage {
            input,
            output,
            cost: cost.map(nanos),
            ..Usage::default()
        }
    }

    /// The charge of a call with a prompt of some 10 tokens for which 5,000 nano-dollars are held.
    fn charged(priced: bool, held: bool, ending: Ending, usage: Option<Usage>) -> (i64, Metered) {
        let (price, demand) = (price(), Demand::default());
        let terms = Terms {
            price: priced.then_some(&price),
            demand: &demand,
            prompt: 10,
            held: held.then_some(nanos(5_000)),
            ceiling: (priced && held).then_some(nanos(5_000)),
            max_divergence: Factor::from_billionths(3_000_000_000),
            at: Duration::ZERO,
        };
        let charge = terms.charge(ending, usage.as_ref());
        (charge.cost.as_nanos(), charge.metered)
    }

    #[test]
    fn a_call_is_charged_by_how_it_ended_and_what_is_known() {
        use Ending::{Cut, Failed, Whole};
        let (all, some) = (used(10, 20, Some(2_000)), used(10, 20, None));
        let cut = |events| Cut { events };
        for (priced, held, ending, usage, want) in [
            (true, true, Failed, Some(all), (0, Metered::Free)),
            (true, true, Whole, Some(all), (2_000, Metered::Reported)),
            (true, true, Whole, Some(some), (2_100, Metered::Priced)),
            (false, true, Whole, Some(some), (5_000, Metered::Held)),
            (false, false, Whole, Some(some), (0, Metered::Held)),
            (true, true, Whole, None, (5_000, Metered::Held)),
            (true, false, Whole, None, (0, Metered::Held)),
            // The debt of a call that cost more than it could.
            (
                true,
                true,
                Whole,
                Some(used(10, 90, Some(9_000))),
                (9_000, Metered::Reported),
            ),
            (
                true,
                true,
                Whole,
                Some(used(10, 90, None)),
                (9_100, Metered::Priced),
            ),
            // Far above the table, with tokens and without.
            (
                true,
                true,
                Whole,
                Some(used(10, 20, Some(6_301))),
                (6_300, Metered::Bounded),
            ),
            (
                true,
                true,
                Whole,
                Some(used(10, 20, Some(6_300))),
                (6_300, Metered::Reported),
            ),
            (
                true,
                true,
                Whole,
                Some(used(0, 0, Some(90_000))),
                (15_000, Metered::Bounded),
            ),
            (
                false,
                true,
                Whole,
                Some(used(10, 20, Some(90_000))),
                (90_000, Metered::Reported),
            ),
            // Cut: by running usage, by what was seen, or by what is held.
            (true, true, cut(Some(7)), Some(all), (2_000, Metered::Reported)),
            // The usage of the beginning, and what came after it; never more than is held.
            (true, true, cut(Some(27)), Some(some), (2_800, Metered::Estimated)),
            (true, true, cut(Some(7)), Some(some), (2_100, Metered::Priced)),
            (true, true, cut(Some(90)), Some(some), (5_000, Metered::Estimated)),
            (false, true, cut(Some(27)), Some(some), (5_000, Metered::Held)),
            (true, true, cut(Some(7)), None, (800, Metered::Estimated)),
            (true, true, cut(Some(0)), None, (100, Metered::Estimated)),
            (true, true, cut(Some(1_000)), None, (5_000, Metered::Estimated)),
            (true, false, cut(Some(1_000)), None, (100_100, Metered::Estimated)),
            (false, true, cut(Some(7)), None, (5_000, Metered::Held)),
            (true, true, cut(None), None, (5_000, Metered::Held)),
        ] {
            let found = charged(priced, held, ending, usage);
            assert_eq!(found, want, "{priced} {held} {ending:?} {usage:?}");
        }
    }
}
