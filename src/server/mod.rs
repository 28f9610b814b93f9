//! Sockets: connections come in, are counted and bounded, and end in order.
//!
//! The accept loop and the choice of protocol are the gate's own, since the library's automatic server waits without
//! bound for a client's first byte. HTTP itself is hyper's.

mod answer;
mod aside;
mod caps;
mod conn;
mod cors;
mod drain;
mod progress;
mod socket;
#[cfg(test)]
mod tests;
mod timed;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::task::TaskTracker;

use crate::body::Body;
use crate::config;
use crate::types::Peer;

use caps::Caps;
use conn::Serving;
pub use cors::{Origins, WithCors};
pub use drain::{Drain, Stage, Watch};
pub use tls::{TlsError, TlsSource};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

/// How long accepting rests when the system refuses, such as for want of descriptors.
const REST: Duration = Duration::from_millis(200);

/// How long a client may leave everything unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// What a listener does with a request. It never fails.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers a request; the future and the answer's body are dropped as soon as the client goes.
    fn handle(&self, peer: Peer, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// The bounds of a listener's connections.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    header_timeout: Duration,
    keepalive_timeout: Duration,
    write_timeout: Duration,
    max_head: u64,
    max_headers: usize,
    max_connections: usize,
    max_connections_per_ip: usize,
}

impl From<&config::Server> for Settings {
    fn from(server: &config::Server) -> Self {
        Self {
            header_timeout: server.header_timeout,
            keepalive_timeout: server.keepalive_timeout,
            write_timeout: WRITE_TIMEOUT,
            max_head: server.max_head,
            max_headers: server.max_headers,
            max_connections: server.max_connections,
            max_connections_per_ip: server.max_connections_per_ip,
        }
    }
}

/// What connections get that come from now on: their bounds, and TLS if there is any. Open ones keep what they have.
#[derive(Debug, Clone)]
pub struct Terms(Arc<ArcSwap<(Settings, Option<Arc<TlsSource>>)>>);

impl Terms {
    fn new(settings: Settings, tls: Option<Arc<TlsSource>>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee((settings, tls))))
    }

    /// Other terms from now on.
    pub fn change(&self, settings: Settings, tls: Option<Arc<TlsSource>>) {
        self.0.store(Arc::new((settings, tls)));
    }

    fn now(&self) -> Arc<(Settings, Option<Arc<TlsSource>>)> {
        self.0.load_full()
    }
}

/// A bound address that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    terms: Terms,
}

impl Listener {
    /// Binds `addr`; port 0 takes any free one.
    ///
    /// # Errors
    /// The system refuses the address.
    pub fn bind(addr: SocketAddr, settings: Settings, tls: Option<Arc<TlsSource>>) -> std::io::Result<Self> {
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let socket = socket.listen(BACKLOG)?;
        let addr = socket.local_addr()?;
        Ok(Self {
            socket,
            addr,
            terms: Terms::new(settings, tls),
        })
    }

    /// The terms of its connections, so that they can be changed while it serves.
    pub fn terms(&self) -> Terms {
        self.terms.clone()
    }

    /// The address that was bound.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts connections until the drain refuses them, then closes the socket. Each runs as one of `tasks`.
    pub async fn serve<H: Handler>(self, handler: H, mut watch: Watch, tasks: TaskTracker) {
        let caps = Caps::default();
        let view = watch.clone();
        let serving = |terms: &(Settings, Option<Arc<TlsSource>>)| {
            Arc::new(Serving {
                handler: handler.clone(),
                settings: terms.0,
                tls: terms.1.clone(),
                watch: view.clone(),
                tasks: tasks.clone(),
            })
        };
        // Connections under the same terms share what they need.
        let mut terms = self.terms.now();
        let mut shared = serving(&terms);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = watch.reached(Stage::Refusing) => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let now = self.terms.now();
            if !Arc::ptr_eq(&now, &terms) {
                shared = serving(&now);
                terms = now;
            }
            let Some(place) = caps.take(peer.ip(), &shared.settings) else {
                tracing::debug!(peer = %peer, "too many connections: closed");
                continue;
            };
            stream.set_nodelay(true).ok();
            tasks.spawn(Arc::clone(&shared).connection(stream, peer, place));
        }
    }
}
