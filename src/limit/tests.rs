//! The promises of the limits: exact counts, fair waiting, and nothing left behind.

use std::future::Future;
use std::task::Poll;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

struct Rig {
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
}

fn settings(concurrency: usize, max_wait: u64) -> config::Limits {
    config::Limits {
        concurrency_per_model: concurrency,
        max_wait: Duration::from_secs(max_wait),
        ..config::Limits::default()
    }
}

impl Rig {
    fn new(settings: &config::Limits) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let limits = Arc::new(Limits::new(settings, &metrics));
        Self { limits, metrics }
    }

    async fn admit(&self, account: &str, key: &str, model: &str) -> Result<Admitted, LimitError> {
        let account = AccountId::parse(account).unwrap();
        let key = KeyName::parse(key).unwrap();
        let model = ModelName::parse(model).unwrap();
        let asked = Asked {
            account: &account,
            key: &key,
            model: &model,
        };
        self.limits
            .admit(asked, &self.metrics.models().label(&model))
            .await
    }

    /// What comes of a call that does not wait.
    fn now(&self, account: &str, key: &str, model: &str) -> Result<Admitted, LimitError> {
        self.admit(account, key, model)
            .now_or_never()
            .expect("no waiting")
    }

    fn in_use(&self) -> f64 {
        let text = self.metrics.render().unwrap();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("tidegate_concurrency_in_use{"));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}

async fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.poll_unpin(cx).is_pending())).await
}

#[test]
fn the_slots_of_an_account_and_a_model_are_its_own() {
    let rig = Rig::new(&settings(2, 0));
    let first = rig.now("a", "k", "org/m").unwrap();
    assert_eq!((first.limit(), first.remaining()), (2, 1));
    let second = rig.now("a", "other", "org/m:v2").unwrap();
    assert_eq!(second.remaining(), 0);
    assert_eq!(
        rig.now("a", "k", "org/m").unwrap_err(),
        LimitError::Concurrency {
            limit: 2,
            waited: Duration::ZERO,
            queue_full: false
        }
    );
    let others = [
        rig.now("a", "k", "org/n").unwrap(),
        rig.now("b", "k", "org/m").unwrap(),
    ];
    assert_eq!(rig.in_use(), 4.0);
    drop(first);
    let third = rig.now("a", "k", "org/m").unwrap();
    drop((second, third, others));
    assert_eq!(rig.in_use(), 0.0);
    assert_eq!(rig.limits.slots.len(), 0);
}

