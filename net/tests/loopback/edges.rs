//! The port itself: what it does not know, plain HTTP beside gRPC, how it closes.

use holdfast_net::proto::etcdserverpb as pb;
use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request, Status};

use crate::toy::Saw;
use crate::{Port, get, put};

/// Calls a method by its path.
async fn call(port: &Port, path: &'static str) -> Status {
    let mut client = tonic::client::Grpc::new(port.channel().await);
    client.ready().await.expect("connected");
    let codec = tonic_prost::ProstCodec::<pb::RangeRequest, pb::RangeResponse>::default();
    let path = PathAndQuery::from_static(path);
    client.unary(Request::new(get("a")), path, codec).await.expect_err("unknown")
}

#[tokio::test]
async fn unknown_names_are_told_as_grpc_go_does() {
    let port = Port::open().await;
    let cases = [
        ("/etcdserverpb.KV/Frobnicate", "unknown method Frobnicate for service etcdserverpb.KV"),
        ("/etcdserverpb.Nothing/Range", "unknown service etcdserverpb.Nothing"),
        ("/grpc.reflection.v1.ServerReflection/X", "unknown service grpc.reflection.v1.ServerReflection"),
        ("/nothing", "malformed method name: \"/nothing\""),
    ];
    for (path, text) in cases {
        let status = call(&port, path).await;
        assert_eq!((status.code(), status.message()), (Code::Unimplemented, text));
    }
}

#[tokio::test]
async fn plain_http_is_served_on_the_same_port() {
    let port = Port::open().await;
    port.kv().await.put(put("a", "1")).await.expect("put");
    let mut socket = TcpStream::connect(port.address).await.expect("connect");
    let request = b"GET /health?serializable=true HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    socket.write_all(request).await.expect("write");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("plain GET /health"), "{answer}");
}

#[tokio::test]
async fn closing_port_finishes_calls_in_flight() {
    let mut port = Port::open().await;
    let mut kv = port.kv().await;
    let call = tokio::spawn(async move { kv.put(put("hang", "")).await });
    assert!(matches!(port.seen.recv().await, Some(Saw::Hanging(_))));
    port.close.send(()).expect("served");
    // The port is closed as soon as nobody can connect any more.
    while TcpStream::connect(port.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!call.is_finished());
    port.toy.abort();
    let status = call.await.expect("no panic").expect_err("the toy is gone");
    assert_eq!(status.message(), "etcdserver: server stopped");
    port.served.await.expect("served to the end");
}
