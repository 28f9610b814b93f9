//! Every route has its shape.

use super::*;

#[tokio::test]
async fn a_chat_answers_on_both_prefixes_with_a_cost_that_the_price_list_gives() {
    let upstream = Upstream::start(Knobs::default()).await;
    for path in ["/v1/openai/chat/completions", "/v1/chat/completions"] {
        upstream.simulator.journal.reset();
        let answer = upstream.post(path, &chat(), &[]).await;
        assert_eq!(answer.status, 200);
        let answer = answer.json();
        assert_eq!(
            (&answer["object"], &answer["model"]),
            (&json!("chat.completion"), &json!(MODEL))
        );
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        let usage = &answer["usage"];
        assert_eq!(
            (&usage["prompt_tokens"], &usage["completion_tokens"]),
            (&json!(3), &json!(16))
        );
        // 3 tokens at 30 nano-dollars and 16 at 50.
        assert_eq!(usage["estimated_cost"], 890e-9);
        assert!(same_cost(
            &upstream.simulator.requests(),
            &usage["estimated_cost"]
        ));
    }
}

#[tokio::test]
async fn choices_tools_and_json_mode_are_as_asked() {
    let upstream = Upstream::start(Knobs::default()).await;
    let path = "/v1/openai/chat/completions";
    let mut body = chat();
    body["n"] = json!(2);
    let answer = upstream.post(path, &body, &[]).await.json();
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
    assert_eq!(answer["usage"]["completion_tokens"], 32);

    let mut body = streamed();
    body["tools"] = json!([{ "type": "function", "function": { "name": "weather", "parameters": {
        "type": "object", "properties": { "city": { "type": "string" } } } } }]);
    let events = upstream.post(path, &body, &[]).await.events();
    let first = &events[0]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(first["function"]["name"], "weather");
    let arguments: String = events
        .iter()
        .filter_map(|event| {
            event
                .pointer("/choices/0/delta/tool_calls/0/function/arguments")?
                .as_str()
        })
        .collect();
    assert_eq!(arguments, r#"{"city":"tide"}"#);
    assert_eq!(
        events.last().unwrap()["choices"][0]["finish_reason"],
        "tool_calls"
    );

    let mut body = chat();
    body["response_format"] = json!({ "type": "json_object" });
    let answer = upstream.post(path, &body, &[]).await.json();
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(content).unwrap().is_object());
}

#[tokio::test]
async fn the_first_free_model_of_a_list_serves_and_says_so() {
    let upstream = Upstream::start(Knobs::default()).await;
    let mut body = chat();
    body["models"] = json!([MODEL, "deepseek-ai/DeepSeek-V3"]);
    let busy = [("x-sim-busy-model", MODEL)];
    let answer = upstream.post("/v1/chat/completions", &body, &busy).await.json();
    assert_eq!(answer["model"], "deepseek-ai/DeepSeek-V3");
    let busy = upstream.post("/v1/chat/completions", &chat(), &busy).await;
    assert_eq!(busy.status, 429);
    assert_eq!(busy.json()["error"]["message"], "Model busy, retry later");
}

#[tokio::test]
async fn embeddings_completions_and_images_have_their_shapes() {
    let upstream = Upstream::start(Knobs::default()).await;
    let body = json!({ "model": "BAAI/bge-m3", "input": ["a", "b"], "dimensions": 32 });
    let answer = upstream.post("/v1/openai/embeddings", &body, &[]).await.json();
    assert_eq!(answer["data"][1]["embedding"].as_array().unwrap().len(), 32);
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 2, "total_tokens": 2 }));
    let mut base64 = body.clone();
    base64["encoding_format"] = json!("base64");
    let base64 = upstream.post("/v1/openai/embeddings", &base64, &[]).await.json();
    assert_eq!(base64["data"][0]["embedding"].as_str().unwrap().len(), 172);

    let body = json!({ "model": MODEL, "prompt": "x", "max_tokens": 2 });
    let answer = upstream.post("/v1/completions", &body, &[]).await.json();
    assert_eq!(answer["choices"][0]["text"], "The tide");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");

    let body = json!({ "prompt": "a gate", "n": 2 });
    let answer = upstream
        .post("/v1/openai/images/generations", &body, &[])
        .await
        .json();
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    assert!(answer.get("usage").is_none());
    let edited = upstream
        .form("/v1/openai/images/edits", &[("prompt", "x")], ("image", b"png"))
        .await;
    assert!(edited.json()["data"][0]["b64_json"].is_string());
}

