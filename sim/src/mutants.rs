//! Mutants: the catalogue's bugs, planted one by one in a copy of the tree. The simulator must find each.
//!
//! A simulator that finds nothing proves little; one that finds what was planted shows what it would find.
//! Outcomes are kept, so that a hunt that was broken off goes on where it was. What breaks with a mutant counts
//! only if it does not break without it: each find is tried again on the clean tree.

mod patch;
mod results;
mod ring;
mod stories;
mod tree;
mod trial;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use patch::Patch;
use results::{Key, Outcome, Results, Table};
pub use ring::Ring;
pub use stories::{SEEDS as STORY_SEEDS, check_names, stories};
pub use tree::Tree;
use trial::{Trial, Verdict};

/// Sizes of the runs that make up a hunt: most mutants fall in the first, and one that loops shows early.
const FIRST_RUN_SEEDS: u64 = 50;
const RUN_SEEDS_MAX: u64 = 2_000;
/// One whose header names a profile gets a share of its seeds from there first.
const AIMED_SHARE: u64 = 10;
/// Of a mutant that lived through its seeds, one in so many is run twice: its traces must be the same.
const TWICE_EACH: u64 = 50;
/// Seeds that the clean tree must pass beforehand; their time is the measure for all runs.
const CONTROL_SEEDS: u64 = 200;
/// The unmutated tree, among the outcomes.
const CONTROL: &str = "control";

/// A hunt for all mutants, or some.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Root of the workspace.
    pub workspace: PathBuf,
    /// Whose mutants they are.
    pub ring: Ring,
    /// Mutants whose name begins so; all without it.
    pub only: Option<String>,
    pub seeds: u64,
    /// Base from which the seeds are derived.
    pub base: u64,
    pub jobs: usize,
    /// Hunt those again that were found before.
    pub fresh: bool,
}

/// Why a hunt cannot be made, or not go on.
#[derive(Debug)]
pub enum Trouble {
    Io {
        path: PathBuf,
        error: std::io::Error,
    },
    /// A file of the hunt is not as it must be.
    File {
        path: PathBuf,
        what: String,
    },
    Build {
        said: String,
    },
    Git {
        said: String,
    },
    /// The tree fails without any mutant: nothing can be learned from it.
    Control {
        check: String,
        words: String,
    },
    /// Somebody ended a run; what is known by then is kept.
    Interrupted,
    /// No mutant has a name that begins so.
    NoSuchMutant {
        only: String,
    },
}

impl Trouble {
    pub fn io(path: &Path, error: std::io::Error) -> Trouble {
        Trouble::Io { path: path.to_owned(), error }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Trouble::File { path, what } => write!(f, "{}: {what}", path.display()),
            Trouble::Build { said } => write!(f, "the tree cannot be built:\n{said}"),
            Trouble::Git { said } => write!(f, "git: {said}"),
            Trouble::Control { check, words } => {
                write!(f, "the tree without any mutant fails: {check}  {words}")
            }
            Trouble::Interrupted => write!(f, "a run was ended from outside"),
            Trouble::NoSuchMutant { only } => write!(f, "no mutant has a name that begins with {only}"),
        }
    }
}

impl std::error::Error for Trouble {}

/// What a hunt came to.
#[derive(Clone, Debug, Default)]
pub struct Bag {
    /// `killed= of= median_seeds=`
    pub summary: String,
    /// Mutants that lived though none of them is known to.
    pub living: Vec<String>,
    /// Mutants that were found though they are said to live: their header is out of date.
    pub found_after_all: Vec<String>,
}

impl Hunt {
    /// The mutants that are hunted.
    pub fn patches(&self) -> Result<Vec<Patch>, Trouble> {
        let mut patches = Patch::read_all(&self.workspace.join(self.ring.patches()))?;
        if let Some(only) = &self.only {
            patches.retain(|patch| patch.name.starts_with(only.as_str()));
            if patches.is_empty() {
                return Err(Trouble::NoSuchMutant { only: only.clone() });
            }
        }
        Ok(patches)
    }

