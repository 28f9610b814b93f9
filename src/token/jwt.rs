//! Scoped tokens: read strictly, believed only after their signature was checked.
//!
//! `jwt:` + base64url(header) `.` base64url(payload) `.` base64url(HMAC-SHA256(secret, header `.` payload)), where
//! `kid` in the header is the account, a colon, and the key's name in standard base64.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::value::RawValue;

use super::claims::Claims;
use super::flaw::{Flaw, Part};
use super::members::{Members, string};
use super::signing_key::SigningKey;
use crate::config::ScopedJwt;
use crate::types::{AccountId, KeyName, ModelName, ModelPattern, Money, TokenId, sha256};

/// What a credential begins with when it is a scoped token.
pub const PREFIX: &str = "jwt:";

/// The longest token, in bytes without [`PREFIX`]: room for some hundred names of models.
pub const MAX_TOKEN: usize = 8 * 1024;

/// How far the clock of an issuer may be ahead of the one here.
const MAX_AHEAD: Duration = Duration::from_secs(60);

/// How far ahead `exp` may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// For every token.
    pub max: Duration,
    /// For tokens without a `jti`.
    pub max_self_signed: Duration,
}

impl From<&ScopedJwt> for Lifetimes {
    fn from(settings: &ScopedJwt) -> Self {
        Self {
            max: settings.max_lifetime,
            max_self_signed: settings.max_self_signed_lifetime,
        }
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self::from(&ScopedJwt::default())
    }
}

impl Lifetimes {
    fn of(&self, claims: &Claims) -> Duration {
        match claims.jti {
            Some(_) => self.max,
            None => self.max.min(self.max_self_signed),
        }
    }
}

/// A token of the right form. Nothing that it says is known to be true. `Debug` shows only which key it names.
#[derive(Clone)]
pub struct Unverified<'a> {
    /// Header and payload with the dot between them.
    signing_input: &'a [u8],
    signature: &'a str,
    payload: Vec<u8>,
    account: AccountId,
    key: KeyName,
}

impl<'a> Unverified<'a> {
    /// Reads a token, `text` being what stands behind [`PREFIX`].
    ///
    /// Each part must be the one base64 encoding of its bytes. The header must have `alg` = `HS256` and `kid`, may have
    /// `typ` = `JWT`, and nothing else. The payload is decoded and not looked at.
    ///
    /// # Errors
    /// What is wrong with the form of the whole, the encoding of a part, or the header.
    pub fn read(text: &'a [u8]) -> Result<Self, Flaw> {
        let [header, payload, signature] = parts(text)?;
        decoded(signature, Part::Signature)?;
        let Header { account, key } = Header::read(&decoded(header, Part::Header)?)?;
        let signed = text.len().saturating_sub(signature.len().saturating_add(1));
        Ok(Self {
            signing_input: text.get(..signed).ok_or(Flaw::NotThreeParts)?,
            signature: std::str::from_utf8(signature).map_err(|_| Flaw::NotBase64(Part::Signature))?,
            payload: decoded(payload, Part::Payload)?,
            account,
            key,
        })
    }

    /// The account whose key is said to have signed.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The key of that account which is said to have signed.
    pub fn key(&self) -> &KeyName {
        &self.key
    }

    /// What is claimed, unchecked: for showing it to somebody.
    ///
    /// # Errors
    /// See [`Claims::read`]; or `sub` is not the account in `kid`.
    pub fn claims(&self) -> Result<Claims, Flaw> {
        let claims = Claims::read(&self.payload)?;
        if claims.account != self.account {
            return Err(Flaw::OtherAccount);
        }
        Ok(claims)
    }

    /// The token's identity among those of its account, if `claims` are its own.
    pub fn id(&self, claims: &Claims) -> TokenId {
        let digest = || TokenId::of_digest(sha256(self.signing_input));
        claims.jti.clone().unwrap_or_else(digest)
    }

    /// Checks the signature with `key` and reads what is claimed, whether or not its time has come or is over.
    ///
    /// # Errors
    /// [`Flaw::Signature`] before anything else of the claims is told; then what is wrong with their form.
    pub fn inspect(&self, key: &SigningKey) -> Result<Scope, Flaw> {
        self.signed(key).map(|claims| self.scope(claims))
    }

    /// Checks the signature with `key`, then what is claimed at the wall time `now` since the Unix epoch.
    ///
    /// `exp` and `nbf` have no leeway: the token is good from the second `nbf` until right before the second `exp`.
    ///
    /// # Errors
    /// [`Flaw::Signature`] before anything else of the claims is told; then what is wrong with them.
    pub fn verify(&self, key: &SigningKey, now: Duration, lifetimes: &Lifetimes) -> Result<Scope, Flaw> {
        let claims = self.signed(key)?;
        check_times(&claims, now, lifetimes)?;
        Ok(self.scope(claims))
    }

