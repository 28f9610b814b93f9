//! A wait beside a connection's work: looked at when it was woken, not whenever the connection is.
//!
//! A connection's task runs for every piece of every answer, and what it waits for beside that (a client that leaves, a
//! timer, the drain) almost never happens. To ask each time costs more than to pass the piece on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use crate::bell::Bell;

pin_project! {
    /// A future that is polled at first, and then whenever it was woken itself.
    #[must_use = "nothing is waited for before it is polled"]
    pub(super) struct Aside<F> {
        #[pin]
        wait: F,
        bell: Arc<Bell>,
        // The bell, as `wait` knows it.
        waker: Waker,
        // The task, as the bell knows it.
        task: Option<Waker>,
    }
}

impl<F> Aside<F> {
    /// Waits for `wait`.
    pub(super) fn new(wait: F) -> Self {
        let bell = Bell::new();
        Self {
            wait,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            task: None,
        }
    }
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let task = cx.waker();
        let is_known = this.task.as_ref().is_some_and(|known| known.will_wake(task));
        let was_rung = this.bell.was_rung();
        if was_rung {
            this.bell.attend();
            let waited = this.wait.poll(&mut Context::from_waker(this.waker));
            if waited.is_ready() {
                return waited;
            }
        }
        if !is_known {
            *this.task = Some(task.clone());
        }
        if was_rung || !is_known {
            this.bell.leave(task);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio_util::task::TaskTracker;

    use super::*;

    /// Counts how often it is polled.
    struct Polled<F>(F, Arc<AtomicUsize>);

    impl<F: Future + Unpin> Future for Polled<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Pin::new(&mut self.0).poll(cx)
        }
    }

    #[tokio::test]
    async fn a_wait_is_looked_at_once_and_then_when_it_was_woken() {
        let (ring, rung) = oneshot::channel();
        let polls = Arc::new(AtomicUsize::new(0));
        let mut aside = Box::pin(Aside::new(Polled(rung, Arc::clone(&polls))));
        for _ in 0..5 {
            let polled = std::future::poll_fn(|cx| Poll::Ready(aside.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
        }
        assert_eq!(polls.load(Ordering::SeqCst), 1);
        ring.send(7).unwrap();
        assert_eq!(aside.await, Ok(7));
        assert_eq!(polls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_wait_wakes_whichever_task_it_has_come_to() {
        let (ring, rung) = oneshot::channel();
        let mut aside = Box::pin(Aside::new(rung));
        let once = std::future::poll_fn(|cx| Poll::Ready(aside.as_mut().poll(cx).is_ready())).await;
        assert!(!once);
        let tasks = TaskTracker::new();
        let elsewhere = tasks.spawn(aside);
        tokio::task::yield_now().await;
        ring.send(()).unwrap();
        elsewhere.await.unwrap().unwrap();
    }

    /// Rings from another thread while the task runs for other reasons: none may be lost.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_ring_is_lost_while_the_task_runs() {
        let tasks = TaskTracker::new();
        for _ in 0..20_000 {
            let (first, second) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
            let (first, second) = (Arc::new(first), Arc::new(second));
            let (one, two) = (Arc::clone(&first), Arc::clone(&second));
            let mut aside = Box::pin(Aside::new(async move {
                one.notified().await;
                two.notified().await;
            }));
            let ringing = tasks.spawn(async move {
                first.notify_one();
                second.notify_one();
            });
            let mut polls = 0;
            let busily = std::future::poll_fn(|cx| {
                polls += 1;
                if polls < 4 {
                    cx.waker().wake_by_ref();
                }
                aside.as_mut().poll(cx)
            });
            let waited = tokio::time::timeout(Duration::from_secs(10), busily).await;
            assert!(waited.is_ok(), "a ring was lost");
            ringing.await.unwrap();
        }
    }
}
