//! What a tap sees of an answer: the same however its bytes are cut, and never more than is there.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::HeaderValue;
use proptest::prelude::*;

use super::*;

mod echo;

fn headers(content_type: &'static str, coding: Option<&'static str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    headers
}

fn tapped<'a>(content_type: &'static str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Tap {
    let mut tap = Tap::of(&headers(content_type, None)).unwrap();
    pieces.into_iter().for_each(|piece| tap.feed(piece));
    tap.end();
    tap
}

fn verdict<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (bool, bool) {
    let tap = tapped("text/event-stream", pieces);
    (tap.finished(), tap.failed())
}

/// A stream, and whether it ended as it should and whether it failed.
const STREAMS: [(&str, (bool, bool)); 24] = [
    ("data: {\"choices\":[]}\n\ndata: [DONE]\n\n", (true, false)),
    ("data:[DONE]\r\n\r\n", (true, false)),
    ("data: [DONE] \n", (true, false)),
    ("\u{feff}data: [DONE]\r\r", (true, false)),
    ("data: [DONE]x\n\n", (false, false)),
    ("data: [DON\n\ndata: E]\n\n", (false, false)),
    (
        ": comment\n\ndata: null\n\ndata: {\"choices\":[]}\n\n",
        (false, false),
    ),
    ("data: {\"type\":\"message_stop\"}\n\n", (true, false)),
    ("data: {\"type\":\ndata: \"message_stop\"}\n\n", (true, false)),
    (
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null}}\n\n",
        (true, false),
    ),
    ("data: {\"type\":\"response.incomplete\"}\n\n", (true, false)),
    (
        "data: {\"type\":\"response.failed\",\"response\":{\"error\":{}}}\n\n",
        (true, true),
    ),
    (
        "data:{\"token\":{},\"generated_text\":\"Hi\",\"details\":{}}\n\n",
        (true, false),
    ),
    ("data: {\"token\":{},\"generated_text\":null}\n\n", (false, false)),
    ("data: {\"error\":null,\"choices\":[]}\n\n", (false, false)),
    (
        "data: {\"error_type\":\"validation_error\",\"error_message\":\"{}\"}\n\n",
        (false, true),
    ),
    (
        "data: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n",
        (true, true),
    ),
    (
        "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n",
        (false, true),
    ),
    (
        "data: {\"x_groq\":{\"id\":\"r\",\"error\":\"over capacity\"}}\n\n",
        (false, true),
    ),
    (
        "data: {\"choices\":[{\"delta\":{\"content\":\"data: [DONE] message_stop \\\"error\\\"\"}}]}\n\n",
        (false, false),
    ),
    ("data: [DONE]", (false, false)),
    ("data: {\"type\":\n\n", (false, false)),
    ("data: {\"type\":\"message_stop\"\n\n", (false, false)),
    (
        "data: {\"type\n\ndata: {\"type\":\"message_stop\"}\n\n",
        (true, false),
    ),
];

#[test]
fn each_dialect_says_when_it_has_ended() {
    for (stream, want) in STREAMS {
        assert_eq!(verdict([stream.as_bytes()]), want, "{stream}");
        assert_eq!(
            verdict(stream.as_bytes().chunks(1)),
            want,
            "{stream}, byte by byte"
        );
    }
}

#[test]
fn lines_of_json_end_when_they_say_so_if_they_say_it_at_all() {
    for (lines, want) in [
        ("{\"done\":false}\n{\"done\":true}\n", (true, false)),
        ("{\"done\":false}\n{\"done\":false}\n", (false, false)),
        ("{\"done\":false}\n{\"done\":true", (false, false)),
        ("{\"text\":\"a\"}\n", (true, false)),
        ("{\"done\":false}\n{\"error\":\"out of memory\"}\n", (false, true)),
    ] {
        let tap = tapped("application/x-ndjson", lines.as_bytes().chunks(3));
        assert_eq!((tap.finished(), tap.failed()), want, "{lines}");
    }
}

#[test]
fn an_event_of_any_length_is_seen() {
    let long = "x".repeat(3 << 20);
    let stream = format!(
        "data: {{\"generated_text\":\"{long}\",\"details\":{{\"generated_tokens\":7,\"input_length\":3}}}}\n\n"
    );
    let tap = tapped("text/event-stream", stream.as_bytes().chunks(65_536));
    let usage = tap.usage().unwrap();
    assert_eq!((tap.finished(), usage.input, usage.output), (true, 3, 7));
}

