//! Ring 2 in number. Runs under `--cfg madsim` only: `cargo madsim-test`, or through `launch_ring2`.
#![cfg(madsim)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_core::base::{KeyValue, LeaseId};
use holdfast_core::request::{
    Header, PutRequest, PutResponse, RangeRequest, RangeResponse, Request, Response,
};

use holdfast_sim::ring2::history::{Ask, History, Keys, Seen, Told};
use holdfast_sim::ring2::storm::{MARKS, StormReport, run_storm_seed};
use holdfast_sim::ring2::{Report, judge, run_seed};
use holdfast_sim::rng::derive;

/// Of so many seeds one is run twice.
const TWICE_EACH: u64 = 20;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn every_answer_of_the_shell_fits_one_sequence_of_revisions() {
    let base = number("HOLDFAST_SIM_BASE", 1);
    let seeds = number("HOLDFAST_RING2_SEEDS", 100).min(100);
    let first = number("HOLDFAST_RING2_FIRST", 0);
    let began = std::time::Instant::now();
    let (reports, failed) = run_all((base, first, seeds), run_seed);
    let mut sum = Report::default();
    reports.iter().for_each(|report| add(&mut sum, report));
    for (n, why) in failed.iter().take(5) {
        println!("FAIL one member, base {base} seed {n}: {why}");
        println!(
            " replay HOLDFAST_SIM_BASE={base} HOLDFAST_RING2_FIRST={n} HOLDFAST_RING2_SEEDS=1 cargo madsim-test"
        );
    }
    println!(
        "ring2-one-member seeds={seeds} failed={} calls={} acked={} revisions={} restarts={} power_losses={} \
         deaths={} checkpoints_found={} undecided={} wall_s={:.1}",
        failed.len(),
        sum.calls,
        sum.acknowledged,
        sum.revisions,
        sum.restarts,
        sum.power_losses,
        sum.deaths,
        sum.checkpoints_found,
        sum.undecided,
        began.elapsed().as_secs_f64(),
    );
    assert!(failed.is_empty(), "{} of {seeds} seeds failed", failed.len());
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

/// Runs seeds `first..first + seeds` of `base` on all cores, each on a thread of its own.
fn run_all<T: Send>(
    (base, first, seeds): (u64, u64, u64),
    run: impl Fn(u64) -> Result<T, String> + Sync,
) -> (Vec<T>, Vec<(u64, String)>) {
    let (next, done) = (AtomicU64::new(0), Mutex::new((Vec::new(), Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= seeds {
                        return;
                    }
                    let result = run(derive(base, first + n));
                    let mut done = done.lock().expect("no seed panics here");
                    match result {
                        Ok(report) => done.0.push(report),
                        Err(why) => done.1.push((first + n, why)),
                    }
                }
            });
        }
    });
    let (reports, mut failed) = done.into_inner().expect("as above");
    failed.sort();
    (reports, failed)
}

/// A share of the seeds is run twice.
fn storm(seed: u64) -> Result<StormReport, String> {
    let report = run_storm_seed(seed)?;
    if seed.is_multiple_of(TWICE_EACH) {
        let again = run_storm_seed(seed)?;
        if again.trace != report.trace {
            return Err(format!("two runs differ: {:x} and {:x}", report.trace, again.trace));
        }
    }
    Ok(report)
}

#[test]
fn three_members_answer_as_one_in_any_storm() {
    let base = number("HOLDFAST_SIM_BASE", 1);
    let seeds = number("HOLDFAST_RING2_SEEDS", 2_000);
    let first = number("HOLDFAST_RING2_FIRST", 0);
    let began = std::time::Instant::now();
    let (reports, failed) = run_all((base, first, seeds), storm);
    for (n, why) in failed.iter().take(5) {
        println!("FAIL base {base} seed {n}: {why}");
        println!(
            " replay HOLDFAST_SIM_BASE={base} HOLDFAST_RING2_FIRST={n} HOLDFAST_RING2_SEEDS=1 cargo madsim-test"
        );
    }
    let sum = |of: fn(&StormReport) -> u64| reports.iter().map(of).sum::<u64>();
    let mut marks = MARKS.map(|mark| (mark, 0));
    for (mark, count) in &mut marks {
        *count = reports.iter().filter_map(|report| report.marks.get(mark)).sum::<u64>();
    }
    let missing: Vec<&str> = marks.iter().filter(|(_, count)| *count == 0).map(|(mark, _)| *mark).collect();
    let (acked, undecided) = (sum(|r| r.acknowledged), sum(|r| r.undecided));
    println!(
        "ring2 seeds={seeds} failed={} ops={} acked={acked} events={} {} marks_missing={} undecided={undecided} \
         wall_s={:.1}",
        failed.len(),
        sum(|r| r.calls),
        sum(|r| r.events),
        marks.map(|(mark, count)| format!("{mark}={count}")).join(" "),
        if missing.is_empty() { "none".to_owned() } else { missing.join(",") },
        began.elapsed().as_secs_f64(),
    );
    assert!(failed.is_empty(), "{} of {seeds} seeds failed", failed.len());
    if seeds < 500 {
        return;
    }
    assert!(missing.is_empty(), "never seen: {missing:?}");
    assert!(undecided * 100 <= seeds, "the black-box checker gives up too often: {undecided}");
    assert!(acked > 50 * seeds, "the clients get too few answers: {acked}");
}
