//! One call as the surfaces see it, and what they answer.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::types::ModelName;

use super::catalogue;
use super::errors::Failure;
use super::knobs::{Knobs, Presence, Running, UsageChunk};
use super::model::{Model, Task};
use super::record::Bill;
use super::usage::{Usage, count, put, put_cost, tier, tokens_in};

/// The characters of an id.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A call whose model is chosen.
#[derive(Debug)]
pub(super) struct Call {
    /// What is turned for this call.
    pub(super) knobs: Arc<Knobs>,
    /// The JSON body, or the fields of a form.
    pub(super) body: Value,
    /// The files of a form.
    pub(super) files: Vec<Upload>,
    /// Who serves.
    pub(super) model: Model,
    /// What ids are made of.
    pub(super) seed: u128,
    /// Unix time in seconds.
    pub(super) created: u64,
    /// What the service tier makes of a price, in percent.
    pub(super) tier: u64,
}

/// A file of a form. Its bytes are counted, not held.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    /// The field.
    pub(super) field: String,
    /// Its length in bytes.
    pub(super) length: u64,
}

/// One event of a stream.
#[derive(Debug)]
pub(super) struct Event {
    /// What stands after `event:`.
    pub(super) name: Option<&'static str>,
    /// The data.
    pub(super) data: Value,
    /// Tokens of output that it carries.
    pub(super) tokens: u64,
}

/// The events of a stream, made as they are sent.
pub(super) type Events = Box<dyn Iterator<Item = Event> + Send>;

