//! The composition root: settings become a running gateway, and a signal becomes an ordered end.
//!
//! It owns every task. The end goes in this order: readiness off, `drain_delay`, no more connections, calls in
//! flight finish or meet `drain_timeout`, then the rest falls.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{Admin, Readiness};
use crate::body::Body;
use crate::config::{Config, Server};
use crate::metrics::Metrics;
use crate::proxy::Gate;
use crate::server::{
    Drain, Handler, LOOK_EVERY, Listener, Settings, Stage, TlsError, TlsSource, Watch, WithCors,
};
use crate::types::{Clock, Peer};
use crate::upstream::{ConnectError, Upstreams, watch_catalogues};

/// How many signals may wait; a person does not send more.
const SIGNALS: usize = 8;

/// How often what is no longer needed is forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(30);

/// How long tasks have to fall after everything was told to.
const FALL: Duration = Duration::from_secs(5);

/// The gateway, with both listeners bound.
#[derive(Debug)]
pub struct App {
    config: Config,
    data: Listener,
    admin: Listener,
    tls: Option<Arc<TlsSource>>,
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    upstreams: Arc<Upstreams>,
}

/// Why the gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error("can't listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// TLS of the data listener can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The connections to the upstream can't be set up.
    #[error(transparent)]
    Upstream(#[from] ConnectError),
    /// The metrics can't be registered.
    #[error("the metrics can't be registered")]
    Metrics(#[from] prometheus::Error),
}

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
pub struct Signals {
    incoming: mpsc::Receiver<Signal>,
    /// Runs what waits for the process's signals; it ends when the receiver is dropped.
    waiting: TaskTracker,
}

impl Signals {
    /// Signals that somebody in this process sends.
    pub fn channel() -> (mpsc::Sender<Signal>, Self) {
        let (sender, incoming) = mpsc::channel(SIGNALS);
        (
            sender,
            Self {
                incoming,
                waiting: TaskTracker::new(),
            },
        )
    }

    /// The process's own, from now on: SIGTERM and SIGINT terminate, SIGHUP reloads.
    ///
    /// # Errors
    /// The system refuses to hand them over.
    pub fn install() -> io::Result<Self> {
        let (sender, signals) = Self::channel();
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut hup = signal(SignalKind::hangup())?;
        signals.waiting.spawn(async move {
            loop {
                let next = tokio::select! {
                    _ = term.recv() => Signal::Terminate,
                    _ = int.recv() => Signal::Terminate,
                    _ = hup.recv() => Signal::Reload,
                    () = sender.closed() => return,
                };
                sender.send(next).await.ok();
            }
        });
        Ok(signals)
    }

    async fn terminate(&mut self) {
        loop {
            match self.incoming.recv().await {
                Some(Signal::Terminate) => return,
                Some(Signal::Reload) => {
                    tracing::warn!("reloading is not in this version: restart to change settings");
                }
                None => std::future::pending().await,
            }
        }
    }
}

impl App {
    /// Builds everything and binds both listeners; nothing is accepted before [`App::run`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let aliased = config
            .models
            .alias
            .iter()
            .flat_map(|(asked, served)| [asked, served]);
        metrics
            .models()
            .learn("config", aliased.map(|model| model.base().into()));
        let upstreams = Arc::new(Upstreams::new(&config.upstream, &metrics)?);
        let gate = Gate::new(&config, Arc::clone(&upstreams), Arc::clone(&metrics), clock);
        let tls = config.server.tls.as_ref().map(TlsSource::new).transpose()?;
        let bind = |addr, tls| {
            let listener = Listener::bind(addr, Settings::from(&config.server), tls);
            listener.map_err(|source| StartError::Listen { addr, source })
        };
        let data = bind(config.server.listen, tls.clone())?;
        let admin = bind(config.server.admin_listen, None)?;
        Ok(Self {
            data,
            admin,
            tls,
            gate: Arc::new(gate),
            metrics,
            upstreams,
            config,
        })
    }

    /// The address of the data listener.
    pub fn data_addr(&self) -> SocketAddr {
        self.data.addr()
    }

    /// The address of the admin listener.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Serves until a signal says to end, then ends in order. The admin listener goes on until the end, so that
    /// operators can watch the drain.
    pub async fn run(self, mut signals: Signals) {
        tracing::info!(data = %self.data_addr(), admin = %self.admin_addr(), version = env!("CARGO_PKG_VERSION"), "listening");
        let tasks = Tasks::default();
        tasks.in_background(watch_catalogues(
            Arc::clone(&self.upstreams),
            Arc::clone(&self.metrics),
        ));
        let gate = Arc::clone(&self.gate);
        tasks.in_background(async move {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                gate.tidy();
            }
        });
        if let Some(tls) = &self.tls {
            tasks.in_background(Arc::clone(tls).watch(LOOK_EVERY));
        }
        let (drain, admin_drain) = (Drain::default(), Drain::default());
        let readiness = Arc::new(Readiness::default());
        let admin = Admin::new(
            &self.config.admin,
            Arc::clone(&self.metrics),
            Arc::clone(&readiness),
        );
        let data = WithCors::new(
            Data {
                gate: self.gate,
                watch: drain.watch(),
            },
            &self.config.server.cors,
        );
        tasks
            .calls
            .spawn(self.data.serve(data, drain.watch(), tasks.calls.clone()));
        let operators = Operators(Arc::new(admin));
        tasks.others.spawn(
            self.admin
                .serve(operators, admin_drain.watch(), tasks.others.clone()),
        );

        signals.terminate().await;
        tracing::info!("draining");
        readiness.drain();
        tokio::select! {
            () = drained(&drain, &self.config.server, &tasks.calls) => {}
            () = signals.terminate() => tracing::warn!("told to stop at once: calls are cut"),
        }
        drain.stop();
        admin_drain.stop();
        tasks.fall().await;
    }
}

