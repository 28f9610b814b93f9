//! Streams, and how they can be turned and broken.

use super::*;

#[tokio::test]
async fn a_stream_has_one_chunk_a_token_and_usage_where_it_is_asked_for() {
    let upstream = Upstream::start(Knobs::default()).await;
    let path = "/v1/openai/chat/completions";
    let answer = upstream.post(path, &streamed(), &[]).await;
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let events = answer.events();
    assert_eq!(events.len(), 17);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[0]["usage"], Value::Null);
    assert_eq!(events[16]["usage"]["completion_tokens"], 16);

    let separate = upstream
        .post(path, &streamed(), &[("x-sim-usage-chunk", "separate")])
        .await
        .events();
    assert_eq!((separate.len(), &separate[17]["choices"]), (18, &json!([])));
    assert_eq!(separate[17]["usage"]["completion_tokens"], 16);

    let silent = upstream
        .post(path, &streamed(), &[("x-sim-usage", "false")])
        .await;
    assert!(!silent.text().contains("usage"));

    let mut body = streamed();
    body["stream_options"] = json!({ "include_usage": false });
    assert!(!upstream.post(path, &body, &[]).await.text().contains("usage"));
    body["stream_options"] = json!({ "include_usage": false, "continuous_usage_stats": true });
    assert!(!upstream.post(path, &body, &[]).await.text().contains("usage"));
    body["stream_options"] = json!({ "include_usage": true });
    let asked = upstream
        .post(path, &body, &[("x-sim-usage", "false")])
        .await
        .events();
    assert_eq!(
        (asked[4].get("usage"), &asked[16]["usage"]["completion_tokens"]),
        (None, &json!(16))
    );
}

