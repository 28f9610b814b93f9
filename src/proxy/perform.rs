//! A call that was stored, made now: the same steps as a live call's, from its limits on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri};
use serde::{Deserialize, Serialize};

use super::admit;
use super::forward;
use super::reject::Rejection;
use super::trace::X_REQUEST_ID;
use super::{Gate, Ready, Visit, budget};
use crate::body::Body;
use crate::dialect::{Call, ReadLimits, Route};
use crate::queue::Job;
use crate::spend::{self, Closing, Waiting};
use crate::token::{Caller, Scope};
use crate::types::{Money, Peer};

/// Method, target and headers of a call as they are stored, and who has sent it: what a live call's request is made of.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    method: String,
    target: String,
    /// Values are Latin-1: every byte is a character.
    headers: Vec<(String, String)>,
    peer: SocketAddr,
    secure: bool,
}

/// A stored call.
#[derive(Debug)]
pub struct Work<'a> {
    /// Its job.
    pub job: &'a Job,
    /// Method, target and headers, as they were stored.
    pub head: &'a [u8],
    /// The body.
    pub body: Body,
    /// What is held for it.
    pub held: Option<Money>,
}

/// What became of it.
#[derive(Debug)]
pub struct Performed {
    /// The answer: the upstream's, or the gate's own with `x-tidegate-error`. When its body has ended or fallen the
    /// call's end is at the closing.
    pub answer: Response<Body>,
    /// The call's end in the ledger; `None` if it was refused before there was one.
    pub closing: Option<Closing>,
}

/// What is stored is no request: another version wrote it, or a disk changed it.
#[derive(Debug, thiserror::Error)]
#[error("what is stored of the call can't be read")]
pub struct Unreadable;

impl Head {
    /// Takes it out of a call that was let in. Credentials are not kept, nor what is for one hop only.
    pub(super) fn of(call: &Call, peer: Peer) -> serde_json::Result<Vec<u8>> {
        let mut headers = call.headers().clone();
        let host = headers.get(HOST).cloned();
        forward::strip_request(&mut headers);
        headers.extend(host.map(|host| (HOST, host)));
        let text = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
        let headers = headers.iter();
        serde_json::to_vec(&Self {
            method: call.method().to_string(),
            target: call.route().upstream_path(None),
            headers: headers
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            peer: peer.addr,
            secure: peer.secure,
        })
    }

    fn read(bytes: &[u8], body: Body) -> Option<(Peer, Request<Body>)> {
        let head: Self = serde_json::from_slice(bytes).ok()?;
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            let value: Option<Vec<u8>> = value.chars().map(|c| u8::try_from(c).ok()).collect();
            let name = HeaderName::try_from(name.as_str()).ok()?;
            headers.append(name, HeaderValue::from_bytes(&value?).ok()?);
        }
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(head.method.as_bytes()).ok()?;
        *request.uri_mut() = Uri::try_from(head.target).ok()?;
        *request.headers_mut() = headers;
        let peer = Peer {
            addr: head.peer,
            secure: head.secure,
        };
        Some((peer, request))
    }
}

impl Gate {
    /// Makes a stored call. A limit or an upstream that has no room now is an answer like any other.
    ///
    /// Dropping the future, or the answer's body, ends what runs upstream for it.
    ///
    /// # Errors
    /// What is stored can't be read.
    pub async fn perform(&self, work: Work<'_>) -> Result<Performed, Unreadable> {
        let Work {
            job,
            head,
            body,
            held,
        } = work;
        let (peer, mut request) = Head::read(head, body).ok_or(Unreadable)?;
        let id = HeaderValue::from_str(job.id.as_str()).map_err(|_| Unreadable)?;
        request.headers_mut().insert(X_REQUEST_ID, id);
        let live = self.live.load_full();
        let mut closing = None;
        let performing = self.guarded(peer, request, async |request, trace, record| {
            let mut visit = Visit {
                live: &live,
                peer,
                trace,
                record,
            };
            let ready = self
                .resume(request, (job, held), &mut visit, &mut closing)
                .await?;
            self.answer(ready, None, visit).await
        });
        let answer = performing.await;
        Ok(Performed { answer, closing })
    }

    async fn resume(
        &self,
        request: Request<Body>,
        (job, held): (&Job, Option<Money>),
        visit: &mut Visit<'_>,
        closing: &mut Option<Closing>,
    ) -> Result<Ready, Rejection> {
        let Visit { live, record, .. } = visit;
        let caller = caller(job);
        record.identified(&caller);
        let (parts, body) = request.into_parts();
        let route = Route::of(&parts.method, &parts.uri)?;
        record.surface(route.surface());
        // It was read before: what goes wrong now is the disk's fault.
        let call = Call::read(route, parts, body, UNBOUNDED).await;
        let mut call = call.map_err(Rejection::internal)?;
        if let Some(model) = call.models().first() {
            record.model(model);
        }
        let label = record.label();
        let admitted = admit::waiting(&self.limits, &caller, call.models().first(), &label);
        // A job that finds no room waits on: that is no call that anybody has to hear of.
        let admitted = admitted.await.inspect_err(|_| record.forget())?;
        let upstream = live.upstreams.serving(call.models());
        let route = spend::Route {
            payer: budget::payer(&caller),
            surface: call.route().surface().as_str(),
            upstream: upstream.name(),
            label: &label,
            request_id: &job.id.request_id(),
        };
        let waiting = Waiting {
            call: job.call,
            at: job.at,
            held,
        };
        let (reservation, end) = self.spend.resume(route, &mut *call, waiting).await?;
        *closing = Some(end);
        Ok(Ready {
            call,
            admitted,
            reservation: Some(reservation),
        })
    }
}

/// The bounds of a live call held when it was taken in; those of now may be others.
const UNBOUNDED: ReadLimits = ReadLimits {
    max_json: u64::MAX,
    max_multipart: u64::MAX,
    idle: Duration::from_secs(60),
};

/// Whoever has sent the call. What it may do was checked when the call was taken in.
fn caller(job: &Job) -> Arc<Caller> {
    let scope = job.token.as_ref().map(|id| Scope {
        id: id.clone(),
        account: job.account.clone(),
        key: job.key.clone(),
        models: None,
        expires_at: job.at,
        spending_limit: None,
    });
    Arc::new(Caller {
        account: job.account.clone(),
        key: job.key.clone(),
        management: false,
        scope,
    })
}
