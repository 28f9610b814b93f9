//! A job from its call to its delivery.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::*;

const CHAT: &str = "/v1/openai/chat/completions";

async fn rotated(gate: &Gateway, body: &str) -> String {
    let line = "POST /api/v1/accounts/di:1/webhook-secret/rotate";
    let answer = gate
        .operate(line, "content-type: application/json\r\n", body.as_bytes())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    value["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_native_call_is_answered_at_once_and_its_result_delivered_and_signed() {
    let (bank, receiver) = (open().await, Receiver::start().await);
    let secret = rotated(&bank.gate, "").await;
    let id = queued(&send(&bank.gate, NATIVE, "", &native(&receiver.url())).await);
    let got = receiver.deliveries(1).await.remove(0);
    assert_eq!(got.id, id);
    assert!(got.is_signed_by(&secret));
    let body = got.json();
    assert_eq!(body["request_id"], id);
    assert_eq!(body["inference_status"]["status"], "succeeded");
    assert!(body["results"][0]["generated_text"].is_string());
    let job = job_in(&bank.gate, &id, "delivered").await;
    assert_eq!(job["next_attempt_at"], Value::Null);
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    assert_eq!(job["attempts"][0]["status"], 200);
    // The answer of a live call has the same members.
    let mut call = native("");
    call.as_object_mut().unwrap().remove("webhook");
    let live = send(&bank.gate, NATIVE, "", &call).await;
    let live: Value = serde_json::from_slice(&live.body).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&live), names(&body));
    assert_eq!(bank.last_body("/v1/inference"), call);
}

#[tokio::test]
async fn a_form_and_a_header_ask_for_it_too_and_a_stream_is_turned_off() {
    let (bank, receiver) = (open().await, Receiver::start().await);
    let header = format!("x-tidegate-webhook: {}\r\n", receiver.url());
    let chat = json!({
        "model": "meta-llama/Meta-Llama-3.1-8B-Instruct",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 3,
        "stream": true,
        "stream_options": {"include_usage": true},
        "webhook": "no URL at all",
    });
    let id = queued(&send(&bank.gate, CHAT, &header, &chat).await);
    let got = receiver.deliveries(1).await.remove(0).json();
    assert_eq!(
        (&got["request_id"], &got["object"]),
        (&json!(id), &json!("chat.completion"))
    );
    let sent = bank.last_body("/v1/openai/chat");
    assert_eq!(
        (&sent["stream"], &sent["webhook"]),
        (&json!(false), &json!("no URL at all"))
    );
    assert_eq!(sent.get("stream_options"), None);

    let part = |name: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = [
        part("webhook", &format!("\"{}\"", receiver.url())),
        part("audio", "data:audio/wav;base64,UklGRg=="),
        "--b--\r\n".to_owned(),
    ];
    let headers = "content-type: multipart/form-data; boundary=b\r\n";
    let target = "/v1/inference/openai/whisper-large-v3";
    let answer = bank
        .gate
        .call("POST", target, headers, form.concat().as_bytes())
        .await;
    let id = queued(&answer);
    let got = receiver.deliveries(2).await.remove(1).json();
    assert_eq!(got["request_id"], id, "{got}");
    assert_eq!(got["inference_status"]["status"], "succeeded", "{got}");
}

#[tokio::test]
async fn a_call_that_fails_is_delivered_as_a_failure() {
    let (bank, receiver) = (open().await, Receiver::start().await);
    let refusal = "x-sim-status: 404\r\n";
    let id = queued(&send(&bank.gate, NATIVE, refusal, &native(&receiver.url())).await);
    let got = receiver.deliveries(1).await.remove(0).json();
    assert_eq!(got["request_id"], id);
    assert_eq!(
        got["inference_status"],
        json!({"status": "failed", "runtime_ms": 0, "cost": 0.0})
    );
    assert!(
        got["error"].as_str().is_some_and(|error| !error.is_empty()),
        "{got}"
    );
    let job = job_in(&bank.gate, &id, "failed").await;
    assert_eq!(job["attempts"].as_array().unwrap().len(), 2, "{job}");
}

#[tokio::test]
async fn both_secrets_sign_while_one_takes_over_from_the_other() {
    let (bank, receiver) = (open().await, Receiver::start().await);
    let first = rotated(&bank.gate, "").await;
    let second = rotated(&bank.gate, r#"{"grace":"24h"}"#).await;
    queued(&send(&bank.gate, NATIVE, "", &native(&receiver.url())).await);
    let got = receiver.deliveries(1).await.remove(0);
    assert!(got.is_signed_by(&first) && got.is_signed_by(&second));
    let third = rotated(&bank.gate, r#"{"grace":"0s"}"#).await;
    queued(&send(&bank.gate, NATIVE, "", &native(&receiver.url())).await);
    let got = receiver.deliveries(2).await.remove(1);
    assert!(got.is_signed_by(&third) && !got.is_signed_by(&second) && got.signatures.len() == 1);
}

#[tokio::test]
async fn what_a_job_may_cost_is_held_while_it_waits_and_what_it_cost_is_spent() {
    let (bank, receiver) = (open().await, Receiver::start().await);
    let token = bank.token("1.00").await;
    let answer = bank.call(&token, NATIVE, "", &native(&receiver.url())).await;
    let id = queued(&answer);
    assert!(answer.header("x-tidegate-budget-remaining").is_some());
    receiver.deliveries(1).await;
    let account = bank.settled(&token).await;
    let billed = bank.billed().await;
    assert!(billed > 0);
    assert_eq!((account.spent, bank.spend_metric()), (billed, billed));
    // A token sees its own jobs, and nobody else's.
    let see = async |credential: &str| {
        let headers = format!("authorization: Bearer {credential}\r\n");
        bank.gate
            .bare("GET", &format!("/v1/jobs/{id}"), &headers, b"")
            .await
            .status
    };
    let other = bank.token("1.00").await;
    assert_eq!((see(&token).await, see(&other).await), (200, 404));
    assert_eq!(
        (see(KEY).await, see(crate::support::gateway::MANAGER).await),
        (200, 404)
    );

    let poor = bank.token("0.000000001").await;
    let refused = bank.call(&poor, NATIVE, "", &native(&receiver.url())).await;
    assert_eq!(
        (refused.status, refused.code()),
        (402, Some("spending_limit_reached"))
    );
    eventually("nothing is in flight", || {
        bank.gate.metric("tidegate_in_flight_calls", "") == 0.0
    })
    .await;
    assert_eq!(receiver.got().len(), 1);
}
