//! What a client is told of its limits: by two header fields of each answer, and by a route that the gate answers.
//!
//! The fields are those of the IETF draft "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers-10): both
//! are lists of structured fields (RFC 9651), here with one member, the limit of calls at once.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use crate::body::{self, Body};
use crate::limit::{Admitted, Limits};
use crate::token::Caller;

/// The limit that holds: its quota and what the quota counts.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What is left of it.
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Both fields of one call.
#[derive(Debug)]
pub(super) struct Fields {
    limit: usize,
    remaining: usize,
}

impl Fields {
    /// As it was when the call was let in.
    pub(super) fn of(admitted: &Admitted) -> Self {
        Self {
            limit: admitted.limit(),
            remaining: admitted.remaining(),
        }
    }

    /// Sets both, in place of what an upstream says of limits of its own: its client is the gate.
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        let Self { limit, remaining } = self;
        let policy = [
            "\"concurrency\";q=",
            &limit.to_string(),
            ";qu=\"concurrent-requests\"",
        ]
        .concat();
        let left = ["\"concurrency\";r=", &remaining.to_string()].concat();
        for (name, text) in [(RATELIMIT_POLICY, policy), (RATELIMIT, left)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

/// The answer of `GET /v1/me/rate_limit`: the caller's limits for models that no rule names, calls at once and tokens a
/// minute (0: no limit).
pub(super) fn answer(caller: &Caller, limits: &Limits) -> Response<Body> {
    let bounds = limits.bounds(&caller.account, &caller.key);
    let value = json!({"rate_limit": bounds.concurrency, "tpm_rate_limit": bounds.tokens_per_minute});
    body::json(StatusCode::OK, &value)
}
