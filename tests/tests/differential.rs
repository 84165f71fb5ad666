//! The same random requests to a real etcd and to Holdfast, side by side: the answers are the same, to the
//! last field and to the last letter of a refusal.
//!
//! Masked, since they name the cluster or the moment: cluster and member ids, raft terms, hashes, what is
//! left of a lease's time, the order of leases and of a lease's keys, and (of more than 12 keys) which keys a
//! sort by anything but the key puts where.
//!
//! `HOLDFAST_DIFFERENTIAL_SEEDS=7,8` runs other seeds, `HOLDFAST_DIFFERENTIAL_REQUESTS=100000` more requests.

#![cfg(not(madsim))]

use std::path::{Path, PathBuf};

use holdfast_tests::ask::{Answer, ask};
use holdfast_tests::client::Client;
use holdfast_tests::etcd::real_etcd;
use holdfast_tests::process::{Program, Server, http_get};
use holdfast_tests::script::{Request, Script, numbers};

const SEEDS: &[u64] = &[1, 2, 3, 4];
/// Of each seed.
const REQUESTS: u64 = 6_000;
/// Differences of one seed that are shown: after the first, states may differ.
const SHOWN_MAX: usize = 5;

/// The answer with the number behind each `field` left out.
fn without(field: &str, answer: &Answer) -> String {
    let mut parts = answer.text.split(field);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-'))
}

/// A difference that is meant.
struct Known {
    reason: &'static str,
    /// Minor version of the first etcd 3 that does not differ.
    until: u32,
    is: fn(&Request, &Answer, &Answer) -> bool,
}

/// Arguments: the request, etcd's answer, ours.
const KNOWN: &[Known] = &[
    Known {
        reason: "etcd keeps the hashes it took at its last ten compactions and answers HashKV of those revisions \
                 from there, under the compact revision before; ours are always taken under the current one, so \
                 that equal members answer alike, whatever they remember",
        until: u32::MAX,
        is: |request, etcd, ours| match request {
            Request::HashKv(hash) if hash.revision >= 0 && !is_refused(etcd) => {
                is_refused_as_compacted(ours) || same_header(etcd, ours)
            }
            _ => false,
        },
    },
    Known {
        reason: "HashKV of a negative revision is a hash of nothing in etcd, and of the current revision here",
        until: u32::MAX,
        is: |request, _, _| matches!(request, Request::HashKv(hash) if hash.revision < 0),
    },
    Known {
        reason: "with no order but a target that is not the key, etcd streams a range in pieces that are each \
                 sorted, go on after their last key, and so repeat and leave out keys; where pieces end, and so \
                 what is repeated and counted, hangs on their encoded size",
        until: u32::MAX,
        is: |request, etcd, ours| match request {
            Request::RangeStream(range) => {
                range.sort_order == 0 && range.sort_target != 0 && is_refused(etcd) == is_refused(ours)
            }
            _ => false,
        },
    },
    Known {
        reason: "etcd before 3.7 has no RangeStream",
        until: 7,
        is: |request, etcd, _| {
            matches!(request, Request::RangeStream(_)) && etcd.text.contains("unknown method RangeStream")
        },
    },
    Known {
        reason: "etcd before 3.7 shows leases in ranges of keys only (Q22)",
        until: 7,
        is: |_, etcd, ours| {
            let field = "lease: LeaseId(";
            etcd.revision == ours.revision && without(field, etcd) == without(field, ours)
        },
    },
    Known {
        reason: "of several errors in one txn, etcd before 3.7 may name another",
        until: 7,
        is: |request, etcd, ours| matches!(request, Request::Txn(_)) && is_refused(etcd) && is_refused(ours),
    },
    Known {
        reason: "etcd before 3.7 answers a progress request before events that a watch has yet to catch up with",
        until: 7,
        is: |request, etcd, _| matches!(request, Request::Watch(_)) && etcd.text.ends_with(", [])"),
    },
    Known {
        reason: "what is alike in what a range is sorted by comes in another order from etcd before 3.7",
        until: 7,
        is: |request, etcd, ours| {
            let text = format!("{request:?}");
            let by_another_field = text.split("sort_target: ").skip(1).any(|rest| !rest.starts_with("Key"));
            by_another_field && etcd.revision == ours.revision && !is_refused(etcd) && !is_refused(ours)
        },
    },
    Known {
        reason: "etcd before 3.6 refuses HashKV of the compact revision itself",
        until: 6,
        is: |request, etcd, _| matches!(request, Request::HashKv(_)) && is_refused_as_compacted(etcd),
    },
    Known {
        reason: "etcd before 3.6 does not name the revision that HashKV is of",
        until: 6,
        is: |request, etcd, ours| {
            let field = "hash_revision: ";
            matches!(request, Request::HashKv(_)) && without(field, etcd) == without(field, ours)
        },
    },
];

fn is_refused(answer: &Answer) -> bool {
    answer.text.starts_with("refused")
}

/// Two hashes (masked themselves) which say the same of the store's revision.
fn same_header(etcd: &Answer, ours: &Answer) -> bool {
    let header = |answer: &Answer| answer.text.split_once("hash: 0").map(|(header, _)| header.to_owned());
    header(etcd).is_some_and(|text| Some(text) == header(ours))
}