/// Lets calls end and their answers go out, within the drain's time.
async fn drained(drain: &Drain, server: &Server, calls: &TaskTracker) {
    let deadline = Instant::now() + server.drain_delay + server.drain_timeout;
    let left = drain.run(server.drain_delay, server.drain_timeout).await;
    drain.close();
    calls.close();
    let written = tokio::time::timeout_at(deadline, calls.wait()).await;
    if left == 0 && written.is_ok() {
        tracing::info!("drained: every call has ended");
    } else {
        tracing::warn!(left, "the drain's time is over: calls are cut");
    }
}

/// Every task of the gateway.
#[derive(Debug, Default)]
struct Tasks {
    /// The data listener's connections.
    calls: TaskTracker,
    /// Everything else.
    others: TaskTracker,
    background: CancellationToken,
}

impl Tasks {
    /// Runs `task`, which never ends by itself, until everything falls.
    fn in_background(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.others
            .spawn(self.background.clone().run_until_cancelled_owned(task));
    }

    async fn fall(self) {
        self.background.cancel();
        self.calls.close();
        self.others.close();
        let fallen = async { tokio::join!(self.calls.wait(), self.others.wait()) };
        if tokio::time::timeout(FALL, fallen).await.is_err() {
            tracing::warn!(
                left = self.calls.len() + self.others.len(),
                "tasks did not end in time"
            );
        }
    }
}

/// What the data listener does.
#[derive(Clone)]
struct Data {
    gate: Arc<Gate>,
    watch: Watch,
}

impl Handler for Data {
    async fn handle(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        if self.watch.stage() >= Stage::Refusing {
            return self.gate.refuse(peer, request).await;
        }
        self.gate.handle(peer, request).await
    }
}

/// What the admin listener does.
#[derive(Clone)]
struct Operators(Arc<Admin>);

impl Handler for Operators {
    async fn handle(&self, _: Peer, request: Request<Incoming>) -> Response<Body> {
        self.0.handle(&request)
    }
}