#[test]
fn a_key_with_a_limit_of_its_own_counts_apart() {
    let mut settings = settings(1, 0);
    settings.overrides.push(config::LimitOverride {
        key: Some(KeyName::parse("batch").unwrap()),
        concurrency: Some(2),
        ..config::LimitOverride::default()
    });
    let rig = Rig::new(&settings);
    let batch = [
        rig.now("a", "batch", "m").unwrap(),
        rig.now("a", "batch", "m").unwrap(),
    ];
    assert!(rig.now("a", "batch", "m").is_err());
    let plain = rig.now("a", "k", "m").unwrap();
    assert!(rig.now("a", "k", "m").is_err());
    drop((batch, plain));
    assert_eq!(rig.limits.slots.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_in_turn_and_nobody_comes_before() {
    let rig = Rig::new(&settings(1, 60));
    let held = rig.now("a", "k", "m").unwrap();
    let mut first = Box::pin(rig.admit("a", "k", "m"));
    let mut second = Box::pin(rig.admit("a", "k", "m"));
    assert!(is_pending(&mut first).await && is_pending(&mut second).await);
    drop(held);
    let mut passer_by = Box::pin(rig.admit("a", "k", "m"));
    assert!(is_pending(&mut passer_by).await);
    assert!(is_pending(&mut second).await);
    let first = first.await.unwrap();
    assert!(is_pending(&mut second).await);
    drop(first);
    let second = second.await.unwrap();
    drop(second);
    drop(passer_by.await.unwrap());
    assert_eq!(rig.limits.slots.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_its_time_and_says_how_long_it_was() {
    let rig = Rig::new(&settings(1, 5));
    let held = rig.now("a", "k", "m").unwrap();
    let refused = rig.admit("a", "k", "m").await.unwrap_err();
    let waited = Duration::from_secs(5);
    assert!(matches!(refused, LimitError::Concurrency { limit: 1, waited: w, .. } if w == waited));
    drop(held);
    assert_eq!(rig.limits.slots.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_frees_the_place_and_a_slot_given_to_nobody_comes_back() {
    let rig = Rig::new(&settings(1, 60));
    let held = rig.now("a", "k", "m").unwrap();
    let mut left = Box::pin(rig.admit("a", "k", "m"));
    let mut served = Box::pin(rig.admit("a", "k", "m"));
    let mut last = Box::pin(rig.admit("a", "k", "m"));
    for waiting in [&mut left, &mut served, &mut last] {
        assert!(is_pending(waiting).await);
    }
    drop(left);
    drop(held);
    // `served` has its slot now, and leaves before it looks.
    drop(served);
    drop(last.await.unwrap());
    assert_eq!((rig.limits.slots.len(), rig.in_use()), (0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let rig = Rig::new(&settings(1, 60));
    let held = rig.now("a", "k", "m").unwrap();
    let mut queue: Vec<_> = (0..1024).map(|_| Box::pin(rig.admit("a", "k", "m"))).collect();
    for waiting in &mut queue {
        assert!(is_pending(waiting).await);
    }
    let refused = rig.now("a", "k", "m").unwrap_err();
    assert!(matches!(
        refused,
        LimitError::Concurrency { queue_full: true, .. }
    ));
    queue.pop();
    assert!(is_pending(&mut Box::pin(rig.admit("a", "k", "m"))).await);
    drop((queue, held));
    assert_eq!((rig.limits.slots.len(), rig.in_use()), (0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_changed_limit_holds_at_once_and_leaks_nothing() {
    let rig = Rig::new(&settings(3, 60));
    let mut held: Vec<_> = (0..3).map(|_| rig.now("a", "k", "m").unwrap()).collect();
    rig.limits.change(&settings(1, 60));
    let mut waiting = Box::pin(rig.admit("a", "k", "m"));
    for _ in 0..2 {
        assert!(is_pending(&mut waiting).await);
        held.pop();
    }
    assert!(is_pending(&mut waiting).await);
    rig.limits.change(&settings(2, 60));
    let admitted = waiting.await.unwrap();
    let mut further = Box::pin(rig.admit("a", "k", "m"));
    assert!(is_pending(&mut further).await);
    rig.limits.change(&settings(3, 60));
    drop((held, admitted, further.await.unwrap()));
    assert_eq!((rig.limits.slots.len(), rig.in_use()), (0, 0.0));
}

/// Rules by which the key `k` has slots of its own.
fn with_slots_of_a_key(mut settings: config::Limits, concurrency: usize) -> config::Limits {
    settings.overrides.push(config::LimitOverride {
        key: Some(KeyName::parse("k").unwrap()),
        concurrency: Some(concurrency),
        ..config::LimitOverride::default()
    });
    settings
}

#[tokio::test(start_paused = true)]
async fn who_waits_moves_with_the_rules_and_no_limit_is_passed_on_the_way() {
    let apart = with_slots_of_a_key(settings(3, 60), 2);
    let together = settings(3, 60);
    for (before, after, room) in [(&apart, &together, 3), (&together, &apart, 2)] {
        let rig = Rig::new(before);
        let mut held = Vec::new();
        while let Some(Ok(permit)) = rig.admit("a", "k", "m").now_or_never() {
            held.push(permit);
        }
        let mut waiting: Vec<_> = (0..10).map(|_| Box::pin(rig.admit("a", "k", "m"))).collect();
        for waiting in &mut waiting {
            assert!(is_pending(waiting).await);
        }
        rig.limits.change(after);
        let mut moved = Vec::new();
        for future in &mut waiting {
            moved.extend(future.as_mut().now_or_never());
        }
        assert_eq!(moved.len(), room, "as many as the new scope has room for");
        assert!(rig.admit("a", "k", "m").now_or_never().is_none());
        drop((held, moved, waiting));
        assert_eq!((rig.limits.slots.len(), rig.in_use()), (0, 0.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_limit_is_shown_at_once() {
    let rig = Rig::new(&settings(3, 0));
    rig.metrics.models().learn("config", ["m".into()]);
    let shown = || {
        let text = rig.metrics.render().unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("tidegate_concurrency_limit{"));
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    };
    let held = rig.now("a", "k", "m").unwrap();
    assert_eq!(shown(), "3");
    rig.limits.change(&settings(7, 0));
    assert_eq!(shown(), "7");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn attempts_count_for_requests_and_a_refusal_by_one_limit_leaves_no_trace_in_another() {
    let rig = Rig::new(&config::Limits {
        requests_per_minute: 3,
        tokens_per_minute: 100,
        ..settings(1, 0)
    });
    let first = rig.now("a", "k", "m").unwrap();
    assert!(matches!(
        rig.now("a", "k", "m").unwrap_err(),
        LimitError::Concurrency { .. }
    ));
    first.used(101);
    drop(first);
    let over = rig.now("a", "k", "m").unwrap_err();
    let minute = Duration::from_secs(60);
    assert_eq!(
        over,
        LimitError::Tokens {
            limit: 100,
            used: 101,
            wait: minute
        }
    );
    let refused = rig.now("a", "k", "m").unwrap_err();
    assert!(matches!(refused, LimitError::Requests { limit: 3, wait } if wait <= Duration::from_secs(20)));
    assert_eq!((rig.limits.slots.len(), rig.in_use()), (0, 0.0));
    // Another model has rates of its own.
    drop(rig.now("a", "k", "n").unwrap());
    tokio::time::advance(minute).await;
    drop(rig.now("a", "k", "m").unwrap());
}

#[tokio::test(start_paused = true)]
async fn rates_that_have_run_out_are_forgotten() {
    let rig = Rig::new(&config::Limits {
        requests_per_minute: 5,
        tokens_per_minute: 5,
        ..settings(200, 0)
    });
    for n in 0..1000 {
        let admitted = rig.now("a", "k", &format!("made-up/{n}")).unwrap();
        admitted.used(1);
    }
    assert_eq!(rig.limits.rates.len(), 2000);
    tokio::time::advance(Duration::from_secs(61)).await;
    rig.limits.forget_idle();
    assert_eq!(rig.limits.rates.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn names_that_one_account_makes_up_leave_other_accounts_alone_and_end_no_limit() {
    let mut settings = config::Limits {
        requests_per_minute: 2,
        ..settings(100_000, 0)
    };
    settings.overrides.push(config::LimitOverride {
        model: Some(crate::types::ModelPattern::parse("more/*").unwrap()),
        requests_per_minute: Some(3),
        ..config::LimitOverride::default()
    });
    let rig = Rig::new(&settings);
    for n in 0..20_000 {
        drop(rig.now("a", "k", &format!("made-up/{n}")));
    }
    let bounded = rig.limits.rates.len();
    assert!(bounded <= 10_001, "{bounded}");
    // What the account names further shares one count for each limit, however they take turns.
    let passed = (0..20).filter(|n| {
        let model = if n % 2 == 0 {
            format!("new/{n}")
        } else {
            format!("more/{n}")
        };
        rig.now("a", "k", &model).is_ok()
    });
    assert!(passed.count() <= 3);
    for model in ["x", "y", "z"] {
        for _ in 0..2 {
            drop(rig.now("b", "k", model).unwrap());
        }
        assert!(rig.now("b", "k", model).is_err());
    }
}

#[derive(Debug, Clone)]
enum Move {
    Ask,
    End(usize),
    Leave(usize),
    Change(usize),
    Poll,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => Just(Move::Ask),
        3 => any::<usize>().prop_map(Move::End),
        1 => any::<usize>().prop_map(Move::Leave),
        1 => (1_usize..6).prop_map(Move::Change),
        3 => Just(Move::Poll),
    ];
    prop::collection::vec(one, 1..200)
}

proptest! {
    #[test]
    fn whatever_happens_the_count_is_exact_and_ends_at_zero(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new(&settings(3, 1_000_000));
            let mut limit = 3;
            let mut held = Vec::new();
            let mut waiting: Vec<std::pin::Pin<Box<dyn Future<Output = _>>>> = Vec::new();
            for step in moves {
                match step {
                    Move::Ask => waiting.push(Box::pin(rig.admit("a", "k", "m"))),
                    Move::End(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                    Move::Leave(at) if !waiting.is_empty() => drop(waiting.remove(at % waiting.len())),
                    Move::Change(to) => {
                        limit = to;
                        rig.limits.change(&settings(limit, 1_000_000));
                    }
                    Move::End(_) | Move::Leave(_) | Move::Poll => {}
                }
                let before = held.len();
                let mut still = Vec::new();
                for mut future in std::mem::take(&mut waiting) {
                    match future.as_mut().now_or_never() {
                        Some(admitted) => held.push(admitted.unwrap()),
                        None => still.push(future),
                    }
                }
                waiting = still;
                prop_assert!(held.len() <= limit || held.len() <= before, "{} above {limit}", held.len());
                prop_assert!(waiting.is_empty() || held.len() >= limit, "a slot is free and somebody waits");
                prop_assert_eq!(rig.limits.slots.in_use(), held.len());
            }
            drop((held, waiting));
            prop_assert_eq!((rig.limits.slots.len(), rig.in_use()), (0, 0.0));
            Ok(())
        })?;
    }
}
