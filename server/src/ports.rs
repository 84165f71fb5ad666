//! The sockets of a member: bound early, so that a taken port is known before anything is touched; served
//! once the member is known to the cluster.
//!
//! Connections are shared out over a few single-threaded runtimes that all accept from the same socket: a
//! call is answered on the thread its connection lives on, a third cheaper than on a runtime that steals
//! (performance notes, section 3). The socket is shared, not `SO_REUSEPORT`: with that, a second server
//! would get the same port instead of a refusal.

use std::convert::Infallible;
use std::fs;
use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_net::listen::{Bound, Incoming, Options, PlainHttp, Response, Security, serve, whole_body};
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
#[error("listen {network} {address}: {what}: {why}")]
pub struct PortRefusal {
    network: &'static str,
    address: String,
    what: &'static str,
    why: String,
}

/// A bound socket that nobody is served on yet.
#[derive(Debug)]
pub struct Port {
    /// Address with the port that the system has picked, or path.
    pub address: String,
    /// Whether connections come without and with TLS.
    pub is_plain: bool,
    pub is_secure: bool,
    bound: Bound,
    _file: Option<SocketFile>,
}

/// Removed with its port.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Who has removed it has done our work.
        fs::remove_file(&self.0).ok();
    }
}

impl Port {
    /// Errors: the address is taken, or not ours.
    pub fn bind(url: &Url) -> Result<Port, PortRefusal> {
        if url.scheme.is_socket_file() {
            return Port::bind_file(url);
        }
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
            PortRefusal { network: "tcp", address: host.clone(), what, why }
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
        let (address, bound) = (address.to_string(), Bound::Tcp(listener));
        Ok(Port { address, is_plain: !is_secure, is_secure, bound, _file: None })
    }

    /// A socket that was left behind is removed, as etcd does; no other file is.
    /// Source: etcd 3.7.1 client/pkg/transport/unix_listener.go.
    fn bind_file(url: &Url) -> Result<Port, PortRefusal> {
        let path = PathBuf::from(&url.host);
        let is_socket = fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket());
        let removed = if is_socket { fs::remove_file(&path) } else { Ok(()) };
        let bound = removed.and_then(|()| UnixListener::bind(&path)).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Bound::Unix(listener))
        });
        let bound = bound.map_err(|error| {
            let why = crate::logs::io_text(&error);
            PortRefusal { network: "unix", address: url.host.clone(), what: "bind", why }
        })?;
        let is_secure = url.scheme == Scheme::Unixs;
        let (address, _file) = (url.host.clone(), Some(SocketFile(path)));
        Ok(Port { address, is_plain: !is_secure, is_secure, bound, _file })
    }

    /// Binds all; URLs that differ by their scheme alone share a port, which serves both.
    pub fn bind_all(urls: &[Url]) -> Result<Vec<Port>, PortRefusal> {
        let mut ports: Vec<(&Url, Port)> = Vec::new();
        for url in urls {
            let is_same = |other: &Url| {
                let is_file = url.scheme.is_socket_file();
                let is_one = is_file || url.port > 0;
                is_one
                    && is_file == other.scheme.is_socket_file()
                    && (&other.host, other.port) == (&url.host, url.port)
            };
            match ports.iter_mut().find(|(other, _)| is_same(other)) {
                Some((_, port)) => (port.is_plain, port.is_secure) = (true, true),
                None => ports.push((url, Port::bind(url)?)),
            }
        }
        Ok(ports.into_iter().map(|(_, port)| port).collect())
    }

    /// The socket itself.
    pub fn into_bound(self, acceptor: Option<&Arc<Acceptor>>) -> (Bound, Security) {
        let security = self.security(acceptor);
        (self.bound, security)
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
    fn share(&self, acceptor: Option<&Arc<Acceptor>>) -> io::Result<(Bound, Security)> {
        Ok((self.bound.try_clone()?, self.security(acceptor)))
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
        let listeners: Vec<(Bound, Security)> =
            ports.iter().map(|port| port.share(acceptor)).collect::<io::Result<_>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (edge, closed) = (edge.clone(), closed.clone());
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name(format!("grpc-{number}")).spawn(move || {
            runtime.block_on(async {
                let mut serving = tokio::task::JoinSet::new();
                for (bound, security) in listeners {
                    let listener = bound.open().expect("not blocking");
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

/// The plain HTTP side of a port of gRPC alone; grpc-go's answer.
pub fn no_plain_http() -> PlainHttp {
    Arc::new(|_| Box::pin(ready(response(Answer::error(415, "invalid gRPC request content-type")))))
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
        let url = format!("http://{}", first.address);
        let refusal = Port::bind(&Url::parse(&url).expect("a URL")).expect_err("it is taken");
        let expected = format!("listen tcp {}: bind: address already in use", first.address);
        assert_eq!(refusal.to_string(), expected);
    }

    #[test]
    fn socket_files_come_and_go_with_their_port() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let path = scratch.path().join("socket");
        let url = Url::parse(&format!("unix://{}", path.display())).expect("a URL");
        drop(UnixListener::bind(&path).expect("a writable directory"));
        let port = Port::bind(&url).expect("the socket that was left behind is removed");
        assert!(port.is_plain && path.exists());
        drop(port);
        assert!(!path.exists());
        fs::write(&path, "precious").expect("a writable directory");
        let refusal = Port::bind(&url).expect_err("it is no socket");
        assert_eq!(
            refusal.to_string(),
            format!("listen unix {}: bind: address already in use", path.display())
        );
        assert_eq!(fs::read(&path).expect("it is there"), b"precious");
    }

    #[test]
    fn host_name_is_looked_up_ipv4_first() {
        let port = Port::bind(&Url::parse("http://localhost:0").expect("a URL")).expect("any port");
        assert!(port.address.starts_with("127.0.0.1:"), "{}", port.address);
    }
}
