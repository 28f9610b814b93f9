//! The routes that the gate answers itself.

use http::{Response, StatusCode};
use serde_json::json;

use super::reject::Rejection;
use crate::body::{self, Body};
use crate::dialect::{Route, Surface};

/// Concurrent calls per account and model. This version sets no limit of its own, so the upstream's holds.
const UPSTREAM_CONCURRENCY: u32 = 200;

/// Tokens per minute: 0, no limit is set.
const TOKENS_PER_MINUTE: u32 = 0;

/// Answers the gate's own routes; `None` leaves the call to the upstream.
///
/// # Errors
/// `not_in_this_version` for routes that wait for their feature.
pub(super) fn answer(route: &Route) -> Result<Option<Response<Body>>, Rejection> {
    let surface = route.surface();
    if surface == Surface::ScopedJwt {
        return Err(Rejection::not_in_this_version("scoped tokens are"));
    }
    if surface == Surface::Jobs {
        return Err(Rejection::not_in_this_version("jobs are"));
    }
    let limits = json!({"rate_limit": UPSTREAM_CONCURRENCY, "tpm_rate_limit": TOKENS_PER_MINUTE});
    Ok((surface == Surface::RateLimit).then(|| body::json(StatusCode::OK, &limits)))
}
