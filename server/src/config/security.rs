//! TLS as the flags ask for it.
//!
//! Source: etcd 3.7.1 server/embed/config.go (securityConfig, ClientSelfCert, PeerSelfCert), embed/etcd.go
//! (configureClientListeners, configurePeerListeners), client/pkg/tlsutil.

use holdfast_net::tls::{Settings as Tls, Version};

use super::url::{Scheme, Url};
use super::value::Settings;

/// Names of cipher suites that Go knows, up to TLS 1.2.
/// Source: Go crypto/tls (CipherSuites, InsecureCipherSuites); etcd client/pkg/tlsutil/cipher_suites.go.
const CIPHER_SUITES: [&str; 24] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];
const TLS13_SUITES: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
/// Of those up to TLS 1.2 the ones that are built in here begin and go on like this.
const BUILT_IN: [&str; 2] = ["_GCM_", "_CHACHA20_POLY1305"];

/// TLS of both kinds of ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    pub client: Tls,
    pub peer: Tls,
    /// `--auto-tls`, `--peer-auto-tls`, where no certificate was given.
    pub client_auto: bool,
    pub peer_auto: bool,
    /// `--self-signed-cert-validity`
    pub self_signed_years: u64,
}

/// Errors: in etcd's words; no file is read.
pub fn read(settings: &Settings, warnings: &mut Vec<String>) -> Result<Security, String> {
    let (version_min, version_max) = check_versions(settings)?;
    let cipher_suites = check_cipher_suites(settings, version_max, warnings)?;
    let shared = Tls { version_min, version_max, cipher_suites, ..Tls::default() };
    let text = |prefix: &str, name: &str| settings.text(&format!("{prefix}{name}"));
    let of = |prefix: &str, skip_san: &str| Tls {
        cert_file: text(prefix, "cert-file"),
        key_file: text(prefix, "key-file"),
        client_cert_file: text(prefix, "client-cert-file"),
        client_key_file: text(prefix, "client-key-file"),
        trusted_ca_file: text(prefix, "trusted-ca-file"),
        client_cert_auth: settings.bool(&format!("{prefix}client-cert-auth")),
        skip_client_san_verification: settings.bool(skip_san),
        ..shared.clone()
    };
    let client = Tls {
        allowed_cns: settings.list("client-cert-allowed-cn"),
        allowed_hostnames: settings.list("client-cert-allowed-hostname"),
        crl_file: settings.text("client-crl-file"),
        ..of("", "client-skip-client-san-verification")
    };
    let peer = Tls {
        allowed_cns: settings.list("peer-cert-allowed-cn"),
        allowed_hostnames: settings.list("peer-cert-allowed-hostname"),
        crl_file: settings.text("peer-crl-file"),
        ..of("peer-", "peer-skip-client-san-verification")
    };
    let mut auto = |flag: &str, kind: &str, tls: &Tls| {
        let is_auto = settings.bool(flag);
        if is_auto && tls.has_certificate() {
            warnings.push(format!("ignoring {kind} auto TLS since certs given"));
        }
        is_auto && !tls.has_certificate()
    };
    let client_auto = auto("auto-tls", "client", &client);
    let peer_auto = auto("peer-auto-tls", "peer", &peer);
    let self_signed_years = settings.uint("self-signed-cert-validity");
    if (client_auto || peer_auto) && self_signed_years == 0 {
        return Err("selfSignedCertValidity is invalid,it should be greater than 0".to_owned());
    }
    let security = Security { client, peer, client_auto, peer_auto, self_signed_years };
    security.check_ports(settings, warnings)?;
    Ok(security)
}

