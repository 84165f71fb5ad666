//! Members in every role are told lies, by the ten thousand.

use std::io::Write;

use holdfast_sim::hostile::torment_many;

#[test]
fn forty_thousand_lies_bring_no_member_down() {
    let torments = torment_many(1, 40_000).unwrap_or_else(|(seed, what)| panic!("seed {seed:#x}: {what}"));
    std::io::stdout()
        .write_all(format!("hostile: {torments:?}\n").as_bytes())
        .expect("standard output is open");
    assert!(torments.refused > 5_000, "{torments:?}");
    assert!(torments.flipped > 1_000, "{torments:?}");
    assert!(torments.halted < torments.torments / 10, "{torments:?}");
}
