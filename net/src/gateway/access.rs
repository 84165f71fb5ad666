//! Who may ask over plain HTTP: host names that are known, origins that browsers may call from.
//!
//! Source: etcd 3.7.1 server/embed/serve.go (accessController), server/etcdserver/server_access_control.go.

use std::collections::BTreeSet;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST, HeaderMap,
    HeaderValue, ORIGIN,
};

/// `--cors` and `--host-whitelist`; an empty set and one with `*` allow all.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub origins: BTreeSet<String>,
    pub hosts: BTreeSet<String>,
}

impl Access {
    /// Errors: the text for a host that is not known, whose pages may be those of somebody else (CVE-2018-5702).
    pub fn check_host<B>(&self, request: &http::Request<B>) -> Result<(), String> {
        let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let authority = request.uri().authority().map(|authority| authority.as_str());
        let host = host_name(header.or(authority).unwrap_or_default());
        if allows(&self.hosts, host) {
            return Ok(());
        }
        tracing::warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
        Err(unknown_host(host))
    }

    /// The headers that let a browser's page read an answer.
    pub fn cors_headers(&self, request: &HeaderMap) -> Option<[(http::HeaderName, HeaderValue); 3]> {
        let asked = request.get(ORIGIN);
        let origin = match allows(&self.origins, "*") {
            true => HeaderValue::from_static("*"),
            false => asked.filter(|origin| origin.to_str().is_ok_and(|o| allows(&self.origins, o)))?.clone(),
        };
        Some([
            (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE")),
            (ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("accept, content-type, authorization")),
        ])
    }
}

fn allows(set: &BTreeSet<String>, what: &str) -> bool {
    set.is_empty() || set.contains("*") || set.contains(what)
}

/// The host without its port; an IPv6 address without its brackets, as Go splits them.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if port.starts_with(':') => address,
        Some(_) => host,
        None => match host.split_once(':') {
            Some((name, port)) if !port.contains(':') => name,
            _ => host,
        },
    }
}

fn unknown_host(host: &str) -> String {
    format!(
        "holdfast does not answer plain HTTP for the host name {host:?}: another site may have pointed it here \
         (DNS rebinding, CVE-2018-5702).\nUse TLS, or add the name to --host-whitelist."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(origins: &[&str], hosts: &[&str]) -> Access {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Access { origins: set(origins), hosts: set(hosts) }
    }

    #[test]
    fn hosts_are_compared_without_their_port() {
        let request = |host: &str| http::Request::builder().header(HOST, host).body(()).expect("a request");
        let some = access(&[], &["localhost", "::1", "db.example"]);
        for host in ["localhost", "localhost:2379", "[::1]:2379", "db.example:80"] {
            some.check_host(&request(host)).unwrap_or_else(|text| panic!("{host}: {text}"));
        }
        let text = some.check_host(&request("evil.example:2379")).expect_err("it is not listed");
        assert!(text.contains("\"evil.example\"") && text.contains("--host-whitelist"), "{text}");
        for any in [access(&[], &["*"]), access(&[], &[])] {
            any.check_host(&request("evil.example")).expect("all are allowed");
        }
    }

    #[test]
    fn an_origin_that_is_listed_gets_itself_back() {
        let headers =
            |origin: &'static str| HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))]);
        let allowed =
            |access: &Access, origin| access.cors_headers(&headers(origin)).map(|all| all[1].1.clone());
        assert_eq!(allowed(&access(&["*"], &[]), "http://a").expect("all"), "*");
        let one = access(&["http://a"], &[]);
        assert_eq!(allowed(&one, "http://a").expect("it is listed"), "http://a");
        assert_eq!(allowed(&one, "http://b"), None);
        assert_eq!(one.cors_headers(&HeaderMap::new()), None);
    }
}
