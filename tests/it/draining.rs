//! The ordered end: who is still served, who is refused, and when it is over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::support::client::{Answer, Raw};
use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY, server};
use crate::support::h2::{GOAWAY, H2, Outcome};
use crate::support::process::Process;
use crate::support::upstream::Upstream;

const PLAIN: &str = r#"{"model":"acme/model"}"#;
const CHAT: &str = r#"{"model":"acme/model","stream":true}"#;

fn post(body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A stream that has begun.
async fn stream(addr: SocketAddr) -> Raw {
    let mut raw = Raw::connect(addr).await;
    raw.send(post(CHAT)).await;
    assert_eq!(raw.head().await.unwrap().status, 200);
    assert_eq!(raw.chunk().await.unwrap(), b"data: 1\n\n");
    raw
}

async fn finishes(raw: &mut Raw) {
    assert_eq!(raw.chunk().await.unwrap(), b"data: [DONE]\n\n");
    assert_eq!(raw.chunk().await.unwrap(), b"");
}

/// A connection that has served a call and is kept alive.
async fn kept(addr: SocketAddr) -> Raw {
    let mut raw = Raw::connect(addr).await;
    raw.send(post(PLAIN)).await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    raw
}

async fn refuses(addr: SocketAddr) {
    eventually("new connections are refused", || {
        std::net::TcpStream::connect(addr).is_err()
    })
    .await;
}

async fn ask(addr: SocketAddr, path: &str) -> Answer {
    let mut raw = Raw::connect(addr).await;
    raw.send(format!("GET {path} HTTP/1.1\r\nhost: gate\r\n\r\n"))
        .await;
    raw.answer().await.unwrap()
}

#[tokio::test]
async fn new_connections_are_served_during_the_delay_and_refused_after_it() {
    let go = Arc::new(Notify::new());
    let upstream = Upstream::waiting(&go).await;
    let mut gateway = Gateway::with(upstream.addr, &server("drain_delay = \"700ms\"")).await;
    assert_eq!(ask(gateway.admin, "/readyz").await.status, 200);
    let mut running = stream(gateway.addr).await;
    let mut old = kept(gateway.addr).await;
    gateway.terminate().await;
    for _ in 0..500 {
        if ask(gateway.admin, "/readyz").await.status == 503 {
            break;
        }
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(ask(gateway.admin, "/readyz").await.status, 503);
    assert_eq!(ask(gateway.admin, "/healthz").await.status, 200);
    old.send(post(PLAIN)).await;
    let mut new = Raw::connect(gateway.addr).await;
    new.send(post(PLAIN)).await;
    for raw in [&mut old, &mut new] {
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    refuses(gateway.addr).await;
    assert!(
        begun.elapsed() > Duration::from_millis(400),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(ask(gateway.admin, "/readyz").await.status, 503);
    assert_eq!(ask(gateway.admin, "/healthz").await.status, 200);
    go.notify_one();
    finishes(&mut running).await;
    gateway.stopped().await;
    refuses(gateway.admin).await;
}

#[tokio::test]
async fn a_kept_connection_is_answered_draining_while_a_stream_goes_on() {
    let go = Arc::new(Notify::new());
    let upstream = Upstream::waiting(&go).await;
    let mut gateway = Gateway::start(upstream.addr).await;
    let mut running = stream(gateway.addr).await;
    let (mut one, mut other) = (kept(gateway.addr).await, kept(gateway.addr).await);
    let served = upstream.requests().len();
    gateway.terminate().await;
    refuses(gateway.addr).await;
    for raw in [&mut one, &mut other] {
        raw.send(post(PLAIN)).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.code()), (503, Some("draining")));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(raw.piece().await.is_none(), "the connection is closed");
    }
    assert_eq!(upstream.requests().len(), served);
    assert_eq!(ask(gateway.admin, "/readyz").await.status, 503);
    go.notify_one();
    finishes(&mut running).await;
    gateway.stopped().await;
}

#[tokio::test]
async fn the_drain_ends_at_its_timeout_and_cuts_what_is_left() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let mut gateway = Gateway::with(upstream.addr, &server("drain_timeout = \"400ms\"")).await;
    let mut running = stream(gateway.addr).await;
    let begun = tokio::time::Instant::now();
    gateway.terminate().await;
    assert_eq!(running.chunk().await, None, "cut, not ended");
    gateway.stopped().await;
    assert!(
        begun.elapsed() >= Duration::from_millis(380),
        "{:?}",
        begun.elapsed()
    );
    upstream.idle().await;
}

#[tokio::test]
async fn a_drain_lets_streams_finish_and_then_ends() {
    let go = Arc::new(Notify::new());
    let upstream = Upstream::waiting(&go).await;
    let mut gateway = Gateway::start(upstream.addr).await;
    let mut running = stream(gateway.addr).await;
    gateway.terminate().await;
    refuses(gateway.addr).await;
    go.notify_one();
    finishes(&mut running).await;
    gateway.stopped().await;
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let mut gateway = Gateway::start(upstream.addr).await;
    let _running = stream(gateway.addr).await;
    gateway.terminate().await;
    gateway.terminate().await;
    gateway.stopped().await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_drain_up() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let mut gateway = Gateway::start(upstream.addr).await;
    let mut old = kept(gateway.addr).await;
    let mut silent = Raw::connect(gateway.addr).await;
    let mut h2 = H2::connect(gateway.addr).await;
    h2.open(1, PLAIN).await;
    assert_eq!(h2.outcome(1).await, Outcome::Ok);
    let begun = tokio::time::Instant::now();
    gateway.terminate().await;
    let goaway = h2.wait_for(GOAWAY).await.expect("a farewell");
    assert_eq!(goaway[4..8], [0; 4], "no error");
    drop(h2);
    gateway.stopped().await;
    assert!(old.piece().await.is_none());
    assert!(silent.piece().await.is_none());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_http2_connection_is_told_to_go_while_its_streams_finish() {
    let go = Arc::new(Notify::new());
    let upstream = Upstream::waiting(&go).await;
    let mut gateway = Gateway::start(upstream.addr).await;
    let mut h2 = H2::connect(gateway.addr).await;
    h2.open(1, CHAT).await;
    h2.data(1, 9).await;
    gateway.terminate().await;
    let goaway = h2.wait_for(GOAWAY).await.expect("a farewell");
    assert_eq!(goaway[4..8], [0; 4], "no error");
    // What was under way to the gate before the client heard of it is answered, and not with more work.
    h2.open(3, PLAIN).await;
    assert_eq!(h2.outcome_beside_farewells(3).await, Outcome::Status);
    assert_eq!(upstream.requests().len(), 1);
    go.notify_one();
    h2.data(1, 14).await;
    drop(h2);
    gateway.stopped().await;
}

#[tokio::test]
async fn the_program_ends_cleanly_on_each_signal_and_lets_a_stream_finish() {
    for name in ["TERM", "INT"] {
        let go = Arc::new(Notify::new());
        let upstream = Upstream::waiting(&go).await;
        let mut process = Process::start(upstream.addr);
        let mut running = stream(process.addr).await;
        process.signal(name);
        refuses(process.addr).await;
        assert!(
            process.child.try_wait().unwrap().is_none(),
            "{name}: it has not waited"
        );
        go.notify_one();
        finishes(&mut running).await;
        assert_eq!(process.code().await, Some(0), "{name}");
    }
}

#[tokio::test]
async fn the_program_goes_on_after_a_hangup_and_stops_at_once_on_a_second_signal() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let mut process = Process::start(upstream.addr);
    let mut running = stream(process.addr).await;
    process.signal("HUP");
    kept(process.addr).await;
    process.signal("HUP");
    kept(process.addr).await;
    process.signal("TERM");
    refuses(process.addr).await;
    process.signal("TERM");
    assert_eq!(running.chunk().await, None, "cut, not ended");
    assert_eq!(process.code().await, Some(0));
}

#[tokio::test]
async fn a_signal_takes_readiness_off_first_and_cuts_none_of_two_hundred_streams() {
    let go = Arc::new(Notify::new());
    let upstream = Upstream::waiting(&go).await;
    let mut process = Process::with(upstream.addr, "drain_delay = \"1s\"");
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(stream(process.addr).await);
    }
    process.signal("TERM");
    let begun = tokio::time::Instant::now();
    while ask(process.admin, "/readyz").await.status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(5), "still ready");
    }
    // Others are still sent here by those who have not seen it yet.
    let mut new = Raw::connect(process.addr).await;
    // (For another model, since the streams have every slot of theirs.)
    new.send(post(&PLAIN.replace("model\"}", "other\"}"))).await;
    assert_eq!(new.answer().await.unwrap().status, 200);
    refuses(process.addr).await;
    assert!(process.child.try_wait().unwrap().is_none(), "it has not waited");
    go.notify_waiters();
    for raw in &mut streams {
        finishes(raw).await;
    }
    assert_eq!(process.code().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_cuts_two_hundred_streams_at_once() {
    let upstream = Upstream::waiting(&Arc::new(Notify::new())).await;
    let mut process = Process::start(upstream.addr);
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(stream(process.addr).await);
    }
    process.signal("TERM");
    refuses(process.addr).await;
    process.signal("TERM");
    let begun = tokio::time::Instant::now();
    assert_eq!(process.code().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for raw in &mut streams {
        assert_eq!(raw.chunk().await, None, "cut, not ended");
    }
}
