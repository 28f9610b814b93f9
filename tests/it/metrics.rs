//! What Prometheus' own tool says of the metrics, after calls of many kinds.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::client::Raw;
use crate::support::gateway::Gateway;
use crate::support::upstream::{Upstream, answer, ok};

async fn scrape(gate: &Gateway) -> String {
    let mut raw = Raw::connect(gate.admin).await;
    raw.send("GET /metrics HTTP/1.1\r\nhost: gate\r\n\r\n").await;
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.status, 200);
    answer.text()
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    if std::env::var("TIDEGATE_TEST_SKIP").is_ok_and(|skip| skip.split(',').any(|name| name == "promtool")) {
        eprintln!("SKIPPED by TIDEGATE_TEST_SKIP: promtool");
        return;
    }
    let upstream = Upstream::start(|request| match request.target().ends_with("completions") {
        true => ok(
            "application/json",
            b"{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"estimated_cost\":1e-06}}",
        ),
        false => answer("500 Oops", "", b"{}"),
    })
    .await;
    let gate = Gateway::start(upstream.addr).await;
    for (path, body) in [
        ("/v1/openai/chat/completions", r#"{"model":"acme/model"}"#),
        ("/v1/openai/chat/completions", r#"{"model":"made/up"}"#),
        ("/v1/openai/audio/speech", r#"{"model":"acme/model"}"#),
        ("/v1/inference/acme/model", "{}"),
        ("/v1/nothing", "{}"),
    ] {
        gate.post(path, body).await;
    }
    gate.bare("POST", "/v1/openai/chat/completions", "", b"{}").await;
    let text = scrape(&gate).await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs (tests/run installs it)");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success() && words.is_empty(), "{words}");
}

#[tokio::test]
async fn series_without_labels_and_those_of_enums_are_there_from_the_start() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gate = Gateway::start(upstream.addr).await;
    let text = scrape(&gate).await;
    for series in [
        "tidegate_build_info{",
        "tidegate_overhead_seconds_count{stage=\"identify\"} 0",
        "tidegate_overhead_seconds_count{stage=\"admit\"} 0",
        "tidegate_overhead_seconds_count{stage=\"forward_head\"} 0",
        "tidegate_overhead_seconds_count{stage=\"settle\"} 0",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(series), "{series} is not in\n{text}");
    }
    gate.post("/v1/openai/chat/completions", r#"{"model":"acme/model"}"#)
        .await;
    let text = scrape(&gate).await;
    for stage in ["identify", "admit", "forward_head", "settle"] {
        let line = format!("tidegate_overhead_seconds_count{{stage=\"{stage}\"}} 1");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}
