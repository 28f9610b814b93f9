//! The native surface: one path for every task, JSON or form, with `inference_status` around the answer.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::call::{Call, Content, Event, Events, Reply, Upload};
use super::errors::Failure;
use super::generate::Output;
use super::knobs::NativeFinal;
use super::model::{Pricing, Task};
use super::record::Bill;
use super::usage::{Usage, put, tier, tokens_in};
use super::{audio, images, openai};

/// The task that a body's fields point to, for a model that the catalogue does not know.
pub(super) fn guess(fields: &Value, files: &[Upload]) -> Task {
    let has = |name: &str| fields.get(name).is_some() || files.iter().any(|file| file.field == name);
    let rules = [
        (fields.get("input").is_some_and(Value::is_object), Task::Custom),
        (has("audio"), Task::SpeechRecognition),
        (has("text"), Task::TextToSpeech),
        (has("queries"), Task::Reranker),
        (has("inputs"), Task::Embeddings),
        (has("candidate_labels"), Task::ZeroShot),
        (has("question"), Task::QuestionAnswering),
        (has("prompt"), Task::TextToImage),
        (has("image"), Task::ImageClassification),
    ];
    let found = rules.into_iter().find(|(fits, _)| *fits);
    found.map_or(Task::TextGeneration, |(_, task)| task)
}

/// `/v1/inference/{model}`.
pub(super) fn answer(call: &Arc<Call>) -> Result<Reply, Failure> {
    require(call)?;
    if call.text("webhook").is_some() {
        return Ok(queued(call));
    }
    match call.model.task {
        Task::TextGeneration => Ok(generation(call)),
        Task::Embeddings => embeddings(call),
        Task::Reranker => Ok(reranker(call)),
        Task::TextToImage => Ok(images::native(call)),
        Task::SpeechRecognition => Ok(audio::native_recognition(call)),
        Task::TextToSpeech => Ok(audio::native_speech(call)),
        Task::TextToVideo => Ok(images::video(call)),
        Task::ImageClassification
        | Task::ZeroShot
        | Task::ObjectDetection
        | Task::TextClassification
        | Task::TokenClassification
        | Task::FillMask
        | Task::QuestionAnswering => Ok(call.native(labels(call), call.flat(by_time(call)))),
        Task::Custom => Ok(container(call)),
    }
}

/// The answer where the result is to go to a webhook. None is ever sent, and nothing is charged.
fn queued(call: &Call) -> Reply {
    let id = call.request_id();
    let answer = json!({
        "request_id": id,
        "inference_status": {
            "status": "queued",
            "runtime_ms": 0,
            "cost": 0.0,
            "tokens_generated": 0,
            "tokens_input": 0,
        },
    });
    Reply {
        content: Content::Json(answer),
        bill: Bill::default(),
        id,
    }
}

/// The field that a task can't do without.
fn require(call: &Call) -> Result<(), Failure> {
    let field = match call.model.task {
        Task::TextGeneration
        | Task::TextClassification
        | Task::TokenClassification
        | Task::FillMask
        | Task::Custom => "input",
        Task::Embeddings => "inputs",
        Task::Reranker => "documents",
        Task::TextToImage | Task::TextToVideo => "prompt",
        Task::SpeechRecognition => "audio",
        Task::TextToSpeech => "text",
        Task::ImageClassification | Task::ZeroShot | Task::ObjectDetection => "image",
        Task::QuestionAnswering => "question",
    };
    let there = call.body.get(field).is_some() || !call.files.is_empty() || call.knobs.early;
    there
        .then_some(())
        .ok_or_else(|| Failure::field(field, "field required"))
}

fn generation(call: &Arc<Call>) -> Reply {
    let output = Output::new(&without_tools(&call.body), &call.knobs);
    let copies = call.copies("num_responses");
    let streamed = call.stream();
    let generated = output.tokens.saturating_mul(if streamed { 1 } else { copies });
    let usage = call.usage(call.prompt(&["input"]), generated);
    if streamed {
        let bill = call.stream_bill(&usage);
        return Reply {
            content: Content::Events(events(call, output, usage), true),
            bill,
            id: call.request_id(),
        };
    }
    let results: Vec<Value> = (0..copies)
        .map(|_| json!({ "generated_text": output.text() }))
        .collect();
    let answer = json!({
        "results": results,
        "num_tokens": generated,
        "num_input_tokens": usage.prompt,
    });
    call.native(answer, call.bill(&usage))
}

/// The native surface knows no tools.
fn without_tools(body: &Value) -> Value {
    let kept = ["max_new_tokens", "response_format"];
    let fields: Map<String, Value> = kept
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), body.get(*name)?.clone())))
        .collect();
    Value::Object(fields)
}

