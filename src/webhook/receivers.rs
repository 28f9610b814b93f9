//! How receivers are doing: how many deliveries each has at once, and which are left alone for a while.
//!
//! A receiver that fails five times in a row is left alone, for 5 s and then ever longer, up to 5 min; after each of these
//! times one delivery tries whether it is back. So one that is slow or dead takes few workers from the others, and
//! jobs that would fail only wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::queue::{Lane, Room};

/// The most deliveries to one receiver at once.
const MAX_AT_ONCE: usize = 8;

/// The failures in a row after which a receiver is left alone.
const MAX_FAILURES: u32 = 5;

/// For how long at first, and at most; it doubles in between.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(5 * 60);

/// The most receivers that are remembered: more than there can be deliveries at once, so that one can always be forgotten.
const MAX_KNOWN: usize = 10_000;

/// How receivers are doing, each a [`Lane`].
#[derive(Debug, Default)]
pub struct Receivers {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Lane, Known>,
    /// What was found last, while it holds.
    rooms: Option<Rooms>,
}

/// One receiver.
#[derive(Debug, Default)]
struct Known {
    at_once: usize,
    /// In a row.
    failures: u32,
    /// Until when it is left alone; after that it is tried with one delivery.
    resting: Option<Instant>,
    /// For how long it was left alone last.
    rest: Duration,
}

impl Known {
    fn room(&self, now: Instant) -> usize {
        match self.resting {
            Some(until) if now < until => 0,
            Some(_) => 1_usize.saturating_sub(self.at_once),
            None => MAX_AT_ONCE.saturating_sub(self.at_once),
        }
    }

    fn is_forgettable(&self) -> bool {
        self.at_once == 0 && self.failures == 0 && self.resting.is_none()
    }

    fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        // What was under way when it came to rest says nothing new.
        let rests = self.resting.is_some_and(|until| now < until);
        if self.failures >= MAX_FAILURES && !rests {
            self.rest = self.rest.saturating_mul(2).clamp(FIRST_REST, LONGEST_REST);
            self.resting = Some(now + self.rest);
        }
    }
}

/// Where less than usual should be claimed now.
#[derive(Debug, Clone)]
struct Rooms {
    lanes: Room<Lane>,
    /// When the first that is left alone has rested.
    until: Option<Instant>,
}

impl Receivers {
    /// Takes a place for a delivery, unless the receiver has as many as it may or is left alone.
    pub fn enter(self: &Arc<Self>, lane: &Lane) -> Option<Place> {
        let mut state = self.lock();
        let now = Instant::now();
        if !state.known.contains_key(lane) {
            state.make_room();
        }
        let known = state.known.entry(lane.clone()).or_default();
        if known.room(now) == 0 {
            return None;
        }
        known.at_once += 1;
        state.rooms = None;
        Some(Place {
            receivers: Arc::clone(self),
            lane: lane.clone(),
            was_well: None,
        })
    }

    /// For how many deliveries there is room at each receiver now, and when the first of those that are left alone has rested.
    /// When one that had no room has some again, [`Self::freed`] says so.
    pub fn rooms(&self) -> (Room<Lane>, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.lock();
        let known = state.rooms.take();
        let holds = known.filter(|rooms| rooms.until.is_none_or(|until| now < until));
        let rooms = holds.unwrap_or_else(|| state.find_rooms(now));
        state.rooms = Some(rooms.clone());
        (rooms.lanes, rooms.until)
    }

