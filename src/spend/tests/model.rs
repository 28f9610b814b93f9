//! A ledger in memory that takes its time and fails now and then, and that watches who asks what of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{self, BoxFuture, FutureExt};
use tokio::sync::{Notify, oneshot};

use super::super::*;
use super::player::{Dice, pause};

/// As the writer's thread: work comes in a queue, is done in groups, and is answered afterwards.
#[derive(Debug)]
pub(super) struct Model {
    state: Mutex<State>,
    dice: Mutex<Dice>,
    work: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    queue: VecDeque<Piece>,
    pub(super) purses: HashMap<Purse, (Money, Balance)>,
    /// By call: how much, and out of which purses.
    pub(super) holds: HashMap<CallId, (Money, Vec<Purse>)>,
    /// What was ever held, by the id of the request.
    pub(super) held: HashMap<RequestId, Money>,
    /// What was charged, by the id of the request.
    pub(super) costs: HashMap<RequestId, Money>,
    /// Calls that were closed, whether anybody was told or not.
    ended: HashSet<CallId>,
    /// Calls that somebody was told the end of.
    told: HashSet<CallId>,
}

#[derive(Debug)]
enum Piece {
    Hold(HoldOrder, oneshot::Sender<Result<Held, HoldError>>),
    Close(Vec<Settlement>, oneshot::Sender<Result<Vec<Closed>, LedgerError>>),
}

/// What becomes of a piece of work.
enum Course {
    Done,
    Failed,
    /// It is done, and whoever asked is told that it failed.
    InDoubt,
}

impl Model {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            state: Mutex::default(),
            dice: Mutex::new(dice),
            work: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn below(&self, end: u64) -> u64 {
        self.dice.lock().unwrap().below(end)
    }

    /// Nothing is spent and held beyond a limit.
    pub(super) fn check(&self) {
        for (purse, (limit, balance)) in &self.state().purses {
            let used = balance.spent.saturating_add(balance.held);
            assert!(used <= *limit, "{purse:?} has {balance:?} of {limit}");
        }
    }

    /// Does the work, for ever.
    pub(super) async fn serve(self: Arc<Self>) {
        loop {
            let len = self.state().queue.len();
            if len == 0 {
                self.work.notified().await;
                continue;
            }
            if self.below(60) == 0 {
                // Longer than anybody waits for a hold.
                tokio::time::sleep(Duration::from_secs(4)).await;
            }
            pause(self.below(3)).await;
            let count = 1 + self.below(len.try_into().unwrap());
            let mut answers: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
            for _ in 0..count {
                let piece = self.state().queue.pop_front().unwrap();
                let course = match self.below(12) {
                    0 => Course::Failed,
                    1 => Course::InDoubt,
                    _ => Course::Done,
                };
                answers.push(self.state().work(piece, &course));
            }
            pause(self.below(3)).await;
            for answer in answers {
                answer();
            }
        }
    }

    async fn ask<T>(&self, piece: impl FnOnce(oneshot::Sender<T>) -> Piece) -> T {
        pause(self.below(2)).await;
        let (tell, told) = oneshot::channel();
        self.state().queue.push_back(piece(tell));
        self.work.notify_one();
        let answer = told.await.unwrap();
        pause(self.below(2)).await;
        answer
    }
}

impl State {
    /// Does a piece of work, and gives what is to be done after the commit.
    fn work(&mut self, piece: Piece, course: &Course) -> Box<dyn FnOnce() + Send> {
        let failed = || LedgerError::Unavailable {
            why: "as the test wants it".to_owned(),
        };
        let is_done = !matches!(course, Course::Failed);
        let is_told = matches!(course, Course::Done);
        match piece {
            Piece::Hold(order, caller) => {
                let done = if is_done {
                    self.hold(order)
                } else {
                    Err(failed().into())
                };
                let answer = if is_told { done } else { Err(failed().into()) };
                Box::new(move || drop(caller.send(answer)))
            }
            Piece::Close(settlements, caller) => {
                let closed = if is_done {
                    self.close(&settlements)
                } else {
                    Vec::new()
                };
                let calls = settlements.iter().map(|settlement| match settlement {
                    Settlement::Release(call) => *call,
                    Settlement::Charge(row) => row.entry.call,
                });
                for call in calls {
                    assert!(!self.told.contains(&call), "a call is closed once more");
                    if is_told {
                        self.told.insert(call);
                    }
                }
                let answer = if is_told { Ok(closed) } else { Err(failed()) };
                Box::new(move || drop(caller.send(answer)))
            }
        }
    }

