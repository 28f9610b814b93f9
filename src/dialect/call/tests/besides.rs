//! Models in keys that no upstream should look at.

use super::*;

#[tokio::test]
async fn models_in_keys_that_the_route_does_not_go_by_are_told_apart() {
    let form = [field("model", "a"), field("model_id", "b"), "--b--\r\n".into()].concat();
    for (path, headers, body, models, besides) in [
        (CHAT, JSON, r#"{"model":"a"}"#, vec!["a"], vec![]),
        (
            CHAT,
            JSON,
            r#"{"model":"a","model_id":"b"}"#,
            vec!["a"],
            vec!["b"],
        ),
        (CHAT, JSON, r#"{"model":"a","model_id":null}"#, vec!["a"], vec![]),
        (
            "/v1/inference/a",
            JSON,
            r#"{"model_id":"b"}"#,
            vec!["a"],
            vec!["b"],
        ),
        (
            "/v1/text-to-speech/v",
            JSON,
            r#"{"model_id":"a"}"#,
            vec!["a"],
            vec![],
        ),
        (
            "/v1/text-to-speech/v",
            JSON,
            r#"{"model":"b","model_id":"a","models":["c"]}"#,
            vec!["a"],
            vec!["c", "b"],
        ),
        ("/v1/audio/translations", FORM, &form, vec!["a"], vec!["b"]),
    ] {
        let call = read("POST", path, headers, body.to_owned()).await.unwrap();
        let found: Vec<_> = call.models_besides().iter().map(ModelName::as_str).collect();
        assert_eq!((names(&call), found), (models, besides), "{path} {body}");
    }
    for (path, headers, body) in [
        (CHAT, JSON, r#"{"model":"a","model_id":"b/../c"}"#),
        ("/v1/text-to-speech/v", JSON, r#"{"model_id":"a","model":""}"#),
        (
            "/v1/audio/translations",
            FORM,
            &form.replace("\r\nb\r\n", "\r\nb b\r\n"),
        ),
    ] {
        let refused = read("POST", path, headers, body.to_owned()).await.err();
        assert!(matches!(refused, Some(CallError::ModelName(_))), "{path} {body}");
    }
}
