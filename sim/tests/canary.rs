//! Canaries: worlds that do one thing wrong on purpose. Each must be found within a few hundred seeds.

use std::io::Write;

use holdfast_sim::plan::{Lie, Plan};
use holdfast_sim::rng::derive;
use holdfast_sim::run::run_plan;

/// Seeds tried before a lie counts as unfound.
const SEEDS_MAX: u64 = 400;

/// Runs seeds until the lie is found; the number of seeds it took, and what was seen.
fn seeds_to_find(lie: Lie) -> (u64, &'static str) {
    for n in 0..SEEDS_MAX {
        let size = if lie.needs_peers() { 3 } else { 1 };
        let mut plan = Plan::draw_sized(derive(99, n), lie.seen_in(), size);
        plan.lie = Some(lie);
        if let (Err(failure), _) = run_plan(plan, false) {
            return (n + 1, failure.violation.check);
        }
    }
    panic!("{lie:?} was not found in {SEEDS_MAX} seeds");
}

#[test]
fn every_planted_fault_is_found() {
    let mut table = String::from("planted fault, seeds to find it, seen as\n");
    for lie in Lie::ALL {
        let (seeds, check) = seeds_to_find(lie);
        table.push_str(&format!("  {lie:?} {seeds} {check}\n"));
    }
    // Written past the capture of the test's output, so that it is always to be read.
    std::io::stdout().write_all(table.as_bytes()).expect("standard output is open");
}
