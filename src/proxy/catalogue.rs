//! A catalogue as the holder of a token sees it: with the models that the token is for.

use std::time::Duration;

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{Response, StatusCode};
use http_body::Body as HttpBody;
use hyper::body::Bytes;

use super::reject::Rejection;
use crate::body::{self, Body, BoxError};
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
/// `idle` is the longest wait for a piece of the answer. Dropping the future ends the call upstream.
///
/// # Errors
/// `upstream_invalid` if the answer can't be read or looked into.
pub(super) async fn seen_by<B>(
    scope: &Scope,
    answer: Response<B>,
    idle: Duration,
) -> Result<Response<Body>, Rejection>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    if scope.models.is_none() || answer.status().is_client_error() || answer.status().is_server_error() {
        return Ok(answer.map(Body::stream));
    }
    let unreadable = || Rejection::upstream_invalid("the upstream's catalogue can't be read");
    let (mut head, mut body) = answer.into_parts();
    if head.status != StatusCode::OK || head.headers.contains_key(CONTENT_ENCODING) {
        return Err(unreadable());
    }
    let whole = body::read(&mut body, MAX_CATALOGUE, idle).await;
    let whole = whole.map_err(|error| unreadable().because(error))?;
    let text = std::str::from_utf8(&whole).map_err(|_| unreadable())?;
    let seen = listed(text, |model| scope.allows(model)).ok_or_else(unreadable)?;
    // It tells another body than this one apart.
    head.headers.remove(ETAG);
    head.headers.insert(CONTENT_LENGTH, seen.len().into());
    Ok(Response::from_parts(head, Body::full(seen)))
}
