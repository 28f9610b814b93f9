//! The gate's own time on a call: what it spends working, without what it spends waiting for others.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::metrics::{Metrics, Stage};

/// Runs `work` as a part of a call and counts the time that it is worked on; nothing is counted if it is dropped.
pub(super) fn counted<F: Future>(metrics: &Metrics, stage: Stage, work: F) -> Counted<'_, F> {
    Counted {
        metrics,
        stage,
        took: Duration::ZERO,
        work,
    }
}

pin_project! {
    /// A future that adds up the time between the beginning and the end of each poll.
    #[must_use = "nothing runs before it is awaited"]
    pub(super) struct Counted<'a, F> {
        metrics: &'a Metrics,
        stage: Stage,
        took: Duration,
        #[pin]
        work: F,
    }
}

impl<F: Future> Future for Counted<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let began = Instant::now();
        let polled = this.work.poll(cx);
        *this.took += began.elapsed();
        if polled.is_ready() {
            this.metrics.worked(*this.stage, *this.took);
        }
        polled
    }
}
