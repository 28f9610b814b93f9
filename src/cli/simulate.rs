//! `tidegate simulate`: the simulated upstream by itself. Its flags come from its own table of knobs.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::simulate::{Knobs, Simulator};

/// The name of the flag that is no knob.
const LISTEN: &str = "listen";

/// Where it listens and how its knobs are turned.
#[derive(Debug, Clone)]
pub(super) struct SimulateArgs {
    listen: SocketAddr,
    knobs: Knobs,
}

impl Args for SimulateArgs {
    fn augment_args(command: Command) -> Command {
        let listen = Arg::new(LISTEN)
            .long(LISTEN)
            .value_name("ADDR")
            .value_parser(value_parser!(SocketAddr))
            .help("The address; port 0 is any free one [default: 127.0.0.1:8090]");
        let knobs = Knobs::ALL.iter().map(|knob| {
            let (value_name, help) = match knob.values {
                [one] => (*one, knob.help.to_owned()),
                several => ("VALUE", format!("{} [{}]", knob.help, several.join(", "))),
            };
            Arg::new(knob.name)
                .long(knob.name)
                .value_name(value_name)
                .allow_hyphen_values(true)
                .action(ArgAction::Append)
                .help(help)
        });
        command
            .arg(listen)
            .next_help_heading("Knobs (as a header of one request: x-sim-NAME)")
            .args(knobs)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SimulateArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut arguments = Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
            knobs: Knobs::default(),
        };
        arguments.update_from_arg_matches(matches)?;
        Ok(arguments)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(listen) = matches.get_one(LISTEN) {
            self.listen = *listen;
        }
        for knob in Knobs::ALL {
            for value in matches.get_many::<String>(knob.name).into_iter().flatten() {
                self.knobs
                    .set(knob.name, value)
                    .map_err(|bad| clap::Error::raw(ErrorKind::InvalidValue, format!("{bad}\n")))?;
            }
        }
        Ok(())
    }
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// The address can't be listened on, or stdout is gone.
pub(super) async fn run(arguments: SimulateArgs) -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener = TcpListener::bind(arguments.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    writeln!(
        io::stdout(),
        "The simulated upstream listens on {url}\nWhat it was sent stands at {url}/_sim/requests"
    )?;
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Simulator::new(arguments.knobs).serve(listener, stop).await
}
