//! The upstream's request, built from scratch, and the head of its answer.

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::head::named_by_connection;
use super::identify::CREDENTIAL_HEADERS;
use super::reject::Rejection;
use super::trace::Trace;
use crate::dialect::Call;
use crate::types::Peer;
use crate::upstream::{Sent, Upstream};

/// Headers that are for one hop only (RFC 9110, section 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Request headers that the gate drops or sets itself, beside the credentials. `trailer` announces what is dropped.
const NOT_FORWARDED: [HeaderName; 11] = [
    HOST,
    CONTENT_LENGTH,
    EXPECT,
    COOKIE,
    TRAILER,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-real-ip"),
    // Some servers take these for the request line.
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// Trailer fields that would change framing, credentials or cookies after the fact (RFC 9110, section 6.5.1).
const NOT_IN_TRAILERS: [HeaderName; 8] = [
    AUTHORIZATION,
    COOKIE,
    SET_COOKIE,
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    CONTENT_RANGE,
    HOST,
];

/// The prefix of the gate's own headers, which nobody else may send through it.
const OWN_PREFIX: &str = "x-tidegate-";

/// Sends a call and waits for the head of its answer, which is fit for the client then.
///
/// Dropping the future ends the call upstream.
///
/// # Errors
/// `upstream_unreachable`, `upstream_timeout` or `upstream_invalid`.
pub(super) async fn send(
    upstream: &Upstream,
    call: Call,
    peer: Peer,
    trace: &Trace,
) -> Result<Response<Sent<Incoming>>, Rejection> {
    let path = call.route().upstream_path(upstream.openai_prefix());
    let method = call.method().clone();
    let (mut headers, body) = call.into_parts().await.map_err(Rejection::internal)?;
    request_headers(&mut headers, peer, trace, upstream);
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    *request.headers_mut() = headers;
    let answer = upstream.send(&path, request).await?;
    response_head(answer, &method)
}

/// Turns a client's request headers into the upstream's.
///
/// End-to-end headers pass as they are. Credentials, cookies, framing and what is for one hop only are dropped; the
/// upstream's own key, `accept-encoding: identity`, the ids of the call and `x-forwarded-*` are set.
fn request_headers(headers: &mut HeaderMap, peer: Peer, trace: &Trace, upstream: &Upstream) {
    let host = headers.get(HOST).cloned();
    strip_hop_by_hop(headers);
    for name in CREDENTIAL_HEADERS {
        headers.remove(name);
    }
    for name in &NOT_FORWARDED {
        headers.remove(name);
    }
    strip_own(headers);
    if let Some(authorization) = upstream.authorization() {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    trace.set(headers);
    set_forwarded(headers, peer, host);
}

fn set_forwarded(headers: &mut HeaderMap, peer: Peer, host: Option<HeaderValue>) {
    let address = HeaderValue::try_from(peer.addr.ip().to_canonical().to_string());
    for (name, value) in [
        ("x-forwarded-for", address.ok()),
        (
            "x-forwarded-proto",
            Some(HeaderValue::from_static(if peer.secure {
                "https"
            } else {
                "http"
            })),
        ),
        ("x-forwarded-host", host),
    ] {
        headers.remove(name);
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

/// Turns the head of an upstream's answer into the client's.
///
/// # Errors
/// `upstream_invalid` for a status that no answer may have: an unasked 101, or one above 599.
fn response_head<B>(mut response: Response<B>, method: &Method) -> Result<Response<B>, Rejection> {
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS || status.as_u16() > 599 {
        return Err(Rejection::upstream_invalid(
            "the upstream answered with a status that no answer may have",
        ));
    }
    // The client's hop has a version of its own; HTTP/1.0 would take its keep-alive and its framing away.
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    // With a transfer coding the length that stands beside it was never true (RFC 9112, section 6.3).
    let length_lies = headers.contains_key(TRANSFER_ENCODING);
    strip_hop_by_hop(headers);
    strip_own(headers);
    if length_lies || !(*method == Method::HEAD || status == StatusCode::NOT_MODIFIED) {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(response)
}

/// Removes what no trailer may carry, and what is for one hop only.
pub(super) fn strip_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    strip_own(trailers);
    for name in NOT_IN_TRAILERS.iter().chain(&NOT_FORWARDED) {
        trailers.remove(name);
    }
    for name in CREDENTIAL_HEADERS {
        trailers.remove(name);
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = named_by_connection(headers)
        .filter_map(|name| HeaderName::try_from(name).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn strip_own(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(OWN_PREFIX))
        .cloned()
        .collect();
    for name in own {
        headers.remove(name);
    }
}
