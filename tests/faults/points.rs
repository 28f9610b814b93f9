//! The points at which a crash would hurt most, by their names; and the first operations of all scenes, whatever they
//! are. At each of them the gate is killed, and killed with the power cut.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};

use crate::struck::End::{self, Kill, PowerCut};
use crate::struck::Scene::{self, FirstStart, Hold, Load, Settlement, Start, Stop};
use crate::struck::{Found, Ground};
use crate::trap::Catch::{self, StopAfter, StopBefore};
use crate::trap::Op::{Make, Remove, Resize, Sync, Write};
use crate::trap::Part::{Database, Journal, Lock, Log, Shared};
use crate::trap::{Touch, Trap};
use crate::{rounds, spread};

/// The last operation under load at which the gate is killed.
const LAST: usize = 60;

/// Its name, the scene, what is caught, which of those, and on which side of it the gate is killed.
type Point = (&'static str, Scene, fn(Touch) -> bool, usize, Catch);

#[rustfmt::skip]
const POINTS: &[Point] = &[
    ("first start: before the lock is made",
        FirstStart, |touch| touch.is(Make, Lock), 1, StopBefore),
    ("first start: after the database is made, before its folder is synced",
        FirstStart, |touch| touch.is(Make, Database), 1, StopAfter),
    ("first start: before the database is marked as ours",
        FirstStart, |touch| touch.is(Write, Database), 1, StopBefore),
    ("first start: before the journal goes",
        FirstStart, |touch| touch.is(Remove, Journal), 1, StopBefore),
    ("first start: after the log is made",
        FirstStart, |touch| touch.is(Make, Log), 1, StopAfter),
    ("first start: before the log's shared index grows",
        FirstStart, |touch| touch.is(Write, Shared), 1, StopBefore),
    ("first start: before the first sync of the log",
        FirstStart, |touch| touch.is(Sync, Log), 1, StopBefore),
    ("first start: before the tables are synced",
        FirstStart, |touch| touch.is(Sync, Log), 2, StopBefore),
    ("recovery: before the shared index is begun anew",
        Start, |touch| touch.is(Resize, Shared), 1, StopBefore),
    ("recovery: while the shared index grows",
        Start, |touch| touch.is(Write, Shared), 4, StopAfter),
    ("recovery: before the write of what was open",
        Start, |touch| touch.is(Write, Log), 1, StopBefore),
    ("recovery: in the middle of that write",
        Start, |touch| touch.is(Write, Log), 8, StopAfter),
    ("recovery: before its sync",
        Start, |touch| touch.is(Sync, Log), 1, StopBefore),
    ("recovery: after its sync, before the gate listens",
        Start, |touch| touch.is(Sync, Log), 1, StopAfter),
    ("hold: before its write",
        Hold, |touch| touch.is(Write, Log), 1, StopBefore),
    ("hold: in the middle of its write",
        Hold, |touch| touch.is(Write, Log), 3, StopAfter),
    ("hold: after its write, before its sync",
        Hold, |touch| touch.is(Sync, Log), 1, StopBefore),
    ("hold: after its sync, before its answer",
        Hold, |touch| touch.is(Sync, Log), 1, StopAfter),
    ("settlement: before its write",
        Settlement, |touch| touch.is(Write, Log), 1, StopBefore),
    ("settlement: in the middle of its write",
        Settlement, |touch| touch.is(Write, Log), 3, StopAfter),
    ("settlement: after its write, before its sync",
        Settlement, |touch| touch.is(Sync, Log), 1, StopBefore),
    ("settlement: after its sync, before its answer",
        Settlement, |touch| touch.is(Sync, Log), 1, StopAfter),
    ("batch: after the sync of a tenth batch, before its answers",
        Load, |touch| touch.is(Sync, Log), 10, StopAfter),
    ("checkpoint: before its first write",
        Load, |touch| touch.is(Write, Database), 1, StopBefore),
    ("checkpoint: in the middle of its writes",
        Load, |touch| touch.is(Write, Database), 8, StopAfter),
    ("checkpoint: after its writes, before their sync",
        Load, |touch| touch.is(Sync, Database), 1, StopBefore),
    ("checkpoint: after their sync",
        Load, |touch| touch.is(Sync, Database), 1, StopAfter),
    ("checkpoint: before the log begins anew",
        Load, |touch| touch.is(Write, Log) && touch.at_begin, 1, StopBefore),
    ("checkpoint: after the log has begun anew, before its sync",
        Load, |touch| touch.is(Write, Log) && touch.at_begin, 1, StopAfter),
    ("stop: in the middle of the last checkpoint",
        Stop, |touch| touch.is(Write, Database), 4, StopAfter),
    ("stop: after the last checkpoint, before its sync",
        Stop, |touch| touch.is(Sync, Database), 1, StopBefore),
    ("stop: before the log is removed",
        Stop, |touch| touch.is(Remove, Log), 1, StopBefore),
    ("stop: after the log is removed",
        Stop, |touch| touch.is(Remove, Log), 1, StopAfter),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn at_every_point_with_a_name_a_crash_loses_no_money_and_leaves_no_hold_open() {
    let Some(ground) = Ground::new().await else {
        return;
    };
    let strikes = POINTS.iter().enumerate().flat_map(|(place, point)| {
        let (name, scene, meant, nth, catch) = *point;
        ends(place / 2).map(move |end| (name, scene, Trap { meant, nth, catch }, end))
    });
    let ground = &ground;
    let strikes = strikes.map(|(name, scene, trap, end)| async move {
        let found = ground.strike(scene, trap, end).await;
        let found = found.unwrap_or_else(|| panic!("{name}: the scene is over before"));
        let (holds, over) = (found.holds.0, found.over);
        println!("{name}, {end:?}: {holds} holds were open, {over} charged too much");
    });
    stream::iter(strikes).buffer_unordered(2).count().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_operation_of_a_start_or_a_stop_loses_no_money_and_leaves_no_hold_open() {
    let Some(ground) = Ground::new().await else {
        return;
    };
    let mut strikes = Vec::new();
    for scene in [FirstStart, Start, Stop] {
        let last = ground.count(scene, |_| true).await.unwrap();
        for nth in spread(last, 3) {
            for (place, catch) in [StopBefore, StopAfter].into_iter().enumerate().take(rounds(1)) {
                let meant = |_: Touch| true;
                strikes.extend(ends(nth + place).map(|end| (scene, Trap { meant, nth, catch }, end)));
            }
        }
    }
    strike_all(&ground, strikes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_write_or_sync_under_load_loses_no_money_and_leaves_no_hold_open() {
    let Some(ground) = Ground::new().await else {
        return;
    };
    let mut strikes = Vec::new();
    let kinds: [fn(Touch) -> bool; 2] = [|touch| touch.op == Write, |touch| touch.op == Sync];
    for (place, meant) in kinds.into_iter().enumerate() {
        for catch in [StopBefore, StopAfter] {
            for nth in spread(LAST, 2) {
                let all = ends(nth / 30 + place);
                strikes.extend(all.map(|end| (Load, Trap { meant, nth, catch }, end)));
            }
        }
    }
    strike_all(&ground, strikes).await;
}

async fn strike_all(ground: &Ground, strikes: Vec<(Scene, Trap, End)>) {
    let strikes = strikes
        .into_iter()
        .map(|(scene, trap, end)| ground.strike(scene, trap, end));
    let mut found = stream::iter(strikes).buffer_unordered(2);
    let mut tally = Tally::default();
    while let Some(found) = found.next().await {
        tally.add(found);
    }
    tally.tell();
}

/// One end each in a usual run, and both where more is asked for.
fn ends(place: usize) -> impl Iterator<Item = End> {
    let ends = [Kill, PowerCut];
    (0..rounds(1).min(2)).map(move |round| ends[(place + round) % 2])
}

/// What many crashes have come to.
#[derive(Default)]
struct Tally {
    caught: BTreeMap<Touch, usize>,
    over_before: usize,
    holds: usize,
    held: i64,
    over: i64,
}

impl Tally {
    fn add(&mut self, found: Option<Found>) {
        let Some(found) = found else {
            self.over_before += 1;
            return;
        };
        *self.caught.entry(found.caught).or_default() += 1;
        self.holds += found.holds.0;
        self.held += found.holds.1;
        self.over += found.over;
    }

    fn tell(self) {
        for (touch, count) in &self.caught {
            println!("{count} x {touch}");
        }
        println!(
            "{} crashes with {} holds open of {} in all: {} charged too much; {} scenes were over before",
            self.caught.values().sum::<usize>(),
            self.holds,
            self.held,
            self.over,
            self.over_before
        );
        assert!(
            self.over_before < 5,
            "{} scenes were over before",
            self.over_before
        );
    }
}
