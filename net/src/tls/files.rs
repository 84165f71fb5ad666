//! Certificates, keys and authorities in PEM files.

use std::io;
use std::path::{Path, PathBuf};

use super::rustls::RootCertStore;
use super::rustls::pki_types::pem::{self, PemObject};
use super::rustls::pki_types::{CertificateDer, Der, PrivateKeyDer, TrustAnchor};

/// A certificate with those that vouch for it, and its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Errors: the file that cannot be read or used, in one line.
pub fn identity(cert_file: &str, key_file: &str) -> Result<Identity, String> {
    let chain = certificates(cert_file)?;
    let key = PrivateKeyDer::from_pem_slice(&read(key_file)?).map_err(|error| match error {
        pem::Error::NoItemsFound => format!("{key_file}: no key in it"),
        other => format!("{key_file}: {other}"),
    })?;
    Ok((chain, key))
}

/// Errors: as above; a file without any certificate is one.
pub fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|error| format!("{path}: {error}"))?;
    if all.is_empty() { Err(format!("{path}: no certificate in it")) } else { Ok(all) }
}

/// The certificates of a bundle as roots of trust.
pub fn roots(path: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(roots)
}

/// What all programs of this machine trust. Without any, each handshake fails and says so.
pub fn system_roots() -> RootCertStore {
    let bytes = system_roots_file().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
    if roots.is_empty() {
        // Verifiers want one; this names nobody and signs nothing.
        let empty = Der::from_slice(&[]);
        let nobody =
            TrustAnchor { subject: empty.clone(), subject_public_key_info: empty, name_constraints: None };
        roots.roots.push(nobody);
    }
    roots
}

/// Where distributions keep the certificates that all programs trust; `SSL_CERT_FILE` overrides.
///
/// Source: Go's crypto/x509/root_linux.go.
fn system_roots_file() -> Option<PathBuf> {
    const FILES: [&str; 6] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/tls/cacert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.or_else(|| FILES.iter().map(PathBuf::from).find(|path| path.is_file()))
}

/// A whole file. Errors: in Go's words.
pub fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(Path::new(path)).map_err(|error| format!("open {path}: {}", system_text(&error)))
}

/// Without the number that Rust adds, and not as the start of a sentence.
fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
