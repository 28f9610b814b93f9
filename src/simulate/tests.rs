//! Tests of the simulated upstream over real connections.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

const MODEL: &str = "meta-llama/Meta-Llama-3.1-8B-Instruct";

/// A simulator on a free port, and a client for it.
struct Upstream {
    simulator: Arc<Simulator>,
    address: std::net::SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    _tasks: JoinSet<io::Result<()>>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// What came before the end or the break.
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    broken: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The data of a stream's events, without `[DONE]`.
    fn events(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }
}

impl Upstream {
    async fn start(knobs: Knobs) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let simulator = Simulator::new(knobs);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&simulator).serve(listener, std::future::pending()));
        Self {
            simulator,
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
            _tasks: tasks,
        }
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Answer {
        let path = request.uri().to_string();
        *request.uri_mut() = format!("http://{}{path}", self.address).parse().unwrap();
        let response = self.client.request(request).await.unwrap();
        let (head, mut body) = response.into_parts();
        let mut answer = Answer {
            status: head.status,
            headers: head.headers,
            body: Vec::new(),
            trailers: None,
            broken: false,
        };
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => answer.body.extend_from_slice(&data),
                Ok(Err(frame)) => answer.trailers = frame.into_trailers().ok(),
                Err(_) => {
                    answer.broken = true;
                    break;
                }
            }
        }
        answer
    }

    async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path)
            .header("authorization", "bearer k")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.to_string().into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("x-api-key", "k");
        self.send(request.body(Full::default()).unwrap()).await
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)], file: (&str, &[u8])) -> Answer {
        let mut body = Vec::new();
        for (name, value) in fields {
            let part = format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend(part.bytes());
        }
        let disposition = format!("form-data; name=\"{}\"; filename=\"f\"", file.0);
        body.extend(format!("--B\r\nContent-Disposition: {disposition}\r\n\r\n").bytes());
        body.extend(file.1);
        body.extend(b"\r\n--B--\r\n");
        let request = Request::post(path)
            .header("xi-api-key", "k")
            .header("content-type", "multipart/form-data; boundary=B");
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Looks until the counters are as wanted, for two seconds at most.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) {
        for _ in 0..400 {
            if wanted(&self.simulator.requests()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{}", self.simulator.requests());
    }
}

fn chat() -> Value {
    json!({ "model": MODEL, "messages": [{ "role": "user", "content": "Hello!" }] })
}

fn streamed() -> Value {
    let mut body = chat();
    body["stream"] = json!(true);
    body
}

/// The cost that the journal has, in nano-dollars, next to one in dollars.
fn same_cost(report: &Value, dollars: &Value) -> bool {
    let nano = (dollars.as_f64().unwrap() * 1e9).ceil() as u64;
    report["cost_nano_usd"] == nano
}

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
    body["stream_options"] = json!({ "continuous_usage_stats": true });
    let running = upstream.post(path, &body, &[]).await.events();
    assert_eq!(running[4]["usage"]["completion_tokens"], 5);
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

#[tokio::test]
async fn a_credential_is_taken_from_three_headers_and_refused_in_the_words_of_the_surface() {
    let knobs = Knobs {
        key: Some("secret".to_owned()),
        ..Knobs::default()
    };
    let upstream = Upstream::start(knobs).await;
    let path = "/v1/chat/completions";
    for (name, value, status) in [
        ("authorization", "BEARER secret", 200),
        ("xi-api-key", "secret", 200),
        ("x-api-key", "secret", 200),
        ("x-api-key", "other", 403),
        ("accept", "*/*", 403),
    ] {
        let request = Request::post(path).header(name, value);
        let answer = upstream
            .send(request.body(chat().to_string().into()).unwrap())
            .await;
        assert_eq!(answer.status, status, "{name}");
    }
    let refused = upstream
        .post(path, &chat(), &[("x-sim-unauthorized", "401")])
        .await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.json(),
        json!({ "error": { "message": "Not authenticated" } })
    );
    let native = upstream
        .post("/v1/inference/a/b", &json!({ "input": "x" }), &[])
        .await;
    assert_eq!(
        native.json(),
        json!({ "detail": { "error": "Not authenticated" } })
    );
}

