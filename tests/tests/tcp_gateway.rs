//! `holdfast gateway start`: connections go through to whichever server can be reached.

#![cfg(not(madsim))]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::cluster::Cluster;
use holdfast_tests::dns;
use holdfast_tests::process::{Program, Server, built};

/// How long anything may take that is to happen; test machines are slow and shared.
const WITHIN: Duration = Duration::from_secs(60);

/// A gateway process; it ends with this.
struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Gateway {
    fn start(flags: &[&str], name_server: Option<&Path>) -> Gateway {
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a free port");
        let mut command = Command::new(built("holdfast"));
        command.args(["gateway", "start", "--listen-addr", &address.to_string()]).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(path) = name_server {
            command.env("HOLDFAST_RESOLV_CONF", path);
        }
        let child = command.spawn().expect("the program was built");
        let gateway = Gateway { child, address };
        let began = Instant::now();
        while TcpStream::connect(gateway.address).is_err() {
            assert!(began.elapsed() < WITHIN, "the gateway does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        gateway
    }

    fn ctl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(built("holdfastctl"));
        command.arg(format!("--endpoints={}", self.address)).args(words).stdin(Stdio::null());
        command
    }

    /// What a client is told; it tries again for as long as the gateway has not found out who is gone.
    fn ask(&self, words: &[&str]) -> String {
        let began = Instant::now();
        loop {
            let Output { status, stdout, stderr } = self.ctl(words).output().expect("the tool was built");
            if status.success() {
                return String::from_utf8_lossy(&stdout).into_owned();
            }
            assert!(began.elapsed() < WITHIN, "{words:?}: {}", String::from_utf8_lossy(&stderr));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn clients_go_on_when_a_server_dies_and_when_it_is_back() {
    let mut cluster = Cluster::start(Program::holdfast(), 3, &[]);
    let endpoints = cluster.endpoints().join(",");
    let gateway = Gateway::start(&["--endpoints", &endpoints, "--retry-delay=200ms"], None);
    assert_eq!(gateway.ask(&["put", "a", "1"]), "OK\n");
    for place in 0..3 {
        cluster.members[place].kill();
        // Each client is a connection of its own: they take turns, so that some would have gone to the dead one.
        for n in 0..4 {
            assert_eq!(gateway.ask(&["put", "a", &n.to_string()]), "OK\n");
        }
        assert_eq!(gateway.ask(&["get", "a", "--print-value-only"]), "3\n");
        cluster.members[place].spawn();
        cluster.members[place].wait_ready();
    }
}

#[test]
fn a_watch_goes_through() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start(Program::holdfast(), scratch.path(), &[]);
    let gateway = Gateway::start(&["--endpoints", &server.endpoint()], None);
    let mut watch =
        gateway.ctl(&["watch", "k", "--rev=1"]).stdout(Stdio::piped()).spawn().expect("the tool was built");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let next = |lines: &mut std::io::Lines<BufReader<ChildStdout>>| {
        (0..3).map(|_| lines.next().expect("an event").expect("text")).collect::<Vec<_>>()
    };
    for value in ["1", "2"] {
        gateway.ask(&["put", "k", value]);
        assert_eq!(next(&mut lines), ["PUT", "k", value]);
    }
    watch.kill().expect("it is ours");
    watch.wait().expect("it is ours");
}

#[test]
fn endpoints_are_found_by_their_srv_records() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start(Program::holdfast(), scratch.path(), &[]);
    let names = dns::serve(vec![("_etcd-client-blue._tcp.example.test".to_owned(), server.client_port)]);
    let resolv_conf = scratch.path().join("resolv.conf");
    std::fs::write(&resolv_conf, format!("nameserver {names}\n")).expect("scratch is ours");
    let srv = ["--discovery-srv=example.test", "--discovery-srv-name=blue", "--insecure-discovery"];
    let gateway = Gateway::start(&srv, Some(&resolv_conf));
    assert_eq!(gateway.ask(&["put", "a", "1"]), "OK\n");
}

#[test]
fn what_cannot_work_is_said_and_ends_with_1() {
    let cases: [(&[&str], &str); 5] = [
        (&["start", "--endpoints=nohost"], "error parsing endpoint \"nohost\""),
        (&["start", "--listen-addr=nowhere"], "failed to validate listen address: nowhere"),
        (
            &["start", "--listen-addr=127.0.0.1:2379"],
            "SRV or endpoint (127.0.0.1:2379->127.0.0.1:2379) should not resolve to the gateway listen addr (127.0.0.1:2379)",
        ),
        (
            &["start", "--endpoints=no.such.host.invalid:1"],
            "failed to resolve endpoint host: no.such.host.invalid",
        ),
        (&["start", "--nosuch"], "unknown flag: --nosuch"),
    ];
    for (words, text) in cases {
        let mut command = Command::new(built("holdfast"));
        let Output { status, stdout, stderr } =
            command.arg("gateway").args(words).stdin(Stdio::null()).output().expect("the program was built");
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert_eq!(status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(text), "{words:?}: {said}");
    }
}
