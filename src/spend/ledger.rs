//! The book of holds and charges, as seen from outside.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::types::{AccountId, CallId, KeyName, ModelName, Money, RequestId, TokenId, Usage};

/// Keeps what is held, what is spent and what every call has used.
///
/// Everything that returns `Ok` is on the disk by then. Wall times are since the Unix epoch, kept in whole
/// milliseconds.
pub trait Ledger: Send + Sync + Debug {
    /// Sets money aside for a call in every purse that it pays from, or in none: checked and taken in one step.
    ///
    /// Dropping the future leaves open whether the hold was made; closing its call, also of a hold that was never
    /// made, settles that. What is handed over later is done later.
    ///
    /// # Errors
    /// A purse has no room for the least that was asked for; or the hold can't be written.
    fn hold(&self, order: HoldOrder) -> BoxFuture<'_, Result<Held, HoldError>>;

    /// Ends calls: their holds go, what they cost is spent, their usage is written down. All of them or none.
    ///
    /// A call that was closed before is left as it is, so that this may be tried again after an error. The answer has
    /// an entry for each settlement, in their order.
    ///
    /// # Errors
    /// It can't be written, or may or may not have been.
    fn close(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<Vec<Closed>, LedgerError>>;

    /// Charges what is held for calls of other owners than `owner`, and for any that has been held since before
    /// `expired`: nobody will ever close them. What is held for [`WAITING`] calls stays.
    ///
    /// # Errors
    /// It can't be written.
    fn recover(&self, owner: CallId, expired: Duration)
    -> BoxFuture<'_, Result<Vec<Recovered>, LedgerError>>;

    /// What is spent from and held in a purse. One that no hold has named yet has spent what a first hold would find.
    ///
    /// # Errors
    /// It can't be read.
    fn balance(&self, purse: Purse) -> BoxFuture<'_, Result<Balance, LedgerError>>;

    /// Sums up what calls have used. Reads beside the writing, which goes on meanwhile.
    ///
    /// # Errors
    /// It can't be read, or not in time.
    fn report(&self, report: Report) -> BoxFuture<'_, Result<Vec<ReportRow>, LedgerError>>;

    /// Deletes the usage rows of calls from before `before`, and the purses of days and months that were over by then;
    /// in small steps, so that calls go on meanwhile. What they cost stays spent, also from a cap that is set later.
    /// Returns how many rows and purses went.
    ///
    /// Dropping the future leaves the steps that were made; the next call goes on from there.
    ///
    /// # Errors
    /// It can't be written; a part may be gone.
    fn forget(&self, before: Duration) -> BoxFuture<'_, Result<u64, LedgerError>>;
}

/// The owner of holds for calls that wait in the queue: they outlast every process, and whoever keeps such a call closes
/// its hold.
pub const WAITING: CallId = CallId::from_bytes([0xff; 16]);

/// Whose money an amount is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Purse {
    /// The account that pays in the end.
    pub account: AccountId,
    /// What of it.
    pub share: Share,
}

/// A part of an account's money.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Share {
    /// What one token may spend, over its whole life.
    Token(TokenId),
    /// What one key and its tokens may spend.
    Key(KeyName, Span),
    /// What everybody may spend.
    Account(Span),
}

/// The time over which spending counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// For ever.
    Total,
    /// The day (UTC) that begins then.
    Day(Duration),
    /// The month (UTC) that begins then.
    Month(Duration),
}

/// What must be held before a call goes upstream.
#[derive(Debug, Clone)]
pub struct HoldOrder {
    /// The process that will close it.
    pub owner: CallId,
    /// The call, as far as it is known.
    pub entry: Entry,
    /// The purses that pay, with the limit of each; at least one.
    pub purses: Vec<(Purse, Money)>,
    /// What is wanted: the call's ceiling.
    pub wanted: Money,
    /// The least that will do, at most `wanted`. Where the purses have more than that and less than `wanted`, all that
    /// they have is held.
    pub least: Money,
}

/// One call, before anybody knows what it uses.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The gate's name of it.
    pub call: CallId,
    /// When it began.
    pub at: Duration,
    /// The account that pays.
    pub account: AccountId,
    /// The key that was shown, or that signed the token.
    pub key: KeyName,
    /// The token that was shown.
    pub token: Option<TokenId>,
    /// The model asked for, or the one that has served.
    pub model: Option<ModelName>,
    /// What was asked of it, such as `chat_completions`.
    pub route: &'static str,
    /// The id that client and upstream know.
    pub request_id: RequestId,
}

/// What was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// How much: from the least to what was wanted.
    pub amount: Money,
    /// What the first purse of the order has left after all holds, this one too.
    pub left: Money,
}

