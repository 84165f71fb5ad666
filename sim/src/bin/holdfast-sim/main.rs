//! `holdfast-sim`: seeds by the thousand, one seed again with its trace, the same seed twice.

mod crash_states;
mod history;
mod mutants;
mod replay;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfast_sim::plan::{Plan, Profile};

/// Simulation of the Holdfast core, ring 1.
#[derive(Parser)]
#[command(name = "holdfast-sim")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds.
    Run(run::Many),
    /// Run many seeds, each twice: both runs must have the same trace.
    Twice(run::Many),
    /// Run one seed and print what happened.
    Replay(replay::Replay),
    /// Plant the catalogue's bugs one by one in a copy of the tree and see which of them seeds find.
    Mutants(mutants::Mutants),
    /// Run one seed and print what its clients saw in a form that other people's checkers read.
    History(history::History),
    /// Check recovery on many crash states of log and checkpoints.
    CrashStates(crash_states::CrashStates),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(many) => many.run(false),
        Command::Twice(many) => many.run(true),
        Command::Replay(replay) => replay.run(),
        Command::Mutants(mutants) => mutants.run(),
        Command::History(history) => history.run(),
        Command::CrashStates(states) => states.run(),
    }
}

/// Which run of ring 1 is meant.
#[derive(clap::Args)]
struct Seed {
    /// Decimal, or hexadecimal with 0x.
    #[arg(long, value_parser = parse_seed)]
    seed: u64,
    /// Profile; the seed's own without it.
    #[arg(long, value_parser = parse_profile)]
    profile: Option<Profile>,
    /// Members; drawn from the seed without it.
    #[arg(long)]
    members: Option<usize>,
}

impl Seed {
    fn plan(&self) -> Plan {
        let profile = self.profile.unwrap_or_else(|| Profile::of_seed(self.seed));
        holdfast_sim::run::draw(self.seed, profile, self.members)
    }
}

fn parse_seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

fn parse_profile(text: &str) -> Result<Profile, String> {
    Profile::by_name(text).ok_or_else(|| {
        let names: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name()).collect();
        format!("one of {}", names.join(", "))
    })
}