    /// The claims, if `key` signed them.
    fn signed(&self, key: &SigningKey) -> Result<Claims, Flaw> {
        if !key.verifies(self.signing_input, self.signature) {
            return Err(Flaw::Signature);
        }
        self.claims()
    }

    fn scope(&self, claims: Claims) -> Scope {
        Scope {
            id: self.id(&claims),
            account: claims.account,
            key: self.key.clone(),
            expires_at: Duration::from_secs(claims.expires_at),
            models: claims.models,
            spending_limit: claims.spending_limit,
        }
    }
}

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("account", &self.account)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn check_times(claims: &Claims, now: Duration, lifetimes: &Lifetimes) -> Result<(), Flaw> {
    let expires_at = Duration::from_secs(claims.expires_at);
    if now >= expires_at {
        return Err(Flaw::Expired);
    }
    if claims.not_before.is_some_and(|at| now < Duration::from_secs(at)) {
        return Err(Flaw::NotYetValid);
    }
    let ahead = now.saturating_add(MAX_AHEAD);
    if claims.issued_at.is_some_and(|at| Duration::from_secs(at) > ahead) {
        return Err(Flaw::IssuedInFuture);
    }
    if expires_at > now.saturating_add(lifetimes.of(claims)) {
        return Err(Flaw::TooLongLived);
    }
    Ok(())
}

/// What a verified token lets its holder do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Its identity among those of its account: what its budget and its revocation are found by.
    pub id: TokenId,
    /// The account that pays.
    pub account: AccountId,
    /// The key that signed.
    pub key: KeyName,
    /// What may be called. None: everything; an empty list: nothing.
    pub models: Option<Vec<ModelPattern>>,
    /// Since the Unix epoch: from then on the token is worth nothing.
    pub expires_at: Duration,
    /// What all its calls together may spend.
    pub spending_limit: Option<Money>,
}

impl Scope {
    /// Whether `model` may be called, whatever its version.
    pub fn allows(&self, model: &ModelName) -> bool {
        let models = self.models.as_ref();
        models.is_none_or(|models| models.iter().any(|pattern| pattern.matches(model)))
    }
}

/// What a token shows to anybody who has it, also one that is no good.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The header, if it is JSON.
    pub header: Option<Box<RawValue>>,
    /// The payload, if it is JSON.
    pub payload: Option<Box<RawValue>>,
}

impl Shown {
    /// Decodes as much as can be decoded, of a token that is not too long.
    pub fn of(text: &[u8]) -> Self {
        let json = |part| {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        let mut parts = text.get(..MAX_TOKEN).unwrap_or(text).split(|byte| *byte == b'.');
        Self {
            header: parts.next().and_then(json),
            payload: parts.next().and_then(json),
        }
    }
}

fn parts(text: &[u8]) -> Result<[&[u8]; 3], Flaw> {
    if text.len() > MAX_TOKEN {
        return Err(Flaw::TooLong);
    }
    let mut parts = text.split(|byte| *byte == b'.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => Ok([header, payload, signature]),
        _ => Err(Flaw::NotThreeParts),
    }
}

fn decoded(text: &[u8], part: Part) -> Result<Vec<u8>, Flaw> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::NotBase64(part))
}

/// What a header says beyond what every header says.
struct Header {
    account: AccountId,
    key: KeyName,
}

impl Header {
    fn read(json: &[u8]) -> Result<Self, Flaw> {
        let (mut algorithm, mut header) = (false, None);
        for (name, value) in Members::read(json, Part::Header)?.iter() {
            match name {
                "alg" => {
                    exactly("alg", value, "HS256")?;
                    algorithm = true;
                }
                "typ" => exactly("typ", value, "JWT")?,
                "kid" => header = Some(Self::of_kid(value)?),
                _ => return Err(Flaw::unknown(Part::Header, name)),
            }
        }
        if !algorithm {
            return Err(Flaw::Missing("alg"));
        }
        header.ok_or(Flaw::Missing("kid"))
    }

    fn of_kid(value: &RawValue) -> Result<Self, Flaw> {
        let names = || {
            let kid = string(value)?;
            // Account ids have colons of their own.
            let (account, encoded) = kid.rsplit_once(':')?;
            let name = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
            (STANDARD.encode(&name) == encoded).then_some(())?;
            Some(Self {
                account: AccountId::parse(account).ok()?,
                key: KeyName::parse(&name).ok()?,
            })
        };
        names().ok_or(Flaw::Invalid {
            name: "kid",
            expected: "an account, a colon and a key's name in padded standard base64",
        })
    }
}

/// Checks that `value` is the only text that `name` may have.
fn exactly(name: &'static str, value: &RawValue, expected: &'static str) -> Result<(), Flaw> {
    match string(value) {
        Some(text) if text == expected => Ok(()),
        Some(_) | None => Err(Flaw::Invalid { name, expected }),
    }
}
