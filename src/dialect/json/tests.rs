//! Which JSON bodies have one reading, and that an edit leaves every other byte.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::dialect::fold::POLICY_KEYS;

fn parse(body: impl AsRef<[u8]>) -> Result<JsonObject, JsonError> {
    JsonObject::parse(Bytes::copy_from_slice(body.as_ref()))
}

/// What is not one JSON object, at least to a strict parser.
const NO_BODY: [&str; 47] = [
    "",
    " ",
    "null",
    "\"model\"",
    "5",
    r#"["gpt",5]"#,
    r#"[{"model":"a"}]"#,
    r#"{"model":"a"}{"model":"b"}"#,
    r#"{"model":"a"} x"#,
    r#"{"model":"a"},"#,
    "{\"model\":\"a\"}\0",
    r#"{"model":"a"}}"#,
    r#"{"model":"a""#,
    r#"{"model":"a",}"#,
    r#"{,"model":"a"}"#,
    r#"{"model" "a"}"#,
    r#"{"model":}"#,
    "{model:\"a\"}",
    "{'model':'a'}",
    "{\"a\":1 /* c */}",
    "{\"a\":1} // c",
    "{\"a\":1}\n# c",
    r#"{"a":NaN}"#,
    r#"{"a":Infinity}"#,
    r#"{"a":-Infinity}"#,
    r#"{"a":+1}"#,
    r#"{"a":01}"#,
    r#"{"Model":01}"#,
    r#"{"a":.5}"#,
    r#"{"a":1.}"#,
    r#"{"a":0x10}"#,
    r#"{"a":1e}"#,
    r#"{"a":True}"#,
    r#"{"a":undefined}"#,
    r#"{"\ud800":1}"#,
    r#"{"mod\udc00el":1}"#,
    r#"{"\x6dodel":1}"#,
    r#"{"a":"\x6d"}"#,
    "{\"a\":\"\n\"}",
    "{\"a\":\"\t\"}",
    "{\"a\":\"\u{0}\"}",
    "{\"a\u{1}\":1}",
    "{\u{a0}\"a\":1}",
    "{\u{b}\"a\":1}",
    "{\"a\":[1,2}",
    "{\"a\":[1}]",
    r#"{1:2}"#,
];

/// A body with as many open brackets within each other.
fn nested(depth: usize) -> String {
    format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
}

