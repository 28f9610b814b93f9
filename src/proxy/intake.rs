//! A call that carries a webhook: stored with its money, answered at once, made later.

use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Response, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::admit::X_TIDEGATE_WEBHOOK;
use super::perform::Head;
use super::reject::Rejection;
use super::{Gate, Live, Visit, budget};
use crate::body::{self, Body};
use crate::dialect::{Call, IDEMPOTENCY_KEY};
use crate::metrics::Outcome;
use crate::queue::{Content, MAX_INLINE, NewJob, Once, Part, PutError, PutJob, QueueError, Receiver};
use crate::spend::{self, ReserveError};
use crate::token::Caller;
use crate::types::{CallId, JobId, sha256};

/// The longest `Idempotency-Key`, in bytes.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The longest wait for the queue; one that takes longer counts as one that can't be written.
const PUT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the answer of a call is to be sent: the body or a header says so, or both the same.
///
/// # Errors
/// `invalid_webhook`.
pub(super) fn webhook(call: &Call, live: &Live) -> Result<Option<Receiver>, Rejection> {
    let mut headers = call.headers().get_all(X_TIDEGATE_WEBHOOK).iter();
    let header = match (headers.next(), headers.next()) {
        (_, Some(_)) => return Err(Rejection::invalid_webhook("there are two webhooks".to_owned())),
        (header, None) => header.map(|value| value.to_str().map_err(|_| ())),
    };
    let text = match (call.webhook(), header) {
        (None, None) => return Ok(None),
        (Some(text), None) | (None, Some(Ok(text))) => text,
        (Some(text), Some(Ok(other))) if text == other => text,
        (Some(_), Some(_)) => return Err(Rejection::invalid_webhook("there are two webhooks".to_owned())),
        (None, Some(Err(()))) => {
            return Err(Rejection::invalid_webhook("the webhook is not ASCII".to_owned()));
        }
    };
    if !call.route().surface().is_inference() {
        return Err(Rejection::invalid_webhook(
            "only calls of a model can be answered by a webhook".to_owned(),
        ));
    }
    let receiver = Receiver::parse(text, &live.receivers);
    receiver
        .map(Some)
        .map_err(|bad| Rejection::invalid_webhook(bad.to_string()))
}

impl Gate {
    /// Stores a call with the money that it may cost, and answers that it waits.
    ///
    /// Dropping the future leaves open whether it was stored.
    ///
    /// # Errors
    /// `invalid_header`, `idempotency_mismatch`, `queue_full`, the refusals of the budget, and `ledger_unavailable` where it
    /// can't be kept.
    pub(super) async fn take_in(
        &self,
        mut call: Box<Call>,
        receiver: Receiver,
        caller: &Caller,
        visit: Visit<'_>,
    ) -> Result<Response<Body>, Rejection> {
        let Visit {
            live, peer, record, ..
        } = visit;
        let key = idempotency_key(call.headers())?;
        call.take_webhook_out();
        let id = JobId::new(random());
        let upstream = live.upstreams.serving(call.models());
        let route = spend::Route {
            payer: budget::payer(caller),
            surface: call.route().surface().as_str(),
            upstream: upstream.name(),
            label: &record.label(),
            request_id: &id.request_id(),
        };
        let order = self.spend.foresee(route, &mut *call).await?;
        let at = self.backlog.wall_time();
        let once = key.map(|key| Once {
            key,
            request: call.fingerprint(&receiver.url()),
        });
        let job = NewJob {
            call: order
                .as_ref()
                .map_or_else(|| CallId::new(at), |order| order.entry.call),
            at: order.as_ref().map_or(at, |order| order.entry.at),
            due: self.backlog.now(),
            account: caller.account.clone(),
            key: caller.key.clone(),
            token: caller.scope.as_ref().map(|scope| scope.id.clone()),
            model: call.models().first().cloned(),
            surface: call.route().surface().as_str(),
            hook: receiver.url(),
            origin: receiver.origin(),
            head: Head::of(&call, peer).map_err(Rejection::internal)?,
            body: self.content(&id, call).await?,
            once,
            max_queued: live.max_queued,
            id,
        };
        let putting = self.backlog.queue().put(PutJob { job, order });
        let waiting = tokio::time::timeout(PUT_TIMEOUT, putting).await;
        let waiting = waiting.map_err(Rejection::ledger_unavailable)??;
        self.backlog.runnable().notify_one();
        record.queued();
        record.status(StatusCode::OK.as_u16());
        record.settle(Outcome::Completed);
        let mut answer = body::json(StatusCode::OK, &queued(&waiting.id));
        budget::Fields::waiting(waiting.held.filter(|_| has_limit(caller))).set(answer.headers_mut());
        Ok(answer)
    }

    async fn content(&self, id: &JobId, call: Box<Call>) -> Result<Content, Rejection> {
        let (_, mut body) = call.into_parts().await.map_err(Rejection::internal)?;
        let len = http_body::Body::size_hint(&body).exact().unwrap_or(u64::MAX);
        if usize::try_from(len).is_ok_and(|len| len <= MAX_INLINE) {
            let bytes: Bytes = body::read(&mut body, len, PUT_TIMEOUT)
                .await
                .map_err(Rejection::internal)?;
            return Ok(Content::Inline(bytes));
        }
        let stash = self.backlog.queue().stash(id, Part::Request, body, len).await;
        Ok(Content::Stashed(stash.map_err(PutError::Queue)?))
    }
}

fn has_limit(caller: &Caller) -> bool {
    let scope = caller.scope.as_ref();
    scope.is_some_and(|scope| scope.spending_limit.is_some())
}

/// What a client is told whose answer comes later, in the upstream's words.
fn queued(id: &JobId) -> serde_json::Value {
    json!({
        "request_id": id.as_str(),
        "inference_status": {
            "status": "queued",
            "runtime_ms": 0,
            "cost": 0.0,
            "tokens_generated": 0,
            "tokens_input": 0,
        },
    })
}

/// Two random UUIDs hold 244 bits that nobody can guess.
fn random() -> [u8; 32] {
    let mut random = [0; 32];
    let (one, two) = (Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes());
    for (place, byte) in random.iter_mut().zip(one.into_iter().chain(two)) {
        *place = byte;
    }
    random
}

/// The digest of the key that tells a second try.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Rejection> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) if (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) => {
            Ok(Some(sha256(key.as_bytes())))
        }
        (Some(_), _) => Err(Rejection::invalid_header(
            "there must be one `Idempotency-Key` of 1 to 255 bytes",
        )),
    }
}

impl From<PutError> for Rejection {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Full { limit } => Self::queue_full(limit),
            PutError::Mismatch => Self::idempotency_mismatch(),
            PutError::Hold(error) => ReserveError::Hold(error).into(),
            PutError::Queue(error @ (QueueError::Unavailable { .. } | QueueError::Damaged { .. })) => {
                Self::ledger_unavailable(error)
            }
            PutError::Queue(error @ QueueError::TooLong { .. }) => Self::internal(error),
        }
    }
}
