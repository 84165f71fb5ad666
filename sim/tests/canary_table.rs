//! Every check has something that fires it: a name in the sources that is not in the table fails here.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_core::base::{Key, KeyValue, LeaseId, WatchId};
use holdfast_core::boundary::{Event, EventKind, StreamOp, WatchCreate, WatchResponse};
use holdfast_core::request::{
    Header, LeaseGrantRequest, PutRequest, PutResponse, RangeRequest, RangeResponse, Request, Response,
};
use holdfast_core::status::Status;
use holdfast_sim::blackbox::history::{Answer, Call, ClientHistory, Passed, Stream, Terms, Time};
use holdfast_sim::blackbox::{CHECKS, Verdict, check};
use holdfast_sim::plan::{Lie, Plan, Profile};
use holdfast_sim::replay;
use holdfast_sim::rng::derive;
use holdfast_sim::run::run_plan;
use holdfast_sim::world::World;

/// What fires a check.
enum Canary {
    /// A lie of the world (canary.rs), found as this check.
    Lie(Lie),
    /// A corrupted history in checkers.rs, refused by this check.
    Corruption,
    /// A test of this file.
    Here,
    /// A test beside the check: file and name.
    Unit(&'static str, &'static str),
    /// A script in scenarios.rs that does not go as it should.
    Script,
    /// Nothing, and why.
    Nothing(&'static str),
}

/// Checks outside of the black-box checker; its own are `CHECKS`, and fire below.
const TABLE: [(&str, Canary); 40] = [
    ("append", Canary::Lie(Lie::GarbledAppend)),
    ("assert", Canary::Nothing("any panic of the core")),
    ("auto_compaction", Canary::Lie(Lie::YoungCompaction)),
    ("busy", Canary::Lie(Lie::Sleepless)),
    ("codec", Canary::Lie(Lie::GarbledMail)),
    ("determinism", Canary::Nothing("compares two runs of one seed: needs a core that is not deterministic")),
    ("durability", Canary::Lie(Lie::EarlyAck)),
    ("election", Canary::Lie(Lie::GrantedVote)),
    ("expect", Canary::Script),
    ("halt", Canary::Lie(Lie::GivesUp)),
    ("handover", Canary::Corruption),
    ("hash_kv", Canary::Corruption),
    ("identity", Canary::Corruption),
    ("learner", Canary::Lie(Lie::LearnersRefusal)),
    ("lease_checkpoint", Canary::Corruption),
    ("lease_early", Canary::Corruption),
    ("lease_late", Canary::Corruption),
    ("lease_remaining", Canary::Here),
    ("log_matching", Canary::Unit("world/tap.rs", "logs_that_part_and_meet_again_do_not_match")),
    ("members", Canary::Corruption),
    ("memory", Canary::Lie(Lie::CreditUnseen)),
    ("no_progress", Canary::Here),
    ("peer", Canary::Lie(Lie::UnseenForgery)),
    ("permission", Canary::Corruption),
    ("raft", Canary::Lie(Lie::WrongSender)),
    ("read", Canary::Corruption),
    ("real_time", Canary::Corruption),
    ("recovery", Canary::Lie(Lie::FlushIsNoFlush)),
    ("refusal", Canary::Corruption),
    ("replay", Canary::Here),
    ("reply", Canary::Lie(Lie::RepeatedAnswer)),
    ("script", Canary::Script),
    ("send", Canary::Lie(Lie::WrongReceiver)),
    ("state_hash", Canary::Corruption),
    ("state_machine", Canary::Lie(Lie::TwoTruths)),
    ("strict", Canary::Corruption),
    ("version", Canary::Lie(Lie::Boast)),
    ("watch", Canary::Corruption),
    ("wiped", Canary::Lie(Lie::DeafToLoss)),
    ("write", Canary::Corruption),
];

/// Names in the places where violations are made.
fn names_in(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).expect("the sources are here") {
        let path = entry.expect("the sources are here").path();
        if path.is_dir() {
            names_in(&path, names);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source is text");
            for place in ["check: ", "fail(", "broken(", "Conflict::of("] {
                for part in text.split(place).skip(1) {
                    if let Some(quoted) = part.trim_start().strip_prefix('"') {
                        names.extend(quoted.split_once('"').map(|(name, _)| name.to_owned()));
                    }
                }
            }
        }
    }
}