#[tokio::test]
async fn sound_goes_out_as_bytes_and_comes_in_as_a_form() {
    let upstream = Upstream::start(Knobs::default()).await;
    let body = json!({ "model": "hexgrad/Kokoro-82M", "input": "Hi" });
    let wav = upstream.post("/v1/openai/audio/speech", &body, &[]).await;
    assert_eq!(
        (wav.headers["content-type"].as_bytes(), &wav.body[..4]),
        (b"audio/wav".as_slice(), b"RIFF".as_slice())
    );
    let voice = upstream
        .post(
            "/v1/text-to-speech/af_bella/stream",
            &json!({ "text": "Hi", "output_format": "mp3" }),
            &[],
        )
        .await;
    assert_eq!(voice.headers["content-type"], "audio/mpeg");

    for (format, start) in [
        ("json", r#"{"text""#),
        ("verbose_json", "{"),
        ("text", "The tide"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,000\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n"),
    ] {
        let fields = [("response_format", format), ("model", "openai/whisper-large-v3")];
        let answer = upstream
            .form("/v1/openai/audio/transcriptions", &fields, ("file", b"RIFF"))
            .await;
        assert!(answer.text().starts_with(start), "{format}: {}", answer.text());
    }
    let native = upstream
        .form(
            "/v1/inference/openai/whisper-large-v3",
            &[("language", "\"de\"")],
            ("audio", b"RIFF"),
        )
        .await
        .json();
    assert_eq!(
        (&native["language"], &native["input_length_ms"]),
        (&json!("de"), &json!(1000))
    );
    assert_eq!(native["inference_status"]["cost"], 7.5e-6);
}

/// A model of each task, a body for it, and a field of the answer.
fn native_tasks() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (MODEL, json!({ "input": "x" }), "results"),
        ("BAAI/bge-m3", json!({ "inputs": ["x"] }), "embeddings"),
        (
            "Qwen/Qwen3-Reranker-0.6B",
            json!({ "queries": ["x"], "documents": ["y"] }),
            "scores",
        ),
        (
            "black-forest-labs/FLUX-1-schnell",
            json!({ "prompt": "x", "width": "512" }),
            "images",
        ),
        ("hexgrad/Kokoro-82M", json!({ "text": "x" }), "audio"),
        (
            "openai/whisper-tiny",
            json!({ "audio": "data:audio/wav;base64,UklG" }),
            "text",
        ),
        (
            "google/vit-base-patch16-224",
            json!({ "image": "data:," }),
            "results",
        ),
        (
            "openai/clip-vit-base-patch32",
            json!({ "image": "x", "candidate_labels": ["dog"] }),
            "results",
        ),
        ("hustvl/yolos-small", json!({ "image": "x" }), "results"),
        ("ProsusAI/finbert", json!({ "input": "x" }), "results"),
        ("bert-base-cased", json!({ "input": "a [MASK]" }), "results"),
        (
            "deepset/roberta-base-squad2",
            json!({ "question": "x", "context": "y" }),
            "answer",
        ),
        ("Wan-AI/Wan2.1-T2V-1.3B", json!({ "prompt": "x" }), "video_url"),
        (
            "stability-ai/sdxl",
            json!({ "input": { "prompt": "x" } }),
            "output",
        ),
        (
            "nobody/knows",
            json!({ "queries": ["x"], "documents": ["y"] }),
            "scores",
        ),
        ("deploy/X1", json!({ "input": "x" }), "results"),
    ]
}

#[tokio::test]
async fn every_native_task_answers_with_its_envelope() {
    let upstream = Upstream::start(Knobs::default()).await;
    for (model, body, field) in native_tasks() {
        upstream.simulator.journal.reset();
        let answer = upstream
            .post(&format!("/v1/inference/{model}?version=1"), &body, &[])
            .await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let answer = answer.json();
        assert!(!answer[field].is_null(), "{model}: {answer}");
        assert_eq!(answer["request_id"].as_str().unwrap().len(), 24, "{model}");
        let status = &answer["inference_status"];
        assert_eq!(status["status"], "succeeded", "{model}");
        assert!(status["cost"].as_f64().unwrap() > 0.0, "{model}");
        assert!(
            same_cost(&upstream.simulator.requests(), &status["cost"]),
            "{model}"
        );
    }
    assert_eq!(upstream.get("/v1/inference/org/name").await.status, 405);
}

#[tokio::test]
async fn native_oddities_are_to_be_had() {
    let upstream = Upstream::start(Knobs::default()).await;
    let path = format!("/v1/inference/{MODEL}");
    let odd = [
        ("x-sim-native-request-id", "null"),
        ("x-sim-native-status", "unknown"),
        ("x-sim-native-tokens", "null"),
    ];
    let answer = upstream.post(&path, &json!({ "input": "x" }), &odd).await.json();
    assert_eq!(answer["request_id"], Value::Null);
    assert_eq!(answer["inference_status"]["status"], "unknown");
    assert_eq!(answer["inference_status"]["tokens_input"], Value::Null);

    let body = json!({ "input": "x", "stream": true });
    let events = upstream
        .post(&path, &body, &[("x-sim-native-final", "status")])
        .await
        .events();
    assert_eq!(events.len(), 16);
    assert_eq!(events[0]["generated_text"], Value::Null);
    assert_eq!(events[15]["details"]["generated_tokens"], 16);
    assert!(events[15]["inference_status"]["cost"].is_number());
}

#[tokio::test]
async fn lists_limits_and_costs_are_there() {
    let upstream = Upstream::start(Knobs::default()).await;
    assert!(upstream.get("/models/list").await.json().is_array());
    assert_eq!(upstream.get("/v1/openai/models").await.json()["object"], "list");
    assert_eq!(
        upstream.get(&format!("/models/{MODEL}")).await.json()["tags"][1],
        "tools"
    );
    assert_eq!(upstream.get("/models/no/such").await.status, 404);
    assert_eq!(upstream.get("/v1/me/rate_limit").await.json()["rate_limit"], 200);
    assert_eq!(upstream.get("/no/such").await.status, 404);
    let answer = upstream
        .post(&format!("/v1/inference/{MODEL}"), &json!({ "input": "x" }), &[])
        .await
        .json();
    let asked = json!({ "requestIds": [answer["request_id"], "R0"] });
    let costs = upstream.post("/v1/request-costs", &asked, &[]).await.json();
    assert_eq!(
        costs["requests"],
        json!([{ "requestId": answer["request_id"], "costNanoUsd": 830 }])
    );
}
