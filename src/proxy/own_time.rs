//! The gate's own time on a call: what it spends working, without what it spends waiting for others.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::{Metrics, Stage};

/// Runs `work` as a part of a call and counts the time that it is worked on; nothing is counted if it is dropped.
pub(super) fn counted<'a, F: Future>(
    metrics: &'a Metrics,
    stage: Stage,
    work: Pin<&'a mut F>,
) -> Counted<'a, F> {
    Counted {
        metrics,
        stage,
        took: Duration::ZERO,
        work,
    }
}

/// A future that adds up the time between the beginning and the end of each poll.
#[must_use = "nothing runs before it is awaited"]
pub(super) struct Counted<'a, F> {
    metrics: &'a Metrics,
    stage: Stage,
    took: Duration,
    work: Pin<&'a mut F>,
}

impl<F: Future> Future for Counted<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let began = Instant::now();
        let polled = self.work.as_mut().poll(cx);
        self.took += began.elapsed();
        if polled.is_ready() {
            self.metrics.worked(self.stage, self.took);
        }
        polled
    }
}
