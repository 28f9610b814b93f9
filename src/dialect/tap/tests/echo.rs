//! A line that need not be skimmed tells what it would tell if it were.

use proptest::prelude::*;

use super::tapped;
use crate::dialect::tap::Tap;

/// Documents of events with a place for a text.
const SHAPES: [&str; 13] = [
    r#"{"id":"x","model":"a/b","choices":[{"delta":{"content":"@"},"finish_reason":null}],"usage":null}"#,
    r#"{"id":"x","model":"a/b","choices":[{"delta":{"content":"@"},"finish_reason":null}],"usage":null}"#,
    r#"{"id":"x","model":"c/d","choices":[{"delta":{"content":"@"},"finish_reason":null}],"usage":null}"#,
    r#"{"choices":[{"text":"@"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
    r#"{"choices":[{"text":"@","x":"@"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
    r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"@"}}"#,
    r#"{"type":"message_delta","delta":{"text":"@"},"usage":{"output_tokens":5}}"#,
    r#"{"type":"transcript.text.done","x":{"text":"@"}}"#,
    r#"{"error":{"message":"@"}}"#,
    r#"{"x":{"y":"@"}} {"x":{"y":"@"}}"#,
    r#"{"x":{"y":"@"}"#,
    r#""@""#,
    "[DONE]",
];

/// What may stand in such a text, and what may not.
const TEXTS: [&str; 14] = [
    "",
    "a",
    " token",
    "\u{e9}",
    r"\n",
    r#"\""#,
    r"\\",
    "\"",
    "\\",
    "}{[",
    r#"","usage":{"prompt_tokens":7},"x":""#,
    r#""}}],"usage":{"prompt_tokens":8},"x":[{"y":{"z":""#,
    r#""}},"model":"e/f","x":{"y":{"z":""#,
    "usage",
];

proptest! {
    /// Byte by byte no line is whole, and each is skimmed.
    #[test]
    fn a_line_that_is_taken_for_an_echo_tells_what_it_tells_when_it_is_skimmed(
        events in prop::collection::vec((
            prop::sample::select(SHAPES.to_vec()),
            prop::sample::select(TEXTS.to_vec()),
            prop::sample::select(vec!["\n\n", "\n\n", "\r\n\r\n", "\n", "\n\n: ping\n\n"]),
        ), 0..12),
        piece in 1_usize..400,
    ) {
        let line = |(shape, text, end): (&str, &str, &str)| format!("data: {}{end}", shape.replace('@', text));
        let stream: String = events.into_iter().map(line).collect();
        let of = |tap: Tap| (tap.finished(), tap.failed(), tap.report(), tap.model(), tap.content_events());
        let skimmed = of(tapped("text/event-stream", stream.as_bytes().chunks(1)));
        prop_assert_eq!(&of(tapped("text/event-stream", [stream.as_bytes()])), &skimmed, "{}", stream);
        let pieces = stream.as_bytes().chunks(piece);
        prop_assert_eq!(of(tapped("text/event-stream", pieces)), skimmed, "{} in {}", stream, piece);
    }
}

#[test]
fn a_line_is_an_echo_if_only_its_text_differs_and_the_one_before_told_nothing() {
    let data = |shape: &str, text| format!(" {}", shape.replace('@', text));
    let [shape, _, other, usage, ..] = SHAPES;
    for (shape, next, text, is_echo) in [
        (shape, shape, " token", true),
        (shape, shape, "", true),
        (shape, shape, "first", true),
        (shape, shape, r"\n", false),
        (shape, shape, "\"", false),
        (shape, other, " token", false),
        (shape, usage, " token", false),
        (usage, usage, " token", false),
    ] {
        let event = format!("data:{}\n\n", data(shape, "first"));
        let tap = tapped("text/event-stream", [event.as_bytes()]);
        let echo = &tap.watch.echo;
        assert_eq!(
            echo.is(data(next, text).as_bytes()),
            is_echo,
            "{shape} {next} {text}"
        );
    }
}
