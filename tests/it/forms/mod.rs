//! Multipart forms as hostile clients send them, whole and byte by byte. A form with two readings never reaches the
//! upstream; every other one reaches it byte for byte.

mod rows;

use crate::support::client::{Answer, Raw};
use crate::support::gateway::{Gateway, KEY};
use crate::support::upstream::{Upstream, ok};

use rows::Want::{Passed, Refused};
use rows::{FORM, Row, TRANSCRIBE, boundaries, fields, frames, heads, natives, part};

/// Sends a call whose body comes in pieces of `piece` bytes.
async fn call(gateway: &Gateway, row: &Row, piece: usize) -> Answer {
    let mut raw = Raw::connect(gateway.addr).await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {KEY}\r\n{}content-length: {}\r\n\r\n",
        row.target,
        row.headers,
        row.body.len()
    );
    raw.send(head).await;
    for piece in row.body.chunks(piece) {
        raw.send(piece).await;
    }
    raw.answer()
        .await
        .unwrap_or_else(|| panic!("{}: no answer", row.name))
}

async fn check(rows: Vec<Row>) {
    let upstream = Upstream::start(|_| ok("application/json", br#"{"ok":true}"#)).await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut passed = 0;
    for row in rows {
        let small = if row.body.len() < 4_000 {
            1
        } else {
            row.body.len() / 100
        };
        for piece in [row.body.len().max(1), small] {
            let name = format!("{} in pieces of {piece}", row.name);
            let answer = call(&gateway, &row, piece).await;
            match row.want {
                Passed => {
                    passed += 1;
                    assert_eq!(
                        (answer.status, answer.code()),
                        (200, None),
                        "{name}: {}",
                        answer.text()
                    );
                    let seen = upstream.requests();
                    assert_eq!(seen.len(), passed, "{name}");
                    let last = seen.last().unwrap();
                    assert!(last.body == row.body, "{name}: the upstream saw other bytes");
                    assert_eq!(
                        last.header("content-length"),
                        Some(row.body.len().to_string().as_str()),
                        "{name}"
                    );
                }
                Refused(status, code) => {
                    assert_eq!((answer.status, answer.code()), (status, Some(code)), "{name}");
                    assert_eq!(upstream.requests().len(), passed, "{name} reached the upstream");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_field_that_decides_something_stands_once_and_under_its_own_name() {
    check(fields()).await;
}

#[tokio::test]
async fn a_part_has_one_plain_head() {
    check(heads()).await;
}

#[tokio::test]
async fn a_form_begins_and_ends_with_its_boundary_and_holds_it_nowhere_else() {
    check(frames()).await;
}

#[tokio::test]
async fn a_boundary_is_named_once_and_plainly() {
    check(boundaries()).await;
}

#[tokio::test]
async fn a_native_form_asks_for_nothing_that_its_path_does_not() {
    check(natives()).await;
}

#[test]
fn the_tables_have_all_the_rows_that_are_promised() {
    let tables = [fields(), heads(), frames(), boundaries(), natives()];
    assert!(tables.iter().map(Vec::len).sum::<usize>() >= 70);
}

#[tokio::test]
async fn an_alias_in_a_form_changes_the_model_and_no_other_byte() {
    let upstream = Upstream::start(|_| ok("application/json", br#"{"ok":true}"#)).await;
    let gateway = Gateway::with(upstream.addr, "[models.alias]\n\"old/m\" = \"new/longer-name\"\n").await;
    let bytes: Vec<u8> = (0..=255).cycle().take(700_000).collect();
    let mut seen = 0;
    for size in [0, 10, 200_000, 262_144, 700_000] {
        for (model, served) in [
            ("old/m", "new/longer-name"),
            ("old/m:v1", "new/longer-name"),
            ("kept/m", "kept/m"),
        ] {
            let file = part("name=\"file\"; filename=\"a.wav\"", &bytes[..size]);
            let prompt = part("name=\"prompt\"", b"old/m");
            let named = |model: &str| part("name=\"model\"", model.as_bytes());
            for first in [true, false] {
                let form = |model: &str| {
                    let model = named(model);
                    let (front, back) = if first { (&model, &file) } else { (&file, &model) };
                    [front.as_slice(), &prompt, back, b"--b--\r\n"].concat()
                };
                let answer = gateway.call("POST", TRANSCRIBE, FORM, &form(model)).await;
                let name = format!("{model} with {size} bytes, first: {first}");
                assert_eq!(answer.status, 200, "{name}: {}", answer.text());
                seen += 1;
                let requests = upstream.requests();
                assert_eq!(requests.len(), seen);
                assert!(
                    requests.last().unwrap().body == form(served),
                    "{name}: other bytes"
                );
            }
        }
    }
}
