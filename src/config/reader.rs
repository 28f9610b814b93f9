//! Typed reading of a section, key by key. A mistake is noted and reading goes on, so that one run shows all.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::format;
use super::mistake::{Place, nearest};
use super::node::{NOT_OVERRIDABLE, Node, Table, Value, parse_value};
use super::reading::Reading;
use super::unbuilt;

/// What a key that names text or a file was given.
pub(super) struct Sourced {
    pub(super) text: String,
    /// The file, if it was `file:PATH`.
    pub(super) file: Option<PathBuf>,
}

/// One table of the file. What is not taken out of it by [`Section::finish`] is unknown.
#[must_use = "`finish` reports the unknown keys"]
pub(super) struct Section<'a> {
    pub(super) reading: &'a Reading<'a>,
    /// Its own key, empty for the whole file.
    path: String,
    table: Table,
    known: BTreeSet<String>,
}

impl<'a> Section<'a> {
    pub(super) fn root(reading: &'a Reading<'a>, table: Table) -> Self {
        Self::new(reading, String::new(), table)
    }

    fn new(reading: &'a Reading<'a>, path: String, table: Table) -> Self {
        Self {
            reading,
            path,
            table,
            known: BTreeSet::new(),
        }
    }

    /// The whole key of `name` in this section; of the section itself if `name` is empty.
    pub(super) fn key(&self, name: &str) -> String {
        match (self.path.as_str(), name) {
            ("", name) => name.to_owned(),
            (path, "") => path.to_owned(),
            (path, name) => format!("{path}.{name}"),
        }
    }

    /// Notes a mistake at `name`.
    pub(super) fn mistake(&self, name: &str, message: impl Display) {
        self.reading.mistake(self.key(name), message);
    }

    /// Refuses what belongs to a later version, and reports what nothing asked for.
    pub(super) fn finish(mut self) {
        unbuilt::refuse(&mut self);
        for (name, node) in std::mem::take(&mut self.table) {
            let key = self.key(&name);
            self.reading.met(&key, &node.place);
            let known = self.known.iter().map(String::as_str);
            match nearest(&name, known) {
                Some(known) => self
                    .reading
                    .mistake(key, format!("unknown key; did you mean `{known}`?")),
                None => self.reading.mistake(key, "unknown key"),
            }
        }
    }

    /// Whether something is already known to be wrong with `name`.
    pub(super) fn is_mistaken(&self, name: &str) -> bool {
        self.reading.is_mistaken(&self.key(name))
    }

    /// Whether `name` was given and is not taken yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Whether nothing was given that is not taken yet.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whether `name` was given as just this text.
    pub(super) fn is_text(&self, name: &str, text: &str) -> bool {
        let value = self.table.get(name).map(|node| &node.value);
        matches!(value, Some(Value::Text(given) | Value::Raw(given)) if given == text)
    }

    /// Whether `name` was given as a list.
    pub(super) fn is_list(&self, name: &str) -> bool {
        matches!(self.table.get(name).map(|node| &node.value), Some(Value::List(_)))
    }

    /// Takes the value of `name`, and remembers that the name is known.
    fn take(&mut self, name: &str) -> Option<Node> {
        self.known.insert(name.to_owned());
        let key = self.key(name);
        let Some(node) = self.table.remove(name) else {
            self.reading.asked(key);
            return None;
        };
        self.reading.met(&key, &node.place);
        Some(node)
    }

