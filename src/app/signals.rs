//! What the outside tells a running gateway.

use std::io;

use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::mpsc;

/// How many signals may wait; a person does not send more.
const SIGNALS: usize = 8;

/// What the outside tells a running gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Drain; the second time, stop at once.
    Terminate,
    /// Read the settings again.
    Reload,
}

/// Where signals come from.
#[derive(Debug)]
pub struct Signals(Origin);

#[derive(Debug)]
enum Origin {
    Process {
        term: unix::Signal,
        int: unix::Signal,
        hup: unix::Signal,
    },
    Channel(mpsc::Receiver<Signal>),
}

impl Signals {
    /// Signals that somebody in this process sends.
    pub fn channel() -> (mpsc::Sender<Signal>, Self) {
        let (sender, incoming) = mpsc::channel(SIGNALS);
        (sender, Self(Origin::Channel(incoming)))
    }

    /// The process's own, from now on: SIGTERM and SIGINT terminate, SIGHUP reloads.
    ///
    /// # Errors
    /// The system refuses to hand them over.
    pub fn install() -> io::Result<Self> {
        Ok(Self(Origin::Process {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        }))
    }

    /// Waits for the signal to terminate and says `reload` whenever that is asked for meanwhile.
    pub(super) async fn terminate(&mut self, reload: impl Fn()) {
        while self.next().await == Signal::Reload {
            reload();
        }
    }

    async fn next(&mut self) -> Signal {
        match &mut self.0 {
            Origin::Process { term, int, hup } => tokio::select! {
                _ = term.recv() => Signal::Terminate,
                _ = int.recv() => Signal::Terminate,
                _ = hup.recv() => Signal::Reload,
            },
            Origin::Channel(incoming) => match incoming.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            },
        }
    }
}
