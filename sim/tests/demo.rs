//! The demonstration shows what it says: a split brain in order, and a planted bug that is found again.

#![cfg(not(madsim))]

use holdfast_sim::demo::{hunt, split_brain};

/// Finds each of these texts in the lines, in this order.
fn check_order(lines: &[String], texts: &[&str]) {
    let mut rest = lines.iter();
    for text in texts {
        assert!(
            rest.any(|line| line.contains(text)),
            "{text} is not told in its place:\n{}",
            lines.join("\n")
        );
    }
}

#[test]
fn a_split_brain_is_told_in_order() {
    let told = split_brain(11).expect("every promise is kept");
    check_order(
        &told.lines,
        &[
            "leads in term",
            "answers put k = before: ok, revision 2",
            "the network parts: m",
            "is asked: put k = minority",
            " believes to lead still, in term ",
            " answers put k = majority: ok, revision 3",
            " has heard no majority for an election timeout and steps down",
            "the network heals",
            " follows m",
            " overwrites its log from entry",
            "answers get k: k = majority, revision 3",
            "It may have happened or not",
            "everybody loses power",
            "60 of 60 last requests are answered",
            "all 5 have applied entry",
        ],
    );
    assert!(told.lines.len() <= 30, "{} lines", told.lines.len());
    assert!(told.report.checked.reads > 0);
    let svg = told.picture;
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.len() < 64 << 10, "{} bytes", svg.len());
    for word in ["cut 0: m", "leader, term ", ">m4<"] {
        assert!(svg.contains(word), "{word}");
    }
}

#[test]
fn the_planted_bug_is_found_and_found_again() {
    let found = hunt().expect("seeds find it");
    assert_eq!(found.failure.violation, found.again.violation);
    assert_eq!(found.failure.trace_hash, found.again.trace_hash);
    assert!(found.failure.arguments.ends_with("--plant stale-read-index"), "{}", found.failure.arguments);
    assert!(found.page.html.contains("BROKEN HERE"));
}
