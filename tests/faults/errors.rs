//! One I/O error at exactly the Nth write, and at exactly the Nth sync: what it hits is refused, the rest goes on, and
//! without a restart every call is charged once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::books;
use crate::disk::Disk;
use crate::kept::Cut;
use crate::trap::{Catch, Op, Part, Touch, Trap};
use crate::trouble::{Scene, assert_refused_in_time, refused};
use crate::{PATIENCE, spread};

/// The last operation that fails.
const LAST: usize = 60;

/// How long what is hit may be in coming back.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_write_that_fails_is_a_refusal_for_some_and_afterwards_every_call_is_charged_once() {
    fail_each(|touch| touch.op == Op::Write, LAST, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sync_that_fails_is_a_refusal_for_some_and_afterwards_every_call_is_charged_once() {
    fail_each(|touch| touch.op == Op::Sync, LAST, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_while_the_log_goes_into_the_database_is_of_no_call() {
    let refused = fail_each(|touch| touch.is(Op::Write, Part::Database), 20, 4).await;
    let refused = refused + fail_each(|touch| touch.is(Op::Sync, Part::Database), 3, 1).await;
    assert_eq!(refused, 0);
}

/// Lets the Nth operation under a load fail, for one N after the other, in the same process. Returns how many calls
/// were refused.
async fn fail_each(meant: fn(Touch) -> bool, last: usize, usual: usize) -> usize {
    let Some(disk) = Disk::mount() else {
        return 0;
    };
    let scene = Scene::new(disk.path()).await;
    scene.recovered().await;
    let (mut caught, mut all, mut in_vain) = (BTreeMap::new(), 0, 0);
    for nth in spread(last, usual) {
        let load = scene.load();
        let catch = Catch::Fail;
        disk.set(Trap { meant, nth, catch });
        let touch = disk.caught_in_time().await;
        sleep(Duration::from_millis(20)).await;
        let calls = load.stop().await;
        assert_refused_in_time(&calls, SOON);
        let took = scene.recovered().await;
        assert!(took < SOON, "N = {nth}: {took:?}");
        let balance = scene.gate.settled(&scene.token).await;
        scene.upstream.billed().await;
        assert_eq!(scene.gate.usage("token").await.1, balance.spent, "N = {nth}");
        *caught.entry(touch).or_insert(0) += 1;
        all += calls.len();
        in_vain += refused(&calls);
    }
    for (touch, count) in caught {
        println!("{count} x {touch}");
    }
    println!("{in_vain} of {all} calls were refused");
    // What failed may never have reached the disk, whatever readers see.
    let deadline = Instant::now() + PATIENCE;
    let billed = scene.upstream.billed().await;
    while scene.gate.usage("key").await != (scene.upstream.calls(), billed) {
        assert!(
            Instant::now() < deadline,
            "{:?}, {billed} billed",
            scene.gate.usage("key").await
        );
        sleep(Duration::from_millis(20)).await;
    }
    let rest = disk.cut(Cut::Forget);
    let books = books::read(rest.path());
    assert_eq!((books.holds, books.killed, books.spent), ((0, 0), 0, billed));
    in_vain
}
