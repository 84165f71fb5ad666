//! `explain`: one seed again, as a page to look at.

use std::path::PathBuf;
use std::process::ExitCode;

use holdfast_sim::explain::{Bound, Subject, Window};
use holdfast_sim::run::{arguments, run_world};
use holdfast_sim::world::World;

use super::demo::write;
use super::{Seed, refuse};

#[derive(clap::Args)]
pub struct Explain {
    #[command(flatten)]
    seed: Seed,
    /// Where the page goes; below target/sim without it.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// First turn (48100) or time (12.7s, 300ms) that the page has; some way before the failure without it.
    #[arg(long, value_name = "TURN|TIME", value_parser = Bound::parse)]
    from: Option<Bound>,
    /// Turn or time at which the page ends; a little behind the failure without it.
    #[arg(long, value_name = "TURN|TIME", value_parser = Bound::parse)]
    to: Option<Bound>,
}

impl Explain {
    /// 0: the page is written, whatever the run came to. 2: it is not.
    pub fn run(&self) -> ExitCode {
        let plan = match self.seed.plan() {
            Ok(plan) => plan,
            Err(why) => return refuse(&why),
        };
        let (seed, arguments) = (plan.seed, arguments(&plan));
        let (result, outcome) = run_world(World::new(plan, false).with_record());
        let failure = result.as_ref().err();
        let subject = Subject {
            about: arguments.trim_start_matches('-').replace(" --", "  "),
            failure,
            outcome: &outcome,
            replay: format!("cargo sim replay {arguments}"),
        };
        let path = self.output.clone();
        let path = path.unwrap_or_else(|| PathBuf::from(format!("target/sim/{seed:016x}/explain.html")));
        let written = subject.page(Window { from: self.from, to: self.to }).and_then(|page| {
            write(&path, &page.html).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(page)
        });
        match (written, failure) {
            (Err(why), _) => return refuse(&why),
            (Ok(page), failure) => {
                match failure {
                    Some(failure) => println!("{failure}"),
                    None => println!("all promises kept"),
                }
                let kib = page.html.len().div_ceil(1024);
                println!(" page     {} ({} of {} events, {kib} KiB)", path.display(), page.events, page.of);
            }
        }
        ExitCode::SUCCESS
    }
}
