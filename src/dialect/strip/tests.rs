//! What goes and what stays, however a stream is cut.

use proptest::prelude::*;

use super::*;

fn stripped<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut strip = Strip::taking(Goes::All);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&strip.feed(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&strip.end());
    assert!(strip.is_empty());
    String::from_utf8_lossy(&out).into_owned()
}

/// Streams, and what is left of them.
const STREAMS: [(&str, &str); 29] = [
    // Comments before an event pass by themselves.
    (
        ": a\n: b\ndata: {\"usage\":{}}\n\ndata: 1\n\n",
        ": a\n: b\ndata: 1\n\n",
    ),
    (
        ": a\r\n: b\rdata: {\"usage\":{}}\r\rdata: 1\n\n",
        ": a\r\n: b\rdata: 1\n\n",
    ),
    (": usage\n\n: usage", ": usage\n\n: usage"),
    // A frame of its own goes with its empty line.
    (
        "data: {\"choices\":[{}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n",
        "data: {\"choices\":[{}]}\n\ndata: [DONE]\n\n",
    ),
    (
        "data: {\"id\":1,\"usage\":{}}\n\ndata: [DONE]\n\n",
        "data: [DONE]\n\n",
    ),
    (
        "data: {\"choices\":[ ],\"usage\":{}}\r\n\r\n: c\r\n\r\n",
        ": c\r\n\r\n",
    ),
    (
        "data: {\"choices\":null,\"usage\":{}}\r\rdata: 1\r\r",
        "data: 1\r\r",
    ),
    ("\u{feff}data: {\"usage\":{}}\n\ndata: 1\n\n", "data: 1\n\n"),
    // In all others the member goes with its comma, and nothing else.
    (
        "data: {\"choices\":[{}],\"usage\":{\"a\":[1,{}]},\"x\":1}\n\n",
        "data: {\"choices\":[{}],\"x\":1}\n\n",
    ),
    (
        "data:{\"choices\":[{}] , \"usage\" : null }\n\n",
        "data:{\"choices\":[{}] }\n\n",
    ),
    (
        "data: { \"usage\":null , \"choices\":[1]}\n\n",
        "data: { \"choices\":[1]}\n\n",
    ),
    (
        "data: {\"usage\":null,\"choices\":[]}\n\n",
        "data: {\"choices\":[]}\n\n",
    ),
    ("data: { \"usage\":null }\n\n", "data: {  }\n\n"),
    (
        "data: {\"usage\":{},\"choices\":[1],\"usage\":2}\n\n",
        "data: {\"choices\":[1]}\n\n",
    ),
    (
        "id: 7\nevent: x\ndata: {\"choices\":[1],\"usage\":{}}\nretry: 1\n\n",
        "id: 7\nevent: x\ndata: {\"choices\":[1]}\nretry: 1\n\n",
    ),
    (
        "data: {\"choices\":[1],\ndata: \"usage\":{}}\n\n",
        "data: {\"choices\":[1]}\n\n",
    ),
    (
        "data: {\"us\\u0061ge\":{},\"usage\":1,\"choices\":[1]}\n\n",
        "data: {\"choices\":[1]}\n\n",
    ),
    (
        "data: {\"error\":{\"message\":\"x\"},\"usage\":{\"a\":1}}\n\n",
        "data: {\"error\":{\"message\":\"x\"}}\n\n",
    ),
    (
        "data: {\"usage\":1 , \"usage\":2, \"choices\":[1] , \"usage\":3,\"usage\":4 ,\"x\":1,\"usage\":5}\n\n",
        "data: {\"choices\":[1] ,\"x\":1}\n\n",
    ),
    ("data: {\"usage\":null,\"usage\":null}\n\n", "data: {}\n\n"),
    // What is not whole at the end is treated alike.
    (
        "data: {\"choices\":[1],\"usage\":{}}\n",
        "data: {\"choices\":[1]}\n",
    ),
    (
        "data: {\"choices\":[1],\"usage\":{}",
        "data: {\"choices\":[1],\"usage\":{}",
    ),
    // What only looks like usage stays.
    (
        "data: {\"choices\":[{\"usage\":{},\"t\":\"\\\"usage\\\":1\"}]}\n\n",
        "data: {\"choices\":[{\"usage\":{},\"t\":\"\\\"usage\\\":1\"}]}\n\n",
    ),
    (
        "data: usage\n\ndata: [\"usage\"]\n\n",
        "data: usage\n\ndata: [\"usage\"]\n\n",
    ),
    (
        ": usage\n\nusage: {\"usage\":1}\n\n",
        ": usage\n\nusage: {\"usage\":1}\n\n",
    ),
    ("data: {\"Usage\":1}\n\n", "data: {\"Usage\":1}\n\n"),
    (
        "data: {\"usage\":{}\n\ndata: 1\n\n",
        "data: {\"usage\":{}\n\ndata: 1\n\n",
    ),
    ("\n\n\n: \n\ndata: null\n\n", "\n\n\n: \n\ndata: null\n\n"),
    ("", ""),
];

