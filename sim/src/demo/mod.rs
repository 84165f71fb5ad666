//! The demonstration: a split brain told line by line, and a planted bug that seeds find.

mod narrate;
mod tale;

use std::path::Path;

use crate::explain::{Page, Subject, Window, picture};
use crate::plan::{Lie, Plan, Profile};
use crate::rng::derive;
use crate::run::{Failure, Report, arguments, run_plan, run_world};
use crate::scenario::Scenario;
use crate::world::{Outcome, World};
pub use narrate::narrate;
pub use tale::tale;

/// The story that is told, in the tool itself so that it needs no file.
pub const STORY: &str = "scenarios/fast/split_brain.toml";
const STORY_TEXT: &str = include_str!("../../../scenarios/fast/split_brain.toml");

/// The bug that is planted: a follower's read is given the index of an earlier one, as etcd did (#20418).
pub const PLANTED: Lie = Lie::StaleReadIndex;
/// Where the hunt for it begins, and how long it may last.
const BASE: u64 = 99;
const SEEDS_MAX: u64 = 2000;

/// A story that was played.
pub struct Told {
    pub about: String,
    pub report: Report,
    pub lines: Vec<String>,
    pub page: Page,
    /// The part of it before the calm, as SVG.
    pub picture: String,
}

/// Plays the story. Errors: the failure's text, or what is wrong with the story.
pub fn split_brain(seed: u64) -> Result<Told, String> {
    let scenario = Scenario::parse(Path::new(STORY), STORY_TEXT.to_owned());
    let scenario = scenario.map_err(|error| error.to_string())?;
    let (result, outcome, page) = explained(scenario.plan(seed))?;
    let report = result.map_err(|failure| failure.to_string())?;
    let lines = narrate(&outcome);
    let picture = picture(&outcome, 0, outcome.history.calm_since.at_ns);
    Ok(Told { about: scenario.about, report, lines, page, picture })
}

/// A bug that was found.
pub struct Found {
    /// Seeds that it took.
    pub seeds: u64,
    pub failure: Failure,
    /// The same seed again.
    pub again: Failure,
    pub page: Page,
}

/// Runs seeds until the planted bug is found. Errors: it is not, or it does not come again.
pub fn hunt() -> Result<Found, String> {
    for n in 0..SEEDS_MAX {
        let plan = planted(derive(BASE, n));
        let Err(failure) = run_plan(plan.clone(), false).0 else { continue };
        let (result, _, page) = explained(plan)?;
        let again = result.err().ok_or("the failure did not come again")?;
        return Ok(Found { seeds: n + 1, failure, again, page });
    }
    Err(format!("{} was not found in {SEEDS_MAX} seeds", PLANTED.name()))
}

fn planted(seed: u64) -> Plan {
    Plan { lie: Some(PLANTED), ..Plan::draw_sized(seed, Profile::LeaderIsolation, 3) }
}

fn explained(plan: Plan) -> Result<(Result<Report, Failure>, Outcome, Page), String> {
    let arguments = arguments(&plan);
    let (result, outcome) = run_world(World::new(plan, false).with_record());
    let replay = format!("cargo sim replay {arguments}");
    let subject = Subject { about: arguments, failure: result.as_ref().err(), outcome: &outcome, replay };
    let page = subject.page(Window::default())?;
    Ok((result, outcome, page))
}
