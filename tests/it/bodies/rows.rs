//! Bodies that differ in their keys and values, each with what must become of it.

#![expect(clippy::too_many_lines, reason = "tables are as long as they are")]

/// What must become of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Want {
    /// The upstream sees exactly these bytes, once.
    Passed,
    /// The gate's own status and code; the upstream sees nothing.
    Refused(u16, &'static str),
}
use Want::{Passed, Refused};

/// One call.
pub struct Row {
    pub name: &'static str,
    pub target: &'static str,
    pub headers: &'static str,
    pub body: Vec<u8>,
    pub want: Want,
}

pub const CHAT: &str = "/v1/openai/chat/completions";
pub const JSON: &str = "content-type: application/json\r\n";

pub const BAD: Want = Refused(400, "invalid_body");
pub const TWICE: Want = Refused(400, "duplicate_field");
const NO_MODEL: Want = Refused(400, "missing_model");

pub fn row(
    name: &'static str,
    target: &'static str,
    headers: &'static str,
    body: impl AsRef<[u8]>,
    want: Want,
) -> Row {
    Row {
        name,
        target,
        headers,
        body: body.as_ref().to_vec(),
        want,
    }
}

pub fn chat(name: &'static str, body: impl AsRef<[u8]>, want: Want) -> Row {
    row(name, CHAT, JSON, body, want)
}

