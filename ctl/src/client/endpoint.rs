//! Where a server listens, as users write it.
//!
//! Source: etcd 3.7.1 client/v3/internal/endpoint/endpoint.go (translateEndpoint).

use std::path::PathBuf;

/// How to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `host:port`.
    Tcp(String),
    Unix(PathBuf),
}

/// What an endpoint says of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// `http`.
    Plain,
    /// No scheme, `unix`: TLS if certificates are given.
    AsConfigured,
    /// `https`, `unixs`.
    Tls,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As written.
    pub text: String,
    pub address: Address,
    pub security: Security,
    /// What the server's certificate must be made out to.
    pub server_name: String,
}

impl Endpoint {
    pub fn parse(text: &str) -> Endpoint {
        let endpoint = |address, security, server_name: &str| Endpoint {
            text: text.to_owned(),
            address,
            security,
            server_name: server_name.to_owned(),
        };
        for (scheme, security) in [("unix:", Security::AsConfigured), ("unixs:", Security::Tls)] {
            let Some(path) = text.strip_prefix(scheme) else { continue };
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            let name = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
            return endpoint(Address::Unix(path), security, host(&name));
        }
        for (scheme, security) in [("http://", Security::Plain), ("https://", Security::Tls)] {
            let Some(rest) = text.strip_prefix(scheme) else { continue };
            let authority = rest.split(['/', '?', '#']).next().expect("a split has a first part");
            let authority = authority.rsplit('@').next().expect("a split has a first part");
            return endpoint(Address::Tcp(authority.to_owned()), security, host(authority));
        }
        endpoint(Address::Tcp(text.to_owned()), Security::AsConfigured, host(text))
    }
}

/// Without the port, and without the brackets of IPv6.
fn host(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().expect("a split has a first part");
    }
    match authority.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_etcd_reads_them() {
        for (text, address, security, name) in [
            ("127.0.0.1:2379", Address::Tcp("127.0.0.1:2379".into()), Security::AsConfigured, "127.0.0.1"),
            ("http://a.b:1", Address::Tcp("a.b:1".into()), Security::Plain, "a.b"),
            ("https://[::1]:1/x", Address::Tcp("[::1]:1".into()), Security::Tls, "::1"),
            ("unix:///tmp/a:1", Address::Unix("/tmp/a:1".into()), Security::AsConfigured, "a"),
            ("unix://a.sock", Address::Unix("a.sock".into()), Security::AsConfigured, "a.sock"),
            ("unixs:localhost:0", Address::Unix("localhost:0".into()), Security::Tls, "localhost"),
        ] {
            let text = text.to_owned();
            let wanted = Endpoint { text: text.clone(), address, security, server_name: name.to_owned() };
            assert_eq!(Endpoint::parse(&text), wanted);
        }
    }
}
