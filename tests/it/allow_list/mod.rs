//! Calls with a token that try to reach a model, or a route, that the token is not for. On every surface: what is
//! refused reaches the upstream with no byte, and what passes reaches it as it came, without the token.

mod bodies;
mod forms;
mod paths;
mod shared;

use std::collections::HashSet;
use std::time::Duration;

use tidegate::token::{Mint, SigningKey};
use tidegate::types::{AccountId, Clock, KeyName, ModelPattern, SystemClock};

use crate::support::client::Answer;
use crate::support::gateway::{Gateway, KEY, MANAGER};
use crate::support::upstream::{Upstream, ok};

/// What every token of these tests is for, unless a row says otherwise.
const OWN: [&str; 6] = [
    "acme/model",
    "acme/tts",
    "acme/renamed",
    "acme/now",
    "deploy_id:Own",
    "team/*",
];

/// `acme/renamed` and `acme/now` are for the token by one of two names; `acme/old` is by none.
const ALIASES: &str = "[models.alias]\n\"acme/renamed\" = \"acme/elsewhere\"\n\"acme/before\" = \"acme/now\"\n\
                       \"acme/old\" = \"acme/other\"\n";

/// What must become of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Want {
    /// The upstream sees exactly these bytes, once.
    Passed,
    /// The upstream sees this body, or this target, in place of the one that was sent.
    Changed(&'static str),
    /// The gate's own status and code; the upstream sees nothing.
    Refused(u16, &'static str),
    /// The parser of heads refuses it with 400; the upstream sees nothing.
    Head,
}
use Want::{Changed, Head, Passed, Refused};

const FOREIGN: Want = Refused(403, "model_not_allowed");
const NO_ROUTE: Want = Refused(403, "route_not_allowed");
const BAD: Want = Refused(400, "invalid_body");
const TWICE: Want = Refused(400, "duplicate_field");
const UNKNOWN: Want = Refused(404, "unknown_route");

/// One call, with a token.
struct Row {
    name: String,
    method: &'static str,
    target: String,
    headers: String,
    body: Vec<u8>,
    want: Want,
}

/// A token of `account`'s key, for `models` or for all.
fn token(account: &str, secret: &str, models: Option<&[&str]>) -> String {
    signed(
        account,
        secret,
        models,
        SystemClock.now() + Duration::from_secs(3600),
    )
}

fn signed(account: &str, secret: &str, models: Option<&[&str]>, expires_at: Duration) -> String {
    let models = models.map(|models| {
        models
            .iter()
            .map(|model| ModelPattern::parse(model).unwrap())
            .collect()
    });
    let mint = Mint {
        account: AccountId::parse(account).unwrap(),
        key: KeyName::parse("auto").unwrap(),
        models,
        expires_at,
        spending_limit: None,
        jti: Some(Mint::random_jti().unwrap()),
    };
    mint.sign(&SigningKey::new(secret.as_bytes()).unwrap()).unwrap()
}

fn own_token() -> String {
    token("di:1", KEY, Some(&OWN))
}

/// One whose time ended a second ago.
fn expired_token() -> String {
    signed(
        "di:1",
        KEY,
        Some(&OWN),
        SystemClock.now() - Duration::from_secs(1),
    )
}

/// One for all models, of an account that may manage.
fn managers_token() -> String {
    token("di:2", MANAGER, None)
}

/// A gateway with aliases, and an upstream that answers everything.
async fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::start(|_| ok("application/json", br#"{"ok":true}"#)).await;
    let gateway = Gateway::with(upstream.addr, ALIASES).await;
    (upstream, gateway)
}

/// Makes each call with `token`, and looks at its answer and at what the upstream has seen.
async fn check(token: &str, rows: Vec<Row>) {
    let (upstream, gateway) = start().await;
    let mut passed = 0;
    for row in rows {
        let headers = format!("authorization: Bearer {token}\r\n{}", row.headers);
        let answer = gateway.bare(row.method, &row.target, &headers, &row.body).await;
        let name = format!("{} {}: {}", row.method, row.target, row.name);
        verdict(&name, &answer, row.want);
        if matches!(row.want, Passed | Changed(_)) {
            passed += 1;
            let seen = upstream.requests();
            let last = seen.last().unwrap();
            let changed = |from: &str| match row.want {
                Changed(to) if to.starts_with('/') == from.starts_with('/') => to.to_owned(),
                _ => from.to_owned(),
            };
            assert_eq!(last.target(), changed(&row.target), "{name}");
            let sent = String::from_utf8_lossy(&row.body);
            assert_eq!(String::from_utf8_lossy(&last.body), changed(&sent), "{name}");
            assert!(!last.head.contains("jwt:"), "{name}: {}", last.head);
        }
        assert_eq!(upstream.requests().len(), passed, "{name} reached the upstream");
    }
}

fn verdict(name: &str, answer: &Answer, want: Want) {
    let seen = (answer.status, answer.code());
    match want {
        Passed | Changed(_) => assert_eq!(seen, (200, None), "{name}: {}", answer.text()),
        Refused(status, code) => assert_eq!(seen, (status, Some(code)), "{name}: {}", answer.text()),
        Head => assert_eq!(answer.status, 400, "{name}"),
    }
}

#[tokio::test]
async fn a_json_body_names_no_foreign_model_on_any_surface() {
    check(&own_token(), bodies::on_every_surface()).await;
}

#[tokio::test]
async fn a_body_in_disguise_names_no_foreign_model() {
    check(&own_token(), bodies::in_disguise()).await;
}

#[tokio::test]
async fn speech_is_made_by_the_models_of_the_token() {
    check(&own_token(), bodies::speech()).await;
}

#[tokio::test]
async fn a_form_names_no_foreign_model() {
    check(&own_token(), forms::rows()).await;
}

#[tokio::test]
async fn a_native_path_names_no_foreign_model() {
    check(&own_token(), paths::native()).await;
}

#[tokio::test]
async fn a_path_in_disguise_leads_to_no_other_route() {
    check(&own_token(), paths::odd()).await;
}

#[tokio::test]
async fn a_token_manages_nothing_whosever_it_is() {
    for token in [own_token(), token("di:1", KEY, None), managers_token()] {
        check(&token, paths::not_for_tokens()).await;
    }
}

#[tokio::test]
async fn a_token_without_a_list_may_call_every_model_and_one_with_an_empty_list_none() {
    let call = |want| {
        vec![Row {
            name: String::new(),
            method: "POST",
            target: "/v1/chat/completions".into(),
            headers: bodies::JSON.into(),
            body: br#"{"model":"acme/other"}"#.into(),
            want,
        }]
    };
    check(&token("di:1", KEY, None), call(Passed)).await;
    check(&managers_token(), call(Passed)).await;
    check(&token("di:1", KEY, Some(&["acme/*"])), call(Passed)).await;
    check(&token("di:1", KEY, Some(&["acme/o"])), call(FOREIGN)).await;
    check(&token("di:1", KEY, Some(&["acme/other/*"])), call(FOREIGN)).await;
}

#[test]
fn the_tables_have_all_the_rows_that_are_promised() {
    let tables = [
        bodies::on_every_surface(),
        bodies::in_disguise(),
        bodies::speech(),
        forms::rows(),
        paths::native(),
        paths::odd(),
        paths::not_for_tokens(),
    ];
    let rows: HashSet<_> = tables
        .iter()
        .flatten()
        .map(|row| (row.method, &row.target, &row.headers, &row.body))
        .collect();
    assert_eq!(
        rows.len(),
        tables.iter().map(Vec::len).sum::<usize>(),
        "a row stands twice"
    );
    assert!(rows.len() >= 1400, "{}", rows.len());
}
