//! The gate is killed, or hears of an error, at exactly one operation of its disk while it works on jobs.

use futures_util::stream::{self, StreamExt};

use super::*;
use crate::disk::Disk;
use crate::kept::Cut;
use crate::trap::Catch::{self, Fail, StopAfter, StopBefore};
use crate::trap::Op::{Make, Remove, Sync, Write};
use crate::trap::{Touch, Trap};
use crate::{rounds, spread};

/// The last operation under load that is caught.
const LAST: usize = 60;

/// How many jobs one client sends in a row under load.
const JOBS: usize = 40;

/// What became of a trap.
struct Struck {
    /// What it has caught; none where all was over before.
    caught: Option<Touch>,
    /// How many operations passed that were meant.
    passed: usize,
}

/// Sends jobs of these sizes one after the other to a gate on a fresh disk and kills it, with the power cut or not, at what
/// the trap catches; then asserts that the next gate does what was acknowledged.
async fn strike(sizes: &[Size], trap: Trap, is_cut: bool) -> Option<Struck> {
    let disk = Disk::mount()?;
    let (upstream, receiver) = (Upstream::start().await, Receiver::kind().await);
    let token = mint("1000");
    let mut gate = Gate::start(disk.path(), upstream.addr, SETTINGS);
    disk.set(trap);
    let (addr, hook, sizes, signed) = (gate.addr, receiver.addr, sizes.to_vec(), token.clone());
    let sending = tokio::spawn(async move {
        let mut ids = Vec::new();
        for size in sizes {
            let answer = post(addr, &signed, hook, size).await;
            ids.extend(
                answer
                    .filter(|answer| answer.status == 200)
                    .as_ref()
                    .map(acknowledged),
            );
        }
        ids
    });
    let caught = caught(&disk, &gate, || sending.is_finished()).await;
    let passed = disk.passed();
    let rest = (is_cut && caught.is_some()).then(|| disk.cut(Cut::Forget));
    if caught.is_some() {
        gate.kill_caught(&disk);
    } else {
        gate.kill();
        disk.thaw();
    }
    let ids = sending.await.unwrap();
    let folder = rest.as_ref().map_or(disk.path(), |rest| rest.path());
    let gate = Gate::start(folder, upstream.addr, SETTINGS);
    settle(gate, folder, &token, &receiver, &ids).await;
    Some(Struck { caught, passed })
}

/// Waits until something is caught, or no job is left to be done.
async fn caught(disk: &Disk, gate: &Gate, all_sent: impl Fn() -> bool) -> Option<Touch> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(touch) = disk.caught() {
            return Some(touch);
        }
        // A gate that stands still on its disk may not answer.
        let quiet = async {
            gate.jobs_end().await;
            // A file that is of no job any more goes after the job.
            sleep(Duration::from_millis(100)).await;
        };
        if all_sent() && timeout(Duration::from_secs(1), quiet).await.is_ok() {
            return disk.caught();
        }
        assert!(
            Instant::now() < deadline,
            "jobs do not end, and nothing is caught"
        );
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_operation_in_the_life_of_a_job_does_not_lose_it() {
    let count = Trap {
        meant: |_| true,
        nth: usize::MAX,
        catch: StopBefore,
    };
    let Some(Struck { passed, .. }) = strike(&[Size::Large], count, false).await else {
        return;
    };
    let places = spread(passed, 6).enumerate();
    let strikes = places.flat_map(|(place, nth)| ends(place).map(move |end| (nth, end)));
    let strikes: Vec<_> = strikes.collect();
    let all = strikes.len();
    let strikes = strikes.into_iter().map(|(nth, (catch, is_cut))| async move {
        let trap = Trap { nth, catch, ..count };
        let struck = strike(&[Size::Large], trap, is_cut).await.unwrap();
        println!("{nth} of {passed}: {catch:?} {:?}, cut: {is_cut}", struck.caught);
        usize::from(struck.caught.is_some())
    });
    let caught: usize = stream::iter(strikes)
        .buffer_unordered(2)
        .fold(0, async |sum, one| sum + one)
        .await;
    println!("{caught} crashes in the life of a large job: 0 lost");
    // Its last operations may be fewer in another life.
    assert!(caught * 2 > all, "{caught} of {all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_write_or_sync_with_jobs_at_work_loses_none() {
    let kinds: [fn(Touch) -> bool; 2] = [|touch| touch.op == Write, |touch| touch.op == Sync];
    let sizes: Vec<_> = (0..JOBS).map(size).collect();
    let strikes = kinds.into_iter().enumerate().flat_map(|(place, meant)| {
        spread(LAST, 2).flat_map(move |nth| {
            ends(nth / 30 + place).map(move |(catch, is_cut)| (Trap { meant, nth, catch }, is_cut))
        })
    });
    let sizes = &sizes;
    let strikes = strikes.map(|(trap, is_cut)| async move {
        let struck = strike(sizes, trap, is_cut).await;
        struck.map(|struck| struck.caught.expect("something is caught"))
    });
    let caught = stream::iter(strikes)
        .buffer_unordered(2)
        .filter_map(std::future::ready)
        .count()
        .await;
    println!("{caught} crashes with jobs at work: 0 lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_operation_that_fails_is_a_refusal_for_some_jobs_and_loses_none() {
    let kinds: [fn(Touch) -> bool; 4] = [
        |touch| touch.op == Write,
        |touch| touch.op == Sync,
        |touch| touch.op == Make,
        |touch| touch.op == Remove,
    ];
    let Some(disk) = Disk::mount() else { return };
    let (upstream, receiver) = (Upstream::start().await, Receiver::kind().await);
    let token = mint("1000");
    let gate = Gate::start(disk.path(), upstream.addr, SETTINGS);
    let (mut ids, mut refused) = (Vec::new(), 0);
    for (place, meant) in kinds.into_iter().enumerate() {
        // Few are made or removed.
        let last = if place < 2 { LAST } else { 4 };
        for nth in spread(last, if place < 2 { 6 } else { 1 }) {
            disk.set(Trap {
                meant,
                nth,
                catch: Fail,
            });
            let deadline = Instant::now() + PATIENCE;
            for number in 0.. {
                let answer = post(gate.addr, &token, receiver.addr, size(number))
                    .await
                    .expect("an answer");
                match taken_in(&answer) {
                    Some(id) => ids.push(id),
                    None => refused += 1,
                }
                if disk.caught().is_some() {
                    break;
                }
                assert!(Instant::now() < deadline, "nothing is caught");
            }
        }
    }
    gate.jobs_end().await;
    let taken = receiver.taken();
    assert!(ids.iter().all(|id| taken.contains_key(id)));
    println!("{} jobs acknowledged and {refused} refused: 0 lost", ids.len());
    // A file that could not be removed, or whose end was in doubt, goes with the next start.
    gate.terminate();
    gate.ended().await;
    let gate = Gate::start(disk.path(), upstream.addr, SETTINGS);
    settle(gate, disk.path(), &token, &receiver, &ids).await;
}

/// Every fourth job is a large one.
fn size(number: usize) -> Size {
    if number % 4 == 3 { Size::Large } else { Size::Small }
}

/// The sides of an operation on which a gate is killed, without and with the power cut: one of the four in a usual run.
fn ends(place: usize) -> impl Iterator<Item = (Catch, bool)> {
    let ends = [
        (StopBefore, false),
        (StopAfter, true),
        (StopBefore, true),
        (StopAfter, false),
    ];
    (0..rounds(1).min(4)).map(move |round| ends[(place + round) % 4])
}
