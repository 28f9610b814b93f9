//! The way of ended calls into the ledger: one queue, one task, and no call lost on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, LedgerError, Settlement};
use crate::metrics::{Metrics, MoneyHeld, SpendLabels};
use crate::types::{CallId, Money};

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
pub struct Ended {
    pub(super) settlement: Settlement,
    pub(super) labels: SpendLabels,
    /// Shows the hold until the ledger has closed it.
    pub(super) money: Option<MoneyHeld>,
}

impl Ended {
    /// What closes it in the ledger.
    pub fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    /// Counts what it has cost, when that is in the ledger.
    pub fn written(self, metrics: &Metrics) {
        metrics.spent(&self.labels, self.cost());
    }

    /// What the call has cost.
    pub fn cost(&self) -> Money {
        match &self.settlement {
            Settlement::Release(_) => Money::ZERO,
            Settlement::Charge(row) => row.cost,
        }
    }

    fn call(&self) -> CallId {
        match &self.settlement {
            Settlement::Release(call) => *call,
            Settlement::Charge(row) => row.entry.call,
        }
    }

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
        let until = tokio::time::sleep(LINGER);
        let stopped = stop.cancelled();
        tokio::pin!(until, stopped);
        while batch.len() < MAX_BATCH {
            let (seen, room) = (batch.len(), MAX_BATCH.saturating_sub(batch.len()));
            tokio::select! {
                biased;
                () = &mut stopped => break,
                more = self.ended.recv_many(batch, room) => if more == 0 {
                    break;
                },
                () = &mut until => break,
            }
            if batch.iter().skip(seen).any(Ended::is_urgent) {
                break;
            }
        }
        batch.len()
    }

    /// Closes a batch, however often it takes, but for calls of which the ledger has something that nobody understands:
    /// what is held for them stays held. False when it was given up.
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
                        // An attempt that seemed to fail may have charged it: here it is charged for the first time.
                        self.metrics.spent(&ended.labels, ended.cost());
                        self.metrics.overspent(closed.overspent);
                    }
                    return true;
                }
                Err(error @ LedgerError::Damaged { .. }) => {
                    let Some(last) = batch.pop() else { return true };
                    if batch.is_empty() {
                        tracing::error!(%error, call = %last.call(), "a call can't be closed");
                        return true;
                    }
                    // One of them is at fault, and the others must not wait for it.
                    batch.push(last);
                    return self.close_each(batch, stop).await;
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

    async fn close_each(&self, batch: &mut Vec<Ended>, stop: &CancellationToken) -> bool {
        for ended in batch.drain(..) {
            if !Box::pin(self.close(&mut vec![ended], stop)).await {
                return false;
            }
        }
        true
    }
}

fn log_failure(error: &LedgerError) {
    tracing::error!(%error, "the ledger can't be written: calls that have ended wait for it");
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::ledger::{Entry, Metered, UsageRow};
    use super::super::tests::Scripted;
    use super::*;
    use crate::metrics::ModelLabel;
    use crate::types::{AccountId, KeyName, RequestId, Usage};

    const LOST: &str = "connection lost";

    fn ended(nanos: i64) -> Ended {
        let (account, key) = (AccountId::parse("di:1").unwrap(), KeyName::parse("auto").unwrap());
        let row = UsageRow {
            entry: Entry {
                call: CallId::new(Duration::from_secs(1)),
                at: Duration::from_secs(1),
                account: account.clone(),
                key: key.clone(),
                token: None,
                model: None,
                route: "native",
                request_id: RequestId::new(Duration::from_secs(1)),
            },
            usage: Usage::default(),
            cost: Money::from_nanos(nanos).unwrap(),
            metered: Metered::Priced,
            status: 200,
            outcome: "completed",
            took: Duration::ZERO,
            may_hold: false,
        };
        Ended {
            settlement: Settlement::Charge(Arc::new(row)),
            labels: SpendLabels::new(account, key, ModelLabel::other()),
            money: None,
        }
    }

    /// Closes calls that cost 1, 2 and 4 nano-dollars in a ledger that answers so; gives how many it was asked for each
    /// time, and what the metric says.
    async fn closed(
        answer: fn(attempt: usize, costs: &[i64]) -> Result<(), LedgerError>,
    ) -> (Vec<usize>, String) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let (queue, receiver) = mpsc::channel(8);
        let settling = Settling {
            ended: receiver,
            ledger: Arc::new(Scripted {
                asked: Arc::clone(&asked),
                answer,
            }),
            metrics: Arc::clone(&metrics),
        };
        for nanos in [1, 2, 4] {
            queue.send(ended(nanos)).await.unwrap();
        }
        drop(queue);
        settling.run(CancellationToken::new()).await;
        let text = metrics.render().unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("tidegate_spend_usd_total"));
        let spent = line
            .and_then(|line| line.rsplit(' ').next())
            .unwrap_or("none")
            .to_owned();
        let asked = asked.lock().unwrap().clone();
        (asked, spent)
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_fails_is_tried_again_and_each_call_counted_once() {
        let found = closed(|attempt, _| {
            let why = LOST.to_owned();
            if attempt < 3 {
                Err(LedgerError::Unavailable { why })
            } else {
                Ok(())
            }
        });
        assert_eq!(found.await, (vec![3, 3, 3, 3], "0.000000007".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_can_not_be_closed_holds_up_no_other() {
        let found = closed(|_, costs| {
            let what = "a row".to_owned();
            if costs.contains(&2) {
                Err(LedgerError::Damaged { what })
            } else {
                Ok(())
            }
        });
        assert_eq!(found.await, (vec![3, 1, 1, 1], "0.000000005".to_owned()));
    }
}
