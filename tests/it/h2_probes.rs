//! HTTP/2 as hostile clients send it: what is refused never reaches the upstream, and what is let through reaches
//! it once, framed by the gate.

#![expect(clippy::too_many_lines, reason = "tables are as long as they are")]

use crate::support::gateway::{Gateway, KEY};
use crate::support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, H2, HEADERS, Outcome, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
};
use crate::support::upstream::{Upstream, ok};

const BODY: &str = r#"{"model":"acme/model"}"#;

type Row = (&'static str, Vec<u8>, bool);

/// The pseudo-headers and headers of a good call, with some replaced and some added.
fn call(replaced: &[(&'static str, &'static str)], added: &[(&'static str, &'static str)]) -> Vec<u8> {
    let bearer = format!("Bearer {KEY}");
    let mut headers = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1/chat/completions"),
        (":authority", "gate"),
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    for (name, value) in replaced {
        for header in headers.iter_mut().filter(|header| header.0 == *name) {
            header.1 = value;
        }
    }
    headers.extend_from_slice(added);
    with_body(&block(&headers))
}

/// A good call without one of its headers.
fn without(name: &str) -> Vec<u8> {
    let bearer = format!("Bearer {KEY}");
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1/chat/completions"),
        (":authority", "gate"),
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let kept: Vec<_> = headers.into_iter().filter(|header| header.0 != name).collect();
    with_body(&block(&kept))
}

fn with_body(block: &[u8]) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, 1, block);
    bytes.extend(frame(DATA, END_STREAM, 1, BODY.as_bytes()));
    bytes
}

fn pseudo_headers() -> Vec<Row> {
    vec![
        ("a good call", call(&[], &[]), true),
        ("no method", without(":method"), false),
        ("no scheme", without(":scheme"), false),
        ("no path", without(":path"), false),
        ("no authority and no host", without(":authority"), false),
        ("an empty path", call(&[(":path", "")], &[]), false),
        (
            "a path without a slash",
            call(&[(":path", "v1/chat/completions")], &[]),
            false,
        ),
        ("the asterisk", call(&[(":path", "*")], &[]), false),
        (
            "a path with a space",
            call(&[(":path", "/v1/chat completions")], &[]),
            false,
        ),
        (
            "a path with a line break",
            call(&[(":path", "/v1/chat\r\nx: y")], &[]),
            false,
        ),
        (
            "an absolute path",
            call(&[(":path", "http://evil/v1/chat/completions")], &[]),
            false,
        ),
        ("a scheme with a space", call(&[(":scheme", "ht tp")], &[]), false),
        ("CONNECT", call(&[(":method", "CONNECT")], &[]), false),
        ("TRACE", call(&[(":method", "TRACE")], &[]), false),
        ("a method with a space", call(&[(":method", "PO ST")], &[]), false),
        (
            "an authority with user info",
            call(&[(":authority", "u@evil")], &[]),
            false,
        ),
        (
            "an authority with a path",
            call(&[(":authority", "gate/x")], &[]),
            false,
        ),
        ("a host that differs", call(&[], &[("host", "evil")]), false),
        (
            "two hosts",
            call(&[], &[("host", "gate"), ("host", "evil")]),
            false,
        ),
        ("the same host", call(&[], &[("host", "gate")]), true),
        (
            "a pseudo-header twice",
            call(&[], &[(":path", "/v1/models")]),
            false,
        ),
        ("an unknown pseudo-header", call(&[], &[(":evil", "1")]), false),
        (
            "a pseudo-header after the headers",
            call(&[], &[("x-a", "b"), (":authority", "evil")]),
            false,
        ),
        (
            "a response's pseudo-header",
            call(&[], &[(":status", "200")]),
            false,
        ),
        (
            "the protocol of an extended CONNECT",
            call(&[(":method", "CONNECT")], &[(":protocol", "websocket")]),
            false,
        ),
    ]
}

fn headers() -> Vec<Row> {
    vec![
        ("a true length", call(&[], &[("content-length", "22")]), true),
        (
            "a length above the data",
            call(&[], &[("content-length", "23")]),
            false,
        ),
        (
            "a length below the data",
            call(&[], &[("content-length", "3")]),
            false,
        ),
        (
            "two lengths",
            call(&[], &[("content-length", "22"), ("content-length", "3")]),
            false,
        ),
        (
            "a length that is none",
            call(&[], &[("content-length", "2_2")]),
            false,
        ),
        (
            "a transfer coding",
            call(&[], &[("transfer-encoding", "chunked")]),
            false,
        ),
        (
            "a connection header",
            call(&[], &[("connection", "close")]),
            false,
        ),
        ("an upgrade", call(&[], &[("upgrade", "h2c")]), false),
        ("TE other than trailers", call(&[], &[("te", "gzip")]), false),
        ("a name in capitals", call(&[], &[("X-Capital", "1")]), false),
        (
            "a line break in a value",
            call(&[], &[("x-a", "b\r\nx-api-key: c")]),
            false,
        ),
        ("a NUL in a value", call(&[], &[("x-a", "b\0c")]), false),
        ("a line break in a name", call(&[], &[("x-a\r\nx-b", "c")]), false),
        ("a name with a colon", call(&[], &[("x:a", "c")]), false),
        (
            "an underscore for a dash",
            call(&[], &[("content_length", "3")]),
            false,
        ),
        (
            "a second credential that differs",
            call(&[], &[("x-api-key", "other")]),
            false,
        ),
    ]
}