#[test]
fn a_key_that_decides_something_stands_once_in_any_writing() {
    for (body, key) in [
        (r#"{"model":"cheap","model":"dear"}"#, "model"),
        (r#"{"model":"dear","model":"cheap"}"#, "model"),
        (r#"{"model":"same","model":"same"}"#, "model"),
        (r#"{"model":"cheap","mod\u0065l":"dear"}"#, "model"),
        (r#"{"mod\u0065l":"dear","model":"cheap"}"#, "model"),
        (
            r#"{"\u006d\u006F\u0064el":"a","messages":[{"model":"b"}],"model":"c"}"#,
            "model",
        ),
        (r#"{"model":null,"model":"a"}"#, "model"),
        (r#"{"models":["a"],"models":["b"]}"#, "models"),
        (r#"{"stream":false,"a":1,"stream":true}"#, "stream"),
        (r#"{"max_tokens":1,"max\u005ftokens":1000000}"#, "max_tokens"),
        (r#"{"webhook":"a","webhook":"b"}"#, "webhook"),
    ] {
        assert_eq!(parse(body).err(), Some(JsonError::Duplicate(key)), "{body}");
    }
    for key in POLICY_KEYS {
        let body = format!("{{\"{key}\":1, \"x\":[], \"{key}\":1}}");
        assert_eq!(parse(&body).err(), Some(JsonError::Duplicate(key)), "{body}");
    }
}

#[test]
fn a_key_that_only_resembles_one_is_refused() {
    for (key, like) in [
        ("Model", "model"),
        ("MODEL", "model"),
        ("ｍodel", "model"),
        (r"\uFF4dodel", "model"),
        (r"\u004dodel", "model"),
        (r"max_to\u212aens", "max_tokens"),
        ("max_to\u{212a}ens", "max_tokens"),
        ("\u{17f}tream", "stream"),
        ("\u{fb05}ream", "stream"),
        ("web\u{ff28}ook", "webhook"),
        ("service\u{ff3f}tier", "service_tier"),
        ("N", "n"),
        ("ｎ", "n"),
    ] {
        let body = format!("{{\"model\":\"a\",\"{key}\":\"b\"}}");
        assert_eq!(parse(&body).err(), Some(JsonError::Lookalike(like)), "{body}");
    }
}

#[test]
fn what_parsers_read_differently_is_no_body() {
    let utf16 = |text: &str| text.encode_utf16().collect::<Vec<_>>();
    let model = r#"{"model":"a"}"#;
    let bytes: Vec<(Vec<u8>, JsonError)> = vec![
        (
            utf16(model).iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            JsonError::NotAnObject,
        ),
        (
            utf16(model).iter().flat_map(|unit| unit.to_be_bytes()).collect(),
            JsonError::NotAnObject,
        ),
        (
            model.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
            JsonError::NotAnObject,
        ),
        ([b"\xff\xfe".as_slice(), b"{\0}\0"].concat(), JsonError::NotUtf8),
        ([b"\xef\xbb\xbf", model.as_bytes()].concat(), JsonError::NotUtf8),
        (b"{\"model\":\"\xe9\"}".to_vec(), JsonError::NotUtf8),
        (b"{\"x\":\"\xc0\xaf\"}".to_vec(), JsonError::NotUtf8),
        (
            [b"{\"x\":\"", "a".repeat(5000).as_bytes(), b"\xff\"}"].concat(),
            JsonError::NotUtf8,
        ),
        (b"{\"n\":1,\"n\":2,\"\xff\":1}".to_vec(), JsonError::NotUtf8),
        (b"{\"x\":\"\xed\xa0\x80\"}".to_vec(), JsonError::NotUtf8),
        (nested(129).into_bytes(), JsonError::TooDeep),
        ("[".repeat(1_000_000).into_bytes(), JsonError::TooDeep),
        ("{\"a\":".repeat(1_000_000).into_bytes(), JsonError::TooDeep),
    ];
    for (body, wrong) in bytes {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(parse(body).err(), Some(wrong), "{shown}");
    }
    for body in NO_BODY {
        assert_eq!(parse(body).err(), Some(JsonError::NotAnObject), "{body:?}");
    }
}

#[test]
fn whatever_has_one_reading_passes_byte_for_byte() {
    for body in [
        "{}".to_owned(),
        " \r\n\t{ \"model\" : \"a\" } \r\n".to_owned(),
        r#"{"messages":[{"model":1},{"Model":2,"model":3,"model":4}]}"#.to_owned(),
        r#"{"a":1,"a":2}"#.to_owned(),
        r#"{"a":1e400,"b":-0,"c":123456789012345678901234567890}"#.to_owned(),
        r#"{"a":"\ud800","b":"\u0000"}"#.to_owned(),
        r#"{"a":"[[[[{{{{\"\\","b":"\\"}"#.to_owned(),
        r#"{"":1,"modell":1,"mode":1,"model ":1,"mоdel":1}"#.to_owned(),
        "{\"\u{1f30a}\":\"\u{feff}\"}".to_owned(),
        nested(128),
        format!("{{\"a\":\"{}\"}}", "[".repeat(10_000)),
        format!("{{\"a\":[{}[]]}}", "[],".repeat(10_000)),
    ] {
        let object = parse(&body).unwrap_or_else(|wrong| panic!("{wrong}: {body}"));
        assert_eq!(object.into_bytes(), body);
    }
}

#[test]
fn keys_have_their_types_and_null_is_absent() {
    let object = |value: &str| {
        parse(format!(
            "{{\"n\":{value},\"stream\":{value},\"model\":{value},\"models\":{value},\"stream_options\":{value}}}"
        ))
        .unwrap()
    };
    for (value, n) in [("0", 0), ("5", 5), ("9007199254740992", 1 << 53), ("\n7\t", 7)] {
        assert_eq!(object(value).integer("n"), Ok(Some(n)), "{value}");
    }
    for value in [
        "1e2",
        "100.0",
        "1E0",
        "-1",
        "-0",
        "9007199254740993",
        "18446744073709551616",
        "100000000000000000000000000000000000000000000000000",
        "1e400",
        "\"5\"",
        "true",
        "[]",
        "[5]",
        "{}",
    ] {
        assert!(object(value).integer("n").is_err(), "{value}");
    }
    assert_eq!(object("true").boolean("stream"), Ok(Some(true)));
    for value in ["1", "0", "\"true\"", "[]"] {
        assert!(object(value).boolean("stream").is_err(), "{value}");
    }
    assert_eq!(
        object(r#""a\u002fb""#).string("model"),
        Ok(Some(Cow::from("a/b")))
    );
    for value in ["1", "true", "[\"a\"]", "{}", r#""\ud800""#] {
        assert!(object(value).string("model").is_err(), "{value}");
    }
    let sixteen = format!("[{}\"a\"]", "\"a\",".repeat(15));
    assert_eq!(object(&sixteen).strings("models").unwrap().unwrap().len(), 16);
    let many = format!("[{}\"a\"]", "\"a\",".repeat(16));
    for value in [
        "[]",
        "\"a\"",
        "[1]",
        "[null]",
        "[\"a\",[\"b\"]]",
        "{}",
        many.as_str(),
    ] {
        assert!(object(value).strings("models").is_err(), "{value}");
    }
    let null = object("null");
    assert_eq!(null.integer("n"), Ok(None));
    assert_eq!(null.boolean("stream"), Ok(None));
    assert_eq!(null.string("model"), Ok(None));
    assert_eq!(null.strings("models"), Ok(None));
    assert_eq!(null.check_stream_options(), Ok(()));
    assert!(null.has_null("model") && !null.has_null("webhook") && !object("1").has_null("n"));
}

#[test]
fn stream_options_are_read_as_strictly_as_the_body() {
    let check = |options: &str| {
        parse(format!("{{\"stream_options\":{options}}}"))
            .unwrap()
            .check_stream_options()
    };
    for fine in [
        "{}",
        "null",
        r#"{"include_usage":true,"continuous_usage_stats":false,"other":[1]}"#,
        r#"{"include_usage":null}"#,
    ] {
        assert_eq!(check(fine), Ok(()), "{fine}");
    }
    for odd in [
        "[]",
        "true",
        "\"a\"",
        r#"{"include_usage":1}"#,
        r#"{"include_usage":"true"}"#,
        r#"{"continuous_usage_stats":[]}"#,
    ] {
        assert!(matches!(check(odd), Err(JsonError::Type { .. })), "{odd}");
    }
    assert_eq!(
        check(r#"{"include_usage":true,"include\u005fusage":false}"#),
        Err(JsonError::Duplicate("include_usage"))
    );
    assert_eq!(
        check(r#"{"Include_Usage":true}"#),
        Err(JsonError::Lookalike("include_usage"))
    );
}

#[test]
fn a_string_is_set_in_its_place_or_in_front() {
    for (body, want) in [
        (
            r#"{ "a":1, "model" : "old" , "b":2}"#,
            r#"{ "a":1, "model" : "new" , "b":2}"#,
        ),
        (r#"{"model":null}"#, r#"{"model":"new"}"#),
        (r#"{"mod\u0065l":"old"}"#, r#"{"mod\u0065l":"new"}"#),
        (r#"{ "a":1}"#, r#"{"model":"new", "a":1}"#),
        ("{}", r#"{"model":"new"}"#),
        (" { \n} ", " {\"model\":\"new\" \n} "),
    ] {
        let mut object = parse(body).unwrap();
        object.set_string("model", "new");
        assert_eq!(object.string("model"), Ok(Some(Cow::from("new"))));
        assert_eq!(object.into_bytes(), want, "{body}");
    }
    let mut object = parse(r#"{"models" : [ "a" ,"b", "c"],"model":"d"}"#).unwrap();
    object.replace_strings("models", &[Some("long/er".into()), None, Some("\"".into())]);
    object.set_string("model", "e");
    assert_eq!(
        object.into_bytes(),
        r#"{"models" : [ "long/er" ,"b", "\""],"model":"e"}"#
    );
}

/// A JSON value as text, with the white space and escapes that an encoder may put in.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("1.5e3".to_owned()),
        ".{0,6}".prop_map(|text| Value::from(text).to_string()),
        Just(r#""\u007b\"\\""#.to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|list| format!("[ {}]", list.join(" ,"))),
            inner.prop_map(|value| format!("{{\"model\": {value} }}")),
        ]
    })
}

fn member() -> impl Strategy<Value = (String, String)> {
    (
        prop::sample::select(vec!["model", "models", "model_id", "n", "a", "b"]),
        value(),
    )
        .prop_map(|(key, value)| (key.to_owned(), value))
}

proptest! {
    #[test]
    fn an_edit_changes_its_member_and_no_other_byte(
        members in prop::collection::vec(member(), 0..6),
        key in prop::sample::select(vec!["model", "model_id", "webhook"]),
        new in "[a-z\"/é]{0,9}",
    ) {
        let mut members = members;
        let mut seen = Vec::new();
        members.retain(|(key, _)| !seen.contains(key) && { seen.push(key.clone()); true });
        let written: Vec<_> = members.iter().map(|(key, value)| format!(" \"{key}\" :{value}\n")).collect();
        let body = format!("\t{{{}}} ", written.join(","));
        let mut object = parse(&body).unwrap();
        object.set_string(key, &new);
        let edited = object.clone().into_bytes();

        let want = Value::from(new.as_str()).to_string();
        let same = match body.split_once(&format!(" \"{key}\" :")) {
            Some((front, back)) if seen.iter().any(|seen| seen == key) => {
                let old = &members.iter().find(|(known, _)| known == key).unwrap().1;
                format!("{front} \"{key}\" :{want}{}", &back[old.len()..])
            }
            _ if members.is_empty() => format!("\t{{\"{key}\":{want}}} "),
            _ => format!("\t{{\"{key}\":{want},{}}} ", written.join(",")),
        };
        prop_assert_eq!(std::str::from_utf8(&edited).unwrap(), same);

        let mut document: Value = serde_json::from_str(&body).unwrap();
        document[key] = Value::from(new.as_str());
        prop_assert_eq!(serde_json::from_slice::<Value>(&edited).unwrap(), document);
        let again = parse(&edited).unwrap();
        prop_assert_eq!(again.string(key), Ok(Some(Cow::from(new.as_str()))));
        for other in ["model", "model_id"] {
            prop_assert_eq!(again.string(other), object.string(other));
        }
    }

    #[test]
    fn a_member_that_is_taken_out_leaves_all_others(
        members in prop::collection::vec(member(), 0..6),
        key in prop::sample::select(vec!["model", "model_id", "webhook"]),
    ) {
        let mut members = members;
        let mut seen = Vec::new();
        members.retain(|(key, _)| !seen.contains(key) && { seen.push(key.clone()); true });
        let written: Vec<_> = members.iter().map(|(key, value)| format!(" \"{key}\" :{value}\n")).collect();
        let body = format!("\t{{{}}} ", written.join(","));
        let mut object = parse(&body).unwrap();
        object.remove(key);
        let whole = parse(&body).unwrap();
        for other in ["model", "model_id", "webhook"] {
            let want = if other == key { Ok(None) } else { whole.string(other) };
            prop_assert_eq!(object.string(other), want);
        }
        let mut document: Value = serde_json::from_str(&body).unwrap();
        document.as_object_mut().unwrap().remove(key);
        prop_assert_eq!(serde_json::from_slice::<Value>(&object.into_bytes()).unwrap(), document);
    }

    #[test]
    fn the_policy_keys_read_as_a_whole_parser_reads_them(body in "[{}\\[\\]\":, a-cmodelsn0-9.\\\\-]{0,24}") {
        if let Ok(object) = parse(&body)
            && let Ok(document) = serde_json::from_str::<Value>(&body)
            && let Ok(model) = object.string("model")
        {
            prop_assert_eq!(model.as_deref(), document.get("model").and_then(Value::as_str));
        }
    }
}
