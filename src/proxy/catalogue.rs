//! A catalogue as the holder of a token sees it: with the models that the token is for.

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{Response, StatusCode};
use http_body_util::BodyExt;

use super::reject::Rejection;
use crate::body::Body;
use crate::dialect::listed;
use crate::token::Scope;

/// The longest catalogue that is looked into, in bytes: many times the upstream's.
const MAX_CATALOGUE: u64 = 16 * 1024 * 1024;

/// Makes the upstream send the catalogue whole, for it has to be looked into.
pub(super) fn ask_whole(scope: &Scope, headers: &mut HeaderMap) {
    if scope.models.is_some() {
        for name in [RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
            headers.remove(name);
        }
    }
}

/// Takes the models that `scope` does not allow out of a catalogue. An error passes as it is.
///
/// # Errors
/// `upstream_invalid` if the answer can't be looked into.
pub(super) async fn seen_by(scope: &Scope, answer: Response<Body>) -> Result<Response<Body>, Rejection> {
    if scope.models.is_none() || answer.status().is_client_error() || answer.status().is_server_error() {
        return Ok(answer);
    }
    let unreadable = || Rejection::upstream_invalid("the upstream's catalogue can't be read");
    let (mut head, body) = answer.into_parts();
    if head.status != StatusCode::OK || head.headers.contains_key(CONTENT_ENCODING) {
        return Err(unreadable());
    }
    let limited = http_body_util::Limited::new(body, usize::try_from(MAX_CATALOGUE).unwrap_or(usize::MAX));
    let whole = limited.collect().await.map_err(|_| unreadable())?.to_bytes();
    let text = std::str::from_utf8(&whole).map_err(|_| unreadable())?;
    let seen = listed(text, |model| scope.allows(model)).ok_or_else(unreadable)?;
    // It tells another body than this one apart.
    head.headers.remove(ETAG);
    head.headers.insert(CONTENT_LENGTH, seen.len().into());
    Ok(Response::from_parts(head, Body::full(seen)))
}
