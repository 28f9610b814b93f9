//! What is taken in and what is refused, before anything is done.

use super::receiver::Receiver;
use super::*;

#[tokio::test]
async fn a_webhook_that_is_no_receiver_is_refused_and_nothing_is_done() {
    let upstream = holding(&Arc::default()).await;
    let gate = Gateway::with(upstream.addr, "").await;
    for webhook in [
        json!(""),
        Value::Null,
        json!(5),
        json!([]),
        json!({}),
        json!("x".repeat(10_000)),
        json!("javascript:alert(1)"),
        json!("https://user@example.com/"),
        json!("http://example.com/"),
        json!("https://127.0.0.1/"),
        json!("https://[::1]/"),
        json!("https://169.254.169.254/latest/meta-data"),
        json!("https://localhost/"),
        json!("https://2130706433/"),
    ] {
        let body = json!({"input": "a", "webhook": webhook});
        let answer = send(&gate, NATIVE, "", &body).await;
        let got = (answer.status, answer.code());
        assert_eq!(
            got,
            (400, Some("invalid_webhook")),
            "{webhook}: {}",
            answer.text()
        );
    }
    let plain = json!({"model": "a", "messages": []});
    for headers in [
        "x-tidegate-webhook: https://127.0.0.1/\r\n",
        "x-tidegate-webhook: \r\n",
        "x-tidegate-webhook: https://example.com/\r\nx-tidegate-webhook: https://example.com/\r\n",
    ] {
        let answer = send(&gate, "/v1/chat/completions", headers, &plain).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, Some("invalid_webhook")),
            "{headers}"
        );
    }
    let both = json!({"input": "a", "webhook": "https://example.com/a"});
    let answer = send(
        &gate,
        NATIVE,
        "x-tidegate-webhook: https://example.com/b\r\n",
        &both,
    )
    .await;
    assert_eq!(answer.code(), Some("invalid_webhook"));
    let answer = gate
        .call(
            "GET",
            "/v1/models",
            "x-tidegate-webhook: https://example.com/\r\n",
            b"",
        )
        .await;
    assert_eq!(answer.code(), Some("invalid_webhook"));
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_second_try_is_the_same_job_and_another_request_is_none() {
    let (bank, receiver) = (open().await, Receiver::start().await);
    let key = |key: &str| format!("idempotency-key: {key}\r\n");
    let call = native(&receiver.url());
    let first = queued(&send(&bank.gate, NATIVE, &key("a"), &call).await);
    let again = queued(&send(&bank.gate, NATIVE, &key("a"), &call).await);
    assert_eq!(first, again);
    assert_ne!(first, queued(&send(&bank.gate, NATIVE, &key("b"), &call).await));
    receiver.deliveries(2).await;
    // Also when it is done.
    assert_eq!(first, queued(&send(&bank.gate, NATIVE, &key("a"), &call).await));
    let mut other = call.clone();
    other["input"] = json!("b");
    let answer = send(&bank.gate, NATIVE, &key("a"), &other).await;
    assert_eq!(
        (answer.status, answer.code()),
        (422, Some("idempotency_mismatch"))
    );
    let elsewhere = native(&format!("http://{}/elsewhere", receiver.addr()));
    let answer = send(&bank.gate, NATIVE, &key("a"), &elsewhere).await;
    assert_eq!(answer.code(), Some("idempotency_mismatch"));
    for bad in [key(""), key(&"x".repeat(256)), key("a") + &key("a")] {
        let answer = send(&bank.gate, NATIVE, &bad, &call).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, Some("invalid_header")),
            "{bad}"
        );
    }
    // A form that is sent again has another boundary.
    let form = async |boundary: &str| {
        let part = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"input\"\r\n\r\na\r\n--{boundary}--\r\n"
        );
        let headers = format!(
            "content-type: multipart/form-data; boundary={boundary}\r\nx-tidegate-webhook: {}\r\n{}",
            receiver.url(),
            key("c")
        );
        queued(&bank.gate.call("POST", NATIVE, &headers, part.as_bytes()).await)
    };
    assert_eq!(form("one").await, form("two").await);
    receiver.deliveries(3).await;
    assert_eq!(receiver.got().len(), 3);
}

