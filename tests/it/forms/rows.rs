//! The forms, each with what must become of it.

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

pub const TRANSCRIBE: &str = "/v1/openai/audio/transcriptions";
pub const FORM: &str = "content-type: multipart/form-data; boundary=b\r\n";
const NATIVE: &str = "/v1/inference/acme/model";

const BAD: Want = Refused(400, "invalid_body");
const TWICE: Want = Refused(400, "duplicate_field");
const NO_MODEL: Want = Refused(400, "missing_model");
const NOT_THERE: Want = Refused(400, "invalid_webhook");

/// The model's part, a file's part, and the end.
const M: &str = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nacme/model\r\n";
const F: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\0\x01--\r\n--\r\n";
const END: &str = "--b--\r\n";

/// A part with these parameters of its disposition.
pub fn part(parameters: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("--b\r\nContent-Disposition: form-data; {parameters}\r\n\r\n");
    [head.as_bytes(), value, b"\r\n"].concat()
}

/// A part of text with these parameters.
fn text(parameters: &str, value: &str) -> String {
    String::from_utf8(part(parameters, value.as_bytes())).unwrap()
}

/// A part with this whole head.
fn headed(head: &str, value: &str) -> String {
    format!("--b\r\n{head}\r\n\r\n{value}\r\n")
}

fn form(name: &'static str, parts: &[&str], want: Want) -> Row {
    typed(name, FORM, parts, want)
}

fn typed(name: &'static str, headers: &'static str, parts: &[&str], want: Want) -> Row {
    Row {
        name,
        target: TRANSCRIBE,
        headers,
        body: parts.concat().into_bytes(),
        want,
    }
}

/// Names and values of fields.
pub fn fields() -> Vec<Row> {
    let named = |parameters: &'static str, want| {
        form(parameters, &[M, &text(parameters, "acme/other"), F, END], want)
    };
    let alone =
        |parameters: &'static str, want| form(parameters, &[&text(parameters, "acme/model"), F, END], want);
    let valued = |value: &'static str, want| form(value, &[F, &text("name=\"model\"", value), END], want);
    vec![
        form("model before the file", &[M, F, END], Passed),
        form("model behind the file", &[F, M, END], Passed),
        form("no model", &[F, END], NO_MODEL),
        form("no part", &[END], NO_MODEL),
        form("model twice", &[M, F, M, END], TWICE),
        named("name=\"model\"", TWICE),
        named("name=model", TWICE),
        named("Name=\"model\"", TWICE),
        named("name=\"Model\"", BAD),
        named("name=\"MODEL\"", BAD),
        named("name=\"ｍodel\"", BAD),
        named("name=\"max_to\u{212a}ens\"", BAD),
        named("name=\"ſtream\"", BAD),
        named("name=\"webhook\"", Passed),
        named("name=\"models\"", BAD),
        named("name=\"model[]\"", Passed),
        named("name=\"timestamp_granularities[]\"", Passed),
        named("name=\"_charset_\"", BAD),
        named("name=\"x\"; name=\"model\"", BAD),
        named("name=\"x\"; name*=UTF-8''model", BAD),
        named("name*=UTF-8''model", BAD),
        named("name=\"x\"; name*0=\"mo\"; name*1=\"del\"", BAD),
        named("name=\"x\"; NAME*0*=UTF-8''model", BAD),
        named("name=\"mo\\del\"", BAD),
        named("name=\"x\\\"; name=\\\"model\"", BAD),
        named("name=\"x\"; filename=\"a\\\"; name=\\\"model\"", BAD),
        named("name=\"\"", BAD),
        named("name", BAD),
        named("filename=\"a\"", BAD),
        alone("name=\"model\"", Passed),
        alone("name=model", Passed),
        alone("name = \"model\"", BAD),
        alone("name=\"model\"; filename=\"x\"", BAD),
        alone("name=\"model\"; filename=\"\"", BAD),
        alone("name=\"model\"; filename=x", BAD),
        alone("name=\"model\"; FileName=\"x\"", BAD),
        alone("name=\"model\"; filename*=UTF-8''x", BAD),
        alone("name=\"model\"; filename*0=\"x\"", BAD),
        alone("filename=\"x\"; name=\"model\"", BAD),
        alone("name=\"model\"; size=10", Passed),
        valued("acme/model", Passed),
        valued("", BAD),
        valued("acme/model\r\n", BAD),
        valued(" acme/model", BAD),
        valued("\"acme/model\"", BAD),
        valued("acme/../model", BAD),
        form(
            "a model as long as a novel",
            &[F, &text("name=\"model\"", &"m".repeat(5_000)), END],
            BAD,
        ),
    ]
}

