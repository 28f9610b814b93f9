//! A JSON body, read once and strictly, kept byte for byte.
//!
//! The gate forwards the bytes as they came, so it must read them as every upstream does: whatever two parsers could
//! read in two ways is refused. Only the top level's policy keys are looked into; every other value passes unread, but
//! for its depth and its being JSON.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use super::depth::{MAX_DEPTH, too_deep};
use super::find::plain;
use super::fold::{Likeness, POLICY_KEYS, likeness};
pub(super) use members::{Member, Members};
use members::{NoObject, Walk};

mod edit;
mod members;

/// The largest integer that every parser reads exactly, 2^53.
const MAX_INTEGER: u64 = 1 << 53;

/// The most entries of a list of strings.
const MAX_STRINGS: usize = 16;

/// As many policy keys as a body usually has, or a few more.
const USUAL_KEYS: usize = 8;

/// The keys of `stream_options` that decide something.
const STREAM_OPTIONS: [&str; 2] = ["include_usage", "continuous_usage_stats"];

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not UTF-8, or begins with a byte order mark.
    #[error("the body must be UTF-8 without a byte order mark")]
    NotUtf8,
    /// It is no JSON object, or something stands after it.
    #[error("the body must be one JSON object and nothing else")]
    NotAnObject,
    /// It nests too deeply.
    #[error("the body nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A policy key stands twice.
    #[error("`{0}` stands twice")]
    Duplicate(&'static str),
    /// A key resembles a policy key.
    #[error("a key resembles `{0}` but is not the same")]
    Lookalike(&'static str),
    /// A policy key's value is not of its type.
    #[error("`{key}` must be {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

/// A JSON object as it came, with the places of its policy keys' values.
#[derive(Debug, Clone)]
pub struct JsonObject {
    bytes: Bytes,
    values: Vec<(&'static str, Range<usize>)>,
    /// The lengths of their keys.
    lengths: Lengths,
}

/// Which lengths of keys there are, as bits: what has none of its length is not there, and most keys that are asked for
/// are not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lengths(u32);

impl Lengths {
    /// A key is there.
    pub(super) fn add(&mut self, key: &str) {
        self.0 |= Self::bit(key);
    }

    /// Whether a key may be there.
    #[inline]
    pub(super) fn may_have(self, key: &str) -> bool {
        self.0 & Self::bit(key) != 0
    }

    fn bit(key: &str) -> u32 {
        1 << (key.len() % 32)
    }
}

impl JsonObject {
    /// Reads a body whole.
    ///
    /// # Errors
    /// See [`JsonError`].
    pub fn parse(bytes: Bytes) -> Result<Self, JsonError> {
        let values = members(&bytes, &POLICY_KEYS).map_err(|wrong| {
            if !is_utf8_without_mark(&bytes) {
                JsonError::NotUtf8
            } else if too_deep(&bytes) {
                JsonError::TooDeep
            } else {
                wrong
            }
        })?;
        let mut lengths = Lengths::default();
        values.iter().for_each(|(key, _)| lengths.add(key));
        Ok(Self {
            bytes,
            values,
            lengths,
        })
    }

    /// The bytes, as they came but for the edits.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Whether a policy key is there and null.
    pub fn has_null(&self, key: &str) -> bool {
        self.lengths.may_have(key) && self.find(key) == Some(b"null")
    }

    /// A string.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn string(&self, key: &'static str) -> Result<Option<Cow<'_, str>>, JsonError> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        let text = text(raw).map(Some);
        text.ok_or(JsonError::Type {
            key,
            expected: "a string",
        })
    }

    /// A list of 1 to 16 strings.
    ///
    /// # Errors
    /// The value is of another type, or a list with fewer or more entries.
    pub fn strings(&self, key: &'static str) -> Result<Option<Vec<Cow<'_, str>>>, JsonError> {
        const EXPECTED: &str = "a list of 1 to 16 strings";
        let Some(raw) = self.raw(key) else { return Ok(None) };
        match serde_json::from_str(raw) {
            Ok(Strings(list)) if !list.is_empty() => Ok(Some(list)),
            Ok(_) | Err(_) => Err(JsonError::Type {
                key,
                expected: EXPECTED,
            }),
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn boolean(&self, key: &'static str) -> Result<Option<bool>, JsonError> {
        match self.raw(key) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(JsonError::Type {
                key,
                expected: "true or false",
            }),
        }
    }

    /// A whole number of at least 0 and at most 2^53, written without a point or an exponent.
    ///
    /// # Errors
    /// The value is of another type or beyond the bounds.
    pub fn integer(&self, key: &'static str) -> Result<Option<u64>, JsonError> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        // That it is JSON is known, so that it has no sign but a minus, and no zeros in front.
        match raw.parse() {
            Ok(number) if number <= MAX_INTEGER => Ok(Some(number)),
            Ok(_) | Err(_) => Err(JsonError::Type {
                key,
                expected: "a whole number from 0 to 2^53",
            }),
        }
    }

    /// Checks `stream_options`: an object whose own deciding keys stand once and are booleans.
    ///
    /// # Errors
    /// It is not.
    pub fn check_stream_options(&self) -> Result<(), JsonError> {
        let Some(raw) = self.raw("stream_options") else {
            return Ok(());
        };
        let members = match members(raw.as_bytes(), &STREAM_OPTIONS) {
            Err(JsonError::NotAnObject) => {
                return Err(JsonError::Type {
                    key: "stream_options",
                    expected: "an object",
                });
            }
            members => members?,
        };
        for (key, place) in members {
            let value = raw.get(place).unwrap_or_default();
            serde_json::from_str::<Option<bool>>(value).map_err(|_| JsonError::Type {
                key,
                expected: "true or false",
            })?;
        }
        Ok(())
    }

    /// The value's own bytes; null counts as absent.
    #[inline]
    fn raw(&self, key: &str) -> Option<&str> {
        if !self.lengths.may_have(key) {
            return None;
        }
        let raw = self.find(key).filter(|raw| *raw != b"null")?;
        std::str::from_utf8(raw).ok()
    }

    fn find(&self, key: &str) -> Option<&[u8]> {
        let (_, place) = self.values.iter().find(|(known, _)| *known == key)?;
        self.bytes.get(place.clone())
    }
}

/// A list of at most [`MAX_STRINGS`]; a longer one is not read to its end.
struct Strings<'a>(Vec<Cow<'a, str>>);

impl<'de> serde::Deserialize<'de> for Strings<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(StringsVisitor).map(Strings)
    }
}

struct StringsVisitor;

impl<'de> Visitor<'de> for StringsVisitor {
    type Value = Vec<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(Text(entry)) = list.next_element()? {
            if entries.len() == MAX_STRINGS {
                return Err(A::Error::custom("too many"));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// A JSON string, decoded; borrowed where it has no escapes.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// What a JSON string says, borrowed where it has no escapes; `None` of all else, and of a half of a surrogate pair.
pub(super) fn text(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?;
    match inside.split_at_checked(plain(inside.as_bytes()).len)? {
        (text, "\"") => Some(Cow::Borrowed(text)),
        _ => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

fn is_utf8_without_mark(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.starts_with('\u{feff}'))
}

/// Where the values are of those of an object's members whose key is in `keys`; each key at most once, and none that
/// resembles one.
fn members(
    object: &[u8],
    keys: &'static [&'static str],
) -> Result<Vec<(&'static str, Range<usize>)>, JsonError> {
    let mut found: Vec<(&str, Range<usize>)> = Vec::with_capacity(USUAL_KEYS);
    for member in Walk::over(object) {
        let (key, value) = member.map_err(|NoObject| JsonError::NotAnObject)?;
        match likeness(&key, keys) {
            Likeness::Other => {}
            Likeness::Alike(key) => return Err(JsonError::Lookalike(key)),
            Likeness::Same(key) if found.iter().any(|(known, _)| *known == key) => {
                return Err(JsonError::Duplicate(key));
            }
            Likeness::Same(key) => found.push((key, value)),
        }
    }
    Ok(found)
}

/// Where `part`, which lies inside `whole`, begins and ends.
pub(super) fn span(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    start..start + part.len()
}

#[cfg(test)]
mod tests;
