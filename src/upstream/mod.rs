//! The inference APIs behind the gate: which one serves a model, and a call to it.

mod catalogue;
mod connect;
mod http1;
mod pool;
mod price_list;
mod stall;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};

use crate::body::{Body, BoxError};
use crate::config::{self, Protocol};
use crate::metrics::Metrics;
use crate::types::{ModelName, ModelPattern};

pub use catalogue::watch_catalogues;
use connect::Connector;
pub use connect::{ConnectError, tls_config};
pub use pool::Sent;
use pool::{Pool, RequestError};
pub use price_list::{expect_price_lists, watch_price_lists};

/// Every upstream, in the order in which they are asked whether a model is theirs.
#[derive(Debug)]
pub struct Upstreams {
    routes: Vec<(Vec<ModelPattern>, Arc<Upstream>)>,
    default: Arc<Upstream>,
    trust: Trust,
}

/// Whose certificates are believed, beside those of the system's authorities.
#[derive(Debug, Clone)]
struct Trust {
    extra: Option<Arc<[u8]>>,
    tls: ClientConfig,
}

impl Upstreams {
    /// Builds the connection pools; opens no connection yet.
    ///
    /// # Errors
    /// No certificate authorities could be loaded, or an address or key can't stand in a request.
    pub fn new(settings: &config::Upstream, metrics: &Arc<Metrics>) -> Result<Self, ConnectError> {
        Self::build(settings, metrics, None)
    }

    /// The upstreams of other settings. One that is the same there stays the same, and a pool whose connections would
    /// not differ goes on; calls on a pool that is not used further end as if it were.
    ///
    /// # Errors
    /// As for [`Upstreams::new`].
    pub fn changed(&self, settings: &config::Upstream, metrics: &Arc<Metrics>) -> Result<Self, ConnectError> {
        Self::build(settings, metrics, Some(self))
    }

    fn build(
        settings: &config::Upstream,
        metrics: &Arc<Metrics>,
        old: Option<&Self>,
    ) -> Result<Self, ConnectError> {
        let trust = Trust::of(settings, old.map(|old| &old.trust))?;
        let build =
            |base: &Uri, prefix: Option<&String>, key: Option<&SecretString>, usage: UsageSettings| {
                let known = base.host().is_some_and(sends_usage);
                let name: Arc<str> = base.authority().map_or("", Authority::as_str).into();
                let reach = Reach::of(base, settings, &trust);
                let all_old = || old.into_iter().flat_map(Self::all);
                let pool = all_old()
                    .find(|old| old.reach == reach)
                    .map(|old| Arc::clone(&old.pool));
                let connector =
                    || Connector::new(&trust.tls, settings, base, metrics.upstream_connections(&name));
                let pool = pool.unwrap_or_else(|| Arc::new(Pool::new(settings, connector())));
                let (host, base) = match &*pool {
                    Pool::Shared(_) => (None, Base::of(base)?),
                    Pool::Http1(_) => (Some(host(base)?), Base::of(base)?.unnamed()),
                };
                let upstream = Upstream {
                    name,
                    host,
                    pool,
                    base,
                    openai_prefix: prefix.cloned(),
                    authorization: key.map(bearer).transpose()?,
                    usage_by_default: usage.by_default.unwrap_or(known),
                    continuous_usage: usage.continuous.unwrap_or(known),
                    head_timeout: settings.head_timeout,
                    idle_timeout: settings.idle_timeout,
                    reach,
                    metrics: Arc::clone(metrics),
                };
                let same = all_old().find(|old| old.is_same(&upstream)).cloned();
                Ok(same.unwrap_or_else(|| Arc::new(upstream)))
            };
        let routes = settings.routes.iter().map(|route| {
            let upstream = build(
                &route.base_url,
                route.openai_prefix.as_ref(),
                route.api_key.as_ref(),
                UsageSettings::default(),
            )?;
            Ok((route.models.clone(), upstream))
        });
        Ok(Self {
            routes: routes.collect::<Result<_, ConnectError>>()?,
            default: build(
                &settings.base_url,
                None,
                settings.api_key.as_ref(),
                UsageSettings {
                    by_default: settings.usage_by_default,
                    continuous: settings.continuous_usage,
                },
            )?,
            trust,
        })
    }

