//! The connections to one upstream.
//!
//! Where HTTP/2 may be spoken, the pooled client keeps one connection per host and never opens a second, so long
//! streams would queue up behind that connection's stream limit. Such a pool is therefore several clients: a call goes
//! to the first that has room, and the next one opens its connection only when the first is full. Where nothing but
//! HTTP/1.1 can be spoken, each call has a connection, and drives it ([`Http1`]).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::Connector;
use super::http1::{Driven, Http1};
use crate::body::{Body, BoxError};
use crate::config::{self, Protocol};

/// How many clients share the calls: 32 × 90 calls fit before HTTP/2 connections have to queue.
const CLIENTS: usize = 32;

/// The most calls on one client before the next is used: servers commonly allow 100 or 128 streams a connection.
const CALLS_PER_CLIENT: usize = 90;

/// How long an idle connection is kept. Node and uvicorn close theirs after 5 s, and a request that meets that
/// close is lost, so the gate has to be first.
const IDLE: Duration = Duration::from_secs(4);

/// How often an HTTP/2 connection is probed, so that a dead one is noticed.
const H2_KEEPALIVE: Duration = Duration::from_secs(20);

/// How much of one HTTP/2 answer may wait to be read by its client, in bytes.
const H2_STREAM_WINDOW: u32 = 256 * 1024;

/// How much of all answers of an HTTP/2 connection may wait: enough for every call on it, so that clients that do not
/// read can't stop the others. (hyper's adaptive window gives the connection no more than one stream.)
const H2_CONNECTION_WINDOW: u32 = 96 * H2_STREAM_WINDOW;

/// The connections to one upstream.
#[derive(Debug)]
pub(super) enum Pool {
    /// One for each call.
    Http1(Http1),
    /// Those of several clients, which calls share if HTTP/2 is spoken.
    Shared(Box<[Shared; CLIENTS]>),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// No connection could be made.
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// The connection failed, or the request's own body.
    #[error("the connection broke")]
    Broken(#[source] BoxError),
}

/// A client that several calls share.
#[derive(Debug)]
pub(super) struct Shared {
    client: Client<Connector, Body>,
    calls: Arc<AtomicUsize>,
}

impl RequestError {
    fn of(error: Error) -> Self {
        if error.is_connect() {
            Self::Connect(error.into())
        } else {
            Self::Broken(error.into())
        }
    }
}

impl Pool {
    /// A pool that opens its connections with `connector`.
    pub(super) fn new(settings: &config::Upstream, connector: Connector) -> Self {
        if !connector.may_speak_http2() {
            return Self::Http1(Http1::new(connector, settings.max_idle_per_host, IDLE));
        }
        let clients = idle_shares(settings.max_idle_per_host).map(|idle| Shared {
            client: client(settings, &connector, idle),
            calls: Arc::default(),
        });
        Self::Shared(Box::new(clients))
    }

    /// Sends a request and waits for the answer's head; in HTTP/1.1 its URI is to be a path. Dropping the future, or the
    /// answer's body before its end, ends the call.
    pub(super) async fn request(&self, request: Request<Body>) -> Result<Response<Sent>, RequestError> {
        match self {
            Self::Http1(connections) => {
                let answer = connections.request(request).await?;
                Ok(answer.map(|body| Sent(By::Own(body))))
            }
            Self::Shared(clients) => {
                let shared = roomiest(clients);
                let place = Place::take(&shared.calls);
                let answer = shared.client.request(request).await.map_err(RequestError::of)?;
                Ok(answer.map(|body| Sent(By::Shared { body, _place: place })))
            }
        }
    }

    /// Lets go of what no call will use.
    pub(super) fn tidy(&self) {
        if let Self::Http1(connections) = self {
            connections.tidy();
        }
    }
}

/// The first client that has room, or the least busy one when none has.
fn roomiest([first, rest @ ..]: &[Shared; CLIENTS]) -> &Shared {
    let mut least = (first, first.calls());
    for shared in rest {
        if least.1 < CALLS_PER_CLIENT {
            break;
        }
        let calls = shared.calls();
        if calls < least.1 {
            least = (shared, calls);
        }
    }
    least.0
}

impl Shared {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

/// A pooled client. Its connections are tasks that it spawns itself: they hold nothing of a call but its bytes, and end
/// with the pool.
fn client(settings: &config::Upstream, connector: &Connector, max_idle: usize) -> Client<Connector, Body> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(max_idle)
        .http2_only(settings.protocol == Protocol::H2c)
        .http2_initial_stream_window_size(H2_STREAM_WINDOW)
        .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
        .http2_keep_alive_interval(H2_KEEPALIVE)
        .build(connector.clone())
}

/// How many idle connections each client may keep, `most` in all.
///
/// Every client keeps one, since without it HTTP/2 connections would not be shared either. The earlier ones, which have
/// the most calls, get of the rest as much as they can use.
fn idle_shares(most: usize) -> [usize; CLIENTS] {
    let mut left = most.saturating_sub(CLIENTS);
    std::array::from_fn(|_| {
        let extra = left.min(CALLS_PER_CLIENT - 1);
        left -= extra;
        1 + extra
    })
}

/// A call's place on a client.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(calls: &Arc<AtomicUsize>) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(calls))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an upstream's answer. Dropping it ends the call.
#[derive(Debug)]
pub struct Sent(By);

/// What the call's connection is.
#[derive(Debug)]
enum By {
    Own(Driven),
    /// Shared; the call has its place there until the body falls.
    Shared {
        body: Incoming,
        _place: Place,
    },
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            By::Own(body) => Pin::new(body).poll_frame(cx),
            By::Shared { body, .. } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            By::Own(body) => body.is_end_stream(),
            By::Shared { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            By::Own(body) => body.size_hint(),
            By::Shared { body, .. } => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_are_bounded_over_all_clients() {
        let shares = idle_shares(512);
        assert_eq!(shares[0], CALLS_PER_CLIENT);
        assert_eq!(shares.iter().sum::<usize>(), 512);
        assert!(shares.iter().all(|idle| *idle >= 1));
        assert_eq!(idle_shares(5), [1; CLIENTS], "one each");
    }
}
