//! A gate that is killed at exactly one operation of its disk, with or without the power; and what must hold on what is
//! left.

use std::path::Path;

use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::PATIENCE;
use crate::books;
use crate::disk::Disk;
use crate::gate::{Gate, Starting, mint};
use crate::kept::Cut;
use crate::killed::{assert_charged, assert_has_rows};
use crate::load::{self, Call, Load};
use crate::trap::{Part, Touch, Trap};
use crate::upstream::Upstream;

/// How many call at once in [`Scene::Load`].
const CALLERS: usize = 6;

/// How far the log is grown beforehand: the gate puts it into the database at 1000 pages.
const LOG: usize = 850 * (4096 + 24);

/// What goes on when the trap is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// The gate starts in an empty folder.
    FirstStart,
    /// It starts where one was killed under load.
    Start,
    /// It has just been asked for one call.
    Hold,
    /// One answer is under way.
    Settlement,
    /// Some call without a pause, with a long log.
    Load,
    /// It has been told to stop.
    Stop,
}

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It stays: only the process is gone.
    Kill,
    /// It is gone.
    PowerCut,
}

/// What all these gates have in common.
pub struct Ground {
    /// A folder with a long log and no hold open.
    grown: Spent,
    /// A folder that a gate was killed in under load.
    left: Spent,
}

/// A folder, and what its books must show.
struct Spent {
    folder: Option<TempDir>,
    token: String,
    billed: i64,
    heard: Vec<Call>,
    holds: (usize, i64),
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    pub caught: Touch,
    /// How many holds were open, and how much they held.
    pub holds: (usize, i64),
    /// What is charged beyond what was billed.
    pub over: i64,
}

impl Ground {
    /// None where there is no disk for it.
    pub async fn new() -> Option<Self> {
        let upstream = Upstream::start().await;
        let grown = spend(&upstream, true).await?;
        let left = spend(&upstream, false).await?;
        Some(Self { grown, left })
    }

    /// Sets the trap in a scene, kills what is caught, and asserts what must hold after the next start. None where the
    /// scene is over before anything is caught.
    pub async fn strike(&self, scene: Scene, trap: Trap, end: End) -> Option<Found> {
        let disk = Disk::mount()?;
        let upstream = Upstream::start().await;
        let mut act = self.act(scene, trap, &disk, &upstream).await;
        let caught = act.caught(&disk).await?;
        let rest = (end == End::PowerCut).then(|| disk.cut(Cut::Forget));
        let heard = act.kill(&disk).await;
        let billed = upstream.billed().await;
        let folder = rest.as_ref().map_or(disk.path(), TempDir::path);
        let spent = match scene {
            Scene::Start => Spent {
                folder: None,
                token: self.left.token.clone(),
                billed: self.left.billed,
                heard: self.left.heard.clone(),
                holds: self.left.holds,
            },
            Scene::FirstStart => Spent {
                folder: None,
                token: mint("1000"),
                billed,
                heard,
                holds: (0, 0),
            },
            Scene::Hold | Scene::Settlement | Scene::Load | Scene::Stop => Spent {
                folder: None,
                token: act.token,
                billed,
                heard,
                holds: books::read(folder).holds,
            },
        };
        let over = check(folder, &spent, &upstream).await;
        Some(Found {
            caught,
            holds: spent.holds,
            over,
        })
    }

    /// How many operations there are in a scene that ends by itself.
    pub async fn count(&self, scene: Scene, meant: fn(Touch) -> bool) -> Option<usize> {
        let disk = Disk::mount()?;
        let catch = crate::trap::Catch::Fail;
        let nth = usize::MAX;
        let upstream = Upstream::start().await;
        let mut act = self
            .act(scene, Trap { meant, nth, catch }, &disk, &upstream)
            .await;
        assert!(act.caught(&disk).await.is_none());
        Some(disk.passed())
    }

