//! What a client is told of its budget: headers, codes and numbers.

use serde_json::json;

use super::bank::{Bank, DEAR, chat};
use crate::support::client::Raw;

const CHAT: &str = "/v1/openai/chat/completions";

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_token_gets_402_with_numbers_and_nothing_goes_upstream() {
    let bank = Bank::open().await;
    let token = bank.token("0.000001").await;
    let answer = bank.call(&token, CHAT, "", &chat(DEAR, 600, false)).await;
    assert_eq!(answer.status, 402, "{answer:?}");
    assert_eq!(answer.code(), Some("spending_limit_reached"));
    assert_eq!(answer.header("retry-after"), None);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(text.contains("may spend 0.000001 USD"), "{text}");
    assert!(text.contains("0 USD is spent"), "{text}");
    assert_eq!(bank.billed().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_money_of_others_gets_429() {
    let bank = Bank::open().await;
    let token = bank.token("0.011").await;
    let mut first = Raw::connect(bank.gate.addr).await;
    let body = chat(DEAR, 600, true);
    first
        .send(super::bank::request(
            &token,
            CHAT,
            "x-sim-tokens: 600\r\nx-sim-stall-after: 3\r\n",
            &body,
        ))
        .await;
    let head = first.head().await.unwrap();
    assert_eq!(head.status, 200);
    assert!(head.header("x-tidegate-budget-remaining").is_some(), "{head:?}");
    let answer = bank.call(&token, CHAT, "", &chat(DEAR, 600, false)).await;
    assert_eq!(
        (answer.status, answer.code()),
        (429, Some("budget_held")),
        "{answer:?}"
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(first);
    bank.settled(&token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_clamped_to_what_the_rest_pays_for_and_the_client_is_told() {
    let bank = Bank::open().await;
    let token = bank.token("0.01").await;
    let body = chat(DEAR, 100_000, false);
    let answer = bank.call(&token, CHAT, "x-sim-tokens: 100000\r\n", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let clamped: u64 = answer
        .header("x-tidegate-output-clamped")
        .unwrap()
        .parse()
        .unwrap();
    let bytes = u64::try_from(body.to_string().len()).unwrap();
    // A byte is a token at the most, and one that is written to a cache costs a quarter more.
    assert_eq!(clamped, (10_000_000 - bytes * 4_125) / 16_500);
    assert_eq!(bank.last_body(CHAT)["max_tokens"], json!(clamped));
    // All the rest was held.
    assert!(
        answer
            .header("x-tidegate-budget-remaining")
            .is_some_and(|left| left.starts_with("0"))
    );
    let account = bank.settled(&token).await;
    assert_eq!(account.spent, bank.billed().await);
    assert!(account.remaining.unwrap() >= 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clamping_can_be_turned_off() {
    let bank = Bank::with("[budget]\nclamp_output = false\n").await;
    let token = bank.token("0.01").await;
    let answer = bank.call(&token, CHAT, "", &chat(DEAR, 100_000, false)).await;
    assert_eq!(answer.status, 402, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_price_is_held_at_the_set_amount_or_denied() {
    let unknown = || chat("acme/unheard-of", 10, false);
    let bank = Bank::with("[budget]\nunpriced_hold = 0.25\n").await;
    let (rich, poor) = (bank.token("1").await, bank.token("0.2").await);
    let answer = bank.call(&rich, CHAT, "", &unknown()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-tidegate-budget-remaining"), Some("0.75"));
    assert_eq!(bank.call(&poor, CHAT, "", &unknown()).await.status, 402);

    let bank = Bank::with("[budget]\nunpriced = \"deny\"\n").await;
    let token = bank.token("1").await;
    let answer = bank.call(&token, CHAT, "", &unknown()).await;
    assert_eq!((answer.status, answer.code()), (403, Some("model_unpriced")));
    // Those without a limit go on.
    assert_eq!(bank.gate.post(CHAT, unknown().to_string()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_of_the_settings_hold_for_keys_and_accounts() {
    for cap in [
        "account = \"di:1\"",
        "key = \"auto\"",
        "account = \"di:1\"\nkey = \"auto\"",
    ] {
        let bank = Bank::with(&format!(
            "[[budget.limit]]\n{cap}\nusd = 0.0005\nwindow = \"day\"\n"
        ))
        .await;
        let token = bank.token("1").await;
        let answer = bank.call(&token, CHAT, "", &chat(DEAR, 16, false)).await;
        assert_eq!(answer.status, 402, "{cap}: {answer:?}");
        let body = chat("meta-llama/Meta-Llama-3.1-8B-Instruct", 16, false);
        assert_eq!(bank.call(&token, CHAT, "", &body).await.status, 200, "{cap}");
        assert_eq!(bank.gate.post(CHAT, body.to_string()).await.status, 200, "{cap}");
        assert_eq!(
            bank.gate
                .post(CHAT, chat(DEAR, 16, false).to_string())
                .await
                .status,
            402,
            "{cap}"
        );
        bank.settled(&token).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_that_comes_later_counts_what_was_spent_before() {
    let bank = Bank::open().await;
    let body = chat(DEAR, 100, false);
    for _ in 0..3 {
        assert_eq!(
            bank.gate
                .call(
                    "POST",
                    CHAT,
                    "content-type: application/json\r\nx-sim-tokens: 100\r\n",
                    body.to_string().as_bytes()
                )
                .await
                .status,
            200
        );
    }
    let billed = bank.billed().await;
    crate::support::eventually("the usage is written", || bank.spend_metric() == billed).await;
    bank.reload("[[budget.limit]]\naccount = \"di:1\"\nusd = 0.005\nwindow = \"month\"\n")
        .await;
    let answer = bank.gate.post(CHAT, body.to_string()).await;
    assert_eq!(
        (answer.status, answer.code()),
        (402, Some("spending_limit_reached"))
    );
}
