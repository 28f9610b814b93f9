//! Money and jobs change together.

use tidegate::queue::{Death, Denied, PutError};
use tidegate::spend::{
    Balance, Entry, Held, HoldError, HoldOrder, Ledger, Metered, Purse, Settlement, Share, Span, UsageRow,
    WAITING,
};
use tidegate::types::{Money, Usage};

use super::*;

fn nanos(nanos: i64) -> Money {
    Money::from_nanos(nanos).unwrap()
}

fn purse() -> Purse {
    Purse {
        account: account("di:1"),
        share: Share::Account(Span::Total),
    }
}

fn entry(job: &NewJob) -> Entry {
    Entry {
        call: job.call,
        at: job.at,
        account: job.account.clone(),
        key: job.key.clone(),
        token: None,
        model: job.model.clone(),
        route: "chat_completions",
        request_id: job.id.request_id(),
    }
}

/// A job for which `amount` is held of `limit`.
fn paid(job: NewJob, amount: i64, limit: i64) -> PutJob {
    let order = HoldOrder {
        owner: WAITING,
        entry: entry(&job),
        purses: vec![(purse(), nanos(limit))],
        wanted: nanos(amount),
        least: nanos(amount),
    };
    PutJob {
        job,
        order: Some(order),
    }
}

fn charge(entry: Entry, cost: i64) -> Settlement {
    Settlement::Charge(Arc::new(UsageRow {
        entry,
        usage: Usage::default(),
        cost: nanos(cost),
        metered: Metered::Reported,
        status: 200,
        outcome: "completed",
        took: SECOND,
        may_hold: true,
    }))
}

/// What is spent and held.
async fn balance(queue: &Sqlite) -> (i64, i64) {
    let Balance { spent, held } = queue.balance(purse()).await.unwrap();
    (spent.as_nanos(), held.as_nanos())
}

#[tokio::test]
async fn a_job_and_its_hold_are_kept_both_or_neither() {
    let home = Home::new();
    let queue = home.open();
    let held = queue.put(paid(job(), 60, 100)).await.unwrap().held;
    let amount = nanos(60);
    let left = nanos(40);
    assert_eq!(held, Some(Held { amount, left }));
    let refused = queue.put(paid(job(), 60, 100)).await.unwrap_err();
    assert!(matches!(refused, PutError::Hold(HoldError::Held(_))), "{refused}");
    let mut full = paid(job(), 10, 100);
    full.job.max_queued = 1;
    assert!(matches!(queue.put(full).await, Err(PutError::Full { .. })));
    assert_eq!(balance(&queue).await, (0, 60));
    let claims = claim(&queue, wanted(Phase::Run, 10)).await;
    assert_eq!(claims.claimed.len(), 1);
    assert!(matches!(
        claims.claimed[0].task,
        Task::Run { held: Some(held), .. } if held == nanos(60)
    ));
    // What waits stays held, whoever recovers.
    assert!(queue.recover(owner(7), Duration::MAX).await.unwrap().is_empty());
    assert_eq!(balance(&queue).await, (0, 60));
}

#[tokio::test]
async fn a_second_try_holds_nothing() {
    let home = Home::new();
    let queue = home.open();
    let once = Some(tidegate::queue::Once {
        key: [1; 32],
        request: [1; 32],
    });
    for again in [false, true] {
        let waiting = queue.put(paid(NewJob { once, ..job() }, 60, 100)).await.unwrap();
        assert_eq!((waiting.again, waiting.held.is_none()), (again, again));
    }
    assert_eq!(balance(&queue).await, (0, 60));
}

#[tokio::test]
async fn a_result_closes_the_call_once() {
    let home = Home::new();
    let queue = home.open();
    let new = job();
    let entry = entry(&new);
    queue.put(paid(new, 60, 100)).await.unwrap();
    let stale = claim_one(&queue, Phase::Run).await.lease;
    queue.take_over(owner(2), None, NOW).await.unwrap();
    let lease = claim_one(&queue, Phase::Run).await.lease;
    let ran = || result(true, Some(charge(entry.clone(), 25)));
    assert!(!queue.ran(stale, ran()).await.unwrap());
    assert_eq!(balance(&queue).await, (0, 60));
    assert!(queue.ran(lease.clone(), ran()).await.unwrap());
    assert!(!queue.ran(lease, ran()).await.unwrap());
    assert_eq!(balance(&queue).await, (25, 0));
}

