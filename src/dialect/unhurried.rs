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
    /// Fails when no piece came for `idle`. Trailers are dropped: a request's never go upstream.
    pub(super) struct Unhurried<B> {
        #[pin]
        body: B,
        #[pin]
        timer: Sleep,
        idle: Duration,
    }
}

impl<B> Unhurried<B> {
    pub(super) fn new(body: B, idle: Duration) -> Self {
        Self {
            body,
            timer: tokio::time::sleep(idle),
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
        match this.body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                this.timer.as_mut().reset(Instant::now() + *this.idle);
                Poll::Ready(Some(Ok(frame)))
            }
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
