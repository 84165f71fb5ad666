//! Runs: one seed from its plan to its verdict, and many of them on a few threads.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::check::{self, Checked, Violation};
use crate::marks::{Mark, Marks};
use crate::plan::{Plan, Profile};
use crate::replay;
use crate::rng::derive;
use crate::world::explicit::explicit;
use crate::world::{Counts, Outcome, World};

/// Threads that run seeds have this much stack: nested transactions recurse.
pub const STACK_BYTES: usize = 16 << 20;

/// Of all operations of a set of runs so many must be acknowledged; fewer runs than these are no set, since
/// each of them may be anything.
const ACKNOWLEDGED_PERCENT_MIN: u64 = 60;
const SEEDS_OF_A_SET: u64 = 50;

/// Why a seed failed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub profile: Profile,
    /// What names the run on the command line.
    pub arguments: Box<str>,
    pub violation: Violation,
    pub trace_hash: u64,
    /// The plan with everything that happened as its script.
    pub explicit: Option<Box<Plan>>,
}

impl Failure {
    /// A failure of this plan, of which it is not said yet what failed.
    fn of(plan: &Plan) -> Failure {
        Failure {
            seed: plan.seed,
            profile: plan.profile,
            arguments: arguments(plan).into(),
            violation: Violation { check: "assert", what: String::new(), at: Default::default() },
            trace_hash: 0,
            explicit: None,
        }
    }

    /// Exit code of the tool: 10 assertion, 11 safety, 12 no progress or too much of it, 13 two runs differ.
    pub fn exit_code(&self) -> u8 {
        match self.violation.check {
            "assert" => 10,
            "no_progress" | "busy" | "memory" => 12,
            "determinism" => 13,
            _ => 11,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, arguments, violation, trace_hash, .. } = self;
        let kind = match self.exit_code() {
            10 => "assert",
            12 => "liveness",
            13 => "determinism",
            _ => "safety",
        };
        let profile = self.profile.name();
        let seconds = violation.at.at_ns as f64 / 1e9;
        writeln!(f, "FAIL {kind}/{}  {}", violation.check, violation.what)?;
        let what = match arguments.split_once(" --seed") {
            Some((file, _)) if !file.starts_with("--") => format!("scenario {file}"),
            _ => format!("profile  {profile}"),
        };
        writeln!(f, " {what}  seed {seed:#018x}  turn {}  at {seconds:.3}s", violation.at.turn)?;
        writeln!(f, " replay   cargo sim replay {arguments}")?;
        writeln!(f, " explain  cargo sim explain {arguments}")?;
        write!(f, " trace    {trace_hash:016x}")
    }
}

/// What came of a seed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub counts: Counts,
    pub marks: Marks,
    pub checked: Checked,
    pub replayed: u64,
    pub trace_hash: u64,
}

/// The plan of a seed; for so many members, or for as many as the seed draws.
pub fn draw(seed: u64, profile: Profile, members: Option<usize>) -> Plan {
    match members {
        Some(members) => Plan::draw_sized(seed, profile, members),
        None => Plan::draw(seed, profile),
    }
}

/// The arguments that name a plan of a seed on the command line.
pub fn arguments(plan: &Plan) -> String {
    let which = match &plan.scenario {
        Some(file) => file.clone(),
        None => format!("--profile {} --members {}", plan.profile.name(), plan.members.len()),
    };
    let planted = plan.lie.map_or(String::new(), |lie| format!(" --plant {}", lie.name()));
    format!("{which} --seed {:#018x}{planted}", plan.seed)
}

/// Runs one seed. A panic of the core is a failure like any other.
pub fn run_seed(seed: u64, profile: Profile) -> Result<Report, Failure> {
    run_plan(Plan::draw(seed, profile), false).0
}

/// Runs a plan.
pub fn run_plan(plan: Plan, keeps_lines: bool) -> (Result<Report, Failure>, Vec<String>) {
    let (result, outcome) = run_world(World::new(plan, keeps_lines));
    (result, outcome.trace.into_lines())
}

/// Runs a world to its verdict. What it leaves is there also if it ends in a panic.
pub fn run_world(mut world: World) -> (Result<Report, Failure>, Outcome) {
    let failure = Failure::of(world.plan());
    let seed = failure.seed;
    let played = std::panic::catch_unwind(AssertUnwindSafe(|| world.play()));
    let outcome = world.into_outcome();
    let judged = played.and_then(|()| std::panic::catch_unwind(AssertUnwindSafe(|| judge(&outcome, seed))));
    let verdict = judged.unwrap_or_else(|panic| {
        Err(Violation { check: "assert", what: text_of(&*panic), at: outcome.history.end })
    });
    let trace_hash = outcome.trace.hash();
    let result = verdict.map_err(|violation| {
        let explicit = Some(Box::new(explicit(&outcome)));
        Failure { violation, trace_hash, explicit, ..failure }
    });
    (result, outcome)
}

/// What a panic says.
pub fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

fn judge(outcome: &Outcome, seed: u64) -> Result<Report, Violation> {
    if let Some(violation) = &outcome.failed {
        return Err(violation.clone());
    }
    let checked = check::check(&outcome.history)?;
    let replayed = replay::check_digests(&outcome.history, seed)?;
    let mut marks = outcome.marks.clone();
    marks.hit_if(Mark::UnknownDone, checked.unknown_done > 0);
    marks.hit_if(Mark::UnknownLost, checked.unknown_lost > 0);
    Ok(Report { counts: outcome.counts, marks, checked, replayed, trace_hash: outcome.trace.hash() })
}

