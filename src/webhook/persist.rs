//! Writing what can't be had again.

use std::time::Duration;

use crate::queue::QueueError;

/// How long to wait before a queue that failed is tried again, at first and at the most.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Writes to the queue, however often it takes: what is to be written can't be had again. `None` where the queue has
/// something that nobody understands.
pub(super) async fn persist<T, F>(mut write: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T, QueueError>>,
{
    let (mut wait, longest) = RETRY;
    loop {
        match write().await {
            Ok(done) => return Some(done),
            Err(error @ QueueError::Unavailable { .. }) => {
                tracing::error!(%error, "the queue can't be written: a job waits for it");
            }
            Err(error @ (QueueError::Damaged { .. } | QueueError::TooLong { .. })) => {
                tracing::error!(%error, "a job can't be written");
                return None;
            }
        }
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2).min(longest);
    }
}
