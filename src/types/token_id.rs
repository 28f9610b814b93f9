//! Which scoped token is meant, for its budget and its revocation.

use std::fmt::{self, Write};
use std::sync::Arc;

/// The longest `jti`, in bytes.
const MAX_JTI: usize = 256;

/// The identity of a scoped token within its account: its `jti` where it has one, else the SHA-256 of what was signed.
///
/// As text it is `jti:` and the `jti` itself, or `sha256:` and 64 hexadecimal digits in lower case. The two never
/// meet: a `jti` that reads `sha256:…` is `jti:sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(Form);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    Jti(Arc<str>),
    Digest([u8; 32]),
}

/// The text is no token's identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a token is named by a `jti` of 1 to 256 bytes or by a SHA-256 in hexadecimal")]
pub struct InvalidTokenId;

impl TokenId {
    /// Names a token by its `jti`.
    ///
    /// # Errors
    /// The `jti` is empty or longer than 256 bytes.
    pub fn of_jti(jti: &str) -> Result<Self, InvalidTokenId> {
        if (1..=MAX_JTI).contains(&jti.len()) {
            Ok(Self(Form::Jti(jti.into())))
        } else {
            Err(InvalidTokenId)
        }
    }

    /// Names a token by the SHA-256 of its signing input.
    pub const fn of_digest(digest: [u8; 32]) -> Self {
        Self(Form::Digest(digest))
    }

    /// Whether it is the SHA-256 of one token, which no other token can have.
    pub const fn is_digest(&self) -> bool {
        matches!(self.0, Form::Digest(_))
    }

    /// Reads what [`Display`](fmt::Display) wrote. Every identity has one text only.
    ///
    /// # Errors
    /// The text has neither form.
    pub fn parse(text: &str) -> Result<Self, InvalidTokenId> {
        if let Some(jti) = text.strip_prefix("jti:") {
            return Self::of_jti(jti);
        }
        let digits = text.strip_prefix("sha256:").ok_or(InvalidTokenId)?;
        digest_of(digits).map(Self::of_digest).ok_or(InvalidTokenId)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Jti(jti) => {
                f.write_str("jti:")?;
                f.write_str(jti)
            }
            Form::Digest(digest) => {
                f.write_str("sha256:")?;
                for half in digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]) {
                    f.write_char(char::from_digit(half.into(), 16).ok_or(fmt::Error)?)?;
                }
                Ok(())
            }
        }
    }
}

fn digest_of(digits: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let mut digest = [0; 32];
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        *byte = half_of(*high)? << 4 | half_of(*low)?;
    }
    Some(digest)
}

fn half_of(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a').map(|above| above.saturating_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_form_has_its_text() {
        let mut digest = [0xab; 32];
        digest[0] = 0x01;
        let text = format!("sha256:01{}", "ab".repeat(31));
        assert_eq!(TokenId::of_digest(digest).to_string(), text);
        assert_eq!(TokenId::parse(&text), Ok(TokenId::of_digest(digest)));
        assert_eq!(TokenId::of_jti("a:b").unwrap().to_string(), "jti:a:b");
    }

    #[test]
    fn a_jti_is_1_to_256_bytes() {
        for good in ["a", " ", "\u{e9}", &"x".repeat(256)] {
            assert!(TokenId::of_jti(good).is_ok(), "{good:?}");
        }
        for bad in ["", &"x".repeat(257), &"\u{e9}".repeat(129)] {
            assert_eq!(TokenId::of_jti(bad), Err(InvalidTokenId), "{bad:?}");
        }
    }

    #[test]
    fn a_jti_that_looks_like_a_digest_stays_a_jti() {
        let digest = TokenId::of_digest([7; 32]);
        let posing = TokenId::of_jti(&digest.to_string()).unwrap();
        assert_ne!(posing, digest);
        assert_ne!(posing.to_string(), digest.to_string());
        assert_eq!(TokenId::parse(&posing.to_string()), Ok(posing));
    }

    #[test]
    fn what_has_neither_form_is_refused() {
        let (zeros, upper) = ("0".repeat(63), "AB".repeat(32));
        for bad in [
            "",
            "jti",
            "jti:",
            "sha256:",
            "JTI:a",
            " jti:a",
            &format!("sha256:{zeros}"),
            &format!("sha256:{zeros}00"),
            &format!("sha256:{zeros}g"),
            &format!("sha256:{upper}"),
            &format!("jti:{}", "x".repeat(257)),
        ] {
            assert_eq!(TokenId::parse(bad), Err(InvalidTokenId), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_identity_stand_for_each_other(jti in ".{1,64}", digest: [u8; 32], other in ".{0,80}") {
            for id in [TokenId::of_jti(&jti).unwrap(), TokenId::of_digest(digest)] {
                prop_assert_eq!(TokenId::parse(&id.to_string()), Ok(id));
            }
            if let Ok(id) = TokenId::parse(&other) {
                prop_assert_eq!(id.to_string(), other);
            }
        }
    }
}
