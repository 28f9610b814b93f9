//! A client's body that passes unread, but may not stall.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use crate::body::{BoxError, ReadError};

pin_project! {
    /// Fails when a piece was waited for and none came for `idle`; time in which nobody asked does not count. Trailers
    /// are dropped: a request's never go upstream.
    pub(super) struct Unhurried<B> {
        #[pin]
        body: B,
        #[pin]
        timer: Sleep,
        waiting: bool,
        idle: Duration,
    }
}

impl<B> Unhurried<B> {
    pub(super) fn new(body: B, idle: Duration) -> Self {
        Self {
            body,
            timer: tokio::time::sleep(idle),
            waiting: false,
            idle,
        }
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Unhurried<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let polled = this.body.poll_frame(cx);
        if polled.is_pending() && !*this.waiting {
            this.timer.as_mut().reset(Instant::now() + *this.idle);
        }
        *this.waiting = polled.is_pending();
        match polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending if this.timer.poll(cx).is_ready() => {
                Poll::Ready(Some(Err(ReadError::Idle { idle: *this.idle }.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    /// One piece after each of these waits, and then none.
    fn unhurried(waits: &'static [u64]) -> Unhurried<impl HttpBody<Data = Bytes, Error = BoxError> + Unpin> {
        let pieces = stream::iter(waits).then(|wait| async move {
            tokio::time::sleep(Duration::from_secs(*wait)).await;
            Ok(Frame::data(Bytes::from_static(b"x")))
        });
        Unhurried::new(StreamBody::new(pieces.chain(stream::pending()).boxed()), IDLE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_while_it_is_waited_for_fails() {
        let mut body = std::pin::pin!(unhurried(&[29, 29]));
        for _ in 0..2 {
            assert!(body.frame().await.unwrap().is_ok());
        }
        let since = Instant::now();
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(since.elapsed().as_secs(), IDLE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_asked_is_not_the_clients() {
        let mut body = std::pin::pin!(unhurried(&[20, 20]));
        for _ in 0..2 {
            tokio::time::sleep(IDLE * 2).await;
            assert!(body.frame().await.unwrap().is_ok());
        }
    }
}
