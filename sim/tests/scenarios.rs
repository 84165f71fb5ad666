//! Every file of `scenarios/fast` and `scenarios/history` with a few seeds: all checks hold, and all marks that it
//! names are hit.

use std::io::Write;
use std::path::Path;

use holdfast_sim::mutants::stories;
use holdfast_sim::run::run_plan;
use holdfast_sim::scenario::Scenario;
use holdfast_sim::scenario::farm::ScenarioFarm;

/// Seeds of each scenario.
const SEEDS: u64 = 8;

#[test]
fn every_story_holds_and_hits_its_marks() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sim is below the workspace");
    let scenarios = stories(workspace).unwrap_or_else(|trouble| panic!("{trouble}"));
    let mut faults = Vec::new();
    for scenario in &scenarios {
        let farm = ScenarioFarm {
            scenario,
            base: 0x5ce2_a210,
            seeds: SEEDS,
            jobs: std::thread::available_parallelism().map_or(2, usize::from),
            twice: false,
            failures_max: 1,
        };
        let harvest = farm.run();
        faults.extend(harvest.failures.iter().map(|failure| failure.to_string()));
        let unhit = farm.unhit(&harvest);
        if !unhit.is_empty() && harvest.failures.is_empty() {
            faults.push(format!("{}: no seed hit {unhit:?}", scenario.path.display()));
        }
    }
    for fault in &faults {
        // Past the capture of the test's output: whole lines to paste.
        std::io::stdout().write_all(format!("{fault}\n").as_bytes()).expect("standard output is open");
    }
    assert!(faults.is_empty(), "{} of {} stories fail", faults.len(), scenarios.len());
}

fn broken(text: &str) -> String {
    let scenario = Scenario::parse(Path::new("broken.toml"), text.to_owned()).expect("it is sound");
    let failure = run_plan(scenario.plan(1), false).0.expect_err("it does not hold");
    format!("{}: {}", failure.violation.check, failure.violation.what)
}

#[test]
fn an_answer_that_was_not_expected_fails_the_run() {
    let told = broken(
        "about = \"x\"\n[[step]]\nwhen = \"leader\"\n[[step]]\nget = { to = 0, key = \"k\" }\nexpect = { count = 1 }\n",
    );
    assert!(told.starts_with("expect: line 4: Range(") && told.contains("count: 0"), "{told}");
}

#[test]
fn a_condition_that_does_not_come_true_fails_the_run() {
    let told = broken(
        "about = \"x\"\n[[step]]\ncut = { between = \"all\", and = \"all\" }\n[[step]]\nwhen = \"leader\"\nwithin = \"9s\"\n",
    );
    assert!(told.starts_with("no_progress: line 4: not in time: Once { condition: Leader"), "{told}");
}

#[test]
fn a_role_that_nobody_has_fails_the_run() {
    let told = broken("about = \"x\"\n[[step]]\nget = { to = \"leader\", key = \"k\" }\n");
    assert_eq!(told, "script: line 2: nobody leads");
}

/// The first delete is not answered in time, and decided behind the second, which asks for the same and comes to the
/// same: each is matched with its own entry.
#[test]
fn equal_requests_are_matched_with_what_was_applied_when_they_were_answered() {
    let text = r#"
about = "x"
limits = { log_tail_bytes_max = 65536 }
timing = { election_ticks = 10 }
step = [
  { when = "leader", as = "a" },
  { member = "follower", as = "f" },
  { after = "1s" },
  { copy = { kind = "forward", from = "f", count = 1 }, as = "late" },
  { drop = { kind = "forward", from = "f" }, as = "lost" },
  { delete = { to = "f", key = "k" }, patience = "30s", expect = "unknown", waits = true },
  { heal = "lost" },
  { delete = { to = "f", key = "k" }, expect = { count = 0, revision = 1 } },
  { release = { mail = "late" } },
  { after = "1s" },
]
"#;
    let scenario = Scenario::parse(Path::new("equal.toml"), text.to_owned()).expect("it is sound");
    for seed in 0..20 {
        if let Err(failure) = run_plan(scenario.plan(seed), false).0 {
            panic!("{failure}");
        }
    }
}
