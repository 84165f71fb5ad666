//! `crash-states`: recovery on many crash states of log and checkpoints.

use std::process::ExitCode;
use std::time::Instant;

use holdfast_sim::crash_states::check_crash_states;

use super::parse_seed;

#[derive(clap::Args)]
pub struct CrashStates {
    #[arg(long, default_value_t = 50_000)]
    count: u64,
    #[arg(long, default_value = "1", value_parser = parse_seed)]
    from: u64,
}

impl CrashStates {
    pub fn run(&self) -> ExitCode {
        let start = Instant::now();
        match check_crash_states(self.from, self.count) {
            Ok(report) => {
                println!("{report:?} wall_s={:.1}", start.elapsed().as_secs_f64());
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!(
                    "FAIL safety/recovery  {}\n crash-states script seed {:#018x}",
                    failure.what, failure.seed
                );
                ExitCode::from(11)
            }
        }
    }
}
