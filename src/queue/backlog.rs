//! What those who fill the queue and those who work on it share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::job::Phase;
use super::store::Queue;
use crate::types::Clock;

/// The queue, the time by which things are due in it, and a bell.
#[derive(Debug)]
pub struct Backlog {
    queue: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
    began: (Duration, Instant),
    runnable: Notify,
    deliverable: Notify,
}

impl Backlog {
    /// Puts them together; time goes on from now.
    pub fn new(queue: Arc<dyn Queue>, clock: Arc<dyn Clock>) -> Self {
        let began = (clock.now(), Instant::now());
        Self {
            queue,
            clock,
            began,
            runnable: Notify::new(),
            deliverable: Notify::new(),
        }
    }

    /// The queue.
    pub fn queue(&self) -> &dyn Queue {
        &*self.queue
    }

    /// The wall time, which may jump.
    pub fn wall_time(&self) -> Duration {
        self.clock.now()
    }

    /// The time by which things are due: the wall time at the start and what has passed since. A wall clock that is set
    /// neither makes everything due at once nor puts it off.
    pub fn now(&self) -> Duration {
        let (wall, since) = self.began;
        wall.saturating_add(since.elapsed())
    }

    /// Rings for those who run calls, and for those who deliver. A hint: whoever misses it looks again by itself.
    pub fn ring(&self) {
        self.runnable.notify_one();
        self.deliverable.notify_one();
    }

    /// Rings for those who run calls.
    pub fn runnable(&self) -> &Notify {
        &self.runnable
    }

    /// Rings for those who deliver.
    pub fn deliverable(&self) -> &Notify {
        &self.deliverable
    }

    /// Rings when there may be work of one phase.
    pub fn bell(&self, phase: Phase) -> &Notify {
        match phase {
            Phase::Run => self.runnable(),
            Phase::Deliver => self.deliverable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::store::{MasterKeys, Sqlite};
    use crate::types::ManualClock;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[tokio::test]
    async fn a_wall_clock_that_is_set_fires_nothing_and_starves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, metrics) = (MasterKeys::generate().unwrap(), Metrics::new().unwrap());
        let store = Sqlite::open(&folder.path().join("tidegate.db"), keys, Arc::new(metrics));
        let clock = Arc::new(ManualClock::new(20_000 * DAY));
        let backlog = Backlog::new(Arc::new(store.unwrap()), Arc::clone(&clock) as _);
        for wall in [20_001 * DAY, 19_999 * DAY, 30_000 * DAY] {
            clock.set(wall);
            assert_eq!(backlog.wall_time(), wall);
            let passed = backlog.now().saturating_sub(20_000 * DAY);
            assert!(passed < Duration::from_secs(60), "{passed:?}");
        }
    }
}
