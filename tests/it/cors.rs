//! Browser apps: those of a listed origin may call, others may not.

use crate::support::client::Raw;
use crate::support::gateway::{Gateway, KEY};
use crate::support::upstream::{Upstream, answer};

const SERVER: &str = "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n";
const APP: &str = "https://app.example.com";
const ASK: &str =
    "access-control-request-method: POST\r\naccess-control-request-headers: authorization, content-type\r\n";
const CHAT: &[u8] = br#"{"model":"acme/model"}"#;

async fn upstream() -> Upstream {
    let headers = "content-type: application/json\r\naccess-control-allow-origin: *\r\n";
    Upstream::start(move |_| answer("200 OK", headers, b"{}")).await
}

#[tokio::test]
async fn an_app_of_a_listed_origin_may_call_and_read_the_answer() {
    let upstream = upstream().await;
    let settings = format!("{SERVER}[server.cors]\norigins = [\"{APP}\"]\n");
    let gateway = Gateway::with(upstream.addr, &settings).await;
    let asked = gateway
        .bare(
            "OPTIONS",
            "/v1/chat/completions",
            &format!("origin: {APP}\r\n{ASK}"),
            b"",
        )
        .await;
    assert_eq!(
        (asked.status, asked.header("access-control-allow-origin")),
        (200, Some(APP))
    );
    assert_eq!(
        asked.header("access-control-allow-headers"),
        Some("authorization, content-type")
    );
    assert!(
        asked
            .header("access-control-allow-methods")
            .unwrap()
            .contains("POST")
    );
    assert_eq!(asked.header("access-control-allow-credentials"), None);
    assert!(upstream.requests().is_empty());
    let json = "content-type: application/json\r\n";
    let called = gateway
        .call(
            "POST",
            "/v1/chat/completions",
            &format!("{json}origin: {APP}\r\n"),
            CHAT,
        )
        .await;
    assert_eq!(
        (called.status, called.header("access-control-allow-origin")),
        (200, Some(APP))
    );
    let refused = gateway
        .bare(
            "POST",
            "/v1/chat/completions",
            &format!("origin: {APP}\r\n"),
            CHAT,
        )
        .await;
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, Some(APP))
    );
}

#[tokio::test]
async fn an_app_of_another_origin_is_not_let_in_whatever_the_upstream_says() {
    let upstream = upstream().await;
    let settings = format!("{SERVER}[server.cors]\norigins = [\"{APP}\"]\n");
    let gateway = Gateway::with(upstream.addr, &settings).await;
    for origin in [
        "https://evil.example.com",
        "https://app.example.com.evil.com",
        "null",
        "http://app.example.com",
    ] {
        let asked = gateway
            .bare(
                "OPTIONS",
                "/v1/chat/completions",
                &format!("origin: {origin}\r\n{ASK}"),
                b"",
            )
            .await;
        assert_eq!(asked.header("access-control-allow-origin"), None, "{origin}");
        let headers = format!("content-type: application/json\r\norigin: {origin}\r\n");
        let called = gateway.call("POST", "/v1/chat/completions", &headers, CHAT).await;
        assert_eq!(called.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn without_origins_a_preflight_is_a_method_like_any_other() {
    let upstream = upstream().await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(format!(
        "OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\norigin: {APP}\r\n{ASK}\r\n"
    ))
    .await;
    assert_eq!(raw.answer().await.unwrap().code(), Some("method_not_allowed"));
}
