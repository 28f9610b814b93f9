//! Paths: models that stand in one, and routes that no token may use.

use super::bodies::JSON;
use super::{BAD, Changed, FOREIGN, Head, NO_ROUTE, Passed, Refused, Row, UNKNOWN, Want};

fn row(method: &'static str, target: &str, body: &str, want: Want) -> Row {
    Row {
        name: body.to_owned(),
        method,
        target: target.into(),
        headers: JSON.into(),
        body: body.into(),
        want,
    }
}

/// A native call that passes to another target than it came to, letter by letter.
const PLAIN: Want = Changed("/v1/inference/acme/model");

const MODELS: [(&str, Want); 49] = [
    ("acme/model", Passed),
    ("acme/other", FOREIGN),
    ("acme%2Fmodel", PLAIN),
    ("acme%2fother", FOREIGN),
    ("acme/%6dodel", PLAIN),
    ("acme/%6fther", FOREIGN),
    ("%61cme%2F%6Dodel", PLAIN),
    ("Acme/model", FOREIGN),
    ("acme/MODEL", FOREIGN),
    ("acme/modelx", FOREIGN),
    ("acme/model.", FOREIGN),
    ("acme/model/other", FOREIGN),
    ("acme", FOREIGN),
    ("acme/old", FOREIGN),
    ("acme/renamed", Changed("/v1/inference/acme/elsewhere")),
    ("acme/before", Changed("/v1/inference/acme/now")),
    ("team/a/b", Passed),
    // Versions.
    ("acme/model:v1", Passed),
    ("acme/model%3Av1", Changed("/v1/inference/acme/model:v1")),
    ("acme/other:v1", FOREIGN),
    ("acme/model:v1/acme/other", UNKNOWN),
    ("acme/model:", UNKNOWN),
    ("acme/model?version=v1", Passed),
    ("acme/other?version=v1", FOREIGN),
    ("acme/other?model=acme/model", FOREIGN),
    ("acme/other#acme/model", FOREIGN),
    // Ways out of the path.
    ("acme/model/../other", UNKNOWN),
    ("acme/model/%2e%2e/other", UNKNOWN),
    ("acme/model/.%2E/other", UNKNOWN),
    ("acme/model/%252e%252e/other", UNKNOWN),
    ("acme/model/..;/other", UNKNOWN),
    ("acme/model%2f..%2fother", UNKNOWN),
    ("acme/model%2F%2E%2E%2Fother", UNKNOWN),
    ("acme/model%252Fother", UNKNOWN),
    ("acme/model%5c..%5cother", UNKNOWN),
    ("acme/model/.", UNKNOWN),
    ("acme/model/", UNKNOWN),
    ("acme/model%2F", UNKNOWN),
    ("acme//model", UNKNOWN),
    ("/acme/model", UNKNOWN),
    ("acme/model%00", UNKNOWN),
    ("acme/model%00/other", UNKNOWN),
    ("acme/model;acme/other", UNKNOWN),
    ("acme/model%20", UNKNOWN),
    ("acme/model%0d%0aX:y", UNKNOWN),
    ("acme/model%zz", UNKNOWN),
    ("acme/%ef%bd%8dodel", UNKNOWN),
    ("acme/*", UNKNOWN),
    ("", UNKNOWN),
];

/// Deployments, which have a path and a name of their own.
const DEPLOYMENTS: [(&str, Want); 15] = [
    ("deploy/Own", Passed),
    ("deploy/Own?version=v1", Passed),
    ("deploy/other", FOREIGN),
    ("deploy/own", FOREIGN),
    ("deploy/acme/model", UNKNOWN),
    ("deploy/Own/other", UNKNOWN),
    ("deploy/Own:other", UNKNOWN),
    ("deploy/../acme/other", UNKNOWN),
    ("deploy%2FOwn", UNKNOWN),
    ("deploy%2Fother", UNKNOWN),
    ("Deploy/Own", UNKNOWN),
    ("DEPLOY/other", UNKNOWN),
    ("deploy_id:Own", UNKNOWN),
    ("deploy_id:other", UNKNOWN),
    ("deploy", UNKNOWN),
];

