//! HTTP/1 as hostile clients send it. What is refused never reaches the upstream; what is let through reaches it
//! once, framed by the gate.
//!
//! Each row is a request as it stands on the wire and what must become of it.

mod rows;

use crate::support::client::Raw;
use crate::support::gateway::Gateway;
use crate::support::upstream::{Upstream, ok};

use rows::Want::{Passed, Refused};
use rows::{BODY, Row, chunks, encodings, headers, lengths, lines, post};

async fn check(rows: Vec<Row>) {
    let upstream = Upstream::start(|_| ok("application/json", br#"{"ok":true}"#)).await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut passed = 0;
    for (name, request, want) in rows {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(&request).await;
        let answer = raw.answer().await.unwrap_or_else(|| panic!("{name}: no answer"));
        match want {
            Passed => {
                passed += 1;
                assert_eq!(answer.status, 200, "{name}: {answer:?}");
                let seen = upstream.requests();
                let last = seen.last().unwrap();
                assert_eq!(seen.len(), passed, "{name}");
                assert_eq!(String::from_utf8_lossy(&last.body), BODY, "{name}");
                assert_eq!(
                    last.header("content-length"),
                    Some(BODY.len().to_string().as_str()),
                    "{name}"
                );
                assert!(last.all("transfer-encoding").is_empty(), "{name}");
                assert!(last.all("x-private").is_empty(), "{name}");
            }
            Refused(statuses) => {
                assert!(statuses.contains(&answer.status), "{name}: {answer:?}");
                assert_eq!(upstream.requests().len(), passed, "{name} reached the upstream");
            }
        }
    }
}

#[tokio::test]
async fn every_form_of_a_length_is_read_in_one_way_or_refused() {
    check(lengths()).await;
}

#[tokio::test]
async fn every_form_of_a_transfer_coding_is_read_in_one_way_or_refused() {
    check(encodings()).await;
}

#[tokio::test]
async fn every_form_of_a_chunk_is_read_in_one_way_or_refused() {
    check(chunks()).await;
}

#[tokio::test]
async fn every_form_of_host_and_request_line_is_read_in_one_way_or_refused() {
    check(lines()).await;
}

#[tokio::test]
async fn every_form_of_a_header_line_is_read_in_one_way_or_refused() {
    check(headers()).await;
}

#[test]
fn the_tables_have_all_the_rows_that_are_promised() {
    let rows = [lengths(), encodings(), chunks(), lines(), headers()];
    assert!(rows.iter().map(Vec::len).sum::<usize>() >= 76);
}

#[tokio::test]
async fn a_body_that_was_not_read_never_becomes_a_request() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let smuggled = post(&format!("Content-Length: {}\r\n", BODY.len()), BODY);
    for refused in [
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: gate\r\nContent-Length: {}\r\n\r\n{smuggled}",
            smuggled.len()
        ),
        format!(
            "GET /nowhere HTTP/1.1\r\nHost: gate\r\nContent-Length: {}\r\n\r\n{smuggled}",
            smuggled.len()
        ),
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
            smuggled.len()
        ),
    ] {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(&refused).await;
        assert_eq!(raw.answer().await.unwrap().status, 401);
        assert!(upstream.requests().is_empty(), "the body became a request");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_each_reaches_the_upstream_once() {
    let upstream = Upstream::start(|request| ok("application/json", &request.body)).await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut raw = Raw::connect(gateway.addr).await;
    let bodies: Vec<String> = (0..5)
        .map(|n| format!(r#"{{"model":"acme/model","user":"{n}"}}"#))
        .collect();
    let all: String = bodies
        .iter()
        .map(|body| post(&format!("Content-Length: {}\r\n", body.len()), body))
        .collect();
    raw.send(all).await;
    for body in &bodies {
        assert_eq!(raw.answer().await.unwrap().text(), *body);
    }
    assert_eq!(upstream.requests().len(), bodies.len());
}
