//! Running usage that the gate asked for is not seen by a client that did not: it gets the simulated upstream's own
//! bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tidegate::dialect::{Asked, Call, ReadLimits, Route, Strip, Tap};
use tidegate::simulate::{Knobs, Simulator};
use tokio::net::TcpListener;

use crate::support::client::Raw;

/// Ways to write a stream: headers for the simulator.
const WAYS: [&str; 4] = [
    "",
    "x-sim-line-end: crlf\r\nx-sim-no-space: true\r\n",
    "x-sim-multi-line: true\r\nx-sim-comment-every: 5\r\n",
    "x-sim-line-end: cr\r\nx-sim-null-every: 5\r\n",
];

/// What the simulator answers, with the same id in every stream.
async fn answer(addr: SocketAddr, path: &str, knobs: &str, body: &[u8]) -> String {
    let mut raw = Raw::connect(addr).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer key\r\nx-sim-fixed: true\r\nx-sim-tokens: 4\r\n\
         {knobs}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    raw.send([head.as_bytes(), body].concat()).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let Some(start) = text.find("cmpl-").map(|start| start + 5) else {
        panic!("no id in {text}");
    };
    text.replace(&text[start..start + 24], "ID")
}

/// What the gate makes of a body for an upstream that offers running usage, and what it asked for.
async fn asking(path: &str, body: &Value, by_default: bool) -> (Asked, Bytes) {
    let request = Request::post(path).body(Full::new(Bytes::from(body.to_string())));
    let (parts, stream) = request.unwrap().into_parts();
    let route = Route::of(&parts.method, &parts.uri).unwrap();
    let limits = ReadLimits {
        max_json: 1 << 20,
        max_multipart: 0,
        idle: Duration::from_secs(30),
    };
    let stream = stream.map_err(|never: Infallible| match never {});
    let mut call = Call::read(route, parts, stream, limits).await.unwrap();
    let asked = call.ask_for_usage(by_default, true);
    let (_, goes) = call.into_parts().await.unwrap();
    (asked, goes.collect().await.unwrap().to_bytes())
}

fn headers() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))])
}

/// What a client gets of an answer, whose bytes come in pieces of this size.
fn passed(answer: &str, asked: Asked, size: usize) -> String {
    let Some(mut strip) = Strip::of(asked, &headers()) else {
        return answer.to_owned();
    };
    let mut out = Vec::new();
    for piece in answer.as_bytes().chunks(size) {
        out.extend_from_slice(&strip.feed(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&strip.end());
    String::from_utf8(out).unwrap()
}

/// Every running usage is seen, wherever the stream is cut: as many tokens as events came whole, or one more.
fn is_metered_everywhere(answer: &str) {
    for cut in 0..answer.len() {
        let mut tap = Tap::of(&headers()).unwrap();
        tap.feed(&answer.as_bytes()[..cut]);
        let used = tap.usage().map_or(0, |usage| usage.output);
        let whole = answer[..cut].matches("\"completion_tokens\"").count();
        let sent = u64::try_from(whole).unwrap();
        assert!(
            used == sent.min(4) || used + 1 == sent.min(4),
            "{used} of {sent} at {cut}"
        );
        assert!(tap.content_events() >= used, "cut at {cut}");
    }
}

fn bodies() -> Vec<Value> {
    let choices = [json!("absent"), json!(null), json!(false), json!(true)];
    let mut bodies = Vec::new();
    for include in &choices {
        for continuous in &choices {
            for n in [1, 2] {
                let mut options = json!({});
                for (key, value) in [("include_usage", include), ("continuous_usage_stats", continuous)] {
                    if *value != json!("absent") {
                        options[key] = value.clone();
                    }
                }
                let chat = json!([{"role": "user", "content": "x"}]);
                bodies.push(json!({
                    "model": "a/m", "stream": true, "n": n, "messages": chat, "prompt": "x", "stream_options": options,
                }));
            }
        }
    }
    bodies.push(json!({"model": "a/m", "stream": true, "messages": [{"content": "x"}], "prompt": "x"}));
    bodies
}

#[tokio::test]
async fn a_client_gets_the_bytes_that_it_would_get_without_running_usage() {
    for by_default in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let simulator = Simulator::new(Knobs {
            usage: by_default,
            ..Knobs::default()
        });
        let serving = tokio::spawn(Arc::clone(&simulator).serve(listener, std::future::pending()));
        for body in bodies() {
            for chunk in ["finish", "separate"] {
                for (path, way) in ["/v1/chat/completions", "/v1/completions"]
                    .into_iter()
                    .flat_map(|path| WAYS.map(|way| (path, way)))
                {
                    let knobs = format!("x-sim-usage-chunk: {chunk}\r\n{way}");
                    let without = answer(addr, path, &knobs, body.to_string().as_bytes()).await;
                    let (asked, goes) = asking(path, &body, by_default).await;
                    let with = answer(addr, path, &knobs, &goes).await;
                    for size in [1, 7, 100_000] {
                        assert_eq!(passed(&with, asked, size), without, "{by_default} {knobs} {body}");
                    }
                    if way.is_empty() && body["n"] == 1 {
                        is_metered_everywhere(&with);
                    }
                }
            }
        }
        serving.abort();
    }
}
