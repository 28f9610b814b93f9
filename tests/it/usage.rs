//! What answers say of their own use is read, whoever says it, and a client sees of it what it would have seen without
//! the gate.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tidegate::dialect::Tap;

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY};
use crate::support::process::Process;
use crate::support::upstream::{Recorded, Step, Upstream, answer, chunk, last_chunk, ok, stream_head};

const CHAT: &str = "/v1/chat/completions";

fn recorded(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/usage");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The rows of the table: a file, and what is to be seen in it.
fn table() -> Vec<(String, String)> {
    let text = String::from_utf8(recorded("table.txt")).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let (name, want) = row.split_once(' ').unwrap();
        (name.to_owned(), want.trim().to_owned())
    })
    .collect()
}

/// What a tap sees, in the words of the table.
fn seen<'a>(name: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let content_type = match name.rsplit('.').next().unwrap() {
        "sse" => "text/event-stream",
        "ndjson" => "application/x-ndjson",
        _ => "application/json",
    };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    let mut tap = Tap::of(&headers).unwrap();
    pieces.into_iter().for_each(|piece| tap.feed(piece));
    tap.end();
    let mut seen = tap.usage().map_or("none".to_owned(), |usage| {
        let seconds = usage.duration.map(|time| time.as_secs_f64().to_string());
        format!(
            "{} {} {} {} {} {} {}",
            usage.input,
            usage.output,
            usage.cached,
            usage.cache_write,
            usage.reasoning,
            seconds.unwrap_or("-".to_owned()),
            usage.cost.map_or("-".to_owned(), |cost| cost.to_string()),
        )
    });
    if tap.failed() {
        seen += " failed";
    } else if !tap.finished() {
        seen += " cut";
    }
    seen
}

#[test]
fn every_recorded_answer_says_what_the_table_has() {
    let table = table();
    assert!(table.len() >= 60);
    for (name, want) in &table {
        let bytes = recorded(name);
        assert_eq!(&seen(name, [bytes.as_slice()]), want, "{name}");
        assert_eq!(&seen(name, bytes.chunks(1)), want, "{name}, byte by byte");
        for cut in 0..bytes.len().min(700) {
            let (one, two) = bytes.split_at(cut);
            assert_eq!(&seen(name, [one, two]), want, "{name}, cut at {cut}");
        }
    }
}

#[test]
fn every_recorded_answer_is_in_the_table() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/usage");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name());
    let mut files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    files.retain(|name| name != "table.txt");
    files.sort();
    let mut listed: Vec<String> = table().into_iter().map(|(name, _)| name).collect();
    listed.sort();
    assert_eq!(files, listed);
}

