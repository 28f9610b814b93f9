//! The room where jobs are kept, as seen from outside.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use super::job::{
    Attempt, Content, Death, Job, JobId, JobState, Lane, Lease, NewJob, Part, Phase, Stash, View,
};
use super::room::Room;
use super::round::Round;
use crate::body::Body;
use crate::spend::{Held, HoldError, HoldOrder, Settlement};
use crate::types::{AccountId, CallId, Money};

/// Keeps jobs until they are done.
///
/// Everything that returns `Ok` is on the disk by then, and what is handed over is done even if its future is dropped.
/// What takes a [`Lease`] says whether the lease still held; if not, nothing was changed. Times are since the Unix epoch,
/// kept in whole milliseconds. Contents, heads, URLs and secrets are sealed with the master key.
pub trait Queue: Send + Sync + Debug {
    /// Keeps a new job and holds its money, both or neither. A second try of a client gives the first one's job, for 24
    /// hours.
    ///
    /// # Errors
    /// See [`PutError`].
    fn put(&self, new: PutJob) -> BoxFuture<'_, Result<Waiting, PutError>>;

    /// Seals a content into a file of its own, synced. `len` of it at most is read.
    ///
    /// # Errors
    /// It can't be read or written, or is longer.
    fn stash(
        &self,
        job: &JobId,
        part: Part,
        content: Body,
        len: u64,
    ) -> BoxFuture<'_, Result<Stash, QueueError>>;

    /// Leases work that is due, where `claim` has room for it: account after account, of each a few lanes, of each lane the job
    /// that is due first, round and round until there are `claim.most`. A claim looks at some thousand lanes at most.
    ///
    /// # Errors
    /// It can't be read or written.
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claims, QueueError>>;

    /// Keeps leases for longer; gives those that do not hold any more.
    ///
    /// # Errors
    /// It can't be written.
    fn renew(&self, leases: Vec<Lease>, until: Duration) -> BoxFuture<'_, Result<Vec<Lease>, QueueError>>;

    /// Frees leases of jobs that nobody works on: with `expired` those that have run out by then, whosever they are (also one
    /// of a claim whose answer nobody took); without it, at the start, all of other owners than `owner`. Gives how many were
    /// freed. A job that was freed so while it was running waits for half a minute after the second time in a row, and is dead
    /// after the third: what is held for it is spent. An attempt that was written down begins the count anew.
    /// Where the clock was put back, as `now` tells, what waits is due in about its gap at the latest.
    ///
    /// # Errors
    /// It can't be written.
    fn take_over(
        &self,
        owner: CallId,
        expired: Option<Duration>,
        now: Duration,
    ) -> BoxFuture<'_, Result<u64, QueueError>>;

    /// The job waits for its next attempt until `again.due`, which is about `again.gap` away. Where it can't, since there is
    /// no money for it ([`Settled::Broke`]), it is charged and nothing else: the attempt is not written down yet.
    ///
    /// # Errors
    /// It can't be written.
    fn put_back(&self, lease: Lease, again: Again) -> BoxFuture<'_, Result<Settled, QueueError>>;

    /// The call has a result: that is kept, its request goes, its hold is closed, and the delivery is due.
    ///
    /// # Errors
    /// It can't be written.
    fn ran(&self, lease: Lease, ran: Ran) -> BoxFuture<'_, Result<bool, QueueError>>;

    /// The receiver has taken the result, which goes.
    ///
    /// # Errors
    /// It can't be written.
    fn delivered(&self, lease: Lease, attempt: Attempt) -> BoxFuture<'_, Result<bool, QueueError>>;

    /// Nobody will try any more. What is held for it goes back.
    ///
    /// # Errors
    /// It can't be written.
    fn died(&self, lease: Lease, attempt: Attempt, death: Death) -> BoxFuture<'_, Result<bool, QueueError>>;