    /// The upstream that serves a call for `models`, a fallback list's first entry first: the first route with a
    /// pattern that matches it, else the default, which also serves calls that name no model.
    pub fn serving(&self, models: &[ModelName]) -> &Arc<Upstream> {
        let Some(model) = models.first() else {
            return &self.default;
        };
        let route = self
            .routes
            .iter()
            .find(|(patterns, _)| patterns.iter().any(|p| p.matches(model)));
        route.map_or(&self.default, |(_, upstream)| upstream)
    }

    /// Lets go of connections that no call will use. To be called often: what the upstream has closed stays until then.
    pub fn tidy(&self) {
        for upstream in self.all() {
            upstream.pool.tidy();
        }
    }

    /// All of them, the default first.
    fn all(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        std::iter::once(&self.default).chain(self.routes.iter().map(|(_, upstream)| upstream))
    }
}

/// What the settings say of an upstream's usage in streams; what they leave open is known by its host.
#[derive(Debug, Clone, Copy, Default)]
struct UsageSettings {
    by_default: Option<bool>,
    continuous: Option<bool>,
}

impl Trust {
    /// That of `settings`; loading the system's authorities takes a while, so it is not done again for the same.
    fn of(settings: &config::Upstream, old: Option<&Self>) -> Result<Self, ConnectError> {
        let extra: Option<Arc<[u8]>> = match &settings.ca {
            None => None,
            Some(pem) => Some(connect::authorities(pem)?.into()),
        };
        if let Some(old) = old.filter(|old| old.extra == extra) {
            return Ok(old.clone());
        }
        let tls = connect::tls_config(extra.as_deref())?;
        Ok(Self { extra, tls })
    }
}

/// What decides how connections are made and kept: pools with the same are interchangeable.
#[derive(Debug, PartialEq, Eq)]
struct Reach {
    base_url: Uri,
    connect_timeout: Duration,
    idle_timeout: Duration,
    max_idle: usize,
    protocol: Protocol,
    extra: Option<Arc<[u8]>>,
}

impl Reach {
    fn of(base_url: &Uri, settings: &config::Upstream, trust: &Trust) -> Self {
        Self {
            base_url: base_url.clone(),
            connect_timeout: settings.connect_timeout,
            idle_timeout: settings.idle_timeout,
            max_idle: settings.max_idle_per_host,
            protocol: settings.protocol,
            extra: trust.extra.clone(),
        }
    }
}

/// One inference API: where it is, the gate's own key there, and the connections to it.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    base: Base,
    openai_prefix: Option<String>,
    authorization: Option<HeaderValue>,
    /// Absent where HTTP/2 may be spoken, in which `:authority` says it.
    host: Option<HeaderValue>,
    usage_by_default: bool,
    continuous_usage: bool,
    head_timeout: Duration,
    idle_timeout: Duration,
    pool: Arc<Pool>,
    reach: Reach,
    metrics: Arc<Metrics>,
}

