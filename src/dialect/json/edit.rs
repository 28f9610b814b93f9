//! Edits of a JSON object: the span in question changes, every other byte stays.

use std::ops::Range;

use bytes::BytesMut;
use serde_json::value::RawValue;

use super::{JsonObject, STREAM_OPTIONS, members, span};

impl JsonObject {
    /// Puts a string in the place of a policy key's value, or in front of all members when the key is absent.
    pub fn set_string(&mut self, key: &'static str, value: &str) {
        self.set(key, &serde_json::Value::from(value).to_string());
    }

    /// Puts a number in the place of a policy key's value, or in front of all members when the key is absent.
    pub fn set_integer(&mut self, key: &'static str, value: u64) {
        self.set(key, &value.to_string());
    }

    /// Puts a truth value in the place of a policy key's value, or in front of all members when the key is absent.
    pub fn set_boolean(&mut self, key: &'static str, value: bool) {
        self.set(key, if value { "true" } else { "false" });
    }

    /// Takes a policy key out, with its value and one comma.
    pub fn remove(&mut self, key: &str) {
        let Some(at) = self.values.iter().position(|(known, _)| *known == key) else {
            return;
        };
        let (_, value) = self.values.swap_remove(at);
        let member = member_around(&self.bytes, &value);
        self.splice(member, "");
    }

    /// What one of `stream_options`' own deciding keys is; `None` where it is absent or null.
    pub fn stream_option(&self, key: &str) -> Option<bool> {
        let options = self.raw("stream_options")?;
        let found = members(options.as_bytes(), &STREAM_OPTIONS).ok()?;
        let (_, place) = found.into_iter().find(|(known, _)| *known == key)?;
        serde_json::from_str(options.get(place)?).ok()
    }

    /// Whether a policy key is there and not null.
    pub fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// Makes one of `stream_options`' own deciding keys true, whatever it was or if it was there at all. The options
    /// must have been checked.
    pub fn choose_stream_option(&mut self, key: &'static str) {
        let Some(options) = self.raw("stream_options") else {
            return self.set("stream_options", &format!("{{\"{key}\":true}}"));
        };
        let found = members(options.as_bytes(), &STREAM_OPTIONS).unwrap_or_default();
        let member = found.into_iter().find(|(known, _)| *known == key);
        let (place, value) = match member {
            Some((_, place)) => (place, "true".to_owned()),
            None => front(options.as_bytes(), key, "true"),
        };
        let start = options.as_ptr().addr().saturating_sub(self.bytes.as_ptr().addr());
        self.splice_within(start + place.start..start + place.end, &value);
    }

    /// Puts strings in the places of a list's entries, one for one.
    pub fn replace_strings(&mut self, key: &str, values: &[Option<String>]) {
        let Some((_, place)) = self.values.iter().find(|(known, _)| *known == key).cloned() else {
            return;
        };
        let Some(list) = self
            .bytes
            .get(place.clone())
            .and_then(|raw| std::str::from_utf8(raw).ok())
        else {
            return;
        };
        let Ok(entries) = serde_json::from_str::<Vec<&RawValue>>(list) else {
            return;
        };
        let mut edited = String::with_capacity(list.len());
        let mut done = 0;
        for (entry, value) in entries.into_iter().zip(values) {
            let Some(value) = value else { continue };
            let at = span(list, entry.get());
            edited.push_str(list.get(done..at.start).unwrap_or_default());
            edited.push_str(&serde_json::Value::from(value.as_str()).to_string());
            done = at.end;
        }
        edited.push_str(list.get(done..).unwrap_or_default());
        self.splice(place, &edited);
    }

    /// The bytes, as they came but for the edits.
    pub(in crate::dialect) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts JSON in the place of a policy key's value, or in front of all members when the key is absent.
    fn set(&mut self, key: &'static str, value: &str) {
        if let Some((_, place)) = self.values.iter().find(|(known, _)| *known == key) {
            return self.splice(place.clone(), value);
        }
        let (place, member) = front(&self.bytes, key, value);
        let at = place.start + key.len() + r#""":"#.len();
        self.splice(place, &member);
        self.values.push((key, at..at + value.len()));
        self.lengths.add(key);
    }

    /// Replaces a part of one policy key's value.
    fn splice_within(&mut self, place: Range<usize>, text: &str) {
        let mut around = self.values.iter().map(|(_, around)| around.clone());
        let Some(around) = around.find(|around| around.start <= place.start && place.end <= around.end)
        else {
            return;
        };
        let value = [
            self.bytes.slice(around.start..place.start),
            text.as_bytes().to_vec().into(),
            self.bytes.slice(place.end..around.end),
        ]
        .concat();
        if let Ok(value) = String::from_utf8(value) {
            self.splice(around, &value);
        }
    }

    fn splice(&mut self, place: Range<usize>, value: &str) {
        let mut edited = BytesMut::with_capacity(self.bytes.len().saturating_add(value.len()));
        edited.extend_from_slice(&self.bytes.slice(..place.start));
        edited.extend_from_slice(value.as_bytes());
        edited.extend_from_slice(&self.bytes.slice(place.end..));
        for (_, other) in &mut self.values {
            if other.start >= place.end {
                *other = other.start - place.len() + value.len()..other.end - place.len() + value.len();
            } else if *other == place {
                other.end = place.start + value.len();
            }
        }
        self.bytes = edited.freeze();
    }
}

/// A member whose value lies at `value`, and the comma behind it, or before it where it is the last.
fn member_around(object: &[u8], value: &Range<usize>) -> Range<usize> {
    let before = object.get(..value.start).unwrap_or_default();
    // A key that reads as a policy key has no quotation mark inside, however it is written.
    let mut quotes = memchr::memrchr_iter(b'"', before);
    let start = quotes.nth(1).unwrap_or_default();
    let behind = object.get(value.end..).unwrap_or_default();
    let spaces = behind.len() - behind.trim_ascii_start().len();
    if behind.get(spaces) == Some(&b',') {
        return start..value.end + spaces + 1;
    }
    let before = object.get(..start).unwrap_or_default().trim_ascii_end();
    let comma = usize::from(before.ends_with(b","));
    if comma == 0 {
        start..value.end
    } else {
        before.len() - comma..value.end
    }
}

/// Where a new member stands in front of all others of an object, and its text.
fn front(object: &[u8], key: &str, value: &str) -> (Range<usize>, String) {
    let start = memchr::memchr(b'{', object).map_or(object.len(), |brace| brace + 1);
    let rest = object.get(start..).unwrap_or_default().trim_ascii_start();
    let comma = if rest.starts_with(b"}") { "" } else { "," };
    (start..start, format!("\"{key}\":{value}{comma}"))
}
