//! What can be turned about the simulated upstream: one table of names, defaults and meanings.
//!
//! A knob `NAME` is the flag `--NAME` for every request and the header `x-sim-NAME` for one. Both are read by
//! [`Knobs::set`], so that the three never drift apart.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::setting::Setting;
pub use super::setting::{
    Abort, Cost, ErrorFrame, LineEnd, NativeFinal, Presence, Running, Text, Unauthorized, UsageChunk,
    UsageShape,
};

/// The beginning of every header that turns a knob for one request.
pub const HEADER_PREFIX: &str = "x-sim-";

/// One row of the table: how a knob is called and what it takes.
#[derive(Debug, Clone, Copy)]
pub struct Knob {
    /// The name, as in `--NAME`.
    pub name: &'static str,
    /// The request header that turns it for one request, `x-sim-NAME`.
    pub header: &'static str,
    /// What it does, in one or two sentences.
    pub help: &'static str,
    /// What it takes: the words allowed, or one placeholder such as `N`.
    pub values: &'static [&'static str],
}

/// A knob that does not exist, or a value that it does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKnob {
    /// No knob has this name.
    #[error("there is no knob `{name}`")]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// The knob does not take this value.
    #[error("knob `{name}` takes {expected}, not `{value}`")]
    Value {
        /// The knob.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it takes.
        expected: String,
    },
}

impl Knobs {
    /// These knobs with those of a request's `x-sim-*` headers turned. A list knob (`header`, `trailer`,
    /// `busy-model`) is added to, every other one replaced.
    ///
    /// # Errors
    /// An `x-sim-*` header that names no knob, or whose value is not text or not one that the knob takes.
    pub fn with_headers(&self, headers: &HeaderMap) -> Result<Self, BadKnob> {
        let mut knobs = self.clone();
        for (name, value) in headers {
            if let Some(name) = name.as_str().strip_prefix(HEADER_PREFIX) {
                let value = value.to_str().map_err(|_| BadKnob::Unknown {
                    name: format!("{name}, with a value that is not text"),
                })?;
                knobs.set(name, value)?;
            }
        }
        Ok(knobs)
    }
}

