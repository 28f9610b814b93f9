//! The model names that upstreams publish, fetched now and then so that they may be label values.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderValue};
use http::{Method, Request};
use serde::Deserialize;

use super::{SendError, Upstream, Upstreams};
use crate::body::{self, Body};
use crate::metrics::Metrics;

/// How often a catalogue is fetched anew.
const REFRESH: Duration = Duration::from_secs(60 * 60);

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// How long one fetch may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest catalogue that is read, in bytes: the largest public one has about 2 MiB.
const MAX_CATALOGUE: u64 = 16 * 1024 * 1024;

/// Fetches every upstream's catalogue, and again each hour; never ends.
///
/// A failure is logged and tried again after a minute. The names go to [`Metrics::models`].
pub async fn watch_catalogues(upstreams: Arc<Upstreams>, metrics: Arc<Metrics>) {
    let watch = |upstream: &Arc<Upstream>| {
        let (upstream, metrics) = (Arc::clone(upstream), Arc::clone(&metrics));
        async move { watch_one(&upstream, &metrics).await }
    };
    futures_util::future::join_all(upstreams.all().map(watch)).await;
}

async fn watch_one(upstream: &Upstream, metrics: &Metrics) {
    let source = format!("upstream {}", upstream.name());
    loop {
        let fetched = tokio::time::timeout(TIMEOUT, fetch(upstream)).await;
        let wait = match fetched.unwrap_or(Err(FetchError::Slow)) {
            Ok(names) => {
                metrics.models().learn(&source, names);
                REFRESH
            }
            Err(error) => {
                tracing::info!(upstream = %upstream.name(), %error, "no model list: its models count as `other`");
                RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the answer took over {TIMEOUT:?}")]
    Slow,
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("the answer's status is {0}")]
    Status(u16),
    #[error(transparent)]
    Read(#[from] body::ReadError),
    #[error("the answer is no model list")]
    Shape(#[from] serde_json::Error),
}

/// The list that every OpenAI-compatible server has at `GET /v1/models`.
#[derive(Deserialize)]
struct ModelList {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

async fn fetch(upstream: &Upstream) -> Result<Vec<Arc<str>>, FetchError> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    request
        .headers_mut()
        .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(authorization) = upstream.authorization() {
        request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    }
    let path = format!("{}/models", upstream.openai_prefix().unwrap_or("/v1/openai"));
    let mut answer = upstream.send(&path, request).await?;
    if !answer.status().is_success() {
        return Err(FetchError::Status(answer.status().as_u16()));
    }
    let bytes = body::read(answer.body_mut(), MAX_CATALOGUE, TIMEOUT).await?;
    let list: ModelList = serde_json::from_slice(&bytes)?;
    Ok(list.data.into_iter().map(|model| model.id.into()).collect())
}
