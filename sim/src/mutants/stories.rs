//! Stories: scenario files that say which mutants they kill, and whether they do.
//!
//! The same seeds of a story are run without any mutant and with each that it names: all must pass without, and
//! one must fail with it, soon.

use std::fs;
use std::path::{Path, PathBuf};

use super::results::{self, Key, Outcome, Results};
use super::trial::Trial;
use super::{Bag, Hunt, Patch, Tree, Trouble, describe, outcome};
use crate::scenario::Scenario;

/// Folders of stories, below `scenarios`.
const FOLDERS: [&str; 2] = ["fast", "history"];
/// Seeds of each.
pub const SEEDS: u64 = 200;
/// Time of one processor in which a mutant must be found.
const SECONDS_MAX: f64 = 60.0;

/// A story and a mutant that it names.
struct Pair<'a> {
    scenario: &'a Scenario,
    patch: &'a Patch,
    outcome: Option<Outcome>,
}

/// Every scenario of a workspace that belongs to these folders, its path relative to the workspace.
pub fn stories(workspace: &Path) -> Result<Vec<Scenario>, Trouble> {
    let mut scenarios = Vec::new();
    for folder in FOLDERS {
        let folder = Path::new("scenarios").join(folder);
        let whole = workspace.join(&folder);
        let mut names = Vec::new();
        for entry in fs::read_dir(&whole).map_err(|error| Trouble::io(&whole, error))? {
            names.push(entry.map_err(|error| Trouble::io(&whole, error))?.file_name());
        }
        names.sort();
        for name in names.iter().filter(|name| name.to_string_lossy().ends_with(".toml")) {
            let mut scenario = Scenario::read(&whole.join(name)).map_err(|error| Trouble::File {
                path: error.path.clone(),
                what: format!("line {}: {}", error.line, error.what),
            })?;
            scenario.path = folder.join(name);
            scenarios.push(scenario);
        }
    }
    Ok(scenarios)
}

/// The stories that name each mutant. Errors: a name that no patch has, with file and line.
fn pairs<'a>(scenarios: &'a [Scenario], patches: &'a [Patch]) -> Result<Vec<Pair<'a>>, Trouble> {
    let mut pairs = Vec::new();
    for scenario in scenarios {
        for kill in &scenario.kills {
            let Some(patch) = patches.iter().find(|patch| patch.name == kill.mutant) else {
                let what = format!("line {}: no mutant is called {}", kill.line, kill.mutant);
                return Err(Trouble::File { path: scenario.path.clone(), what });
            };
            pairs.push(Pair { scenario, patch, outcome: None });
        }
    }
    Ok(pairs)
}

/// Names of mutants that are in stories and not among the patches. For tests.
pub fn check_names(workspace: &Path, patches: &[Patch]) -> Result<usize, Trouble> {
    Ok(pairs(&stories(workspace)?, patches)?.len())
}

impl Hunt {
    /// Runs each story without and with each mutant that it names; `only` begins the name of a mutant or of a
    /// story's file. The docs are written if all were run.
    pub fn run_stories(&self, say: &mut dyn FnMut(&str)) -> Result<Bag, Trouble> {
        let patches = Hunt { only: None, ..self.clone() }.patches()?;
        let scenarios = stories(&self.workspace)?;
        let mut pairs = pairs(&scenarios, &patches)?;
        if let Some(only) = &self.only {
            pairs.retain(|Pair { scenario, patch, .. }| {
                let stem = scenario.path.file_stem().unwrap_or_default().to_string_lossy();
                patch.name.starts_with(only.as_str()) || stem.starts_with(only.as_str())
            });
            if pairs.is_empty() {
                return Err(Trouble::NoSuchMutant { only: only.clone() });
            }
        }
        let folder = self.workspace.join("target").join("mutants");
        let tree = Tree::refresh(&self.workspace, &folder, self.ring)?;
        let mut results = Results::read(folder.join("stories.tsv"))?;
        self.check_stories(&tree, &folder, &pairs, &mut results, say)?;
        pairs.sort_by(|one, other| one.patch.name.cmp(&other.patch.name));
        let mut built: Option<(&str, PathBuf)> = None;
        for pair in &mut pairs {
            let name = pair.name();
            let key = Key::new(&name, &(pair.patch.diff.clone() + pair.scenario.text()), self.base);
            let known = results.settled(&key, SEEDS, tree.digest).filter(|_| !self.fresh);
            let outcome = match known {
                Some(outcome) => outcome.clone(),
                None => {
                    let tool = match built.take().filter(|(mutant, _)| *mutant == pair.patch.name) {
                        Some((_, tool)) => tool,
                        None => tree.build_with(pair.patch)?,
                    };
                    let trial = self.trial(&tool, &folder, pair.scenario);
                    let verdict = trial.run("run", self.base, SEEDS)?;
                    built = Some((&pair.patch.name, tool));
                    let outcome = outcome(&tree, verdict.seeds, verdict.took, verdict.broken);
                    results.record(key, outcome.clone())?;
                    outcome
                }
            };
            say(&describe(&name, &outcome));
            pair.outcome = Some(outcome);
        }
        let living = pairs.iter().filter(|pair| !pair.is_killed()).map(Pair::name).collect();
        let summary = summary(&pairs);
        if self.only.is_none() {
            pairs.sort_by(|one, other| one.scenario.path.cmp(&other.scenario.path));
            let document = document(&scenarios, &pairs, &summary);
            results::write_document(&self.workspace.join("docs").join("scenarios.md"), &document)?;
        }
        Ok(Bag { summary, living, found_after_all: Vec::new() })
    }

