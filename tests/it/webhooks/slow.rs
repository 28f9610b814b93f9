//! Receivers that never come to an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate::webhook::Verdict;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{Listener, Sender, read_request};
use crate::support::PATIENCE;

/// Writes `first`, then `again` after each pause, until nobody reads any more.
async fn drip(mut stream: TcpStream, first: &[u8], again: &[u8], pause: Duration, wrote: &AtomicUsize) {
    read_request(&mut stream).await;
    let mut next = first;
    while stream.write_all(next).await.is_ok() {
        wrote.fetch_add(next.len(), Ordering::SeqCst);
        next = again;
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}

async fn dripping(first: &'static str, again: Vec<u8>, pause: Duration) -> (Listener, Arc<AtomicUsize>) {
    let wrote = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&wrote);
    let listener = Listener::start(move |stream| {
        let (count, again) = (Arc::clone(&count), again.clone());
        async move { drip(stream, first.as_bytes(), &again, pause, &count).await }
    });
    (listener.await, wrote)
}

const NOW: Duration = Duration::ZERO;
const TICK: Duration = Duration::from_millis(100);

#[tokio::test]
async fn an_answer_that_does_not_come_ends_with_the_time_of_the_attempt() {
    let sender = Sender::local(1);
    let silent = Listener::start(|mut stream: TcpStream| async move {
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    let deaf = Listener::start(|stream: TcpStream| async move {
        sleep(PATIENCE).await;
        drop(stream);
    });
    let receivers = [
        silent.await,
        deaf.await,
        dripping("HTTP/1.1 200 OK\r\nx: ", b"a".to_vec(), TICK).await.0,
        dripping("HTTP/1.1 200 OK\r\n", b"x: a\r\n".to_vec(), TICK)
            .await
            .0,
        dripping("", b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), NOW)
            .await
            .0,
        dripping("", b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n".to_vec(), TICK)
            .await
            .0,
    ];
    for (nth, receiver) in receivers.into_iter().enumerate() {
        let began = Instant::now();
        let outcome = sender.send(&receiver.url()).await;
        assert!(began.elapsed() < Duration::from_secs(3), "{nth}");
        assert_eq!(
            (outcome.verdict, outcome.status),
            (Verdict::Failed, None),
            "{nth}"
        );
        assert_eq!(
            outcome.error.as_deref(),
            Some("the receiver gave no answer within 1s"),
            "{nth}"
        );
    }
}

#[tokio::test]
async fn a_head_without_end_is_given_up_at_its_bound() {
    let header = format!("x-a: {}\r\n", "a".repeat(1000)).into_bytes();
    for again in [header, vec![b'a'; 1000], b"y: z\r\n".to_vec()] {
        let (receiver, wrote) = dripping("HTTP/1.1 200 OK\r\nx: ", again, NOW).await;
        let sender = Sender::local(15);
        let outcome = sender.send(&receiver.url()).await;
        assert_eq!((outcome.verdict, outcome.status), (Verdict::Failed, None));
        assert!(wrote.load(Ordering::SeqCst) < 16 * 1024 * 1024);
    }
}

#[tokio::test]
async fn a_body_without_end_is_left_and_its_status_counts() {
    const ENDLESS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n";
    const FAILING: &str = "HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [b"1000\r\n".as_slice(), &[b'z'; 4096], b"\r\n"].concat();
    for (first, again, pause, verdict) in [
        (ENDLESS, vec![b'z'; 65536], NOW, Verdict::Delivered),
        (ENDLESS, b"z".to_vec(), TICK, Verdict::Delivered),
        (FAILING, chunk, NOW, Verdict::Failed),
        (FAILING, b"1\r\nz\r\n".to_vec(), TICK, Verdict::Failed),
    ] {
        let (receiver, wrote) = dripping(first, again, pause).await;
        let sender = Sender::local(15);
        let began = Instant::now();
        let outcome = sender.send(&receiver.url()).await;
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(outcome.verdict, verdict);
        assert!(outcome.error.is_none_or(|error| error.len() <= 1024));
        // What the system's buffers take is beyond reach.
        assert!(wrote.load(Ordering::SeqCst) < 32 * 1024 * 1024);
    }
}

#[tokio::test]
async fn an_attempt_that_is_dropped_ends_its_connection() {
    let (ended, mut end) = mpsc::unbounded_channel();
    let receiver = Listener::start(move |mut stream: TcpStream| {
        let ended = ended.clone();
        async move {
            read_request(&mut stream).await;
            ended.send("read").unwrap();
            stream.read_to_end(&mut Vec::new()).await.ok();
            ended.send("closed").unwrap();
        }
    })
    .await;
    let sender = Sender::local(15);
    let url = receiver.url();
    {
        let mut attempt = std::pin::pin!(sender.send(&url));
        tokio::select! {
            outcome = &mut attempt => panic!("{outcome:?}"),
            read = end.recv() => assert_eq!(read, Some("read")),
        }
    }
    let closed = timeout(PATIENCE, end.recv()).await.unwrap();
    assert_eq!(closed, Some("closed"));
}
