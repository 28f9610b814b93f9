//! What goes wrong on the admin listener, as RFC 9457 has it.

use std::borrow::Cow;

use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::json;

use crate::body::{self, Body, ReadError};
use crate::token::ChangeError;

/// The media type of RFC 9457.
const PROBLEM_TYPE: &str = "application/problem+json";

/// A refusal: `{"type","title","status","detail","code"}`, and `field` where one is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            field: None,
            header: None,
        }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some(Box::new((name, HeaderValue::from_static(value))));
        self
    }

    fn of(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(super) fn unauthorized() -> Self {
        let problem = Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_credentials",
            "the admin token is needed: send `Authorization: Bearer TOKEN`",
        );
        problem.with(WWW_AUTHENTICATE, "Bearer")
    }

    pub(super) fn foreign_origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "without an admin token, no browser may use the admin API: set `admin.token`",
        )
    }

    pub(super) fn unknown_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown_route",
            "there is no such route here",
        )
    }

    pub(super) fn not_found(what: &'static str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no such {what}"),
        )
    }

    pub(super) fn not_in_this_version() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "not_in_this_version",
            "this route is not in this version",
        )
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("this route takes {allow} only"),
        );
        problem.with(ALLOW, allow)
    }

    /// The body is not what the route takes.
    pub(super) fn invalid_body(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_body", detail)
    }

    /// A member stands twice in the body.
    pub(super) fn duplicate(field: String) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "duplicate_field",
            "the member stands twice in the body",
        )
        .of(field)
    }

    /// A member of the body or a parameter of the query is wrong.
    pub(super) fn field(field: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail).of(field)
    }

    pub(super) fn unsupported_encoding() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "a compressed body is not taken",
        )
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send the body as `Content-Type: application/json`",
        )
    }

    pub(super) fn body_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "the body did not come in time",
        )
    }

    /// What is there does not go with what is asked.
    pub(super) fn conflict(detail: String) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// What lasts can't be read or written now.
    pub(super) fn unavailable(detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail).with(RETRY_AFTER, "1")
    }

    pub(super) fn internal(detail: &'static str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut value = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        if let (Some(field), Some(members)) = (self.field, value.as_object_mut()) {
            members.insert("field".to_owned(), field.into());
        }
        let mut response = body::with_type(self.status, PROBLEM_TYPE, value.to_string());
        if let Some((name, value)) = self.header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", error.to_string())
            }
            ReadError::Idle { .. } => Self::body_timeout(),
            ReadError::Broken(_) => Self::invalid_body(error.to_string()),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Unknown(what) => Self::not_found(what),
            ChangeError::Exists(_) => Self::new(StatusCode::CONFLICT, "already_exists", error.to_string()),
            ChangeError::Configured(_) => Self::new(StatusCode::CONFLICT, "configured", error.to_string()),
            // What the storage says may name files of the machine: it is for the log.
            ChangeError::Store(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_unavailable",
                "the store can't be written at the moment; the change may or may not have been made",
            )
            .with(RETRY_AFTER, "1"),
            ChangeError::Broken => Self::internal("the change could not be made"),
        }
    }
}
