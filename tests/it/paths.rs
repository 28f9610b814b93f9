//! Paths as hostile clients send them, with a key that may manage and one that may not. The upstream sees plain paths
//! only, and no variant of an inference route reaches it as something else.

#![expect(clippy::too_many_lines, reason = "tables are as long as they are")]

use crate::support::gateway::{Gateway, KEY, MANAGER};
use crate::support::upstream::{Upstream, ok};

/// What must become of a path, for a manager's key and for another's.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// Both get 200, and the upstream sees this target.
    Both(&'static str),
    /// The manager gets 200 and the upstream sees this target; the other gets `unknown_route`.
    Manager(&'static str),
    /// Both get 404 `unknown_route`.
    Nobody,
    /// Both get 405 `method_not_allowed`.
    Method,
    /// The HTTP parser, or the check of the head, refuses it with 400.
    Head,
}
use Want::{Both, Head, Manager, Method, Nobody};

const BODY: &[u8] = br#"{"model":"acme/model"}"#;

async fn check(rows: Vec<(&str, String, Want)>) {
    let upstream = Upstream::start(|_| ok("application/json", br#"{"ok":true}"#)).await;
    let gateway = Gateway::start(upstream.addr).await;
    let mut passed = 0;
    for (method, target, want) in rows {
        for key in [MANAGER, KEY] {
            let name = format!("{method} {target} with {key}");
            let headers = format!("authorization: Bearer {key}\r\ncontent-type: application/json\r\n");
            let body = if method == "POST" { BODY } else { b"" };
            let answer = gateway.bare(method, &target, &headers, body).await;
            let verdict = (answer.status, answer.code());
            let seen = match want {
                Both(seen) => Some(seen),
                Manager(seen) if key == MANAGER => Some(seen),
                _ => None,
            };
            match (seen, want) {
                (Some(seen), _) => {
                    assert_eq!(verdict, (200, None), "{name}: {}", answer.text());
                    passed += 1;
                    assert_eq!(upstream.requests().last().unwrap().target(), seen, "{name}");
                }
                (None, Method) => assert_eq!(verdict, (405, Some("method_not_allowed")), "{name}"),
                (None, Head) => assert_eq!(answer.status, 400, "{name}"),
                (None, _) => assert_eq!(verdict, (404, Some("unknown_route")), "{name}"),
            }
            assert_eq!(upstream.requests().len(), passed, "{name} reached the upstream");
        }
    }
}

fn rows(method: &'static str, rows: &[(&'static str, Want)]) -> Vec<(&'static str, String, Want)> {
    rows.iter()
        .map(|(target, want)| (method, (*target).to_owned(), *want))
        .collect()
}

#[tokio::test]
async fn dots_in_any_disguise_lead_nowhere() {
    let mut all = Vec::new();
    for dots in [
        "..",
        "%2e%2e",
        "%2E%2E",
        ".%2e",
        "%2e.",
        "%252e%252e",
        "..;x=1",
        "..%00",
        "..\\",
        "..%5c",
        "..%2f",
        "%c0%ae%c0%ae",
        ".",
        "%2e",
        "%00",
        "%",
        "%2",
        "%zz",
        "%u002e",
        ";",
        "..;",
    ] {
        for target in [
            format!("/{dots}/v1/chat/completions"),
            format!("/v1/{dots}/chat/completions"),
            format!("/v1/files/{dots}/chat/completions"),
            format!("/v1/chat/completions/{dots}"),
            format!("/v1/inference/acme/{dots}"),
            format!("/v1/inference/{dots}/model"),
            format!("/v1/files/{dots}"),
            format!("/models/{dots}/list"),
        ] {
            all.push(("POST", target, Nobody));
        }
    }
    check(all).await;
}

#[tokio::test]
async fn characters_outside_of_ascii_never_pass() {
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    for target in [
        "/v1/files/．．/x",
        "/v1/inference/acme/mоdel",
        "/v1/ｃhat/completions",
        "/v1/\u{212a}",
        "/v1/files/a\u{7f}",
    ] {
        let headers = format!("authorization: Bearer {MANAGER}\r\ncontent-type: application/json\r\n");
        let answer = gateway.bare("POST", target, &headers, BODY).await;
        assert!([400, 404].contains(&answer.status), "{target}: {answer:?}");
        assert!(upstream.requests().is_empty(), "{target}");
    }
}

#[tokio::test]
async fn a_route_has_its_one_plain_form() {
    check(rows(
        "POST",
        &[
            ("/v1/chat/completions", Both("/v1/chat/completions")),
            ("/v1/openai/chat/completions", Both("/v1/openai/chat/completions")),
            ("/v1/ch%61t/completions", Both("/v1/chat/completions")),
            ("/v1/%63ompletions", Both("/v1/completions")),
            ("/v1/chat/completions?a=b", Both("/v1/chat/completions?a=b")),
            (
                "/v1/chat/completions?model=acme/other&a=/../b",
                Both("/v1/chat/completions?model=acme/other&a=/../b"),
            ),
            ("/v1/chat/completions?", Both("/v1/chat/completions?")),
            ("/v1/chat/completions#x", Both("/v1/chat/completions")),
            ("//v1/chat/completions", Nobody),
            ("/v1//chat/completions", Nobody),
            ("/v1/chat//completions", Nobody),
            ("/v1/chat/completions/", Nobody),
            ("/v1/chat/completions//", Nobody),
            ("/v1/chat/completions.", Nobody),
            ("/v1/chat/completions/.", Nobody),
            ("/v1/chat/completions;a=b", Nobody),
            ("/v1;a=b/chat/completions", Nobody),
            ("/v1/chat/completions%20", Nobody),
            ("/v1/chat/completions%3Fa=b", Nobody),
            ("/v1/chat/completions%23", Nobody),
            ("/v1/chat/completions%00", Nobody),
            ("/v1/chat/completions%0a", Nobody),
            ("/v1/chat/completions%09", Nobody),
            ("/v1/chat%2Fcompletions", Nobody),
            ("/v1%2Fchat%2Fcompletions", Nobody),
            ("/v1%2fchat/completions", Nobody),
            ("/%2Fv1/chat/completions", Nobody),
            ("/v1/chat%252Fcompletions", Nobody),
            ("/v1/chat%5Ccompletions", Nobody),
            ("/v1\\chat\\completions", Nobody),
            ("/v1/chat/completions{}", Nobody),
            ("/v1/chat/completions|", Nobody),
            ("/v1/chat/completions^", Nobody),
            ("/v1/chat/completions\"", Nobody),
            ("/V1/chat/completions", Nobody),
            ("/v1/Chat/completions", Nobody),
            ("/v1/chat/COMPLETIONS", Nobody),
            ("/v1/OpenAI/chat/completions", Nobody),
            ("/v1/openai/Embeddings", Nobody),
            ("/v1/%43hat/completions", Nobody),
            ("/Anthropic/v1/messages", Nobody),
            ("/anthropic/v1/Messages", Nobody),
            ("/anthropic/v1/messages/", Nobody),
            ("/v1/Inference/acme/model", Nobody),
            ("/v1/openai/inference/acme/model", Nobody),
            ("/v1/Text-To-Speech/x", Nobody),
            ("/v1/text-to-speech", Nobody),
            ("/v1/text-to-speech/x/stream/", Nobody),
            ("/v1/text-to-speech/x/other", Nobody),
            ("/v1/text-to-speech/a%2Fstream", Nobody),
            ("*", Head),
            ("http://gate/v1/chat/completions", Head),
            ("gate:80", Head),
            ("", Head),
        ],
    ))
    .await;
}

#[tokio::test]
async fn a_native_model_has_its_one_plain_form() {
    check(rows(
        "POST",
        &[
            ("/v1/inference/acme/model", Both("/v1/inference/acme/model")),
            ("/v1/inference/acme%2Fmodel", Both("/v1/inference/acme/model")),
            ("/v1/inference/acme%2fmodel", Both("/v1/inference/acme/model")),
            ("/v1/inference/acme/%6Dodel", Both("/v1/inference/acme/model")),
            (
                "/v1/inference/acme/model?version=v1",
                Both("/v1/inference/acme/model?version=v1"),
            ),
            ("/v1/inference", Nobody),
            ("/v1/inference/", Nobody),
            ("/v1/inference//acme/model", Nobody),
            ("/v1/inference/acme//model", Nobody),
            ("/v1/inference/acme/model/", Nobody),
            ("/v1/inference/acme%2F/model", Nobody),
            ("/v1/inference/%2Facme/model", Nobody),
            ("/v1/inference/acme%252Fmodel", Nobody),
            ("/v1/inference/acme%2F..%2Fmodel", Nobody),
            ("/v1/inference/acme%5Cmodel", Nobody),
            ("/v1/inference/acme/model;v=1", Nobody),
            ("/v1/inference/acme/model%00", Nobody),
            ("/v1/inference/acme/model%20", Nobody),
            ("/v1/inference/acme/mod*el", Nobody),
            ("/v1%2Finference/acme/model", Nobody),
            ("/v1/inference%2Facme/model", Nobody),
            ("/v1/inference/deploy", Nobody),
            ("/v1/inference/deploy/", Nobody),
            ("/v1/inference/deploy/a/b", Nobody),
            ("/v1/inference/deploy%2Fa", Nobody),
            ("/v1/inference/deploy_id:a", Nobody),
            ("/v1/inference/deploy_id%3Aa", Nobody),
            ("/v1/inference/deploy/a%2Fb", Nobody),
        ],
    ))
    .await;
}

#[tokio::test]
async fn account_routes_are_for_managers_and_go_up_plainly() {
    let mut all = rows(
        "GET",
        &[
            ("/v1/models", Both("/v1/models")),
            ("/v1/openai/models", Both("/v1/openai/models")),
            ("/models/list", Both("/models/list")),
            ("/v1/models/", Nobody),
            ("/models/list/", Nobody),
            ("/v1/models%2F", Nobody),
            ("/v1/me", Manager("/v1/me")),
            ("/v1/%6De", Manager("/v1/me")),
            ("/v1/openai/files", Manager("/v1/openai/files")),
            ("/models/acme/model", Manager("/models/acme/model")),
            ("/models/acme%2Fmodel", Nobody),
            ("/deploy/list", Manager("/deploy/list")),
            ("/deploy/list/", Manager("/deploy/list/")),
            ("/deploy/list//", Nobody),
            ("/deploy//list", Nobody),
            ("/v1/me/", Manager("/v1/me/")),
            ("/", Nobody),
            ("//", Nobody),
            ("/v1/chat/completions", Method),
            ("/v1/inference/usage", Method),
            ("/v1/inference/acme/model", Method),
            ("/v1/responses/resp_1", Nobody),
            ("/v1/chat/completions/chatcmpl-1", Nobody),
            ("/v1/jobs", Nobody),
            ("/v1/jobs/a/b", Nobody),
            ("/v1/Jobs/a", Nobody),
            ("/v1/scoped-jwt/", Nobody),
            ("/v1/Scoped-JWT", Nobody),
            ("/v1/openai/scoped-jwt", Nobody),
        ],
    );
    all.extend(rows(
        "POST",
        &[
            ("/deploy/hf/", Manager("/deploy/hf/")),
            ("/v1/models", Method),
            ("/models/list", Method),
            ("/v1/me/rate_limit", Method),
            ("/v1/jobs/a", Method),
        ],
    ));
    all.extend(rows(
        "DELETE",
        &[
            ("/v1/responses/resp_1", Nobody),
            ("/v1/openai/completions", Method),
            ("/v1/me", Manager("/v1/me")),
        ],
    ));
    all.extend(rows(
        "OPTIONS",
        &[("/v1/me", Method), ("/v1/chat/completions", Method)],
    ));
    check(all).await;
}

#[tokio::test]
async fn every_shadow_of_an_inference_route_is_refused_to_managers_too() {
    let mut all = Vec::new();
    for path in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/images/variations",
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/responses",
        "/anthropic/v1/messages",
        "/anthropic/v1/messages/count_tokens",
    ] {
        let plain = path.replacen("/v1/", "/v1/openai/", 1);
        let mut shadows = vec![
            path.to_uppercase(),
            format!("{path}/"),
            format!("{path}/x"),
            format!("{path};x"),
            format!("/{path}"),
        ];
        if path.starts_with("/v1/") {
            shadows.extend([plain.to_uppercase(), format!("{plain}/"), format!("{plain}/x")]);
            shadows.push(plain.replace("openai", "OpenAI"));
        }
        all.extend(shadows.into_iter().map(|target| ("POST", target, Nobody)));
    }
    check(all).await;
}

#[tokio::test]
async fn a_long_segment_is_no_model_and_passes_for_a_manager() {
    let long = "a".repeat(8_000);
    let upstream = Upstream::start(|_| ok("application/json", b"{}")).await;
    let gateway = Gateway::start(upstream.addr).await;
    let headers = format!("authorization: Bearer {MANAGER}\r\ncontent-type: application/json\r\n");
    for target in [format!("/v1/inference/acme/{long}"), format!("/v1/chat/{long}")] {
        let answer = gateway.bare("POST", &target, &headers, BODY).await;
        assert_eq!(answer.status, 404);
        assert!(upstream.requests().is_empty());
    }
    let longer = format!("/v1/files/{}", "a".repeat(9 * 1024));
    assert_eq!(gateway.bare("GET", &longer, &headers, b"").await.status, 431);
    let target = format!("/v1/files/{long}");
    assert_eq!(gateway.bare("GET", &target, &headers, b"").await.status, 200);
    assert_eq!(upstream.request().target(), target);
}
