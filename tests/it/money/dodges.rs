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

fn rows() -> Vec<(&'static str, &'static str, Value, &'static str, Pays)> {
    let stream = || chat(DEAR, 40, true);
    let plain = || chat(DEAR, 40, false);
    vec![
        ("plain", CHAT, plain(), "", Pays::Bill),
        ("a stream", CHAT, stream(), "", Pays::Bill),
        (
            "a stream that refuses usage",
            CHAT,
            with(stream(), json!({"stream_options": {"include_usage": false}})),
            "",
            Pays::Bill,
        ),
        (
            "a stream whose upstream sends usage when asked only",
            CHAT,
            with(stream(), json!({"stream_options": {"include_usage": false}})),
            "x-sim-usage: false\r\n",
            Pays::Bill,
        ),
        (
            "three choices",
            CHAT,
            with(plain(), json!({"n": 3})),
            "",
            Pays::Bill,
        ),
        (
            "a list of prompts",
            "/v1/completions",
            json!({"model": DEAR, "prompt": ["a", "b", "c"], "max_tokens": 20, "n": 2}),
            "",
            Pays::Bill,
        ),
        (
            "no bound",
            CHAT,
            with(plain(), json!({"max_tokens": null})),
            "",
            Pays::Bill,
        ),
        (
            "a bound of zero",
            CHAT,
            with(plain(), json!({"max_tokens": 0})),
            "",
            Pays::Bill,
        ),
        (
            "two bounds",
            CHAT,
            with(plain(), json!({"max_tokens": 5, "max_completion_tokens": 50})),
            "x-sim-tokens: 1000\r\n",
            Pays::Bill,
        ),
        (
            "a huge bound",
            CHAT,
            with(plain(), json!({"max_tokens": 9_007_199_254_740_992_u64})),
            "x-sim-tokens: 30\r\n",
            Pays::Bill,
        ),
        (
            "the tier in the body",
            CHAT,
            with(plain(), json!({"service_tier": "priority"})),
            "",
            Pays::Bill,
        ),
        (
            "the tier in the header",
            CHAT,
            plain(),
            "x-deepinfra-service-tier: priority\r\n",
            Pays::Bill,
        ),
        (
            "the tier in the header, no cost reported",
            CHAT,
            plain(),
            "x-deepinfra-service-tier: priority\r\nx-sim-cost: absent\r\n",
            Pays::Bill,
        ),
        (
            "no cost reported",
            CHAT,
            plain(),
            "x-sim-cost: absent\r\n",
            Pays::Bill,
        ),
        (
            "cached tokens, no cost reported",
            CHAT,
            plain(),
            "x-sim-cost: absent\r\nx-sim-usage-shape: cached\r\n",
            Pays::Bill,
        ),
        (
            "tokens written to a cache, no cost reported",
            CHAT,
            plain(),
            "x-sim-cost: absent\r\nx-sim-usage-shape: cache-write\r\n",
            Pays::Bill,
        ),
        (
            "reasoning left out of the answer's tokens",
            CHAT,
            with(plain(), json!({"max_tokens": 400})),
            "x-sim-tokens: 40\r\nx-sim-cost: absent\r\nx-sim-usage-shape: reasoning-bug\r\n",
            Pays::Bill,
        ),
        (
            "a cost that is not a number",
            CHAT,
            plain(),
            "x-sim-cost: bare-nan\r\n",
            Pays::Bill,
        ),
        (
            "a negative cost",
            CHAT,
            plain(),
            "x-sim-cost: negative\r\n",
            Pays::Bill,
        ),
        (
            "a cost beyond belief",
            CHAT,
            plain(),
            "x-sim-cost: huge\r\n",
            Pays::Bill,
        ),
        (
            "a cost in a string",
            CHAT,
            plain(),
            "x-sim-cost: string\r\n",
            Pays::Bill,
        ),
        (
            "a cost in an object",
            CHAT,
            stream(),
            "x-sim-cost: object\r\n",
            Pays::Bill,
        ),
        (
            "no usage",
            CHAT,
            plain(),
            "x-sim-usage-shape: none\r\n",
            Pays::Hold,
        ),
        (
            "a stream without usage",
            CHAT,
            stream(),
            "x-sim-usage-chunk: none\r\n",
            Pays::Hold,
        ),
        (
            "running usage",
            CHAT,
            stream(),
            "x-sim-running-usage: always\r\n",
            Pays::Bill,
        ),
        (
            "an error in the middle",
            CHAT,
            stream(),
            "x-sim-error-after: 10\r\n",
            Pays::Between,
        ),
        (
            "an upstream that breaks off",
            CHAT,
            stream(),
            "x-sim-abort-after: 10\r\n",
            Pays::Between,
        ),
        (
            "an upstream that breaks off without running usage",
            CHAT,
            stream(),
            "x-sim-abort-after: 10\r\nx-sim-running-usage: never\r\n",
            Pays::Between,
        ),
        (
            "an upstream that refuses",
            CHAT,
            plain(),
            "x-sim-status: 500\r\n",
            Pays::Nothing,
        ),
        (
            "an upstream that is busy",
            CHAT,
            plain(),
            "x-sim-status: 429\r\n",
            Pays::Nothing,
        ),
        (
            "a fallback that is dearer",
            CHAT,
            with(
                plain(),
                json!({"model": null, "models": ["meta-llama/Meta-Llama-3.1-8B-Instruct", DEAR]}),
            ),
            "x-sim-busy-model: meta-llama/Meta-Llama-3.1-8B-Instruct\r\nx-sim-cost: absent\r\n",
            Pays::Bill,
        ),
        (
            "a tool call",
            CHAT,
            with(
                stream(),
                json!({"tools": [{"type": "function", "function": {"name": "tide", "parameters": {}}}]}),
            ),
            "",
            Pays::Bill,
        ),
        (
            "the native route",
            "/v1/inference/anthropic/claude-4-sonnet",
            json!({"input": "The tide", "max_new_tokens": 30}),
            "",
            Pays::Bill,
        ),
        (
            "a native stream",
            "/v1/inference/anthropic/claude-4-sonnet",
            json!({"input": "The tide", "max_new_tokens": 30, "stream": true}),
            "",
            Pays::Bill,
        ),
        (
            "messages",
            "/anthropic/v1/messages",
            json!({"model": DEAR, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 30}),
            "",
            Pays::Bill,
        ),
        (
            "responses",
            "/v1/responses",
            json!({"model": DEAR, "input": "hi", "max_output_tokens": 30, "stream": true}),
            "",
            Pays::Bill,
        ),
        (
            "embeddings",
            "/v1/embeddings",
            json!({"model": "BAAI/bge-m3", "input": ["a b c", "d e f"]}),
            "",
            Pays::Bill,
        ),
        (
            "pictures",
            "/v1/openai/images/generations",
            json!({"model": "black-forest-labs/FLUX-1-dev", "prompt": "a tide", "n": 2, "size": "512x512"}),
            "",
            Pays::Bill,
        ),
        (
            "speech",
            "/v1/openai/audio/speech",
            json!({"model": "hexgrad/Kokoro-82M", "input": "The tide is high.", "voice": "af"}),
            "",
            Pays::Between,
        ),
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
