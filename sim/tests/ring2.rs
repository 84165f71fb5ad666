//! Ring 2 in number. Runs under `--cfg madsim` only: `cargo madsim-test`, or through `launch_ring2`.
#![cfg(madsim)]

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_core::base::{KeyValue, LeaseId};
use holdfast_core::request::{
    Header, PutRequest, PutResponse, RangeRequest, RangeResponse, Request, Response,
};

use holdfast_sim::mutants::stories;
use holdfast_sim::ring2::admission;
use holdfast_sim::ring2::farm::Farm;
use holdfast_sim::ring2::history::{Ask, History, Keys, Seen, Told};
use holdfast_sim::ring2::story::{StoryReport, run_story};
use holdfast_sim::ring2::{Report, judge, run_seed};
use holdfast_sim::rng::derive;
use holdfast_sim::scenario::Scenario;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Seeds on all cores, as the environment says.
fn farm(seeds: u64) -> Farm {
    Farm {
        base: number("HOLDFAST_SIM_BASE", 1),
        first: number("HOLDFAST_RING2_FIRST", 0),
        seeds: number("HOLDFAST_RING2_SEEDS", seeds).min(seeds),
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        failures_max: 5,
    }
}

#[test]
fn every_answer_of_the_shell_fits_one_sequence_of_revisions() {
    let farm = farm(100);
    let harvest = farm.run(run_seed);
    let mut sum = Report::default();
    harvest.reports.iter().for_each(|report| add(&mut sum, report));
    let Farm { base, seeds, .. } = farm;
    for failed in &harvest.failed {
        println!("FAIL one member, base {base} seed {}: {}", failed.number, failed.why);
        println!(
            " replay HOLDFAST_SIM_BASE={base} HOLDFAST_RING2_FIRST={} HOLDFAST_RING2_SEEDS=1 cargo madsim-test",
            failed.number
        );
    }
    println!(
        "ring2-one-member seeds={seeds} failed={} calls={} acked={} revisions={} restarts={} power_losses={} \
         deaths={} checkpoints_found={} undecided={} wall_s={:.1}",
        harvest.failed.len(),
        sum.calls,
        sum.acknowledged,
        sum.revisions,
        sum.restarts,
        sum.power_losses,
        sum.deaths,
        sum.checkpoints_found,
        sum.undecided,
        harvest.wall_s,
    );
    assert!(harvest.failed.is_empty(), "{} of {seeds} seeds failed", harvest.failed.len());
    if seeds < 100 {
        return;
    }
    assert!(sum.undecided * 20 <= seeds, "the black-box checker gives up too often: {sum:?}");
    assert!(sum.acknowledged > 20 * seeds, "the clients get too few answers: {sum:?}");
    assert!(sum.restarts > seeds, "the server is killed too seldom: {sum:?}");
    assert!(sum.deaths > 0, "no flush ever fails: {sum:?}");
    assert!(sum.checkpoints_found > seeds / 10, "the server seldom starts from a checkpoint: {sum:?}");
}

fn add(sum: &mut Report, one: &Report) {
    sum.calls += one.calls;
    sum.acknowledged += one.acknowledged;
    sum.revisions += one.revisions;
    sum.restarts += one.restarts;
    sum.power_losses += one.power_losses;
    sum.deaths += one.deaths;
    sum.checkpoints_found += one.checkpoints_found;
    sum.undecided += one.undecided;
}

#[test]
fn a_seed_run_twice_shows_clients_the_same() {
    let base = number("HOLDFAST_SIM_BASE", 1);
    for n in 0..10 {
        let [first, second] = [(); 2].map(|()| run_seed(derive(base, n)).map(|report| report.history_hash));
        assert_eq!(first, second, "base {base} seed {n}");
    }
}

/// A history of one put, acknowledged at `revision` after a read at revision 2.
fn one_put(revision: i64) -> History {
    let mut history = History::default();
    let read = Ask::Read { from: "a".to_owned(), to: "z".to_owned(), serializable: false };
    let sets = BTreeMap::from([("key".to_owned(), Some("value".to_owned()))]);
    let put = Request::Put(PutRequest { key: "key".into(), value: "value".into(), ..PutRequest::default() });
    let range =
        Request::Range(RangeRequest { key: "a".into(), range_end: "z".into(), ..RangeRequest::default() });
    let call = history.begin(0, 1, Ask::Write { sets, guarded: false }, put);
    history.answered(call, 2, revision, Told::Written { applied: true });
    let call = history.begin(0, 3, read, range);
    history.answered(call, 4, 2, Told::Read(key_at(2)));
    history
}

fn key_at(revision: i64) -> Keys {
    let value = "value".to_owned();
    let seen = Seen { value, create: revision, modified: revision, version: 1, lease: 0 };
    Keys::from([("key".to_owned(), seen)])
}

#[test]
fn histories_that_do_not_fit_are_refused() {
    one_put(2).check(&[Keys::new(), key_at(2)]).expect("fits");
    let refusal = |history: History, truth: &[Keys]| history.check(truth).expect_err("does not fit");
    assert!(refusal(one_put(2), &[Keys::new()]).starts_with("acknowledged and lost"));
    assert!(refusal(one_put(3), &[Keys::new(), key_at(2), key_at(2)]).starts_with("revision 3 was seen"));
    assert!(refusal(one_put(2), &[Keys::new(), Keys::new()]).starts_with("acknowledged, but"));
    let idle = [Keys::new(), key_at(2), key_at(2)];
    assert!(refusal(one_put(2), &idle).starts_with("nothing changed"));
    let twice = [Keys::new(), key_at(2), Keys::new(), key_at(4)];
    assert!(refusal(one_put(2), &twice).starts_with("nobody deleted"));
}

