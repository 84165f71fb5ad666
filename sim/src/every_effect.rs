//! Crash at every effect: short stories, each run once for every place at which a member might die.
//!
//! A place is behind an effect that the member's shell has performed, behind an operation of its disk, or in
//! the middle of a flush. Until it is reached a run is the one without the crash, so that counting the places
//! of that run names them all. Each is tried with each model of what a disk loses.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::plan::step::{Action, Group, Step, When, Who};
use crate::plan::{CrashPoint, MS, Plan, Profile};
use crate::run::{Failure, on_threads, run_plan, run_world};
use crate::workload::Mix;
use crate::world::World;

/// Members of the clusters in the stories.
const SIZE: usize = 3;

/// What the members are at while one of them dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    Put,
    Txn,
    Lease,
    Compaction,
    /// Checkpoints are written, and the log behind them reclaimed.
    Checkpoint,
    /// Values fill a segment of the log with a few of them.
    Rotation,
    /// A member that was cut off is sent the state.
    Snapshot,
}

/// What is left of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All: the process is killed, its machine goes on.
    Killed,
    Nothing,
    All,
    /// A power loss keeps a beginning, some of it, or an end.
    Tail,
    Random,
    Head,
}

impl Story {
    pub const ALL: [Story; 7] = [
        Story::Put,
        Story::Txn,
        Story::Lease,
        Story::Compaction,
        Story::Checkpoint,
        Story::Rotation,
        Story::Snapshot,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Story::Put => "put",
            Story::Txn => "txn",
            Story::Lease => "lease",
            Story::Compaction => "compaction",
            Story::Checkpoint => "checkpoint",
            Story::Rotation => "rotation",
            Story::Snapshot => "snapshot",
        }
    }

    pub fn by_name(name: &str) -> Option<Story> {
        Story::ALL.into_iter().find(|story| story.name() == name)
    }

    /// The story without a crash.
    pub fn plan(self, seed: u64) -> Plan {
        let mut plan = Plan::draw_sized(seed, Profile::Calm, SIZE);
        plan.clients = 2;
        plan.think_ns = (5 * MS, 20 * MS);
        plan.client_timeout_ns = 2_000 * MS;
        (plan.ops_max, plan.streams) = (12, 1);
        (plan.keys, plan.value_bytes_min, plan.value_bytes_max) = (4, 1, 64);
        plan.cuts.turn_ns = (0, MS);
        plan.crashes.restart_ns = (MS, 50 * MS);
        for member in &mut plan.members {
            member.limits.work_max = 10;
            member.disk.sync_ns = (MS, 5 * MS);
            member.disk.torn = 0.3;
        }
        plan.mix = match self {
            Story::Txn => Mix::register(),
            Story::Lease => Mix::lease(),
            _ => Mix::puts(),
        };
        match self {
            Story::Put | Story::Txn | Story::Lease => {}
            Story::Compaction => plan.mix.add(&Mix::compact()),
            Story::Checkpoint => plan.write_much(30, 1024, |limits| limits.checkpoint_log_bytes_min = 4096),
            Story::Rotation => {
                plan.write_much(16, 8192, |_| {});
                for member in &mut plan.members {
                    (member.layout.first_segment_bytes, member.layout.segment_bytes) = (16 << 10, 16 << 10);
                }
            }
            Story::Snapshot => {
                plan.write_much(40, 512, |limits| {
                    (limits.log_tail_bytes_max, limits.log_lag_bytes_max) = (1, 1);
                    limits.checkpoint_piece_bytes_max = 2048;
                });
                plan.script = cut_off(SIZE - 1);
            }
        }
        plan
    }
}

impl Plan {
    fn write_much(&mut self, ops: u64, bytes: u64, change: impl Fn(&mut holdfast_core::boundary::Limits)) {
        (self.ops_max, self.value_bytes_min, self.value_bytes_max) = (ops, bytes / 2, bytes);
        self.members.iter_mut().for_each(|member| change(&mut member.limits));
    }
}

/// A member is cut off for a while, and then has a second in which to catch up.
fn cut_off(member: usize) -> Vec<Step> {
    let step = |after_ns, action| Step { when: When::After(after_ns), action, name: None, line: 0 };
    let (from, to) = (Group::Of(vec![Who::Number(member)]), Group::Rest);
    vec![
        step(50 * MS, Action::Cut { from, to, both: true }),
        step(3_500 * MS, Action::Heal(None)),
        step(1_500 * MS, Action::Wait),
    ]
}