#[test]
fn the_model_is_the_last_one_named() {
    let stream = "data: {\"model\":\"a/b\"}\n\ndata: {\"response\":{\"model\":\"c\\/d\"}}\n\ndata: {\"model\":null}\n\n";
    let tap = tapped("text/event-stream", [stream.as_bytes()]);
    assert_eq!(tap.model().as_deref(), Some("c/d"));
    assert_eq!(tapped("application/json", [b"{}".as_slice()]).model(), None);
}

#[test]
fn a_name_that_is_none_or_is_cut_leaves_the_one_before() {
    for rest in [
        "data: {\"model\":7}\n\n",
        "data: {\"model\":\"\\x\"}\n\n",
        "data: {\"model\":\"c/d",
    ] {
        let stream = format!("data: {{\"model\":\"a/b\"}}\n\n{rest}");
        assert_eq!(
            tapped("text/event-stream", [stream.as_bytes()])
                .model()
                .as_deref(),
            Some("a/b"),
            "{rest}"
        );
    }
    let stream = "data: {\"model\":\"a\\/b\",\"choices\":[]}\n\ndata: {\"model\":\"c/d\"}\n\n";
    for cut in 0..=stream.len() {
        let model = tapped("text/event-stream", [&stream.as_bytes()[..cut]]).model();
        let want = match cut {
            0..21 => None,
            21..57 => Some("a/b"),
            _ => Some("c/d"),
        };
        assert_eq!(model.as_deref(), want, "cut at {cut}");
    }
}

/// Streams, and how many of their events carry content.
const CONTENT: [(&str, u64); 16] = [
    ("", 0),
    (": ping\n\ndata:\n\ndata: null\n\ndata: [DONE]\n\n", 0),
    (
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{}]}\r\n\r\n",
        2,
    ),
    (
        "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"a\"}}],\"error\":null}\n\n",
        1,
    ),
    (
        "data: {\"choices\":[{\"text\":\"[DONE]\"}]}\n\ndata: [DONE]\n\n",
        1,
    ),
    ("data: {\"choices\":[],\ndata: \"x\":null}\n\n", 1),
    ("data: {\"choices\":[{\"delta\":{\"cont", 1),
    ("data: nul", 0),
    ("data: token\n\n", 1),
    ("data: {\"error\":{\"message\":\"x\"}}\n\n", 0),
    ("data: {\"error_type\":\"x\",\"error_message\":\"{}\"}\n\n", 0),
    (
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n\
         event: ping\ndata: {\"type\": \"ping\"}\n\n\
         data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n\
         data: {\"type\":\"content_block_stop\"}\n\ndata: {\"type\":\"message_delta\"}\n\n\
         data: {\"type\":\"message_stop\"}\n\n",
        1,
    ),
    (
        "data: {\"type\":\"response.created\"}\n\n\
         data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n\
         data: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"a\"}\n\n\
         data: {\"type\":\"response.output_text.done\",\"text\":\"a\"}\n\n\
         data: {\"type\":\"response.completed\"}\n\n",
        2,
    ),
    ("data:{\"token\":{\"text\":\"a\"},\"generated_text\":null}\n\n", 1),
    (
        "data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\n",
        1,
    ),
    ("data: {\"type\":\"ping\"}\n\ndata: {\"choices\":[{}]}\n\n", 1),
];

#[test]
fn every_event_that_carries_content_counts_wherever_the_stream_is_cut() {
    for (stream, want) in CONTENT {
        let of = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let pieces: Vec<Vec<u8>> = pieces.map(<[u8]>::to_vec).collect();
            tapped("text/event-stream", pieces.iter().map(Vec::as_slice)).content_events()
        };
        assert_eq!(
            of(&mut stream.as_bytes().chunks(1)),
            want,
            "{stream}, byte by byte"
        );
        assert_eq!(of(&mut std::iter::once(stream.as_bytes())), want, "{stream}");
        let mut before = 0;
        for cut in 0..=stream.len() {
            let counted = of(&mut std::iter::once(&stream.as_bytes()[..cut]));
            assert!(counted + 1 >= before, "{stream} cut at {cut}");
            before = counted;
        }
    }
    let lines = tapped("application/x-ndjson", [b"{\"done\":false}\n\n{\"do".as_slice()]);
    assert_eq!(lines.content_events(), 2);
    let document = tapped("application/json", [b"{\"choices\":[{}]}".as_slice()]);
    assert_eq!(document.content_events(), 0);
}

