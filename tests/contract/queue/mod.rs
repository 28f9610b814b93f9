//! What every queue promises: no job that was acknowledged is lost, nobody works on one whose lease was lost, money and
//! jobs change together, and nothing of a call lies in the clear.

mod changing;
mod claiming;
mod contents;
mod killed;
mod many;
mod money;
mod operating;
mod putting;
mod sealing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tidegate::body::Body;
use tidegate::queue::{
    Again, Attempt, Claim, Claimed, Claims, Content, JobId, JobState, Lease, NewJob, Phase, PutJob, Queue,
    Ran, Room, Round, Settled, Task, View,
};
use tidegate::spend::Settlement;
use tidegate::store::Sqlite;
use tidegate::types::{AccountId, CallId, KeyName, ModelName};

use super::home::Home;
use super::open;

/// 2026-10-01, a Thursday, at noon.
const NOW: Duration = Duration::from_secs(1_790_856_000);

const SECOND: Duration = Duration::from_secs(1);

const HOUR: Duration = Duration::from_secs(3600);

fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn owner(byte: u8) -> CallId {
    CallId::from_bytes([byte; 16])
}

fn new_id() -> JobId {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).unwrap();
    JobId::new(random)
}

fn inline(bytes: &'static str) -> Content {
    Content::Inline(Bytes::from_static(bytes.as_bytes()))
}

/// A job of `di:1` for the model `acme/m`.
fn job() -> NewJob {
    job_of("di:1", "acme/m")
}

fn job_of(id: &str, name: &str) -> NewJob {
    NewJob {
        id: new_id(),
        call: CallId::new(NOW),
        at: NOW,
        due: NOW,
        account: account(id),
        key: KeyName::parse("auto").unwrap(),
        token: None,
        model: Some(model(name)),
        surface: "chat_completions",
        hook: "https://example.com/hook?secret=canary-hook".to_owned(),
        origin: "https://example.com".to_owned(),
        head: b"POST /v1 canary-head".to_vec(),
        body: inline("{\"canary-request\": 1}"),
        once: None,
        max_queued: 1_000_000,
    }
}

async fn put(queue: &Sqlite, job: NewJob) -> JobId {
    let waiting = queue.put(PutJob { job, order: None }).await.unwrap();
    assert!(!waiting.again);
    waiting.id
}

/// Up to `most` of what is due now.
fn wanted(phase: Phase, most: usize) -> Claim {
    Claim {
        phase,
        now: NOW,
        owner: owner(1),
        until: NOW + 60 * SECOND,
        most,
        round: Round::default(),
        lanes: Room::of_all(usize::MAX),
        accounts: Room::of_all(usize::MAX),
    }
}

async fn claim(queue: &Sqlite, claim: Claim) -> Claims {
    queue.claim(claim).await.unwrap()
}

/// The one job that is due.
async fn claim_one(queue: &Sqlite, phase: Phase) -> Claimed {
    let mut claims = claim(queue, wanted(phase, 10)).await;
    assert_eq!(claims.claimed.len(), 1);
    claims.claimed.remove(0)
}

async fn bytes(body: Body) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

/// The bytes that are sent or delivered.
async fn content(task: Task) -> Bytes {
    match task {
        Task::Run { body, .. } => bytes(body).await,
        Task::Deliver { result, .. } => bytes(result).await,
        Task::Damaged => panic!("the job is damaged"),
    }
}

fn attempt(phase: Phase) -> Attempt {
    Attempt {
        phase,
        at: NOW,
        status: Some(200),
        error: None,
        said: Some("canary-said".to_owned()),
    }
}

fn again(due: Duration, gap: Duration, attempt: Option<Attempt>) -> Again {
    Again {
        due,
        gap,
        attempt,
        charge: None,
    }
}

fn result(succeeded: bool, settlement: Option<Settlement>) -> Ran {
    Ran {
        result: inline("{\"canary-result\": 1}"),
        succeeded,
        settlement,
        attempt: attempt(Phase::Run),
    }
}

/// Runs the one job that is due.
async fn run(queue: &Sqlite, succeeded: bool) -> JobId {
    let claimed = claim_one(queue, Phase::Run).await;
    assert!(queue.ran(claimed.lease, result(succeeded, None)).await.unwrap());
    claimed.job.id
}

async fn find(queue: &Sqlite, job: &JobId) -> View {
    queue.find(job.clone()).await.unwrap().unwrap()
}

async fn state(queue: &Sqlite, job: &JobId) -> JobState {
    find(queue, job).await.state
}

async fn put_back(queue: &Sqlite, lease: Lease, again: Again) -> Settled {
    queue.put_back(lease, again).await.unwrap()
}
