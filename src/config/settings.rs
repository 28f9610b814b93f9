//! The settings as the rest of the program sees them: typed, checked, resolved.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use secrecy::{ExposeSecret, SecretString};

use super::money::{Budget, Prices};
use super::webhooks::Webhooks;
use crate::types::{AccountId, KeyName, ModelName, ModelPattern};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything, after all checks.
#[derive(Debug, Clone)]
pub struct Config {
    /// The sockets that clients and operators connect to.
    pub server: Server,
    /// Who may use the admin listener.
    pub admin: Admin,
    /// The inference API behind the gate.
    pub upstream: Upstream,
    /// How much at once, and how fast.
    pub limits: Limits,
    /// How much money.
    pub budget: Budget,
    /// What calls cost.
    pub prices: Prices,
    /// What is known of models.
    pub models: Models,
    /// How long tokens live.
    pub scoped_jwt: ScopedJwt,
    /// Where lasts what must last.
    pub store: Store,
    /// How results of jobs are delivered.
    pub webhooks: Webhooks,
    /// The customers and their keys.
    pub accounts: Vec<Account>,
}

/// `[scoped_jwt]`: how long tokens live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopedJwt {
    /// The longest life of a token, from now to its `exp`.
    pub max_lifetime: Duration,
    /// The same for tokens without a `jti`.
    pub max_self_signed_lifetime: Duration,
}

/// 365 days, and 7 days without a `jti`.
impl Default for ScopedJwt {
    fn default() -> Self {
        Self {
            max_lifetime: 365 * DAY,
            max_self_signed_lifetime: 7 * DAY,
        }
    }
}

/// `[store]`: where lasts what must last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The file of the SQLite database; it and its folder are made where they are missing.
    pub path: PathBuf,
    /// The keys that seal secrets at rest, 32 bytes in base64 each: the first seals, all open. A file that stands alone is
    /// made where it is missing.
    pub master_keys: Vec<FileOrText>,
}

/// `[server]`: the sockets that clients and operators connect to.
#[derive(Debug, Clone)]
pub struct Server {
    /// The address of the data listener.
    pub listen: SocketAddr,
    /// The address of the admin listener.
    pub admin_listen: SocketAddr,
    /// From connect, or from the start of a kept-alive call, to the end of the request head.
    pub header_timeout: Duration,
    /// The longest request head, in bytes.
    pub max_head: u64,
    /// The most headers of a request.
    pub max_headers: usize,
    /// The longest JSON body, in bytes.
    pub max_json_body: u64,
    /// The longest multipart body, in bytes.
    pub max_multipart_body: u64,
    /// The most open connections in all.
    pub max_connections: usize,
    /// The most open connections from one address.
    pub max_connections_per_ip: usize,
    /// The longest wait between two pieces of a request body.
    pub body_idle_timeout: Duration,
    /// How long a connection without a call stays open.
    pub keepalive_timeout: Duration,
    /// How long connections are still accepted after readiness went off.
    pub drain_delay: Duration,
    /// How long calls may go on after that.
    pub drain_timeout: Duration,
    /// Which browser origins may call.
    pub cors: Cors,
    /// Certificate and key; absent means plain HTTP/1.1 and h2c.
    pub tls: Option<Tls>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            header_timeout: Duration::from_secs(10),
            max_head: 32 * KIB,
            max_headers: 100,
            max_json_body: 32 * MIB,
            max_multipart_body: 128 * MIB,
            max_connections: 20_000,
            max_connections_per_ip: 1024,
            body_idle_timeout: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(75),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30 * 60),
            cors: Cors::default(),
            tls: None,
        }
    }
}

/// `[server.cors]`: which browser origins may call.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// Exact origins, such as `https://app.example.com`.
    pub origins: Vec<String>,
}

/// `[server.tls]`: certificate, key and whose client certificates are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain, leaf first.
    pub cert: FileOrText,
    /// Its private key.
    pub key: FileOrText,
    /// Present: clients must show a certificate that one of these signed.
    pub client_ca: Option<FileOrText>,
}

/// A text, or the file that has it and is read again when needed.
#[derive(Debug, Clone)]
pub enum FileOrText {
    /// A file.
    File(PathBuf),
    /// The text itself.
    Text(SecretString),
}

impl PartialEq for FileOrText {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one.expose_secret() == other.expose_secret(),
            (Self::File(_), Self::Text(_)) | (Self::Text(_), Self::File(_)) => false,
        }
    }
}

impl Eq for FileOrText {}

/// `[admin]`: who may use the admin listener.
#[derive(Debug, Clone, Default)]
pub struct Admin {
    /// The bearer token; absent is allowed only while the admin listener is on loopback.
    pub token: Option<SecretString>,
}

