//! `crash-at-every-effect`: short stories, with a crash at every place of every member.

use std::process::ExitCode;
use std::time::Instant;

use holdfast_sim::every_effect::{Loss, Story, Variant, run_all};
use holdfast_sim::run::run_plan;

use super::parse_seed;

#[derive(clap::Args)]
pub struct CrashAtEveryEffect {
    /// One story; all without it.
    #[arg(long, value_parser = parse_story)]
    story: Option<Story>,
    /// Decimal, or hexadecimal with 0x.
    #[arg(long, default_value = "1", value_parser = parse_seed)]
    seed: u64,
    /// Run only each so many of the variants.
    #[arg(long, default_value_t = 1)]
    step: usize,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// One variant, with its trace: the member that dies.
    #[arg(long, requires_all = ["story", "place", "loss"])]
    member: Option<usize>,
    /// Where it dies.
    #[arg(long, requires = "member")]
    place: Option<u64>,
    /// What its disk loses.
    #[arg(long, requires = "member", value_parser = parse_loss)]
    loss: Option<Loss>,
}

impl CrashAtEveryEffect {
    pub fn run(&self) -> ExitCode {
        if let (Some(story), Some(member), Some(place), Some(loss)) =
            (self.story, self.member, self.place, self.loss)
        {
            return replay(&Variant { story, seed: self.seed, member, place, loss });
        }
        let start = Instant::now();
        let stories = self.story.map_or_else(|| Story::ALL.to_vec(), |story| vec![story]);
        let tally = run_all(&stories, self.seed, self.step, self.jobs);
        for (variant, failure) in tally.failures.iter().take(5) {
            let violation = &failure.violation;
            println!("FAIL {}  {}", violation.check, violation.what);
            println!(" replay   cargo sim crash-at-every-effect {variant}");
        }
        println!("{}", tally.summary(start.elapsed().as_secs_f64()));
        tally.failures.first().map_or(ExitCode::SUCCESS, |(_, failure)| ExitCode::from(failure.exit_code()))
    }
}

fn replay(variant: &Variant) -> ExitCode {
    if variant.member >= variant.story.plan(variant.seed).members.len() {
        return super::refuse("there is no such member");
    }
    let (result, lines) = run_plan(variant.plan(), true);
    lines.iter().for_each(|line| println!("{line}"));
    match result {
        Ok(report) => {
            println!("{report:?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("FAIL {}  {}", failure.violation.check, failure.violation.what);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn parse_story(text: &str) -> Result<Story, String> {
    Story::by_name(text).ok_or_else(|| format!("one of {}", Story::ALL.map(|story| story.name()).join(", ")))
}

fn parse_loss(text: &str) -> Result<Loss, String> {
    Loss::by_name(text).ok_or_else(|| format!("one of {}", Loss::ALL.map(|loss| loss.name()).join(", ")))
}
