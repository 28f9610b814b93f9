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

/// Less room than usual for some.
fn less<K>(rooms: impl IntoIterator<Item = (K, usize)>) -> Room<K>
where
    K: Eq + std::hash::Hash,
{
    Room {
        usual: usize::MAX,
        less: Arc::new(rooms.into_iter().collect()),
    }
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
    let mut round = Round::default();
    let mut order = Vec::new();
    for _ in 0..7 {
        let mut wanted = wanted(Phase::Run, 1);
        wanted.round = round;
        let claims = claim(&queue, wanted).await;
        round = claims.round.clone();
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
    wanted.lanes = Room::of_all(3);
    let claims = claim(&queue, wanted.clone()).await;
    assert_eq!((claims.claimed.len(), claims.next_due), (3, Some(NOW)));
    wanted.lanes = Room::of_all(5);
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
    wanted.lanes = less([(lane("di:2", "acme/a"), 0)]);
    wanted.accounts = less([(account("di:1"), 0)]);
    let claims = claim(&queue, wanted.clone()).await;
    assert_eq!(by_lane(&claims).into_keys().collect::<Vec<_>>(), ["di:10 acme/a"]);
    assert_eq!(claims.next_due, None);
    wanted.lanes = Room::of_all(1);
    wanted.accounts = Room::of_all(2);
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
    wanted.lanes = less([(lane("di:3", "acme/m"), 0)]);
    for (now, next) in [(0, 10), (10, 20)] {
        wanted.now = NOW + now * SECOND;
        let claims = claim(&queue, wanted.clone()).await;
        let told = (claims.claimed.len(), claims.next_due);
        assert_eq!(told, (0, Some(NOW + next * SECOND)));
    }
    wanted.now = NOW + 20 * SECOND;
    let claims = claim(&queue, wanted).await;
    assert_eq!(
        (claims.claimed.len(), claims.next_due),
        (1, Some(NOW + 30 * SECOND))
    );
}

/// Claims until something is found or nothing is to be found; gives how many claims that took, too.
async fn claims_in_a_row(queue: &Sqlite, mut wanted: Claim) -> (usize, Claims) {
    for number in 1..100 {
        let claims = claim(queue, wanted.clone()).await;
        if !claims.claimed.is_empty() || claims.next_due != Some(wanted.now) {
            return (number, claims);
        }
        wanted.round = claims.round;
    }
    panic!("it never ends");
}

#[tokio::test]
async fn thousands_of_lanes_that_wait_are_looked_at_once_and_one_that_is_due_is_found() {
    let home = Home::new();
    let queue = home.open();
    let ids: Vec<_> = (0..3000).map(|number| format!("di:{number:05}")).collect();
    let due = NOW + HOUR;
    for chunk in ids.chunks(250) {
        let later = |id| NewJob {
            due,
            ..job_of(id, "acme/m")
        };
        join_all(chunk.iter().map(|id| put(&queue, later(id)))).await;
    }
    let (number, claims) = claims_in_a_row(&queue, wanted(Phase::Run, 10)).await;
    assert_eq!((number, claims.next_due), (1, Some(due)), "nobody looks at lanes");
    put(&queue, job_of("di:9", "acme/m")).await;
    let (number, claims) = claims_in_a_row(&queue, wanted(Phase::Run, 10)).await;
    assert!(number <= 4, "{number}");
    assert_eq!(by_lane(&claims).into_keys().collect::<Vec<_>>(), ["di:9 acme/m"]);
    assert_eq!(claims.next_due, Some(due), "what is left is known at once");
    let mut all_busy = wanted(Phase::Run, 10);
    all_busy.now = due;
    all_busy.lanes = less(ids.iter().map(|id| (lane(id, "acme/m"), 0)));
    let (number, claims) = claims_in_a_row(&queue, all_busy.clone()).await;
    assert!(number <= 4 && claims.claimed.is_empty(), "{number}");
    assert_eq!(
        claims.next_due, None,
        "nothing can be had, however often one asks"
    );
    put(&queue, job_of("di:9", "acme/m")).await;
    all_busy.round = claims.round;
    let (number, claims) = claims_in_a_row(&queue, all_busy).await;
    assert!(number <= 4 && claims.claimed.len() == 1, "{number}");
}

#[tokio::test]
async fn an_account_with_thousands_of_lanes_keeps_no_other_waiting_and_all_of_them_get_on() {
    let home = Home::new();
    let queue = home.open();
    let models: Vec<_> = (0..3000).map(|number| format!("acme/m{number:05}")).collect();
    for chunk in models.chunks(250) {
        join_all(chunk.iter().map(|model| put(&queue, job_of("di:1", model)))).await;
    }
    for _ in 0..3 {
        put(&queue, job_of("di:2", "acme/m")).await;
    }
    let mut wanted = wanted(Phase::Run, 16);
    wanted.lanes = Room::of_all(1);
    let mut seen = std::collections::HashSet::new();
    for number in 0..20 {
        let claims = claim(&queue, wanted.clone()).await;
        let lanes = by_lane(&claims);
        assert_eq!(lanes.contains_key("di:2 acme/m"), number < 3, "{lanes:?}");
        assert_eq!(lanes.len(), 16);
        let others = lanes.into_keys().filter(|lane| lane != "di:2 acme/m");
        others.for_each(|lane| assert!(seen.insert(lane)));
        wanted.round = claims.round;
    }
    // Even where nothing of it may be had.
    put(&queue, job_of("di:2", "acme/m")).await;
    wanted.lanes = less(models.iter().map(|model| (lane("di:1", model), 0)));
    assert_eq!(claim(&queue, wanted.clone()).await.claimed.len(), 1);
    let (number, claims) = claims_in_a_row(&queue, wanted).await;
    assert!(number <= 5, "{number}");
    assert_eq!(claims.next_due, None);
}

#[tokio::test]
async fn a_claim_takes_no_more_than_there_is_room_for() {
    let home = Home::new();
    let queue = home.open();
    for name in ["acme/a", "acme/b", "acme/c"] {
        fill(&queue, "di:1", name, 10).await;
    }
    fill(&queue, "di:2", "acme/a", 3).await;
    let mut first = wanted(Phase::Run, 100);
    first.accounts = less([(account("di:1"), 13)]);
    first.lanes = less([(lane("di:1", "acme/a"), 1), (lane("di:2", "acme/a"), 2)]);
    let claims = claim(&queue, first).await;
    let lanes: Vec<_> = by_lane(&claims).into_iter().collect();
    let expected = [
        ("di:1 acme/a", 1),
        ("di:1 acme/b", 6),
        ("di:1 acme/c", 6),
        ("di:2 acme/a", 2),
    ];
    assert_eq!(lanes, expected.map(|(lane, jobs)| (lane.to_owned(), jobs)));
    let rest = claim(&queue, wanted(Phase::Run, 100)).await;
    assert_eq!((rest.claimed.len(), rest.next_due), (18, None));
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
