//! JSON, skimmed as it passes: the values of a few keys near the top, and nothing of all the rest.
//!
//! The skimmer finds where values begin and end, however the bytes are cut; what is in them others read. It jumps from
//! one quote or brace to the next, so that a megabyte of base64 costs a search and no more. It checks nothing: of what
//! is no JSON it may see anything.

use super::find::{quote, structure};
pub(super) use names::Name;
use names::{Container, Key};

mod names;

/// The longest key that is looked at, in bytes as written: the longest watched one, all escaped.
const MAX_KEY: usize = 128;

/// What the skimmer has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen<'a> {
    /// A value's own bytes, whole.
    Value(Name, &'a [u8]),
    /// The beginning of a value that is longer than its bound.
    Beginning(Name, &'a [u8]),
    /// What is in a string that nobody asks for and that came in one piece.
    Text(&'a [u8]),
    /// The document's last brace.
    End,
}

/// Skims one JSON document after another.
#[derive(Debug, Default)]
pub(super) struct Skimmer {
    state: State,
    /// How many braces are open, outside of strings and of kept values.
    depth: u32,
    /// The watched object whose members stand at depth 2.
    container: Option<Container>,
    /// Whether the string so far ends in an odd number of backslashes.
    escaping: bool,
    /// The key so far, one byte beyond [`MAX_KEY`] at the most. Nothing of one that came in one piece.
    key: Vec<u8>,
    /// The watched value so far, likewise one byte beyond its bound.
    value: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// Outside of strings.
    #[default]
    Outside,
    /// In a string that nobody asks for.
    Text,
    /// In a string that may be a watched key.
    Key,
    /// After a string that is a watched key if a colon follows.
    Colon(Key),
    /// After the colon.
    Before(Key),
    /// In a number or a word.
    Word(Name),
    /// In a string that is a watched value.
    Quoted(Name),
    /// In an object or a list that is a watched value.
    Nested(Name, Nest),
}

/// How deep in brackets of one kind, outside of strings or in one. Those of the other kind balance by themselves.
#[derive(Debug, Clone, Copy)]
struct Nest {
    open: u8,
    close: u8,
    depth: u32,
    quoted: bool,
}

impl Skimmer {
    /// Shows the next bytes; `see` is told what was found in them.
    pub(super) fn feed(&mut self, mut bytes: &[u8], see: &mut impl FnMut(Seen<'_>)) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Outside => self.outside(bytes, see),
                State::Text => match self.string_end(bytes) {
                    Some(end) => self.go(State::Outside, behind(bytes, end)),
                    None => return,
                },
                State::Key => self.key(bytes),
                State::Colon(key) => self.colon(key, bytes),
                State::Before(key) => self.before(key, bytes),
                State::Word(name) => self.word(name, bytes, see),
                State::Quoted(name) => self.quoted(name, bytes, see),
                State::Nested(name, nest) => self.nested(name, nest, bytes, see),
            };
        }
    }

    /// Whether it is between two documents.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Outside) && self.depth == 0 && !self.escaping
    }

    /// What comes next is a new document, whatever became of the last one.
    pub(super) fn restart(&mut self) {
        self.state = State::Outside;
        self.depth = 0;
        self.container = None;
        self.escaping = false;
    }

    fn go<'a>(&mut self, state: State, rest: &'a [u8]) -> &'a [u8] {
        self.state = state;
        rest
    }

    fn outside<'a>(&mut self, mut bytes: &'a [u8], see: &mut impl FnMut(Seen<'_>)) -> &'a [u8] {
        while let Some(at) = structure(b'{', b'}', bytes)
            && let Some(byte) = bytes.get(at)
        {
            let rest = behind(bytes, at);
            bytes = rest;
            match byte {
                b'"' if self.depth == 1 || (self.depth == 2 && self.container.is_some()) => {
                    self.key.clear();
                    return self.go(State::Key, rest);
                }
                b'"' => match self.string_end(rest) {
                    Some(end) => {
                        see(Seen::Text(rest.get(..end).unwrap_or_default()));
                        bytes = behind(rest, end);
                    }
                    None => return self.go(State::Text, &[]),
                },
                b'{' => self.depth = self.depth.saturating_add(1),
                _ => self.closed(see),
            }
        }
        &[]
    }

    fn closed(&mut self, see: &mut impl FnMut(Seen<'_>)) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth <= 1 {
            self.container = None;
        }
        if self.depth == 0 {
            see(Seen::End);
        }
    }

    fn key<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = self.string_end(bytes) else {
            keep(&mut self.key, bytes, MAX_KEY);
            return &[];
        };
        let part = bytes.get(..end).unwrap_or_default();
        let rest = behind(bytes, end);
        let whole = if self.key.is_empty() {
            part
        } else {
            keep(&mut self.key, part, MAX_KEY);
            &self.key
        };
        let key = if whole.len() > MAX_KEY {
            None
        } else {
            self.named(whole)
        };
        self.go(key.map_or(State::Outside, State::Colon), rest)
    }

    fn named(&self, key: &[u8]) -> Option<Key> {
        let find = |key: &[u8]| match self.container {
            Some(container) if self.depth == 2 => Key::inside(container, key),
            _ => Key::at_the_top(key),
        };
        if key.contains(&b'\\') {
            find(decoded(key)?.as_bytes())
        } else {
            find(key)
        }
    }

    fn colon<'a>(&mut self, key: Key, bytes: &'a [u8]) -> &'a [u8] {
        match bytes.trim_ascii_start() {
            [b':', rest @ ..] => self.go(State::Before(key), rest),
            [] => &[],
            other => self.go(State::Outside, other),
        }
    }

    fn before<'a>(&mut self, key: Key, bytes: &'a [u8]) -> &'a [u8] {
        let bytes = bytes.trim_ascii_start();
        let Some(first) = bytes.first() else {
            return &[];
        };
        let name = match key {
            Key::Value(name) => name,
            Key::Container(container) => {
                if *first == b'{' && self.depth == 1 {
                    self.container = Some(container);
                }
                return self.go(State::Outside, bytes);
            }
        };
        self.value.clear();
        let nest = |open, close| Nest {
            open,
            close,
            depth: 0,
            quoted: false,
        };
        let state = match first {
            b'"' => State::Quoted(name),
            b'{' => State::Nested(name, nest(b'{', b'}')),
            b'[' => State::Nested(name, nest(b'[', b']')),
            _ => State::Word(name),
        };
        self.go(state, bytes)
    }

    fn word<'a>(&mut self, name: Name, bytes: &'a [u8], see: &mut impl FnMut(Seen<'_>)) -> &'a [u8] {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b'}' | b']' | b'"' | b'{');
        let Some((part, rest)) = bytes
            .iter()
            .position(ends)
            .and_then(|end| bytes.split_at_checked(end))
        else {
            keep(&mut self.value, bytes, name.bound());
            return &[];
        };
        self.tell(name, part, see);
        self.go(State::Outside, rest)
    }

    fn quoted<'a>(&mut self, name: Name, bytes: &'a [u8], see: &mut impl FnMut(Seen<'_>)) -> &'a [u8] {
        let opening = usize::from(self.value.is_empty());
        let inside = bytes.get(opening..).unwrap_or_default();
        let Some(end) = self.string_end(inside) else {
            keep(&mut self.value, bytes, name.bound());
            return &[];
        };
        let rest = behind(inside, end);
        self.tell(name, before(bytes, rest), see);
        self.go(State::Outside, rest)
    }

    fn nested<'a>(
        &mut self,
        name: Name,
        mut nest: Nest,
        bytes: &'a [u8],
        see: &mut impl FnMut(Seen<'_>),
    ) -> &'a [u8] {
        let mut rest = bytes;
        let mut closed = false;
        while !rest.is_empty() && !closed {
            if nest.quoted {
                match self.string_end(rest) {
                    Some(end) => (nest.quoted, rest) = (false, behind(rest, end)),
                    None => rest = &[],
                }
                continue;
            }
            let Some(at) = structure(nest.open, nest.close, rest) else {
                rest = &[];
                continue;
            };
            let byte = rest.get(at);
            rest = behind(rest, at);
            match byte {
                Some(b'"') => nest.quoted = true,
                Some(byte) if *byte == nest.open => nest.depth = nest.depth.saturating_add(1),
                _ => {
                    nest.depth = nest.depth.saturating_sub(1);
                    closed = nest.depth == 0;
                }
            }
        }
        if closed {
            self.tell(name, before(bytes, rest), see);
            return self.go(State::Outside, rest);
        }
        keep(&mut self.value, bytes, name.bound());
        self.go(State::Nested(name, nest), &[])
    }

    /// Tells of a value that ends with `last`, which is all of it if it came in one piece.
    fn tell(&mut self, name: Name, last: &[u8], see: &mut impl FnMut(Seen<'_>)) {
        let whole = if self.value.is_empty() {
            last
        } else {
            keep(&mut self.value, last, name.bound());
            &self.value
        };
        if whole.len() > name.bound() {
            see(Seen::Beginning(name, whole.get(..name.bound()).unwrap_or(whole)));
            self.value = Vec::new();
        } else {
            see(Seen::Value(name, whole));
        }
    }

    /// Where the quote is that ends the string.
    #[inline]
    fn string_end(&mut self, bytes: &[u8]) -> Option<usize> {
        match quote(bytes) {
            Some(at) if !self.escaping && bytes.get(..at)?.last() != Some(&b'\\') => Some(at),
            _ => self.end_among_escapes(bytes),
        }
    }

    #[cold]
    fn end_among_escapes(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut from = 0;
        while let Some(rest) = bytes.get(from..)
            && let Some(at) = quote(rest)
        {
            let carried = from == 0 && self.escaping;
            let escaped = ends_escaping(rest.get(..at).unwrap_or_default(), carried);
            self.escaping = false;
            let at = from.saturating_add(at);
            if !escaped {
                return Some(at);
            }
            from = at.saturating_add(1);
        }
        let carried = from == 0 && self.escaping;
        self.escaping = ends_escaping(bytes.get(from..).unwrap_or_default(), carried);
        None
    }
}

