//! Taking connections: the handshake, what is checked behind it, and a line for each that is refused.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::certificate::Names;
use super::origin::check_origin;
use super::reload::Reloaded;
use super::rustls::ServerConfig;
use super::settings::{Settings, quoted};
use super::stream::{Remote, Socket};
use super::verify::cause;
use super::{config, rustls};

/// Source: etcd 3.7.1 client/pkg/transport/listener_tls.go (tlsHandshakeTimeout).
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// First byte of a handshake; no HTTP begins with it.
const HANDSHAKE: u8 = 0x16;

/// What who speaks plainly to a port of TLS is told; Go's words.
/// Source: Go net/http/server.go (conn.serve).
const NOT_PLAIN: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// How long the other end may take to hang up after that.
const HANG_UP_WITHIN: Duration = Duration::from_secs(1);

/// Whom a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Clients,
    /// As clients; a certificate must also come from an address that it names.
    Metrics,
    /// The same for members.
    Peers,
}

/// Takes connections of one kind of port.
#[derive(Debug)]
pub struct Acceptor {
    settings: Settings,
    door: Door,
    config: Reloaded<Arc<ServerConfig>>,
}

/// Why there is no connection.
struct Refused {
    server_name: String,
    /// Of a certificate that was good in itself.
    names: Option<Names>,
    why: String,
    /// It ended before it began, which looks at a port do: not worth a warning.
    is_end: bool,
    /// On which the other end has still to read why.
    socket: Option<Socket>,
}

impl Acceptor {
    /// Errors: settings that contradict each other, files that cannot be read or used.
    pub fn new(settings: Settings, door: Door) -> Result<Acceptor, String> {
        settings.check()?;
        let files = [&settings.cert_file, &settings.key_file, &settings.trusted_ca_file, &settings.crl_file];
        let config = Reloaded::new(&files.map(String::as_str));
        let acceptor = Acceptor { settings, door, config };
        acceptor.config()?;
        Ok(acceptor)
    }

    fn config(&self) -> Result<Arc<ServerConfig>, String> {
        self.config.current(|| config::server(&self.settings))
    }

    /// The common name that the other end's certificate proves, where it counts as the user's.
    /// Source: etcd 3.7.1 server/auth/store.go (AuthInfoFromTLS), etcdserver/v3_server.go (AuthInfoFromCtx): only
    /// with `--client-cert-auth`.
    pub fn user(&self, stream: &TlsStream<Socket>) -> Option<String> {
        if !self.settings.client_cert_auth {
            return None;
        }
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        shown.and_then(Names::of).map(|names| names.common_name)
    }

    /// Whether a new connection begins as TLS. Errors: it ended, or began with nothing for long.
    pub async fn is_tls(socket: &Socket) -> io::Result<bool> {
        match timeout(HANDSHAKE_WITHIN, socket.first()).await {
            Ok(Ok(None)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(first) => first.map(|first| first == Some(HANDSHAKE)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// A connection that may be served; one that is refused leaves a line in the log.
    pub async fn accept(&self, socket: Socket, remote: Remote) -> Option<TlsStream<Socket>> {
        let accepted = match timeout(HANDSHAKE_WITHIN, self.shake_hands(socket, remote)).await {
            Ok(accepted) => accepted,
            Err(_) => Err(Refused::new("", "tls: the handshake took too long".to_owned())),
        };
        match accepted {
            Ok(stream) => Some(stream),
            Err(refused) => {
                self.tell(remote, &refused);
                if let Some(socket) = refused.socket {
                    linger(socket).await;
                }
                None
            }
        }
    }

    async fn shake_hands(&self, socket: Socket, remote: Remote) -> Result<TlsStream<Socket>, Refused> {
        let is_tls = Acceptor::is_tls(&socket).await.map_err(|error| Refused::by("", &error))?;
        if !is_tls {
            let mut socket = socket;
            // Who has gone already need not be told.
            socket.write_all(NOT_PLAIN).await.ok();
            let why = "tls: first record does not look like a TLS handshake".to_owned();
            return Err(Refused { socket: Some(socket), ..Refused::new("", why) });
        }
        let mut hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket);
        let hello = match (&mut hello).await {
            Ok(hello) => hello,
            Err(error) => return Err(Refused { socket: hello.take_io(), ..Refused::by("", &error) }),
        };
        let server_name = hello.client_hello().server_name().unwrap_or_default().to_owned();
        let config = self.config().map_err(|why| Refused::new(&server_name, why))?;
        let shaken = hello.into_stream(config).into_fallible().await;
        let stream = shaken.map_err(|(error, socket)| Refused {
            socket: Some(socket),
            ..Refused::by(&server_name, &error)
        })?;
        match self.check_behind(&stream, remote).await {
            Ok(()) => Ok(stream),
            Err((names, why)) => Err(Refused {
                names: Some(names),
                socket: Some(stream.into_inner().0),
                ..Refused::new(&server_name, why)
            }),
        }
    }

    /// What etcd checks once the handshake is over.
    async fn check_behind(&self, stream: &TlsStream<Socket>, remote: Remote) -> Result<(), (Names, String)> {
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let Some(certificate) = shown else { return Ok(()) };
        let Some(ip) = remote.ip() else { return Ok(()) };
        if self.door == Door::Clients || self.settings.skip_client_san_verification {
            return Ok(());
        }
        let names = Names::of(certificate)
            .ok_or_else(|| (Names::default(), "tls: names in the certificate cannot be read".to_owned()))?;
        let checked = names.clone();
        let looked_up = tokio::task::spawn_blocking(move || check_origin(&checked, ip)).await;
        match looked_up {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err((names, why)),
            Err(error) => Err((names, error.to_string())),
        }
    }

    /// Source: etcd 3.7.1 server/embed/config_logging.go (logTLSHandshakeFailureFunc).
    fn tell(&self, remote: Remote, refused: &Refused) {
        let Refused { server_name, names, why, is_end, .. } = refused;
        let remote = remote.to_string();
        let message = match self.door {
            Door::Peers => "rejected connection on peer endpoint",
            Door::Clients | Door::Metrics => "rejected connection on client endpoint",
        };
        match names {
            _ if *is_end => {
                debug!("remote-addr" = remote, "server-name" = server_name, error = why, "{message}");
            }
            None => warn!("remote-addr" = remote, "server-name" = server_name, error = why, "{message}"),
            Some(Names { dns_names, ip_addresses, .. }) => {
                let ips: Vec<String> = ip_addresses.iter().map(ToString::to_string).collect();
                warn!(
                    "remote-addr" = remote,
                    "server-name" = server_name,
                    "ip-addresses" = quoted(&ips),
                    "dns-names" = quoted(dns_names),
                    error = why,
                    "{message}"
                );
            }
        }
    }
}

impl Refused {
    fn new(server_name: &str, why: String) -> Refused {
        Refused { server_name: server_name.to_owned(), names: None, why, is_end: false, socket: None }
    }

    fn by(server_name: &str, error: &io::Error) -> Refused {
        let is_end = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        let why = if is_end { "EOF".to_owned() } else { format!("tls: {}", cause(error)) };
        Refused { is_end, ..Refused::new(server_name, why) }
    }
}

/// Ends a connection, and gives the other end a moment to read the last word: closing a socket with unread bytes
/// resets it, and what was said is lost.
async fn linger(mut socket: Socket) {
    let read = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    };
    // However it ends, nobody waits for it.
    timeout(HANG_UP_WITHIN, read).await.ok();
}
