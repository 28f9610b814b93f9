//! How far one connection's calls have come, so that it can be told whether it idles.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::drain::OpenCall;

/// How many calls of a connection have begun and ended, and since when there is none.
#[derive(Debug)]
pub(super) struct Progress {
    opened: Instant,
    begun: AtomicU64,
    ended: AtomicU64,
    /// When the last call ended or something else came, in nanoseconds after `opened`; 0 before the first, when that
    /// is not to count as idling.
    stirred: AtomicU64,
}

impl Progress {
    /// A connection without a call. It idles from now if `idles`, else only after its first call.
    pub(super) fn new(idles: bool) -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            stirred: AtomicU64::new(u64::from(idles)),
        })
    }

    /// A call begins; `open` is what the drain knows of it.
    pub(super) fn begin(self: &Arc<Self>, open: OpenCall) -> Begun {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Begun {
            progress: Arc::clone(self),
            _open: open,
        }
    }

    /// Waits until the connection has had no call, and no beginning of one, for `timeout`.
    pub(super) async fn idled(&self, timeout: Duration) {
        loop {
            let now = Instant::now();
            let until = self.idle_since().unwrap_or(now) + timeout;
            if until <= now {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// How many calls there have been, while none is under way.
    pub(super) fn idle_after(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::SeqCst);
        (ended == self.begun()).then_some(ended)
    }

    /// Lets the idling begin anew.
    pub(super) fn stir(&self) {
        let since = u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.stirred.store(since.max(1), Ordering::SeqCst);
    }

    fn idle_since(&self) -> Option<Instant> {
        self.idle_after()?;
        match self.stirred.load(Ordering::SeqCst) {
            0 => None,
            since => Some(self.opened + Duration::from_nanos(since)),
        }
    }
}

/// A call that has begun and not ended.
#[derive(Debug)]
pub(super) struct Begun {
    progress: Arc<Progress>,
    _open: OpenCall,
}

impl Drop for Begun {
    fn drop(&mut self) {
        // In this order: who sees that the connection idles also sees since when.
        self.progress.stir();
        self.progress.ended.fetch_add(1, Ordering::SeqCst);
    }
}