/// Heads of parts.
pub fn heads() -> Vec<Row> {
    const PLAIN: &str = "Content-Disposition: form-data; name=\"model\"";
    let head = |head: &'static str, want| form(head, &[&headed(head, "acme/model"), F, END], want);
    let extra = |extra: &'static str, want| {
        let whole = headed(&format!("{PLAIN}\r\n{extra}"), "acme/model");
        form(extra, &[&whole, F, END], want)
    };
    let parts = |count: usize| text("name=\"x\"", "y").repeat(count - 1);
    vec![
        head(PLAIN, Passed),
        head("content-disposition:form-data;name=\"model\"", Passed),
        head("Content-Disposition: attachment; name=\"model\"", BAD),
        head("Content-Disposition: form-data", BAD),
        head("Content-Type: text/plain", BAD),
        head("Content-Disposition: form-data;\r\n name=\"model\"", BAD),
        head("Content-Disposition : form-data; name=\"model\"", BAD),
        extra("Content-Disposition: form-data; name=\"x\"", BAD),
        extra("Content-Transfer-Encoding: base64", BAD),
        extra("Content-Transfer-Encoding: binary", BAD),
        extra("Content-Type: text/plain", Passed),
        extra("Content-Type: text/plain; charset=UTF-8", Passed),
        extra("Content-Type: text/plain; charset=utf-16", BAD),
        extra("X-Other: 1", Passed),
        extra("no colon", BAD),
        form(
            "a head without an end",
            &[M, "--b\r\nContent-Disposition: form-data; x"],
            BAD,
        ),
        form(
            "a head of 2 MiB",
            &[
                M,
                &headed(&format!("{PLAIN}\r\nX: {}", "x".repeat(2 << 20)), "y"),
                END,
            ],
            BAD,
        ),
        form("256 parts", &[M, &parts(256), END], Passed),
        form("257 parts", &[M, &parts(257), END], BAD),
        form("10,000 parts", &[M, &parts(10_000), END], BAD),
    ]
}

/// Delimiters, and what stands around and between them.
pub fn frames() -> Vec<Row> {
    let holding = |value: &'static str, want| form(value, &[M, &text("name=\"prompt\"", value), END], want);
    let lf = |form: &str| form.replace("\r\n", "\n");
    vec![
        form("no break behind the last boundary", &[M, F, "--b--"], Passed),
        form(
            "white space behind the last boundary",
            &[M, F, "--b--  \r\n"],
            Passed,
        ),
        form("no last boundary", &[M, F], BAD),
        form("a last boundary without its dashes", &[M, F, "--b\r\n"], BAD),
        form("a last boundary with one dash", &[M, F, "--b-"], BAD),
        form("an epilogue", &[M, F, "--b--\r\nepilogue"], BAD),
        form("a second form", &[M, F, END, M, END], BAD),
        form("a model behind the end", &[F, END, M], BAD),
        form("a preamble", &["preamble\r\n", M, F, END], BAD),
        form("a preamble of a line break", &["\r\n", M, F, END], BAD),
        form("a model in the preamble", &["--c\r\n", M, F, END], BAD),
        form("line feeds alone", &[&lf(M), &lf(END)], BAD),
        form(
            "a line feed before a boundary",
            &[M.trim_end(), "\n", F, END],
            BAD,
        ),
        form(
            "a carriage return before a boundary",
            &[M.trim_end(), "\r", F, END],
            BAD,
        ),
        holding("x\r\n--b\r\ny", BAD),
        holding("x\r\n--b", BAD),
        holding("x\r\n--b--", BAD),
        holding("x\r\n--b--\r\n", BAD),
        holding("x\r\n--bc\r\ny", BAD),
        holding("x\n--b\ny", BAD),
        holding("x\r--b\ry", BAD),
        holding("x\n--b--\n", BAD),
        holding("x --b y", BAD),
        holding("x\r\n--\r\n-b\r\nb--\r\n-", Passed),
        form("an empty body", &[], BAD),
        form("no form at all", &["{\"model\":\"acme/model\"}"], BAD),
    ]
}

