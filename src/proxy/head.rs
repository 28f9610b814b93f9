//! What a request's head must be before anything is done with it.
//!
//! The upstream's request is built from scratch, so nothing odd could reach it; what is refused here is what a
//! stricter parser than ours would refuse, so that nobody can read one request in two ways.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Version};

use super::reject::Rejection;
use crate::config::Server;
use crate::token::MAX_TOKEN;

/// The longest path with its query, in bytes: room for the longest token in a query, and many times what else there is.
const MAX_TARGET: usize = MAX_TOKEN + 128;

/// What each header costs on the wire beside its name and value: `: ` and CRLF.
const HEADER_OVERHEAD: usize = 4;

/// Headers that the gate reads or sets itself. `Connection` must not name them, and no header may resemble them.
const GUARDED: [HeaderName; 12] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("xi-api-key"),
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    TRANSFER_ENCODING,
    HOST,
    COOKIE,
    EXPECT,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-tidegate-webhook"),
];

/// Checks target, `Host`, framing, sizes and connection headers.
///
/// # Errors
/// `head_too_large` or `invalid_header`, with what is wrong.
pub(super) fn check(parts: &Parts, settings: &Server) -> Result<(), Rejection> {
    size(parts, settings)?;
    target(parts)?;
    host(parts)?;
    framing(&parts.headers)?;
    connection(&parts.headers)?;
    lookalikes(&parts.headers)
}

fn size(parts: &Parts, settings: &Server) -> Result<(), Rejection> {
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET {
        return Err(Rejection::head_too_large(format!(
            "the path is longer than {MAX_TARGET} bytes"
        )));
    }
    if parts.headers.len() > settings.max_headers {
        return Err(Rejection::head_too_large(format!(
            "there are more than {} headers",
            settings.max_headers
        )));
    }
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD);
    let whole = headers.fold(target, usize::saturating_add);
    if u64::try_from(whole).is_ok_and(|whole| whole <= settings.max_head) {
        return Ok(());
    }
    Err(Rejection::head_too_large(format!(
        "the head is longer than {} bytes",
        settings.max_head
    )))
}

/// Only origin-form (`/path`) is taken; HTTP/2 always brings scheme and authority apart from the path.
fn target(parts: &Parts) -> Result<(), Rejection> {
    let uri = &parts.uri;
    let origin_form =
        parts.version == Version::HTTP_2 || (uri.scheme().is_none() && uri.authority().is_none());
    if origin_form && uri.path().starts_with('/') {
        return Ok(());
    }
    Err(Rejection::invalid_header(
        "the request target must be a path that begins with `/`",
    ))
}

fn host(parts: &Parts) -> Result<(), Rejection> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Rejection::invalid_header("there must be exactly one `Host`"));
    }
    let host = host.map(|host| host.to_str().unwrap_or(""));
    let valid = match (host, parts.uri.authority()) {
        (Some(host), None) => valid_authority(host),
        (None, Some(authority)) => valid_authority(authority.as_str()),
        (Some(host), Some(authority)) => host == authority.as_str() && valid_authority(host),
        (None, None) => false,
    };
    if valid {
        Ok(())
    } else {
        Err(Rejection::invalid_header(
            "there must be exactly one valid `Host`",
        ))
    }
}

/// Makes HTTP/2's `:authority` the `Host` that it stands for.
pub(super) fn name_host(parts: &mut Parts) {
    let authority = parts.uri.authority().map(Authority::as_str);
    if let Some(host) = authority.and_then(|authority| HeaderValue::from_str(authority).ok()) {
        parts.headers.insert(HOST, host);
    }
}

/// A host with or without a port, and nothing else: no user info, no path.
fn valid_authority(text: &str) -> bool {
    is_plain_host(text) || is_odd_host(text)
}

/// A name or an IPv4 address, with or without a port: nearly every `Host` there is.
fn is_plain_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok()
}

/// Everything else that may stand for a host, such as an IPv6 address.
fn is_odd_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let Some(port) = text.strip_prefix(authority.host()) else {
        return false;
    };
    let port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok());
    port && !authority.host().is_empty()
}

fn framing(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let (first, second) = (encodings.next(), encodings.next());
    let chunked = first.is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if second.is_some() || !chunked {
        return Err(Rejection::invalid_header(
            "`Transfer-Encoding` may only be `chunked`, once",
        ));
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (first, second) = (lengths.next(), lengths.next());
    if second.is_some() || !first.is_none_or(|value| canonical_number(value.as_bytes())) {
        return Err(Rejection::invalid_header(
            "`Content-Length` may only be one plain number, once",
        ));
    }
    let expect_is_known = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    if !headers
        .get_all(EXPECT)
        .iter()
        .all(|value| expect_is_known(value.as_bytes()))
    {
        return Err(Rejection::invalid_header("`Expect` may only be `100-continue`"));
    }
    Ok(())
}

fn canonical_number(value: &[u8]) -> bool {
    value == b"0" || (value.iter().all(u8::is_ascii_digit) && !matches!(value.first(), None | Some(b'0')))
}

fn connection(headers: &HeaderMap) -> Result<(), Rejection> {
    if headers.contains_key(UPGRADE) {
        return Err(Rejection::invalid_header("connections are not upgraded here"));
    }
    for name in named_by_connection(headers) {
        if GUARDED
            .iter()
            .any(|guarded| guarded.as_str().eq_ignore_ascii_case(name))
        {
            return Err(Rejection::invalid_header(
                "`Connection` names a header that is not hop-by-hop",
            ));
        }
    }
    Ok(())
}

/// The header names that `Connection` lists: they are for this hop only.
pub(super) fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// Servers that speak CGI read `X_Api_Key` as `X-Api-Key`.
fn lookalikes(headers: &HeaderMap) -> Result<(), Rejection> {
    let odd = |name: &HeaderName| {
        let name = name.as_str();
        name.contains('_')
            && GUARDED
                .iter()
                .any(|guarded| guarded.as_str() == name.replace('_', "-"))
    };
    if headers.keys().any(odd) {
        return Err(Rejection::invalid_header(
            "a header's name resembles another's but for its underscores",
        ));
    }
    Ok(())
}
