//! Sockets below tonic's channel: TCP or Unix, plain or TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::endpoint::{Address, Endpoint, Security};
use super::tls;
use crate::go::system::error_text;

/// Anything that bytes go through.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to one endpoint, whatever address it is asked for.
#[derive(Clone)]
pub struct Connector {
    endpoint: Arc<Endpoint>,
    tls: Option<Arc<tls::Config>>,
}

impl Connector {
    /// TLS as the endpoint demands, else as the user has configured it.
    pub fn new(endpoint: Endpoint, configured: Option<Arc<tls::Config>>) -> Result<Connector, String> {
        let tls = match endpoint.security {
            Security::Plain => None,
            Security::AsConfigured => configured,
            Security::Tls => Some(match configured {
                Some(config) => config,
                None => Arc::new(tls::Config::system_roots()?),
            }),
        };
        Ok(Connector { endpoint: Arc::new(endpoint), tls })
    }

    /// A connection, or why there is none, with the address.
    pub async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let (stream, address): (Box<dyn Stream>, _) = match &self.endpoint.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(|e| dial("tcp", address, &e))?;
                stream.set_nodelay(true)?;
                (Box::new(stream), address.clone())
            }
            Address::Unix(path) => {
                let address = path.display().to_string();
                let stream = UnixStream::connect(path).await.map_err(|e| dial("unix", &address, &e))?;
                (Box::new(stream), address)
            }
        };
        let Some(tls) = &self.tls else { return Ok(stream) };
        let name = tls.server_name(&self.endpoint.server_name).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(&tls.rustls));
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|e| io::Error::new(e.kind(), format!("tls {address}: {e}")))?;
        Ok(Box::new(stream))
    }
}

fn dial(network: &str, address: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("dial {network} {address}: {}", error_text(error)))
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}
