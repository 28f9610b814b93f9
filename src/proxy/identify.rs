//! Who calls: the credential out of three headers, checked.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};

use super::reject::Rejection;
use crate::token::{Caller, Keys, PREFIX};

/// The headers that may carry a credential; none of them ever goes upstream.
pub(super) static CREDENTIAL_HEADERS: [HeaderName; 3] = [
    AUTHORIZATION,
    HeaderName::from_static("xi-api-key"),
    HeaderName::from_static("x-api-key"),
];

/// Finds the caller.
///
/// The same credential may stand in several headers; two that differ are refused, since the gate and the upstream
/// could each take another one.
///
/// # Errors
/// `missing_credentials` or `invalid_credentials`; which part of a credential was wrong is not told. `token_expired` or
/// `token_revoked` for a genuine token.
pub(super) fn identify(headers: &HeaderMap, keys: &Keys) -> Result<Arc<Caller>, Rejection> {
    let credential = credential(headers)?;
    if let Some(token) = credential.strip_prefix(PREFIX.as_bytes()) {
        return keys.verify(token).map_err(|refused| {
            tracing::debug!(%refused, "a scoped token was refused");
            Rejection::refused_token(&refused)
        });
    }
    keys.find(credential)
        .ok_or_else(|| Rejection::invalid_credentials("the API key is not known here"))
}

fn credential(headers: &HeaderMap) -> Result<&[u8], Rejection> {
    let mut shown = None;
    for name in &CREDENTIAL_HEADERS {
        for value in headers.get_all(name) {
            let one = if name == AUTHORIZATION {
                bearer(value.as_bytes())?
            } else {
                value.as_bytes()
            };
            if shown.is_some_and(|shown| shown != one) {
                return Err(Rejection::invalid_credentials(
                    "there are two credentials that differ",
                ));
            }
            shown = Some(one);
        }
    }
    match shown {
        Some(credential) if !credential.is_empty() => Ok(credential),
        _ => Err(Rejection::missing_credentials()),
    }
}

fn bearer(value: &[u8]) -> Result<&[u8], Rejection> {
    let space = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(space);
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(rest.trim_ascii());
    }
    Err(Rejection::invalid_credentials(
        "the `Authorization` scheme must be `Bearer`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Account, AccountKey};
    use crate::token::tests::keys::keys_of;
    use crate::types::{AccountId, KeyName};

    async fn outcome(headers: &[(&'static str, &str)]) -> Result<String, &'static str> {
        let keys = ["first-key-secret", "other-key-secret"].map(|secret| AccountKey {
            name: KeyName::parse(secret.split('-').next().unwrap()).unwrap(),
            secret: secret.into(),
        });
        let account = Account {
            id: AccountId::parse("a").unwrap(),
            name: None,
            management: false,
            keys: keys.into(),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let found = identify(&map, &keys_of(vec![account]).await);
        found
            .map(|caller| caller.key.as_str().to_owned())
            .map_err(|rejection| rejection.code().as_str())
    }

    #[tokio::test]
    async fn a_key_is_taken_from_each_of_the_three_headers() {
        for header in [
            ("authorization", "Bearer first-key-secret"),
            ("authorization", "bearer first-key-secret"),
            ("authorization", "BEARER  first-key-secret "),
            ("x-api-key", "first-key-secret"),
            ("xi-api-key", "first-key-secret"),
        ] {
            assert_eq!(outcome(&[header]).await.as_deref(), Ok("first"), "{header:?}");
        }
    }

    #[tokio::test]
    async fn the_same_credential_twice_is_one_and_two_that_differ_are_none() {
        let bearer = ("authorization", "Bearer first-key-secret");
        assert_eq!(
            outcome(&[bearer, ("x-api-key", "first-key-secret")])
                .await
                .as_deref(),
            Ok("first")
        );
        assert_eq!(outcome(&[bearer, bearer]).await.as_deref(), Ok("first"));
        for other in ["other-key-secret", "nonsense", ""] {
            assert_eq!(
                outcome(&[bearer, ("x-api-key", other)]).await,
                Err("invalid_credentials"),
                "{other}"
            );
            assert_eq!(
                outcome(&[bearer, ("xi-api-key", other)]).await,
                Err("invalid_credentials"),
                "{other}"
            );
        }
        let second = ("authorization", "Bearer other-key-secret");
        assert_eq!(outcome(&[bearer, second]).await, Err("invalid_credentials"));
    }

    #[tokio::test]
    async fn nothing_and_nonsense_are_told_apart() {
        assert_eq!(outcome(&[]).await, Err("missing_credentials"));
        assert_eq!(
            outcome(&[("authorization", "Bearer ")]).await,
            Err("missing_credentials")
        );
        for bad in [
            "Basic Zmlyc3Q6",
            "first-key-secret",
            "Bearer first-key-secre",
            "Bearer jwt:a.b.c",
        ] {
            assert_eq!(
                outcome(&[("authorization", bad)]).await,
                Err("invalid_credentials"),
                "{bad}"
            );
        }
    }
}
