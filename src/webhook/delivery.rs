//! The second half of a job: its result goes to its receiver, as often as it takes.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::connect::{Connector, SystemResolver};
use super::deliver::{Deliverer, Delivery, Outcome, Verdict};
use super::persist::persist;
use super::receivers::{Place, Receivers};
use super::work::{Working, random};
use crate::body::{self, Body, ReadError};
use crate::config::Webhooks;
use crate::metrics::Metrics;
use crate::queue::{Again, Attempt, Death, Next, Phase, QueueError, Secrets, Settled, next_delivery};
use crate::upstream::{ConnectError, tls_config};

/// The longest result that is read back, in bytes: longer than any that is kept.
const MAX_RESULT: u64 = 128 * 1024 * 1024;

/// The longest wait for a piece of it from the disk.
const DISK: Duration = Duration::from_secs(30);

/// How long a job waits whose delivery can't begin for a reason of the gate's own: what it needs can't be read just now, or too
/// many names are being resolved.
const TROUBLE: Duration = Duration::from_secs(5);

/// What deliveries have in common.
#[derive(Debug)]
pub(super) struct Deliveries {
    pub(super) places: Arc<Semaphore>,
    pub(super) receivers: Arc<Receivers>,
    settings: ArcSwap<Webhooks>,
    deliverer: Deliverer,
}

/// What is to be delivered.
pub(super) struct Handing {
    pub(super) hook: SecretString,
    pub(super) result: Body,
    pub(super) succeeded: bool,
    /// The place at the receiver.
    pub(super) place: Place,
}

impl Deliveries {
    /// At most `places` at once.
    ///
    /// # Errors
    /// The system's certificate authorities can't be loaded.
    pub(super) fn new(
        settings: &Webhooks,
        places: usize,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, ConnectError> {
        let connector = Connector::new(Arc::new(SystemResolver), tls_config(None)?);
        Ok(Self {
            places: Arc::new(Semaphore::new(places)),
            receivers: Arc::default(),
            settings: ArcSwap::from_pointee(settings.clone()),
            deliverer: Deliverer::new(settings, connector, Arc::clone(metrics)),
        })
    }

    /// Other settings for attempts that begin from now on.
    pub(super) fn change(&self, settings: &Webhooks) {
        self.deliverer.change(settings);
        self.settings.store(Arc::new(settings.clone()));
    }

    pub(super) fn settings(&self) -> Arc<Webhooks> {
        self.settings.load_full()
    }
}

impl Working<'_> {
    /// Makes one attempt to deliver a result, and writes down what came of it.
    ///
    /// Dropping the future ends the attempt; the receiver may have the result then, and gets it again.
    pub(super) async fn deliver(&self, handing: Handing) {
        let Handing {
            hook,
            mut result,
            succeeded,
            place,
        } = handing;
        let at = self.backlog().wall_time();
        let read = body::read(&mut result, MAX_RESULT, DISK).await;
        let body = match read {
            Ok(body) => body,
            Err(error) if is_damage(&error) => return self.damaged(Phase::Deliver).await,
            Err(error) => {
                tracing::error!(%error, job = %self.job().id, "the result of a job can't be read now");
                return self.put_off(TROUBLE).await;
            }
        };
        let secrets = match self.secrets(at).await {
            Ok(secrets) => secrets,
            Err(error) => {
                tracing::warn!(%error, "what signs a delivery can't be read");
                return self.put_off(TROUBLE).await;
            }
        };
        let Some(outcome) = self.attempted(at, &hook, &secrets, body).await else {
            self.metrics().job_attempted(Phase::Deliver.as_str(), "no_room");
            return self.put_off(TROUBLE).await;
        };
        place.report(outcome.is_well());
        let word = match (outcome.verdict, succeeded) {
            (Verdict::Delivered, true) => "delivered",
            (Verdict::Delivered, false) => "failure_delivered",
            (Verdict::Gone, _) => "gone",
            (Verdict::Failed, _) if outcome.blocked.is_some() => "blocked",
            (Verdict::Failed, _) => "failed",
        };
        self.metrics().job_attempted(Phase::Deliver.as_str(), word);
        self.write_down(at, outcome).await;
    }

    async fn secrets(&self, now: Duration) -> Result<Secrets, QueueError> {
        self.backlog()
            .queue()
            .secrets(self.job().account.clone(), now)
            .await
    }

    async fn attempted(
        &self,
        at: Duration,
        hook: &SecretString,
        secrets: &Secrets,
        body: Bytes,
    ) -> Option<Outcome> {
        let delivery = Delivery {
            account: &self.job().account,
            id: &self.job().id,
            at,
            hook,
            secrets,
            body,
        };
        self.deliveries().deliverer.attempt(delivery).await
    }

    async fn write_down(&self, at: Duration, outcome: Outcome) {
        let queue = self.backlog().queue();
        let attempt = Attempt {
            phase: Phase::Deliver,
            at,
            status: outcome.status,
            error: outcome.error,
            said: outcome.said,
        };
        match outcome.verdict {
            Verdict::Delivered => {
                let written = persist(|| queue.delivered(self.lease().clone(), attempt.clone())).await;
                if written == Some(true) {
                    tracing::info!(job = %self.job().id, account = %self.job().account, "a job is delivered");
                }
            }
            Verdict::Gone => self.died(attempt, Death::Gone).await,
            Verdict::Failed => {
                let schedule = &self.deliveries().settings().schedule;
                let failed = self.job().failed.saturating_add(1);
                match next_delivery(schedule, failed, random(), outcome.retry_after.as_deref(), at) {
                    Next::At { gap, wait } => self.again(attempt, gap, wait).await,
                    Next::Exhausted => self.died(attempt, Death::Exhausted).await,
                }
            }
        }
    }

    async fn again(&self, attempt: Attempt, gap: Duration, wait: Duration) {
        let again = Again {
            due: self.backlog().now().saturating_add(wait),
            gap,
            attempt: Some(attempt),
            charge: None,
        };
        let queue = self.backlog().queue();
        let settled = persist(|| queue.put_back(self.lease().clone(), again.clone())).await;
        if settled == Some(Settled::Lost) {
            tracing::warn!(job = %self.job().id, "a job was taken over while it was delivered");
        }
    }
}

/// Whether a content is another than was written, as opposed to a disk in trouble.
pub(super) fn is_damage(error: &ReadError) -> bool {
    match error {
        ReadError::Broken(cause) => cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|cause| cause.kind() == std::io::ErrorKind::InvalidData),
        ReadError::TooLarge { .. } => true,
        ReadError::Idle { .. } => false,
    }
}
