//! What passes: bodies byte for byte in both directions, headers but for those that the gate owns, and each piece
//! as soon as it is there.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::sync::Notify;

use crate::support::client::Raw;
use crate::support::gateway::{Gateway, KEY};
use crate::support::upstream::{Recorded, Step, Upstream, answer, chunk, last_chunk, ok, stream_head};

const JSON: &str = "content-type: application/json\r\n";
const FORM: &str = "content-type: multipart/form-data; boundary=BoUnDaRy\r\n";
const CHAT: &str = "{ \"model\" : \"acme/model\",\t\"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9\u{1f30a}\"}], \"x\":1e2 }\n";

fn form(field: &str) -> String {
    format!(
        "--BoUnDaRy\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"a.wav\"\r\n\
         Content-Type: audio/wav\r\n\r\n\0\r\n--BoUnDar\r\n\u{ff}\r\n\
         --BoUnDaRy\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nacme/model\r\n--BoUnDaRy--\r\n"
    )
}

/// Method, target, content type and body of a good call on every route that goes upstream.
fn routes() -> Vec<(&'static str, String, &'static str, String)> {
    let mut rows = Vec::new();
    for prefix in ["/v1/openai", "/v1"] {
        for (route, body) in [
            ("chat/completions", CHAT),
            ("completions", r#"{"model":"acme/model","prompt":"a"}"#),
            ("embeddings", r#"{"model":"acme/model","input":["a","b"]}"#),
            ("images/generations", r#"{"model":"acme/model","prompt":"a"}"#),
            ("audio/speech", r#"{"model":"acme/model","input":"a"}"#),
            ("responses", r#"{"model":"acme/model","input":"a"}"#),
        ] {
            rows.push(("POST", format!("{prefix}/{route}"), JSON, body.to_owned()));
        }
        for (route, field) in [
            ("images/edits", "image"),
            ("images/variations", "image"),
            ("audio/transcriptions", "file"),
            ("audio/translations", "file"),
        ] {
            rows.push(("POST", format!("{prefix}/{route}"), FORM, form(field)));
        }
        rows.push(("GET", format!("{prefix}/models"), "", String::new()));
    }
    let input = r#"{"input":"a","stream":false}"#.to_owned();
    rows.push(("POST", "/v1/inference/acme/model".into(), JSON, input.clone()));
    rows.push((
        "POST",
        "/v1/inference/acme/model?version=abc".into(),
        JSON,
        input.clone(),
    ));
    rows.push(("POST", "/v1/inference/deploy/XyZ1".into(), JSON, input));
    rows.push(("POST", "/v1/inference/acme/model".into(), FORM, form("audio")));
    let messages = r#"{"model":"acme/model","max_tokens":5,"messages":[]}"#.to_owned();
    rows.push(("POST", "/anthropic/v1/messages".into(), JSON, messages.clone()));
    rows.push((
        "POST",
        "/anthropic/v1/messages/count_tokens".into(),
        JSON,
        messages,
    ));
    rows.push((
        "POST",
        "/v1/text-to-speech/luna".into(),
        JSON,
        r#"{"text":"a"}"#.into(),
    ));
    rows.push((
        "POST",
        "/v1/text-to-speech/luna/stream?output_format=wav".into(),
        JSON,
        r#"{"text":"a","model_id":"acme/model"}"#.into(),
    ));
    rows.push(("GET", "/models/list".into(), "", String::new()));
    rows
}

/// An answer of each kind, with what it is on the wire and the body that it means.
fn answers() -> Vec<(&'static str, Vec<Step>, Vec<u8>)> {
    let sse = "data: {\"a\":\"\u{1f30a}\"}\r\n\r\n: keep-alive\n\ndata:[DONE]\n\n".as_bytes();
    let binary: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let pieces = sse.iter().map(|byte| chunk(&[*byte]));
    vec![
        (
            "JSON",
            ok("application/json; charset=utf-8", b"{\"a\" :1 }\n"),
            b"{\"a\" :1 }\n".to_vec(),
        ),
        (
            "an event stream in 1-byte chunks",
            [stream_head()]
                .into_iter()
                .chain(pieces)
                .chain([last_chunk()])
                .collect(),
            sse.to_vec(),
        ),
        ("binary", ok("audio/wav", &binary), binary.clone()),
        (
            "nothing",
            answer("204 No Content", "", b"")
                .into_iter()
                .map(no_length)
                .collect(),
            Vec::new(),
        ),
        (
            "an error",
            answer("422 Unprocessable Entity", JSON, b"{\"detail\":[]}"),
            b"{\"detail\":[]}".to_vec(),
        ),
        (
            "until close",
            vec![
                Step::Write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil".to_vec()),
                Step::Close,
            ],
            b"until".to_vec(),
        ),
    ]
}

fn no_length(step: Step) -> Step {
    match step {
        Step::Write(_) => Step::Write(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        other => other,
    }
}

#[tokio::test]
async fn every_route_passes_every_kind_of_body_byte_for_byte_both_ways() {
    for kind in 0..answers().len() {
        let upstream = Upstream::start(move |_| answers().swap_remove(kind).1).await;
        let gateway = Gateway::start(upstream.addr).await;
        let (name, _, expected) = answers().swap_remove(kind);
        for (method, target, content_type, body) in routes() {
            let answer = gateway.call(method, &target, content_type, body.as_bytes()).await;
            let seen = upstream.requests().pop().unwrap();
            assert_eq!(seen.target(), target, "{name}");
            assert_eq!(seen.line(), format!("{method} {target} HTTP/1.1"));
            assert!(
                seen.body == body.as_bytes(),
                "{name}: {target}: {:?}",
                String::from_utf8_lossy(&seen.body)
            );
            assert!(answer.body == expected, "{name}: {target}: {:?}", answer.text());
            assert_eq!(answer.code(), None, "{name}: {target}");
        }
    }
}

/// An event stream of a few frames with multi-byte text.
fn event_stream() -> impl Strategy<Value = Vec<u8>> {
    let text = prop::collection::vec(
        any::<char>().prop_filter("no control", |c| !c.is_control()),
        0..20,
    );
    let end = prop::sample::select(vec!["\n\n", "\r\n\r\n", "\r\r"]);
    prop::collection::vec((text, end), 1..5).prop_map(|frames| {
        let mut all: String = frames
            .into_iter()
            .map(|(text, end)| {
                format!(
                    "data: {{\"text\":{:?}}}{end}",
                    text.into_iter().collect::<String>()
                )
            })
            .collect();
        all.push_str("data: [DONE]\n\n");
        all.into_bytes()
    })
}

#[test]
fn any_stream_cut_anywhere_reaches_the_client_byte_for_byte() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The request's body says how the answer is to be cut: first its length in each chunk, then its bytes.
    let script = |request: &Recorded| {
        let value: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let bytes: Vec<u8> = serde_json::from_value(value["bytes"].clone()).unwrap();
        let cuts: Vec<usize> = serde_json::from_value(value["cuts"].clone()).unwrap();
        let mut rest = bytes.as_slice();
        let mut steps = vec![stream_head()];
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (now, then) = rest.split_at(cut.min(rest.len()));
            rest = then;
            if !now.is_empty() {
                steps.push(chunk(now));
            }
        }
        steps.push(last_chunk());
        steps
    };
    let (upstream, gateway) = runtime.block_on(async {
        let upstream = Upstream::start(script).await;
        let gateway = Gateway::start(upstream.addr).await;
        (upstream, gateway)
    });
    let cuts = prop::collection::vec(1_usize..9, 0..120);
    let mut runner = TestRunner::new(Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&(event_stream(), cuts), |(bytes, cuts)| {
            let body =
                serde_json::json!({"model": "acme/model", "stream": true, "bytes": bytes, "cuts": cuts});
            let answer = runtime.block_on(gateway.post("/v1/chat/completions", body.to_string()));
            prop_assert_eq!(&answer.body, &bytes);
            Ok(())
        })
        .unwrap();
    drop(gateway);
    drop(upstream);
}

#[tokio::test]
async fn a_frame_reaches_the_client_before_the_next_one_is_sent() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let upstream = Upstream::start(move |_| {
        let wait = || Step::Wait(Arc::clone(&wait));
        vec![
            stream_head(),
            wait(),
            chunk(b"data: 1\n\n"),
            wait(),
            chunk(b"data: 2\n\n"),
            wait(),
            chunk(b"data: [DONE]\n\n"),
            last_chunk(),
        ]
    })
    .await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(chat()).await;
    let head = raw.head().await.unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    for frame in ["data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n", ""] {
        go.notify_one();
        assert_eq!(raw.chunk().await.unwrap(), frame.as_bytes());
    }
}

/// A chat completion as it stands on the wire.
fn chat() -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\n{JSON}content-length: {}\r\n\r\n{CHAT}",
        CHAT.len()
    )
}
