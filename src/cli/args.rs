//! The arguments: what may be said, and nothing of what it does.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::simulate::SimulateArgs;
use crate::config::duration;
use crate::types::{AccountId, KeyName, ModelPattern, Money};

/// A gateway in front of an inference API: scoped tokens, exact limits, metered streams, durable jobs.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true)]
#[command(after_help = "\
Logs go to stderr: text on a terminal, JSON otherwise. TIDEGATE_LOG takes a filter, such as `debug` or
`warn,tidegate=debug`; the default is `info`.
Exit codes: 0 clean, 1 failed while running, 2 bad usage or configuration.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run everything on this machine, with no configuration
    Dev(DevArgs),
    /// Run the gateway
    Serve(ConfigArgs),
    /// Check a configuration and show every mistake in it
    Check(ConfigArgs),
    /// Run the simulated upstream, for trying out, tests and benchmarks
    Simulate(Box<SimulateArgs>),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Sign a scoped token, without a server
    Mint(MintArgs),
    /// Decode a scoped token, and verify it with the key
    Inspect(InspectArgs),
    /// Make, rotate and remove API keys [not in this version]
    Keys(OperatorArgs),
    /// Mint, list and revoke scoped tokens [not in this version]
    Tokens(OperatorArgs),
    /// List, redeliver and cancel jobs
    Jobs(JobsArgs),
    /// Sum up calls, tokens and money
    Usage(UsageArgs),
}

#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// The address for clients; port 0 is any free one
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))]
    pub(super) listen: SocketAddr,
    /// The address for operators; port 0 is any free one
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)))]
    pub(super) admin_listen: SocketAddr,
    /// The folder of the key, the admin token and the store with its master key; made on the first start
    #[arg(long, value_name = "DIR", default_value = "tidegate-data")]
    pub(super) data: PathBuf,
    /// Print `export NAME=value` lines for a shell instead of commands to paste
    #[arg(long)]
    pub(super) print_env: bool,
}

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The TOML file; `config/tidegate.toml` explains every setting
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct MintArgs {
    /// The account, such as `di:1000000000000`
    #[arg(long, value_name = "A", value_parser = AccountId::parse)]
    pub(super) account: AccountId,
    /// The name of the key that signs
    #[arg(long, value_name = "N", value_parser = KeyName::parse)]
    pub(super) key_name: KeyName,
    /// The key that signs, as `env:VAR` or `file:PATH`
    #[arg(long, value_name = "env:VAR")]
    pub(super) key_secret: String,
    /// A model that the token may use, such as `org/name` or `org/*`; may be given again; without it all models
    #[arg(long, value_name = "M", value_parser = ModelPattern::parse)]
    pub(super) model: Vec<ModelPattern>,
    /// How long the token lives, in one of s, m, h, d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    pub(super) expires_in: Duration,
    /// What it may spend, in USD; without it all that its key may
    #[arg(long, value_name = "USD", value_parser = spending_limit, allow_hyphen_values = true)]
    pub(super) spending_limit: Option<Money>,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The token, with or without `jwt:`
    pub(super) token: String,
    /// The key that signed it, as `env:VAR` or `file:PATH`
    #[arg(long, value_name = "env:VAR")]
    pub(super) key_secret: Option<String>,
}

fn lifetime(text: &str) -> Result<Duration, &'static str> {
    let lifetime = duration(text).filter(|lifetime| *lifetime >= Duration::from_secs(1));
    lifetime.ok_or("expected a second or more, such as `90s`, `1h` or `7d`")
}

fn spending_limit(text: &str) -> Result<Money, &'static str> {
    let limit = Money::parse_down(text).ok();
    limit
        .filter(|limit| *limit > Money::ZERO)
        .ok_or("expected dollars above zero, such as `1.00`")
}

