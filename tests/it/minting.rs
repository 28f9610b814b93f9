//! Tokens are made, shown and taken back over HTTP, and what they may is all that they can.

use serde_json::{Value, json};

use crate::support::client::{Answer, Raw};
use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY, MANAGER};
use crate::support::upstream::{Step, Upstream, chunk, last_chunk, ok, stream_head};

const ROUTE: &str = "/v1/scoped-jwt";
const CHAT: &str = "/v1/openai/chat/completions";
const JSON: &str = "content-type: application/json\r\n";

fn value(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()))
}

pub fn bearer(credential: &str) -> String {
    format!("authorization: Bearer {credential}\r\n")
}

pub async fn mint(gate: &Gateway, body: Value) -> String {
    let made = gate.post(ROUTE, body.to_string()).await;
    assert_eq!(made.status, 200, "{}", made.text());
    value(&made)["token"].as_str().unwrap().to_owned()
}

async fn chat(gate: &Gateway, credential: &str, model: &str) -> Answer {
    let body = json!({"model": model}).to_string();
    gate.bare("POST", CHAT, &(bearer(credential) + JSON), body.as_bytes())
        .await
}

async fn look(gate: &Gateway, method: &str, key: &str, token: &str) -> Answer {
    gate.bare(method, &format!("{ROUTE}?jwtoken={token}"), &bearer(key), b"")
        .await
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[tokio::test]
async fn a_token_calls_its_models_is_shown_and_ends_when_it_is_revoked() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gate = Gateway::start(upstream.addr).await;
    let asked = json!({"api_key_name": "auto", "models": ["acme/one", "other/*"], "expires_delta": 3600, "spending_limit": 0.2});
    let token = mint(&gate, asked).await;
    assert!(token.starts_with("jwt:"), "{token}");
    for (model, status) in [
        ("acme/one", 200),
        ("acme/one:v2", 200),
        ("other/x", 200),
        ("acme/two", 403),
    ] {
        let got = chat(&gate, &token, model).await;
        assert_eq!(got.status, status, "{model}: {}", got.text());
    }
    let foreign = chat(&gate, &token, "acme/two").await;
    assert_eq!(foreign.code(), Some("model_not_allowed"));
    assert!(foreign.text().contains("acme/two"));
    assert_eq!(upstream.requests().len(), 3);
    // Three calls whose price nobody knows.
    eventually("the calls are paid", || {
        gate.metric("tidegate_open_holds", "") == 0.0
    })
    .await;

    for shown in [token.as_str(), token.strip_prefix("jwt:").unwrap()] {
        let mut shown = value(&look(&gate, "GET", KEY, shown).await);
        let (expires_at, id) = (shown["expires_at"].take(), shown["token_id"].take());
        assert!((now() + 3590..=now() + 3600).contains(&expires_at.as_u64().unwrap()));
        assert!(id.as_str().unwrap().starts_with("jti:"), "{id}");
        let want = json!({
            "expires_at": null, "models": ["acme/one", "other/*"], "spending_limit": 0.2,
            "spent": 0.15, "held": 0, "remaining": 0.05, "revoked": false, "token_id": null,
        });
        assert_eq!(shown, want);
    }
    let theirs = look(&gate, "GET", MANAGER, &token).await;
    assert_eq!((theirs.status, theirs.code()), (404, Some("not_found")));
    let theirs = look(&gate, "DELETE", MANAGER, &token).await;
    assert_eq!((theirs.status, theirs.code()), (404, Some("not_found")));
    assert_eq!(chat(&gate, &token, "acme/one").await.status, 200);

    let revoked = look(&gate, "DELETE", KEY, &token).await;
    assert_eq!(
        (revoked.status, value(&revoked)["revoked"].clone()),
        (200, json!(true))
    );
    let refused = chat(&gate, &token, "acme/one").await;
    assert_eq!((refused.status, refused.code()), (401, Some("token_revoked")));
    assert_eq!(look(&gate, "DELETE", KEY, &token).await.status, 200, "again");
    assert_eq!(
        value(&look(&gate, "GET", KEY, &token).await)["revoked"],
        json!(true)
    );
    assert_eq!(gate.metric("tidegate_tokens_minted_total", "di:1"), 1.0);
    assert_eq!(gate.metric("tidegate_auth_failures_total", "token_revoked"), 1.0);
}

