//! `tidegate serve` and `tidegate check`: from a file to a running gateway, or only to its mistakes.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};

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
    keep_memory_secret();
    let signals = Signals::install().map_err(Failure::Signals)?;
    let app = App::start(source, Arc::new(SystemClock)).await?;
    app.run(signals).await;
    Ok(())
}

/// Has no core dumped of the process, since prompts, answers and keys are in its memory.
pub(super) fn keep_memory_secret() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps can't be turned off");
    }
    // A limit of zero does not keep the kernel from handing a core to a program, as it does under systemd.
    #[cfg(target_os = "linux")]
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps can't be turned off");
    }
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