/// Why nothing was set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// What is not spent does not pay for the call: waiting does not help.
    #[error("the rest does not pay for the call")]
    Spent(Denial),
    /// What is neither spent nor held does not: calls in flight may leave enough.
    #[error("the rest is held by calls in flight")]
    Held(Denial),
    /// The ledger can't be used now.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A purse without room. Of several, one that is spent is named before one whose rest is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Which.
    pub purse: Purse,
    /// Its limit.
    pub limit: Money,
    /// What it has.
    pub balance: Balance,
}

/// What is in use of a purse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// What calls have cost.
    pub spent: Money,
    /// What is set aside for calls in flight.
    pub held: Money,
}

/// The end of a call.
#[derive(Debug, Clone)]
pub enum Settlement {
    /// It never went upstream: what is held for it goes back, and nothing is written.
    Release(CallId),
    /// It went upstream.
    Charge(Arc<UsageRow>),
}

/// What one call has used and cost. A call with a hold is charged to the purses of the hold; and in any case to its
/// token's purse and to all that there are of its account and key for the time at which it began, each once. So a cap
/// counts also what began before it was set.
#[derive(Debug, Clone)]
pub struct UsageRow {
    /// The call.
    pub entry: Entry,
    /// What it has used.
    pub usage: Usage,
    /// What it is charged.
    pub cost: Money,
    /// How that is known.
    pub metered: Metered,
    /// The status of the answer.
    pub status: u16,
    /// How it ended, such as `completed`.
    pub outcome: &'static str,
    /// From the request's head to the end of the answer.
    pub took: Duration,
    /// Whether a hold of it may be there: where none was ever asked for, none is looked for.
    pub may_hold: bool,
}

/// How it is known what a call has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metered {
    /// Nothing was owed: it failed.
    Free,
    /// The upstream reported the cost.
    Reported,
    /// The upstream reported more than can be believed: the table's price times the divergence that is allowed.
    Bounded,
    /// The upstream reported what was used, and the table has its price.
    Priced,
    /// The answer was cut: the table's price of what was seen.
    Estimated,
    /// Nobody said anything: what was held for it; nothing for a call without a hold.
    Held,
    /// The gate was killed: what was held for it.
    Killed,
}

impl Metered {
    /// Every way, as a word.
    pub const ALL: [Self; 7] = [
        Self::Free,
        Self::Reported,
        Self::Bounded,
        Self::Priced,
        Self::Estimated,
        Self::Held,
        Self::Killed,
    ];

    /// The word that usage rows have.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Reported => "reported",
            Self::Bounded => "bounded",
            Self::Priced => "priced",
            Self::Estimated => "estimated",
            Self::Held => "held",
            Self::Killed => "killed",
        }
    }
}

/// What closing a call has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// What had been held for it until then.
    pub held: Option<Money>,
    /// What it was charged now; nothing if it had been closed before.
    pub charged: Money,
    /// By how much more the purses that pay are beyond their limits now.
    pub overspent: Money,
}

/// A call that nobody closed, charged at what was held for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The account that pays.
    pub account: AccountId,
    /// Its key.
    pub key: KeyName,
    /// The model.
    pub model: Option<ModelName>,
    /// What was held and is spent now.
    pub amount: Money,
}

/// Why the ledger can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// It can't be written or read now.
    #[error("the ledger can't be used: {why}")]
    Unavailable {
        /// What the store says.
        why: String,
    },
    /// What is there can't be understood.
    #[error("the ledger is damaged: {what}")]
    Damaged {
        /// The piece.
        what: String,
    },
}

/// What a report sums up.
#[derive(Debug, Clone)]
pub struct Report {
    /// What has a row.
    pub by: By,
    /// Calls that began then or later count.
    pub from: Duration,
    /// Calls that began then or later do not count.
    pub to: Duration,
    /// Only calls of this account.
    pub account: Option<AccountId>,
    /// The most rows; those after them are left out.
    pub limit: u32,
}

/// What the rows of a report stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// Accounts.
    Account,
    /// Keys, with their tokens.
    Key,
    /// Tokens. What was called without one is left out.
    Token,
    /// Models.
    Model,
    /// Days (UTC).
    Day,
}

/// What one row of a report stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Group {
    /// An account.
    Account(AccountId),
    /// A key of an account.
    Key(AccountId, KeyName),
    /// A token of an account.
    Token(AccountId, TokenId),
    /// A model; or all calls that named none.
    Model(Option<ModelName>),
    /// The day (UTC) that begins then.
    Day(Duration),
}

/// Sums over calls. Rows come with the highest cost first; days come in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// Whose calls.
    pub group: Group,
    /// How many.
    pub calls: u64,
    /// Tokens of their prompts.
    pub input: u64,
    /// Tokens of their answers.
    pub output: u64,
    /// Tokens of their prompts that came from a cache.
    pub cached: u64,
    /// What they cost.
    pub cost: Money,
}
