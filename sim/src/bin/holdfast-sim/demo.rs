//! `demo`: a split brain told line by line, then a planted bug found, replayed and shrunk.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use holdfast_sim::demo::{self, Found, PLANTED, STORY, Told};
use holdfast_sim::run::Failure;
use holdfast_sim::shrink::{Shrink, Size};

use super::failures::plan_text;
use super::{parse_seed, refuse};

/// Longest that the bug is made smaller.
const SHRINK: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub struct Demo {
    /// Seed of the story; decimal, or hexadecimal with 0x.
    #[arg(long, default_value = "11", value_parser = parse_seed)]
    seed: u64,
    /// Folder for pages and picture.
    #[arg(long, default_value = "target/sim/demo")]
    output: PathBuf,
}

impl Demo {
    /// 0: the story went well and the bug was found. 2: it was not, or a page cannot be written.
    pub fn run(&self) -> ExitCode {
        let told = demo::split_brain(self.seed).and_then(|told| self.tell(&told));
        let hunted = told.and_then(|()| {
            println!("\nNow a bug is planted: {}. Seeds are run until one finds it.\n", about_planted());
            let start = Instant::now();
            demo::hunt().map(|found| (found, start.elapsed().as_secs_f64()))
        });
        match hunted.and_then(|(found, wall_s)| self.show(&found, wall_s)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => refuse(&why),
        }
    }

    fn tell(&self, told: &Told) -> Result<(), String> {
        println!("{STORY}, seed {:#x}\n{}.\n", self.seed, told.about);
        for line in &told.lines {
            println!("{line}");
        }
        let (counts, checked) = (&told.report.counts, &told.report.checked);
        println!(
            "\nEvery promise was kept: {} requests, {} writes found in the log, {} reads in their place; \
             {} turns, {} messages.",
            counts.ops, checked.writes, checked.reads, counts.turns, counts.mails,
        );
        println!(" picture  {}", self.write("split_brain.svg", &told.picture)?);
        println!(" page     {}", self.write("split_brain.html", &told.page.html)?);
        Ok(())
    }

    fn show(&self, found: &Found, wall_s: f64) -> Result<(), String> {
        let Found { seeds, failure, again, page } = found;
        println!("{failure}\n");
        if failure.trace_hash != again.trace_hash || failure.violation != again.violation {
            return Err(format!("the replay fails in another way:\n{again}"));
        }
        println!(
            "Found by seed {seeds} after {wall_s:.1} s. Replayed, it fails in the same turn with the same trace."
        );
        println!(" page     {}", self.write("planted_bug.html", &page.html)?);
        self.shrink(failure)
    }

    /// Makes what failed small, and keeps it as a scenario.
    fn shrink(&self, failure: &Failure) -> Result<(), String> {
        let listed = failure.explicit.as_ref().ok_or("the run left no list of what happened")?;
        let (start, before, check) = (Instant::now(), Size::of(listed), failure.violation.check);
        let mut tell = |_: &Size, _: u64| {};
        let (plan, _) = Shrink::new((**listed).clone(), check, 2, SHRINK, &mut tell).run()?;
        let (after, wall_s) = (Size::of(&plan), start.elapsed().as_secs_f64());
        println!(
            "Shrunk in {wall_s:.1} s from {} requests and {} faults to {} and {}; what is left is a scenario.",
            before.ops, before.faults, after.ops, after.faults
        );
        let text = plan_text(&plan, failure)?;
        println!(" again    cargo sim run {}", self.write("planted_bug.toml", &text)?);
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<String, String> {
        let path = self.output.join(name);
        write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path.display().to_string())
    }
}

fn about_planted() -> String {
    format!("{} ({})", PLANTED.about(), PLANTED.name())
}

/// Writes a file, and the folders above it.
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}
