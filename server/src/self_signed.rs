//! Certificates that a member makes for itself: `--auto-tls`, `--peer-auto-tls`.
//!
//! Made once and kept, as in etcd; what has run out is to be removed by hand. The key is of P-256 (etcd: P-521,
//! which the TLS library cannot sign with).
//! Source: etcd 3.7.1 client/pkg/transport/listener.go (SelfCert).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{Datelike, Duration, Utc};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use tracing::{info, warn};

const DAYS_A_YEAR: u64 = 365;

/// Paths of certificate and key in `directory`; both are made unless both are there.
/// Errors: in one line.
pub fn make(directory: &Path, hosts: &[String], years: u64) -> Result<(PathBuf, PathBuf), String> {
    let directory = std::path::absolute(directory).map_err(|error| error.to_string())?;
    let (cert_file, key_file) = (directory.join("cert.pem"), directory.join("key.pem"));
    if cert_file.is_file() && key_file.is_file() {
        return Ok((cert_file, key_file));
    }
    let failed = |why: String| format!("cannot generate cert: {why}");
    let world = |error: io::Error| failed(format!("{}: {error}", directory.display()));
    let (certificate, key) = generate(hosts, years).map_err(failed)?;
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(world)?;
    write(&key_file, "PRIVATE KEY", &key).map_err(world)?;
    write(&cert_file, "CERTIFICATE", &certificate).map_err(world)?;
    info!(path = %cert_file.display(), "created cert file");
    info!(path = %key_file.display(), "created key file");
    Ok((cert_file, key_file))
}

/// DER of certificate and key.
fn generate(hosts: &[String], years: u64) -> Result<(Vec<u8>, Vec<u8>), String> {
    let today = Utc::now().date_naive();
    let end = years.checked_mul(DAYS_A_YEAR).and_then(|days| i64::try_from(days).ok());
    let end = end.and_then(Duration::try_days).and_then(|days| today.checked_add_signed(days));
    // A certificate's years have four digits.
    let end = end.filter(|end| end.year() <= 9999).ok_or(format!("{years} years are too long"))?;
    warn!("certificate-validity-bound-not-after" = end.to_string(), "automatically generate certificates");
    let mut params = CertificateParams::new(hosts.to_vec()).map_err(|error| error.to_string())?;
    let date = |date: chrono::NaiveDate| date_time_ymd(date.year(), date.month() as u8, date.day() as u8);
    (params.not_before, params.not_after) = (date(today), date(end));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "holdfast");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    Ok((certificate.der().to_vec(), key.serialize_der()))
}

/// Beside and renamed: half a file would be there for good.
fn write(path: &Path, label: &str, der: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
    writeln!(file, "-----BEGIN {label}-----")?;
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        file.write_all(line)?;
        writeln!(file)?;
    }
    writeln!(file, "-----END {label}-----")?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn certificates_are_made_once_and_their_keys_are_private() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let directory = scratch.path().join("fixtures/client");
        let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let (cert_file, key_file) = make(&directory, &hosts, 1).expect("made");
        let made = fs::read(&cert_file).expect("it is there");
        assert_eq!(fs::metadata(&key_file).expect("it is there").permissions().mode() & 0o777, 0o600);
        let (cert_text, key_text) = (cert_file.to_string_lossy(), key_file.to_string_lossy());
        holdfast_net::tls::files::identity(&cert_text, &key_text).expect("readable");
        assert_eq!(make(&directory, &hosts, 1), Ok((cert_file.clone(), key_file)));
        assert_eq!(fs::read(&cert_file).expect("it is there"), made);
        let endless = make(&scratch.path().join("other"), &hosts, u64::MAX);
        assert_eq!(endless, Err(format!("cannot generate cert: {} years are too long", u64::MAX)));
    }
}
