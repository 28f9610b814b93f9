//! Who may have how many workers, so that nobody's backlog keeps others waiting.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::Lane;
use crate::types::AccountId;

/// One of so many workers is kept free from accounts that have the rest.
const RESERVE: usize = 8;

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

    /// The limits of a lane have no room just now.
    pub(super) fn rest(&self, lane: Lane) {
        self.inner().resting.insert(lane, Instant::now() + REST);
    }

    /// The lanes from which nothing is wanted now, the accounts that have enough, and when the first lane has rested.
    pub(super) fn busy(&self) -> (Arc<HashSet<Lane>>, Arc<HashSet<AccountId>>, Option<Instant>) {
        let mut inner = self.inner();
        let now = Instant::now();
        inner.resting.retain(|_, until| *until > now);
        let lanes = inner.resting.keys().cloned().collect();
        let full = inner.working.iter().filter(|(_, working)| **working >= self.most);
        let accounts = full.map(|(account, _)| account.clone()).collect();
        (
            Arc::new(lanes),
            Arc::new(accounts),
            inner.resting.values().min().copied(),
        )
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
        let mut taken: Vec<_> = (0..13).map(|_| shares.take(account.clone())).collect();
        assert!(shares.busy().1.is_empty());
        taken.push(shares.take(account.clone()));
        assert!(shares.busy().1.contains(&account));
        taken.clear();
        assert!(shares.busy().1.is_empty() && shares.inner().working.is_empty());

        shares.rest(Lane::of_model(&account, None));
        let (lanes, _, until) = shares.busy();
        assert!(lanes.len() == 1 && until.is_some());
        tokio::time::advance(REST).await;
        assert!(shares.busy().0.is_empty());
        assert_eq!(Shares::new(1).most, 1);
    }
}
