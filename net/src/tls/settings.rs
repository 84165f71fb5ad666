//! What the flags of one side of a member, clients' or peers', say of TLS.
//!
//! Source: etcd 3.7.1 client/pkg/transport/listener.go (TLSInfo, baseConfig), client/pkg/tlsutil.

use std::fmt;

/// A version that may be spoken; older ones are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    #[default]
    Tls12,
    Tls13,
}

/// Files by their paths, empty for those that were not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub cert_file: String,
    pub key_file: String,
    /// Shown where we are the client, in place of `cert_file`.
    pub client_cert_file: String,
    pub client_key_file: String,
    pub trusted_ca_file: String,
    /// Revoked certificates.
    pub crl_file: String,
    pub client_cert_auth: bool,
    /// Of which the other end's certificate must have one.
    pub allowed_cns: Vec<String>,
    pub allowed_hostnames: Vec<String>,
    /// Whether the address that a certificate comes from need not be in it.
    pub skip_client_san_verification: bool,
    /// Names as Go has them, each known to Go; empty allows all that are built in.
    pub cipher_suites: Vec<String>,
    pub version_min: Version,
    pub version_max: Version,
    /// The certificate is one that the member made for itself: nobody can vouch for it, and nobody has to.
    pub is_self_signed: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            cert_file: String::new(),
            key_file: String::new(),
            client_cert_file: String::new(),
            client_key_file: String::new(),
            trusted_ca_file: String::new(),
            crl_file: String::new(),
            client_cert_auth: false,
            allowed_cns: Vec::new(),
            allowed_hostnames: Vec::new(),
            skip_client_san_verification: false,
            cipher_suites: Vec::new(),
            version_min: Version::Tls12,
            version_max: Version::Tls13,
            is_self_signed: false,
        }
    }
}

impl Settings {
    /// Whether a certificate was named, or half of one.
    pub fn has_certificate(&self) -> bool {
        !self.cert_file.is_empty() || !self.key_file.is_empty()
    }

    /// Whether a client has to show a certificate: an authority to check it by is enough for that.
    pub fn asks_for_certificates(&self) -> bool {
        self.client_cert_auth || !self.trusted_ca_file.is_empty()
    }

    /// Errors: what does not go together, in etcd's words. No file is read.
    pub fn check(&self) -> Result<(), String> {
        let Settings { cert_file, key_file, client_cert_file, client_key_file, .. } = self;
        if cert_file.is_empty() || key_file.is_empty() {
            return Err(format!(
                "KeyFile and CertFile must both be present[key: {key_file}, cert: {cert_file}]"
            ));
        }
        if client_cert_file.is_empty() != client_key_file.is_empty() {
            return Err(format!(
                "ClientKeyFile and ClientCertFile must both be present or both absent: \
                 key: {client_key_file}, cert: {client_cert_file}]"
            ));
        }
        if !self.allowed_cns.is_empty() && !self.allowed_hostnames.is_empty() {
            return Err(format!(
                "AllowedCNs and AllowedHostnames are mutually exclusive (cns={}, hostnames={})",
                quoted(&self.allowed_cns),
                quoted(&self.allowed_hostnames)
            ));
        }
        Ok(())
    }

    /// Certificate and key for connections that we make.
    pub fn client_files(&self) -> (&str, &str) {
        match self.client_cert_file.is_empty() {
            true => (&self.cert_file, &self.key_file),
            false => (&self.client_cert_file, &self.client_key_file),
        }
    }
}

/// As etcd logs it.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { cert_file, key_file, client_cert_file, client_key_file, .. } = self;
        write!(
            f,
            "cert = {cert_file}, key = {key_file}, client-cert={client_cert_file}, client-key={client_key_file}, \
             trusted-ca = {}, client-cert-auth = {}, crl-file = {}",
            self.trusted_ca_file, self.client_cert_auth, self.crl_file
        )
    }
}

/// A list as Go prints it.
pub(crate) fn quoted(texts: &[String]) -> String {
    let each: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", each.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_and_contradictions_are_named() {
        let half = Settings { key_file: "k".into(), ..Settings::default() };
        let text = "KeyFile and CertFile must both be present[key: k, cert: ]";
        assert_eq!(half.check(), Err(text.to_owned()));
        let whole = Settings { cert_file: "c".into(), ..half };
        assert_eq!(whole.check(), Ok(()));
        let client_half = Settings { client_key_file: "ck".into(), ..whole.clone() };
        let text = "ClientKeyFile and ClientCertFile must both be present or both absent: key: ck, cert: ]";
        assert_eq!(client_half.check(), Err(text.to_owned()));
        let both = Settings { allowed_cns: vec!["a".into()], allowed_hostnames: vec!["b".into()], ..whole };
        let text = "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\"], hostnames=[\"b\"])";
        assert_eq!(both.check(), Err(text.to_owned()));
    }

    #[test]
    fn an_authority_alone_asks_for_certificates() {
        let settings = Settings { trusted_ca_file: "ca".into(), ..Settings::default() };
        assert!(settings.asks_for_certificates() && !settings.has_certificate());
        assert!(!Settings::default().asks_for_certificates());
    }
}
