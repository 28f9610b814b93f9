//! The members of a JSON body, each taken once; what nobody took is refused.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::admin::problem::Problem;

/// What is left of an object.
#[derive(Debug)]
pub(super) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// It is none, or has a member twice.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let Object(members) = serde_json::from_slice(body)
            .map_err(|error| Problem::invalid_body(format!("the body is no JSON object: {error}")))?;
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some((*one).to_owned()),
            _ => None,
        });
        match twice {
            Some(name) => Err(Problem::duplicate(name)),
            None => Ok(Self(members)),
        }
    }

    /// The same, where no body at all says as much as an empty object.
    ///
    /// # Errors
    /// Those of [`Fields::read`].
    pub(super) fn read_or_none(body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self(Vec::new()));
        }
        Self::read(body)
    }

    /// A member, which may be null.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// A string.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::field(name, "expected a string")),
        }
    }

    /// A string that must be there and be readable as something.
    ///
    /// # Errors
    /// It is missing, or something else.
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Problem> {
        let text = self
            .text(name)?
            .ok_or_else(|| Problem::field(name, "is missing"))?;
        // Its place in a path would be read as a step.
        if matches!(text.as_str(), "." | "..") {
            return Err(Problem::field(name, "`.` and `..` can't be named in a path"));
        }
        parse(&text).map_err(|error| Problem::field(name, error.to_string()))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(Problem::field(name, "expected `true` or `false`")),
        }
    }

    /// Everything was taken.
    ///
    /// # Errors
    /// There is a member that the route does not know.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        match self.0.pop() {
            Some((name, _)) => Err(Problem::field(name, "this route takes no such member")),
            None => Ok(()),
        }
    }
}

/// The members of an object as they stand, also those that stand twice.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Object(members))
    }
}
