//! Calls that carry a webhook, over the wire: from `queued` to a delivery that the receiver has taken.

mod attempts;
mod intake;
mod operators;
mod receiver;
mod restarts;
mod story;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::money::bank::Bank;
use crate::support::client::Answer;
use crate::support::eventually;
use crate::support::gateway::{Gateway, KEY};
use crate::support::upstream::{Recorded, Step, Upstream, ok};

/// Settings under which results go to loopback, with a short schedule.
pub const OPEN: &str =
    "[webhooks]\nallow_http = true\nallow_networks = [\"127.0.0.0/8\"]\nschedule = [\"100ms\", \"200ms\"]\n";

pub const NATIVE: &str = "/v1/inference/meta-llama/Meta-Llama-3.1-8B-Instruct";

/// A native call whose answer goes to `webhook`.
pub fn native(webhook: &str) -> Value {
    json!({"input": "canary-in-the-prompt", "max_new_tokens": 5, "webhook": webhook})
}

/// The id of a job that was taken in.
pub fn queued(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    let id = value["request_id"].as_str().unwrap().to_owned();
    assert!(id.len() == 24 && id.starts_with('R') && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let status =
        json!({"status": "queued", "runtime_ms": 0, "cost": 0.0, "tokens_generated": 0, "tokens_input": 0});
    assert_eq!(value, json!({"request_id": id, "inference_status": status}));
    id
}

/// Sends a call with the test's key.
pub async fn send(gate: &Gateway, target: &str, headers: &str, body: &Value) -> Answer {
    let headers = format!("content-type: application/json\r\n{headers}");
    gate.call("POST", target, &headers, body.to_string().as_bytes())
        .await
}

/// What the gate tells its caller of a job.
pub async fn job(gate: &Gateway, id: &str) -> Value {
    let answer = gate.call("GET", &format!("/v1/jobs/{id}"), "", b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// The same, once the job is in `state`.
pub async fn job_in(gate: &Gateway, id: &str, state: &str) -> Value {
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let job = job(gate, id).await;
        if job["status"] == state {
            return job;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the job is not {state}: {job}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// An upstream whose answers to native calls wait for `go`.
pub async fn holding(go: &Arc<Notify>) -> Upstream {
    let go = Arc::clone(go);
    let script = move |request: &Recorded| {
        let mut steps = ok("application/json", br#"{"request_id":"Rx","results":[]}"#);
        if request.target().starts_with("/v1/inference") {
            steps.insert(0, Step::Wait(Arc::clone(&go)));
        }
        steps
    };
    Upstream::start(script).await
}

/// Lets every answer go that waits for `go`, and those that will.
pub async fn release(upstream: &Upstream, go: &Notify) {
    eventually("the upstream has answered", || {
        go.notify_waiters();
        upstream.busy() == 0
    })
    .await;
}

/// A gate that delivers to loopback, in front of the simulated upstream.
pub async fn open() -> Bank {
    Bank::with(OPEN).await
}
