//! Who works on jobs: two loops that claim what is due, one for calls and one for deliveries, and a task for each job.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delivery::{Deliveries, Handing};
use super::leases::{LEASE, Leases, Renewed};
use super::persist::persist;
use super::receivers;
use super::run::Run;
use super::shares::{Share, Shares};
use super::upkeep;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::proxy::Gate;
use crate::queue::{
    Again, Attempt, Backlog, Claim, Claimed, Claims, Death, Job, Lane, Lease, Phase, Round, Task,
};
use crate::types::CallId;
use crate::upstream::ConnectError;

/// How many deliveries there may be at once, for each worker: they mostly wait.
const DELIVERIES_PER_WORKER: usize = 4;

/// How long a loop without work waits before it looks again by itself.
const POLL: Duration = Duration::from_secs(1);

/// The most that is claimed at once.
const MAX_CLAIM: usize = 64;

/// Works on jobs.
#[derive(Debug)]
pub struct Worker {
    owner: CallId,
    backlog: Arc<Backlog>,
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    leases: Leases,
    shares: Shares,
    delivery_shares: Shares,
    runs: Arc<Semaphore>,
    deliveries: Deliveries,
    tasks: TaskTracker,
}

/// One job that is worked on.
pub(super) struct Working<'a> {
    worker: &'a Worker,
    job: &'a Job,
    lane: &'a Lane,
    renewed: &'a Renewed,
}

/// What a task has of what is scarce.
struct Place {
    phase: Phase,
    permit: OwnedSemaphorePermit,
    share: Share,
    at: At,
}

enum At {
    Work,
    Receiver(receivers::Place),
    /// The receiver has no room after all.
    Nowhere,
}

impl Worker {
    /// Puts it together. The leases of earlier processes must have been taken over.
    ///
    /// # Errors
    /// The system has no certificates to trust.
    pub fn new(
        config: &Config,
        owner: CallId,
        backlog: Arc<Backlog>,
        (gate, metrics): (Arc<Gate>, Arc<Metrics>),
    ) -> Result<Arc<Self>, ConnectError> {
        let workers = config.webhooks.workers;
        let places = workers.saturating_mul(DELIVERIES_PER_WORKER);
        Ok(Arc::new(Self {
            owner,
            gate,
            leases: Leases::default(),
            shares: Shares::new(workers),
            delivery_shares: Shares::new(places),
            runs: Arc::new(Semaphore::new(workers)),
            deliveries: Deliveries::new(&config.webhooks, places, &metrics)?,
            tasks: TaskTracker::new(),
            backlog,
            metrics,
        }))
    }

    /// Other settings for what is attempted from now on.
    pub fn reload(&self, config: &Config) {
        self.deliveries.change(&config.webhooks);
    }

    pub(super) fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(super) fn owner(&self) -> CallId {
        self.owner
    }

    pub(super) fn result_retention(&self) -> Duration {
        self.deliveries.settings().result_retention
    }

    /// Works until `stop`; what is under way then may go on until `cut`, and waits for another process after that.
    pub async fn work(self: Arc<Self>, stop: CancellationToken, cut: CancellationToken) {
        let claiming = async {
            tokio::join!(
                self.claim(Phase::Run, &stop, &cut),
                self.claim(Phase::Deliver, &stop, &cut)
            );
            self.tasks.close();
            self.tasks.wait().await;
        };
        tokio::select! {
            () = claiming => {}
            () = upkeep::keep(&self) => {}
        }
    }

    /// Claims what is due in one phase and starts a task for each job.
    async fn claim(self: &Arc<Self>, phase: Phase, stop: &CancellationToken, cut: &CancellationToken) {
        let places = match phase {
            Phase::Run => &self.runs,
            Phase::Deliver => &self.deliveries.places,
        };
        let mut round = Round::default();
        while !stop.is_cancelled() {
            let Some(first) = stop.run_until_cancelled(Arc::clone(places).acquire_owned()).await else {
                return;
            };
            let Ok(first) = first else { return };
            let more = std::iter::from_fn(|| Arc::clone(places).try_acquire_owned().ok());
            let mut permits: Vec<OwnedSemaphorePermit> =
                std::iter::once(first).chain(more.take(MAX_CLAIM - 1)).collect();
            let (claims, rested) = self.claims(phase, permits.len(), round).await;
            let found = !claims.claimed.is_empty();
            round = claims.round;
            for claimed in claims.claimed {
                if let Some(permit) = permits.pop() {
                    self.start(claimed, (phase, permit), cut);
                }
            }
            drop(permits);
            if !found {
                self.idle(phase, claims.next_due, rested, stop).await;
            }
        }
    }

    async fn claims(&self, phase: Phase, most: usize, round: Round) -> (Claims, Option<Instant>) {
        let (lanes, rested) = match phase {
            Phase::Run => self.shares.lanes(),
            Phase::Deliver => self.deliveries.receivers.rooms(),
        };
        let now = self.backlog.now();
        let claim = Claim {
            phase,
            now,
            owner: self.owner,
            until: now.saturating_add(LEASE),
            most,
            round,
            lanes,
            accounts: self.shares_of(phase).accounts(),
        };
        match self.backlog.queue().claim(claim).await {
            Ok(claims) => (claims, rested),
            Err(error) => {
                tracing::warn!(%error, phase = phase.as_str(), "no jobs can be claimed");
                (Claims::default(), rested)
            }
        }
    }

