//! Who serves, what it costs, and the account routes.

use super::*;

#[tokio::test]
async fn a_deprecated_model_is_served_by_another_which_says_so() {
    let upstream = Upstream::start(Knobs::default()).await;
    let mut body = chat();
    body["model"] = json!("meta-llama/Llama-2-7b-chat-hf:v1");
    let answer = upstream.post("/v1/chat/completions", &body, &[]).await.json();
    assert_eq!(answer["model"], MODEL);
    let serve = [("x-sim-serve-model", "deepseek-ai/DeepSeek-R1")];
    let answer = upstream.post("/v1/chat/completions", &body, &serve).await.json();
    assert_eq!(answer["model"], "deepseek-ai/DeepSeek-R1");
    let refuse = [("x-sim-refuse-unknown", "true")];
    body["model"] = json!("nobody/knows");
    let answer = upstream.post("/v1/chat/completions", &body, &refuse).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn a_webhook_that_gets_through_is_answered_as_queued_and_costs_nothing() {
    let upstream = Upstream::start(Knobs::default()).await;
    let body = json!({ "input": "x", "webhook": "https://example.com/hook" });
    let path = format!("/v1/inference/{MODEL}");
    let answer = upstream.post(&path, &body, &[]).await.json();
    assert_eq!(answer["inference_status"]["status"], "queued");
    assert_eq!(upstream.simulator.requests()["cost_nano_usd"], 0);
}

#[tokio::test]
async fn the_same_request_gets_the_same_bytes_where_ids_are_fixed() {
    let upstream = Upstream::start(Knobs::default()).await;
    let fixed = [("x-sim-fixed", "true")];
    let path = "/v1/chat/completions";
    let first = upstream.post(path, &streamed(), &fixed).await;
    let second = upstream.post(path, &streamed(), &fixed).await;
    assert_eq!(first.body, second.body);
    let free = upstream.post(path, &streamed(), &[]).await;
    assert_ne!(first.body, free.body);
    let other = upstream.post(path, &chat(), &fixed).await.json();
    assert_ne!(other["id"], first.events()[0]["id"]);
}

#[tokio::test]
async fn a_service_tier_multiplies_the_cost_and_the_body_wins_over_the_header() {
    let upstream = Upstream::start(Knobs::default()).await;
    let cost = async |body: &Value, headers: &[(&str, &str)]| {
        let answer = upstream.post("/v1/chat/completions", body, headers).await.json();
        answer["usage"]["estimated_cost"].clone()
    };
    let mut priority = chat();
    priority["service_tier"] = json!("priority");
    let flex = [("x-deepinfra-service-tier", "flex")];
    assert_eq!(cost(&priority, &[]).await, 1335e-9);
    assert_eq!(cost(&chat(), &flex).await, 712e-9);
    assert_eq!(cost(&priority, &flex).await, 1335e-9);
}

#[tokio::test]
async fn every_shape_of_usage_is_charged_as_it_reads() {
    let upstream = Upstream::start(Knobs::default()).await;
    for (shape, total, nano) in [
        ("full", json!(26), 1100),
        ("null", json!(26), 1100),
        ("bare", json!(26), 1100),
        ("cached", json!(26), 980),
        ("cache-write", json!(26), 1138),
        ("reasoning", json!(26), 1100),
        ("reasoning-bug", json!(58), 2700),
        ("none", Value::Null, 1100),
    ] {
        for body in [chat(), streamed()] {
            upstream.simulator.journal.reset();
            let knobs = [("x-sim-usage-shape", shape), ("x-sim-prompt-tokens", "10")];
            let answer = upstream.post("/v1/chat/completions", &body, &knobs).await;
            let last = if body == chat() {
                answer.json()
            } else {
                answer.events().pop().unwrap()
            };
            assert_eq!(last["usage"]["total_tokens"], total, "{shape}");
            assert_eq!(upstream.simulator.requests()["cost_nano_usd"], nano, "{shape}");
        }
    }
}

#[tokio::test]
async fn account_routes_answer_in_a_small_form_and_only_with_a_credential() {
    let upstream = Upstream::start(Knobs::default()).await;
    for (path, field, value) in [
        ("/v1/openai/files", "object", "list"),
        ("/v1/files/file-1", "object", "file"),
        ("/v1/batches/batch_1", "object", "batch"),
        ("/v1/videos/video_1", "object", "video.generation.job"),
        ("/v1/me", "uid", "di:1000000000000"),
        ("/deploy/D1", "status", "running"),
    ] {
        let answer = upstream.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json()[field], value, "{path}");
    }
    for (path, status) in [("/v1/me", 403), ("/v1/models", 200)] {
        let bare = Request::get(path).body(Full::default()).unwrap();
        assert_eq!(upstream.send(bare).await.status, status, "{path}");
    }
}