#[tokio::test]
async fn what_an_attempt_has_cost_is_charged_and_as_much_is_held_again() {
    let home = Home::new();
    let queue = home.open();
    let new = job();
    let (id, first) = (new.id.clone(), entry(&new));
    queue.put(paid(new, 40, 100)).await.unwrap();
    let charged = |entry: &Entry, cost, call| Again {
        charge: Some((charge(entry.clone(), cost), call)),
        ..again(NOW, SECOND, Some(attempt(Phase::Run)))
    };
    let second = Entry {
        call: CallId::new(NOW),
        ..first.clone()
    };
    let lease = claim_one(&queue, Phase::Run).await.lease;
    let settled = put_back(&queue, lease, charged(&first, 40, second.call)).await;
    assert_eq!((settled, balance(&queue).await), (Settled::Waits, (40, 40)));
    let claimed = claim_one(&queue, Phase::Run).await;
    assert_eq!(claimed.job.call, second.call);
    assert!(matches!(claimed.task, Task::Run { held: Some(held), .. } if held == nanos(40)));
    // Of the limit that the first hold was checked against 20 are left then.
    let third = Entry {
        call: CallId::new(NOW),
        ..first.clone()
    };
    let lease = claimed.lease;
    let settled = put_back(&queue, lease.clone(), charged(&second, 40, third.call)).await;
    assert_eq!((settled, balance(&queue).await), (Settled::Broke, (80, 0)));
    let view = find(&queue, &id).await;
    assert_eq!((view.state, view.attempts.len()), (JobState::Running, 1));
    // It is leased still.
    assert!(
        queue
            .ran(lease, result(false, Some(Settlement::Release(third.call))))
            .await
            .unwrap()
    );
    assert_eq!(balance(&queue).await, (80, 0));
}

#[tokio::test]
async fn a_job_without_a_hold_is_charged_and_goes_on_under_its_new_name() {
    let home = Home::new();
    let queue = home.open();
    let new = job();
    let entry = entry(&new);
    put(&queue, new).await;
    let lease = claim_one(&queue, Phase::Run).await.lease;
    let call = CallId::new(NOW);
    let charged = Again {
        charge: Some((charge(entry, 40), call)),
        ..again(NOW, SECOND, None)
    };
    assert_eq!(put_back(&queue, lease, charged).await, Settled::Waits);
    assert_eq!(claim_one(&queue, Phase::Run).await.job.call, call);
    assert_eq!(balance(&queue).await, (40, 0));
}

#[tokio::test]
async fn a_job_that_dies_gives_its_hold_back_and_holds_it_again_when_it_is_tried_again() {
    let home = Home::new();
    let queue = home.open();
    let id = queue.put(paid(job(), 60, 100)).await.unwrap().id;
    let claimed = claim_one(&queue, Phase::Run).await;
    let died = queue.died(claimed.lease, attempt(Phase::Run), Death::Exhausted);
    assert!(died.await.unwrap());
    assert_eq!(balance(&queue).await, (0, 0));
    queue.redeliver(id.clone(), NOW).await.unwrap();
    assert_eq!(balance(&queue).await, (0, 60));
    let again = claim_one(&queue, Phase::Run).await;
    assert_ne!(again.job.call, claimed.job.call);
    queue
        .died(again.lease, attempt(Phase::Run), Death::Exhausted)
        .await
        .unwrap();
    // Others have taken the room.
    queue
        .put(paid(job_of("di:1", "acme/other"), 60, 100))
        .await
        .unwrap();
    let refused = queue.redeliver(id.clone(), NOW).await.unwrap_err();
    assert!(matches!(refused, Denied::Broke), "{refused}");
    assert_eq!(balance(&queue).await, (0, 60));
    assert_eq!(state(&queue, &id).await, JobState::Dead);
}

#[tokio::test]
async fn a_cancelled_job_gives_its_hold_back_unless_its_call_was_under_way() {
    let home = Home::new();
    let queue = home.open();
    let queued = queue.put(paid(job(), 30, 100)).await.unwrap().id;
    queue.cancel(queued, NOW).await.unwrap();
    assert_eq!(balance(&queue).await, (0, 0));
    let running = queue.put(paid(job(), 30, 100)).await.unwrap().id;
    claim_one(&queue, Phase::Run).await;
    queue.cancel(running.clone(), NOW).await.unwrap();
    assert_eq!(balance(&queue).await, (30, 0));
    // Tried again it is another call, which is charged as well.
    queue.redeliver(running, NOW).await.unwrap();
    let claimed = claim_one(&queue, Phase::Run).await;
    let entry = Entry {
        call: claimed.job.call,
        ..entry(&job())
    };
    queue
        .ran(claimed.lease, result(true, Some(charge(entry, 20))))
        .await
        .unwrap();
    assert_eq!(balance(&queue).await, (50, 0));
}

#[tokio::test]
async fn a_result_without_a_call_gives_the_hold_back() {
    let home = Home::new();
    let queue = home.open();
    queue.put(paid(job(), 30, 100)).await.unwrap();
    let claimed = claim_one(&queue, Phase::Run).await;
    assert!(queue.ran(claimed.lease, result(false, None)).await.unwrap());
    assert_eq!(balance(&queue).await, (0, 0));
}

#[tokio::test]
async fn a_job_that_is_quarantined_is_charged_what_was_held() {
    let home = Home::new();
    let queue = home.open();
    queue.put(paid(job(), 30, 100)).await.unwrap();
    for (process, wait) in [(2, 0), (3, 0), (4, 30)] {
        assert_eq!(balance(&queue).await, (0, 30));
        let mut wanted = wanted(Phase::Run, 1);
        wanted.now = NOW + wait * SECOND;
        assert_eq!(claim(&queue, wanted.clone()).await.claimed.len(), 1);
        queue.take_over(owner(process), None, wanted.now).await.unwrap();
    }
    assert_eq!(balance(&queue).await, (30, 0));
}
