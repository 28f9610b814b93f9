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
    asked.map_or(2, |count| count.parse().expect("a number"))
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
    for _ in 0..3_000 {
        let mut raw = Raw::connect(addr).await;
        raw.send(&request).await;
        let head = raw.head().await.expect("an answer");
        match head.status {
            200 => {}
            402 => return Ended::Refused,
            429 => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            status => panic!("{status}"),
        }
        let Some(bytes) = bytes else {
            raw.body(&head).await.expect("the whole answer");
            return Ended::Paid;
        };
        let mut seen = 0;
        while seen < bytes {
            let Some(piece) = raw.piece().await else { break };
            seen += piece.len();
            if piece.ends_with(b"0\r\n\r\n") {
                return Ended::Paid;
            }
        }
        return Ended::HungUp;
    }
    panic!("refused for too long");
}

/// 500 calls at once, half of them streams, against a limit that pays for about a hundred.
async fn round(bank: &Bank, hang_up: bool, body: impl Fn(bool) -> Value) -> (i64, Vec<Ended>) {
    let token = Arc::new(bank.token("1.00").await);
    let clients = (0..500_usize).map(|n| {
        let request = request(&token, CHAT, "x-sim-tokens: 600\r\n", &body(n % 2 == 0));
        let bytes = (hang_up && n % 3 != 0).then_some(n * 7919 % 60_000);
        tokio::spawn(persistent(bank.gate.addr, request, bytes))
    });
    let mut ended = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        ended.push(client.await.unwrap());
    }
    let account = bank.settled(&token).await;
    assert_eq!(account.remaining, Some(1_000_000_000 - account.spent));
    (account.spent, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_calls_at_once_spend_what_they_may_and_no_more() {
    let bank = Bank::open().await;
    for _ in 0..rounds() {
        let before = bank.billed().await;
        let (spent, ended) = round(&bank, false, |stream| chat(DEAR, 600, stream)).await;
        assert!(spent <= 1_000_000_000, "{spent}");
        let paid = ended.iter().filter(|ended| **ended == Ended::Paid).count();
        assert!(paid >= 99, "{paid} calls were paid");
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
        let before = bank.billed().await;
        let (spent, _) = round(&bank, true, |stream| chat(DEAR, 600, stream)).await;
        assert!(spent <= 1_000_000_000, "{spent}");
        let billed = bank.billed().await - before;
        assert!(
            billed <= spent,
            "the upstream billed {billed}, the token paid {spent}"
        );
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
        let (spent, ended) = round(&bank, false, unbound).await;
        assert!(spent <= 1_000_000_000, "{spent}");
        let paid = ended.iter().filter(|ended| **ended == Ended::Paid).count();
        assert!(paid >= 99, "{paid} calls were paid");
        assert_eq!(spent, bank.billed().await - before);
    }
}
