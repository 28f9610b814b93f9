//! What operators see: metrics, health and readiness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{ALLOW, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::body::{self, Body};
use crate::config;
use crate::metrics::Metrics;

/// The media type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The media type of RFC 9457.
const PROBLEM_TYPE: &str = "application/problem+json";

/// Whether the gate should be sent new calls.
#[derive(Debug, Default)]
pub struct Readiness {
    draining: AtomicBool,
}

impl Readiness {
    /// From now on the gate says that it is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// The admin listener's answers.
#[derive(Debug)]
pub struct Admin {
    token: ArcSwapOption<SecretString>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

impl Admin {
    /// Puts the admin listener's answers together.
    pub fn new(settings: &config::Admin, metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Self {
        Self {
            token: ArcSwapOption::new(token(settings)),
            metrics,
            readiness,
        }
    }

    /// Asks for another token from now on, or for none.
    pub fn change(&self, settings: &config::Admin) {
        self.token.store(token(settings));
    }

    /// Answers a request. Metrics and health are open; everything else needs the admin token.
    pub fn handle<B>(&self, request: &Request<B>) -> Response<Body> {
        match request.uri().path() {
            path @ ("/metrics" | "/healthz" | "/readyz") => {
                if !matches!(*request.method(), Method::GET | Method::HEAD) {
                    let mut response =
                        problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "GET only");
                    response
                        .headers_mut()
                        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                    return response;
                }
                match path {
                    "/metrics" => self.metrics(),
                    "/healthz" => body::json(StatusCode::OK, &json!({"status": "up"})),
                    _ => self.readiness(),
                }
            }
            _ if !self.admits(request.headers()) => {
                let mut response = problem(
                    StatusCode::UNAUTHORIZED,
                    "invalid_credentials",
                    "the admin token is needed",
                );
                response
                    .headers_mut()
                    .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            path if path == "/" || path.starts_with("/api/v1/") => problem(
                StatusCode::NOT_IMPLEMENTED,
                "not_in_this_version",
                "not in this version",
            ),
            _ => problem(
                StatusCode::NOT_FOUND,
                "unknown_route",
                "there is no such route here",
            ),
        }
    }

    fn metrics(&self) -> Response<Body> {
        match self.metrics.render() {
            Ok(text) => body::with_type(StatusCode::OK, METRICS_TYPE, text),
            Err(error) => {
                tracing::error!(%error, "the metrics can't be written");
                problem(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the metrics can't be written",
                )
            }
        }
    }

    fn readiness(&self) -> Response<Body> {
        let draining = self.readiness.is_draining();
        let status = if draining {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        body::json(
            status,
            &json!({"ready": !draining, "parts": {"draining": draining}}),
        )
    }

    /// Without a configured token only loopback can reach the listener, and everybody there is let in.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = self.token.load_full() else {
            return true;
        };
        let shown = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let (scheme, shown) = shown.split_at(shown.len().min("Bearer ".len()));
        scheme.eq_ignore_ascii_case(b"bearer ")
            && verify_slices_are_equal(shown, token.expose_secret().as_bytes()).is_ok()
    }
}

fn token(settings: &config::Admin) -> Option<Arc<SecretString>> {
    settings.token.clone().map(Arc::new)
}

fn problem(status: StatusCode, code: &'static str, title: &'static str) -> Response<Body> {
    let value = json!({"title": title, "status": status.as_u16(), "code": code});
    body::with_type(status, PROBLEM_TYPE, value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(admin: &Admin, path: &str, authorization: Option<&str>) -> u16 {
        let mut request = Request::get(path);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        admin.handle(&request.body(()).unwrap()).status().as_u16()
    }

    fn admin(token: Option<&str>) -> (Admin, Arc<Readiness>) {
        let readiness = Arc::new(Readiness::default());
        let settings = config::Admin {
            token: token.map(SecretString::from),
        };
        let metrics = Arc::new(Metrics::new().unwrap());
        (Admin::new(&settings, metrics, Arc::clone(&readiness)), readiness)
    }

    #[test]
    fn metrics_and_health_are_open_and_the_rest_needs_the_token() {
        let (admin, _) = admin(Some("hunter2hunter2"));
        for path in ["/metrics", "/healthz", "/readyz"] {
            assert_eq!(status(&admin, path, None), 200, "{path}");
        }
        for wrong in [
            None,
            Some("Bearer hunter2"),
            Some("hunter2hunter2"),
            Some("Bearer "),
            Some(""),
        ] {
            assert_eq!(status(&admin, "/api/v1/status", wrong), 401, "{wrong:?}");
        }
        assert_eq!(
            status(&admin, "/api/v1/status", Some("bearer hunter2hunter2")),
            501
        );
        assert_eq!(status(&admin, "/nothing", Some("Bearer hunter2hunter2")), 404);
    }

    #[test]
    fn a_draining_gate_is_up_and_not_ready() {
        let (admin, readiness) = admin(None);
        readiness.drain();
        assert_eq!(status(&admin, "/healthz", None), 200);
        assert_eq!(status(&admin, "/readyz", None), 503);
    }
}
