//! `mutants`: bugs planted one by one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use holdfast_sim::mutants::{Hunt, Ring};

use super::parse_seed;

#[derive(clap::Args)]
pub struct Mutants {
    /// Only those whose name begins so.
    #[arg(long)]
    only: Option<String>,
    /// Those of the shell, which ring 2 hunts (docs/ring2.md).
    #[arg(long, conflicts_with = "scenarios")]
    ring2: bool,
    /// Seeds to find each: 10,000, in ring 2 1,000, if nothing is said.
    #[arg(long)]
    seeds: Option<u64>,
    /// Base from which the seeds are derived; decimal, or hexadecimal with 0x.
    #[arg(long, default_value = "1", value_parser = parse_seed)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Run the stories of `scenarios` that name mutants, each without and with those, and write how that ends into
    /// docs/scenarios.md.
    #[arg(long, conflicts_with_all = ["list", "table", "seeds"])]
    scenarios: bool,
    /// Hunt those again that were found before.
    #[arg(long)]
    fresh: bool,
    /// Name them and what they do, and plant none.
    #[arg(long)]
    list: bool,
    /// Write what is known into the docs, and plant none.
    #[arg(long)]
    table: bool,
}

impl Mutants {
    /// Exit code 0: all are found that should be; 1: some live; 2: the hunt could not be made.
    pub fn run(&self) -> ExitCode {
        let ring = if self.ring2 { Ring::Shell } else { Ring::Core };
        let hunt = Hunt {
            workspace: workspace(),
            ring,
            only: self.only.clone(),
            seeds: self.seeds.unwrap_or(if self.ring2 { 1_000 } else { 10_000 }),
            base: self.from,
            jobs: self.jobs,
            fresh: self.fresh,
        };
        if self.list {
            return list(&hunt);
        }
        if self.table {
            return table(&Hunt { only: None, ..hunt });
        }
        let say = &mut |line: &str| println!("{line}");
        let bag = if self.scenarios { hunt.run_stories(say) } else { hunt.run(say) };
        match bag {
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

fn table(hunt: &Hunt) -> ExitCode {
    match hunt.tell() {
        Ok(summary) => {
            println!("{summary}");
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
