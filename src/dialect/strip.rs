//! An event stream without the usage that only the gate asked for: every other byte stays.
//!
//! An event passes as soon as it is whole, and a comment before it, which keeps a connection alive, at once. Of a client
//! that asked for none all usage goes: an event that says nothing but its usage with its empty line, of any other the
//! one member with its comma.
//!
//! Of a client that asked for usage, but not for running usage, that goes which is followed by more: `null` or nothing
//! is put back in its place. Some upstreams send the last usage with the reason why a choice ends, others in an event of
//! its own behind that; so an event with both usage and such a reason waits for the next one that says something.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::{memchr2, memmem};

use super::call::Asked;
use chunk::Event;

mod chunk;

/// The longest event that is held until it is whole, in bytes. A longer one passes as it is.
const MAX_EVENT: usize = 1024 * 1024;

/// Takes usage out of a stream of OpenAI's chunks.
#[derive(Debug)]
pub struct Strip {
    goes: Goes,
    waiting: Option<Waiting>,
    /// The beginning of an event whose end has not come.
    held: BytesMut,
    boundary: Boundary,
    /// Whether the current event is too long, and passes.
    passing: bool,
    /// After an event that ended in CR at the end of a piece: whether it was taken out. An LF after it goes with it.
    after_cr: Option<bool>,
}

/// Which usage goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    All,
    Running {
        /// Whether `null` is put in its place.
        null: bool,
    },
}

/// An event whose usage is the last if none follows.
#[derive(Debug)]
struct Waiting {
    /// As it came.
    whole: Vec<u8>,
    /// As it is if more usage follows.
    put_back: Vec<u8>,
    /// What came behind it and says nothing.
    behind: BytesMut,
}

/// Takes all usage out.
impl Default for Strip {
    fn default() -> Self {
        Self::taking(Goes::All)
    }
}

impl Strip {
    /// Takes out of an answer with these headers what was asked for in the gate's own name. `None` where that is
    /// nothing, or where the answer is no stream that can be looked into: one that is not encoded.
    pub fn of(asked: Asked, headers: &HeaderMap) -> Option<Self> {
        let goes = match asked {
            Asked::No => return None,
            Asked::Yes => Goes::All,
            Asked::Running { null } => Goes::Running { null },
        };
        Self::fits(headers).then(|| Self::taking(goes))
    }

    fn taking(goes: Goes) -> Self {
        Self {
            goes,
            waiting: None,
            held: BytesMut::new(),
            boundary: Boundary::default(),
            passing: false,
            after_cr: None,
        }
    }

    fn fits(headers: &HeaderMap) -> bool {
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
                self.pass(&line_feed, &mut out);
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
            self.pass(&bytes, &mut out);
        } else if self.held.len().saturating_add(bytes.len()) > MAX_EVENT {
            self.settle(true, &mut out);
            out.extend_from_slice(&self.held.split());
            out.extend_from_slice(&bytes);
            self.passing = true;
        } else {
            self.held.extend_from_slice(&bytes);
            let comments = comments(&self.held);
            let comments = self.held.split_to(comments);
            self.pass(&comments, &mut out);
        }
        out.freeze()
    }

    /// Gives what was held: an event that nothing ends, and one that nothing follows.
    pub fn end(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        let held = self.held.split();
        self.edit(&held, &mut out);
        self.settle(true, &mut out);
        out.freeze()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.waiting.is_none()
    }

    /// Whether the bytes end with an event and none of their events is to be looked at: they are not copied then.
    fn passes_whole(&mut self, bytes: &[u8]) -> bool {
        if !self.is_empty() || memmem::find(bytes, b"usage").is_some() {
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
            self.settle(true, out);
            out.extend_from_slice(&self.held.split());
            out.extend_from_slice(piece);
            true
        } else if self.held.is_empty() {
            self.edit(piece, out)
        } else {
            self.held.extend_from_slice(piece);
            let event = self.held.split();
            self.edit(&event, out)
        };
        self.after_cr = self.boundary.ended_in_cr.then_some(!kept);
    }

    /// Appends an event without the usage that goes; `false` if nothing of it is left.
    fn edit(&mut self, event: &[u8], out: &mut BytesMut) -> bool {
        let (comments, event) = event.split_at(comments(event));
        self.pass(comments, out);
        let looked_at = self.waiting.is_some() || memmem::find(event, b"usage").is_some();
        let Some(read) = looked_at.then(|| Event::read(event)).flatten() else {
            self.settle(true, out);
            self.pass(event, out);
            return true;
        };
        let edited = match (self.goes, read.chunk()) {
            (Goes::All, None) => None,
            (Goes::All, Some(chunk)) if chunk.says_only_usage() => return false,
            (Goes::All, Some(chunk)) => chunk.cuts().and_then(|cuts| read.with(&cuts, "")),
            (Goes::Running { null }, Some(chunk)) if chunk.has_usage() => {
                self.settle(false, out);
                let put_back = || match null {
                    true => read.with(&chunk.values(), "null"),
                    false => read.with(&chunk.cuts()?, ""),
                };
                let put_back = chunk.has_choices().then(put_back).flatten();
                if let Some(put_back) = put_back.clone()
                    && chunk.finishes()
                {
                    self.waiting = Some(Waiting {
                        whole: event.to_vec(),
                        put_back,
                        behind: BytesMut::new(),
                    });
                    return true;
                }
                put_back
            }
            (Goes::Running { .. }, _) => {
                if read.says_something() {
                    self.settle(true, out);
                }
                None
            }
        };
        self.pass(edited.as_deref().unwrap_or(event), out);
        true
    }

    /// Appends what says nothing of usage: behind an event that waits, if there is one.
    fn pass(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let Some(waiting) = &mut self.waiting else {
            return out.extend_from_slice(bytes);
        };
        waiting.behind.extend_from_slice(bytes);
        if waiting.behind.len() > MAX_EVENT {
            self.settle(true, out);
        }
    }

    /// Appends the event that waits, whose usage is now known to be the last or not.
    fn settle(&mut self, last: bool, out: &mut BytesMut) {
        if let Some(waiting) = self.waiting.take() {
            out.extend_from_slice(if last { &waiting.whole } else { &waiting.put_back });
            out.extend_from_slice(&waiting.behind);
        }
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

#[cfg(test)]
mod tests;
