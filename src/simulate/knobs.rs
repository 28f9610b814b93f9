//! What can be turned about the simulated upstream: one table of names, defaults and meanings.
//!
//! A knob `NAME` is the flag `--NAME` for every request and the header `x-sim-NAME` for one. Both are read by
//! [`Knobs::set`], so that the three never drift apart.

use http::header::{HeaderMap, HeaderName, HeaderValue};

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

/// A type that a knob can have.
trait Setting {
    /// See [`Knob::values`].
    const VALUES: &'static [&'static str];

    /// Takes over `text`, or leaves everything as it was and gives `None`.
    fn assign(&mut self, text: &str) -> Option<()>;
}

macro_rules! choices {
    ($($(#[doc = $about:literal])+ $type:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ })+) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($(#[doc = $doc])+ $variant,)+ }

        impl Setting for $type {
            const VALUES: &'static [&'static str] = &[$($word),+];

            fn assign(&mut self, text: &str) -> Option<()> {
                *self = match text {
                    $($word => Self::$variant,)+
                    _ => return None,
                };
                Some(())
            }
        }
    )+};
}

choices! {
    /// Where the usage stands at the end of a stream.
    UsageChunk {
        /// On the chunk that has the finish reason.
        Finish = "finish",
        /// On a chunk of its own with no choices.
        Separate = "separate",
        /// Nowhere, whatever is asked for.
        None = "none",
    }
    /// When a stream carries running usage on every chunk.
    Running {
        /// When `stream_options.continuous_usage_stats` asks for it.
        Asked = "asked",
        /// Always.
        Always = "always",
        /// Never.
        Never = "never",
    }
    /// What ends a line of a stream.
    LineEnd {
        /// `\n`.
        Lf = "lf",
        /// `\r\n`.
        Crlf = "crlf",
        /// `\r`.
        Cr = "cr",
    }
    /// What the generated text is made of.
    Text {
        /// English words in ASCII.
        Words = "words",
        /// Words whose characters take two to four bytes each.
        Multibyte = "multibyte",
    }
    /// How a cost is written.
    Cost {
        /// As Python prints a float: `2.68e-05`, `0.0012`.
        Number = "number",
        /// Without an exponent: `0.0000268`.
        Decimal = "decimal",
        /// Always with one: `2.68E-5`.
        Exponent = "exponent",
        /// A decimal in a string.
        String = "string",
        /// An object with `total`.
        Object = "object",
        /// Not at all.
        Absent = "absent",
        /// Below zero.
        Negative = "negative",
        /// `1e+300`.
        Huge = "huge",
        /// The string `"NaN"`.
        Nan = "nan",
        /// The bare word `NaN`, which is not JSON.
        BareNan = "bare-nan",
    }
    /// What an OpenAI usage object holds.
    UsageShape {
        /// The counts, the cost and details that are all zero.
        Full = "full",
        /// `prompt_tokens_details` is null.
        Null = "null",
        /// Half of the prompt was read from the cache.
        Cached = "cached",
        /// Half of the prompt was written to the cache.
        CacheWrite = "cache-write",
        /// Half of the output was reasoning, counted in `completion_tokens`.
        Reasoning = "reasoning",
        /// Twice the output was reasoning, left out of `completion_tokens` but in `total_tokens`.
        ReasoningBug = "reasoning-bug",
        /// The three counts and the cost alone.
        Bare = "bare",
        /// No usage object.
        None = "none",
    }
    /// Whether a field is there.
    Presence {
        /// It has a value.
        Present = "present",
        /// It is null.
        Null = "null",
        /// It is left out.
        Absent = "absent",
    }
    /// What the last event of a native stream says of usage.
    NativeFinal {
        /// `details` with the token counts.
        Details = "details",
        /// `details` and an `inference_status` with the cost.
        Status = "status",
        /// `details` is null.
        None = "none",
    }
    /// What an error in mid-stream looks like.
    ErrorFrame {
        /// `{"error_type":…,"error_message":…}`.
        Typed = "typed",
        /// `{"error":{"message":…}}`.
        Openai = "openai",
    }
    /// The status for a request without a credential.
    Unauthorized {
        /// 401.
        Status401 = "401",
        /// 403.
        Status403 = "403",
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
                help: concat!($($doc),+),
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
    /// Answer with this status and the error that goes with it.
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
    /// Tokens that are generated; a request's own limit still holds.
    "tokens" tokens: u64 = 16;
    /// Tokens that the prompt counts; else one for every four bytes of text.
    "prompt-tokens" prompt_tokens: Option<u64> = None;
    /// What the generated text is made of.
    "text" text: Text = Text::Words;
    /// Send usage in a stream that did not ask for it.
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

impl Setting for bool {
    const VALUES: &'static [&'static str] = &["true", "false"];

    fn assign(&mut self, text: &str) -> Option<()> {
        *self = text.parse().ok()?;
        Some(())
    }
}

impl Setting for u64 {
    const VALUES: &'static [&'static str] = &["N"];

    fn assign(&mut self, text: &str) -> Option<()> {
        *self = text.parse().ok()?;
        Some(())
    }
}

impl Setting for String {
    const VALUES: &'static [&'static str] = &["TEXT"];

    fn assign(&mut self, text: &str) -> Option<()> {
        *self = text.to_owned();
        Some(())
    }
}

impl Setting for Option<String> {
    const VALUES: &'static [&'static str] = &["TEXT"];

    fn assign(&mut self, text: &str) -> Option<()> {
        *self = (!text.is_empty()).then(|| text.to_owned());
        Some(())
    }
}

impl Setting for Option<u64> {
    const VALUES: &'static [&'static str] = &["N", "none"];

    fn assign(&mut self, text: &str) -> Option<()> {
        *self = match text {
            "none" => None,
            number => Some(number.parse().ok()?),
        };
        Some(())
    }
}

impl Setting for Option<u16> {
    const VALUES: &'static [&'static str] = &["a status of 200 to 999", "none"];

    fn assign(&mut self, text: &str) -> Option<()> {
        *self = match text {
            "none" => None,
            number => Some(
                number
                    .parse()
                    .ok()
                    .filter(|status| (200..1000).contains(status))?,
            ),
        };
        Some(())
    }
}

impl Setting for Vec<String> {
    const VALUES: &'static [&'static str] = &["NAME"];

    fn assign(&mut self, text: &str) -> Option<()> {
        self.push(text.to_owned());
        Some(())
    }
}

impl Setting for Vec<(HeaderName, HeaderValue)> {
    const VALUES: &'static [&'static str] = &["NAME: VALUE"];

    fn assign(&mut self, text: &str) -> Option<()> {
        let (name, value) = text.split_once(':')?;
        self.push((name.trim().parse().ok()?, value.trim().parse().ok()?));
        Some(())
    }
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
