//! What is wrong with a scoped token, as precisely as a log can use it. Callers learn less.

use std::fmt;

/// The longest name of a member that is repeated, in characters.
const MAX_NAME: usize = 64;

/// A part of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// How it was signed, and with which key.
    Header,
    /// What it claims.
    Payload,
    /// The HMAC of both.
    Signature,
    /// What asks for a token.
    Body,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
            Self::Body => "body",
        })
    }
}

/// Why a scoped token is refused.
///
/// The text repeats nothing of the token but the name of a member, cut and escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is longer than [`MAX_TOKEN`](super::MAX_TOKEN).
    #[error("the token is longer than 8 KiB")]
    TooLong,
    /// It is not three parts with dots between them.
    #[error("the token is not three parts with dots between them")]
    NotThreeParts,
    /// A part is padded, has other characters, or is not the one encoding of its bytes.
    #[error("the {0} is not URL-safe base64 without padding")]
    NotBase64(Part),
    /// A part is not one JSON object in UTF-8.
    #[error("the {0} is not a JSON object")]
    NotAnObject(Part),
    /// A part has a member twice.
    #[error("the {0} has `{1}` twice")]
    Duplicate(Part, String),
    /// A part has a member that is not known here and so may be a restriction.
    #[error("the {0} has `{1}`, which is not known here")]
    Unknown(Part, String),
    /// A member that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A member is not what its name asks for.
    #[error("`{name}` is not {expected}")]
    Invalid {
        /// The member.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The signature is not the one that the key makes.
    #[error("the signature is not the one of this key")]
    Signature,
    /// `sub` names another account than `kid`.
    #[error("`sub` is not the account that `kid` names")]
    OtherAccount,
    /// The signature is right and `exp` has come.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` lies ahead of the clock here.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// `exp` lies further ahead than the settings allow.
    #[error("the token lives longer than is allowed")]
    TooLongLived,
}

impl Flaw {
    /// Whether the token was good once and its time is over: the one thing that its holder is told.
    pub const fn is_expiry(&self) -> bool {
        matches!(self, Self::Expired)
    }

    /// Whether another secret of the same key could still verify the token.
    pub const fn is_of_key(&self) -> bool {
        matches!(self, Self::Signature)
    }

    pub(super) fn duplicate(part: Part, name: &str) -> Self {
        Self::Duplicate(part, repeatable(name))
    }

    pub(super) fn unknown(part: Part, name: &str) -> Self {
        Self::Unknown(part, repeatable(name))
    }
}

/// As much of a name as a log line can carry.
fn repeatable(name: &str) -> String {
    name.chars()
        .take(MAX_NAME)
        .flat_map(char::escape_default)
        .collect()
}
