//! Seeds run by a built tool, in a process of its own: a mutant may loop, eat memory or abort.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Trouble;

/// Address space of a run; one that wants more is ended.
const MEMORY_KIB_MAX: u64 = 8 << 20;
/// Time of processors that a run may take whatever it was expected to.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much slower than an unmutated one a run may be.
const SLOWER_MAX: u32 = 10;
/// A run that gets so little of the machine is ended whatever it has used.
const WALL_TIMES_MAX: u32 = 100;
const POLL: Duration = Duration::from_millis(20);
/// Signals with which somebody else ends a run: SIGINT, SIGKILL, SIGTERM. A mutant itself dies of others.
const FOREIGN_SIGNALS: [i32; 3] = [2, 9, 15];

/// A tool and how to run it.
#[derive(Clone, Debug)]
pub struct Trial {
    pub tool: PathBuf,
    /// Where its output goes.
    pub output: PathBuf,
    pub jobs: usize,
    /// `None`: each seed's own.
    pub profile: Option<String>,
    /// Seeds of this file rather than of profiles.
    pub scenario: Option<PathBuf>,
    /// Time of processors that an unmutated tool takes for a seed.
    pub seed_takes: Duration,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub seeds: u64,
    /// Kind and name of the check that fired, and its words; `None`: every seed passed.
    pub broken: Option<(String, String)>,
    /// Arguments with which the tool runs the failing seed alone, as it prints them.
    pub replay: Option<String>,
    /// Time of processors that it took.
    pub took: Duration,
}

impl Trial {
    /// Runs `command` over `seeds` seeds derived from `base`, up to the first failure.
    pub fn run(&self, command: &str, base: u64, seeds: u64) -> Result<Verdict, Trouble> {
        let (jobs, seeds_text, base) = (self.jobs.to_string(), seeds.to_string(), base.to_string());
        let fixed = [command, "--failures", "1", "--jobs", &jobs, "--seeds", &seeds_text, "--from", &base];
        let scenario = self.scenario.as_ref().map(|path| path.to_string_lossy());
        let profile = self.profile.iter().flat_map(|name| ["--profile", name]);
        let args: Vec<&str> = fixed.into_iter().chain(profile).chain(scenario.as_deref()).collect();
        self.spawn(&args, seeds)
    }

    /// Runs one seed, by the words that the tool printed for it.
    pub fn replay(&self, words: &str) -> Result<Verdict, Trouble> {
        let words: Vec<&str> = words.split_whitespace().chain(["--last", "0"]).collect();
        self.spawn(&words, 1)
    }

    fn spawn(&self, args: &[&str], seeds: u64) -> Result<Verdict, Trouble> {
        let file = File::create(&self.output).map_err(|error| Trouble::io(&self.output, error))?;
        let limit = format!("ulimit -v {MEMORY_KIB_MAX}; exec \"$0\" \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &limit])
            .arg(&self.tool)
            .args(args)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Trouble::io(&self.tool, error))?;
        let seeds_u32 = u32::try_from(seeds).unwrap_or(u32::MAX);
        let most = PATIENCE + self.seed_takes * SLOWER_MAX * seeds_u32;
        let until = Instant::now() + most * WALL_TIMES_MAX;
        let mut took = Duration::ZERO;
        let status = loop {
            // Others use the machine too: what counts is what the run itself got of it.
            took = took.max(used(child.id()).unwrap_or_default());
            if let Some(status) = child.try_wait().map_err(|error| Trouble::io(&self.tool, error))? {
                break Some(status);
            }
            if took >= most || Instant::now() >= until {
                let ended = child.kill().and_then(|()| child.wait());
                ended.map_err(|error| Trouble::io(&self.tool, error))?;
                break None;
            }
            std::thread::sleep(POLL);
        };
        if status.and_then(|status| status.signal()).is_some_and(|signal| FOREIGN_SIGNALS.contains(&signal)) {
            return Err(Trouble::Interrupted);
        }
        let text = read(&self.output)?;
        let verdict = match status {
            None => {
                let broken = Some(("hang".into(), "no end within the time limit".into()));
                Verdict { seeds, broken, replay: None, took }
            }
            Some(status) => judge(&text, status.success(), &status.to_string(), seeds),
        };
        Ok(Verdict { took, ..verdict })
    }
}