/// Why there is no answer of the upstream.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection could be made: the upstream has seen nothing of the call.
    #[error("no connection to the upstream")]
    Unreachable(#[source] BoxError),
    /// The request's own body failed: its client stalled or broke off.
    #[error("the client's body failed on its way to the upstream")]
    Body(#[source] BoxError),
    /// The connection broke, or what came back was no HTTP.
    #[error("the upstream broke the call off before its answer")]
    Broken(#[source] BoxError),
    /// No answer came in time.
    #[error("the upstream gave no answer for {0:?}")]
    TimedOut(Duration),
    /// The path can't stand in a request.
    #[error("the path can't be sent")]
    Path(#[source] http::Error),
}

impl Upstream {
    /// Its host and port: a label value, and how logs name it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What `/v1/openai` becomes there, if its paths differ.
    pub fn openai_prefix(&self) -> Option<&str> {
        self.openai_prefix.as_deref()
    }

    /// The `Authorization` of the gate itself, if it has a key there.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Whether it sends usage in streams unasked.
    pub fn usage_by_default(&self) -> bool {
        self.usage_by_default
    }

    /// Whether its streams bring running usage when they are asked to.
    pub fn continuous_usage(&self) -> bool {
        self.continuous_usage
    }

    /// Whether calls can't tell the two apart.
    fn is_same(&self, other: &Self) -> bool {
        self.openai_prefix == other.openai_prefix
            && self.authorization == other.authorization
            && self.usage_by_default == other.usage_by_default
            && self.continuous_usage == other.continuous_usage
            && self.head_timeout == other.head_timeout
            && self.reach == other.reach
    }

    /// The longest wait between two pieces of an answer's body.
    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// `path` is a path with or without a query; the rest of the request's URI, its version and its `Host` are
    /// set here. Dropping the future, or the answer's body, ends the call: the connection is closed (HTTP/1.1) or
    /// the stream is reset (HTTP/2).
    ///
    /// # Errors
    /// See [`SendError`]; after [`SendError::Unreachable`] the upstream has seen nothing.
    pub async fn send(&self, path: &str, mut request: Request<Body>) -> Result<Response<Sent>, SendError> {
        *request.uri_mut() = self.base.join(path).map_err(SendError::Path)?;
        *request.version_mut() = Version::HTTP_11;
        match &self.host {
            Some(host) => drop(request.headers_mut().insert(HOST, host.clone())),
            None => drop(request.headers_mut().remove(HOST)),
        }
        let mut counted = Counted {
            upstream: self,
            status: 0,
        };
        let answering = pin!(self.pool.request(request));
        match tokio::time::timeout(self.head_timeout, answering).await {
            Err(_) => Err(SendError::TimedOut(self.head_timeout)),
            Ok(Err(RequestError::Connect(error))) => Err(SendError::Unreachable(error)),
            Ok(Err(RequestError::Broken(error))) if is_of_body(&*error) => Err(SendError::Body(error)),
            Ok(Err(RequestError::Broken(error))) => Err(SendError::Broken(error)),
            Ok(Ok(answer)) => {
                counted.status = answer.status().as_u16();
                Ok(answer)
            }
        }
    }
}

/// A request that was sent: counted when this falls, also if its client went before there was an answer.
struct Counted<'a> {
    upstream: &'a Upstream,
    /// The answer's status; 0 while there is none.
    status: u16,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Upstream { metrics, name, .. } = self.upstream;
        metrics.upstream_answered(name, self.status);
    }
}

/// The `Host` of every request to `base`: without the port that its scheme has anyway.
fn host(base: &Uri) -> Result<HeaderValue, ConnectError> {
    let usual = match base.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    let name = base.host().ok_or(ConnectError::BaseUrl)?;
    let host = match base.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    };
    HeaderValue::try_from(host).map_err(|_| ConnectError::BaseUrl)
}

/// The part of the URI that every request to an upstream shares.
#[derive(Debug)]
struct Base {
    /// Absent where requests name their path alone.
    origin: Option<(Scheme, Authority)>,
    prefix: String,
}

impl Base {
    fn of(uri: &Uri) -> Result<Self, ConnectError> {
        match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) => Ok(Self {
                origin: Some((scheme.clone(), authority.clone())),
                prefix: uri.path().trim_end_matches('/').to_owned(),
            }),
            _ => Err(ConnectError::BaseUrl),
        }
    }

    /// The same for HTTP/1.1, whose request line has a path, while `Host` says the rest.
    fn unnamed(mut self) -> Self {
        self.origin = None;
        self
    }

    fn join(&self, path: &str) -> Result<Uri, http::Error> {
        let whole = match self.prefix.as_str() {
            "" => PathAndQuery::try_from(path)?,
            prefix => PathAndQuery::try_from(format!("{prefix}{path}"))?,
        };
        let mut parts = http::uri::Parts::default();
        (parts.scheme, parts.authority) = self.origin.clone().unzip();
        parts.path_and_query = Some(whole);
        Ok(Uri::from_parts(parts)?)
    }
}