#[tokio::test]
async fn what_is_not_said_is_not_limited_and_the_longest_life_is_the_default() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gate = Gateway::start(upstream.addr).await;
    let token = mint(
        &gate,
        json!({"api_token_name": "auto", "models": null, "expires_at": null}),
    )
    .await;
    assert_eq!(chat(&gate, &token, "any/model").await.status, 200);
    let shown = value(&look(&gate, "GET", KEY, &token).await);
    let year = 365 * 24 * 60 * 60;
    assert!((now() + year - 10..=now() + year).contains(&shown["expires_at"].as_u64().unwrap()));
    assert_eq!(
        (&shown["models"], &shown["spending_limit"], &shown["remaining"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let other = mint(&gate, json!({"api_key_name": "auto"})).await;
    assert_ne!(token, other, "each has a jti of its own");
}

/// What is put beside or in place of the key's name in a request for a token, and what is wrong then.
const WRONG: [(&str, &str, &str); 27] = [
    ("", "api_key_name", "missing"),
    (r#""api_key_name":null"#, "api_key_name", "missing"),
    (r#""api_key_name":5"#, "api_key_name", "string_type"),
    (r#""api_key_name":"""#, "api_key_name", "value_error"),
    (r#"+,"api_token_name":"auto""#, "api_token_name", "value_error"),
    (r#"+,"models":[]"#, "models", "too_short"),
    (r#"+,"models":"a""#, "models", "list_type"),
    (r#"+,"models":["a",5]"#, "models", "list_type"),
    (r#"+,"models":["../a"]"#, "models", "value_error"),
    (r#"+,"models":["a:v1"]"#, "models", "value_error"),
    (
        r#"+,"expires_delta":60,"expires_at":99"#,
        "expires_at",
        "value_error",
    ),
    (r#"+,"expires_delta":0"#, "expires_delta", "value_error"),
    (r#"+,"expires_delta":-5"#, "expires_delta", "greater_than"),
    (r#"+,"expires_delta":1.5"#, "expires_delta", "int_type"),
    (r#"+,"expires_delta":"60""#, "expires_delta", "int_type"),
    (r#"+,"expires_delta":true"#, "expires_delta", "int_type"),
    (r#"+,"expires_delta":31622400"#, "expires_delta", "value_error"),
    (r#"+,"expires_at":1000"#, "expires_at", "value_error"),
    (
        r#"+,"expires_at":18446744073709551615"#,
        "expires_at",
        "value_error",
    ),
    (r#"+,"expires_at":18446744073709551616"#, "expires_at", "int_type"),
    (r#"+,"spending_limit":0"#, "spending_limit", "greater_than"),
    (r#"+,"spending_limit":1e-10"#, "spending_limit", "greater_than"),
    (r#"+,"spending_limit":-1"#, "spending_limit", "value_error"),
    (r#"+,"spending_limit":1e999"#, "spending_limit", "value_error"),
    (r#"+,"spending_limit":"1""#, "spending_limit", "float_type"),
    (r#"+,"expires_in":60"#, "expires_in", "extra_forbidden"),
    (r#"+,"Models":null"#, "Models", "extra_forbidden"),
];

#[tokio::test]
async fn a_request_for_a_token_says_what_is_wrong_with_which_field() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gate = Gateway::start(upstream.addr).await;
    for (members, field, kind) in WRONG {
        let body = format!("{{{}}}", members.replacen('+', r#""api_key_name":"auto""#, 1));
        let got = gate.post(ROUTE, &body).await;
        assert_eq!(
            (got.status, got.code()),
            (422, Some("invalid_request")),
            "{body}: {}",
            got.text()
        );
        let errors = value(&got)["detail"].as_array().unwrap().clone();
        assert_eq!(errors.len(), 1, "{body}: {errors:?}");
        let (loc, found) = (&errors[0]["loc"], &errors[0]["type"]);
        assert_eq!((loc, found), (&json!(["body", field]), &json!(kind)), "{body}");
        assert!(!errors[0]["msg"].as_str().unwrap().is_empty());
    }
    let several = gate.post(ROUTE, r#"{"models":[],"expires_delta":0,"x":1}"#).await;
    assert_eq!(value(&several)["detail"].as_array().unwrap().len(), 4);
    let many: Vec<String> = (0..600)
        .map(|number| format!("organisation/model-{number}"))
        .collect();
    let many = json!({"api_key_name": "auto", "models": many}).to_string();
    assert_eq!(
        gate.post(ROUTE, many).await.status,
        422,
        "longer than a token may be"
    );
}

#[tokio::test]
async fn a_request_about_tokens_that_can_not_be_read_is_refused() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gate = Gateway::start(upstream.addr).await;
    let long = format!(r#"{{"api_key_name":"auto","models":["{}"]}}"#, "a".repeat(70_000));
    for (body, status, code) in [
        ("", 400, "invalid_body"),
        ("[]", 400, "invalid_body"),
        ("{", 400, "invalid_body"),
        (r#"{"api_key_name":NaN}"#, 400, "invalid_body"),
        (r#"{"api_key_name":"auto"}{}"#, 400, "invalid_body"),
        (
            r#"{"api_key_name":"auto","api_key_n\u0061me":"other"}"#,
            400,
            "duplicate_field",
        ),
        (r#"{"api_key_name":"none"}"#, 404, "not_found"),
        (&long, 413, "body_too_large"),
    ] {
        let got = gate.post(ROUTE, body).await;
        assert_eq!((got.status, got.code()), (status, Some(code)), "{}", got.text());
    }
    for (query, status) in [
        ("", 422),
        ("?jwtoken=", 404),
        ("?jwtoken=a.b.c", 404),
        ("?jwtoken=a&jwtoken=b", 422),
    ] {
        for method in ["GET", "DELETE"] {
            let got = gate.call(method, &format!("{ROUTE}{query}"), "", b"").await;
            assert_eq!(got.status, status, "{method} {query}");
        }
    }
}

#[tokio::test]
async fn a_token_makes_no_token_and_opens_no_other_route() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gate = Gateway::start(upstream.addr).await;
    let asked = json!({"api_key_name": "auto"}).to_string();
    let made = gate
        .bare("POST", ROUTE, &(bearer(MANAGER) + JSON), asked.as_bytes())
        .await;
    let token = value(&made)["token"].as_str().unwrap().to_owned();
    for (method, path) in [
        ("POST", ROUTE),
        ("GET", "/v1/scoped-jwt?jwtoken=a"),
        ("DELETE", "/v1/scoped-jwt?jwtoken=a"),
        ("GET", "/v1/me"),
        ("POST", "/v1/files"),
        ("POST", "/v1/openai/batches"),
        ("GET", "/v1/videos"),
        ("GET", "/payment/usage"),
    ] {
        let got = gate.bare(method, path, &bearer(&token), b"").await;
        assert_eq!(
            (got.status, got.code()),
            (403, Some("route_not_allowed")),
            "{method} {path}"
        );
    }
    let limits = gate.bare("GET", "/v1/me/rate_limit", &bearer(&token), b"").await;
    assert_eq!(limits.status, 200);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_revocation_outlasts_a_restart_and_lets_a_stream_finish() {
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let gone = std::sync::Arc::clone(&go);
    let upstream = Upstream::start(move |_| {
        vec![
            stream_head(),
            chunk(b"data: 1\n\n"),
            Step::Wait(std::sync::Arc::clone(&gone)),
            chunk(b"data: 2\n\n"),
            last_chunk(),
        ]
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display();
    let store = format!(
        "[store]\nurl = \"sqlite:{dir}/new/tidegate.db\"\nmaster_key = \"file:{dir}/new/master.key\"\n"
    );
    let gate = Gateway::with(upstream.addr, &store).await;
    let token = mint(&gate, json!({"api_key_name": "auto"})).await;
    let body = r#"{"model":"a/b","stream":true}"#;
    let mut stream = Raw::connect(gate.addr).await;
    let length = body.len();
    stream
        .send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: gate\r\n{}content-length: {length}\r\n\r\n{body}",
            bearer(&token)
        ))
        .await;
    stream.head().await.unwrap();
    assert_eq!(stream.chunk().await.unwrap(), b"data: 1\n\n");
    assert_eq!(look(&gate, "DELETE", KEY, &token).await.status, 200);
    assert_eq!(chat(&gate, &token, "a/b").await.code(), Some("token_revoked"));
    go.notify_one();
    assert_eq!(stream.chunk().await.unwrap(), b"data: 2\n\n");
    assert_eq!(stream.chunk().await.unwrap(), b"");
    drop((stream, gate));

    let gate = Gateway::with(upstream.addr, &store).await;
    assert_eq!(chat(&gate, &token, "a/b").await.code(), Some("token_revoked"));
}

#[tokio::test]
async fn every_token_that_is_minted_can_be_revoked() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gate = Gateway::start(upstream.addr).await;
    let mut models: Vec<String> = (0..23).map(|n| format!("{n:03}{}", "m".repeat(247))).collect();
    let token = loop {
        let token = mint(&gate, json!({"api_key_name": "auto", "models": models})).await;
        let len = token.len() - 4;
        if len > 8170 {
            break token;
        }
        let room = ((8190 - len) * 3 / 4).saturating_sub(4).clamp(1, 240);
        models.push("x".repeat(room));
    };
    let body = json!({"model": models[0]}).to_string();
    let head = bearer(&token) + "content-type: application/json\r\n";
    let used = gate
        .bare("POST", "/v1/chat/completions", &head, body.as_bytes())
        .await;
    assert_eq!(used.status, 200, "{}", used.text());
    let bare = token.strip_prefix("jwt:").unwrap();
    let gone = gate
        .bare("DELETE", &format!("{ROUTE}?jwtoken={bare}"), &bearer(KEY), b"")
        .await;
    assert_eq!(gone.status, 200, "{} bytes: {}", bare.len(), gone.text());
}

#[tokio::test]
async fn whether_a_key_exists_is_not_told_to_who_has_none() {
    use tidegate::token::{Mint, SigningKey};
    use tidegate::types::{AccountId, KeyName};
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gate = Gateway::start(upstream.addr).await;
    let public = b"a secret that no key has, since a key's is visible ASCII without spaces";
    let mut codes = Vec::new();
    for key in ["auto", "no-such-key"] {
        let mint = Mint {
            account: AccountId::parse("di:1").unwrap(),
            key: KeyName::parse(key).unwrap(),
            models: None,
            expires_at: std::time::Duration::from_secs(1000),
            spending_limit: None,
            jti: None,
        };
        let token = mint.sign(&SigningKey::new(public).unwrap()).unwrap();
        let got = gate.bare("GET", "/v1/models", &bearer(&token), b"").await;
        codes.push((got.status, got.code().map(str::to_owned)));
    }
    assert_eq!(codes[0], codes[1]);
}

#[tokio::test]
async fn money_is_shown_as_a_plain_number_to_the_last_digit() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gate = Gateway::start(upstream.addr).await;
    for (asked, shown) in [
        ("1e-9", "0.000000001"),
        ("0.0000436", "0.0000436"),
        ("123456789.123456789", "123456789.123456789"),
        ("2.50", "2.5"),
    ] {
        let body = format!(r#"{{"api_key_name":"auto","spending_limit":{asked}}}"#);
        let made = gate.post(ROUTE, body).await;
        assert_eq!(made.header("cache-control"), Some("no-store"));
        let token = value(&made)["token"].as_str().unwrap().to_owned();
        let text = look(&gate, "GET", KEY, &token).await.text();
        let want = format!(r#""spending_limit":{shown},"spent":0,"held":0,"remaining":{shown},"#);
        assert!(text.contains(&want), "{text}");
    }
}
