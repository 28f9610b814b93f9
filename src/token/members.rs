//! The members of one JSON object, each once and none interpreted: what header and payload of a token are read from.
//!
//! Nothing here is kept in a map: a map forgets that a name was there twice.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::flaw::{Flaw, Part};

/// How deep arrays and objects may nest in a value that is not looked at.
const MAX_DEPTH: usize = 32;

/// The members of an object in their order, with decoded names and the JSON text of the values.
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads exactly one object; white space around it is JSON too.
    ///
    /// # Errors
    /// The bytes are not UTF-8, not JSON, or JSON of another kind; or a name is there twice, in whatever escaping.
    pub(super) fn read(json: &'a [u8], part: Part) -> Result<Self, Flaw> {
        let text = std::str::from_utf8(json).map_err(|_| Flaw::NotAnObject(part))?;
        let members: Self = serde_json::from_str(text).map_err(|_| Flaw::NotAnObject(part))?;
        match members.repeated() {
            Some(name) => Err(Flaw::duplicate(part, name)),
            None => Ok(members),
        }
    }

    /// Each name with its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    fn repeated(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names
            .array_windows()
            .find(|[one, next]| one == next)
            .map(|[name, _]| *name)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = object.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Text that is copied only where it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a JSON string.
pub(super) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let text: Option<Text<'_>> = serde_json::from_str(value.get()).ok();
    text.map(|text| text.0)
}

/// The texts of a JSON array of strings.
pub(super) fn strings(value: &RawValue) -> Option<Vec<Cow<'_, str>>> {
    let texts: Vec<Text<'_>> = serde_json::from_str(value.get()).ok()?;
    Some(texts.into_iter().map(|text| text.0).collect())
}

/// A whole number from 0 to 2⁶⁴ − 1, written in digits alone: no sign, no fraction, no exponent.
pub(super) fn integer(value: &RawValue) -> Option<u64> {
    let text = value.get();
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The JSON text of a number.
pub(super) fn number(value: &RawValue) -> Option<&str> {
    let text = value.get();
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        .then_some(text)
}

pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Whether a value that is skipped is one that every JSON reader can skip: proper strings, numbers that a double
/// holds, no deeper than [`MAX_DEPTH`].
pub(super) fn can_be_skipped(value: &RawValue) -> bool {
    let mut json = serde_json::Deserializer::from_str(value.get());
    Skip { depth: MAX_DEPTH }.deserialize(&mut json).is_ok()
}

/// Reads a value of at most so many levels and keeps nothing of it.
#[derive(Clone, Copy)]
struct Skip {
    depth: usize,
}

impl Skip {
    fn inside<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth
            .map(|depth| Self { depth })
            .ok_or_else(|| E::custom("nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while list.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while object.next_key::<String>()?.is_some() {
            object.next_value_seed(inside)?;
        }
        Ok(())
    }
}
