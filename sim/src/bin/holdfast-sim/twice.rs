//! `twice`: the same seeds here and in another process, whose traces must be equal.
//!
//! Other cuts need no second run: in each run the log is applied once more in slices of its own, and every
//! State that a member showed must be the one of that replay (`replay::check_digests`).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use holdfast_sim::plan::Profile;
use holdfast_sim::run::{draw, run_plan};

use super::refuse;
use super::run::Many;

/// Exit code: 13 if two runs differ, else that of the first failure.
pub fn run(many: &Many) -> ExitCode {
    let start = Instant::now();
    let mut child = match spawn(many) {
        Ok(child) => child,
        Err(error) => return refuse(&format!("the other process cannot be started: {error}")),
    };
    // Held until the end: its other end tells that process whether this one is there.
    let lifeline = child.stdin.take();
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let reader = std::thread::spawn(move || read_traces(output));
    let harvest = many.farm(start).run();
    let theirs = reader.join().expect("a reader of lines does not panic");
    let status = child.wait();
    drop(lifeline);
    let code = many.report(&harvest);
    println!("{}", harvest.summary(start.elapsed().as_secs_f64()));
    if !status.is_ok_and(|status| status.success()) {
        return refuse("the other process did not come to its end");
    }
    // Where one of them stops at a failure, threads may have come further in the other.
    let both = harvest.traces.iter().filter_map(|(seed, mine)| Some((*seed, *mine, *theirs.get(seed)?)));
    let mut compared = 0;
    for (seed, mine, other) in both {
        compared += 1;
        if mine != other {
            show_difference(many, seed, mine, other);
            return ExitCode::from(13);
        }
    }
    println!("traces equal in two processes: {compared}");
    if compared == 0 { refuse("no seed was run in both processes") } else { code }
}

/// The half that runs in the other process: a line with seed and digest for each.
pub fn print_traces(many: &Many) -> ExitCode {
    std::thread::spawn(|| {
        // Whatever comes, or an error: the process that wanted to know is gone.
        let _end = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    for (seed, hash) in many.farm(Instant::now()).run().traces {
        println!("{seed:#x} {hash:#x}");
    }
    ExitCode::SUCCESS
}

fn spawn(many: &Many) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("traces").args(["--from", &many.from.to_string(), "--jobs", &many.jobs.to_string()]);
    command.args(["--failures", &many.failures.to_string()]);
    command.args(many.seeds.map(|seeds| format!("--seeds={seeds}")));
    command.args(many.minutes.map(|minutes| format!("--minutes={minutes}")));
    command.args(many.profile.map(|profile| format!("--profile={}", profile.name())));
    command.args(many.members.map(|members| format!("--members={members}")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

fn read_traces(lines: impl BufRead) -> BTreeMap<u64, u64> {
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let pair = |line: String| {
        let (seed, hash) = line.split_once(' ')?;
        Some((number(seed)?, number(hash)?))
    };
    lines.lines().map_while(Result::ok).filter_map(pair).collect()
}

/// The first line of the trace that is another one in a third run, if that run is another one too.
fn show_difference(many: &Many, seed: u64, mine: u64, other: u64) {
    println!(
        "FAIL determinism  seed {seed:#018x} has trace {mine:016x} here and {other:016x} in another process"
    );
    let profile = many.profile.unwrap_or_else(|| Profile::of_seed(seed));
    let lines = || run_plan(draw(seed, profile, many.members), true).1;
    let (first, second) = (lines(), lines());
    match first.iter().zip(&second).position(|(a, b)| a != b) {
        Some(place) => println!(" line {place}\n  {}\n  {}", first[place], second[place]),
        None => {
            println!(" two more runs in this process have equal lines: what differs rests on the process")
        }
    }
    println!(" replay   cargo sim replay --profile {} --seed {seed:#018x}", profile.name());
}
