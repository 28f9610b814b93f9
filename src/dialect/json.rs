//! A JSON body, read once and strictly, kept byte for byte.
//!
//! The gate forwards the bytes as they came, so it must read them as every upstream does: whatever two parsers could
//! read in two ways is refused. Only the top level's policy keys are looked into; every other value passes unread, but
//! for its depth and its being JSON.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::depth::{MAX_DEPTH, too_deep};
use super::fold::{Likeness, POLICY_KEYS, likeness};

mod edit;

/// The largest integer that every parser reads exactly, 2^53.
const MAX_INTEGER: u64 = 1 << 53;

/// The most entries of a list of strings.
const MAX_STRINGS: usize = 16;

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
}

impl JsonObject {
    /// Reads a body whole.
    ///
    /// # Errors
    /// See [`JsonError`].
    pub fn parse(bytes: Bytes) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(&bytes).map_err(|_| JsonError::NotUtf8)?;
        if text.starts_with('\u{feff}') {
            return Err(JsonError::NotUtf8);
        }
        if too_deep(text.as_bytes()) {
            return Err(JsonError::TooDeep);
        }
        let members = members(text, &POLICY_KEYS)?;
        let values = members
            .into_iter()
            .map(|(key, value)| (key, span(text, value)))
            .collect();
        Ok(Self { bytes, values })
    }

    /// The bytes, as they came but for the edits.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Whether a policy key is there and null.
    pub fn has_null(&self, key: &str) -> bool {
        self.values.iter().any(|(known, _)| *known == key) && self.raw(key).is_none()
    }

    /// A string.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn string(&self, key: &'static str) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.typed(key, "a string")
    }

    /// A list of 1 to 16 strings.
    ///
    /// # Errors
    /// The value is of another type, or a list with fewer or more entries.
    pub fn strings(&self, key: &'static str) -> Result<Option<Vec<Cow<'_, str>>>, JsonError> {
        const EXPECTED: &str = "a list of 1 to 16 strings";
        let list: Option<Strings<'_>> = self.typed(key, EXPECTED)?;
        match list {
            Some(Strings(list)) if list.is_empty() => Err(JsonError::Type {
                key,
                expected: EXPECTED,
            }),
            list => Ok(list.map(|Strings(list)| list)),
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn boolean(&self, key: &'static str) -> Result<Option<bool>, JsonError> {
        self.typed(key, "true or false")
    }

    /// A whole number of at least 0 and at most 2^53, written without a point or an exponent.
    ///
    /// # Errors
    /// The value is of another type or beyond the bounds.
    pub fn integer(&self, key: &'static str) -> Result<Option<u64>, JsonError> {
        const EXPECTED: &str = "a whole number from 0 to 2^53";
        let number: Option<u64> = self.typed(key, EXPECTED)?;
        match number {
            Some(number) if number > MAX_INTEGER => Err(JsonError::Type {
                key,
                expected: EXPECTED,
            }),
            number => Ok(number),
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
        let members = match members(raw, &STREAM_OPTIONS) {
            Err(JsonError::NotAnObject) => {
                return Err(JsonError::Type {
                    key: "stream_options",
                    expected: "an object",
                });
            }
            members => members?,
        };
        for (key, value) in members {
            serde_json::from_str::<Option<bool>>(value).map_err(|_| JsonError::Type {
                key,
                expected: "true or false",
            })?;
        }
        Ok(())
    }

    /// The value's own bytes; null counts as absent.
    fn raw(&self, key: &str) -> Option<&str> {
        let (_, place) = self.values.iter().find(|(known, _)| *known == key)?;
        let raw = self.bytes.get(place.clone())?;
        std::str::from_utf8(raw).ok().filter(|raw| *raw != "null")
    }

    fn typed<'a, T: serde::Deserialize<'a>>(
        &'a self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, JsonError> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        serde_json::from_str(raw)
            .map(Some)
            .map_err(|_| JsonError::Type { key, expected })
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

/// The values of those of an object's members whose key is in `keys`; each key at most once, and none that resembles
/// one. Serde's own error can't carry ours, so the walk leaves what it found wrong beside the result.
fn members<'a>(
    text: &'a str,
    keys: &'static [&'static str],
) -> Result<Vec<(&'static str, &'a str)>, JsonError> {
    let mut walk = Walk {
        keys,
        found: Vec::new(),
        wrong: None,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let walked = deserializer
        .deserialize_map(&mut walk)
        .and_then(|()| deserializer.end());
    match (walk.wrong, walked) {
        (Some(wrong), _) => Err(wrong),
        (None, Err(_)) => Err(JsonError::NotAnObject),
        (None, Ok(())) => Ok(walk.found),
    }
}

struct Walk<'a> {
    keys: &'static [&'static str],
    found: Vec<(&'static str, &'a str)>,
    wrong: Option<JsonError>,
}

impl<'de> Visitor<'de> for &mut Walk<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            let wrong = match likeness(&key, self.keys) {
                Likeness::Other => continue,
                Likeness::Alike(key) => JsonError::Lookalike(key),
                Likeness::Same(key) if self.found.iter().any(|(known, _)| *known == key) => {
                    JsonError::Duplicate(key)
                }
                Likeness::Same(key) => {
                    self.found.push((key, value.get()));
                    continue;
                }
            };
            self.wrong = Some(wrong);
            return Err(A::Error::custom("refused"));
        }
        Ok(())
    }
}

/// An object's members in their order, keys decoded, whatever they are.
pub(super) struct Pairs<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Pairs<'a> {
    /// Reads a text that is one object and nothing else; `None` if it is not.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let pairs = deserializer.deserialize_map(PairsVisitor).ok()?;
        deserializer.end().ok()?;
        Some(pairs)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((Text(key), value)) = map.next_entry()? {
            pairs.push((key, value));
        }
        Ok(Pairs(pairs))
    }
}

/// Where `part`, which lies inside `whole`, begins and ends.
pub(super) fn span(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    start..start + part.len()
}

#[cfg(test)]
mod tests;
