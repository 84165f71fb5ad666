//! TLS as the flags configure it.
//!
//! Source: etcd 3.7.1 client/v3/config.go (newTLSConfig), client/pkg/transport/listener.go (ClientConfig).

use std::sync::Arc;

use holdfast_net::tls::files::{self, Identity};
use holdfast_net::tls::rustls::ClientConfig;
use holdfast_net::tls::rustls::crypto;
use holdfast_net::tls::rustls::pki_types::ServerName;
use holdfast_net::tls::verify::{Allowed, Servers, Unchecked};

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
            let (roots, own) = match flags.cacert.as_str() {
                "" => (files::system_roots(), Vec::new()),
                cacert => (files::roots(cacert)?, files::certificates(cacert)?),
            };
            let verifier = Servers::new(roots, own, Allowed::default(), provider)?;
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

fn identity(flags: &Flags) -> Result<Option<Identity>, String> {
    match (flags.cert.as_str(), flags.key.as_str()) {
        ("", "") => Ok(None),
        ("", _) | (_, "") => Err(format!(
            "KeyFile and CertFile must both be present[key: {}, cert: {}]",
            flags.key, flags.cert
        )),
        (cert, key) => files::identity(cert, key).map(Some),
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
