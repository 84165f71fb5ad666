//! The commands.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfast_sim::mutants::stories;
use holdfast_sim::ring2::admission;
use holdfast_sim::ring2::farm::{Farm, exit_code};
use holdfast_sim::ring2::storm::replay_storm_seed;
use holdfast_sim::ring2::story::{StoryReport, replay_story, run_story};
use holdfast_sim::scenario::Scenario;

/// Simulation of the production shell, ring 2.
#[derive(Parser)]
#[command(name = "holdfast-madsim")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds: of scenarios, if any are named, else storms.
    Run(Run),
    /// Run one seed and print what happened.
    Replay(Replay),
    /// Write into docs/ring2.md which stories ring 2 tells.
    Stories,
    /// Say which of these scenarios ring 2 tells, and of the others why not.
    Check {
        #[arg(required = true)]
        scenarios: Vec<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Run {
    scenarios: Vec<PathBuf>,
    /// How many: 200, of each scenario 20, if nothing is said.
    #[arg(long)]
    seeds: Option<u64>,
    /// Base from which the seeds are derived; decimal, or hexadecimal with 0x.
    #[arg(long, default_value = "1", value_parser = parse_seed)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Stop after so many failures.
    #[arg(long, default_value_t = 5)]
    failures: usize,
}

#[derive(clap::Args)]
struct Replay {
    /// A scenario file; without it the run is a storm.
    scenario: Option<PathBuf>,
    /// Decimal, or hexadecimal with 0x.
    #[arg(long, value_parser = parse_seed)]
    seed: u64,
    /// Print only the last so many lines; 0 prints none.
    #[arg(long)]
    last: Option<usize>,
}

pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Replay(replay) => replay.run(),
        Command::Stories => write_table(),
        Command::Check { scenarios } => check(&scenarios),
    }
}

impl Run {
    fn run(&self) -> ExitCode {
        if !self.scenarios.is_empty() {
            return self.run_stories();
        }
        let Run { from, jobs, failures, .. } = *self;
        let seeds = self.seeds.unwrap_or(200);
        let harvest = Farm { base: from, first: 0, seeds, jobs, failures_max: failures }.storms();
        for failed in harvest.failed.iter().take(failures) {
            println!("{}", failed.words());
        }
        println!("{}", harvest.line());
        harvest.failed.first().map_or(ExitCode::SUCCESS, |failed| ExitCode::from(failed.exit_code()))
    }
}

impl Run {
    /// Exit code: that of the first failure; 2 if a story cannot be told.
    fn run_stories(&self) -> ExitCode {
        let mut code = ExitCode::SUCCESS;
        for path in &self.scenarios {
            let scenario = match admitted(path) {
                Ok(scenario) => scenario,
                Err(why) => {
                    println!("{why}");
                    return ExitCode::from(2);
                }
            };
            let seeds = self.seeds.unwrap_or(20);
            let farm =
                Farm { base: self.from, first: 0, seeds, jobs: self.jobs, failures_max: self.failures };
            let harvest = farm.run(|seed| run_story(scenario.plan(seed)));
            for failed in &harvest.failed {
                println!("FAIL {}", failed.why);
                println!(" replay   cargo madsim replay {} --seed {:#x}", path.display(), failed.seed);
            }
            let sum = |of: fn(&StoryReport) -> u64| harvest.reports.iter().map(of).sum::<u64>();
            println!(
                "ring2 story={} seeds={} failed={} calls={} acked={} undecided={} wall_s={:.1}",
                path.display(),
                harvest.tried,
                harvest.failed.len(),
                sum(|report| report.calls),
                sum(|report| report.acknowledged),
                sum(|report| report.undecided),
                harvest.wall_s,
            );
            if let Some(failed) = harvest.failed.first() {
                code = ExitCode::from(failed.exit_code());
            }
        }
        code
    }
}

/// A scenario that ring 2 can tell. Errors: what is wrong with it, or what ring 2 cannot do.
fn admitted(path: &Path) -> Result<Scenario, String> {
    let scenario = Scenario::read(path).map_err(|error| error.to_string())?;
    match admission::check(&scenario, &scenario.plan(0)) {
        Ok(()) => Ok(scenario),
        Err(cannot) => {
            Err(format!("{}:{}: ring 2 does not tell this: {}", path.display(), cannot.line, cannot.what))
        }
    }
}

fn write_table() -> ExitCode {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let workspace = package.parent().unwrap_or(Path::new("."));
    let written = stories(workspace).map_err(|trouble| trouble.to_string()).and_then(|scenarios| {
        let page = workspace.join("docs").join("ring2.md");
        let text = std::fs::read_to_string(&page).map_err(|error| error.to_string())?;
        let before = text.split_once(admission::BEGIN).ok_or("docs/ring2.md has no place for it")?.0;
        let after = text.split_once(admission::END).ok_or("docs/ring2.md has no place for it")?.1;
        let table = admission::table(&scenarios);
        std::fs::write(&page, format!("{before}{table}{after}")).map_err(|error| error.to_string())
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("holdfast-madsim: {why}");
            ExitCode::from(2)
        }
    }
}

fn check(scenarios: &[PathBuf]) -> ExitCode {
    let refused = scenarios.iter().map(|path| admitted(path)).inspect(|admitted| match admitted {
        Ok(scenario) => println!("{}: told", scenario.path.display()),
        Err(why) => println!("{why}"),
    });
    if refused.filter(Result::is_err).count() == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

impl Replay {
    fn run(&self) -> ExitCode {
        let Some(path) = &self.scenario else { return self.tell(replay_storm_seed(self.seed)) };
        match admitted(path) {
            Ok(scenario) => self.tell(replay_story(scenario.plan(self.seed))),
            Err(why) => {
                println!("{why}");
                ExitCode::from(2)
            }
        }
    }

    fn tell<T: std::fmt::Debug>(&self, (result, lines): (Result<T, String>, Vec<String>)) -> ExitCode {
        let skipped = self.last.map_or(0, |last| lines.len().saturating_sub(last));
        for line in &lines[skipped..] {
            println!("{line}");
        }
        match result {
            Ok(report) => {
                println!("{report:?}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                println!("FAIL {why}");
                ExitCode::from(exit_code(&why))
            }
        }
    }
}

fn parse_seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}