    /// One job, with its attempts.
    ///
    /// # Errors
    /// It can't be read.
    fn find(&self, job: JobId) -> BoxFuture<'_, Result<Option<View>, QueueError>>;

    /// Jobs, the newest first, without their attempts.
    ///
    /// # Errors
    /// It can't be read.
    fn list(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<View>, QueueError>>;

    /// Makes a dead job due at `now`, with a new schedule: its delivery if it has a result, else its call, under a new name
    /// and with as much held as before; gives its state then.
    ///
    /// # Errors
    /// There is no such job, it is not dead, what it needs is deleted, there is no money for it, or it can't be written.
    fn redeliver(&self, job: JobId, now: Duration) -> BoxFuture<'_, Result<JobState, Denied>>;

    /// Ends a job. One that is worked on loses its lease and is not delivered. What is held for it goes back; if it was
    /// running, its call may have cost something: then what is held is spent.
    ///
    /// # Errors
    /// There is no such job, it has ended, or it can't be written.
    fn cancel(&self, job: JobId, now: Duration) -> BoxFuture<'_, Result<(), Denied>>;

    /// How many jobs there are in each state, and when the oldest of those that have not ended was accepted.
    ///
    /// # Errors
    /// It can't be read.
    fn census(&self) -> BoxFuture<'_, Result<Census, QueueError>>;

    /// Deletes results of dead jobs older than `results`, jobs that ended before `ended`, files of no job, and what tells
    /// second tries older than 24 hours.
    ///
    /// # Errors
    /// It can't be written; a part may be gone.
    fn forget(
        &self,
        now: Duration,
        results: Duration,
        ended: Duration,
    ) -> BoxFuture<'_, Result<u64, QueueError>>;

    /// The secrets that sign an account's deliveries at `now`, the newest first; the first is made where there is none.
    ///
    /// # Errors
    /// They can't be read or written.
    fn secrets(&self, account: AccountId, now: Duration) -> BoxFuture<'_, Result<Secrets, QueueError>>;

    /// Makes `secret` the account's; the one before it still signs until `until`.
    ///
    /// # Errors
    /// It can't be written.
    fn rotate_secret(
        &self,
        account: AccountId,
        secret: SecretString,
        until: Duration,
    ) -> BoxFuture<'_, Result<(), QueueError>>;

    /// Seals anew, with the master key of now, some of what an older one sealed; gives how much that was. At 0 nothing needs
    /// an older one any more.
    ///
    /// # Errors
    /// It can't be read or written; to be tried again later.
    fn reseal(&self) -> BoxFuture<'_, Result<u64, QueueError>>;
}

/// A new job, and the money to hold for it where a limit holds for its caller.
#[derive(Debug)]
pub struct PutJob {
    /// The job.
    pub job: NewJob,
    /// The hold, owned by [`crate::spend::WAITING`].
    pub order: Option<HoldOrder>,
}

/// A job that was kept, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub id: JobId,
    /// What was held for it just now.
    pub held: Option<Held>,
    /// Whether it was kept before, by an earlier try of the client.
    pub again: bool,
}

/// Why a job is not kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Too many jobs of the account wait.
    #[error("{limit} jobs of the account wait already")]
    Full {
        /// How many may.
        limit: u64,
    },
    /// Its `Idempotency-Key` came with another request before.
    #[error("the idempotency key was used for another request")]
    Mismatch,
    /// There is no money for it.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// It can't be written.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// What work is wanted.
#[derive(Debug, Clone)]
pub struct Claim {
    /// To be run or to be delivered.
    pub phase: Phase,
    /// What is due by then.
    pub now: Duration,
    /// The process that works.
    pub owner: CallId,
    /// When the leases run out.
    pub until: Duration,
    /// The most jobs.
    pub most: usize,
    /// How far the claims before it have come.
    pub round: Round,
    /// How much may be taken of each lane.
    pub lanes: Room<Lane>,
    /// How much may be taken of each account.
    pub accounts: Room<AccountId>,
}

