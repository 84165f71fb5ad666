//! The way to a peer URL: TCP, below TLS where the URL says so; the simulated network under madsim.

use tonic::transport::Channel;

#[cfg(not(madsim))]
pub use real::Way;
#[cfg(madsim)]
pub use simulated::Way;

use super::dial::reason;

#[cfg(not(madsim))]
mod real {
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use http::Uri;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpStream;
    use tonic::codegen::Service;
    use tonic::transport::Endpoint;

    use super::{Channel, reason};
    use crate::tls::{Connector, Socket, Stream};

    /// How a member reaches others; clones share it.
    #[derive(Clone, Debug, Default)]
    pub struct Way {
        /// `None`: only plain URLs are reached.
        tls: Option<Arc<Connector>>,
    }

    impl Way {
        pub fn secure(connector: Connector) -> Way {
            Way { tls: Some(Arc::new(connector)) }
        }

        /// A channel to `url`. Its host name is looked up anew. Errors: why there is none, for a log line.
        pub async fn channel(&self, url: &str) -> Result<Channel, String> {
            // tonic asks of an https URL that its own TLS be built in; ours is below it.
            let (address, _) = split(url);
            let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| reason(&e))?;
            let dialer = Dialer { way: self.clone(), url: url.to_owned() };
            endpoint.connect_with_connector(dialer).await.map_err(|error| reason(&error))
        }

        /// A connection to `url` for one question over HTTP/1.1.
        pub(crate) async fn connect_plainly(&self, url: &str) -> io::Result<Stream> {
            self.connect(url, &[]).await
        }

        /// `protocols`: what is to be spoken above TLS, as its handshake names it.
        async fn connect(&self, url: &str, protocols: &[&[u8]]) -> io::Result<Stream> {
            let (address, is_tls) = split(url);
            let connector = match (is_tls, &self.tls) {
                (true, None) => return Err(io::Error::other("TLS is not set up")),
                (true, connector) => connector.as_ref(),
                (false, _) => None,
            };
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let socket = Socket::Tcp(socket);
            let Some(connector) = connector else { return Ok(Stream::Plain(socket)) };
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let stream = connector.connect(host, protocols, socket).await?;
            Ok(Stream::Tls(Box::new(stream.into())))
        }
    }

    /// Address of a URL, and whether it is one of TLS.
    fn split(url: &str) -> (&str, bool) {
        match url.strip_prefix("https://") {
            Some(address) => (address, true),
            None => (url.strip_prefix("http://").unwrap_or(url), false),
        }
    }

    /// Connects to one URL, whatever it is asked for.
    struct Dialer {
        way: Way,
        url: String,
    }

    impl Service<Uri> for Dialer {
        type Response = TokioIo<Stream>;
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _uri: Uri) -> Self::Future {
            let (way, url) = (self.way.clone(), self.url.clone());
            Box::pin(async move { way.connect(&url, &[b"h2"]).await.map(TokioIo::new) })
        }
    }
}

#[cfg(madsim)]
mod simulated {
    use tonic::transport::Endpoint;

    use super::{Channel, reason};

    /// How a member reaches others.
    #[derive(Clone, Debug, Default)]
    pub struct Way {}

    impl Way {
        /// A channel to `url`. Errors: why there is none, for a log line.
        pub async fn channel(&self, url: &str) -> Result<Channel, String> {
            let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| reason(&error))?;
            endpoint.connect().await.map_err(|error| reason(&error))
        }
    }
}