#[test]
fn every_check_has_a_canary() {
    let mut names = BTreeSet::new();
    names_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    let mut known: BTreeSet<String> = TABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.extend(CHECKS.map(str::to_owned));
    assert_eq!(names, known);
    assert_eq!(holdfast_sim::check::NAMES.to_vec(), TABLE.map(|(name, _)| name).to_vec());
    let corruptions = concat!(include_str!("checkers.rs"), include_str!("member_checkers.rs"));
    for (name, canary) in &TABLE {
        match canary {
            Canary::Corruption => {
                assert!(
                    corruptions.contains(&format!("&[\"{name}\"]")),
                    "{name}: no corruption in checkers.rs"
                );
            }
            Canary::Lie(lie) => assert!(fires(*lie, name), "{name}: {lie:?} does not fire it"),
            Canary::Here => {}
            Canary::Script => {
                let scripts = include_str!("scenarios.rs");
                assert!(scripts.contains(&format!("\"{name}: ")), "{name}: no script in scenarios.rs");
            }
            Canary::Unit(file, test) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
                let text = std::fs::read_to_string(path).expect("the sources are here");
                assert!(text.contains(&format!("fn {test}()")), "{name}: no test {test} in {file}");
            }
            Canary::Nothing(why) => assert!(!why.is_empty()),
        }
    }
}

/// Rows of docs/guarantees.md name checks as `file: function`.
#[test]
fn every_guarantee_names_checks_that_exist_or_says_why_not() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table = include_str!("../../docs/guarantees.md");
    for number in 1..=61 {
        let start = format!("| G{number} ");
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with(&start)).collect();
        let [row] = rows[..] else { panic!("G{number} has {} rows", rows.len()) };
        let named = row.split('`').skip(1).step_by(2).filter_map(|name| name.split_once(": "));
        let mut checks = 0;
        for (file, function) in named {
            let text = std::fs::read_to_string(sources.join(file)).unwrap_or_else(|e| panic!("{row}: {e}"));
            let is_there =
                [format!("fn {function}("), format!("fn {function}<")].iter().any(|f| text.contains(f));
            assert!(is_there, "{file} has no function {function}: {row}");
            checks += 1;
        }
        assert!(checks > 0 || row.contains("Not yet:") || row.contains("Not here:"), "{row}");
    }
}

/// Whether a lie is found as a check in some seed.
fn fires(lie: Lie, check: &str) -> bool {
    (0..200).any(|n| {
        let size = if lie.needs_peers() { 3 } else { 1 };
        let mut plan = Plan::draw_sized(derive(99, n), lie.seen_in(), size);
        plan.lie = Some(lie);
        matches!(run_plan(plan, false).0, Err(failure) if failure.violation.check == check)
    })
}

#[test]
fn disk_that_never_flushes_is_no_progress() {
    let mut plan = Plan::draw_sized(1, Profile::Calm, 1);
    plan.members[0].disk.sync_ns = (1 << 50, 1 << 50);
    let failure = run_plan(plan, false).0.expect_err("nothing can be acknowledged");
    assert_eq!(failure.violation.check, "no_progress");
}

#[test]
fn digest_that_no_replay_has_is_found() {
    let mut history = World::new(Plan::draw_sized(2, Profile::Calm, 1), false).run().history;
    assert!(replay::check_digests(&history, 1).is_ok_and(|compared| compared > 0));
    history.digests.iter_mut().for_each(|digest| digest.hash ^= 1);
    assert_eq!(replay::check_digests(&history, 1).expect_err("no State has this").check, "replay");
}

#[test]
fn lease_with_more_left_than_it_was_given_is_found() {
    let found = (0..100).any(|n| {
        let mut history = World::new(Plan::draw_sized(derive(3, n), Profile::Calm, 1), false).run().history;
        for op in &mut history.ops {
            if let Some(answer) = &mut op.answer
                && let Ok(Response::LeaseTimeToLive { ttl, granted_ttl, .. }) = &mut answer.result
                && *ttl > 0
            {
                *ttl += *granted_ttl + 60;
                let violation = holdfast_sim::check::check(&history).expect_err("more than all is left");
                assert_eq!(violation.check, "lease_remaining");
                return true;
            }
        }
        false
    });
    assert!(found, "no lease is asked for what it has left");
}

/// A history of one client, at one second a step.
#[derive(Default)]
struct Story {
    calls: Vec<Call>,
    passed: Vec<(Time, Passed)>,
}

fn at(second: u64) -> Time {
    Time { order: second, at_ns: second * 1_000_000_000 }
}

fn kv(value: &str, modified: i64) -> KeyValue {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let (create_revision, mod_revision) = (modified, modified);
    KeyValue {
        key: Key::from(&b"a"[..]),
        value,
        create_revision,
        mod_revision,
        version: 1,
        lease: LeaseId(0),
    }
}

impl Story {
    /// The next call: asked and answered in the next two seconds.
    fn call(mut self, request: Request, result: Result<Response, Status>) -> Story {
        let now = 2 * (self.calls.len() + self.passed.len()) as u64;
        let answer = Some(Answer { at: at(now + 2), result });
        self.calls.push(Call { client: 0, place: 0, request, call: at(now + 1), answer });
        self
    }

