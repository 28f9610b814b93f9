//! Wrong lengths, parts, base64 and signatures.

use super::*;

const HEADER_BASE64: Flaw = Flaw::NotBase64(Part::Header);
const PAYLOAD_BASE64: Flaw = Flaw::NotBase64(Part::Payload);
const SIGNATURE_BASE64: Flaw = Flaw::NotBase64(Part::Signature);

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![good("plain", signed(HEADER, PAYLOAD))];
    for part in [lengths, parts, prefixes, signatures, encodings, json] {
        rows.extend(part());
    }
    rows
}

/// A token of exactly so many bytes.
fn of_length(length: usize) -> String {
    let empty = with(r#""x_":"""#).len();
    let filled = |count: usize| with(&format!(r#""x_":"{}""#, "a".repeat(count)));
    let guess = (length - empty) * 3 / 4;
    let fits = (guess.saturating_sub(8)..guess + 8)
        .map(filled)
        .find(|token| token.len() == length);
    // Not every length is one of base64: the header takes one more space then.
    fits.unwrap_or_else(|| {
        let header = HEADER.replace(',', ", ");
        let payload = |count: usize| {
            format!(
                r#"{{"sub":"di:1000000000000","exp":1790003600,"x_":"{}"}}"#,
                "a".repeat(count)
            )
        };
        let filled = (guess.saturating_sub(16)..guess + 8).map(|count| signed(&header, payload(count)));
        filled.into_iter().find(|token| token.len() == length).unwrap()
    })
}

fn lengths() -> Vec<Row> {
    vec![
        good("4,096 bytes", of_length(4096)),
        good("8,192 bytes", of_length(8192)),
        bad("8,193 bytes", of_length(8193), Flaw::TooLong),
        bad(
            "a megabyte",
            with(&format!(r#""x_":"{}""#, "a".repeat(1 << 20))),
            Flaw::TooLong,
        ),
        bad("a million dots", ".".repeat(1_000_000), Flaw::TooLong),
    ]
}

fn parts() -> Vec<Row> {
    let token = signed(HEADER, PAYLOAD);
    let [header, payload, signature] = split(&token);
    vec![
        bad("empty", "", Flaw::NotThreeParts),
        bad("one part", header.clone(), Flaw::NotThreeParts),
        bad("two parts", format!("{header}.{payload}"), Flaw::NotThreeParts),
        bad("four parts", format!("{token}.{signature}"), Flaw::NotThreeParts),
        bad("five parts", format!("{token}.a.b"), Flaw::NotThreeParts),
        bad("a dot in front", format!(".{token}"), Flaw::NotThreeParts),
        bad("a dot behind", format!("{token}."), Flaw::NotThreeParts),
        bad(
            "two dots between",
            token.replacen('.', "..", 1),
            Flaw::NotThreeParts,
        ),
        bad("dots alone", "..", Flaw::NotAnObject(Part::Header)),
        bad("8,192 dots", ".".repeat(8192), Flaw::NotThreeParts),
        bad(
            "no header",
            format!(".{payload}.{signature}"),
            Flaw::NotAnObject(Part::Header),
        ),
        bad(
            "no payload",
            sealed(&format!("{header}.")),
            Flaw::NotAnObject(Part::Payload),
        ),
        bad(
            "parts in another order",
            format!("{payload}.{header}.{signature}"),
            Flaw::unknown(Part::Header, "sub"),
        ),
        bad("dots as %2e", token.replace('.', "%2e"), Flaw::NotThreeParts),
        bad(
            "full-width dots",
            token.replace('.', "\u{ff0e}"),
            Flaw::NotThreeParts,
        ),
        bad(
            "JSON serialization",
            format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#),
            Flaw::NotThreeParts,
        ),
        bad(
            "bytes that are no text",
            [0xff, b'.', 0xfe, b'.', 0xfd],
            SIGNATURE_BASE64,
        ),
    ]
}

fn prefixes() -> Vec<Row> {
    let token = signed(HEADER, PAYLOAD);
    ["jwt:", "JWT:", " jwt:", "Bearer ", "jwt:jwt:", "\u{feff}"]
        .into_iter()
        .map(|prefix| {
            bad(
                format!("{prefix:?} in front"),
                format!("{prefix}{token}"),
                HEADER_BASE64,
            )
        })
        .collect()
}

fn signatures() -> Vec<Row> {
    let token = signed(HEADER, PAYLOAD);
    let [header, payload, signature] = split(&token);
    let message = format!("{header}.{payload}");
    let of = |bytes: &[u8]| format!("{message}.{}", encoded(bytes));
    let right = URL_SAFE_NO_PAD.decode(&signature).unwrap();
    let flipped = |at: usize| {
        let mut bytes = right.clone();
        bytes[at] ^= 1;
        of(&bytes)
    };
    let other = |secret: &[u8]| {
        let other = SigningKey::new(secret).unwrap();
        format!("{message}.{}", other.sign(message.as_bytes()).unwrap())
    };
    let moved = signed(HEADER, PAYLOAD.replace("3600", "3601"));
    vec![
        bad("no signature", format!("{message}."), Flaw::Signature),
        bad("a signature of 1 byte", of(&right[..1]), Flaw::Signature),
        bad("a signature of 16 bytes", of(&right[..16]), Flaw::Signature),
        bad("a signature of 31 bytes", of(&right[..31]), Flaw::Signature),
        bad(
            "a signature of 33 bytes",
            of(&[&right[..], &[0]].concat()),
            Flaw::Signature,
        ),
        bad(
            "a signature twice",
            of(&[&right[..], &right[..]].concat()),
            Flaw::Signature,
        ),
        bad("a signature of zeros", of(&[0; 32]), Flaw::Signature),
        bad("its first bit flipped", flipped(0), Flaw::Signature),
        bad("its last byte flipped", flipped(31), Flaw::Signature),
        bad(
            "another secret",
            other(b"the secret of another key, named"),
            Flaw::Signature,
        ),
        bad(
            "the name of the key as secret",
            other(b"auto------------"),
            Flaw::Signature,
        ),
        bad(
            "the signature of another token",
            format!("{message}.{}", split(&moved)[2]),
            Flaw::Signature,
        ),
        bad(
            "expired and not signed",
            format!("{header}.{}.{signature}", encoded(r#"{"exp":1}"#)),
            Flaw::Signature,
        ),
        bad(
            "no JSON and not signed",
            format!("{header}.{}.{signature}", encoded("[")),
            Flaw::Signature,
        ),
    ]
}

fn encodings() -> Vec<Row> {
    let token = signed(HEADER, PAYLOAD);
    let [header, payload, signature] = split(&token);
    let message = format!("{header}.{payload}");
    let unused_bits = |part: &str| {
        let last = part.chars().last().unwrap();
        let next = char::from(u8::try_from(last).unwrap() + 1);
        format!("{}{next}", &part[..part.len() - 1])
    };
    // A payload whose encoding ends in unused bits, and one whose encoding has `-` and `_`.
    let spare = encoded(format!("{PAYLOAD} "));
    let odd = encoded(PAYLOAD.replace('}', r#","iss":"~~~???>>>"}"#));
    assert!(odd.contains('-') && odd.contains('_') && spare.len() % 4 != 0);
    let standard = odd.replace('-', "+").replace('_', "/");
    let message_with = |payload: &str| sealed(&format!("{header}.{payload}"));
    let in_payload = |name: &str, payload: String| bad(name, message_with(&payload), PAYLOAD_BASE64);
    let in_signature =
        |name: &str, signature: String| bad(name, format!("{message}.{signature}"), SIGNATURE_BASE64);
    vec![
        good("- and _ in the payload", message_with(&odd)),
        good("unused bits that are zero", message_with(&spare)),
        in_payload("+ and / in the payload", standard),
        in_payload("= behind the payload", format!("{spare}=")),
        in_payload("== behind the payload", format!("{spare}==")),
        in_payload("unused bits in the payload", unused_bits(&spare)),
        in_payload("a space in the payload", payload.replacen('I', " ", 1)),
        in_payload("? in the payload", payload.replacen('I', "?", 1)),
        in_payload(
            "a line break in the payload",
            format!("{}\n{}", &payload[..8], &payload[8..]),
        ),
        in_payload(
            "a look-alike in the payload",
            payload.replacen('I', "\u{0406}", 1),
        ),
        in_payload("% escapes in the payload", payload.replacen('I', "%49", 1)),
        in_payload("a single character of payload", "e".into()),
        bad(
            "= behind the header",
            sealed(&format!("{header}=.{payload}")),
            HEADER_BASE64,
        ),
        bad(
            "? in the header",
            sealed(&message.replacen('I', "?", 1)),
            HEADER_BASE64,
        ),
        bad("a tab in front", format!("\t{token}"), HEADER_BASE64),
        bad("a zero byte in front", format!("\0{token}"), HEADER_BASE64),
        in_signature("unused bits in the signature", unused_bits(&signature)),
        in_signature("= behind the signature", format!("{signature}=")),
        in_signature("a line break behind", format!("{signature}\n")),
        in_signature("a return and a line break behind", format!("{signature}\r\n")),
        in_signature("a space behind", format!("{signature} ")),
        in_signature("a zero byte behind", format!("{signature}\0")),
        in_signature("+ in the signature", signature.replacen(|_: char| true, "+", 1)),
        in_signature("a signature in hexadecimal, cut", "0".repeat(41)),
    ]
}

/// Headers and payloads that are no JSON object.
fn json() -> Vec<Row> {
    let mut rows = Vec::new();
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    for (part, right) in [(Part::Header, HEADER), (Part::Payload, PAYLOAD)] {
        let flaw = || Flaw::NotAnObject(part);
        let texts: [(&str, Vec<u8>); 14] = [
            ("null", "null".into()),
            ("a string", r#""HS256""#.into()),
            ("a number", "1".into()),
            ("a list of values", r#"["HS256","di:1:YQ==","JWT"]"#.into()),
            ("a list of the object", format!("[{right}]").into()),
            ("a byte order mark", format!("\u{feff}{right}").into()),
            ("UTF-16", utf16(right)),
            (
                "invalid UTF-8 in a name",
                [right.trim_end_matches('}').as_bytes(), b",\"x_\xff\":1}"].concat(),
            ),
            ("a second value behind", format!("{right}{right}").into()),
            ("a zero byte behind", format!("{right}\0").into()),
            ("cut off", right.trim_end_matches('}').into()),
            ("a comma too many", right.replace('}', ",}").into()),
            ("single quotes", right.replace('"', "'").into()),
            ("a comment", format!("{right}//").into()),
        ];
        for (name, text) in texts {
            let token = match part {
                Part::Header => signed(text, PAYLOAD),
                Part::Payload | Part::Signature | Part::Body => signed(HEADER, text),
            };
            rows.push(bad(format!("{part}: {name}"), token, flaw()));
        }
    }
    rows.push(good(
        "white space in the JSON",
        signed(HEADER.replace(',', " ,\n\t "), format!(" {PAYLOAD}\r\n")),
    ));
    rows
}

fn split(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}
