//! Connections that say nothing, too little or too much, and clients that go.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::Notify;

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY, server};
use crate::support::h2::{H2, PREFACE};
use crate::support::tls::Authority;
use crate::support::upstream::{Step, Upstream, chunk, last_chunk, ok, stream_head};

const CHAT: &str = r#"{"model":"acme/model","stream":true}"#;

fn chat() -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{CHAT}",
        CHAT.len()
    )
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

async fn json_upstream() -> Upstream {
    Upstream::start(|_| ok("application/json", b"{}")).await
}

/// An upstream whose streams begin, wait for `go` and end.
async fn waiting_upstream(go: &Arc<Notify>) -> Upstream {
    let go = Arc::clone(go);
    Upstream::start(move |_| {
        vec![
            stream_head(),
            chunk(b"data: 1\n\n"),
            Step::Wait(Arc::clone(&go)),
            chunk(b"data: [DONE]\n\n"),
            last_chunk(),
        ]
    })
    .await
}

/// Sends a piece every 20 ms until the gate closes; says after how long.
async fn dribbled(raw: &mut Raw, piece: &str) -> Duration {
    let start = tokio::time::Instant::now();
    loop {
        raw.send(piece).await;
        let next = tokio::time::timeout(ms(20), raw.piece()).await;
        assert!(start.elapsed() < Duration::from_secs(10), "still open");
        if matches!(next, Ok(None)) {
            return start.elapsed();
        }
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_half_a_preface_is_closed_when_a_head_is_due() {
    let upstream = json_upstream().await;
    let settings = server("header_timeout = \"300ms\"\nkeepalive_timeout = \"1m\"");
    let gateway = Gateway::with(upstream.addr, &settings).await;
    for begin in [&b""[..], b"P", &PREFACE[..8], &PREFACE[..23], b"GET / HT"] {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(begin).await;
        let after = raw.closed().await;
        assert!(after >= ms(280), "{begin:?} was closed after {after:?}");
    }
}

#[tokio::test]
async fn a_half_open_tls_handshake_is_closed_when_a_head_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = Authority::new().issue("127.0.0.1").write(folder.path());
    let settings = server(&format!(
        "header_timeout = \"300ms\"\n[server.tls]\ncert = \"file:{}\"\nkey = \"file:{}\"",
        cert.display(),
        key.display()
    ));
    let upstream = json_upstream().await;
    let gateway = Gateway::with(upstream.addr, &settings).await;
    // The second is the beginning of a ClientHello's record.
    for begin in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(begin).await;
        let after = raw.closed().await;
        assert!(after >= ms(280), "{begin:?} was closed after {after:?}");
    }
}

#[tokio::test]
async fn a_head_that_dribbles_is_cut_on_a_new_and_on_a_kept_connection() {
    let upstream = json_upstream().await;
    let settings = server("header_timeout = \"300ms\"\nkeepalive_timeout = \"1m\"");
    let gateway = Gateway::with(upstream.addr, &settings).await;
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send("GET / HTTP/1.1\r\nx: ").await;
    assert!(dribbled(&mut raw, "x").await >= ms(250));

    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(chat()).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    // Idling longer than a head may take is no matter: the clock starts with the next head's first byte.
    tokio::time::sleep(ms(500)).await;
    raw.send("GET / HTTP/1.1\r\nx: ").await;
    assert!(dribbled(&mut raw, "x").await >= ms(250));
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_limit_and_ends_at_its_own() {
    let upstream = json_upstream().await;
    let settings = server("header_timeout = \"100ms\"\nkeepalive_timeout = \"900ms\"");
    let gateway = Gateway::with(upstream.addr, &settings).await;
    let mut raw = Raw::connect(gateway.addr).await;
    for _ in 0..2 {
        raw.send(chat()).await;
        assert_eq!(raw.answer().await.unwrap().status, 200);
        tokio::time::sleep(ms(500)).await;
    }
    raw.send(chat()).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    let after = raw.closed().await;
    assert!((ms(850)..ms(3000)).contains(&after), "{after:?}");
}

#[tokio::test]
async fn an_http1_connection_may_idle_for_less_than_a_head_may_take() {
    let upstream = json_upstream().await;
    let settings = server("header_timeout = \"1m\"\nkeepalive_timeout = \"300ms\"");
    let gateway = Gateway::with(upstream.addr, &settings).await;
    let mut raw = Raw::connect(gateway.addr).await;
    tokio::time::sleep(ms(500)).await;
    raw.send(chat()).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    assert!(raw.closed().await >= ms(280));
}

#[tokio::test]
async fn a_preface_and_then_silence_is_closed_when_its_idling_ends() {
    let upstream = json_upstream().await;
    let settings = server("header_timeout = \"100ms\"\nkeepalive_timeout = \"600ms\"");
    let gateway = Gateway::with(upstream.addr, &settings).await;
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(PREFACE).await;
    let after = raw.closed().await;
    assert!(after >= ms(580), "{after:?}");

    // With settings, and a head that never becomes whole.
    let mut h2 = H2::connect(gateway.addr).await;
    h2.send(&[0, 0, 200, 1, 4, 0, 0, 0, 1, 0x82]).await;
    let start = tokio::time::Instant::now();
    h2.closed().await;
    assert!(start.elapsed() >= ms(580));
}

#[tokio::test]
async fn a_long_stream_to_a_silent_client_outlives_every_limit() {
    let go = Arc::new(Notify::new());
    let upstream = waiting_upstream(&go).await;
    let settings =
        server("header_timeout = \"100ms\"\nkeepalive_timeout = \"100ms\"\nbody_idle_timeout = \"100ms\"");
    let gateway = Gateway::with(upstream.addr, &settings).await;
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(chat()).await;
    raw.head().await.unwrap();
    assert_eq!(raw.chunk().await.unwrap(), b"data: 1\n\n");
    let mut h2 = H2::connect(gateway.addr).await;
    h2.open(1, CHAT).await;
    h2.data(1, 9).await;
    tokio::time::sleep(ms(1000)).await;
    go.notify_waiters();
    assert_eq!(raw.chunk().await.unwrap(), b"data: [DONE]\n\n");
    assert_eq!(raw.chunk().await.unwrap(), b"");
    h2.data(1, 14).await;
}

#[tokio::test]
async fn the_gate_adds_nothing_to_a_stream_that_is_silent() {
    let go = Arc::new(Notify::new());
    let upstream = waiting_upstream(&go).await;
    let gateway = Gateway::with(upstream.addr, &server("keepalive_timeout = \"200ms\"")).await;
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(chat()).await;
    raw.head().await.unwrap();
    assert_eq!(raw.chunk().await.unwrap(), b"data: 1\n\n");
    let silence = tokio::time::timeout(ms(3000), raw.piece()).await;
    assert!(silence.is_err(), "{silence:?}");
    go.notify_waiters();
    assert_eq!(raw.chunk().await.unwrap(), b"data: [DONE]\n\n");
    assert_eq!(raw.chunk().await.unwrap(), b"");
}

/// A connection from one of this machine's own addresses, and whether it is served.
async fn from(number: u8, gateway: &Gateway) -> Option<Raw> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, number], 0).into()).unwrap();
    let mut raw = Raw::of(socket.connect(gateway.addr).await.unwrap());
    raw.send("GET /v1/nothing HTTP/1.1\r\nhost: gate\r\n\r\n").await;
    raw.answer().await.map(|_| raw)
}

