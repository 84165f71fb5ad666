//! What a failing run leaves: its plan and its trace, and lines to paste.

use std::path::PathBuf;
use std::process::Command;

use holdfast_sim::plan::Plan;
use holdfast_sim::run::{Failure, run_plan};
use holdfast_sim::scenario::Scenario;
use holdfast_sim::scenario::write::{Origin, write_plan};

/// What a failure says may be long: a plan's first line has the beginning.
const ABOUT_LETTERS_MAX: usize = 200;

/// Where a seed's files go.
pub fn folder(seed: u64) -> PathBuf {
    PathBuf::from(format!("target/sim/{seed:016x}"))
}

/// The commit of the tree, and whether the tree has been changed since.
pub fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    match (git(&["rev-parse", "--short", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) => {
            let state = if changes.trim().is_empty() { "clean" } else { "changed" };
            format!("{} {state}", commit.trim())
        }
        _ => "unknown".to_owned(),
    }
}

/// Says of a recorded plan that it is not of this tree: what it meets here may be something else.
pub fn note_origin(scenario: &Scenario) {
    let here = commit();
    if let Some(made) = scenario.commit.as_ref().filter(|made| **made != here) {
        eprintln!("{}: recorded at {made}, run at {here}", scenario.path.display());
    }
}

/// Says of a plan that broke something once that it does not any more.
pub fn note_sound(scenario: &Scenario) {
    if let (Some(check), Some(made)) = (scenario.broke, &scenario.commit) {
        println!(
            "{}: it broke `{check}` at {made} and breaks nothing at {}",
            scenario.path.display(),
            commit()
        );
    }
}

/// A plan that fails as a run did, as a file of this tree. Errors: something in it that no file can say.
pub fn plan_text(plan: &Plan, failure: &Failure) -> Result<String, String> {
    let about = failure.violation.what.chars().take(ABOUT_LETTERS_MAX).collect();
    write_plan(plan, &Origin { about, commit: commit(), broke: failure.violation.check })
}

/// Prints a failure, and leaves plan and trace in the seed's folder.
pub fn report(failure: &Failure) {
    println!("{failure}");
    println!(" commit   {}", commit());
    let Some(explicit) = &failure.explicit else { return };
    let folder = folder(failure.seed);
    let left = plan_text(explicit, failure).and_then(|plan| {
        let (_, lines) = run_plan((**explicit).clone(), true);
        let trace = lines.join("\n");
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join("plan.toml"), plan)?;
            std::fs::write(folder.join("trace.txt"), trace)
        };
        write().map_err(|error| error.to_string())
    });
    match left {
        Ok(()) => {
            println!(" shrink   cargo sim shrink {}", folder.join("plan.toml").display());
            println!(" plan and trace: {}", folder.display());
        }
        Err(why) => println!(" no plan is left: {why}"),
    }
}
