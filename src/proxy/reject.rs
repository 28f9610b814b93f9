//! The gate's own no: its codes, and the answer that each becomes on each surface.
//!
//! This is the only place that knows which status a refusal has. The code is one word with three uses: in the
//! JSON body, in the header `x-tidegate-error` and as the label of `tidegate_rejections_total`.

use std::borrow::Cow;

use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::json;

use crate::body::{self, Body, BoxError, ReadError};
use crate::dialect::{CallError, Family, FormError, JsonError, RouteError};
use crate::metrics::Outcome;
use crate::upstream::SendError;

/// Set on every answer that the gate itself makes, and on none other.
pub(super) const X_TIDEGATE_ERROR: HeaderName = HeaderName::from_static("x-tidegate-error");

/// Why the gate refuses, as one word for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// No credential was shown.
    MissingCredentials,
    /// The credential is not known, or two differ.
    InvalidCredentials,
    /// The body is not what this route takes.
    InvalidBody,
    /// A key that decides something stands twice in the body.
    DuplicateField,
    /// The call names no model.
    MissingModel,
    /// A header is not what it must be.
    InvalidHeader,
    /// There is no such route.
    UnknownRoute,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The body is longer than allowed.
    BodyTooLarge,
    /// The body is compressed.
    UnsupportedEncoding,
    /// The head is longer than allowed.
    HeadTooLarge,
    /// As many calls are in flight as may be.
    RateLimited,
    /// The requests of this minute are used up.
    TooManyRequests,
    /// The tokens of the last minute are over the limit.
    TooManyTokens,
    /// No connection to the upstream: it has seen nothing.
    UpstreamUnreachable,
    /// What the upstream sent is no answer.
    UpstreamInvalid,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The gate is about to stop.
    Draining,
    /// The contract has it, this version does not.
    NotInThisVersion,
    /// The gate itself is at fault.
    Internal,
}

impl Code {
    /// Every code, in the order of the table in the README.
    pub const ALL: [Self; 20] = [
        Self::MissingCredentials,
        Self::InvalidCredentials,
        Self::InvalidBody,
        Self::DuplicateField,
        Self::MissingModel,
        Self::InvalidHeader,
        Self::UnknownRoute,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::UnsupportedEncoding,
        Self::HeadTooLarge,
        Self::RateLimited,
        Self::TooManyRequests,
        Self::TooManyTokens,
        Self::UpstreamUnreachable,
        Self::UpstreamInvalid,
        Self::UpstreamTimeout,
        Self::Draining,
        Self::NotInThisVersion,
        Self::Internal,
    ];

    /// The code as it stands in bodies, headers and labels.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// How a call ended that got this answer.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::UpstreamUnreachable | Self::UpstreamInvalid => Outcome::UpstreamFailed,
            Self::UpstreamTimeout => Outcome::TimedOut,
            Self::MissingCredentials
            | Self::InvalidCredentials
            | Self::InvalidBody
            | Self::DuplicateField
            | Self::MissingModel
            | Self::InvalidHeader
            | Self::UnknownRoute
            | Self::MethodNotAllowed
            | Self::BodyTooLarge
            | Self::UnsupportedEncoding
            | Self::HeadTooLarge
            | Self::RateLimited
            | Self::TooManyRequests
            | Self::TooManyTokens
            | Self::Draining
            | Self::NotInThisVersion
            | Self::Internal => Outcome::Rejected,
        }
    }

    /// The `type` of an error in OpenAI's family.
    fn openai_type(self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The `type` of an error in Anthropic's family.
    fn anthropic_type(self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::GATEWAY_TIMEOUT => "timeout_error",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            status if status.is_server_error() => "api_error",
            _ => "invalid_request_error",
        }
    }

    /// Code, status and, where trying again soon can help, after how many seconds if the refusal knows no better.
    fn row(self) -> (&'static str, StatusCode, Option<u32>) {
        match self {
            Self::MissingCredentials => ("missing_credentials", StatusCode::UNAUTHORIZED, None),
            Self::InvalidCredentials => ("invalid_credentials", StatusCode::UNAUTHORIZED, None),
            Self::InvalidBody => ("invalid_body", StatusCode::BAD_REQUEST, None),
            Self::DuplicateField => ("duplicate_field", StatusCode::BAD_REQUEST, None),
            Self::MissingModel => ("missing_model", StatusCode::BAD_REQUEST, None),
            Self::InvalidHeader => ("invalid_header", StatusCode::BAD_REQUEST, None),
            Self::UnknownRoute => ("unknown_route", StatusCode::NOT_FOUND, None),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, None),
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, None),
            Self::UnsupportedEncoding => ("unsupported_encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
            Self::HeadTooLarge => (
                "head_too_large",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                None,
            ),
            Self::RateLimited => ("rate_limited", StatusCode::TOO_MANY_REQUESTS, Some(1)),
            Self::TooManyRequests => ("too_many_requests", StatusCode::TOO_MANY_REQUESTS, Some(1)),
            Self::TooManyTokens => ("too_many_tokens", StatusCode::TOO_MANY_REQUESTS, Some(1)),
            Self::UpstreamUnreachable => ("upstream_unreachable", StatusCode::BAD_GATEWAY, None),
            Self::UpstreamInvalid => ("upstream_invalid", StatusCode::BAD_GATEWAY, None),
            Self::UpstreamTimeout => ("upstream_timeout", StatusCode::GATEWAY_TIMEOUT, None),
            Self::Draining => ("draining", StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            Self::NotInThisVersion => ("not_in_this_version", StatusCode::NOT_IMPLEMENTED, None),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, None),
        }
    }
}

/// A refusal: what the client is told, and what only the log is told.
#[derive(Debug)]
pub struct Rejection {
    code: Code,
    message: Cow<'static, str>,
    allow: Option<&'static str>,
    retry_after: Option<u32>,
    detail: Option<BoxError>,
}

impl Rejection {
    fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            allow: None,
            retry_after: code.row().2,
            detail: None,
        }
    }

    fn because(mut self, detail: impl Into<BoxError>) -> Self {
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

    pub(super) fn not_in_this_version(what: &'static str) -> Self {
        Self::new(Code::NotInThisVersion, format!("{what} not in this version"))
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
