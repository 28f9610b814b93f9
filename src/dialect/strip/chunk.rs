//! One event with its usage, and what of it goes.

use std::ops::Range;

use memchr::memchr2;
use serde_json::value::RawValue;

use crate::dialect::json::{Member, Members, span};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event's lines, and the text that its data is.
pub(super) struct Event<'a> {
    bytes: &'a [u8],
    lines: Vec<Line>,
    text: String,
}

/// A line of an event.
struct Line {
    /// With what ends it.
    whole: Range<usize>,
    /// Where its data stands, if that is what it has.
    data: Option<Range<usize>>,
}

impl<'a> Event<'a> {
    /// Reads an event; `None` if its data is not text.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let lines = lines(bytes);
        let data: Vec<&[u8]> = lines
            .iter()
            .filter_map(|line| bytes.get(line.data.clone()?))
            .collect();
        // Between its tokens JSON may have a space where an event had a line break.
        let text = String::from_utf8(data.join(&b' ')).ok()?;
        Some(Self { bytes, lines, text })
    }

    /// Whether it says something: more than a comment, a name or `null`.
    pub(super) fn says_something(&self) -> bool {
        !matches!(self.text.trim(), "" | "null")
    }

    /// Its data as a chunk; `None` if it is no object or has no member `usage`.
    pub(super) fn chunk(&self) -> Option<Chunk<'_>> {
        Chunk::read(&self.text)
    }

    /// The event with `put` in the place of each of these ranges of its text, which follow each other.
    pub(super) fn with(&self, places: &[Range<usize>], put: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut done = 0;
        if self.data_is_together() {
            for place in places {
                bytes.extend_from_slice(self.bytes.get(done..self.place_of(place.start)?)?);
                bytes.extend_from_slice(put.as_bytes());
                done = self.place_of(place.end)?;
            }
            bytes.extend_from_slice(self.bytes.get(done..)?);
            return Some(bytes);
        }
        let mut text = String::with_capacity(self.text.len());
        for place in places {
            text.extend([self.text.get(done..place.start)?, put]);
            done = place.end;
        }
        text.push_str(self.text.get(done..)?);
        let mut text = Some(text);
        for line in &self.lines {
            let Some(data) = &line.data else {
                bytes.extend_from_slice(self.bytes.get(line.whole.clone())?);
                continue;
            };
            if let Some(text) = text.take() {
                bytes.extend_from_slice(self.bytes.get(line.whole.start..data.start)?);
                bytes.extend_from_slice(text.as_bytes());
                bytes.extend_from_slice(self.bytes.get(data.end..line.whole.end)?);
            }
        }
        Some(bytes)
    }

    /// Whether no other line stands between those of the data.
    fn data_is_together(&self) -> bool {
        let mut lines = self.lines.iter().skip_while(|line| line.data.is_none());
        lines.by_ref().find(|line| line.data.is_none());
        lines.all(|line| line.data.is_none())
    }

    /// Where in the event a place in its text is.
    fn place_of(&self, in_text: usize) -> Option<usize> {
        let mut rest = in_text;
        for data in self.lines.iter().filter_map(|line| line.data.clone()) {
            if rest <= data.len() {
                return Some(data.start.saturating_add(rest));
            }
            rest = rest.saturating_sub(data.len()).saturating_sub(1);
        }
        None
    }
}

fn lines(event: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    while let Some(rest) = event.get(start..).filter(|rest| !rest.is_empty()) {
        let len = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, ending) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        let ending = match ending {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        let name = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        let data = name.strip_prefix(b"data:");
        let end = start.saturating_add(len);
        lines.push(Line {
            whole: start..end.saturating_add(ending),
            data: data.map(|data| end.saturating_sub(data.len())..end),
        });
        start = end.saturating_add(ending);
    }
    lines
}

/// An object with at least one member `usage`.
pub(super) struct Chunk<'a> {
    text: &'a str,
    members: Vec<Member<'a>>,
}

impl<'a> Chunk<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let members = Members::all(text)?;
        members.iter().any(is_usage).then_some(Self { text, members })
    }

    /// Whether the usage is there.
    pub(super) fn has_usage(&self) -> bool {
        self.value("usage").is_some()
    }

    /// Whether there is usage, but neither choices nor an error.
    pub(super) fn says_only_usage(&self) -> bool {
        let error = self.value("error").or(self.value("error_type"));
        self.has_usage() && !self.has_choices() && error.is_none()
    }

    /// Whether it has choices, or something in their place that is no list.
    pub(super) fn has_choices(&self) -> bool {
        let list = self
            .value("choices")
            .map(|list| list.strip_prefix('[').map(str::trim_start));
        list.is_some_and(|list| list.is_none_or(|list| !list.starts_with(']')))
    }

    /// Whether one of its choices ends.
    pub(super) fn finishes(&self) -> bool {
        let choices = self
            .value("choices")
            .and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list).ok());
        choices
            .into_iter()
            .flatten()
            .filter_map(|choice| Members::all(choice.get()))
            .flatten()
            .any(|(key, value)| key == "finish_reason" && value != "null")
    }

    /// Where the values of the usage stand.
    pub(super) fn values(&self) -> Vec<Range<usize>> {
        let usage = self.members.iter().filter(|member| is_usage(member));
        usage.map(|(_, value)| span(self.text, value)).collect()
    }

    /// What must go so that no usage is left and it still is an object.
    pub(super) fn cuts(&self) -> Option<Vec<Range<usize>>> {
        let (text, members) = (self.text, &self.members);
        let mut cuts = Vec::new();
        // Of one in front the comma behind it goes, of all others the comma before them.
        let in_front = members.iter().take_while(|member| is_usage(member)).count();
        let mut before = 0;
        if let Some((_, value)) = members.get(in_front.wrapping_sub(1)) {
            let start = skip_space(text, text.find('{')?.saturating_add(1))?;
            before = span(text, value).end;
            if in_front < members.len() {
                before = skip_space(text, skip_space(text, before)?.saturating_add(1))?;
            }
            cuts.push(start..before);
        }
        for member in members.iter().skip(in_front) {
            let end = span(text, member.1).end;
            if is_usage(member) {
                cuts.push(before..end);
            }
            before = end;
        }
        Some(cuts)
    }

    /// A member's value; null counts as absent.
    fn value(&self, key: &str) -> Option<&'a str> {
        let member = self.members.iter().find(|(name, _)| name == key);
        member.map(|(_, value)| *value).filter(|value| *value != "null")
    }
}

fn is_usage(member: &Member<'_>) -> bool {
    member.0 == "usage"
}

/// Where what follows white space begins.
fn skip_space(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    Some(from.saturating_add(rest.len().saturating_sub(rest.trim_start().len())))
}
