//! The OpenAI surface: chat, plain completions and embeddings.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::call::{Call, Content, Event, Events, Reply};
use super::errors::Failure;
use super::generate::Output;
use super::knobs::{UsageChunk, UsageShape};
use super::usage::{bare, decimal, put, tokens_in};

/// The most texts that one call may have embedded.
const MAX_INPUTS: usize = 1024;
/// Numbers in a vector, unless the request says how many.
const DIMENSIONS: u64 = 64;

/// Whether a choice holds a message or plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Plain,
}

/// `chat/completions`.
pub(super) fn chat(call: &Arc<Call>) -> Result<Reply, Failure> {
    let messages = call.body.get("messages").and_then(Value::as_array);
    if !call.knobs.early && messages.is_none_or(Vec::is_empty) {
        return Err(Failure::field("messages", "field required"));
    }
    Ok(complete(call, Kind::Chat, call.prompt(&["messages", "tools"])))
}

/// `completions`; a prompt of token numbers counts each.
pub(super) fn completions(call: &Arc<Call>) -> Result<Reply, Failure> {
    let prompt = call.body.get("prompt");
    if !call.knobs.early && prompt.is_none() {
        return Err(Failure::field("prompt", "field required"));
    }
    Ok(complete(call, Kind::Plain, call.prompt(&["prompt"])))
}

fn complete(call: &Arc<Call>, kind: Kind, prompt: u64) -> Reply {
    let mut output = Output::new(&call.body, &call.knobs);
    if kind == Kind::Plain {
        output.tool = None;
    }
    let copies = call.copies("n");
    let usage = call.usage(prompt, output.tokens.saturating_mul(copies));
    let id = call.id(if kind == Kind::Chat { "chatcmpl-" } else { "cmpl-" }, 24);
    if call.stream() {
        let bill = call.stream_bill(&usage);
        let stream = Stream {
            call: Arc::clone(call),
            id: id.clone(),
            kind,
            output,
            copies,
            prompt,
        };
        return Reply {
            content: Content::Events(stream.events(), true),
            bill,
            id,
        };
    }
    let choices: Vec<Value> = (0..copies)
        .map(|index| match kind {
            Kind::Chat => json!({
                "index": index,
                "message": message(call, &output, index),
                "finish_reason": output.finish,
            }),
            Kind::Plain => json!({
                "index": index,
                "text": output.text(),
                "logprobs": null,
                "finish_reason": output.finish,
            }),
        })
        .collect();
    let object = if kind == Kind::Chat {
        "chat.completion"
    } else {
        "text_completion"
    };
    let mut answer = json!({
        "id": id,
        "object": object,
        "created": call.created,
        "model": call.model.name,
        "choices": choices,
    });
    if let Some(usage) = call.usage_object(usage.prompt, usage.completion) {
        put(&mut answer, "usage", usage);
    }
    Reply {
        content: Content::Json(answer),
        bill: call.bill(&usage),
        id,
    }
}

fn message(call: &Call, output: &Output, index: u64) -> Value {
    let mut message = json!({
        "role": "assistant",
        "content": output.text(),
        "reasoning_content": null,
        "name": null,
        "tool_calls": null,
    });
    if let Some(tool) = &output.tool {
        put(&mut message, "content", Value::Null);
        let tools = json!([{
            "id": call.id(&format!("call_{index}"), 22),
            "type": "function",
            "function": { "name": tool, "arguments": output.text() },
        }]);
        put(&mut message, "tool_calls", tools);
    }
    message
}

/// A stream of chunks, each made when it is sent.
struct Stream {
    call: Arc<Call>,
    id: String,
    kind: Kind,
    output: Output,
    copies: u64,
    prompt: u64,
}

impl Stream {
    /// Token after token, in turn for each choice; then the ends of the choices, then the usage if it stands apart.
    fn events(self) -> Events {
        let stream = Arc::new(self);
        let (tokens, copies) = (stream.output.tokens, stream.copies);
        let (ends, last) = (Arc::clone(&stream), Arc::clone(&stream));
        let body = (0..tokens).flat_map(move |token| {
            let stream = Arc::clone(&stream);
            (0..copies).map(move |choice| stream.token(token, choice))
        });
        let ends = (0..copies).map(move |choice| ends.end(choice));
        let separate = std::iter::once_with(move || last.separate()).flatten();
        Box::new(body.chain(ends).chain(separate))
    }

    fn token(&self, token: u64, choice: u64) -> Event {
        let text = self.output.token(token);
        let choice_object = match (self.kind, &self.output.tool) {
            (Kind::Plain, _) => {
                json!({ "index": choice, "text": text, "logprobs": null, "finish_reason": null })
            }
            (Kind::Chat, None) => {
                let mut delta = json!({ "content": text });
                if token == 0 {
                    put(&mut delta, "role", json!("assistant"));
                }
                json!({ "index": choice, "delta": delta, "finish_reason": null })
            }
            (Kind::Chat, Some(tool)) => {
                let mut function = json!({ "arguments": text });
                let mut part = json!({ "index": 0 });
                let mut delta = json!({});
                if token == 0 {
                    put(
                        &mut part,
                        "id",
                        json!(self.call.id(&format!("call_{choice}"), 22)),
                    );
                    put(&mut part, "type", json!("function"));
                    put(&mut function, "name", json!(tool));
                    put(&mut delta, "role", json!("assistant"));
                    put(&mut delta, "content", Value::Null);
                }
                put(&mut part, "function", function);
                put(&mut delta, "tool_calls", json!([part]));
                json!({ "index": choice, "delta": delta, "finish_reason": null })
            }
        };
        let sent = token
            .saturating_mul(self.copies)
            .saturating_add(choice)
            .saturating_add(1);
        let (_, running) = self.call.stream_usage();
        let usage = if running {
            self.usage(sent)
        } else {
            self.call.no_usage()
        };
        Event {
            name: None,
            data: self.chunk(json!([choice_object]), usage),
            tokens: 1,
        }
    }

