//! `run` and `twice`: many seeds.

use std::process::ExitCode;
use std::time::Instant;

use holdfast_sim::plan::Profile;
use holdfast_sim::run::Farm;

use super::{parse_profile, parse_seed};

#[derive(clap::Args)]
pub struct Many {
    /// How many.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Base from which the seeds are derived; decimal, or hexadecimal with 0x.
    #[arg(long, default_value = "1", value_parser = parse_seed)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Profile; each seed's own without it.
    #[arg(long, value_parser = parse_profile)]
    profile: Option<Profile>,
    /// Members; drawn from each seed without it.
    #[arg(long)]
    members: Option<usize>,
    /// Stop after so many failures.
    #[arg(long, default_value_t = 5)]
    failures: usize,
}

impl Many {
    pub fn run(&self, twice: bool) -> ExitCode {
        let start = Instant::now();
        let farm = Farm {
            base: self.from,
            seeds: self.seeds,
            jobs: self.jobs,
            profile: self.profile,
            members: self.members,
            twice,
            failures_max: self.failures,
        };
        let harvest = farm.run();
        for failure in &harvest.failures {
            println!("{failure}");
        }
        println!("{:?}\n{:?} replayed={}", harvest.counts, harvest.checked, harvest.replayed);
        println!("marks: {}", harvest.marks.table());
        println!("{}", harvest.summary(start.elapsed().as_secs_f64()));
        harvest.failures.first().map_or(ExitCode::SUCCESS, |failure| ExitCode::from(failure.exit_code()))
    }
}