macro_rules! knobs {
    ($($(#[doc = $doc:literal])+ $name:literal $field:ident: $type:ty = $default:expr;)+) => {
        /// Every behaviour that can be turned; the default is the upstream's own.
        #[derive(Debug, Clone)]
        pub struct Knobs { $($(#[doc = $doc])+ pub $field: $type,)+ }

        impl Default for Knobs {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl Knobs {
            /// The table of all knobs.
            pub const ALL: &'static [Knob] = &[$(Knob {
                name: $name,
                header: concat!("x-sim-", $name),
                help: concat!($($doc),+).trim_ascii(),
                values: <$type as Setting>::VALUES,
            }),+];

            /// Turns the knob `name`.
            ///
            /// # Errors
            /// No knob has that name, or it does not take that value; then nothing changes.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), BadKnob> {
                match name {
                    $($name => self.$field.assign(value.trim()).ok_or_else(|| BadKnob::Value {
                        name: $name,
                        value: value.to_owned(),
                        expected: <$type as Setting>::VALUES.join(" or "),
                    }),)+
                    _ => Err(BadKnob::Unknown { name: name.to_owned() }),
                }
            }
        }
    };
}

knobs! {
    /// The only API key that is accepted; any credential when empty.
    "key" key: Option<String> = None;
    /// The status for a request without a credential, or with the wrong one.
    "unauthorized" unauthorized: Unauthorized = Unauthorized::Status403;
    /// Answer with this status: from 300 on with the error that goes with it, below in place of 200.
    "status" status: Option<u16> = None;
    /// The message of that error instead of its usual one (429: `Rate limited`; try `Model busy, retry later`).
    "message" message: Option<String> = None;
    /// Send `Retry-After` with an error, in these words.
    "retry-after" retry_after: Option<String> = None;
    /// A model that is busy: 429, or the next of the request's `models`. May be given again.
    "busy-model" busy_model: Vec<String> = Vec::new();
    /// Serve this model whatever is asked for.
    "serve-model" serve_model: Option<String> = None;
    /// Answer 404 for a model that the catalogue does not know, instead of serving it.
    "refuse-unknown" refuse_unknown: bool = false;
    /// Wait before the head of the answer, in milliseconds.
    "latency-ms" latency_ms: u64 = 0;
    /// Wait before every token of a stream, in milliseconds.
    "token-ms" token_ms: u64 = 0;
    /// Answer before the request body is read.
    "early" early: bool = false;
    /// Tokens that are generated, at most a million; a request's own limit still holds.
    "tokens" tokens: u64 = 16;
    /// Tokens that the prompt counts; else one for every four bytes of text.
    "prompt-tokens" prompt_tokens: Option<u64> = None;
    /// What the generated text is made of.
    "text" text: Text = Text::Words;
    /// Send usage in a stream that did not ask for it, and null in the chunks of a stream before it.
    "usage" usage: bool = true;
    /// Where the usage stands at the end of a stream.
    "usage-chunk" usage_chunk: UsageChunk = UsageChunk::Finish;
    /// What a usage object holds.
    "usage-shape" usage_shape: UsageShape = UsageShape::Full;
    /// When a stream carries running usage.
    "running-usage" running_usage: Running = Running::Asked;
    /// How a cost is written.
    "cost" cost: Cost = Cost::Number;
    /// `request_id` of native answers.
    "native-request-id" native_request_id: Presence = Presence::Present;
    /// `inference_status.status` of native answers.
    "native-status" native_status: String = "succeeded".to_owned();
    /// The token counts in `inference_status`.
    "native-tokens" native_tokens: Presence = Presence::Present;
    /// End base64 in `data:` URLs of sound with its padding.
    "base64-padding" base64_padding: bool = true;
    /// What the last event of a native stream says of usage.
    "native-final" native_final: NativeFinal = NativeFinal::Details;
    /// Send a comment before every N-th event of a stream; 0 is never.
    "comment-every" comment_every: u64 = 0;
    /// Send `data: null` before every N-th event of a stream; 0 is never.
    "null-every" null_every: u64 = 0;
    /// What ends a line of a stream.
    "line-end" line_end: LineEnd = LineEnd::Lf;
    /// Leave out the space after `data:`.
    "no-space" no_space: bool = false;
    /// Spread the data of an event over several `data:` lines.
    "multi-line" multi_line: bool = false;
    /// End OpenAI and native streams with `[DONE]`.
    "done" done: bool = true;
    /// Send at most N bytes in one piece, each flushed by itself; 0 is no limit.
    "split" split: u64 = 0;
    /// Break a stream off with an error event after N tokens.
    "error-after" error_after: Option<u64> = None;
    /// What that error event looks like.
    "error-frame" error_frame: ErrorFrame = ErrorFrame::Typed;
    /// Break the connection off after N tokens of a stream, without an end.
    "abort-after" abort_after: Option<u64> = None;
    /// Break the connection off after N bytes of any answer's body.
    "abort-after-bytes" abort_after_bytes: Option<u64> = None;
    /// How an HTTP/1 connection ends that is broken off; an HTTP/2 stream is always reset.
    "abort-with" abort_with: Abort = Abort::Close;
    /// Send nothing more after N tokens of a stream, and keep the connection.
    "stall-after" stall_after: Option<u64> = None;
    /// Make the answer's body at least N bytes long with padding; streamed, never held.
    "body-bytes" body_bytes: Option<u64> = None;
    /// Send no `Content-Length`.
    "chunked" chunked: bool = false;
    /// An extra response header, `name: value`. May be given again.
    "header" header: Vec<(HeaderName, HeaderValue)> = Vec::new();
    /// A response trailer, `name: value`. May be given again; HTTP/1.1 clients must send `TE: trailers`.
    "trailer" trailer: Vec<(HeaderName, HeaderValue)> = Vec::new();
    /// Make ids and times depend on the request alone.
    "fixed" fixed: bool = false;
    /// How many of the last requests `/_sim/requests` keeps, at most 1000.
    "record" record: u64 = 200;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_of_the_table_can_be_turned_by_its_name() {
        for knob in Knobs::ALL {
            let value = match knob.values[0] {
                "N" => "7",
                "TEXT" | "NAME" => "x",
                "NAME: VALUE" => "x-a: b",
                "a status of 200 to 999" => "503",
                word => word,
            };
            let mut knobs = Knobs::default();
            knobs.set(knob.name, value).unwrap();
            assert_eq!(knob.header, format!("{HEADER_PREFIX}{}", knob.name));
            assert!(!knob.help.is_empty());
        }
    }

    #[test]
    fn headers_turn_knobs_for_one_request_and_a_bad_one_is_named() {
        let mut headers = HeaderMap::new();
        headers.insert("x-sim-tokens", HeaderValue::from_static("3"));
        headers.append("x-sim-header", HeaderValue::from_static("x-a: 1"));
        headers.append("x-sim-header", HeaderValue::from_static("x-b: 2"));
        let knobs = Knobs::default().with_headers(&headers).unwrap();
        assert_eq!((knobs.tokens, knobs.header.len()), (3, 2));

        for (name, value) in [
            ("x-sim-nothing", "1"),
            ("x-sim-tokens", "many"),
            ("x-sim-cost", "odd"),
            ("x-sim-status", "42"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            let error = Knobs::default().with_headers(&headers).unwrap_err().to_string();
            assert!(error.contains(&name["x-sim-".len()..]), "{error}");
        }
    }
}
