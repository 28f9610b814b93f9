//! The requests, each with what must become of it.

#![expect(clippy::too_many_lines, reason = "tables are as long as they are")]

use crate::support::gateway::KEY;

pub const BODY: &str = r#"{"model":"acme/model"}"#;

/// What must become of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Want {
    /// The upstream sees exactly one request, with `BODY`.
    Passed,
    /// A status of the gate or of its HTTP parser; the upstream sees nothing.
    Refused(&'static [u16]),
}
use Want::{Passed, Refused};

/// A name, the request, and what must become of it.
pub type Row = (&'static str, String, Want);

const BAD: Want = Refused(&[400]);

/// A chat completion with `headers` beside credential and type, and `body` as it stands.
pub fn post(headers: &str, body: &str) -> String {
    line(
        "POST /v1/chat/completions HTTP/1.1",
        &format!("Host: gate\r\n{headers}"),
        body,
    )
}

fn line(line: &str, headers: &str, body: &str) -> String {
    format!("{line}\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n{headers}\r\n{body}")
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

fn length(headers: &str) -> String {
    post(&format!("{headers}Content-Length: {}\r\n", BODY.len()), BODY)
}

fn with_chunks(headers: &str, chunks: &str) -> String {
    post(&format!("{headers}Transfer-Encoding: chunked\r\n"), chunks)
}

/// `Content-Length` in every form.
pub fn lengths() -> Vec<Row> {
    let n = BODY.len();
    let cl = |value: &str| post(&format!("Content-Length: {value}\r\n"), BODY);
    vec![
        ("a plain length", length(""), Passed),
        ("length with a plus", cl(&format!("+{n}")), BAD),
        ("length with an underscore", cl("2_2"), BAD),
        ("negative length", cl(&format!("-{n}")), BAD),
        ("hexadecimal length", cl("0x16"), BAD),
        ("length with a letter", cl("22Z"), BAD),
        ("empty length", cl(""), BAD),
        ("length as a list", cl(&format!("{n}, {n}")), BAD),
        ("length as a list that differs", cl(&format!("{n}, 1")), BAD),
        ("length that overflows", cl("184467440737095516180"), BAD),
        ("length with a leading zero", cl("022"), BAD),
        (
            "length with a space before the colon",
            post(&format!("Content-Length : {n}\r\n"), BODY),
            BAD,
        ),
        (
            "length twice, the same",
            length(&format!("Content-Length: {n}\r\n")),
            Passed,
        ),
        ("length twice, differing", length("Content-Length: 1\r\n"), BAD),
        ("length with a form feed", cl(&format!("\x0c{n}")), BAD),
        ("length with a decimal point", cl("22.0"), BAD),
        ("length with an exponent", cl("2e1"), BAD),
        ("length in full-width digits", cl("２２"), BAD),
        (
            "length with an underscore in its name",
            length(&format!("Content_Length: {n}\r\n")),
            BAD,
        ),
        ("length above the limit", cl("99999999999"), Refused(&[413])),
    ]
}

/// `Transfer-Encoding` in every form.
pub fn encodings() -> Vec<Row> {
    let te = |value: &str| post(&format!("Transfer-Encoding: {value}\r\n"), &chunked(BODY));
    vec![
        ("chunked", te("chunked"), Passed),
        ("chunked in capitals", te("CHUNKED"), Passed),
        ("xchunked", te("xchunked"), BAD),
        ("an unknown coding", te("blegh"), BAD),
        ("chunked with a parameter", te("chunked;q=1"), BAD),
        ("chunked, identity", te("chunked, identity"), BAD),
        ("identity", te("identity"), BAD),
        ("gzip, chunked", te("gzip, chunked"), BAD),
        ("an empty element, chunked", te(",chunked"), BAD),
        ("chunked and an empty element", te("chunked,"), BAD),
        ("chunked twice in a list", te("chunked, chunked"), BAD),
        (
            "chunked in two headers",
            with_chunks("Transfer-Encoding: chunked\r\n", &chunked(BODY)),
            BAD,
        ),
        ("chunked after a no-break space", te("\u{a0}chunked"), BAD),
        ("chunked after a vertical tab", te("\x0bchunked"), BAD),
        ("chunked in quotes", te("\"chunked\""), BAD),
        (
            "coding with an underscore in its name",
            length("Transfer_Encoding: chunked\r\n"),
            BAD,
        ),
        (
            "a space before the colon",
            post("Transfer-Encoding : chunked\r\n", &chunked(BODY)),
            BAD,
        ),
        (
            "chunked in HTTP/1.0",
            line(
                "POST /v1/chat/completions HTTP/1.0",
                "Host: gate\r\nTransfer-Encoding: chunked\r\n",
                &chunked(BODY),
            ),
            BAD,
        ),
        (
            "length and chunked",
            with_chunks(&format!("Content-Length: {}\r\n", BODY.len()), &chunked(BODY)),
            Passed,
        ),
        (
            "length and chunked, the length too short",
            with_chunks("Content-Length: 3\r\n", &chunked(BODY)),
            Passed,
        ),
    ]
}

/// Chunks in every form.
pub fn chunks() -> Vec<Row> {
    let n = BODY.len();
    let one = |size: &str| with_chunks("", &format!("{size}\r\n{BODY}\r\n0\r\n\r\n"));
    let hex = format!("{n:x}");
    vec![
        ("a chunk with an extension", one(&format!("{hex};a=b")), Passed),
        ("a size with leading zeros", one(&format!("000{hex}")), Passed),
        ("a size in capitals", one(&hex.to_uppercase()), Passed),
        ("a size with an underscore", one("1_6"), BAD),
        ("a size with 0x", one("0x16"), BAD),
        ("a negative size", one("-16"), BAD),
        ("a size with a plus", one("+16"), BAD),
        ("a size with a leading space", one(" 16"), BAD),
        ("an empty size", one(""), BAD),
        ("a size that overflows", one("10000000000000016"), BAD),
        (
            "a bare line feed after the size",
            with_chunks("", &format!("{hex}\n{BODY}\r\n0\r\n\r\n")),
            BAD,
        ),
        (
            "a bare line feed after the data",
            with_chunks("", &format!("{hex}\r\n{BODY}\n0\r\n\r\n")),
            BAD,
        ),
        (
            "data longer than its size",
            with_chunks("", &format!("3\r\n{BODY}\r\n0\r\n\r\n")),
            BAD,
        ),
        (
            "an endless extension",
            one(&format!("{hex};{}", "x".repeat(40_000))),
            BAD,
        ),
        (
            "trailers of 200 KiB",
            with_chunks(
                "",
                &format!("{hex}\r\n{BODY}\r\n0\r\nx: {}\r\n\r\n", "y".repeat(200_000)),
            ),
            BAD,
        ),
        (
            "trailers that look like framing and credentials",
            with_chunks(
                "Trailer: Authorization\r\n",
                &format!("{hex}\r\n{BODY}\r\n0\r\nAuthorization: Bearer other\r\nContent-Length: 5\r\n\r\n"),
            ),
            Passed,
        ),
    ]
}

/// `Host` and the request line in every form.
pub fn lines() -> Vec<Row> {
    let n = BODY.len();
    let to = |first: &str| line(first, &format!("Host: gate\r\nContent-Length: {n}\r\n"), BODY);
    let host = |hosts: &str| {
        line(
            "POST /v1/chat/completions HTTP/1.1",
            &format!("{hosts}Content-Length: {n}\r\n"),
            BODY,
        )
    };
    vec![
        ("no host", host(""), BAD),
        ("an empty host", host("Host:\r\n"), BAD),
        ("two hosts", host("Host: gate\r\nHost: evil\r\n"), BAD),
        ("two hosts, the same", host("Host: gate\r\nHost: gate\r\n"), BAD),
        ("a host with user info", host("Host: a@b\r\n"), BAD),
        ("a host with a path", host("Host: a/b\r\n"), BAD),
        ("a host with a space", host("Host: a b\r\n"), BAD),
        ("a host with a port that is none", host("Host: a:99999\r\n"), BAD),
        ("a host with an empty port", host("Host: a:\r\n"), BAD),
        ("a host with a port", host("Host: gate:8080\r\n"), Passed),
        ("an IPv6 host", host("Host: [::1]:8080\r\n"), Passed),
        (
            "absolute form",
            to("POST http://gate/v1/chat/completions HTTP/1.1"),
            BAD,
        ),
        (
            "absolute form to elsewhere",
            to("POST http://evil/v1/chat/completions HTTP/1.1"),
            BAD,
        ),
        (
            "absolute form with user info",
            to("POST https://u:p@evil:99/v1/chat/completions HTTP/1.1"),
            BAD,
        ),
        ("authority form", to("POST gate:80 HTTP/1.1"), BAD),
        ("asterisk form", to("POST * HTTP/1.1"), BAD),
        ("no slash", to("POST v1/chat/completions HTTP/1.1"), BAD),
        ("CONNECT", to("CONNECT gate:80 HTTP/1.1"), Refused(&[400, 405])),
        (
            "TRACE",
            to("TRACE /v1/chat/completions HTTP/1.1"),
            Refused(&[405]),
        ),
        (
            "a method in small letters",
            to("post /v1/chat/completions HTTP/1.1"),
            Refused(&[405]),
        ),
        (
            "an unknown method",
            to("BREW /v1/chat/completions HTTP/1.1"),
            Refused(&[405]),
        ),
        ("HTTP/0.9", "GET /v1/models\r\n\r\n".to_owned(), BAD),
        ("HTTP/1.32", to("POST /v1/chat/completions HTTP/1.32"), BAD),
        (
            "HTTP/2.0 in the line",
            to("POST /v1/chat/completions HTTP/2.0"),
            BAD,
        ),
        (
            "two spaces in the line",
            to("POST  /v1/chat/completions HTTP/1.1"),
            BAD,
        ),
        (
            "a tab in the line",
            to("POST\t/v1/chat/completions HTTP/1.1"),
            BAD,
        ),
    ]
}

/// Header lines in every form.
pub fn headers() -> Vec<Row> {
    vec![
        ("a folded header", length("X-A: b\r\n c\r\n"), BAD),
        ("a NUL in a value", length("X-A: b\0c\r\n"), BAD),
        ("a carriage return in a value", length("X-A: b\rc\r\n"), BAD),
        ("a name with a space", length("X A: b\r\n"), BAD),
        ("a name that is not ASCII", length("X\u{85}: b\r\n"), BAD),
        ("an empty name", length(": b\r\n"), BAD),
        ("a line without a colon", length("nonsense\r\n"), BAD),
        ("a key's name with underscores", length("X_Api_Key: abc\r\n"), BAD),
        (
            "an upgrade to h2c",
            length(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            ),
            BAD,
        ),
        (
            "an upgrade to a web socket",
            length("Connection: Upgrade\r\nUpgrade: websocket\r\n"),
            BAD,
        ),
        (
            "Connection names Authorization",
            length("Connection: authorization\r\n"),
            BAD,
        ),
        (
            "Connection names X-Api-Key",
            length("Connection: close, X-Api-Key\r\n"),
            BAD,
        ),
        (
            "Connection names Content-Length",
            length("Connection: content-length\r\n"),
            BAD,
        ),
        ("Connection names Host", length("Connection: host\r\n"), BAD),
        (
            "Connection names Transfer-Encoding",
            with_chunks("Connection: transfer-encoding\r\n", &chunked(BODY)),
            BAD,
        ),
        (
            "Connection names a private header",
            length("Connection: X-Private\r\nX-Private: 1\r\n"),
            Passed,
        ),
        (
            "an expectation that nobody knows",
            length("Expect: 200-maybe\r\n"),
            BAD,
        ),
        (
            "an expectation of 100-continue",
            length("Expect: 100-continue\r\n"),
            Passed,
        ),
        ("101 headers", length(&"X-A: b\r\n".repeat(101)), Refused(&[431])),
        (
            "a head of 40 KiB",
            length(&format!("X-A: {}\r\n", "b".repeat(40_000))),
            Refused(&[431]),
        ),
        (
            "a head of 500 KiB",
            length(&format!("X-A: {}\r\n", "b".repeat(500_000))),
            Refused(&[431]),
        ),
        (
            "a query of 9 KiB",
            line(
                &format!("POST /v1/chat/completions?{} HTTP/1.1", "a".repeat(9_000)),
                &format!("Host: gate\r\nContent-Length: {}\r\n", BODY.len()),
                BODY,
            ),
            Refused(&[431]),
        ),
        (
            "a target of 70 KiB",
            line(
                &format!("POST /{} HTTP/1.1", "a".repeat(70_000)),
                "Host: gate\r\n",
                "",
            ),
            Refused(&[414, 431]),
        ),
    ]
}
