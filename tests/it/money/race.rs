//! Many calls at once on one limit: what is spent is never more.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::bank::{Bank, DEAR, chat, request};
use crate::support::client::Raw;

const CHAT: &str = "/v1/openai/chat/completions";

/// How many rounds; more on request.
fn rounds() -> usize {
    let asked = std::env::var("TIDEGATE_TEST_ROUNDS").ok();
    asked.map_or(1, |count| count.parse().expect("a number"))
}

/// How many clients; more on request.
fn clients() -> usize {
    let asked = std::env::var("TIDEGATE_TEST_CLIENTS").ok();
    asked.map_or(150, |count| count.parse().expect("a number"))
}

/// How one client's call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Paid,
    Refused,
    HungUp,
}

/// Calls until the answer is no 429; with `bytes`, hangs up after so many of a good one.
async fn persistent(addr: std::net::SocketAddr, request: String, bytes: Option<usize>) -> Ended {
    let mut raw = Raw::connect(addr).await;
    for attempt in 0..500_u64 {
        raw.send(&request).await;
        let head = raw.head().await.expect("an answer");
        match head.status {
            200 => {}
            402 => return Ended::Refused,
            429 => {
                raw.body(&head).await.expect("the whole refusal");
                tokio::time::sleep(Duration::from_millis(300 + attempt * 37 % 200)).await;
                continue;
            }
            status => panic!("{status}"),
        }
        let Some(bytes) = bytes else {
            raw.body(&head).await.expect("the whole answer");
            return Ended::Paid;
        };
        let (mut seen, mut tail, length) = (0, Vec::new(), head.header("content-length"));
        let bytes = length.map_or(bytes, |length| bytes.min(length.parse().unwrap()));
        while seen < bytes {
            let Some(piece) = raw.piece().await else { break };
            seen += piece.len();
            tail = [tail, piece].concat();
            tail.drain(..tail.len().saturating_sub(5));
            if tail == b"0\r\n\r\n" {
                return Ended::Paid;
            }
        }
        return Ended::HungUp;
    }
    panic!("refused for too long");
}

/// So many calls at once, half of them streams, against a limit that pays for a fifth of them at the most.
async fn round(bank: &Bank, calls: usize, hang_up: bool, body: impl Fn(bool) -> Value) -> (i64, Vec<Ended>) {
    let limit = i64::try_from(calls).unwrap() * 2_000_000;
    let limit = tidegate::types::Money::from_nanos(limit).unwrap();
    let token = Arc::new(bank.token(&limit.to_string()).await);
    let clients = (0..calls).map(|n| {
        // Where clients hang up, the upstream writes no faster than it is read.
        let knobs = if hang_up {
            "x-sim-tokens: 600\r\nx-sim-token-ms: 1\r\n"
        } else {
            "x-sim-tokens: 600\r\n"
        };
        let request = request(&token, CHAT, knobs, &body(n % 2 == 0));
        let bytes = (hang_up && n % 3 != 0).then_some(n * 7919 % 60_000);
        tokio::spawn(persistent(bank.gate.addr, request, bytes))
    });
    let mut ended = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        ended.push(client.await.unwrap());
    }
    let account = bank.settled(&token).await;
    assert_eq!(account.remaining, Some(limit.as_nanos() - account.spent));
    assert!(account.spent <= limit.as_nanos(), "{account:?}");
    (account.spent, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_spend_what_they_may_and_no_more() {
    let bank = Bank::open().await;
    for _ in 0..rounds() {
        let before = bank.billed().await;
        let (spent, ended) = round(&bank, clients(), false, |stream| chat(DEAR, 600, stream)).await;
        let paid = ended.iter().filter(|ended| **ended == Ended::Paid).count();
        assert!(paid >= clients() / 5 - 1, "{paid} calls were paid");
        assert_eq!(
            spent,
            bank.billed().await - before,
            "the upstream billed something else"
        );
    }
    assert_eq!(bank.spend_metric(), bank.billed().await);
    assert_eq!(bank.gate.metric("tidegate_overspend_usd_total", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_do_not_spend_more_than_they_may_either() {
    let bank = Bank::open().await;
    for _ in 0..rounds() {
        round(&bank, clients(), true, |stream| chat(DEAR, 600, stream)).await;
    }
    assert_eq!(bank.gate.metric("tidegate_overspend_usd_total", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_name_no_bound_get_one_that_the_rest_pays_for() {
    let bank = Bank::open().await;
    let unbound = |stream| {
        let mut body = chat(DEAR, 0, stream);
        body.as_object_mut().unwrap().remove("max_tokens");
        body
    };
    for _ in 0..rounds() {
        let before = bank.billed().await;
        let (spent, ended) = round(&bank, 50, false, unbound).await;
        let paid = ended.iter().filter(|ended| **ended == Ended::Paid).count();
        assert!(paid >= 9, "{paid} calls were paid");
        assert_eq!(spent, bank.billed().await - before);
    }
}
