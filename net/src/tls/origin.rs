//! Whether a member's certificate belongs to the address that it comes from.
//!
//! Source: etcd 3.7.1 client/pkg/transport/listener_tls.go (checkCertSAN, isHostInDNS).

use std::net::{IpAddr, ToSocketAddrs};

use super::certificate::Names;
use super::settings::quoted;

/// A certificate without names of hosts may come from everywhere. Names are looked up, so that this may wait.
/// Errors: in etcd's words.
pub fn check_origin(names: &Names, remote: IpAddr) -> Result<(), String> {
    let Names { dns_names, ip_addresses, .. } = names;
    if (dns_names.is_empty() && ip_addresses.is_empty()) || ip_addresses.contains(&remote) {
        return Ok(());
    }
    if dns_names.is_empty() {
        let listed: Vec<String> = ip_addresses.iter().map(IpAddr::to_string).collect();
        return Err(format!("x509: certificate is valid for {}, not {remote}", listed.join(", ")));
    }
    if is_among(dns_names, remote) {
        return Ok(());
    }
    Err(format!("tls: {:?} does not match any of DNSNames {}", remote.to_string(), quoted(dns_names)))
}

fn is_among(dns_names: &[String], remote: IpAddr) -> bool {
    let plain = dns_names.iter().filter(|name| !name.starts_with("*."));
    for name in plain {
        let found = (name.as_str(), 0).to_socket_addrs();
        if found.is_ok_and(|mut found| found.any(|address| address.ip() == remote)) {
            return true;
        }
    }
    let Ok(called) = dns_lookup::lookup_addr(&remote) else { return false };
    let called = called.trim_end_matches('.');
    dns_names.iter().any(|name| match name.strip_prefix('*') {
        Some(domain) => called.ends_with(domain),
        None => called == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_comes_from_where_its_certificate_says() {
        let names = |dns: &[&str], ips: &[&str]| Names {
            common_name: String::new(),
            dns_names: dns.iter().map(|name| (*name).to_owned()).collect(),
            ip_addresses: ips.iter().map(|ip| ip.parse().expect("an address")).collect(),
        };
        let remote = "127.0.0.1".parse().expect("an address");
        assert_eq!(check_origin(&names(&[], &[]), remote), Ok(()));
        assert_eq!(check_origin(&names(&[], &["10.0.0.1", "127.0.0.1"]), remote), Ok(()));
        assert_eq!(check_origin(&names(&["localhost"], &["10.0.0.1"]), remote), Ok(()));
        let text = "x509: certificate is valid for 10.0.0.1, not 127.0.0.1";
        assert_eq!(check_origin(&names(&[], &["10.0.0.1"]), remote), Err(text.to_owned()));
        let text = "tls: \"127.0.0.1\" does not match any of DNSNames [\"*.invalid\"]";
        assert_eq!(check_origin(&names(&["*.invalid"], &[]), remote), Err(text.to_owned()));
    }
}
