//! What operators see of jobs, and do about them.

use super::receiver::Receiver;
use super::*;

async fn ask(gate: &Gateway, line: &str) -> (u16, Value) {
    let answer = gate.operate(line, "", b"").await;
    (
        answer.status,
        serde_json::from_slice(&answer.body).unwrap_or_default(),
    )
}

#[tokio::test]
async fn jobs_are_listed_shown_and_ended() {
    let go = Arc::new(Notify::new());
    let upstream = holding(&go).await;
    let receiver = Receiver::start().await;
    let gate = Gateway::with(upstream.addr, OPEN).await;
    let id = queued(&send(&gate, NATIVE, "", &native(&receiver.url())).await);
    eventually("it runs", || upstream.busy() == 1).await;
    let (status, list) = ask(&gate, "GET /api/v1/jobs?state=running&account=di:1").await;
    assert_eq!(status, 200);
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{list}");
    assert_eq!(items[0]["request_id"], id);
    assert_eq!(items[0]["receiver"], format!("http://{}", receiver.addr()));
    assert!(!list.to_string().contains("canary"), "{list}");
    for (line, status) in [
        ("GET /api/v1/jobs?state=dead", 200),
        ("GET /api/v1/jobs?state=ended", 422),
        ("GET /api/v1/jobs?limit=0", 422),
        ("GET /api/v1/jobs/R00000000000000000000000", 404),
        ("GET /api/v1/jobs/nonsense", 404),
        ("DELETE /api/v1/jobs", 405),
    ] {
        assert_eq!(ask(&gate, line).await.0, status, "{line}");
    }
    let (status, ended) = ask(&gate, &format!("POST /api/v1/jobs/{id}/cancel")).await;
    assert_eq!(
        (status, &ended["status"], &ended["reason"]),
        (200, &json!("dead"), &json!("cancelled"))
    );
    assert_eq!(ask(&gate, &format!("POST /api/v1/jobs/{id}/cancel")).await.0, 409);
    release(&upstream, &go).await;
    assert_eq!(
        ask(&gate, &format!("GET /api/v1/jobs/{id}")).await.1["status"],
        "dead"
    );
    assert!(receiver.got().is_empty());
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let (bank, receiver) = (open().await, Receiver::start().await);
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(queued(
            &send(&bank.gate, NATIVE, "", &native(&receiver.url())).await,
        ));
    }
    let (mut listed, mut pages, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let line = format!("GET /api/v1/jobs?limit=2&account=di:1{cursor}");
        let (status, page) = ask(&bank.gate, &line).await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap();
        pages.push(items.len());
        listed.extend(
            items
                .iter()
                .map(|job| job["request_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, [2, 2, 1]);
    listed.sort_unstable();
    sent.sort_unstable();
    assert_eq!(listed, sent);
    for cursor in ["", "x", "MTIz", "!", "MSBSMDAwMDAw"] {
        let line = format!("GET /api/v1/jobs?cursor={cursor}");
        assert_eq!(ask(&bank.gate, &line).await.0, 422, "{cursor}");
    }
}

#[tokio::test]
async fn how_many_jobs_there_are_and_how_old_is_measured() {
    let go = Arc::new(Notify::new());
    let upstream = holding(&go).await;
    let receiver = Receiver::start().await;
    let gate = Gateway::with(upstream.addr, OPEN).await;
    queued(&send(&gate, NATIVE, "", &native(&receiver.url())).await);
    eventually("it runs", || gate.metric("tidegate_jobs", "running") == 1.0).await;
    eventually("its call is there", || upstream.busy() == 1).await;
    release(&upstream, &go).await;
    receiver.deliveries(1).await;
    eventually("it is delivered", || {
        gate.metric("tidegate_jobs", "delivered") == 1.0 && gate.metric("tidegate_jobs", "running") == 0.0
    })
    .await;
    assert_eq!(gate.metric("tidegate_webhook_delivery_seconds_count", ""), 1.0);
}
