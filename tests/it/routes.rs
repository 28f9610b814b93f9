//! What each upstream sees of a call whose model is an alias, or another upstream's.

#![expect(clippy::too_many_lines, reason = "tables are as long as they are")]

use crate::support::gateway::{Gateway, KEY};
use crate::support::upstream::{Recorded, Upstream, ok};

const ALIASES: &str =
    "[models.alias]\n\"old/m\" = \"acme/new\"\n\"old/d\" = \"deploy_id:Xy1\"\n\"old/t\" = \"tts/new\"\n";

async fn upstream() -> Upstream {
    Upstream::start(|_| ok("application/json", br#"{"ok":true}"#)).await
}

/// What reached the upstream last.
fn last(upstream: &Upstream) -> Recorded {
    upstream.requests().into_iter().next_back().unwrap()
}

#[tokio::test]
async fn an_alias_changes_the_models_of_a_json_body_and_no_other_byte() {
    let upstream = upstream().await;
    let gateway = Gateway::with(upstream.addr, ALIASES).await;
    for (target, body, want) in [
        (
            "/v1/chat/completions",
            r#"{ "a" : 1.50, "model" :  "old/m" , "z":"old/m\u00e9" }"#,
            r#"{ "a" : 1.50, "model" :  "acme/new" , "z":"old/m\u00e9" }"#,
        ),
        (
            "/v1/chat/completions",
            r#"{"mod\u0065l":"old\/\u006d","x":{"model":"old/m"}}"#,
            r#"{"mod\u0065l":"acme/new","x":{"model":"old/m"}}"#,
        ),
        (
            "/v1/openai/completions",
            r#"{"model":"old/m:v1"}"#,
            r#"{"model":"acme/new"}"#,
        ),
        (
            "/v1/openai/completions",
            r#"{"model":"old/mm"}"#,
            r#"{"model":"old/mm"}"#,
        ),
        (
            "/v1/openai/completions",
            r#"{"model":"Old/m"}"#,
            r#"{"model":"Old/m"}"#,
        ),
        (
            "/v1/embeddings",
            r#"{"model":"old/d"}"#,
            r#"{"model":"deploy_id:Xy1"}"#,
        ),
        (
            "/v1/chat/completions",
            r#"{"models":[ "a/b" ,"old/m","old\/m:v2", "c/d" ],"model":"old/m","n":1}"#,
            r#"{"models":[ "a/b" ,"acme/new","acme/new", "c/d" ],"model":"acme/new","n":1}"#,
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"a/b","n":1,"models":["old/m"]}"#,
            r#"{"model":"a/b","n":1,"models":["acme/new"]}"#,
        ),
        (
            "/anthropic/v1/messages",
            r#"{"model":"old/m"}"#,
            r#"{"model":"acme/new"}"#,
        ),
        (
            "/v1/text-to-speech/v",
            r#"{"text":"old/t","model_id":"old/t"}"#,
            r#"{"text":"old/t","model_id":"tts/new"}"#,
        ),
        ("/v1/text-to-speech/v", r#"{"text":"x"}"#, r#"{"text":"x"}"#),
    ] {
        let answer = gateway.post(target, body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let seen = last(&upstream);
        assert_eq!(String::from_utf8_lossy(&seen.body), want, "{target}");
        assert_eq!(seen.target(), target);
        assert_eq!(
            seen.header("content-length"),
            Some(want.len().to_string().as_str())
        );
    }
}

#[tokio::test]
async fn an_alias_changes_the_model_of_a_native_path_and_its_body() {
    let upstream = upstream().await;
    let gateway = Gateway::with(upstream.addr, ALIASES).await;
    for (target, body, seen_target, seen_body) in [
        ("/v1/inference/old/m", "{}", "/v1/inference/acme/new", "{}"),
        (
            "/v1/inference/old%2Fm?a=b",
            "{}",
            "/v1/inference/acme/new?a=b",
            "{}",
        ),
        (
            "/v1/inference/old/m?version=v1&a=b",
            "{}",
            "/v1/inference/acme/new?a=b",
            "{}",
        ),
        ("/v1/inference/old/m:v1", "{}", "/v1/inference/acme/new", "{}"),
        ("/v1/inference/old/d", "{}", "/v1/inference/deploy/Xy1", "{}"),
        (
            "/v1/inference/kept/m?version=v1",
            "{}",
            "/v1/inference/kept/m?version=v1",
            "{}",
        ),
        (
            "/v1/inference/old/m",
            r#"{"model":"old/m","input":"old/m"}"#,
            "/v1/inference/acme/new",
            r#"{"model":"acme/new","input":"old/m"}"#,
        ),
        (
            "/v1/inference/old/m",
            r#"{"models":["old/m"]}"#,
            "/v1/inference/acme/new",
            r#"{"models":["acme/new"]}"#,
        ),
    ] {
        let answer = gateway.post(target, body).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let seen = last(&upstream);
        assert_eq!(seen.target(), seen_target, "{target}");
        assert_eq!(String::from_utf8_lossy(&seen.body), seen_body, "{target}");
    }
}

#[tokio::test]
async fn each_model_goes_to_its_own_upstream_under_that_ones_prefix_and_key() {
    let (main, first, second) = (upstream().await, upstream().await, upstream().await);
    let routes = format!(
        "{ALIASES}\
         [[upstream.route]]\nmodels = [\"acme/*\", \"one/exact\"]\nbase_url = \"http://{}\"\n\
         openai_prefix = \"/v1\"\napi_key = \"first-key\"\n\
         [[upstream.route]]\nmodels = [\"acme/late\", \"two/*\", \"deploy_id:*\"]\nbase_url = \"http://{}\"\n\
         openai_prefix = \"/api/openai/v3\"\napi_key = \"second-key\"\n",
        first.addr, second.addr
    );
    let gateway = Gateway::with(main.addr, &routes).await;
    let chat = |model: &str| format!(r#"{{"model":"{model}"}}"#);
    for (target, body, upstream, key, seen_target) in [
        (
            "/v1/openai/chat/completions",
            chat("other/m"),
            &main,
            "upstream-key",
            "/v1/openai/chat/completions",
        ),
        (
            "/v1/chat/completions",
            chat("other/m"),
            &main,
            "upstream-key",
            "/v1/chat/completions",
        ),
        (
            "/v1/openai/chat/completions",
            chat("acme/m"),
            &first,
            "first-key",
            "/v1/chat/completions",
        ),
        (
            "/v1/chat/completions?x=y",
            chat("acme/m:v1"),
            &first,
            "first-key",
            "/v1/chat/completions?x=y",
        ),
        (
            "/v1/embeddings",
            chat("acme/late"),
            &first,
            "first-key",
            "/v1/embeddings",
        ),
        (
            "/v1/embeddings",
            chat("one/exact"),
            &first,
            "first-key",
            "/v1/embeddings",
        ),
        (
            "/v1/embeddings",
            chat("one/exact2"),
            &main,
            "upstream-key",
            "/v1/embeddings",
        ),
        (
            "/v1/completions",
            chat("old/m"),
            &first,
            "first-key",
            "/v1/completions",
        ),
        (
            "/v1/completions",
            chat("two/m"),
            &second,
            "second-key",
            "/api/openai/v3/completions",
        ),
        (
            "/v1/openai/responses",
            chat("two/m"),
            &second,
            "second-key",
            "/api/openai/v3/responses",
        ),
        (
            "/v1/openai/responses",
            chat("deploy_id:Z"),
            &second,
            "second-key",
            "/api/openai/v3/responses",
        ),
        (
            "/anthropic/v1/messages",
            chat("two/m"),
            &second,
            "second-key",
            "/anthropic/v1/messages",
        ),
        (
            "/v1/inference/two/m",
            "{}".into(),
            &second,
            "second-key",
            "/v1/inference/two/m",
        ),
        (
            "/v1/inference/deploy/Z",
            "{}".into(),
            &second,
            "second-key",
            "/v1/inference/deploy/Z",
        ),
        (
            "/v1/chat/completions",
            r#"{"models":["two/m","acme/m"]}"#.into(),
            &second,
            "second-key",
            "/api/openai/v3/chat/completions",
        ),
    ] {
        let before = upstream.requests().len();
        let answer = gateway.post(target, &body).await;
        assert_eq!(answer.status, 200, "{target} {body}: {}", answer.text());
        assert_eq!(
            upstream.requests().len(),
            before + 1,
            "{target} {body} went elsewhere"
        );
        let seen = last(upstream);
        assert_eq!(seen.target(), seen_target, "{target} {body}");
        let credential = format!("Bearer {key}");
        assert_eq!(
            seen.header("authorization"),
            Some(credential.as_str()),
            "{target} {body}"
        );
        assert!(
            !seen.head.contains(KEY),
            "{target} {body}: the client's key went up"
        );
    }
}
