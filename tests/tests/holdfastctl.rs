//! `holdfastctl` prints what etcdctl prints and exits as etcdctl exits, command by command, format by format.
//!
//! `golden/ctl/*.txt` hold what the real etcdctl 3.7.1 did against a real etcd 3.7.1; `UPDATE=1` records it
//! anew, if both can be had.

#![cfg(not(madsim))]

use std::path::{Path, PathBuf};

use holdfast_tests::etcd::{etcdctl, real_etcd};
use holdfast_tests::process::{Program, Server, built};
use holdfast_tests::typed::{self, Shell};

/// What holdfast itself refuses so far.
const NOT_SERVED: &[&str] = &["auth", "backup", "members"];

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
