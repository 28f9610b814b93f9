//! `tidegate serve` and `tidegate check`: from a file to a running gateway, or only to its mistakes.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::Failure;
use crate::app::{App, Signals, Source, check_prices};
use crate::config::{Config, ProcessEnv};
use crate::types::SystemClock;

/// Runs the gateway until it is asked to stop and has drained.
///
/// # Errors
/// The configuration is wrong, or the gateway can't start.
pub(super) async fn serve(file: &Path) -> Result<(), Failure> {
    let path = file.to_owned();
    let source = Source::new(move || Config::load(&path, &ProcessEnv))?;
    let signals = Signals::install().map_err(Failure::Signals)?;
    let app = App::start(source, Arc::new(SystemClock)).await?;
    app.run(signals).await;
    Ok(())
}

/// Reads the configuration and says that it is right.
///
/// # Errors
/// Every mistake in it.
pub(super) fn check(file: &Path) -> Result<(), Failure> {
    let config = Config::load(file, &ProcessEnv).outcome?;
    check_prices(&config)?;
    writeln!(io::stdout(), "{} is right", file.display()).map_err(Failure::Output)
}
