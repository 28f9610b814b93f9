//! The leases that this process holds: each is renewed, and who works on one that was lost hears of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::queue::{Backlog, JobId, Lease, QueueError};

/// How long a lease holds if it is not renewed: a process that is gone this long is taken for dead.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// What is held.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Arc<Mutex<HashMap<JobId, (Lease, CancellationToken)>>>);

/// One lease, renewed until this falls.
#[must_use = "the lease is renewed as long as this is there"]
#[derive(Debug)]
pub(super) struct Renewed {
    leases: Leases,
    pub(super) lease: Lease,
    lost: CancellationToken,
}

impl Leases {
    /// Renews a lease from now on.
    pub(super) fn hold(&self, lease: Lease) -> Renewed {
        let lost = CancellationToken::new();
        self.held()
            .insert(lease.job.clone(), (lease.clone(), lost.clone()));
        Renewed {
            leases: self.clone(),
            lease,
            lost,
        }
    }

    /// Renews all leases. To be called so often that two calls in a row may fail.
    ///
    /// # Errors
    /// They can't be written: they hold for as long as they did.
    pub(super) async fn renew(&self, backlog: &Backlog) -> Result<(), QueueError> {
        let leases: Vec<Lease> = self.held().values().map(|(lease, _)| lease.clone()).collect();
        if leases.is_empty() {
            return Ok(());
        }
        let until = backlog.now().saturating_add(LEASE);
        let lost = backlog.queue().renew(leases, until).await?;
        self.lose(&lost);
        Ok(())
    }

    /// The lease of `job`, whichever it is, does not hold any more.
    fn lose(&self, lost: &[Lease]) {
        let held = self.held();
        for lease in lost {
            if let Some((mine, token)) = held.get(&lease.job)
                && mine == lease
            {
                tracing::warn!(job = %lease.job, "the lease of a job was lost");
                token.cancel();
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<JobId, (Lease, CancellationToken)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewed {
    /// Ends when the lease does not hold any more.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Renewed {
    fn drop(&mut self) {
        let mut held = self.leases.held();
        if held
            .get(&self.lease.job)
            .is_some_and(|(lease, _)| *lease == self.lease)
        {
            held.remove(&self.lease.job);
        }
    }
}
