//! Accounts and keys that operators change while the gateway runs, over the wire.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidegate::token::{Mint, SigningKey};
use tidegate::types::{AccountId, KeyName};
use tokio::sync::Notify;

use crate::support::client::{Answer, Raw};
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;

const TOKEN: &str = "admin-token-0123456789";
const SETTINGS: &str = "[admin]\ntoken = \"admin-token-0123456789\"\n";
const KEYS: &str = "/api/v1/accounts/di:9/keys";

async fn start() -> (Gateway, Upstream) {
    let upstream = Upstream::waiting(&Arc::default()).await;
    (Gateway::with(upstream.addr, SETTINGS).await, upstream)
}

/// What an operator with the token gets for `line`, such as `GET /api/v1/accounts`.
async fn ask(gate: &Gateway, line: &str, body: &str) -> Answer {
    let headers = format!("authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n");
    gate.operate(line, &headers, body.as_bytes()).await
}

async fn done(gate: &Gateway, line: &str, body: &str) -> Value {
    let answer = ask(gate, line, body).await;
    assert!(
        (200..300).contains(&answer.status),
        "{line}: {} {}",
        answer.status,
        answer.text()
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{line}");
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// The status of a call with a key or a token.
async fn call(gate: &Gateway, credential: &str) -> u16 {
    let headers = format!("authorization: Bearer {credential}\r\ncontent-type: application/json\r\n");
    let answer = gate.bare(
        "POST",
        "/v1/chat/completions",
        &headers,
        br#"{"model":"acme/model"}"#,
    );
    answer.await.status
}

fn token(secret: &str, key: &str) -> String {
    let mint = Mint {
        account: AccountId::parse("di:9").unwrap(),
        key: KeyName::parse(key).unwrap(),
        models: None,
        expires_at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(600),
        spending_limit: None,
        jti: Some("the one".to_owned()),
    };
    mint.sign(&SigningKey::new(secret.as_bytes()).unwrap()).unwrap()
}

fn secret(value: &Value) -> String {
    value["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_lives_from_its_making_to_its_removal() {
    let (gate, _upstream) = start().await;
    let made = done(&gate, "POST /api/v1/accounts", r#"{"id":"di:9","name":"Nine"}"#).await;
    assert_eq!(made, json!({"id": "di:9", "name": "Nine", "management": false}));
    let key = done(&gate, &format!("POST {KEYS}"), r#"{"name":"a/b é"}"#).await;
    assert_eq!(key["name"], "a/b é");
    let (first, named) = (secret(&key), format!("{KEYS}/a%2Fb%20%C3%A9"));
    assert_eq!(call(&gate, &first).await, 200);

    let rotated = done(&gate, &format!("POST {named}/rotate"), r#"{"grace":"24h"}"#).await;
    let second = secret(&rotated);
    assert_ne!(first, second);
    assert_eq!(
        (call(&gate, &first).await, call(&gate, &second).await),
        (200, 200)
    );
    let listed = done(&gate, &format!("GET {KEYS}"), "").await;
    let entry = json!({"name": "a/b é", "disabled": false, "secrets": 2, "configured": false});
    assert_eq!(listed, json!({"items": [entry], "next": null}));

    let third = secret(&done(&gate, &format!("POST {named}/rotate"), "").await);
    assert_eq!(
        (call(&gate, &second).await, call(&gate, &third).await),
        (401, 200)
    );
    done(&gate, &format!("POST {named}/disable"), "").await;
    assert_eq!(call(&gate, &third).await, 401);
    done(&gate, &format!("POST {named}/enable"), "").await;
    assert_eq!(call(&gate, &third).await, 200);
    done(&gate, &format!("DELETE {named}"), "").await;
    assert_eq!(call(&gate, &third).await, 401);
    assert_eq!(ask(&gate, &format!("DELETE {named}"), "").await.status, 404);
}

#[tokio::test]
async fn a_token_of_a_removed_key_is_refused_and_the_stream_that_it_began_goes_on() {
    let go = Arc::new(Notify::new());
    let upstream = Upstream::waiting(&go).await;
    let gate = Gateway::with(upstream.addr, SETTINGS).await;
    done(&gate, "POST /api/v1/accounts", r#"{"id":"di:9"}"#).await;
    let secret = secret(&done(&gate, &format!("POST {KEYS}"), r#"{"name":"auto"}"#).await);
    let token = token(&secret, "auto");
    assert_eq!(call(&gate, &token).await, 200);

    let mut stream = Raw::connect(gate.addr).await;
    let body = r#"{"model":"acme/model","stream":true}"#;
    let length = body.len();
    stream
        .send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
    assert_eq!(stream.head().await.unwrap().status, 200);
    assert_eq!(stream.chunk().await.unwrap(), b"data: 1\n\n");
    done(&gate, &format!("DELETE {KEYS}/auto"), "").await;
    assert_eq!(call(&gate, &token).await, 401);
    go.notify_one();
    assert_eq!(stream.chunk().await.unwrap(), b"data: [DONE]\n\n");
    assert_eq!(stream.chunk().await.unwrap(), b"");
}

#[tokio::test]
async fn what_was_changed_outlasts_the_gateway() {
    let upstream = Upstream::waiting(&Arc::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let gate = Gateway::within(upstream.addr, SETTINGS, folder.path().to_owned()).await;
    done(&gate, "POST /api/v1/accounts", r#"{"id":"di:9"}"#).await;
    let secret = secret(&done(&gate, &format!("POST {KEYS}"), r#"{"name":"auto"}"#).await);
    let token = token(&secret, "auto");
    assert_eq!(call(&gate, &token).await, 200);
    done(&gate, "DELETE /api/v1/tokens/jti:the%20one?account=di:9", "").await;
    assert_eq!(call(&gate, &token).await, 401);
    drop(gate);

    let gate = Gateway::within(upstream.addr, SETTINGS, folder.path().to_owned()).await;
    assert_eq!(
        (call(&gate, &secret).await, call(&gate, &token).await),
        (200, 401)
    );
    done(&gate, "DELETE /api/v1/accounts/di:9", "").await;
    assert_eq!(call(&gate, &secret).await, 401);
}

#[tokio::test]
async fn accounts_are_changed_member_by_member_and_those_of_the_settings_not_at_all() {
    let (gate, _upstream) = start().await;
    let body = r#"{"id":"di:9","name":"Nine","management":true}"#;
    done(&gate, "POST /api/v1/accounts", body).await;
    let nine = "/api/v1/accounts/di%3A9";
    let changed = done(&gate, &format!("PATCH {nine}"), r#"{"management":false}"#).await;
    assert_eq!(
        changed,
        json!({"id": "di:9", "name": "Nine", "management": false})
    );
    let changed = done(&gate, &format!("PATCH {nine}"), r#"{"name":null}"#).await;
    assert_eq!(changed["name"], Value::Null);
    let one = done(&gate, "GET /api/v1/accounts/di:1", "").await;
    assert_eq!(
        one,
        json!({"id": "di:1", "name": null, "management": false, "configured": true})
    );
    for (line, body, code) in [
        ("POST /api/v1/accounts", r#"{"id":"di:9"}"#, "already_exists"),
        ("POST /api/v1/accounts", r#"{"id":"di:1"}"#, "configured"),
        ("PATCH /api/v1/accounts/di:1", "{}", "configured"),
        ("DELETE /api/v1/accounts/di:1", "", "configured"),
        ("DELETE /api/v1/accounts/di:1/keys/auto", "", "configured"),
        ("POST /api/v1/accounts/di:1/keys/auto/rotate", "", "configured"),
        ("POST /api/v1/accounts/di:1/keys/auto/disable", "", "configured"),
        (
            "POST /api/v1/accounts/di:1/keys",
            r#"{"name":"auto"}"#,
            "already_exists",
        ),
    ] {
        check_problem(&ask(&gate, line, body).await, 409, code, line);
    }
    let more = done(&gate, "POST /api/v1/accounts/di:1/keys", r#"{"name":"more"}"#).await;
    assert_eq!(call(&gate, &secret(&more)).await, 200);
}

fn check_problem(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{what}"
    );
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (&value["status"], &value["code"]),
        (&json!(status), &json!(code)),
        "{what}"
    );
    for member in ["type", "title", "detail"] {
        assert!(value[member].is_string(), "{what}: {member}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_form() {
    let (gate, _upstream) = start().await;
    let accounts = "POST /api/v1/accounts";
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(65 * 1024));
    for (line, body, status, code) in [
        ("GET /api/v1/nothing", "", 404, "unknown_route"),
        ("GET /api/v1/accounts/", "", 404, "unknown_route"),
        ("GET /api/v1/accounts/%2e%2e/keys", "", 404, "unknown_route"),
        ("GET /api/v1/accounts/none", "", 404, "not_found"),
        ("GET /api/v1/accounts/none/keys", "", 404, "not_found"),
        (
            "POST /api/v1/accounts/none/keys",
            r#"{"name":"a"}"#,
            404,
            "not_found",
        ),
        ("DELETE /api/v1/tokens/jti:a?account=none", "", 404, "not_found"),
        ("DELETE /api/v1/tokens/a?account=di:1", "", 404, "not_found"),
        ("GET /api/v1/audit", "", 501, "not_in_this_version"),
        (accounts, "", 400, "invalid_body"),
        (accounts, "[]", 400, "invalid_body"),
        (accounts, r#"{"id":"a"} x"#, 400, "invalid_body"),
        (accounts, r#"{"id":"a","id":"b"}"#, 400, "duplicate_field"),
        (accounts, &long, 413, "body_too_large"),
        (
            "POST /api/v1/accounts?limit=1",
            r#"{"id":"a"}"#,
            422,
            "invalid_request",
        ),
    ] {
        check_problem(&ask(&gate, line, body).await, status, code, line);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_field_names_it() {
    let (gate, _upstream) = start().await;
    let accounts = "POST /api/v1/accounts";
    for (line, body, field) in [
        (accounts, "{}", "id"),
        (accounts, r#"{"id":1}"#, "id"),
        (accounts, r#"{"id":"a b"}"#, "id"),
        (accounts, r#"{"id":".."}"#, "id"),
        (accounts, r#"{"id":"a","name":"\n"}"#, "name"),
        (accounts, r#"{"id":"a","management":1}"#, "management"),
        (accounts, r#"{"id":"a","more":1}"#, "more"),
        ("POST /api/v1/accounts/di:2/keys", r#"{"name":"\u0000"}"#, "name"),
        (
            "POST /api/v1/accounts/di:2/keys/auto/rotate",
            r#"{"grace":"1 day"}"#,
            "grace",
        ),
        ("DELETE /api/v1/tokens/jti:a", "", "account"),
        ("GET /api/v1/accounts?limit=0", "", "limit"),
        ("GET /api/v1/accounts?limit=1001", "", "limit"),
        ("GET /api/v1/accounts?cursor=%21", "", "cursor"),
        ("GET /api/v1/accounts?page=2", "", "page"),
    ] {
        let answer = ask(&gate, line, body).await;
        check_problem(&answer, 422, "invalid_request", body);
        let value: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(value["field"], field, "{line} {body}");
    }
}

#[tokio::test]
async fn a_call_without_the_token_or_of_another_form_is_refused() {
    let (gate, _upstream) = start().await;
    let accounts = "POST /api/v1/accounts";
    let refused = ask(&gate, "PUT /api/v1/accounts", "{}").await;
    check_problem(&refused, 405, "method_not_allowed", "PUT");
    assert_eq!(refused.header("allow"), Some("GET, HEAD, POST"));
    let bare = gate.operate(accounts, "", br#"{"id":"a"}"#).await;
    check_problem(&bare, 401, "invalid_credentials", "no token");
    assert_eq!(bare.header("www-authenticate"), Some("Bearer"));
    for (header, code) in [
        ("content-type: text/plain", "unsupported_media_type"),
        ("content-encoding: gzip", "unsupported_encoding"),
    ] {
        let headers = format!("authorization: Bearer {TOKEN}\r\n{header}\r\n");
        let answer = gate.operate(accounts, &headers, br#"{"id":"a"}"#).await;
        check_problem(&answer, 415, code, header);
    }
}

#[tokio::test]
async fn lists_come_a_page_at_a_time_in_the_order_of_names() {
    let (gate, _upstream) = start().await;
    for id in ["c", "a", "b"] {
        done(&gate, "POST /api/v1/accounts", &format!(r#"{{"id":"{id}"}}"#)).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = done(&gate, &format!("GET /api/v1/accounts?limit=2{cursor}"), "").await;
        let items = page["items"].as_array().unwrap().clone();
        seen.push(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
        );
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, [vec!["a", "b"], vec!["c", "di:1"], vec!["di:2"]]);
}