/// `[upstream]`: the inference API behind the gate.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Scheme and authority, and a path prefix if there is one (without a slash at its end).
    pub base_url: Uri,
    /// The gate's own key there; absent sends none.
    pub api_key: Option<SecretString>,
    /// Extra certificate authorities to trust.
    pub ca: Option<FileOrText>,
    /// The longest time to connect, TLS included.
    pub connect_timeout: Duration,
    /// The longest wait for the response head.
    pub head_timeout: Duration,
    /// The longest wait between two pieces of a response body.
    pub idle_timeout: Duration,
    /// The most idle connections that are kept for a host.
    pub max_idle_per_host: usize,
    /// Which HTTP version is spoken.
    pub protocol: Protocol,
    /// Whether it sends usage in streams unasked; `None` says to know it by its host. Further upstreams are always
    /// known by theirs.
    pub usage_by_default: Option<bool>,
    /// Whether it offers running usage in streams; `None` says to know it by its host.
    pub continuous_usage: Option<bool>,
    /// Further upstreams for some models; the first match wins.
    pub routes: Vec<UpstreamRoute>,
}

impl Upstream {
    /// The defaults for an upstream at `base_url`.
    pub fn at(base_url: Uri) -> Self {
        Self {
            base_url,
            api_key: None,
            ca: None,
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(30 * 60),
            idle_timeout: Duration::from_secs(5 * 60),
            max_idle_per_host: 512,
            protocol: Protocol::Auto,
            usage_by_default: None,
            continuous_usage: None,
            routes: Vec::new(),
        }
    }
}

/// Which HTTP version is spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// What ALPN agrees on under TLS, HTTP/1.1 without.
    #[default]
    Auto,
    /// HTTP/1.1 always.
    Http1,
    /// HTTP/2 with prior knowledge, without TLS.
    H2c,
}

/// `[[upstream.route]]`: another upstream for some models. Timeouts and protocol are those of `[upstream]`.
#[derive(Debug, Clone)]
pub struct UpstreamRoute {
    /// The models that go there.
    pub models: Vec<ModelPattern>,
    /// Scheme and authority, and a path prefix if there is one (without a slash at its end).
    pub base_url: Uri,
    /// What `/v1/openai` becomes there, such as `/v1`; absent leaves paths as they are.
    pub openai_prefix: Option<String>,
    /// The gate's own key there; absent sends none.
    pub api_key: Option<SecretString>,
}

/// `[limits]`: how much at once and how fast, per account and model.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Calls at once.
    pub concurrency_per_model: usize,
    /// How long a call waits for one of them to end; zero refuses at once.
    pub max_wait: Duration,
    /// Calls a minute; 0 is off.
    pub requests_per_minute: u32,
    /// Tokens a minute; 0 is off.
    pub tokens_per_minute: u64,
    /// Other limits for some calls.
    pub overrides: Vec<LimitOverride>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency_per_model: 200,
            max_wait: Duration::ZERO,
            requests_per_minute: 0,
            tokens_per_minute: 0,
            overrides: Vec::new(),
        }
    }
}

/// `[[limits.override]]`: other limits for the calls that it names.
#[derive(Debug, Clone, Default)]
pub struct LimitOverride {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only those with a key of this name. What it limits is counted for the key alone.
    pub key: Option<KeyName>,
    /// Only those for these models.
    pub model: Option<ModelPattern>,
    /// Calls at once.
    pub concurrency: Option<usize>,
    /// Calls a minute; 0 is off.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute; 0 is off.
    pub tokens_per_minute: Option<u64>,
}

/// `[models]`: what is known of models.
#[derive(Debug, Clone)]
pub struct Models {
    /// Model asked for → model that serves it.
    pub alias: HashMap<ModelName, ModelName>,
    /// The tokens that an answer is taken to have at the most where its call does not say.
    pub max_output_tokens: u64,
}

/// No alias; 16,384 tokens.
impl Default for Models {
    fn default() -> Self {
        Self {
            alias: HashMap::new(),
            max_output_tokens: 16_384,
        }
    }
}

/// `[[account]]`: a customer of the platform team.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id, such as `di:1000000000000`.
    pub id: AccountId,
    /// Its name for people.
    pub name: Option<String>,
    /// Whether its keys may use the upstream's account routes.
    pub management: bool,
    /// Its keys.
    pub keys: Vec<AccountKey>,
}

/// `[[account.key]]`: one API key.
#[derive(Debug, Clone)]
pub struct AccountKey {
    /// Its name, unique in the account.
    pub name: KeyName,
    /// The key itself, at least 16 bytes.
    pub secret: SecretString,
}
