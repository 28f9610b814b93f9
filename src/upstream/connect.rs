//! One connection to an upstream: TCP, then TLS, both within one time limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use secrecy::ExposeSecret;
use tower::Service;

use super::stall::Stalling;
use crate::body::BoxError;
use crate::config::{self, FileOrText, Protocol};
use crate::metrics::ConnectionCount;

/// How long TCP waits for an answer to a probe on an idle connection, and between two probes.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Why the upstreams' connections can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The base URL has no scheme or no host.
    #[error("an upstream's base URL needs a scheme and a host")]
    BaseUrl,
    /// The key has characters that no header may have.
    #[error("an upstream's API key has characters that a header can't carry")]
    ApiKey,
    /// The extra authorities can't be read.
    #[error("the extra certificate authorities can't be read")]
    Ca(#[source] rustls_pki_types::pem::Error),
    /// TLS can't be set up, such as when the system has no certificate authorities.
    #[error("TLS to upstreams can't be set up")]
    Tls(#[source] rustls::Error),
}

/// The PEM text of extra authorities.
///
/// # Errors
/// The file can't be read.
pub(super) fn authorities(pem: &FileOrText) -> Result<Vec<u8>, ConnectError> {
    match pem {
        FileOrText::File(path) => {
            std::fs::read(path).map_err(|error| ConnectError::Ca(rustls_pki_types::pem::Error::Io(error)))
        }
        FileOrText::Text(text) => Ok(text.expose_secret().as_bytes().to_vec()),
    }
}

/// The TLS settings of connections to others: the system's authorities and `extra` ones in PEM.
///
/// # Errors
/// The authorities can't be loaded.
pub fn tls_config(extra: Option<&[u8]>) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = extra.map(|pem| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>());
    let roots = roots.transpose().map_err(ConnectError::Ca)?.unwrap_or_default();
    let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider)).map_err(ConnectError::Tls)?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ConnectError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Connects within a time limit that covers the name look-up, TCP and TLS together.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector>,
    base: Uri,
    may_speak_http2: bool,
    timeout: Duration,
    write_timeout: Duration,
    count: ConnectionCount,
}

impl Connector {
    /// A connector to `base`, whose connections `count` counts.
    pub(super) fn new(
        tls: &ClientConfig,
        settings: &config::Upstream,
        base: &Uri,
        count: ConnectionCount,
    ) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_keepalive(Some(TCP_KEEPALIVE));
        http.set_keepalive_interval(Some(TCP_KEEPALIVE));
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http();
        let inner = match settings.protocol {
            Protocol::Auto => builder.enable_all_versions().wrap_connector(http),
            Protocol::Http1 | Protocol::H2c => builder.enable_http1().wrap_connector(http),
        };
        let may_speak_http2 = match settings.protocol {
            Protocol::Auto => base.scheme() == Some(&Scheme::HTTPS),
            Protocol::Http1 => false,
            Protocol::H2c => true,
        };
        Self {
            inner,
            base: base.clone(),
            may_speak_http2,
            timeout: settings.connect_timeout,
            write_timeout: settings.idle_timeout,
            count,
        }
    }

    /// Whether calls may have to share a connection.
    pub(super) fn may_speak_http2(&self) -> bool {
        self.may_speak_http2
    }
}

/// A connection to an upstream.
pub(super) type Connection = Stalling<<HttpsConnector<HttpConnector> as Service<Uri>>::Response>;

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Connection, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    /// Connects to the upstream's base, whatever a request calls it.
    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.timeout, self.inner.call(self.base.clone()));
        let write_timeout = self.write_timeout;
        let count = self.count.clone();
        Box::pin(async move {
            let counted = count.connecting();
            let connection = connecting.await??;
            drop(counted);
            Ok(Stalling::new(connection, write_timeout, count.open()))
        })
    }
}
