//! Names of accounts and of their keys.

use std::fmt;
use std::sync::Arc;

/// The longest account id and key name, in bytes: both are label values, log fields and part of a `kid`.
const MAX_LEN: usize = 128;

/// A customer of the platform team, such as `di:1000000000000`: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Arc<str>);

/// The text is no account id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an account id is 1 to 128 visible ASCII characters")]
pub struct InvalidAccountId;

impl AccountId {
    /// Checks and takes over an id.
    ///
    /// # Errors
    /// The text is empty, longer than 128 bytes or not visible ASCII.
    pub fn parse(text: &str) -> Result<Self, InvalidAccountId> {
        let valid = (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidAccountId)
        }
    }

    /// All accounts that are not told apart.
    pub fn other() -> Self {
        Self("other".into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one of an account's keys, such as `auto`: 1 to 128 bytes of UTF-8 without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(Arc<str>);

/// The text is no key name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key name is 1 to 128 bytes without control characters")]
pub struct InvalidKeyName;

impl KeyName {
    /// Checks and takes over a name.
    ///
    /// # Errors
    /// The text is empty, longer than 128 bytes or has a control character.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyName> {
        let valid = (1..=MAX_LEN).contains(&text.len()) && !text.chars().any(char::is_control);
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidKeyName)
        }
    }

    /// All keys that are not told apart.
    pub fn other() -> Self {
        Self("other".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
