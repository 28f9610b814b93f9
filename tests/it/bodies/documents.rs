//! Bodies that differ in form, encoding, content type and route, each with what must become of it.

#![expect(clippy::too_many_lines, reason = "tables are as long as they are")]

use super::rows::Want::{self, Passed, Refused};
use super::rows::{BAD, CHAT, JSON, Row, TWICE, chat, row};

const NATIVE: &str = "/v1/inference/acme/model";
const DEPLOYED: &str = "/v1/inference/deploy/Xy1";
const SPEECH: &str = "/v1/text-to-speech/voice";

const COMPRESSED: Want = Refused(415, "unsupported_encoding");
const NOT_THERE: Want = Refused(400, "invalid_webhook");

/// What is a body at all.
pub fn shapes() -> Vec<Row> {
    let only = |body: &'static str, want| chat(body, body, want);
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"model":"acme/model","x":{open}{close}}}"#)
    };
    let objects = format!(
        r#"{{"model":"acme/model","x":{}1{}}}"#,
        r#"{"a":"#.repeat(128),
        "}".repeat(128)
    );
    vec![
        chat("128 levels", nested(128), Passed),
        chat("129 levels", nested(129), BAD),
        chat("129 levels of objects", objects, BAD),
        chat(
            "brackets inside a string",
            format!(r#"{{"model":"acme/model","x":"\"{}"}}"#, "[".repeat(5_000)),
            Passed,
        ),
        only(r#"{"model":"acme/model"} x"#, BAD),
        only(r#"{"model":"acme/model"}{"model":"acme/other"}"#, BAD),
        only("{\"model\":\"acme/model\"}\n{\"model\":\"acme/other\"}\n", BAD),
        only("{\"model\":\"acme/model\"}\0", BAD),
        only(" \t\r\n{ \"model\" : \"acme/model\" }\r\n ", Passed),
        only("\u{a0}{\"model\":\"acme/model\"}", BAD),
        only("\x0c{\"model\":\"acme/model\"}", BAD),
        only(r#"{"model":"acme/model"/* */}"#, BAD),
        only("{\"model\":\"acme/model\" // x\n}", BAD),
        only("{\"model\":\"acme/model\" # x\n}", BAD),
        only("{'model':'acme/model'}", BAD),
        only(r#"{model:"acme/model"}"#, BAD),
        only(r#"{"model":"acme/model",}"#, BAD),
        only(r#"{"model":"acme/model""#, BAD),
        only(r#"{"model" "acme/model"}"#, BAD),
        only("{\"model\":\"acme/model\",\"x\":\"a\tb\"}", BAD),
        only(r#"{"model":"acme/model","x":"\x41"}"#, BAD),
        only(r#"{"model":"acme/model","x":[1,]}"#, BAD),
        only(r#"{"model":"acme/model","x":undefined}"#, BAD),
        only(r#"{"model":"acme/model","x":.5}"#, BAD),
        only(r#"{"model":"acme/model","x":[1}"#, BAD),
        only(r#"["acme/model",5]"#, BAD),
        only(r#"[{"model":"acme/model"}]"#, BAD),
        only(r#""acme/model""#, BAD),
        only("5", BAD),
        only("null", BAD),
        only("", BAD),
        only("   ", BAD),
        chat(
            "a string of 2 MiB",
            format!(r#"{{"model":"acme/model","x":"{}"}}"#, "y".repeat(2 << 20)),
            Passed,
        ),
    ]
}

/// Text in other encodings than UTF-8.
pub fn encodings() -> Vec<Row> {
    const TEXT: &str = r#"{"model":"acme/model"}"#;
    let utf16 = |unit: fn(u16) -> [u8; 2]| TEXT.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let utf32 = |unit: fn(u32) -> [u8; 4]| TEXT.chars().flat_map(|c| unit(u32::from(c))).collect::<Vec<u8>>();
    vec![
        chat("UTF-8 with a byte order mark", format!("\u{feff}{TEXT}"), BAD),
        chat("UTF-16LE", utf16(u16::to_le_bytes), BAD),
        chat("UTF-16BE", utf16(u16::to_be_bytes), BAD),
        chat(
            "UTF-16LE with a mark",
            [b"\xff\xfe".as_slice(), &utf16(u16::to_le_bytes)].concat(),
            BAD,
        ),
        chat(
            "UTF-16BE with a mark",
            [b"\xfe\xff".as_slice(), &utf16(u16::to_be_bytes)].concat(),
            BAD,
        ),
        chat("UTF-32LE", utf32(u32::to_le_bytes), BAD),
        chat("UTF-32BE", utf32(u32::to_be_bytes), BAD),
        chat("Latin-1", b"{\"model\":\"acme/model\",\"x\":\"\xe9\"}", BAD),
        chat(
            "an overlong slash",
            b"{\"model\":\"acme/model\",\"x\":\"\xc0\xaf\"}",
            BAD,
        ),
        chat(
            "an encoded surrogate",
            b"{\"model\":\"acme/model\",\"x\":\"\xed\xa0\x80\"}",
            BAD,
        ),
        chat(
            "characters of every length",
            "{\"model\":\"acme/model\",\"x\":\"aé語🌊\"}",
            Passed,
        ),
        row(
            "utf-16 by its content type",
            CHAT,
            "content-type: application/json; charset=utf-16\r\n",
            utf16(u16::to_le_bytes),
            BAD,
        ),
        row(
            "plain text said to be utf-16",
            CHAT,
            "content-type: application/json; charset=utf-16\r\n",
            TEXT,
            BAD,
        ),
        row(
            "plain text said to be utf-7",
            CHAT,
            "content-type: application/json; x=y; Charset=\"UTF-7\"\r\n",
            TEXT,
            BAD,
        ),
        row(
            "gzip",
            CHAT,
            "content-type: application/json\r\ncontent-encoding: gzip\r\n",
            TEXT,
            COMPRESSED,
        ),
        row(
            "identity, said aloud",
            CHAT,
            "content-type: application/json\r\ncontent-encoding: identity\r\n",
            TEXT,
            Passed,
        ),
        row(
            "two encodings",
            CHAT,
            "content-type: application/json\r\ncontent-encoding: br\r\ncontent-encoding: gzip\r\n",
            TEXT,
            COMPRESSED,
        ),
        row(
            "zstd on a native route",
            NATIVE,
            "content-type: application/json\r\ncontent-encoding: zstd\r\n",
            TEXT,
            COMPRESSED,
        ),
    ]
}

/// Content types.
pub fn types() -> Vec<Row> {
    const TEXT: &str = r#"{"model":"acme/model"}"#;
    let typed = |headers: &'static str, want| row(headers, CHAT, headers, TEXT, want);
    vec![
        typed("", Passed),
        typed("content-type: application/json; charset=utf-8\r\n", Passed),
        typed("content-type: application/json;charset=\"UTF-8\"\r\n", Passed),
        typed("content-type: Application/JSON ; Charset=utf8\r\n", Passed),
        typed("content-type: text/plain\r\n", BAD),
        typed("content-type: text/json\r\n", BAD),
        typed("content-type: application/x-www-form-urlencoded\r\n", BAD),
        typed("content-type: multipart/form-data; boundary=b\r\n", BAD),
        typed("content-type: application/json, text/plain\r\n", BAD),
        typed(
            "content-type: application/json\r\ncontent-type: application/json\r\n",
            BAD,
        ),
        typed(
            "content-type: application/json\r\ncontent-type: multipart/form-data; boundary=b\r\n",
            BAD,
        ),
        typed("content-type: \r\n", BAD),
        row(
            "a urlencoded body without a type",
            CHAT,
            "",
            "model=acme%2Fmodel",
            BAD,
        ),
        row(
            "JSON on a form route",
            "/v1/audio/transcriptions",
            JSON,
            TEXT,
            BAD,
        ),
        row(
            "no type on a form route",
            "/v1/audio/transcriptions",
            "",
            TEXT,
            BAD,
        ),
        row("no type on a native route", NATIVE, "", "{}", Passed),
    ]
}

/// Native, speech and Anthropic routes.
pub fn natives() -> Vec<Row> {
    let native = |body: &'static str, want| row(body, NATIVE, JSON, body, want);
    vec![
        native(r#"{"input":"x"}"#, Passed),
        native("{}", Passed),
        native(r#"{"model":"acme/model"}"#, Passed),
        native(r#"{"mod\u0065l":"acme\/model"}"#, Passed),
        native(r#"{"model":"acme/other"}"#, BAD),
        native(r#"{"model":"acme/model:v1"}"#, BAD),
        native(r#"{"model":null}"#, BAD),
        native(r#"{"models":["acme/model"]}"#, Passed),
        native(r#"{"models":["acme/model","acme/other"]}"#, BAD),
        native(r#"{"models":["acme/other"]}"#, BAD),
        native(r#"{"models":null}"#, Passed),
        native(r#"{"webhook":"https://127.0.0.1/"}"#, NOT_THERE),
        native(r#"{"w\u0065bhook":"https://127.0.0.1/"}"#, NOT_THERE),
        native(r#"{"webhook":""}"#, NOT_THERE),
        native(r#"{"webhook":null}"#, NOT_THERE),
        native(r#"{"webhook":5}"#, NOT_THERE),
        native(r#"{"Webhook":"https://example.com/"}"#, BAD),
        native(r#"{"max_new_tokens":"5"}"#, BAD),
        native(r#"{"num_images":2}"#, Passed),
        row(
            "a deployment's own name",
            DEPLOYED,
            JSON,
            r#"{"model":"deploy_id:Xy1"}"#,
            Passed,
        ),
        row(
            "a deployment's id alone",
            DEPLOYED,
            JSON,
            r#"{"model":"Xy1"}"#,
            BAD,
        ),
        row(
            "speech that names no model",
            SPEECH,
            JSON,
            r#"{"text":"x"}"#,
            Passed,
        ),
        row(
            "speech that names one",
            SPEECH,
            JSON,
            r#"{"model_id":"acme/tts"}"#,
            Passed,
        ),
        row(
            "speech that names two",
            SPEECH,
            JSON,
            r#"{"model_id":"acme/tts","model_id":"a/b"}"#,
            TWICE,
        ),
        row(
            "speech with a number for a model",
            SPEECH,
            JSON,
            r#"{"model_id":1}"#,
            BAD,
        ),
        row(
            "speech with null for a model",
            SPEECH,
            JSON,
            r#"{"model_id":null}"#,
            Passed,
        ),
        row(
            "messages",
            "/anthropic/v1/messages",
            JSON,
            r#"{"model":"acme/model","max_tokens":5}"#,
            Passed,
        ),
        row(
            "messages with a limit in quotes",
            "/anthropic/v1/messages",
            JSON,
            r#"{"model":"acme/model","max_tokens":"5"}"#,
            BAD,
        ),
        row(
            "responses",
            "/v1/responses",
            JSON,
            r#"{"model":"acme/model","max_output_tokens":5}"#,
            Passed,
        ),
    ]
}
