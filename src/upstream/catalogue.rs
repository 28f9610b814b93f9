//! The model names that upstreams publish, fetched now and then so that they may be label values.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderValue};
use http::{Method, Request};
use serde::Deserialize;
use tokio::sync::watch;

use super::{SendError, Upstream, Upstreams};
use crate::body::{self, Body};
use crate::metrics::Metrics;

/// How often a catalogue is fetched anew.
const REFRESH: Duration = Duration::from_secs(60 * 60);

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// How long one fetch may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest catalogue that is read, in bytes: the largest public one has about 2 MiB.
const MAX_CATALOGUE: u64 = 16 * 1024 * 1024;

/// Fetches every upstream's catalogue, and again each hour, until nobody can change the upstreams any more.
///
/// A failure is logged and tried again after a minute. The names go to [`Metrics::models`]. When the upstreams change,
/// new ones are fetched at once, the names of those that are gone are forgotten, and the others go on as they are.
pub async fn watch_catalogues(mut upstreams: watch::Receiver<Arc<Upstreams>>, metrics: Arc<Metrics>) {
    let mut watches: Vec<Watched> = Vec::new();
    loop {
        let now = Arc::clone(&upstreams.borrow_and_update());
        watches = follow(watches, &now, &metrics);
        // None of them ends; where there is none, `all` would.
        let any = !watches.is_empty();
        let all = futures_util::future::join_all(watches.iter_mut().map(|one| one.watch.as_mut()));
        tokio::select! {
            _ = all, if any => {}
            // Nobody can change them any more only while everything falls.
            changed = upstreams.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// An upstream and the future that watches it.
struct Watched {
    upstream: Arc<Upstream>,
    watch: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Keeps the watches of upstreams that are still there, and begins those of new ones.
fn follow(mut watches: Vec<Watched>, now: &Upstreams, metrics: &Arc<Metrics>) -> Vec<Watched> {
    let is_there = |one: &Watched| now.all().any(|upstream| Arc::ptr_eq(upstream, &one.upstream));
    for gone in watches.extract_if(.., |one| !is_there(one)) {
        if !now.all().any(|upstream| upstream.name() == gone.upstream.name()) {
            metrics.models().learn(&source(&gone.upstream), []);
        }
    }
    for upstream in now.all() {
        if !watches.iter().any(|one| Arc::ptr_eq(upstream, &one.upstream)) {
            let (upstream, metrics) = (Arc::clone(upstream), Arc::clone(metrics));
            watches.push(Watched {
                upstream: Arc::clone(&upstream),
                watch: Box::pin(async move { watch_one(&upstream, &metrics).await }),
            });
        }
    }
    watches
}

/// Who vouches for the names of an upstream's models.
fn source(upstream: &Upstream) -> String {
    format!("upstream {}", upstream.name())
}

async fn watch_one(upstream: &Upstream, metrics: &Metrics) {
    let source = source(upstream);
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

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
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
    let path = format!("{}/models", upstream.openai_prefix().unwrap_or("/v1/openai"));
    let list: ModelList = serde_json::from_slice(&get(upstream, &path).await?)?;
    Ok(list.data.into_iter().map(|model| model.id.into()).collect())
}

/// Fetches a list of an upstream's models, with the gate's own key there.
pub(super) async fn get(upstream: &Upstream, path: &str) -> Result<Bytes, FetchError> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    request
        .headers_mut()
        .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(authorization) = upstream.authorization() {
        request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    }
    let mut answer = upstream.send(path, request).await?;
    if !answer.status().is_success() {
        return Err(FetchError::Status(answer.status().as_u16()));
    }
    Ok(body::read(answer.body_mut(), MAX_CATALOGUE, TIMEOUT).await?)
}
