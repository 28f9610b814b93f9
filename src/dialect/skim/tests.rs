//! What the skimmer sees is what a parser sees, however the bytes are cut.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// What was seen, a value as the parser reads its bytes.
fn skimmed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(Option<Name>, Value)> {
    let mut skimmer = Skimmer::default();
    let mut found = Vec::new();
    for piece in pieces {
        skimmer.feed(piece, &mut |seen| {
            found.push(match seen {
                Seen::Value(name, raw) => (
                    Some(name),
                    serde_json::from_slice(raw).unwrap_or_else(|_| panic!("{}", raw.escape_ascii())),
                ),
                Seen::Beginning(name, raw) => (Some(name), json!(raw.escape_ascii().to_string())),
                Seen::Text(_) => return,
                Seen::End => (None, Value::Null),
            });
        });
    }
    found
}

/// The same out of a parsed document.
fn parsed(document: &Map<String, Value>) -> Vec<(Option<Name>, Value)> {
    let mut found = Vec::new();
    for (key, value) in document {
        match (Key::at_the_top(key.as_bytes()), value) {
            (Some(Key::Value(name)), _) => found.push((Some(name), value.clone())),
            (Some(Key::Container(container)), Value::Object(members)) => {
                for (key, value) in members {
                    if let Some(Key::Value(name)) = Key::inside(container, key.as_bytes()) {
                        found.push((Some(name), value.clone()));
                    }
                }
            }
            _ => {}
        }
    }
    found.push((None, Value::Null));
    found
}

fn cut<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = bytes.split_at((*cut).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

#[test]
fn watched_values_are_seen_and_all_else_is_not() {
    let text = r#" {"id":"usage", "choices":[{"usage":{"no":1},"message":{"usage":2}}], "a":["usage", "model"],
        "usage" : {"prompt_tokens":1,"x":{"}":"\"{"}} ,"model":"a\"b","error":null,"done":true,
        "response":{"usage":[1,[2]],"output":[{"usage":3}],"model":"m"},"message":{"usage":4},"x_groq":"usage"}"#;
    let seen = skimmed([text.as_bytes()]);
    let want = [
        (Some(Name::Usage), json!({"prompt_tokens": 1, "x": {"}": "\"{"}})),
        (Some(Name::Model), json!("a\"b")),
        (Some(Name::Error), json!(null)),
        (Some(Name::Done), json!(true)),
        (Some(Name::Usage), json!([1, [2]])),
        (Some(Name::Model), json!("m")),
        (Some(Name::StartUsage), json!(4)),
        (None, json!(null)),
    ];
    assert_eq!(seen, want);
}

#[test]
fn an_escaped_key_is_the_key_that_it_means() {
    let text =
        r#"{"us\u0061ge":1,"\u0075\u0073\u0061\u0067\u0065":2,"usag\u0065\u0065":3,"usage\\":4,"mod\"el":5}"#;
    assert_eq!(
        skimmed([text.as_bytes()]),
        [
            (Some(Name::Usage), json!(1)),
            (Some(Name::Usage), json!(2)),
            (None, json!(null))
        ]
    );
}

#[test]
fn of_a_value_beyond_its_bound_the_beginning_is_seen_and_the_rest_of_the_document_too() {
    let long = "x".repeat(70_000);
    let text = format!(
        r#"{{"generated_text":"{long}","usage":{{"a":"{long}"}},"error":{{"message":"no"}},"model":"m"}}"#
    );
    let seen = skimmed(text.as_bytes().chunks(1000));
    let names: Vec<_> = seen.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            Some(Name::GeneratedText),
            Some(Name::Usage),
            Some(Name::Error),
            Some(Name::Model),
            None
        ]
    );
    assert_eq!(seen.last().map(|(name, _)| *name), Some(None));
    assert_eq!(seen.get(3).map(|(_, value)| value.clone()), Some(json!("m")));
    assert!(matches!(&seen[1].1, Value::String(beginning) if beginning.len() > 60_000));
}

#[test]
fn what_is_no_document_says_nothing() {
    for text in ["null", "[]", "\"usage\":1", "[DONE]", "}}}", "", "1"] {
        let seen = skimmed([text.as_bytes()]);
        assert!(seen.iter().all(|(name, _)| name.is_none()), "{text}");
    }
}

#[test]
fn after_a_restart_a_broken_document_is_forgotten() {
    let mut skimmer = Skimmer::default();
    let mut seen = Vec::new();
    skimmer.feed(br#"{"response":{"text":"\"#, &mut |_| {});
    skimmer.restart();
    skimmer.feed(br#"{"usage":1}"#, &mut |found| {
        if let Seen::Value(name, raw) = found {
            seen.push((name, raw.to_vec()));
        }
    });
    assert_eq!(seen, [(Name::Usage, b"1".to_vec())]);
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => prop::sample::select(vec![
            "usage", "response", "message", "x_groq", "model", "type", "error", "timings", "num_tokens", "choices",
            "", "u", "usag", "usagee", "us\u{e4}ge", "\"", "\\", "usage\\",
        ]).prop_map(str::to_owned),
        1 => ".{0,8}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
        prop::sample::select(vec![
            "\"",
            "\\",
            "\\\\\"",
            "{",
            "}",
            "usage",
            "\"usage\":1",
            "[",
            "\n",
            "a: {",
            ""
        ])
        .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(key(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_seen_is_what_a_parser_sees(
        documents in prop::collection::vec(prop::collection::hash_map(key(), value(), 0..8), 1..3),
        pretty in any::<bool>(),
        cuts in prop::collection::vec(0_usize..9, 0..60),
    ) {
        let documents: Vec<Map<String, Value>> =
            documents.into_iter().map(|members| members.into_iter().collect()).collect();
        let mut text = String::new();
        for document in &documents {
            text += &if pretty {
                serde_json::to_string_pretty(document).unwrap()
            } else {
                serde_json::to_string(document).unwrap()
            };
        }
        let want: Vec<_> = documents.iter().flat_map(parsed).collect();
        for seen in [skimmed(cut(text.as_bytes(), &cuts)), skimmed(text.as_bytes().chunks(1))] {
            prop_assert_eq!(seen.len(), want.len());
            for ((name, value), (want_name, want)) in seen.iter().zip(&want) {
                prop_assert_eq!(name, want_name);
                // Of a long value only the beginning is seen.
                let is_beginning = name.is_some_and(|name| text.len() > name.bound());
                prop_assert!(value == want || is_beginning, "{} is not {}", value, want);
            }
        }
    }

    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 1_usize..20) {
        let mut skimmer = Skimmer::default();
        bytes.chunks(cut).for_each(|piece| skimmer.feed(piece, &mut |_| {}));
    }
}
