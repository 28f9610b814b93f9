//! An answer, watched as it passes: what it used, who served it, and did it end as it should or was it cut?
//!
//! The tap observes. Whatever it can't make sense of it passes over; it keeps no more of the answer than the few
//! values that are of interest, and holds nothing back.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::memchr;

use super::decode::Decoder;
use super::json;
use super::skim::{Name, Seen, Skimmer};
use super::sse::{Lines, Part};
use super::usage::Reports;
use crate::types::Usage;
use echo::Echo;
use line::{Beginning, Done};

mod echo;
mod line;

/// Watches one answer.
#[derive(Debug)]
pub struct Tap {
    framing: Framing,
    decoder: Option<Decoder>,
    watch: Watch,
}

/// How documents follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Events,
    OneDocument,
    DocumentPerLine,
}

impl Tap {
    /// A tap for an answer with these headers: an event stream, one JSON document or lines of them, as it is or in
    /// gzip or deflate. `None` for all others.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let framing = Framing::of(headers)?;
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        let decoder = match (codings.next(), codings.next()) {
            (None, _) => None,
            (Some(coding), None) => match coding.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
                "identity" => None,
                "gzip" | "x-gzip" => Some(Decoder::gzip()),
                "deflate" => Some(Decoder::deflate()),
                _ => return None,
            },
            (Some(_), Some(_)) => return None,
        };
        Some(Self {
            framing,
            decoder,
            watch: Watch::default(),
        })
    }

    /// Shows the next bytes of the answer.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self {
            framing,
            decoder,
            watch,
        } = self;
        match decoder {
            None => watch.feed(*framing, bytes),
            Some(decoder) => decoder.feed(bytes, &mut |unpacked| watch.feed(*framing, unpacked)),
        }
    }

    /// Nothing follows, whether the answer is whole or not.
    pub fn end(&mut self) {
        let Self {
            framing,
            decoder,
            watch,
        } = self;
        if let Some(decoder) = decoder {
            decoder.end(&mut |unpacked| watch.feed(*framing, unpacked));
        }
    }

    /// Whether the answer comes in events.
    pub fn is_of_events(&self) -> bool {
        self.framing == Framing::Events
    }

    /// What the answer says that it used, as far as it was seen: in a stream the last that it said. Of a stream that was
    /// cut that is what it had used by then, where the upstream sends running usage.
    pub fn usage(&self) -> Option<Usage> {
        self.report().0
    }

    /// The same, and whether a cost was reported that can't be one: not a number, negative, or beyond belief.
    pub fn report(&self) -> (Option<Usage>, bool) {
        if self.is_blind() {
            return (None, false);
        }
        self.watch.found.reports.usage()
    }

    /// The events of a stream that carry content, as far as can be told, and at least as many: an upstream that sends no
    /// usage before the end has made at least about as many tokens. 0 where the answer is one document.
    ///
    /// Every event counts but a keep-alive, `[DONE]`, an error and those whose type says that they frame others. One
    /// that has a few tokens, or those of several choices, counts once.
    pub fn content_events(&self) -> u64 {
        let found = &self.watch.found;
        let goes_on = self.framing != Framing::OneDocument && self.watch.counts_event();
        found.content_events.saturating_add(u64::from(goes_on))
    }

    /// The model that the answer says it is from.
    pub fn model(&self) -> Option<String> {
        name(self.watch.found.model.as_deref()?).map(Cow::into_owned)
    }

    /// Whether what must come last was seen: a stream that ends before was cut. True where it can't be known.
    pub fn finished(&self) -> bool {
        let found = &self.watch.found;
        self.is_blind()
            || match self.framing {
                Framing::Events => found.finished,
                Framing::OneDocument => true,
                Framing::DocumentPerLine => found.finished || !found.says_done,
            }
    }

    /// Whether an error was seen in the stream.
    pub fn failed(&self) -> bool {
        self.framing != Framing::OneDocument && self.watch.found.failed && !self.is_blind()
    }

    /// Whether it has lost sight of the answer, because its coding is broken or it unpacks to too much.
    fn is_blind(&self) -> bool {
        self.decoder.as_ref().is_some_and(Decoder::gave_up)
    }
}

impl Framing {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = content_type.split(';').next()?.trim();
        let kinds = [
            ("application/json", Self::OneDocument),
            ("text/event-stream", Self::Events),
            ("application/x-ndjson", Self::DocumentPerLine),
        ];
        let kind = kinds
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(essence));
        kind.map(|(_, framing)| framing)
    }
}

/// Where in an answer the tap is, and what it has found.
#[derive(Debug, Default)]
struct Watch {
    lines: Lines,
    done: Done,
    beginning: Beginning,
    echo: Echo,
    skimmer: Skimmer,
    found: Found,
}

impl Watch {
    fn feed(&mut self, framing: Framing, bytes: &[u8]) {
        match framing {
            Framing::Events => self.events(bytes),
            Framing::OneDocument => self.skimmer.feed(bytes, &mut |seen| self.found.see(seen)),
            Framing::DocumentPerLine => self.lines(bytes),
        }
    }

