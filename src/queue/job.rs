//! One job.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use crate::types::JobId;
use crate::types::{AccountId, CallId, KeyName, ModelName, TokenId};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobState {
    /// It waits for a worker.
    Queued,
    /// A worker makes its call.
    Running,
    /// It has a result, which waits for its receiver.
    Delivering,
    /// The receiver has taken the answer.
    Delivered,
    /// The call failed, and the receiver has taken that.
    Failed,
    /// Nobody tries any more.
    Dead,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Delivering,
        Self::Delivered,
        Self::Failed,
        Self::Dead,
    ];

    /// The word that clients see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Delivering => "delivering",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing will change it but an operator.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Dead)
    }
}

/// Why a job is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Death {
    /// The receiver said 410.
    Gone,
    /// The last attempt of the schedule failed.
    Exhausted,
    /// The process was killed three times while it had the job.
    Quarantined,
    /// An operator ended it.
    Cancelled,
    /// What is stored of it can't be read.
    Damaged,
}

impl Death {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Gone,
        Self::Exhausted,
        Self::Quarantined,
        Self::Cancelled,
        Self::Damaged,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Exhausted => "exhausted",
            Self::Quarantined => "quarantined",
            Self::Cancelled => "cancelled",
            Self::Damaged => "damaged",
        }
    }

    /// The reason of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|death| death.as_str() == word)
    }
}

/// What is attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The call.
    Run,
    /// The delivery of its result.
    Deliver,
}

impl Phase {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Deliver => "deliver",
        }
    }
}

/// Jobs that wait in one row, so that no other row waits for them: those of one account and model to be run, those of
/// one account and receiver to be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(Arc<str>);

/// Stands between the account and the rest; neither has one.
const BETWEEN: char = '\n';

impl Lane {
    /// The row of an account's calls of one model.
    pub fn of_model(account: &AccountId, model: Option<&ModelName>) -> Self {
        let model = model.map_or("", ModelName::base);
        Self(format!("{account}{BETWEEN}{model}").into())
    }

    /// The row of an account's deliveries to one receiver.
    pub fn of_receiver(account: &AccountId, origin: &str) -> Self {
        Self(format!("{account}{BETWEEN}{origin}").into())
    }

    /// Takes one back from where it was kept.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// As it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The account whose jobs these are, as text.
    pub fn account(&self) -> &str {
        self.0
            .split_once(BETWEEN)
            .map_or(&*self.0, |(account, _)| account)
    }

    /// A text behind all lanes of the same account and before those of the next.
    pub(super) fn after_account(&self) -> String {
        format!("{}\u{b}", self.account())
    }
}

/// The right to change a job: whoever has an older one of the same job has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// How often it was claimed.
    pub epoch: i64,
}

/// A call that is to be stored.
#[derive(Debug)]
pub struct NewJob {
    /// Its name.
    pub id: JobId,
    /// The name of its hold and its usage row.
    pub call: CallId,
    /// When it was accepted, wall time.
    pub at: Duration,
    /// From when on it may be run, by the queue's time.
    pub due: Duration,
    /// Who pays.
    pub account: AccountId,
    /// With which key.
    pub key: KeyName,
    /// And which token.
    pub token: Option<TokenId>,
    /// The model asked for.
    pub model: Option<ModelName>,
    /// What is asked, such as `chat_completions`.
    pub surface: &'static str,
    /// The URL of the receiver: a secret, like what follows.
    pub hook: String,
    /// Scheme, host and port of it, which operators see.
    pub origin: String,
    /// Method, target and headers of the call.
    pub head: Vec<u8>,
    /// Its body.
    pub body: Content,
    /// What tells a second try of the client from a second call.
    pub once: Option<Once>,
    /// How many jobs of the account may wait.
    pub max_queued: u64,
}

/// An `Idempotency-Key`, and what it was sent with: digests, SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once {
    /// Of the key.
    pub key: [u8; 32],
    /// Of method, target, body and URL.
    pub request: [u8; 32],
}

/// The longest content that is kept with its job, in bytes: longer ones would fill the pages that claims read.
pub const MAX_INLINE: usize = 64 * 1024;

