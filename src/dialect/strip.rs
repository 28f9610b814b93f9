//! An event stream without the usage that only the gate asked for: every other byte stays.
//!
//! An event passes as soon as it is whole, and a comment before it, which keeps a connection alive, at once. An event
//! that says nothing but its usage goes, with its empty line; of any other the one member goes, with its comma.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::{memchr2, memmem};
use serde_json::value::RawValue;

use super::json::{Pairs, span};

/// The longest event that is held until it is whole, in bytes. A longer one passes as it is.
const MAX_EVENT: usize = 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Takes usage out of a stream of OpenAI's chunks.
#[derive(Debug, Default)]
pub struct Strip {
    /// The beginning of an event whose end has not come.
    held: BytesMut,
    boundary: Boundary,
    /// Whether the current event is too long, and passes.
    passing: bool,
    /// After an event that ended in CR at the end of a piece: whether it was taken out. An LF after it goes with it.
    after_cr: Option<bool>,
}

impl Strip {
    /// Whether an answer with these headers is a stream that can be looked into: one that is not encoded.
    pub fn fits(headers: &HeaderMap) -> bool {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|content_type| content_type.split(';').next());
        let encoded = headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        !encoded && essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
    }

    /// Takes the next bytes and gives what passes by now, which may be nothing.
    pub fn feed(&mut self, mut bytes: Bytes) -> Bytes {
        let mut out = BytesMut::new();
        if !bytes.is_empty()
            && let Some(taken_out) = self.after_cr.take()
            && bytes.starts_with(b"\n")
        {
            let line_feed = bytes.split_to(1);
            if !taken_out {
                out.extend_from_slice(&line_feed);
            }
        }
        if out.is_empty() && self.passes_whole(&bytes) {
            return bytes;
        }
        while let Some(end) = self.boundary.next(&bytes) {
            let piece = bytes.split_to(end.min(bytes.len()));
            self.event_ended(&piece, &mut out);
        }
        if self.passing {
            out.extend_from_slice(&bytes);
        } else if self.held.len().saturating_add(bytes.len()) > MAX_EVENT {
            out.extend_from_slice(&self.held.split());
            out.extend_from_slice(&bytes);
            self.passing = true;
        } else {
            self.held.extend_from_slice(&bytes);
            let comments = comments(&self.held);
            out.extend_from_slice(&self.held.split_to(comments));
        }
        out.freeze()
    }

    /// Gives what was held: an event that nothing ends.
    pub fn end(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        let held = self.held.split();
        edit(&held, &mut out);
        out.freeze()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether the bytes end with an event and none of their events is to be looked at: they are not copied then.
    fn passes_whole(&mut self, bytes: &[u8]) -> bool {
        if !self.held.is_empty() || memmem::find(bytes, b"usage").is_some() {
            return false;
        }
        let mut boundary = self.boundary;
        let mut rest = bytes;
        while let Some(end) = boundary.next(rest) {
            rest = rest.get(end..).unwrap_or_default();
        }
        if !rest.is_empty() {
            return false;
        }
        self.boundary = boundary;
        if !bytes.is_empty() {
            self.passing = false;
            self.after_cr = boundary.ended_in_cr.then_some(false);
        }
        true
    }

    fn event_ended(&mut self, piece: &[u8], out: &mut BytesMut) {
        let too_long = self.held.len().saturating_add(piece.len()) > MAX_EVENT;
        let kept = if std::mem::take(&mut self.passing) || too_long {
            out.extend_from_slice(&self.held.split());
            out.extend_from_slice(piece);
            true
        } else if self.held.is_empty() {
            edit(piece, out)
        } else {
            self.held.extend_from_slice(piece);
            edit(&self.held.split(), out)
        };
        self.after_cr = self.boundary.ended_in_cr.then_some(!kept);
    }
}

/// Finds the ends of events: empty lines, however the bytes are cut.
#[derive(Debug, Clone, Copy)]
struct Boundary {
    /// Whether the current line is empty so far.
    empty: bool,
    after_cr: bool,
    /// Whether the last event ended with the bytes, and in CR: an LF may follow that is part of its end.
    ended_in_cr: bool,
}

impl Default for Boundary {
    fn default() -> Self {
        Self {
            empty: true,
            after_cr: false,
            ended_in_cr: false,
        }
    }
}

impl Boundary {
    /// How far the first event in `bytes` reaches; `None` if it goes on beyond them.
    fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        if bytes.is_empty() {
            return None;
        }
        let mut at = 0;
        if std::mem::take(&mut self.after_cr) && bytes.starts_with(b"\n") {
            at = 1;
        }
        while let Some(rest) = bytes.get(at..)
            && let Some(line) = memchr2(b'\n', b'\r', rest)
        {
            let ends_event = line == 0 && self.empty;
            let (_, rest) = rest.split_at_checked(line)?;
            let (len, cr_is_last) = match rest {
                [b'\r', b'\n', ..] => (2, false),
                [b'\r'] => (1, true),
                _ => (1, false),
            };
            at = at.saturating_add(line).saturating_add(len);
            self.empty = true;
            if ends_event {
                self.ended_in_cr = cr_is_last;
                return Some(at);
            }
            self.after_cr = cr_is_last;
        }
        if at < bytes.len() {
            self.empty = false;
        }
        None
    }
}

