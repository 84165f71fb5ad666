//! `replay`: one seed again, with its trace.

use std::process::ExitCode;

use holdfast_sim::run::run_plan;

use super::Seed;

#[derive(clap::Args)]
pub struct Replay {
    #[command(flatten)]
    seed: Seed,
    /// Print only the last so many lines; 0 prints none.
    #[arg(long)]
    last: Option<usize>,
}

impl Replay {
    pub fn run(&self) -> ExitCode {
        let (result, lines) = run_plan(self.seed.plan(), true);
        let skipped = self.last.map_or(0, |last| lines.len().saturating_sub(last));
        for line in &lines[skipped..] {
            println!("{line}");
        }
        match result {
            Ok(report) => {
                println!("{report:?}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("{failure}");
                ExitCode::from(failure.exit_code())
            }
        }
    }
}
