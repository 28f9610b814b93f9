//! Which headers and trailers pass, which are dropped, and which the gate sets.

use crate::support::client::Raw;
use crate::support::gateway::{Gateway, KEY, MANAGER, UPSTREAM_KEY};
use crate::support::upstream::{Step, Upstream, answer, ok};

const JSON: &str = "content-type: application/json\r\n";
const CHAT: &str = r#"{"model":"acme/model","messages":[]}"#;

#[tokio::test]
async fn the_upstream_sees_the_clients_headers_but_none_of_its_credentials() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let headers = format!(
        "{JSON}x-api-key: {KEY}\r\nxi-api-key: {KEY}\r\ncookie: session=1\r\nuser-agent: t/1\r\nanthropic-version: 2023-06-01\r\n\
         x-deepinfra-source: me\r\naccept: a/b\r\naccept-encoding: gzip, br\r\nconnection: keep-alive, x-private\r\nx-private: 1\r\n\
         te: trailers\r\nkeep-alive: 5\r\nproxy-authorization: Basic abc\r\nx-forwarded-for: 6.6.6.6\r\nx-forwarded-host: evil\r\n\
         x-forwarded-proto: gopher\r\nforwarded: for=6.6.6.6\r\nx-original-url: /v1/me\r\nx-http-method-override: DELETE\r\nx-tidegate-webhook-secret: 1\r\nx-multi: a\r\nx-multi: b\r\nx-request-id: mine-1\r\n"
    );
    gateway
        .call("POST", "/v1/chat/completions", &headers, CHAT.as_bytes())
        .await;
    let seen = upstream.request();
    for (name, value) in [
        ("authorization", format!("Bearer {UPSTREAM_KEY}")),
        ("host", upstream.addr.to_string()),
        ("user-agent", "t/1".into()),
        ("anthropic-version", "2023-06-01".into()),
        ("x-deepinfra-source", "me".into()),
        ("accept", "a/b".into()),
        ("accept-encoding", "identity".into()),
        ("content-type", "application/json".into()),
        ("content-length", CHAT.len().to_string()),
        ("x-forwarded-for", "127.0.0.1".into()),
        ("x-forwarded-host", "gate".into()),
        ("x-forwarded-proto", "http".into()),
        ("x-request-id", "mine-1".into()),
    ] {
        assert_eq!(seen.header(name), Some(value.as_str()), "{name}");
    }
    assert_eq!(seen.all("x-multi"), ["a", "b"]);
    let dropped = "x-api-key xi-api-key cookie connection x-private te keep-alive proxy-authorization forwarded x-original-url x-http-method-override x-tidegate-webhook-secret transfer-encoding";
    for name in dropped.split(' ') {
        assert!(seen.all(name).is_empty(), "{name} went upstream");
    }
    assert!(!seen.head.contains(KEY), "the caller's key went upstream");
}

#[tokio::test]
async fn the_client_sees_the_upstreams_headers_but_not_those_for_one_hop() {
    let headers = "content-type: application/json\r\nx-a: b\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nretry-after: 7\r\nconnection: close, x-hop\r\n\
                   x-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nx-tidegate-error: forged\r\nx-request-id: theirs\r\nserver: up\r\n";
    let upstream = Upstream::start(move |_| answer("429 Too Many Requests", headers, b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let answer = gateway
        .call(
            "POST",
            "/v1/chat/completions",
            &format!("{JSON}x-request-id: mine-1\r\n"),
            CHAT.as_bytes(),
        )
        .await;
    assert_eq!(answer.status, 429);
    for (name, value) in [
        ("x-a", "b"),
        ("retry-after", "7"),
        ("x-request-id", "mine-1"),
        ("content-length", "2"),
        ("server", "up"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(
        answer
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie")
            .count(),
        2
    );
    for name in [
        "x-hop",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "x-tidegate-error",
    ] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn ids_are_made_where_the_client_brings_none() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let answer = gateway.post("/v1/chat/completions", CHAT).await;
    let seen = upstream.request();
    assert_eq!(answer.header("x-request-id").unwrap().len(), 36);
    assert_eq!(answer.header("x-request-id"), seen.header("x-request-id"));
    assert_eq!(answer.header("traceparent").unwrap().len(), 55);
    assert_eq!(answer.header("traceparent"), seen.header("traceparent"));
    let refused = gateway
        .bare("GET", "/nowhere", "x-request-id: mine-2\r\n", b"")
        .await;
    assert_eq!(
        (refused.status, refused.header("x-request-id")),
        (401, Some("mine-2"))
    );
}

#[tokio::test]
async fn response_trailers_pass_but_not_credentials_cookies_or_framing() {
    let upstream = Upstream::start(|_| {
        vec![
            Step::Write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, set-cookie\r\n\r\n2\r\nok\r\n".to_vec()),
            Step::Write(b"0\r\nx-sum: 1\r\nset-cookie: a=b\r\nauthorization: x\r\ncontent-length: 9\r\n\r\n".to_vec()),
        ]
    })
    .await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut raw = Raw::connect(gateway.addr).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nte: trailers\r\nconnection: te, close";
    let length = CHAT.len();
    raw.send(format!(
        "{head}\r\nauthorization: Bearer {KEY}\r\n{JSON}content-length: {length}\r\n\r\n{CHAT}"
    ))
    .await;
    let mut all = Vec::new();
    while let Some(piece) = raw.piece().await {
        all.extend(piece);
    }
    let all = String::from_utf8(all).unwrap().to_ascii_lowercase();
    let trailers = all.rsplit_once("\r\n0\r\n").unwrap().1;
    assert!(trailers.contains("x-sum: 1"), "{all}");
    for name in ["set-cookie", "authorization", "content-length"] {
        assert!(!trailers.contains(name), "{name}: {trailers}");
    }
}

#[tokio::test]
async fn management_routes_are_open_to_accounts_that_manage_and_to_nobody_else() {
    let upstream = Upstream::start(|request| ok("application/json", &request.body)).await;
    let gateway = Gateway::start(upstream.addr).await;
    for (method, target) in [
        ("GET", "/v1/me?checklist=true"),
        ("POST", "/deploy/llm"),
        ("DELETE", "/v1/api-tokens/abc"),
        ("PATCH", "/v1/me"),
        ("PUT", "/deploy/abc"),
        ("GET", "/payment/usage?from=current"),
        ("POST", "/v1/files"),
        ("POST", "/v1/openai/batches"),
    ] {
        let before = upstream.requests().len();
        let refused = gateway.call(method, target, JSON, b"{\"a\":1}").await;
        assert_eq!(
            (refused.status, refused.code()),
            (404, Some("unknown_route")),
            "{target}"
        );
        assert_eq!(upstream.requests().len(), before);
        let headers = format!("authorization: Bearer {MANAGER}\r\n{JSON}");
        let passed = gateway.bare(method, target, &headers, b"{\"a\":1}").await;
        assert_eq!(
            (passed.status, passed.text().as_str()),
            (200, "{\"a\":1}"),
            "{target}"
        );
        assert_eq!(upstream.requests().pop().unwrap().target(), target);
    }
}
