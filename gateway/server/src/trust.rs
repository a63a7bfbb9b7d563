//! Whose certificates are trusted where the gateway connects by TLS: the system's, or those of a file.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why nothing can be trusted. Says nothing of what a file holds.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The system has none.
    #[error(
        "the system has no certificates to trust: install ca-certificates, or name a file in SSL_CERT_FILE"
    )]
    NoRoots,
    /// A file without one.
    #[error("holds no certificate: PEM is expected, which begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// A file with a broken one.
    #[error("holds a certificate that cannot be read")]
    Broken,
    /// The library refuses.
    #[error("TLS: {0}")]
    Config(#[from] rustls::Error),
    /// The thread that read them ended.
    #[error("the system's certificates could not be read")]
    Unread,
}

/// Trusts what the system trusts.
///
/// # Errors
/// [`TrustError`].
pub async fn system() -> Result<Arc<ClientConfig>, TrustError> {
    // Some hundred files are read.
    let read = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
    let found = read.await.map_err(|_| TrustError::Unread)?;
    let mut roots = RootCertStore::empty();
    let (trusted, odd) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        return Err(TrustError::NoRoots);
    }
    tracing::debug!(trusted, odd, "certificates of the system are read");
    client(roots)
}

/// Trusts the certificates of `pem` and no other.
///
/// # Errors
/// [`TrustError`].
pub fn only(pem: &[u8]) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| TrustError::Broken)?;
        roots.add(certificate).map_err(|_| TrustError::Broken)?;
    }
    if roots.is_empty() {
        return Err(TrustError::NoCertificate);
    }
    client(roots)
}

/// Trusts `roots` alone.
///
/// # Errors
/// [`TrustError::Config`].
pub fn client(roots: RootCertStore) -> Result<Arc<ClientConfig>, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(versions.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_trusts_nobody() {
        assert!(matches!(only(b""), Err(TrustError::NoCertificate)));
        assert!(matches!(only(b"hunter2"), Err(TrustError::NoCertificate)));
        let broken = b"-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n";
        assert!(matches!(only(broken), Err(TrustError::Broken)));
    }
}
