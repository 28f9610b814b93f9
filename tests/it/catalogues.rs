//! Catalogues as the holders of tokens see them.

use serde_json::json;

use crate::minting::{bearer, mint};
use crate::support::gateway::Gateway;
use crate::support::upstream::{Upstream, answer, ok};

#[tokio::test]
async fn a_catalogue_shows_a_token_its_models_only() {
    const LIST: &str = r#"{"object":"list","data":[{"id":"a/b","x":1.50},{"id":"c/d"}]}"#;
    let upstream = Upstream::start(|request| match request.header("x-request-id") {
        Some("odd") => ok("application/json", b"<html>"),
        Some("error") => answer(
            "503 Service Unavailable",
            "content-type: application/json\r\n",
            b"[]",
        ),
        _ if request.head.contains("/models/list") => ok(
            "application/json",
            br#"[{"model_name":"c/d"},{"model_name":"a/b"}]"#,
        ),
        _ => ok("application/json", LIST.as_bytes()),
    })
    .await;
    let gate = Gateway::start(upstream.addr).await;
    let token = mint(&gate, json!({"api_key_name": "auto", "models": ["a/b"]})).await;
    let free = mint(&gate, json!({"api_key_name": "auto"})).await;
    let one = r#"{"object":"list","data":[{"id":"a/b","x":1.50}]}"#;
    for (path, all, seen) in [
        ("/v1/models", LIST, one),
        ("/v1/openai/models", LIST, one),
        (
            "/models/list",
            r#"[{"model_name":"c/d"},{"model_name":"a/b"}]"#,
            r#"[{"model_name":"a/b"}]"#,
        ),
    ] {
        let got = gate.bare("GET", path, &bearer(&token), b"").await;
        assert_eq!((got.status, got.text().as_str()), (200, seen), "{path}");
        assert_eq!(
            got.header("content-length"),
            Some(seen.len().to_string().as_str())
        );
        assert_eq!(
            gate.bare("GET", path, &bearer(&free), b"").await.text(),
            all,
            "{path}"
        );
        assert_eq!(gate.call("GET", path, "", b"").await.text(), all, "{path}");
    }
    let id = |id| format!("{}x-request-id: {id}\r\n", bearer(&token));
    let odd = gate.bare("GET", "/v1/models", &id("odd"), b"").await;
    assert_eq!((odd.status, odd.code()), (502, Some("upstream_invalid")));
    assert_eq!(gate.metric("tidegate_rejections_total", "upstream_invalid"), 1.0);
    assert_eq!(gate.metric("tidegate_requests_total", r#"status="502""#), 1.0);
    let error = gate.bare("GET", "/v1/models", &id("error"), b"").await;
    assert_eq!(
        (error.status, error.code(), error.text().as_str()),
        (503, None, "[]")
    );
}

#[tokio::test]
async fn a_partial_catalogue_shows_no_foreign_models() {
    let upstream = Upstream::start(|request| {
        assert_eq!(request.header("range"), None);
        answer(
            "206 Partial Content",
            "content-type: application/json\r\ncontent-range: bytes 0-40/41\r\n",
            br#"{"data":[{"id":"a/b"},{"id":"secret/model"}]}"#,
        )
    })
    .await;
    let gate = Gateway::start(upstream.addr).await;
    let token = mint(&gate, json!({"api_key_name": "auto", "models": ["a/b"]})).await;
    let head = format!("{}range: bytes=0-\r\n", bearer(&token));
    let got = gate.bare("GET", "/v1/models", &head, b"").await;
    assert_eq!((got.status, got.code()), (502, Some("upstream_invalid")));
}
