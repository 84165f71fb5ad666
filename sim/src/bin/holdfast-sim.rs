//! `holdfast-sim`: seeds by the thousand, one seed again with its trace, the same seed twice.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use holdfast_sim::blackbox::export::{Format, export};
use holdfast_sim::blackbox::history::ClientHistory;
use holdfast_sim::crash_states::check_crash_states;
use holdfast_sim::mutants::Hunt;
use holdfast_sim::plan::Profile;
use holdfast_sim::run::{Farm, draw, run_plan};
use holdfast_sim::world::World;

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
    Run(Many),
    /// Run many seeds, each twice: both runs must have the same trace.
    Twice(Many),
    /// Run one seed and print what happened.
    Replay {
        /// Decimal, or hexadecimal with 0x.
        #[arg(long, value_parser = parse_seed)]
        seed: u64,
        /// Profile; the seed's own without it.
        #[arg(long, value_parser = parse_profile)]
        profile: Option<Profile>,
        /// Members; drawn from the seed without it.
        #[arg(long)]
        members: Option<usize>,
        /// Print only the last so many lines; 0 prints none.
        #[arg(long)]
        last: Option<usize>,
    },
    /// Plant the catalogue's bugs one by one in a copy of the tree and see which of them seeds find.
    Mutants(Mutants),
    /// Run one seed and print what its clients saw in a form that other people's checkers read.
    History {
        /// Decimal, or hexadecimal with 0x.
        #[arg(long, value_parser = parse_seed)]
        seed: u64,
        /// Profile; the seed's own without it.
        #[arg(long, value_parser = parse_profile)]
        profile: Option<Profile>,
        /// Members; drawn from the seed without it.
        #[arg(long)]
        members: Option<usize>,
        /// porcupine (JSON lines) or elle (EDN, rw-register).
        #[arg(long, value_parser = Format::by_name)]
        format: Format,
    },
    /// Check recovery on many crash states of log and checkpoints.
    CrashStates {
        #[arg(long, default_value_t = 50_000)]
        count: u64,
        #[arg(long, default_value = "1", value_parser = parse_seed)]
        from: u64,
    },
}

#[derive(clap::Args)]
struct Many {
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

#[derive(clap::Args)]
struct Mutants {
    /// Only those whose name begins so.
    #[arg(long)]
    only: Option<String>,
    /// Seeds to find each.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Base from which the seeds are derived; decimal, or hexadecimal with 0x.
    #[arg(long, default_value = "1", value_parser = parse_seed)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Name them and what they do, and plant none.
    #[arg(long)]
    list: bool,
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

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(many) => run(&many, false),
        Command::Twice(many) => run(&many, true),
        Command::Replay { seed, profile, members, last } => replay(seed, profile, members, last),
        Command::Mutants(mutants) => hunt(&mutants),
        Command::History { seed, profile, members, format } => history(seed, profile, members, format),
        Command::CrashStates { count, from } => crash_states(from, count),
    }
}

fn run(many: &Many, twice: bool) -> ExitCode {
    let start = Instant::now();
    let farm = Farm {
        base: many.from,
        seeds: many.seeds,
        jobs: many.jobs,
        profile: many.profile,
        members: many.members,
        twice,
        failures_max: many.failures,
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

fn replay(seed: u64, profile: Option<Profile>, members: Option<usize>, last: Option<usize>) -> ExitCode {
    let profile = profile.unwrap_or_else(|| Profile::of_seed(seed));
    let (result, lines) = run_plan(draw(seed, profile, members), true);
    let skipped = last.map_or(0, |last| lines.len().saturating_sub(last));
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

fn history(seed: u64, profile: Option<Profile>, members: Option<usize>, format: Format) -> ExitCode {
    let plan = draw(seed, profile.unwrap_or_else(|| Profile::of_seed(seed)), members);
    match export(&ClientHistory::from(&World::new(plan, false).run().history), format) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("seed {seed:#018x} cannot be exported: {why}");
            ExitCode::from(11)
        }
    }
}

fn crash_states(from: u64, count: u64) -> ExitCode {
    let start = Instant::now();
    match check_crash_states(from, count) {
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

/// Exit code 0: all are found that should be; 1: some live; 2: the hunt could not be made.
fn hunt(mutants: &Mutants) -> ExitCode {
    let Mutants { only, seeds, from, jobs, .. } = mutants;
    let hunt = Hunt { workspace: workspace(), only: only.clone(), seeds: *seeds, base: *from, jobs: *jobs };
    if mutants.list {
        return list(&hunt);
    }
    match hunt.run(&mut |line| println!("{line}")) {
        Ok(bag) => {
            for name in &bag.found_after_all {
                println!("{name} is found, though its header says that it lives");
            }
            for name in &bag.living {
                println!("{name} lives");
            }
            println!("{}", bag.summary);
            if bag.living.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(trouble) => {
            eprintln!("mutants: {trouble}");
            ExitCode::from(2)
        }
    }
}

fn list(hunt: &Hunt) -> ExitCode {
    match hunt.patches() {
        Ok(patches) => {
            for patch in patches {
                println!("{:48} {}  [{}]", patch.name, patch.what, patch.catalogue);
            }
            ExitCode::SUCCESS
        }
        Err(trouble) => {
            eprintln!("mutants: {trouble}");
            ExitCode::from(2)
        }
    }
}

/// Cargo names this package's folder at run time, which stays right when a checkout is moved.
fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
