//! What operators do and see.

use secrecy::{ExposeSecret, SecretString};
use tidegate::queue::{Death, Denied, Filter};

use super::*;

async fn dies(queue: &Sqlite, phase: Phase, death: Death) -> JobId {
    let claimed = claim_one(queue, phase).await;
    let died = queue.died(claimed.lease, attempt(phase), death);
    assert!(died.await.unwrap());
    claimed.job.id
}

#[tokio::test]
async fn a_dead_job_is_delivered_again_if_it_has_a_result_and_else_run_again() {
    let home = Home::new();
    let queue = home.open();
    put(&queue, job()).await;
    let id = dies(&queue, Phase::Run, Death::Damaged).await;
    assert_eq!(find(&queue, &id).await.death, Some(Death::Damaged));
    let later = NOW + HOUR;
    assert_eq!(
        queue.redeliver(id.clone(), later).await.unwrap(),
        JobState::Queued
    );
    let view = find(&queue, &id).await;
    assert_eq!((view.death, view.next_attempt_at), (None, Some(later)));
    assert!(claim(&queue, wanted(Phase::Run, 10)).await.claimed.is_empty());
    let mut wanted = wanted(Phase::Run, 10);
    wanted.now = later;
    let claimed = claim(&queue, wanted).await.claimed.remove(0);
    queue.ran(claimed.lease, result(true, None)).await.unwrap();
    dies(&queue, Phase::Deliver, Death::Gone).await;
    assert_eq!(
        queue.redeliver(id.clone(), NOW).await.unwrap(),
        JobState::Delivering
    );
    let claimed = claim_one(&queue, Phase::Deliver).await;
    assert_eq!(content(claimed.task).await, "{\"canary-result\": 1}");
    assert!(matches!(
        queue.redeliver(id, NOW).await,
        Err(Denied::State(JobState::Delivering))
    ));
    assert!(matches!(
        queue.redeliver(new_id(), NOW).await,
        Err(Denied::Unknown)
    ));
}

#[tokio::test]
async fn a_job_is_cancelled_in_every_state_but_the_last_ones() {
    let home = Home::new();
    let queue = home.open();
    let queued = put(&queue, job()).await;
    queue.cancel(queued.clone(), NOW).await.unwrap();
    let running = put(&queue, job()).await;
    let lease = claim_one(&queue, Phase::Run).await.lease;
    queue.cancel(running.clone(), NOW).await.unwrap();
    assert!(!queue.ran(lease, result(true, None)).await.unwrap());
    let delivering = put(&queue, job()).await;
    run(&queue, true).await;
    queue.cancel(delivering.clone(), NOW).await.unwrap();
    for id in [queued, running, delivering] {
        let view = find(&queue, &id).await;
        assert_eq!((view.state, view.death), (JobState::Dead, Some(Death::Cancelled)));
        assert!(matches!(
            queue.cancel(id, NOW).await,
            Err(Denied::State(JobState::Dead))
        ));
    }
    assert!(matches!(queue.cancel(new_id(), NOW).await, Err(Denied::Unknown)));
    for phase in [Phase::Run, Phase::Deliver] {
        assert!(claim(&queue, wanted(phase, 10)).await.claimed.is_empty());
    }
}

#[tokio::test]
async fn jobs_are_listed_by_state_and_account_the_newest_first_and_counted() {
    let home = Home::new();
    let queue = home.open();
    let mut ids = Vec::new();
    for (number, id) in (0..).zip(["di:1", "di:2", "di:1", "di:2"]) {
        let at = NOW + number * SECOND;
        ids.push(
            put(
                &queue,
                NewJob {
                    at,
                    ..job_of(id, "acme/m")
                },
            )
            .await,
        );
    }
    queue.cancel(ids[2].clone(), NOW).await.unwrap();
    let listed = async |state, of: Option<&str>, most| {
        let account = of.map(account);
        let filter = Filter {
            state,
            account,
            most,
            after: None,
        };
        let views = queue.list(filter).await.unwrap();
        let place = |view: &View| ids.iter().position(|id| *id == view.id).unwrap();
        views.iter().map(place).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None, 10).await, [3, 2, 1, 0]);
    assert_eq!(listed(None, None, 2).await, [3, 2]);
    assert_eq!(listed(Some(JobState::Queued), None, 10).await, [3, 1, 0]);
    assert_eq!(listed(None, Some("di:1"), 10).await, [2, 0]);
    assert_eq!(listed(Some(JobState::Dead), Some("di:1"), 10).await, [2]);
    assert!(listed(None, Some("di:3"), 10).await.is_empty());
    for (last, rest) in [(3_u32, 3), (1, 1), (0, 0)] {
        let filter = Filter {
            after: Some((NOW + last * SECOND, ids[usize::try_from(last).unwrap()].clone())),
            most: 10,
            ..Filter::default()
        };
        assert_eq!(queue.list(filter).await.unwrap().len(), rest);
    }
    let census = queue.census().await.unwrap();
    let counts: Vec<_> = census.iter().map(|count| (count.jobs, count.oldest)).collect();
    let none = (0, None);
    assert_eq!(counts, [(3, Some(NOW)), none, none, none, none, (1, None)]);
    assert!(queue.find(new_id()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_ended_is_forgotten_in_its_time() {
    let home = Home::new();
    let queue = home.open();
    put(&queue, job()).await;
    run(&queue, true).await;
    let dead = dies(&queue, Phase::Deliver, Death::Exhausted).await;
    let queued = put(&queue, job()).await;
    let forget = async |results, ended| queue.forget(NOW, results, ended).await.unwrap();
    assert_eq!(forget(NOW, NOW).await, 0);
    assert_eq!(forget(NOW + SECOND, NOW).await, 1);
    assert!(matches!(
        queue.redeliver(dead.clone(), NOW).await,
        Err(Denied::Deleted)
    ));
    assert_eq!(find(&queue, &dead).await.attempts.len(), 2);
    assert_eq!(forget(NOW + HOUR, NOW + HOUR).await, 1);
    assert!(queue.find(dead).await.unwrap().is_none());
    assert_eq!(state(&queue, &queued).await, JobState::Queued);
    let census = queue.census().await.unwrap();
    assert_eq!(census.iter().map(|count| count.jobs).sum::<u64>(), 1);
}

#[tokio::test]
async fn an_account_has_a_secret_and_for_a_time_the_one_before_it() {
    let home = Home::new();
    let queue = home.open();
    let at = async |id, now| {
        let secrets = queue.secrets(account(id), now).await.unwrap();
        let before = secrets.before.map(|secret| secret.expose_secret().to_owned());
        (secrets.first.expose_secret().to_owned(), before)
    };
    let (first, before) = at("di:1", NOW).await;
    assert!(first.starts_with("whsec_") && first.len() == 6 + 44 && before.is_none());
    assert_eq!(at("di:1", NOW).await.0, first);
    assert_ne!(at("di:2", NOW).await.0, first);
    for id in ["di:1", "di:3"] {
        let secret = SecretString::from("whsec_second");
        queue
            .rotate_secret(account(id), secret, NOW + HOUR)
            .await
            .unwrap();
    }
    assert_eq!(at("di:1", NOW).await, ("whsec_second".to_owned(), Some(first)));
    assert_eq!(at("di:1", NOW + HOUR).await, ("whsec_second".to_owned(), None));
    assert_eq!(at("di:3", NOW).await, ("whsec_second".to_owned(), None));
    assert_eq!(queue.forget(NOW + 2 * HOUR, NOW, NOW).await.unwrap(), 1);
    assert_eq!(at("di:1", NOW).await, ("whsec_second".to_owned(), None));
}
