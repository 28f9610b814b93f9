//! What the gate accepts, other readers read alike: Python's and JavaScript's own are shown every JSON body that it
//! would forward, before and after its edits.

mod bodies;
mod dice;
mod reader;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tidegate::dialect::{Asked, Call, JsonError, JsonObject, ReadLimits, Route, Surface};
use tidegate::types::ModelName;

use dice::Dice;
use reader::{Told, ask, is_skipped};

/// Where bodies are sent: each route reads other keys.
const PATHS: [&str; 6] = [
    "/v1/openai/chat/completions",
    "/v1/openai/chat/completions",
    "/v1/responses",
    "/v1/inference/acme/model",
    "/v1/text-to-speech/luna",
    "/anthropic/v1/messages",
];

/// Models that another serves, and which.
const ALIASES: [(&str, &str); 2] = [("acme/model", "n/m"), ("acme/other", "new/a-longer-name")];

/// A body that the gate took, as it came and as it goes upstream, and how it was understood.
struct Taken {
    route: &'static str,
    came: Vec<u8>,
    goes: Vec<u8>,
    models: Vec<String>,
    stream: bool,
    asked: bool,
    read: BTreeMap<&'static str, Reading>,
}

/// What the gate makes of a policy key that is there.
#[derive(Debug, PartialEq)]
enum Reading {
    /// This value, as the readers tell it.
    Value(String),
    /// It does not matter on this route.
    Unread,
}

/// How many bodies are made; more on request.
fn count() -> usize {
    let asked = std::env::var("TIDEGATE_TEST_BODIES").ok();
    asked.map_or(12_000, |count| {
        count.parse().expect("TIDEGATE_TEST_BODIES: a number")
    })
}

/// The policy keys, as the reader of bodies has them.
fn policy_keys() -> Vec<&'static str> {
    let source = include_str!("../../src/dialect/fold.rs");
    let table = source
        .split_once("POLICY_KEYS: [")
        .unwrap()
        .1
        .split_once("= [")
        .unwrap()
        .1;
    table
        .split_once("];")
        .unwrap()
        .0
        .split('"')
        .skip(1)
        .step_by(2)
        .collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn text_of(hex: &str) -> String {
    let digits: Vec<_> = hex
        .bytes()
        .map(|digit| char::from(digit).to_digit(16).unwrap())
        .collect();
    let bytes = digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap());
    String::from_utf8(bytes.collect()).expect("what the gate reads is UTF-8")
}

/// What the gate reads of a key in an object that it took.
fn reading(surface: Surface, object: &JsonObject, key: &'static str) -> Option<Reading> {
    if object.has_null(key) {
        return Some(Reading::Value("null".into()));
    }
    if !object.has(key) {
        return None;
    }
    let value: Result<_, JsonError> = match key {
        "webhook" if surface != Surface::Native => return Some(Reading::Unread),
        "background" if surface != Surface::Responses => return Some(Reading::Unread),
        "model" | "model_id" | "service_tier" | "webhook" => object
            .string(key)
            .map(|text| format!("s:{}", hex(&text.unwrap()))),
        "models" => object.strings(key).map(|list| {
            let entries: Vec<_> = list.unwrap().iter().map(|entry| hex(entry)).collect();
            format!("l:{}", entries.join(","))
        }),
        "stream" | "background" => object.boolean(key).map(|is| format!("b:{}", is.unwrap())),
        "stream_options" => {
            let usage = object
                .stream_option("include_usage")
                .map_or("null".into(), |asks| format!("b:{asks}"));
            object.check_stream_options().map(|()| format!("o:{usage}"))
        }
        _ => object.integer(key).map(|number| format!("i:{}", number.unwrap())),
    };
    Some(Reading::Value(
        value.unwrap_or_else(|error| panic!("taken, but {error}")),
    ))
}

