//! Every way to have work done without paying for it costs what it should.

use serde_json::{Value, json};

use super::bank::{Account, Bank, DEAR, chat, request};
use crate::support::client::Raw;

const CHAT: &str = "/v1/openai/chat/completions";

/// What the token must have paid.
#[derive(Debug, Clone, Copy)]
enum Pays {
    /// Just what the upstream billed.
    Bill,
    /// What was held, at least what the upstream billed: nobody said what was used.
    Hold,
    /// Nothing, and nothing was billed.
    Nothing,
    /// Between the bill and what was held.
    Between,
}

fn with(mut body: Value, members: Value) -> Value {
    for (key, value) in members.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(key);
        } else {
            body[key] = value.clone();
        }
    }
    body
}

/// Name, path, body, knobs of the upstream, what it must cost.
type Row = (&'static str, &'static str, Value, &'static str, Pays);

/// A chat with other members.
fn plain(members: Value) -> Value {
    with(chat(DEAR, 40, false), members)
}

/// The same as a stream.
fn stream(members: Value) -> Value {
    with(chat(DEAR, 40, true), members)
}

fn rows() -> Vec<Row> {
    [bounds(), costs(), streams(), failures(), others(), surfaces()].concat()
}

fn bounds() -> Vec<Row> {
    let chat = |name, members: Value, knobs| (name, CHAT, plain(members), knobs, Pays::Bill);
    let two = json!({"max_tokens": 5, "max_completion_tokens": 50});
    let huge = json!({"max_tokens": 9_007_199_254_740_992_u64});
    let prompts = json!({"model": DEAR, "prompt": ["a", "b", "c"], "max_tokens": 20, "n": 2});
    vec![
        chat("plain", json!({}), ""),
        chat("three choices", json!({"n": 3}), ""),
        ("a list of prompts", "/v1/completions", prompts, "", Pays::Bill),
        chat("no bound", json!({"max_tokens": null}), ""),
        chat("a bound of zero", json!({"max_tokens": 0}), ""),
        chat("two bounds", two, "x-sim-tokens: 1000\r\n"),
        chat("a huge bound", huge, "x-sim-tokens: 30\r\n"),
    ]
}

fn costs() -> Vec<Row> {
    let chat = |name, members: Value, knobs| (name, CHAT, plain(members), knobs, Pays::Bill);
    let none = json!({});
    vec![
        chat("the tier in the body", json!({"service_tier": "priority"}), ""),
        chat(
            "the tier in the header",
            none.clone(),
            "x-deepinfra-service-tier: priority\r\n",
        ),
        chat(
            "the tier in the header, no cost reported",
            none.clone(),
            "x-deepinfra-service-tier: priority\r\nx-sim-cost: absent\r\n",
        ),
        chat("no cost reported", none.clone(), "x-sim-cost: absent\r\n"),
        chat(
            "cached tokens, no cost reported",
            none.clone(),
            "x-sim-cost: absent\r\nx-sim-usage-shape: cached\r\n",
        ),
        chat(
            "tokens written to a cache, no cost reported",
            none.clone(),
            "x-sim-cost: absent\r\nx-sim-usage-shape: cache-write\r\n",
        ),
        chat(
            "reasoning left out of the answer's tokens",
            json!({"max_tokens": 400}),
            "x-sim-tokens: 40\r\nx-sim-cost: absent\r\nx-sim-usage-shape: reasoning-bug\r\n",
        ),
        chat(
            "a cost that is not a number",
            none.clone(),
            "x-sim-cost: bare-nan\r\n",
        ),
        chat("a negative cost", none.clone(), "x-sim-cost: negative\r\n"),
        chat("a cost beyond belief", none.clone(), "x-sim-cost: huge\r\n"),
        chat("a cost in a string", none.clone(), "x-sim-cost: string\r\n"),
        chat("a cost in an object", none, "x-sim-cost: object\r\n"),
    ]
}

fn streams() -> Vec<Row> {
    let chat = |name, members: Value, knobs, pays| (name, CHAT, stream(members), knobs, pays);
    let refused = json!({"stream_options": {"include_usage": false}});
    let tool = json!([{"type": "function", "function": {"name": "tide", "parameters": {}}}]);
    vec![
        chat("a stream", json!({}), "", Pays::Bill),
        chat("a stream that refuses usage", refused.clone(), "", Pays::Bill),
        chat(
            "a stream whose upstream sends usage when asked only",
            refused,
            "x-sim-usage: false\r\n",
            Pays::Bill,
        ),
        chat(
            "running usage",
            json!({}),
            "x-sim-running-usage: always\r\n",
            Pays::Bill,
        ),
        chat(
            "a stream with running usage alone",
            json!({}),
            "x-sim-usage-chunk: none\r\n",
            Pays::Bill,
        ),
        chat(
            "a stream without usage",
            json!({}),
            "x-sim-usage-chunk: none\r\nx-sim-running-usage: never\r\n",
            Pays::Hold,
        ),
        chat("a tool call", json!({"tools": tool}), "", Pays::Bill),
    ]
}

fn failures() -> Vec<Row> {
    let chat = |name, knobs, pays| (name, CHAT, stream(json!({})), knobs, pays);
    vec![
        chat(
            "an error in the middle",
            "x-sim-error-after: 10\r\n",
            Pays::Between,
        ),
        chat(
            "an upstream that breaks off",
            "x-sim-abort-after: 10\r\n",
            Pays::Between,
        ),
        chat(
            "an upstream that breaks off without running usage",
            "x-sim-abort-after: 10\r\nx-sim-running-usage: never\r\n",
            Pays::Between,
        ),
        chat("an upstream that refuses", "x-sim-status: 500\r\n", Pays::Nothing),
        chat("an upstream that is busy", "x-sim-status: 429\r\n", Pays::Nothing),
    ]
}

fn others() -> Vec<Row> {
    const CHEAP: &str = "meta-llama/Meta-Llama-3.1-8B-Instruct";
    let fallback = plain(json!({"model": null, "models": [CHEAP, DEAR]}));
    let none = plain(json!({}));
    vec![
        ("no usage", CHAT, none, "x-sim-usage-shape: none\r\n", Pays::Hold),
        (
            "a fallback that is dearer",
            CHAT,
            fallback,
            "x-sim-busy-model: meta-llama/Meta-Llama-3.1-8B-Instruct\r\nx-sim-cost: absent\r\n",
            Pays::Bill,
        ),
    ]
}

fn surfaces() -> Vec<Row> {
    const NATIVE: &str = "/v1/inference/anthropic/claude-4-sonnet";
    let native = |stream: bool| json!({"input": "The tide", "max_new_tokens": 30, "stream": stream});
    let said = json!([{"role": "user", "content": "hi"}]);
    let messages = json!({"model": DEAR, "messages": said, "max_tokens": 30});
    let responses = json!({"model": DEAR, "input": "hi", "max_output_tokens": 30, "stream": true});
    let embeddings = json!({"model": "BAAI/bge-m3", "input": ["a b c", "d e f"]});
    let picture =
        json!({"model": "black-forest-labs/FLUX-1-dev", "prompt": "a tide", "n": 2, "size": "512x512"});
    let speech = json!({"model": "hexgrad/Kokoro-82M", "input": "The tide is high.", "voice": "af"});
    vec![
        ("the native route", NATIVE, native(false), "", Pays::Bill),
        ("a native stream", NATIVE, native(true), "", Pays::Bill),
        ("messages", "/anthropic/v1/messages", messages, "", Pays::Bill),
        ("responses", "/v1/responses", responses, "", Pays::Bill),
        ("embeddings", "/v1/embeddings", embeddings, "", Pays::Bill),
        (
            "pictures",
            "/v1/openai/images/generations",
            picture,
            "",
            Pays::Bill,
        ),
        ("speech", "/v1/openai/audio/speech", speech, "", Pays::Between),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_dodge_pays_less_than_it_should() {
    let bank = Bank::open().await;
    let token = bank.token("100").await;
    let mut before = (bank.billed().await, bank.settled(&token).await.spent);
    let mut wrong = Vec::new();
    for (name, target, body, knobs, pays) in rows() {
        let mut raw = Raw::connect(bank.gate.addr).await;
        raw.send(request(&token, target, knobs, &body)).await;
        let head = raw.head().await.unwrap();
        raw.body(&head).await;
        drop(raw);
        let Account { spent, .. } = bank.settled(&token).await;
        let billed = bank.billed().await;
        let left = head
            .header("x-tidegate-budget-remaining")
            .map(|left| tidegate::types::Money::parse(left).unwrap().as_nanos());
        let hold = 100_000_000_000 - before.1 - left.unwrap_or(0);
        let (cost, bill) = (spent - before.1, billed - before.0);
        before = (billed, spent);
        let right = match pays {
            Pays::Bill => cost == bill && bill > 0,
            Pays::Hold => cost == hold && bill <= cost,
            Pays::Nothing => cost == 0 && bill == 0,
            Pays::Between => bill <= cost && cost <= hold && cost > 0,
        };
        if !right {
            wrong.push(format!(
                "{name} ({}): {pays:?}, but paid {cost}, billed {bill}, held {hold}",
                head.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(bank.spend_metric(), before.1);
}
