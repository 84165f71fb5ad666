//! Ring 2 in number. Runs under `--cfg madsim` only: `cargo madsim`, or through `launch_ring2`.
#![cfg(madsim)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_core::base::{KeyValue, LeaseId};
use holdfast_core::request::{
    Header, PutRequest, PutResponse, RangeRequest, RangeResponse, Request, Response,
};
use holdfast_sim::ring2::cluster::{ClusterReport, run_cluster_seed};
use holdfast_sim::ring2::history::{Ask, History, Keys, Seen, Told};
use holdfast_sim::ring2::{Report, judge, run_seed};
use holdfast_sim::rng::derive;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn every_answer_of_the_shell_fits_one_sequence_of_revisions() {
    let base = number("HOLDFAST_SIM_BASE", 1);
    let seeds = number("HOLDFAST_RING2_SEEDS", 300);
    let first = number("HOLDFAST_RING2_FIRST", 0);
    let (next, failed, sum) = (AtomicU64::new(0), Mutex::new(Vec::new()), Mutex::new(Report::default()));
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let n = first + n;
                    if n >= first + seeds {
                        return;
                    }
                    match run_seed(derive(base, n)) {
                        Ok(report) => add(&mut sum.lock().expect("no seed panics here"), &report),
                        Err(why) => failed.lock().expect("no seed panics here").push((n, why)),
                    }
                }
            });
        }
    });
    let (failed, sum) = (failed.into_inner().expect("as above"), sum.into_inner().expect("as above"));
    for (n, why) in failed.iter().take(5) {
        println!("FAIL base {base} seed {n}: {why}");
        println!(
            " replay HOLDFAST_SIM_BASE={base} HOLDFAST_RING2_FIRST={n} HOLDFAST_RING2_SEEDS=1 cargo madsim"
        );
    }
    println!(
        "ring2 seeds={seeds} failed={} calls={} acked={} revisions={} restarts={} power_losses={} deaths={} \
         checkpoints_found={} undecided={} wall_s={:.1}",
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

#[test]
fn three_members_answer_as_one_over_kills_and_cuts() {
    let base = number("HOLDFAST_SIM_BASE", 1);
    let mut sum = ClusterReport::default();
    for n in 0..number("HOLDFAST_RING2_CLUSTER_SEEDS", 10) {
        let seed = derive(base, 10_000 + n);
        let run = std::thread::spawn(move || run_cluster_seed(seed));
        let report = run.join().expect("no panic").unwrap_or_else(|why| panic!("seed {n}: {why}"));
        sum.acknowledged += report.acknowledged;
        sum.kills += report.kills;
        sum.undecided += report.undecided;
    }
    println!("ring2 cluster: {sum:?}");
    assert!(sum.undecided <= 1, "the black-box checker gives up too often: {sum:?}");
    assert!(sum.acknowledged > 500, "the clients get too few answers: {sum:?}");
}
