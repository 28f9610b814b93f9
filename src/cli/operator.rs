//! What operator commands have in common: they ask the admin API of a running gateway.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;
use secrecy::ExposeSecret;

use super::Failure;
use super::args::AdminArgs;
use crate::config::{ProcessEnv, secret};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The longest answer, in bytes: a report of as many rows as there may be.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Why the admin API gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperatorError {
    /// The address is none.
    #[error("`{0}` is no address of an admin listener, such as `http://127.0.0.1:9090`")]
    Address(String),
    /// The token has characters that no header may have.
    #[error("the admin token has characters that a header can't carry")]
    Token,
    /// TLS can't be set up.
    #[error("TLS can't be set up")]
    Tls(#[from] rustls::Error),
    /// The gateway can't be reached.
    #[error("`{0}` can't be reached")]
    Unreachable(String, #[source] hyper_util::client::legacy::Error),
    /// The answer broke off, or is too long.
    #[error("the answer can't be read: {0}")]
    Broken(String),
    /// It took too long.
    #[error("no answer for {TIMEOUT:?}")]
    Slow,
    /// The gateway says no.
    #[error("the gateway answered {status}: {detail}")]
    Refused {
        /// Its status.
        status: u16,
        /// What it says.
        detail: String,
    },
}

/// Asks for `path` of the admin API, such as `/api/v1/usage?by=day`.
///
/// # Errors
/// The reference of the token can't be followed, or see [`OperatorError`].
pub(super) async fn get(admin: &AdminArgs, path: &str) -> Result<Bytes, Failure> {
    ask_for(admin, Method::GET, path).await
}

/// The same with another method, and without a body.
///
/// # Errors
/// Those of [`get`].
pub(super) async fn ask_for(admin: &AdminArgs, method: Method, path: &str) -> Result<Bytes, Failure> {
    let base = admin.admin.trim_end_matches('/');
    let uri: Uri = format!("{base}{path}")
        .parse()
        .map_err(|_| OperatorError::Address(base.to_owned()))?;
    if uri.scheme().is_none() {
        return Err(OperatorError::Address(base.to_owned()).into());
    }
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = uri;
    *request.method_mut() = method;
    if let Some(authorization) = authorization(admin)? {
        request.headers_mut().insert(AUTHORIZATION, authorization);
    }
    let asking = tokio::time::timeout(TIMEOUT, ask(base, request)).await;
    Ok(asking.map_err(|_| OperatorError::Slow)??)
}

/// The credential. On loopback a gateway may ask for none, so the default variable need not be set.
fn authorization(admin: &AdminArgs) -> Result<Option<HeaderValue>, Failure> {
    let Some(reference) = &admin.admin_token else {
        return Ok(match secret("--admin-token", DEFAULT_TOKEN, &ProcessEnv) {
            Ok(token) => Some(bearer(token.expose_secret())?),
            Err(_unset) => None,
        });
    };
    let token = secret("--admin-token", reference, &ProcessEnv)?;
    Ok(Some(bearer(token.expose_secret())?))
}

/// Where the admin token is unless it is named.
pub(super) const DEFAULT_TOKEN: &str = "env:TIDEGATE_ADMIN_TOKEN";

fn bearer(token: &str) -> Result<HeaderValue, OperatorError> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| OperatorError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

async fn ask(base: &str, request: Request<Empty<Bytes>>) -> Result<Bytes, OperatorError> {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(ClientConfig::with_platform_verifier()?)
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let answer = client
        .request(request)
        .await
        .map_err(|error| OperatorError::Unreachable(base.to_owned(), error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body
        .map_err(|error| OperatorError::Broken(error.to_string()))?
        .to_bytes();
    if status == StatusCode::OK {
        return Ok(body);
    }
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let detail = problem.get("detail").and_then(serde_json::Value::as_str);
    Err(OperatorError::Refused {
        status: status.as_u16(),
        detail: detail.unwrap_or("no reason given").to_owned(),
    })
}
