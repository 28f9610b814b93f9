//! The connections to one upstream.
//!
//! The pooled client keeps one HTTP/2 connection per host and never opens a second, so long streams would queue
//! up behind that connection's stream limit. A pool is therefore several clients: a call goes to the first that
//! has room, and the next one opens its connection only when the first is full. HTTP/1.1 has a connection per
//! call anyway and does not mind.

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
use rustls::ClientConfig;

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
    clients: Vec<(Client<Connector, Body>, Arc<AtomicUsize>)>,
}

impl Pool {
    pub(super) fn new(settings: &config::Upstream, tls: &ClientConfig) -> Self {
        let connector = Connector::new(tls, settings);
        let client = |_| {
            let client = Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(settings.max_idle_per_host)
                .http2_only(settings.protocol == Protocol::H2c)
                .http2_initial_stream_window_size(H2_STREAM_WINDOW)
                .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
                .http2_keep_alive_interval(H2_KEEPALIVE)
                .build(connector.clone());
            (client, Arc::new(AtomicUsize::new(0)))
        };
        Self {
            clients: (0..CLIENTS).map(client).collect(),
        }
    }

    /// Sends on the first client that has room; the call counts there until its answer's body has fallen.
    pub(super) async fn request(&self, request: Request<Body>) -> Result<Response<Sent<Incoming>>, Error> {
        let has_room = |calls: &AtomicUsize| calls.load(Ordering::Relaxed) < CALLS_PER_CLIENT;
        let roomy = self.clients.iter().find(|(_, calls)| has_room(calls));
        let least = || {
            self.clients
                .iter()
                .min_by_key(|(_, calls)| calls.load(Ordering::Relaxed))
        };
        let Some((client, calls)) = roomy.or_else(least) else {
            return std::future::pending().await;
        };
        let place = Place::take(calls);
        let answer = client.request(request).await?;
        Ok(answer.map(|body| Sent { body, place }))
    }
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
