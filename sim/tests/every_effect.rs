//! A share of the crashes at every effect; `cargo sim crash-at-every-effect` runs them all.

use std::io::Write;
use std::time::Instant;

use holdfast_sim::every_effect::{Story, run_all};

/// Each so many variants; a prime, so that all loss models and members come to their turn.
const STEP: usize = 97;

#[test]
fn a_crash_at_any_effect_breaks_no_promise() {
    let start = Instant::now();
    let jobs = std::thread::available_parallelism().map_or(2, usize::from);
    let tally = run_all(&Story::ALL, 1, STEP, jobs);
    let line = format!("crash at every effect: {}\n", tally.summary(start.elapsed().as_secs_f64()));
    std::io::stdout().write_all(line.as_bytes()).expect("standard output is open");
    for (variant, failure) in &tally.failures {
        println!("cargo sim crash-at-every-effect {variant}\n{failure}");
    }
    assert!(tally.failures.is_empty(), "{} of {} variants failed", tally.failures.len(), tally.variants);
    assert!(tally.crashes * 10 > tally.variants * 9, "{tally:?}");
    assert!(tally.snapshots > 20, "{tally:?}");
    assert!(tally.checkpoints > 20, "{tally:?}");
}