    /// Waits until there may be work.
    async fn idle(
        &self,
        phase: Phase,
        next_due: Option<Duration>,
        rested: Option<Instant>,
        stop: &CancellationToken,
    ) {
        let due = next_due.map(|due| Instant::now() + due.saturating_sub(self.backlog.now()));
        let poll = Instant::now() + POLL;
        let until = [due, rested].into_iter().flatten().fold(poll, Instant::min);
        let freed = async {
            match phase {
                Phase::Run => std::future::pending().await,
                Phase::Deliver => self.deliveries.receivers.freed().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.backlog.bell(phase).notified() => {}
            () = freed => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    fn start(
        self: &Arc<Self>,
        claimed: Claimed,
        (phase, permit): (Phase, OwnedSemaphorePermit),
        cut: &CancellationToken,
    ) {
        let (worker, cut) = (Arc::clone(self), cut.clone());
        let renewed = self.leases.hold(claimed.lease.clone());
        let at = match claimed.task {
            Task::Deliver { .. } => {
                let place = self.deliveries.receivers.enter(&claimed.lane);
                place.map_or(At::Nowhere, At::Receiver)
            }
            Task::Run { .. } | Task::Damaged => At::Work,
        };
        let place = Place {
            phase,
            permit,
            share: self.shares_of(phase).take(claimed.job.account.clone()),
            at,
        };
        self.tasks.spawn(async move {
            worker.work_on(claimed, &renewed, place, cut).await;
        });
    }

    async fn work_on(&self, claimed: Claimed, renewed: &Renewed, place: Place, cut: CancellationToken) {
        let Claimed { lane, job, task, .. } = claimed;
        let working = Working {
            worker: self,
            job: &job,
            lane: &lane,
            renewed,
        };
        // Boxed: a call's future is large, and there are many.
        let worked = Box::pin(working.task(task, place.at));
        tokio::select! {
            () = worked => {}
            () = renewed.lost() => {}
            () = cut.cancelled() => working.give_back().await,
        }
        // There is room again.
        drop((place.share, place.permit));
        self.backlog.bell(place.phase).notify_one();
    }

    fn shares_of(&self, phase: Phase) -> &Shares {
        match phase {
            Phase::Run => &self.shares,
            Phase::Deliver => &self.delivery_shares,
        }
    }
}

impl Working<'_> {
    async fn task(&self, task: Task, at: At) {
        match (task, at) {
            (Task::Run { head, body, held }, _) => {
                let run = Run {
                    job: self.job,
                    head: &head,
                    body,
                    held,
                };
                self.run(run).await;
            }
            (
                Task::Deliver {
                    hook,
                    result,
                    succeeded,
                },
                At::Receiver(place),
            ) => {
                let handing = Handing {
                    hook,
                    result,
                    succeeded,
                    place,
                };
                self.deliver(handing).await;
            }
            (Task::Deliver { .. }, At::Work | At::Nowhere) => self.put_off(Duration::ZERO).await,
            (Task::Damaged, _) => self.damaged(Phase::Run).await,
        }
    }

    /// Nothing was done: the job is due again after a while.
    pub(super) async fn put_off(&self, gap: Duration) {
        let again = self.untouched(gap);
        let queue = self.backlog().queue();
        // Without it the job would wait until its lease has run out.
        persist(|| queue.put_back(self.lease().clone(), again.clone())).await;
    }

    /// The process ends: the next one goes on at once.
    async fn give_back(&self) {
        let again = self.untouched(Duration::ZERO);
        if let Err(error) = self.backlog().queue().put_back(self.lease().clone(), again).await {
            tracing::warn!(%error, job = %self.job.id, "a job is taken over at the next start");
        }
    }

    fn untouched(&self, gap: Duration) -> Again {
        Again {
            due: self.backlog().now().saturating_add(gap),
            gap,
            attempt: None,
            charge: None,
        }
    }

    /// What is stored of the job can't be read, and never will be.
    pub(super) async fn damaged(&self, phase: Phase) {
        let attempt = Attempt {
            phase,
            at: self.backlog().wall_time(),
            status: None,
            error: Some("what is stored of the job can't be read".to_owned()),
            said: None,
        };
        self.died(attempt, Death::Damaged).await;
    }

    /// Nobody will try any more.
    pub(super) async fn died(&self, attempt: Attempt, death: Death) {
        let queue = self.backlog().queue();
        let died = persist(|| queue.died(self.lease().clone(), attempt.clone(), death)).await;
        if died == Some(true) {
            tracing::warn!(job = %self.job.id, account = %self.job.account, reason = death.as_str(), "a job is dead");
        }
    }

    pub(super) fn job(&self) -> &Job {
        self.job
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.renewed.lease
    }

    pub(super) fn backlog(&self) -> &Backlog {
        &self.worker.backlog
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.worker.gate
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.worker.metrics
    }

    pub(super) fn deliveries(&self) -> &Deliveries {
        &self.worker.deliveries
    }

    /// Nothing more is claimed of the job's lane for a moment.
    pub(super) fn rest(&self) {
        self.worker.shares.rest(self.lane.clone());
    }
}

/// A number from 0 to 1 that differs from the next one, so that what failed together is not tried again together.
pub(super) fn random() -> f64 {
    let [high, low, ..] = uuid::Uuid::new_v4().into_bytes();
    f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX)
}