#[test]
fn usage_goes_and_all_else_stays_wherever_the_stream_is_cut() {
    for (stream, want) in STREAMS {
        assert_eq!(stripped([stream.as_bytes()]), want, "{stream:?}");
        assert_eq!(stripped(stream.as_bytes().chunks(1)), want, "{stream:?}");
        for cut in 0..stream.len() {
            let (one, two) = stream.as_bytes().split_at(cut);
            assert_eq!(stripped([one, two]), want, "{stream:?} cut at {cut}");
        }
    }
}

/// What is left of a stream in which the gate asked for running usage, where nothing stands in its place and where null
/// does.
fn put_back<'a>(pieces: impl IntoIterator<Item = &'a [u8]> + Clone) -> [String; 2] {
    [false, true].map(|null| {
        let mut strip = Strip::taking(Goes::Running { null });
        let mut out = Vec::new();
        for piece in pieces.clone() {
            out.extend_from_slice(&strip.feed(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&strip.end());
        assert!(strip.is_empty());
        String::from_utf8_lossy(&out).into_owned()
    })
}

/// The frames of a stream; in what is wanted of them `~` stands for what is put back in the place of running usage.
const RUNNING: [(&str, &str); 12] = [
    // The last usage stands with the reason of the end, or behind it.
    (
        "data: {\"choices\":[{}],\"usage\":{\"a\":1}}\n\n\
         data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"a\":2}}\n\ndata: [DONE]\n\n",
        "data: {\"choices\":[{}]~}\n\n\
         data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"a\":2}}\n\ndata: [DONE]\n\n",
    ),
    (
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"a\":2}}\n\n\
         data: {\"choices\":[],\"usage\":{\"a\":2}}\n\ndata: [DONE]\n\n",
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}]~}\n\n\
         data: {\"choices\":[],\"usage\":{\"a\":2}}\n\ndata: [DONE]\n\n",
    ),
    // What says nothing decides nothing, and keeps its place.
    (
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}\r\n\r\n: usage\r\n\r\ndata: null\r\n\r\n\
         data: {\"choices\":[],\"usage\":2}\r\n\r\n",
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}]~}\r\n\r\n: usage\r\n\r\ndata: null\r\n\r\n\
         data: {\"choices\":[],\"usage\":2}\r\n\r\n",
    ),
    (
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}\r\r: x\r\rdata: [DONE]\r\r",
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}\r\r: x\r\rdata: [DONE]\r\r",
    ),
    // Several choices end one after the other.
    (
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}\n\n\
         data: {\"choices\":[{\"finish_reason\":null}],\"usage\":2}\n\n\
         data: {\"choices\":[{\"finish_reason\":\"length\"}],\"usage\":3}\n\n",
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}]~}\n\ndata: {\"choices\":[{\"finish_reason\":null}]~}\n\n\
         data: {\"choices\":[{\"finish_reason\":\"length\"}],\"usage\":3}\n\n",
    ),
    // An upstream that does not know running usage is left alone.
    (
        "data: {\"choices\":[{}],\"usage\":null}\n\ndata: {\"choices\":[]}\n\ndata: {\"usage\":{}}\n\n",
        "data: {\"choices\":[{}],\"usage\":null}\n\ndata: {\"choices\":[]}\n\ndata: {\"usage\":{}}\n\n",
    ),
    // An object over several lines is as it would have been written.
    (
        "data: {\ndata:   \"choices\": [{}],\ndata:   \"usage\": {\ndata:     \"a\": 1\ndata:   },\ndata:   \"x\": 1\ndata: }\n\n",
        "data: {\ndata:   \"choices\": [{}]|,\ndata:   \"usage\": null|,\ndata:   \"x\": 1\ndata: }\n\n",
    ),
    (
        "data: {\"choices\":[1],\nid: 7\ndata: \"usage\":{}}\n\n",
        "data: {\"choices\":[1]|,  \"usage\":null|}\nid: 7\n\n",
    ),
    (
        "data: {\"usage\":{},\"choices\":[1]}\n\n",
        "data: {|\"usage\":null,|\"choices\":[1]}\n\n",
    ),
    // What is cut is given as it came.
    (
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}\n\ndata: {\"cho",
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}\n\ndata: {\"cho",
    ),
    (
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}\n",
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}\n",
    ),
    (
        "data: {\"error\":{},\"usage\":{\"a\":1}}\n\ndata: usage\n\n",
        "data: {\"error\":{},\"usage\":{\"a\":1}}\n\ndata: usage\n\n",
    ),
];

#[test]
fn running_usage_goes_and_the_last_stays_wherever_the_stream_is_cut() {
    for (stream, want) in RUNNING {
        let without: Vec<&str> = want.split('|').collect();
        let without = if without.len() == 3 {
            [without[0], without[2]].concat()
        } else {
            want.replace('~', "")
        };
        let want = [without, want.replace('~', ",\"usage\":null").replace('|', "")];
        assert_eq!(put_back([stream.as_bytes()]), want, "{stream:?}");
        assert_eq!(put_back(stream.as_bytes().chunks(1)), want, "{stream:?}");
        for cut in 0..stream.len() {
            let (one, two) = stream.as_bytes().split_at(cut);
            assert_eq!(put_back([one, two]), want, "{stream:?} cut at {cut}");
        }
    }
}

