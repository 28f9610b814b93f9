//! An upstream that speaks proper HTTP/1.1 or HTTP/2, with or without TLS, and whose streams wait to be let go.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The upstream; its tasks end with the test's runtime.
pub struct Streams {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Which connection each call came on, and how.
    calls: Mutex<Vec<(usize, Version)>>,
    accepted: AtomicUsize,
    busy: AtomicUsize,
    go: watch::Sender<bool>,
}

impl Streams {
    /// Answers calls whose body has `"stream":true` by a stream that waits, all others by `{}`.
    /// Without TLS it speaks HTTP/2 if `h2c`, else HTTP/1.1.
    pub async fn start(tls: Option<Arc<ServerConfig>>, h2c: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            accepted: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            go: watch::Sender::new(false),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&accepting), tls.clone());
                tokio::spawn(async move {
                    match tls.map(TlsAcceptor::from) {
                        None => shared.serve(stream, h2c).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                                shared.serve(stream, h2).await;
                            }
                        }
                    }
                });
            }
        });
        Self { addr, shared }
    }

    /// Lets all streams end.
    pub fn go(&self) {
        self.shared.go.send_replace(true);
    }

    /// The connection and the version of each call so far.
    pub fn calls(&self) -> Vec<(usize, Version)> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// How many streams are under way.
    pub fn busy(&self) -> usize {
        self.shared.busy.load(Ordering::SeqCst)
    }
}

/// Counts while it lives.
struct Counted(Arc<Shared>);

impl Counted {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.busy.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, h2: bool) {
        let number = self.accepted.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&self);
        let service = service_fn(move |request| Arc::clone(&shared).answer(number, request));
        let stream = TokioIo::new(stream);
        if h2 {
            let mut server = http2::Builder::new(TokioExecutor::new());
            server.max_concurrent_streams(100);
            server.serve_connection(stream, service).await.ok();
        } else {
            http1::Builder::new().serve_connection(stream, service).await.ok();
        }
    }

    async fn answer(
        self: Arc<Self>,
        connection: usize,
        request: Request<Incoming>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
        let of_a_client = request.headers().contains_key("x-forwarded-for");
        let version = request.version();
        let body = request.into_body().collect().await.map(|body| body.to_bytes());
        let body = body.unwrap_or_default();
        if of_a_client {
            self.calls.lock().unwrap().push((connection, version));
        }
        if !body.windows(13).any(|window| window == b"\"stream\":true") {
            return Ok(Response::new(Full::from("{}").boxed_unsync()));
        }
        let state = (0, self.go.subscribe(), Counted::begin(&self));
        let pieces = futures_util::stream::unfold(state, async |(step, mut go, counted)| {
            let piece = match step {
                0 => "data: 1\n\n",
                1 => {
                    go.wait_for(|go| *go).await.ok()?;
                    "data: [DONE]\n\n"
                }
                _ => return None,
            };
            Some((Ok(Frame::data(Bytes::from(piece))), (step + 1, go, counted)))
        });
        let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(pieces)));
        response
            .headers_mut()
            .insert("content-type", "text/event-stream".parse().unwrap());
        Ok(response)
    }
}
