//! `tidegate inspect`: what a scoped token says, and whether it is true.

use std::io::{self, Write};
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Failure;
use super::args::InspectArgs;
use crate::config::{ProcessEnv, secret};
use crate::token::{Claims, Flaw, Lifetimes, PREFIX, Shown, SigningKey, Unverified};
use crate::types::{Clock, ModelPattern, Money, SystemClock};

/// Prints what the token says, as JSON.
///
/// # Errors
/// The key can't be read or is too short; a gate with these settings refuses the token; stdout is gone. Without a key,
/// only the form of the token is judged.
pub(super) fn run(arguments: &InspectArgs) -> Result<(), Failure> {
    let key = match &arguments.key_secret {
        None => None,
        Some(reference) => {
            let secret = secret("--key-secret", reference, &ProcessEnv)?;
            Some(SigningKey::new(secret.expose_secret().as_bytes())?)
        }
    };
    let (report, flaw) = report(&arguments.token, key.as_ref(), SystemClock.now());
    let json = serde_json::to_string_pretty(&report).map_err(|error| Failure::Output(error.into()))?;
    writeln!(io::stdout(), "{}", harmless(&json)).map_err(Failure::Output)?;
    flaw.map_or(Ok(()), |flaw| Err(flaw.into()))
}

/// What is printed. Without a key nothing in it is known to be true.
#[derive(Serialize)]
struct Report {
    /// Whether a gate with default settings takes the token now; none without a key.
    verified: Option<bool>,
    /// Why not, or what is wrong with its form.
    flaw: Option<String>,
    #[serde(flatten)]
    said: Said,
    header: Option<Box<RawValue>>,
    claims: Option<Box<RawValue>>,
}

/// What a token says, in the words of the API; nothing if it has not the right form.
#[derive(Default, Serialize)]
struct Said {
    account: Option<String>,
    key_name: Option<String>,
    models: Option<Vec<String>>,
    expires_at: Option<u64>,
    expired: Option<bool>,
    spending_limit: Option<Money>,
    token_id: Option<String>,
}

fn report(token: &str, key: Option<&SigningKey>, now: Duration) -> (Report, Option<Flaw>) {
    let text = token.strip_prefix(PREFIX).unwrap_or(token).as_bytes();
    let read = Unverified::read(text);
    let said = read.as_ref().map_err(Flaw::clone).and_then(|read| {
        let claims = read.claims()?;
        Ok(Said::of(read, &claims, now))
    });
    let flaw = match key {
        None => said.as_ref().err().cloned(),
        Some(key) => read
            .and_then(|read| read.verify(key, now, &Lifetimes::default()))
            .err(),
    };
    let shown = Shown::of(text);
    let report = Report {
        verified: key.map(|_| flaw.is_none()),
        flaw: flaw.as_ref().map(Flaw::to_string),
        said: said.unwrap_or_default(),
        header: shown.header,
        claims: shown.payload,
    };
    (report, flaw)
}

impl Said {
    fn of(token: &Unverified<'_>, claims: &Claims, now: Duration) -> Self {
        let models = claims.models.as_ref();
        Self {
            account: Some(token.account().to_string()),
            key_name: Some(token.key().to_string()),
            models: models.map(|models| models.iter().map(ModelPattern::to_string).collect()),
            expires_at: Some(claims.expires_at),
            expired: Some(now >= Duration::from_secs(claims.expires_at)),
            spending_limit: claims.spending_limit,
            token_id: Some(token.id(claims).to_string()),
        }
    }
}

/// The same JSON without what a terminal would obey. Tabs and returns stand between values only, other control
/// characters in strings only.
fn harmless(json: &str) -> String {
    json.chars().fold(String::new(), |mut text, character| {
        match character {
            '\n' => text.push('\n'),
            '\t' | '\r' => text.push(' '),
            _ if character.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => text.push(character),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Mint;
    use crate::types::{AccountId, KeyName};

    const NOW: u64 = 1_790_000_000;

    fn key(secret: &str) -> SigningKey {
        SigningKey::new(secret.as_bytes()).unwrap()
    }

    fn token() -> String {
        let mint = Mint {
            account: AccountId::parse("di:1000000000000").unwrap(),
            key: KeyName::parse("auto").unwrap(),
            models: Some(vec![ModelPattern::parse("acme/*").unwrap()]),
            expires_at: Duration::from_secs(NOW + 3600),
            spending_limit: Money::parse("1.50").ok(),
            jti: Some("a".into()),
        };
        mint.sign(&key("the secret of the key")).unwrap()
    }

    fn shown(token: &str, secret: Option<&str>, now: u64) -> (String, Option<Flaw>) {
        let key = secret.map(key);
        let (report, flaw) = report(token, key.as_ref(), Duration::from_secs(now));
        (harmless(&serde_json::to_string_pretty(&report).unwrap()), flaw)
    }

    #[test]
    fn a_token_is_shown_with_what_it_allows() {
        let (report, flaw) = shown(&token(), Some("the secret of the key"), NOW);
        assert_eq!(flaw, None);
        insta::assert_snapshot!(report);
        let bare = token();
        let bare = bare.strip_prefix(PREFIX).unwrap();
        assert_eq!(shown(bare, Some("the secret of the key"), NOW), (report, None));
    }

    #[test]
    fn a_token_that_is_not_signed_with_the_key_is_shown_and_refused() {
        let (report, flaw) = shown(&token(), Some("the secret of another"), NOW);
        assert_eq!(flaw, Some(Flaw::Signature));
        assert!(
            report.contains("\"verified\": false") && report.contains("di:1000000000000"),
            "{report}"
        );
        assert_eq!(
            Failure::Refused(Flaw::Signature).exit_code(),
            super::super::FAILED
        );
    }

    #[test]
    fn without_a_key_nothing_is_verified() {
        let (report, flaw) = shown(&token(), None, NOW + 3600);
        assert_eq!(flaw, None);
        assert!(
            report.contains("\"verified\": null") && report.contains("\"expired\": true"),
            "{report}"
        );
        let (report, flaw) = shown(&token(), Some("the secret of the key"), NOW + 3600);
        assert_eq!(flaw, Some(Flaw::Expired));
        assert!(report.contains("\"flaw\": \"the token has expired\""), "{report}");
    }

    #[test]
    fn what_no_gate_takes_is_shown_as_far_as_it_goes() {
        let encoded = |json: &str| {
            use base64::Engine;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json)
        };
        let unsigned = format!(
            "jwt:{}.{}.",
            encoded(r#"{"alg":"none"}"#),
            encoded("{\r\"a\":\"\u{9b}2J\"}")
        );
        let (report, flaw) = shown(&unsigned, None, NOW);
        assert!(flaw.is_some());
        insta::assert_snapshot!(report);
        for nothing in ["", "jwt:", "a.b.c", "....", "\u{e9}"] {
            let (report, flaw) = shown(nothing, Some("the secret of the key"), NOW);
            assert!(
                flaw.is_some() && report.contains("\"header\": null"),
                "{nothing}: {report}"
            );
        }
    }
}
