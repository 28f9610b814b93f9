//! A stream whose client has left is read a little further, so that what it has cost is known.
//!
//! What an upstream has already sent lies in buffers when a client goes, often with the usage in it. Of a call whose
//! spending has a limit that is read; then the upstream's call ends right behind an event, when the next one is furthest.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::body::BoxError;

/// How long everything is read that comes.
const READ_ON: Duration = Duration::from_millis(100);

/// The last part of that. The upstream hears late that its call has ended: as much as came in this time is taken to come
/// meanwhile, and to be billed.
const UNDER_WAY: Duration = Duration::from_millis(50);

/// How long after that one more piece is waited for.
const LAST_PIECE: Duration = Duration::from_millis(200);

/// Pieces that follow each other faster than this lay in a buffer: they are read on, as long as there is time.
const AT_ONCE: Duration = Duration::from_millis(3);

/// How long what lies in buffers is read at the most.
const BACKLOG: Duration = Duration::from_secs(2);

/// How many streams are read on at once; of further ones only what was seen counts.
const MAX_LEFT: usize = 1_024;

/// A body that goes on when its client has left.
pub(super) trait Leave: HttpBody<Data = Bytes, Error = BoxError> + Send {
    /// Its client has left.
    fn leave(self: Pin<&mut Self>);

    /// How many events with content have come.
    fn events(&self) -> u64;

    /// So many more are taken to be under way when it is ended before its end.
    fn expect(self: Pin<&mut Self>, events: u64);
}

type Left = Pin<Box<dyn Leave>>;

/// Where streams go whose clients have left.
#[derive(Debug, Clone)]
pub struct Leavers(mpsc::Sender<Left>);

/// The task that reads them on.
#[derive(Debug)]
pub struct Lingering(mpsc::Receiver<Left>);

/// Makes the two ends. Without the task running, streams end with their clients.
pub fn lingering() -> (Leavers, Lingering) {
    let (sender, receiver) = mpsc::channel(MAX_LEFT);
    (Leavers(sender), Lingering(receiver))
}

impl Lingering {
    /// Reads streams on until `stop`, and then those that have been left by then. Dropping the future drops them, which ends
    /// their calls.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut left = FuturesUnordered::new();
        let mut open = true;
        while open || !left.is_empty() {
            tokio::select! {
                () = stop.cancelled(), if !self.0.is_closed() => self.0.close(),
                stream = self.0.recv(), if open && left.len() < MAX_LEFT => match stream {
                    Some(stream) => left.push(read_on(stream)),
                    None => open = false,
                },
                Some(()) = left.next() => {}
            }
        }
    }
}

/// Reads for a while, and ends behind a piece if one comes in time.
async fn read_on(mut stream: Left) {
    stream.as_mut().leave();
    let until = Instant::now() + READ_ON;
    read(&mut stream, until - UNDER_WAY, UNDER_WAY).await;
    let before = stream.events();
    read(&mut stream, until, LAST_PIECE).await;
    let lately = stream.events().saturating_sub(before);
    stream.as_mut().expect(lately);
}

/// Reads until a time and the piece after it, which is waited for no longer than `patience`, and what lies right behind.
async fn read(stream: &mut Left, until: Instant, patience: Duration) {
    let mut next = async || poll_fn(|cx| stream.as_mut().poll_frame(cx)).await.is_some();
    while Instant::now() < until {
        if !matches!(tokio::time::timeout_at(until + patience, next()).await, Ok(true)) {
            return;
        }
    }
    while Instant::now() < until + BACKLOG {
        if !matches!(tokio::time::timeout(AT_ONCE, next()).await, Ok(true)) {
            return;
        }
    }
}

/// A body on its way to a client, which is read on if the client leaves.
pub(super) struct Watched {
    body: Option<Left>,
    leavers: Leavers,
}

impl Watched {
    pub(super) fn new(body: impl Leave + 'static, leavers: Leavers) -> Self {
        Self {
            body: Some(Box::pin(body)),
            leavers,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            // Where there is no room it falls, which ends it.
            drop(self.leavers.0.try_send(body));
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.body {
            Some(body) => body.as_mut().poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map(|body| body.size_hint())
            .unwrap_or_default()
    }
}
