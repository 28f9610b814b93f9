//! JSON bodies as hostile clients send them. What two parsers could read in two ways never reaches the upstream; what
//! is let through reaches it once, byte for byte.
//!
//! Each row is a route, headers, a body and what must become of it.

mod documents;
mod rows;

use std::time::{Duration, Instant};

use crate::support::client::Answer;
use crate::support::gateway::{Gateway, KEY};
use crate::support::upstream::{Upstream, ok};

use documents::{encodings, natives, shapes, types};
use rows::Want::{Passed, Refused};
use rows::{CHAT, JSON, Row, keys, lists, values};

async fn check(rows: Vec<Row>) {
    let upstream = Upstream::start(|_| ok("application/json", br#"{"ok":true}"#)).await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut passed = 0;
    for row in rows {
        let name = row.name;
        let answer = gateway.call("POST", row.target, row.headers, &row.body).await;
        match row.want {
            Passed => {
                passed += 1;
                assert_eq!(answer.status, 200, "{name}: {}", answer.text());
                assert_eq!(answer.code(), None, "{name}");
                let seen = upstream.requests();
                assert_eq!(seen.len(), passed, "{name}");
                let last = seen.last().unwrap();
                assert!(last.body == row.body, "{name}: the upstream saw other bytes");
                assert_eq!(last.target(), row.target, "{name}");
            }
            Refused(status, code) => {
                assert_eq!((answer.status, answer.code()), (status, Some(code)), "{name}");
                assert_eq!(upstream.requests().len(), passed, "{name} reached the upstream");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_decides_something_stands_once_and_under_its_own_name() {
    check(keys()).await;
}

#[tokio::test]
async fn a_value_that_decides_something_has_its_one_type() {
    check(values()).await;
}

#[tokio::test]
async fn a_list_of_models_has_one_to_sixteen_names() {
    check(lists()).await;
}

#[tokio::test]
async fn a_body_is_one_json_object_and_nothing_else() {
    check(shapes()).await;
}

#[tokio::test]
async fn a_body_is_plain_utf8() {
    check(encodings()).await;
}

#[tokio::test]
async fn a_body_has_the_content_type_that_its_route_takes() {
    check(types()).await;
}

#[tokio::test]
async fn a_native_body_names_no_other_model_than_its_path() {
    check(natives()).await;
}

#[test]
fn the_tables_have_all_the_rows_that_are_promised() {
    let tables = [
        keys(),
        values(),
        lists(),
        shapes(),
        encodings(),
        types(),
        natives(),
    ];
    assert!(tables.iter().map(Vec::len).sum::<usize>() >= 120);
}

async fn timed(gateway: &Gateway, body: &[u8]) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = gateway.call("POST", CHAT, JSON, body).await;
    (answer, began.elapsed())
}

#[tokio::test]
async fn bodies_that_are_made_to_be_slow_are_not() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let opened = [
        br#"{"model":"acme/model","x":"#.as_slice(),
        &b"[".repeat(1_000_000),
    ]
    .concat();
    let (answer, took) = timed(&gateway, &opened).await;
    assert_eq!((answer.status, answer.code()), (400, Some("invalid_body")));
    assert!(took < Duration::from_secs(2), "open brackets took {took:?}");

    let mut many = String::from(r#"{"model":"acme/model""#);
    (0..1_000_000).for_each(|n| many.push_str(&format!(",\"k{n}\":{n}")));
    many.push('}');
    let (answer, took) = timed(&gateway, many.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert!(upstream.request().body == many.as_bytes());
    assert!(took < Duration::from_secs(8), "a million keys took {took:?}");
}

#[tokio::test]
async fn a_body_in_small_pieces_is_read_like_a_whole_one() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let body = r#"{"model":"acme/model","messages":[{"role":"user","content":"\u00e9é\ud83c\udf0a"}]}"#;
    let mut raw = crate::support::client::Raw::connect(gateway.addr).await;
    raw.send(format!(
        "POST {CHAT} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\n{JSON}transfer-encoding: chunked\r\n\r\n"
    ))
    .await;
    for byte in body.bytes() {
        raw.send([b"1\r\n".as_slice(), &[byte], b"\r\n"].concat()).await;
    }
    raw.send("0\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    let request = upstream.request();
    assert_eq!(String::from_utf8(request.body.clone()).unwrap(), body);
    assert_eq!(
        request.header("content-length"),
        Some(body.len().to_string().as_str())
    );
}
