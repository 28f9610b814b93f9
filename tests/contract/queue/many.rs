//! Many jobs: what a put and a claim take does not grow with them.

use std::env;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::*;

/// How many jobs, where it is not to be as few as a quick test has.
const JOBS: &str = "TIDEGATE_TEST_JOBS";

const AT_ONCE: usize = 250;

#[tokio::test]
async fn puts_and_claims_take_no_longer_among_many_jobs() {
    let jobs: usize = env::var(JOBS).map_or(4000, |jobs| jobs.parse().unwrap());
    let home = Home::new();
    let queue = home.open();
    let (mut puts, mut claims) = (Vec::new(), Vec::new());
    for block in 0..jobs / AT_ONCE {
        let began = Instant::now();
        let lane = |number: usize| format!("acme/m{}", (block * AT_ONCE + number) % 1000);
        join_all((0..AT_ONCE).map(|number| put(&queue, job_of("di:1", &lane(number))))).await;
        puts.push(began.elapsed());
        let began = Instant::now();
        let claimed = claim(&queue, wanted(Phase::Run, 20)).await.claimed;
        claims.push(began.elapsed());
        assert_eq!(claimed.len(), 20);
        for claimed in claimed {
            put_back(&queue, claimed.lease, again(NOW, SECOND, None)).await;
        }
    }
    for (what, mut took) in [("put", puts), ("claim", claims)] {
        let mut late = took.split_off(took.len() / 2);
        took.sort_unstable();
        late.sort_unstable();
        let (early, late) = (took[took.len() / 2], late[late.len() / 2]);
        println!("{what}: {early:?} among few jobs, {late:?} among {jobs}");
        assert!(
            late < 6 * early + 5 * Duration::from_millis(1),
            "{what}: {early:?}, then {late:?}"
        );
    }
    let began = Instant::now();
    let census = queue.census().await.unwrap();
    println!("census: {:?}", began.elapsed());
    assert_eq!(census[0].jobs, u64::try_from(jobs / AT_ONCE * AT_ONCE).unwrap());
}
