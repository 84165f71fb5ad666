//! TLS as the flags configure it.
//!
//! Source: etcd 3.7.1 client/v3/config.go (newTLSConfig), client/pkg/transport/listener.go (ClientConfig).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, Der, PrivateKeyDer, ServerName, TrustAnchor, UnixTime,
};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// What the flags say.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub cert: String,
    pub key: String,
    pub cacert: String,
    /// Overrides the endpoint's name: where endpoints came from a domain's records.
    pub server_name: String,
    pub insecure_transport: bool,
    pub insecure_skip_verify: bool,
}

#[derive(Debug)]
pub struct Config {
    pub rustls: Arc<ClientConfig>,
    server_name: String,
}

impl Config {
    /// `None`: plain, unless an endpoint demands otherwise.
    ///
    /// Errors: a file that cannot be read or used, named; one of certificate and key without the other.
    pub fn new(flags: &Flags) -> Result<Option<Config>, String> {
        let named = [&flags.cert, &flags.key, &flags.cacert, &flags.server_name];
        let wanted = named.iter().any(|text| !text.is_empty());
        if !wanted && flags.insecure_transport && !flags.insecure_skip_verify {
            return Ok(None);
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3");
        let identity = identity(flags)?;
        let builder = if flags.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
        } else {
            let own = if flags.cacert.is_empty() { Vec::new() } else { certificates(&flags.cacert)? };
            let verifier = Checked::new(roots(&flags.cacert)?, own, provider)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        };
        let mut rustls = match identity {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| format!("{}, {}: {e}", flags.cert, flags.key))?,
            None => builder.with_no_client_auth(),
        };
        rustls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(Config { rustls: Arc::new(rustls), server_name: flags.server_name.clone() }))
    }

    /// For an endpoint that demands TLS where no flag speaks of it.
    pub fn system_roots() -> Result<Config, String> {
        let flags = Flags { insecure_transport: false, ..Flags::default() };
        Ok(Config::new(&flags)?.expect("TLS was asked for"))
    }

    /// The same for a page that is asked for without gRPC.
    pub fn for_http1(&self) -> Arc<Config> {
        let mut rustls = ClientConfig::clone(&self.rustls);
        rustls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(Config { rustls: Arc::new(rustls), server_name: self.server_name.clone() })
    }

    /// What the certificate must be made out to.
    pub fn server_name(&self, endpoint: &str) -> Result<ServerName<'static>, String> {
        let name = if self.server_name.is_empty() { endpoint } else { &self.server_name };
        ServerName::try_from(name.to_owned()).map_err(|e| format!("{name:?}: {e}"))
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(flags: &Flags) -> Result<Option<Identity>, String> {
    match (flags.cert.as_str(), flags.key.as_str()) {
        ("", "") => Ok(None),
        ("", _) | (_, "") => Err(format!(
            "KeyFile and CertFile must both be present[key: {}, cert: {}]",
            flags.key, flags.cert
        )),
        (cert, key) => {
            let chain = certificates(cert)?;
            let bytes = read(key)?;
            let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| format!("{key}: {e}"))?;
            Ok(Some((chain, key)))
        }
    }
}

fn roots(cacert: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if cacert.is_empty() {
        // Without any, each handshake fails and says so; a client of plain endpoints needs none.
        let bytes = system_roots_file().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
        return Ok(roots);
    }
    for certificate in certificates(cacert)? {
        roots.add(certificate).map_err(|e| format!("{cacert}: {e}"))?;
    }
    Ok(roots)
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

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|e| format!("{path}: {e}"))?;
    if all.is_empty() { Err(format!("{path}: no certificate in it")) } else { Ok(all) }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(Path::new(path)).map_err(|e| format!("open {path}: {}", crate::go::system::error_text(&e)))
}

/// Checks certificates, and takes one that signed itself if it is in `--cacert`: such a certificate may well
/// call itself an authority, which webpki refuses at the end of a chain.
#[derive(Debug)]
struct Checked {
    webpki: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl Checked {
    fn new(
        mut roots: RootCertStore,
        own: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Checked, String> {
        if roots.is_empty() {
            // The verifier wants one; this names nobody and signs nothing.
            roots.roots.push(nobody());
        }
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Checked { webpki: webpki.map_err(|e| e.to_string())?, own })
    }
}

fn nobody() -> TrustAnchor<'static> {
    let empty = Der::from_slice(&[]);
    TrustAnchor { subject: empty.clone(), subject_public_key_info: empty, name_constraints: None }
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked =
            self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            // webpki comes to this after it has found the certificate neither expired nor too new.
            Err(error) if is_authority(&error) && self.own.iter().any(|own| own == end_entity) => {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                verify_server_name(&certificate, server_name).map(|()| ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// rustls has no name for it and hands webpki's on.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    format!("{other:?}").contains("CaUsedAsEndEntity")
}

/// Takes any certificate: what `--insecure-skip-tls-verify` asks for. Signatures are not checked either: who
/// may bring any certificate can sign with it, and ring cannot read those of P-521, which etcd's own have.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.0.signature_verification_algorithms.supported_schemes();
        // What etcd signs with where it made its certificate itself.
        schemes.push(SignatureScheme::ECDSA_NISTP521_SHA512);
        schemes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_on_only_where_asked_for_and_bad_files_are_named() {
        let plain = Flags { insecure_transport: true, ..Flags::default() };
        assert!(Config::new(&plain).expect("nothing to read").is_none());
        let secure = Flags { insecure_transport: false, ..Flags::default() };
        assert!(Config::new(&secure).expect("system roots").is_some());
        let missing = Flags { cacert: "/nonexistent".into(), ..plain.clone() };
        assert_eq!(
            Config::new(&missing).err(),
            Some("open /nonexistent: no such file or directory".to_owned())
        );
        let half = Flags { cert: "c".into(), ..plain };
        let text = "KeyFile and CertFile must both be present[key: , cert: c]";
        assert_eq!(Config::new(&half).err(), Some(text.to_owned()));
    }
}
