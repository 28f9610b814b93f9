//! The gate's own no: its codes, and the answer that each becomes on each surface.
//!
//! This is the only place that knows which status a refusal has. The code is one word with three uses: in the
//! JSON body, in the header `x-tidegate-error` and as the label of `tidegate_rejections_total`.

mod code;

use std::borrow::Cow;

use http::Response;
use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use crate::body::{self, Body, BoxError, ReadError};
use crate::dialect::{CallError, Family, FormError, JsonError, RouteError};
use crate::token::{FieldError, Refused};
use crate::types::ModelName;
use crate::upstream::SendError;

pub use code::Code;

/// Set on every answer that the gate itself makes, and on none other.
pub const X_TIDEGATE_ERROR: HeaderName = HeaderName::from_static("x-tidegate-error");

/// A refusal: what the client is told, and what only the log is told.
#[derive(Debug)]
pub struct Rejection {
    code: Code,
    message: Cow<'static, str>,
    allow: Option<&'static str>,
    retry_after: Option<u32>,
    /// What is wrong with which fields, in the upstream's form.
    fields: Option<Value>,
    detail: Option<BoxError>,
}

impl Rejection {
    fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            allow: None,
            retry_after: code.row().2,
            fields: None,
            detail: None,
        }
    }

    pub(super) fn because(mut self, detail: impl Into<BoxError>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(super) fn missing_credentials() -> Self {
        Self::new(
            Code::MissingCredentials,
            "no credential: send `Authorization: Bearer KEY`, `x-api-key` or `xi-api-key`",
        )
    }

    pub(super) fn invalid_credentials(message: &'static str) -> Self {
        Self::new(Code::InvalidCredentials, message)
    }

    /// Why a token is refused: what is wrong with one that is not genuine is not told.
    pub(super) fn refused_token(refused: &Refused) -> Self {
        match refused {
            Refused::Invalid(_) => Self::invalid_credentials("the token is not valid here"),
            Refused::Expired => Self::new(
                Code::TokenExpired,
                "the token has expired: ask whoever gave it to you for a new one",
            ),
            Refused::Revoked => Self::new(
                Code::TokenRevoked,
                "the token was revoked by whoever gave it out: trying again can't help",
            ),
        }
    }

    pub(super) fn model_not_allowed(model: &ModelName) -> Self {
        Self::new(
            Code::ModelNotAllowed,
            format!("this token is not for the model `{model}`: trying again can't help"),
        )
    }

    pub(super) fn route_not_allowed() -> Self {
        Self::new(
            Code::RouteNotAllowed,
            "a scoped token may not use this route: it takes an API key",
        )
    }

    pub(super) fn model_unpriced(model: &ModelName) -> Self {
        Self::new(
            Code::ModelUnpriced,
            format!(
                "no price is known for the model `{model}`, and calls with a spending limit must have one"
            ),
        )
    }

    pub(super) fn spending_limit_reached(message: String) -> Self {
        Self::new(Code::SpendingLimitReached, message)
    }

    pub(super) fn budget_held(message: String) -> Self {
        Self::new(Code::BudgetHeld, message)
    }

    pub(super) fn not_found(message: &'static str) -> Self {
        Self::new(Code::NotFound, message)
    }

    pub(super) fn invalid_body(message: String) -> Self {
        Self::new(Code::InvalidBody, message)
    }

    pub(super) fn duplicate_field(message: String) -> Self {
        Self::new(Code::DuplicateField, message)
    }

    /// Fields in `place` (`body`, `query`) are wrong; the body of the answer is what the upstream's validation says.
    pub(super) fn invalid_request(place: &str, errors: &[FieldError]) -> Self {
        let errors = errors
            .iter()
            .map(|error| json!({"loc": [place, error.field], "msg": error.message, "type": error.kind}));
        let mut rejection = Self::new(Code::InvalidRequest, "fields are wrong");
        rejection.fields = Some(json!({"detail": errors.collect::<Vec<_>>()}));
        rejection
    }

    pub(super) fn ledger_unavailable(detail: impl Into<BoxError>) -> Self {
        Self::new(
            Code::LedgerUnavailable,
            "what must last can't be written at the moment: try again",
        )
        .because(detail)
    }

    pub(super) fn invalid_header(message: &'static str) -> Self {
        Self::new(Code::InvalidHeader, message)
    }

    pub(super) fn head_too_large(message: String) -> Self {
        Self::new(Code::HeadTooLarge, message)
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let mut rejection = Self::new(Code::MethodNotAllowed, format!("this route takes {allow} only"));
        rejection.allow = Some(allow);
        rejection
    }

    pub(super) fn unknown_route() -> Self {
        Self::new(Code::UnknownRoute, "there is no such route here")
    }

    pub(super) fn rate_limited(message: String) -> Self {
        Self::new(Code::RateLimited, message)
    }

    pub(super) fn too_many_requests(message: String, retry_after: u32) -> Self {
        Self::new(Code::TooManyRequests, message).retried_after(retry_after)
    }

    pub(super) fn too_many_tokens(message: String, retry_after: u32) -> Self {
        Self::new(Code::TooManyTokens, message).retried_after(retry_after)
    }

    fn retried_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(super) fn upstream_invalid(message: &'static str) -> Self {
        Self::new(Code::UpstreamInvalid, message)
    }

    pub(super) fn draining() -> Self {
        Self::new(
            Code::Draining,
            "this gateway is about to stop: try again, on a new connection",
        )
    }

    pub(super) fn invalid_webhook(message: String) -> Self {
        Self::new(Code::InvalidWebhook, message)
    }

    pub(super) fn idempotency_mismatch() -> Self {
        Self::new(
            Code::IdempotencyMismatch,
            "this `Idempotency-Key` came with another request in the last 24 hours: use a new one",
        )
    }

    pub(super) fn queue_full(limit: u64) -> Self {
        Self::new(
            Code::QueueFull,
            format!("{limit} jobs of this account wait already, which is as many as may: try again later"),
        )
    }

    pub(super) fn internal(detail: impl Into<BoxError>) -> Self {
        Self::new(
            Code::Internal,
            "the gateway failed; the request id leads to its log",
        )
        .because(detail)
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What only the log is told.
    pub(super) fn detail(&self) -> Option<&BoxError> {
        self.detail.as_ref()
    }

    /// The answer in the words of `family`.
    pub(super) fn into_response(self, family: Family) -> Response<Body> {
        let (code, message) = (self.code.as_str(), &*self.message);
        let value = match family {
            Family::Native => json!({"detail": {"error": message, "code": code}}),
            Family::OpenAi => {
                json!({"error": {"message": message, "type": self.code.openai_type(), "param": null, "code": code}})
            }
            Family::Anthropic => {
                json!({"type": "error", "error": {"type": self.code.anthropic_type(), "message": message}})
            }
        };
        let value = self.fields.unwrap_or(value);
        let mut response = body::json(self.code.status(), &value);
        let headers = response.headers_mut();
        headers.insert(X_TIDEGATE_ERROR, HeaderValue::from_static(code));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<SendError> for Rejection {
    fn from(error: SendError) -> Self {
        let rejection = match &error {
            SendError::Unreachable(_) => Self::new(
                Code::UpstreamUnreachable,
                "the upstream can't be reached; it has seen nothing of the call",
            ),
            SendError::Body(_) => Self::new(Code::InvalidBody, "the body stalled or broke off"),
            SendError::Broken(_) => Self::new(
                Code::UpstreamInvalid,
                "the upstream broke the call off or answered with no HTTP",
            ),
            SendError::TimedOut(after) => Self::new(
                Code::UpstreamTimeout,
                format!("the upstream gave no answer for {} s", after.as_secs()),
            ),
            SendError::Path(_) => return Self::internal(error),
        };
        rejection.because(error)
    }
}

impl From<RouteError> for Rejection {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Unknown => Self::unknown_route(),
            RouteError::Method { allow } => Self::method_not_allowed(allow),
        }
    }
}

impl From<CallError> for Rejection {
    fn from(error: CallError) -> Self {
        let code = match &error {
            CallError::Encoding => Code::UnsupportedEncoding,
            CallError::MissingModel => Code::MissingModel,
            CallError::Webhook => Code::InvalidWebhook,
            CallError::Json(JsonError::Duplicate(_)) | CallError::Form(FormError::Duplicate(_)) => {
                Code::DuplicateField
            }
            CallError::Read(ReadError::TooLarge { .. })
            | CallError::Form(FormError::Read(ReadError::TooLarge { .. })) => Code::BodyTooLarge,
            CallError::Form(FormError::Spool(_)) => return Self::internal(error),
            CallError::ContentType(_)
            | CallError::Json(_)
            | CallError::Form(_)
            | CallError::Read(_)
            | CallError::ModelName(_)
            | CallError::Background
            | CallError::OtherModel(_) => Code::InvalidBody,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// Status, headers and body of a refusal, as a client of `family` sees it.
    async fn answer(code: Code, family: Family) -> String {
        let response = Rejection::new(code, "what is wrong").into_response(family);
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let header = |name: &str| {
            headers
                .get(name)
                .map(|value| format!(" {name}={}", value.to_str().unwrap()))
        };
        let marks: String = ["x-tidegate-error", "retry-after"]
            .into_iter()
            .filter_map(header)
            .collect();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        format!("{status}{marks} {}", String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_code_has_its_answer_in_every_family() {
        let mut table = String::new();
        for code in Code::ALL {
            for family in [Family::Native, Family::OpenAi, Family::Anthropic] {
                table.push_str(&format!("{family:?} {}\n", answer(code, family).await));
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_code_stands_once_in_the_table_and_in_the_readme() {
        let readme = include_str!("../../README.md");
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{} stands twice", code.as_str());
            let row = format!("| `{}` | {} |", code.as_str(), code.status().as_u16());
            assert!(readme.contains(&row), "the README has no row `{row}`");
        }
        let rows = readme
            .lines()
            .filter(|line| line.starts_with("| `") && line.matches('|').count() == 5);
        let codes = rows.filter(|line| {
            line.split('|')
                .nth(2)
                .is_some_and(|cell| cell.trim().parse::<u16>().is_ok())
        });
        assert_eq!(
            codes.count(),
            Code::ALL.len(),
            "the README has rows of other codes"
        );
    }
}