/// Appends an event without its usage; `false` if nothing of it is left.
fn edit(event: &[u8], out: &mut BytesMut) -> bool {
    let (comments, event) = event.split_at(comments(event));
    out.extend_from_slice(comments);
    let edited = if memmem::find(event, b"usage").is_some() {
        edited(event)
    } else {
        None
    };
    match edited {
        None => out.extend_from_slice(event),
        Some(Edited::Gone) => return false,
        Some(Edited::To(bytes)) => out.extend_from_slice(&bytes),
    }
    true
}

/// How many bytes at the beginning of an event are whole lines of comment. One that ends with its CR may not be whole.
fn comments(event: &[u8]) -> usize {
    let mut end = 0;
    while let Some(rest) = event.get(end..).filter(|rest| rest.first() == Some(&b':')) {
        let Some(len) = memchr2(b'\n', b'\r', rest) else {
            break;
        };
        let ending = match rest.get(len..) {
            Some([b'\r']) => break,
            Some([b'\r', b'\n', ..]) => 2,
            _ => 1,
        };
        end = end.saturating_add(len).saturating_add(ending);
    }
    end
}

#[derive(Debug, PartialEq, Eq)]
enum Edited<T> {
    Gone,
    To(T),
}

/// The event without its usage; `None` if it has none.
fn edited(event: &[u8]) -> Option<Edited<Vec<u8>>> {
    let lines = lines(event);
    let data: Vec<&[u8]> = lines
        .iter()
        .filter_map(|line| event.get(line.data.clone()?))
        .collect();
    // Between its tokens JSON may have a space where an event had a line break.
    let text = String::from_utf8(data.join(&b' ')).ok()?;
    let text = match without_usage(&text)? {
        Edited::Gone => return Some(Edited::Gone),
        Edited::To(text) => text,
    };
    let mut text = Some(text);
    let mut bytes = Vec::with_capacity(event.len());
    for line in lines {
        let Some(data) = line.data else {
            bytes.extend_from_slice(event.get(line.whole)?);
            continue;
        };
        if let Some(text) = text.take() {
            bytes.extend_from_slice(event.get(line.whole.start..data.start)?);
            bytes.extend_from_slice(text.as_bytes());
            bytes.extend_from_slice(event.get(data.end..line.whole.end)?);
        }
    }
    Some(Edited::To(bytes))
}

/// A line of an event.
struct Line {
    /// With what ends it.
    whole: Range<usize>,
    /// Where its data stands, if that is what it has.
    data: Option<Range<usize>>,
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

/// A chunk without its usage; `None` if it has none or is no object.
fn without_usage(chunk: &str) -> Option<Edited<String>> {
    let members = Pairs::read(chunk)?.0;
    let is_usage = |member: &(Cow<'_, str>, &RawValue)| member.0 == "usage";
    if !members.iter().any(is_usage) {
        return None;
    }
    if says_only_usage(&members) {
        return Some(Edited::Gone);
    }
    let mut text = String::with_capacity(chunk.len());
    // Of one in front the comma behind it goes, of all others the comma before them.
    let in_front = members.iter().take_while(|member| is_usage(member)).count();
    let mut done = 0;
    if let Some((_, value)) = members.get(in_front.wrapping_sub(1)) {
        let start = skip_space(chunk, chunk.find('{')?.saturating_add(1))?;
        text.push_str(chunk.get(..start)?);
        done = span(chunk, value.get()).end;
        if in_front < members.len() {
            done = skip_space(chunk, skip_space(chunk, done)?.saturating_add(1))?;
        }
    }
    let mut before = done;
    for member in members.iter().skip(in_front) {
        let end = span(chunk, member.1.get()).end;
        if is_usage(member) {
            text.push_str(chunk.get(done..before)?);
            done = end;
        }
        before = end;
    }
    text.push_str(chunk.get(done..)?);
    Some(Edited::To(text))
}

/// Where what follows white space begins.
fn skip_space(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    Some(from.saturating_add(rest.len().saturating_sub(rest.trim_start().len())))
}

/// Whether there is usage, but neither choices nor an error.
fn says_only_usage(members: &[(Cow<'_, str>, &RawValue)]) -> bool {
    let value = |key: &str| {
        let member = members.iter().find(|(name, _)| name == key);
        member
            .map(|(_, value)| value.get())
            .filter(|value| *value != "null")
    };
    let list = value("choices").map(|list| list.strip_prefix('[').map(str::trim_start));
    let no_choices = list.is_none_or(|list| list.is_some_and(|list| list.starts_with(']')));
    value("usage").is_some() && no_choices && value("error").is_none() && value("error_type").is_none()
}

#[cfg(test)]
mod tests;
