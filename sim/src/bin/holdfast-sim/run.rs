//! `run` and `twice`: many seeds.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use holdfast_sim::plan::Profile;
use holdfast_sim::run::Farm;

use super::{failures, parse_profile, parse_seed, scenarios};

#[derive(clap::Args)]
pub struct Many {
    /// Scenario files; without any, the runs are those of profiles.
    #[arg(conflicts_with_all = ["profile", "members"])]
    pub scenarios: Vec<PathBuf>,
    /// How many; 1000, and of each scenario 100, if nothing is said.
    #[arg(long)]
    pub seeds: Option<u64>,
    /// Base from which the seeds are derived; decimal, or hexadecimal with 0x.
    #[arg(long, default_value = "1", value_parser = parse_seed)]
    pub from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// Profile; each seed's own without it.
    #[arg(long, value_parser = parse_profile)]
    profile: Option<Profile>,
    /// Members; drawn from each seed without it.
    #[arg(long)]
    members: Option<usize>,
    /// Stop after so many failures.
    #[arg(long, default_value_t = 5)]
    pub failures: usize,
}

impl Many {
    pub fn run(&self, twice: bool) -> ExitCode {
        if !self.scenarios.is_empty() {
            return scenarios::run(self, twice);
        }
        let start = Instant::now();
        let farm = Farm {
            base: self.from,
            seeds: self.seeds.unwrap_or(1000),
            jobs: self.jobs,
            profile: self.profile,
            members: self.members,
            twice,
            failures_max: self.failures,
        };
        let harvest = farm.run();
        for failure in &harvest.failures {
            failures::report(failure);
        }
        println!("{:?}\n{:?} replayed={}", harvest.counts, harvest.checked, harvest.replayed);
        println!("marks: {}", harvest.marks.table());
        println!("{}", harvest.summary(start.elapsed().as_secs_f64()));
        harvest.failures.first().map_or(ExitCode::SUCCESS, |failure| ExitCode::from(failure.exit_code()))
    }
}
