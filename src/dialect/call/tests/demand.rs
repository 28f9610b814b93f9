//! What a call may use at the most.

use super::*;
use crate::types::{Demand, Tier};

pub(super) const NATIVE: &str = "/v1/inference/a/m";
pub(super) const MESSAGES: &str = "/anthropic/v1/messages";
pub(super) const RESPONSES: &str = "/v1/responses";
pub(super) const COMPLETIONS: &str = "/v1/completions";
pub(super) const IMAGES: &str = "/v1/images/generations";
pub(super) const EMBEDDINGS: &str = "/v1/embeddings";

/// A body for `path` that has these members beside its model.
pub(super) fn body(path: &str, members: &str) -> String {
    let model = if path == NATIVE { "a/m" } else { "a" };
    let comma = if members.is_empty() { "" } else { "," };
    format!("{{\"model\":\"{model}\"{comma}{members}}}")
}

async fn demand(path: &str, members: &str) -> Demand {
    read("POST", path, JSON, body(path, members))
        .await
        .unwrap()
        .demand()
}

#[tokio::test]
async fn the_output_is_bounded_by_the_greatest_bound_if_one_is_the_surfaces_own() {
    for (path, members, want) in [
        (CHAT, "", None),
        (CHAT, r#""max_tokens":5"#, Some(5)),
        (CHAT, r#""max_completion_tokens":7"#, Some(7)),
        (CHAT, r#""max_tokens":5,"max_completion_tokens":7"#, Some(7)),
        (CHAT, r#""max_tokens":5,"max_new_tokens":70"#, Some(70)),
        (CHAT, r#""max_tokens":0,"max_completion_tokens":7"#, Some(7)),
        (CHAT, r#""max_tokens":0"#, None),
        (CHAT, r#""max_tokens":null"#, None),
        (CHAT, r#""max_new_tokens":5"#, None),
        (CHAT, r#""max_t\u006fkens":5"#, Some(5)),
        (CHAT, r#""x":{"max_tokens":5}"#, None),
        (COMPLETIONS, r#""max_completion_tokens":5"#, None),
        (COMPLETIONS, r#""max_tokens":9007199254740992"#, Some(1 << 53)),
        (MESSAGES, r#""max_tokens":5"#, Some(5)),
        (RESPONSES, r#""max_tokens":5"#, None),
        (RESPONSES, r#""max_output_tokens":5"#, Some(5)),
        (NATIVE, r#""max_new_tokens":5"#, Some(5)),
        (NATIVE, r#""max_tokens":5"#, None),
        (EMBEDDINGS, r#""max_tokens":5"#, None),
    ] {
        let found = demand(path, members).await;
        assert_eq!(found.output, want, "{path} {members}");
        assert_eq!(found.bytes, u64::try_from(body(path, members).len()).unwrap());
    }
}

#[tokio::test]
async fn answers_are_choices_times_prompts_and_never_none() {
    for (path, members, want) in [
        (CHAT, "", 1),
        (CHAT, r#""n":0"#, 1),
        (CHAT, r#""n":4"#, 4),
        (COMPLETIONS, r#""n":2,"best_of":5,"prompt":"x""#, 5),
        (COMPLETIONS, r#""prompt":["x","y","z"],"n":2"#, 6),
        (COMPLETIONS, r#""prompt":[1,2,3]"#, 1),
        (COMPLETIONS, r#""prompt":[[1,2],[3]]"#, 2),
        (COMPLETIONS, r#""prompt":[]"#, 1),
        (COMPLETIONS, r#""prompt":["a"],"pr\u006fmpt":["x","y"]"#, 3),
        (EMBEDDINGS, r#""input":["x","y","z"]"#, 1),
        (NATIVE, r#""num_responses":3"#, 3),
        (NATIVE, r#""num_images":3,"n":2"#, 6),
        (NATIVE, r#""input":{"num_outputs":4}"#, 4),
        (NATIVE, r#""num_return_sequences":"4""#, 4),
        (
            COMPLETIONS,
            r#""n":9007199254740992,"num_images":9007199254740992,"prompt":["a"]"#,
            u64::MAX,
        ),
    ] {
        assert_eq!(demand(path, members).await.answers, want, "{path} {members}");
    }
}

/// Calls, and how many of their parts have more tokens than bytes.
const MEDIA: [(&str, &str, u64); 15] = [
    (
        CHAT,
        r#""messages":[{"role":"user","content":"an image, a file"}]"#,
        0,
    ),
    (
        CHAT,
        r#""messages":[{"content":[{"type":"text","text":"x"},
          {"type":"image_url","image_url":{"url":"https://x.test/","detail":"high"}},
          {"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}},
          {"type":"video_url","video_url":{"url":"data:video/mp4;base64,AA"}},
          {"type":"file","file":{"file_data":"data:application/pdf;base64,AA"}}]}]"#,
        4,
    ),
    (
        CHAT,
        r#""messages":[{"content":[{"image_url":"https://x.test/"}]}]"#,
        1,
    ),
    (
        CHAT,
        r#""messages":[{"content":[{"im\u0061ge_url":{"url":"x"}}]}]"#,
        1,
    ),
    (CHAT, r#""messages":[{"content":[{"Image_URL":{"url":"x"}}]}]"#, 1),
    (
        CHAT,
        r#""messages":[{"content":"x","images":["AAAA","BBBB"]}]"#,
        2,
    ),
    (
        CHAT,
        r#""messages":[{"content":[{"image_url":null}]}],"num_images":2"#,
        0,
    ),
    (
        MESSAGES,
        r#""messages":[{"content":[
          {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA"}},
          {"source":{"type":"url","url":"https://x.test/"},"type":"document"},
          {"type":"document","source":{"type":"content","content":[
            {"type":"image","source":{"type":"base64","data":"AA"}}]}},
          {"type":"tool_result","content":[{"type":"image","source":{"type":"base64","data":"AA"}}]}]}]"#,
        5,
    ),
    (
        RESPONSES,
        r#""input":[{"content":[{"type":"input_image","image_url":"data:image/png;base64,AA"},
          {"type":"input_file","file_data":"AA","filename":"x.pdf"},{"type":"input_text","text":"image"}]},
          {"type":"computer_call_output","output":{"type":"computer_screenshot","image_url":"x"}}]"#,
        3,
    ),
    (
        CHAT,
        r#""tools":[{"type":"function","function":{"parameters":{"type":"object","properties":{
          "image":{"type":"string"},"file":{"type":"file"},"source":{"type":"string"}}}}}],
          "response_format":{"type":"json_schema","json_schema":{"schema":{"properties":{"image":{}}}}}"#,
        0,
    ),
    (
        MESSAGES,
        r#""messages":[{"content":[{"type":"tool_use","input":{"file":"a.rs","source":"web"}}]}]"#,
        0,
    ),
    (NATIVE, r#""image":"data:image/png;base64,AAAA""#, 1),
    (
        NATIVE,
        r#""inputs":["data:image/png;base64,AAAA","\u0064ata:x","y"]"#,
        2,
    ),
    (NATIVE, r#""file":"AAAA""#, 1),
    (NATIVE, r#""documents":["image","x"]"#, 0),
];

#[tokio::test]
async fn each_part_with_more_tokens_than_bytes_counts_wherever_it_stands() {
    for (path, members, want) in MEDIA {
        assert_eq!(demand(path, members).await.media, want, "{path} {members}");
    }
}

#[tokio::test]
async fn a_film_or_document_that_lies_elsewhere_may_be_of_any_length() {
    for (path, members, want) in [
        // A picture has a size that models bound; a film or a document has none.
        (
            CHAT,
            r#""messages":[{"content":[{"type":"image_url","image_url":{"url":"https://x.test/"}}]}]"#,
            false,
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"video_url","video_url":{"url":"https://x.test/"}}]}]"#,
            true,
        ),
        (
            MESSAGES,
            r#""messages":[{"content":[{"type":"document","source":{"type":"url","url":"https://x.test/"}}]}]"#,
            true,
        ),
    ] {
        assert_eq!(demand(path, members).await.elsewhere, want, "{path} {members}");
    }
}

#[tokio::test]
async fn a_call_that_refers_to_text_elsewhere_says_so() {
    for (path, members, want) in [
        (RESPONSES, r#""previous_response_id":"resp_1""#, true),
        (RESPONSES, r#""previous_response_id":null"#, false),
        (RESPONSES, r#""conversation":{"id":"conv_1"}"#, true),
        (RESPONSES, r#""conversation":"conv_1""#, true),
        (RESPONSES, r#""prompt":{"id":"pmpt_1"}"#, true),
        (COMPLETIONS, r#""prompt":"conversation""#, false),
        (COMPLETIONS, r#""prompt":["previous_response_id"]"#, false),
        (
            RESPONSES,
            r#""input":[{"type":"item_reference","id":"msg_1"}]"#,
            true,
        ),
        (
            RESPONSES,
            r#""input":[{"content":[{"type":"input_file","file_id":"file-1"}]}]"#,
            true,
        ),
        (RESPONSES, r#""tools":[{"type":"function","name":"x"}]"#, false),
        (RESPONSES, r#""tools":[{"type":"web_search"}]"#, true),
        (
            RESPONSES,
            r#""tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]"#,
            true,
        ),
        (
            MESSAGES,
            r#""tools":[{"name":"x","input_schema":{"type":"object"}}]"#,
            false,
        ),
        (
            MESSAGES,
            r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#,
            true,
        ),
        (MESSAGES, r#""mcp_servers":[]"#, false),
        (
            MESSAGES,
            r#""mcp_servers":[{"type":"url","url":"https://x.test/"}]"#,
            true,
        ),
        (CHAT, r#""web_search_options":{}"#, true),
        (CHAT, r#""messages":[{"conversation":"x"}]"#, false),
    ] {
        assert_eq!(demand(path, members).await.elsewhere, want, "{path} {members}");
    }
}

#[tokio::test]
async fn sizes_steps_and_lengths_are_read_where_pictures_are_made() {
    let found = async |path, members| {
        let found = demand(path, members).await;
        (found.pixels, found.steps, found.frames, found.seconds)
    };
    for (path, members, want) in [
        (
            IMAGES,
            r#""size":"1024x512""#,
            (Some(1024 * 512), None, None, None),
        ),
        (IMAGES, r#""size":"auto""#, (None, None, None, None)),
        (
            NATIVE,
            r#""width":"1024","height":512,"num_inference_steps":25"#,
            (Some(1024 * 512), Some(25), None, None),
        ),
        (
            NATIVE,
            r#""input":{"width":1024.0,"height":2048,"steps":4}"#,
            (Some(1024 * 2048), Some(4), None, None),
        ),
        (
            NATIVE,
            r#""width":512,"width":2048,"height":1,"num_frames":81,"duration":"5s""#,
            (Some(2048), None, Some(81), Some(5)),
        ),
        (NATIVE, r#""width":4096"#, (Some(4096 * 4096), None, None, None)),
        (
            NATIVE,
            r#""width":-4096,"seconds":null"#,
            (None, None, None, None),
        ),
        (CHAT, r#""width":4096,"size":"9x9""#, (None, None, None, None)),
    ] {
        assert_eq!(found(path, members).await, want, "{path} {members}");
    }
}

#[tokio::test]
async fn the_tier_is_the_bodys_else_the_headers() {
    for (members, header, want) in [
        ("", None, Tier::Default),
        (r#""service_tier":"priority""#, None, Tier::Priority),
        (r#""service_tier":"auto""#, None, Tier::Priority),
        (r#""service_tier":"flex""#, Some("priority"), Tier::Flex),
        (r#""service_tier":"default""#, Some("priority"), Tier::Default),
        (r#""service_tier":"standard_only""#, None, Tier::Default),
        (r#""service_tier":null"#, Some("Priority"), Tier::Priority),
        ("", Some("flex"), Tier::Flex),
        ("", Some("x"), Tier::Default),
    ] {
        let mut headers = JSON.to_vec();
        headers.extend(header.map(|header| ("x-deepinfra-service-tier", header)));
        let call = read("POST", CHAT, &headers, body(CHAT, members)).await.unwrap();
        assert_eq!(call.demand().tier, want, "{members} {header:?}");
    }
    let mut twice = JSON.to_vec();
    twice.extend([
        ("x-deepinfra-service-tier", "flex"),
        ("x-deepinfra-service-tier", "priority"),
    ]);
    let call = read("POST", CHAT, &twice, body(CHAT, "")).await.unwrap();
    assert_eq!(call.demand().tier, Tier::Priority);
}

#[tokio::test]
async fn a_form_is_bounded_like_a_body() {
    let file = |name: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"x\"\r\n\r\nPNG\r\n")
    };
    let form = [
        field("model", "a"),
        field("n", "3"),
        field("size", "\"1024x512\""),
        field("num_inference_steps", "4"),
        field("prompt", "an image"),
        field("mask_image", "data:image/png;base64,AA"),
        field("background_image", ""),
        field("service_tier", "\"priority\""),
        file("image[]"),
        file("image[]"),
        "--b--\r\n".to_owned(),
    ]
    .concat();
    let call = read("POST", "/v1/images/edits", FORM, form.clone())
        .await
        .unwrap();
    let want = Demand {
        bytes: u64::try_from(form.len()).unwrap(),
        media: 3,
        answers: 3,
        pixels: Some(1024 * 512),
        steps: Some(4),
        tier: Tier::Priority,
        ..Demand::default()
    };
    assert_eq!(call.demand(), want);
    assert!(!call.output_can_be_clamped());

    let long = field("width", &format!("{}9", "0".repeat(100))) + "--b--\r\n";
    let call = read("POST", NATIVE, FORM, long).await.unwrap();
    assert_eq!(call.demand().pixels, Some(u64::MAX));
    assert_eq!(
        read("GET", "/v1/models", &[], "").await.unwrap().demand(),
        Demand::default()
    );
}

#[tokio::test]
async fn a_form_may_refer_to_a_recording_of_any_length() {
    let form = field("audio_url", "https://x.test/") + "--b--\r\n";
    let found = read("POST", NATIVE, FORM, form).await.unwrap().demand();
    assert_eq!((found.media, found.elsewhere), (1, true));
}

#[tokio::test]
async fn an_outline_has_length_and_tier_and_is_made_without_a_walk() {
    let members = r#""service_tier":"flex","max_tokens":5,"messages":[{"content":[{"image":"a"}]}]"#;
    let call = read("POST", CHAT, JSON, body(CHAT, members)).await.unwrap();
    let want = Demand {
        bytes: call.demand().bytes,
        tier: Tier::Flex,
        ..Demand::default()
    };
    assert_eq!(call.outline(), want);
}

#[tokio::test]
async fn a_body_as_deep_as_may_be_is_walked_to_its_end() {
    let (open, close) = ("[".repeat(125), "]".repeat(125));
    let found = demand(CHAT, &format!(r#""x":{open}{{"image":"a"}}{close}"#)).await;
    assert_eq!(found.media, 1);
}
