//! The sockets of a member: bound early, so that a taken port is known before anything is touched; served
//! once the member is known to the cluster.
//!
//! Connections are shared out over a few single-threaded runtimes that all accept from the same socket: a
//! call is answered on the thread its connection lives on, a third cheaper than on a runtime that steals
//! (performance notes, section 3). The socket is shared, not `SO_REUSEPORT`: with that, a second server
//! would get the same port instead of a refusal.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use bytes::Bytes;
use holdfast_net::listen::{Incoming, Options, PlainHttp, Response, Security, serve, whole_body};
use holdfast_net::tls::Acceptor;
use http::{HeaderName, HeaderValue, header};
use http_body::Body;
use tokio::sync::{oneshot, watch};
use tower_service::Service;

use crate::config::Url;
use crate::config::url::Scheme;
use crate::http::{Answer, Endpoints, Surface};
use crate::http_peer::{Asker, PeerEndpoints};

/// Why a port cannot be had, in Go's words.
#[derive(Debug, thiserror::Error)]
#[error("listen tcp {address}: {what}: {why}")]
pub struct PortRefusal {
    address: String,
    what: &'static str,
    why: String,
}

/// A bound socket that nobody is served on yet.
#[derive(Debug)]
pub struct Port {
    pub address: SocketAddr,
    /// Whether connections come without and with TLS.
    pub is_plain: bool,
    pub is_secure: bool,
    listener: TcpListener,
}

impl Port {
    /// Errors: the address is taken, or not ours.
    pub fn bind(url: &Url) -> Result<Port, PortRefusal> {
        let host = match url.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(host)) => format!("[{host}]:{}", url.port),
            _ => format!("{}:{}", url.host, url.port),
        };
        let refusal = |what, error: io::Error| {
            let why = match error.kind() {
                // Scripts look for Go's words.
                io::ErrorKind::AddrInUse => "address already in use".to_owned(),
                _ => error.to_string(),
            };
            PortRefusal { address: host.clone(), what, why }
        };
        let addresses: Vec<SocketAddr> =
            host.to_socket_addrs().map_err(|error| refusal("lookup", error))?.collect();
        // Go listens on one address of a name, IPv4 preferred.
        let preferred = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        let no_host = || refusal("lookup", io::Error::other("no such host"));
        let listener =
            TcpListener::bind(preferred.ok_or_else(no_host)?).map_err(|error| refusal("bind", error))?;
        listener.set_nonblocking(true).map_err(|error| refusal("set", error))?;
        let address = listener.local_addr().map_err(|error| refusal("name", error))?;
        let is_secure = matches!(url.scheme, Scheme::Https | Scheme::Unixs);
        Ok(Port { address, is_plain: !is_secure, is_secure, listener })
    }

    /// Binds all; URLs that differ by their scheme alone share a port, which serves both.
    pub fn bind_all(urls: &[Url]) -> Result<Vec<Port>, PortRefusal> {
        let mut ports: Vec<(&Url, Port)> = Vec::new();
        for url in urls {
            let is_same = |other: &Url| (&other.host, other.port) == (&url.host, url.port) && url.port > 0;
            match ports.iter_mut().find(|(other, _)| is_same(other)) {
                Some((_, port)) => (port.is_plain, port.is_secure) = (true, true),
                None => ports.push((url, Port::bind(url)?)),
            }
        }
        Ok(ports.into_iter().map(|(_, port)| port).collect())
    }

    /// The socket itself.
    pub fn into_listener(self, acceptor: Option<&Arc<Acceptor>>) -> (TcpListener, Security) {
        let security = self.security(acceptor);
        (self.listener, security)
    }

    /// `acceptor`: what takes connections below TLS on ports of this kind.
    fn security(&self, acceptor: Option<&Arc<Acceptor>>) -> Security {
        if !self.is_secure {
            return Security::Plain;
        }
        let acceptor = acceptor.expect("ports of TLS are refused without a certificate");
        let of = if self.is_plain { Security::Both } else { Security::Tls };
        of(Arc::clone(acceptor))
    }

    /// The same socket once more.
    fn share(&self, acceptor: Option<&Arc<Acceptor>>) -> io::Result<(TcpListener, Security)> {
        Ok((self.listener.try_clone()?, self.security(acceptor)))
    }
}

