//! Clients that do not read, over real sockets and with a short limit on writing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{Drain, Handler, Listener, Settings};
use crate::body::{Body, text};
use crate::config::Server;
use crate::types::Peer;

const WRITE_TIMEOUT: Duration = Duration::from_millis(400);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: gate\r\n\r\n";

/// Answers everything by a body without end, in pieces of `size` bytes after a `pause` each, and counts those under
/// way.
#[derive(Clone)]
struct Endless {
    size: usize,
    pause: Duration,
    open: Arc<AtomicUsize>,
}

impl Endless {
    fn new(size: usize, pause: Duration) -> Self {
        Self {
            size,
            pause,
            open: Arc::default(),
        }
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    async fn until_open(&self, count: usize) {
        tokio::time::timeout(Duration::from_secs(10), async {
            while self.open() != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{} calls are under way, not {count}", self.open()));
    }
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Endless {
    async fn handle(&self, _: Peer, _: Request<Incoming>) -> Response<Body> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let (open, size, pause) = (Open(Arc::clone(&self.open)), self.size, self.pause);
        let pieces = futures_util::stream::unfold(open, move |open| async move {
            tokio::time::sleep(pause).await;
            let piece: io::Result<_> = Ok(Frame::data(Bytes::from(vec![b'x'; size])));
            Some((piece, open))
        });
        Response::new(Body::stream(StreamBody::new(pieces)))
    }
}

/// Refuses everything without a look at its body.
#[derive(Clone)]
struct Refusing;

impl Handler for Refusing {
    async fn handle(&self, _: Peer, _: Request<Incoming>) -> Response<Body> {
        text(StatusCode::UNAUTHORIZED, "no")
    }
}

/// Connects to a listener that serves `handler` until the test ends.
async fn connect<H: Handler>(handler: &H, drain: &Drain) -> TcpStream {
    let settings = Settings {
        write_timeout: WRITE_TIMEOUT,
        ..Settings::from(&Server::default())
    };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), settings, None).unwrap();
    let addr = listener.addr();
    let tasks = TaskTracker::new();
    tasks.spawn(listener.serve(handler.clone(), drain.watch(), tasks.clone()));
    TcpStream::connect(addr).await.unwrap()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface, SETTINGS with an initial window of `window`, a wide window of the connection, and `count` calls.
fn h2_calls(window: u32, count: u32) -> Vec<u8> {
    let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &setting));
    bytes.extend(frame(8, 0, 0, &(1_u32 << 30).to_be_bytes()));
    for call in 0..count {
        // :method GET, :scheme http, :path / of the static table, and :authority as a literal.
        bytes.extend(frame(1, 5, 1 + 2 * call, b"\x82\x86\x84\x41\x04gate"));
    }
    bytes
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    for request in [GET.to_vec(), h2_calls(1 << 30, 1)] {
        let (handler, drain) = (Endless::new(16 * 1024, Duration::ZERO), Drain::default());
        let mut client = connect(&handler, &drain).await;
        client.write_all(&request).await.unwrap();
        handler.until_open(1).await;
        let start = Instant::now();
        handler.until_open(0).await;
        assert!(start.elapsed() >= WRITE_TIMEOUT, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn streams_with_a_window_of_zero_lose_their_calls_and_the_connection_goes_on() {
    let (handler, drain) = (Endless::new(1024, Duration::ZERO), Drain::default());
    let mut client = connect(&handler, &drain).await;
    client.write_all(&h2_calls(0, 200)).await.unwrap();
    handler.until_open(200).await;
    let start = Instant::now();
    handler.until_open(0).await;
    assert!(start.elapsed() >= WRITE_TIMEOUT / 2, "{:?}", start.elapsed());
    // A window that opens too late finds the stream reset.
    let window = frame(8, 0, 1, &[0, 0, 16, 0]);
    client.write_all(&window).await.unwrap();
    let reset = &frame(3, 0, 1, &[])[3..];
    let mut seen = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), async {
        while !seen.windows(reset.len()).any(|window| window == reset) {
            assert!(
                client.read_buf(&mut seen).await.unwrap() > 0,
                "the connection ended"
            );
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_client_that_waits_for_a_slow_answer_is_not_cut() {
    for request in [GET.to_vec(), h2_calls(1 << 20, 1)] {
        let (handler, drain) = (Endless::new(100, WRITE_TIMEOUT * 3 / 2), Drain::default());
        let mut client = connect(&handler, &drain).await;
        client.write_all(&request).await.unwrap();
        let mut seen = Vec::new();
        while seen.iter().filter(|byte| **byte == b'x').count() < 200 {
            assert!(client.read_buf(&mut seen).await.unwrap() > 0, "cut");
        }
        assert_eq!(handler.open(), 1);
        drop(client);
        handler.until_open(0).await;
    }
}

#[tokio::test]
async fn a_client_whose_window_opens_a_little_at_a_time_is_not_cut() {
    let (handler, drain) = (Endless::new(1024, Duration::ZERO), Drain::default());
    let mut client = connect(&handler, &drain).await;
    client.write_all(&h2_calls(1024, 1)).await.unwrap();
    let start = Instant::now();
    let mut buffer = vec![0; 64 * 1024];
    while start.elapsed() < WRITE_TIMEOUT * 3 {
        tokio::time::sleep(WRITE_TIMEOUT / 4).await;
        assert!(client.read(&mut buffer).await.unwrap() > 0, "cut");
        let window = frame(8, 0, 1, &[0, 0, 4, 0]);
        client.write_all(&window).await.unwrap();
    }
    assert_eq!(handler.open(), 1);
}

#[tokio::test]
async fn a_client_that_sends_on_after_a_refusal_is_not_reset() {
    let drain = Drain::default();
    let mut client = connect(&Refusing, &drain).await;
    let piece = [b'x'; 16 * 1024];
    let head = format!(
        "POST / HTTP/1.1\r\nhost: gate\r\ncontent-length: {}\r\n\r\n",
        1 << 20
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client.readable().await.unwrap();
    for _ in 0..10 {
        client.write_all(&piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // One that goes on for ever is not listened to for ever.
    let sending = async { while client.write_all(&piece).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), sending)
        .await
        .unwrap();
}