    /// Waits until a place has become free at a receiver that had no room. One that became free while nobody waited counts.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    fn leave(&self, lane: &Lane, was_well: Option<bool>) {
        let mut state = self.lock();
        let now = Instant::now();
        let Some(known) = state.known.get_mut(lane) else {
            return;
        };
        let had_room = known.room(now) > 0;
        known.at_once = known.at_once.saturating_sub(1);
        match was_well {
            Some(true) => {
                known.failures = 0;
                known.resting = None;
                known.rest = Duration::ZERO;
            }
            Some(false) => known.failed(now),
            None => {}
        }
        let freed = !had_room && known.room(now) > 0;
        if known.is_forgettable() {
            state.known.remove(lane);
        }
        state.rooms = None;
        drop(state);
        if freed {
            self.freed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the receiver that has rested for longest, if there are too many.
    fn make_room(&mut self) {
        if self.known.len() < MAX_KNOWN {
            return;
        }
        let idle = self.known.iter().filter(|(_, known)| known.at_once == 0);
        let oldest = idle.min_by_key(|(_, known)| known.resting);
        if let Some(lane) = oldest.map(|(lane, _)| lane.clone()) {
            self.known.remove(&lane);
            self.rooms = None;
        }
    }

    fn find_rooms(&self, now: Instant) -> Rooms {
        let rooms = self.known.iter().map(|(lane, known)| (lane, known.room(now)));
        let less = rooms.filter(|(_, room)| *room < MAX_AT_ONCE);
        let resting = self.known.values().filter_map(|known| known.resting);
        Rooms {
            lanes: Room {
                usual: MAX_AT_ONCE,
                less: Arc::new(less.map(|(lane, room)| (lane.clone(), room)).collect()),
            },
            until: resting.filter(|until| now < *until).min(),
        }
    }
}

/// A delivery's place at its receiver, which falls with it.
#[must_use = "the place is free when this falls"]
#[derive(Debug)]
pub struct Place {
    receivers: Arc<Receivers>,
    lane: Lane,
    was_well: Option<bool>,
}

impl Place {
    /// The delivery ended, and the receiver was well or not. A place that only falls says nothing of its receiver.
    pub fn report(mut self, was_well: bool) {
        self.was_well = Some(was_well);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.receivers.leave(&self.lane, self.was_well);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    fn lane(text: &str) -> Lane {
        Lane::from_stored(text)
    }

    fn room(receivers: &Receivers, lane: &Lane) -> usize {
        receivers.rooms().0.of(lane)
    }

    fn fail(receivers: &Arc<Receivers>, lane: &Lane, times: u32) {
        for _ in 0..times {
            receivers.enter(lane).unwrap().report(false);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_has_eight_deliveries_at_once_and_others_theirs() {
        let receivers = Arc::new(Receivers::default());
        let (a, b) = (lane("a"), lane("b"));
        let mut places: Vec<Place> = (0..8).map(|_| receivers.enter(&a).unwrap()).collect();
        assert!(receivers.enter(&a).is_none());
        assert_eq!((room(&receivers, &a), room(&receivers, &b)), (0, 8));
        assert_eq!(receivers.rooms().1, None);
        assert!(receivers.enter(&b).is_some());

        let second = Duration::from_secs(1);
        assert!(timeout(second, receivers.freed()).await.is_err());
        places.pop();
        timeout(second, receivers.freed()).await.unwrap();
        assert_eq!(room(&receivers, &a), 1);
        drop(places);
        assert!(
            receivers.lock().known.is_empty(),
            "what says nothing is forgotten"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_is_left_alone_ever_longer_and_tried_once_each_time() {
        let receivers = Arc::new(Receivers::default());
        let a = lane("a");
        fail(&receivers, &a, 4);
        assert_eq!(room(&receivers, &a), 8);
        fail(&receivers, &a, 1);
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            let (rooms, until) = receivers.rooms();
            assert!(rooms.of(&a) == 0 && receivers.enter(&a).is_none());
            let rest = Duration::from_secs(seconds);
            assert_eq!(until, Some(Instant::now() + rest));
            advance(rest).await;
            let (rooms, until) = receivers.rooms();
            assert!(rooms.of(&a) == 1 && until.is_none());
            let probe = receivers.enter(&a).unwrap();
            assert!(receivers.enter(&a).is_none() && room(&receivers, &a) == 0);
            probe.report(false);
        }
        advance(LONGEST_REST).await;
        receivers.enter(&a).unwrap().report(true);
        timeout(Duration::from_secs(1), receivers.freed()).await.unwrap();
        assert_eq!(room(&receivers, &a), MAX_AT_ONCE);
        assert!(receivers.lock().known.is_empty());
        fail(&receivers, &a, 5);
        let until = receivers.rooms().1;
        assert_eq!(until, Some(Instant::now() + FIRST_REST), "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_in_a_row_count_and_those_under_way_count_once() {
        let receivers = Arc::new(Receivers::default());
        let a = lane("a");
        for _ in 0..3 {
            fail(&receivers, &a, 4);
            receivers.enter(&a).unwrap().report(true);
        }
        assert_eq!(room(&receivers, &a), 8);
        let places: Vec<Place> = (0..8).map(|_| receivers.enter(&a).unwrap()).collect();
        places.into_iter().for_each(|place| place.report(false));
        assert_eq!(receivers.rooms().1, Some(Instant::now() + FIRST_REST));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_only_falls_makes_room_for_the_next() {
        let receivers = Arc::new(Receivers::default());
        let a = lane("a");
        fail(&receivers, &a, 5);
        advance(FIRST_REST).await;
        drop(receivers.enter(&a).unwrap());
        assert_eq!(room(&receivers, &a), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_receivers_are_remembered_than_there_is_room_for() {
        let receivers = Arc::new(Receivers::default());
        let held = receivers.enter(&lane("held")).unwrap();
        for n in 0..MAX_KNOWN + 10 {
            fail(&receivers, &lane(&n.to_string()), 1);
        }
        assert_eq!(receivers.lock().known.len(), MAX_KNOWN);
        assert!(receivers.lock().known.contains_key(&lane("held")));
        held.report(true);
    }
}