/// One event per token; the last one has the whole text and what the knobs let it say of usage.
fn events(call: &Arc<Call>, output: Output, usage: Usage) -> Events {
    let (call, output) = (Arc::clone(call), Arc::new(output));
    let tokens = output.tokens;
    let texts = Arc::clone(&output);
    let body = (0..tokens.saturating_sub(1)).map(move |index| token(index, &texts));
    let last = std::iter::once_with(move || {
        let mut event = token(tokens.saturating_sub(1), &output);
        event.tokens = tokens.min(1);
        put(&mut event.data, "generated_text", json!(output.text()));
        let details = json!({
            "finish_reason": if output.finish == "length" { "length" } else { "eos_token" },
            "generated_tokens": tokens,
            "input_length": usage.prompt,
            "seed": 3_169_457_846_579_174_189_u64,
        });
        match call.knobs.native_final {
            NativeFinal::None => {}
            NativeFinal::Details => put(&mut event.data, "details", details),
            NativeFinal::Status => {
                put(&mut event.data, "details", details);
                put(
                    &mut event.data,
                    "inference_status",
                    call.inference_status(&call.bill(&usage)),
                );
            }
        }
        event
    });
    Box::new(body.chain(last))
}

fn token(index: u64, output: &Output) -> Event {
    Event {
        name: None,
        data: json!({
            "token": {
                "id": index.saturating_mul(37).saturating_add(988),
                "text": output.token(index),
                "logprob": -0.395_751_95,
                "special": false,
            },
            "generated_text": null,
            "details": null,
        }),
        tokens: 1,
    }
}

fn embeddings(call: &Call) -> Result<Reply, Failure> {
    let texts = openai::inputs(call.body.get("inputs").unwrap_or(&Value::Null))?;
    let usage = call.usage(call.prompt(&["inputs"]), 0);
    let vectors: Vec<Value> = texts.iter().map(|text| openai::vector(text, 64)).collect();
    let answer = json!({ "embeddings": vectors, "input_tokens": usage.prompt });
    Ok(call.native(answer, call.bill(&usage)))
}

/// Scores fall by rank, so that they depend on the number of documents alone.
fn reranker(call: &Call) -> Reply {
    let documents = call.body.get("documents").and_then(Value::as_array);
    let usage = call.usage(call.prompt(&["queries", "documents"]), 0);
    let scores: Vec<f64> = (1_u32..)
        .take(documents.map_or(0, Vec::len))
        .map(|rank| 1.0 / f64::from(rank))
        .collect();
    let answer = json!({ "scores": scores, "input_tokens": usage.prompt });
    call.native(answer, call.bill(&usage))
}

fn labels(call: &Call) -> Value {
    let input = call.text("input").unwrap_or_default();
    let first = input.split_whitespace().next().unwrap_or("tide");
    match call.model.task {
        Task::ObjectDetection => json!({ "results": [{
            "label": "boat",
            "score": 0.98,
            "box": { "xmin": 10, "ymin": 20, "xmax": 110, "ymax": 220 },
        }] }),
        Task::ZeroShot => {
            let labels = call.body.get("candidate_labels").and_then(Value::as_array);
            let scored = labels.into_iter().flatten().zip(1_u32..);
            let results: Vec<Value> = scored
                .map(|(label, rank)| json!({ "label": label, "score": 0.9 / f64::from(rank) }))
                .collect();
            json!({ "results": results })
        }
        Task::TokenClassification => json!({ "results": [{
            "entity_group": "LOC", "score": 0.99, "word": first, "start": 0, "end": first.len(),
        }] }),
        Task::FillMask => json!({ "results": [{
            "sequence": input.replace("[MASK]", "tide"), "score": 0.91, "token": 7121, "token_str": "tide",
        }] }),
        Task::QuestionAnswering => json!({ "answer": "the tide", "score": 0.93, "start": 0, "end": 8 }),
        Task::TextClassification => json!({ "results": [
            { "label": "positive", "score": 0.9 }, { "label": "negative", "score": 0.1 },
        ] }),
        Task::ImageClassification
        | Task::TextGeneration
        | Task::Embeddings
        | Task::Reranker
        | Task::TextToImage
        | Task::SpeechRecognition
        | Task::TextToSpeech
        | Task::TextToVideo
        | Task::Custom => json!({ "results": [
            { "label": "seashore", "score": 0.9 }, { "label": "gate", "score": 0.1 },
        ] }),
    }
}

/// A container's answer; the misspelt `complated_at` is the upstream's own.
fn container(call: &Call) -> Reply {
    let input = call.body.get("input").cloned().unwrap_or_default();
    let bill = Bill {
        input: tokens_in(&input),
        ..call.flat(by_time(call))
    };
    let answer = json!({
        "id": call.id("", 22),
        "version": call.text("version"),
        "input": input,
        "status": call.knobs.native_status,
        "created_at": null,
        "started_at": null,
        "complated_at": null,
        "output": ["data:text/plain;base64,dGlkZQ=="],
        "error": null,
        "logs": "",
        "metrics": { "predict_time": 0.024 },
    });
    call.native(answer, bill)
}

/// What 24 ms of work cost, which every such call takes.
pub(super) fn by_time(call: &Call) -> u64 {
    let second = match call.model.pricing {
        Pricing::Time(second) | Pricing::Uptime(second) => second,
        Pricing::Tokens(_)
        | Pricing::InputTokens(_)
        | Pricing::InputLength(_)
        | Pricing::InputCharacters(_)
        | Pricing::ImageUnits(..)
        | Pricing::OutputLength(_)
        | Pricing::FrameUnits(_) => 0,
    };
    tier(second.saturating_mul(24) / 1000, call.tier)
}
