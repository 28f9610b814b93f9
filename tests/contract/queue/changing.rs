//! What becomes of jobs, and that nobody without a lease has a say in it.

use tidegate::queue::Death;

use super::*;

#[tokio::test]
async fn a_job_is_delivered_or_failed_as_its_call_was() {
    for (succeeded, ended) in [(true, JobState::Delivered), (false, JobState::Failed)] {
        let home = Home::new();
        let queue = home.open();
        let id = put(&queue, job()).await;
        run(&queue, succeeded).await;
        assert_eq!(state(&queue, &id).await, JobState::Delivering);
        let claimed = claim_one(&queue, Phase::Deliver).await;
        assert!(
            queue
                .delivered(claimed.lease, attempt(Phase::Deliver))
                .await
                .unwrap()
        );
        let view = find(&queue, &id).await;
        assert_eq!(
            (view.state, view.death, view.next_attempt_at),
            (ended, None, None)
        );
        let phases: Vec<_> = view.attempts.iter().map(|attempt| attempt.phase).collect();
        assert_eq!(phases, [Phase::Run, Phase::Deliver]);
        assert!(matches!(
            queue.redeliver(id, NOW).await,
            Err(tidegate::queue::Denied::State(state)) if state == ended
        ));
    }
}

#[tokio::test]
async fn a_lease_that_was_taken_over_changes_nothing() {
    for phase in [Phase::Run, Phase::Deliver] {
        let home = Home::new();
        let queue = home.open();
        let id = put(&queue, job()).await;
        if phase == Phase::Deliver {
            run(&queue, true).await;
        }
        let stale = claim_one(&queue, phase).await.lease;
        assert_eq!(queue.take_over(owner(2), None, NOW).await.unwrap(), 1);
        // First while nobody has it, then while another has.
        for round in 0..2 {
            let before = find(&queue, &id).await;
            let lost = queue.renew(vec![stale.clone()], NOW + HOUR).await.unwrap();
            assert_eq!(lost, std::slice::from_ref(&stale));
            assert!(!queue.ran(stale.clone(), result(true, None)).await.unwrap());
            assert!(
                !queue
                    .delivered(stale.clone(), attempt(Phase::Deliver))
                    .await
                    .unwrap()
            );
            let died = queue.died(stale.clone(), attempt(phase), Death::Exhausted);
            assert!(!died.await.unwrap());
            let settled = put_back(&queue, stale.clone(), again(NOW, SECOND, None)).await;
            assert_eq!(settled, Settled::Lost);
            assert_eq!(find(&queue, &id).await, before, "round {round}");
            if round == 0 {
                let claimed = claim_one(&queue, phase).await;
                assert!(claimed.lease.epoch > stale.epoch);
                assert!(!content(claimed.task).await.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_lease_that_is_kept_is_not_taken_over() {
    let home = Home::new();
    let queue = home.open();
    let id = put(&queue, job()).await;
    let lease = claim_one(&queue, Phase::Run).await.lease;
    assert_eq!(queue.take_over(owner(1), None, NOW).await.unwrap(), 0);
    let soon = NOW + 59 * SECOND;
    assert_eq!(queue.take_over(owner(1), Some(soon), soon).await.unwrap(), 0);
    assert!(
        queue
            .renew(vec![lease.clone()], NOW + HOUR)
            .await
            .unwrap()
            .is_empty()
    );
    let later = NOW + 2 * 60 * SECOND;
    assert_eq!(queue.take_over(owner(1), Some(later), later).await.unwrap(), 0);
    let late = NOW + HOUR;
    assert_eq!(queue.take_over(owner(1), Some(late), late).await.unwrap(), 1);
    assert_eq!(state(&queue, &id).await, JobState::Queued);
    assert_eq!(queue.renew(vec![lease.clone()], late).await.unwrap(), [lease]);
}

/// A process dies while it makes the call of the one job.
async fn dies_running(queue: &Sqlite, process: u8, now: Duration) {
    let mut wanted = wanted(Phase::Run, 10);
    wanted.now = now;
    assert_eq!(claim(queue, wanted).await.claimed.len(), 1);
    assert_eq!(queue.take_over(owner(process), None, now).await.unwrap(), 1);
}

#[tokio::test]
async fn only_calls_that_are_lost_three_times_in_a_row_are_quarantined() {
    let home = Home::new();
    let queue = home.open();
    let id = put(&queue, job()).await;
    let mut now = NOW;
    for round in 0..3 {
        dies_running(&queue, 2 + round, now).await;
        dies_running(&queue, 2 + round, now).await;
        let mut wanted = wanted(Phase::Run, 10);
        wanted.now = now;
        let claims = claim(&queue, wanted.clone()).await;
        now += 30 * SECOND;
        assert_eq!((claims.claimed.len(), claims.next_due), (0, Some(now)));
        wanted.now = now;
        let lease = claim(&queue, wanted).await.claimed.remove(0).lease;
        if round < 2 {
            put_back(&queue, lease, again(now, SECOND, Some(attempt(Phase::Run)))).await;
        } else {
            assert!(queue.ran(lease, result(true, None)).await.unwrap());
        }
    }
    for process in 2..10 {
        claim_one(&queue, Phase::Deliver).await;
        queue.take_over(owner(process), None, NOW).await.unwrap();
    }
    assert_eq!(state(&queue, &id).await, JobState::Delivering);
}

#[tokio::test]
async fn a_job_whose_lease_is_taken_over_three_times_is_quarantined() {
    let home = Home::new();
    let queue = home.open();
    let id = put(&queue, job()).await;
    for (process, wait) in [(2, 0), (3, 0), (4, 30)] {
        dies_running(&queue, process, NOW + wait * SECOND).await;
    }
    let view = find(&queue, &id).await;
    assert_eq!(
        (view.state, view.death),
        (JobState::Dead, Some(Death::Quarantined))
    );
    assert!(claim(&queue, wanted(Phase::Run, 10)).await.claimed.is_empty());
    // An operator may try it again, from the beginning.
    assert_eq!(queue.redeliver(id.clone(), NOW).await.unwrap(), JobState::Queued);
    claim_one(&queue, Phase::Run).await;
    queue.take_over(owner(5), None, NOW).await.unwrap();
    assert_eq!(state(&queue, &id).await, JobState::Queued);
}

#[tokio::test]
async fn a_job_that_is_put_back_waits_and_counts_its_failures() {
    let home = Home::new();
    let queue = home.open();
    let id = put(&queue, job()).await;
    let mut failed = 0;
    for with_attempt in [true, false, true] {
        let claimed = claim_one(&queue, Phase::Run).await;
        assert_eq!(claimed.job.failed, failed);
        failed += u32::from(with_attempt);
        let attempt = with_attempt.then(|| attempt(Phase::Run));
        put_back(&queue, claimed.lease, again(NOW, SECOND, attempt)).await;
    }
    let view = find(&queue, &id).await;
    assert_eq!((view.state, view.next_attempt_at), (JobState::Queued, Some(NOW)));
    assert_eq!(view.attempts.len(), 2);
    // The delivery has a schedule of its own.
    run(&queue, true).await;
    let claimed = claim_one(&queue, Phase::Deliver).await;
    assert_eq!(claimed.job.failed, 0);
    put_back(
        &queue,
        claimed.lease,
        again(NOW + HOUR, HOUR, Some(attempt(Phase::Deliver))),
    )
    .await;
    let view = find(&queue, &id).await;
    assert_eq!(
        (view.state, view.next_attempt_at),
        (JobState::Delivering, Some(NOW + HOUR))
    );
}

#[tokio::test]
async fn of_many_attempts_the_last_hundred_are_kept_and_of_a_long_error_its_beginning() {
    let home = Home::new();
    let queue = home.open();
    let id = put(&queue, job()).await;
    for number in 0..105 {
        let lease = claim_one(&queue, Phase::Run).await.lease;
        let failed = Attempt {
            at: NOW + number * SECOND,
            status: None,
            error: Some("\u{e9}\n".repeat(2000)),
            said: Some("canary-said ".repeat(2000)),
            ..attempt(Phase::Run)
        };
        put_back(&queue, lease, again(NOW, SECOND, Some(failed))).await;
    }
    let attempts = find(&queue, &id).await.attempts;
    assert_eq!(attempts.len(), 100);
    assert_eq!(attempts[0].at, NOW + 5 * SECOND);
    assert_eq!(attempts[99].at, NOW + 104 * SECOND);
    assert_eq!(attempts[0].error.as_deref(), Some(&*"\u{e9}".repeat(512)));
    let said = attempts[0].said.as_deref().unwrap();
    assert!(said.starts_with("canary-said ") && said.len() == 1024);
}

#[tokio::test]
async fn a_clock_that_was_put_back_makes_nobody_wait_longer() {
    let home = Home::new();
    let queue = home.open();
    let id = put(&queue, job()).await;
    let lease = claim_one(&queue, Phase::Run).await.lease;
    put_back(&queue, lease, again(NOW + HOUR, HOUR, None)).await;
    let due = async || find(&queue, &id).await.next_attempt_at.unwrap();
    // As it should be, and with what a schedule adds at random.
    for now in [NOW, NOW - HOUR / 6] {
        queue.take_over(owner(1), None, now).await.unwrap();
        assert_eq!(due().await, NOW + HOUR);
    }
    let earlier = NOW - 24 * HOUR;
    queue.take_over(owner(1), None, earlier).await.unwrap();
    assert_eq!(due().await, earlier + HOUR);
    // Also under way.
    let earlier = NOW - 48 * HOUR;
    queue.take_over(owner(1), Some(earlier), earlier).await.unwrap();
    assert_eq!(due().await, earlier + HOUR);
}