    fn end(&self, choice: u64) -> Event {
        let object = match self.kind {
            Kind::Chat => json!({ "index": choice, "delta": {}, "finish_reason": self.output.finish }),
            Kind::Plain => {
                json!({ "index": choice, "text": "", "logprobs": null, "finish_reason": self.output.finish })
            }
        };
        let (last, running) = self.call.stream_usage();
        let here = last
            && choice.saturating_add(1) == self.copies
            && self.call.knobs.usage_chunk == UsageChunk::Finish;
        let usage = if here || running {
            self.usage(self.all())
        } else {
            self.call.no_usage()
        };
        Event {
            name: None,
            data: self.chunk(json!([object]), usage),
            tokens: 0,
        }
    }

    fn separate(&self) -> Option<Event> {
        let (last, _) = self.call.stream_usage();
        let apart = last && self.call.knobs.usage_chunk == UsageChunk::Separate;
        let usage = self.usage(self.all()).filter(|_| apart)?;
        Some(Event {
            name: None,
            data: self.chunk(json!([]), Some(usage)),
            tokens: 0,
        })
    }

    fn all(&self) -> u64 {
        self.output.tokens.saturating_mul(self.copies)
    }

    fn usage(&self, completion: u64) -> Option<Value> {
        self.call.usage_object(self.prompt, completion)
    }

    fn chunk(&self, choices: Value, usage: Option<Value>) -> Value {
        let object = match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Plain => "text_completion",
        };
        let mut chunk = json!({
            "id": self.id,
            "object": object,
            "created": self.call.created,
            "model": self.call.model.name,
            "choices": choices,
        });
        if let Some(usage) = usage {
            put(&mut chunk, "usage", usage);
        }
        chunk
    }
}

/// `embeddings`: the vector of a text follows from the text. Its usage has no cost, as the upstream's.
pub(super) fn embeddings(call: &Arc<Call>) -> Result<Reply, Failure> {
    let input = call.body.get("input").cloned().unwrap_or_default();
    let texts = inputs(&input)?;
    let base64 = call.text("encoding_format") == Some("base64");
    let dimensions = call.number("dimensions").unwrap_or(DIMENSIONS).min(8192);
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let embedding = if base64 {
                let bytes: Vec<u8> = thousandths(text, dimensions)
                    .flat_map(|value| (f32::from(value) / 1000.0).to_le_bytes())
                    .collect();
                json!(STANDARD.encode(bytes))
            } else {
                vector(text, dimensions)
            };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    let usage = call.usage(call.prompt(&["input"]), 0);
    let mut answer = json!({ "object": "list", "data": data, "model": call.model.name });
    if call.knobs.usage_shape != UsageShape::None {
        put(
            &mut answer,
            "usage",
            json!({ "prompt_tokens": usage.prompt, "total_tokens": usage.prompt }),
        );
    }
    Ok(Reply {
        content: Content::Json(answer),
        bill: call.bill(&usage),
        id: call.request_id(),
    })
}

/// The texts of an input: one or a list of them; a list of numbers is one text in tokens.
pub(super) fn inputs(input: &Value) -> Result<Vec<Value>, Failure> {
    let items = input.as_array();
    let texts = match items {
        Some(items) if !items.iter().any(Value::is_number) => items.clone(),
        _ => vec![input.clone()],
    };
    if texts.is_empty() || texts.len() > MAX_INPUTS || input.is_null() {
        return Err(Failure::field("input", "between 1 and 1024 inputs are required"));
    }
    Ok(texts)
}

/// A vector of numbers between -1 and 1.
pub(super) fn vector(text: &Value, dimensions: u64) -> Value {
    thousandths(text, dimensions)
        .map(|value| {
            let sign = if value < 0 { "-" } else { "" };
            bare(&format!("{sign}{}", decimal(u64::from(value.unsigned_abs()), 3)))
        })
        .collect()
}

/// Numbers from -1000 to 1000 that follow from the text alone.
fn thousandths(text: &Value, dimensions: u64) -> impl Iterator<Item = i16> {
    let seed = text.to_string().bytes().fold(tokens_in(text), |seed, byte| {
        seed.rotate_left(5) ^ u64::from(byte).wrapping_mul(0x9e37_79b9)
    });
    (0..dimensions).map(move |index| {
        let mixed = seed
            .wrapping_add(index)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_right(29);
        i16::try_from(mixed % 2001)
            .unwrap_or_default()
            .saturating_sub(1000)
    })
}