pub fn native() -> Vec<Row> {
    let under = |(rest, want): &(&str, Want)| row("POST", &format!("/v1/inference/{rest}"), "{}", *want);
    let mut rows: Vec<_> = MODELS.iter().chain(&DEPLOYMENTS).map(under).collect();
    let own = "/v1/inference/acme/model";
    rows.extend([
        row("POST", own, r#"{"model":"acme/model"}"#, Passed),
        row("POST", own, r#"{"model":"acme/other"}"#, BAD),
        row("POST", own, r#"{"models":["acme/model","acme/other"]}"#, BAD),
        row("POST", own, r#"{"mod\u0065l":"acme/other"}"#, BAD),
        row("POST", own, r#"{"Model":"acme/other"}"#, BAD),
        row("POST", own, r#"{"model_id":"acme/other"}"#, FOREIGN),
        row("POST", own, r#"{"model_id":"acme/model"}"#, Passed),
        row(
            "POST",
            "/v1/inference/acme/other",
            r#"{"model":"acme/model"}"#,
            BAD,
        ),
        row(
            "POST",
            "/v1/inference/acme/other",
            r#"{"models":["acme/model"]}"#,
            BAD,
        ),
        row(
            "POST",
            "/v1/inference/deploy/Own",
            r#"{"model":"deploy_id:Own"}"#,
            Passed,
        ),
        row(
            "POST",
            "/v1/inference/deploy/Own",
            r#"{"model":"acme/model"}"#,
            BAD,
        ),
        row("GET", own, "", Refused(405, "method_not_allowed")),
        row("PUT", own, "{}", Refused(405, "method_not_allowed")),
    ]);
    // What no client that joins paths would send: the whole request target in another form.
    for target in [
        "http://gate/v1/inference/acme/model",
        "v1/inference/acme/model",
        "*",
    ] {
        rows.push(row("POST", target, "{}", Head));
    }
    rows
}

/// Every route of inference with something odd in it, and a body that would do.
pub fn odd() -> Vec<Row> {
    const BODY: &str = r#"{"model":"acme/model"}"#;
    let mut rows = Vec::new();
    for route in [
        "/v1/openai/chat/completions",
        "/v1/embeddings",
        "/v1/images/generations",
        "/v1/audio/transcriptions",
        "/anthropic/v1/messages",
        "/v1/text-to-speech/luna",
        "/v1/scoped-jwt",
        "/v1/files",
    ] {
        let (front, last) = route.rsplit_once('/').unwrap();
        for target in [
            format!("/{route}"),
            format!("{front}//{last}"),
            format!("{front}/./{last}"),
            format!("{front}/%2e/{last}"),
            format!("{front}/x/../{last}"),
            format!("{front}/x/%2e%2e/{last}"),
            format!("{front}/x/%252e%252e/{last}"),
            format!("/v1/inference/acme/model/../../../..{route}"),
            format!(
                "/v1/inference/acme/model%2f..%2f..%2f..%2f..{}",
                route.replace('/', "%2f")
            ),
            format!("{front}\\{last}"),
            format!("{front}/{last}%00"),
            format!("{front}/{last};x"),
            format!("{front}/{last}/%2e"),
            format!("{front}/{last}%2f"),
            format!("/..{route}"),
        ] {
            rows.push(row("POST", &target, BODY, UNKNOWN));
        }
    }
    rows
}

/// What the upstream has besides inference, what is answered here, and what is in no table.
pub fn not_for_tokens() -> Vec<Row> {
    const BODY: &str = r#"{"model":"acme/model"}"#;
    let mut rows = Vec::new();
    for path in [
        "/v1/files",
        "/v1/files/f1/content",
        "/v1/openai/files",
        "/v1/batches",
        "/v1/openai/batches/b1/cancel",
        "/v1/videos",
        "/v1/openai/videos",
        "/v1/containers",
        "/v1/deployment_logs/query?deploy_id=X",
        "/v1/logs/query?deploy_id=X",
        "/v1/api-tokens",
        "/v1/api-tokens/t1",
        "/v1/me",
        "/v1/scoped-jwt",
        "/v1/scoped-jwt?jwtoken=jwt:a.b.c",
        "/v1/scoped-jwt?jwtoken=a.b.c&model=acme/model",
        "/deploy/llm",
        "/deploy/list/",
        "/deploy/X",
        "/payment/usage",
        "/payment/billing-portal",
        "/models/acme/model",
        "/models/acme/model/versions",
        "/lora-model/acme",
        "/v2/hardware",
        "/v1/realtime",
        "/v1/made-up",
        "/made-up",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let body = if method == "POST" { BODY } else { "" };
            rows.push(row(method, path, body, NO_ROUTE));
        }
    }
    rows
}
