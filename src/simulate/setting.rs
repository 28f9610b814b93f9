//! What a knob can be set to: words of its own, numbers, texts and headers.

use http::header::{HeaderName, HeaderValue};

/// A type that a knob can have.
pub(super) trait Setting {
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
    /// How a connection ends that is broken off.
    Abort {
        /// It is closed.
        Close = "close",
        /// It is reset, and what has not been read yet may be lost.
        Reset = "reset",
    }
    /// The status for a request without a credential.
    Unauthorized {
        /// 401.
        Status401 = "401",
        /// 403.
        Status403 = "403",
    }
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
