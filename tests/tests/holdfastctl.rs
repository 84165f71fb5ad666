//! `holdfastctl` prints what etcdctl prints and exits as etcdctl exits, command by command, format by format.
//!
//! `golden/ctl/*.txt` hold what the real etcdctl 3.7.1 did against a real etcd 3.7.1; `UPDATE=1` records it
//! anew, if both can be had.

#![cfg(not(madsim))]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::etcd::{etcdctl, real_etcd};
use holdfast_tests::process::{Program, Server, built};
use holdfast_tests::typed::{self, Shell};

/// What holdfast itself refuses so far, and sizes that it does not share.
const NOT_SERVED: &[&str] = &["backup", "downgrade", "sizes"];

/// Ids are made of these, and so are the same with each server and in each run.
const FLAGS: &[&str] = &[
    "--initial-advertise-peer-urls",
    "http://127.0.0.1:1",
    "--initial-cluster",
    "default=http://127.0.0.1:1",
];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/ctl")
}

/// Runs each file on a new server; gives what came out, beside the file.
fn run_all(program: &Path, server: &Program, skipped: &[&str]) -> Vec<(PathBuf, String, String)> {
    let mut all = Vec::new();
    for (name, path) in typed::files(&golden()) {
        if skipped.contains(&name.as_str()) {
            eprintln!("SKIPPED: {name}.txt, which {} does not serve yet", server.name());
            continue;
        }
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let running = Server::start(server.clone(), scratch.path(), FLAGS);
        // Messages name the program by what it is called.
        let called = scratch.path().join("etcdctl");
        std::os::unix::fs::symlink(program, &called).expect("scratch is writable");
        let shell = Shell { program: called, port: running.client_port, scratch: scratch.path().to_owned() };
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let found = typed::run(&shell, &text);
        all.push((path, text, found));
    }
    assert!(!all.is_empty(), "no files in {}", golden().display());
    all
}

fn check(runs: Vec<(PathBuf, String, String)>) {
    let mut failures = Vec::new();
    for (path, expected, found) in runs {
        if let Some(difference) = typed::difference(&expected, &found) {
            failures.push(format!("{}:\n{difference}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn it_prints_what_etcdctl_printed() {
    check(run_all(&built("holdfastctl"), &Program::holdfast(), NOT_SERVED));
}

#[test]
fn it_prints_the_same_of_a_real_etcd() {
    match real_etcd() {
        Ok(etcd) => check(run_all(&built("holdfastctl"), &etcd, &[])),
        Err(why) => {
            eprintln!("SKIPPED: holdfastctl is not run against a real etcd, for there is none: {why}")
        }
    }
}

#[test]
fn what_was_recorded_is_what_etcdctl_prints() {
    let (etcdctl, etcd) = match (etcdctl(), real_etcd()) {
        (Ok(etcdctl), Ok(etcd)) => (etcdctl, etcd),
        (Err(why), _) | (_, Err(why)) => {
            eprintln!("SKIPPED: the recorded output is not compared with the real etcdctl: {why}");
            return;
        }
    };
    let runs = run_all(&etcdctl, &etcd, &[]);
    if std::env::var_os("UPDATE").is_some() {
        for (path, _, found) in runs {
            std::fs::write(&path, found).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        return;
    }
    check(runs);
}

fn holdfastctl(endpoints: &str, words: &[&str]) -> Command {
    let mut command = Command::new(built("holdfastctl"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCDCTL")) {
        command.env_remove(name);
    }
    command.args(["--endpoints", endpoints]).args(words).stdin(Stdio::null());
    command
}

fn told(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_watch_goes_on_where_a_killed_server_left_it() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut server = Server::start(Program::holdfast(), scratch.path(), &[]);
    let endpoint = server.endpoint();
    let put = |value: &str| {
        let output = holdfastctl(&endpoint, &["put", "k", value]).output().expect("it can be started");
        assert_eq!(told(&output).0, "OK\n", "{}", told(&output).1);
    };
    put("one");
    let mut watch = holdfastctl(&endpoint, &["watch", "k", "--rev=2"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("it can be started");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut event = || -> Vec<String> { lines.by_ref().take(3).map(|line| line.expect("text")).collect() };
    assert_eq!(event(), ["PUT", "k", "one"]);
    server.kill();
    server.spawn();
    server.wait_ready();
    put("two");
    put("three");
    assert_eq!(event(), ["PUT", "k", "two"]);
    assert_eq!(event(), ["PUT", "k", "three"]);
    watch.kill().expect("the process is ours");
    watch.wait().expect("the process is ours");
}

#[test]
fn endpoints_that_cannot_be_reached_are_named_in_time() {
    let dead = "127.0.0.1:9,unix:///nonexistent/socket";
    for (words, exit) in [(vec!["get", "k"], 1), (vec!["put", "k", "v"], 1), (vec!["lease", "list"], 2)] {
        let began = Instant::now();
        let output =
            holdfastctl(dead, &words).arg("--dial-timeout=300ms").output().expect("it can be started");
        let took = began.elapsed();
        assert!(took > Duration::from_millis(300) && took < Duration::from_secs(4), "{took:?}");
        let (_, stderr) = told(&output);
        assert_eq!(output.status.code(), Some(exit), "{stderr}");
        for part in [
            "\"endpoint\":\"127.0.0.1:9\",\"error\":\"dial tcp 127.0.0.1:9: connection refused\"",
            "\"endpoint\":\"unix:///nonexistent/socket\",\"error\":\"dial unix",
            "Error: context deadline exceeded\n",
        ] {
            assert!(stderr.contains(part), "no {part} in\n{stderr}");
        }
    }
}

#[test]
fn one_endpoint_that_serves_is_enough() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start(Program::holdfast(), scratch.path(), &[]);
    let endpoints = format!("127.0.0.1:9,{},unix://nonexistent", server.endpoint());
    for _ in 0..5 {
        let output = holdfastctl(&endpoints, &["put", "k", "v"]).output().expect("it can be started");
        assert_eq!(told(&output), ("OK\n".to_owned(), String::new()));
    }
}

#[test]
fn completion_scripts_source_cleanly() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = holdfastctl("127.0.0.1:9", &["completion", shell]).output().expect("it can be started");
        assert!(script.status.success() && script.stdout.len() > 1000, "{}", told(&script).1);
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("script");
        std::fs::write(&path, &script.stdout).expect("scratch is writable");
        match Command::new(shell).arg(check).arg(&path).output() {
            Ok(output) => assert!(output.status.success(), "{}", told(&output).1),
            Err(why) => eprintln!("SKIPPED: no {shell} to read its completion script with: {why}"),
        }
    }
}
