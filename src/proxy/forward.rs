//! The upstream's request, built from scratch, and the head of its answer.

use std::net::IpAddr;

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use http::{Method, Request, Response, StatusCode, Version};

use super::head::named_by_connection;
use super::identify::CREDENTIAL_HEADERS;
use super::reject::Rejection;
use super::trace::Trace;
use crate::dialect::Call;
use crate::types::Peer;
use crate::upstream::{Sent, Upstream};

/// Whether a header is for one hop only (RFC 9110, section 7.6.1), beside those that `Connection` names.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
            | "proxy-authenticate"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether the gate drops a request header or sets it itself. `trailer` announces what is dropped, and some servers
/// take the last three for the request line.
fn is_not_forwarded(name: &str) -> bool {
    CREDENTIAL_HEADERS.iter().any(|known| known.as_str() == name)
        || matches!(
            name,
            "host"
                | "content-length"
                | "expect"
                | "cookie"
                | "trailer"
                | "proxy-authorization"
                | "forwarded"
                | "x-real-ip"
                | "x-http-method-override"
                | "x-original-url"
                | "x-rewrite-url"
        )
}

/// Whether a trailer field would change framing, credentials or cookies after the fact (RFC 9110, section 6.5.1).
fn is_not_in_trailers(name: &str) -> bool {
    matches!(
        name,
        "set-cookie" | "content-encoding" | "content-type" | "content-range"
    )
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

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
    call: Box<Call>,
    peer: Peer,
    trace: &Trace,
) -> Result<Response<Sent>, Rejection> {
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
    strip(headers, is_not_forwarded);
    if let Some(authorization) = upstream.authorization() {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    trace.set(headers);
    set_forwarded(headers, peer, host);
}

/// Removes what a stored call must not keep: credentials, framing and what is for one hop only.
pub(super) fn strip_request(headers: &mut HeaderMap) {
    strip(headers, is_not_forwarded);
}

fn set_forwarded(headers: &mut HeaderMap, peer: Peer, host: Option<HeaderValue>) {
    let address = HeaderValue::try_from(address(peer.addr.ip()));
    let proto = HeaderValue::from_static(if peer.secure { "https" } else { "http" });
    for (name, value) in [
        (X_FORWARDED_FOR, address.ok()),
        (X_FORWARDED_PROTO, Some(proto)),
        (X_FORWARDED_HOST, host),
    ] {
        match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    }
}

/// An address as text. That of IPv4 is written by hand: the formatter of the library takes several times as long.
fn address(ip: IpAddr) -> String {
    let ip = match ip.to_canonical() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(ip) => return ip.to_string(),
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in ip.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        for (power, digit) in [(100, octet / 100), (10, octet / 10 % 10), (1, octet % 10)] {
            if octet >= power || power == 1 {
                text.push(char::from(b'0' + digit));
            }
        }
    }
    text
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
    strip(headers, |_| false);
    if length_lies || !(*method == Method::HEAD || status == StatusCode::NOT_MODIFIED) {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(response)
}

/// Removes what no trailer may carry, and what is for one hop only.
pub(super) fn strip_trailers(trailers: &mut HeaderMap) {
    strip(trailers, |name| {
        is_not_forwarded(name) || is_not_in_trailers(name)
    });
}

/// Removes what is for one hop only, the gate's own headers, and `others`.
fn strip(headers: &mut HeaderMap, others: impl Fn(&str) -> bool) {
    let named: Vec<HeaderName> = named_by_connection(headers)
        .filter_map(|name| HeaderName::try_from(name).ok())
        .collect();
    let goes = |name: &&HeaderName| {
        let text = name.as_str();
        is_hop_by_hop(text) || text.starts_with(OWN_PREFIX) || others(text) || named.contains(name)
    };
    let gone: Vec<HeaderName> = headers.keys().filter(goes).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_the_library_writes_it() {
        for text in [
            "127.0.0.1",
            "10.0.200.99",
            "1.9.10.100",
            "255.255.255.255",
            "2001:db8::1",
        ] {
            assert_eq!(address(text.parse().unwrap()), text);
        }
        assert_eq!(address("::ffff:10.1.2.3".parse().unwrap()), "10.1.2.3");
    }
}
