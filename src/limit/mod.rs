//! How much at once, and how fast: limits per account and model.
//!
//! A call passes three limits in a fixed order ([`Limits::admit`]): requests a minute, tokens a minute, calls at once.
//! Only the first is used up by a call that one of the others refuses, since it counts attempts. What a call takes is
//! given back when its [`Admitted`] falls.

mod concurrency;
mod rates;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::config;
use crate::metrics::{Metrics, ModelLabel, SlotGauges};
use crate::types::{AccountId, KeyName, ModelName};

pub use concurrency::Permit;
use concurrency::{Allotment, NoSlot, Slots};
use rates::Rates;
use rules::{Bound, Found, Rules};

/// What a limit counts together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    account: AccountId,
    /// Set where a rule names the key: then the key's calls count apart from its account's.
    key: Option<KeyName>,
    /// Without its version.
    model: ModelName,
}

impl Scope {
    fn of(asked: Asked<'_>, model: &ModelName, own: bool) -> Self {
        Self {
            account: asked.account.clone(),
            key: own.then(|| asked.key.clone()),
            model: model.clone(),
        }
    }
}

/// Who calls which model.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The account that pays.
    pub account: &'a AccountId,
    /// The key that was shown.
    pub key: &'a KeyName,
    /// The model that is to serve; its version does not count.
    pub model: &'a ModelName,
}

/// Why a call has to wait.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// As many calls as may be are in flight.
    #[error("as many calls are in flight as may be: {limit}")]
    Concurrency {
        /// The most calls at once.
        limit: usize,
        /// How long the call has waited for one of them to end.
        waited: Duration,
        /// Whether it could not even wait, since too many calls do.
        queue_full: bool,
    },
    /// The requests of this minute are used up.
    #[error("the requests of this minute are used up: {limit}")]
    Requests {
        /// Requests a minute.
        limit: u32,
        /// When the next one may come.
        wait: Duration,
    },
    /// The tokens of the last minute are over the limit.
    #[error("{used} tokens were used in the last minute, of {limit}")]
    Tokens {
        /// Tokens a minute.
        limit: u64,
        /// What was used in the last 60 s.
        used: u64,
        /// When enough of them are past.
        wait: Duration,
    },
}

/// The limits that hold for a caller in all, for whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Calls at once.
    pub concurrency: usize,
    /// Tokens a minute; 0 is off.
    pub tokens_per_minute: u64,
}

/// All limits of this process, with what is used of them.
#[derive(Debug)]
pub struct Limits {
    rules: ArcSwap<Rules>,
    slots: Arc<Slots>,
    rates: Arc<Rates>,
    metrics: Arc<Metrics>,
}

