//! Several calls on one connection, and credentials in several places: each call is judged by its own token alone.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{FOREIGN, OWN, Passed, Refused, Want, expired_token, own_token, start, token, verdict};
use crate::support::client::Raw;
use crate::support::gateway::KEY;
use crate::support::upstream::{Upstream, ok};

const CHAT: &str = "/v1/chat/completions";
const OWN_BODY: &str = r#"{"model":"acme/model"}"#;
const OTHER_BODY: &str = r#"{"model":"acme/other"}"#;

const INVALID: Want = Refused(401, "invalid_credentials");
const NONE: Want = Refused(401, "missing_credentials");
const EXPIRED: Want = Refused(401, "token_expired");

/// Headers with credentials, and what becomes of a call for the token's own model.
fn credentials() -> Vec<(String, Want)> {
    let (own, wide, late) = (own_token(), token("di:1", KEY, None), expired_token());
    let bearer = |value: &str| format!("authorization: Bearer {value}\r\n");
    let mut rows = vec![
        (bearer(&own), Passed),
        (format!("x-api-key: {own}\r\n"), Passed),
        (format!("xi-api-key: {own}\r\n"), Passed),
        (format!("Authorization: bearer  {own} \r\n"), Passed),
        (
            format!("{}x-api-key: {own}\r\nxi-api-key: {own}\r\n", bearer(&own)),
            Passed,
        ),
        (format!("authorization: {own}\r\n"), INVALID),
        (format!("authorization: Basic {own}\r\n"), INVALID),
        (bearer(&format!("Bearer {own}")), INVALID),
        (bearer(own.strip_prefix("jwt:").unwrap()), INVALID),
        (bearer(&own.replace("jwt:", "JWT:")), INVALID),
        (bearer(&format!("jwt:{own}")), INVALID),
        (bearer(&format!("{own},{wide}")), INVALID),
        (format!("cookie: token={own}\r\n"), NONE),
        (format!("x-token: {own}\r\n"), NONE),
        (bearer(&late), EXPIRED),
        (format!("x-api-key: {late}\r\n"), EXPIRED),
    ];
    // Two that differ, in any order: the wider one must not lend its rights.
    for other in [&wide, &late, &KEY.to_owned(), &"nonsense".to_owned()] {
        rows.push((format!("{}x-api-key: {other}\r\n", bearer(&own)), INVALID));
        rows.push((format!("{}x-api-key: {own}\r\n", bearer(other)), INVALID));
        rows.push((format!("x-api-key: {own}\r\nxi-api-key: {other}\r\n"), INVALID));
        rows.push((format!("{}{}", bearer(&own), bearer(other)), INVALID));
        rows.push((format!("x-api-key: {own}\r\nx-api-key: {other}\r\n"), INVALID));
    }
    // One with the claims of another.
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (narrow, broad) = (parts(&own), parts(&wide));
    rows.push((
        bearer(&format!("{}.{}.{}", narrow[0], broad[1], narrow[2])),
        INVALID,
    ));
    rows.push((bearer(&format!("{}.{}.", broad[0], broad[1])), INVALID));
    rows.push((bearer(&format!("{}.{}", broad[0], broad[1])), INVALID));
    rows
}