/// What a key with escapes says.
#[cold]
fn decoded(key: &[u8]) -> Option<String> {
    let quoted = [b"\"", key, b"\""].concat();
    serde_json::from_slice(&quoted).ok()
}

/// Whether a string that goes on with `bytes` ends in an odd number of backslashes, `carried` saying so of its part
/// before them.
fn ends_escaping(bytes: &[u8], carried: bool) -> bool {
    match bytes.last() {
        Some(b'\\') => {}
        Some(_) => return false,
        None => return carried,
    }
    let backslashes = bytes.iter().rev().take_while(|byte| **byte == b'\\').count();
    (backslashes % 2 == 1) != (carried && backslashes == bytes.len())
}

/// What of `bytes` stands before its end `rest`.
fn before<'a>(bytes: &'a [u8], rest: &[u8]) -> &'a [u8] {
    let before = bytes.len().saturating_sub(rest.len());
    bytes.get(..before).unwrap_or(bytes)
}

/// What follows the byte at `at`.
fn behind(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at + 1..).unwrap_or_default()
}

/// Appends `part`, as far as one byte beyond `bound`: enough to know that there was more.
fn keep(kept: &mut Vec<u8>, part: &[u8], bound: usize) {
    let room = bound.saturating_add(1).saturating_sub(kept.len());
    kept.extend_from_slice(part.get(..room).unwrap_or(part));
}

#[cfg(test)]
mod tests;
