//! What the gate counts is what the upstream counted, to the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tidegate::simulate::{Knobs, Simulator};
use tokio::net::TcpListener;

use crate::support::client::Raw;
use crate::support::gateway::{Gateway, KEY};

/// How many calls the mix makes; more on request.
fn calls() -> usize {
    let asked = std::env::var("TIDEGATE_TEST_CALLS").ok();
    asked.map_or(600, |count| count.parse().expect("a number"))
}

/// Some call of a mix over every surface that reports tokens: path, body and the headers that turn the simulator's
/// knobs.
fn some_call(dice: usize) -> (&'static str, String, String) {
    let stream = dice & 1 == 1;
    let options = match dice >> 1 & 3 {
        0 => json!(null),
        1 => json!({"include_usage": true}),
        2 => json!({"include_usage": false}),
        _ => json!({"include_usage": true, "continuous_usage_stats": true}),
    };
    let tokens = 1 + (dice >> 3) % 20;
    let words = "word ".repeat(1 + (dice >> 8) % 30);
    let chat = json!([{"role": "user", "content": words}]);
    let llama = "meta-llama/Meta-Llama-3.1-8B-Instruct";
    let (path, mut body) = match (dice >> 13) % 7 {
        0 => (
            "/v1/openai/chat/completions",
            json!({"messages": chat, "max_tokens": tokens}),
        ),
        1 => ("/v1/completions", json!({"prompt": words, "max_tokens": tokens})),
        2 => (
            "/v1/responses",
            json!({"input": words, "max_output_tokens": tokens}),
        ),
        3 => (
            "/anthropic/v1/messages",
            json!({"messages": chat, "max_tokens": tokens}),
        ),
        4 => ("/v1/openai/embeddings", json!({"input": words})),
        5 => (
            "/v1/inference/meta-llama/Meta-Llama-3.1-8B-Instruct",
            json!({"input": words, "max_new_tokens": tokens}),
        ),
        _ => ("/v1/inference/BAAI/bge-m3", json!({"inputs": [words]})),
    };
    if !path.starts_with("/v1/inference/") {
        body["model"] = json!(if path.ends_with("embeddings") {
            "BAAI/bge-m3"
        } else {
            llama
        });
    }
    if stream && !path.ends_with("embeddings") && !path.ends_with("bge-m3") {
        body["stream"] = json!(true);
        if path.ends_with("completions") && !options.is_null() {
            body["stream_options"] = options;
        }
    }
    // Only OpenAI's shapes have room for a total that tells of tokens that no other count has.
    let shapes = if path.ends_with("completions") { 7 } else { 6 };
    (path, body.to_string(), some_knobs(dice >> 17, shapes))
}

/// Headers that make the simulator write usage and streams in some of its ways.
fn some_knobs(dice: usize, shapes: usize) -> String {
    let shape = [
        "full",
        "null",
        "cached",
        "cache-write",
        "reasoning",
        "bare",
        "reasoning-bug",
    ][dice % shapes];
    let chunk = ["finish", "separate"][(dice >> 3) % 2];
    let end = ["lf", "crlf", "cr"][(dice >> 4) % 3];
    let split = [0, 5, 40, 100][(dice >> 6) % 4];
    format!(
        "x-sim-usage-shape: {shape}\r\nx-sim-usage-chunk: {chunk}\r\nx-sim-line-end: {end}\r\nx-sim-split: {split}\r\n"
    )
}

async fn figures_are_equal(usage_by_default: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let knobs = Knobs {
        usage: usage_by_default,
        ..Knobs::default()
    };
    let simulator = Simulator::new(knobs);
    let serving = tokio::spawn(Arc::clone(&simulator).serve(listener, std::future::pending()));
    let settings = format!(
        "[upstream]\nbase_url = \"http://{addr}\"\napi_key = \"key\"\nusage_by_default = {usage_by_default}\n"
    );
    let gate = Arc::new(Gateway::with(addr, &settings).await);
    let next = Arc::new(AtomicUsize::new(0));
    let clients = (0..8_usize).map(|client| {
        let (gate, next) = (Arc::clone(&gate), Arc::clone(&next));
        tokio::spawn(async move {
            let mut seed = 0x1234_5678_9abc_def1_usize.wrapping_mul(client + 1);
            let mut raw = Raw::connect(gate.addr).await;
            while next.fetch_add(1, Ordering::SeqCst) < calls() {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let (path, body, knobs) = some_call(seed >> 24);
                raw.send(format!(
                    "POST {path} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\n{knobs}\
                     content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                ))
                .await;
                let answer = raw.answer().await.expect("an answer");
                assert_eq!(answer.status, 200, "{path} {body} {}", answer.text());
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let counted = simulator.requests();
    for direction in ["input", "output"] {
        assert_eq!(
            gate.metric("tidegate_tokens_total", &format!("direction=\"{direction}\"")),
            counted["tokens"][direction].as_f64().unwrap(),
            "{direction}"
        );
    }
    assert!(counted["tokens"]["output"].as_u64().unwrap() > 500);
    assert_eq!(gate.metric("tidegate_unmetered_calls_total", ""), 0.0);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_many_mixed_calls_the_tokens_are_what_the_upstream_counted() {
    figures_are_equal(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_usage_has_to_be_asked_for_the_tokens_are_the_same() {
    figures_are_equal(false).await;
}
