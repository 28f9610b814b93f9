//! What every call does: its route, its key or token, its body, its limits, its answer. Run with `cargo bench`; compare
//! figures of one run only.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Uri};
use tidegate::config;
use tidegate::dialect::{JsonObject, Route, Strip, Tap};
use tidegate::limit::{Asked, Limits};
use tidegate::metrics::Metrics;
use tidegate::store::{MasterKeys, Sqlite};
use tidegate::token::{Keys, Lifetimes, Mint, PREFIX, SigningKey, Unverified};
use tidegate::types::{AccountId, Clock, KeyName, ModelName, ModelPattern, Money, SystemClock};
use tokio::runtime::Builder;
use tokio_util::task::TaskTracker;

const FRAME: &[u8] = b"data: {\"id\":\"chatcmpl-x\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"org/name\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"finish_reason\":null}],\"usage\":null}\n\n";

fn chat(words: usize) -> Bytes {
    let text = "word ".repeat(words);
    format!("{{\"model\":\"org/name\",\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}],\"max_tokens\":100,\"stream\":true}}").into()
}

fn answer(numbers: usize) -> Bytes {
    let list = "0.0123456,".repeat(numbers);
    format!("{{\"object\":\"list\",\"data\":[{{\"embedding\":[{list}0]}}],\"model\":\"org/name\",\"usage\":{{\"prompt_tokens\":7,\"total_tokens\":7}}}}").into()
}

fn headers(content_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
}

/// The secret of the one key.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Keys of these accounts, with a store in `folder`.
fn keys(accounts: Vec<config::Account>, folder: &Path) -> Keys {
    let env = std::collections::BTreeMap::<String, String>::new();
    let mut config = config::Config::parse("", folder, &env).expect("settings");
    config.accounts = accounts;
    let master = MasterKeys::generate().expect("a key");
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let store = Sqlite::open(&folder.join("keys.db"), master, metrics).expect("a store");
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let opening = Keys::open(
        &config,
        Arc::new(store),
        Arc::new(SystemClock),
        TaskTracker::new(),
    );
    runtime.block_on(opening).expect("keys")
}

fn requests(c: &mut Criterion) {
    let uri = Uri::from_static("/v1/openai/chat/completions");
    c.bench_function("route", |b| b.iter(|| Route::of(&Method::POST, black_box(&uri))));
    let account = config::Account {
        id: AccountId::parse("di:1").expect("an id"),
        name: None,
        management: false,
        keys: vec![config::AccountKey {
            name: KeyName::parse("auto").expect("a name"),
            secret: std::str::from_utf8(SECRET).expect("a secret").into(),
        }],
    };
    let folder = tempfile::tempdir().expect("a folder");
    let keys = keys(vec![account], folder.path());
    c.bench_function("key", |b| b.iter(|| keys.find(black_box(SECRET))));
    let token = mint(3, SystemClock.now());
    let token = token
        .sign(&SigningKey::new(SECRET).expect("a key"))
        .expect("a token");
    let text = token.strip_prefix(PREFIX).expect("a prefix").as_bytes();
    c.bench_function("known token", |b| {
        b.iter(|| keys.verify(black_box(text)).expect("a good one"));
    });
    for (name, words) in [("body of 0.6 KB", 100), ("body of 1 MiB", 209_000)] {
        let body = chat(words);
        let mut group = c.benchmark_group("request");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| b.iter(|| JsonObject::parse(black_box(body.clone()))));
        group.finish();
    }
}

/// A token for so many models that lives an hour.
fn mint(models: usize, now: Duration) -> Mint {
    let pattern = |number| ModelPattern::parse(&format!("org/name-{number}")).expect("a pattern");
    Mint {
        account: AccountId::parse("di:1").expect("an id"),
        key: KeyName::parse("auto").expect("a name"),
        models: Some((0..models).map(pattern).collect()),
        expires_at: now + Duration::from_secs(3600),
        spending_limit: Money::parse("1.50").ok(),
        jti: Mint::random_jti().ok(),
    }
}

/// A token that was not seen before.
fn tokens(c: &mut Criterion) {
    const NOW: Duration = Duration::from_secs(1_790_000_000);
    let key = SigningKey::new(b"0123456789abcdef0123456789abcdef").expect("a key");
    let lifetimes = Lifetimes::default();
    for (name, models) in [("token", 3), ("token of 100 models", 100)] {
        let mint = mint(models, NOW);
        let token = mint.sign(&key).expect("a token");
        let text = token.strip_prefix(PREFIX).expect("a prefix").as_bytes();
        c.bench_function(name, |b| {
            b.iter(|| {
                let token = Unverified::read(black_box(text)).expect("a token");
                token.verify(&key, NOW, &lifetimes).expect("a good one")
            });
        });
    }
}

fn limits(c: &mut Criterion) {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (account, key) = (
        AccountId::parse("di:1").expect("an id"),
        KeyName::parse("auto").expect("a name"),
    );
    let model = ModelName::parse("org/name").expect("a model");
    let asked = Asked {
        account: &account,
        key: &key,
        model: &model,
    };
    let label = metrics.models().label(&model);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let every = config::Limits {
        requests_per_minute: 1_000_000_000,
        tokens_per_minute: 1_000_000_000,
        ..config::Limits::default()
    };
    for (name, settings) in [
        ("slot", config::Limits::default()),
        ("slot, requests and tokens", every),
    ] {
        let limits = Limits::new(&settings, &metrics);
        c.bench_function(name, |b| {
            b.iter(|| {
                let admitted = runtime.block_on(limits.admit(asked, &label)).expect("room");
                admitted.used(10);
            });
        });
    }
}

fn answers(c: &mut Criterion) {
    for (name, numbers) in [("answer of 0.7 KB", 60), ("answer of 1 MiB", 104_000)] {
        let body = answer(numbers);
        let mut group = c.benchmark_group("tap");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut tap = Tap::of(&headers("application/json")).expect("a tap");
                tap.feed(black_box(&body));
                tap.end();
                tap.usage()
            });
        });
        group.finish();
    }
    let mut tap = Tap::of(&headers("text/event-stream")).expect("a tap");
    c.bench_function("tap, one event", |b| b.iter(|| tap.feed(black_box(FRAME))));
    let mut strip = Strip::default();
    let event = Bytes::from_static(FRAME);
    c.bench_function("strip, one event", |b| {
        b.iter(|| strip.feed(black_box(event.clone())))
    });
}

criterion_group!(hot, requests, tokens, limits, answers);
criterion_main!(hot);
