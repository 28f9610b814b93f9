//! Every task of the gateway, and the order in which they end.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::proxy::{Leavers, lingering};
use crate::spend::{Ledger, Prices, Spend};
use crate::types::Clock;
use crate::webhook::Worker;

/// How long tasks have to fall after everything was told to.
const FALL: Duration = Duration::from_secs(5);

/// How long everything else has to fall after the calls: longer than the ledger waits for a disk that fails.
const LAST_WRITES: Duration = Duration::from_secs(15);

/// Every task of the gateway.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// The data listener's connections, and jobs.
    pub(super) calls: TaskTracker,
    /// Everything else.
    pub(super) others: TaskTracker,
    pub(super) background: CancellationToken,
    /// Ends the claiming of jobs.
    pub(super) claiming: CancellationToken,
    /// Ends the work on jobs: another process goes on with them.
    pub(super) working: CancellationToken,
    /// Ends the task that reads streams on whose clients have left, when no further ones can come.
    pub(super) lingering: CancellationToken,
    /// Ends the task that closes calls in the ledger, when no call is left.
    pub(super) settling: CancellationToken,
}

impl Tasks {
    /// Opens the ledger; calls are closed in it until everything has fallen, and what is left of them then.
    pub(super) async fn spend(
        &self,
        config: &Config,
        ledger: Arc<dyn Ledger>,
        prices: &Arc<Prices>,
        (metrics, clock): (Arc<Metrics>, Arc<dyn Clock>),
    ) -> Result<Arc<Spend>, StartError> {
        let (spend, settling) = Spend::open(config, ledger, Arc::clone(prices), metrics, clock).await?;
        self.others.spawn(settling.run(self.settling.clone()));
        Ok(spend)
    }

    /// Where streams go whose clients have left: they are read on a little, as long as any can come.
    pub(super) fn leavers(&self) -> Leavers {
        let (leavers, lingering) = lingering();
        self.others.spawn(lingering.run(self.lingering.clone()));
        leavers
    }

    /// Works on jobs until the drain, and on those that were begun by then as long as on calls.
    pub(super) fn work(&self, worker: Arc<Worker>) {
        self.calls
            .spawn(worker.work(self.claiming.clone(), self.working.clone()));
    }

    /// Runs `task`, which never ends by itself, until everything falls.
    pub(super) fn in_background(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.others
            .spawn(self.background.clone().run_until_cancelled_owned(task));
    }

    pub(super) async fn fall(self) {
        self.background.cancel();
        self.claiming.cancel();
        self.working.cancel();
        self.calls.close();
        self.others.close();
        let calls = tokio::time::timeout(FALL, self.calls.wait()).await;
        self.lingering.cancel();
        self.settling.cancel();
        let others = tokio::time::timeout(LAST_WRITES, self.others.wait()).await;
        if calls.is_err() || others.is_err() {
            tracing::warn!(
                left = self.calls.len() + self.others.len(),
                "tasks did not end in time"
            );
        }
    }
}
