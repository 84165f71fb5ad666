//! Shrinking: from an explicit plan that breaks a check to a small one that breaks the same check.
//!
//! What is done behind the moment that breaks the check goes first. Then delta debugging: runs of steps are
//! left out, from half of them down to one at a time; then settings are made plainer and requests smaller; all of it again until nothing more goes, or the time is over. A
//! candidate counts if it breaks the check of the same name.

mod settings;
mod shapes;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::plan::step::{Action, Ask, By, Step};
use crate::plan::{Plan, SECOND};
use crate::rng::derive;
use crate::run::{STACK_BYTES, run_plan};

/// Other seeds of what stays drawn that are tried for a candidate once a plan is small.
const SEEDS: u64 = 4;
/// Steps below which other seeds are worth their time.
const SMALL: usize = 40;

/// A plan being shrunk.
pub struct Shrink<'a> {
    pub plan: Plan,
    /// The check that every candidate must break.
    pub check: &'static str,
    pub jobs: usize,
    pub until: Instant,
    pub tried: u64,
    /// Told of each plan that is smaller.
    pub tell: &'a mut dyn FnMut(&Size, u64),
}

/// How large a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub ops: usize,
    pub faults: usize,
    pub members: usize,
}

impl Size {
    pub fn of(plan: &Plan) -> Size {
        let is_op = |step: &&Step| {
            matches!(step.action, Action::Ask { .. } | Action::Open { .. } | Action::Stream { .. })
        };
        let is_fault = |step: &&Step| {
            !is_op(step) && !matches!(step.action, Action::Wait | Action::Heal(_) | Action::Start(_))
        };
        Size {
            ops: plan.script.iter().filter(is_op).count(),
            faults: plan.script.iter().filter(is_fault).count(),
            members: plan.members.len(),
        }
    }
}

impl<'a> Shrink<'a> {
    pub fn new(
        plan: Plan,
        check: &'static str,
        jobs: usize,
        takes: Duration,
        tell: &'a mut dyn FnMut(&Size, u64),
    ) -> Shrink<'a> {
        Shrink { plan, check, jobs, until: Instant::now() + takes, tried: 0, tell }
    }

    /// Shrinks as far as it goes; the smallest plan. Errors: the plan does not break the check.
    pub fn run(mut self) -> Result<(Plan, u64), String> {
        if broken_at(&self.plan, self.check).is_none() {
            return Err(format!("the plan does not break `{}`", self.check));
        }
        loop {
            let before = format!("{:?}", self.plan);
            self.leave_out_the_rest();
            self.leave_out_steps();
            self.try_each(settings::plainer);
            self.try_each(shapes::smaller);
            if self.is_late() || format!("{:?}", self.plan) == before {
                return Ok((self.plan, self.tried));
            }
        }
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Ends the storm at the moment that breaks the check, or a little later.
    fn leave_out_the_rest(&mut self) {
        let Some(at_ns) = broken_at(&self.plan, self.check) else { return };
        let ends = [0, SECOND / 10, SECOND, 5 * SECOND].map(|more_ns| at_ns + more_ns);
        let shorter = ends.into_iter().filter_map(|end_ns| settings::ended_at(&self.plan, end_ns));
        let shorter: Vec<Plan> = shorter.collect();
        for candidates in shorter.chunks(self.jobs.max(1)) {
            if self.first_that_breaks(candidates.to_vec()).is_some() {
                return;
            }
        }
    }

    /// Leaves out runs of steps, ever shorter ones.
    fn leave_out_steps(&mut self) {
        let mut length = self.plan.script.len().div_ceil(2);
        while length > 0 {
            let mut from = 0;
            while from < self.plan.script.len() && !self.is_late() {
                let count = self.plan.script.len();
                let starts = (from..count).step_by(length).take(self.jobs.max(1));
                let mut candidates: Vec<Plan> =
                    starts.map(|start| without(&self.plan, start, (start + length).min(count))).collect();
                candidates.retain(|plan| plan.script.len() < count);
                let tries = candidates.len();
                match self.first_that_breaks(candidates) {
                    // What was tried before it stays, and is not tried again at this length.
                    Some(place) => from += place * length,
                    None => from += tries.max(1) * length,
                }
            }
            length /= 2;
        }
    }

    /// Tries changes one by one, and keeps each that still breaks the check.
    fn try_each(&mut self, changes: fn(&Plan) -> Vec<Plan>) {
        let mut place = 0;
        while !self.is_late() {
            let candidates: Vec<Plan> =
                changes(&self.plan).into_iter().skip(place).take(self.jobs.max(1)).collect();
            if candidates.is_empty() {
                return;
            }
            let tries = candidates.len();
            place += self.first_that_breaks(candidates).unwrap_or(tries);
        }
    }

    /// Runs candidates side by side and takes the first that breaks the check; its place.
    fn first_that_breaks(&mut self, candidates: Vec<Plan>) -> Option<usize> {
        self.tried += candidates.len() as u64;
        let (check, is_small) = (self.check, self.plan.script.len() <= SMALL);
        let found: Vec<Option<Plan>> = std::thread::scope(|scope| {
            let run = |plan: Plan| {
                let builder = std::thread::Builder::new().name("shrink".to_owned()).stack_size(STACK_BYTES);
                let run = move || smallest_seed(plan, check, if is_small { SEEDS } else { 1 });
                builder.spawn_scoped(scope, run).expect("a thread can be had")
            };
            let threads: Vec<_> = candidates.into_iter().map(run).collect();
            threads.into_iter().map(|thread| thread.join().expect("a run catches panics")).collect()
        });
        let place = found.iter().position(Option::is_some)?;
        self.plan = found.into_iter().flatten().next()?;
        (self.tell)(&Size::of(&self.plan), self.tried);
        Some(place)
    }
}