fn is_refused_as_compacted(answer: &Answer) -> bool {
    answer.text == "refused OutOfRange \"etcdserver: mvcc: required revision has been compacted\""
}

/// A window on an answer from a little before where it differs.
fn window(answer: &Answer, other: &Answer) -> String {
    let same = answer.text.bytes().zip(other.text.bytes()).take_while(|(a, b)| a == b).count();
    let window = &answer.text.as_bytes()[same.saturating_sub(300)..];
    String::from_utf8_lossy(&window[..window.len().min(900)]).into_owned()
}

/// One disagreement.
struct Difference {
    seed: u64,
    index: u64,
    request: Request,
    etcd: Answer,
    ours: Answer,
}

impl Difference {
    fn is_known(&self, etcd_minor: u32) -> bool {
        let mut known = KNOWN.iter().filter(|known| etcd_minor < known.until);
        known.any(|known| (known.is)(&self.request, &self.etcd, &self.ours))
    }
}

/// Memory if there is such a directory: the requests are what is tested, not the disk.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(parent).expect("a scratch directory")
}

fn start(program: Program, parent: &Path) -> Server {
    let directory: PathBuf = parent.join(program.name());
    std::fs::create_dir(&directory).expect("scratch is writable");
    Server::start(program, &directory, &["--unsafe-no-fsync"])
}

/// Whether a request ends the process of an etcd before 3.7: ranges with negative limits or unknown orders.
fn kills_old_etcd(request: &Request) -> bool {
    let text = format!("{request:?}");
    let numbers = |field: &str| -> Vec<bool> {
        let values = text.split(field).skip(1);
        values.map(|rest| rest.starts_with('-') || rest.starts_with(|c: char| c.is_ascii_digit())).collect()
    };
    // A number that has a name is shown by its name.
    text.contains("limit: -") || [numbers("sort_order: "), numbers("sort_target: ")].concat().contains(&true)
}

/// 7 of etcd 3.7.1.
fn minor_version(server: &Server) -> u32 {
    let page = http_get(server.client_port, "/version").expect("it serves");
    let rest = page.split_once("\"etcdserver\":\"3.").expect("an etcd 3").1;
    rest.split('.').next().and_then(|minor| minor.parse().ok()).expect("a version")
}

/// Runs one script on two new servers; gives the unknown differences and how many known ones there were.
async fn compare(etcd: Program, seed: u64, requests: u64) -> (Vec<Difference>, u64) {
    let scratch = scratch();
    let servers = [start(etcd, scratch.path()), start(Program::holdfast(), scratch.path())];
    let etcd_minor = minor_version(&servers[0]);
    let mut clients = servers.each_ref().map(|server| Client::new(&server.endpoint()));
    let (mut script, mut found, mut known) = (Script::new(seed), Vec::new(), 0);
    for index in 0..requests {
        let request = script.draw();
        if etcd_minor < 7 && kills_old_etcd(&request) {
            continue;
        }
        let [first, second] = &mut clients;
        let (etcd, ours) = tokio::join!(ask(first, request.clone()), ask(second, request.clone()));
        script.revision = script.revision.max(etcd.revision);
        if let (Request::Compact(compact), false) = (&request, etcd.text.starts_with("refused")) {
            script.compact_revision = compact.revision;
        }
        assert!(
            !etcd.text.contains("transport error"),
            "seed {seed}: etcd itself is gone after request {index} {request:?}\n{}",
            servers[0].log_tail()
        );
        if etcd == ours {
            continue;
        }
        let difference = Difference { seed, index, request, etcd, ours };
        if difference.is_known(etcd_minor) {
            known += 1;
            continue;
        }
        found.push(difference);
        if found.len() == SHOWN_MAX {
            break;
        }
    }
    (found, known)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_those_of_etcd() {
    let etcd = match real_etcd() {
        Ok(etcd) => etcd,
        Err(why) => {
            eprintln!("SKIPPED: answers are not compared with a real etcd, for there is none: {why}");
            return;
        }
    };
    let seeds = numbers("HOLDFAST_DIFFERENTIAL_SEEDS").unwrap_or_else(|| SEEDS.to_vec());
    let requests = numbers("HOLDFAST_DIFFERENTIAL_REQUESTS").map_or(REQUESTS, |numbers| numbers[0]);
    let runs: Vec<_> =
        seeds.into_iter().map(|seed| tokio::spawn(compare(etcd.clone(), seed, requests))).collect();
    let (mut text, mut known_count) = (String::new(), 0);
    for run in runs {
        let (found, known) = run.await.expect("a run does not panic");
        known_count += known;
        for Difference { seed, index, request, etcd, ours } in found {
            text += &format!(
                "seed {seed} request {index}: {request:?}\n  etcd: {}\n  ours: {}\n",
                window(&etcd, &ours),
                window(&ours, &etcd),
            );
        }
    }
    println!("{known_count} differences of {} known kinds:", KNOWN.len());
    KNOWN.iter().for_each(|known| println!("- {}", known.reason));
    assert!(text.is_empty(), "answers differ:\n{text}");
}