#[test]
fn of_a_stream_that_is_cut_the_running_usage_last_seen_counts() {
    let usage = |n: u64| {
        format!(
            "data: {{\"choices\":[{{}}],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":{n}}}}}\n\n"
        )
    };
    let stream = usage(1) + &usage(2) + &usage(3);
    let each = usage(1).len();
    for cut in 0..stream.len() {
        let tap = tapped("text/event-stream", [&stream.as_bytes()[..cut]]);
        let seen = tap.usage().map_or(0, |usage| usage.output);
        let whole = u64::try_from(cut / each).unwrap();
        assert!(seen == whole || seen == whole + 1, "cut at {cut}");
        assert!(tap.content_events() >= seen, "cut at {cut}");
    }
}

#[test]
fn a_cost_that_can_be_none_is_told_and_the_next_source_is_used() {
    let tap = tapped(
        "application/json",
        [br#"{"usage":{"prompt_tokens":1,"estimated_cost":NaN,"cost":"0.5"}}"#.as_slice()],
    );
    assert!(tap.report().1);
    let usage = tap.usage().unwrap();
    assert_eq!(
        (usage.input, usage.cost.unwrap().to_string().as_str()),
        (1, "0.5")
    );
}

#[test]
fn answers_in_other_types_and_codings_are_not_watched() {
    for (content_type, coding, watched) in [
        ("text/event-stream; charset=utf-8", None, true),
        ("Application/JSON", Some("identity"), true),
        ("application/x-ndjson", Some("GZIP"), true),
        ("application/json", Some("deflate"), true),
        ("application/json", Some("br"), false),
        ("application/json", Some("gzip, gzip"), false),
        ("audio/wav", None, false),
        ("text/plain", None, false),
    ] {
        let tap = Tap::of(&headers(content_type, coding));
        assert_eq!(tap.is_some(), watched, "{content_type} {coding:?}");
    }
    assert!(Tap::of(&HeaderMap::new()).is_none());
}

#[test]
fn an_encoded_answer_is_seen_through() {
    let stream =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(stream.as_bytes()).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(stream.as_bytes()).unwrap();
    for (coding, packed) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
    ] {
        for cut in [1, 10, usize::MAX] {
            let mut tap = Tap::of(&headers("text/event-stream", Some(coding))).unwrap();
            packed.chunks(cut).for_each(|piece| tap.feed(piece));
            tap.end();
            let usage = tap.usage().unwrap();
            assert_eq!(
                (usage.input, usage.output, tap.finished()),
                (3, 4, true),
                "{coding} {cut}"
            );
        }
    }
}

#[test]
fn of_an_answer_that_it_lost_sight_of_a_tap_does_not_say_that_it_was_cut() {
    let mut tap = Tap::of(&headers("text/event-stream", Some("gzip"))).unwrap();
    tap.feed(b"data: {\"usage\":{\"prompt_tokens\":1}}\n\n");
    tap.end();
    assert_eq!((tap.finished(), tap.failed(), tap.usage()), (true, false, None));
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_the_tap_sees_the_same(
        parts in prop::collection::vec(prop::sample::select(vec![
            "data: [DONE]", "data:", " [DONE]", "\n", "\r", "\r\n", "\u{feff}", ": x", "\u{1f30a}",
            "data: {\"error\":{}}", "{\"type\":\"message_stop\"}", "data: null", "data: {\"usage\":",
            "{\"prompt_tokens\":1}}", "{\"message\":{\"usage\":{\"output_tokens\":2}}}", "\"", "\\", "}", "{",
            "\"usage\":null,", "{\"num_tokens\":3}", "{\"done\":true}",
        ]), 0..30),
        cuts in prop::collection::vec(0_usize..12, 0..40),
        content_type in prop::sample::select(vec!["text/event-stream", "application/json", "application/x-ndjson"]),
    ) {
        let whole = parts.concat();
        let mut rest = whole.as_bytes();
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, then) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = then;
        }
        pieces.push(rest);
        let of = |tap: Tap| (tap.finished(), tap.failed(), tap.usage(), tap.model(), tap.content_events());
        prop_assert_eq!(of(tapped(content_type, pieces)), of(tapped(content_type, [whole.as_bytes()])));
    }
}
