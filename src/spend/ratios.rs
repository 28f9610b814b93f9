//! How many bytes of a body a token of each model takes, learned from calls whose usage was reported.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::types::ModelName;

/// Thousandths of a byte for a token, before anything is learned.
const UNKNOWN: u64 = 2_000;

/// The fewest and the most that are believed. Text of one language hardly has more than four bytes for a token; a body that
/// seems to have is short, and most of it is no text.
const BELIEVED: std::ops::RangeInclusive<u64> = 1_000..=4_000;

/// By which part a ratio moves towards one that is higher. A lower one counts at once: what is estimated from it
/// should rather be too much than too little.
const RISE: u64 = 64;

/// The most models of which a ratio is kept; more than any price list has.
const MAX_MODELS: usize = 10_000;

/// The ratio of each model.
#[derive(Debug, Default)]
pub(super) struct Ratios(DashMap<ModelName, AtomicU64, RandomState>);

impl Ratios {
    /// A call of `bytes` had `tokens` of input.
    pub(super) fn learn(&self, model: &ModelName, bytes: u64, tokens: u64) {
        let Some(seen) = bytes.saturating_mul(1_000).checked_div(tokens) else {
            return;
        };
        let seen = seen.clamp(*BELIEVED.start(), *BELIEVED.end());
        let model = model.without_version();
        if let Some(ratio) = self.0.get(&model) {
            let known = ratio.load(Ordering::Relaxed);
            let risen = known.saturating_add(seen.saturating_sub(known) / RISE);
            ratio.store(risen.min(seen), Ordering::Relaxed);
        } else if self.0.len() < MAX_MODELS {
            self.0.insert(model, AtomicU64::new(seen));
        }
    }

    /// How many tokens a body of `bytes` has, rounded up.
    pub(super) fn tokens(&self, model: &ModelName, bytes: u64) -> u64 {
        let known = self.0.get(&model.without_version());
        let ratio = known.map_or(UNKNOWN, |ratio| ratio.load(Ordering::Relaxed));
        bytes.saturating_mul(1_000).div_ceil(ratio.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bytes_make_a_token_until_more_is_known() {
        let (ratios, model) = (Ratios::default(), ModelName::parse("acme/m").unwrap());
        assert_eq!(ratios.tokens(&model, 101), 51);
        ratios.learn(&model, 400, 100);
        assert_eq!(ratios.tokens(&model, 401), 101);
        let versioned = ModelName::parse("acme/m:v2").unwrap();
        assert_eq!(ratios.tokens(&versioned, 400), 100);
    }

    #[test]
    fn fewer_bytes_count_at_once_and_more_by_and_by() {
        let (ratios, model) = (Ratios::default(), ModelName::parse("acme/m").unwrap());
        ratios.learn(&model, 300, 100);
        ratios.learn(&model, 200, 100);
        assert_eq!(ratios.tokens(&model, 200), 100);
        ratios.learn(&model, 400, 100);
        assert!((95..100).contains(&ratios.tokens(&model, 200)));
        for _ in 0..2_000 {
            ratios.learn(&model, 300, 100);
        }
        assert!((100..=103).contains(&ratios.tokens(&model, 300)));
    }

    #[test]
    fn more_than_text_has_is_not_believed() {
        let (ratios, model) = (Ratios::default(), ModelName::parse("acme/m").unwrap());
        ratios.learn(&model, 2_300, 100);
        assert_eq!(ratios.tokens(&model, 2_300), 575);
    }

    #[test]
    fn what_can_not_be_is_not_believed() {
        let (ratios, model) = (Ratios::default(), ModelName::parse("acme/m").unwrap());
        ratios.learn(&model, 100, 0);
        assert_eq!(ratios.tokens(&model, 100), 50);
        ratios.learn(&model, 1, 1_000_000);
        assert_eq!(ratios.tokens(&model, 100), 100);
    }
}
