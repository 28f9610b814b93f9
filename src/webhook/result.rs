//! What a receiver gets: the answer of a call under the job's name, or what tells that the call failed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::dialect;
use crate::types::JobId;

/// The longest message that is passed on, in bytes.
const MAX_MESSAGE: usize = 1024;

/// The body for a call that succeeded: its answer, with the job's `request_id`. An answer that is no JSON object, such as
/// sound, comes in base64 as `data`, with its `content_type`.
pub(super) fn answer(job: &JobId, headers: &HeaderMap, body: &Bytes) -> Bytes {
    if let Some(named) = dialect::named(body, job.as_str()) {
        return named;
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let value = json!({
        "request_id": job.as_str(),
        "inference_status": {"status": "succeeded"},
        "content_type": content_type,
        "data": STANDARD.encode(body),
    });
    value.to_string().into()
}

/// The body for a call that failed, in the upstream's words and with the reason.
pub(super) fn failure(job: &JobId, message: &str) -> Bytes {
    let value = json!({
        "request_id": job.as_str(),
        "inference_status": {"status": "failed", "runtime_ms": 0, "cost": 0.0},
        "error": message,
    });
    value.to_string().into()
}

/// What an answer with an error says, whatever family it is of, as one line; its status where it says nothing.
pub(super) fn message(status: u16, body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = [
        "/error/message",
        "/detail/error",
        "/detail/0/msg",
        "/detail",
        "/error",
        "/message",
        "/inference_status/error",
    ];
    let told = places
        .iter()
        .find_map(|place| value.pointer(place).and_then(Value::as_str));
    match told {
        Some(told) => plain(told),
        None => format!("the model's call was answered with status {status}"),
    }
}

/// A text of others, cut and without control characters.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if plain.len().saturating_add(c.len_utf8()) > MAX_MESSAGE {
            break;
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobId {
        JobId::new([9; 32])
    }

    fn delivered(content_type: &str, body: &'static str) -> Value {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        serde_json::from_slice(&answer(&job(), &headers, &Bytes::from_static(body.as_bytes()))).unwrap()
    }

    #[test]
    fn an_answer_keeps_its_shape_and_gets_the_jobs_name() {
        let id = job();
        for (body, want) in [
            (
                r#"{"request_id":"Rx","a":1}"#,
                json!({"request_id": id.as_str(), "a": 1}),
            ),
            (
                r#"{"a":{"request_id":"Rx"}}"#,
                json!({"request_id": id.as_str(), "a": {"request_id": "Rx"}}),
            ),
            ("{}", json!({"request_id": id.as_str()})),
        ] {
            assert_eq!(delivered("application/json", body), want);
        }
    }

    #[test]
    fn what_is_no_object_comes_in_base64() {
        for (content_type, body) in [
            ("audio/mpeg", "ID3"),
            ("application/json", "[1]"),
            ("text/plain", ""),
        ] {
            let got = delivered(content_type, body);
            assert_eq!(got["request_id"], job().as_str());
            assert_eq!(got["content_type"], content_type);
            assert_eq!(got["data"], STANDARD.encode(body));
        }
    }

    #[test]
    fn an_errors_message_is_found_in_every_family() {
        for (body, want) in [
            (r#"{"error":{"message":"a\nb"}}"#, "a b"),
            (r#"{"detail":{"error":"no model"}}"#, "no model"),
            (r#"{"detail":[{"msg":"wrong"}]}"#, "wrong"),
            (r#"{"detail":"gone"}"#, "gone"),
            (r#"{"error":"plain"}"#, "plain"),
            ("<html>", "the model's call was answered with status 502"),
        ] {
            assert_eq!(message(502, body.as_bytes()), want);
        }
        assert_eq!(
            message(400, format!(r#"{{"error":"{}"}}"#, "é".repeat(2000)).as_bytes()).len(),
            1024
        );
    }
}
