//! A call that carried a webhook, as it goes upstream.

use super::*;

const NATIVE: &str = "/v1/inference/a";

async fn taken_out(path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut call = read("POST", path, headers, body.to_owned()).await.unwrap();
    call.take_webhook_out();
    assert!(call.webhook().is_none() && !call.stream());
    let (len, body) = sent(call).await;
    assert_eq!(len, Some(body.len() as u64));
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_webhook_goes_and_nothing_else_of_a_native_body_does() {
    for (body, want) in [
        (r#"{"webhook":"https://x.test/"}"#, "{}"),
        (
            r#"{ "webhook" : "https://x.test/" , "input":"a"}"#,
            r#"{  "input":"a"}"#,
        ),
        (r#"{"input":"a","webhook":"https://x.test/"}"#, r#"{"input":"a"}"#),
        (
            r#"{"input":"\",\"" , "w\u0065bhook":"https://x.test/" }"#,
            r#"{"input":"\",\""  }"#,
        ),
        (r#"{"a":1,"webhook":"https://x.test/","b":2}"#, r#"{"a":1,"b":2}"#),
    ] {
        assert_eq!(taken_out(NATIVE, JSON, body).await, want);
    }
}

#[tokio::test]
async fn a_stream_is_turned_off_and_its_options_go() {
    for (path, body, want) in [
        (
            NATIVE,
            r#"{"stream":true,"webhook":"https://x.test/"}"#,
            r#"{"stream":false}"#,
        ),
        (
            CHAT,
            r#"{"model":"a","stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"model":"a","stream":false}"#,
        ),
        (
            CHAT,
            r#"{"model":"a","webhook":"x","stream":false}"#,
            r#"{"model":"a","webhook":"x","stream":false}"#,
        ),
    ] {
        assert_eq!(taken_out(path, JSON, body).await, want);
    }
}

#[tokio::test]
async fn the_field_goes_and_no_other_part_of_a_native_form_does() {
    let hook = field("webhook", "\"https://x.test/\"");
    let (first, last) = (field("audio", "abc"), field("task", "transcribe"));
    for parts in [
        [&hook, &first, &last],
        [&first, &hook, &last],
        [&first, &last, &hook],
    ] {
        let body = parts.map(String::as_str).concat() + "--b--\r\n";
        let left = taken_out(NATIVE, FORM, &body).await;
        assert_eq!(left, [first.as_str(), &last, "--b--\r\n"].concat());
        let again = read("POST", NATIVE, FORM, left).await.unwrap();
        assert!(again.webhook().is_none());
    }
    let stream = field("stream", "true");
    for parts in [
        [&hook, &stream, &last],
        [&stream, &last, &hook],
        [&last, &hook, &stream],
    ] {
        let body = parts.map(String::as_str).concat() + "--b--\r\n";
        assert_eq!(taken_out(NATIVE, FORM, &body).await, last.clone() + "--b--\r\n");
    }
    let alone = taken_out(NATIVE, FORM, &(hook.clone() + "--b--\r\n")).await;
    assert_eq!(alone, "--b--\r\n");
    assert!(read("POST", NATIVE, FORM, alone).await.is_ok());
}