/// Which gateway an operator command asks, and how it answers.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    /// Where the admin listener is
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:9090"
    )]
    pub(super) admin: String,
    /// The admin token, as `env:VAR` or `file:PATH`; TIDEGATE_ADMIN_TOKEN if that is set
    #[arg(long, global = true, value_name = "env:VAR")]
    pub(super) admin_token: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct JobsArgs {
    #[command(flatten)]
    pub(super) admin: AdminArgs,
    #[command(subcommand)]
    pub(super) command: JobsCommand,
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub(super) enum JobsCommand {
    /// List jobs, the newest first
    List {
        /// Only those in this state: queued, running, delivering, delivered, failed or dead
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only those of this account
        #[arg(long, value_name = "A")]
        account: Option<String>,
        /// The most lines
        #[arg(long, value_name = "N")]
        limit: Option<String>,
        /// Go on where the list before this one ended
        #[arg(long, value_name = "C")]
        cursor: Option<String>,
    },
    /// Show a job with its attempts
    Show {
        /// Its request id
        id: String,
    },
    /// Try a dead job again, with a new schedule
    Redeliver {
        /// Its request id
        id: String,
    },
    /// End a job that has not ended
    Cancel {
        /// Its request id
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct UsageArgs {
    #[command(flatten)]
    pub(super) admin: AdminArgs,
    /// What each line sums up: account, key, token, model or day
    #[arg(long, value_name = "WHAT", default_value = "day")]
    pub(super) by: String,
    /// Calls that began then or later: a day (UTC), such as 2026-11-21, or an instant, such as 2026-11-21T09:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) from: Option<String>,
    /// Calls that began before then
    #[arg(long, value_name = "TIME")]
    pub(super) to: Option<String>,
    /// Only calls of this account
    #[arg(long, value_name = "A")]
    pub(super) account: Option<String>,
    /// The most lines
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<String>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = UsageFormat::Table)]
    pub(super) format: UsageFormat,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum UsageFormat {
    /// Columns for people
    Table,
    /// As the admin API gives it
    Json,
    /// Comma-separated values
    Csv,
}

#[derive(Debug, Args)]
pub(super) struct OperatorArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// What to do, and to what
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    action: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_arguments_agree_with_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_shows_every_command() {
        insta::assert_snapshot!(Arguments::command().render_long_help());
    }

    #[test]
    fn the_commands_of_the_manual_are_taken() {
        for line in [
            "dev",
            "dev --listen 127.0.0.1:0 --admin-listen [::1]:0 --data d --print-env",
            "serve --config f",
            "check --config f",
            "simulate",
            "simulate --listen 127.0.0.1:0 --tokens 3 --usage false --busy-model a --busy-model b",
            "completions bash",
            "mint --account a --key-name n --key-secret env:K --model m --model n --expires-in 1h --spending-limit 1.00",
            "inspect jwt:a.b.c --key-secret env:K",
            "keys list --json",
            "tokens --admin http://a --admin-token env:T mint --account a",
            "jobs list",
            "jobs --admin http://a list --state dead --account a --limit 5",
            "jobs show R1 --json",
            "jobs redeliver R1",
            "jobs cancel R1",
            "usage --by model",
            "usage --by day --from 2026-11-01 --to 2026-12-01 --account a --format csv --admin http://a",
        ] {
            let line = format!("tidegate {line}");
            let taken = Arguments::try_parse_from(line.split(' '));
            assert!(taken.is_ok(), "{line}: {}", taken.unwrap_err());
        }
    }

    #[test]
    fn bad_usage_ends_with_2_and_help_with_0() {
        for (line, code) in [
            ("--help", 0),
            ("--version", 0),
            ("dev --help", 0),
            ("simulate --help", 0),
            ("", 2),
            ("serve", 2),
            ("sreve --config f", 2),
            ("dev --listen localhost", 2),
            ("simulate --tokens many", 2),
            ("simulate --nonsense 1", 2),
            ("completions tcsh", 2),
            ("mint --account a --key-name n", 2),
            ("mint --account é --key-name n --key-secret env:K", 2),
            ("mint --account a --key-name n --key-secret env:K --model a//b", 2),
            (
                "mint --account a --key-name n --key-secret env:K --expires-in 0s",
                2,
            ),
            (
                "mint --account a --key-name n --key-secret env:K --expires-in soon",
                2,
            ),
            (
                "mint --account a --key-name n --key-secret env:K --spending-limit 0",
                2,
            ),
            (
                "mint --account a --key-name n --key-secret env:K --spending-limit -1",
                2,
            ),
            (
                "mint --account a --key-name n --key-secret env:K --spending-limit 1e-10",
                2,
            ),
            ("inspect", 2),
        ] {
            let line = ["tidegate"]
                .into_iter()
                .chain(line.split(' ').filter(|word| !word.is_empty()));
            let refused = Arguments::try_parse_from(line.clone()).unwrap_err();
            assert_eq!(
                refused.exit_code(),
                code,
                "{:?}: {refused}",
                line.collect::<Vec<_>>()
            );
        }
        let wrong = Arguments::try_parse_from(["tidegate", "simulate", "--usage", "maybe"]).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidValue);
    }
}
