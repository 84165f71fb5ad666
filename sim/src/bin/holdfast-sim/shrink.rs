//! `shrink`: a small plan that breaks what a large one broke.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use holdfast_sim::run::run_plan;
use holdfast_sim::shrink::{Shrink, Size};

use super::failures::{folder, plan_text};
use super::{Seed, refuse};

#[derive(clap::Args)]
pub struct ShrinkArgs {
    #[command(flatten)]
    seed: Seed,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Stop after so many seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the small plan goes; `target/sim/SEED/shrunk.toml` without it.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl ShrinkArgs {
    /// Exit code 0: a plan was written; 2: there is nothing to shrink.
    pub fn run(&self) -> ExitCode {
        let plan = match self.seed.plan() {
            Ok(plan) => plan,
            Err(why) => return refuse(&why),
        };
        let seed = plan.seed;
        let (result, _) = run_plan(plan, false);
        let Err(failure) = result else {
            return refuse("the run breaks nothing: there is nothing to shrink");
        };
        let check = failure.violation.check;
        let Some(listed) = failure.explicit.clone() else {
            return refuse("the run left no list of what happened");
        };
        let (start, before) = (Instant::now(), Size::of(&listed));
        let on_terminal = std::io::stderr().is_terminal();
        let mut tell = |size: &Size, tried: u64| {
            if on_terminal {
                let Size { ops, faults, .. } = size;
                eprint!("\r{ops} operations, {faults} faults, {tried} tried   ");
                std::io::stderr().flush().unwrap_or(());
            }
        };
        let takes = Duration::from_secs(self.seconds);
        let (plan, tried) = match Shrink::new(*listed, check, self.jobs, takes, &mut tell).run() {
            Ok(shrunk) => shrunk,
            Err(why) => return refuse(&why),
        };
        if on_terminal {
            eprintln!();
        }
        let after = Size::of(&plan);
        let text = plan_text(&plan, &failure);
        let path = self.out.clone().unwrap_or_else(|| folder(seed).join("shrunk.toml"));
        let written = text.and_then(|text| {
            let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            folder.and_then(|()| std::fs::write(&path, text)).map_err(|error| error.to_string())
        });
        if let Err(why) = written {
            return refuse(&format!("{}: {why}", path.display()));
        }
        println!("{} breaks {check}: cargo sim run {}", path.display(), path.display());
        println!(
            "ops={} of={} faults={} of={} members={} of={} tried={tried} wall_s={:.1}",
            after.ops,
            before.ops,
            after.faults,
            before.faults,
            after.members,
            before.members,
            start.elapsed().as_secs_f64()
        );
        ExitCode::SUCCESS
    }
}
