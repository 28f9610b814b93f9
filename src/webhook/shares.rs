//! Who may have how many workers, so that nobody's backlog keeps others waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::{Lane, Room};
use crate::types::AccountId;

/// One of so many workers is kept free from accounts that have the rest.
const RESERVE: usize = 8;

/// The most that is claimed of one lane at once, so that others come in between.
const MAX_OF_LANE: usize = 8;

/// How long a lane rests whose limits have no room: as often its jobs are looked at in vain.
const REST: Duration = Duration::from_millis(500);

/// The workers' time, and who has how much of it.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    most: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    working: HashMap<AccountId, usize>,
    resting: HashMap<Lane, Instant>,
}

/// One worker at work for an account.
#[must_use = "the worker is the account's as long as this is there"]
#[derive(Debug)]
pub(super) struct Share {
    shares: Shares,
    account: AccountId,
}

impl Shares {
    /// Of so many workers. One account may have all but an eighth.
    pub(super) fn new(workers: usize) -> Self {
        let reserve = workers.div_ceil(RESERVE);
        Self {
            most: workers.saturating_sub(reserve).max(1),
            inner: Arc::default(),
        }
    }

    /// A worker goes to work.
    pub(super) fn take(&self, account: AccountId) -> Share {
        let mut inner = self.inner();
        let working = inner.working.entry(account.clone()).or_default();
        *working = working.saturating_add(1);
        drop(inner);
        Share {
            shares: self.clone(),
            account,
        }
    }

    /// Whether an account has more than it may.
    pub(super) fn is_passed(&self, account: &AccountId) -> bool {
        let working = self.inner().working.get(account).copied();
        working.is_some_and(|working| working > self.most)
    }

    /// The limits of a lane have no room just now.
    pub(super) fn rest(&self, lane: Lane) {
        self.inner().resting.insert(lane, Instant::now() + REST);
    }

    /// How much may be claimed of which lane, and when the first one that rests has rested.
    pub(super) fn lanes(&self) -> (Room<Lane>, Option<Instant>) {
        let mut inner = self.inner();
        let now = Instant::now();
        inner.resting.retain(|_, until| *until > now);
        let room = Room {
            usual: MAX_OF_LANE,
            less: Arc::new(inner.resting.keys().map(|lane| (lane.clone(), 0)).collect()),
        };
        (room, inner.resting.values().min().copied())
    }

    /// How much may be claimed of which account.
    pub(super) fn accounts(&self) -> Room<AccountId> {
        let inner = self.inner();
        let left =
            |(account, working): (&AccountId, &usize)| (account.clone(), self.most.saturating_sub(*working));
        Room {
            usual: self.most,
            less: Arc::new(inner.working.iter().map(left).collect()),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut inner = self.shares.inner();
        if let Some(working) = inner.working.get_mut(&self.account) {
            *working = working.saturating_sub(1);
            if *working == 0 {
                inner.working.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_account_has_all_workers_but_an_eighth_and_a_lane_rests_for_a_while() {
        let shares = Shares::new(16);
        let account = AccountId::parse("di:1").unwrap();
        let taken: Vec<_> = (0..13).map(|_| shares.take(account.clone())).collect();
        assert_eq!(shares.accounts().of(&account), 1);
        let last = shares.take(account.clone());
        assert_eq!(shares.accounts().of(&account), 0);
        assert_eq!(shares.accounts().of(&AccountId::parse("di:2").unwrap()), 14);
        drop((taken, last));
        assert_eq!(shares.accounts().of(&account), 14);
        assert!(shares.inner().working.is_empty());

        let lane = Lane::of_model(&account, None);
        shares.rest(lane.clone());
        let (room, until) = shares.lanes();
        assert!(room.of(&lane) == 0 && until.is_some());
        tokio::time::advance(REST).await;
        assert_eq!(shares.lanes().0.of(&lane), MAX_OF_LANE);
        assert_eq!(Shares::new(1).most, 1);
    }
}
