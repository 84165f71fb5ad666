//! Users that are known by signed tokens.

#![cfg(not(madsim))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use holdfast_tests::cluster::Cluster;
use holdfast_tests::etcd::real_etcd;
use holdfast_tests::http;
use holdfast_tests::process::{Program, Server, built};

fn ask(server: &Server, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(built("holdfastctl"));
    command.arg(format!("--endpoints={}", server.endpoint())).args(words).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().expect("the tool was built");
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// The same users and roles on each server, so that auth has the same revision everywhere.
fn set_up(server: &Server) {
    for line in [
        "user add root:pw",
        "user grant-role root root",
        "user add ann:secret",
        "role add r",
        "role grant-permission r readwrite a b",
        "user grant-role ann r",
        "auth enable",
    ] {
        let (ok, said) = ask(server, &line.split(' ').collect::<Vec<_>>());
        assert!(ok, "{line}: {said}");
    }
}

/// `--auth-token` with a secret that lies in a file.
fn flag(scratch: &Path) -> String {
    let secret: PathBuf = scratch.join("secret");
    std::fs::write(&secret, "one that both servers know").expect("scratch is ours");
    format!("--auth-token=jwt,priv-key={},sign-method=HS256,ttl=10m", secret.display())
}

/// What a login gives.
async fn log_in(server: &Server, name: &str, password: &str) -> String {
    let body = format!("{{\"name\": \"{name}\", \"password\": \"{password}\"}}");
    let answer =
        http::send(server.client_port, "POST", "/v3/auth/authenticate", &[], &body).await.text().await;
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    answer["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn with_token(server: &Server, token: &str, words: &[&str]) -> (bool, String) {
    ask(server, &[&["--auth-jwt-token", token], words].concat())
}

#[tokio::test]
async fn a_token_of_one_member_is_good_on_every_other_and_ends_with_a_change() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let cluster = Cluster::start(Program::holdfast(), 3, &[&flag(scratch.path()), "--bcrypt-cost=4"]);
    let [first, second, third] = &cluster.members[..] else { panic!("three were asked for") };
    set_up(first);
    let token = log_in(first, "ann", "secret").await;
    assert_eq!(token.split('.').count(), 3, "{token}");
    for member in [first, second, third] {
        assert_eq!(with_token(member, &token, &["put", "a", "1"]), (true, "OK\n".to_owned()));
        let (ok, said) = with_token(member, &token, &["put", "c", "1"]);
        assert!(!ok && said.contains("permission denied"), "{said}");
        let (ok, said) = with_token(member, &format!("{token}x"), &["put", "a", "1"]);
        assert!(!ok && said.contains("invalid auth token"), "{said}");
    }
    // With a password, a client logs in by itself; after a change, too.
    assert!(ask(second, &["--user=root:pw", "user", "add", "bob:pw"]).0);
    let (ok, said) = with_token(third, &token, &["put", "a", "1"]);
    assert!(!ok && said.contains("old"), "{said}");
    assert!(ask(third, &["--user=ann:secret", "get", "a"]).0);
}

#[tokio::test]
async fn tokens_are_those_of_a_real_etcd() {
    let etcd = match real_etcd() {
        Ok(etcd) => etcd,
        Err(why) => return println!("SKIPPED tokens_are_those_of_a_real_etcd: {why}"),
    };
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let flag = flag(scratch.path());
    let [ours, theirs] = [(Program::holdfast(), "ours"), (etcd, "theirs")].map(|(program, name)| {
        let directory = scratch.path().join(name);
        std::fs::create_dir(&directory).expect("scratch is ours");
        let server = Server::start(program, &directory, &[&flag, "--bcrypt-cost=4"]);
        set_up(&server);
        server
    });
    for (maker, taker) in [(&ours, &theirs), (&theirs, &ours)] {
        let token = log_in(maker, "ann", "secret").await;
        assert_eq!(with_token(taker, &token, &["put", "a", "1"]), (true, "OK\n".to_owned()));
    }
}

#[test]
fn keys_that_are_of_no_use_end_the_server_with_a_line() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    for (token, text) in [
        ("jwt", "auth: invalid auth options"),
        ("jwt,sign-method=HS256", "auth: missing key data"),
        ("jwt,sign-method=RS256,pub-key=/none", "open /none: no such file or directory"),
        ("nothing", "auth: invalid auth options"),
    ] {
        let mut server = Server::new(Program::holdfast(), &scratch.path().join("data"), "default");
        server.set_flags(&["--auth-token", token]);
        server.spawn();
        assert_eq!(server.wait_end().code(), Some(1), "{token}");
        assert!(server.log().contains(text), "{token}: {}", server.log_tail());
        assert!(!scratch.path().join("data").exists(), "{token}: nothing is made before");
    }
}
