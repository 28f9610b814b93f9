//! What operators see and do: metrics, health, readiness, and the admin API.

mod api;
mod problem;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue, ORIGIN};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio_util::task::TaskTracker;

use self::api::{Api, Operator};
use self::problem::Problem;
use crate::body::{self, Body, BoxError};
use crate::config;
use crate::metrics::Metrics;
use crate::queue::Backlog;
use crate::spend::Spend;
use crate::token::Keys;
use crate::types::Peer;

/// The media type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the paths of the admin API begin with.
const API: &str = "/api/v1/";

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
    api: Api,
}

impl Admin {
    /// Puts the admin listener's answers together. `tasks` runs what operators change in `keys`.
    pub fn new(
        settings: &config::Admin,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
        (keys, spend, backlog): (Arc<Keys>, Arc<Spend>, Arc<Backlog>),
        tasks: TaskTracker,
    ) -> Self {
        Self {
            token: ArcSwapOption::new(token(settings)),
            metrics,
            readiness,
            api: Api::new(keys, spend, backlog, tasks),
        }
    }

    /// Asks for another token from now on, or for none.
    pub fn change(&self, settings: &config::Admin) {
        self.token.store(token(settings));
    }

    /// Answers a request. Metrics and health are open; everything else needs the admin token.
    pub async fn handle<B>(&self, peer: Peer, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let path = request.uri().path();
        if let "/metrics" | "/healthz" | "/readyz" = path {
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return Problem::method_not_allowed("GET, HEAD").into_response();
            }
            return match path {
                "/metrics" => self.metrics(),
                "/healthz" => body::json(StatusCode::OK, &json!({"status": "up"})),
                _ => self.readiness(),
            };
        }
        let has_token = match self.admitted(request.headers()) {
            Ok(has_token) => has_token,
            Err(problem) => return problem.into_response(),
        };
        if let Some(rest) = path.strip_prefix(API) {
            let rest = rest.to_owned();
            return self
                .api
                .answer(Operator { peer, has_token }, &rest, request)
                .await;
        }
        if path == "/" {
            return Problem::not_in_this_version().into_response();
        }
        Problem::unknown_route().into_response()
    }

    fn metrics(&self) -> Response<Body> {
        match self.metrics.render() {
            Ok(text) => body::with_type(StatusCode::OK, METRICS_TYPE, text),
            Err(error) => {
                tracing::error!(%error, "the metrics can't be written");
                Problem::internal("the metrics can't be written").into_response()
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

    /// Whether the token was shown. Without a configured one only loopback can reach the listener, and everybody
    /// there is let in, but for the pages that a browser there may have open.
    fn admitted(&self, headers: &HeaderMap) -> Result<bool, Problem> {
        let Some(token) = self.token.load_full() else {
            return if headers.contains_key(ORIGIN) {
                Err(Problem::foreign_origin())
            } else {
                Ok(false)
            };
        };
        let shown = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let (scheme, shown) = shown.split_at(shown.len().min("Bearer ".len()));
        let same = scheme.eq_ignore_ascii_case(b"bearer ")
            && verify_slices_are_equal(shown, token.expose_secret().as_bytes()).is_ok();
        if same {
            Ok(true)
        } else {
            Err(Problem::unauthorized())
        }
    }
}

fn token(settings: &config::Admin) -> Option<Arc<SecretString>> {
    settings.token.clone().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spend::tests::spend;
    use crate::store::{MasterKeys, Sqlite};
    use crate::token::tests::keys::keys_of;
    use crate::types::SystemClock;

    async fn status(admin: &Admin, path: &str, header: Option<(&str, &str)>) -> u16 {
        let mut request = Request::get(path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let peer = Peer {
            addr: ([127, 0, 0, 1], 1).into(),
            secure: false,
        };
        let request = request.body(Body::empty()).unwrap();
        admin.handle(peer, request).await.status().as_u16()
    }

    /// An empty queue.
    fn backlog(metrics: &Arc<Metrics>) -> Arc<Backlog> {
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::generate().unwrap();
        let store = Sqlite::open(&folder.path().join("tidegate.db"), keys, Arc::clone(metrics));
        Arc::new(Backlog::new(Arc::new(store.unwrap()), Arc::new(SystemClock)))
    }

    async fn admin(token: Option<&str>) -> (Admin, Arc<Readiness>) {
        let readiness = Arc::new(Readiness::default());
        let settings = config::Admin {
            token: token.map(SecretString::from),
        };
        let metrics = Arc::new(Metrics::new().unwrap());
        let keys = Arc::new(keys_of(Vec::new()).await);
        let spend = spend(&metrics).await;
        let backlog = backlog(&metrics);
        let admin = Admin::new(
            &settings,
            metrics,
            Arc::clone(&readiness),
            (keys, spend, backlog),
            TaskTracker::new(),
        );
        (admin, readiness)
    }

    #[tokio::test]
    async fn metrics_and_health_are_open_and_the_rest_needs_the_token() {
        let (admin, _) = admin(Some("hunter2hunter2")).await;
        for path in ["/metrics", "/healthz", "/readyz"] {
            assert_eq!(status(&admin, path, None).await, 200, "{path}");
        }
        for wrong in ["Bearer hunter2", "hunter2hunter2", "Bearer ", ""] {
            let header = Some(("authorization", wrong));
            assert_eq!(status(&admin, "/api/v1/accounts", header).await, 401, "{wrong:?}");
        }
        assert_eq!(status(&admin, "/api/v1/accounts", None).await, 401);
        let right = Some(("authorization", "bearer hunter2hunter2"));
        assert_eq!(status(&admin, "/api/v1/accounts", right).await, 200);
        assert_eq!(status(&admin, "/api/v1/status", right).await, 501);
        assert_eq!(status(&admin, "/nothing", right).await, 404);
    }

    #[tokio::test]
    async fn without_a_token_everybody_there_is_let_in_but_no_page_of_a_browser() {
        let (admin, _) = admin(None).await;
        assert_eq!(status(&admin, "/api/v1/accounts", None).await, 200);
        let page = Some(("origin", "https://example.com"));
        assert_eq!(status(&admin, "/api/v1/accounts", page).await, 403);
    }

    #[tokio::test]
    async fn a_draining_gate_is_up_and_not_ready() {
        let (admin, readiness) = admin(None).await;
        readiness.drain();
        assert_eq!(status(&admin, "/healthz", None).await, 200);
        assert_eq!(status(&admin, "/readyz", None).await, 503);
    }
}
