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
    /// The answer is a stream of events and was cut.
    Cut {
        /// How many events with content had come.
        events: u64,
        /// How many are taken to have been under way.
        under_way: u64,
    },
    /// The call went upstream and was cut before anything could be seen of what it used: before its answer, or in the
    /// middle of one in one piece.
    Unseen,
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
            (Ending::Cut { events, under_way }, Some(usage))
                if usage.cost.is_none() && usage.output < events =>
            {
                self.begun(usage, events.saturating_add(under_way))
            }
            (Ending::Cut { under_way, .. }, Some(usage)) => self.with_more(self.reported(usage), under_way),
            (Ending::Whole | Ending::Unseen, Some(usage)) => self.reported(usage),
            (Ending::Whole, None) => self
                .priced(&Usage::default())
                .filter(|charge| charge.cost > Money::ZERO)
                .unwrap_or_else(|| self.unknown(Usage::default())),
            (Ending::Unseen, None) => self.unknown(Usage::default()),
            (Ending::Cut { events, under_way }, None) => {
                self.seen(self.prompt, events.saturating_add(under_way))
            }
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

    /// What was seen, by the table, but never more than was held: of what is not seen nothing is known.
    fn seen(&self, input: u64, output: u64) -> Charge {
        let seen = Usage {
            input,
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

    /// Some streams report the prompt when they begin, and the answer when it is over: what came after that report counts
    /// too.
    fn begun(&self, usage: &Usage, output: u64) -> Charge {
        let reported = self.reported(usage);
        let seen = Usage { output, ..*usage };
        match self.priced(&seen) {
            Some(Charge { cost, usage, .. }) => {
                let cost = self.held.map_or(cost, |held| cost.min(held)).max(reported.cost);
                charge(cost, Metered::Estimated, usage)
            }
            None => reported,
        }
    }

    /// A charge by running usage with that of further tokens, up to what is held.
    fn with_more(&self, known: Charge, tokens: u64) -> Charge {
        let more = Usage {
            output: tokens,
            ..Usage::default()
        };
        let Some(more) = self.priced(&more).filter(|_| tokens > 0) else {
            return known;
        };
        let most = self.held.unwrap_or(Money::MAX).max(known.cost);
        let usage = Usage {
            output: known.usage.output.saturating_add(tokens),
            cost: None,
            ..known.usage
        };
        charge(
            known.cost.saturating_add(more.cost).min(most),
            Metered::Estimated,
            usage,
        )
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
    fn a_whole_answer_costs_what_it_reports_or_what_is_held() {
        use Ending::{Failed, Whole};
        let (all, some) = (used(10, 20, Some(2_000)), used(10, 20, None));
        let dear = |input, output, cost| Some(used(input, output, Some(cost)));
        for (ending, usage, want) in [
            (Failed, Some(all), (0, Metered::Free)),
            (Whole, Some(all), (2_000, Metered::Reported)),
            (Whole, Some(some), (2_100, Metered::Priced)),
            (Whole, None, (5_000, Metered::Held)),
            // The debt of a call that cost more than it could.
            (Whole, dear(10, 90, 9_000), (9_000, Metered::Reported)),
            (Whole, Some(used(10, 90, None)), (9_100, Metered::Priced)),
            // Far above the table, with tokens and without.
            (Whole, dear(10, 20, 6_301), (6_300, Metered::Bounded)),
            (Whole, dear(10, 20, 6_300), (6_300, Metered::Reported)),
            (Whole, dear(0, 0, 90_000), (15_000, Metered::Bounded)),
        ] {
            assert_eq!(charged(true, true, ending, usage), want, "{ending:?} {usage:?}");
        }
        for (priced, held, usage, want) in [
            (false, true, Some(some), (5_000, Metered::Held)),
            (false, false, Some(some), (0, Metered::Held)),
            (true, false, None, (0, Metered::Held)),
            (false, true, dear(10, 20, 90_000), (90_000, Metered::Reported)),
        ] {
            assert_eq!(
                charged(priced, held, Whole, usage),
                want,
                "{priced} {held} {usage:?}"
            );
        }
    }

    #[test]
    fn a_cut_answer_costs_what_was_seen_of_it_up_to_what_is_held() {
        let (all, begun) = (Some(used(10, 20, Some(2_000))), Some(used(30, 1, None)));
        let estimated = |cost| (cost, Metered::Estimated);
        for (events, under_way, usage, want) in [
            (7, 0, all, (2_000, Metered::Reported)),
            (7, 3, all, estimated(2_300)),
            (7, 100, all, estimated(5_000)),
            (21, 0, all, (2_000, Metered::Reported)),
            (21, 0, begun, estimated(2_400)),
            (0, 0, None, estimated(100)),
            (7, 0, None, estimated(800)),
            (7, 3, None, estimated(1_100)),
            (1_000, 0, None, estimated(5_000)),
        ] {
            let cut = Ending::Cut { events, under_way };
            assert_eq!(charged(true, true, cut, usage), want, "{cut:?} {usage:?}");
        }
        let cut = |events| Ending::Cut { events, under_way: 0 };
        assert_eq!(charged(true, false, cut(1_000), None), estimated(100_100));
        assert_eq!(charged(false, true, cut(7), None), (5_000, Metered::Held));
        assert_eq!(charged(true, true, Ending::Unseen, None), (5_000, Metered::Held));
    }
}
