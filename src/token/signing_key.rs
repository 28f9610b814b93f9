//! A key's secret, ready to sign tokens and to check them. HMAC-SHA256 and nothing else.

use std::sync::OnceLock;

use jsonwebtoken::crypto::{aws_lc, sign, verify};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use crate::config::SHORTEST_SECRET;

/// The one algorithm.
const ALGORITHM: Algorithm = Algorithm::HS256;

/// The example of RFC 4231, section 4.3: key, message, HMAC-SHA256 in URL-safe base64.
const EXAMPLE: (&[u8], &[u8], &str) = (
    b"Jefe",
    b"what do ya want for nothing?",
    "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM",
);

/// A secret of an API key, as a key of tokens. `Debug` doesn't show it; it is wiped when dropped.
#[derive(Debug, Clone)]
pub struct SigningKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// Why a secret can't sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// It can be guessed from a token.
    #[error("a secret shorter than {SHORTEST_SECRET} bytes can be guessed from a token")]
    TooShort,
    /// The library computes something else than HMAC-SHA256.
    #[error("HMAC-SHA256 does not work here")]
    NoHmac,
}

impl SigningKey {
    /// Prepares a secret, exactly as its bytes stand: nothing is decoded.
    ///
    /// # Errors
    /// The secret is too short, or HMAC-SHA256 fails its self-test.
    pub fn new(secret: &[u8]) -> Result<Self, SigningKeyError> {
        if secret.len() < SHORTEST_SECRET {
            return Err(SigningKeyError::TooShort);
        }
        if !hmac_works() {
            return Err(SigningKeyError::NoHmac);
        }
        Ok(Self::prepared(secret))
    }

    fn prepared(secret: &[u8]) -> Self {
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
        }
    }

    /// The signature of `message` in URL-safe base64 without padding; `None` if the library fails.
    pub(super) fn sign(&self, message: &[u8]) -> Option<String> {
        sign(message, &self.encoding, ALGORITHM).ok()
    }

    /// Whether `signature`, in URL-safe base64, is the one of `message`. Takes the same time whichever byte differs.
    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        verify(signature, message, &self.decoding, ALGORITHM).unwrap_or(false)
    }
}

/// Chooses the library's cryptography and tries it, the first time only.
///
/// Without the choice, another crate that enables the library's other cryptography would make every signature panic.
fn hmac_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        // Only the first choice of a process counts; if it is another one, it has to pass the test too.
        aws_lc::DEFAULT_PROVIDER.install_default().ok();
        let (secret, message, signature) = EXAMPLE;
        let key = SigningKey::prepared(secret);
        key.sign(message).as_deref() == Some(signature)
            && key.verifies(message, signature)
            && !key.verifies(b"another message", signature)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_and_verifies_with_its_own_secret_alone() {
        let (own, other) = (
            SigningKey::new(b"0123456789abcdef").unwrap(),
            SigningKey::new(b"0123456789abcdeF").unwrap(),
        );
        let signature = own.sign(b"message").unwrap();
        assert!(own.verifies(b"message", &signature));
        assert!(!other.verifies(b"message", &signature));
        for wrong in [
            "",
            "AA",
            &signature[..42],
            &format!("{signature}A"),
            &format!("{signature}="),
        ] {
            assert!(!own.verifies(b"message", wrong), "{wrong}");
        }
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        for short in [&b""[..], b"0123456789abcde"] {
            assert_eq!(SigningKey::new(short).unwrap_err(), SigningKeyError::TooShort);
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let shown = format!("{:?}", SigningKey::new(b"sixteen or more bytes").unwrap());
        assert!(
            !shown.contains("sixteen") && !shown.contains("115, 105"),
            "{shown}"
        );
    }
}