    async fn act(&self, scene: Scene, trap: Trap, disk: &Disk, upstream: &Upstream) -> Act {
        match scene {
            Scene::FirstStart => {}
            Scene::Start => disk.fill(self.left.path()),
            _ => disk.fill(self.grown.path()),
        }
        let mut act = Act {
            scene,
            token: mint("1000"),
            starting: None,
            gate: None,
            load: None,
        };
        if matches!(scene, Scene::FirstStart | Scene::Start) {
            disk.set(trap);
            act.starting = Some(Starting::spawn(disk.path(), upstream.addr, ""));
            return act;
        }
        let gate = Gate::start(disk.path(), upstream.addr, "");
        let (addr, token) = (gate.addr, act.token.clone());
        if scene != Scene::Load {
            assert!(load::stream(addr, &token, 1).await.unwrap().went_well());
            gate.settled(&token).await;
        }
        if scene == Scene::Settlement {
            let call = tokio::spawn(async move { load::stream(addr, &token, 300).await });
            while !upstream.is_busy() {
                sleep(Duration::from_millis(1)).await;
            }
            disk.set(trap);
            act.load = Some(Calls::One(call));
        } else {
            disk.set(trap);
            match scene {
                Scene::Hold => {
                    let call = tokio::spawn(async move { load::stream(addr, &token, 1).await });
                    act.load = Some(Calls::One(call));
                }
                Scene::Load => {
                    let seed = trap.nth;
                    act.load = Some(Calls::Many(Load::start(addr, vec![token; CALLERS], 20, seed)));
                }
                _ => gate.terminate(),
            }
        }
        act.gate = Some(gate);
        act
    }
}

/// Starts anew where something was killed: everybody has paid, too much only what was held, and it serves. Returns
/// how much too much.
async fn check(folder: &Path, spent: &Spent, upstream: &Upstream) -> i64 {
    let gate = Gate::start(folder, upstream.addr, "");
    assert_eq!(gate.metric("tidegate_open_holds").await, 0.0);
    let balance = gate.balance(&spent.token).await;
    assert_charged(0, balance, spent.billed, spent.holds);
    let before = upstream.billed().await;
    let call = load::stream(gate.addr, &spent.token, 1).await;
    assert!(
        call.is_some_and(|call| call.went_well()),
        "it does not serve any more"
    );
    let more = upstream.billed().await - before;
    let after = gate.settled(&spent.token).await;
    assert_eq!(after.spent, balance.spent + more);
    gate.terminate();
    gate.ended().await;
    assert_has_rows(&books::read(folder), &spent.heard);
    balance.spent - spent.billed
}

enum Calls {
    One(tokio::task::JoinHandle<Option<Call>>),
    Many(Load),
}

/// A scene that is being played.
struct Act {
    scene: Scene,
    token: String,
    starting: Option<Starting>,
    gate: Option<Gate>,
    load: Option<Calls>,
}

impl Act {
    /// Waits until something is caught, or the scene is over.
    async fn caught(&mut self, disk: &Disk) -> Option<Touch> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(caught) = disk.caught() {
                return Some(caught);
            }
            let is_over = match (self.scene, &self.starting, &mut self.gate) {
                (Scene::Stop, _, Some(gate)) => gate.has_ended(),
                (_, Some(starting), _) => starting.is_listening(),
                _ => false,
            };
            if is_over {
                return disk.caught();
            }
            assert!(Instant::now() < deadline, "nothing is caught: {:?}", self.scene);
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Kills the gate, and gives the calls that went well.
    async fn kill(&mut self, disk: &Disk) -> Vec<Call> {
        if let Some(starting) = self.starting.take() {
            starting.kill_caught(disk);
        }
        if let Some(mut gate) = self.gate.take() {
            gate.kill_caught(disk);
        }
        let calls = match self.load.take() {
            Some(Calls::One(call)) => call.await.unwrap().into_iter().collect(),
            Some(Calls::Many(load)) => load.stop().await,
            None => Vec::new(),
        };
        calls.into_iter().filter(Call::went_well).collect()
    }
}

impl Spent {
    fn path(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }
}

/// Spends until the log is long; then all calls end first, or the power is cut under them.
async fn spend(upstream: &Upstream, in_order: bool) -> Option<Spent> {
    let disk = Disk::mount()?;
    let before = upstream.billed().await;
    let mut gate = Gate::start(disk.path(), upstream.addr, "");
    let token = mint("1000");
    let load = Load::start(gate.addr, vec![token.clone(); 2 * CALLERS], 20, 1);
    let deadline = Instant::now() + PATIENCE;
    while disk.len(Part::Log) < LOG {
        assert!(
            Instant::now() < deadline,
            "the log is {} long",
            disk.len(Part::Log)
        );
        sleep(Duration::from_millis(1)).await;
    }
    let (folder, calls);
    if in_order {
        calls = load.stop().await;
        gate.settled(&token).await;
        folder = disk.cut(Cut::Forget);
        gate.kill();
    } else {
        folder = disk.cut(Cut::Forget);
        gate.kill();
        calls = load.stop().await;
    }
    let holds = books::read(folder.path()).holds;
    assert_eq!(holds.0 == 0, in_order, "{holds:?}");
    Some(Spent {
        folder: Some(folder),
        token,
        billed: upstream.billed().await - before,
        heard: calls.into_iter().filter(Call::went_well).collect(),
        holds,
    })
}
