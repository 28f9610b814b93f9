//! Limits over the wire: slots are exact, last as long as the answer, and come back whichever way it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::support::client::{Answer, Raw};
use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY, MANAGER};
use crate::support::h2::H2;
use crate::support::streams::Streams;
use crate::support::upstream::{Step, Upstream, answer, chunk, last_chunk, ok, stream_head};

const CHAT: &str = "/v1/openai/chat/completions";

fn body(model: &str, more: &str) -> String {
    format!("{{\"model\":\"{model}\",\"messages\":[]{more}}}")
}

/// Sends a call and leaves its answer to come.
async fn begin(gate: &Gateway, key: &str, body: &str) -> Raw {
    let mut raw = Raw::connect(gate.addr).await;
    let length = body.len();
    raw.send(format!(
        "POST {CHAT} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n{body}"
    ))
    .await;
    raw
}

/// A stream whose head has come.
async fn stream(gate: &Gateway, model: &str) -> (Raw, Answer) {
    let mut raw = begin(gate, KEY, &body(model, ",\"stream\":true")).await;
    let head = raw.head().await.expect("a head");
    assert_eq!(head.status, 200);
    (raw, head)
}

fn in_use(gate: &Gateway) -> f64 {
    gate.metric("tidegate_concurrency_in_use", "")
}

async fn all_given_back(gate: &Gateway) {
    eventually("every slot is given back", || in_use(gate) == 0.0).await;
}

#[tokio::test]
async fn two_hundred_streams_hold_every_slot_until_they_end() {
    let upstream = Streams::start(None, false).await;
    let gate = Gateway::with(upstream.addr, "[models.alias]\n\"old/model\" = \"acme/model\"\n").await;
    let mut streams = Vec::new();
    for n in 0..200 {
        let (raw, head) = stream(&gate, "acme/model").await;
        let policy = "\"concurrency\";q=200;qu=\"concurrent-requests\"";
        assert_eq!(head.header("ratelimit-policy"), Some(policy));
        let left = format!("\"concurrency\";r={}", 199 - n);
        assert_eq!(head.header("ratelimit"), Some(left.as_str()));
        streams.push(raw);
    }
    for one_too_many in ["acme/model", "acme/model:v2", "old/model"] {
        let refused = gate.post(CHAT, body(one_too_many, "")).await;
        assert_eq!((refused.status, refused.code()), (429, Some("rate_limited")));
        assert_eq!(refused.header("retry-after"), Some("1"));
        let value: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        let message = value["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("Rate limited") && message.contains("200"),
            "{message}"
        );
    }
    assert_eq!(gate.post(CHAT, body("acme/other", "")).await.status, 200);
    let mut other_account = begin(&gate, MANAGER, &body("acme/model", "")).await;
    assert_eq!(other_account.answer().await.unwrap().status, 200);
    assert_eq!(
        gate.metric("tidegate_concurrency_in_use", "model=\"acme/model\""),
        200.0
    );
    assert_eq!(
        gate.metric(
            "tidegate_concurrency_limit",
            "account=\"di:1\",model=\"acme/model\""
        ),
        200.0
    );
    assert_eq!(gate.metric("tidegate_rejections_total", "rate_limited"), 3.0);

    upstream.go();
    for mut stream in streams {
        while !stream.chunk().await.expect("a whole stream").is_empty() {}
    }
    all_given_back(&gate).await;
    assert_eq!(gate.post(CHAT, body("acme/model", "")).await.status, 200);
}

/// An upstream whose answers end as the field `end` of the call says.
async fn ending(hold: &Arc<Notify>) -> Upstream {
    let held = Arc::clone(hold);
    Upstream::start(move |request| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let stream = |end: Vec<Step>| {
            let mut steps = vec![stream_head(), chunk(b"data: {}\n\n")];
            steps.extend(end);
            steps
        };
        match body["end"].as_str().unwrap_or("whole") {
            "error" => answer("500 Oops", "", b"{}"),
            "not http" => vec![Step::Write(b"what\r\n\r\n".to_vec()), Step::Close],
            "switch" => vec![Step::Write(b"HTTP/1.1 101 No\r\n\r\n".to_vec())],
            "silent head" => vec![Step::Hang],
            "reset" => stream(vec![Step::Reset]),
            "cut" => stream(vec![Step::Close]),
            "silent" => stream(vec![Step::Hang]),
            "json" => ok("application/json", b"{}"),
            "whole" => stream(vec![chunk(b"data: [DONE]\n\n"), last_chunk()]),
            _ => stream(vec![
                Step::Wait(Arc::clone(&held)),
                chunk(b"data: [DONE]\n\n"),
                last_chunk(),
            ]),
        }
    })
    .await
}