    /// All calls at the same time.
    fn at_once(mut self) -> Story {
        self.calls.iter_mut().for_each(|call| call.call = at(1));
        self
    }

    fn put(self, value: &'static str, lease: i64, revision: i64) -> Story {
        let put = PutRequest {
            key: Bytes::from_static(b"a"),
            value: Bytes::from_static(value.as_bytes()),
            lease: LeaseId(lease),
            prev_kv: true,
            ..PutRequest::default()
        };
        let header = Header { revision, raft_term: 0 };
        self.call(Request::Put(put), Ok(Response::Put(PutResponse { header, prev_kv: None })))
    }

    fn range(self, serializable: bool, revision: i64, kvs: Vec<KeyValue>) -> Story {
        let range = RangeRequest { key: Bytes::from_static(b"a"), serializable, ..RangeRequest::default() };
        let header = Header { revision, raft_term: 0 };
        let response = RangeResponse { header, count: kvs.len() as i64, kvs, more: false };
        self.call(Request::Range(range), Ok(Response::Range(response)))
    }

    fn grant(self, ttl: i64) -> Story {
        let header = Header { revision: 1, raft_term: 0 };
        let granted = Response::LeaseGrant { header, id: LeaseId(1), ttl };
        self.call(Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(1), ttl }), Ok(granted))
    }

    fn hash(self, hash: u32) -> Story {
        let header = Header { revision: 1, raft_term: 0 };
        let answer = Response::HashKv { header, hash, compact_revision: -1, hash_revision: 1 };
        self.call(Request::HashKv { revision: 1 }, Ok(answer))
    }

    /// A watch of the key from the beginning on, told of this at revision 2.
    fn watch(mut self, told: &[&str]) -> Story {
        let now = 2 * (self.calls.len() + self.passed.len()) as u64;
        let create =
            WatchCreate { key: Bytes::from_static(b"a"), start_revision: 1, ..WatchCreate::default() };
        let response = |created: bool, events: Vec<Event>| WatchResponse {
            revision: 2,
            raft_term: 1,
            watch_id: WatchId(0),
            created,
            canceled: false,
            compact_revision: 0,
            cancel_reason: "",
            fragment: false,
            events: Arc::new(events),
        };
        self.passed.push((at(now + 1), Passed::Asked(StreamOp::Create(create))));
        self.passed.push((at(now + 2), Passed::Told(response(true, Vec::new()))));
        for value in told {
            let event = Event { kind: EventKind::Put, kv: kv(value, 2), prev_kv: None };
            self.passed.push((at(now + 3), Passed::Told(response(false, vec![event]))));
        }
        self
    }

    fn verdict(self) -> Verdict {
        let terms = Terms { drift: 0.0, ttl_min_s: 2, txn_ops_max: 128, has_quota: false };
        let streams = vec![Stream { place: 0, passed: self.passed, lives_to_end: false }];
        check(&ClientHistory { terms, calls: self.calls, streams })
    }
}

#[test]
fn every_black_box_check_fires() {
    let story = Story::default;
    let malformed = Request::Put(PutRequest::default());
    let put = Ok(Response::Put(PutResponse { header: Header { revision: 2, raft_term: 0 }, prev_kv: None }));
    let stories = [
        ("blackbox_form", story().call(malformed, put)),
        ("blackbox_hash", story().hash(1).hash(2)),
        ("blackbox_lease", story().grant(60).put("v", 1, 2).range(false, 3, vec![])),
        ("blackbox_local", story().put("v", 0, 2).range(true, 2, vec![kv("v", 2)]).range(true, 1, vec![])),
        ("blackbox_nobody", story().range(false, 5, vec![])),
        ("blackbox_read", story().put("v", 0, 2).range(false, 2, vec![kv("w", 2)])),
        ("blackbox_real_time", story().put("v", 0, 2).range(false, 1, vec![])),
        ("blackbox_twice", story().put("v", 0, 2).put("w", 0, 2).at_once()),
        ("blackbox_watch", story().put("v", 0, 2).watch(&["w"])),
        ("blackbox_watch_order", story().put("v", 0, 2).watch(&["v", "v"])),
        ("blackbox_write", story().put("v", 0, 2).put("w", 0, 3)),
    ];
    assert_eq!(stories.each_ref().map(|(name, _)| *name), CHECKS);
    for (name, story) in stories {
        match story.verdict() {
            Verdict::Violation(conflict) => assert_eq!(conflict.check, name, "{conflict}"),
            other => panic!("{name} does not fire: {other:?}"),
        }
    }
    let good = story().grant(60).put("v", 0, 2).range(false, 2, vec![kv("v", 2)]).watch(&["v"]);
    assert!(matches!(good.verdict(), Verdict::Ok(_)));
}
