//! `history`: what clients saw, for other people's checkers.

use std::process::ExitCode;

use holdfast_sim::blackbox::export::{Format, export};
use holdfast_sim::blackbox::history::ClientHistory;
use holdfast_sim::world::World;

use super::{Seed, refuse};

#[derive(clap::Args)]
pub struct History {
    #[command(flatten)]
    seed: Seed,
    /// porcupine (JSON lines) or elle (EDN, rw-register).
    #[arg(long, value_parser = Format::by_name)]
    format: Format,
}

impl History {
    pub fn run(&self) -> ExitCode {
        let plan = match self.seed.plan() {
            Ok(plan) => plan,
            Err(why) => return refuse(&why),
        };
        let seed = plan.seed;
        if plan.auth.is_some() {
            let why = "users and roles are part of its run, and what a client may see is in no model of these checkers";
            eprintln!("seed {seed:#018x} cannot be exported: {why}");
            return ExitCode::from(11);
        }
        let outcome = World::new(plan, false).run();
        match export(&ClientHistory::from(&outcome.history), self.format) {
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
}
