//! The Responses API: JSON and its named events.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::{Call, Content, Event, Events, Reply};
use super::errors::Failure;
use super::generate::Output;
use super::knobs::UsageShape;
use super::usage::{put, put_cost};

/// `responses`.
pub(super) fn answer(call: &Arc<Call>) -> Result<Reply, Failure> {
    if !call.knobs.early && call.body.get("input").is_none() {
        return Err(Failure::field("input", "field required"));
    }
    let output = Output::new(&call.body, &call.knobs);
    let prompt = call.prompt(&["instructions", "input", "tools"]);
    let usage = call.usage(prompt, output.tokens);
    let id = call.id("resp_", 32);
    let response = Response {
        call: Arc::clone(call),
        output,
        prompt,
    };
    if call.stream() {
        let bill = call.stream_bill(&usage);
        return Ok(Reply {
            content: Content::Events(response.events(), false),
            bill,
            id,
        });
    }
    Ok(Reply {
        content: Content::Json(response.object("completed", true)),
        bill: call.bill(&usage),
        id,
    })
}

struct Response {
    call: Arc<Call>,
    output: Output,
    prompt: u64,
}

impl Response {
    fn object(&self, status: &str, whole: bool) -> Value {
        let output = if whole {
            json!([self.item("completed", &self.output.text())])
        } else {
            json!([])
        };
        let mut object = json!({
            "id": self.call.id("resp_", 32),
            "object": "response",
            "created_at": self.call.created,
            "status": status,
            "error": null,
            "incomplete_details": null,
            "instructions": self.call.body.get("instructions"),
            "max_output_tokens": self.call.number("max_output_tokens"),
            "model": self.call.model.name,
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "store": false,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": self.call.body.get("tools").cloned().unwrap_or(json!([])),
            "top_p": 1.0,
            "metadata": {},
            "usage": if whole { self.usage() } else { Value::Null },
        });
        if whole && self.output.finish == "length" {
            put(&mut object, "status", json!("incomplete"));
            put(
                &mut object,
                "incomplete_details",
                json!({ "reason": "max_output_tokens" }),
            );
        }
        object
    }

    fn item(&self, status: &str, text: &str) -> Value {
        match &self.output.tool {
            Some(tool) => json!({
                "id": self.call.id("fc_", 24),
                "type": "function_call",
                "status": status,
                "call_id": self.call.id("call_", 24),
                "name": tool,
                "arguments": text,
            }),
            None => json!({
                "id": self.call.id("msg_", 24),
                "type": "message",
                "status": status,
                "role": "assistant",
                "content": if text.is_empty() { json!([]) } else { json!([part(text)]) },
            }),
        }
    }

    fn usage(&self) -> Value {
        if self.call.knobs.usage_shape == UsageShape::None {
            return Value::Null;
        }
        let usage = self.call.usage(self.prompt, self.output.tokens);
        let charged = usage.charged(&self.call.knobs);
        let mut object = json!({
            "input_tokens": usage.prompt,
            "input_tokens_details": { "cached_tokens": usage.cached },
            "output_tokens": usage.completion,
            "output_tokens_details": { "reasoning_tokens": usage.reasoning },
            "total_tokens": usage.prompt.saturating_add(charged),
        });
        let cost = self.call.bill(&usage).cost();
        put_cost(&mut object, "estimated_cost", cost, &self.call.knobs);
        object
    }

    fn events(self) -> Events {
        let count = self.output.tokens;
        let response = Arc::new(self);
        let (before, within, after) = (Arc::clone(&response), Arc::clone(&response), response);
        let start = std::iter::once_with(move || before.start()).flatten();
        let deltas = (0..count).map(move |token| within.delta(token));
        let end = std::iter::once_with(move || after.end()).flatten();
        let events = start.chain(deltas).chain(end).zip(0_u64..);
        Box::new(events.map(|(mut event, number)| {
            put(&mut event.data, "type", json!(event.name));
            put(&mut event.data, "sequence_number", json!(number));
            event
        }))
    }

    fn start(&self) -> Vec<Event> {
        let mut events = vec![
            event(
                "response.created",
                json!({ "response": self.object("in_progress", false) }),
            ),
            event(
                "response.in_progress",
                json!({ "response": self.object("in_progress", false) }),
            ),
            event(
                "response.output_item.added",
                json!({ "output_index": 0, "item": self.item("in_progress", "") }),
            ),
        ];
        if self.output.tool.is_none() {
            let added = self.inside(json!({ "part": part("") }));
            events.push(event("response.content_part.added", added));
        }
        events
    }

    fn delta(&self, token: u64) -> Event {
        let name = if self.output.tool.is_some() {
            "response.function_call_arguments.delta"
        } else {
            "response.output_text.delta"
        };
        Event {
            tokens: 1,
            ..event(name, self.inside(json!({ "delta": self.output.token(token) })))
        }
    }

    fn end(&self) -> Vec<Event> {
        let text = self.output.text();
        let item = self.item("completed", &text);
        let mut events = if self.output.tool.is_some() {
            let done = self.inside(json!({ "arguments": text }));
            vec![event("response.function_call_arguments.done", done)]
        } else {
            vec![
                event("response.output_text.done", self.inside(json!({ "text": text }))),
                event(
                    "response.content_part.done",
                    self.inside(json!({ "part": part(&text) })),
                ),
            ]
        };
        events.push(event(
            "response.output_item.done",
            json!({ "output_index": 0, "item": item }),
        ));
        let name = if self.output.finish == "length" {
            "response.incomplete"
        } else {
            "response.completed"
        };
        events.push(event(name, json!({ "response": self.object("completed", true) })));
        events
    }

    /// Data of an event within the one item that there is.
    fn inside(&self, mut data: Value) -> Value {
        let prefix = if self.output.tool.is_some() { "fc_" } else { "msg_" };
        put(&mut data, "item_id", json!(self.call.id(prefix, 24)));
        put(&mut data, "output_index", json!(0));
        if self.output.tool.is_none() {
            put(&mut data, "content_index", json!(0));
        }
        data
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [] })
}

fn event(name: &'static str, data: Value) -> Event {
    Event {
        name: Some(name),
        data,
        tokens: 0,
    }
}
