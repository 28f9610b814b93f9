//! `/v1/scoped-jwt`: tokens are made, looked into and taken back, by the keys of their own account.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use hyper::body::{Bytes, Incoming};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::json;
use serde_json::value::RawValue;

use super::reject::Rejection;
use crate::body::{self, Body, ReadError};
use crate::dialect::CallError;
use crate::metrics::Metrics;
use crate::spend::{Balance, Purse, Share, Spend};
use crate::token::{
    Caller, FieldError, Flaw, Keys, Mint, MintError, MintRequest, PREFIX, RequestError, Scope,
};
use crate::types::Money;

/// The longest body that asks for a token, in bytes: several times what fits into one.
const MAX_BODY: u64 = 64 * 1024;

/// The query parameter that has the token.
const PARAMETER: &str = "jwtoken";

const NO_SUCH_KEY: &str = "this account has no key of that name";
const NO_SUCH_TOKEN: &str = "this is no token of this account, or the key that signed it is gone";

/// Answers a request of `caller`, which is a key.
///
/// Dropping the future may leave a token revoked, and nothing half done.
///
/// # Errors
/// `invalid_request` with what is wrong with which field, `invalid_body` for what is no JSON object, `not_found`, and
/// `ledger_unavailable` where a revocation can't be kept.
pub(super) async fn answer(
    method: &Method,
    uri: &Uri,
    mut body: Incoming,
    idle: Duration,
    asking: Asking<'_>,
) -> Result<Response<Body>, Rejection> {
    if *method == Method::POST {
        let bytes = body::read(&mut body, MAX_BODY, idle).await.map_err(unread)?;
        return asking.mint(&bytes);
    }
    let token = token(uri)?;
    let scope = asking.inspected(token.as_bytes())?;
    if *method == Method::DELETE {
        return asking.revoke(scope).await;
    }
    asking.shown(&scope).await
}

/// Who asks, and what is needed for an answer.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) caller: &'a Caller,
    pub(super) keys: &'a Arc<Keys>,
    pub(super) spend: &'a Spend,
    pub(super) metrics: &'a Metrics,
}

/// A token as its account sees it; money is in USD.
#[derive(serde::Serialize)]
struct Shown {
    expires_at: u64,
    models: Option<Vec<String>>,
    spending_limit: Option<Money>,
    spent: Money,
    held: Money,
    remaining: Option<Remaining>,
    revoked: bool,
    token_id: String,
}

/// What is left of a limit after all holds, below zero in debt.
struct Remaining {
    left: Money,
    debt: Money,
}

impl Remaining {
    fn of(limit: Money, balance: Balance) -> Self {
        let used = balance.spent.saturating_add(balance.held);
        Self {
            left: limit.saturating_sub(used),
            debt: used.saturating_sub(limit),
        }
    }
}

impl Serialize for Remaining {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.debt == Money::ZERO {
            return self.left.serialize(serializer);
        }
        let debt = RawValue::from_string(format!("-{}", self.debt)).map_err(S::Error::custom)?;
        debt.serialize(serializer)
    }
}

impl Asking<'_> {
    fn mint(self, body: &Bytes) -> Result<Response<Body>, Rejection> {
        let account = &self.caller.account;
        let jti = Mint::random_jti().map_err(Rejection::internal)?;
        let request = MintRequest::read(body, self.keys.now(), &self.keys.lifetimes()).map_err(wrong)?;
        let mint = Mint {
            account: account.clone(),
            key: request.key.clone(),
            models: request.models,
            expires_at: request.expires_at,
            spending_limit: request.spending_limit,
            jti: Some(jti.clone()),
        };
        let signed = self
            .keys
            .with_signing(account, &request.key, |key| mint.sign(key));
        let token = match signed {
            None => return Err(Rejection::not_found(NO_SUCH_KEY)),
            Some(Err(error @ (MintError::TooLong | MintError::Version))) => {
                return Err(field("body", "models", "value_error", error.to_string()));
            }
            Some(token) => token.map_err(Rejection::internal)?,
        };
        self.metrics.token_minted(account);
        tracing::info!(
            target: "audit",
            %account,
            by = %self.caller.key,
            key = %request.key,
            token = format_args!("jti:{jti}"),
            "a token was made"
        );
        let mut answer = body::json(StatusCode::OK, &json!({"token": token}));
        let no_store = HeaderValue::from_static("no-store");
        answer.headers_mut().insert(CACHE_CONTROL, no_store);
        Ok(answer)
    }

    /// What a token says that a key of the caller's account has signed. Of others it is not told that they exist.
    fn inspected(self, token: &[u8]) -> Result<Scope, Rejection> {
        let scope = self.keys.inspect(token);
        scope
            .filter(|scope| scope.account == self.caller.account)
            .ok_or_else(|| Rejection::not_found(NO_SUCH_TOKEN))
    }

    async fn shown(self, scope: &Scope) -> Result<Response<Body>, Rejection> {
        let models = scope.models.as_ref();
        let purse = Purse {
            account: scope.account.clone(),
            share: Share::Token(scope.id.clone()),
        };
        let balance = self
            .spend
            .balance(purse)
            .await
            .map_err(Rejection::ledger_unavailable)?;
        let shown = Shown {
            expires_at: scope.expires_at.as_secs(),
            models: models.map(|models| models.iter().map(ToString::to_string).collect()),
            spending_limit: scope.spending_limit,
            spent: balance.spent,
            held: balance.held,
            remaining: scope.spending_limit.map(|limit| Remaining::of(limit, balance)),
            revoked: self.keys.is_revoked(&scope.account, &scope.id),
            token_id: scope.id.to_string(),
        };
        // Not by way of `Value`, which would make floating-point numbers of the money.
        let text = serde_json::to_string(&shown).map_err(Rejection::internal)?;
        Ok(body::with_type(StatusCode::OK, "application/json", text))
    }

    async fn revoke(self, scope: Scope) -> Result<Response<Body>, Rejection> {
        let id = scope.id.to_string();
        // A `jti` may come again in a token that lives longer; a token without one ends by itself.
        let until = scope.id.is_digest().then_some(scope.expires_at);
        self.keys
            .revoke(scope.account, scope.id, until)
            .await
            .map_err(Rejection::ledger_unavailable)?;
        Ok(body::json(
            StatusCode::OK,
            &json!({"token_id": id, "revoked": true}),
        ))
    }
}

/// The token of the query, without its prefix.
fn token(uri: &Uri) -> Result<String, Rejection> {
    let query = uri.query().unwrap_or_default();
    let mut tokens = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == PARAMETER);
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Ok(token.strip_prefix(PREFIX).unwrap_or(&token).to_owned()),
        (None, _) => Err(field("query", PARAMETER, "missing", "Field required")),
        (Some(_), Some(_)) => Err(field("query", PARAMETER, "value_error", "Give one token")),
    }
}

fn field(
    place: &str,
    field: &'static str,
    kind: &'static str,
    message: impl Into<Cow<'static, str>>,
) -> Rejection {
    let error = FieldError {
        field: field.into(),
        message: message.into(),
        kind,
    };
    Rejection::invalid_request(place, &[error])
}

fn wrong(error: RequestError) -> Rejection {
    match error {
        RequestError::Fields(errors) => Rejection::invalid_request("body", &errors),
        RequestError::Body(flaw @ Flaw::Duplicate(..)) => Rejection::duplicate_field(flaw.to_string()),
        RequestError::Body(flaw) => Rejection::invalid_body(flaw.to_string()),
    }
}

fn unread(error: ReadError) -> Rejection {
    CallError::from(error).into()
}
