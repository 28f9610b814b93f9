//! HTTP/1.1 connections to one upstream, each driven by the call that it serves.
//!
//! A pooled client gives every connection a task of its own, and each piece of an answer then wakes two tasks: the
//! connection's, which reads it, and the call's, which passes it on. Here a connection belongs to its call from the
//! request to the end of the answer and moves when the call is polled. In between it rests, and nobody polls it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;
use tower::ServiceExt;

use super::connect::{Connection, Connector};
use super::pool::RequestError;
use crate::bell::Bell;
use crate::body::Body;

/// The connections to one upstream.
#[derive(Debug)]
pub(super) struct Http1 {
    connector: Connector,
    resting: Arc<Resting>,
}

impl Http1 {
    /// Opens connections with `connector`, and keeps at most `max_idle` for `idle` between two calls.
    pub(super) fn new(connector: Connector, max_idle: usize, idle: Duration) -> Self {
        let resting = Resting {
            max_idle,
            idle,
            connections: Mutex::new(Some(Vec::new())),
        };
        Self {
            connector,
            resting: Arc::new(resting),
        }
    }

    /// Sends a request, whose URI is a path, and waits for the answer's head.
    ///
    /// A kept connection can turn out to be closed before anything of the request was written; then it goes out on
    /// another. Dropping the future, or the answer's body before its end, closes the connection.
    pub(super) async fn request(&self, mut request: Request<Body>) -> Result<Response<Driven>, RequestError> {
        loop {
            let rested = self.resting.take();
            let is_new = rested.is_none();
            let mut line = match rested {
                Some(line) => line,
                // Boxed, so that other calls do not carry what it takes.
                None => Box::pin(self.connect()).await?,
            };
            // Not counted against the task's budget: it would wait for a waker then, not for the connection.
            let mut answering = pin!(unconstrained(line.sender.try_send_request(request)));
            let answered = poll_fn(|cx| line.poll_through(cx, |cx| answering.as_mut().poll(cx))).await;
            let mut error = match answered {
                Ok(answer) => return Ok(answer.map(|body| Driven::new(body, line, &self.resting))),
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) if !is_new => request = unsent,
                _ => return Err(RequestError::Broken(error.into_error().into())),
            }
        }
    }

    async fn connect(&self) -> Result<Line, RequestError> {
        let connecting = self.connector.clone().oneshot(Uri::default());
        let io = connecting.await.map_err(RequestError::Connect)?;
        let (sender, connection) = http1::handshake(io)
            .await
            .map_err(|error| RequestError::Connect(error.into()))?;
        let bell = Bell::new();
        Ok(Line {
            sender,
            connection: Some(Box::pin(connection)),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        })
    }

    /// Lets go of connections that have rested for too long or were closed by the upstream.
    pub(super) fn tidy(&self) {
        self.resting.tidy();
    }
}

impl Drop for Http1 {
    fn drop(&mut self) {
        let resting = self.resting.connections().take();
        drop(resting);
    }
}

/// A connection, which moves only while it is polled.
#[derive(Debug)]
struct Line {
    sender: SendRequest<Body>,
    /// `None` once it has closed.
    connection: Option<Pin<Box<http1::Connection<Connection, Body>>>>,
    bell: Arc<Bell>,
    /// The bell, as the connection knows it.
    waker: Waker,
}

impl Line {
    /// Gives what `look` gives, which hangs on nothing but this connection.
    fn poll_through<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // Whatever becomes ready does so by the connection, after which it is looked at anyway.
        let mut unwoken = Context::from_waker(Waker::noop());
        self.bell.attend();
        if let Poll::Ready(seen) = look(&mut unwoken) {
            return Poll::Ready(seen);
        }
        if self.drive()
            && let Poll::Ready(seen) = look(&mut unwoken)
        {
            return Poll::Ready(seen);
        }
        self.bell.leave(cx.waker());
        Poll::Pending
    }

    /// Reads and writes what can be without waiting. Returns whether there was anything to look at.
    fn drive(&mut self) -> bool {
        if !self.bell.was_rung() {
            return false;
        }
        let mut cx = Context::from_waker(&self.waker);
        let connection = self.connection.as_mut();
        if connection.is_some_and(|connection| connection.as_mut().poll(&mut cx).is_ready()) {
            // Why, the answer or its body says.
            self.connection = None;
        }
        true
    }

    /// Whether another call can have it.
    fn is_free(&mut self) -> bool {
        if !self.sender.is_ready() {
            self.drive();
        }
        self.sender.is_ready()
    }
}

/// Connections between two calls.
#[derive(Debug)]
struct Resting {
    max_idle: usize,
    idle: Duration,
    /// The newest last; `None` once no call can come for them.
    connections: Mutex<Option<Vec<(Instant, Line)>>>,
}

impl Resting {
    /// The one that came last, for it is the likeliest to be open still.
    fn take(&self) -> Option<Line> {
        let (since, line) = self.connections().as_mut()?.pop()?;
        (since.elapsed() < self.idle).then_some(line)
    }

    /// Keeps a connection whose answer has ended, if it can serve another call.
    fn put(&self, mut line: Line) {
        if !line.is_free() {
            return;
        }
        let mut connections = self.connections();
        let room = connections.as_mut().filter(|those| those.len() < self.max_idle);
        if let Some(connections) = room {
            connections.push((Instant::now(), line));
        }
    }

    fn tidy(&self) {
        let now = Instant::now();
        let goes = |(since, line): &mut (Instant, Line)| {
            line.drive();
            now.duration_since(*since) >= self.idle || !line.sender.is_ready()
        };
        let mut connections = self.connections();
        let those = connections.iter_mut();
        let gone: Vec<_> = those.flat_map(|those| those.extract_if(.., goes)).collect();
        // Nobody waits for them to be closed.
        drop(connections);
        drop(gone);
    }

    fn connections(&self) -> MutexGuard<'_, Option<Vec<(Instant, Line)>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer, with the connection that it comes by.
#[derive(Debug)]
pub(super) struct Driven {
    body: Incoming,
    /// `None` once the body has ended.
    line: Option<Line>,
    resting: Arc<Resting>,
}

impl Driven {
    fn new(body: Incoming, line: Line, resting: &Arc<Resting>) -> Self {
        let mut driven = Self {
            body,
            line: Some(line),
            resting: Arc::clone(resting),
        };
        if driven.body.is_end_stream() {
            driven.rest();
        }
        driven
    }

    fn rest(&mut self) {
        if let Some(line) = self.line.take() {
            self.resting.put(line);
        }
    }
}

impl HttpBody for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body, line, .. } = &mut *self;
        let mut body = Pin::new(body);
        let Some(line) = line else {
            return body.poll_frame(cx);
        };
        let frame = ready!(line.poll_through(cx, |cx| body.as_mut().poll_frame(cx)));
        // Nothing follows trailers, and whoever passes them on does not ask again.
        let is_last = match &frame {
            Some(Ok(frame)) => frame.is_trailers() || self.body.is_end_stream(),
            Some(Err(_)) => false,
            None => true,
        };
        if is_last {
            self.rest();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
