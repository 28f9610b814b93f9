//! The Anthropic surface: messages with their events, and the count of tokens.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::{Call, Content, Event, Events, Reply};
use super::errors::Failure;
use super::generate::Output;
use super::record::Bill;
use super::usage::put;

/// What a prompt consists of.
const PROMPT: [&str; 3] = ["system", "messages", "tools"];

/// `messages`.
pub(super) fn messages(call: &Arc<Call>) -> Result<Reply, Failure> {
    let messages = call.body.get("messages").and_then(Value::as_array);
    if !call.knobs.early && messages.is_none_or(Vec::is_empty) {
        return Err(Failure::field("messages", "messages: field required"));
    }
    let output = Output::new(&call.body, &call.knobs);
    let usage = call.usage(call.prompt(&PROMPT), output.tokens);
    let id = call.id("msg_", 24);
    let message = Message {
        call: Arc::clone(call),
        prompt: usage.prompt,
        output,
    };
    if call.stream() {
        let bill = call.stream_bill(&usage);
        return Ok(Reply {
            content: Content::Events(message.events(), false),
            bill,
            id,
        });
    }
    let mut object = message.object();
    put(
        &mut object,
        "content",
        json!([message.block(&message.output.text())]),
    );
    put(&mut object, "stop_reason", json!(message.stop_reason()));
    put(&mut object, "usage", message.usage(message.output.tokens));
    Ok(Reply {
        content: Content::Json(object),
        bill: call.bill(&usage),
        id,
    })
}

/// `count_tokens`, which costs nothing.
pub(super) fn count_tokens(call: &Call) -> Reply {
    Reply {
        content: Content::Json(json!({ "input_tokens": call.prompt(&PROMPT) })),
        bill: Bill::default(),
        id: call.request_id(),
    }
}

struct Message {
    call: Arc<Call>,
    output: Output,
    prompt: u64,
}

impl Message {
    fn object(&self) -> Value {
        json!({
            "id": self.call.id("msg_", 24),
            "type": "message",
            "role": "assistant",
            "model": self.call.model.name,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
        })
    }

    fn block(&self, text: &str) -> Value {
        match &self.output.tool {
            Some(tool) => json!({
                "type": "tool_use",
                "id": self.call.id("toolu_", 22),
                "name": tool,
                "input": serde_json::from_str(text).unwrap_or(json!({})),
            }),
            None => json!({ "type": "text", "text": text }),
        }
    }

    fn stop_reason(&self) -> &'static str {
        match self.output.finish {
            "length" => "max_tokens",
            "tool_calls" => "tool_use",
            _ => "end_turn",
        }
    }

    /// `input_tokens` leaves the cached tokens out, unlike the other surfaces.
    fn usage(&self, completion: u64) -> Value {
        let usage = self.call.usage(self.prompt, completion);
        let plain = usage
            .prompt
            .saturating_sub(usage.cached)
            .saturating_sub(usage.written);
        json!({
            "input_tokens": plain,
            "cache_creation_input_tokens": usage.written,
            "cache_read_input_tokens": usage.cached,
            "output_tokens": usage.charged(&self.call.knobs),
        })
    }

    fn events(self) -> Events {
        let count = self.output.tokens;
        let message = Arc::new(self);
        let (before, within, after) = (Arc::clone(&message), Arc::clone(&message), message);
        let start = std::iter::once_with(move || before.start()).flatten();
        let deltas = (0..count).map(move |token| within.delta(token));
        let end = std::iter::once_with(move || after.end()).flatten();
        Box::new(start.chain(deltas).chain(end).map(|mut event| {
            put(&mut event.data, "type", json!(event.name));
            event
        }))
    }

    fn start(&self) -> Vec<Event> {
        let mut object = self.object();
        // The count so far at the head of a stream: the input, and the one token that is begun.
        put(&mut object, "usage", self.usage(1));
        let block = if self.output.tool.is_some() {
            self.block("{}")
        } else {
            self.block("")
        };
        vec![
            event("message_start", json!({ "message": object })),
            event(
                "content_block_start",
                json!({ "index": 0, "content_block": block }),
            ),
            event("ping", json!({})),
        ]
    }

    fn delta(&self, token: u64) -> Event {
        let text = self.output.token(token);
        let delta = if self.output.tool.is_some() {
            json!({ "type": "input_json_delta", "partial_json": text })
        } else {
            json!({ "type": "text_delta", "text": text })
        };
        Event {
            tokens: 1,
            ..event("content_block_delta", json!({ "index": 0, "delta": delta }))
        }
    }

    fn end(&self) -> Vec<Event> {
        let delta = json!({ "stop_reason": self.stop_reason(), "stop_sequence": null });
        let usage = self.usage(self.output.tokens);
        vec![
            event("content_block_stop", json!({ "index": 0 })),
            event("message_delta", json!({ "delta": delta, "usage": usage })),
            event("message_stop", json!({})),
        ]
    }
}

fn event(name: &'static str, data: Value) -> Event {
    Event {
        name: Some(name),
        data,
        tokens: 0,
    }
}
