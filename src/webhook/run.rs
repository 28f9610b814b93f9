//! The first half of a job: its call is made under the same limits as a live one, and its result is kept before anybody
//! else hears of it.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Response};

use super::persist::persist;
use super::result;
use super::work::{Working, random};
use crate::body::{self, Body, ReadError};
use crate::proxy::{Performed, X_TIDEGATE_ERROR};
use crate::queue::{Again, Attempt, Content, Job, MAX_INLINE, Next, Part, Phase, Ran, Settled, next_run};
use crate::spend::Ended;
use crate::types::{CallId, Money};

/// The longest answer, in bytes: it has to be signed, so it has to be in memory when it is delivered.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// The longest silence of an answer; the upstream's own bounds are shorter unless somebody has set them so.
const SILENCE: Duration = Duration::from_secs(60 * 60);

/// How long a call waits that found no room.
const NO_ROOM: Duration = Duration::from_secs(1);

/// A call to be made.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job,
    pub(super) head: &'a [u8],
    pub(super) body: Body,
    pub(super) held: Option<Money>,
}

/// How a call went.
enum Verdict {
    /// It has not begun, and may in a moment.
    NoRoom,
    /// It failed, and may succeed later.
    Failed { told: Told, retry_after: Option<String> },
    /// It has a result.
    Done { result: Bytes, told: Option<Told> },
}

/// What went wrong.
struct Told {
    /// In whoever's words, for the receiver.
    message: String,
    /// In the gate's words, for everybody who may see the job.
    error: String,
}

impl Told {
    fn own(message: String) -> Self {
        let error = message.clone();
        Self { message, error }
    }
}

impl Working<'_> {
    /// Makes a job's call and keeps what came of it.
    ///
    /// Dropping the future ends the call upstream; the job is as it was.
    pub(super) async fn run(&self, run: Run<'_>) {
        let job = run.job;
        let at = self.backlog().wall_time();
        let work = crate::proxy::Work {
            job,
            head: run.head,
            body: run.body,
            held: run.held,
        };
        let Ok(performed) = self.gate().perform(work).await else {
            return self.damaged(Phase::Run).await;
        };
        let Performed { answer, closing } = performed;
        let status = answer.status().as_u16();
        let verdict = verdict(job, answer).await;
        let ended = match closing {
            Some(closing) => closing.ended().await,
            None => None,
        };
        match verdict {
            Verdict::NoRoom => {
                self.metrics().job_attempted(Phase::Run.as_str(), "no_room");
                self.rest();
                let again = Again {
                    due: self.backlog().now().saturating_add(NO_ROOM),
                    gap: NO_ROOM,
                    attempt: None,
                    charge: None,
                };
                self.put_back(again, None).await;
            }
            Verdict::Failed { told, retry_after } => {
                self.metrics().job_attempted(Phase::Run.as_str(), "failed");
                let result = result::failure(&job.id, &told.message);
                let attempt = attempt(at, Some(status), Some(told));
                let failed = job.failed.saturating_add(1);
                match next_run(failed, random(), retry_after.as_deref(), at) {
                    Next::At { wait, .. } => self.try_again(wait, attempt, ended).await,
                    Next::Exhausted => self.keep(result, false, attempt, ended).await,
                }
            }
            Verdict::Done { result, told } => {
                let succeeded = told.is_none();
                let outcome = if succeeded { "succeeded" } else { "refused" };
                self.metrics().job_attempted(Phase::Run.as_str(), outcome);
                self.keep(result, succeeded, attempt(at, Some(status), told), ended)
                    .await;
            }
        }
    }

    /// The call failed: later again. What it has cost all the same is charged, and as much is held again.
    async fn try_again(&self, wait: Duration, attempt: Attempt, ended: Option<Ended>) {
        let job = self.job();
        let charge = ended
            .as_ref()
            .filter(|ended| ended.cost() > Money::ZERO)
            .map(|ended| {
                (
                    ended.settlement().clone(),
                    CallId::new(self.backlog().wall_time()),
                )
            });
        let charged = charge.is_some();
        let again = Again {
            due: self.backlog().now().saturating_add(wait),
            gap: wait,
            attempt: Some(attempt.clone()),
            charge,
        };
        if self.put_back(again, ended.filter(|_| charged)).await == Settled::Broke {
            let message = "the call failed, and the spending limit does not pay for another attempt";
            self.keep(result::failure(&job.id, message), false, attempt, None)
                .await;
        }
    }

    async fn put_back(&self, again: Again, ended: Option<Ended>) -> Settled {
        let lease = self.lease();
        let queue = self.backlog().queue();
        let settled = persist(|| queue.put_back(lease.clone(), again.clone())).await;
        let settled = settled.unwrap_or(Settled::Lost);
        if settled != Settled::Lost
            && let Some(ended) = ended
        {
            ended.written(self.metrics());
        }
        settled
    }

    /// Keeps a result, however often it takes: it is paid for.
    async fn keep(&self, result: Bytes, succeeded: bool, attempt: Attempt, ended: Option<Ended>) {
        let settlement = ended.as_ref().map(|ended| ended.settlement().clone());
        let kept = persist(|| async {
            let ran = Ran {
                result: self.content(result.clone()).await?,
                succeeded,
                settlement: settlement.clone(),
                attempt: attempt.clone(),
            };
            self.backlog().queue().ran(self.lease().clone(), ran).await
        });
        if kept.await != Some(true) {
            return;
        }
        if let Some(ended) = ended {
            ended.written(self.metrics());
        }
        self.backlog().deliverable().notify_one();
    }

    async fn content(&self, result: Bytes) -> Result<Content, crate::queue::QueueError> {
        if result.len() <= MAX_INLINE {
            return Ok(Content::Inline(result));
        }
        let len = u64::try_from(result.len()).unwrap_or(u64::MAX);
        let queue = self.backlog().queue();
        let stash = queue.stash(&self.job().id, Part::Result, Body::full(result), len);
        stash.await.map(Content::Stashed)
    }
}

