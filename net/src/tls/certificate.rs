//! Names in a certificate, which rustls does not show.

use std::net::IpAddr;

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

use super::rustls::pki_types::{CertificateDer, ServerName};
use super::rustls::server::ParsedCertificate;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Whose certificate it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The common name, empty where there is none.
    pub common_name: String,
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<IpAddr>,
}

impl Names {
    /// `None`: they cannot be read, so that nothing may be concluded from what is not in them.
    /// Of several common names the last counts, as in Go.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Names> {
        let parsed = Certificate::from_der(certificate).ok()?;
        let tbs = parsed.tbs_certificate();
        let mut names = Names::default();
        for attribute in tbs.subject().iter().filter(|attribute| attribute.oid == COMMON_NAME) {
            names.common_name = DirectoryString::try_from(&attribute.value).ok()?.value().into_owned();
        }
        let alternatives = tbs.get_extension::<SubjectAltName>().ok()?;
        for name in alternatives.into_iter().flat_map(|(_, SubjectAltName(names))| names) {
            match name {
                GeneralName::DnsName(name) => names.dns_names.push(name.to_string()),
                GeneralName::IpAddress(bytes) => names.ip_addresses.push(address(bytes.as_bytes())?),
                _ => {}
            }
        }
        Some(names)
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Whether a certificate is made out to a host, as a client would ask of a server's.
pub fn is_made_out_to(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let Ok(name) = ServerName::try_from(host) else { return false };
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
    super::rustls::client::verify_server_name(&parsed, &name).is_ok()
}
