//! rustls's configurations from `Settings`: versions, cipher suites, our certificate, who else may come.

use std::sync::Arc;

use super::files;
use super::revoked::Revoked;
use super::rustls::crypto::{CryptoProvider, ring};
use super::rustls::pki_types::CertificateDer;
use super::rustls::server::NoServerSessionStorage;
use super::rustls::version::{TLS12, TLS13};
use super::rustls::{self, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use super::settings::{Settings, Version};
use super::verify::{Allowed, Clients, Servers, Unchecked};

/// Errors: a file that cannot be read or used, named.
pub fn server(settings: &Settings) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(provider(settings));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings))
        .map_err(|_| no_suite(settings))?;
    let builder = if settings.asks_for_certificates() {
        let (roots, own) = trusted(settings)?;
        builder.with_client_cert_verifier(Arc::new(Clients::new(roots, own, allowed(settings)?, provider)?))
    } else {
        builder.with_no_client_auth()
    };
    let (chain, key) = files::identity(&settings.cert_file, &settings.key_file)?;
    let (cert_file, key_file) = (&settings.cert_file, &settings.key_file);
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| unusable(cert_file, key_file, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if settings.asks_for_certificates() {
        // A session that is taken up again would not show its certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// Errors: as above.
pub fn client(settings: &Settings) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(provider(settings));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings))
        .map_err(|_| no_suite(settings))?;
    let builder = if settings.is_self_signed {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
    } else {
        let (roots, own) = trusted(settings)?;
        let servers = Servers::new(roots, own, allowed(settings)?, provider)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(servers))
    };
    let config = match settings.has_certificate() {
        true => {
            let (cert_file, key_file) = settings.client_files();
            let (chain, key) = files::identity(cert_file, key_file)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(cert_file, key_file, &error))?
        }
        false => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn unusable(cert_file: &str, key_file: &str, error: &rustls::Error) -> String {
    let why = match error {
        rustls::Error::InconsistentKeys(_) => "tls: private key does not match public key".to_owned(),
        other => other.to_string(),
    };
    format!("{cert_file}, {key_file}: {why}")
}

/// Roots of trust, and the certificates of the bundle themselves.
type Trusted = (RootCertStore, Vec<CertificateDer<'static>>);

fn trusted(settings: &Settings) -> Result<Trusted, String> {
    match settings.trusted_ca_file.as_str() {
        "" => Ok((files::system_roots(), Vec::new())),
        path => Ok((files::roots(path)?, files::certificates(path)?)),
    }
}

fn allowed(settings: &Settings) -> Result<Allowed, String> {
    Ok(Allowed {
        common_names: settings.allowed_cns.clone(),
        hostnames: settings.allowed_hostnames.clone(),
        revoked: match settings.crl_file.as_str() {
            "" => None,
            path => Some(Revoked::read(path)?),
        },
    })
}

/// As in Go the list says nothing about TLS 1.3, whose suites are always all allowed.
fn provider(settings: &Settings) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !settings.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| {
            let name = suite.suite().as_str().unwrap_or_default();
            suite.tls13().is_some() || settings.cipher_suites.iter().any(|wanted| is_called(name, wanted))
        });
    }
    provider
}

/// Go has two older names of its own.
fn is_called(name: &str, wanted: &str) -> bool {
    name == wanted || (wanted.ends_with("CHACHA20_POLY1305") && name.strip_suffix("_SHA256") == Some(wanted))
}

fn versions(settings: &Settings) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(Version::Tls13, &TLS13), (Version::Tls12, &TLS12)];
    let wanted = settings.version_min..=settings.version_max;
    all.into_iter().filter(|(version, _)| wanted.contains(version)).map(|(_, version)| version).collect()
}

fn no_suite(settings: &Settings) -> String {
    format!("none of the cipher suites can be used: {}", settings.cipher_suites.join(","))
}