    /// A table in this one; `None` when it is not there.
    pub(super) fn section(&mut self, name: &str) -> Option<Section<'a>> {
        let value = self.take(name)?.value;
        let key = self.key(name);
        if let Value::Table(table) = value {
            return Some(Section::new(self.reading, key, table));
        }
        match value.into_raw() {
            Ok(_) => self.refuse(name, NOT_OVERRIDABLE),
            Err(_) => self.refuse(name, format!("is a section; expected `[{key}]`")),
        }
    }

    /// The tables `[[name]]`, in their order.
    pub(super) fn sections(&mut self, name: &str) -> Vec<Section<'a>> {
        let key = self.key(name);
        let expected = format!("is a list of sections; expected `[[{key}]]`");
        let Some(node) = self.take(name) else {
            return Vec::new();
        };
        let Value::List(items) = node.value else {
            match node.place {
                Place::Variable(_) => self.mistake(name, NOT_OVERRIDABLE),
                Place::Line(_) => self.mistake(name, expected),
            }
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let key = format!("{key}[{index}]");
            self.reading.met(&key, &item.place);
            if let Value::Table(table) = item.value {
                sections.push(Section::new(self.reading, key, table));
            } else {
                self.reading.mistake(key, &expected);
            }
        }
        sections
    }

    /// The entries of a table whose keys are free, all of them text.
    pub(super) fn entries(&mut self, name: &str) -> Vec<(String, String)> {
        let Some(mut section) = self.section(name) else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (name, node) in std::mem::take(&mut section.table) {
            let key = section.key(&format!("\"{name}\""));
            section.reading.met(&key, &node.place);
            if let Value::Text(text) = node.value {
                entries.extend(self.reading.resolve(&key, text).map(|text| (name, text)));
                continue;
            }
            match node.place {
                Place::Variable(_) => self.reading.mistake(key, NOT_OVERRIDABLE),
                Place::Line(_) => self.reading.mistake(key, "expected a string"),
            }
        }
        entries
    }

    /// A string, with `env:` and `file:` followed.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.sourced(name).map(|sourced| sourced.text)
    }

    /// A string, and the file that it came from if it was `file:PATH`.
    pub(super) fn sourced(&mut self, name: &str) -> Option<Sourced> {
        let literal = self.literal(name)?;
        let file = literal.strip_prefix("file:").map(|path| self.reading.path(path));
        let text = self.reading.resolve(&self.key(name), literal)?;
        Some(Sourced { text, file })
    }

    /// The file of a `file:PATH`, which is not read; `None` and still there if it is anything else.
    pub(super) fn file(&mut self, name: &str) -> Option<PathBuf> {
        let value = self.table.get(name).map(|node| &node.value);
        let Some(Value::Text(text) | Value::Raw(text)) = value else {
            return None;
        };
        let path = self.path(text.strip_prefix("file:")?);
        self.literal(name);
        Some(path)
    }

    /// A path of the configuration, which is relative to the file's folder.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.reading.path(path)
    }

    /// A string as it stands, with nothing followed.
    pub(super) fn literal(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?.value;
        if let Value::Text(text) | Value::Raw(text) = value {
            return Some(text);
        }
        self.refuse(name, "expected a string")
    }

    /// A string that has to have a form; `expected` says which.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Some(value) => Some(value),
            None => self.refuse(name, format!("expected {expected}")),
        }
    }

    /// A string that goes through a check of its own, which says what is wrong.
    pub(super) fn checked<T>(
        &mut self,
        name: &str,
        check: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        match check(&self.text(name)?) {
            Ok(value) => Some(value),
            Err(wrong) => self.refuse(name, wrong),
        }
    }

    /// A secret: it goes through headers, so it is visible ASCII.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
        let text = self.text(name)?;
        if text.is_empty() {
            return self.refuse(name, "is empty");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return self.refuse(
                name,
                "expected visible ASCII characters without spaces, as a header carries them",
            );
        }
        Some(SecretString::from(text))
    }

    /// Notes a mistake if `name` was asked for and was never there.
    pub(super) fn require(&self, name: &str, expected: &str) {
        if !self.was_given(name) {
            self.reading.missing(self.key(name), &self.path, expected);
        }
    }

    /// Whether `name` was asked for and was there.
    pub(super) fn was_given(&self, name: &str) -> bool {
        self.reading.place(&self.key(name)).is_some()
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        if let Value::Bool(value) = self.plain(name)? {
            return Some(value);
        }
        self.refuse(name, "expected `true` or `false`")
    }

    /// A whole number within `range`.
    pub(super) fn integer(&mut self, name: &str, range: RangeInclusive<usize>) -> Option<usize> {
        if let Value::Integer(number) = self.plain(name)?
            && let Ok(number) = usize::try_from(number)
            && range.contains(&number)
        {
            return Some(number);
        }
        let (least, most) = range.into_inner();
        self.refuse(name, format!("expected a whole number from {least} to {most}"))
    }

    /// A number, whole or not, read out of its text; `expected` says which.
    pub(super) fn decimal<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = match self.plain(name)? {
            Value::Number(text) => Some(text),
            Value::Integer(number) => Some(number.to_string()),
            Value::Text(_)
            | Value::Bool(_)
            | Value::Other
            | Value::List(_)
            | Value::Table(_)
            | Value::Raw(_) => None,
        };
        match text.and_then(|text| parse(&text)) {
            Some(number) => Some(number),
            None => self.refuse(name, format!("expected {expected}")),
        }
    }

    /// A duration, which may be zero.
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.parsed(
            name,
            "a whole number and a unit of `ms`, `s`, `m`, `h` or `d`, such as `10s`, at most 3650d",
            format::duration,
        )
    }

    /// A duration above zero.
    pub(super) fn timeout(&mut self, name: &str) -> Option<Duration> {
        let duration = self.duration(name)?;
        if duration.is_zero() {
            return self.refuse(
                name,
                "expected more than zero: with no time at all nothing would get through",
            );
        }
        Some(duration)
    }

    /// A size in bytes within `range`; `bounds` says it in words.
    pub(super) fn size(&mut self, name: &str, range: RangeInclusive<u64>, bounds: &str) -> Option<u64> {
        let size = self.parsed(
            name,
            "a whole number and a unit of `B`, `KiB`, `MiB` or `GiB`, such as `32KiB`",
            format::size,
        )?;
        if range.contains(&size) {
            return Some(size);
        }
        self.refuse(name, format!("expected {bounds}"))
    }

    /// A list of strings, each with its own key; `None` when the key is absent or no list.
    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<(String, String)>> {
        const EXPECTED: &str = "expected a list of strings";
        let Value::List(items) = self.plain(name)? else {
            return self.refuse(name, EXPECTED);
        };
        let mut texts = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let key = format!("{}[{index}]", self.key(name));
            self.reading.met(&key, &item.place);
            if let Value::Text(text) = item.value {
                texts.extend(self.reading.resolve(&key, text).map(|text| (key, text)));
            } else {
                self.reading.mistake(key, EXPECTED);
            }
        }
        Some(texts)
    }

    /// A value of another type than text: what a variable holds is read as TOML first.
    pub(super) fn plain(&mut self, name: &str) -> Option<Value> {
        let node = self.take(name)?;
        Some(match node.value.into_raw() {
            Ok(text) => parse_value(&text, &node.place).unwrap_or(Value::Other),
            Err(value) => value,
        })
    }

    fn refuse<T>(&self, name: &str, message: impl Display) -> Option<T> {
        self.mistake(name, message);
        None
    }
}
