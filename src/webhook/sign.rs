//! Signatures of deliveries, after Standard Webhooks 1.0.0: `v1,` and an HMAC-SHA256 in base64.

use std::fmt;

use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::types::JobId;

/// What every secret begins with when it is shown.
const PREFIX: &str = "whsec_";

/// How many bytes a secret may have, after the standard; and how many a fresh one has, as many as the hash gives.
const MIN_BYTES: usize = 24;
const MAX_BYTES: usize = 64;
const FRESH_BYTES: usize = 32;

/// A secret, ready to sign. `Debug` doesn't show it.
pub struct SigningSecret(hmac::Key);

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is `{PREFIX}` and {MIN_BYTES} to {MAX_BYTES} bytes in base64")]
pub struct BadSecret;

/// There is no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

impl SigningSecret {
    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// It has another form, or is too short or too long.
    pub fn parse(secret: &SecretString) -> Result<Self, BadSecret> {
        let text = secret.expose_secret().strip_prefix(PREFIX).ok_or(BadSecret)?;
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| BadSecret)?);
        if !(MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) {
            return Err(BadSecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The signature of one attempt: `v1,` and base64. `timestamp` is in seconds since the Unix epoch.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret")
    }
}

/// Makes a secret that nobody can guess, in the form in which its owner gets it.
///
/// # Errors
/// The system gives no random bytes.
pub fn fresh_secret() -> Result<SecretString, NoRandomness> {
    let mut bytes = Zeroizing::new([0; FRESH_BYTES]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
    let text = format!("{PREFIX}{}", STANDARD.encode(bytes.as_slice()));
    Ok(SecretString::from(text))
}

/// The value of `webhook-signature`: one signature for each secret, so that receivers who know one of them are served.
pub(super) fn signatures(secrets: &[SigningSecret], id: &JobId, timestamp: u64, body: &[u8]) -> String {
    let signed = secrets
        .iter()
        .map(|secret| secret.sign(id.as_str(), timestamp, body));
    signed.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(text: &str) -> Result<SigningSecret, BadSecret> {
        SigningSecret::parse(&SecretString::from(text))
    }

    const EXAMPLE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_example_of_the_standard_comes_out() {
        let signature = secret(EXAMPLE).unwrap().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_its_prefix_and_24_to_64_bytes() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (bytes, good) in [(23, false), (24, true), (64, true), (65, false)] {
            assert_eq!(secret(&of(bytes)).is_ok(), good, "{bytes}");
        }
        for bad in [
            "",
            "whsec_",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS ",
        ] {
            assert_eq!(secret(bad).err(), Some(BadSecret), "{bad:?}");
        }
    }

    #[test]
    fn a_fresh_secret_is_a_secret_and_another_each_time() {
        let (one, two) = (fresh_secret().unwrap(), fresh_secret().unwrap());
        assert!(SigningSecret::parse(&one).is_ok());
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert_eq!(
            format!("{:?}", SigningSecret::parse(&one).unwrap()),
            "SigningSecret"
        );
    }

    #[test]
    fn during_a_rotation_each_secret_signs_by_itself() {
        let secrets = [
            secret(EXAMPLE).unwrap(),
            SigningSecret::parse(&fresh_secret().unwrap()).unwrap(),
        ];
        let id = JobId::new([1; 32]);
        let both = signatures(&secrets, &id, 5, b"{}");
        let each: Vec<String> = secrets
            .iter()
            .map(|secret| secret.sign(id.as_str(), 5, b"{}"))
            .collect();
        assert_eq!(both.split(' ').collect::<Vec<_>>(), each);
        assert_ne!(each[0], each[1]);
    }

    proptest! {
        #[test]
        fn whatever_is_changed_changes_the_signature(
            body in proptest::collection::vec(any::<u8>(), 1..64),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
            timestamp in any::<u64>(),
        ) {
            let secret = secret(EXAMPLE).unwrap();
            let signature = secret.sign("R1", timestamp, &body);
            let mut changed = body.clone();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            prop_assert_ne!(&secret.sign("R1", timestamp, &changed), &signature);
            prop_assert_ne!(&secret.sign("R1", timestamp ^ 1, &body), &signature);
            prop_assert_ne!(&secret.sign("R2", timestamp, &body), &signature);
            prop_assert_eq!(&secret.sign("R1", timestamp, &body), &signature);
        }
    }
}