    fn trial(&self, tool: &Path, folder: &Path, scenario: &Scenario) -> Trial {
        Trial {
            tool: tool.to_owned(),
            output: folder.join("output.txt"),
            jobs: 1,
            profile: None,
            scenario: Some(self.workspace.join(&scenario.path)),
            seed_takes: std::time::Duration::from_millis(200),
        }
    }

    /// Every story must pass its seeds on the tree as it is.
    fn check_stories(
        &self,
        tree: &Tree,
        folder: &Path,
        pairs: &[Pair<'_>],
        results: &mut Results,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), Trouble> {
        let mut tool: Option<PathBuf> = None;
        let mut seen: Vec<&Path> = Vec::new();
        for Pair { scenario, .. } in pairs {
            if seen.contains(&scenario.path.as_path()) {
                continue;
            }
            seen.push(&scenario.path);
            let name = scenario.path.display().to_string();
            let key = Key::new(&name, scenario.text(), self.base);
            if results.settled(&key, SEEDS, tree.digest).is_some() {
                continue;
            }
            let built = tool.take().map_or_else(|| tree.build(), Ok)?;
            let verdict = self.trial(&built, folder, scenario).run("run", self.base, SEEDS)?;
            tool = Some(built);
            let outcome = outcome(tree, verdict.seeds, verdict.took, verdict.broken.clone());
            say(&describe(&name, &outcome));
            if let Some((check, words)) = verdict.broken {
                return Err(Trouble::Control { check, words: format!("{name}: {words}") });
            }
            results.record(key, outcome)?;
        }
        Ok(())
    }
}

impl Pair<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.scenario.path.display(), self.patch.name)
    }

    fn is_killed(&self) -> bool {
        self.outcome
            .as_ref()
            .is_some_and(|outcome| outcome.killed.is_some() && outcome.seconds <= SECONDS_MAX)
    }
}

fn summary(pairs: &[Pair<'_>]) -> String {
    let killed = pairs.iter().filter(|pair| pair.is_killed()).count();
    let seconds = pairs.iter().filter_map(|pair| pair.outcome.as_ref()).map(|outcome| outcome.seconds);
    let longest = seconds.fold(0.0, f64::max);
    format!("stories_kill={killed} of={} longest_s={longest:.1}", pairs.len())
}

/// The generated part of the docs.
fn document(scenarios: &[Scenario], pairs: &[Pair<'_>], summary: &str) -> String {
    let mut text = format!("{}\n\n| story | what it shows |\n| --- | --- |\n", results::BEGIN);
    for scenario in scenarios {
        text +=
            &format!("| [{}](../{}) | {} |\n", name_of(scenario), scenario.path.display(), scenario.about);
    }
    text += &format!("\n`{summary}`\n\n");
    text += "| story | mutant | what is wrong with it | seeds | seconds | found by | commit |\n";
    text += "| --- | --- | --- | ---: | ---: | --- | --- |\n";
    for Pair { scenario, patch, outcome } in pairs {
        let Some(Outcome { seeds, seconds, killed, commit, day, .. }) = outcome else { continue };
        let check = killed.as_ref().map_or("**lives**", |(check, _)| check.as_str());
        let (story, mutant, what) = (name_of(scenario), &patch.name, &patch.what);
        text +=
            &format!("| {story} | {mutant} | {what} | {seeds} | {seconds:.1} | {check} | {commit} {day} |\n");
    }
    text + "\n" + results::END
}

/// A story as it is called: its folder and name.
fn name_of(scenario: &Scenario) -> String {
    let path = scenario.path.strip_prefix("scenarios").unwrap_or(&scenario.path);
    path.with_extension("").display().to_string()
}