impl Limits {
    /// Limits of which nothing is used yet.
    pub fn new(settings: &config::Limits, metrics: &Arc<Metrics>) -> Self {
        Self {
            rules: ArcSwap::from_pointee(Rules::new(settings)),
            slots: Arc::default(),
            rates: Arc::default(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Other rules from now on. What is in use stays so: above a lowered limit nothing is let in until enough has
    /// ended, and who waits below a raised one goes on at once.
    pub fn change(&self, settings: &config::Limits) {
        self.rules.store(Arc::new(Rules::new(settings)));
        self.slots.adjust(self);
    }

    /// Lets a call in, or says which limit is in its way.
    ///
    /// Waits up to `max_wait` for a slot, first come, first served. Dropping the future gives the place in the queue
    /// back; the attempt stays counted.
    ///
    /// # Errors
    /// See [`LimitError`].
    pub async fn admit(&self, asked: Asked<'_>, label: &ModelLabel) -> Result<Admitted, LimitError> {
        let model = asked.model.without_version();
        let found = self.rules.load().of(asked.account, Some(asked.key), Some(&model));
        self.count_request(asked, &model, &found)?;
        let tokens = self.check_tokens(asked, &model, &found)?;
        let permit = self.slot(asked, &model, label, found).await?;
        Ok(Admitted { permit, tokens })
    }

    /// Lets a call in that has waited for room, or says which limit is in its way. It counts as an attempt only once it has
    /// a slot: it looks for one again and again, and must not use up what a minute allows others.
    ///
    /// # Errors
    /// See [`LimitError`].
    pub async fn admit_waiting(&self, asked: Asked<'_>, label: &ModelLabel) -> Result<Admitted, LimitError> {
        let model = asked.model.without_version();
        let found = self.rules.load().of(asked.account, Some(asked.key), Some(&model));
        let permit = self.slot(asked, &model, label, found).await?;
        let tokens = self.check_tokens(asked, &model, &found)?;
        self.count_request(asked, &model, &found)?;
        Ok(Admitted { permit, tokens })
    }

    fn count_request(&self, asked: Asked<'_>, model: &ModelName, found: &Found) -> Result<(), LimitError> {
        let limit = found.requests;
        if limit.value == 0 {
            return Ok(());
        }
        self.rates
            .count_request(Scope::of(asked, model, limit.own), limit.value)
    }

    /// Where the call's tokens will count, if a limit holds for them.
    fn check_tokens(
        &self,
        asked: Asked<'_>,
        model: &ModelName,
        found: &Found,
    ) -> Result<Option<TokenCount>, LimitError> {
        let limit = found.tokens;
        if limit.value == 0 {
            return Ok(None);
        }
        let scope = Scope::of(asked, model, limit.own);
        self.rates.check_tokens(&scope, limit.value)?;
        Ok(Some(TokenCount {
            rates: Arc::clone(&self.rates),
            scope,
        }))
    }

    /// Takes a slot where the call counts; a reload may move it while it waits.
    async fn slot(
        &self,
        asked: Asked<'_>,
        model: &ModelName,
        label: &ModelLabel,
        mut found: Found,
    ) -> Result<Permit, LimitError> {
        let began = Instant::now();
        let deadline = began + found.max_wait;
        loop {
            let scope = Scope::of(asked, model, found.concurrency.own);
            let gauges = self.metrics.slots(asked.account, label);
            if found.concurrency.own {
                self.show_common_limit(&scope, &gauges);
            }
            match Slots::acquire(&self.slots, (scope, asked.key), gauges, self, deadline).await {
                Ok(permit) => return Ok(permit),
                Err(NoSlot::Moved) => {
                    found = self.rules.load().of(asked.account, Some(asked.key), Some(model));
                }
                Err(NoSlot::Busy { limit, queue_full }) => {
                    return Err(LimitError::Concurrency {
                        limit,
                        waited: began.elapsed().min(found.max_wait),
                        queue_full,
                    });
                }
            }
        }
    }

    /// The series shows the account's limit, also if only a key with slots of its own calls.
    fn show_common_limit(&self, scope: &Scope, gauges: &SlotGauges) {
        let common = Scope {
            key: None,
            ..scope.clone()
        };
        if let Some(limit) = self.limit_of(&common) {
            gauges.set_limit(limit);
        }
    }

    /// The limits of a caller for models that no rule names.
    pub fn bounds(&self, account: &AccountId, key: &KeyName) -> Bounds {
        let rules = self.rules.load().of(account, Some(key), None);
        Bounds {
            concurrency: rules.concurrency.value,
            tokens_per_minute: rules.tokens.value,
        }
    }

    /// Forgets what no limit needs any more. To be called now and then, for memory's sake only.
    pub fn forget_idle(&self) {
        self.rates.forget_idle();
        self.slots.shrink();
    }
}

impl Allotment for Limits {
    fn limit_of(&self, scope: &Scope) -> Option<usize> {
        let rules = self.rules.load();
        let found = rules.of(&scope.account, scope.key.as_ref(), Some(&scope.model));
        let Bound { value, own } = found.concurrency;
        (own == scope.key.is_some()).then_some(value)
    }

    fn has(&self, scope: &Scope, key: &KeyName) -> bool {
        let found = self
            .rules
            .load()
            .of(&scope.account, Some(key), Some(&scope.model));
        found.concurrency.own == scope.key.is_some()
    }
}

/// What a call holds while it is in flight: it belongs into the body of the answer.
#[must_use = "dropping it gives the call's slot back"]
#[derive(Debug)]
pub struct Admitted {
    permit: Permit,
    tokens: Option<TokenCount>,
}

/// Where the tokens of a call are counted when they are known.
#[derive(Debug)]
pub struct TokenCount {
    rates: Arc<Rates>,
    scope: Scope,
}

impl TokenCount {
    /// Counts the tokens that the call has used, as its answer reports them.
    pub fn used(&self, tokens: u64) {
        self.rates.used_tokens(&self.scope, tokens);
    }
}

impl Admitted {
    /// The most calls at once, for this call's account and model.
    pub fn limit(&self) -> usize {
        self.permit.limit()
    }

    /// How many more there was room for when this one was let in.
    pub fn remaining(&self) -> usize {
        self.permit.remaining()
    }

    /// Counts the tokens that the call has used, as its answer reports them.
    pub fn used(&self, tokens: u64) {
        if let Some(count) = &self.tokens {
            count.used(tokens);
        }
    }

    /// Gives the slot back; the tokens may still be counted.
    pub fn into_count(self) -> Option<TokenCount> {
        self.tokens
    }
}

#[cfg(test)]
mod tests;