#[tokio::test]
async fn a_credential_stands_once_in_one_of_three_headers_and_goes_no_further() {
    let (upstream, gateway) = start().await;
    let mut passed = 0;
    for (headers, want) in credentials() {
        for (body, narrowed) in [(OWN_BODY, Passed), (OTHER_BODY, FOREIGN)] {
            let want = if want == Passed { narrowed } else { want };
            let typed = format!("{headers}content-type: application/json\r\n");
            let answer = gateway.bare("POST", CHAT, &typed, body.as_bytes()).await;
            verdict(&format!("{headers}{body}"), &answer, want);
            passed += usize::from(want == Passed);
            assert_eq!(
                upstream.requests().len(),
                passed,
                "{headers} reached the upstream"
            );
        }
    }
    for request in upstream.requests() {
        assert!(!request.head.contains("jwt:"), "{}", request.head);
        assert_eq!(request.header("authorization"), Some("Bearer upstream-key"));
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_no_credential() {
    let (upstream, gateway) = start().await;
    let token = own_token();
    for name in ["token", "access_token", "api_key", "key", "jwtoken"] {
        let target = format!("{CHAT}?{name}={token}");
        let json = "content-type: application/json\r\n";
        let answer = gateway.bare("POST", &target, json, OWN_BODY.as_bytes()).await;
        verdict(&target, &answer, NONE);
    }
    assert!(upstream.requests().is_empty());
}

/// A whole request of HTTP/1.1.
fn request(token: &str, body: &str) -> String {
    format!(
        "POST {CHAT} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Tokens for one of two models each, and every call that each may and may not make.
fn four_calls() -> [(String, &'static str, Want); 4] {
    let (a, b) = (
        token("di:1", KEY, Some(&["acme/model"])),
        token("di:1", KEY, Some(&["acme/other"])),
    );
    [
        (a.clone(), OWN_BODY, Passed),
        (b.clone(), OWN_BODY, FOREIGN),
        (b, OTHER_BODY, Passed),
        (a, OTHER_BODY, FOREIGN),
    ]
}

#[tokio::test]
async fn calls_on_one_connection_are_judged_one_by_one_pipelined_or_not() {
    let (upstream, gateway) = start().await;
    for pipelined in [true, false] {
        let mut raw = Raw::connect(gateway.addr).await;
        if pipelined {
            let all = four_calls().map(|(token, body, _)| request(&token, body));
            raw.send(all.concat()).await;
        }
        for (token, body, want) in four_calls() {
            if !pipelined {
                raw.send(request(&token, body)).await;
            }
            let answer = raw.answer().await.expect("an answer");
            verdict(body, &answer, want);
        }
    }
    let bodies: Vec<_> = upstream.requests().into_iter().map(|seen| seen.body).collect();
    assert_eq!(
        bodies,
        [OWN_BODY, OTHER_BODY]
            .repeat(2)
            .iter()
            .map(|body| body.as_bytes())
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_request_inside_of_another_ones_body_is_no_request() {
    let (upstream, gateway) = start().await;
    let (token, inner) = (own_token(), request(&token("di:1", KEY, None), OTHER_BODY));
    // Behind a body that is refused, and behind one that passes: what its length covers belongs to it.
    for body in [format!("{OTHER_BODY}{inner}"), format!("{OWN_BODY}{inner}")] {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(request(&token, &body)).await;
        verdict(&body, &raw.answer().await.expect("an answer"), super::BAD);
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn calls_at_once_on_one_http2_connection_are_judged_each_by_its_own_token() {
    let (upstream, gateway) = start().await;
    let io = TokioIo::new(tokio::net::TcpStream::connect(gateway.addr).await.unwrap());
    let (send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let calls = (0..20).flat_map(|_| four_calls()).map(|(token, body, want)| {
        let mut send = send.clone();
        async move {
            let request = http::Request::post(format!("http://gate{CHAT}"))
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body)))
                .unwrap();
            let answer = send.send_request(request).await.unwrap();
            let code = answer.headers().get("x-tidegate-error").cloned();
            let seen = (
                answer.status().as_u16(),
                code.as_ref().map(|code| code.to_str().unwrap()),
            );
            let wanted = match want {
                Refused(status, code) => (status, Some(code)),
                _ => (200, None),
            };
            assert_eq!(seen, wanted, "{body}");
            answer.into_body().collect().await.unwrap();
        }
    });
    futures_util::future::join_all(calls).await;
    let seen = upstream.requests();
    let of = |body: &str| {
        seen.iter()
            .filter(|request| request.body == body.as_bytes())
            .count()
    };
    assert_eq!((seen.len(), of(OWN_BODY), of(OTHER_BODY)), (40, 20, 20));
}

#[tokio::test]
async fn a_model_in_two_chunks_is_read_as_one() {
    let (upstream, gateway) = start().await;
    let token = own_token();
    for (chunks, want) in [
        (vec![r#"{"model":"acme/mo"#, r#"del"}"#], Passed),
        (vec![r#"{"model":"acme/ot"#, r#"her"}"#], FOREIGN),
        (
            vec![r#"{"model":"acme/model"#, r#"","model":"acme/other"}"#],
            super::TWICE,
        ),
        (
            vec![r#"{"model":"acme/model"}"#, r#"{"model":"acme/other"}"#],
            super::BAD,
        ),
    ] {
        let mut raw = Raw::connect(gateway.addr).await;
        raw.send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
        .await;
        for chunk in &chunks {
            raw.send(format!("{:x}\r\n{chunk}\r\n", chunk.len())).await;
        }
        raw.send("0\r\nmodel: acme/other\r\n\r\n").await;
        verdict(&chunks.concat(), &raw.answer().await.expect("an answer"), want);
    }
    assert_eq!(upstream.request().body, OWN_BODY.as_bytes());
}

#[tokio::test]
async fn each_token_sees_its_own_models_in_every_catalogue() {
    let upstream = Upstream::start(|request| {
        let list = r#"[{"id":"acme/model"},{"id":"acme/other"},{"id":"team/a"},{"id":"Acme/model"}]"#;
        let body = match request.target() {
            "/models/list" => list.replace("\"id\"", "\"model_name\""),
            _ => format!(r#"{{"object":"list","data":{list}}}"#),
        };
        ok("application/json", body.as_bytes())
    })
    .await;
    let gateway = crate::support::gateway::Gateway::start(upstream.addr).await;
    for (models, seen) in [
        (Some(OWN.as_slice()), ["acme/model", "team/a"].as_slice()),
        (Some(["acme/other"].as_slice()), &["acme/other"]),
        (Some(&["nobody/*"]), &[]),
        (None, &["acme/model", "acme/other", "team/a", "Acme/model"]),
    ] {
        for target in [
            "/v1/models",
            "/v1/openai/models",
            "/models/list",
            "/v1/models?all=1",
        ] {
            let bearer = format!("authorization: Bearer {}\r\n", token("di:1", KEY, models));
            let answer = gateway.bare("GET", target, &bearer, b"").await;
            assert_eq!(answer.status, 200, "{target}: {}", answer.text());
            let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let list = value.get("data").unwrap_or(&value).as_array().unwrap().iter();
            let names: Vec<_> = list
                .map(|entry| {
                    entry
                        .get("id")
                        .or(entry.get("model_name"))
                        .unwrap()
                        .as_str()
                        .unwrap()
                })
                .collect();
            assert_eq!(names, seen, "{target} of {models:?}");
        }
    }
}
