//! A client that hangs up pays for what the upstream billed at least, and for what was held at most.

use std::time::Duration;

use serde_json::{Value, json};

use super::bank::{Bank, DEAR, chat, request};
use crate::support::client::Raw;

/// Which points; more on request, and others, so that several processes can share them.
fn points() -> std::ops::Range<usize> {
    let asked = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse().expect("a number"))
    };
    let first: usize = asked("TIDEGATE_TEST_FIRST_ABORT").unwrap_or(0);
    first..first + asked("TIDEGATE_TEST_ABORTS").unwrap_or(120)
}

/// Calls of several kinds, streams and others.
fn call(dice: usize) -> (&'static str, Value, &'static str) {
    let knobs = [
        "x-sim-tokens: 30\r\nx-sim-token-ms: 4\r\n",
        "x-sim-tokens: 30\r\nx-sim-running-usage: never\r\nx-sim-token-ms: 4\r\n",
        "x-sim-tokens: 300\r\n",
        "x-sim-tokens: 20\r\nx-sim-latency-ms: 20\r\nx-sim-usage-chunk: separate\r\n",
    ][dice / 7 % 4];
    let tokens = 400;
    let mut body = chat(DEAR, tokens, true);
    let (target, body) = match dice % 7 {
        0 => ("/v1/openai/chat/completions", body),
        1 => {
            body["stream_options"] = json!({"include_usage": false});
            ("/v1/chat/completions", body)
        }
        2 => ("/v1/openai/chat/completions", chat(DEAR, tokens, false)),
        3 => (
            "/v1/completions",
            json!({"model": DEAR, "prompt": "The tide", "max_tokens": tokens, "stream": true}),
        ),
        4 => (
            "/anthropic/v1/messages",
            json!({"model": DEAR, "messages": body["messages"], "max_tokens": tokens, "stream": true}),
        ),
        5 => (
            "/v1/inference/anthropic/claude-4-sonnet",
            json!({"input": "The tide", "max_new_tokens": tokens, "stream": true}),
        ),
        _ => (
            "/v1/responses",
            json!({"model": DEAR, "input": "The tide", "max_output_tokens": tokens, "stream": true}),
        ),
    };
    (target, body, knobs)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_at_any_byte_pays_what_was_billed_and_no_more_than_was_held() {
    let bank = Bank::open().await;
    let limit = 100_000_000_000;
    let token = bank.token("100").await;
    let mut dice = 0x2545_f491_4f6c_dd1d_usize;
    for point in 0..points().end {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        if !points().contains(&point) {
            continue;
        }
        let (target, body, knobs) = call(dice >> 8);
        let before = (bank.billed().await, bank.settled(&token).await.spent);
        let mut raw = Raw::connect(bank.gate.addr).await;
        raw.send(request(&token, target, knobs, &body)).await;
        let mut held = None;
        if dice.is_multiple_of(5) {
            tokio::time::sleep(Duration::from_millis((dice >> 40) as u64 % 25)).await;
        } else {
            let head = raw.head().await.unwrap();
            assert_eq!(head.status, 200, "{target}: {head:?}");
            let left = tidegate::types::Money::parse(head.header("x-tidegate-budget-remaining").unwrap());
            held = Some(limit - before.1 - left.unwrap().as_nanos());
            let (until, mut seen, mut tail) = ((dice >> 20) % 20_000, 0, Vec::new());
            while seen < until {
                let Some(piece) = raw.piece().await else { break };
                seen += piece.len();
                tail = [tail, piece].concat();
                tail.drain(..tail.len().saturating_sub(5));
                if tail == b"0\r\n\r\n" || head.header("content-length").is_some() {
                    break;
                }
            }
        }
        drop(raw);
        let spent = bank.settled(&token).await.spent - before.1;
        let billed = bank.billed().await - before.0;
        let spent = spent.max(bank.settled(&token).await.spent - before.1);
        assert!(
            billed <= spent && held.is_none_or(|held| spent <= held),
            "point {point}, {target}, {knobs:?}: billed {billed}, charged {spent}, held {held:?}"
        );
    }
    assert_eq!(bank.gate.metric("tidegate_concurrency_in_use", ""), 0.0);
    assert_eq!(bank.gate.metric("tidegate_holds_usd", ""), 0.0);
    assert_eq!(bank.spend_metric(), bank.settled(&token).await.spent);
}
