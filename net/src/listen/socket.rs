//! Sockets: one task a connection, HTTP/1.1 and HTTP/2 on the same port, below TLS or not, an orderly end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::codegen::Service;

use super::listener::Listener;
use crate::tls::{Acceptor, Remote, Socket, Stream};

/// Receive window of one HTTP/2 stream, and of all streams of a connection.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Headers of one request; tokens are the large ones.
const HEADER_LIST_BYTES_MAX: u32 = 256 << 10;

/// Source: etcd 3.7.1 server/embed/etcd.go (ReadHeaderTimeout).
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(300);

/// Pause after a failed accept (usually: no file descriptor left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Settings of a client port, by the flags they come from.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `--max-concurrent-streams`.
    pub streams_max: u32,
    /// `--grpc-keepalive-interval`.
    pub keepalive_interval: Duration,
    /// `--grpc-keepalive-timeout`.
    pub keepalive_timeout: Duration,
    /// How long calls in flight may go on after the port was closed.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            streams_max: u32::MAX,
            keepalive_interval: Duration::from_secs(2 * 3600),
            keepalive_timeout: Duration::from_secs(20),
            grace: Duration::from_secs(5),
        }
    }
}

/// Whether a port is one of TLS.
#[derive(Clone, Debug)]
pub enum Security {
    Plain,
    Tls(Arc<Acceptor>),
    /// Each connection as its first byte says.
    Both(Arc<Acceptor>),
}

impl Security {
    /// `None`: refused, or gone.
    async fn open(self, socket: Socket, remote: Remote) -> Option<Opened> {
        let plain = |socket| Some(Opened { stream: Stream::Plain(socket), user: None });
        let acceptor = match self {
            Security::Plain => return plain(socket),
            Security::Both(acceptor) => match Acceptor::is_tls(&socket).await.ok()? {
                true => acceptor,
                false => return plain(socket),
            },
            Security::Tls(acceptor) => acceptor,
        };
        let stream = acceptor.accept(socket, remote).await?;
        let user = acceptor.user(&stream).map(|name| CertifiedUser(name.into()));
        Some(Opened { stream: Stream::Tls(Box::new(stream.into())), user })
    }
}

/// A connection that is served.
struct Opened {
    stream: Stream,
    user: Option<CertifiedUser>,
}

/// Who a connection's certificate says its requests are of; an extension of each of them.
#[derive(Clone, Debug)]
pub(super) struct CertifiedUser(pub(super) Arc<str>);

/// Serves a port until `closed`; then takes no connection and no call any more, lets those in flight
/// finish, and cuts what is left after `Options::grace`.
pub async fn serve<S, B>(
    listener: Listener,
    security: Security,
    edge: S,
    options: Options,
    closed: impl Future<Output = ()>,
) where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let builder = builder(&options);
    let draining = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    tokio::pin!(closed);
    loop {
        tokio::select! {
            biased;
            () = &mut closed => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, remote)) => {
                    let opening = security.clone().open(socket, remote);
                    let (edge, builder) = (edge.clone(), builder.clone());
                    connections.spawn(connection(opening, edge, builder, draining.subscribe()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    drop(listener);
    draining.send_replace(true);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if timeout(options.grace, all_gone).await.is_err() {
        connections.shutdown().await;
    }
}

fn builder(options: &Options) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_max)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        // No gRPC client reads it.
        .auto_date_header(false);
    builder
}

async fn connection<S, B>(
    opening: impl Future<Output = Option<Opened>>,
    edge: S,
    builder: Builder<TokioExecutor>,
    mut draining: watch::Receiver<bool>,
) where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let opened = tokio::select! {
        biased;
        _ = draining.wait_for(|draining| *draining) => return,
        opened = opening => opened,
    };
    let Some(Opened { stream, user }) = opened else { return };
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        if let Some(user) = &user {
            request.extensions_mut().insert(user.clone());
        }
        edge.clone().call(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        _ = draining.wait_for(|draining| *draining) => connection.as_mut().graceful_shutdown(),
        // How a connection ends is the client's affair.
        _ = connection.as_mut() => return,
    }
    connection.await.ok();
}
