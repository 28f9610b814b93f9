//! Tokens of every kind of wrong, each with the flaw that it is refused for.

mod claims;
mod form;
mod header;
pub(crate) mod keys;
mod properties;
mod scopes;
mod times;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Flaw, Lifetimes, Part, Scope, SigningKey, Unverified};

/// The key that signs what is signed rightly.
const SECRET: &[u8] = b"the secret of the key named auto";

/// The wall time of all these tests, in seconds since the Unix epoch.
const NOW: u64 = 1_790_000_000;

/// The header that the upstream documents.
const HEADER: &str = r#"{"alg":"HS256","kid":"di:1000000000000:YXV0bw==","typ":"JWT"}"#;

/// A payload that is good for an hour.
const PAYLOAD: &str = r#"{"sub":"di:1000000000000","exp":1790003600}"#;

/// The payload with a `jti`, so that it may live longer than a week.
const NAMED: &str = r#"{"sub":"di:1000000000000","jti":"a"}"#;

/// A token and what has to come of it.
struct Row {
    name: String,
    token: Vec<u8>,
    expected: Result<(), Flaw>,
}

/// A row that is accepted.
fn good(name: impl Into<String>, token: impl Into<Vec<u8>>) -> Row {
    Row {
        name: name.into(),
        token: token.into(),
        expected: Ok(()),
    }
}

/// A row that is refused.
fn bad(name: impl Into<String>, token: impl Into<Vec<u8>>, flaw: Flaw) -> Row {
    Row {
        name: name.into(),
        token: token.into(),
        expected: Err(flaw),
    }
}

fn key() -> SigningKey {
    SigningKey::new(SECRET).unwrap()
}

fn encoded(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Two parts, encoded, with a third that is the right signature of them.
fn signed(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    sealed(&format!("{}.{}", encoded(header), encoded(payload)))
}

/// What stands there already, rightly signed.
fn sealed(message: &str) -> String {
    format!("{message}.{}", key().sign(message.as_bytes()).unwrap())
}

/// [`PAYLOAD`] with more members.
fn with(members: &str) -> String {
    signed(HEADER, format!("{},{members}}}", PAYLOAD.trim_end_matches('}')))
}

/// A payload without `exp`, and this text for its value.
fn expiring(exp: &str) -> String {
    signed(HEADER, format!(r#"{{"sub":"di:1000000000000","exp":{exp}}}"#))
}

fn invalid(name: &'static str, expected: &'static str) -> Flaw {
    Flaw::Invalid { name, expected }
}

fn verify(token: &[u8]) -> Result<Scope, Flaw> {
    Unverified::read(token)?.verify(&key(), Duration::from_secs(NOW), &Lifetimes::default())
}

/// Every row of every table.
fn rows() -> Vec<Row> {
    [
        form::rows(),
        header::rows(),
        header::kid_rows(),
        times::rows(),
        claims::account_rows(),
        claims::model_rows(),
        claims::money_rows(),
        claims::other_rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn every_row_ends_as_it_should() {
    let rows = rows();
    assert!(rows.len() >= 500, "{} rows", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let got = verify(&row.token).map(drop);
            (got != row.expected).then(|| format!("{}: {got:?}, not {:?}", row.name, row.expected))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_row_has_a_name_of_its_own() {
    let mut names: Vec<String> = rows().into_iter().map(|row| row.name).collect();
    names.sort();
    let twice: Vec<_> = names.array_windows().filter(|[one, next]| one == next).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
