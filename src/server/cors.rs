//! Browser apps: which origins may call, and what their scripts may read of an answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, RETRY_AFTER,
};
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowHeaders, CorsLayer};

use super::Handler;
use crate::body::Body;
use crate::config;
use crate::types::Peer;

/// How long a browser may remember that it is let in.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The headers of answers that scripts may read beside the few that they always may.
const EXPOSED: [HeaderName; 5] = [
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-tidegate-error"),
    RETRY_AFTER,
];

/// The origins whose browser apps may call.
#[derive(Debug, Clone)]
pub struct Origins(Arc<ArcSwapOption<CorsLayer>>);

impl Origins {
    /// Those of `settings`; with none, nothing is added to answers and nothing is taken.
    pub fn new(settings: &config::Cors) -> Self {
        Self(Arc::new(ArcSwapOption::new(layer(settings))))
    }

    /// Others from now on.
    pub fn change(&self, settings: &config::Cors) {
        self.0.store(layer(settings));
    }
}

fn layer(settings: &config::Cors) -> Option<Arc<CorsLayer>> {
    let origins: Vec<HeaderValue> = settings
        .origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect();
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([
                Method::GET,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(MAX_AGE)
            .into()
    })
}

/// A handler that browser apps of some origins may call.
///
/// Credentials of such apps are tokens in headers, never cookies, so answers never allow credentials. What the
/// upstream says about origins is not passed on, since the settings decide.
#[derive(Debug, Clone)]
pub struct WithCors<H> {
    inner: H,
    origins: Origins,
}

impl<H> WithCors<H> {
    /// Lets apps of `origins` call `inner`.
    pub fn new(inner: H, origins: Origins) -> Self {
        Self { inner, origins }
    }
}

impl<H: Handler> Handler for WithCors<H> {
    async fn handle(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let asked = |name| request.headers().contains_key(name);
        let by_browser =
            asked(ORIGIN) && (request.method() != Method::OPTIONS || asked(ACCESS_CONTROL_REQUEST_METHOD));
        let Some(cors) = self.origins.0.load_full().filter(|_| by_browser) else {
            return self.inner.handle(peer, request).await;
        };
        let inner = service_fn(|request| async move {
            let mut response = self.inner.handle(peer, request).await;
            for name in [
                ACCESS_CONTROL_ALLOW_ORIGIN,
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                ACCESS_CONTROL_EXPOSE_HEADERS,
            ] {
                response.headers_mut().remove(name);
            }
            Ok::<_, Infallible>(response)
        });
        match Box::pin(cors.layer(inner).oneshot(request)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