impl Security {
    /// Ports of TLS need a certificate; those without have no use for one.
    fn check_ports(&self, settings: &Settings, warnings: &mut Vec<String>) -> Result<(), String> {
        let Security { client, peer, .. } = self;
        let mut clients = settings.urls("listen-client-urls");
        clients.extend(settings.urls("listen-client-http-urls"));
        let metrics = settings.urls("listen-metrics-urls");
        let peers = settings.urls("listen-peer-urls");
        let has_certificate = client.has_certificate() || self.client_auto;
        if let Some(url) = clients.iter().find(|url| is_secure(url) && !has_certificate) {
            return Err(format!(
                "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
            ));
        }
        if metrics.iter().any(|url| is_secure(url) && !has_certificate) {
            return Err(
                "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"
                    .to_owned(),
            );
        }
        if has_certificate && !self.client_auto && clients.iter().chain(&metrics).any(is_secure) {
            client.check()?;
        }
        let has_peer_certificate = peer.has_certificate() || self.peer_auto;
        if let Some(url) = peers.iter().find(|url| is_secure(url) && !has_peer_certificate) {
            let address = url.as_str().trim_start_matches("https://");
            return Err(format!(
                "cannot listen on TLS for {address}: KeyFile and CertFile are not presented"
            ));
        }
        if peer.has_certificate() {
            peer.check()?;
        }
        let mut ignored = |url: &Url, (scheme, flag, key): (&str, &str, &str), tls: &Tls, has: bool| {
            if has {
                warnings.push(format!(
                    "scheme is {scheme} while key and cert files are present; ignoring key and cert files: \
                     {key} {url}"
                ));
            }
            if tls.client_cert_auth {
                warnings.push(format!(
                    "scheme is {scheme} while --{flag} is enabled; ignoring client cert auth for this URL: \
                     {key} {url}"
                ));
            }
        };
        for url in peers.iter().filter(|url| !is_secure(url)) {
            let words = ("HTTP", "peer-client-cert-auth", "peer-url");
            ignored(url, words, peer, has_peer_certificate);
        }
        for url in clients.iter().filter(|url| !is_secure(url)) {
            let words = ("http or unix", "client-cert-auth", "client-url");
            ignored(url, words, client, has_certificate);
        }
        Ok(())
    }
}

fn is_secure(url: &Url) -> bool {
    matches!(url.scheme, Scheme::Https | Scheme::Unixs)
}

/// Oldest and newest.
fn check_versions(settings: &Settings) -> Result<(Version, Version), String> {
    let (oldest, newest) = (settings.text("tls-min-version"), settings.text("tls-max-version"));
    let read = |text: &str, default| match text {
        "" => Ok(default),
        "TLS1.2" => Ok(Version::Tls12),
        "TLS1.3" => Ok(Version::Tls13),
        _ => Err(format!("unexpected TLS version {text:?} (must be one of: TLS1.2, TLS1.3)")),
    };
    let (min, max) = (read(&oldest, Version::Tls12)?, read(&newest, Version::Tls13)?);
    if min > max {
        return Err(format!("min version ({oldest}) is greater than max version ({newest})"));
    }
    if min == Version::Tls13 && !settings.list("cipher-suites").is_empty() {
        return Err("cipher suites cannot be configured when only TLS1.3 is enabled".to_owned());
    }
    Ok((min, max))
}

/// A suite that Go knows and that is not built in (of CBC, RC4, 3DES, or without a fresh key) is left out with a
/// warning: who lists it for old clients most often lists a better one too.
fn check_cipher_suites(
    settings: &Settings,
    version_max: Version,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, String> {
    let suites = settings.list("cipher-suites");
    for suite in &suites {
        if !CIPHER_SUITES.contains(&suite.as_str()) && !TLS13_SUITES.contains(&suite.as_str()) {
            return Err(format!("unexpected TLS cipher suite {suite:?}"));
        }
    }
    let is_built_in =
        |suite: &&String| suite.starts_with("TLS_ECDHE_") && BUILT_IN.iter().any(|part| suite.contains(part));
    if suites.is_empty() || suites.iter().any(|suite| is_built_in(&suite)) {
        // What is left out beside a better one costs nobody anything but old clients.
        for suite in suites.iter().filter(|s| !is_built_in(s) && !TLS13_SUITES.contains(&s.as_str())) {
            warnings.push(format!("--cipher-suites: {suite} is not built in and is left out"));
        }
        return Ok(suites);
    }
    if version_max == Version::Tls12 {
        return Err(format!("--cipher-suites: none of {} is built in", suites.join(",")));
    }
    warnings.push(format!(
        "--cipher-suites: none of {} is built in for TLS1.2; only TLS1.3 is spoken",
        suites.join(",")
    ));
    Ok(suites)
}
