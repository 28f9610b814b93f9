//! Certificates and private keys as PEM text.

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Reads the certificates of a PEM text, at least one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err("expected certificates in PEM"),
    }
}

/// Reads the certificates of authorities, at least one, and checks that each can be one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn authorities(text: &str) -> Result<(), &'static str> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(text)? {
        let added = store.add(certificate);
        added.map_err(|_| "expected certificates of authorities; one of these is none")?;
    }
    Ok(())
}

/// Reads the private key of a PEM text.
///
/// # Errors
/// What is wrong with it.
pub(super) fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| "expected a private key in PEM, not encrypted")
}

/// Checks that the first certificate is that of the key.
///
/// # Errors
/// What is wrong with the key.
pub(super) fn belong_together(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(), &'static str> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("is not the key of the first certificate in `server.tls.cert`")
        }
        Err(_) => Err("can't be used with the certificate in `server.tls.cert`"),
    }
}
