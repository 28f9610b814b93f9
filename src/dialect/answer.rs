//! An answer under another name.

use bytes::Bytes;

use super::json::{Members, span};

const REQUEST_ID: &str = "request_id";

/// A JSON object with `id` as its `request_id`, in the place of what stands there, or in front of all members; every other
/// byte stays. `None` if the body is no object.
pub fn named(body: &[u8], id: &str) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    let members = Members::all(text)?;
    let id = serde_json::Value::from(id).to_string();
    // Of several, parsers take the first or the last.
    let mut stands = members.iter().filter(|(key, _)| key == REQUEST_ID).peekable();
    let mut named = String::with_capacity(text.len().saturating_add(64));
    let mut done = 0;
    if stands.peek().is_none() {
        let inside = text.find('{')?.checked_add(1)?;
        named.push_str(text.get(..inside)?);
        named.push_str(&format!("\"{REQUEST_ID}\":{id}"));
        if !members.is_empty() {
            named.push(',');
        }
        done = inside;
    }
    for (_, value) in stands {
        let place = span(text, value);
        named.push_str(text.get(done..place.start)?);
        named.push_str(&id);
        done = place.end;
    }
    named.push_str(text.get(done..)?);
    Some(named.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_changes() {
        for (body, want) in [
            ("{}", Some(r#"{"request_id":"R"}"#)),
            (
                " { \"a\" : [1] } ",
                Some(" {\"request_id\":\"R\", \"a\" : [1] } "),
            ),
            (
                r#"{"a":1,"request_id": null,"b":2}"#,
                Some(r#"{"a":1,"request_id": "R","b":2}"#),
            ),
            (
                r#"{"request_id":1,"request_id":2}"#,
                Some(r#"{"request_id":"R","request_id":"R"}"#),
            ),
            ("[]", None),
            ("{} {}", None),
            ("", None),
            ("{\"a\":1", None),
        ] {
            let got = named(body.as_bytes(), "R");
            assert_eq!(got.as_deref(), want.map(str::as_bytes), "{body}");
        }
    }
}