    fn events(&mut self, bytes: &[u8]) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.feed(bytes, &mut |part| self.part(part));
        self.lines = lines;
    }

    fn part(&mut self, part: Part<'_>) {
        let found = &mut self.found;
        match part {
            Part::Line(line) => {
                self.beginning.feed(line);
                if !(self.skimmer.is_at_rest() && self.echo.is(line)) {
                    self.whole_line(line);
                }
            }
            Part::Data(data) => {
                self.echo.forget();
                self.done.feed(data);
                self.beginning.feed(data);
                self.skimmer.feed(data, &mut |seen| found.see(seen));
            }
            Part::LineEnd => self.line_ended(),
            Part::EventEnd => {
                self.skimmer.restart();
                found.event_ended(std::mem::take(&mut self.beginning));
            }
        }
    }

    /// A whole line that is no echo. The next may be one of it.
    fn whole_line(&mut self, line: &[u8]) {
        let was_at_rest = self.skimmer.is_at_rest();
        let (echo, found) = (&mut self.echo, &mut self.found);
        found.tells = false;
        echo.begin(line);
        self.done.feed(line);
        self.skimmer.feed(line, &mut |seen| {
            if let Seen::Text(text) = seen {
                echo.learn(line, text);
            } else {
                found.see(seen);
            }
        });
        self.line_ended();
        if self.found.tells || !was_at_rest || !self.skimmer.is_at_rest() {
            self.echo.forget();
        }
    }

    fn line_ended(&mut self) {
        let found = &mut self.found;
        found.finished |= self.done.end();
        self.skimmer.feed(b"\n", &mut |seen| found.see(seen));
    }

    /// Whether the event that goes on carries content, as far as it has come.
    fn counts_event(&self) -> bool {
        self.beginning.is_content() && !self.found.frames
    }

    /// A line is a document, also if the one before was broken.
    fn lines(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            self.beginning.feed(line);
            self.skimmer.feed(line, &mut |seen| self.found.see(seen));
            self.skimmer.restart();
            self.found.event_ended(std::mem::take(&mut self.beginning));
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.beginning.feed(bytes);
        self.skimmer.feed(bytes, &mut |seen| self.found.see(seen));
    }
}

/// What was found in an answer.
#[derive(Debug, Default)]
struct Found {
    reports: Reports,
    /// The last model named, as it is written.
    model: Option<Vec<u8>>,
    finished: bool,
    failed: bool,
    /// Whether lines say of themselves if they are the last.
    says_done: bool,
    /// What the current document says of the end; it counts when the document is whole.
    document: Verdict,
    content_events: u64,
    /// Whether the current event says that it carries no content.
    frames: bool,
    /// Whether the current line says something that counts each time that it is said.
    tells: bool,
}

#[derive(Debug, Default)]
struct Verdict {
    last: bool,
    failed: bool,
}

impl Found {
    fn see(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Value(name, raw) => self.value(name, raw),
            Seen::Beginning(name @ (Name::Error | Name::GeneratedText), raw) => self.value(name, raw),
            Seen::Beginning(..) | Seen::Text(_) => {}
            Seen::End => {
                let document = std::mem::take(&mut self.document);
                self.finished |= document.last;
                self.failed |= document.failed;
            }
        }
    }

    fn event_ended(&mut self, beginning: Beginning) {
        let frames = std::mem::take(&mut self.frames);
        if beginning.is_content() && !frames {
            self.content_events = self.content_events.saturating_add(1);
        }
        self.document = Verdict::default();
    }

    fn value(&mut self, of: Name, raw: &[u8]) {
        if raw == b"null" || raw.is_empty() {
            return;
        }
        self.tells |= !matches!(of, Name::Model | Name::Type);
        match of {
            Name::Type => self.kind(raw),
            Name::Error => (self.document.failed, self.frames) = (true, true),
            Name::GeneratedText => self.document.last = true,
            Name::Done => {
                self.says_done = true;
                self.document.last |= raw == b"true";
            }
            Name::Model if self.model.as_deref() == Some(raw) => {}
            // What is no name, or one that is spoilt, leaves the one before.
            Name::Model if name(raw).is_none() => {}
            Name::Model => self.model = Some(raw.to_vec()),
            Name::Usage
            | Name::StartUsage
            | Name::UsageMetadata
            | Name::Timings
            | Name::InferenceStatus
            | Name::Details
            | Name::Meta
            | Name::EstimatedCost
            | Name::NumTokens
            | Name::NumInputTokens
            | Name::InputTokens
            | Name::OutTokens
            | Name::PromptEvalCount
            | Name::EvalCount
            | Name::Duration => self.reports.take(of, raw),
        }
    }

    /// The types of last events are Anthropic's, and those of OpenAI's surfaces that have no `[DONE]`.
    fn kind(&mut self, raw: &[u8]) {
        self.frames |= frames(raw);
        match raw {
            b"\"message_stop\""
            | b"\"response.completed\""
            | b"\"response.incomplete\""
            | b"\"transcript.text.done\""
            | b"\"speech.audio.done\""
            | b"\"image_generation.completed\""
            | b"\"image_edit.completed\"" => self.document.last = true,
            b"\"response.failed\"" => (self.document.last, self.document.failed) = (true, true),
            b"\"error\"" => self.document.failed = true,
            _ => {}
        }
        self.tells |= self.frames || self.document.last || self.document.failed;
    }
}

/// What a JSON string says.
fn name(raw: &[u8]) -> Option<Cow<'_, str>> {
    json::text(std::str::from_utf8(raw).ok()?)
}

/// Whether events of this type carry no content: those of Anthropic that begin, end and keep alive, and all of OpenAI's
/// responses but the pieces.
fn frames(kind: &[u8]) -> bool {
    match kind {
        b"\"ping\""
        | b"\"error\""
        | b"\"message_start\""
        | b"\"message_delta\""
        | b"\"message_stop\""
        | b"\"content_block_stop\"" => true,
        other => other.starts_with(b"\"response.") && !other.ends_with(b".delta\""),
    }
}

#[cfg(test)]
mod tests;