/// A body or a result, in the clear.
#[derive(Debug)]
pub enum Content {
    /// Small enough to be kept with its job.
    Inline(Bytes),
    /// In a sealed file of its own.
    Stashed(Stash),
}

/// Which of a job's two contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// What is sent upstream.
    Request,
    /// What is delivered.
    Result,
}

impl Part {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Result => "result",
        }
    }
}

/// A content in a file, which falls with it until a job keeps it.
pub struct Stash {
    /// Its length in the clear, in bytes.
    pub len: u64,
    /// The store's name of it.
    name: Arc<str>,
    discard: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Stash {
    /// A content of `len` bytes; `discard` removes it, without waiting.
    pub fn new(len: u64, discard: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self::named("", len, discard)
    }

    /// The content of `len` bytes that the store calls `name`; `discard` removes it, without waiting.
    pub fn named(
        name: impl Into<Arc<str>>,
        len: u64,
        discard: impl FnOnce() + Send + Sync + 'static,
    ) -> Self {
        Self {
            len,
            name: name.into(),
            discard: Some(Box::new(discard)),
        }
    }

    /// The store's name of it, which tells it from others of the same job.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// A job has it: it stays.
    pub fn keep(mut self) {
        drop(self.discard.take());
    }
}

impl Drop for Stash {
    fn drop(&mut self) {
        if let Some(discard) = self.discard.take() {
            discard();
        }
    }
}

impl fmt::Debug for Stash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stash")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// What a worker has to know of a job beside what it works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// The name of its hold and its usage row.
    pub call: CallId,
    /// When it was accepted.
    pub at: Duration,
    /// Who pays.
    pub account: AccountId,
    /// With which key.
    pub key: KeyName,
    /// And which token.
    pub token: Option<TokenId>,
    /// The model asked for.
    pub model: Option<ModelName>,
    /// The receiver's scheme, host and port.
    pub origin: String,
    /// How many attempts of this phase have failed.
    pub failed: u32,
}

/// One attempt, as clients and operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// At what.
    pub phase: Phase,
    /// When it began, wall time.
    pub at: Duration,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// What went wrong, in the gate's words: at most 1 KiB without control characters.
    pub error: Option<String>,
    /// What the other side has said to that, cut and cleaned likewise: for operators.
    pub said: Option<String>,
}

/// A job as clients and operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub id: JobId,
    /// Who pays.
    pub account: AccountId,
    /// With which key.
    pub key: KeyName,
    /// And which token.
    pub token: Option<TokenId>,
    /// The model asked for.
    pub model: Option<ModelName>,
    /// The receiver's scheme, host and port.
    pub origin: String,
    /// Where it stands.
    pub state: JobState,
    /// Why it is dead.
    pub death: Option<Death>,
    /// When it was accepted, wall time.
    pub at: Duration,
    /// When it will be tried next, where somebody will.
    pub next_attempt_at: Option<Duration>,
    /// What was attempted, the oldest first. Empty in lists.
    pub attempts: Vec<Attempt>,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for state in JobState::ALL {
            assert_eq!(JobState::parse(state.as_str()), Some(state));
        }
        for death in Death::ALL {
            assert_eq!(Death::parse(death.as_str()), Some(death));
        }
        assert_eq!(JobState::parse("cancelled"), None);
    }

    #[test]
    fn a_lane_tells_its_account() {
        let account = AccountId::parse("di:1").unwrap();
        let model = ModelName::parse("a/m:deep").unwrap();
        assert_eq!(Lane::of_model(&account, Some(&model)).account(), "di:1");
        assert_ne!(
            Lane::of_model(&account, None),
            Lane::of_receiver(&account, "https://example.com")
        );
    }

    #[test]
    fn a_stash_that_nobody_keeps_is_discarded() {
        static GONE: Mutex<Vec<u64>> = Mutex::new(Vec::new());
        drop(Stash::new(1, || GONE.lock().unwrap().push(1)));
        Stash::new(2, || GONE.lock().unwrap().push(2)).keep();
        assert_eq!(*GONE.lock().unwrap(), [1]);
    }
}
