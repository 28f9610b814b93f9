//! Steps tasks by hand, from one point at which they wait to the next: which goes on, and which falls instead, is up to
//! chance.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Far longer than anything waits, on a clock that goes on when everybody sleeps.
const PATIENCE: Duration = Duration::from_secs(600);

/// Numbers that look like chance and are the same in every run.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(0x2545_f491_4f6c_dd1d ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// Other numbers than these.
    pub(super) fn fork(&mut self) -> Self {
        Self::new(self.below(u64::MAX))
    }
}

/// Lets others go on so many times.
pub(super) async fn pause(times: u64) {
    for _ in 0..times {
        let mut is_over = false;
        poll_fn(|context| {
            if std::mem::replace(&mut is_over, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// A task, and whether it has something to do.
struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    signal: Arc<Signal>,
    may_fall: bool,
}

struct Signal {
    is_awake: AtomicBool,
    all: Waker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_awake.store(true, Ordering::Relaxed);
        self.all.wake_by_ref();
    }
}

/// Who goes on is up to chance.
pub(super) struct Player {
    tasks: Vec<Option<Task>>,
    dice: Dice,
}

impl Player {
    pub(super) fn new(dice: Dice) -> Self {
        let tasks = Vec::new();
        Self { tasks, dice }
    }

    /// One more; `may_fall` says that it can be dropped at any point.
    pub(super) async fn add(&mut self, future: impl Future<Output = ()> + 'static, may_fall: bool) {
        let all = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        self.tasks.push(Some(Task {
            future: Box::pin(future),
            signal: Arc::new(Signal {
                is_awake: AtomicBool::new(true),
                all,
            }),
            may_fall,
        }));
    }

    /// Whether a task that may fall is still there.
    pub(super) fn has_callers(&self) -> bool {
        self.tasks.iter().flatten().any(|task| task.may_fall)
    }

    /// How many tasks are still there.
    pub(super) fn len(&self) -> usize {
        self.tasks.iter().flatten().count()
    }

    /// Lets tasks go on, one at a time, until `is_over`. Sleeps when all of them do; but not for ever.
    pub(super) async fn play(&mut self, mut is_over: impl FnMut(&Self) -> bool) {
        let playing = poll_fn(|context| {
            // A few at a time: then the runtime looks after its clock.
            for _ in 0..16 {
                if is_over(self) {
                    return Poll::Ready(());
                }
                if !self.step() {
                    return Poll::Pending;
                }
            }
            context.waker().wake_by_ref();
            Poll::Pending
        });
        let played = tokio::time::timeout(PATIENCE, playing).await;
        played.expect("something never comes back");
    }

    /// One of those that are meant.
    fn pick(&mut self, is_meant: fn(&Task) -> bool) -> Option<usize> {
        let is_there = |task: &Option<Task>| task.as_ref().is_some_and(is_meant);
        let count = self.tasks.iter().filter(|task| is_there(task)).count();
        if count == 0 {
            return None;
        }
        let chosen = usize::try_from(self.dice.below(u64::try_from(count).unwrap())).unwrap();
        let mut meant = self.tasks.iter().enumerate().filter(|(_, task)| is_there(task));
        meant.nth(chosen).map(|(place, _)| place)
    }

    /// False where nobody has anything to do.
    fn step(&mut self) -> bool {
        if self.dice.below(60) == 0
            && let Some(place) = self.pick(|task| task.may_fall)
        {
            self.tasks[place] = None;
            return true;
        }
        let awake = self.pick(|task| task.signal.is_awake.load(Ordering::Relaxed));
        let Some(place) = awake else {
            return false;
        };
        let task = self.tasks[place].as_mut().unwrap();
        task.signal.is_awake.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&task.signal));
        if task
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            self.tasks[place] = None;
        }
        true
    }
}
