//! What a call costs at the most, and how far its output has to be bounded where that is too much.

use super::reservation::{Offer, Open};
use super::{ReserveError, Rules};
use crate::config::Unpriced;
use crate::types::{Demand, Money};

/// The fewest output tokens that a call is clamped to; one that can't pay for them is refused.
const MIN_OUTPUT: u64 = 16;

/// What a call costs at the most, and the least that it can be clamped to.
pub(super) struct Ceiling {
    pub(super) wanted: Money,
    pub(super) least: Money,
    /// Whether a bound on the output may be lowered or put in, and makes the call cheaper.
    pub(super) can_be_clamped: bool,
}

impl Open {
    /// Works out what the call costs at the most, at the dearest of the models that may serve it.
    pub(super) fn set_ceiling(
        &mut self,
        rules: &Rules,
        can_be_clamped: bool,
    ) -> Result<Ceiling, ReserveError> {
        if let Some(unpriced) = self.offers.iter().find(|offer| offer.price.is_none())
            && rules.unpriced == Unpriced::Deny
        {
            return Err(ReserveError::Unpriced(unpriced.model.clone()));
        }
        let of = |demand: &Demand| {
            let ceilings = self.offers.iter().map(|offer| match &offer.price {
                Some(price) => price.ceiling(demand, rules.max_output),
                None => rules.unpriced_hold,
            });
            ceilings.max().unwrap_or(rules.unpriced_hold)
        };
        let wanted = of(&self.demand);
        let clamped = Demand {
            output: Some(self.demand.output.unwrap_or(MIN_OUTPUT).min(MIN_OUTPUT)),
            ..self.demand
        };
        let has_output = |offer: &Offer| offer.price.as_ref().is_some_and(|price| price.has_output());
        let can_be_clamped = rules.clamp_output && can_be_clamped && self.offers.iter().all(has_output);
        let least = if can_be_clamped {
            of(&clamped).min(wanted)
        } else {
            wanted
        };
        let is_priced = self.offers.iter().all(|offer| offer.price.is_some());
        self.ceiling = is_priced.then_some(wanted);
        Ok(Ceiling {
            wanted,
            least,
            can_be_clamped,
        })
    }

    /// How many tokens each answer may have, if that has to be said: what is held is less than the call could cost, or the
    /// call leaves it to the upstream, which may have another idea of it.
    pub(super) fn output_within(&self, ceiling: &Ceiling, max_output: u64) -> Option<u64> {
        let held = self.money.as_ref()?.amount();
        let is_left_open = self.demand.output.is_none() && ceiling.can_be_clamped;
        if held >= ceiling.wanted && !is_left_open {
            return None;
        }
        let prices = self.offers.iter().filter_map(|offer| offer.price.as_ref());
        let most = prices
            .map(|price| price.output_within(&self.demand, held))
            .min()?;
        Some(most.min(self.demand.output.unwrap_or(max_output)))
    }
}
