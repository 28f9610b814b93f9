//! TLS of the data listener: certificate, client certificates, and what happens when their files change.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;

use crate::config::{FileOrText, Tls};

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("can't read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// What was read is not PEM of the right kind.
    #[error("{what} is not PEM of the right kind")]
    Pem {
        /// Which setting.
        what: &'static str,
        /// What the parser says.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate and key don't fit together, or their kind is not known.
    #[error("the certificate and its key can't be used")]
    Certificate(#[source] rustls::Error),
    /// The authorities of client certificates can't be used.
    #[error("the authorities of client certificates can't be used")]
    ClientCa(#[source] VerifierBuilderError),
    /// An authority can't be used.
    #[error("an authority of client certificates can't be used")]
    Authority(#[source] rustls::Error),
}

/// The TLS settings in force.
#[derive(Debug)]
pub struct TlsSource {
    settings: Tls,
    current: ArcSwap<ServerConfig>,
    /// What was looked at last; none when it could not be read.
    seen: Mutex<Option<Texts>>,
}

/// The settings' PEM texts, as they stand now.
#[derive(PartialEq, Eq)]
struct Texts {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl TlsSource {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// They can't be read or used.
    pub fn new(settings: &Tls) -> Result<Arc<Self>, TlsError> {
        let texts = Texts::read(settings)?;
        Ok(Arc::new(Self {
            settings: settings.clone(),
            current: ArcSwap::from_pointee(server_config(&texts)?),
            seen: Mutex::new(Some(texts)),
        }))
    }

    /// The settings that it was made of.
    pub fn settings(&self) -> &Tls {
        &self.settings
    }

    /// The settings for the next handshake.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads the files and takes them over, for connections that come then. Does blocking I/O.
    ///
    /// # Errors
    /// They can't be read or used: the old ones stay in force.
    pub fn look(&self) -> Result<(), TlsError> {
        self.take(Texts::read(&self.settings))
    }

    /// The same if they are not what they were when they were looked at last; `None` if they are.
    pub fn look_for_changes(&self) -> Option<Result<(), TlsError>> {
        let texts = Texts::read(&self.settings);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let same = texts.as_ref().ok() == seen.as_ref();
        drop(seen);
        (!same).then(|| self.take(texts))
    }

    fn take(&self, texts: Result<Texts, TlsError>) -> Result<(), TlsError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = None;
        let config = server_config(seen.insert(texts?))?;
        self.current.store(Arc::new(config));
        Ok(())
    }
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts").finish_non_exhaustive()
    }
}

impl Texts {
    fn read(settings: &Tls) -> Result<Self, TlsError> {
        Ok(Self {
            cert: text(&settings.cert)?,
            key: text(&settings.key)?,
            client_ca: settings.client_ca.as_ref().map(text).transpose()?,
        })
    }
}

fn text(pem: &FileOrText) -> Result<Vec<u8>, TlsError> {
    match pem {
        FileOrText::Text(text) => Ok(text.expose_secret().as_bytes().to_vec()),
        FileOrText::File(path) => std::fs::read(path).map_err(|source| TlsError::Read {
            path: path.clone(),
            source,
        }),
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    all.map_err(|source| TlsError::Pem { what, source })
}

fn server_config(texts: &Texts) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(|source| TlsError::Pem {
        what: "server.tls.key",
        source,
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Certificate)?;
    let builder = match &texts.client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            for authority in certificates("server.tls.client_ca", pem)? {
                roots.add(authority).map_err(TlsError::Authority)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(TlsError::ClientCa)?)
        }
    };
    let chain = certificates("server.tls.cert", &texts.cert)?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(TlsError::Certificate)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