impl Loss {
    pub const ALL: [Loss; 6] = [Loss::Killed, Loss::Nothing, Loss::All, Loss::Tail, Loss::Random, Loss::Head];

    pub fn name(self) -> &'static str {
        match self {
            Loss::Killed => "killed",
            Loss::Nothing => "nothing",
            Loss::All => "all",
            Loss::Tail => "tail",
            Loss::Random => "random",
            Loss::Head => "head",
        }
    }

    pub fn by_name(name: &str) -> Option<Loss> {
        Loss::ALL.into_iter().find(|loss| loss.name() == name)
    }

    /// Weights of `DiskFaults::loss`.
    fn weights(self) -> [u32; 5] {
        match self {
            Loss::Killed | Loss::Nothing => [1, 0, 0, 0, 0],
            Loss::All => [0, 1, 0, 0, 0],
            Loss::Tail => [0, 0, 1, 0, 0],
            Loss::Random => [0, 0, 0, 1, 0],
            Loss::Head => [0, 0, 0, 0, 1],
        }
    }
}

/// One story with one crash.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub story: Story,
    pub seed: u64,
    pub member: usize,
    pub place: u64,
    pub loss: Loss,
}

impl Variant {
    pub fn plan(&self) -> Plan {
        let Variant { story, seed, member, place, loss } = *self;
        let mut plan = story.plan(seed);
        plan.member_mut(member).disk.loss = loss.weights();
        plan.crashes.exactly = Some(CrashPoint { member, place, is_power: loss != Loss::Killed });
        plan
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Variant { story, seed, member, place, loss } = self;
        write!(
            f,
            "--story {} --seed {seed:#x} --member {member} --place {place} --loss {}",
            story.name(),
            loss.name()
        )
    }
}

/// What came of all variants of some stories.
#[derive(Debug, Default)]
pub struct Tally {
    /// Places in all stories, and variants that were run.
    pub places: u64,
    pub variants: u64,
    /// Variants in which the member died, and had a later life.
    pub crashes: u64,
    pub snapshots: u64,
    pub checkpoints: u64,
    pub failures: Vec<(Variant, Failure)>,
}

/// Runs each `step`-th variant of these stories, on `jobs` threads.
pub fn run_all(stories: &[Story], seed: u64, step: usize, jobs: usize) -> Tally {
    let mut tally = Tally::default();
    let mut variants = Vec::new();
    for &story in stories {
        let (result, outcome) = run_world(World::new(story.plan(seed), false));
        let first = Variant { story, seed, member: 0, place: u64::MAX, loss: Loss::Killed };
        tally.failures.extend(result.err().map(|failure| (first, failure)));
        for (member, places) in outcome.places.iter().enumerate() {
            tally.places += places;
            for place in 0..*places {
                variants.extend(Loss::ALL.map(|loss| Variant { story, seed, member, place, loss }));
            }
        }
    }
    let chosen: Vec<Variant> = variants.into_iter().step_by(step.max(1)).collect();
    let next = AtomicUsize::new(0);
    let shared = Mutex::new(tally);
    on_threads(jobs, || {
        while let Some(variant) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (result, _) = run_plan(variant.plan(), false);
            shared.lock().expect("no job panics: each run is caught").take(*variant, result);
        }
    });
    shared.into_inner().expect("no job panics: each run is caught")
}

impl Tally {
    fn take(&mut self, variant: Variant, result: Result<crate::run::Report, Failure>) {
        self.variants += 1;
        match result {
            Ok(report) => {
                // All lose power once more at the end.
                self.crashes += u64::from(report.counts.crashes > SIZE as u64);
                self.snapshots += report.marks.of(crate::marks::Mark::SnapshotInstalled);
                self.checkpoints += report.counts.checkpoints;
            }
            Err(failure) => self.failures.push((variant, failure)),
        }
    }

    /// The last line of a run.
    pub fn summary(&self, wall_s: f64) -> String {
        let Tally { places, variants, crashes, snapshots, checkpoints, failures } = self;
        format!(
            "places={places} variants={variants} failed={} crashes={crashes} snapshots={snapshots} \
             checkpoints={checkpoints} wall_s={wall_s:.1}",
            failures.len()
        )
    }
}