/// The same without the truth: a key that was put is not in what is read later, at the same revision.
#[test]
fn the_black_box_checker_refuses_a_read_that_misses_what_was_acknowledged() {
    let header = Header { revision: 2, raft_term: 0 };
    let kv = KeyValue {
        key: b"key".as_slice().into(),
        value: "value".into(),
        create_revision: 2,
        mod_revision: 2,
        version: 1,
        lease: LeaseId(0),
    };
    let with = |kvs: Vec<KeyValue>| {
        let mut history = one_put(2);
        let [put, range] = [0, 1].map(|call| history.call(call));
        history.saw(put, 2, Response::Put(PutResponse { header, prev_kv: None }), None);
        let count = kvs.len() as i64;
        history.saw(range, 4, Response::Range(RangeResponse { header, kvs, more: false, count }), None);
        judge(&history)
    };
    assert_eq!(with(vec![kv]), Ok(true));
    assert!(with(Vec::new()).is_err(), "what was acknowledged may be missed");
}

#[test]
fn three_members_answer_as_one_in_any_storm() {
    let seeds = number("HOLDFAST_RING2_SEEDS", 2_000);
    let harvest = farm(seeds).storms();
    for failed in &harvest.failed {
        println!("{}", failed.words());
    }
    println!("{}", harvest.line());
    assert!(harvest.failed.is_empty(), "{} of {seeds} seeds failed", harvest.failed.len());
    if seeds < 500 {
        return;
    }
    let (missing, undecided) = (harvest.missing(), harvest.sum(|report| report.undecided));
    assert!(missing.is_empty(), "never seen: {missing:?}");
    assert!(undecided * 100 <= seeds, "the black-box checker gives up too often: {undecided}");
    let acked = harvest.sum(|report| report.acknowledged);
    assert!(acked > 50 * seeds, "the clients get too few answers: {acked}");
}

/// Stories that the issue names; the others that are told may become fewer or more, and the docs say which.
const NAMED: [&str; 4] = ["split_brain", "stale_leader_reads", "lease_over_leaders", "skewed_clocks"];

#[test]
fn stories_of_ring_1_hold_under_the_shell() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sim is below the workspace");
    let scenarios = stories(workspace).unwrap_or_else(|trouble| panic!("{trouble}"));
    let docs = std::fs::read_to_string(workspace.join("docs").join("ring2.md")).expect("docs of ring 2");
    assert!(
        docs.contains(&admission::table(&scenarios)),
        "`cargo madsim stories` brings docs/ring2.md up to date"
    );
    let is_told = |scenario: &&_| admission::check(scenario, &scenario.plan(0)).is_ok();
    let told: Vec<_> = scenarios.iter().filter(is_told).collect();
    for name in NAMED {
        assert!(told.iter().any(|scenario| scenario.path.ends_with(format!("fast/{name}.toml"))), "{name}");
    }
    let (mut failed, mut sum) = (0, StoryReport::default());
    for scenario in &told {
        let harvest = farm(8).run(|seed| run_story(scenario.plan(seed)));
        for broken in &harvest.failed {
            println!("FAIL {}", broken.why);
            println!(" replay   cargo madsim replay {} --seed {:#x}", scenario.path.display(), broken.seed);
        }
        failed += harvest.failed.len();
        sum.calls += harvest.reports.iter().map(|report| report.calls).sum::<u64>();
        sum.acknowledged += harvest.reports.iter().map(|report| report.acknowledged).sum::<u64>();
        sum.undecided += harvest.reports.iter().map(|report| report.undecided).sum::<u64>();
    }
    let StoryReport { calls, acknowledged, undecided, .. } = sum;
    let (told, of) = (told.len(), scenarios.len());
    println!(
        "ring2-stories told={told} of={of} failed={failed} calls={calls} acked={acknowledged} undecided={undecided}"
    );
    assert_eq!(failed, 0, "stories broke");
}

#[test]
fn a_story_told_twice_goes_the_same_way() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sim is below the workspace");
    for scenario in stories(workspace).unwrap_or_else(|trouble| panic!("{trouble}")) {
        if admission::check(&scenario, &scenario.plan(0)).is_ok() {
            let [first, second] = [(); 2].map(|()| run_story(scenario.plan(7)));
            assert_eq!(first, second, "{}", scenario.path.display());
        }
    }
}

/// What a story expects is looked at: the same story with another value in its last step fails there.
#[test]
fn an_expectation_that_is_not_met_is_a_failure() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/fast/split_brain.toml");
    let text = std::fs::read_to_string(&path).expect("it is there");
    let wrong =
        text.replace("expect = { value = \"majority\", revision = 3 }", "expect = { value = \"minority\" }");
    assert_ne!(wrong, text);
    let scenario = Scenario::parse(&path, wrong).expect("as sound as before");
    let why = run_story(scenario.plan(1)).expect_err("nobody has it");
    assert!(why.starts_with("safety/expect  line 49: "), "{why}");
}