/// What an upstream sends by whether it was asked for usage, and how it shows it.
fn stream(request: &Recorded, by_default: bool, shape: &str) -> String {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let shows = body["stream_options"]["include_usage"]
        .as_bool()
        .unwrap_or(by_default);
    let usage = r#"{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"estimated_cost":1e-06}"#;
    let first =
        r#"{"id":"x","choices":[{"index":0,"delta":{"content":"the \"usage\""},"finish_reason":null}]"#;
    let last = r#"{"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#;
    let frames = match (shows, shape) {
        (false, _) => vec![format!("{first}}}"), format!("{last}}}")],
        (true, "finish") => vec![
            format!(r#"{first},"usage":null}}"#),
            format!(r#"{last},"usage":{usage}}}"#),
        ],
        (true, "continuous") => vec![
            format!(r#"{first},"usage":{{"prompt_tokens":3,"completion_tokens":1}}}}"#),
            format!(r#"{last},"usage":{usage}}}"#),
        ],
        (true, _) => vec![
            format!("{first}}}"),
            format!("{last}}}"),
            format!(r#"{{"id":"x","choices":[],"usage":{usage}}}"#),
        ],
    };
    let frames = frames.iter().map(|frame| format!("data: {frame}\n\n"));
    format!(": hello\n\n{}data: [DONE]\n\n", frames.collect::<String>())
}

fn piecewise(text: &str, size: usize) -> Vec<Step> {
    let pieces = text.as_bytes().chunks(size).map(chunk);
    std::iter::once(stream_head())
        .chain(pieces)
        .chain([last_chunk()])
        .collect()
}

fn asking(options: &Value) -> String {
    let mut body = json!({"model": "acme/model", "stream": true});
    if *options != json!("absent") {
        body["stream_options"] = options.clone();
    }
    body.to_string()
}

#[tokio::test]
async fn a_client_sees_of_usage_what_it_would_see_without_the_gate() {
    let wishes = [
        json!("absent"),
        json!(null),
        json!({}),
        json!({"include_usage": null}),
        json!({"include_usage": false}),
        json!({"include_usage": true}),
    ];
    for by_default in [true, false] {
        for shape in ["finish", "separate", "continuous"] {
            for size in [1, 1000] {
                let upstream =
                    Upstream::start(move |request| piecewise(&stream(request, by_default, shape), size))
                        .await;
                let settings = format!(
                    "[upstream]\nbase_url = \"http://{}\"\nusage_by_default = {by_default}\n",
                    upstream.addr
                );
                let gateway = Gateway::with(upstream.addr, &settings).await;
                for wish in &wishes {
                    let asked = asking(wish);
                    let got = gateway.post(CHAT, &asked).await.text();
                    let sent = Recorded {
                        head: String::new(),
                        body: asked.into_bytes(),
                    };
                    let without_the_gate = stream(&sent, by_default, shape);
                    assert_eq!(got, without_the_gate, "{by_default} {shape} {size} {wish}");
                }
                let all_asked = upstream.requests().into_iter().all(|request| {
                    let body: Value = serde_json::from_slice(&request.body).unwrap();
                    body["stream_options"]["include_usage"]
                        .as_bool()
                        .unwrap_or(by_default)
                });
                assert!(all_asked, "a stream went without usage");
            }
        }
    }
}

/// The access-log lines of calls, by their request id.
async fn logged(process: &Process, count: usize) -> BTreeMap<String, Value> {
    let lines = || {
        let lines = process.log().into_iter();
        let lines = lines.filter(|line| line["target"] == "tidegate::access");
        lines
            .map(|line| (line["request_id"].as_str().unwrap().to_owned(), line))
            .collect()
    };
    let mut calls: BTreeMap<String, Value> = lines();
    eventually("every call is logged", || {
        calls = lines();
        calls.len() >= count
    })
    .await;
    calls
}

fn post(id: &str, target: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\nx-request-id: {id}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// What the upstream says to a call with this id.
fn scripted(id: &str) -> Vec<Step> {
    let usage = br#"{"usage":{"prompt_tokens":3,"completion_tokens":2,"estimated_cost":2.68e-05}}"#;
    match id {
        "json" | "counting" => ok("application/json", usage),
        "gzip" => answer(
            "200 OK",
            "content-type: application/json\r\ncontent-encoding: gzip\r\n",
            &gzip(usage),
        ),
        "silent" => ok("application/json", b"{\"choices\":[]}"),
        "speech" => ok("audio/wav", b"RIFF"),
        "refused" => answer("400 Bad Request", "content-type: application/json\r\n", usage),
        "strange" => ok(
            "application/json",
            br#"{"usage":{"prompt_tokens":3,"completion_tokens":2,"estimated_cost":-1,"cost":"0.5"}}"#,
        ),
        _ => vec![
            stream_head(),
            chunk(b"data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n"),
            Step::Hang,
        ],
    }
}

#[tokio::test]
async fn the_log_has_what_each_call_used_or_that_nobody_said_it() {
    let upstream = Upstream::start(|request| scripted(request.header("x-request-id").unwrap())).await;
    let process = Process::start(upstream.addr);
    let plain = r#"{"model":"acme/model"}"#;
    let stream = r#"{"model":"acme/model","stream":true}"#;
    let count_tokens = "/anthropic/v1/messages/count_tokens";
    let rows = [
        ("json", CHAT, plain, json!([3, 2, "0.0000268", null])),
        ("gzip", CHAT, plain, json!([3, 2, "0.0000268", null])),
        ("silent", CHAT, plain, json!([null, null, null, true])),
        (
            "speech",
            "/v1/audio/speech",
            plain,
            json!([null, null, null, true]),
        ),
        ("refused", CHAT, plain, json!([null, null, null, null])),
        ("counting", count_tokens, plain, json!([null, null, null, null])),
        ("strange", CHAT, plain, json!([3, 2, "0.5", null])),
        ("left", CHAT, stream, json!([3, 1, null, null])),
    ];
    for (id, target, body, _) in &rows {
        let mut raw = Raw::connect(process.addr).await;
        raw.send(post(id, target, body)).await;
        if *id == "left" {
            raw.head().await.unwrap();
            assert!(raw.chunk().await.is_some());
        } else {
            raw.answer().await.unwrap();
        }
    }
    let calls = logged(&process, rows.len()).await;
    for (id, _, _, want) in rows {
        let line = &calls[id];
        let found = json!([
            line["input_tokens"],
            line["output_tokens"],
            line["cost"],
            line["unmetered"]
        ]);
        assert_eq!(found, want, "{line}");
        assert_eq!(
            line["cost_refused"],
            if id == "strange" { json!(true) } else { json!(null) }
        );
    }
}

#[tokio::test]
async fn an_encoded_answer_passes_byte_for_byte_though_it_is_metered() {
    let packed = gzip(&recorded("deepinfra-stream-separate.sse"));
    let sent = packed.clone();
    let upstream = Upstream::start(move |_| {
        answer(
            "200 OK",
            "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n",
            &sent,
        )
    })
    .await;
    let gateway = Gateway::start(upstream.addr).await;
    let got = gateway.post(CHAT, asking(&json!({"include_usage": false}))).await;
    assert_eq!(got.body, packed);
    assert_eq!(
        got.header("content-length"),
        Some(packed.len().to_string().as_str())
    );
    let completed = || gateway.metric("tidegate_requests_total", r#"outcome="completed""#) == 1.0;
    eventually("counted as whole", completed).await;
}

#[tokio::test]
async fn a_stripped_stream_of_known_length_is_whole_without_it_and_keeps_its_trailers() {
    let text =
        "data: {\"choices\":[{}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";
    let half = "data: {\"choices\":[{}],\"usage\":1}\n";
    let upstream = Upstream::start(move |request| match request.header("x-request-id") {
        Some("trailers") => vec![
            Step::Write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntrailer: x-checksum\r\n\
                  transfer-encoding: chunked\r\n\r\n"
                    .to_vec(),
            ),
            chunk(half.as_bytes()),
            Step::Write(b"0\r\nx-checksum: 7\r\n\r\n".to_vec()),
        ],
        _ => ok("text/event-stream", text.as_bytes()),
    })
    .await;
    let gateway = Gateway::start(upstream.addr).await;
    let got = gateway.post(CHAT, asking(&json!("absent"))).await;
    assert_eq!(got.text(), "data: {\"choices\":[{}]}\n\ndata: [DONE]\n\n");
    assert_eq!(got.header("content-length"), None);

    let mut raw = Raw::connect(gateway.addr).await;
    let body = asking(&json!("absent"));
    let request = post("trailers", CHAT, &body).replacen("\r\n", "\r\nte: trailers\r\n", 1);
    raw.send(request).await;
    let head = raw.head().await.unwrap();
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    let mut rest = String::new();
    while !rest.ends_with("\r\n\r\n") {
        rest += &String::from_utf8(raw.piece().await.expect("the end")).unwrap();
    }
    let want = "data: {\"choices\":[{}]}\n";
    assert_eq!(
        rest,
        format!("{:x}\r\n{want}\r\n0\r\nx-checksum: 7\r\n\r\n", want.len())
    );
}

#[tokio::test]
async fn what_was_held_of_a_stream_that_breaks_off_comes_before_the_break() {
    let upstream = Upstream::start(|request| {
        let end = match request.header("x-request-id") {
            Some("silent") => Step::Hang,
            _ => Step::Reset,
        };
        vec![
            stream_head(),
            chunk(b"data: {\"choices\":[{}]}\n\ndata: half"),
            end,
        ]
    })
    .await;
    let settings = format!(
        "[upstream]\nbase_url = \"http://{}\"\nidle_timeout = \"300ms\"\n",
        upstream.addr
    );
    let gateway = Gateway::with(upstream.addr, &settings).await;
    for id in ["silent", "broken"] {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(post(id, CHAT, &asking(&json!("absent")))).await;
        let mut seen = Vec::new();
        while let Some(piece) = raw.piece().await {
            seen.extend(piece);
        }
        let seen = String::from_utf8(seen).unwrap();
        assert!(seen.contains("data: half"), "{id}: {seen}");
        assert!(!seen.ends_with("0\r\n\r\n"), "{id}: the break is told");
    }
}
