//! One connection: which protocol is spoken, then calls until it ends.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::answer::{Answer, Answers, Counted};
use super::aside::Aside;
use super::caps::Place;
use super::drain::{Stage, Watch};
use super::progress::Progress;
use super::socket::Socket;
use super::timed::{Timed, Times};
use super::{Handler, Settings, TlsSource};
use crate::body::BoxError;
use crate::types::Peer;

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Calls at once on one HTTP/2 connection: a busy client's limit of 200 and some more.
const MAX_STREAMS: u32 = 256;

/// What may wait to be sent on one HTTP/2 stream. A client has to take this much within the write timeout: the less it
/// is, the slower a client may be before it counts as one that does not read.
const SEND_BUFFER: usize = 128 * 1024;

/// How often a silent HTTP/2 client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Room above the configured head, so that the gate itself can say what is wrong with a head that is a little too
/// large; beyond it the HTTP library refuses with a bare status.
const HEAD_SLACK: u64 = 64 * 1024;

/// Likewise for the number of headers.
const HEADERS_SLACK: usize = 100;

/// What every connection of a listener needs beside its socket.
pub(super) struct Serving<H> {
    pub(super) handler: H,
    pub(super) settings: Settings,
    pub(super) tls: Option<Arc<TlsSource>>,
    pub(super) watch: Watch,
    pub(super) tasks: TaskTracker,
}

/// How a connection begins: what was read of it, and when its first head must be there.
struct Start {
    front: Bytes,
    deadline: Instant,
}

