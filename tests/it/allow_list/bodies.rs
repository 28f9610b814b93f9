//! JSON bodies.

#![expect(clippy::too_many_lines, reason = "tables are as long as they are")]

use super::{BAD, Changed, FOREIGN, Passed, Refused, Row, TWICE, UNKNOWN, Want};

pub const JSON: &str = "content-type: application/json\r\n";

const MISSING: Want = Refused(400, "missing_model");
const ENCODED: Want = Refused(415, "unsupported_encoding");

/// Every route whose model stands in `model` of a JSON body.
const ROUTES: [&str; 14] = [
    "/v1/openai/chat/completions",
    "/v1/chat/completions",
    "/v1/openai/completions",
    "/v1/completions",
    "/v1/openai/embeddings",
    "/v1/embeddings",
    "/v1/openai/images/generations",
    "/v1/images/generations",
    "/v1/openai/audio/speech",
    "/v1/audio/speech",
    "/v1/openai/responses",
    "/v1/responses",
    "/anthropic/v1/messages",
    "/anthropic/v1/messages/count_tokens",
];

fn row(target: &str, headers: &str, body: impl AsRef<[u8]>, want: Want) -> Row {
    let body = body.as_ref().to_vec();
    Row {
        name: String::from_utf8_lossy(&body)
            .chars()
            .take(200)
            .collect::<String>()
            + headers,
        method: "POST",
        target: target.into(),
        headers: headers.into(),
        body,
        want,
    }
}

