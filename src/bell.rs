//! A waker that remembers that it was rung, for futures that are polled within others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Rings for one task, though not while the task attends to it: who is there anyway looks before it leaves.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    attended: AtomicBool,
    /// Stays after a ring: one that comes late must not take from the next one whom to wake.
    task: Mutex<Option<Waker>>,
}

impl Bell {
    /// A bell that is attended to and was rung, so that what rings it is looked at once.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            rung: AtomicBool::new(true),
            attended: AtomicBool::new(true),
            task: Mutex::default(),
        })
    }

    /// Nobody needs to be woken until [`Bell::leave`].
    pub fn attend(&self) {
        self.attended.store(true, Ordering::SeqCst);
    }

    /// Whether it was rung since this was last asked.
    pub fn was_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::SeqCst)
    }

    /// Rings wake `task` until it attends again; one that came meanwhile does so at once.
    pub fn leave(&self, task: &Waker) {
        let mut known = self.task();
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
        drop(known);
        self.attended.store(false, Ordering::SeqCst);
        // In this order: a ring that found the task attending is seen here, a later one finds it gone.
        if self.rung.load(Ordering::SeqCst) {
            task.wake_by_ref();
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if self.attended.load(Ordering::SeqCst) {
            return;
        }
        if let Some(task) = &*self.task() {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_a_task_that_has_left_is_woken() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let task = Waker::from(Arc::clone(&count));
        let bell = Bell::new();
        let ringer = Waker::from(Arc::clone(&bell));
        assert!(bell.was_rung(), "at first");
        assert!(!bell.was_rung());
        bell.leave(&task);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        ringer.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        bell.attend();
        assert!(bell.was_rung());
        ringer.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "it is there");
        bell.leave(&task);
        assert_eq!(count.0.load(Ordering::SeqCst), 2, "it left without a look");
    }

    /// A ring that was seen before it had woken anybody, and another one after it.
    #[test]
    fn a_late_ring_takes_nothing_from_the_next() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let bell = Bell::new();
        bell.was_rung();
        bell.leave(&Waker::from(Arc::clone(&count)));
        bell.rung.store(true, Ordering::SeqCst);
        assert!(bell.was_rung());
        let late = bell.task().clone();
        late.unwrap().wake();
        Waker::from(Arc::clone(&bell)).wake();
        Waker::from(bell).wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 3);
    }

    /// Another thread counts up and rings; the task must see each count before the next one is made.
    #[tokio::test]
    async fn no_ring_from_another_thread_is_lost() {
        const RINGS: usize = 20_000;
        let (bell, made, seen) = (
            Bell::new(),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (ringer, makes, sees) = (
            Waker::from(Arc::clone(&bell)),
            Arc::clone(&made),
            Arc::clone(&seen),
        );
        let thread = std::thread::spawn(move || {
            for ring in 1..=RINGS {
                makes.store(ring, Ordering::SeqCst);
                ringer.wake_by_ref();
                while sees.load(Ordering::SeqCst) < ring {
                    std::hint::spin_loop();
                    std::thread::yield_now();
                }
            }
        });
        let all = poll_fn(|cx| {
            bell.attend();
            if bell.was_rung() {
                seen.store(made.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            if seen.load(Ordering::SeqCst) == RINGS {
                return Poll::Ready(());
            }
            bell.leave(cx.waker());
            Poll::Pending
        });
        tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
        thread.join().unwrap();
    }
}
