//! How the output of a call is bounded where it must be.

use proptest::prelude::*;

use super::demand::{COMPLETIONS, EMBEDDINGS, IMAGES, MESSAGES, NATIVE, RESPONSES, body};
use super::*;
use crate::types::Demand;

#[tokio::test]
async fn a_clamped_call_has_no_greater_bound_and_every_other_byte_as_it_was() {
    for (path, members, want) in [
        (
            CHAT,
            r#""max_tokens" : 500 , "x":1"#,
            r#""max_tokens" : 100 , "x":1"#,
        ),
        (CHAT, r#""max_tokens":50"#, r#""max_tokens":50"#),
        (CHAT, r#""max_tokens":null"#, r#""max_tokens":100"#),
        (CHAT, r#""max_tokens":0"#, r#""max_tokens":100"#),
        (
            CHAT,
            r#""m\u0061x_tokens":9007199254740992"#,
            r#""m\u0061x_tokens":100"#,
        ),
        (
            CHAT,
            r#""max_tokens":500,"max_completion_tokens":7,"max_new_tokens":600"#,
            r#""max_tokens":100,"max_completion_tokens":7,"max_new_tokens":100"#,
        ),
        (
            CHAT,
            r#""max_completion_tokens":500"#,
            r#""max_completion_tokens":100"#,
        ),
        (
            CHAT,
            r#""messages":[{"max_tokens":500}],"max_tokens":500"#,
            r#""messages":[{"max_tokens":500}],"max_tokens":100"#,
        ),
        (
            RESPONSES,
            r#""max_output_tokens":500"#,
            r#""max_output_tokens":100"#,
        ),
        (MESSAGES, r#""max_tokens":500"#, r#""max_tokens":100"#),
        (COMPLETIONS, r#""max_tokens":500"#, r#""max_tokens":100"#),
        (NATIVE, r#""max_new_tokens":500"#, r#""max_new_tokens":100"#),
    ] {
        let mut call = read("POST", path, JSON, body(path, members)).await.unwrap();
        assert!(call.output_can_be_clamped());
        call.clamp_output(100);
        assert!(call.demand().output.unwrap() <= 100);
        assert_eq!(sent(call).await.1, body(path, want), "{path} {members}");
    }
}

#[tokio::test]
async fn a_call_without_a_bound_gets_its_surfaces_own_in_front() {
    for (path, members, want) in [
        (CHAT, "", Some("max_tokens")),
        (CHAT, r#""max_new_tokens":5"#, Some("max_tokens")),
        (COMPLETIONS, r#""max_completion_tokens":5"#, Some("max_tokens")),
        (MESSAGES, "", Some("max_tokens")),
        (RESPONSES, "", Some("max_output_tokens")),
        (NATIVE, "", Some("max_new_tokens")),
        (EMBEDDINGS, r#""max_tokens":5"#, None),
        (IMAGES, "", None),
        ("/v1/audio/speech", "", None),
    ] {
        let before = body(path, members);
        let mut call = read("POST", path, JSON, before.clone()).await.unwrap();
        call.clamp_output(0);
        assert_eq!(call.output_can_be_clamped(), want.is_some());
        assert_eq!(call.demand().output, want.map(|_| 1));
        let after = sent(call).await.1;
        let Some(key) = want else {
            assert_eq!(after, before);
            continue;
        };
        let members = members.replace('5', "1");
        let want = body(path, &members).replacen('{', &format!("{{\"{key}\":1,"), 1);
        assert_eq!(after, want, "{path}");
    }
}

/// A part of a body, in any of the ways in which parts come.
fn parts() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        r#""max_tokens":5000"#,
        r#""max_completion_tokens":null"#,
        r#""max_new_tokens":0"#,
        r#""max_output_tokens" : 7000 "#,
        r#""stream":true"#,
        r#""messages":[{"content":[{"type":"image_url","image_url":{"url":"x"}}]}]"#,
        r#""x":{"max_tokens":9}"#,
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn clamping_bounds_the_output_of_every_surface_that_has_a_bound(
        parts in prop::collection::btree_set(parts(), 0..6),
        path in prop::sample::select(vec![CHAT, COMPLETIONS, MESSAGES, RESPONSES, NATIVE]),
        tokens in 0_u64..10_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let members = parts.into_iter().collect::<Vec<_>>().join(",");
        runtime.block_on(async {
            let mut call = read("POST", path, JSON, body(path, &members)).await.unwrap();
            let before = call.demand();
            call.clamp_output(tokens);
            let after = call.demand();
            assert!(after.output.unwrap() <= tokens.max(1));
            let rest = |demand| Demand { output: None, bytes: 0, ..demand };
            assert_eq!(rest(after), rest(before));
            let (_, sent) = sent(call).await;
            let object: serde_json::Map<_, _> = serde_json::from_slice(&sent).unwrap();
            let bounds = object.iter().filter(|(key, _)| key.starts_with("max_"));
            assert!(bounds.map(|(_, bound)| bound.as_u64().unwrap()).all(|bound| bound <= tokens.max(1)));
        });
    }
}
