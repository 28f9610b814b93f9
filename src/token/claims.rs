//! What a token claims, read strictly: a claim that is not known here could be a restriction, so it is refused.

use serde_json::value::RawValue;

use super::flaw::{Flaw, Part};
use super::members::{Members, can_be_skipped, integer, is_null, number, string, strings};
use crate::types::{AccountId, ModelPattern, Money, TokenId};

/// Names that begin so belong to whoever issues the token; nobody here looks at them.
const PRIVATE: &str = "x_";

/// What stands in a payload. Nothing in it is true before the signature has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: the account that pays.
    pub account: AccountId,
    /// `exp`, in seconds since the Unix epoch: from then on the token is worth nothing.
    pub expires_at: u64,
    /// `nbf`, in seconds since the Unix epoch: until then too.
    pub not_before: Option<u64>,
    /// `iat`, in seconds since the Unix epoch.
    pub issued_at: Option<u64>,
    /// `model` and `models` together: what may be called. None: everything; an empty list: nothing.
    pub models: Option<Vec<ModelPattern>>,
    /// `spending_limit`: what may be spent, more than nothing.
    pub spending_limit: Option<Money>,
    /// `jti`, as the identity that it gives the token.
    pub jti: Option<TokenId>,
}

impl Claims {
    /// Reads a payload.
    ///
    /// Known are `sub`, `exp`, `nbf`, `iat` (whole numbers), `model` (a string), `models` (a list of strings),
    /// `spending_limit` (a number above zero, rounded down to a nano-dollar), `jti` (a string of 1 to 256 bytes without
    /// control characters), `iss`, `aud` (strings), and all that begins with `x_`. `null` is the same as absent for
    /// `models` and `spending_limit`, and wrong everywhere else.
    ///
    /// # Errors
    /// The payload is no JSON object, has a member twice or one that is not known, lacks `sub` or `exp`, or a claim is
    /// of another type or out of range.
    pub fn read(payload: &[u8]) -> Result<Self, Flaw> {
        let members = Members::read(payload, Part::Payload)?;
        let mut found = Found::default();
        members
            .iter()
            .try_for_each(|(name, value)| found.take(name, value))?;
        Ok(Self {
            account: found.account.ok_or(Flaw::Missing("sub"))?,
            expires_at: found.expires_at.ok_or(Flaw::Missing("exp"))?,
            not_before: found.not_before,
            issued_at: found.issued_at,
            models: union(found.model, found.models),
            spending_limit: found.spending_limit,
            jti: found.jti,
        })
    }
}

/// The claims that were met so far.
#[derive(Default)]
struct Found {
    account: Option<AccountId>,
    expires_at: Option<u64>,
    not_before: Option<u64>,
    issued_at: Option<u64>,
    model: Option<ModelPattern>,
    models: Option<Vec<ModelPattern>>,
    spending_limit: Option<Money>,
    jti: Option<TokenId>,
}

impl Found {
    fn take(&mut self, name: &str, value: &RawValue) -> Result<(), Flaw> {
        match name {
            "sub" => self.account = Some(account(value)?),
            "exp" => self.expires_at = Some(seconds("exp", value)?),
            "nbf" => self.not_before = Some(seconds("nbf", value)?),
            "iat" => self.issued_at = Some(seconds("iat", value)?),
            "model" => self.model = Some(model(value)?),
            "models" if is_null(value) => {}
            "models" => self.models = Some(models(value)?),
            "spending_limit" if is_null(value) => {}
            "spending_limit" => self.spending_limit = Some(spending_limit(value)?),
            "jti" => self.jti = Some(jti(value)?),
            "iss" => text("iss", value)?,
            "aud" => text("aud", value)?,
            _ if name.starts_with(PRIVATE) && can_be_skipped(value) => {}
            _ if name.starts_with(PRIVATE) => {
                return Err(invalid("x_", "a value nested at most 32 deep"));
            }
            _ => return Err(Flaw::unknown(Part::Payload, name)),
        }
        Ok(())
    }
}

/// Both lists as one; none when there is neither.
fn union(model: Option<ModelPattern>, models: Option<Vec<ModelPattern>>) -> Option<Vec<ModelPattern>> {
    let Some(model) = model else {
        return models;
    };
    let mut models = models.unwrap_or_default();
    if !models.contains(&model) {
        models.push(model);
    }
    Some(models)
}

fn account(value: &RawValue) -> Result<AccountId, Flaw> {
    string(value)
        .and_then(|text| AccountId::parse(&text).ok())
        .ok_or(invalid("sub", "an account id"))
}

fn seconds(name: &'static str, value: &RawValue) -> Result<u64, Flaw> {
    integer(value).ok_or(invalid(name, "a whole number of seconds"))
}

fn model(value: &RawValue) -> Result<ModelPattern, Flaw> {
    string(value)
        .and_then(|text| ModelPattern::parse(&text).ok())
        .ok_or(invalid("model", "the name of a model"))
}

fn models(value: &RawValue) -> Result<Vec<ModelPattern>, Flaw> {
    strings(value)
        .and_then(|texts| texts.iter().map(|text| ModelPattern::parse(text).ok()).collect())
        .ok_or(invalid("models", "a list of names of models"))
}

fn spending_limit(value: &RawValue) -> Result<Money, Flaw> {
    number(value)
        .and_then(|text| Money::parse_down(text).ok())
        .filter(|limit| *limit > Money::ZERO)
        .ok_or(invalid("spending_limit", "a number of dollars above zero"))
}

fn jti(value: &RawValue) -> Result<TokenId, Flaw> {
    string(value).and_then(|text| id_of(&text)).ok_or(invalid(
        "jti",
        "a string of 1 to 256 bytes without control characters",
    ))
}

/// The identity that a `jti` gives; none for one that no token may have: empty, longer than 256 bytes, or with control
/// characters, of which stores and logs would each make something else.
pub(super) fn id_of(jti: &str) -> Option<TokenId> {
    let shown = !jti.chars().any(char::is_control);
    shown.then(|| TokenId::of_jti(jti).ok()).flatten()
}

fn text(name: &'static str, value: &RawValue) -> Result<(), Flaw> {
    string(value).map(drop).ok_or(invalid(name, "a string"))
}

fn invalid(name: &'static str, expected: &'static str) -> Flaw {
    Flaw::Invalid { name, expected }
}
