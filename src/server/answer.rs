//! An answer on its way out: its call counts until it falls, and in HTTP/2 a client that does not take it loses it.
//!
//! In HTTP/1.1 an answer that is not taken stops the whole connection, which has a limit for that. In HTTP/2 a client
//! can leave one stream unread while the connection is alive and well, and the library then waits for the stream's
//! window without bound, with the upstream's call held open behind it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::progress::Begun;
use crate::body::{Body, BoxError};

/// How many looks at the answers one time limit has: an answer is given up at most a quarter late.
const LOOKS: u32 = 4;

/// The body of an answer; its call is under way until this falls.
pub(super) struct Counted {
    body: Body,
    _call: Begun,
}

impl Counted {
    pub(super) fn new(body: Body, call: Begun) -> Self {
        Self { body, _call: call }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an HTTP/2 answer, which can be taken away from under its stream.
pub(super) struct Answer {
    slot: Arc<Mutex<Slot>>,
    number: u64,
    answers: Arc<Answers>,
}

struct Slot {
    body: Option<Counted>,
    /// Since when the client has not asked for more, though there may be.
    untaken: Option<Instant>,
}

impl Answer {
    pub(super) fn new(body: Counted, answers: &Arc<Answers>) -> Self {
        let slot = Arc::new(Mutex::new(Slot {
            body: Some(body),
            untaken: Some(Instant::now()),
        }));
        let number = lock(&answers.0).add(&slot);
        Self {
            slot,
            number,
            answers: Arc::clone(answers),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        lock(&self.answers.0).open.remove(&self.number);
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut slot = lock(&self.slot);
        slot.untaken = None;
        let Some(body) = &mut slot.body else {
            return Poll::Ready(Some(Err("the client did not take the answer".into())));
        };
        let polled = Pin::new(body).poll_frame(cx);
        slot.untaken = polled.is_ready().then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        let slot = lock(&self.slot);
        slot.body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let slot = lock(&self.slot);
        slot.body
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

/// The answers of one connection that are on their way.
#[derive(Default)]
pub(super) struct Answers(Mutex<Open>);

#[derive(Default)]
struct Open {
    added: u64,
    open: HashMap<u64, Arc<Mutex<Slot>>>,
}

impl Answers {
    /// Ends the calls whose answers the client leaves untaken for `timeout`; never ends itself.
    pub(super) async fn give_up_untaken(&self, timeout: Duration) {
        loop {
            tokio::time::sleep(timeout / LOOKS).await;
            let slots: Vec<_> = lock(&self.0).open.values().cloned().collect();
            for slot in slots {
                let mut slot = lock(&slot);
                if slot.untaken.is_some_and(|since| since.elapsed() >= timeout) {
                    slot.body = None;
                }
            }
        }
    }
}

impl Open {
    fn add(&mut self, slot: &Arc<Mutex<Slot>>) -> u64 {
        self.added += 1;
        self.open.insert(self.added, Arc::clone(slot));
        self.added
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