#[test]
fn an_event_waits_for_the_next_only_if_its_usage_may_be_the_last() {
    let mut strip = Strip::taking(Goes::Running { null: false });
    for (piece, passed) in [
        (
            "data: {\"choices\":[{}],\"usage\":1}\n\n",
            "data: {\"choices\":[{}]}\n\n",
        ),
        (
            "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n",
        ),
        (
            "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}\n\n",
            "",
        ),
        (": ping\n\n", ""),
        (
            "data: [DONE]\n\n",
            "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}\n\n: ping\n\ndata: [DONE]\n\n",
        ),
    ] {
        assert_eq!(
            strip.feed(Bytes::from_static(piece.as_bytes())),
            passed,
            "{piece:?}"
        );
    }
}

#[test]
fn a_member_that_stands_very_often_goes_in_one_pass() {
    let stream = format!("data: {{\"choices\":[1]{}}}\n\n", ",\"usage\":1".repeat(90_000));
    assert_eq!(stripped([stream.as_bytes()]), "data: {\"choices\":[1]}\n\n");
}

#[test]
fn a_whole_event_passes_at_once_and_one_without_usage_is_not_copied() {
    let mut strip = Strip::taking(Goes::All);
    let event = Bytes::from_static(b"data: {\"choices\":[1]}\n\n");
    let passed = strip.feed(event.clone());
    assert_eq!((passed.as_ptr(), passed.len()), (event.as_ptr(), event.len()));
    let one_and_a_half = Bytes::from_static(b"data: {\"choices\":[2],\"usage\":1}\n\ndata: {\"ch");
    assert_eq!(strip.feed(one_and_a_half), "data: {\"choices\":[2]}\n\n");
    assert!(!strip.is_empty());
    assert_eq!(strip.feed(Bytes::from_static(b"oices\":[3]}\n")), "");
    assert_eq!(
        strip.feed(Bytes::from_static(b"\n")),
        "data: {\"choices\":[3]}\n\n"
    );
    assert_eq!(strip.feed(Bytes::from_static(b"data: 1\r\n\r")), "data: 1\r\n\r");
}

#[test]
fn a_comment_passes_before_the_event_that_it_stands_before() {
    let mut strip = Strip::taking(Goes::All);
    for (piece, passed) in [
        (": ping\n", ": ping\n"),
        (": pi", ""),
        ("ng\n", ": ping\n"),
        (": ping\r", ""),
        ("\ndata: {\"cho", ": ping\r\n"),
        ("ices\":[1],\"usage\":1}\n", ""),
        ("\n", "data: {\"choices\":[1]}\n\n"),
    ] {
        assert_eq!(
            strip.feed(Bytes::from_static(piece.as_bytes())),
            passed,
            "{piece:?}"
        );
    }
}

#[test]
fn an_event_beyond_the_bound_passes_as_it_is_and_the_next_one_is_stripped() {
    let long = format!(
        "data: {{\"choices\":[\"{}\"],\"usage\":1}}\n\n",
        "x".repeat(MAX_EVENT)
    );
    let stream = format!("{long}data: {{\"choices\":[1],\"usage\":2}}\n\n");
    let want = format!("{long}data: {{\"choices\":[1]}}\n\n");
    for cut in [1000, 65_536] {
        assert!(stripped(stream.as_bytes().chunks(cut)) == want, "{cut}");
    }
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_the_same_is_left(
        parts in prop::collection::vec(prop::sample::select(vec![
            "data: {\"choices\":[],\"usage\":{}}", "data: {\"usage\":null,\"choices\":[1]}", "data: [DONE]", "data:",
            "\n", "\n", "\n\n", "\r", "\r\n", "\r\n\r\n", "\u{feff}", ": usage", "{\"usage\":1,", "\"choices\":[{}]}",
            "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":1}", "data: null",
        ]), 0..30),
        cuts in prop::collection::vec(0_usize..12, 0..40),
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
        prop_assert_eq!(stripped(pieces.clone()), stripped([whole.as_bytes()]));
        prop_assert_eq!(put_back(pieces), put_back([whole.as_bytes()]));
    }

    #[test]
    fn a_stream_that_mentions_no_usage_is_left_as_it_is(
        parts in prop::collection::vec(prop::sample::select(vec![
            "data: {\"choices\":[]}", "data: [DONE]", "\n", "\n\n", "\r", "\r\n", ": x", "event: y",
        ]), 0..30),
        cut in 1_usize..20,
    ) {
        let whole = parts.concat();
        prop_assert_eq!(stripped(whole.as_bytes().chunks(cut)), whole);
    }
}