/// The bodies of a token's own models, of foreign ones, and of both at once.
const MODELS: [(&str, Want); 58] = [
    (r#"{"model":"acme/model"}"#, Passed),
    (r#"{"model":"acme/other"}"#, FOREIGN),
    (r#"{"model":"acme\/model"}"#, Passed),
    (r#"{"model":"acme\/other"}"#, FOREIGN),
    (r#"{"model":"acme/\u006fther"}"#, FOREIGN),
    (r#"{"mod\u0065l":"acme/model"}"#, Passed),
    (r#"{"mod\u0065l":"acme/other"}"#, FOREIGN),
    (r#"{"model":"team/anything"}"#, Passed),
    (r#"{"model":"team"}"#, FOREIGN),
    (r#"{"model":"teams/other"}"#, FOREIGN),
    (r#"{"model":"deploy_id:Own"}"#, Passed),
    (r#"{"model":"deploy_id:other"}"#, FOREIGN),
    (r#"{"model":"deploy_id:own"}"#, FOREIGN),
    (r#"{"model":"deploy_id:Own:v1"}"#, FOREIGN),
    (r#"{"model":"Own"}"#, FOREIGN),
    // A list: every entry counts, and what stands beside it too.
    (r#"{"models":["acme/model"]}"#, Passed),
    (r#"{"models":["acme/model","team/a","acme/model:v1"]}"#, Passed),
    (r#"{"models":["acme/other"]}"#, FOREIGN),
    (r#"{"models":["acme/model","acme/other"]}"#, FOREIGN),
    (r#"{"models":["acme/other","acme/model"]}"#, FOREIGN),
    (
        r#"{"models":["acme/model","acme\/\u006fther","team/a"]}"#,
        FOREIGN,
    ),
    (r#"{"model":"acme/model","models":["acme/other"]}"#, FOREIGN),
    (r#"{"model":"acme/other","models":["acme/model"]}"#, FOREIGN),
    (r#"{"model":"acme/model","mod\u0065ls":["acme/other"]}"#, FOREIGN),
    (r#"{"model":"acme/model","models":[]}"#, BAD),
    (r#"{"model":"acme/model","models":"acme/other"}"#, BAD),
    (r#"{"model":"acme/model","models":[["acme/other"]]}"#, BAD),
    (r#"{"model":"acme/model","models":{"0":"acme/other"}}"#, BAD),
    // Twice, in both orders and in other writings.
    (r#"{"model":"acme/model","model":"acme/other"}"#, TWICE),
    (r#"{"model":"acme/other","model":"acme/model"}"#, TWICE),
    (r#"{"model":"acme/model","\u006dodel":"acme/other"}"#, TWICE),
    (
        r#"{"\u006d\u006F\u0064el":"acme/other","model":"acme/model"}"#,
        TWICE,
    ),
    (r#"{"models":["acme/model"],"models":["acme/other"]}"#, TWICE),
    (r#"{"model":"acme/model","Model":"acme/other"}"#, BAD),
    (r#"{"MODEL":"acme/other","model":"acme/model"}"#, BAD),
    ("{\"model\":\"acme/model\",\"ｍodel\":\"acme/other\"}", BAD),
    (r#"{"model":"acme/model","\uff4dodel":"acme/other"}"#, BAD),
    (r#"{"model":"acme/model","Models":["acme/other"]}"#, BAD),
    (r#"{"model":"acme/model","x":{"model":"acme/other"}}"#, Passed),
    // Names that resemble the token's own.
    (r#"{"model":"Acme/model"}"#, FOREIGN),
    (r#"{"model":"acme/MODEL"}"#, FOREIGN),
    (r#"{"model":"acme/modelx"}"#, FOREIGN),
    (r#"{"model":"acme/mode"}"#, FOREIGN),
    (r#"{"model":"acme/model."}"#, FOREIGN),
    (r#"{"model":"acme/model/other"}"#, FOREIGN),
    (r#"{"model":"acme/model/"}"#, BAD),
    (r#"{"model":"/acme/model"}"#, BAD),
    (r#"{"model":"team/../acme/other"}"#, BAD),
    (r#"{"model":"team/./other"}"#, BAD),
    (r#"{"model":"team//other"}"#, BAD),
    (r#"{"model":"acme%2Fmodel"}"#, BAD),
    (r#"{"model":" acme/model"}"#, BAD),
    (r#"{"model":"acme/model\u0000"}"#, BAD),
    ("{\"model\":\"acme/mоdel\"}", BAD),
    (r#"{"model":"*"}"#, BAD),
    (r#"{"model":"team/*"}"#, BAD),
    (r#"{"model":"acme/model,acme/other"}"#, BAD),
    (r#"{"model":null}"#, BAD),
];

/// Versions of models, and names that another model serves.
const VERSIONS: [(&str, Want); 13] = [
    (r#"{"model":"acme/model:v1"}"#, Passed),
    (r#"{"model":"acme/other:v1"}"#, FOREIGN),
    (r#"{"model":"acme/other:acme/model"}"#, BAD),
    (r#"{"model":"acme/model:v1/acme/other"}"#, BAD),
    (r#"{"model":"acme/model:../other"}"#, BAD),
    (r#"{"model":"acme/model:"}"#, BAD),
    (r#"{"model":":acme/model"}"#, BAD),
    // The token names the one that is asked for.
    (
        r#"{"model":"acme/renamed"}"#,
        Changed(r#"{"model":"acme/elsewhere"}"#),
    ),
    (r#"{"model":"acme/elsewhere"}"#, FOREIGN),
    // The token names the one that serves.
    (r#"{"model":"acme/before"}"#, Changed(r#"{"model":"acme/now"}"#)),
    // It names neither.
    (r#"{"model":"acme/old"}"#, FOREIGN),
    (r#"{"model":"acme/old:v1"}"#, FOREIGN),
    (
        r#"{"model":"acme/model","models":["acme/model","acme/old"]}"#,
        FOREIGN,
    ),
];

pub fn on_every_surface() -> Vec<Row> {
    let on = |target: &'static str| {
        let rows = MODELS.iter().chain(&VERSIONS);
        rows.map(move |(body, want)| row(target, JSON, body, *want))
    };
    ROUTES.into_iter().flat_map(on).collect()
}

/// What is not plain JSON, or not in its plain place. The route makes no difference to it.
pub fn in_disguise() -> Vec<Row> {
    const OWN: &str = r#"{"model":"acme/model"}"#;
    const OTHER: &str = r#"{"model":"acme/other"}"#;
    const CHAT: &str = ROUTES[0];
    let chat = |headers: &str, body: &[u8], want| row(CHAT, headers, body, want);
    let json = |body: &[u8], want| row(CHAT, JSON, body, want);
    let utf16 = |bytes: fn(u16) -> [u8; 2], mark: bool| {
        let mark = mark.then_some(0xfeff);
        let units = mark.into_iter().chain(OTHER.encode_utf16());
        units.flat_map(bytes).collect::<Vec<u8>>()
    };
    let compressed = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, OTHER.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let with = |header: &str| format!("{JSON}{header}\r\n");
    let at = |target: &str, body: &str, want| row(target, JSON, body, want);
    vec![
        json(&utf16(u16::to_le_bytes, true), BAD),
        json(&utf16(u16::to_be_bytes, true), BAD),
        json(&utf16(u16::to_le_bytes, false), BAD),
        json(&utf16(u16::to_be_bytes, false), BAD),
        chat(
            "content-type: application/json; charset=utf-16\r\n",
            &utf16(u16::to_le_bytes, false),
            BAD,
        ),
        chat(
            "content-type: application/json; charset=utf-7\r\n",
            OWN.as_bytes(),
            BAD,
        ),
        json(format!("\u{feff}{OTHER}").as_bytes(), BAD),
        json(format!("{OWN}{OTHER}").as_bytes(), BAD),
        json(format!("{OWN}\n{OTHER}").as_bytes(), BAD),
        json(format!("[{OWN},{OTHER}]").as_bytes(), BAD),
        json(format!("{OWN}\0{OTHER}").as_bytes(), BAD),
        json(b"\"acme/other\"", BAD),
        json(b"{\"model\":\"acme/model\"/*,\"model\":\"acme/other\"*/}", BAD),
        json(b"{model:\"acme/other\"}", BAD),
        json(b"{\"model\":\"acme/model\xff\"}", BAD),
        json(b"{}", MISSING),
        json(b"{\"input\":\"acme/model\"}", MISSING),
        json(b"", BAD),
        json(br#"{"model":"acme/model","n":NaN}"#, BAD),
        // Compressed, or said to be.
        chat(&with("content-encoding: gzip"), &compressed, ENCODED),
        chat(&with("content-encoding: gzip"), OWN.as_bytes(), ENCODED),
        chat(&with("content-encoding: br"), OWN.as_bytes(), ENCODED),
        chat(&with("content-encoding: identity, gzip"), OWN.as_bytes(), ENCODED),
        chat(
            &with("content-encoding: identity\r\ncontent-encoding: gzip"),
            &compressed,
            ENCODED,
        ),
        json(&compressed, BAD),
        // Under another type, or none.
        chat("", OTHER.as_bytes(), FOREIGN),
        chat("content-type: text/plain\r\n", OTHER.as_bytes(), BAD),
        chat(
            "content-type: application/x-www-form-urlencoded\r\n",
            b"model=acme/other",
            BAD,
        ),
        chat(
            "content-type: multipart/form-data; boundary=b\r\n",
            b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nacme/other\r\n--b--\r\n",
            BAD,
        ),
        chat(&with("content-type: text/plain"), OTHER.as_bytes(), BAD),
        // In the query or a header: only the body decides.
        at("/v1/chat/completions?model=acme/other", OWN, Passed),
        at("/v1/chat/completions?model=acme/model", OTHER, FOREIGN),
        at("/v1/chat/completions?model=acme/model", "{}", MISSING),
        chat(&with("x-model: acme/model"), OTHER.as_bytes(), FOREIGN),
        chat(&with("x-original-url: /v1/files"), OTHER.as_bytes(), FOREIGN),
        // In another key that names a model elsewhere.
        json(br#"{"model":"acme/model","model_id":"acme/other"}"#, FOREIGN),
        json(br#"{"model":"acme/model","model_id":"acme/model"}"#, Passed),
        json(br#"{"model":"acme/model","model_id":"acme/../other"}"#, BAD),
        json(br#"{"model_id":"acme/model"}"#, MISSING),
        // Routes that do not exist.
        at("/v1/chat/completions/", OWN, UNKNOWN),
        at("/v1/Chat/completions", OTHER, UNKNOWN),
        at(
            "/v1/deployments/acme/other/chat/completions",
            OWN,
            super::NO_ROUTE,
        ),
        at("/v1/engines/acme/other/completions", OWN, super::NO_ROUTE),
    ]
}

/// The route whose model has another key, and a default.
pub fn speech() -> Vec<Row> {
    let rows = [
        (r#"{"text":"x","model_id":"acme/tts"}"#, Passed),
        (r#"{"text":"x","model_id":"acme/other"}"#, FOREIGN),
        // The default is a model like any other.
        (r#"{"text":"x"}"#, FOREIGN),
        (r#"{"text":"x","model_id":null}"#, FOREIGN),
        (r#"{"text":"x","model":"acme/tts"}"#, FOREIGN),
        (r#"{"text":"x","model_id":"acme/tts","model":"acme/tts"}"#, Passed),
        (
            r#"{"text":"x","model_id":"acme/tts","model":"acme/other"}"#,
            FOREIGN,
        ),
        (
            r#"{"text":"x","model_id":"acme/tts","models":["acme/tts","acme/other"]}"#,
            FOREIGN,
        ),
        (
            r#"{"text":"x","model_id":"acme/tts","model_id":"acme/other"}"#,
            TWICE,
        ),
        (
            r#"{"text":"x","model_id":"acme/other","mod\u0065l_id":"acme/tts"}"#,
            TWICE,
        ),
        (
            r#"{"text":"x","model_id":"acme/tts","Model_Id":"acme/other"}"#,
            BAD,
        ),
        (
            "{\"text\":\"x\",\"model_id\":\"acme/tts\",\"model_ıd\":\"acme/other\"}",
            BAD,
        ),
        (r#"{"text":"x","model_id":"acme/TTS"}"#, FOREIGN),
        (r#"{"text":"x","model_id":["acme/other"]}"#, BAD),
        (r#"{"text":"x","model_id":"acme/old"}"#, FOREIGN),
        (
            r#"{"text":"x","model_id":"acme/renamed"}"#,
            Changed(r#"{"text":"x","model_id":"acme/elsewhere"}"#),
        ),
    ];
    let on = |target: &'static str| rows.map(|(body, want)| row(target, JSON, body, want));
    ["/v1/text-to-speech/luna", "/v1/text-to-speech/luna/stream"]
        .into_iter()
        .flat_map(on)
        .collect()
}
