//! Requests and tokens a minute.
//!
//! Requests are counted as they come, by the generic cell rate algorithm. Tokens are known only when a call has ended,
//! so nothing is taken in advance: a call is refused while those of the last 60 s are over the limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use dashmap::DashMap;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::{LimitError, Scope};
use crate::types::{AccountId, KeyName, ModelName};

/// How long a count reaches back, in seconds.
const WINDOW: u64 = 60;

/// The most counts of either kind that one account has apart. Whoever makes model names up has the further ones counted
/// together, and nobody else's.
const MAX_PER_ACCOUNT: usize = 10_000;

/// All counts of this process.
#[derive(Debug)]
pub(super) struct Rates {
    clock: Monotonic,
    accounts: DashMap<AccountId, Counts>,
}

/// The counts of one account.
#[derive(Debug, Default)]
struct Counts {
    /// Each limit has a count of its own, so that none changes under those that share it.
    requests: HashMap<(Part, NonZeroU32), Requests>,
    tokens: HashMap<Part, Tokens>,
}

/// What of an account is counted together.
type Part = (Option<KeyName>, ModelName);

impl Default for Rates {
    fn default() -> Self {
        Self {
            clock: Monotonic(Instant::now()),
            accounts: DashMap::new(),
        }
    }
}

impl Rates {
    /// Counts one attempt.
    ///
    /// # Errors
    /// [`LimitError::Requests`]: there have been too many, this one not among them.
    pub(super) fn count_request(&self, scope: Scope, limit: u32) -> Result<(), LimitError> {
        let Some(per_minute) = NonZeroU32::new(limit) else {
            return Ok(());
        };
        let (account, part) = scope.split();
        let mut counts = self.accounts.entry(account).or_default();
        let key = bounded(&counts.requests, (part, per_minute), |part| (part, per_minute));
        let requests = counts
            .requests
            .entry(key)
            .or_insert_with(|| Requests::new(per_minute, &self.clock));
        requests.last = self.clock.now();
        requests.limiter.check().map_err(|refused| LimitError::Requests {
            limit,
            wait: refused.wait_time_from(self.clock.now()),
        })
    }

    /// Looks whether the tokens of the last minute are over `limit`; takes nothing.
    ///
    /// # Errors
    /// [`LimitError::Tokens`]: they are.
    pub(super) fn check_tokens(&self, scope: &Scope, limit: u64) -> Result<(), LimitError> {
        let (account, part) = scope.clone().split();
        let Some(mut counts) = self.accounts.get_mut(&account) else {
            return Ok(());
        };
        let part = bounded(&counts.tokens, part, |part| part);
        let Some(tokens) = counts.tokens.get_mut(&part) else {
            return Ok(());
        };
        let second = self.clock.second();
        let used = tokens.used(second);
        if used <= limit {
            return Ok(());
        }
        Err(LimitError::Tokens {
            limit,
            used,
            wait: tokens.wait(second, limit),
        })
    }

    /// Counts tokens that were used just now.
    pub(super) fn used_tokens(&self, scope: &Scope, count: u64) {
        if count > 0 {
            let (account, part) = scope.clone().split();
            let mut counts = self.accounts.entry(account).or_default();
            let part = bounded(&counts.tokens, part, |part| part);
            let tokens = counts.tokens.entry(part).or_default();
            tokens.add(self.clock.second(), count);
        }
    }