    /// Plants and hunts each mutant; `say` is told of each. The docs are written if all were hunted.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<Bag, Trouble> {
        let patches = self.patches()?;
        let folder = self.workspace.join("target").join("mutants");
        let tree = Tree::refresh(&self.workspace, &folder, self.ring)?;
        let mut results = Results::read(folder.join(self.ring.results()))?;
        let clean = self.check_control(&tree, &folder, &mut results, say)?;
        let mut table = Table::new();
        for patch in &patches {
            let key = Key::new(&patch.name, &patch.diff, self.base);
            let settled = results.settled(&key, self.seeds, tree.digest);
            let outcome = match settled.filter(|_| !self.fresh) {
                Some(outcome) => outcome.clone(),
                None => {
                    let outcome = self.hunt(&tree, patch, &clean)?;
                    results.record(key, outcome.clone())?;
                    outcome
                }
            };
            say(&describe(&patch.name, &outcome));
            table.push((patch, outcome));
        }
        if self.only.is_none() {
            self.write_table(&patches, &results)?;
        }
        let named = |is_wanted: &dyn Fn(&Patch, &Outcome) -> bool| {
            let wanted = table.iter().filter(|(patch, outcome)| is_wanted(patch, outcome));
            wanted.map(|(patch, _)| patch.name.clone()).collect::<Vec<_>>()
        };
        Ok(Bag {
            summary: results::summary(&table),
            living: named(&|patch, outcome| patch.survives.is_none() && outcome.killed.is_none()),
            found_after_all: named(&|patch, outcome| patch.survives.is_some() && outcome.killed.is_some()),
        })
    }

    /// Writes into the docs what is known, and hunts nothing; the summary.
    pub fn tell(&self) -> Result<String, Trouble> {
        let patches = self.patches()?;
        let results = Results::read(self.workspace.join("target").join("mutants").join(self.ring.results()))?;
        self.write_table(&patches, &results)
    }

    fn write_table(&self, patches: &[Patch], results: &Results) -> Result<String, Trouble> {
        let (mut table, mut untried) = (Table::new(), Vec::new());
        for patch in patches {
            match results.last(&Key::new(&patch.name, &patch.diff, self.base)) {
                Some(outcome) => table.push((patch, outcome.clone())),
                None => untried.push(patch.name.as_str()),
            }
        }
        let document = results::document(&table, &untried);
        results::write_document(&self.workspace.join("docs").join(self.ring.page()), &document)?;
        Ok(results::summary(&table))
    }

    /// The tree as it is must pass what mutants must not. Its tool is kept, and how long a seed takes it.
    fn check_control(
        &self,
        tree: &Tree,
        folder: &Path,
        results: &mut Results,
        say: &mut dyn FnMut(&str),
    ) -> Result<Trial, Trouble> {
        let key = Key::new(CONTROL, "", self.base);
        let known = results.settled(&key, CONTROL_SEEDS, tree.digest);
        let kept = folder.join(self.ring.clean());
        let mut trial = Trial {
            tool: kept.clone(),
            output: folder.join("output.txt"),
            jobs: self.jobs,
            profile: None,
            scenario: None,
            seed_takes: Duration::from_secs(2),
        };
        if let Some(known) = known.filter(|_| kept.is_file()) {
            trial.seed_takes = Duration::from_secs_f64(known.seconds / known.seeds as f64);
            return Ok(trial);
        }
        std::fs::copy(tree.build()?, &kept).map_err(|error| Trouble::io(&kept, error))?;
        let Verdict { seeds, broken, took, .. } = trial.run("run", self.base, CONTROL_SEEDS)?;
        let outcome = outcome(tree, seeds, took, broken.clone());
        say(&describe(CONTROL, &outcome));
        if let Some((check, words)) = broken {
            return Err(Trouble::Control { check, words });
        }
        trial.seed_takes = took / CONTROL_SEEDS as u32;
        results.record(key, outcome)?;
        Ok(trial)
    }

    fn hunt(&self, tree: &Tree, patch: &Patch, clean: &Trial) -> Result<Outcome, Trouble> {
        let tool = tree.build_with(patch)?;
        let trial = Trial { tool, ..clean.clone() };
        let aimed = Trial { profile: patch.aim.clone(), ..trial.clone() };
        let share = if patch.aim.is_some() { self.seeds.div_ceil(AIMED_SHARE) } else { 0 };
        let first = match share {
            0 => Verdict::default(),
            seeds => aimed.run("run", self.base, seeds)?,
        };
        check_clean(&Trial { profile: patch.aim.clone(), ..clean.clone() }, "run", self.base, &first)?;
        match (first.broken, &patch.aim) {
            (Some((check, words)), Some(aim)) => {
                let killed = Some((format!("{check} ({aim})"), words));
                Ok(outcome(tree, first.seeds, first.took, killed))
            }
            _ => self.try_seeds(tree, &trial, clean, first.took),
        }
    }

    /// Runs seeds until something breaks, or all of them.
    fn try_seeds(
        &self,
        tree: &Tree,
        trial: &Trial,
        clean: &Trial,
        mut took: Duration,
    ) -> Result<Outcome, Trouble> {
        let (mut tried, mut size, mut killed) = (0, FIRST_RUN_SEEDS, None);
        let mut base = self.base;
        while killed.is_none() && tried < self.seeds {
            let verdict = trial.run("run", base, size.min(self.seeds - tried))?;
            check_clean(clean, "run", base, &verdict)?;
            tried += verdict.seeds;
            took += verdict.took;
            killed = verdict.broken;
            base += 1;
            size = (size * 4).min(RUN_SEEDS_MAX);
        }
        if killed.is_none() && self.ring.has_twice() {
            let verdict = trial.run("twice", self.base, self.seeds.div_ceil(TWICE_EACH))?;
            check_clean(clean, "twice", self.base, &verdict)?;
            took += verdict.took;
            killed = verdict.broken;
        }
        Ok(outcome(tree, tried, took, killed))
    }
}

fn outcome(tree: &Tree, seeds: u64, took: Duration, killed: Option<(String, String)>) -> Outcome {
    let (sources, commit, day) = (tree.digest, tree.commit.clone(), tree.day.clone());
    Outcome { seeds, seconds: took.as_secs_f64(), killed, sources, commit, day }
}

/// What broke with a mutant must not break without it.
fn check_clean(clean: &Trial, command: &str, base: u64, verdict: &Verdict) -> Result<(), Trouble> {
    if verdict.broken.is_none() {
        return Ok(());
    }
    let again = match &verdict.replay {
        Some(words) => clean.replay(words)?,
        None => clean.run(command, base, verdict.seeds)?,
    };
    match again.broken {
        None => Ok(()),
        Some((check, words)) => {
            let replay = again.replay.or(verdict.replay.clone()).unwrap_or_default();
            Err(Trouble::Control { check, words: format!("{words} ({replay})") })
        }
    }
}

fn describe(name: &str, outcome: &Outcome) -> String {
    let Outcome { seeds, seconds, killed, .. } = outcome;
    match killed {
        Some((check, words)) => {
            let words: String = words.chars().take(90).collect();
            format!("{name:48} found  seeds={seeds} s={seconds:.1} {check}  {words}")
        }
        None => format!("{name:48} lives  seeds={seeds} s={seconds:.1}"),
    }
}