#[tokio::test]
async fn whichever_way_an_answer_ends_its_slot_comes_back() {
    let hold = Arc::new(Notify::new());
    let upstream = ending(&hold).await;
    let settings = format!(
        "[limits]\nconcurrency_per_model = 1\n[upstream]\nbase_url = \"http://{}\"\nhead_timeout = \"300ms\"\nidle_timeout = \"300ms\"\n",
        upstream.addr
    );
    let gate = Gateway::with(upstream.addr, &settings).await;
    for end in [
        "error",
        "not http",
        "switch",
        "silent head",
        "reset",
        "cut",
        "silent",
    ] {
        let mut raw = begin(&gate, KEY, &body("m", &format!(",\"end\":\"{end}\""))).await;
        // An answer that breaks off at once may be gone before its head was written.
        if let Some(head) = raw.head().await {
            assert_ne!(head.status, 429, "{end}");
            raw.body(&head).await;
        }
        all_given_back(&gate).await;
    }
    // The client leaves: by closing, by a reset, before the head and after it.
    for (end, after_head, reset) in [
        ("silent head", false, false),
        ("silent head", false, true),
        ("hold", true, false),
        ("hold", true, true),
    ] {
        let mut raw = begin(&gate, KEY, &body("m", &format!(",\"end\":\"{end}\""))).await;
        if after_head {
            assert_eq!(raw.head().await.unwrap().status, 200);
        } else {
            eventually("the call holds its slot", || in_use(&gate) == 1.0).await;
        }
        if reset {
            raw.stream.set_zero_linger().unwrap();
        }
        drop(raw);
        all_given_back(&gate).await;
    }
    let mut raw = begin(&gate, KEY, &body("m", ",\"end\":\"hold\"")).await;
    let head = raw.head().await.unwrap();
    assert_eq!(in_use(&gate), 1.0);
    hold.notify_one();
    raw.body(&head).await.expect("a whole stream");
    all_given_back(&gate).await;
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_gives_its_slot_back() {
    let upstream = Streams::start(None, false).await;
    let gate = Gateway::with(upstream.addr, "[limits]\nconcurrency_per_model = 3\n").await;
    let mut client = H2::connect(gate.addr).await;
    for round in 0..20_u32 {
        for n in 0..3 {
            client
                .open(1 + 2 * (round * 3 + n), &body("m", ",\"stream\":true"))
                .await;
        }
        eventually("three slots are taken", || in_use(&gate) == 3.0).await;
        for n in 0..3 {
            client.reset(1 + 2 * (round * 3 + n)).await;
        }
        all_given_back(&gate).await;
    }
    eventually("no stream runs upstream", || upstream.busy() == 0).await;
}

/// How many calls the random test makes; more on request.
fn random_ends() -> usize {
    let asked = std::env::var("TIDEGATE_TEST_ENDS").ok();
    asked.map_or(3000, |count| count.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_many_random_ends_nothing_is_in_use_and_the_limit_is_exact() {
    const LIMIT: usize = 20;
    const ENDS: [&str; 6] = ["error", "not http", "reset", "cut", "json", "whole"];
    let hold = Arc::new(Notify::new());
    let upstream = ending(&hold).await;
    let settings = format!("[limits]\nconcurrency_per_model = {LIMIT}\nmax_wait = \"50ms\"\n");
    let gate = Arc::new(Gateway::with(upstream.addr, &settings).await);
    let next = Arc::new(AtomicUsize::new(0));
    let total = random_ends();
    let clients = (0..40).map(|client| {
        let (gate, next) = (Arc::clone(&gate), Arc::clone(&next));
        tokio::spawn(async move {
            let mut seed = 0x9e37_79b9_usize + client;
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= total {
                    return;
                }
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let end = ENDS[(seed >> 20) % ENDS.len()];
                let mut raw = begin(&gate, KEY, &body("m", &format!(",\"end\":\"{end}\""))).await;
                leave(&mut raw, seed >> 33).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    all_given_back(&gate).await;
    upstream.idle().await;

    let mut streams = Vec::new();
    for n in 0..=LIMIT {
        let mut raw = begin(&gate, KEY, &body("m", ",\"end\":\"hold\"")).await;
        let head = raw.head().await.unwrap();
        assert_eq!(head.status, if n < LIMIT { 200 } else { 429 });
        streams.push(raw);
    }
}

/// Ends a call from the client's side, or waits for its end, as `dice` says.
async fn leave(raw: &mut Raw, dice: usize) {
    match dice % 5 {
        0 => {}
        1 => raw.stream.set_zero_linger().unwrap(),
        2 => {
            raw.head().await;
        }
        3 => {
            tokio::time::sleep(Duration::from_micros((dice % 3000) as u64)).await;
            raw.stream.set_zero_linger().unwrap();
        }
        _ => {
            if let Some(head) = raw.head().await {
                raw.body(&head).await;
            }
        }
    }
}

#[tokio::test]
async fn a_call_waits_its_turn_and_is_told_when_it_waited_in_vain() {
    let upstream = Streams::start(None, false).await;
    let settings = "[limits]\nconcurrency_per_model = 1\nmax_wait = \"400ms\"\n";
    let gate = Gateway::with(upstream.addr, settings).await;
    let (raw, _) = stream(&gate, "m").await;
    let refused = gate.post(CHAT, body("m", "")).await;
    assert_eq!(refused.code(), Some("rate_limited"));
    assert!(refused.text().contains("ms of waiting"), "{}", refused.text());
    let mut waits = begin(&gate, KEY, &body("m", "")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(raw);
    assert_eq!(waits.answer().await.unwrap().status, 200);
    all_given_back(&gate).await;
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_is_gone_from_it() {
    let upstream = Streams::start(None, false).await;
    let settings = "[limits]\nconcurrency_per_model = 1\nmax_wait = \"20s\"\n";
    let gate = Gateway::with(upstream.addr, settings).await;
    let (raw, _) = stream(&gate, "m").await;
    let waiting = begin(&gate, KEY, &body("m", "")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(waiting);
    eventually("the one that left is written down", || {
        gate.metric("tidegate_requests_total", "client_gone") == 1.0
    })
    .await;
    assert_eq!(upstream.calls().len(), 1, "it must not have gone upstream");
    drop(raw);
    all_given_back(&gate).await;
}

#[tokio::test]
async fn requests_of_a_minute_are_counted_as_they_come() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let settings = "[limits]\nconcurrency_per_model = 1\nrequests_per_minute = 3\n\
                    [[limits.override]]\nmodel = \"free/*\"\nrequests_per_minute = 0\n";
    let gate = Gateway::with(upstream.addr, settings).await;
    for _ in 0..3 {
        assert_eq!(gate.post(CHAT, body("m", "")).await.status, 200);
    }
    let refused = gate.post(CHAT, body("m", "")).await;
    assert_eq!((refused.status, refused.code()), (429, Some("too_many_requests")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert!(
        refused.text().contains("Rate limited: 3 requests a minute"),
        "{}",
        refused.text()
    );
    for _ in 0..10 {
        assert_eq!(gate.post(CHAT, body("free/model", "")).await.status, 200);
    }
    assert_eq!(upstream.requests().len(), 13);
}

#[tokio::test]
async fn tokens_of_a_minute_are_what_answers_report_streams_too() {
    let upstream = Upstream::start(|request| {
        let body = String::from_utf8_lossy(&request.body);
        if body.contains("\"stream\":true") {
            let usage =
                b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":40,\"completion_tokens\":30}}\n\n";
            return vec![
                stream_head(),
                chunk(usage),
                chunk(b"data: [DONE]\n\n"),
                last_chunk(),
            ];
        }
        ok(
            "application/json",
            b"{\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":11}}",
        )
    })
    .await;
    let gate = Gateway::with(upstream.addr, "[limits]\ntokens_per_minute = 100\n").await;
    assert_eq!(gate.post(CHAT, body("m", ",\"stream\":true")).await.status, 200);
    assert_eq!(gate.post(CHAT, body("m", "")).await.status, 200);
    let refused = gate.post(CHAT, body("m", "")).await;
    assert_eq!((refused.status, refused.code()), (429, Some("too_many_tokens")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((55..=60).contains(&wait), "{wait}");
    assert!(refused.text().contains("101 were used"), "{}", refused.text());
    assert_eq!(gate.post(CHAT, body("other/model", "")).await.status, 200);
    assert_eq!(gate.metric("tidegate_tokens_total", "direction=\"input\""), 80.0);
    assert_eq!(gate.metric("tidegate_tokens_total", "direction=\"output\""), 52.0);
    assert_eq!(in_use(&gate), 0.0);
}

#[tokio::test]
async fn a_caller_is_told_its_limits() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let settings =
        "[limits]\ntokens_per_minute = 1000\n[[limits.override]]\naccount = \"di:2\"\nconcurrency = 7\n";
    let gate = Gateway::with(upstream.addr, settings).await;
    let mine = gate.call("GET", "/v1/me/rate_limit", "", b"").await;
    assert_eq!(mine.text(), r#"{"rate_limit":200,"tpm_rate_limit":1000}"#);
    let key = format!("authorization: Bearer {MANAGER}\r\n");
    let other = gate.bare("GET", "/v1/me/rate_limit", &key, b"").await;
    assert_eq!(other.text(), r#"{"rate_limit":7,"tpm_rate_limit":1000}"#);
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn a_call_that_was_let_in_and_failed_upstream_tells_of_its_limit() {
    let upstream = Upstream::start(|_| vec![Step::Reset]).await;
    let gateway = Gateway::start(upstream.addr).await;
    let failed = gateway
        .post("/v1/chat/completions", r#"{"model":"acme/model"}"#)
        .await;
    assert_eq!((failed.status, failed.code()), (502, Some("upstream_invalid")));
    assert_eq!(failed.header("ratelimit"), Some("\"concurrency\";r=199"));
    let refused = gateway.post("/v1/chat/completions", "{}").await;
    assert_eq!((refused.status, refused.header("ratelimit")), (400, None));
}
