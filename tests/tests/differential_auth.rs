//! The same random calls of several users to a real etcd and to Holdfast, while who may what changes all the time: the
//! answers are the same, to the last letter of a refusal.
//!
//! Masked as in `differential.rs`, and tokens. `HOLDFAST_DIFFERENTIAL_SEEDS=7,8` runs other seeds,
//! `HOLDFAST_DIFFERENTIAL_REQUESTS=100000` more calls.

#![cfg(not(madsim))]

use std::path::Path;

use holdfast_tests::ask_auth::Callers;
use holdfast_tests::auth_script::{AuthScript, By, Call};
use holdfast_tests::client::Client;
use holdfast_tests::etcd::real_etcd;
use holdfast_tests::process::{Program, Server};
use holdfast_tests::script::{Request, numbers};

const SEEDS: &[u64] = &[1, 2];
/// Of each seed.
const CALLS: u64 = 3_000;
/// Differences of one seed that are shown: after the first, states may differ.
const SHOWN_MAX: usize = 3;

fn start(program: Program, parent: &Path) -> Server {
    let directory = parent.join(program.name());
    std::fs::create_dir(&directory).expect("scratch is writable");
    Server::start(program, &directory, &["--unsafe-no-fsync", "--bcrypt-cost=4"])
}

/// What was answered, by kind: a script that is refused everything compares little.
#[derive(Debug, Default)]
struct Counts {
    done: u64,
    denied: u64,
    refused: u64,
}

/// Runs one script on two new servers; gives the differences and what was compared.
async fn compare(etcd: Program, seed: u64, calls: u64) -> (Vec<String>, Counts) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let servers = [start(etcd, scratch.path()), start(Program::holdfast(), scratch.path())];
    let [mut theirs, mut ours] =
        servers.each_ref().map(|server| Callers::new(Client::new(&server.endpoint())));
    let (mut script, mut found, mut counts) = (AuthScript::new(seed), Vec::new(), Counts::default());
    for index in 0..calls {
        let (by, call): (By, Call) = script.draw();
        let (wanted, got) = tokio::join!(theirs.ask(&by, call.clone()), ours.ask(&by, call.clone()));
        script.keys.revision = script.keys.revision.max(wanted.revision);
        let is_refused = wanted.text.starts_with("refused");
        if let (Call::Keys(Request::Compact(compact)), false) = (&call, is_refused) {
            script.keys.compact_revision = compact.revision;
        }
        if let (By::User(user), true) = (&by, wanted.text.contains("invalid auth token")) {
            script.on_void_token(user);
        }
        match is_refused {
            false => counts.done += 1,
            true if wanted.text.contains("permission denied") => counts.denied += 1,
            true => counts.refused += 1,
        }
        assert!(!wanted.text.contains("transport error"), "etcd itself is gone\n{}", servers[0].log_tail());
        if wanted != got {
            let (etcd, ours) = (&wanted.text, &got.text);
            found.push(format!(
                "seed {seed} call {index} by {by:?}: {call:?}\n  etcd: {etcd}\n  ours: {ours}\n"
            ));
            if found.len() == SHOWN_MAX {
                break;
            }
        }
    }
    (found, counts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_are_those_of_etcd() {
    let etcd = match real_etcd() {
        Ok(etcd) => etcd,
        Err(why) => {
            eprintln!("SKIPPED: rights are not compared with a real etcd, for there is none: {why}");
            return;
        }
    };
    let seeds = numbers("HOLDFAST_DIFFERENTIAL_SEEDS").unwrap_or_else(|| SEEDS.to_vec());
    let calls = numbers("HOLDFAST_DIFFERENTIAL_REQUESTS").map_or(CALLS, |numbers| numbers[0]);
    let mut text = String::new();
    for seed in seeds {
        let (found, counts) = compare(etcd.clone(), seed, calls).await;
        println!("seed {seed}: {counts:?}");
        text.extend(found);
        assert!(
            calls < CALLS || !text.is_empty() || counts.done.min(counts.denied) > calls / 40,
            "{counts:?}"
        );
    }
    assert!(text.is_empty(), "answers differ:\n{text}");
}