/// The plan with the first of a few seeds with which it breaks the check.
fn smallest_seed(plan: Plan, check: &str, seeds: u64) -> Option<Plan> {
    let seed = plan.seed;
    (0..seeds).find_map(|n| {
        let candidate = Plan { seed: if n == 0 { seed } else { derive(seed, n) }, ..plan.clone() };
        broken_at(&candidate, check).map(|_| candidate)
    })
}

/// The moment at which a run of the plan breaks a check of this name.
/// Unit: nanoseconds of virtual time.
pub fn broken_at(plan: &Plan, check: &str) -> Option<u64> {
    let violation = run_plan(plan.clone(), false).0.err()?.violation;
    (violation.check == check).then_some(violation.at.at_ns)
}

/// The plan without some steps, and without what refers to them.
fn without(plan: &Plan, from: usize, to: usize) -> Plan {
    let last = plan.script.len() - 1;
    let script = plan.script.iter().enumerate();
    // The last step holds the end of the storm.
    let kept = script.filter(|(place, _)| !(from..to).contains(place) || *place == last);
    let mut plan = Plan { script: kept.map(|(_, step)| step.clone()).collect(), ..plan.clone() };
    drop_orphans(&mut plan);
    plan
}

/// Leaves out steps that name what no step before them gives.
pub fn drop_orphans(plan: &mut Plan) {
    let mut names = BTreeSet::new();
    plan.script.retain(|step| {
        let needs = match &step.action {
            Action::Heal(Some(name)) | Action::Release { name, .. } | Action::Stream { name, .. } => {
                Some(name)
            }
            Action::Ask { ask: Ask { by: By::TokenOf(name), .. }, .. }
            | Action::Open { by: By::TokenOf(name), .. } => Some(name),
            _ => None,
        };
        let is_kept = needs.is_none_or(|name| names.contains(name));
        names.extend(step.name.clone().filter(|_| is_kept));
        is_kept
    });
}