/// Gives a body to the gate; `None` if it refuses.
async fn take(path: &'static str, body: &[u8], keys: &[&'static str]) -> Option<Taken> {
    let limits = ReadLimits {
        max_json: 1 << 20,
        max_multipart: 0,
        idle: Duration::from_secs(30),
    };
    let request = Request::post(path).body(Full::new(Bytes::copy_from_slice(body)));
    let (parts, stream) = request.unwrap().into_parts();
    let route = Route::of(&parts.method, &parts.uri).unwrap();
    let surface = route.surface();
    let stream = stream.map_err(|never: Infallible| match never {});
    let mut call = Call::read(route, parts, stream, limits).await.ok()?;
    let object = JsonObject::parse(Bytes::copy_from_slice(body)).unwrap();
    let readings = keys
        .iter()
        .filter_map(|key| Some((*key, reading(surface, &object, key)?)));
    let read = readings.collect();
    let models = call.models().iter().map(ToString::to_string).collect();
    let stream = call.stream();
    let aliases = ALIASES.map(|(asked, served)| (name(asked), name(served)));
    call.serve_aliases(&HashMap::from(aliases));
    let asked = call.ask_for_usage(false, false) == Asked::Yes;
    let (_, goes) = call.into_parts().await.unwrap();
    Some(Taken {
        route: path,
        came: body.to_vec(),
        goes: goes.collect().await.unwrap().to_bytes().into(),
        models,
        stream,
        asked,
        read,
    })
}

fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

/// What serves a model, in the reader's words.
fn served(hex_of_model: &str) -> String {
    let asked = name(&text_of(hex_of_model));
    let found = ALIASES.iter().find(|(alias, _)| *alias == asked.base());
    found.map_or(hex_of_model.to_owned(), |(_, served)| hex(served))
}

fn texts(value: Option<&String>) -> Vec<String> {
    let entries = value.and_then(|value| value.strip_prefix("l:").or(value.strip_prefix("s:")));
    entries.map_or(Vec::new(), |list| list.split(',').map(text_of).collect())
}

/// The models that may serve a call, as a server would find them in what a reader told.
fn models(route: &str, told: &BTreeMap<String, String>) -> Vec<String> {
    let one = |key: &str, otherwise: &str| {
        let named = texts(told.get(key)).pop();
        vec![named.unwrap_or_else(|| otherwise.to_owned())]
    };
    if route.contains("/inference/") {
        return one("model", "acme/model");
    }
    if route.contains("/text-to-speech/") {
        return one("model_id", "hexgrad/Kokoro-82M");
    }
    let mut list = texts(told.get("models"));
    for model in texts(told.get("model")) {
        if !list.contains(&model) {
            list.push(model);
        }
    }
    list
}

/// What must be read of the body that goes upstream.
fn edited(taken: &Taken, told: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut want = told.clone();
    let is_speech = taken.route.contains("/text-to-speech/");
    for (key, value) in &mut want {
        let is_named = if is_speech {
            key == "model_id"
        } else {
            key == "model" || key == "models"
        };
        if let Some((kind, list)) = value.split_once(':')
            && is_named
        {
            let list: Vec<_> = list.split(',').map(served).collect();
            *value = format!("{kind}:{}", list.join(","));
        }
    }
    if taken.asked {
        let other = want
            .get("stream_options")
            .and_then(|options| options.split_once(','));
        let other = other.map_or("null", |(_, other)| other).to_owned();
        want.insert("stream_options".into(), format!("o:b:true,{other}"));
    }
    want
}

/// What a reader has against the gate's reading of a body; empty when both agree.
fn differences(taken: &Taken, before: &Told, after: &Told) -> Vec<String> {
    let (Some(before), Some(after)) = (before, after) else {
        return vec![format!("refused: before {before:?}, after {after:?}")];
    };
    let mut found = Vec::new();
    let keys: Vec<_> = taken.read.keys().copied().collect();
    if before.keys().map(String::as_str).ne(keys.iter().copied()) {
        found.push(format!("the keys are {:?}", before.keys()));
    }
    for (key, reading) in &taken.read {
        let told = before.get(*key).map_or("", String::as_str);
        let told = if *key == "stream_options" {
            told.split(',').next().unwrap()
        } else {
            told
        };
        if let Reading::Value(value) = reading
            && value != told
        {
            found.push(format!("`{key}` is {told}, the gate read {value}"));
        }
    }
    let models = models(taken.route, before);
    if models != taken.models {
        found.push(format!(
            "the models are {models:?}, the gate has {:?}",
            taken.models
        ));
    }
    let stream = before.get("stream").is_some_and(|stream| stream == "b:true");
    if stream != taken.stream {
        found.push(format!("stream is {stream}"));
    }
    let usage = before
        .get("stream_options")
        .is_some_and(|options| options.starts_with("o:b:true"));
    if taken.asked != (stream && !usage && taken.route.ends_with("/completions")) {
        found.push(format!("usage was asked for: {}", taken.asked));
    }
    let want = edited(taken, before);
    if *after != want {
        found.push(format!("what goes upstream has {after:?} instead of {want:?}"));
    }
    found
}

