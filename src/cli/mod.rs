//! The command line: thin commands over the library, each in its own file.
//!
//! Exit codes: 0 clean, 1 failed while running, 2 bad usage or configuration.

mod args;
mod banner;
mod credentials;
mod dev;
mod inspect;
mod jobs;
mod log;
mod mint;
mod operator;
mod serve;
mod simulate;
mod usage;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::app::StartError;
use crate::config::{Mistakes, ProcessEnv};
use crate::token::{Flaw, MintError, SigningKeyError};
use args::{Arguments, Command};

/// Something failed while running.
const FAILED: u8 = 1;
/// The arguments or the configuration are wrong.
const MISUSED: u8 = 2;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a provider of cryptography was there already");
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => return explain(&usage),
    };
    match log::start(&ProcessEnv)
        .map_err(Failure::from)
        .and_then(|()| run(arguments.command))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(arguments) => block_on(dev::run(arguments)),
        Command::Serve(arguments) => block_on(serve::serve(&arguments.config)),
        Command::Check(arguments) => serve::check(&arguments.config),
        Command::Simulate(arguments) => {
            block_on(async { simulate::run(*arguments).await.map_err(Failure::Simulator) })
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tidegate", &mut script);
            io::stdout().write_all(&script).map_err(Failure::Output)
        }
        Command::Mint(arguments) => mint::run(arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Keys(_) => Err(Failure::NotInThisVersion("keys")),
        Command::Tokens(_) => Err(Failure::NotInThisVersion("tokens")),
        Command::Jobs(arguments) => block_on(jobs::run(arguments)),
        Command::Usage(arguments) => block_on(usage::run(arguments)),
    }
}

/// Runs a command on as many threads as the process may use at once. With one of them nothing is handed over between
/// threads, so none is started.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut runtime = match std::thread::available_parallelism() {
        Ok(threads) if threads.get() == 1 => tokio::runtime::Builder::new_current_thread(),
        Ok(_) | Err(_) => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?
        .block_on(command)
}

/// Shows clap's own words: help and version on stdout, mistakes on stderr.
fn explain(usage: &clap::Error) -> ExitCode {
    match usage.print() {
        Ok(()) => ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(MISUSED)),
        Err(_) => ExitCode::from(FAILED),
    }
}

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the configuration is wrong")]
    Config(#[from] Mistakes),
    #[error(transparent)]
    Filter(#[from] log::BadFilter),
    #[error("`tidegate {0}` is not in this version")]
    NotInThisVersion(&'static str),
    #[error("the gateway can't start")]
    Start(#[from] StartError),
    #[error("`{0}` holds no key: expected visible ASCII characters, as a header carries them")]
    UpstreamKey(&'static str),
    #[error("the credentials can't be kept")]
    Credentials(#[from] credentials::Unusable),
    #[error("the key can't be used")]
    SigningKey(#[from] SigningKeyError),
    #[error("the token can't be made")]
    Mint(#[from] MintError),
    #[error("the token is refused")]
    Refused(#[from] Flaw),
    #[error("the gateway can't be asked")]
    Operator(#[from] operator::OperatorError),
    #[error("the simulated upstream failed")]
    Simulator(#[source] io::Error),
    #[error("signals can't be listened to")]
    Signals(#[source] io::Error),
    #[error("the runtime can't start")]
    Runtime(#[source] io::Error),
    #[error("stdout can't be written to")]
    Output(#[source] io::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Filter(_)
            | Self::NotInThisVersion(_)
            | Self::UpstreamKey(_)
            | Self::SigningKey(SigningKeyError::TooShort)
            | Self::Mint(MintError::Version | MintError::TooLong) => MISUSED,
            Self::Start(_)
            | Self::Credentials(_)
            | Self::SigningKey(_)
            | Self::Mint(_)
            | Self::Refused(_)
            | Self::Operator(_)
            | Self::Simulator(_)
            | Self::Signals(_)
            | Self::Runtime(_)
            | Self::Output(_) => FAILED,
        }
    }

    /// Says it on stderr: in plain words what the user can mend at once, as a log line what went wrong later.
    fn report(&self) {
        match self {
            Self::Config(mistakes) => eprintln!("{mistakes}"),
            Self::Filter(_)
            | Self::NotInThisVersion(_)
            | Self::UpstreamKey(_)
            | Self::SigningKey(_)
            | Self::Mint(_)
            | Self::Operator(_)
            | Self::Refused(_) => eprintln!("{}", chain(self)),
            Self::Start(_)
            | Self::Credentials(_)
            | Self::Simulator(_)
            | Self::Signals(_)
            | Self::Runtime(_)
            | Self::Output(_) => tracing::error!("{}", chain(self)),
        }
    }
}

/// An error and what it comes from, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_code_of(line: &str) -> u8 {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        run(arguments.command).map_or_else(|failure| failure.exit_code(), |()| 0)
    }

    #[test]
    fn a_command_of_a_later_version_says_so_and_ends_with_2() {
        for line in ["tidegate keys list", "tidegate tokens list"] {
            assert_eq!(exit_code_of(line), MISUSED, "{line}");
        }
        let said = chain(&Failure::NotInThisVersion("keys"));
        assert_eq!(said, "`tidegate keys` is not in this version");
    }

    #[test]
    fn a_bad_configuration_ends_with_2_and_an_address_in_use_with_1() {
        assert_eq!(exit_code_of("tidegate check --config no-such-file"), MISUSED);
        assert_eq!(exit_code_of("tidegate serve --config no-such-file"), MISUSED);
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let line = format!("tidegate simulate --listen {}", taken.local_addr().unwrap());
        assert_eq!(exit_code_of(&line), FAILED);
    }

    #[test]
    fn a_failure_is_told_with_all_that_it_comes_from() {
        let failure = Failure::Simulator(io::Error::other("no more sockets"));
        assert_eq!(chain(&failure), "the simulated upstream failed: no more sockets");
    }
}
