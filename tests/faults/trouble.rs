//! A disk in trouble under the live gate: callers with a limit are refused soon, the others go on, and afterwards the books
//! agree without a restart.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::PATIENCE;
use crate::books;
use crate::disk::Disk;
use crate::gate::{Gate, KEY, mint};
use crate::load::{Call, Load};
use crate::small::Small;
use crate::upstream::Upstream;

/// Callers with a limit come first.
const CAPPED: usize = 6;
const UNCAPPED: usize = 4;

pub struct Scene {
    pub upstream: Upstream,
    pub gate: Gate,
    pub token: String,
}

impl Scene {
    pub async fn new(folder: &std::path::Path) -> Self {
        let upstream = Upstream::start().await;
        let gate = Gate::start(folder, upstream.addr, "");
        let token = mint("1000");
        Self {
            upstream,
            gate,
            token,
        }
    }

    pub fn load(&self) -> Load {
        let mut credentials = vec![self.token.clone(); CAPPED];
        credentials.extend(vec![KEY.to_owned(); UNCAPPED]);
        Load::start(self.gate.addr, credentials, 20, 7)
    }

    /// One capped call after the other until one goes well; how long that took.
    pub async fn recovered(&self) -> Duration {
        let began = Instant::now();
        loop {
            let load = Load::start(self.gate.addr, vec![self.token.clone()], 20, 3);
            sleep(Duration::from_millis(1)).await;
            if load.stop().await.iter().any(Call::went_well) {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "no call goes well again");
        }
    }

    /// Everything that was billed is spent, once, and everything has its row.
    async fn agree(self, folder: &std::path::Path) {
        let balance = self.gate.settled(&self.token).await;
        let billed = self.upstream.billed().await;
        assert_eq!(self.gate.usage("token").await.1, balance.spent);
        let deadline = Instant::now() + PATIENCE;
        // Usage without money may wait for more of it.
        while self.gate.usage("key").await != (self.upstream.calls(), billed) {
            assert!(
                Instant::now() < deadline,
                "{:?} in the books, {} calls billed at {billed}",
                self.gate.usage("key").await,
                self.upstream.calls()
            );
            sleep(Duration::from_millis(20)).await;
        }
        self.gate.terminate();
        self.gate.ended().await;
        let books = books::read(folder);
        assert_eq!((books.holds, books.killed, books.spent), ((0, 0), 0, billed));
    }
}

/// Callers without a limit notice nothing; those with one are refused within `soon`, as far as they are.
pub fn assert_refused_in_time(calls: &[Call], soon: Duration) {
    for call in calls {
        let refused = call.code.as_deref() == Some("ledger_unavailable");
        if call.caller >= CAPPED {
            assert!(call.went_well(), "{call:?}");
        } else if refused {
            assert_eq!(call.status, Some(503));
            assert!(call.took < soon, "{call:?}");
        } else {
            assert!(call.went_well(), "{call:?}");
        }
    }
}

pub fn refused(calls: &[Call]) -> usize {
    calls.iter().filter(|call| call.status == Some(503)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_calls_with_a_limit_are_refused_and_with_room_again_the_books_agree() {
    let Some(disk) = Small::mount("2m") else {
        return;
    };
    let scene = Scene::new(disk.path()).await;
    scene.recovered().await;
    let errors_before = scene.gate.metric("tidegate_ledger_errors_total").await;
    disk.fill();
    let began = Instant::now();
    let load = scene.load();
    // The log has room of its own for a while.
    while scene.gate.metric("tidegate_ledger_errors_total").await < errors_before + 20.0 {
        assert!(began.elapsed() < PATIENCE, "the disk is never full");
        sleep(Duration::from_millis(20)).await;
    }
    let calls = load.stop().await;
    assert!(refused(&calls) > 0);
    assert_refused_in_time(&calls, Duration::from_secs(5));
    disk.clear();
    let took = scene.recovered().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    println!(
        "{} of {} calls were refused; well again after {took:?}",
        refused(&calls),
        calls.len()
    );
    scene.agree(disk.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_stalls_calls_with_a_limit_are_refused_and_afterwards_the_books_agree() {
    let Some(disk) = Disk::mount() else {
        return;
    };
    let scene = Scene::new(disk.path()).await;
    scene.recovered().await;
    disk.stall(Duration::from_secs(5));
    let load = scene.load();
    sleep(Duration::from_secs(6)).await;
    disk.stall(Duration::ZERO);
    let calls = load.stop().await;
    assert!(refused(&calls) >= CAPPED, "{} refused", refused(&calls));
    assert_refused_in_time(&calls, Duration::from_secs(4));
    let took = scene.recovered().await;
    println!(
        "{} of {} calls were refused; well again after {took:?}",
        refused(&calls),
        calls.len()
    );
    scene.agree(disk.path()).await;
}