fn attempt(at: Duration, status: Option<u16>, told: Option<Told>) -> Attempt {
    let (error, said) = match told {
        Some(Told { message, error }) if message == error => (Some(error), None),
        Some(Told { message, error }) => (Some(error), Some(message)),
        None => (None, None),
    };
    Attempt {
        phase: Phase::Run,
        at,
        status,
        error,
        said,
    }
}

/// What an answer means for its job.
async fn verdict(job: &Job, answer: Response<Body>) -> Verdict {
    let (parts, mut body) = answer.into_parts();
    let status = parts.status;
    let own = parts
        .headers
        .get(X_TIDEGATE_ERROR)
        .and_then(|code| code.to_str().ok());
    let read = body::read(&mut body, MAX_ANSWER, SILENCE).await;
    // What was not read is over: the call ends here at the latest.
    drop(body);
    if own.is_some_and(is_no_room) {
        return Verdict::NoRoom;
    }
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(ReadError::TooLarge { limit }) => {
            return refused(job, Told::own(format!("the answer is longer than {limit} bytes")));
        }
        Err(ReadError::Idle { .. } | ReadError::Broken(_)) => {
            return Verdict::Failed {
                told: Told::own("the model's answer broke off".to_owned()),
                retry_after: None,
            };
        }
    };
    if status.is_success() {
        let result = result::answer(&job.id, &parts.headers, &bytes);
        return Verdict::Done { result, told: None };
    }
    let message = result::message(status.as_u16(), &bytes);
    let told = match own {
        Some(_) => Told::own(message),
        None => Told {
            message,
            error: format!("the model's call was answered with status {}", status.as_u16()),
        },
    };
    if may_pass(status.as_u16(), own) {
        return Verdict::Failed {
            told,
            retry_after: retry_after(&parts.headers),
        };
    }
    refused(job, told)
}

/// Whether the gate's own limits were in the way, or its end.
fn is_no_room(code: &str) -> bool {
    matches!(
        code,
        "rate_limited" | "too_many_requests" | "too_many_tokens" | "draining"
    )
}

/// Whether a failure is one of the moment: what the upstream is too busy for, and its own faults; of the gate's refusals
/// only those that are none of the call's.
fn may_pass(status: u16, own: Option<&str>) -> bool {
    match own {
        Some(code) => {
            let of_the_gate = ["internal", "ledger_unavailable", "limits_unavailable"];
            code.starts_with("upstream_") || of_the_gate.contains(&code)
        }
        None => matches!(status, 408 | 425 | 429) || status >= 500,
    }
}

fn refused(job: &Job, told: Told) -> Verdict {
    Verdict::Done {
        result: result::failure(&job.id, &told.message),
        told: Some(told),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(RETRY_AFTER)?;
    value.to_str().ok().map(str::to_owned)
}
