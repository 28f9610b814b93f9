//! The connections to one upstream.
//!
//! The pooled client keeps one HTTP/2 connection per host and never opens a second, so long streams would queue
//! up behind that connection's stream limit. A pool is therefore several clients: a call goes to the first that
//! has room, and the next one opens its connection only when the first is full. HTTP/1.1 has a connection per
//! call anyway, so where nothing else can be spoken there is one client for all.

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
use pin_project_lite::pin_project;

use super::connect::Connector;
use crate::body::Body;
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

/// Several pooled clients for one upstream.
#[derive(Debug)]
pub(super) struct Pool {
    first: Shared,
    rest: Vec<Shared>,
}

/// A client that several calls share.
#[derive(Debug)]
struct Shared {
    client: Client<Connector, Body>,
    calls: Arc<AtomicUsize>,
}

impl Pool {
    /// A pool that opens its connections with `connector`.
    pub(super) fn new(settings: &config::Upstream, connector: &Connector) -> Self {
        let shared = |idle| Shared {
            client: client(settings, connector, idle),
            calls: Arc::default(),
        };
        let more = if connector.may_speak_http2() {
            CLIENTS - 1
        } else {
            0
        };
        let (first, rest) = idle_shares(settings.max_idle_per_host, more);
        Self {
            first: shared(first),
            rest: rest.into_iter().map(shared).collect(),
        }
    }

    /// Whether calls may share a connection.
    pub(super) fn may_speak_http2(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Sends on the first client that has room; the call counts there until its answer's body has fallen.
    pub(super) async fn request(&self, request: Request<Body>) -> Result<Response<Sent<Incoming>>, Error> {
        let shared = self.roomiest();
        let place = Place::take(&shared.calls);
        let answer = shared.client.request(request).await?;
        Ok(answer.map(|body| Sent { body, place }))
    }

    /// The first client that has room, or the least busy one when none has.
    fn roomiest(&self) -> &Shared {
        let mut least = (&self.first, self.first.calls());
        for shared in &self.rest {
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

/// How many idle connections each client may keep: the first one and `more` others, `most` in all.
///
/// Every client keeps one, since without it HTTP/2 connections would not be shared either. The earlier ones, which have
/// the most calls, get of the rest as much as they can use; with one client alone that is everything.
fn idle_shares(most: usize, more: usize) -> (usize, Vec<usize>) {
    let mut left = most.saturating_sub(1 + more);
    let mut share = |_| {
        let extra = left.min(CALLS_PER_CLIENT - 1);
        left -= extra;
        1 + extra
    };
    if more == 0 {
        return (most, Vec::new());
    }
    let first = share(0);
    (first, (0..more).map(share).collect())
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

pin_project! {
    /// The body of an upstream's answer; holds the call's place on its client. Dropping it ends the call.
    #[derive(Debug)]
    pub struct Sent<B> {
        #[pin]
        body: B,
        place: Place,
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Sent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().body.poll_frame(cx)
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
    use super::*;

    #[test]
    fn idle_connections_are_bounded_over_all_clients() {
        assert_eq!(idle_shares(512, 0), (512, vec![]));
        let (first, rest) = idle_shares(512, CLIENTS - 1);
        assert_eq!(first, CALLS_PER_CLIENT);
        assert_eq!(first + rest.iter().sum::<usize>(), 512);
        assert!(rest.iter().all(|idle| *idle >= 1));
        let (first, rest) = idle_shares(5, CLIENTS - 1);
        assert_eq!(first + rest.iter().sum::<usize>(), CLIENTS, "one each");
    }
}
