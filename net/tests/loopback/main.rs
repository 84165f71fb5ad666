//! The real transport over loopback, before a toy in the node's place.
#![cfg(not(madsim))]

mod auth;
mod calls;
mod edges;
mod peers;
mod streams;
mod toy;

use std::net::SocketAddr;
use std::sync::Arc;

use holdfast_net::backup::Snapshots;
use holdfast_net::gate::Gate;
use holdfast_net::listen::{Edge, Listener, Options, PlainHttp, Security, serve, whole_body};
use holdfast_net::proto::etcdserverpb as pb;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use toy::Seen;

/// A served toy.
struct Port {
    address: SocketAddr,
    gate: Gate,
    seen: Seen,
    toy: JoinHandle<()>,
    close: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Port {
    async fn open() -> Port {
        let (gate, inbox) = Gate::new(toy::identity());
        gate.set_leader_known(true);
        let (toy, seen) = toy::spawn(inbox);
        let plain: PlainHttp = Arc::new(|request| {
            let text = format!("plain {} {}", request.method(), request.uri().path());
            Box::pin(async move { http::Response::new(whole_body(text.into())) })
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (close, closed) = oneshot::channel();
        let edge = Edge::new(&gate, &Snapshots::new(std::env::temp_dir()), plain);
        let served =
            tokio::spawn(serve(Listener::Tcp(listener), Security::Plain, edge, Options::default(), async {
                closed.await.ok();
            }));
        Port { address, gate, seen, toy, close, served }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).expect("an address");
        endpoint.connect().await.expect("the port listens")
    }

    async fn kv(&self) -> pb::kv_client::KvClient<Channel> {
        pb::kv_client::KvClient::new(self.channel().await)
    }

    async fn watch(&self) -> pb::watch_client::WatchClient<Channel> {
        pb::watch_client::WatchClient::new(self.channel().await)
    }
}

fn put(key: &str, value: impl Into<bytes::Bytes>) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), value: value.into(), ..pb::PutRequest::default() }
}

fn get(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_owned().into(), ..pb::RangeRequest::default() }
}

/// Everything from `key` on.
fn get_from(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { range_end: vec![0].into(), ..get(key) }
}
