//! When the gate asks for usage, and what becomes of the body then.

use super::*;

/// What `body`, with `"stream":true` in it, becomes at an upstream that sends usage unasked and at one that does not,
/// and whether the gate asked.
async fn asked(path: &str, body: &str) -> [(String, Asked); 2] {
    let mut became = Vec::new();
    for by_default in [true, false] {
        let mut call = read("POST", path, JSON, body.to_owned()).await.unwrap();
        let asked = call.ask_for_usage(by_default, false);
        let (_, body) = sent(call).await;
        became.push((String::from_utf8(body.to_vec()).unwrap(), asked));
    }
    became.try_into().unwrap()
}

#[tokio::test]
async fn usage_is_asked_for_where_nobody_else_does_and_where_the_client_refused_it() {
    let before = r#"{ "model":"a" ,"stream":true,"stream_options": "#;
    for (options, edited) in [
        (r#"{"include_usage":false}"#, r#"{"include_usage":true}"#),
        (
            r#"{ "x":1, "include_usag\u0065" : false , "y":[{}]}"#,
            r#"{ "x":1, "include_usag\u0065" : true , "y":[{}]}"#,
        ),
    ] {
        let (body, want) = (format!("{before}{options} }}"), format!("{before}{edited} }}"));
        let want = [(want.clone(), Asked::Yes), (want, Asked::Yes)];
        assert_eq!(asked(CHAT, &body).await, want, "{options}");
    }
    for (options, edited) in [
        ("null", r#"{"include_usage":true}"#),
        ("{}", r#"{"include_usage":true}"#),
        (r#"{"include_usage":null}"#, r#"{"include_usage":true}"#),
        (r#"{ "x":1}"#, r#"{"include_usage":true, "x":1}"#),
    ] {
        let (body, want) = (format!("{before}{options} }}"), format!("{before}{edited} }}"));
        // What is sent unasked beside no options at all need not be sent beside some.
        let by_default = if options == "null" {
            body.clone()
        } else {
            want.clone()
        };
        let want = [(by_default, Asked::No), (want, Asked::Yes)];
        assert_eq!(asked("/v1/openai/completions", &body).await, want, "{options}");
    }
    let body = r#" {"model":"a","stream":true}"#;
    let want = r#" {"stream_options":{"include_usage":true},"model":"a","stream":true}"#;
    let want = [(body.to_owned(), Asked::No), (want.to_owned(), Asked::Yes)];
    assert_eq!(asked(CHAT, body).await, want);
}

#[tokio::test]
async fn a_body_in_which_usage_need_not_be_asked_for_stays_as_it_is() {
    for (path, body) in [
        (
            CHAT,
            r#"{"model":"a","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (CHAT, r#"{"model":"a"}"#),
        (
            CHAT,
            r#"{"model":"a","stream":false,"stream_options":{"include_usage":false}}"#,
        ),
        ("/v1/responses", r#"{"model":"a","stream":true}"#),
        ("/v1/inference/a", r#"{"stream":true}"#),
        ("/anthropic/v1/messages", r#"{"model":"a","stream":true}"#),
    ] {
        let want = [(body.to_owned(), Asked::No), (body.to_owned(), Asked::No)];
        assert_eq!(asked(path, body).await, want, "{path}");
    }
}

#[tokio::test]
async fn an_alias_and_a_wish_for_usage_go_together() {
    let body = r#"{"stream_options":{"include_usage":false},"stream":true,"model":"old"}"#;
    let mut call = read("POST", CHAT, JSON, body).await.unwrap();
    let name = |text: &str| ModelName::parse(text).unwrap();
    call.serve_aliases(&HashMap::from([(name("old"), name("newer"))]));
    assert_eq!(call.ask_for_usage(true, false), Asked::Yes);
    let want = r#"{"stream_options":{"include_usage":true},"stream":true,"model":"newer"}"#;
    assert_eq!(sent(call).await.1, want);
}