/// The body of an answer.
pub(super) enum Content {
    /// JSON.
    Json(Value),
    /// Text or bytes of this media type.
    Bytes(&'static str, Vec<u8>),
    /// A stream of events, with `[DONE]` at its end if so said.
    Events(Events, bool),
}

/// An answer of a surface.
pub(super) struct Reply {
    /// The body.
    pub(super) content: Content,
    /// What is charged; in a stream, the output is added as it goes out.
    pub(super) bill: Bill,
    /// The id under which the cost can be asked for.
    pub(super) id: String,
}

impl Call {
    /// An id of `length` characters after `prefix`.
    pub(super) fn id(&self, prefix: &str, length: usize) -> String {
        let mut rest = prefix.bytes().fold(self.seed, |seed, byte| {
            seed.rotate_left(7) ^ u128::from(byte).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let mut id = prefix.to_owned();
        for _ in 0..length {
            let digit = usize::try_from(rest % 62).unwrap_or_default();
            id.push(BASE62.get(digit).copied().map_or('0', char::from));
            rest = (rest / 62) ^ rest.rotate_left(61);
        }
        id
    }

    /// A request id, `R` and 23 characters.
    pub(super) fn request_id(&self) -> String {
        self.id("R", 23)
    }

    /// The text of a field.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name)?.as_str()
    }

    /// A count; a string of digits counts too, as some clients send one.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        let value = self.body.get(name)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    }

    /// How many answers are asked for, 1 to 4.
    pub(super) fn copies(&self, name: &str) -> u64 {
        self.number(name).unwrap_or(1).clamp(1, 4)
    }

    /// Whether a stream is asked for.
    pub(super) fn stream(&self) -> bool {
        self.body.get("stream").and_then(Value::as_bool) == Some(true)
    }

    /// The tokens of the prompt that stands in these fields, at least one.
    pub(super) fn prompt(&self, fields: &[&str]) -> u64 {
        let counted = || {
            fields
                .iter()
                .filter_map(|field| self.body.get(field))
                .map(tokens_in)
                .fold(0, u64::saturating_add)
                .max(1)
        };
        self.knobs.prompt_tokens.unwrap_or_else(counted)
    }

    /// The usage of so many tokens.
    pub(super) fn usage(&self, prompt: u64, completion: u64) -> Usage {
        Usage::new(prompt, completion, &self.knobs)
    }

    /// The OpenAI usage object of so many tokens, with their cost.
    pub(super) fn usage_object(&self, prompt: u64, completion: u64) -> Option<Value> {
        let usage = self.usage(prompt, completion);
        usage.openai(self.bill(&usage).cost(), &self.knobs)
    }

    /// What is charged for `usage` where its output is still to go out, token by token.
    pub(super) fn stream_bill(&self, usage: &Usage) -> Bill {
        let mut bill = self.bill(usage);
        bill.unseen = bill.output.saturating_sub(usage.completion);
        bill.output = 0;
        bill
    }

    /// What is charged for `usage`, its output included.
    pub(super) fn bill(&self, usage: &Usage) -> Bill {
        Bill {
            input: usage.prompt,
            output: usage.charged(&self.knobs),
            unseen: 0,
            fixed: usage.prompt_cost(&self.model, self.tier),
            per_output: tier(self.model.rates().output, self.tier),
        }
    }

    /// What is charged where tokens don't count.
    pub(super) fn flat(&self, cost: u64) -> Bill {
        Bill {
            fixed: cost,
            ..Bill::default()
        }
    }

    /// Whether a stream ends with usage, and whether each of its chunks has some.
    pub(super) fn stream_usage(&self) -> (bool, bool) {
        let option = |name: &str| {
            self.body
                .pointer("/stream_options")
                .and_then(|options| options.get(name)?.as_bool())
        };
        let asked = option("include_usage").unwrap_or(self.knobs.usage);
        let last = asked && self.knobs.usage_chunk != UsageChunk::None;
        let running = match self.knobs.running_usage {
            Running::Always => true,
            Running::Never => false,
            Running::Asked => asked && option("continuous_usage_stats") == Some(true),
        };
        (last, running)
    }

    /// The usage of a chunk that has none, in a stream that ends with some: null of an upstream that sends it unasked,
    /// else nothing.
    pub(super) fn no_usage(&self) -> Option<Value> {
        let (last, _) = self.stream_usage();
        (last && self.knobs.usage).then_some(Value::Null)
    }

    /// The answer in JSON of a native call, with its envelope put in.
    pub(super) fn native(&self, mut answer: Value, bill: Bill) -> Reply {
        let id = self.request_id();
        match self.knobs.native_request_id {
            Presence::Present => put(&mut answer, "request_id", json!(id)),
            Presence::Null => put(&mut answer, "request_id", Value::Null),
            Presence::Absent => {}
        }
        put(&mut answer, "inference_status", self.inference_status(&bill));
        Reply {
            content: Content::Json(answer),
            bill,
            id,
        }
    }

    /// `inference_status`, with the cost so far.
    pub(super) fn inference_status(&self, bill: &Bill) -> Value {
        let mut status = json!({
            "status": self.knobs.native_status,
            "runtime_ms": bill.output.saturating_mul(9).saturating_add(24),
        });
        put_cost(&mut status, "cost", bill.cost(), &self.knobs);
        match self.knobs.native_tokens {
            Presence::Present => {
                put(&mut status, "tokens_generated", json!(bill.output));
                put(&mut status, "tokens_input", json!(bill.input));
            }
            Presence::Null => {
                put(&mut status, "tokens_generated", Value::Null);
                put(&mut status, "tokens_input", Value::Null);
            }
            Presence::Absent => {}
        }
        put(&mut status, "output_length", json!(0));
        status
    }

    /// The bytes of the file in `field`, or of the first one; a `data:` URL in JSON counts as a file.
    pub(super) fn file(&self, field: &str) -> Option<u64> {
        let named = self.files.iter().find(|file| file.field == field);
        let file = named.or_else(|| self.files.first()).map(|file| file.length);
        file.or_else(|| self.text(field).map(|text| count(text.len())))
    }
}

/// Chooses the model that serves one of `asked`: the first that is not busy.
///
/// # Errors
/// 404 for a model that is not known where that is refused, 429 when all are busy.
pub(super) fn choose(asked: &[String], task: Task, knobs: &Knobs) -> Result<Model, Failure> {
    let free = asked
        .iter()
        .find(|name| !knobs.busy_model.contains(name))
        .ok_or_else(|| Failure::new(StatusCode::TOO_MANY_REQUESTS, "Model busy, retry later"))?;
    let name = knobs.serve_model.as_ref().unwrap_or(free);
    let parsed = ModelName::parse(name).map_err(|_| Failure::status(StatusCode::NOT_FOUND))?;
    let name = catalogue::replacement(parsed.base()).unwrap_or(parsed.base());
    match catalogue::find(name) {
        Some(model) => Ok(model),
        None if knobs.refuse_unknown => Err(Failure::status(StatusCode::NOT_FOUND)),
        None => Ok(catalogue::stranger(name, task)),
    }
}
