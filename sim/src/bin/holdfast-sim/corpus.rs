//! What past runs left below `target/`: how far each commit came, and the runs that fell.
//!
//! Nothing of it is needed for anything: a corpus that cannot be opened costs a warning.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use holdfast_sim::marks::Mark;
use holdfast_sim::run::{Failure, Harvest, run_plan};
use serde_json::{Value, json};

use super::failures::commit;
use super::{Seed, failures, refuse};

/// Where it is, from the folder that the tool was started in.
const PATH: &str = "target/sim/corpus";
/// One process has it at a time, for milliseconds.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// The corpus, open.
pub struct Corpus {
    /// Sums by `COMMIT\0NAME`, 8 bytes, little-endian.
    totals: sled::Tree,
    /// What a failure said, as JSON, by the arguments that name its run.
    fallen: sled::Tree,
}

/// A run that fell.
pub struct Fallen {
    /// What names it on the command line.
    pub arguments: String,
    pub check: String,
    pub commit: String,
}

/// Sums of one commit by name.
pub type Totals = BTreeMap<String, u64>;

impl Corpus {
    /// Opens it, or begins one. Errors: what stands against it.
    pub fn open(path: &Path) -> Result<Corpus, String> {
        let mut tries = 0;
        let db = loop {
            match sled::open(path) {
                Ok(db) => break db,
                Err(sled::Error::Io(_)) if tries < TRIES => std::thread::sleep(PAUSE),
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
            tries += 1;
        };
        let tree = |name: &str| db.open_tree(name).map_err(|error| error.to_string());
        Ok(Corpus { totals: tree("totals")?, fallen: tree("fallen")? })
    }

    /// Adds what came of a set of runs.
    pub fn add(&self, harvest: &Harvest, commit: &str) -> Result<(), String> {
        let marks = Mark::ALL.iter().map(|mark| (format!("mark {}", mark.name()), harvest.marks.of(*mark)));
        let counts = harvest.counts.each().into_iter().map(|(name, sum)| (name.to_owned(), sum));
        let runs = [("seeds", harvest.seeds), ("failed", harvest.failures.len() as u64)];
        let runs = runs.into_iter().map(|(name, sum)| (name.to_owned(), sum));
        for (name, sum) in runs.chain(counts).chain(marks) {
            let key = format!("{commit}\0{name}");
            let add = |old: Option<&[u8]>| Some((number(old.unwrap_or(&[])) + sum).to_le_bytes().to_vec());
            self.totals.fetch_and_update(key, add).map_err(|error| error.to_string())?;
        }
        for failure in &harvest.failures {
            self.remember(failure, commit)?;
        }
        self.flush()
    }

    fn remember(&self, failure: &Failure, commit: &str) -> Result<(), String> {
        let what = json!({ "check": failure.violation.check, "commit": commit });
        let key = failure.arguments.as_bytes();
        self.fallen.insert(key, what.to_string().as_bytes()).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// The runs that fell and have not passed since.
    pub fn fallen(&self) -> Result<Vec<Fallen>, String> {
        let read = |pair: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = pair.map_err(|error| error.to_string())?;
            let value: Value = serde_json::from_slice(&value).map_err(|error| error.to_string())?;
            let text = |name: &str| value[name].as_str().unwrap_or("unknown").to_owned();
            let arguments = String::from_utf8_lossy(&key).into_owned();
            Ok(Fallen { arguments, check: text("check"), commit: text("commit") })
        };
        self.fallen.iter().map(read).collect()
    }

    /// Sums by commit.
    pub fn totals(&self) -> Result<BTreeMap<String, Totals>, String> {
        let mut totals: BTreeMap<String, Totals> = BTreeMap::new();
        for pair in &self.totals {
            let (key, value) = pair.map_err(|error| error.to_string())?;
            let key = String::from_utf8_lossy(&key).into_owned();
            let Some((commit, name)) = key.split_once('\0') else { continue };
            totals.entry(commit.to_owned()).or_default().insert(name.to_owned(), number(&value));
        }
        Ok(totals)
    }

    fn forget(&self, fallen: &Fallen) -> Result<(), String> {
        self.fallen.remove(&fallen.arguments).map_err(|error| error.to_string())?;
        self.flush()
    }

    fn flush(&self) -> Result<(), String> {
        self.totals.flush().and_then(|_| self.fallen.flush()).map_err(|error| error.to_string())?;
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// The corpus of this folder.
pub fn open() -> Result<Corpus, String> {
    Corpus::open(Path::new(PATH))
}

/// Keeps what came of a set of runs.
pub fn keep(harvest: &Harvest) {
    if let Err(why) = open().and_then(|corpus| corpus.add(harvest, &commit())) {
        eprintln!("holdfast-sim: what came of these runs is not kept: {why}");
    }
}

/// Runs again what fell. Exit code: that of the first that falls again.
pub fn run_failed() -> ExitCode {
    // Not held open meanwhile: other processes want to keep what comes of their runs.
    let fallen = match open().and_then(|corpus| corpus.fallen()) {
        Ok(fallen) => fallen,
        Err(why) => return refuse(&why),
    };
    let (mut code, mut again) = (0, 0);
    for run in &fallen {
        match repeat(run) {
            Ok(None) => {
                println!("passes now: {} ({} at {})", run.arguments, run.check, run.commit);
                if let Err(why) = open().and_then(|corpus| corpus.forget(run)) {
                    return refuse(&why);
                }
            }
            Ok(Some(failure)) => {
                failures::report(&failure);
                again += 1;
                code = if code == 0 { failure.exit_code() } else { code };
            }
            Err(why) => println!("cannot be run any more: {} ({why})", run.arguments),
        }
    }
    println!("repeated={} failed={again}", fallen.len());
    ExitCode::from(code)
}

/// A run by the words that name it.
#[derive(Parser)]
struct Named {
    #[command(flatten)]
    seed: Seed,
}

fn repeat(run: &Fallen) -> Result<Option<Failure>, String> {
    let (which, seed) = run.arguments.split_once(" --seed ").ok_or("it names no seed")?;
    // What is no list of flags is a path, which may have spaces.
    let which: Vec<&str> = if which.starts_with("--") { which.split(' ').collect() } else { vec![which] };
    let words = ["holdfast-sim"].into_iter().chain(which).chain(["--seed"]).chain(seed.split(' '));
    let named = Named::try_parse_from(words).map_err(|error| error.to_string())?;
    Ok(run_plan(named.seed.plan()?, false).0.err())
}

#[cfg(test)]
mod tests {
    use holdfast_sim::plan::{Lie, Plan, Profile};

    use super::*;

    #[test]
    fn what_fell_is_kept_and_found_again_by_its_words() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let corpus = Corpus::open(folder.path()).expect("a corpus begins");
        let plan = Plan { lie: Some(Lie::Sleepless), ..Plan::draw_sized(7, Profile::Calm, 3) };
        let failure = run_plan(plan, false).0.expect_err("members that never sleep are noticed");
        let harvest = Harvest { seeds: 3, failures: vec![failure.clone()], ..Harvest::default() };
        corpus.add(&harvest, "abc clean").expect("it is written");
        corpus.add(&harvest, "abc clean").expect("it is written");
        drop(corpus);
        let corpus = Corpus::open(folder.path()).expect("the corpus is there");
        assert_eq!(corpus.totals().expect("it is read")["abc clean"]["seeds"], 6);
        let fallen = corpus.fallen().expect("it is read");
        assert_eq!(fallen.len(), 1, "one run is one row however often it falls");
        let again = repeat(&fallen[0]).expect("the words name a run").expect("it falls again");
        assert_eq!((again.trace_hash, again.violation.check), (failure.trace_hash, failure.violation.check));
        corpus.forget(&fallen[0]).expect("it is written");
        assert!(corpus.fallen().expect("it is read").is_empty());
    }
}
