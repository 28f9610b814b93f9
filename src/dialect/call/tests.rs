//! What is read of a call on each surface, and what an alias changes.

use std::collections::HashMap;
use std::convert::Infallible;

use http::Request;
use http_body_util::{BodyExt, Full};

use super::*;

mod ask;
mod besides;
mod clamp;
mod demand;
mod webhook;

const LIMITS: ReadLimits = ReadLimits {
    max_json: 2000,
    max_multipart: 2000,
    idle: Duration::from_secs(30),
};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const FORM: &[(&str, &str)] = &[("content-type", "multipart/form-data; boundary=b")];

const CHAT: &str = "/v1/chat/completions";

async fn read(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Box<Call>, CallError> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = request
        .body(Full::<Bytes>::new(body.into()))
        .unwrap()
        .into_parts();
    let route = Route::of(&parts.method, &parts.uri).unwrap();
    Call::read(
        route,
        parts,
        body.map_err(|never: Infallible| match never {}),
        LIMITS,
    )
    .await
}

fn field(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn names(call: &Call) -> Vec<&str> {
    call.models().iter().map(ModelName::as_str).collect()
}

async fn sent(call: Box<Call>) -> (Option<u64>, Bytes) {
    let (_, body) = call.into_parts().await.unwrap();
    (body.size_hint().exact(), body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn all_models_that_may_serve_a_json_call_are_found() {
    for (path, body, want) in [
        (CHAT, r#"{"model":"a/m:v1"}"#, vec!["a/m:v1"]),
        (CHAT, r#"{"model":"deploy_id:X"}"#, vec!["deploy_id:X"]),
        (CHAT, r#"{"model":"a","models":["b","c"]}"#, vec!["b", "c", "a"]),
        (CHAT, r#"{"models":["b","c"],"model":"c"}"#, vec!["b", "c"]),
        ("/v1/openai/responses", r#"{"models":["b"]}"#, vec!["b"]),
        (CHAT, r#"{"models":null,"model":"a"}"#, vec!["a"]),
        ("/anthropic/v1/messages", r#"{"model":"a"}"#, vec!["a"]),
        ("/v1/inference/a/m", "{}", vec!["a/m"]),
        (
            "/v1/inference/a/m",
            r#"{"model":"a/m","models":["a/m"]}"#,
            vec!["a/m"],
        ),
        (
            "/v1/inference/deploy/X",
            r#"{"model":"deploy_id:X"}"#,
            vec!["deploy_id:X"],
        ),
        (
            "/v1/text-to-speech/v",
            r#"{"text":"x"}"#,
            vec![DEFAULT_SPEECH_MODEL],
        ),
        (
            "/v1/text-to-speech/v/stream",
            r#"{"model_id":null}"#,
            vec![DEFAULT_SPEECH_MODEL],
        ),
        ("/v1/text-to-speech/v", r#"{"model_id":"a/m"}"#, vec!["a/m"]),
    ] {
        let call = read("POST", path, JSON, body).await.unwrap();
        assert_eq!(names(&call), want, "{path} {body}");
        assert_eq!(sent(call).await, (Some(body.len() as u64), body.into()));
    }
}

#[tokio::test]
async fn a_call_without_one_plain_model_is_refused() {
    for path in [
        CHAT,
        "/v1/images/generations",
        "/v1/audio/speech",
        "/anthropic/v1/messages/count_tokens",
    ] {
        for body in ["{}", r#"{"models":null}"#] {
            let read = read("POST", path, JSON, body).await;
            assert!(matches!(read, Err(CallError::MissingModel)), "{path} {body}");
        }
    }
    for (path, body) in [
        (CHAT, r#"{"model":null}"#),
        (CHAT, r#"{"model":5}"#),
        (CHAT, r#"{"model":""}"#),
        (CHAT, r#"{"model":"a b"}"#),
        (CHAT, r#"{"model":"a\u0000"}"#),
        (CHAT, r#"{"model":"../a"}"#),
        (CHAT, r#"{"model":"a","models":[]}"#),
        (CHAT, r#"{"model":"a","models":["b",5]}"#),
        (CHAT, r#"{"model":"a","models":["b",""]}"#),
        (CHAT, r#"{"model":"a","stream":"true"}"#),
        (CHAT, r#"{"model":"a","n":-1}"#),
        (CHAT, r#"{"model":"a","max_tokens":100.0}"#),
        (CHAT, r#"{"model":"a","service_tier":1}"#),
        (CHAT, r#"{"model":"a","stream_options":[]}"#),
        ("/v1/inference/a/m", r#"{"model":"a/n"}"#),
        ("/v1/inference/a/m", r#"{"model":"A/m"}"#),
        ("/v1/inference/a/m", r#"{"models":["a/m","a/n"]}"#),
        ("/v1/inference/a/m", r#"{"model":null}"#),
        ("/v1/inference/deploy/X", r#"{"model":"X"}"#),
        ("/v1/text-to-speech/v", r#"{"model_id":5}"#),
        ("/v1/text-to-speech/v", r#"{"model_id":""}"#),
    ] {
        let read = read("POST", path, JSON, body).await;
        let refused = matches!(
            read,
            Err(CallError::Json(_) | CallError::ModelName(_) | CallError::OtherModel(_))
        );
        assert!(refused, "{path} {body}: {read:?}");
    }
}

#[tokio::test]
async fn a_form_names_its_model_in_a_field_or_in_the_path() {
    let end = "--b--\r\n";
    let whole = |fields: &[(&str, &str)]| {
        let fields: String = fields.iter().map(|(name, value)| field(name, value)).collect();
        fields + end
    };
    for (path, fields, want) in [
        (
            "/v1/audio/transcriptions",
            vec![("file", "x"), ("model", "a")],
            "a",
        ),
        ("/v1/inference/a/m", vec![("audio", "x")], "a/m"),
        ("/v1/inference/a/m", vec![("model", "a/m")], "a/m"),
    ] {
        let body = whole(&fields);
        let call = read("POST", path, FORM, body.clone()).await.unwrap();
        assert_eq!(names(&call), [want]);
        assert_eq!(sent(call).await.1, body);
    }
    let missing = read("POST", "/v1/images/edits", FORM, whole(&[("image", "x")])).await;
    assert!(matches!(missing, Err(CallError::MissingModel)));
    for (path, fields) in [
        ("/v1/inference/a/m", vec![("model", "b")]),
        (
            "/v1/audio/transcriptions",
            vec![("model", "a"), ("models", "[\"b\"]")],
        ),
        ("/v1/audio/transcriptions", vec![("model", "\"a\"")]),
    ] {
        let read = read("POST", path, FORM, whole(&fields)).await;
        let refused = matches!(read, Err(CallError::OtherModel(_) | CallError::ModelName(_)));
        assert!(refused, "{path} {fields:?}");
    }
}

#[tokio::test]
async fn a_webhook_means_something_on_native_routes_only() {
    let json = r#"{"model":"a","webhook":"https://x.test/"}"#;
    let form = field("webhook", "\"https://x.test/\"") + &field("model", "a") + "--b--";
    for (path, headers, body, want) in [
        ("/v1/inference/a", JSON, json.to_owned(), true),
        ("/v1/inference/a", FORM, form.clone(), true),
        ("/v1/inference/a", JSON, "{}".to_owned(), false),
        (CHAT, JSON, json.to_owned(), false),
        (CHAT, JSON, r#"{"model":"a","webhook":5}"#.to_owned(), false),
        ("/v1/audio/translations", FORM, form, false),
    ] {
        let call = read("POST", path, headers, body.clone()).await.unwrap();
        let webhook = want.then_some("https://x.test/");
        assert_eq!(call.webhook(), webhook, "{path} {body}");
    }
    for value in ["null", "5", "[]", "{}", "true"] {
        let body = format!(r#"{{"webhook":{value}}}"#);
        let refused = read("POST", "/v1/inference/a", JSON, body).await;
        assert!(matches!(refused, Err(CallError::Webhook)), "{value}");
    }
}

#[tokio::test]
async fn a_stream_is_asked_for_by_true_alone() {
    for (value, want) in [("true", true), ("false", false), ("null", false)] {
        let body = format!("{{\"model\":\"a\",\"stream\":{value}}}");
        assert_eq!(read("POST", CHAT, JSON, body).await.unwrap().stream(), want);
    }
}

#[tokio::test]
async fn a_body_is_what_its_headers_say_or_it_is_refused() {
    let json = r#"{"model":"a"}"#;
    let native = "/v1/inference/a";
    for (path, headers) in [
        (CHAT, &[][..]),
        (native, &[]),
        (CHAT, &[("content-type", "Application/JSON; charset=UTF-8")]),
        (CHAT, &[("content-type", "application/json;charset=\"utf8\"")]),
        (CHAT, &[("content-encoding", "Identity")]),
    ] {
        assert!(
            read("POST", path, headers, json).await.is_ok(),
            "{path} {headers:?}"
        );
    }
    for (path, content_type) in [
        (CHAT, "application/json; charset=utf-16"),
        (CHAT, "application/json; charset=utf-8; charset=utf-16"),
        (CHAT, "application/json; charset*=utf-16''"),
        (CHAT, "application/json, text/plain"),
        (CHAT, "application/x-www-form-urlencoded"),
        (CHAT, "text/plain"),
        (CHAT, "text/json"),
        (CHAT, ""),
        (CHAT, "multipart/form-data; boundary=b"),
        (
            "/v1/images/edits",
            "multipart/form-data; boundary=b; charset=utf-7",
        ),
        (native, "multipart/form-data; charset=utf-16le; boundary=b"),
        (native, "application/x-www-form-urlencoded"),
        ("/v1/images/edits", "application/json"),
    ] {
        let read = read("POST", path, &[("content-type", content_type)], json).await;
        assert!(
            matches!(read, Err(CallError::ContentType(_))),
            "{path} {content_type}"
        );
    }
    let twice = [("content-type", "application/json"); 2];
    let read_twice = read("POST", CHAT, &twice, json).await;
    assert!(matches!(read_twice, Err(CallError::ContentType(_))));
    let untyped = read("POST", "/v1/images/edits", &[], json).await;
    assert!(matches!(untyped, Err(CallError::ContentType(_))));
    for codings in [
        &["gzip"][..],
        &["br"],
        &["identity, gzip"],
        &["identity", "identity"],
        &[""],
    ] {
        let headers: Vec<_> = codings
            .iter()
            .map(|coding| ("content-encoding", *coding))
            .collect();
        let read = read("POST", CHAT, &headers, json).await;
        assert!(matches!(read, Err(CallError::Encoding)), "{codings:?}");
    }
    let long = read("POST", CHAT, JSON, "x".repeat(2001)).await;
    assert!(matches!(long, Err(CallError::Read(ReadError::TooLarge { .. }))));
}

#[tokio::test]
async fn what_is_not_inference_passes_unread_or_without_its_body() {
    let call = read(
        "POST",
        "/v1/files",
        &[("content-encoding", "gzip")],
        "\x1f\x00 no JSON",
    )
    .await
    .unwrap();
    assert!(call.models().is_empty());
    assert_eq!(sent(call).await, (Some(10), "\x1f\x00 no JSON".into()));
    let call = read("GET", "/v1/models", &[], "x").await.unwrap();
    assert_eq!(sent(call).await, (Some(0), Bytes::new()));
}

#[tokio::test]
async fn an_alias_changes_the_model_and_no_other_byte() {
    let form = |model: &str| field("model", model) + &field("file", "x") + "--b--";
    for (path, headers, body, to, want) in [
        (
            CHAT,
            JSON,
            r#"{ "x":[1], "model" : "old\/m", "model_id":"old/m", "stream":true}"#.to_owned(),
            CHAT,
            r#"{ "x":[1], "model" : "new/model", "model_id":"old/m", "stream":true}"#.to_owned(),
        ),
        (
            CHAT,
            JSON,
            r#"{"model":"old/m:v1","models":["b", "old/m" ]}"#.to_owned(),
            CHAT,
            r#"{"model":"new/model","models":["b", "new/model" ]}"#.to_owned(),
        ),
        (
            CHAT,
            JSON,
            r#"{"model":"old/me"}"#.to_owned(),
            CHAT,
            r#"{"model":"old/me"}"#.to_owned(),
        ),
        (
            "/v1/inference/old%2Fm?version=v",
            JSON,
            r#"{"model":"old/m","input":"old/m"}"#.to_owned(),
            "/v1/inference/new/model",
            r#"{"model":"new/model","input":"old/m"}"#.to_owned(),
        ),
        (
            "/v1/audio/transcriptions",
            FORM,
            form("old/m"),
            "/v1/audio/transcriptions",
            form("new/model"),
        ),
    ] {
        let (sent_to, sent) = served(path, headers, body).await;
        assert_eq!((sent_to.as_str(), sent), (to, Bytes::from(want)));
    }
}

#[tokio::test]
async fn the_default_voice_model_may_have_an_alias_too() {
    for (body, want) in [
        (
            r#"{"text":"x","model":"old/m"}"#,
            r#"{"model_id":"new/voice","text":"x","model":"old/m"}"#,
        ),
        (r#"{"model_id":null}"#, r#"{"model_id":"new/voice"}"#),
        (r#"{"model_id":"old/m"}"#, r#"{"model_id":"new/model"}"#),
        (r#"{"model_id":"other/m"}"#, r#"{"model_id":"other/m"}"#),
    ] {
        let (_, sent) = served("/v1/text-to-speech/v", JSON, body.into()).await;
        assert_eq!(sent, want);
    }
}

/// Where a call goes and what goes there, where `old/m` and the default voice model have aliases.
async fn served(path: &str, headers: &[(&str, &str)], body: String) -> (String, Bytes) {
    let name = |text: &str| ModelName::parse(text).unwrap();
    let aliases = HashMap::from([
        (name("old/m"), name("new/model")),
        (name(DEFAULT_SPEECH_MODEL), name("new/voice")),
    ]);
    let mut call = read("POST", path, headers, body).await.unwrap();
    call.serve_aliases(&aliases);
    assert!(
        names(&call)
            .iter()
            .all(|name| !["old/m", DEFAULT_SPEECH_MODEL].contains(name))
    );
    let path = call.route().upstream_path(None);
    let (len, sent) = sent(call).await;
    assert_eq!(len, u64::try_from(sent.len()).ok());
    (path, sent)
}

#[tokio::test]
async fn a_response_that_goes_on_in_the_background_is_refused() {
    for (path, body, ok) in [
        ("/v1/responses", r#"{"model":"a","background":true}"#, false),
        ("/v1/responses", r#"{"model":"a","background":1}"#, false),
        ("/v1/responses", r#"{"model":"a","Background":true}"#, false),
        ("/v1/responses", r#"{"model":"a","background":false}"#, true),
        (
            "/v1/images/generations",
            r#"{"model":"a","background":"opaque"}"#,
            true,
        ),
    ] {
        assert_eq!(read("POST", path, JSON, body).await.is_ok(), ok, "{path} {body}");
    }
}
