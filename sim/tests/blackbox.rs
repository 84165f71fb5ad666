//! The black-box checker on histories of ring 1: what the log-directed checks accept, it accepts without the log.

use std::io::Write;
use std::time::Instant;

use holdfast_sim::blackbox::history::ClientHistory;
use holdfast_sim::blackbox::{Verdict, check};
use holdfast_sim::plan::{Plan, Profile};
use holdfast_sim::rng::derive;
use holdfast_sim::world::World;

/// Seeds of each profile.
const SEEDS: u64 = 12;

#[test]
fn histories_of_ring_1_are_explained_without_their_log() {
    let (mut ops, mut undecided, mut spent_ms) = (0, Vec::new(), Vec::new());
    // Thousands of keys a transaction are more than a search without the log gets through.
    let profiles = Profile::ALL.into_iter().filter(|profile| *profile != Profile::Large);
    for (p, profile) in profiles.enumerate() {
        for n in 0..SEEDS {
            let mut plan = Plan::draw_sized(derive(5 + p as u64, n), profile, [1, 3][n as usize % 2]);
            // Its model knows nothing of users and roles.
            plan.auth = None;
            // Nor of compactions that no client asked for.
            plan.auto_compaction = None;
            let outcome = World::new(plan, false).run();
            assert_eq!(outcome.failed, None, "{profile:?} {n}");
            let history = ClientHistory::from(&outcome.history);
            let start = Instant::now();
            let verdict = check(&history);
            spent_ms.push(start.elapsed().as_secs_f64() * 1e3);
            ops += history.calls.len();
            match verdict {
                Verdict::Ok(_) => {}
                Verdict::Violation(conflict) => panic!("{profile:?} {n}: {conflict}"),
                Verdict::Undecided { why } => undecided.push(format!("{profile:?} {n}: {why}")),
            }
        }
    }
    let runs = spent_ms.len() as u64;
    spent_ms.sort_by(f64::total_cmp);
    let (median_ms, all_ms) = (spent_ms[spent_ms.len() / 2], spent_ms.iter().sum::<f64>());
    let line = format!(
        "blackbox: histories={runs} ops={ops} undecided={} median_ms={median_ms:.1} all_ms={all_ms:.0}\n",
        undecided.len()
    );
    std::io::stdout().write_all(line.as_bytes()).expect("standard output is open");
    // A fifth of those with aimed crashes are too hard, hardly any of the others.
    assert!(undecided.len() as u64 <= runs / 12, "{} of {runs}: {undecided:#?}", undecided.len());
}