fn frames() -> Vec<Row> {
    let good = block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/v1/models"),
        (":authority", "gate"),
    ]);
    let (front, back) = good.split_at(10);
    let after = |mut bytes: Vec<u8>, then: Vec<u8>| {
        bytes.extend(then);
        bytes
    };
    vec![
        ("data on no stream", frame(DATA, END_STREAM, 1, b"x"), false),
        (
            "headers on stream 0",
            frame(HEADERS, END_HEADERS, 0, &good),
            false,
        ),
        (
            "headers on an even stream",
            frame(HEADERS, END_HEADERS, 2, &good),
            false,
        ),
        (
            "a pushed request",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            false,
        ),
        ("a ping of seven bytes", frame(PING, 0, 0, &[0; 7]), false),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), false),
        (
            "a priority on itself",
            after(
                frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &good),
            ),
            false,
        ),
        ("a window of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), false),
        (
            "a window beyond its bound",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            false,
        ),
        ("a reset of no stream", frame(RST_STREAM, 0, 1, &[0; 4]), false),
        (
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, back),
            false,
        ),
        (
            "a continuation of another stream",
            after(
                frame(HEADERS, 0, 1, front),
                frame(CONTINUATION, END_HEADERS, 3, back),
            ),
            false,
        ),
        (
            "data amid the headers",
            after(frame(HEADERS, 0, 1, front), frame(DATA, 0, 1, b"x")),
            false,
        ),
        (
            "a frame above its bound",
            frame(HEADERS, END_HEADERS, 1, &[0; 20_000]),
            false,
        ),
        (
            "a block that is none",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 12]),
            false,
        ),
        (
            "a table index that is none",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xfe]),
            false,
        ),
    ]
}

async fn check(rows: Vec<Row>) {
    let upstream = Upstream::start(|_| ok("application/json", br#"{"ok":true}"#)).await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut passed = 0;
    for (name, bytes, goes) in rows {
        let mut h2 = H2::connect(gateway.addr).await;
        h2.send(&bytes).await;
        let outcome = h2.outcome(1).await;
        assert_eq!(outcome == Outcome::Ok, goes, "{name}: {outcome:?}");
        passed += usize::from(goes);
        let seen = upstream.requests();
        assert_eq!(seen.len(), passed, "{name}");
        if goes {
            let last = seen.last().unwrap();
            assert_eq!(String::from_utf8_lossy(&last.body), BODY, "{name}");
            assert_eq!(last.header("content-length"), Some("22"), "{name}");
        }
    }
}

#[tokio::test]
async fn every_form_of_a_pseudo_header_is_read_in_one_way_or_refused() {
    check(pseudo_headers()).await;
}

#[tokio::test]
async fn every_form_of_a_header_in_http2_is_read_in_one_way_or_refused() {
    check(headers()).await;
}

#[tokio::test]
async fn frames_out_of_order_end_the_connection_and_reach_nobody() {
    check(frames()).await;
}

#[tokio::test]
async fn a_head_that_is_a_little_too_large_is_answered_by_the_gate() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let headers = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1/chat/completions"),
        (":authority", "gate"),
        ("authorization", &format!("Bearer {KEY}")),
        ("content-type", "application/json"),
        ("x-long", &"y".repeat(40_000)),
    ]);
    let mut h2 = H2::connect(gateway.addr).await;
    let mut pieces = headers.chunks(16_000).peekable();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        h2.send(&frame(kind, flags, 1, piece)).await;
        kind = CONTINUATION;
    }
    h2.send(&frame(DATA, END_STREAM, 1, BODY.as_bytes())).await;
    let body = h2.wait_for(DATA).await.expect("an answer");
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["code"], "head_too_large");
    assert!(upstream.requests().is_empty());
}

#[test]
fn the_tables_have_all_the_probes_that_are_promised() {
    assert!(pseudo_headers().len() + headers().len() + frames().len() >= 33);
}