/// Whether hyper blames the body that it was to send.
fn is_of_body(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    let cause = causes.find_map(|cause| cause.downcast_ref::<hyper::Error>());
    cause.is_some_and(hyper::Error::is_user)
}

/// Whether a host is DeepInfra's, which sends usage in streams unasked.
fn sends_usage(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "deepinfra.com" || host.ends_with(".deepinfra.com")
}

fn bearer(key: &SecretString) -> Result<HeaderValue, ConnectError> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {}", key.expose_secret())).map_err(|_| ConnectError::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UpstreamRoute;

    fn upstreams() -> Upstreams {
        let mut settings = config::Upstream::at("https://api.example.com/".parse().unwrap());
        settings.routes.push(UpstreamRoute {
            models: vec![ModelPattern::parse("acme/*").unwrap()],
            base_url: "http://10.0.0.7:8000/base".parse().unwrap(),
            openai_prefix: Some("/v1".into()),
            api_key: None,
        });
        Upstreams::new(&settings, &Arc::new(Metrics::new().unwrap())).unwrap()
    }

    #[test]
    fn the_first_route_that_matches_serves_a_model() {
        let upstreams = upstreams();
        let name = |model: &str| {
            upstreams
                .serving(&[ModelName::parse(model).unwrap()])
                .name()
                .to_string()
        };
        assert_eq!(name("acme/m:v1"), "10.0.0.7:8000");
        assert_eq!(name("other/m"), "api.example.com");
    }

    #[test]
    fn usage_is_expected_of_deepinfra_alone_unless_the_setting_says_otherwise() {
        for (url, setting, want) in [
            ("https://api.deepinfra.com", None, true),
            ("https://DeepInfra.com.:443/x", None, true),
            ("https://deepinfra.com.example.com", None, false),
            ("https://notdeepinfra.com", None, false),
            ("http://127.0.0.1:8000", Some(true), true),
            ("https://api.deepinfra.com", Some(false), false),
        ] {
            let mut settings = config::Upstream::at(url.parse().unwrap());
            settings.usage_by_default = setting;
            settings.routes.push(UpstreamRoute {
                models: vec![ModelPattern::parse("acme/*").unwrap()],
                base_url: "https://api.deepinfra.com".parse().unwrap(),
                openai_prefix: None,
                api_key: None,
            });
            let upstreams = Upstreams::new(&settings, &Arc::new(Metrics::new().unwrap())).unwrap();
            assert_eq!(upstreams.serving(&[]).usage_by_default(), want, "{url}");
            let routed = upstreams.serving(&[ModelName::parse("acme/m").unwrap()]);
            assert!(routed.usage_by_default());
        }
    }

    #[test]
    fn the_host_names_a_port_only_where_it_is_not_the_schemes_own() {
        for (url, want) in [
            ("http://10.0.0.7:8000/base", "10.0.0.7:8000"),
            ("http://api.example.com:80", "api.example.com"),
            ("http://api.example.com:443", "api.example.com:443"),
            ("https://api.example.com:443/x", "api.example.com"),
            ("http://[::1]:8000", "[::1]:8000"),
        ] {
            assert_eq!(host(&url.parse().unwrap()).unwrap(), want, "{url}");
        }
        let upstreams = upstreams();
        assert_eq!(upstreams.default.host, None, "HTTP/2 may be spoken there");
        let routed = upstreams.serving(&[ModelName::parse("acme/m").unwrap()]);
        assert_eq!(routed.host.as_ref().unwrap(), "10.0.0.7:8000");
    }

    #[test]
    fn a_path_is_joined_to_the_base() {
        let upstreams = upstreams();
        let of = |model: &str| upstreams.serving(&[ModelName::parse(model).unwrap()]);
        let joined = |model: &str| of(model).base.join("/v1/models?x=1").unwrap().to_string();
        assert_eq!(joined("acme/m"), "/base/v1/models?x=1");
        assert_eq!(joined("other/m"), "https://api.example.com/v1/models?x=1");
    }
}
