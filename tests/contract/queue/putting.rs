//! New jobs: kept whole, once, up to a number, with their money.

use futures_util::future::join_all;
use tidegate::metrics::Metrics;
use tidegate::queue::{Filter, Once, PutError};
use tidegate::store::MasterKeys;

use super::*;

#[tokio::test]
async fn a_job_is_claimed_with_all_that_it_came_with_also_after_the_next_start() {
    let home = Home::new();
    let queue = home.open();
    let new = job();
    let (call, id) = (new.call, put(&queue, new).await);
    queue.close().unwrap();
    let queue = home.open();
    let claimed = claim_one(&queue, Phase::Run).await;
    assert_eq!((&claimed.job.id, claimed.job.call), (&id, call));
    assert_eq!((claimed.job.at, claimed.job.failed), (NOW, 0));
    assert_eq!(claimed.job.model, Some(model("acme/m")));
    assert_eq!(claimed.lane.account(), "di:1");
    let Task::Run { head, body, held } = claimed.task else {
        panic!("{:?}", claimed.task);
    };
    assert_eq!((head.as_slice(), held), (&b"POST /v1 canary-head"[..], None));
    assert_eq!(bytes(body).await, "{\"canary-request\": 1}");
    assert_eq!(state(&queue, &id).await, JobState::Running);
    assert!(claim(&queue, wanted(Phase::Run, 10)).await.claimed.is_empty());
}

fn with_once(at: Duration, key: u8, request: u8) -> PutJob {
    let once = Some(Once {
        key: [key; 32],
        request: [request; 32],
    });
    let job = NewJob { at, once, ..job() };
    PutJob { job, order: None }
}

#[tokio::test]
async fn a_second_try_within_24_hours_gives_the_first_job() {
    let home = Home::new();
    let queue = home.open();
    let first = queue.put(with_once(NOW, 1, 1)).await.unwrap();
    assert!(!first.again);
    let just_before = NOW + 24 * HOUR - Duration::from_millis(1);
    for at in [NOW, just_before, NOW - HOUR] {
        let second = queue.put(with_once(at, 1, 1)).await.unwrap();
        assert_eq!((second.again, &second.id), (true, &first.id));
        let other = queue.put(with_once(at, 1, 2)).await.unwrap_err();
        assert!(matches!(other, PutError::Mismatch), "{other}");
    }
    assert!(!queue.put(with_once(NOW, 2, 1)).await.unwrap().again);
    let mut others = with_once(NOW, 1, 2);
    others.job.account = account("di:2");
    assert!(!queue.put(others).await.unwrap().again);
    let later = queue.put(with_once(NOW + 24 * HOUR, 1, 2)).await.unwrap();
    assert!(!later.again && later.id != first.id);
    let again = queue.put(with_once(NOW + 25 * HOUR, 1, 2)).await.unwrap();
    assert_eq!((again.again, again.id), (true, later.id));
}

#[tokio::test]
async fn an_account_has_so_many_jobs_at_most_and_more_when_some_have_ended() {
    let home = Home::new();
    let queue = home.open();
    let limited = |id| PutJob {
        job: NewJob {
            max_queued: 2,
            ..job_of(id, "acme/m")
        },
        order: None,
    };
    let first = queue.put(limited("di:1")).await.unwrap().id;
    queue.put(limited("di:1")).await.unwrap();
    let full = queue.put(limited("di:1")).await.unwrap_err();
    assert!(matches!(full, PutError::Full { limit: 2 }), "{full}");
    queue.put(limited("di:2")).await.unwrap();
    queue.cancel(first.clone(), NOW).await.unwrap();
    queue.put(limited("di:1")).await.unwrap();
    assert!(queue.put(limited("di:1")).await.is_err());
    // One that comes back counts again.
    queue.redeliver(first, NOW).await.unwrap();
    let counts = queue.census().await.unwrap();
    let queued = counts.iter().find(|count| count.state == JobState::Queued);
    assert_eq!(
        queued.map(|count| (count.jobs, count.oldest)),
        Some((4, Some(NOW)))
    );
}

#[tokio::test]
async fn jobs_that_come_together_share_their_commits() {
    let home = Home::new();
    let metrics = Arc::new(Metrics::new().unwrap());
    let master = MasterKeys::parse(&[crate::MASTER_KEY.into()]).unwrap();
    let queue = Sqlite::open(&home.path(), master, Arc::clone(&metrics)).unwrap();
    let puts = (0..400).map(|_| put(&queue, job()));
    join_all(puts).await;
    let text = metrics.render().unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .trim()
            .parse()
            .unwrap()
    };
    let (commits, pieces) = (
        value("tidegate_ledger_batch_size_count"),
        value("tidegate_ledger_batch_size_sum"),
    );
    assert!(pieces >= 400.0 && commits * 2.0 < pieces, "{commits} of {pieces}");
    let filter = Filter {
        most: 1000,
        ..Filter::default()
    };
    assert_eq!(queue.list(filter).await.unwrap().len(), 400);
}
