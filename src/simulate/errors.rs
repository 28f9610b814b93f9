//! The error bodies: three families by surface, and the upstream's own texts.

use http::StatusCode;
use serde_json::{Value, json};

use super::knobs::{ErrorFrame, Knobs};

/// Which family of bodies a surface speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `{"detail":{"error":…}}`: native and account routes.
    Native,
    /// `{"error":{"message":…}}`.
    OpenAi,
    /// `{"type":"error","error":{"type":…,"message":…}}`.
    Anthropic,
}

/// An error that is answered.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// The status.
    pub(super) status: StatusCode,
    /// The text; for 422 what is wrong with the field.
    pub(super) message: String,
    /// For 422 the field that is wrong.
    pub(super) field: String,
    /// Whether the framework itself answers, before any surface: `{"detail":TEXT}`.
    pub(super) bare: bool,
}

impl Failure {
    /// A failure with its usual text.
    pub(super) fn status(status: StatusCode) -> Self {
        Self::new(status, usual(status))
    }

    /// A failure with this text.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            field: "body".to_owned(),
            bare: false,
        }
    }

    /// A field that is missing or wrong.
    pub(super) fn field(field: &str, message: &str) -> Self {
        Self {
            field: field.to_owned(),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
        }
    }

    /// No such path, or no such method for it.
    pub(super) fn unrouted(status: StatusCode) -> Self {
        Self {
            bare: true,
            ..Self::new(status, status.canonical_reason().unwrap_or_default())
        }
    }

    /// The body.
    pub(super) fn body(&self, family: Family) -> Value {
        if self.bare {
            return json!({ "detail": self.message });
        }
        match family {
            Family::Anthropic => anthropic(self.status, &self.message),
            Family::Native | Family::OpenAi if self.status == StatusCode::UNPROCESSABLE_ENTITY => {
                let loc = if self.field == "body" {
                    vec!["body"]
                } else {
                    vec!["body", &self.field]
                };
                json!({ "detail": [{ "loc": loc, "msg": self.message, "type": "value_error" }] })
            }
            Family::Native => json!({ "detail": { "error": self.message } }),
            Family::OpenAi => json!({ "error": { "message": self.message } }),
        }
    }
}

/// The data of an error in mid-stream.
pub(super) fn frame(family: Family, knobs: &Knobs) -> Value {
    let message = knobs
        .message
        .as_deref()
        .unwrap_or("the simulated model broke off");
    match (family, knobs.error_frame) {
        (Family::Anthropic, _) => anthropic(StatusCode::from_u16(529).unwrap_or_default(), message),
        (_, ErrorFrame::Typed) => json!({
            "error_type": "inference_error",
            "error_message": json!({ "error": { "message": message } }).to_string(),
        }),
        (_, ErrorFrame::Openai) => json!({ "error": { "message": message } }),
    }
}

fn anthropic(status: StatusCode, message: &str) -> Value {
    let kind = match status.as_u16() {
        400 | 422 => "invalid_request_error",
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 | 405 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}

fn usual(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "This model's maximum context length is exceeded",
        401 | 403 => "Not authenticated",
        402 => "You need positive balance to do inference. Please add balance manually or setup top-up",
        404 => "Model not found",
        422 => "field required",
        423 => "Locked",
        429 => "Rate limited",
        500 => "Inference failed",
        503 => "Service temporarily unavailable",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_body_of_its_surface() {
        let busy = Failure::new(StatusCode::TOO_MANY_REQUESTS, "Model busy, retry later");
        assert_eq!(
            busy.body(Family::OpenAi),
            json!({ "error": { "message": "Model busy, retry later" } })
        );
        assert_eq!(
            busy.body(Family::Native),
            json!({ "detail": { "error": "Model busy, retry later" } })
        );
        assert_eq!(busy.body(Family::Anthropic)["error"]["type"], "rate_limit_error");
        let missing = Failure::field("model", "field required");
        assert_eq!(
            missing.body(Family::OpenAi)["detail"][0]["loc"],
            json!(["body", "model"])
        );
    }

    #[test]
    fn an_error_in_mid_stream_is_json_inside_json() {
        let data = frame(Family::OpenAi, &Knobs::default());
        let inner: Value = serde_json::from_str(data["error_message"].as_str().unwrap()).unwrap();
        assert!(inner["error"]["message"].is_string());
    }
}