/// A chat completion with these members beside the model.
fn with(members: &'static str, want: Want) -> Row {
    chat(members, format!(r#"{{"model":"acme/model",{members}}}"#), want)
}

/// Duplicates and look-alikes.
pub fn keys() -> Vec<Row> {
    let only = |body: &'static str, want| chat(body, body, want);
    vec![
        only(r#"{"model":"acme/model"}"#, Passed),
        only(r#"{"model":"acme/cheap","model":"acme/dear"}"#, TWICE),
        only(r#"{"model":"acme/dear","model":"acme/cheap"}"#, TWICE),
        only(r#"{"model":"acme/same","model":"acme/same"}"#, TWICE),
        only(r#"{"model":"acme/a","mod\u0065l":"acme/b"}"#, TWICE),
        only(r#"{"mod\u0065l":"acme/b","model":"acme/a"}"#, TWICE),
        only(
            r#"{"\u006d\u006f\u0064\u0065\u006C":"acme/a","\u006d\u006f\u0064\u0065\u006c":"acme/b"}"#,
            TWICE,
        ),
        only(r#"{"model":"acme/a","model":null}"#, TWICE),
        only(r#"{"model":"acme/a","messages":[],"x":{},"model":7}"#, TWICE),
        only(r#"{"mod\u0065l":"acme/a"}"#, Passed),
        with(r#""x":{"model":"acme/a","model":"acme/b"}"#, Passed),
        with(r#""x":[{"n":1,"n":"two"}]"#, Passed),
        with(r#""x":1,"x":2"#, Passed),
        with(r#""models":["acme/a"],"models":["acme/b"]"#, TWICE),
        with(r#""stream":true,"stream":false"#, TWICE),
        with(r#""max_tokens":1,"max_tokens":100000"#, TWICE),
        with(r#""max_tokens":null,"max_tokens":100000"#, TWICE),
        with(r#""n":1,"\u006e":4"#, TWICE),
        with(r#""service_tier":"default","service_tier":"priority""#, TWICE),
        with(r#""webhook":"https://a","webhook":"https://b""#, TWICE),
        with(r#""stream_options":{},"stream_options":{}"#, TWICE),
        with(
            r#""stream_options":{"include_usage":true,"include_usage":false}"#,
            TWICE,
        ),
        with(
            r#""stream_options":{"include_usage":true,"include_usag\u0065":false}"#,
            TWICE,
        ),
        with(r#""stream_options":{"Include_Usage":true}"#, BAD),
        with(
            r#""stream_options":{"include_usage":true,"other":1,"other":2}"#,
            Passed,
        ),
        with(r#""Model":"acme/b""#, BAD),
        with(r#""MODEL":"acme/b""#, BAD),
        with("\"ｍodel\":\"acme/b\"", BAD),
        with(r#""\uff4dodel":"acme/b""#, BAD),
        with("\"max_to\u{212a}ens\":1", BAD),
        with(r#""max_to\u212aens":1"#, BAD),
        with("\"ſtream\":true", BAD),
        with("\"ｎ\":4", BAD),
        with(r#""N":4"#, BAD),
        with(r#""Max_Tokens":4"#, BAD),
        with(r#""serviceTier":"priority""#, Passed),
        with(r#""model ":"acme/b","modell":"acme/b"," model":1"#, Passed),
        with(r#""model\u0000":"acme/b""#, Passed),
        with(r#""x":{"Model":"acme/b"}"#, Passed),
        only(r#"{"Model":"acme/a"}"#, BAD),
        only(r#"{"models":["acme/a"],"Models":["acme/b"]}"#, BAD),
        with(r#""\ud800":1"#, BAD),
        with(r#""mod\udc65el":1"#, BAD),
    ]
}

/// Values of the keys that decide something.
pub fn values() -> Vec<Row> {
    let only = |body: &'static str, want| chat(body, body, want);
    vec![
        with(r#""max_tokens":16"#, Passed),
        with(r#""max_tokens":0"#, Passed),
        with(r#""max_tokens":9007199254740992"#, Passed),
        with(r#""max_tokens":9007199254740993"#, BAD),
        with(
            r#""max_tokens":100000000000000000000000000000000000000000000000000"#,
            BAD,
        ),
        with(r#""max_tokens":-0"#, BAD),
        with(r#""max_tokens":-1"#, BAD),
        with(r#""max_tokens":1e2"#, BAD),
        with(r#""max_tokens":1E2"#, BAD),
        with(r#""max_tokens":100.0"#, BAD),
        with(r#""max_tokens":1e400"#, BAD),
        with(r#""max_tokens":007"#, BAD),
        with(r#""max_tokens":+7"#, BAD),
        with(r#""max_tokens":0x10"#, BAD),
        with(r#""max_tokens":"5""#, BAD),
        with(r#""max_tokens":true"#, BAD),
        with(r#""max_tokens":[]"#, BAD),
        with(r#""max_tokens":{}"#, BAD),
        with(r#""max_tokens":NaN"#, BAD),
        with(r#""max_tokens":Infinity"#, BAD),
        with(r#""temperature":NaN"#, BAD),
        with(r#""temperature":-Infinity"#, BAD),
        with(r#""x":{"y":[NaN]}"#, BAD),
        with(r#""max_completion_tokens":1.5"#, BAD),
        with(r#""max_new_tokens":1.5"#, BAD),
        with(r#""max_output_tokens":1.5"#, BAD),
        with(r#""n":"2""#, BAD),
        with(r#""best_of":"2""#, BAD),
        with(r#""num_responses":2.0"#, BAD),
        with(r#""num_images":[4]"#, BAD),
        with(r#""service_tier":1"#, BAD),
        with(r#""stream":"true""#, BAD),
        with(r#""stream":1"#, BAD),
        with(r#""stream_options":[]"#, BAD),
        with(r#""stream_options":true"#, BAD),
        with(r#""stream_options":{"include_usage":"yes"}"#, BAD),
        with(r#""stream_options":{"include_usage":null}"#, Passed),
        with(
            r#""stream":null,"stream_options":null,"max_tokens":null,"n":null,"service_tier":null,"webhook":null,"models":null"#,
            Passed,
        ),
        with(
            r#""temperature":1e2,"seed":-0,"logprobs":100.0,"user":"5""#,
            Passed,
        ),
        with(r#""webhook":"https://example.com/""#, Passed),
        with(r#""webhook":17"#, Passed),
        only(r#"{"model":null}"#, BAD),
        only(r#"{"model":null,"models":["acme/a"]}"#, BAD),
        only(r#"{"model":5}"#, BAD),
        only(r#"{"model":["acme/a"]}"#, BAD),
        only(r#"{"model":{"id":"acme/a"}}"#, BAD),
        only(r#"{"model":""}"#, BAD),
        only(r#"{"model":"acme/a\u0000"}"#, BAD),
        only(r#"{"model":"acme/a\ud800"}"#, BAD),
        only(r#"{"model":" acme/a"}"#, BAD),
        only(r#"{"model":"acme/../b"}"#, BAD),
        only(r#"{"model":"acme//b"}"#, BAD),
        only("{\"model\":\"acmé/b\"}", BAD),
        only(r#"{"model":"acme\/model"}"#, Passed),
        only(r#"{"model":"acme/model:v1"}"#, Passed),
        only(r#"{"model":"deploy_id:Xy1"}"#, Passed),
        only("{}", NO_MODEL),
        only(r#"{"messages":[]}"#, NO_MODEL),
    ]
}

/// The fallback list.
pub fn lists() -> Vec<Row> {
    let only = |body: &'static str, want| chat(body, body, want);
    let long = |len: usize| {
        let names: Vec<_> = (0..len).map(|n| format!("\"acme/m{n}\"")).collect();
        format!("{{\"models\":[{}]}}", names.join(","))
    };
    vec![
        only(r#"{"models":["acme/a","acme/b"]}"#, Passed),
        only(r#"{"model":"acme/c","models":["acme/a"]}"#, Passed),
        only(r#"{"models":["acme/a","acme/a"]}"#, Passed),
        chat("sixteen entries", long(16), Passed),
        chat("seventeen entries", long(17), BAD),
        only(r#"{"models":[]}"#, BAD),
        with(r#""models":[]"#, BAD),
        with(r#""models":"acme/a""#, BAD),
        with(r#""models":{"0":"acme/a"}"#, BAD),
        with(r#""models":["acme/a",5]"#, BAD),
        with(r#""models":["acme/a",null]"#, BAD),
        with(r#""models":[["acme/a"]]"#, BAD),
        with(r#""models":["acme/a",""]"#, BAD),
        with(r#""models":true"#, BAD),
        only(r#"{"models":null}"#, NO_MODEL),
    ]
}
