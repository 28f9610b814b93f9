//! Making scoped tokens.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Serialize;

use super::claims::id_of;
use super::jwt::{MAX_TOKEN, PREFIX};
use super::signing_key::SigningKey;
use crate::types::{AccountId, KeyName, ModelName, ModelPattern, Money};

/// The randomness of a `jti`, in bytes.
const JTI_BYTES: usize = 16;

/// A token to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mint {
    /// The account that pays.
    pub account: AccountId,
    /// The name of the key that signs.
    pub key: KeyName,
    /// What may be called. None: everything.
    pub models: Option<Vec<ModelPattern>>,
    /// Since the Unix epoch, in whole seconds; what is finer is dropped.
    pub expires_at: Duration,
    /// What may be spent.
    pub spending_limit: Option<Money>,
    /// What its budget and its revocation are found by. None: by what is signed.
    pub jti: Option<String>,
}

/// Why a token can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The list of models is empty: such a token could do nothing.
    #[error("a token for no model can do nothing")]
    NoModels,
    /// The list names a version, and so would never match.
    #[error("a token names models without their versions")]
    Version,
    /// A limit of nothing: such a token could do nothing.
    #[error("a spending limit is above zero")]
    NoMoney,
    /// The `jti` is none that a token may have.
    #[error("a `jti` is 1 to 256 bytes without control characters")]
    Jti,
    /// It would be longer than [`MAX_TOKEN`].
    #[error("the token would be longer than 8 KiB")]
    TooLong,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The library fails.
    #[error("the token can't be signed")]
    Signing,
}

impl Mint {
    /// A fresh `jti`: 128 random bits.
    ///
    /// # Errors
    /// [`MintError::Random`].
    pub fn random_jti() -> Result<String, MintError> {
        let mut bytes = [0; JTI_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| MintError::Random)?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Signs the token with `key`, which has to be the one that is named; gives it with [`PREFIX`].
    ///
    /// # Errors
    /// The token would be of no use or too long, or can't be signed.
    pub fn sign(&self, key: &SigningKey) -> Result<String, MintError> {
        if self.models.as_ref().is_some_and(Vec::is_empty) {
            return Err(MintError::NoModels);
        }
        if self.models.iter().flatten().any(has_version) {
            return Err(MintError::Version);
        }
        if self.spending_limit == Some(Money::ZERO) {
            return Err(MintError::NoMoney);
        }
        if self.jti.as_deref().is_some_and(|jti| id_of(jti).is_none()) {
            return Err(MintError::Jti);
        }
        let header = Header {
            alg: "HS256",
            kid: &format!("{}:{}", self.account, STANDARD.encode(self.key.as_str())),
            typ: "JWT",
        };
        let message = format!("{}.{}", encoded(&header)?, encoded(&self.payload())?);
        let signature = key.sign(message.as_bytes()).ok_or(MintError::Signing)?;
        let token = format!("{PREFIX}{message}.{signature}");
        if token.len() > PREFIX.len().saturating_add(MAX_TOKEN) {
            return Err(MintError::TooLong);
        }
        Ok(token)
    }

    fn payload(&self) -> Payload<'_> {
        let models = self.models.as_ref();
        Payload {
            sub: self.account.as_str(),
            models: models.map(|models| models.iter().map(ModelPattern::to_string).collect()),
            exp: self.expires_at.as_secs(),
            spending_limit: self.spending_limit,
            jti: self.jti.as_deref(),
        }
    }
}

/// Whether a pattern names one version of a model, which matches nothing: lists are held against names without one.
fn has_version(pattern: &ModelPattern) -> bool {
    match pattern {
        ModelPattern::Exact(name) => ModelName::parse(name).is_ok_and(|name| name.version().is_some()),
        ModelPattern::Prefix(_) => false,
    }
}

/// In the order in which the upstream writes it.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

#[derive(Serialize)]
struct Payload<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<String>>,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    spending_limit: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
}

fn encoded(part: &impl Serialize) -> Result<String, MintError> {
    let json = serde_json::to_vec(part).map_err(|_| MintError::Signing)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}