fn shown(body: &[u8]) -> String {
    body.escape_ascii().to_string()
}

#[tokio::test]
async fn what_the_gate_accepts_is_read_alike_by_other_parsers() {
    let (keys, count) = (policy_keys(), count());
    let mut dice = Dice(7);
    let mut taken = Vec::new();
    for _ in 0..count {
        let body = bodies::some_body(&mut dice, &keys);
        taken.extend(take(dice.pick(&PATHS), &body, &keys).await);
    }
    println!("{} of {count} bodies are accepted", taken.len());
    // Else nothing was looked at: most bodies must be refused for a reason, and most keys be read in many.
    assert!(taken.len() > count / 6 && taken.len() < count / 6 * 5);
    for key in &keys {
        let read = taken.iter().filter(|taken| taken.read.contains_key(key)).count();
        assert!(read > count / 200, "`{key}` is in {read} bodies");
    }
    assert!(taken.iter().filter(|taken| taken.asked).count() > count / 200);
    let sent: Vec<_> = taken
        .iter()
        .flat_map(|taken| [taken.came.clone(), taken.goes.clone()])
        .collect();
    for (program, script) in [("python3", "read.py"), ("node", "read.mjs")] {
        if is_skipped(program) {
            continue;
        }
        let told = ask(program, script, &keys, &sent);
        for (taken, told) in taken.iter().zip(told.chunks(2)) {
            let found = differences(taken, &told[0], &told[1]);
            let body = shown(&taken.came);
            assert!(found.is_empty(), "{program}, {}: {body}\n{found:#?}", taken.route);
        }
    }
}

/// Bodies with two readings, and what Python and JavaScript make of `model`: this test would see a gate that accepts.
#[tokio::test]
async fn what_parsers_read_in_two_ways_is_refused() {
    let utf16 = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let (a, b) = (Some("s:61"), Some("s:62"));
    let rows: [(Vec<u8>, Option<&str>, Option<&str>); 9] = [
        (r#"{"model":"a","model":"b"}"#.into(), b, b),
        (r#"{"model":"a","\u006dodel":"b"}"#.into(), b, b),
        (r#"{"model":"a","n":NaN}"#.into(), a, None),
        (r#"{"model":"a","n":-Infinity}"#.into(), a, None),
        (utf16(r#"{"model":"a"}"#), a, None),
        ([vec![0xff, 0xfe], utf16(r#"{"model":"a"}"#)].concat(), a, None),
        ("\u{feff}{\"model\":\"a\"}".into(), a, None),
        (r#"{"model":"a","max_tokens":1e2}"#.into(), a, a),
        (r#"{"model":"a"}{}"#.into(), None, None),
    ];
    let keys = policy_keys();
    let bodies: Vec<_> = rows.iter().map(|(body, ..)| body.clone()).collect();
    for body in &bodies {
        assert!(take(PATHS[0], body, &keys).await.is_none(), "{}", shown(body));
    }
    for (program, script) in [("python3", "read.py"), ("node", "read.mjs")] {
        if is_skipped(program) {
            continue;
        }
        let told = ask(program, script, &keys, &bodies);
        for ((body, python, node), told) in rows.iter().zip(told) {
            let want = if program == "node" { node } else { python };
            let model = told
                .as_ref()
                .and_then(|told| told.get("model"))
                .map(String::as_str);
            assert_eq!(model, *want, "{program}: {}", shown(body));
        }
    }
}