#[tokio::test]
async fn an_address_and_all_together_have_exactly_their_connections_again_and_again() {
    let upstream = json_upstream().await;
    let settings = server("max_connections = 50\nmax_connections_per_ip = 20");
    let gateway = Gateway::with(upstream.addr, &settings).await;
    for round in 0..3 {
        let mut served = Vec::new();
        for address in 1..=4 {
            let mut open = Vec::new();
            for _ in 0..25 {
                open.extend(from(address, &gateway).await);
            }
            served.push(open);
        }
        let counts: Vec<_> = served.iter().map(Vec::len).collect();
        assert_eq!(counts, [20, 20, 10, 0], "round {round}");
        served.clear();
        // All have been given back when as many are served again.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let mut open = Vec::new();
            for address in [1, 1, 2, 2, 3] {
                for _ in 0..10 {
                    open.extend(from(address, &gateway).await);
                }
            }
            if open.len() == 50 {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{} of 50", open.len());
        }
        tokio::time::sleep(ms(300)).await;
    }
}

#[tokio::test]
async fn surplus_connections_are_closed_at_once_and_places_come_back() {
    let upstream = json_upstream().await;
    for limit in ["max_connections = 3", "max_connections_per_ip = 3"] {
        let gateway = Gateway::with(upstream.addr, &server(limit)).await;
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut raw = Raw::connect(gateway.addr).await;
            raw.send(chat()).await;
            assert_eq!(raw.answer().await.unwrap().status, 200, "{limit}");
            open.push(raw);
        }
        let mut surplus = Raw::connect(gateway.addr).await;
        let after = surplus.closed().await;
        assert!(after < ms(1000), "{limit}: {after:?}");
        drop(open.pop());
        for attempt in 0.. {
            assert!(attempt < 500, "{limit}: the place did not come back");
            let mut raw = Raw::connect(gateway.addr).await;
            raw.send(chat()).await;
            if raw.answer().await.is_some() {
                break;
            }
            tokio::time::sleep(ms(5)).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_or_takes_its_stream_back_ends_its_call_within_100_ms() {
    let upstream = Upstream::start(|request| match request.body.len() {
        0..40 => vec![stream_head(), chunk(b"data: 1\n\n"), Step::Hang],
        _ => vec![Step::Hang],
    })
    .await;
    let gateway = Gateway::start(upstream.addr).await;
    let silent = format!("{:60}", CHAT);
    for body in [CHAT, &silent] {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(
            chat()
                .replace(CHAT, body)
                .replace(": 36", &format!(": {}", body.len())),
        )
        .await;
        eventually("the call is upstream", || upstream.busy() == 1).await;
        let start = tokio::time::Instant::now();
        drop(raw);
        upstream.idle().await;
        assert!(start.elapsed() < ms(100), "{:?}", start.elapsed());
    }
    for reset in [false, true] {
        for body in [CHAT, &silent] {
            let mut h2 = H2::connect(gateway.addr).await;
            h2.open(1, body).await;
            eventually("the call is upstream", || upstream.busy() == 1).await;
            let start = tokio::time::Instant::now();
            if reset {
                h2.reset(1).await;
            } else {
                drop(h2);
            }
            upstream.idle().await;
            assert!(start.elapsed() < ms(100), "{:?}", start.elapsed());
        }
    }
}
