//! A process that is killed while it puts and finishes jobs: what it was told is done is done, the rest is done later.

use std::collections::BTreeMap;

use tidegate::queue::Part;

use super::*;
use crate::victim::{self, Victim};

#[test]
fn no_job_that_was_acknowledged_is_lost_in_a_kill_and_none_that_is_done_comes_back() {
    let home = Home::new();
    // How far each job is known to be.
    let mut told: BTreeMap<String, JobState> = BTreeMap::new();
    for (round, answers) in victim::rounds(8, 150) {
        let victim = Victim {
            test: "queue::killed::the_process_that_is_killed",
            store: &home.path(),
            round,
        };
        victim.kill_after(answers, |line| take(line, &mut told));
        assert_kept(&home, &told);
    }
}

/// Whether the line is an answer.
fn take(line: &str, told: &mut BTreeMap<String, JobState>) -> bool {
    let Some((what, id)) = line.split_once(' ') else {
        return false;
    };
    // The test runner says that it is `running` a test.
    let (Some(state), Some(_)) = (JobState::parse(what), JobId::parse(id)) else {
        return false;
    };
    told.insert(id.to_owned(), state);
    true
}

#[tokio::main(flavor = "current_thread")]
async fn assert_kept(home: &Home, told: &BTreeMap<String, JobState>) {
    let queue = home.open();
    queue.take_over(owner(0), None, NOW).await.unwrap();
    let mut with_file = 0;
    for (id, known) in told {
        let found = state(&queue, &JobId::parse(id).unwrap()).await;
        // A kill may come between what is done and what is said of it.
        let fits = match known {
            JobState::Queued => found != JobState::Running,
            JobState::Delivering => found > JobState::Running,
            other => found == *other,
        };
        assert!(fits, "{id} is {found:?} and was {known:?}");
    }
    for phase in [Phase::Run, Phase::Deliver] {
        let mut leases = Vec::new();
        // One claim gives only so many jobs of an account.
        loop {
            let claimed = claim(&queue, wanted(phase, 10_000)).await.claimed;
            if claimed.is_empty() {
                break;
            }
            for claimed in claimed {
                let len = content(claimed.task).await.len();
                with_file += usize::from(len == 100_000);
                leases.push(claimed.lease);
            }
        }
        for lease in leases {
            put_back(&queue, lease, again(NOW, SECOND, None)).await;
        }
    }
    assert_eq!(home.files().len(), with_file);
    queue.close().unwrap();
}

/// Nothing by itself: the test above runs it in a process of its own, which works until it is killed.
#[test]
fn the_process_that_is_killed() {
    let Some((path, _)) = victim::part() else {
        return;
    };
    victim::work(async {
        let queue = open(&path);
        futures_util::future::join(put_many(&queue), finish_many(&queue)).await;
    });
}

async fn large(queue: &Sqlite, job: &JobId, part: Part) -> Content {
    let body = Body::full(vec![7; 100_000]);
    Content::Stashed(queue.stash(job, part, body, 100_000).await.unwrap())
}

/// Puts jobs, every fourth with a file.
async fn put_many(queue: &Sqlite) {
    for number in 0_u64.. {
        let mut new = job_of(&format!("di:{}", number % 5), "acme/m");
        if number % 4 == 0 {
            new.body = large(queue, &new.id, Part::Request).await;
        }
        let id = put(queue, new).await;
        say(JobState::Queued, &id);
    }
}

/// Runs and delivers what there is, results of every third job in files.
async fn finish_many(queue: &Sqlite) {
    for number in 0_u64.. {
        for claimed in claim(queue, wanted(Phase::Run, 2)).await.claimed {
            let mut ran = result(true, None);
            if number % 3 == 0 {
                ran.result = large(queue, &claimed.job.id, Part::Result).await;
            }
            assert!(queue.ran(claimed.lease, ran).await.unwrap());
            say(JobState::Delivering, &claimed.job.id);
        }
        for claimed in claim(queue, wanted(Phase::Deliver, 1)).await.claimed {
            assert!(!content(claimed.task).await.is_empty());
            assert!(
                queue
                    .delivered(claimed.lease, attempt(Phase::Deliver))
                    .await
                    .unwrap()
            );
            say(JobState::Delivered, &claimed.job.id);
        }
    }
}

fn say(told: JobState, id: &JobId) {
    victim::say(told.as_str(), &id.to_string());
}