    /// Forgets counts that have run out.
    pub(super) fn forget_idle(&self) {
        let (now, second) = (self.clock.now(), self.clock.second());
        let window = Duration::from_secs(WINDOW);
        self.accounts.retain(|_, counts| {
            counts
                .requests
                .retain(|_, requests| now.saturating_sub(requests.last) < window);
            counts.requests.shrink_to_fit();
            counts.tokens.retain(|_, tokens| tokens.used(second) > 0);
            counts.tokens.shrink_to_fit();
            !counts.requests.is_empty() || !counts.tokens.is_empty()
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let counts = self.accounts.iter();
        counts
            .map(|counts| counts.requests.len() + counts.tokens.len())
            .sum()
    }
}

impl Scope {
    fn split(self) -> (AccountId, Part) {
        (self.account, (self.key, self.model))
    }
}

/// `own` while there is room to count it apart, else the one that all further models share.
fn bounded<K: Eq + Hash, T>(counts: &HashMap<K, T>, own: K, of: impl FnOnce(Part) -> K) -> K {
    if counts.contains_key(&own) || counts.len() < MAX_PER_ACCOUNT {
        own
    } else {
        of((None, ModelName::other()))
    }
}

#[derive(Debug)]
struct Requests {
    limiter: RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Duration>>,
    last: Duration,
}

impl Requests {
    fn new(per_minute: NonZeroU32, clock: &Monotonic) -> Self {
        Self {
            limiter: RateLimiter::direct_with_clock(Quota::per_minute(per_minute), *clock),
            last: Duration::ZERO,
        }
    }
}

/// The tokens of the last [`WINDOW`] seconds, one cell a second.
#[derive(Debug)]
struct Tokens {
    cells: [u64; WINDOW_CELLS],
    /// The second that the newest cell is of.
    newest: u64,
    sum: u64,
}

/// [`WINDOW`] as an index.
const WINDOW_CELLS: usize = 60;

impl Default for Tokens {
    fn default() -> Self {
        Self {
            cells: [0; WINDOW_CELLS],
            newest: 0,
            sum: 0,
        }
    }
}

impl Tokens {
    fn add(&mut self, second: u64, count: u64) {
        self.forget_before(second);
        if let Some(cell) = self.cell(self.newest) {
            *cell = cell.saturating_add(count);
        }
        self.sum = self
            .cells
            .iter()
            .fold(0, |sum, cell| u64::saturating_add(sum, *cell));
    }

    fn used(&mut self, second: u64) -> u64 {
        self.forget_before(second);
        self.sum
    }

    /// How long until so much is past that no more than `limit` is left.
    fn wait(&mut self, second: u64, limit: u64) -> Duration {
        let mut left = self.used(second);
        for past in 1..=WINDOW {
            left = left.saturating_sub(self.cell(self.newest + past).map_or(0, |cell| *cell));
            if left <= limit {
                return Duration::from_secs(past);
            }
        }
        Duration::from_secs(WINDOW)
    }

    /// Moves on to `second`; the cells of seconds that are now too long ago become those of the new ones.
    fn forget_before(&mut self, second: u64) {
        let moved = second.saturating_sub(self.newest).min(WINDOW);
        for step in 0..moved {
            if let Some(cell) = self.cell(second.saturating_sub(step)) {
                *cell = 0;
            }
        }
        if moved > 0 {
            self.sum = self
                .cells
                .iter()
                .fold(0, |sum, cell| u64::saturating_add(sum, *cell));
            self.newest = second;
        }
    }

    fn cell(&mut self, second: u64) -> Option<&mut u64> {
        usize::try_from(second % WINDOW)
            .ok()
            .and_then(|index| self.cells.get_mut(index))
    }
}

/// Time since the process began, as the runtime's clock gives it: a test can pause it.
#[derive(Debug, Clone, Copy)]
struct Monotonic(Instant);

impl Monotonic {
    fn second(&self) -> u64 {
        self.now().as_secs()
    }
}

impl Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_are_over_the_limit_until_enough_of_them_are_a_minute_old() {
        let mut tokens = Tokens::default();
        tokens.add(100, 70);
        tokens.add(110, 50);
        assert_eq!(tokens.used(110), 120);
        assert_eq!(tokens.wait(110, 119), Duration::from_secs(50));
        assert_eq!(tokens.wait(110, 49), Duration::from_secs(60));
        assert_eq!(tokens.used(159), 120);
        assert_eq!(tokens.used(160), 50);
        assert_eq!(tokens.used(170), 0);
        tokens.add(100_000, 1);
        assert_eq!(tokens.used(100_000), 1);
    }

    proptest! {
        #[test]
        fn the_window_counts_what_the_last_sixty_seconds_used(
            steps in prop::collection::vec((0_u64..40, 0_u64..1000), 1..60)
        ) {
            let mut tokens = Tokens::default();
            let mut log = Vec::new();
            let mut now = 1000;
            for (pause, count) in steps {
                now += pause;
                tokens.add(now, count);
                log.push((now, count));
                let want: u64 = log.iter().filter(|(at, _)| at + WINDOW > now).map(|(_, count)| count).sum();
                prop_assert_eq!(tokens.used(now), want);
                if want > 500 {
                    let wait = tokens.wait(now, 500).as_secs();
                    let later = |after: u64| -> u64 {
                        log.iter().filter(|(at, _)| at + WINDOW > now + after).map(|(_, count)| count).sum()
                    };
                    prop_assert!(later(wait) <= 500);
                    prop_assert!(later(wait - 1) > 500);
                }
            }
        }
    }
}
