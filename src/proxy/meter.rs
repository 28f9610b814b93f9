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
use super::linger::{Leave, Leavers, Watched};
use super::settle::Record;
use crate::body::{Body, BoxError};
use crate::dialect::{Asked, Strip, Tap};
use crate::metrics::Outcome;
use crate::types::{ModelName, Usage};

/// Hands an upstream's answer to the client, watched to its end; `idle` is the longest wait between two pieces. What the
/// gate has `asked` for in its own name is taken out.
///
/// A stream that reads on when its client has left goes to `leavers` then.
pub(super) fn watched<B>(
    answer: Response<B>,
    asked: Asked,
    idle: Duration,
    (mut record, leavers): (Record, &Leavers),
) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let headers = answer.headers();
    let tap = record.is_inference().then(|| Tap::of(headers)).flatten();
    // Boxed: every layer around it would copy all of it once more.
    let tap = tap.map(Box::new);
    record.streams(tap.as_ref().is_some_and(|tap| tap.is_of_events()));
    let strip = Strip::of(asked, headers);
    let reads_on = record.must_be_known();
    let meter = Meter { tap, strip, record };
    answer.map(|body| {
        let body = Metered::new(body, idle, meter);
        if reads_on {
            Body::stream(Watched::new(body, leavers.clone()))
        } else {
            Body::stream(body)
        }
    })
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
        // Since the first wait for the upstream.
        #[pin]
        timer: Option<Sleep>,
        idle: Duration,
        // Since when the upstream is silent; set when a piece of its answer does not follow at once.
        silent: Option<Instant>,
        // What comes after data that was held back: trailers, or the upstream's failure.
        waiting: Option<Last>,
        ended: bool,
        meter: Meter,
    }
}

