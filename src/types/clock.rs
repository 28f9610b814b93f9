//! Wall time, as a value that comes in: a test can move it, and nothing reads it behind one's back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Gives the wall time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Time since the Unix epoch, UTC; zero if the system's clock stands before it.
    fn now(&self) -> Duration;
}

/// A wall time since the Unix epoch as RFC 3339 in UTC, with milliseconds; years beyond 9999 have no such text and become
/// the last moment that has one.
pub fn rfc3339(at: Duration) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let at = UNIX_EPOCH.checked_add(at.min(LAST)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_millis(at).to_string()
}

/// The system's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    millis: AtomicU64,
}

impl ManualClock {
    /// Starts at `at` since the Unix epoch (whole milliseconds; what is finer is dropped).
    pub fn new(at: Duration) -> Self {
        let clock = Self::default();
        clock.set(at);
        clock
    }

    /// Jumps to `at` since the Unix epoch, forwards or backwards.
    pub fn set(&self, at: Duration) {
        self.millis.store(
            u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            Ordering::SeqCst,
        );
    }

    /// Moves on by `by`.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.millis.load(Ordering::SeqCst))
    }
}
