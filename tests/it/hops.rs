//! What the upstream's hop must not do to the client's.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY, MANAGER};
use crate::support::upstream::{Step, Upstream, answer, ok};

const CHAT: &str = r#"{"model":"acme/model"}"#;

#[tokio::test]
async fn an_upstreams_http_version_stays_on_its_hop() {
    let upstream = Upstream::start(|_| {
        vec![
            Step::Write(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{}".to_vec()),
            Step::Close,
        ]
    })
    .await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut raw = Raw::connect(gateway.addr).await;
    let length = CHAT.len();
    raw.send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\ncontent-length: {length}\r\n\r\n{CHAT}")).await;
    let piece = raw.piece().await.unwrap();
    assert!(piece.starts_with(b"HTTP/1.1 "));
}

#[tokio::test]
async fn an_encoded_event_stream_counts_as_whole_though_it_cannot_be_read() {
    let upstream = Upstream::start(|_| {
        answer(
            "200 OK",
            "content-type: text/event-stream\r\ncontent-encoding: br\r\n",
            b"\x0b\x02xx",
        )
    })
    .await;
    let gateway = Gateway::start(upstream.addr).await;
    gateway.post("/v1/chat/completions", CHAT).await;
    eventually("counted", || gateway.metric("tidegate_requests_total", "") == 1.0).await;
    assert_eq!(
        gateway.metric("tidegate_requests_total", r#"outcome="completed""#),
        1.0
    );
}

#[tokio::test]
async fn an_event_stream_of_an_account_route_needs_no_last_event() {
    let upstream = Upstream::start(|_| ok("text/event-stream", b"data: a log line\n\n")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let a = gateway
        .bare(
            "GET",
            "/v1/containers/x/logs",
            &format!("authorization: Bearer {MANAGER}\r\n"),
            b"",
        )
        .await;
    assert_eq!(a.status, 200);
    eventually("counted", || gateway.metric("tidegate_requests_total", "") == 1.0).await;
    assert_eq!(
        gateway.metric("tidegate_requests_total", r#"outcome="completed""#),
        1.0
    );
}

#[tokio::test]
async fn an_upload_that_stalls_is_the_clients_fault() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::with(
        upstream.addr,
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nbody_idle_timeout = \"300ms\"\n",
    )
    .await;
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(format!("POST /v1/files HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {MANAGER}\r\ncontent-length: 100\r\n\r\nabc")).await;
    let a = raw.answer().await.unwrap();
    assert_eq!((a.status, a.code()), (400, Some("invalid_body")));
}

#[tokio::test]
async fn the_upstream_is_told_the_host_of_an_http2_call_too() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let io = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let (mut send, conn) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .unwrap();
    tokio::spawn(conn);
    let request = http::Request::post("http://gate.example/v1/chat/completions")
        .header("authorization", format!("Bearer {KEY}"))
        .header("te", "trailers")
        .body(Full::new(Bytes::from(CHAT)))
        .unwrap();
    let a = send.send_request(request).await.unwrap();
    assert_eq!(a.status(), 200);
    assert_eq!(
        upstream.request().header("x-forwarded-host"),
        Some("gate.example")
    );
}

#[tokio::test]
async fn clients_that_do_not_read_hold_up_no_other_call_on_an_http2_upstream() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((s, _)) = listener.accept().await {
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(
                    TokioIo::new(s),
                    hyper::service::service_fn(|r: http::Request<hyper::body::Incoming>| async move {
                        let big = r.uri().path().contains("big");
                        let len = if big { 64 << 20 } else { 10 };
                        Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(
                            vec![b'x'; len],
                        ))))
                    }),
                ),
            );
        }
    });
    let gateway = Gateway::with(
        addr,
        &format!("[upstream]\nbase_url = \"http://{addr}\"\nprotocol = \"h2c\"\n"),
    )
    .await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(format!("POST /v1/inference/acme/big HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\ncontent-length: 2\r\n\r\n{{}}")).await;
        raw.head().await.unwrap();
        slow.push(raw);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let quick = tokio::time::timeout(
            Duration::from_secs(3),
            gateway.post("/v1/inference/acme/small", "{}"),
        )
        .await;
        assert_eq!(quick.expect("an answer in time").status, 200);
    }
    drop(slow);
}
