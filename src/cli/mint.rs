//! `tidegate mint`: a scoped token out of a key alone, with no server and no configuration.

use std::io::{self, Write};
use std::time::Duration;

use secrecy::ExposeSecret;

use super::Failure;
use super::args::MintArgs;
use crate::config::{Env, ProcessEnv, secret};
use crate::token::{Lifetimes, Mint, SigningKey};
use crate::types::{Clock, SystemClock};

/// Prints the token, and nothing else, on stdout.
///
/// # Errors
/// The key can't be read or is too short, the arguments make no token, or stdout is gone.
pub(super) fn run(arguments: MintArgs) -> Result<(), Failure> {
    let token = mint(arguments, &ProcessEnv, SystemClock.now())?;
    writeln!(io::stdout(), "{token}").map_err(Failure::Output)
}

/// The token has a `jti`, so that it has a budget of its own and may live longer than a week.
fn mint(arguments: MintArgs, env: &dyn Env, now: Duration) -> Result<String, Failure> {
    let secret = secret("--key-secret", &arguments.key_secret, env)?;
    let key = SigningKey::new(secret.expose_secret().as_bytes())?;
    let longest = Lifetimes::default().max;
    if arguments.expires_in > longest {
        tracing::warn!(
            "a token that lives longer than 365d is refused where `scoped_jwt.max_lifetime` is not set"
        );
    }
    let mint = Mint {
        account: arguments.account,
        key: arguments.key_name,
        models: (!arguments.model.is_empty()).then_some(arguments.model),
        expires_at: now.saturating_add(arguments.expires_in),
        spending_limit: arguments.spending_limit,
        jti: Some(Mint::random_jti()?),
    };
    Ok(mint.sign(&key)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser;

    use super::super::args::{Arguments, Command};
    use super::super::{FAILED, MISUSED, chain};
    use super::*;
    use crate::token::{PREFIX, Scope, SigningKeyError, Unverified};

    const SECRET: &str = "the secret of the key";
    const NOW: Duration = Duration::from_millis(1_790_000_000_999);

    fn minted(options: &str) -> Result<String, Failure> {
        let line = format!("tidegate mint --account di:1 --key-name auto {options}");
        let arguments = Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let env = [("K", SECRET), ("SHORT", "0123456789abcde")];
        let env: BTreeMap<String, String> = env.map(|(name, value)| (name.into(), value.into())).into();
        let Command::Mint(arguments) = arguments.command else {
            panic!("{line} is another command");
        };
        mint(arguments, &env, NOW)
    }

    fn scope(options: &str) -> Scope {
        let token = minted(options).unwrap();
        let token = token.strip_prefix(PREFIX).unwrap();
        let key = SigningKey::new(SECRET.as_bytes()).unwrap();
        let read = Unverified::read(token.as_bytes()).unwrap();
        read.verify(&key, NOW, &Lifetimes::default()).unwrap()
    }

    #[test]
    fn what_is_asked_for_is_what_the_token_allows() {
        let wide = scope("--key-secret env:K");
        assert_eq!((wide.account.as_str(), wide.key.as_str()), ("di:1", "auto"));
        assert_eq!((&wide.models, wide.spending_limit), (&None, None));
        assert_eq!(wide.expires_at, Duration::from_secs(1_790_003_600));
        let narrow =
            scope("--key-secret env:K --model acme/m --model b/* --expires-in 365d --spending-limit 1.00");
        let models = narrow.models.unwrap();
        let models: Vec<String> = models.iter().map(ToString::to_string).collect();
        assert_eq!(models, ["acme/m", "b/*"]);
        assert_eq!(narrow.spending_limit.unwrap().to_string(), "1");
        assert_eq!(narrow.expires_at, Duration::from_secs(1_821_536_000));
        assert_ne!(wide.id, narrow.id);
    }

    #[test]
    fn what_makes_no_token_is_bad_usage() {
        for (options, said) in [
            (
                "--key-secret env:NONE",
                "the configuration is wrong: --key-secret: the environment variable `NONE` is not set",
            ),
            (
                "--key-secret env:SHORT",
                "the key can't be used: a secret shorter than 16 bytes can be guessed from a token",
            ),
            (
                "--key-secret env:K --model acme/m:v2",
                "the token can't be made: a token names models without their versions",
            ),
        ] {
            let failure = minted(options).unwrap_err();
            assert_eq!((failure.exit_code(), chain(&failure).as_str()), (MISUSED, said));
        }
        assert_eq!(Failure::SigningKey(SigningKeyError::NoHmac).exit_code(), FAILED);
    }
}
