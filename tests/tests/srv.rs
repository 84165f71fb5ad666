//! Members of a new cluster by the SRV records of a domain.

#![cfg(not(madsim))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use holdfast_tests::dns;
use holdfast_tests::process::{Program, Server, built};

fn members(scratch: &Path, count: usize) -> Vec<Server> {
    let name = |n: usize| format!("m{n}");
    (1..=count).map(|n| Server::new(Program::holdfast(), &scratch.join(name(n)), &name(n))).collect()
}

/// A list of name servers with one that knows where these members are.
fn resolv_conf(scratch: &Path, domain: &str, ports: &[u16]) -> PathBuf {
    let records = ports.iter().map(|port| (format!("_etcd-server._tcp.{domain}"), *port));
    let path = scratch.join("resolv.conf");
    std::fs::write(&path, format!("nameserver {}\n", dns::serve(records.collect())))
        .expect("scratch is ours");
    path
}

fn ctl(server: &Server, words: &[&str]) -> String {
    let mut command = Command::new(built("holdfastctl"));
    command.arg(format!("--endpoints={}", server.endpoint())).args(words).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().expect("the tool was built");
    assert!(status.success(), "{words:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).into_owned()
}

#[test]
fn three_members_find_each_other_by_dns_and_do_not_ask_again() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut members = members(scratch.path(), 3);
    let ports: Vec<u16> = members.iter().map(|member| member.peer_port).collect();
    let path = resolv_conf(scratch.path(), "example.test", &ports);
    for member in &mut members {
        member.bootstrap(&["--discovery-srv", "example.test", "--initial-cluster-token", "by-dns"]);
        member.set_variable("HOLDFAST_RESOLV_CONF", &path.to_string_lossy());
        member.spawn();
    }
    members.iter_mut().for_each(Server::wait_ready);
    assert_eq!(ctl(&members[0], &["put", "a", "1"]), "OK\n");
    let list = ctl(&members[0], &["member", "list"]);
    for n in 1..4 {
        assert!(list.contains(&format!(", started, m{n}, http://localhost:")), "{list}");
    }
    // A member that has lived knows its cluster: the records may be gone by then.
    std::fs::write(&path, "nameserver 127.0.0.1:9\n").expect("scratch is ours");
    members[1].kill();
    members[1].spawn();
    members[1].wait_ready();
    assert_eq!(ctl(&members[1], &["get", "a", "--print-value-only"]), "1\n");
}

#[test]
fn a_member_that_is_not_among_the_records_says_so() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = resolv_conf(scratch.path(), "example.test", &[9]);
    for (domain, text) in [
        ("example.test", "cannot find local etcd member \\\"m1\\\" in SRV records"),
        (
            "other.test",
            "error querying DNS SRV records for _etcd-server lookup _etcd-server._tcp.other.test: no such host",
        ),
    ] {
        let mut member = members(&scratch.path().join(domain), 1).remove(0);
        std::fs::create_dir_all(scratch.path().join(domain)).expect("scratch is ours");
        member.bootstrap(&["--discovery-srv", domain]);
        member.set_variable("HOLDFAST_RESOLV_CONF", &path.to_string_lossy());
        member.spawn();
        assert_eq!(member.wait_end().code(), Some(1));
        assert!(member.log().contains(text), "{}", member.log_tail());
    }
}
