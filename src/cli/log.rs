//! Logs: one line per event on stderr, text for people and JSON for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::Env;

/// The variable that takes a filter.
const FILTER: &str = "TIDEGATE_LOG";

/// What is shown when nothing is asked for.
const DEFAULT_FILTER: &str = "info";

/// `TIDEGATE_LOG` is no filter.
#[derive(Debug, thiserror::Error)]
#[error("`{FILTER}` is no filter; expected such as `info` or `warn,tidegate=debug`")]
pub(super) struct BadFilter;

/// Turns logging on for the whole process.
///
/// # Errors
/// The filter in the environment can't be read.
pub(super) fn start(env: &dyn Env) -> Result<(), BadFilter> {
    let filter = filter(env)?;
    let terminal = io::stderr().is_terminal();
    let plain = env.var("NO_COLOR").is_some_and(|value| !value.is_empty());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = if terminal {
        logs.with_ansi(!plain).try_init()
    } else {
        logs.json().flatten_event(true).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was on already");
    }
    Ok(())
}

fn filter(env: &dyn Env) -> Result<EnvFilter, BadFilter> {
    let directives = env.var(FILTER).filter(|filter| !filter.trim().is_empty());
    let directives = directives.as_deref().unwrap_or(DEFAULT_FILTER);
    EnvFilter::builder().parse(directives).map_err(|_| BadFilter)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_filter_is_taken_or_refused_and_info_is_the_default() {
        let with = |value: &str| filter(&BTreeMap::from([(FILTER.to_owned(), value.to_owned())]));
        assert_eq!(filter(&BTreeMap::new()).unwrap().to_string(), "info");
        assert_eq!(with(" ").unwrap().to_string(), "info");
        assert_eq!(
            with("warn,tidegate=debug").unwrap().to_string(),
            "tidegate=debug,warn"
        );
        assert!(with("tidegate=loud").is_err());
    }
}
