//! `holdfast-sim`: seeds by the thousand, one seed again with its trace, the same seed twice.

mod corpus;
mod crash_states;
mod demo;
mod every_effect;
mod explain;
mod failures;
mod history;
mod mutants;
mod replay;
mod run;
mod scenarios;
mod shrink;
mod stats;
mod twice;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfast_sim::plan::{Lie, Plan, Profile};
use holdfast_sim::scenario::Scenario;

/// Simulation of the Holdfast core, ring 1.
#[derive(Parser)]
#[command(name = "holdfast-sim")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A split brain told line by line, then a planted bug found, replayed and shrunk.
    Demo(demo::Demo),
    /// Run many seeds; of scenarios, if any are named.
    Run(run::Many),
    /// Run many seeds here and in another process: both must have the same traces.
    Twice(run::Many),
    /// The other process of `twice`.
    #[command(hide = true)]
    Traces(run::Many),
    /// Run one seed and print what happened.
    Replay(replay::Replay),
    /// Run one seed and write a page that shows what happened, turn by turn.
    Explain(explain::Explain),
    /// Find a small plan that breaks what a run breaks.
    Shrink(shrink::ShrinkArgs),
    /// What all runs of this folder reached, commit by commit.
    Stats(stats::Stats),
    /// Plant the catalogue's bugs one by one in a copy of the tree and see which of them seeds find.
    Mutants(mutants::Mutants),
    /// Run one seed and print what its clients saw in a form that other people's checkers read.
    History(history::History),
    /// Check recovery on many crash states of log and checkpoints.
    CrashStates(crash_states::CrashStates),
    /// Run short stories with a crash at every effect of every member.
    CrashAtEveryEffect(every_effect::CrashAtEveryEffect),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(demo) => demo.run(),
        Command::Run(many) => many.run(false),
        Command::Twice(many) => many.run(true),
        Command::Traces(many) => twice::print_traces(&many),
        Command::Replay(replay) => replay.run(),
        Command::Explain(explain) => explain.run(),
        Command::Shrink(shrink) => shrink.run(),
        Command::Stats(stats) => stats.run(),
        Command::Mutants(mutants) => mutants.run(),
        Command::History(history) => history.run(),
        Command::CrashStates(states) => states.run(),
        Command::CrashAtEveryEffect(effects) => effects.run(),
    }
}

/// Which run of ring 1 is meant.
#[derive(clap::Args)]
struct Seed {
    /// A scenario file; without it the run is one of a profile.
    scenario: Option<PathBuf>,
    /// Decimal, or hexadecimal with 0x. A scenario may have its own.
    #[arg(long, value_parser = parse_seed)]
    seed: Option<u64>,
    /// Profile; the seed's own without it.
    #[arg(long, value_parser = parse_profile, conflicts_with = "scenario")]
    profile: Option<Profile>,
    /// Members; drawn from the seed without it.
    #[arg(long, conflicts_with = "scenario")]
    members: Option<usize>,
    /// A fault that no cluster survives, planted to see it found.
    #[arg(long, value_name = "FAULT", value_parser = parse_lie)]
    plant: Option<Lie>,
}

impl Seed {
    /// Errors: what is wrong with the scenario, or that no seed is named.
    fn plan(&self) -> Result<Plan, String> {
        let scenario = self.scenario.as_deref().map(Scenario::read).transpose();
        let scenario = scenario.map_err(|error| error.to_string())?;
        scenario.iter().for_each(failures::note_origin);
        let own = scenario.as_ref().and_then(|scenario| scenario.seed);
        let seed = self.seed.or(own).ok_or("name a seed with --seed")?;
        let plan = match scenario {
            Some(scenario) => scenario.plan(seed),
            None => {
                let profile = self.profile.unwrap_or_else(|| Profile::of_seed(seed));
                holdfast_sim::run::draw(seed, profile, self.members)
            }
        };
        Ok(Plan { lie: self.plant, ..plan })
    }
}

/// What the user gave cannot be used.
fn refuse(why: &str) -> ExitCode {
    eprintln!("holdfast-sim: {why}");
    ExitCode::from(2)
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

fn parse_lie(text: &str) -> Result<Lie, String> {
    Lie::by_name(text).ok_or_else(|| {
        let names: Vec<&str> = Lie::ALL.iter().map(|lie| lie.name()).collect();
        format!("one of {}", names.join(", "))
    })
}
