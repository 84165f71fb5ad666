//! Certificates for tests, made on the spot.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};

static FIRST: AtomicU64 = AtomicU64::new(1);

/// Somebody who vouches for others.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// Serial number of the next certificate; authorities begin far from each other.
    next: AtomicU64,
}

/// Paths of a certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub serial: u64,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("its own key");
        let next = AtomicU64::new(FIRST.fetch_add(1 << 20, Ordering::Relaxed));
        Authority { issuer: Issuer::new(params, key), pem: pem("CERTIFICATE", certificate.der()), next }
    }

    /// Writes its certificate.
    pub fn write(&self, path: &Path) -> PathBuf {
        write(path, self.pem.as_bytes());
        path.to_path_buf()
    }

    /// Writes it and others into one bundle.
    pub fn write_with(&self, other: &Authority, path: &Path) {
        write(path, (self.pem.clone() + &other.pem).as_bytes());
    }

    /// Writes a certificate made out to `names`, hosts or addresses, with its key: `STEM.pem`, `STEM.key`.
    pub fn issue(&self, stem: &Path, common_name: &str, names: &[&str]) -> Pair {
        self.issue_until(stem, common_name, names, 2090)
    }

    /// The same, good until that year.
    pub fn issue_until(&self, stem: &Path, common_name: &str, names: &[&str], year: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("good names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a good issuer");
        let pair = Pair { cert: stem.with_extension("pem"), key: stem.with_extension("key"), serial };
        write(&pair.key, pem("PRIVATE KEY", &key.serialize_der()).as_bytes());
        write(&pair.cert, pem("CERTIFICATE", certificate.der()).as_bytes());
        pair
    }
}

impl Authority {
    /// Writes a list of what it takes back, as etcd reads it, or in text.
    pub fn revoke(&self, pairs: &[&Pair], path: &Path, is_text: bool) {
        let revoked = |pair: &&Pair| RevokedCertParams {
            serial_number: SerialNumber::from(pair.serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2021, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: pairs.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a good issuer");
        match is_text {
            true => write(path, pem("X509 CRL", list.der()).as_bytes()),
            false => write(path, list.der()),
        }
    }
}

/// Beside and renamed, as who rotates certificates does.
fn write(path: &Path, bytes: &[u8]) {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes).expect("scratch is writable");
    std::fs::rename(&partial, path).expect("scratch is writable");
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("letters")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
