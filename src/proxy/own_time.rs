//! The gate's own time on a call: what it spends working, without what it spends waiting for others.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::metrics::{Metrics, Stage};

/// Runs `work` as a part of a call and counts the time that it is worked on; nothing is counted if it is dropped.
pub(super) async fn counted<F: Future>(metrics: &Metrics, stage: Stage, work: F) -> F::Output {
    let (output, took) = Worked {
        work,
        took: Duration::ZERO,
    }
    .await;
    metrics.worked(stage, took);
    output
}

pin_project! {
    /// A future that adds up the time between the beginning and the end of each poll.
    struct Worked<F> {
        #[pin]
        work: F,
        took: Duration,
    }
}

impl<F: Future> Future for Worked<F> {
    type Output = (F::Output, Duration);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let began = Instant::now();
        let polled = this.work.poll(cx);
        *this.took += began.elapsed();
        polled.map(|output| (output, *this.took))
    }
}
