//! What a call has used, as its upstream reports it.

use std::time::Duration;

use super::Money;

/// Tokens, time and cost of one call. Counts that were not reported are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt, those from and to a cache among them.
    pub input: u64,
    /// Tokens of the answer, those of reasoning among them.
    pub output: u64,
    /// Tokens of the prompt that came from a cache.
    pub cached: u64,
    /// Tokens of the prompt that were written to a cache.
    pub cache_write: u64,
    /// Tokens of the answer that were reasoning.
    pub reasoning: u64,
    /// How long the audio was that was transcribed.
    pub duration: Option<Duration>,
    /// What the upstream says that the call cost.
    pub cost: Option<Money>,
}
