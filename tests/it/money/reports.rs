//! What operators read: sums of usage that agree with the upstream's bills.

use std::process::Command;

use serde_json::Value;

use super::bank::{Bank, DEAR, chat};
use crate::support::eventually;

const CHAT: &str = "/v1/openai/chat/completions";
const CHEAP: &str = "meta-llama/Meta-Llama-3.1-8B-Instruct";

/// A bank where two tokens and a key have called two models; and what that was billed.
async fn busy() -> (Bank, i64) {
    let bank = Bank::open().await;
    let (one, other) = (bank.token("1").await, bank.token("1").await);
    for (token, model) in [(&one, DEAR), (&one, CHEAP), (&other, DEAR)] {
        for stream in [false, true] {
            let answer = bank.call(token, CHAT, "", &chat(model, 20, stream)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    let answer = bank.gate.post(CHAT, chat(CHEAP, 20, false).to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let billed = bank.billed().await;
    eventually("everything is written down", || bank.spend_metric() == billed).await;
    (bank, billed)
}

async fn report(bank: &Bank, query: &str) -> String {
    let answer = bank
        .gate
        .operate(&format!("GET /api/v1/usage{query}"), "", b"")
        .await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.text()
}

/// Calls and nano-dollars of all items.
fn sum(report: &str) -> (u64, i64) {
    let report: Value = serde_json::from_str(report).unwrap();
    let items = report["items"].as_array().unwrap().iter();
    items.fold((0, 0), |(calls, cost), item| {
        let usd = item["usd"].as_f64().unwrap();
        (
            calls + item["calls"].as_u64().unwrap(),
            cost + (usd * 1e9).round() as i64,
        )
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_adds_up_to_what_was_billed() {
    let (bank, billed) = busy().await;
    for by in ["account", "key", "model", "day"] {
        let text = report(&bank, &format!("?by={by}&from=2020-01-01")).await;
        assert_eq!(sum(&text), (7, billed), "{text}");
    }
    let text = report(&bank, "?by=token").await;
    assert_eq!(sum(&text).0, 6, "{text}");
    assert_eq!(sum(&report(&bank, "?to=2020-01-01").await), (0, 0));
    assert_eq!(sum(&report(&bank, "?by=account&account=di:2").await), (0, 0));
    let csv = report(&bank, "?by=model&format=csv").await;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "model,calls,input_tokens,cached_tokens,output_tokens,usd"
    );
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(lines[1].starts_with(&format!("{DEAR},4,")), "{csv}");
    for wrong in ["?by=colour", "?from=yesterday", "?format=xml", "?limit=0", "?x=1"] {
        let answer = bank
            .gate
            .operate(&format!("GET /api/v1/usage{wrong}"), "", b"")
            .await;
        assert_eq!(answer.status, 422, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_what_the_api_says() {
    let (bank, billed) = busy().await;
    let admin = format!("http://{}", bank.gate.admin);
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["usage", "--admin", &admin])
            .args(arguments)
            .env_remove("TIDEGATE_ADMIN_TOKEN")
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, json) = run(&["--by", "account", "--json"]);
    assert_eq!((code, sum(&json)), (Some(0), (7, billed)));
    let (code, table) = run(&["--by", "model"]);
    assert_eq!(code, Some(0));
    assert!(table.lines().count() == 3 && table.contains(DEAR), "{table}");
    let (_, csv) = run(&["--by", "model", "--format", "csv"]);
    assert_eq!(csv, report(&bank, "?by=model&format=csv").await);
    assert_eq!(run(&["--by", "colour"]).0, Some(1));
    assert_eq!(run(&["--admin-token", "secret"]).0, Some(2));
}
