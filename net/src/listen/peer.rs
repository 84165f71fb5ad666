//! The peer port: members over gRPC, operators and etcd's tools over plain HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::codegen::Service;

use super::edge::{PlainHttp, Response, is_grpc, split_path};
use super::listener::Listener;
use super::socket::{Options, Security, serve};
use crate::peer::{PeerService, RECEIVE_BYTES_MAX, Way};
use crate::proto::holdfast::peer_server::PeerServer;

/// Header of every plain answer of a peer port of ours, by which it is told from etcd's.
pub const PROTOCOL_HEADER: &str = "x-holdfast-peer-protocol";

/// How long a server may take to say what it is, and how much of its answer is read.
const PROBE_WITHIN: Duration = Duration::from_secs(1);
const PROBE_BYTES_MAX: u64 = 16 << 10;

/// Serves peer ports until `closed` is true.
pub async fn serve_peers(
    listeners: Vec<(Listener, Security)>,
    service: PeerService,
    plain: PlainHttp,
    closed: watch::Receiver<bool>,
) {
    let server = PeerServer::new(service).max_decoding_message_size(RECEIVE_BYTES_MAX);
    let edge = PeerEdge { server, plain };
    let options = Options {
        keepalive_interval: Duration::from_secs(10),
        keepalive_timeout: Duration::from_secs(5),
        grace: Duration::ZERO,
        ..Options::default()
    };
    let mut serving = JoinSet::new();
    for (listener, security) in listeners {
        let mut closed = closed.clone();
        let closing = async move {
            // A sender that is gone closes as well.
            closed.wait_for(|closed| *closed).await.ok();
        };
        serving.spawn(serve(listener, security, edge.clone(), options, closing));
    }
    while serving.join_next().await.is_some() {}
}

#[derive(Clone)]
struct PeerEdge {
    server: PeerServer<PeerService>,
    plain: PlainHttp,
}

impl PeerEdge {
    async fn answer(mut self, request: http::Request<Incoming>) -> Result<Response, Infallible> {
        if !is_grpc(&request) {
            return Ok((self.plain)(request.map(drop)).await);
        }
        let uri = request.uri().clone();
        match split_path(uri.path()) {
            Ok(("holdfast.Peer", _)) => self.server.call(request).await,
            // Clients are not served here, as in etcd since 3.6.
            Ok((service, _)) => Ok(Status::unimplemented(format!("unknown service {service}")).into_http()),
            Err(status) => Ok(status.into_http()),
        }
    }
}

impl Service<http::Request<Incoming>> for PeerEdge {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

/// Whether a server that does not talk to us is a real etcd, by what it says of its version.
pub async fn is_real_etcd(way: &Way, url: &str) -> bool {
    let asked = tokio::time::timeout(PROBE_WITHIN, ask_version(way, url)).await;
    asked.is_ok_and(|answer| answer.is_ok_and(|answer| says_etcd(&answer)))
}

async fn ask_version(way: &Way, url: &str) -> std::io::Result<String> {
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    let mut stream = way.connect_plainly(url).await?;
    let question = format!("GET /version HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(PROBE_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn says_etcd(answer: &str) -> bool {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    body.contains("\"etcdserver\"") && !head.to_ascii_lowercase().contains(PROTOCOL_HEADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_etcd_is_told_by_its_answer() {
        let body = r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
        let etcd = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
        assert!(says_etcd(&etcd));
        let ours = format!("HTTP/1.1 200 OK\r\nX-Holdfast-Peer-Protocol: 1\r\n\r\n{body}");
        assert!(!says_etcd(&ours));
        assert!(!says_etcd("HTTP/1.1 404 Not Found\r\n\r\n"));
        assert!(!says_etcd(""));
    }
}
