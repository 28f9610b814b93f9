//! `GET /v1/jobs/{request_id}`: what became of a call that was taken in.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::reject::Rejection;
use crate::body::{self, Body};
use crate::dialect::Route;
use crate::queue::{Backlog, JobId, Phase, View};
use crate::token::Caller;
use crate::types::rfc3339;

const NO_SUCH_JOB: &str = "this caller has no job of that name";

/// Answers `caller`: a key sees its account's jobs, a token those that were sent with it.
///
/// # Errors
/// `not_found`, of others' jobs too, and `ledger_unavailable`.
pub(super) async fn answer(
    route: &Route,
    caller: &Caller,
    backlog: &Backlog,
) -> Result<Response<Body>, Rejection> {
    let path = route.upstream_path(None);
    let path = path.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let id = JobId::parse(name).ok_or_else(|| Rejection::not_found(NO_SUCH_JOB))?;
    let found = backlog.queue().find(id).await;
    let found = found.map_err(Rejection::ledger_unavailable)?;
    let view = found
        .filter(|view| is_theirs(caller, view))
        .ok_or_else(|| Rejection::not_found(NO_SUCH_JOB))?;
    Ok(body::json(StatusCode::OK, &shown(&view)))
}

fn is_theirs(caller: &Caller, view: &View) -> bool {
    let token = caller.scope.as_ref().map(|scope| &scope.id);
    caller.account == view.account && (token.is_none() || token == view.token.as_ref())
}

/// A job in the words of the contract; times are in RFC 3339. Attempts are deliveries, and calls that failed.
fn shown(view: &View) -> Value {
    let attempts = view.attempts.iter();
    let told = attempts.filter(|attempt| attempt.phase == Phase::Deliver || attempt.error.is_some());
    let attempts = told.map(|attempt| {
        json!({
            "at": rfc3339(attempt.at),
            "status": attempt.status,
            "error": attempt.error,
        })
    });
    json!({
        "request_id": view.id.as_str(),
        "status": view.state.as_str(),
        "reason": view.death.map(|death| death.as_str()),
        "attempts": attempts.collect::<Vec<_>>(),
        "next_attempt_at": view.next_attempt_at.map(rfc3339),
    })
}