    fn hold(&mut self, order: HoldOrder) -> Result<Held, HoldError> {
        let call = order.entry.call;
        assert!(!self.ended.contains(&call), "held after its end");
        let mut amount = order.wanted;
        for (purse, limit) in &order.purses {
            let (_, balance) = self
                .purses
                .entry(purse.clone())
                .or_insert((*limit, Balance::default()));
            let denial = Denial {
                purse: purse.clone(),
                limit: *limit,
                balance: *balance,
            };
            let unspent = limit.saturating_sub(balance.spent);
            let room = unspent.saturating_sub(balance.held);
            if unspent < order.least {
                return Err(HoldError::Spent(denial));
            }
            if room < order.least {
                return Err(HoldError::Held(denial));
            }
            amount = amount.min(room);
        }
        let purses: Vec<Purse> = order.purses.into_iter().map(|(purse, _)| purse).collect();
        for purse in &purses {
            let balance = &mut self.purses.get_mut(purse).unwrap().1;
            balance.held = balance.held.saturating_add(amount);
        }
        let again = self.holds.insert(call, (amount, purses));
        assert!(again.is_none(), "held twice");
        self.held.insert(order.entry.request_id, amount);
        let left = Money::ZERO;
        Ok(Held { amount, left })
    }

    fn close(&mut self, settlements: &[Settlement]) -> Vec<Closed> {
        let mut calls = HashSet::new();
        settlements
            .iter()
            .map(|settlement| {
                let (call, cost) = match settlement {
                    Settlement::Release(call) => (*call, Money::ZERO),
                    Settlement::Charge(row) => (row.entry.call, row.cost),
                };
                assert!(calls.insert(call), "a call is twice in a batch");
                let held = self.holds.remove(&call);
                let charged = if self.ended.insert(call) {
                    cost
                } else {
                    Money::ZERO
                };
                if let Settlement::Charge(row) = settlement {
                    self.costs.entry(row.entry.request_id.clone()).or_insert(cost);
                }
                for purse in held.iter().flat_map(|(_, purses)| purses) {
                    let balance = &mut self.purses.get_mut(purse).unwrap().1;
                    balance.held = balance.held.saturating_sub(held.as_ref().unwrap().0);
                    balance.spent = balance.spent.saturating_add(charged);
                }
                Closed {
                    held: held.map(|(amount, _)| amount),
                    charged,
                    overspent: Money::ZERO,
                }
            })
            .collect()
    }
}

impl Ledger for Model {
    fn hold(&self, order: HoldOrder) -> BoxFuture<'_, Result<Held, HoldError>> {
        self.ask(|caller| Piece::Hold(order, caller)).boxed()
    }

    fn close(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<Vec<Closed>, LedgerError>> {
        self.ask(|caller| Piece::Close(settlements, caller)).boxed()
    }

    fn recover(&self, _: CallId, _: Duration) -> BoxFuture<'_, Result<Vec<Recovered>, LedgerError>> {
        future::ready(Ok(Vec::new())).boxed()
    }

    fn balance(&self, _: Purse) -> BoxFuture<'_, Result<Balance, LedgerError>> {
        future::ready(Ok(Balance::default())).boxed()
    }

    fn report(&self, _: Report) -> BoxFuture<'_, Result<Vec<ReportRow>, LedgerError>> {
        future::ready(Ok(Vec::new())).boxed()
    }

    fn forget(&self, _: Duration) -> BoxFuture<'_, Result<u64, LedgerError>> {
        future::ready(Ok(0)).boxed()
    }
}