/// Content types.
pub fn boundaries() -> Vec<Row> {
    let with = |headers: &'static str, want| typed(headers, headers, &[M, F, END], want);
    vec![
        with("content-type: multipart/form-data; boundary=\"b\"\r\n", Passed),
        with("content-type: Multipart/Form-Data; Boundary=b\r\n", Passed),
        with(
            "content-type: multipart/form-data; charset=utf-8; boundary=b\r\n",
            Passed,
        ),
        with(
            "content-type: multipart/form-data; boundary=b; charset=utf-7\r\n",
            BAD,
        ),
        with(
            "content-type: multipart/form-data; boundary=b; boundary=c\r\n",
            BAD,
        ),
        with(
            "content-type: multipart/form-data; boundary=c; boundary=b\r\n",
            BAD,
        ),
        with(
            "content-type: multipart/form-data; boundary=b; boundary*=UTF-8''c\r\n",
            BAD,
        ),
        with(
            "content-type: multipart/form-data; boundary=b; boundary*0=c\r\n",
            BAD,
        ),
        with("content-type: multipart/form-data; boundary=\"b;c\"\r\n", BAD),
        with("content-type: multipart/form-data; boundary=\"b\r\n", BAD),
        with("content-type: multipart/form-data; boundary=b c\r\n", BAD),
        with("content-type: multipart/form-data; boundary=\r\n", BAD),
        with("content-type: multipart/form-data\r\n", BAD),
        with("content-type: multipart/mixed; boundary=b\r\n", BAD),
        with("content-type: application/x-www-form-urlencoded\r\n", BAD),
        with("content-type: application/json\r\n", BAD),
        with("", BAD),
        with(
            "content-type: multipart/form-data; boundary=b\r\ncontent-type: multipart/form-data; boundary=c\r\n",
            BAD,
        ),
        with(
            "content-type: multipart/form-data; boundary=b, multipart/form-data; boundary=c\r\n",
            BAD,
        ),
        with("content-type: multipart/form-data; boundary=B\r\n", BAD),
        with(
            "content-type: multipart/form-data; boundary=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n",
            BAD,
        ),
        with(
            "content-type: multipart/form-data; boundary=b\r\ncontent-encoding: gzip\r\n",
            Refused(415, "unsupported_encoding"),
        ),
    ]
}

/// Native forms.
pub fn natives() -> Vec<Row> {
    let native = |name: &'static str, parts: &[&str], want| Row {
        target: NATIVE,
        ..form(name, parts, want)
    };
    let hook = |value: &str| text("name=\"webhook\"", value);
    vec![
        native("a file alone", &[F, END], Passed),
        native("the path's model", &[M, F, END], Passed),
        native(
            "another model",
            &[&text("name=\"model\"", "acme/other"), F, END],
            BAD,
        ),
        native(
            "a list of models",
            &[&text("name=\"models\"", "acme/model"), F, END],
            BAD,
        ),
        native("a webhook", &[F, &hook("https://127.0.0.1/"), END], NOT_THERE),
        native(
            "a webhook as JSON",
            &[F, &hook("\"https://127.0.0.1/\""), END],
            NOT_THERE,
        ),
        native(
            "two webhooks",
            &[F, &hook("https://a"), &hook("https://b"), END],
            TWICE,
        ),
        native(
            "a webhook that is a file",
            &[F, &text("name=\"webhook\"; filename=\"x\"", "y"), END],
            BAD,
        ),
        native(
            "another spelling",
            &[F, &text("name=\"Webhook\"", "https://a"), END],
            BAD,
        ),
    ]
}