impl<B: HttpBody<Data = Bytes>> Metered<B> {
    fn new(body: B, idle: Duration, mut meter: Meter) -> Self {
        let ended = body.is_end_stream();
        if ended {
            meter.settle(Outcome::Completed);
        }
        Self {
            body,
            timer: None,
            idle,
            silent: None,
            waiting: None,
            ended,
            meter,
        }
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Metered<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let mut this = self.project();
        match this.waiting.take() {
            Some(Last::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Last::Break(error)) => return after_a_flush(error, this.waiting, cx),
            Some(Last::Flushed(error)) => return Poll::Ready(Some(Err(error))),
            None => {}
        }
        while !*this.ended {
            let frame = match this.body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => Some(frame),
                Poll::Ready(Some(Err(error))) => {
                    *this.ended = true;
                    let held = this.meter.failed(Outcome::UpstreamFailed);
                    return broken_off(held, error.into(), this.waiting, cx);
                }
                Poll::Ready(None) => None,
                Poll::Pending if is_over(this.timer.as_mut(), this.silent, *this.idle, cx) => {
                    *this.ended = true;
                    let held = this.meter.failed(Outcome::TimedOut);
                    return broken_off(held, Silent(*this.idle).into(), this.waiting, cx);
                }
                Poll::Pending => return Poll::Pending,
            };
            *this.silent = None;
            *this.ended = frame.is_none() || this.body.is_end_stream();
            let passing = this.meter.passing(frame, *this.ended);
            if *this.ended {
                this.meter.settle_whole();
            }
            match passing {
                Passing::Nothing => {}
                Passing::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Passing::Before(data, trailers) => {
                    *this.waiting = Some(Last::Trailers(trailers));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && (self.ended || (self.body.is_end_stream() && self.meter.holds_nothing()))
    }

    fn size_hint(&self) -> SizeHint {
        if self.meter.strip.is_some() {
            return SizeHint::default();
        }
        self.body.size_hint()
    }
}

impl<B: HttpBody<Data = Bytes> + Send> Leave for Metered<B>
where
    B::Error: Into<BoxError>,
{
    fn leave(self: Pin<&mut Self>) {
        self.project().meter.record.client_gone();
    }

    fn events(&self) -> u64 {
        self.meter.tap.as_ref().map_or(0, |tap| tap.content_events())
    }

    fn expect(self: Pin<&mut Self>, events: u64) {
        self.project().meter.record.under_way(events);
    }
}

/// Whether the silence has lasted for `idle`; wakes the task when it has.
fn is_over(
    mut timer: Pin<&mut Option<Sleep>>,
    silent: &mut Option<Instant>,
    idle: Duration,
    cx: &mut Context<'_>,
) -> bool {
    let deadline = *silent.get_or_insert_with(Instant::now) + idle;
    if timer.is_none() {
        timer.set(Some(tokio::time::sleep_until(deadline)));
    }
    // Armed for an earlier silence it goes off too soon: to arm it for each would cost more.
    while let Some(mut timer) = timer.as_mut().as_pin_mut()
        && timer.as_mut().poll(cx).is_ready()
    {
        if deadline <= Instant::now() {
            return true;
        }
        timer.reset(deadline);
    }
    false
}

/// What ends a body after data that was held back.
enum Last {
    Trailers(HeaderMap),
    /// The upstream broke off.
    Break(BoxError),
    /// The same, and what came before it was written.
    Flushed(BoxError),
}

/// What `poll_frame` gives.
type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// The end of a body that the upstream broke off: what was held back first, as the client would have had it.
fn broken_off(held: Bytes, error: BoxError, waiting: &mut Option<Last>, cx: &Context<'_>) -> Polled {
    if held.is_empty() {
        return after_a_flush(error, waiting, cx);
    }
    *waiting = Some(Last::Break(error));
    Poll::Ready(Some(Ok(Frame::data(held))))
}

/// Lets the server write out what it has before it hears of a failure: at once it would throw it away.
fn after_a_flush(error: BoxError, waiting: &mut Option<Last>, cx: &Context<'_>) -> Polled {
    *waiting = Some(Last::Flushed(error));
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// What was seen of a call in its answer.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// What it says that it used.
    pub(super) usage: Option<Usage>,
    /// Whether it reported a cost that can't be one.
    pub(super) cost_refused: bool,
    /// The model that it says it is from.
    pub(super) model: Option<ModelName>,
    /// How many of its events had content.
    pub(super) events: u64,
}

/// What watches an answer, and what waits for its end.
struct Meter {
    tap: Option<Box<Tap>>,
    strip: Option<Strip>,
    record: Record,
}

/// What of a frame goes out at once.
enum Passing {
    Nothing,
    Frame(Frame<Bytes>),
    /// What was held back, and the trailers that come after it.
    Before(Bytes, HeaderMap),
}

impl Meter {
    /// Shows data to the tap and takes out what must not pass; without a frame or with the last one nothing is held
    /// back any longer.
    fn passing(&mut self, frame: Option<Frame<Bytes>>, last: bool) -> Passing {
        let (data, trailers) = match frame.map(Frame::into_data) {
            None => (Bytes::new(), None),
            Some(Ok(data)) => (data, None),
            Some(Err(frame)) => (Bytes::new(), frame.into_trailers().ok().map(fit)),
        };
        if let Some(tap) = &mut self.tap {
            tap.feed(&data);
        }
        let data = match &mut self.strip {
            None => data,
            Some(strip) if last || trailers.is_some() => {
                let passed = strip.feed(data);
                let held = strip.end();
                if held.is_empty() {
                    passed
                } else {
                    [passed, held].concat().into()
                }
            }
            Some(strip) => strip.feed(data),
        };
        if !data.is_empty() {
            self.record.sent(data.len());
        }
        match trailers {
            None if data.is_empty() => Passing::Nothing,
            None => Passing::Frame(Frame::data(data)),
            Some(trailers) if data.is_empty() => Passing::Frame(Frame::trailers(trailers)),
            Some(trailers) => Passing::Before(data, trailers),
        }
    }

    /// The upstream broke off: gives what was held back.
    fn failed(&mut self, outcome: Outcome) -> Bytes {
        let held = self.strip.as_mut().map(Strip::end).unwrap_or_default();
        if !held.is_empty() {
            self.record.sent(held.len());
        }
        self.settle(outcome);
        held
    }

    fn holds_nothing(&self) -> bool {
        self.strip.as_ref().is_none_or(Strip::is_empty)
    }

    /// The answer's framing is whole. An event stream that ends without its last event was cut all the same.
    fn settle_whole(&mut self) {
        if let Some(tap) = &mut self.tap {
            tap.end();
        }
        self.settle(match &self.tap {
            Some(tap) if tap.failed() || !tap.finished() => Outcome::UpstreamFailed,
            _ => Outcome::Completed,
        });
    }

    fn settle(&mut self, outcome: Outcome) {
        self.report();
        self.record.settle(outcome);
    }

    /// Writes down what was used, as far as it was seen.
    fn report(&mut self) {
        if let Some(mut tap) = self.tap.take() {
            tap.end();
            let (usage, cost_refused) = tap.report();
            self.record.seen(Sight {
                usage,
                cost_refused,
                model: tap.model().and_then(|model| ModelName::parse(&model).ok()),
                events: tap.content_events(),
            });
        }
    }
}

impl Drop for Meter {
    /// What was seen by then counts if the client has gone.
    fn drop(&mut self) {
        self.report();
    }
}

/// Takes from trailers what must not pass.
fn fit(mut trailers: HeaderMap) -> HeaderMap {
    forward::strip_trailers(&mut trailers);
    trailers
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_lasts_from_the_first_look_that_finds_nothing() {
        const IDLE: Duration = Duration::from_secs(10);
        let mut timer = pin!(None);
        for unasked in [0, 4, 25] {
            // After a piece a client that takes its time asks for no other one.
            let mut silent = None;
            tokio::time::advance(Duration::from_secs(unasked)).await;
            let began = Instant::now();
            poll_fn(|cx| match is_over(timer.as_mut(), &mut silent, IDLE, cx) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            let lasted = began.elapsed();
            assert!(
                (IDLE..IDLE + Duration::from_millis(5)).contains(&lasted),
                "{lasted:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_in_time_begins_the_silence_anew() {
        const IDLE: Duration = Duration::from_secs(10);
        let mut timer = pin!(None);
        for _ in 0..5 {
            let mut silent = None;
            let waiting = poll_fn(|cx| match is_over(timer.as_mut(), &mut silent, IDLE, cx) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            let waited = tokio::time::timeout(Duration::from_secs(9), waiting).await;
            assert!(waited.is_err(), "it was not silent for so long");
        }
    }
}
