//! Who may be on the other end.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::certificate::{Names, is_made_out_to};
use super::revoked::Revoked;
use super::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use super::rustls::client::{WebPkiServerVerifier, verify_server_name};
use super::rustls::crypto::CryptoProvider;
use super::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use super::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use super::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use super::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

/// Checks servers, and takes a certificate that signed itself if it is in `own`: such a certificate may well
/// call itself an authority, which webpki refuses at the end of a chain.
#[derive(Debug)]
pub struct Servers {
    webpki: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
    allowed: Allowed,
}

impl Servers {
    /// `own`: certificates of the bundle that was named. Errors: rustls finds no use for the roots.
    pub fn new(
        roots: RootCertStore,
        own: Vec<CertificateDer<'static>>,
        allowed: Allowed,
        provider: Arc<CryptoProvider>,
    ) -> Result<Servers, String> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Servers { webpki: webpki.map_err(|e| e.to_string())?, own, allowed })
    }
}

/// Names of which the other end's certificate must carry one; all empty allow everybody.
///
/// Source: etcd 3.7.1 client/pkg/transport/listener.go (verifyCertificate).
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    pub common_names: Vec<String>,
    pub hostnames: Vec<String>,
    /// Who is on it is not allowed whatever its names.
    pub revoked: Option<Revoked>,
}

impl Allowed {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let Allowed { common_names, hostnames, revoked } = self;
        if let Some(revoked) = revoked {
            for certificate in [certificate].into_iter().chain(intermediates) {
                revoked.check(certificate).map_err(refusal)?;
            }
        }
        if common_names.is_empty() && hostnames.is_empty() {
            return Ok(());
        }
        let unnamed = |why: String| refusal(format!("client certificate authentication failed: {why}"));
        let names = Names::of(certificate).ok_or_else(|| unnamed("its names cannot be read".to_owned()))?;
        if common_names.contains(&names.common_name)
            || hostnames.iter().any(|host| is_made_out_to(certificate, host))
        {
            return Ok(());
        }
        Err(unnamed(match common_names.is_empty() {
            false => format!("its common name {:?} is not allowed", names.common_name),
            true => format!("none of its names {:?} {:?} is allowed", names.dns_names, names.ip_addresses),
        }))
    }
}

/// In one line.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// What went wrong in a handshake, in one line; a refusal of ours by its own words.
pub fn cause(error: &io::Error) -> String {
    let rustls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    match rustls {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(refused)))) => refused.to_string(),
        _ => error.to_string(),
    }
}

fn refusal(why: String) -> Error {
    CertificateError::Other(OtherError(Arc::new(Refused(why)))).into()
}

/// Signatures are webpki's affair, whoever may be on the other end.
macro_rules! signatures_by_webpki {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.webpki.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.webpki.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.webpki.supported_verify_schemes()
        }
    };
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked =
            self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            // webpki comes to this after it has found the certificate neither expired nor too new.
            Err(error) if is_authority(&error) && self.own.iter().any(|own| own == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            other => {
                other?;
            }
        }
        self.allowed.check(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures_by_webpki!();
}

/// rustls has no name for it and hands webpki's on.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    format!("{other:?}").contains("CaUsedAsEndEntity")
}

/// Checks clients, who must show a certificate; the same exception as for servers.
#[derive(Debug)]
pub struct Clients {
    webpki: Arc<dyn ClientCertVerifier>,
    own: Vec<CertificateDer<'static>>,
    allowed: Allowed,
}

impl Clients {
    /// As `Servers::new`.
    pub fn new(
        roots: RootCertStore,
        own: Vec<CertificateDer<'static>>,
        allowed: Allowed,
        provider: Arc<CryptoProvider>,
    ) -> Result<Clients, String> {
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Clients { webpki: webpki.map_err(|e| e.to_string())?, own, allowed })
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.webpki.verify_client_cert(end_entity, intermediates, now) {
            Err(error) if is_authority(&error) && self.own.iter().any(|own| own == end_entity) => {}
            other => {
                other?;
            }
        }
        self.allowed.check(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    signatures_by_webpki!();
}

/// Takes any certificate of a server. Signatures are not checked either: who may bring any certificate can
/// sign with it, and ring cannot read those of P-521, which etcd's own have.
#[derive(Debug)]
pub struct Unchecked(pub Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.0.signature_verification_algorithms.supported_schemes();
        // What etcd signs with where it made its certificate itself.
        schemes.push(SignatureScheme::ECDSA_NISTP521_SHA512);
        schemes
    }
}
