//! The body of an answer on its way to the client: bytes pass as they came, the tap watches, the end settles.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use super::forward;
use super::settle::Record;
use crate::body::{Body, BoxError};
use crate::dialect::Tap;
use crate::metrics::Outcome;

/// Hands an upstream's answer to the client, watched to its end; `idle` is the longest wait between two pieces.
pub(super) fn watched<B>(answer: Response<B>, idle: Duration, record: Record) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let tap = record.names_model().then(|| Tap::of(answer.headers())).flatten();
    answer.map(|body| Body::stream(Metered::new(body, idle, tap, record)))
}

/// The upstream was silent in the middle of its answer.
#[derive(Debug, thiserror::Error)]
#[error("the upstream was silent for {0:?}")]
struct Silent(Duration);

pin_project! {
    /// An upstream's body that settles its call exactly once: at its end, at an error, or when it is dropped.
    ///
    /// Dropping it drops the upstream's body, which ends the upstream's call at once. It is at its end as soon as
    /// the inner body says so: hyper does not ask again after the last byte of a known length.
    struct Metered<B> {
        #[pin]
        body: B,
        #[pin]
        timer: Sleep,
        idle: Duration,
        last: Instant,
        tap: Option<Tap>,
        record: Record,
    }
}

impl<B: HttpBody<Data = Bytes>> Metered<B> {
    fn new(body: B, idle: Duration, tap: Option<Tap>, mut record: Record) -> Self {
        if body.is_end_stream() {
            record.settle(Outcome::Completed);
        }
        let last = Instant::now();
        Self {
            body,
            timer: tokio::time::sleep_until(last + idle),
            idle,
            last,
            tap,
            record,
        }
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Metered<B>
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
        match this.body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                *this.last = Instant::now();
                let frame = observed(frame, this.tap.as_mut(), this.record);
                if this.body.is_end_stream() {
                    this.record.settle(verdict(this.tap.as_ref()));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.record.settle(Outcome::UpstreamFailed);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                this.record.settle(verdict(this.tap.as_ref()));
                Poll::Ready(None)
            }
            Poll::Pending => {
                while this.timer.as_mut().poll(cx).is_ready() {
                    let deadline = *this.last + *this.idle;
                    if deadline <= Instant::now() {
                        this.record.settle(Outcome::TimedOut);
                        return Poll::Ready(Some(Err(Silent(*this.idle).into())));
                    }
                    this.timer.as_mut().reset(deadline);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Shows data to the tap, and takes from trailers what must not pass.
fn observed(frame: Frame<Bytes>, tap: Option<&mut Tap>, record: &mut Record) -> Frame<Bytes> {
    if let Some(data) = frame.data_ref() {
        record.sent(data.len());
        if let Some(tap) = tap {
            tap.feed(data);
        }
    }
    match frame.into_trailers() {
        Ok(trailers) => Frame::trailers(passing(trailers)),
        Err(frame) => frame,
    }
}

fn passing(mut trailers: HeaderMap) -> HeaderMap {
    forward::strip_trailers(&mut trailers);
    trailers
}

/// An event stream that ends without its last event was cut, even if its framing is whole.
fn verdict(tap: Option<&Tap>) -> Outcome {
    match tap {
        Some(tap) if tap.failed() || !tap.finished() => Outcome::UpstreamFailed,
        _ => Outcome::Completed,
    }
}
