//! The planted bugs are kept up with the sources, and the catalogue is covered.

#![cfg(not(madsim))]

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_sim::mutants::{Hunt, Patch, Ring, check_names};

/// Entries of the catalogue of bugs.
const CATALOGUE: [u32; 64] = [
    1, 2, 3, 5, 6, 9, 11, 13, 16, 17, 18, 20, 21, 23, 25, 27, 28, 30, 32, 34, 36, 38, 39, 40, 42, 44, 46, 47,
    48, 49, 50, 53, 55, 56, 58, 60, 62, 64, 65, 67, 69, 71, 72, 76, 77, 78, 80, 82, 84, 85, 87, 89, 90, 92,
    94, 96, 97, 100, 102, 104, 106, 107, 109, 111,
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sim is below the workspace").to_owned()
}

fn patches(ring: Ring) -> Vec<Patch> {
    let hunt = Hunt { workspace: workspace(), ring, only: None, seeds: 1, base: 1, jobs: 1, fresh: false };
    hunt.patches().expect("every patch has a header and a diff")
}

#[test]
fn every_mutant_applies_to_the_sources_as_they_are() {
    let mut refused = Vec::new();
    for patch in [Ring::Core, Ring::Shell].into_iter().flat_map(patches) {
        let git =
            Command::new("git").args(["apply", "--check"]).arg(&patch.path).current_dir(workspace()).output();
        let output = git.expect("git is there, as for the tool itself");
        if !output.status.success() {
            refused.push(format!("{}: {}", patch.name, String::from_utf8_lossy(&output.stderr).trim()));
        }
    }
    assert!(refused.is_empty(), "to be mended in sim/mutants:\n{}", refused.join("\n"));
}

#[test]
fn every_entry_of_the_catalogue_is_planted_or_excused() {
    let docs =
        std::fs::read_to_string(workspace().join("docs").join("mutants.md")).expect("docs of the mutants");
    let excused: Vec<&str> =
        docs.lines().filter_map(|line| line.strip_prefix("| B")?.split(" |").next()).collect();
    let excused =
        excused.iter().flat_map(|entries| entries.split(", ")).map(|entry| entry.trim_start_matches('B'));
    let planted: Vec<String> = patches(Ring::Core).into_iter().map(|patch| patch.name).collect();
    let excused: Vec<&str> = excused.collect();
    for entry in CATALOGUE {
        let number = format!("{entry:02}");
        let is_planted = planted.iter().any(|name| name.starts_with(&format!("B{number}-")));
        assert!(
            is_planted || excused.contains(&number.as_str()),
            "B{number} has neither a patch nor a reason why it has none"
        );
    }
}

#[test]
fn every_mutant_that_a_story_names_is_there() {
    let named = check_names(&workspace(), &patches(Ring::Core)).unwrap_or_else(|trouble| panic!("{trouble}"));
    assert!(named > 0, "stories name mutants");
}
