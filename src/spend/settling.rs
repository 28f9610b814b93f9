//! The way of ended calls into the ledger: one queue, one task, and no call lost on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, LedgerError, Settlement};
use crate::metrics::{Metrics, MoneyHeld, SpendLabels};

/// How many calls may be open or on their way into the ledger, about 1 KiB each: more than connections are allowed.
pub(super) const MAX_OPEN: usize = 32_768;

/// The most that is handed to the ledger at once.
const MAX_BATCH: usize = 256;

/// How long the usage of calls without a limit may wait for more of it. A kill loses at most that.
const LINGER: Duration = Duration::from_millis(50);

/// How long to wait before a ledger that failed is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// How long a stop waits for a ledger that fails. What is held then is charged at the next start.
const LAST_WORD: Duration = Duration::from_secs(10);

/// A call that has ended, on its way into the ledger.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) settlement: Settlement,
    pub(super) labels: SpendLabels,
    /// Shows the hold until the ledger has closed it.
    pub(super) money: Option<MoneyHeld>,
}

impl Ended {
    /// Whether money waits for it.
    fn is_urgent(&self) -> bool {
        self.money.is_some() || matches!(self.settlement, Settlement::Release(_))
    }
}

/// The task that closes calls in the ledger.
#[derive(Debug)]
pub struct Settling {
    pub(super) ended: mpsc::Receiver<Ended>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) metrics: Arc<Metrics>,
}

impl Settling {
    /// Closes calls until `stop`, and then those that have ended by then. A ledger that fails is tried again for as
    /// long as it takes; after the stop for ten seconds.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.ended.is_closed() => self.ended.close(),
                taken = self.gather(&mut batch, &stop) => if taken == 0 {
                    return;
                },
            }
            if !batch.is_empty() && !self.close(&mut batch, &stop).await {
                return;
            }
        }
    }

    /// Takes what has ended; waits a moment for more where no money waits. Dropping the future loses nothing: what was
    /// taken is in `batch`.
    async fn gather(&mut self, batch: &mut Vec<Ended>, stop: &CancellationToken) -> usize {
        let taken = self.ended.recv_many(batch, MAX_BATCH).await;
        if taken == 0 || batch.iter().any(Ended::is_urgent) {
            return taken;
        }
        let until = Instant::now() + LINGER;
        while batch.len() < MAX_BATCH && !batch.iter().any(Ended::is_urgent) {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                more = self.ended.recv() => match more {
                    Some(ended) => batch.push(ended),
                    None => break,
                },
                () = tokio::time::sleep_until(until) => break,
            }
        }
        batch.len()
    }

    /// Closes a batch, however often it takes. False when it was given up.
    async fn close(&self, batch: &mut Vec<Ended>, stop: &CancellationToken) -> bool {
        let mut failed = false;
        let mut give_up: Option<Instant> = None;
        loop {
            let settlements = batch.iter().map(|ended| ended.settlement.clone()).collect();
            match self.ledger.close(settlements).await {
                Ok(closed) => {
                    if failed {
                        tracing::info!("the ledger can be written again");
                    }
                    for (ended, closed) in batch.drain(..).zip(closed) {
                        self.metrics.spent(&ended.labels, closed.charged);
                        self.metrics.overspent(closed.overspent);
                        drop(ended.money);
                    }
                    return true;
                }
                Err(error) => {
                    if !failed {
                        log_failure(&error);
                    }
                    failed = true;
                }
            }
            if stop.is_cancelled() {
                let until = *give_up.get_or_insert_with(|| Instant::now() + LAST_WORD);
                if Instant::now() >= until {
                    let left = batch.len().saturating_add(self.ended.len());
                    tracing::error!(
                        left,
                        "the ledger can't be written: what is held for these calls is charged at the next start"
                    );
                    return false;
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn log_failure(error: &LedgerError) {
    tracing::error!(%error, "the ledger can't be written: calls that have ended wait for it");
}
