//! Ports of other kinds than one of TCP for everything: socket files, plain HTTP apart, few streams.

#![cfg(not(madsim))]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};

use futures_util::{FutureExt, stream};
use holdfast_net::proto::etcdserverpb as pb;
use holdfast_tests::client::Client;
use holdfast_tests::etcd::etcdctl;
use holdfast_tests::process::{Program, Server, built, http_get};
use pb::watch_request::RequestUnion;

fn run(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD")) {
        command.env_remove(name);
    }
    command.args(arguments).output().expect("it can be started")
}

#[test]
fn clients_come_by_socket_files_plainly_and_below_tls() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let (plain, secure) = (scratch.path().join("plain.sock"), scratch.path().join("secure.sock"));
    let (plain_url, secure_url) =
        (format!("unix://{}", plain.display()), format!("unixs://{}", secure.display()));
    let mut server = Server::new(Program::holdfast(), &scratch.path().join("data"), "one");
    let urls = format!("{},{plain_url},{secure_url}", server.endpoint());
    server.bootstrap(&["--initial-cluster", &format!("one={}", server.peer_url())]);
    server.set_flags(&["--auto-tls", "--listen-client-urls", &urls, "--advertise-client-urls", &urls]);
    server.spawn();
    server.wait_ready();
    let mut clients = vec![built("holdfastctl")];
    match etcdctl() {
        Ok(real) => clients.push(real),
        Err(why) => eprintln!("SKIPPED: etcdctl over socket files ({why})"),
    }
    for client in &clients {
        for (url, more) in [(&plain_url, ""), (&secure_url, "--insecure-skip-tls-verify")] {
            let more = [more].into_iter().filter(|flag| !flag.is_empty());
            let arguments: Vec<&str> =
                ["--endpoints", url, "put", "k", "v"].into_iter().chain(more).collect();
            let output = run(client, &arguments);
            assert_eq!(output.stdout, b"OK\n", "{url}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let mut health = UnixStream::connect(&plain).expect("it listens");
    health.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it listens");
    let mut answer = String::new();
    health.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("{\"health\":\"true\",\"reason\":\"\"}"), "{answer}");
    // What a killed server leaves behind is in nobody's way; what ends in order leaves nothing.
    server.kill();
    assert!(plain.exists());
    server.spawn();
    server.wait_ready();
    assert_eq!(run(&clients[0], &["--endpoints", &plain_url, "put", "k", "v"]).stdout, b"OK\n");
    server.terminate();
    assert!(!plain.exists() && !secure.exists());
}

#[tokio::test]
async fn plain_http_may_have_ports_of_its_own() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let socket = scratch.path().join("http.sock");
    let url = format!("unix://{}", socket.display());
    let mut server = Server::new(Program::holdfast(), &scratch.path().join("data"), "one");
    server.bootstrap(&["--initial-cluster", &format!("one={}", server.peer_url())]);
    let metrics = Server::new(Program::holdfast(), scratch.path(), "a port").client_port;
    let urls = format!("http://127.0.0.1:{metrics},{url}");
    server.set_flags(&["--listen-client-http-urls", &urls]);
    server.spawn();
    let mut client = Client::new(&server.endpoint());
    holdfast_tests::cluster::until("it serves", async || client.put("k", "v").await.is_ok()).await;
    for path in ["/health", "/version", "/metrics"] {
        holdfast_tests::cluster::until("it serves", async || http_get(metrics, path).is_some()).await;
        assert_eq!(http_get(server.client_port, path), None, "{path} on a port of gRPC");
    }
    let range = holdfast_tests::http::send(metrics, "POST", "/v3/kv/range", &[], r#"{"key":"aw=="}"#).await;
    assert_eq!(range.status, 200, "the gateway is where HTTP is");
    let refused = Client::new(&format!("http://127.0.0.1:{metrics}")).put("k", "v").await;
    assert!(refused.is_err(), "gRPC on a port of HTTP");
    let log = server.log();
    assert!(log.contains(r#""traffic":"grpc","#) && log.contains(r#""traffic":"http","#), "{log}");
}

#[tokio::test]
async fn a_connection_has_no_more_streams_than_it_may() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start(Program::holdfast(), scratch.path(), &["--max-concurrent-streams", "1"]);
    let mut client = Client::new(&server.endpoint());
    let create = pb::WatchCreateRequest { key: "k".into(), ..Default::default() };
    let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let (ask, mut asked) = tokio::sync::mpsc::channel(1);
    ask.send(create).await.expect("it has room for one");
    let requests = stream::poll_fn(move |cx| asked.poll_recv(cx));
    let mut watch = client.watch.watch(requests).await.expect("the first stream").into_inner();
    assert!(watch.message().await.expect("served").expect("an answer").created);
    let mut second = client.clone();
    let mut put = Box::pin(second.put("mine", "v"));
    let mut others = Client::new(&server.endpoint());
    for _ in 0..50 {
        others.put("other", "v").await.expect("another connection has a stream of its own");
        assert!((&mut put).now_or_never().is_none(), "a second stream on a connection of one");
    }
    drop((ask, watch));
    put.await.expect("there is room now");
}
