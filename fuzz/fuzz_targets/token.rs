//! No token makes its reader panic, and what is taken of rightly signed ones the library takes too, and reads alike.
//!
//! An input is a header, a line break and a payload, which are signed here; and it is a token as it stands.

#![no_main]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, decode};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use tidegate::token::{Lifetimes, Shown, SigningKey, Unverified};

const SECRET: &[u8] = b"the secret of the key named auto";
const NOW: Duration = Duration::from_secs(1_790_000_000);

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
}

fuzz_target!(|input: &[u8]| {
    let key = SigningKey::new(SECRET).unwrap();
    Shown::of(input);
    if let Ok(token) = Unverified::read(input) {
        token.claims().ok();
        assert!(
            token.verify(&key, NOW, &Lifetimes::default()).is_err(),
            "a signature was guessed"
        );
    }
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (header, payload) = (&input[..at], &input[at + 1..]);
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let secret = EncodingKey::from_secret(SECRET);
    let signature = sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
    let token = format!("{message}.{signature}");
    let Ok(scope) =
        Unverified::read(token.as_bytes()).and_then(|token| token.verify(&key, NOW, &Lifetimes::default()))
    else {
        return;
    };
    // Its clock can't be moved, and it wants to know whom a token is for.
    let mut rules = Validation::new(Algorithm::HS256);
    (rules.validate_exp, rules.validate_nbf, rules.validate_aud) = (false, false, false);
    rules.set_required_spec_claims(&["exp", "sub"]);
    let read = decode::<Claims>(&token, &DecodingKey::from_secret(SECRET), &rules).unwrap();
    assert_eq!(read.claims.sub, scope.account.as_str());
    assert_eq!(Duration::from_secs(read.claims.exp), scope.expires_at);
    let kid = read.header.kid.unwrap();
    assert_eq!(kid.rsplit_once(':').unwrap().0, scope.account.as_str());
});