impl<H: Handler> Serving<H> {
    /// Serves a connection until it ends; it has its `place` among the others until then.
    ///
    /// What a protocol needs is boxed as soon as it is known which one is spoken: tens of thousands of connections wait
    /// at the same time, and none should carry what another one would need.
    pub(super) async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, _place: Place) {
        let deadline = Instant::now() + self.settings.header_timeout;
        let peer = Peer {
            addr: peer,
            secure: self.tls.is_some(),
        };
        let (stream, lookout) = Socket::new(stream);
        let serving = async {
            match self.tls.as_ref().map(|tls| tls.current()) {
                None => self.plain(stream, peer, deadline).await,
                Some(tls) => Box::pin(self.tls(TlsAcceptor::from(tls), stream, peer, deadline)).await,
            }
        };
        let ended = tokio::select! {
            biased;
            ended = serving => ended,
            () = Aside::new(lookout.gone()) => Ok(()),
        };
        match ended {
            Ok(()) => {
                let mut watch = self.watch.clone();
                tokio::select! {
                    () = lookout.see_out() => {}
                    () = watch.reached(Stage::Stopped) => {}
                }
            }
            Err(error) => tracing::debug!(peer = %peer.addr, error = %error, "a connection broke"),
        }
    }

    async fn tls(
        self: &Arc<Self>,
        acceptor: TlsAcceptor,
        stream: Socket,
        peer: Peer,
        deadline: Instant,
    ) -> Result<(), BoxError> {
        let mut watch = self.watch.clone();
        let stream = tokio::select! {
            stream = tokio::time::timeout_at(deadline, acceptor.accept(stream)) => stream??,
            () = watch.reached(Stage::Refusing) => return Ok(()),
        };
        let start = Start {
            front: Bytes::new(),
            deadline,
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Box::pin(self.http2(stream, start, peer)).await
        } else {
            Box::pin(self.http1(stream, start, peer)).await
        }
    }

    async fn plain(
        self: &Arc<Self>,
        mut stream: Socket,
        peer: Peer,
        deadline: Instant,
    ) -> Result<(), BoxError> {
        let mut watch = self.watch.clone();
        let front = tokio::select! {
            front = tokio::time::timeout_at(deadline, front(&mut stream)) => front??,
            () = watch.reached(Stage::Refusing) => return Ok(()),
        };
        let h2 = front == PREFACE;
        let start = Start { front, deadline };
        if h2 {
            Box::pin(self.http2(stream, start, peer)).await
        } else {
            Box::pin(self.http1(stream, start, peer)).await
        }
    }

    async fn http1<S>(self: &Arc<Self>, stream: S, start: Start, peer: Peer) -> Result<(), BoxError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // The wait for the first head is no idling: it has its own limit.
        let progress = Progress::new(false);
        let times = Times {
            deadline: start.deadline,
            heads: Some(self.settings.header_timeout),
            write_timeout: self.settings.write_timeout,
        };
        let io = TokioIo::new(Timed::new(stream, start.front, Arc::clone(&progress), times));
        let service = service_fn(|request: Request<Incoming>| {
            let (serving, call) = (Arc::clone(self), progress.begin(self.watch.call()));
            // Boxed, so that what it takes to make an answer falls with its head: the body may take long, and the
            // library keeps room for the future as long as the connection.
            Box::pin(async move {
                let mut response = serving.handler.handle(peer, request).await;
                if serving.watch.stage() >= Stage::Leaving {
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Counted::new(body, call)))
            })
        });
        let connection = self.http1_builder().serve_connection(io, service);
        // A kept connection can only be told with an answer, so it stays until nobody waits for one.
        let shut_down = http1::Connection::graceful_shutdown;
        self.until_drained(pin!(connection), shut_down, Stage::Closing, &progress)
            .await
    }

    async fn http2<S>(self: &Arc<Self>, stream: S, start: Start, peer: Peer) -> Result<(), BoxError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let progress = Progress::new(true);
        let write_timeout = self.settings.write_timeout;
        let times = Times {
            deadline: start.deadline,
            heads: None,
            write_timeout,
        };
        let io = TokioIo::new(Timed::new(stream, start.front, Arc::clone(&progress), times));
        let answers = Arc::new(Answers::default());
        let service = service_fn(|request: Request<Incoming>| {
            let (serving, call) = (Arc::clone(self), progress.begin(self.watch.call()));
            let answers = Arc::clone(&answers);
            Box::pin(async move {
                let response = serving.handler.handle(peer, request).await;
                Ok::<_, Infallible>(response.map(|body| Answer::new(Counted::new(body, call), &answers)))
            })
        });
        let connection = self.http2_builder().serve_connection(io, service);
        // A client hears at once that it should go: its streams finish, and it opens no more of them.
        let shut_down = http2::Connection::graceful_shutdown;
        let connection = pin!(connection);
        tokio::select! {
            ended = self.until_drained(connection, shut_down, Stage::Refusing, &progress) => ended,
            () = answers.give_up_untaken(write_timeout) => Ok(()),
        }
    }

    fn http1_builder(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_headers(self.settings.max_headers.saturating_add(HEADERS_SLACK))
            .max_header_size(size(self.settings.max_head.saturating_add(HEAD_SLACK)));
        builder
    }

    fn http2_builder(&self) -> http2::Builder<Tracked> {
        let mut builder = http2::Builder::new(Tracked(self.tasks.clone()));
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(
                u32::try_from(self.settings.max_head.saturating_add(HEAD_SLACK)).unwrap_or(u32::MAX),
            )
            .adaptive_window(true)
            .keep_alive_interval(PING_EVERY);
        builder
    }

    /// Drives a connection. When it idles for too long, or at its stage of the drain, it is asked to end: calls under
    /// way go on and what was answered is still written out, but a client that then does nothing is not waited for.
    /// When the listener stops, the connection falls.
    async fn until_drained<C, E>(
        &self,
        mut connection: Pin<&mut C>,
        shut_down: fn(Pin<&mut C>),
        leaving: Stage,
        progress: &Progress,
    ) -> Result<(), BoxError>
    where
        C: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        let mut watch = self.watch.clone();
        let leaves = Aside::new(async {
            tokio::select! {
                () = progress.idled(self.settings.keepalive_timeout) => self.settings.header_timeout,
                () = watch.reached(leaving) => self.settings.write_timeout,
            }
        });
        let farewell = tokio::select! {
            biased;
            ended = connection.as_mut() => return ended.map_err(Into::into),
            farewell = leaves => farewell,
        };
        shut_down(connection.as_mut());
        progress.stir();
        tokio::select! {
            ended = connection => ended.map_err(Into::into),
            () = progress.idled(farewell) => Ok(()),
            () = watch.reached(Stage::Stopped) => Ok(()),
        }
    }
}

/// Reads until it is clear whether HTTP/2's preface comes; gives what was read.
async fn front(stream: &mut Socket) -> io::Result<Bytes> {
    let mut front = BytesMut::with_capacity(PREFACE.len());
    while front.len() < PREFACE.len() && PREFACE.starts_with(&front) {
        let left = PREFACE.len() - front.len();
        if (&mut *stream)
            .take(u64::try_from(left).unwrap_or(0))
            .read_buf(&mut front)
            .await?
            == 0
        {
            break;
        }
    }
    Ok(front.freeze())
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Spawns a connection's own tasks where the app waits for them.
#[derive(Clone)]
pub(super) struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
