//! The end of a listener, in stages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Serving.
    Running,
    /// Still serving, but clients are asked to come back on new connections, which may find another gateway.
    Leaving,
    /// No new connections; calls under way go on, further ones are refused.
    Refusing,
    /// No call is under way any more: what was answered is written out, then connections close.
    Closing,
    /// Everything falls.
    Stopped,
}

impl Stage {
    const IN_ORDER: [Self; 5] = [
        Self::Running,
        Self::Leaving,
        Self::Refusing,
        Self::Closing,
        Self::Stopped,
    ];
}

/// Moves the stages on. There is one for all listeners.
#[derive(Debug)]
pub struct Drain {
    stage: watch::Sender<Stage>,
    shared: Arc<Shared>,
}

/// Sees the stages.
#[derive(Debug, Clone)]
pub struct Watch {
    stage: watch::Receiver<Stage>,
    shared: Arc<Shared>,
}

/// What every call looks at, without a lock.
#[derive(Debug, Default)]
struct Shared {
    /// How many stages lie behind.
    behind: AtomicU8,
    open: AtomicUsize,
    ended: Notify,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            stage: watch::Sender::new(Stage::Running),
            shared: Arc::default(),
        }
    }
}

impl Drain {
    /// A view of the stages.
    pub fn watch(&self) -> Watch {
        Watch {
            stage: self.stage.subscribe(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Keeps serving for `delay`, then refuses what is new and waits until the calls under way have ended, but at
    /// most for `timeout`; gives how many had not. Dropping the future leaves the stage where it is.
    pub async fn run(&self, delay: Duration, timeout: Duration) -> usize {
        self.enter(Stage::Leaving);
        tokio::time::sleep(delay).await;
        self.enter(Stage::Refusing);
        tokio::time::timeout(timeout, self.shared.none()).await.ok();
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Closes connections as soon as they are idle and everything is written.
    pub fn close(&self) {
        self.enter(Stage::Closing);
    }

    /// Lets everything fall at once.
    pub fn stop(&self) {
        self.enter(Stage::Stopped);
    }

    fn enter(&self, stage: Stage) {
        let behind = (0_u8..).zip(Stage::IN_ORDER).find(|(_, other)| *other == stage);
        let behind = behind.map_or(0, |(behind, _)| behind);
        self.shared.behind.store(behind, Ordering::SeqCst);
        self.stage.send_replace(stage);
    }
}

impl Shared {
    fn stage(&self) -> Stage {
        let behind = usize::from(self.behind.load(Ordering::SeqCst));
        Stage::IN_ORDER.get(behind).copied().unwrap_or(Stage::Stopped)
    }

    /// Waits until no call is under way. Calls tell of their end only from [`Stage::Refusing`] on.
    async fn none(&self) {
        loop {
            let ended = self.ended.notified();
            if self.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Watch {
    /// The stage at this moment.
    pub fn stage(&self) -> Stage {
        self.shared.stage()
    }

    /// Waits until `stage` is reached.
    pub async fn reached(&mut self, stage: Stage) {
        // The sender is gone only when the app is: then there is nothing left to serve for.
        self.stage.wait_for(|now| *now >= stage).await.ok();
    }

    /// A call begins; it is under way until the guard falls.
    pub(super) fn call(&self) -> OpenCall {
        self.shared.open.fetch_add(1, Ordering::SeqCst);
        OpenCall(Arc::clone(&self.shared))
    }
}

/// A call under way.
#[must_use = "the drain waits for the call only while this lives"]
#[derive(Debug)]
pub(super) struct OpenCall(Arc<Shared>);

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        if self.0.stage() >= Stage::Refusing {
            self.0.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_its_calls_and_no_longer_than_its_timeout() {
        let drain = Drain::default();
        let watch = drain.watch();
        assert_eq!(drain.run(Duration::from_secs(1), Duration::from_secs(5)).await, 0);
        let call = watch.call();
        assert_eq!(drain.run(Duration::ZERO, Duration::from_secs(5)).await, 1);
        let (left, ()) = tokio::join!(drain.run(Duration::ZERO, Duration::from_secs(60)), async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            drop(call);
        });
        assert_eq!(left, 0);
    }
}
