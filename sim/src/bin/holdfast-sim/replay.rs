//! `replay`: one seed again, with its trace.

use std::process::ExitCode;

use holdfast_sim::run::run_plan;

use super::{Seed, refuse};

#[derive(clap::Args)]
pub struct Replay {
    #[command(flatten)]
    seed: Seed,
    /// Print only the last so many lines; 0 prints none.
    #[arg(long)]
    last: Option<usize>,
    /// Print what happens from this turn on.
    #[arg(long, conflicts_with = "last")]
    from: Option<u64>,
}

impl Replay {
    pub fn run(&self) -> ExitCode {
        let plan = match self.seed.plan() {
            Ok(plan) => plan,
            Err(why) => return refuse(&why),
        };
        let (result, lines) = run_plan(plan, true);
        let skipped = match (self.from, self.last) {
            (Some(turn), _) => {
                lines.iter().position(|line| turn_of(line) >= Some(turn)).unwrap_or(lines.len())
            }
            (None, Some(last)) => lines.len().saturating_sub(last),
            (None, None) => 0,
        };
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

/// The turn that a line of the trace begins, if it begins one.
fn turn_of(line: &str) -> Option<u64> {
    line.split_once(" turn ")?.1.split_once(' ')?.0.parse().ok()
}