/// Time of processors that a running process has used: fields 14 and 15 of its `stat`, in hundredths.
fn used(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

/// The failure that is of all seeds together.
const OF_THE_SET: &str = "liveness/acknowledged";

/// Reads what the tool printed.
fn judge(text: &str, is_success: bool, status: &str, seeds: u64) -> Verdict {
    let tried = text
        .lines()
        .rev()
        .find_map(|line| {
            // Ring 2 says which ring it is.
            line.strip_prefix("ring2 ").unwrap_or(line).strip_prefix("seeds=")
        })
        .and_then(|rest| {
            let number = rest.split_whitespace().next()?;
            number.parse().ok()
        });
    let mut failures = text.lines().filter_map(|line| line.strip_prefix("FAIL ")).peekable();
    let has_any = failures.peek().is_some();
    // That a set of seeds acknowledged too little says nothing of any of them; aimed seeds acknowledge less.
    let failure = failures.find(|failure| !failure.starts_with(OF_THE_SET));
    let broken = match (failure, is_success || has_any) {
        (Some(failure), _) => {
            let (check, words) = failure.split_once("  ").unwrap_or((failure, ""));
            Some((check.to_owned(), words.to_owned()))
        }
        (None, false) => Some(("died".to_owned(), status.to_owned())),
        (None, true) => None,
    };
    let replay = text.lines().find_map(|line| {
        let words = line.trim_start().strip_prefix("replay   cargo ")?;
        words.strip_prefix("sim ").or_else(|| words.strip_prefix("madsim "))
    });
    let (seeds, replay) = (tried.unwrap_or(seeds), replay.map(str::to_owned));
    Verdict { seeds, broken, replay, took: Duration::ZERO }
}

fn read(path: &Path) -> Result<String, Trouble> {
    let bytes = fs::read(path).map_err(|error| Trouble::io(path, error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_and_the_seeds_tried_are_read() {
        let text =
            "FAIL safety/write  Put was lost\n replay   cargo sim replay --seed 0x1\nseeds=17 failed=1\n";
        let verdict = judge(text, false, "exit status: 11", 50);
        let broken = Some(("safety/write".to_owned(), "Put was lost".to_owned()));
        assert_eq!(
            verdict,
            Verdict { seeds: 17, broken, replay: Some("replay --seed 0x1".to_owned()), took: Duration::ZERO }
        );
    }

    #[test]
    fn seeds_that_acknowledge_too_little_together_find_nothing() {
        let rate = "FAIL liveness/acknowledged  59.4 % of 103030 operations\nseeds=100 failed=0\n";
        assert_eq!(judge(rate, false, "exit status: 12", 100).broken, None);
        let both = format!("FAIL safety/read  stale\n{rate}");
        let broken = Some(("safety/read".to_owned(), "stale".to_owned()));
        assert_eq!(judge(&both, false, "exit status: 11", 100).broken, broken);
    }

    #[test]
    fn what_ring_2_prints_is_read_too() {
        let text = "FAIL liveness/progress  m0 acknowledges nothing\n replay   cargo madsim replay --seed 0x2\n\
                    ring2 seeds=3 failed=1 ops=7\n";
        let Verdict { seeds, broken, replay, .. } = judge(text, false, "exit status: 12", 50);
        assert_eq!((seeds, replay.as_deref()), (3, Some("replay --seed 0x2")));
        assert_eq!(broken.expect("it failed").0, "liveness/progress");
    }

    #[test]
    fn a_tool_that_dies_is_a_failure_too() {
        let verdict = judge("", false, "signal: 6 (SIGABRT)", 50);
        assert_eq!(verdict.broken, Some(("died".to_owned(), "signal: 6 (SIGABRT)".to_owned())));
        let clean = judge("seeds=50 failed=0\n", true, "exit status: 0", 50);
        assert_eq!(clean, Verdict { seeds: 50, broken: None, replay: None, took: Duration::ZERO });
    }
}
