//! Scenario files: runs that a person writes down, in TOML.
//!
//! A file names what matters to its story; everything else comes from its profile (`calm` if none is
//! named) and the seed. `[[workload]]` and `[[fault]]` are drawn as in any plan; `[[step]]`s happen one
//! after the other beside them. Whatever the file says, every check of the simulator holds.

mod auth;
mod exact;
pub mod farm;
mod faults;
mod request;
mod settings;
mod steps;
mod table;
pub mod write;
mod write_request;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::check;
use crate::marks::Mark;
use crate::plan::{MembershipPlan, Plan, Profile};
use settings::Nodes;
use steps::Known;
use table::{Item, Read, Table, Trouble};

/// A scenario that was read and found sound.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub path: PathBuf,
    text: String,
    /// One line: what the story shows.
    pub about: String,
    /// The seed that the file is about, if it is about one.
    pub seed: Option<u64>,
    /// The commit that a recorded plan was made at.
    pub commit: Option<String>,
    /// What its runs must hit, each at least once.
    pub hits: Vec<Mark>,
    /// The check that a run of it broke once.
    pub broke: Option<&'static str>,
    /// Planted bugs that it finds.
    pub kills: Vec<Kill>,
}

/// A planted bug that a scenario says it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Name of a patch in `sim/mutants`.
    pub mutant: String,
    pub line: u32,
}

/// Why a file is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    pub path: PathBuf,
    /// From 1; 0 if the file could not be read at all.
    pub line: u32,
    pub what: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.what),
        }
    }
}

impl std::error::Error for ScenarioError {}

/// What a file says beside its plan.
struct Head {
    about: String,
    seed: Option<u64>,
    commit: Option<String>,
    check: Check,
}

/// What `[check]` says.
#[derive(Default)]
struct Check {
    hits: Vec<Mark>,
    broke: Option<&'static str>,
    /// Names of mutants, each with its offset.
    kills: Vec<(String, usize)>,
}

impl Scenario {
    /// Reads a file. Errors: what is wrong with it, with its line.
    pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError {
            path: path.to_owned(),
            line: 0,
            what: error.to_string(),
        })?;
        Scenario::parse(path, text)
    }

    /// The same with the text at hand.
    pub fn parse(path: &Path, text: String) -> Result<Scenario, ScenarioError> {
        match fill(&text, 0, false) {
            Ok((_, Head { about, seed, commit, check: Check { hits, broke, kills } })) => {
                let kill = |(mutant, at)| Kill { mutant, line: line_of(&text, at) };
                let kills = kills.into_iter().map(kill).collect();
                Ok(Scenario { path: path.to_owned(), text, about, seed, commit, hits, broke, kills })
            }
            Err(trouble) => Err(ScenarioError {
                path: path.to_owned(),
                line: line_of(&text, trouble.at),
                what: match recorded_at(&text) {
                    Some(commit) => format!("{} (a plan recorded at {commit})", trouble.what),
                    None => trouble.what,
                },
            }),
        }
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The plan of a seed.
    pub fn plan(&self, seed: u64) -> Plan {
        self.fill(seed, false)
    }

    /// The plan of a seed in which what the file leaves open is plain rather than drawn.
    pub fn even_plan(&self, seed: u64) -> Plan {
        self.fill(seed, true)
    }

    fn fill(&self, seed: u64, is_even: bool) -> Plan {
        let filled = fill(&self.text, seed, is_even);
        let (plan, _) = filled.expect("what is wrong with a file does not depend on the seed");
        Plan { scenario: Some(self.path.display().to_string()), ..plan }
    }
}

/// The commit that a file names, also one of which nothing else can be read.
fn recorded_at(text: &str) -> Option<String> {
    Table::parse(text, 0).ok()?.take("commit")?.text().ok()
}

/// The line, from 1, of a byte.
fn line_of(text: &str, at: usize) -> u32 {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() as u32
}

/// Reads a file and draws from `seed` what it leaves open.
fn fill(text: &str, seed: u64, is_even: bool) -> Read<(Plan, Head)> {
    let mut file = Table::parse(text, seed)?;
    let about = file.need("about")?.text()?;
    let fixed = file.take("seed").map(|item| item.bits()).transpose()?;
    let commit = file.take("commit").map(|item| item.text()).transpose()?;
    let profile = file.take("profile").map_or(Ok(Profile::Calm), |item| read_profile(&item))?;
    let three = Nodes { count: 3, always: 3, is_fixed: true };
    let nodes = file.take("nodes").map_or(Ok(three), settings::read_nodes)?;
    let mut plan = Plan::draw_sized(seed, profile, nodes.count);
    if !profile.changes_members() {
        plan.membership = MembershipPlan::still();
    }
    if is_even {
        plan.even_out();
    }
    settings::read_settings(&mut file, &mut plan)?;
    let steps = file.take("step").map_or(Ok(Vec::new()), Item::tables)?;
    if !steps.is_empty() {
        // A script says what goes wrong: an answer that it expects is not lost by chance.
        plan.reply_lost = 0.0;
    }
    settings::read_workloads(&mut file, &mut plan, !steps.is_empty())?;
    if let Some(item) = file.take("fault") {
        for t in item.tables()? {
            faults::read_fault(t, &mut plan)?;
        }
    }
    let is_exact = exact::read_exact(&mut file, &mut plan)?;
    let known = Known::of(&plan, nodes, is_exact);
    plan.script = steps::read_steps(steps, known, &mut plan, &|at| line_of(text, at))?;
    if !is_exact {
        plan.allow_for_script();
    }
    let check = file.take("check").map_or(Ok(Check::default()), read_check)?;
    file.finish()?;
    Ok((plan, Head { about, seed: fixed, commit, check }))
}

fn read_profile(item: &Item) -> Read<Profile> {
    let words: Vec<(&str, Profile)> = Profile::ALL.iter().map(|profile| (profile.name(), *profile)).collect();
    item.word(&words)
}

/// `[check]`: every check is always on; `hits` names marks, `kills` mutants, `broke` the check that failed once.
fn read_check(item: Item) -> Read<Check> {
    let mut t = item.table()?;
    if let Some(item) = t.take("all").filter(|item| item.flag() != Ok(true)) {
        return Err(item.trouble("every check is on: `all` is true"));
    }
    let marks: Vec<(&str, Mark)> = Mark::ALL.iter().map(|mark| (mark.name(), *mark)).collect();
    let hits = match t.take("hits") {
        Some(list) => list.list()?.iter().map(|item| read_mark(item, &marks)).collect::<Read<_>>()?,
        None => Vec::new(),
    };
    let checks: Vec<(&str, &'static str)> = check::NAMES.iter().map(|name| (*name, *name)).collect();
    let broke = t.take("broke").map(|item| item.word(&checks)).transpose()?;
    let kills = match t.take("kills") {
        Some(list) => list.list()?.iter().map(|item| Ok((item.text()?, item.at))).collect::<Read<_>>()?,
        None => Vec::new(),
    };
    t.finish()?;
    Ok(Check { hits, broke, kills })
}

/// A mark by its name in the sources or in snake case.
fn read_mark(item: &Item, marks: &[(&str, Mark)]) -> Read<Mark> {
    let text = item.text()?;
    let bare = text.replace('_', "").to_lowercase();
    match marks.iter().find(|(name, _)| name.to_lowercase() == bare) {
        Some((_, mark)) => Ok(*mark),
        None => Err(Trouble::new(item.at, format!("no mark is called `{text}`"))),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
