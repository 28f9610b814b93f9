//! An event stream, watched as it passes: did it end as it should, or was it cut?
//!
//! The tap observes. It sees lines as the WHATWG's server-sent events define them (LF, CRLF or CR; `data:` with or
//! without a space; comments; a byte order mark), however the bytes are cut, and whatever it can't make sense of it
//! passes over.

use memchr::{memchr2, memmem};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest line that is kept, in bytes; of a longer one nothing is seen.
const MAX_LINE: usize = 1024 * 1024;

/// Watches an event stream.
#[derive(Debug, Default)]
pub struct SseTap {
    line: Vec<u8>,
    too_long: bool,
    after_cr: bool,
    finished: bool,
    failed: bool,
}

impl SseTap {
    /// Shows the next bytes of the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        if std::mem::take(&mut self.after_cr) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = memchr2(b'\n', b'\r', bytes) {
            let (line, rest) = bytes.split_at(end);
            self.ends_with(line);
            bytes = match rest {
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => rest,
            };
            self.after_cr = rest == b"\r";
        }
        self.keep(bytes);
    }

    /// Whether the stream's last event was seen.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// Whether an error was seen in the stream.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// A line ends with these bytes.
    fn ends_with(&mut self, end: &[u8]) {
        if self.line.is_empty() && !self.too_long {
            return self.line(end);
        }
        self.keep(end);
        let line = std::mem::take(&mut self.line);
        if !std::mem::take(&mut self.too_long) {
            self.line(&line);
        }
    }

    fn keep(&mut self, part: &[u8]) {
        if self.line.len().saturating_add(part.len()) > MAX_LINE {
            self.too_long = true;
            self.line = Vec::new();
        }
        if !self.too_long {
            self.line.extend_from_slice(part);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let Some(data) = line.strip_prefix(b"data:") else {
            return;
        };
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.finished = true;
        } else if MARKS.iter().any(|mark| memmem::find(data, mark).is_some())
            && let Ok(event) = serde_json::from_slice::<Event<'_>>(data)
        {
            self.failed |= event.error.is_some() || event.error_type.is_some() || event.kind == Some("error");
            self.finished |=
                event.generated_text.is_some() || event.kind.is_some_and(|kind| LAST.contains(&kind));
        }
    }
}

/// A frame without any of these says nothing about the end, and is not parsed.
const MARKS: [&[u8]; 4] = [b"\"error", b"message_stop", b"\"response.", b"\"generated_text"];

/// The `type` of a last event: Anthropic's, and those of the Responses API.
const LAST: [&str; 4] = [
    "message_stop",
    "response.completed",
    "response.incomplete",
    "response.failed",
];

/// What a frame may say about the end of its stream. Null counts as absent.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a str>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    error_type: Option<&'a RawValue>,
    #[serde(borrow)]
    generated_text: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (bool, bool) {
        let mut tap = SseTap::default();
        pieces.into_iter().for_each(|piece| tap.feed(piece));
        (tap.finished(), tap.failed())
    }

    #[test]
    fn each_dialect_says_when_it_has_ended() {
        for (stream, want) in [
            ("data: {\"choices\":[]}\n\ndata: [DONE]\n\n", (true, false)),
            ("data:[DONE]\r\n\r\n", (true, false)),
            ("\u{feff}data: [DONE]\r\r", (true, false)),
            (
                ": comment\n\ndata: null\n\ndata: {\"choices\":[]}\n\n",
                (false, false),
            ),
            ("data: {\"type\":\"message_stop\"}\n\n", (true, false)),
            (
                "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null}}\n\n",
                (true, false),
            ),
            (
                "data:{\"token\":{},\"generated_text\":\"Hi\",\"details\":{}}\n\n",
                (true, false),
            ),
            ("data: {\"token\":{},\"generated_text\":null}\n\n", (false, false)),
            ("data: {\"error\":null,\"choices\":[]}\n\n", (false, false)),
            (
                "data: {\"error_type\":\"validation_error\",\"error_message\":\"{}\"}\n\n",
                (false, true),
            ),
            (
                "data: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n",
                (true, true),
            ),
            (
                "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n",
                (false, true),
            ),
            (
                "data: {\"choices\":[{\"delta\":{\"content\":\"data: [DONE] message_stop \\\"error\\\"\"}}]}\n\n",
                (false, false),
            ),
            ("data: [DONE]", (false, false)),
            ("data: {\"type\":\n\n", (false, false)),
        ] {
            assert_eq!(verdict([stream.as_bytes()]), want, "{stream}");
        }
    }

    #[test]
    fn a_line_beyond_its_bound_is_passed_over_and_the_next_one_is_seen() {
        let long = format!("data: {}", "x".repeat(MAX_LINE));
        assert_eq!(
            verdict([long.as_bytes(), b"\n", b"\ndata: [DONE]\n"]),
            (true, false)
        );
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_the_verdict_is_the_same(
            parts in prop::collection::vec(prop::sample::select(vec![
                "data: [DONE]", "data:", " [DONE]", "\n", "\r", "\r\n", "\u{feff}", ": x", "\u{1f30a}",
                "data: {\"error\":{}}", "{\"type\":\"message_stop\"}", "data: null",
            ]), 0..30),
            cuts in prop::collection::vec(0_usize..12, 0..40),
        ) {
            let whole = parts.concat();
            let mut rest = whole.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, then) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = then;
            }
            pieces.push(rest);
            prop_assert_eq!(verdict(pieces), verdict([whole.as_bytes()]));
        }
    }
}
