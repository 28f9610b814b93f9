//! Who is served: every lane in its turn, the oldest of each first.

use futures_util::future::join_all;
use tidegate::queue::Lane;

use super::*;

async fn fill(queue: &Sqlite, id: &str, name: &str, jobs: usize) {
    for chunk in (0..jobs).collect::<Vec<_>>().chunks(250) {
        join_all(chunk.iter().map(|_| put(queue, job_of(id, name)))).await;
    }
}

/// Of which accounts and models the jobs are, and how many.
fn by_lane(claims: &Claims) -> std::collections::BTreeMap<String, usize> {
    let mut lanes = std::collections::BTreeMap::new();
    for claimed in &claims.claimed {
        *lanes.entry(claimed.lane.as_str().replace('\n', " ")).or_default() += 1;
    }
    lanes
}

fn lane(id: &str, name: &str) -> Lane {
    Lane::of_model(&account(id), Some(&model(name)))
}

#[tokio::test]
async fn a_lane_with_thousands_of_jobs_keeps_no_other_waiting() {
    let home = Home::new();
    let queue = home.open();
    fill(&queue, "di:1", "acme/m", 5000).await;
    for id in 2..=9 {
        fill(&queue, &format!("di:{id}"), "acme/m", 2).await;
    }
    let first = claim(&queue, wanted(Phase::Run, 12)).await;
    let lanes = by_lane(&first);
    assert_eq!(lanes.len(), 9, "{lanes:?}");
    assert!(lanes.values().all(|jobs| *jobs <= 2), "{lanes:?}");
    assert_eq!(first.next_due, Some(NOW));
    let rest = claim(&queue, wanted(Phase::Run, 100)).await;
    // Two lanes are empty by now.
    assert_eq!(by_lane(&rest).len(), 7);
    assert_eq!(rest.claimed.len(), 100);
}

#[tokio::test]
async fn a_claim_goes_on_where_the_last_one_ended_and_round() {
    let home = Home::new();
    let queue = home.open();
    for id in ["di:1", "di:2", "di:3"] {
        fill(&queue, id, "acme/m", 4).await;
    }
    let mut after = None;
    let mut order = Vec::new();
    for _ in 0..7 {
        let mut wanted = wanted(Phase::Run, 1);
        wanted.after = after;
        let claims = claim(&queue, wanted).await;
        after = claims.last.clone();
        order.push(claims.claimed[0].job.account.to_string());
    }
    assert_eq!(order, ["di:1", "di:2", "di:3", "di:1", "di:2", "di:3", "di:1"]);
}

#[tokio::test]
async fn a_lane_gives_so_many_at_most_and_what_is_left_is_told() {
    let home = Home::new();
    let queue = home.open();
    fill(&queue, "di:1", "acme/m", 5).await;
    let mut wanted = wanted(Phase::Run, 10);
    wanted.most_of_lane = 3;
    let claims = claim(&queue, wanted.clone()).await;
    assert_eq!((claims.claimed.len(), claims.next_due), (3, Some(NOW)));
    wanted.most_of_lane = 5;
    let claims = claim(&queue, wanted).await;
    assert_eq!((claims.claimed.len(), claims.next_due), (2, None));
}

#[tokio::test]
async fn busy_lanes_and_accounts_give_nothing() {
    let home = Home::new();
    let queue = home.open();
    for (id, name) in [
        ("di:1", "acme/a"),
        ("di:1", "acme/b"),
        ("di:10", "acme/a"),
        ("di:2", "acme/a"),
    ] {
        fill(&queue, id, name, 1).await;
    }
    let mut wanted = wanted(Phase::Run, 10);
    wanted.busy = Arc::new([lane("di:2", "acme/a")].into_iter().collect());
    wanted.busy_accounts = Arc::new([account("di:1")].into_iter().collect());
    let claims = claim(&queue, wanted.clone()).await;
    assert_eq!(by_lane(&claims).into_keys().collect::<Vec<_>>(), ["di:10 acme/a"]);
    assert_eq!(claims.next_due, None);
    wanted.busy = Arc::default();
    wanted.busy_accounts = Arc::default();
    assert_eq!(claim(&queue, wanted).await.claimed.len(), 3);
}

#[tokio::test]
async fn what_is_not_due_waits_and_its_time_is_told() {
    let home = Home::new();
    let queue = home.open();
    for (id, wait) in [("di:1", 30), ("di:2", 20), ("di:3", 10)] {
        fill(&queue, id, "acme/m", 1).await;
        let claimed = claim_one(&queue, Phase::Run).await;
        let wait = wait * SECOND;
        let waits = put_back(&queue, claimed.lease, again(NOW + wait, wait, None)).await;
        assert_eq!(waits, Settled::Waits);
    }
    let mut wanted = wanted(Phase::Run, 10);
    wanted.busy = Arc::new([lane("di:3", "acme/m")].into_iter().collect());
    let claims = claim(&queue, wanted.clone()).await;
    assert_eq!(
        (claims.claimed.len(), claims.next_due),
        (0, Some(NOW + 20 * SECOND))
    );
    wanted.now = NOW + 20 * SECOND;
    let claims = claim(&queue, wanted).await;
    assert_eq!(
        (claims.claimed.len(), claims.next_due),
        (1, Some(NOW + 30 * SECOND))
    );
}

#[tokio::test]
async fn thousands_of_busy_lanes_are_passed_in_several_claims() {
    let home = Home::new();
    let queue = home.open();
    let ids: Vec<_> = (0..2500).map(|number| format!("di:{number:05}")).collect();
    for chunk in ids.chunks(250) {
        join_all(chunk.iter().map(|id| put(&queue, job_of(id, "acme/m")))).await;
    }
    put(&queue, job_of("di:9", "acme/m")).await;
    let mut wanted = wanted(Phase::Run, 10);
    wanted.busy = Arc::new(ids.iter().map(|id| lane(id, "acme/m")).collect());
    let claims = claim(&queue, wanted.clone()).await;
    assert_eq!((claims.claimed.len(), claims.next_due), (0, Some(NOW)));
    wanted.after = claims.last;
    let claims = claim(&queue, wanted).await;
    assert_eq!(by_lane(&claims).into_keys().collect::<Vec<_>>(), ["di:9 acme/m"]);
}

#[tokio::test]
async fn a_result_is_delivered_at_once_in_the_lane_of_its_receiver() {
    let home = Home::new();
    let queue = home.open();
    let id = put(&queue, job()).await;
    assert_eq!(run(&queue, true).await, id);
    assert!(claim(&queue, wanted(Phase::Run, 10)).await.claimed.is_empty());
    let claimed = claim_one(&queue, Phase::Deliver).await;
    assert_eq!(
        claimed.lane,
        Lane::of_receiver(&account("di:1"), "https://example.com")
    );
    let Task::Deliver {
        hook,
        result,
        succeeded,
    } = claimed.task
    else {
        panic!("{:?}", claimed.task);
    };
    use secrecy::ExposeSecret;
    assert!(hook.expose_secret().ends_with("canary-hook") && succeeded);
    assert_eq!(bytes(result).await, "{\"canary-result\": 1}");
}
