//! The composition root: settings become a running gateway, and a signal becomes an ordered end.
//!
//! It owns every task. The end goes in this order: readiness off, `drain_delay`, no more connections, calls in
//! flight finish or meet `drain_timeout`, then the rest falls.

mod reload;
mod signals;
mod store;
mod tasks;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::admin::{Admin, Readiness};
use crate::body::Body;
use crate::config::{Config, Mistakes, Server};
use crate::metrics::Metrics;
use crate::proxy::Gate;
use crate::queue::{Backlog, QueueError};
use crate::server::{Drain, Handler, Listener, Origins, Settings, Stage, TlsError, Watch, WithCors};
use crate::spend::{LedgerError, Prices, Spend};
use crate::store::{MasterKeyError, MasterKeyFileError, OpenError, Sqlite};
use crate::token::{KeyStoreError, Keys};
use crate::types::{CallId, Clock, Peer};
use crate::upstream::{ConnectError, expect_price_lists, watch_catalogues, watch_price_lists};
use crate::webhook::Worker;

use reload::{Parts, Reloader, Targets};
pub use reload::{Source, check_prices};
pub use signals::{Signal, Signals};
use tasks::Tasks;

/// How often what is no longer needed is forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(30);

/// How often connections are closed that upstreams have closed.
const HANG_UP_EVERY: Duration = Duration::from_secs(1);

/// How often old usage is deleted, and holds are looked for that nobody closed.
const SETTLE_UP_EVERY: Duration = Duration::from_secs(60 * 60);

/// The gateway, with both listeners bound.
#[derive(Debug)]
pub struct App {
    data: Listener,
    admin: Listener,
    readiness: Arc<Readiness>,
    keys: Arc<Keys>,
    spend: Arc<Spend>,
    tasks: Tasks,
    reloader: Reloader,
}

