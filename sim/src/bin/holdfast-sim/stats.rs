//! `stats`: what the runs of this folder reached so far.

use std::collections::BTreeMap;
use std::process::ExitCode;

use holdfast_sim::marks::Mark;

use super::corpus::{self, Totals};
use super::refuse;

#[derive(clap::Args)]
pub struct Stats {
    /// Count only the runs of commits that begin so.
    #[arg(long)]
    commit: Option<String>,
}

impl Stats {
    /// Prints a line a commit, then faults and marks of all of them. Exit code 2: there is nothing to read.
    pub fn run(&self) -> ExitCode {
        let read = corpus::open().and_then(|corpus| Ok((corpus.totals()?, corpus.fallen()?)));
        let (totals, fallen) = match read {
            Ok(read) => read,
            Err(why) => return refuse(&why),
        };
        let wanted = self.commit.as_deref().unwrap_or("");
        let totals: BTreeMap<_, _> =
            totals.into_iter().filter(|(commit, _)| commit.starts_with(wanted)).collect();
        let mut all = Totals::new();
        for (commit, sums) in &totals {
            println!("{commit}: {}", line(sums));
            for (name, sum) in sums {
                *all.entry(name.clone()).or_default() += sum;
            }
        }
        let is_mark = |name: &str| name.starts_with("mark ");
        let counts = all.iter().filter(|(name, _)| !is_mark(name));
        let counts: Vec<String> = counts.map(|(name, sum)| format!("{name}={sum}")).collect();
        println!("\ncounts: {}", counts.join(" "));
        println!("marks, rarest first: {}", marks(&all).join(" "));
        for run in fallen.iter().filter(|run| run.commit.starts_with(wanted)) {
            println!("fell at {}: {}  cargo sim replay {}", run.commit, run.check, run.arguments);
        }
        println!("all: {}", line(&all));
        ExitCode::SUCCESS
    }
}

fn sum(sums: &Totals, name: &str) -> u64 {
    sums.get(name).copied().unwrap_or(0)
}

fn line(sums: &Totals) -> String {
    let words = ["seeds", "failed", "ops", "acknowledged", "faults"];
    let mut words: Vec<String> = words.iter().map(|name| format!("{name}={}", sum(sums, name))).collect();
    words.push(format!("simulated_s={}", sum(sums, "virtual_ns") / 1_000_000_000));
    words.join(" ")
}

/// Marks that no run hit are there with a zero.
fn marks(sums: &Totals) -> Vec<String> {
    let hits = |mark: &Mark| sum(sums, &format!("mark {}", mark.name()));
    let mut marks: Vec<(u64, &str)> = Mark::ALL.iter().map(|mark| (hits(mark), mark.name())).collect();
    marks.sort_unstable();
    marks.into_iter().map(|(hits, name)| format!("{name}={hits}")).collect()
}
