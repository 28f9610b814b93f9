//! Connections to upstreams: protocols, trust, reuse.

use std::sync::Arc;
use std::time::Duration;

use http::Version;
use rustls::ServerConfig;

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY};
use crate::support::streams::Streams;
use crate::support::tls::Authority;
use crate::support::upstream::{Step, Upstream, chunk, stream_head};

const PLAIN: &str = r#"{"model":"acme/model"}"#;
const CHAT: &str = r#"{"model":"acme/model","stream":true}"#;

/// A gateway before an upstream on TLS that trusts `authority`.
async fn trusting(authority: &Authority, upstream: &Streams) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let settings = format!(
        "[upstream]\nbase_url = \"https://{}\"\napi_key = \"k\"\nca = \"file:{}\"\n",
        upstream.addr,
        ca.display()
    );
    (Gateway::with(upstream.addr, &settings).await, folder)
}

fn server(authority: &Authority, name: &str, alpn: &[&str]) -> Option<Arc<ServerConfig>> {
    Some(authority.issue(name).server(alpn))
}

#[tokio::test]
async fn an_upstream_on_tls_is_reached_in_the_protocol_that_it_offers() {
    let authority = Authority::new();
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let upstream = Streams::start(server(&authority, "127.0.0.1", alpn), false).await;
        let (gateway, _folder) = trusting(&authority, &upstream).await;
        let answer = gateway.post("/v1/chat/completions", PLAIN).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{alpn:?}");
        let calls = upstream.calls();
        assert_eq!(
            calls.iter().map(|call| call.1).collect::<Vec<_>>(),
            [version],
            "{alpn:?}"
        );
    }
}

#[tokio::test]
async fn an_upstream_whose_certificate_does_not_verify_is_unreachable() {
    let authority = Authority::new();
    for (name, tls) in [
        ("foreign", server(&Authority::new(), "127.0.0.1", &["h2"])),
        ("of another host", server(&authority, "example.com", &["h2"])),
        ("no TLS", None),
    ] {
        let upstream = Streams::start(tls, false).await;
        let (gateway, _folder) = trusting(&authority, &upstream).await;
        let answer = gateway.post("/v1/chat/completions", PLAIN).await;
        assert_eq!(
            (answer.status, answer.code()),
            (502, Some("upstream_unreachable")),
            "{name}"
        );
        assert!(upstream.calls().is_empty(), "{name}");
    }
}

/// Opens `count` streams and reads the first piece of each.
async fn open_streams(gateway: &Gateway, count: usize) -> Vec<Raw> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{CHAT}",
            CHAT.len()
        ))
        .await;
        clients.push(raw);
    }
    for raw in &mut clients {
        assert_eq!(raw.head().await.unwrap().status, 200);
        assert_eq!(raw.chunk().await.unwrap(), b"data: 1\n\n");
    }
    clients
}

#[tokio::test]
async fn many_streams_to_an_h2c_upstream_share_few_connections_and_none_waits() {
    let upstream = Streams::start(None, true).await;
    let settings = format!(
        "[upstream]\nbase_url = \"http://{}\"\napi_key = \"k\"\nprotocol = \"h2c\"\n",
        upstream.addr
    );
    let gateway = Gateway::with(upstream.addr, &settings).await;
    let mut clients = open_streams(&gateway, 150).await;
    let calls = upstream.calls();
    assert!(calls.iter().all(|call| call.1 == Version::HTTP_2));
    let on = |number| calls.iter().filter(|call| call.0 == number).count();
    // The gate's own look at the model list may have had a place on the first.
    let shares = (on(0), on(1));
    assert!(matches!(shares, (90, 60) | (89, 61)), "{shares:?}");
    upstream.go();
    for raw in &mut clients {
        assert_eq!(raw.chunk().await.unwrap(), b"data: [DONE]\n\n");
        assert_eq!(raw.chunk().await.unwrap(), b"");
    }
}

#[tokio::test]
async fn a_client_that_goes_resets_its_stream_alone() {
    let upstream = Streams::start(None, true).await;
    let settings = format!(
        "[upstream]\nbase_url = \"http://{}\"\napi_key = \"k\"\nprotocol = \"h2c\"\n",
        upstream.addr
    );
    let gateway = Gateway::with(upstream.addr, &settings).await;
    let mut clients = open_streams(&gateway, 3).await;
    drop(clients.pop());
    let start = tokio::time::Instant::now();
    eventually("one stream has ended", || upstream.busy() == 2).await;
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
    upstream.go();
    for raw in &mut clients {
        assert_eq!(raw.chunk().await.unwrap(), b"data: [DONE]\n\n");
        assert_eq!(raw.chunk().await.unwrap(), b"");
    }
}

#[tokio::test]
async fn an_http1_connection_serves_one_call_after_another_and_is_left_alone_after_four_idle_seconds() {
    let upstream = Streams::start(None, false).await;
    let gateway = Gateway::start(upstream.addr).await;
    // The gate's own look at the model list has a connection too, and would lend it.
    eventually("the model list is there", || {
        gateway.metric("tidegate_upstream_requests_total", "status=\"200\"") == 1.0
    })
    .await;
    for _ in 0..5 {
        assert_eq!(gateway.post("/v1/chat/completions", PLAIN).await.status, 200);
    }
    let first = upstream.calls();
    assert!(
        first.iter().all(|call| *call == (first[0].0, Version::HTTP_11)),
        "{first:?}"
    );
    tokio::time::sleep(Duration::from_millis(4200)).await;
    assert_eq!(gateway.post("/v1/chat/completions", PLAIN).await.status, 200);
    assert!(upstream.calls()[5].0 > first[0].0);
}

#[tokio::test]
async fn connections_to_an_upstream_are_counted_while_they_are_made_and_while_they_are_open() {
    let upstream = Upstream::start(|_| vec![stream_head(), chunk(b"data: 1\n\n"), Step::Hang]).await;
    let gateway = Gateway::start(upstream.addr).await;
    let count = |state: &str| gateway.metric("tidegate_upstream_connections", &format!("state=\"{state}\""));
    let mut clients = open_streams(&gateway, 5).await;
    assert!(upstream.open() >= 5);
    eventually("each is counted", || count("open") == upstream.open() as f64).await;
    assert_eq!(count("connecting"), 0.0);
    clients.clear();
    eventually("none is counted", || upstream.open() == 0 && count("open") == 0.0).await;

    // A listener that never answers the handshake.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    let settings = format!("[upstream]\nbase_url = \"https://{addr}\"\nconnect_timeout = \"500ms\"\n");
    let gateway = Gateway::with(addr, &settings).await;
    let count = |state: &str| gateway.metric("tidegate_upstream_connections", &format!("state=\"{state}\""));
    let (answer, ()) = tokio::join!(
        gateway.post("/v1/chat/completions", PLAIN),
        eventually("it is counted", || count("connecting") >= 1.0)
    );
    assert_eq!(
        (answer.status, answer.code()),
        (502, Some("upstream_unreachable"))
    );
    eventually("none is counted", || count("connecting") == 0.0).await;
    assert_eq!(count("open"), 0.0);
}
