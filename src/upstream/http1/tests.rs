//! Over real sockets, against servers that answer byte by byte what a test says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::coop::consume_budget;
use tokio_util::task::TaskTracker;

use super::*;
use crate::config;
use crate::metrics::Metrics;

const IDLE: Duration = Duration::from_secs(60);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

/// A server that counts its connections, and serves each with `serve`.
async fn server<F, S>(serve: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, accepted) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (count, tasks) = (Arc::clone(&accepted), TaskTracker::new());
    let serving = tasks.clone();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            serving.spawn(serve(stream));
        }
    });
    (addr, accepted)
}

/// Reads one request without a body; false at the end.
async fn request_came(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// Answers every request with `answer`.
async fn answering(mut stream: TcpStream, answer: &'static [u8]) {
    while request_came(&mut stream).await && stream.write_all(answer).await.is_ok() {}
}

fn pool_of(addr: SocketAddr, max_idle: usize, idle: Duration) -> Http1 {
    let base: Uri = format!("http://{addr}").parse().unwrap();
    let settings = config::Upstream::at(base.clone());
    let count = Metrics::new().unwrap().upstream_connections(&"test".into());
    let tls = super::super::tls_config(None).unwrap();
    Http1::new(Connector::new(&tls, &settings, &base, count), max_idle, idle)
}

fn get() -> Request<Body> {
    Request::get("/")
        .header("host", "test")
        .body(Body::empty())
        .unwrap()
}

fn resting(pool: &Http1) -> usize {
    pool.resting.connections().as_ref().map_or(0, Vec::len)
}

async fn whole(answer: Response<Driven>) -> Bytes {
    answer.into_body().collect().await.unwrap().to_bytes()
}

async fn eventually(mut done: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap();
}

#[tokio::test]
async fn calls_one_after_another_share_a_connection() {
    for answer in [
        ANSWER,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-end: 1\r\n\r\n",
    ] {
        let (addr, accepted) = server(move |stream| answering(stream, answer)).await;
        let pool = pool_of(addr, 8, IDLE);
        for _ in 0..50 {
            let answer = pool.request(get()).await.unwrap();
            assert_eq!(whole(answer).await, "hi");
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 1);
    }
    let trailers = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-end: 1\r\n\r\n";
    let (addr, accepted) = server(|stream| answering(stream, trailers)).await;
    let pool = pool_of(addr, 8, IDLE);
    for _ in 0..50 {
        let mut body = pool.request(get()).await.unwrap().into_body();
        // As the server passes them on: to the trailers and no further.
        while !body.frame().await.unwrap().unwrap().is_trailers() {}
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    let (addr, accepted) = server(|stream| answering(stream, b"HTTP/1.1 204 No Content\r\n\r\n")).await;
    let pool = pool_of(addr, 8, IDLE);
    for _ in 0..50 {
        drop(pool.request(get()).await.unwrap());
    }
    assert_eq!(
        accepted.load(Ordering::SeqCst),
        1,
        "without a body there is nothing to wait for"
    );
}

#[tokio::test]
async fn a_call_that_meets_a_closed_connection_goes_out_on_another() {
    let (addr, accepted) = server(|mut stream| async move {
        request_came(&mut stream).await;
        stream.write_all(ANSWER).await.unwrap();
    })
    .await;
    let pool = pool_of(addr, 8, IDLE);
    for round in 1..=20 {
        let answer = pool.request(get()).await.unwrap();
        assert_eq!(whole(answer).await, "hi");
        assert_eq!(accepted.load(Ordering::SeqCst), round);
        // The close has come by then, though nobody has looked.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_an_upstream_sends_beyond_its_answer_is_no_answer() {
    let beyond: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno";
    for pause in [None, Some(Duration::from_millis(5))] {
        let sent = Arc::new(AtomicUsize::new(0));
        let sending = Arc::clone(&sent);
        let (addr, accepted) = server(move |mut stream| {
            let sending = Arc::clone(&sending);
            async move {
                request_came(&mut stream).await;
                let (answer, more) = beyond.split_at(ANSWER.len());
                match pause {
                    None => stream.write_all(beyond).await.unwrap(),
                    Some(pause) => {
                        stream.write_all(answer).await.unwrap();
                        tokio::time::sleep(pause).await;
                        stream.write_all(more).await.unwrap();
                    }
                }
                sending.fetch_add(1, Ordering::SeqCst);
                request_came(&mut stream).await;
            }
        })
        .await;
        let pool = pool_of(addr, 8, IDLE);
        for round in 1..=10 {
            let answer = pool.request(get()).await.unwrap();
            assert_eq!(whole(answer).await, "hi");
            assert_eq!(accepted.load(Ordering::SeqCst), round);
            while sent.load(Ordering::SeqCst) < round {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Whoever sleeps lets the runtime hear of what has come.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn so_many_connections_rest_as_may() {
    let (addr, accepted) = server(|stream| answering(stream, ANSWER)).await;
    let pool = pool_of(addr, 3, IDLE);
    for (at_once, in_all) in [(8, 8), (8, 8 + 5), (3, 8 + 5)] {
        let requests = (0..at_once).map(|_| pool.request(get()));
        let answers = futures_util::future::try_join_all(requests).await.unwrap();
        for answer in answers {
            assert_eq!(whole(answer).await, "hi");
        }
        assert_eq!(accepted.load(Ordering::SeqCst), in_all);
        assert_eq!(resting(&pool), 3);
    }
}

#[tokio::test]
async fn connections_that_were_closed_or_rest_too_long_are_let_go() {
    let (addr, _) = server(|mut stream| async move {
        request_came(&mut stream).await;
        stream.write_all(ANSWER).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    })
    .await;
    for idle in [IDLE, Duration::from_millis(50)] {
        let pool = pool_of(addr, 8, idle);
        assert_eq!(whole(pool.request(get()).await.unwrap()).await, "hi");
        pool.tidy();
        assert_eq!(resting(&pool), 1, "too early");
        eventually(|| {
            pool.tidy();
            resting(&pool) == 0
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_rests_when_the_pool_has_gone() {
    let (addr, _) = server(|stream| answering(stream, ANSWER)).await;
    let pool = pool_of(addr, 8, IDLE);
    let (one, other) = (pool.request(get()), pool.request(get()));
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    assert_eq!(whole(one).await, "hi");
    let left = Arc::downgrade(&pool.resting);
    assert_eq!(resting(&pool), 1);
    drop(pool);
    assert!(left.upgrade().unwrap().connections().is_none());
    assert_eq!(whole(other).await, "hi");
    assert!(left.upgrade().is_none());
}

#[tokio::test]
async fn a_call_that_is_given_up_closes_its_connection() {
    for answer in [b"".as_slice(), b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh"] {
        let open = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&open);
        let (addr, _) = server(move |mut stream| {
            let open = Arc::clone(&counted);
            async move {
                request_came(&mut stream).await;
                stream.write_all(answer).await.unwrap();
                open.fetch_add(1, Ordering::SeqCst);
                assert!(!request_came(&mut stream).await);
                open.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await;
        let pool = pool_of(addr, 8, IDLE);
        let asked = pool.request(get());
        let given_up = async {
            // With a head there is a body to hold, without one a future.
            let mut answer = asked.await.unwrap().into_body();
            answer.frame().await.unwrap().unwrap();
            answer.frame().await
        };
        let holding = async {
            eventually(|| open.load(Ordering::SeqCst) == 1).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        tokio::select! {
            _ = given_up => panic!("the answer ended"),
            () = holding => {}
        }
        eventually(|| open.load(Ordering::SeqCst) == 0).await;
        assert_eq!(resting(&pool), 0);
    }
}

#[tokio::test]
async fn a_connection_whose_request_was_not_read_to_its_end_serves_no_other_call() {
    let (addr, accepted) = server(|mut stream| async move {
        request_came(&mut stream).await;
        stream.write_all(ANSWER).await.unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
    })
    .await;
    let pool = pool_of(addr, 8, IDLE);
    for round in 1..=10 {
        let unending = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, hyper::Error>>());
        let request = Request::post("/").header("host", "test");
        let request = request.body(Body::stream(unending)).unwrap();
        let answer = pool.request(request).await.unwrap();
        assert_eq!(whole(answer).await, "hi");
        assert_eq!(accepted.load(Ordering::SeqCst), round);
        assert_eq!(resting(&pool), 0);
    }
}

/// A task that does much at once has little left of what it may do before it lets others go first.
#[tokio::test]
async fn an_answer_is_seen_however_little_its_task_may_still_do() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n";
    let (addr, _) = server(|stream| answering(stream, answer)).await;
    let pool = pool_of(addr, 8, IDLE);
    for spent in 100..128 {
        let mut asking = Box::pin(async { whole(pool.request(get()).await.unwrap()).await });
        let asked = poll_fn(|cx| {
            let mut unwoken = Context::from_waker(Waker::noop());
            let mut units = (0..spent).map(|_| pin!(consume_budget()).poll(&mut unwoken));
            if units.any(|unit| unit.is_pending()) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            asking.as_mut().poll(cx)
        });
        let start = Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(4), asked).await;
        assert_eq!(answer.unwrap(), "hi");
        // The time limit looks once more when it is over.
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{spent} units were spent"
        );
    }
}

/// Pieces that come from another thread while the call looks elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_piece_is_missed_on_several_threads() {
    const PIECES: usize = 300;
    let (addr, _) = server(|mut stream| async move {
        while request_came(&mut stream).await {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 3 * PIECES);
            stream.write_all(head.as_bytes()).await.unwrap();
            for piece in 0..PIECES {
                stream.write_all(b"abc").await.unwrap();
                if piece % 7 == 0 {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }
    })
    .await;
    let pool = Arc::new(pool_of(addr, 64, IDLE));
    let tasks = TaskTracker::new();
    let calls = (0..32).map(|_| {
        let pool = Arc::clone(&pool);
        tasks.spawn(async move {
            for _ in 0..10 {
                let answer = pool.request(get()).await.unwrap();
                assert_eq!(whole(answer).await, "abc".repeat(PIECES));
            }
        })
    });
    let all = futures_util::future::try_join_all(calls.collect::<Vec<_>>());
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .unwrap()
        .unwrap();
}
