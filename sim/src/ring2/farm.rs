//! Many seeds of ring 2, each on a thread of its own, and what came of them all.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use super::storm::{MARKS, StormReport, run_storm_seed};
use crate::rng::derive;

/// Of so many seeds one is run twice.
const TWICE_EACH: u64 = 20;

/// Which seeds are run.
#[derive(Clone, Copy, Debug)]
pub struct Farm {
    /// From which seeds are derived.
    pub base: u64,
    /// Number of the first.
    pub first: u64,
    pub seeds: u64,
    pub jobs: usize,
    /// After so many failures no further seed is begun.
    pub failures_max: usize,
}

/// A seed that did not pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failed {
    pub number: u64,
    pub seed: u64,
    /// The check that fired, two spaces, and its words.
    pub why: String,
}

/// What came of many seeds.
#[derive(Debug)]
pub struct Harvest<T> {
    pub reports: Vec<T>,
    /// By number.
    pub failed: Vec<Failed>,
    pub tried: u64,
    pub wall_s: f64,
}

impl Farm {
    /// Runs all storms.
    pub fn storms(self) -> Harvest<StormReport> {
        self.run(storm)
    }

    /// Runs `run` for each seed.
    pub fn run<T: Send>(self, run: impl Fn(u64) -> Result<T, String> + Sync) -> Harvest<T> {
        let began = Instant::now();
        let (next, failures) = (AtomicU64::new(0), AtomicUsize::new(0));
        let done = Mutex::new((Vec::new(), Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    while failures.load(Ordering::Relaxed) < self.failures_max {
                        let number = self.first + next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.first + self.seeds {
                            return;
                        }
                        let seed = derive(self.base, number);
                        let result = run(seed);
                        let mut done = done.lock().expect("no seed panics here");
                        match result {
                            Ok(report) => done.0.push(report),
                            Err(why) => {
                                failures.fetch_add(1, Ordering::Relaxed);
                                done.1.push(Failed { number, seed, why });
                            }
                        }
                    }
                });
            }
        });
        let (reports, mut failed) = done.into_inner().expect("as above");
        failed.sort();
        let tried = (reports.len() + failed.len()) as u64;
        Harvest { reports, failed, tried, wall_s: began.elapsed().as_secs_f64() }
    }
}

/// A share of the seeds is run twice.
fn storm(seed: u64) -> Result<StormReport, String> {
    let report = run_storm_seed(seed)?;
    if seed.is_multiple_of(TWICE_EACH) {
        let again = run_storm_seed(seed)?;
        if again.trace != report.trace {
            return Err(format!("twice/trace  two runs differ: {:x} and {:x}", report.trace, again.trace));
        }
    }
    Ok(report)
}

impl Harvest<StormReport> {
    pub fn sum(&self, of: fn(&StormReport) -> u64) -> u64 {
        self.reports.iter().map(of).sum()
    }

    fn marks(&self) -> impl Iterator<Item = (&'static str, u64)> {
        MARKS
            .iter()
            .map(|mark| (*mark, self.reports.iter().filter_map(|report| report.marks.get(mark)).sum::<u64>()))
    }

    /// Marks that no seed hit.
    pub fn missing(&self) -> Vec<&'static str> {
        self.marks().filter(|(_, count)| *count == 0).map(|(mark, _)| mark).collect()
    }

    /// The closing line.
    pub fn line(&self) -> String {
        let marks: Vec<String> = self.marks().map(|(mark, count)| format!("{mark}={count}")).collect();
        let missing = self.missing();
        format!(
            "ring2 seeds={} failed={} ops={} acked={} events={} {} marks_missing={} undecided={} wall_s={:.1}",
            self.tried,
            self.failed.len(),
            self.sum(|report| report.calls),
            self.sum(|report| report.acknowledged),
            self.sum(|report| report.events),
            marks.join(" "),
            if missing.is_empty() { "none".to_owned() } else { missing.join(",") },
            self.sum(|report| report.undecided),
            self.wall_s,
        )
    }
}

impl Failed {
    /// What is printed of it: the check, and the line that runs it again.
    pub fn words(&self) -> String {
        format!("FAIL {}\n replay   cargo madsim replay --seed {:#x}", self.why, self.seed)
    }

    /// The kind of its check as an exit code, as ring 1 has them.
    pub fn exit_code(&self) -> u8 {
        exit_code(&self.why)
    }
}

/// 10: an assertion, or a process that died; 11: a promise broken; 12: no progress; 13: two runs differ.
pub fn exit_code(why: &str) -> u8 {
    match why.split_once('/').map(|(kind, _)| kind) {
        Some("safety") => 11,
        Some("liveness") => 12,
        Some("twice") => 13,
        _ => 10,
    }
}
