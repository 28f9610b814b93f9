//! The codes of refusals: one word each, its status, and what kind of error it is in each family's words.

use http::StatusCode;

use crate::metrics::Outcome;

/// Why the gate refuses, as one word for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// No credential was shown.
    MissingCredentials,
    /// The credential is not known, or two differ.
    InvalidCredentials,
    /// The token's time is over.
    TokenExpired,
    /// The token was taken back.
    TokenRevoked,
    /// The token is not for this model.
    ModelNotAllowed,
    /// A token may not use this route.
    RouteNotAllowed,
    /// No price is known for the model, and calls must have one.
    ModelUnpriced,
    /// The limit is spent, or the rest does not pay for the call.
    SpendingLimitReached,
    /// The rest is held by calls in flight.
    BudgetHeld,
    /// The body is not what this route takes.
    InvalidBody,
    /// A key that decides something stands twice in the body.
    DuplicateField,
    /// The call names no model.
    MissingModel,
    /// The URL of the webhook is none to which answers are sent.
    InvalidWebhook,
    /// A header is not what it must be.
    InvalidHeader,
    /// There is no such key or token, or it is another account's.
    NotFound,
    /// Fields of the body are wrong.
    InvalidRequest,
    /// The idempotency key came with another request before.
    IdempotencyMismatch,
    /// Too many jobs of the account wait.
    QueueFull,
    /// What must last can't be written.
    LedgerUnavailable,
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
    /// The gate itself is at fault.
    Internal,
}

impl Code {
    /// Every code, in the order of the table in the README.
    pub const ALL: [Self; 32] = [
        Self::MissingCredentials,
        Self::InvalidCredentials,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::ModelNotAllowed,
        Self::RouteNotAllowed,
        Self::ModelUnpriced,
        Self::SpendingLimitReached,
        Self::BudgetHeld,
        Self::InvalidBody,
        Self::DuplicateField,
        Self::MissingModel,
        Self::InvalidWebhook,
        Self::InvalidHeader,
        Self::UnknownRoute,
        Self::NotFound,
        Self::InvalidRequest,
        Self::IdempotencyMismatch,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::UnsupportedEncoding,
        Self::HeadTooLarge,
        Self::RateLimited,
        Self::TooManyRequests,
        Self::TooManyTokens,
        Self::LedgerUnavailable,
        Self::QueueFull,
        Self::UpstreamUnreachable,
        Self::UpstreamInvalid,
        Self::UpstreamTimeout,
        Self::Draining,
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
    pub(in crate::proxy) fn outcome(self) -> Outcome {
        match self {
            Self::UpstreamUnreachable | Self::UpstreamInvalid => Outcome::UpstreamFailed,
            Self::UpstreamTimeout => Outcome::TimedOut,
            Self::MissingCredentials
            | Self::InvalidCredentials
            | Self::TokenExpired
            | Self::TokenRevoked
            | Self::ModelNotAllowed
            | Self::RouteNotAllowed
            | Self::ModelUnpriced
            | Self::SpendingLimitReached
            | Self::BudgetHeld
            | Self::InvalidBody
            | Self::DuplicateField
            | Self::MissingModel
            | Self::InvalidWebhook
            | Self::IdempotencyMismatch
            | Self::QueueFull
            | Self::InvalidHeader
            | Self::UnknownRoute
            | Self::NotFound
            | Self::InvalidRequest
            | Self::MethodNotAllowed
            | Self::BodyTooLarge
            | Self::UnsupportedEncoding
            | Self::HeadTooLarge
            | Self::RateLimited
            | Self::TooManyRequests
            | Self::TooManyTokens
            | Self::LedgerUnavailable
            | Self::Draining
            | Self::Internal => Outcome::Rejected,
        }
    }

    /// Whether the upstream may have worked on a call, once it was sent, that got this answer.
    pub(in crate::proxy) fn may_have_cost(self) -> bool {
        matches!(self, Self::UpstreamTimeout | Self::Internal)
    }

    /// The `type` of an error in OpenAI's family.
    pub(super) fn openai_type(self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::PAYMENT_REQUIRED => "insufficient_quota",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The `type` of an error in Anthropic's family.
    pub(super) fn anthropic_type(self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::PAYMENT_REQUIRED => "billing_error",
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
    pub(super) fn row(self) -> (&'static str, StatusCode, Option<u32>) {
        match self {
            Self::MissingCredentials => ("missing_credentials", StatusCode::UNAUTHORIZED, None),
            Self::InvalidCredentials => ("invalid_credentials", StatusCode::UNAUTHORIZED, None),
            Self::TokenExpired => ("token_expired", StatusCode::UNAUTHORIZED, None),
            Self::TokenRevoked => ("token_revoked", StatusCode::UNAUTHORIZED, None),
            Self::ModelNotAllowed => ("model_not_allowed", StatusCode::FORBIDDEN, None),
            Self::RouteNotAllowed => ("route_not_allowed", StatusCode::FORBIDDEN, None),
            Self::ModelUnpriced => ("model_unpriced", StatusCode::FORBIDDEN, None),
            Self::SpendingLimitReached => ("spending_limit_reached", StatusCode::PAYMENT_REQUIRED, None),
            Self::BudgetHeld => ("budget_held", StatusCode::TOO_MANY_REQUESTS, Some(1)),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, None),
            Self::InvalidRequest => ("invalid_request", StatusCode::UNPROCESSABLE_ENTITY, None),
            Self::LedgerUnavailable => ("ledger_unavailable", StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            Self::InvalidBody => ("invalid_body", StatusCode::BAD_REQUEST, None),
            Self::DuplicateField => ("duplicate_field", StatusCode::BAD_REQUEST, None),
            Self::MissingModel => ("missing_model", StatusCode::BAD_REQUEST, None),
            Self::InvalidWebhook => ("invalid_webhook", StatusCode::BAD_REQUEST, None),
            Self::IdempotencyMismatch => ("idempotency_mismatch", StatusCode::UNPROCESSABLE_ENTITY, None),
            Self::QueueFull => ("queue_full", StatusCode::SERVICE_UNAVAILABLE, Some(1)),
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
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, None),
        }
    }
}