/// Runs a plan twice: the traces must be the same to the last byte.
pub fn run_twice(plan: Plan) -> Result<Report, Failure> {
    let failure = Failure::of(&plan);
    let first = run_plan(plan.clone(), false).0?;
    let second = run_plan(plan, false).0?;
    if first.trace_hash == second.trace_hash {
        return Ok(first);
    }
    let what =
        format!("two runs of one seed have traces {:016x} and {:016x}", first.trace_hash, second.trace_hash);
    let violation = Violation { check: "determinism", what, at: Default::default() };
    Err(Failure { violation, trace_hash: second.trace_hash, ..failure })
}

/// Does the same work on a few threads, and waits for all of them.
pub fn on_threads(jobs: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for job in 0..jobs.max(1) {
            let builder = std::thread::Builder::new().name(format!("sim-{job}")).stack_size(STACK_BYTES);
            builder.spawn_scoped(scope, &work).expect("a thread can be had");
        }
    });
}

/// Many seeds.
#[derive(Clone, Debug)]
pub struct Farm {
    pub base: u64,
    pub seeds: u64,
    pub jobs: usize,
    /// `None`: each seed's own.
    pub profile: Option<Profile>,
    /// `None`: as many as each seed draws.
    pub members: Option<usize>,
    pub twice: bool,
    /// Stop after so many failures.
    pub failures_max: usize,
    /// No seed begins after this.
    pub until: Option<Instant>,
    /// Called with what came of all seeds so far, after each.
    pub progress: Option<fn(&Harvest)>,
}

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Harvest {
    pub seeds: u64,
    pub counts: Counts,
    pub marks: Marks,
    pub checked: Checked,
    pub replayed: u64,
    /// Each seed with the digest of its trace.
    pub traces: Vec<(u64, u64)>,
    pub failures: Vec<Failure>,
}

impl Farm {
    /// Runs all seeds, each on one of `jobs` threads.
    pub fn run(&self) -> Harvest {
        self.run_plans(&|number| {
            let seed = derive(self.base, number);
            let profile = self.profile.unwrap_or_else(|| Profile::of_seed(seed));
            draw(seed, profile, self.members)
        })
    }

    /// The same for plans that are made by number rather than drawn.
    pub fn run_plans(&self, plan_of: &(dyn Fn(u64) -> Plan + Sync)) -> Harvest {
        let next = AtomicU64::new(0);
        let harvest = Mutex::new(Harvest::default());
        let jobs = self.jobs.min(self.seeds.clamp(1, 1 << 16) as usize);
        on_threads(jobs, || self.work(&next, &harvest, plan_of));
        let mut harvest = harvest.into_inner().expect("no job panics: each seed is caught");
        harvest.failures.sort_by_key(|failure| failure.seed);
        harvest.traces.sort_unstable();
        harvest
    }

    fn work(&self, next: &AtomicU64, harvest: &Mutex<Harvest>, plan_of: &(dyn Fn(u64) -> Plan + Sync)) {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let is_over = {
                let harvest = harvest.lock().expect("no job panics: each seed is caught");
                harvest.failures.len() >= self.failures_max
            };
            let is_late = self.until.is_some_and(|until| Instant::now() >= until);
            if number >= self.seeds || is_over || is_late {
                return;
            }
            let plan = plan_of(number);
            let seed = plan.seed;
            let result = if self.twice { run_twice(plan) } else { run_plan(plan, false).0 };
            let mut harvest = harvest.lock().expect("no job panics: each seed is caught");
            harvest.seeds += 1;
            harvest.traces.push((seed, trace_hash_of(&result)));
            match result {
                Ok(report) => harvest.add(&report),
                Err(failure) => harvest.failures.push(failure),
            }
            if let Some(progress) = self.progress {
                progress(&harvest);
            }
        }
    }
}

fn trace_hash_of(result: &Result<Report, Failure>) -> u64 {
    match result {
        Ok(report) => report.trace_hash,
        Err(failure) => failure.trace_hash,
    }
}

impl Harvest {
    fn add(&mut self, report: &Report) {
        self.counts.add(&report.counts);
        self.marks.add(&report.marks);
        self.checked.add(&report.checked);
        self.replayed += report.replayed;
    }

    /// Adds what came of other seeds.
    pub fn merge(&mut self, other: Harvest) {
        self.seeds += other.seeds;
        self.counts.add(&other.counts);
        self.marks.add(&other.marks);
        self.checked.add(&other.checked);
        self.replayed += other.replayed;
        self.traces.extend(other.traces);
        self.failures.extend(other.failures);
    }

    /// A run set in which too little is acknowledged proves little: `None`, or what is wrong.
    pub fn too_little(&self) -> Option<String> {
        // Who is denied something was answered for good.
        let Counts { ops, acknowledged, denied, .. } = self.counts;
        let answered = acknowledged + denied;
        let is_set = self.seeds >= SEEDS_OF_A_SET;
        (is_set && answered * 100 < ops * ACKNOWLEDGED_PERCENT_MIN).then(|| {
            let percent = answered as f64 * 100.0 / ops as f64;
            format!(
                "FAIL liveness/acknowledged  {percent:.1} % of {ops} operations in {} seeds were acknowledged \
                 or denied, {ACKNOWLEDGED_PERCENT_MIN} % must be",
                self.seeds
            )
        })
    }

    /// The last line of a run.
    pub fn summary(&self, wall_s: f64) -> String {
        let (counts, checked) = (&self.counts, &self.checked);
        format!(
            "seeds={} failed={} ops={} acked={} reads_checked={} events={} faults={} \
             simulated_s={:.0} wall_s={wall_s:.1} marks_missing={}",
            self.seeds,
            self.failures.len(),
            counts.ops,
            counts.acknowledged,
            checked.reads,
            checked.events,
            counts.faults,
            counts.virtual_ns as f64 / 1e9,
            self.marks.missing().count(),
        )
    }
}
