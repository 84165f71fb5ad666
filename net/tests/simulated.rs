//! The services over the simulated transport, before the same toy as over the real one.
#![cfg(madsim)]

#[path = "loopback/toy.rs"]
mod toy;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use holdfast_net::gate::Gate;
use holdfast_net::listen::listen_madsim;
use holdfast_net::proto::etcdserverpb as pb;
use madsim::runtime::Handle;
use tokio::sync::oneshot;
use tonic::Code;

const ADDRESS: &str = "10.0.0.1:2379";

/// Serves a toy on a node of its own; the gate is the test's way to tell it things.
async fn open() -> Gate {
    let (tell, told) = oneshot::channel();
    let address: SocketAddr = ADDRESS.parse().expect("an address");
    let node = Handle::current().create_node().name("toy").ip(address.ip()).build();
    node.spawn(async move {
        let (gate, inbox) = Gate::new(toy::identity());
        gate.set_leader_known(true);
        let (_toy, _seen) = toy::spawn(inbox);
        tell.send(gate.clone()).expect("the test waits");
        listen_madsim(address, gate).await.expect("a free address");
    });
    let gate = told.await.expect("the node starts");
    madsim::time::sleep(Duration::from_secs(1)).await;
    gate
}

fn put(key: &'static str) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: "v".into(), ..pb::PutRequest::default() }
}

#[madsim::test]
async fn calls_and_watches_are_served() {
    let gate = open().await;
    let client = Handle::current().create_node().name("client").ip([10, 0, 0, 2].into()).build();
    let test = client.spawn(async move {
        let url = format!("http://{ADDRESS}");
        let mut kv = pb::kv_client::KvClient::connect(url.clone()).await.expect("connect");
        let answer = kv.put(put("a")).await.expect("put").into_inner();
        assert_eq!(answer.header.expect("header").revision, 2);

        let mut watch = pb::watch_client::WatchClient::connect(url).await.expect("connect");
        let create = pb::WatchCreateRequest { key: "a".into(), ..pb::WatchCreateRequest::default() };
        let union = pb::watch_request::RequestUnion::CreateRequest(create);
        let requests =
            stream::iter([pb::WatchRequest { request_union: Some(union) }]).chain(stream::pending());
        let mut answers = watch.watch(requests).await.expect("watch").into_inner();
        assert!(answers.message().await.expect("open").expect("a response").created);
        kv.put(put("b")).await.expect("put");
        let response = answers.message().await.expect("open").expect("a response");
        assert_eq!(&response.events[0].kv.key[..], b"b");
        gate.close();
        assert_eq!(answers.message().await.expect_err("closed").code(), Code::Unavailable);
    });
    test.await.expect("the client's test");
}
