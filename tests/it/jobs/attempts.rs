//! What fails is tried again, and what can't succeed is not.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::receiver::{Does, Receiver};
use super::*;
use crate::support::upstream::answer;

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_with_the_same_bytes_under_the_same_id() {
    let bank = open().await;
    let receiver = Receiver::doing(|count| match count {
        0 => Does::Answers("500 Internal Server Error"),
        1 => Does::Says("302 Found", "location: http://127.0.0.1:1/\r\n"),
        _ => Does::Answers("204 No Content"),
    });
    let receiver = receiver.await;
    let id = queued(&send(&bank.gate, NATIVE, "", &native(&receiver.url())).await);
    let job = job_in(&bank.gate, &id, "delivered").await;
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|one| one.id == id && one.body == got[0].body));
    assert!(got.is_sorted_by_key(|one| one.timestamp));
    let statuses: Vec<_> = job["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["status"])
        .collect();
    assert_eq!(statuses, [500, 302, 204]);
    assert_eq!(
        bank.gate.metric("tidegate_job_attempts_total", "phase=\"run\""),
        1.0
    );
    assert_eq!(
        bank.gate
            .metric("tidegate_job_attempts_total", "phase=\"deliver\""),
        3.0
    );
}

#[tokio::test]
async fn after_the_last_gap_or_a_gone_a_job_is_dead_and_can_be_delivered_again() {
    let bank = open().await;
    let stubborn = Receiver::doing(|count| match count {
        0..3 => Does::Answers("503 Service Unavailable"),
        _ => Does::Answers("200 OK"),
    });
    let gone = Receiver::doing(|_| Does::Answers("410 Gone"));
    let (stubborn, gone) = (stubborn.await, gone.await);
    let dead = queued(&send(&bank.gate, NATIVE, "", &native(&stubborn.url())).await);
    let refused = queued(&send(&bank.gate, NATIVE, "", &native(&gone.url())).await);
    let job = job_in(&bank.gate, &refused, "dead").await;
    assert_eq!((&job["reason"], gone.got().len()), (&json!("gone"), 1));
    let job = job_in(&bank.gate, &dead, "dead").await;
    assert_eq!((&job["reason"], stubborn.got().len()), (&json!("exhausted"), 3));

    let again = format!("POST /api/v1/jobs/{dead}/redeliver");
    let answer = bank.gate.operate(&again, "", b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    job_in(&bank.gate, &dead, "delivered").await;
    let got = stubborn.got();
    assert!(got.len() == 4 && got.iter().all(|one| one.body == got[0].body));
    let answer = bank.gate.operate(&again, "", b"").await;
    assert_eq!(answer.status, 409, "{}", answer.text());
}

#[tokio::test]
async fn an_upstream_that_is_busy_or_broken_is_asked_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let upstream = Upstream::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => answer("429 Too Many Requests", "retry-after: 1\r\n", b"{}"),
        1 => answer("503 Service Unavailable", "", b"busy"),
        _ => ok("application/json", br#"{"request_id":"Rx","results":[]}"#),
    });
    let upstream = upstream.await;
    let receiver = Receiver::start().await;
    let gate = Gateway::with(upstream.addr, OPEN).await;
    let id = queued(&send(&gate, NATIVE, "", &native(&receiver.url())).await);
    let got = receiver.deliveries(1).await.remove(0);
    assert_eq!(got.json(), json!({"request_id": id, "results": []}));
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let job = job_in(&gate, &id, "delivered").await;
    let statuses: Vec<_> = job["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["status"])
        .collect();
    assert_eq!(statuses, [429, 503, 200]);
    for request in upstream.requests() {
        assert_eq!(request.header("x-request-id"), Some(id.as_str()));
        assert!(request.header("x-forwarded-for").is_some());
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    let settings = OPEN.replace("[webhooks]\n", "[webhooks]\ntimeout = \"2s\"\n");
    let bank = Bank::with(&settings).await;
    let (hangs, takes) = (Receiver::doing(|_| Does::Hangs).await, Receiver::start().await);
    for _ in 0..40 {
        queued(&send(&bank.gate, NATIVE, "", &native(&hangs.url())).await);
    }
    let began = tokio::time::Instant::now();
    queued(&send(&bank.gate, NATIVE, "", &native(&takes.url())).await);
    takes.deliveries(1).await;
    assert!(
        began.elapsed() < std::time::Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
}
