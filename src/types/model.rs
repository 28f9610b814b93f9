//! How a model is named, and patterns of such names.
//!
//! Three forms: `org/name`, `org/name:VERSION` and `deploy_id:ID`. Limits and allow-lists use the name without
//! its version; a `deploy_id:` name is its own.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest model name, in bytes. The upstream's own are under 100.
const MAX_LEN: usize = 256;

/// The prefix of a name that means one deployment.
const DEPLOY_PREFIX: &str = "deploy_id:";

/// A model's name as a caller gives it: 1 to 256 characters of `[A-Za-z0-9._/:@+-]`, no empty, `.` or `..` part,
/// no slash behind a colon.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(Arc<str>);

/// The text is no model name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a model name is `org/name`, `org/name:VERSION` or `deploy_id:ID`")]
pub struct InvalidModelName;

impl ModelName {
    /// Checks and takes over a name. Case counts; nothing is trimmed or decoded.
    ///
    /// # Errors
    /// The text is empty, too long, has other characters, an empty, `.` or `..` part, or a version that is empty
    /// or has a slash.
    pub fn parse(text: &str) -> Result<Self, InvalidModelName> {
        let bytes = text.as_bytes();
        let mut parts = bytes.split(|byte| *byte == b'/');
        let parts = parts.all(|part| !matches!(part, b"" | b"." | b".."));
        let mut versions = bytes.split(|byte| *byte == b':');
        let name = versions.next().is_some_and(|name| !name.is_empty());
        // A slash behind the colon could begin another model's name.
        let versions = versions.all(|version| !version.is_empty() && !version.contains(&b'/'));
        if text.len() <= MAX_LEN && bytes.iter().all(is_of_name) && parts && name && versions {
            Ok(Self(text.into()))
        } else {
            Err(InvalidModelName)
        }
    }

    /// The name of one deployment, `deploy_id:ID`.
    ///
    /// # Errors
    /// The id has characters that no model name has.
    pub fn deployment(id: &str) -> Result<Self, InvalidModelName> {
        if id.contains(['/', ':']) {
            return Err(InvalidModelName);
        }
        Self::parse(&format!("{DEPLOY_PREFIX}{id}"))
    }

    /// The whole name, with its version.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its version: what limits, allow-lists and labels use. A `deploy_id:` name is its own.
    pub fn base(&self) -> &str {
        match self.0.bytes().position(|byte| byte == b':') {
            Some(colon) if !self.0.starts_with(DEPLOY_PREFIX) => self.0.get(..colon).unwrap_or(&self.0),
            _ => &self.0,
        }
    }

    /// The name that is its own [`base`](Self::base).
    pub fn without_version(&self) -> Self {
        let base = self.base();
        if base.len() == self.0.len() {
            self.clone()
        } else {
            Self(base.into())
        }
    }

    /// A name that no caller can give, for everything that is not told apart.
    pub fn other() -> Self {
        Self("".into())
    }

    /// The id of the deployment, if the name is one of a deployment.
    pub fn deployment_id(&self) -> Option<&str> {
        self.0.strip_prefix(DEPLOY_PREFIX)
    }

    /// The version, if one is named.
    pub fn version(&self) -> Option<&str> {
        if self.0.starts_with(DEPLOY_PREFIX) {
            return None;
        }
        self.0.split_once(':').map(|(_, version)| version)
    }
}

/// So that a map of names can be asked with text.
impl Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a model's name may have such a byte.
fn is_of_name(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'_' | b'/' | b':' | b'@' | b'+' | b'-')
}

/// A model name, or the beginning of one followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModelPattern {
    /// Exactly this name, without a version.
    Exact(Arc<str>),
    /// Every name that begins so.
    Prefix(Arc<str>),
}

impl ModelPattern {
    /// Reads `org/name`, `deploy_id:ID`, `org/*` or `*`.
    ///
    /// # Errors
    /// The text is no model name and no beginning of one followed by a single `*`.
    pub fn parse(text: &str) -> Result<Self, InvalidModelName> {
        match text.strip_suffix('*') {
            None => ModelName::parse(text).map(|name| Self::Exact(name.0)),
            Some(prefix) => {
                if prefix.len() <= MAX_LEN && prefix.as_bytes().iter().all(is_of_name) {
                    Ok(Self::Prefix(prefix.into()))
                } else {
                    Err(InvalidModelName)
                }
            }
        }
    }

    /// Whether `model`, without its version, is meant. The beginning of a name means deployments only if it is `*` or says
    /// `deploy_id:`.
    pub fn matches(&self, model: &ModelName) -> bool {
        match self {
            Self::Exact(name) => **name == *model.base(),
            Self::Prefix(prefix) if !model.base().starts_with(&**prefix) => false,
            Self::Prefix(prefix) => {
                model.deployment_id().is_none() || prefix.is_empty() || prefix.starts_with(DEPLOY_PREFIX)
            }
        }
    }
}

/// As [`ModelPattern::parse`] reads it.
impl fmt::Display for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_splits_into_base_and_version() {
        let plain = ModelName::parse("meta-llama/Llama-3.3-70B").unwrap();
        assert_eq!(
            (plain.base(), plain.version()),
            ("meta-llama/Llama-3.3-70B", None)
        );
        let versioned = ModelName::parse("acme/m:abc123").unwrap();
        assert_eq!(
            (versioned.base(), versioned.version()),
            ("acme/m", Some("abc123"))
        );
        let deployed = ModelName::deployment("XyZ1").unwrap();
        assert_eq!((deployed.base(), deployed.version()), ("deploy_id:XyZ1", None));
        assert_eq!(deployed.deployment_id(), Some("XyZ1"));
        assert_eq!(versioned.deployment_id(), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a/../b",
            ".",
            "a/.",
            "a b",
            "a\0",
            "m:",
            ":m",
            "m\u{e9}",
            "a%2Fb",
            "a\\b",
            "a/m:v1/a/other",
            "a/m:v1/x",
            "a:b/c",
            "deploy_id:X/y",
        ] {
            assert!(ModelName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ModelName::deployment("a/b").is_err());
    }

    #[test]
    fn a_pattern_matches_the_name_without_its_version() {
        let model = ModelName::parse("acme/m:v2").unwrap();
        for (pattern, hit) in [
            ("acme/m", true),
            ("acme/*", true),
            ("*", true),
            ("acme/m2", false),
            ("acme", false),
        ] {
            assert_eq!(
                ModelPattern::parse(pattern).unwrap().matches(&model),
                hit,
                "{pattern}"
            );
        }
        for text in ["acme/m", "deploy_id:X", "acme/*", "*"] {
            assert_eq!(ModelPattern::parse(text).unwrap().to_string(), text);
        }
        assert!(ModelPattern::parse("a*b").is_err());
        assert!(ModelPattern::parse("**").is_err());
    }
}
