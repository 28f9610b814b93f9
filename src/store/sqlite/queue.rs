//! The queue in its tables: jobs, what is sealed of them, their attempts, and the secrets that sign deliveries.

mod attempts;
mod change;
mod claim;
mod contents;
mod find;
mod forget;
mod money;
mod open;
mod operate;
mod put;
mod reseal;
mod row;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use super::Sqlite;
use super::writer::{Base, Fault};
use crate::body::Body;
use crate::metrics::{ModelLabel, SpendLabels};
use crate::queue::{
    Again, Attempt, Census, Claim, Claims, Death, Denied, Filter, JobId, JobState, Lease, Part, PutError,
    PutJob, Queue, QueueError, Ran, Secrets, Settled, Stash, View, Waiting,
};
use crate::spend::Recovered;
use crate::types::{AccountId, CallId};

pub(super) use forget::of_no_job;
pub(super) use reseal::all_known;

impl Queue for Sqlite {
    fn put(&self, new: PutJob) -> BoxFuture<'_, Result<Waiting, PutError>> {
        Box::pin(put::put(self, new))
    }

    fn stash(
        &self,
        job: &JobId,
        part: Part,
        content: Body,
        len: u64,
    ) -> BoxFuture<'_, Result<Stash, QueueError>> {
        let job = job.clone();
        Box::pin(async move { self.stashes.write(&job, part, content, len).await })
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claims, QueueError>> {
        Box::pin(open::claim(self, claim))
    }

    fn renew(&self, leases: Vec<Lease>, until: Duration) -> BoxFuture<'_, Result<Vec<Lease>, QueueError>> {
        Box::pin(change::renew(self, leases, until))
    }

    fn take_over(
        &self,
        owner: CallId,
        expired: Option<Duration>,
        now: Duration,
    ) -> BoxFuture<'_, Result<u64, QueueError>> {
        Box::pin(operate::take_over(self, owner, expired, now))
    }

    fn put_back(&self, lease: Lease, again: Again) -> BoxFuture<'_, Result<Settled, QueueError>> {
        Box::pin(change::put_back(self, lease, again))
    }

    fn ran(&self, lease: Lease, ran: Ran) -> BoxFuture<'_, Result<bool, QueueError>> {
        Box::pin(change::ran(self, lease, ran))
    }

    fn delivered(&self, lease: Lease, attempt: Attempt) -> BoxFuture<'_, Result<bool, QueueError>> {
        Box::pin(change::delivered(self, lease, attempt))
    }

    fn died(&self, lease: Lease, attempt: Attempt, death: Death) -> BoxFuture<'_, Result<bool, QueueError>> {
        Box::pin(change::died(self, lease, attempt, death))
    }

    fn find(&self, job: JobId) -> BoxFuture<'_, Result<Option<View>, QueueError>> {
        let master = Arc::clone(&self.master);
        Box::pin(self.change(move |base| find::find(base, &master, &job)))
    }

    fn list(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<View>, QueueError>> {
        Box::pin(find::list(self, filter))
    }

    fn redeliver(&self, job: JobId, now: Duration) -> BoxFuture<'_, Result<JobState, Denied>> {
        let call = CallId::new(now);
        Box::pin(
            self.writer
                .run(move |base| operate::redeliver(base, &job, now, call)),
        )
    }

    fn cancel(&self, job: JobId, now: Duration) -> BoxFuture<'_, Result<(), Denied>> {
        Box::pin(async move {
            let cancelling = self.writer.run(move |base| operate::cancel(base, &job, now));
            self.count_charged(cancelling.await?.into_iter().collect());
            Ok(())
        })
    }

    fn census(&self) -> BoxFuture<'_, Result<Census, QueueError>> {
        Box::pin(self.change(find::census))
    }

    fn forget(
        &self,
        now: Duration,
        results: Duration,
        ended: Duration,
    ) -> BoxFuture<'_, Result<u64, QueueError>> {
        Box::pin(forget::forget(self, now, results, ended))
    }

    fn secrets(&self, account: AccountId, now: Duration) -> BoxFuture<'_, Result<Secrets, QueueError>> {
        let master = Arc::clone(&self.master);
        Box::pin(async move {
            let fresh = secrets::fresh()?;
            self.change(move |base| {
                secrets::read_or_make(&base.connection, &master, account.as_str(), (now, &fresh))
            })
            .await
        })
    }

    fn rotate_secret(
        &self,
        account: AccountId,
        secret: SecretString,
        until: Duration,
    ) -> BoxFuture<'_, Result<(), QueueError>> {
        let master = Arc::clone(&self.master);
        Box::pin(self.change(move |base| {
            secrets::rotate(&base.connection, &master, account.as_str(), (&secret, until))
        }))
    }

    fn reseal(&self) -> BoxFuture<'_, Result<u64, QueueError>> {
        Box::pin(reseal::reseal(self))
    }
}

impl Sqlite {
    /// Does `work` on the writer's thread.
    async fn change<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Base) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.writer.run(move |base| work(base).map(Ok)).await
    }

    /// Counts what calls of dead jobs were charged.
    fn count_charged(&self, charged: Vec<Recovered>) {
        for Recovered {
            account,
            key,
            model,
            amount,
        } in charged
        {
            let model = model.map(|model| self.metrics.models().label(&model));
            let labels = SpendLabels::new(account, key, model.unwrap_or_else(ModelLabel::none));
            self.metrics.spent(&labels, amount);
        }
    }
}

impl From<Fault> for QueueError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(why) | Fault::InDoubt(why) => Self::Unavailable { why },
            Fault::Damaged(what) => Self::Damaged { what },
        }
    }
}

impl From<Fault> for PutError {
    fn from(fault: Fault) -> Self {
        Self::Queue(fault.into())
    }
}

impl From<Fault> for Denied {
    fn from(fault: Fault) -> Self {
        Self::Queue(fault.into())
    }
}

#[cfg(test)]
mod tests;
