//! What has to be done for the queue now and then.

use std::time::Duration;

use super::work::Worker;
use crate::queue::QueueError;

/// How often the metrics of the queue are brought up to date.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// How often leases are renewed, and those of dead processes looked for: twice may fail.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// How often what is no longer needed is deleted.
const FORGET_EVERY: Duration = Duration::from_secs(10 * 60);

/// How long a job that has ended is listed.
const LISTED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long to wait between two steps of sealing anew, so that calls come in between.
const RESEAL_PAUSE: Duration = Duration::from_millis(50);

/// Keeps the queue in order; never ends.
pub(super) async fn keep(worker: &Worker) {
    tokio::join!(
        every(COUNT_EVERY, || count(worker)),
        every(RENEW_EVERY, || take_over(worker)),
        every(FORGET_EVERY, || forget(worker)),
        reseal(worker),
    );
}

async fn every<F>(period: Duration, task: impl Fn() -> F)
where
    F: Future<Output = Result<(), QueueError>>,
{
    loop {
        if let Err(error) = task().await {
            tracing::warn!(%error, "the queue could not be kept in order");
        }
        tokio::time::sleep(period).await;
    }
}

async fn count(worker: &Worker) -> Result<(), QueueError> {
    let backlog = worker.backlog();
    let now = backlog.wall_time();
    for count in backlog.queue().census().await? {
        let age = count.oldest.map(|oldest| now.saturating_sub(oldest));
        worker
            .metrics()
            .jobs_counted(count.state.as_str(), count.jobs, age);
    }
    Ok(())
}

/// Frees leases that have run out. Those of this process are renewed first: after a time in which the disk could not be
/// written they may have run out too, and somebody works on their jobs.
async fn take_over(worker: &Worker) -> Result<(), QueueError> {
    let backlog = worker.backlog();
    worker.leases().renew(backlog).await?;
    let freed = backlog
        .queue()
        .take_over(worker.owner(), Some(backlog.now()), backlog.now())
        .await?;
    if freed > 0 {
        tracing::warn!(freed, "jobs of a process that is gone are taken over");
        backlog.ring();
    }
    Ok(())
}

async fn forget(worker: &Worker) -> Result<(), QueueError> {
    let backlog = worker.backlog();
    let now = backlog.wall_time();
    let results = now.saturating_sub(worker.result_retention());
    let gone = backlog
        .queue()
        .forget(now, results, now.saturating_sub(LISTED))
        .await?;
    if gone > 0 {
        tracing::info!(gone, "old jobs are forgotten");
    }
    Ok(())
}

/// Seals with the first master key what an older one sealed.
async fn reseal(worker: &Worker) {
    let mut all: u64 = 0;
    loop {
        match worker.backlog().queue().reseal().await {
            Ok(0) => break,
            Ok(done) => all = all.saturating_add(done),
            Err(error) => tracing::warn!(%error, "jobs could not be sealed anew"),
        }
        tokio::time::sleep(RESEAL_PAUSE).await;
    }
    if all > 0 {
        tracing::info!(all, "jobs are sealed with the first master key now");
    }
    std::future::pending::<()>().await;
}