#[tokio::test]
async fn running_usage_is_on_every_chunk_of_chats_and_of_completions() {
    let upstream = Upstream::start(Knobs::default()).await;
    let mut body = streamed();
    body["prompt"] = json!("x");
    body["stream_options"] = json!({ "continuous_usage_stats": true });
    for path in ["/v1/chat/completions", "/v1/openai/completions"] {
        let running = upstream.post(path, &body, &[]).await.events();
        for (number, event) in running.iter().enumerate() {
            let sent = (number + 1).min(16);
            assert_eq!(event["usage"]["completion_tokens"], sent, "{path}");
            assert!(event["usage"]["estimated_cost"].is_number(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_is_billed_for_what_went_out_at_the_tier_that_was_asked_for() {
    let upstream = Upstream::start(Knobs::default()).await;
    let path = "/v1/chat/completions";
    let billed = async |tier: Option<&str>, header: Option<&str>| {
        upstream.simulator.journal.reset();
        let mut body = streamed();
        body["stream_options"] = json!({ "continuous_usage_stats": true });
        if let Some(tier) = tier {
            body["service_tier"] = json!(tier);
        }
        let mut headers = vec![("x-sim-abort-after", "5")];
        headers.extend(header.map(|tier| ("x-deepinfra-service-tier", tier)));
        let cut = upstream.post(path, &body, &headers).await;
        let last = cut.events().pop().unwrap();
        let report = upstream.simulator.requests();
        let nanos = report["cost_nano_usd"].as_f64().unwrap();
        let said = last["usage"]["estimated_cost"].as_f64().unwrap() * 1e9;
        assert!((nanos - said).abs() <= 1.0, "{nanos} {said}");
        nanos
    };
    let plain = billed(None, None).await;
    assert!(plain > 0.0);
    for (tier, header, factor) in [
        (Some("priority"), None, 1.5),
        (Some("auto"), None, 1.5),
        (None, Some("priority"), 1.5),
        (None, Some("flex"), 0.8),
        (Some("default"), Some("priority"), 1.0),
    ] {
        let billed = billed(tier, header).await;
        assert!(
            (billed - plain * factor).abs() <= 2.0,
            "{tier:?} {header:?}: {billed} {plain}"
        );
    }
}

#[tokio::test]
async fn responses_and_messages_stream_their_named_events() {
    let upstream = Upstream::start(Knobs::default()).await;
    let body = json!({ "model": MODEL, "input": "x", "stream": true });
    let answer = upstream.post("/v1/responses", &body, &[]).await;
    assert!(answer.text().starts_with("event: response.created\ndata: "));
    let last = answer.events().pop().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["usage"]["output_tokens"], 16);
    assert_eq!(upstream.get("/v1/responses/resp_1").await.status, 404);

    let mut body = chat();
    let whole = upstream.post("/anthropic/v1/messages", &body, &[]).await.json();
    assert_eq!(
        (&whole["type"], &whole["usage"]["output_tokens"]),
        (&json!("message"), &json!(16))
    );
    body["stream"] = json!(true);
    let events = upstream.post("/anthropic/v1/messages", &body, &[]).await.events();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(
        kinds[kinds.len() - 3..],
        ["content_block_stop", "message_delta", "message_stop"]
    );
    let counted = upstream
        .post("/anthropic/v1/messages/count_tokens", &chat(), &[])
        .await
        .json();
    assert_eq!(
        counted["input_tokens"],
        events[0]["message"]["usage"]["input_tokens"]
    );
}

#[tokio::test]
async fn the_framing_of_a_stream_can_be_turned_every_way() {
    let upstream = Upstream::start(Knobs::default()).await;
    let path = "/v1/chat/completions";
    let text = async |knobs: &[(&str, &str)]| upstream.post(path, &streamed(), knobs).await.text();
    assert!(
        text(&[("x-sim-line-end", "crlf")])
            .await
            .ends_with("data: [DONE]\r\n\r\n")
    );
    assert!(
        text(&[("x-sim-line-end", "cr")])
            .await
            .ends_with("data: [DONE]\r\r")
    );
    assert!(text(&[("x-sim-no-space", "true")]).await.starts_with("data:{"));
    assert!(
        text(&[("x-sim-multi-line", "true")])
            .await
            .starts_with("data: {\ndata:   ")
    );
    assert!(!text(&[("x-sim-done", "false")]).await.contains("[DONE]"));
    assert!(
        text(&[("x-sim-null-every", "4")])
            .await
            .contains("data: null\n\n")
    );
    assert!(
        text(&[("x-sim-comment-every", "1")])
            .await
            .starts_with(": keep-alive\n\n")
    );

    let fixed = ("x-sim-fixed", "true");
    let plain = text(&[fixed, ("x-sim-text", "multibyte")]).await;
    let split = text(&[fixed, ("x-sim-text", "multibyte"), ("x-sim-split", "1")]).await;
    assert_eq!(plain, split);
}

#[tokio::test]
async fn a_stream_breaks_off_where_it_is_told_to_and_is_charged_for_what_went_out() {
    let upstream = Upstream::start(Knobs::default()).await;
    let path = "/v1/chat/completions";
    let failed = upstream
        .post(path, &streamed(), &[("x-sim-error-after", "3")])
        .await;
    assert!(!failed.broken && !failed.text().contains("[DONE]"));
    let events = failed.events();
    assert_eq!(
        (events.len(), &events[3]["error_type"]),
        (4, &json!("inference_error"))
    );

    upstream.simulator.journal.reset();
    let cut = upstream
        .post(path, &streamed(), &[("x-sim-abort-after", "5")])
        .await;
    assert!(cut.broken);
    assert_eq!(cut.events().len(), 5);
    let report = upstream.simulator.requests();
    assert_eq!(
        (&report["tokens"]["output"], &report["vanished"]),
        (&json!(5), &json!(0))
    );

    let cut = upstream
        .post(path, &chat(), &[("x-sim-abort-after-bytes", "40")])
        .await;
    assert!(cut.broken);
    assert_eq!(cut.body.len(), 40);
    assert!(cut.headers.contains_key("content-length"));
}

#[tokio::test]
async fn a_client_that_goes_is_noticed_before_the_head_and_within_a_stream() {
    let upstream = Upstream::start(Knobs::default()).await;
    let (path, body) = ("/v1/chat/completions", streamed());
    tokio::select! {
        _ = upstream.post(path, &body, &[("x-sim-latency-ms", "60000")]) => panic!("answered"),
        () = upstream.until(|report| report["open"] == 1) => {}
    }
    upstream
        .until(|report| report["open"] == 0 && report["vanished"] == 1)
        .await;

    let request = Request::post(format!("http://{}{path}", upstream.address))
        .header("x-api-key", "k")
        .header("x-sim-stall-after", "2")
        .body(body.to_string().into())
        .unwrap();
    let mut stalled = upstream.client.request(request).await.unwrap().into_body();
    let mut read = Vec::new();
    while read.windows(5).filter(|bytes| bytes == b"data:").count() < 2 {
        read.extend(stalled.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(upstream.simulator.requests()["open"], 1);
    drop(stalled);
    upstream
        .until(|report| report["open"] == 0 && report["vanished"] == 2)
        .await;
    assert_eq!(upstream.simulator.requests()["tokens"]["output"], 2);
}