/// Why the gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The price table can't be used.
    #[error(transparent)]
    Mistaken(#[from] Mistakes),
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
    /// The master key of the store can't be read or made.
    #[error(transparent)]
    MasterKeyFile(#[from] MasterKeyFileError),
    /// The master key of the store is none.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The store can't be opened.
    #[error("the store `{}` can't be used", .path.display())]
    Store {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The keys can't be loaded.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// The ledger can't be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The queue can't be read or written.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The metrics can't be registered.
    #[error("the metrics can't be registered")]
    Metrics(#[from] prometheus::Error),
}

impl App {
    /// Builds everything and binds both listeners; nothing is accepted before [`App::run`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(source: Source, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let (config, renewal) = source.split();
        let parts = Parts::new(config, &metrics)?;
        parts.name_models(&metrics);
        let config = &parts.config;
        let bind = |addr, tls| {
            let listener = Listener::bind(addr, Settings::from(&config.server), tls);
            listener.map_err(|source| StartError::Listen { addr, source })
        };
        let data = bind(config.server.listen, parts.tls.clone())?;
        let admin = bind(config.server.admin_listen, None)?;
        let (readiness, upstreams) = (Arc::default(), Arc::clone(&parts.upstreams));
        let tasks = Tasks::default();
        let store = store::open(&config.store, &metrics).await?;
        let ledger = Arc::clone(&store);
        let backlog = backlog(&store, &clock);
        let keys = Arc::new(Keys::open(config, store, Arc::clone(&clock), tasks.others.clone()).await?);
        warn_without_keys(&keys);
        let prices = Arc::new(Prices::new(parts.own_prices.clone()));
        let shared = (Arc::clone(&metrics), Arc::clone(&clock));
        let spend = tasks.spend(config, ledger, &prices, shared).await?;
        let leavers = tasks.leavers();
        let answers = Admin::new(
            &config.admin,
            Arc::clone(&metrics),
            Arc::clone(&readiness),
            (Arc::clone(&keys), Arc::clone(&spend), Arc::clone(&backlog)),
            tasks.others.clone(),
        );
        let gate = Arc::new(Gate::new(
            config,
            Arc::clone(&upstreams),
            Arc::clone(&keys),
            (Arc::clone(&spend), leavers, Arc::clone(&backlog)),
            (Arc::clone(&metrics), Arc::clone(&clock)),
        ));
        let worker = worker(config, backlog, (Arc::clone(&gate), Arc::clone(&metrics))).await?;
        let targets = Targets {
            gate,
            worker,
            admin: Arc::new(answers),
            data_terms: data.terms(),
            admin_terms: admin.terms(),
            origins: Origins::new(&config.server.cors),
            prices,
            price_refresh: watch::Sender::new(config.prices.fetched_every()),
            upstreams: watch::Sender::new(upstreams),
            metrics,
        };
        Ok(Self {
            data,
            admin,
            readiness,
            keys,
            spend,
            tasks,
            reloader: Reloader::new(parts, renewal, targets),
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
        &self.reloader.targets.metrics
    }

    /// Serves until a signal says to end, then ends in order. The admin listener goes on until the end, so that
    /// operators can watch the drain.
    pub async fn run(self, mut signals: Signals) {
        tracing::info!(data = %self.data_addr(), admin = %self.admin_addr(), version = env!("CARGO_PKG_VERSION"), "listening");
        let (tasks, mut reloader) = (self.tasks, self.reloader);
        let Targets {
            gate,
            admin,
            origins,
            upstreams,
            prices,
            price_refresh,
            metrics,
            worker,
            ..
        } = &reloader.targets;
        if price_refresh.borrow().is_some() {
            expect_price_lists(&upstreams.borrow(), prices);
        }
        tasks.in_background(watch_price_lists(
            upstreams.subscribe(),
            price_refresh.subscribe(),
            Arc::clone(prices),
        ));
        tasks.in_background(watch_catalogues(upstreams.subscribe(), Arc::clone(metrics)));
        tasks.in_background(tidied(Arc::clone(gate), self.keys));
        tasks.in_background(hung_up(Arc::clone(gate)));
        tasks.in_background(settled_up(self.spend));
        let (drain, admin_drain) = (Drain::default(), Drain::default());
        let callers = Callers {
            gate: Arc::clone(gate),
            watch: drain.watch(),
        };
        let callers = WithCors::new(callers, origins.clone());
        tasks
            .calls
            .spawn(self.data.serve(callers, drain.watch(), tasks.calls.clone()));
        tasks.work(Arc::clone(worker));
        let operators = Operators(Arc::clone(admin));
        tasks.others.spawn(
            self.admin
                .serve(operators, admin_drain.watch(), tasks.others.clone()),
        );

        let asked = Notify::new();
        tokio::select! {
            () = reloader.run(&asked, &tasks.others) => {}
            () = signals.terminate(|| asked.notify_one()) => {}
        }
        tracing::info!("draining");
        self.readiness.drain();
        tasks.claiming.cancel();
        let no_reload = || tracing::warn!("the settings are not reloaded while draining");
        tokio::select! {
            () = drained(&drain, &reloader.parts.config.server, &tasks.calls) => {}
            () = signals.terminate(no_reload) => tracing::warn!("told to stop at once: calls are cut"),
        }
        drain.stop();
        admin_drain.stop();
        tasks.fall().await;
    }
}

fn warn_without_keys(keys: &Keys) {
    if keys.is_empty() {
        tracing::warn!("nobody can call yet: there is no key, neither in the settings nor in the store");
    }
}

/// Lets what is no longer needed be forgotten now and then; never ends.
async fn tidied(gate: Arc<Gate>, keys: Arc<Keys>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        gate.tidy();
        if let Err(error) = keys.tidy().await {
            tracing::warn!(%error, "old revocations could not be removed; the next round tries again");
        }
    }
}

/// Closes connections to upstreams that no call will use; never ends.
async fn hung_up(gate: Arc<Gate>) {
    loop {
        tokio::time::sleep(HANG_UP_EVERY).await;
        gate.hang_up();
    }
}

/// Lets the ledger be tidied now and then; never ends.
async fn settled_up(spend: Arc<Spend>) {
    loop {
        tokio::time::sleep(SETTLE_UP_EVERY).await;
        if let Err(error) = spend.tidy().await {
            tracing::warn!(%error, "old usage could not be removed; the next round tries again");
        }
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

/// Who works on jobs. What an earlier process has left is free.
async fn worker(
    config: &Config,
    backlog: Arc<Backlog>,
    shared: (Arc<Gate>, Arc<Metrics>),
) -> Result<Arc<Worker>, StartError> {
    let owner = CallId::new(backlog.wall_time());
    backlog.queue().take_over(owner, None, backlog.now()).await?;
    Ok(Worker::new(config, owner, backlog, shared)?)
}

/// The queue in the store, and a clock for it.
fn backlog(store: &Arc<Sqlite>, clock: &Arc<dyn Clock>) -> Arc<Backlog> {
    let queue: Arc<Sqlite> = Arc::clone(store);
    Arc::new(Backlog::new(queue, Arc::clone(clock)))
}

/// What the data listener does.
#[derive(Clone)]
struct Callers {
    gate: Arc<Gate>,
    watch: Watch,
}

impl Handler for Callers {
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
    async fn handle(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        self.0.handle(peer, request).await
    }
}
