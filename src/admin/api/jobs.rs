//! `/api/v1/jobs`: what waits, what became of it, and what an operator does about it; and the secrets that sign deliveries.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Response;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::audit::Entry;
use super::fields::Fields;
use super::keys::grace;
use super::{Api, Call, ok};
use crate::admin::problem::Problem;
use crate::body::Body;
use crate::queue::{Denied, Filter, JobId, JobState, QueueError, View};
use crate::types::{AccountId, rfc3339};
use crate::webhook::fresh_secret;

/// The jobs of a list unless something else is asked for, and the most of them.
const USUAL_JOBS: u32 = 100;
const MOST_JOBS: u32 = 10_000;

/// How long a secret still signs that is replaced, unless something else is asked for: receivers are configured by hand.
const USUAL_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

impl Api {
    pub(super) async fn jobs(&self, mut call: Call) -> Result<Response<Body>, Problem> {
        let query = &mut call.query;
        let state = query.take("state")?.map(|word| {
            JobState::parse(&word).ok_or_else(|| {
                let words = JobState::ALL.map(|state| format!("`{}`", state.as_str()));
                Problem::field("state", format!("expected one of {}", words.join(", ")))
            })
        });
        let account = query.take("account")?.map(|text| {
            AccountId::parse(&text).map_err(|error| Problem::field("account", error.to_string()))
        });
        let most = query.take("limit")?.map(|text| {
            let limit = text.parse().ok();
            limit
                .filter(|limit| (1..=MOST_JOBS).contains(limit))
                .ok_or_else(|| Problem::field("limit", "expected a whole number from 1 to 10000"))
        });
        let after = query.take("cursor")?.map(|cursor| {
            place(&cursor).ok_or_else(|| Problem::field("cursor", "expected what `next` of a page said"))
        });
        let most = most.transpose()?.unwrap_or(USUAL_JOBS);
        let filter = Filter {
            state: state.transpose()?,
            account: account.transpose()?,
            after: after.transpose()?,
            // One more tells whether there are more.
            most: most.saturating_add(1),
        };
        std::mem::take(query).finish()?;
        let jobs = self.backlog.queue().list(filter).await?;
        let page = usize::try_from(most).ok().and_then(|most| jobs.get(..most));
        let has_more = page.is_some_and(|page| page.len() < jobs.len());
        let page = page.unwrap_or(&jobs);
        let next = page.last().filter(|_| has_more).map(cursor);
        let items: Vec<_> = page.iter().map(shown).collect();
        Ok(ok(&json!({"items": items, "next": next})))
    }

    pub(super) async fn job(&self, id: JobId) -> Result<Response<Body>, Problem> {
        Ok(ok(&shown(&self.found(id).await?)))
    }

    pub(super) async fn redeliver(&self, call: Call, id: JobId) -> Result<Response<Body>, Problem> {
        Fields::read_or_none(&call.body)?.finish()?;
        let entry = self.job_entry(&call, "job.redeliver", &id).await?;
        let (backlog, job) = (Arc::clone(&self.backlog), id.clone());
        let change = async move {
            let state = backlog.queue().redeliver(job, backlog.now()).await?;
            backlog.ring();
            Ok::<_, Denied>(state)
        };
        self.change(entry, change).await?;
        self.job(id).await
    }

    pub(super) async fn cancel(&self, call: Call, id: JobId) -> Result<Response<Body>, Problem> {
        Fields::read_or_none(&call.body)?.finish()?;
        let entry = self.job_entry(&call, "job.cancel", &id).await?;
        let (backlog, job) = (Arc::clone(&self.backlog), id.clone());
        self.change(entry, async move {
            backlog.queue().cancel(job, backlog.wall_time()).await
        })
        .await?;
        self.job(id).await
    }

    pub(super) async fn rotate_webhook_secret(
        &self,
        call: Call,
        account: AccountId,
    ) -> Result<Response<Body>, Problem> {
        self.entry_of(&account)?;
        let mut fields = Fields::read_or_none(&call.body)?;
        let grace = grace(&mut fields)?.unwrap_or(USUAL_GRACE);
        fields.finish()?;
        let entry = call.entry("webhook-secret.rotate", &account);
        let secret = fresh_secret().map_err(|_| Problem::internal("the system gives no random bytes"))?;
        let (backlog, made) = (Arc::clone(&self.backlog), secret.clone());
        let change = async move {
            let until = backlog.wall_time().saturating_add(grace);
            backlog.queue().rotate_secret(account, made, until).await
        };
        self.change(entry, change).await?;
        Ok(ok(&json!({"secret": secret.expose_secret()})))
    }

    async fn found(&self, id: JobId) -> Result<View, Problem> {
        let found = self.backlog.queue().find(id).await?;
        found.ok_or_else(|| Problem::not_found("job"))
    }

    async fn job_entry(&self, call: &Call, action: &'static str, id: &JobId) -> Result<Entry, Problem> {
        let view = self.found(id.clone()).await?;
        Ok(Entry {
            job: Some(id.clone()),
            ..call.entry(action, &view.account)
        })
    }
}

/// What leads to the jobs after this one.
fn cursor(view: &View) -> String {
    URL_SAFE_NO_PAD.encode(format!("{} {}", view.at.as_millis(), view.id.as_str()))
}

/// When the last job of the page before was accepted, and its name.
fn place(cursor: &str) -> Option<(Duration, JobId)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (at, job) = text.split_once(' ')?;
    Some((Duration::from_millis(at.parse().ok()?), JobId::parse(job)?))
}

fn shown(view: &View) -> Value {
    let attempts = view.attempts.iter().map(|attempt| {
        json!({
            "phase": attempt.phase.as_str(),
            "at": rfc3339(attempt.at),
            "status": attempt.status,
            "error": attempt.error,
            "said": attempt.said,
        })
    });
    json!({
        "request_id": view.id.as_str(),
        "account": view.account.as_str(),
        "key": view.key.as_str(),
        "token": view.token.as_ref().map(ToString::to_string),
        "model": view.model.as_ref().map(|model| model.as_str()),
        "receiver": view.origin,
        "status": view.state.as_str(),
        "reason": view.death.map(|death| death.as_str()),
        "at": rfc3339(view.at),
        "next_attempt_at": view.next_attempt_at.map(rfc3339),
        "attempts": attempts.collect::<Vec<_>>(),
    })
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        tracing::error!(%error, "the queue can't be used for an operator");
        Self::unavailable("the queue can't be read or written now; try again")
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown => Self::not_found("job"),
            Denied::State(_) | Denied::Deleted | Denied::Broke => Self::conflict(denied.to_string()),
            Denied::Queue(error) => error.into(),
        }
    }
}