/// What ports of one kind are served with.
#[derive(Clone, Debug)]
pub struct Terms {
    pub options: Options,
    /// `None`: none of them is one of TLS.
    pub acceptor: Option<Arc<Acceptor>>,
    pub threads: usize,
}

/// Serves `ports` on `Terms::threads` threads until `closed` is true, and then until calls in flight are over.
/// Each receiver resolves when its thread has ended.
/// Errors: the system has no thread or file descriptor to give.
pub fn serve_all<S, B>(
    ports: &[Port],
    edge: &S,
    terms: &Terms,
    closed: &watch::Receiver<bool>,
) -> io::Result<Vec<oneshot::Receiver<()>>>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut ends = Vec::new();
    let Terms { options, acceptor, threads } = terms;
    let (options, acceptor) = (*options, acceptor.as_ref());
    for number in 0..*threads {
        let listeners: Vec<(TcpListener, Security)> =
            ports.iter().map(|port| port.share(acceptor)).collect::<io::Result<_>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (edge, closed) = (edge.clone(), closed.clone());
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name(format!("grpc-{number}")).spawn(move || {
            runtime.block_on(async {
                let mut serving = tokio::task::JoinSet::new();
                for (listener, security) in listeners {
                    let listener =
                        tokio::net::TcpListener::from_std(listener).expect("bound and non-blocking");
                    let closing = until_true(closed.clone());
                    serving.spawn(serve(listener, security, edge.clone(), options, closing));
                }
                while serving.join_next().await.is_some() {}
            });
            // Nobody waits when the process ends in a hurry.
            end.send(()).ok();
        })?;
        ends.push(ended);
    }
    Ok(ends)
}

async fn until_true(mut closed: watch::Receiver<bool>) {
    // A sender that is gone closes as well.
    closed.wait_for(|closed| *closed).await.ok();
}

/// Threads for connections on this machine: half the processors, since core, log and clients need the rest.
pub fn thread_count() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, 8)
}

/// The plain HTTP side of a port.
pub fn plain_http(endpoints: Endpoints, surface: Surface) -> PlainHttp {
    let endpoints = Arc::new(endpoints);
    Arc::new(move |request| {
        let endpoints = Arc::clone(&endpoints);
        Box::pin(async move {
            let (method, uri) = (request.method().as_str(), request.uri());
            let query = uri.query().unwrap_or_default();
            response(endpoints.answer(surface, method, uri.path(), query).await)
        })
    })
}

/// The plain HTTP side of a peer port.
pub fn plain_peer_http(endpoints: PeerEndpoints) -> PlainHttp {
    let endpoints = Arc::new(endpoints);
    Arc::new(move |request| {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let asker = Asker {
            member: header("x-server-from").unwrap_or_default(),
            version: header("x-server-version").unwrap_or_default(),
        };
        let answer = endpoints.answer(request.method().as_str(), request.uri().path(), asker);
        Box::pin(ready(response(answer)))
    })
}

fn response(answer: Answer) -> Response {
    let mut response = http::Response::new(whole_body(answer.body));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).expect("our own codes are valid");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if answer.allow_get {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    if answer.nosniff {
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    for (name, value) in answer.headers {
        let value = HeaderValue::from_str(&value).expect("our own values are valid");
        headers.insert(HeaderName::from_static(name), value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_port_is_refused_in_gos_words() {
        let first = Port::bind(&Url::parse("http://127.0.0.1:0").expect("a URL")).expect("any port");
        let url = format!("http://127.0.0.1:{}", first.address.port());
        let refusal = Port::bind(&Url::parse(&url).expect("a URL")).expect_err("it is taken");
        let expected = format!("listen tcp {}: bind: address already in use", first.address);
        assert_eq!(refusal.to_string(), expected);
    }

    #[test]
    fn host_name_is_looked_up_ipv4_first() {
        let port = Port::bind(&Url::parse("http://localhost:0").expect("a URL")).expect("any port");
        assert!(port.address.is_ipv4(), "{}", port.address);
    }
}