/// What was leased.
#[derive(Debug, Default)]
pub struct Claims {
    /// The work.
    pub claimed: Vec<Claimed>,
    /// From where the next claim goes on.
    pub round: Round,
    /// When what is left is due first, or earlier; none where nothing is or can be had. Not after `now` where some may be due at
    /// once, as after a claim that was full or where not every lane has been looked at yet.
    pub next_due: Option<Duration>,
}

/// A job that is leased.
#[derive(Debug)]
pub struct Claimed {
    /// The lease.
    pub lease: Lease,
    /// Its lane.
    pub lane: Lane,
    /// The job.
    pub job: Job,
    /// What is to be done.
    pub task: Task,
}

/// What is to be done for a job.
pub enum Task {
    /// Its call is to be made.
    Run {
        /// Method, target and headers.
        head: Vec<u8>,
        /// The body.
        body: Body,
        /// What is held for it.
        held: Option<Money>,
    },
    /// Its result is to be delivered.
    Deliver {
        /// Where to.
        hook: SecretString,
        /// What: the bytes of every attempt.
        result: Body,
        /// Whether the call succeeded.
        succeeded: bool,
    },
    /// What is kept of it can't be read.
    Damaged,
}

/// A job's next attempt.
#[derive(Debug, Clone)]
pub struct Again {
    /// When, wall time.
    pub due: Duration,
    /// How far away that was when it was set: a clock that was put back makes nobody wait longer.
    pub gap: Duration,
    /// What was attempted; `None` where nothing was.
    pub attempt: Option<Attempt>,
    /// What an attempt that failed has cost all the same. The call goes on under a new name, under which as much is held
    /// again.
    pub charge: Option<(Settlement, CallId)>,
}

/// What became of a job that was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It waits.
    Waits,
    /// The lease did not hold any more.
    Lost,
    /// It was charged, and there is no room to hold as much again: it is leased still.
    Broke,
}

/// A call that has ended.
#[derive(Debug)]
pub struct Ran {
    /// The answer, or what tells of the failure.
    pub result: Content,
    /// Whether it is an answer.
    pub succeeded: bool,
    /// What closes the call in the ledger.
    pub settlement: Option<Settlement>,
    /// How it went.
    pub attempt: Attempt,
}

/// What jobs are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only of this account.
    pub account: Option<AccountId>,
    /// Only after this one in the list: when it was accepted, and its name.
    pub after: Option<(Duration, JobId)>,
    /// The most.
    pub most: u32,
}

/// Why an operator's wish is not met.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// There is no such job.
    #[error("there is no such job")]
    Unknown,
    /// It is in another state than that takes.
    #[error("the job is {}", .0.as_str())]
    State(JobState),
    /// Its content is deleted.
    #[error("what the job needs is deleted")]
    Deleted,
    /// There is no room to hold as much for it as before.
    #[error("there is no money for the job")]
    Broke,
    /// The queue can't be used.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// The jobs in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateCount {
    /// Which.
    pub state: JobState,
    /// How many.
    pub jobs: u64,
    /// When the oldest was accepted, wall time. Of those that have ended nobody looks.
    pub oldest: Option<Duration>,
}

/// All jobs, by state.
pub type Census = Vec<StateCount>;

/// The secrets of one account: each `whsec_` and base64.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The newest.
    pub first: SecretString,
    /// The one before it, while it signs too.
    pub before: Option<SecretString>,
}

/// Why the queue can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// It can't be written or read now.
    #[error("the queue can't be used: {why}")]
    Unavailable {
        /// What the store says.
        why: String,
    },
    /// What is there can't be understood.
    #[error("the queue is damaged: {what}")]
    Damaged {
        /// The piece.
        what: String,
    },
    /// A content is longer than allowed.
    #[error("the content is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
}

impl Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Run { .. } => "Run",
            Self::Deliver { .. } => "Deliver",
            Self::Damaged => "Damaged",
        })
    }
}
