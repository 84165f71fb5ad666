//! Crash states of log and checkpoints, in number.

use holdfast_sim::crash_states::check_crash_states;

#[test]
fn recovery_is_right_on_fifty_thousand_crash_states() {
    let base = std::env::var("HOLDFAST_SIM_BASE").map_or(1, |base| base.parse().expect("a number"));
    let report = check_crash_states(base, 50_000).unwrap_or_else(|failure| panic!("{failure:?}"));
    println!("{report:?}");
    assert!(report.checkpoints > 100, "{report:?}");
    assert!(report.segments_recycled > 20, "{report:?}");
    assert!(report.tails_dropped > 100, "{report:?}");
    assert!(report.flips_refused > 100, "{report:?}");
}
