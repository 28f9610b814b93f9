//! The access log: one line per call, with what operators need and nothing that is the client's.

use serde_json::{Value, json};

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::gateway::{KEY, UPSTREAM_KEY};
use crate::support::process::Process;
use crate::support::upstream::{Upstream, ok};

/// Texts that must never be logged: a prompt, an answer, a query, a path's secret, a cookie, a key that is wrong.
const CANARIES: [&str; 6] = [
    "canary-prompt",
    "canary-answer",
    "canary-query",
    "canary-token",
    "canary-cookie",
    "canary-key-0123456789",
];

fn request(line: &str, key: &str, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {key}\r\ncookie: a=canary-cookie\r\nx-request-id: call-1\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn calls(process: &Process) -> Vec<Value> {
    process
        .log()
        .into_iter()
        .filter(|line| line["target"] == "tidegate::access")
        .collect()
}

#[tokio::test]
async fn each_call_writes_one_line_without_anything_of_the_clients() {
    let upstream = Upstream::start(|_| ok("application/json", b"{\"canary-answer\":1}")).await;
    let process = Process::start(upstream.addr);
    let body = r#"{"model":"acme/model:v1","messages":[{"content":"canary-prompt"}]}"#;
    let requests = [
        (
            request("POST /v1/openai/chat/completions?q=canary-query", KEY, body),
            200,
        ),
        (
            request("POST /v1/openai/chat/completions", "canary-key-0123456789", body),
            401,
        ),
        (request("GET /v1/api-tokens/canary-token", KEY, ""), 404),
        (
            request(
                "POST /v1/openai/chat/completions",
                KEY,
                r#"{"model":"acme/model","canary-prompt"}"#,
            ),
            400,
        ),
    ];
    for (request, status) in &requests {
        let mut raw = Raw::connect(process.addr).await;
        raw.send(request).await;
        assert_eq!(raw.answer().await.unwrap().status, *status, "{request}");
    }
    eventually("every call is logged", || calls(&process).len() >= requests.len()).await;
    let lines = calls(&process);
    assert_eq!(lines.len(), requests.len());
    let first = &lines[0];
    let expected = json!({
        "request_id": "call-1", "peer": "127.0.0.1", "account": "di:1", "key": "auto", "method": "POST",
        "surface": "chat_completions", "model": "acme/model:v1", "upstream": upstream.addr.to_string(),
        "status": 200, "outcome": "completed", "sent_bytes": 19, "message": "call", "level": "INFO",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&first[name], value, "{name}");
    }
    assert!(first["duration_ms"].as_f64().unwrap() >= first["first_byte_ms"].as_f64().unwrap());
    assert_eq!(
        (&lines[1]["code"], &lines[1]["outcome"]),
        (&json!("invalid_credentials"), &json!("rejected"))
    );
    let whole = process.log().iter().map(Value::to_string).collect::<String>();
    for secret in CANARIES.iter().chain(&[KEY, UPSTREAM_KEY]) {
        assert!(!whole.contains(secret), "{secret} was logged: {whole}");
    }
}

#[tokio::test]
async fn a_token_is_logged_by_its_identity_and_never_itself() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let process = Process::start(upstream.addr);
    let send = async |method: &str, target: &str, credential: &str, body: &str| {
        let mut raw = Raw::connect(process.addr).await;
        let length = body.len();
        raw.send(format!(
            "{method} {target} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {credential}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
        raw.answer().await.unwrap().text()
    };
    let made = send("POST", "/v1/scoped-jwt", KEY, r#"{"api_key_name":"auto"}"#).await;
    let token: Value = serde_json::from_str(&made).unwrap();
    let token = token["token"].as_str().unwrap();
    let target = format!("/v1/scoped-jwt?jwtoken={token}");
    let shown: Value = serde_json::from_str(&send("GET", &target, KEY, "").await).unwrap();
    send("POST", "/v1/chat/completions", token, r#"{"model":"a"}"#).await;
    send("DELETE", &target, KEY, "").await;
    send("POST", "/v1/chat/completions", token, r#"{"model":"a"}"#).await;
    eventually("every call is logged", || calls(&process).len() >= 5).await;
    let lines = calls(&process);
    assert_eq!(lines[2]["token"], shown["token_id"]);
    assert_eq!(lines[4]["code"], "token_revoked");
    let whole = process.log().iter().map(Value::to_string).collect::<String>();
    for part in token.strip_prefix("jwt:").unwrap().split('.') {
        assert!(!whole.contains(part), "{part} was logged: {whole}");
    }
}
