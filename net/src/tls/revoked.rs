//! Certificates that were taken back.
//!
//! Source: etcd 3.7.1 client/pkg/transport/listener_tls.go (checkCRL): serial numbers alone are compared, and the
//! list's own signature and dates are not looked at: whoever can write the file is trusted.

use std::collections::BTreeSet;

use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use super::files;
use super::rustls::pki_types::pem::PemObject;
use super::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

/// Serial numbers without leading zeros.
#[derive(Clone, Debug, Default)]
pub struct Revoked(BTreeSet<Vec<u8>>);

impl Revoked {
    /// One list as etcd takes it, in DER, or any number of them in PEM.
    /// Errors: the file cannot be read or is none, in one line.
    pub fn read(path: &str) -> Result<Revoked, String> {
        let bytes = files::read(path)?;
        let lists: Result<Vec<CertificateRevocationListDer<'_>>, _> =
            CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        let mut lists = lists.map_err(|error| format!("{path}: {error}"))?;
        if lists.is_empty() {
            lists.push(CertificateRevocationListDer::from(&bytes[..]));
        }
        let mut revoked = Revoked::default();
        for list in &lists {
            let list: CertificateList =
                CertificateList::from_der(list).map_err(|error| format!("{path}: not a CRL: {error}"))?;
            let entries = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
            revoked.0.extend(entries.iter().map(|entry| plain(entry.serial_number.as_bytes())));
        }
        Ok(revoked)
    }

    /// Errors: it is revoked, in etcd's words, or cannot be read.
    pub fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), String> {
        let parsed = Certificate::from_der(certificate)
            .map_err(|error| format!("a certificate cannot be read: {error}"))?;
        let serial = plain(parsed.tbs_certificate().serial_number().as_bytes());
        if !self.0.contains(&serial) {
            return Ok(());
        }
        let hex: String = serial.iter().map(|byte| format!("{byte:02x}")).collect();
        Err(format!("transport: certificate serial {hex} revoked"))
    }
}

fn plain(serial: &[u8]) -> Vec<u8> {
    let start = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    serial[start..].to_vec()
}
