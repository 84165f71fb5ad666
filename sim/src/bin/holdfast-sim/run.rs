//! `run`: many seeds.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use holdfast_sim::plan::Profile;
use holdfast_sim::run::{Farm, Harvest};

use super::{corpus, failures, parse_profile, parse_seed, refuse, scenarios, twice};

#[derive(clap::Args, Clone)]
pub struct Many {
    /// Scenario files; without any, the runs are those of profiles.
    #[arg(conflicts_with_all = ["profile", "members", "minutes"])]
    pub scenarios: Vec<PathBuf>,
    /// How many; 1000, and of each scenario 100, if nothing is said.
    #[arg(long)]
    pub seeds: Option<u64>,
    /// Run for so long, as many seeds as it takes.
    #[arg(long, conflicts_with = "seeds")]
    pub minutes: Option<f64>,
    /// Base from which the seeds are derived; decimal, or hexadecimal with 0x.
    #[arg(long, default_value = "1", value_parser = parse_seed)]
    pub from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// Profile; each seed's own without it.
    #[arg(long, value_parser = parse_profile)]
    pub profile: Option<Profile>,
    /// Members; drawn from each seed without it.
    #[arg(long)]
    pub members: Option<usize>,
    /// Run again what failed in earlier runs; what passes now is forgotten.
    #[arg(long, conflicts_with_all = ["scenarios", "profile", "members", "minutes", "seeds"])]
    failed: bool,
    /// Stop after so many failures.
    #[arg(long, default_value_t = 5)]
    pub failures: usize,
}

impl Many {
    pub fn run(&self, twice: bool) -> ExitCode {
        if !self.scenarios.is_empty() {
            return scenarios::run(self, twice);
        }
        if twice && self.failed {
            return refuse("what failed is run again by `run`");
        }
        if twice {
            return twice::run(self);
        }
        if self.failed {
            return corpus::run_failed();
        }
        let start = Instant::now();
        let harvest = self.farm(start).run();
        end_progress();
        let code = self.report(&harvest);
        println!("{:?}\n{:?} replayed={}", harvest.counts, harvest.checked, harvest.replayed);
        println!("marks: {}", harvest.marks.table());
        corpus::keep(&harvest);
        println!("{}", harvest.summary(start.elapsed().as_secs_f64()));
        code
    }

    /// The farm that is meant, begun at `start`.
    pub fn farm(&self, start: Instant) -> Farm {
        let until = self.minutes.map(|minutes| start + Duration::from_secs_f64(60.0 * minutes.max(0.0)));
        Farm {
            base: self.from,
            seeds: self.seeds.unwrap_or(if until.is_some() { u64::MAX } else { 1000 }),
            jobs: self.jobs,
            profile: self.profile,
            members: self.members,
            twice: false,
            failures_max: self.failures,
            until,
            progress: std::io::stderr().is_terminal().then_some(show_progress),
        }
    }

    /// Prints what failed, and leaves plans and traces. Exit code: that of the first failure; 12 if too little was
    /// acknowledged to prove anything.
    pub fn report(&self, harvest: &Harvest) -> ExitCode {
        for failure in harvest.failures.iter().take(self.failures) {
            failures::report(failure);
        }
        let too_little = harvest.too_little();
        if let Some(what) = &too_little {
            println!("{what}");
        }
        match (harvest.failures.first(), too_little) {
            (Some(failure), _) => ExitCode::from(failure.exit_code()),
            (None, Some(_)) => ExitCode::from(12),
            (None, None) => ExitCode::SUCCESS,
        }
    }
}

/// One line on a terminal, written over again and again.
fn show_progress(harvest: &Harvest) {
    if harvest.seeds.is_multiple_of(10) {
        let line = format!("\r{} seeds, {} failed", harvest.seeds, harvest.failures.len());
        // A terminal that went away is nobody's failure.
        let _gone = std::io::stderr().write_all(line.as_bytes());
    }
}

fn end_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}