#[tokio::test]
async fn an_account_can_not_let_more_wait_than_it_may() {
    let go = Arc::new(Notify::new());
    let upstream = holding(&go).await;
    let receiver = Receiver::start().await;
    let gate = Gateway::with(upstream.addr, &format!("{OPEN}max_queued_per_account = 3\n")).await;
    for _ in 0..3 {
        queued(&send(&gate, NATIVE, "", &native(&receiver.url())).await);
    }
    let answer = send(&gate, NATIVE, "", &native(&receiver.url())).await;
    assert_eq!((answer.status, answer.code()), (503, Some("queue_full")));
    assert_eq!(answer.header("retry-after"), Some("1"));
    eventually("all run", || upstream.busy() == 3).await;
    release(&upstream, &go).await;
    receiver.deliveries(3).await;
    eventually("there is room again", || {
        gate.metric("tidegate_in_flight_calls", "") == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_job_waits_for_a_slot_like_everybody_else() {
    let go = Arc::new(Notify::new());
    let upstream = holding(&go).await;
    let receiver = Receiver::start().await;
    let gate = Gateway::with(
        upstream.addr,
        &format!("{OPEN}[limits]\nconcurrency_per_model = 1\n"),
    )
    .await;
    let ids = [
        queued(&send(&gate, NATIVE, "", &native(&receiver.url())).await),
        queued(&send(&gate, NATIVE, "", &native(&receiver.url())).await),
    ];
    eventually("one runs", || upstream.busy() == 1).await;
    let live = send(&gate, NATIVE, "", &json!({"input": "a"})).await;
    assert_eq!(live.code(), Some("rate_limited"));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(upstream.busy(), 1);
    // Of looking for a slot in vain nobody hears.
    assert_eq!(gate.metric("tidegate_rejections_total", "rate_limited"), 1.0);
    go.notify_one();
    receiver.deliveries(1).await;
    eventually("the other one runs", || upstream.busy() == 1).await;
    go.notify_one();
    let got = receiver.deliveries(2).await;
    for id in ids {
        assert!(got.iter().any(|got| got.id == id));
        job_in(&gate, &id, "delivered").await;
    }
}

#[tokio::test]
async fn an_alias_serves_a_job_as_it_serves_a_call() {
    let go = Arc::new(Notify::new());
    let upstream = holding(&go).await;
    let receiver = Receiver::start().await;
    let settings = format!("{OPEN}[models.alias]\n\"acme/old\" = \"acme/new\"\n");
    let gate = Gateway::with(upstream.addr, &settings).await;
    queued(&send(&gate, "/v1/inference/acme/old", "", &native(&receiver.url())).await);
    let part = |name: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = [
        part("webhook", &receiver.url()),
        part("model", "acme/old"),
        part("stream", "true"),
        part("input", "a"),
        "--b--\r\n".to_owned(),
    ];
    let headers = "content-type: multipart/form-data; boundary=b\r\n";
    let target = "/v1/inference/acme/old";
    queued(&gate.call("POST", target, headers, form.concat().as_bytes()).await);
    eventually("both run", || upstream.busy() == 2).await;
    let requests = upstream.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.target() == "/v1/inference/acme/new")
    );
    let sent = requests
        .iter()
        .find(|request| request.header("content-type").unwrap().contains("form"));
    let left = [
        part("model", "acme/new"),
        part("input", "a"),
        "--b--\r\n".to_owned(),
    ];
    assert_eq!(String::from_utf8_lossy(&sent.unwrap().body), left.concat());
    release(&upstream, &go).await;
    receiver.deliveries(2).await;
}