#[tokio::test]
async fn errors_come_as_asked_and_a_bad_knob_is_named() {
    let upstream = Upstream::start(Knobs::default()).await;
    for status in ["402", "422", "423", "429", "500", "503"] {
        let knobs = [("x-sim-status", status), ("x-sim-retry-after", "7")];
        let answer = upstream.post("/v1/chat/completions", &chat(), &knobs).await;
        assert_eq!(answer.status.as_str(), status);
        assert_eq!(answer.headers["retry-after"], "7");
        let list = answer.json()["detail"].is_array();
        assert_eq!(list, status == "422");
    }
    let bad = upstream
        .post("/v1/chat/completions", &chat(), &[("x-sim-nothing", "1")])
        .await;
    assert_eq!(bad.status, 400);
    assert!(bad.text().contains("nothing"));
    assert_eq!(upstream.simulator.requests()["cost_nano_usd"], 0);
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
    let path = "/v1/chat/completions";
    for (number, knob) in [("x-sim-latency-ms", "60000"), ("x-sim-stall-after", "2")]
        .into_iter()
        .enumerate()
    {
        let body = streamed();
        let knobs = [knob];
        let call = upstream.post(path, &body, &knobs);
        assert!(
            tokio::time::timeout(Duration::from_millis(100), call)
                .await
                .is_err()
        );
        upstream
            .until(|report| report["open"] == 0 && report["vanished"] == number + 1)
            .await;
    }
    assert_eq!(upstream.simulator.requests()["tokens"]["output"], 2);
}

#[tokio::test]
async fn padding_trailers_and_extra_headers_are_sent() {
    let upstream = Upstream::start(Knobs::default()).await;
    let path = "/v1/chat/completions";
    let large = upstream
        .post(path, &chat(), &[("x-sim-body-bytes", "1000000")])
        .await;
    assert_eq!(large.body.len(), 1_000_000);
    assert_eq!(large.headers["content-length"], "1000000");
    assert_eq!(large.json()["usage"]["completion_tokens"], 16);

    let knobs = [
        ("te", "trailers"),
        ("x-sim-trailer", "x-checksum: 1"),
        ("x-sim-header", "x-extra: 2"),
    ];
    let answer = upstream.post(path, &chat(), &knobs).await;
    assert_eq!(answer.headers["x-extra"], "2");
    assert_eq!(answer.trailers.unwrap()["x-checksum"], "1");
    let early = upstream
        .post(path, &chat(), &[("x-sim-early", "true"), ("x-sim-status", "429")])
        .await;
    assert_eq!(early.status, 429);
}

#[tokio::test]
async fn what_was_sent_is_shown_and_forgotten() {
    let upstream = Upstream::start(Knobs::default()).await;
    let body = chat();
    upstream.post("/v1/chat/completions?a=1", &body, &[]).await;
    let report = upstream.get("/_sim/requests").await.json();
    assert_eq!((&report["total"], &report["open"]), (&json!(1), &json!(0)));
    assert_eq!(report["by_model"][MODEL], 1);
    let request = &report["requests"][0];
    assert_eq!(
        (&request["method"], &request["query"]),
        (&json!("POST"), &json!("a=1"))
    );
    assert_eq!(request["body"], body.to_string());
    assert_eq!(
        (&request["body_length"], &request["body_complete"]),
        (&json!(body.to_string().len()), &json!(true))
    );
    assert_eq!(request["body_sha256"].as_str().unwrap().len(), 64);
    let forget = Request::delete("/_sim/requests").body(Full::default()).unwrap();
    assert_eq!(upstream.send(forget).await.status, 204);
    assert_eq!(upstream.simulator.requests()["total"], 0);
}

#[tokio::test]
async fn http_2_is_served_on_the_same_port() {
    let upstream = Upstream::start(Knobs::default()).await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = Request::post(format!("http://{}/v1/chat/completions", upstream.address))
        .header("authorization", "Bearer k")
        .body(streamed().to_string().into())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"));
    assert_eq!(
        upstream.simulator.requests()["requests"][0]["version"],
        "HTTP/2.0"
    );
}

#[tokio::test]
async fn the_server_ends_when_it_is_told_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let simulator = Simulator::new(Knobs::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(simulator.serve(listener, async move { drop(stopped.await) }));
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let url = format!("http://{address}/models/list");
    assert_eq!(client.get(url.parse().unwrap()).await.unwrap().status(), 200);
    stop.send(()).unwrap();
    tasks.join_next().await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
