//! What is asked for when a token is to be made over HTTP, and what is wrong with it, in the upstream's words for that.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::value::RawValue;

use super::flaw::{Flaw, Part};
use super::jwt::Lifetimes;
use super::members::{Members, integer, is_null, number, string, strings};
use crate::types::{KeyName, ModelPattern, Money};

/// The two names of the member that names the key: today's, and the one before it.
const KEY_NAMES: [&str; 2] = ["api_key_name", "api_token_name"];

/// How many unknown members are told of.
const MOST_UNKNOWN: usize = 16;

/// A token that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintRequest {
    /// The key that shall sign.
    pub key: KeyName,
    /// What may be called. None: everything.
    pub models: Option<Vec<ModelPattern>>,
    /// Since the Unix epoch.
    pub expires_at: Duration,
    /// What may be spent.
    pub spending_limit: Option<Money>,
}

/// What is wrong with one field: `{"loc":["body",FIELD],"msg":…,"type":…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field.
    pub field: Cow<'static, str>,
    /// What is wrong, for people.
    pub message: Cow<'static, str>,
    /// What is wrong, for programs.
    pub kind: &'static str,
}

/// Why a body asks for no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// It is no JSON object, or has a member twice.
    Body(Flaw),
    /// Fields are wrong: all of them, at least one.
    Fields(Vec<FieldError>),
}

impl MintRequest {
    /// Reads a body at the wall time `now`.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn read(body: &[u8], now: Duration, lifetimes: &Lifetimes) -> Result<Self, RequestError> {
        let members = Members::read(body, Part::Body).map_err(RequestError::Body)?;
        let mut fields = Fields {
            members: members.iter().collect(),
            errors: Vec::new(),
        };
        let key = fields.key();
        let models = fields.models();
        let expires_at = fields.expires_at(now, now.saturating_add(lifetimes.max));
        let spending_limit = fields.spending_limit();
        fields.no_others();
        match key {
            Some(key) if fields.errors.is_empty() => Ok(Self {
                key,
                models,
                expires_at,
                spending_limit,
            }),
            _ => Err(RequestError::Fields(fields.errors)),
        }
    }
}

/// The members that were not looked at, and what is wrong so far. Null is as good as absent.
struct Fields<'a> {
    members: Vec<(&'a str, &'a RawValue)>,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.members.iter().position(|(known, _)| *known == name)?;
        Some(self.members.swap_remove(at).1).filter(|value| !is_null(value))
    }

    fn wrong<T>(
        &mut self,
        field: &'static str,
        kind: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Option<T> {
        self.errors.push(FieldError {
            field: field.into(),
            message: message.into(),
            kind,
        });
        None
    }

    fn key(&mut self) -> Option<KeyName> {
        let [today, before] = KEY_NAMES.map(|name| self.take(name).map(|value| (name, value)));
        if today.is_some() && before.is_some() {
            return self.wrong(KEY_NAMES[1], "value_error", "Name the key once, as api_key_name");
        }
        let Some((field, value)) = today.or(before) else {
            return self.wrong(KEY_NAMES[0], "missing", "Field required");
        };
        let Some(text) = string(value) else {
            return self.wrong(field, "string_type", "Input should be a valid string");
        };
        let name = KeyName::parse(&text).ok();
        name.or_else(|| self.wrong(field, "value_error", "This can't be the name of a key"))
    }

    fn models(&mut self) -> Option<Vec<ModelPattern>> {
        let value = self.take("models")?;
        let Some(texts) = strings(value) else {
            return self.wrong("models", "list_type", "Input should be a list of strings");
        };
        if texts.is_empty() {
            return self.wrong(
                "models",
                "too_short",
                "An empty list would allow nothing: leave it out to allow everything",
            );
        }
        let patterns: Option<Vec<_>> = texts.iter().map(|text| ModelPattern::parse(text).ok()).collect();
        patterns.or_else(|| {
            let message = "An entry is no model name, and no beginning of one with * at its end";
            self.wrong("models", "value_error", message)
        })
    }

    /// When the token expires; `latest` unless something else is said.
    fn expires_at(&mut self, now: Duration, latest: Duration) -> Duration {
        let delta = self.seconds("expires_delta");
        let at = self.seconds("expires_at");
        let (field, at) = match (delta, at) {
            (Some(_), Some(_)) => {
                self.wrong::<()>(
                    "expires_at",
                    "value_error",
                    "Give expires_delta or expires_at, not both",
                );
                return latest;
            }
            (Some(delta), None) => ("expires_delta", now.saturating_add(delta)),
            (None, Some(at)) => ("expires_at", at),
            (None, None) => return latest,
        };
        if at.as_secs() <= now.as_secs() {
            self.wrong::<()>(field, "value_error", "The token would have expired already");
        } else if at > latest {
            let days = latest.saturating_sub(now).as_secs() / (24 * 60 * 60);
            let message = format!("The token would live longer than tokens may here ({days} days)");
            self.wrong::<()>(field, "value_error", message);
        }
        at
    }

    fn seconds(&mut self, field: &'static str) -> Option<Duration> {
        let value = self.take(field)?;
        if let Some(seconds) = integer(value) {
            return Some(Duration::from_secs(seconds));
        }
        let negative = value
            .get()
            .strip_prefix('-')
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        if negative {
            return self.wrong(field, "greater_than", "Input should be greater than 0");
        }
        self.wrong(field, "int_type", "Input should be a whole number of seconds")
    }

    fn spending_limit(&mut self) -> Option<Money> {
        const FIELD: &str = "spending_limit";
        let value = self.take(FIELD)?;
        let Some(text) = number(value) else {
            return self.wrong(FIELD, "float_type", "Input should be a number, in USD");
        };
        match Money::parse_down(text) {
            Ok(limit) if limit > Money::ZERO => Some(limit),
            Ok(_) => self.wrong(
                FIELD,
                "greater_than",
                "Input should be greater than 0, at least 0.000000001",
            ),
            Err(error) => self.wrong(FIELD, "value_error", format!("Input is {error}")),
        }
    }

    fn no_others(&mut self) {
        let names = self.members.iter().take(MOST_UNKNOWN).map(|(name, _)| *name);
        let others = names.map(|name| FieldError {
            field: name.chars().take(64).collect::<String>().into(),
            message: "Extra inputs are not permitted".into(),
            kind: "extra_forbidden",
        });
        self.errors.extend(others.collect::<Vec<_>>());
    }
}
