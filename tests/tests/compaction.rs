//! History that nobody keeps: a server told to compacts it by itself.

#![cfg(not(madsim))]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::process::{Program, Server, built};

/// How long anything may take that is to happen; test machines are slow and shared.
const WITHIN: Duration = Duration::from_secs(60);

fn ask(ctl: &Path, server: &Server, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(ctl);
    command.arg(format!("--endpoints={}", server.endpoint())).args(words).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().expect("the tool was built");
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn history_older_than_the_retention_goes_and_younger_stays() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let ctl = built("holdfastctl");
    let server = Server::start(Program::holdfast(), scratch.path(), &["--auto-compaction-retention=2s"]);
    let began = Instant::now();
    let mut revision = 1;
    loop {
        assert!(ask(&ctl, &server, &["put", "k", "v"]).0);
        revision += 1;
        let (is_there, _) = ask(&ctl, &server, &["get", "k", "--rev=2"]);
        if !is_there {
            break;
        }
        assert!(began.elapsed() < WITHIN, "nothing was compacted:\n{}", server.log_tail());
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "compacted what was younger than the retention");
    // What was written a moment ago is there: it is younger than a tenth of the retention, if we were quick.
    let newest = format!("--rev={revision}");
    assert!(ask(&ctl, &server, &["get", "k", &newest]).0);
    assert!(server.log().contains("starting auto compaction"));
}
