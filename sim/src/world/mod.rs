//! The world around a node: virtual time, clients, watch streams, a disk, and what goes wrong.
//!
//! One heap of events, ordered by time and then by the order of their making; nothing else decides what
//! comes next. A run is a storm of requests and faults, a calm in which leases run out and watches catch
//! up, a last power loss, and a last look at everything.

mod boot;
mod clients;
mod disk_lanes;
mod lies;
mod log_tap;
pub mod machine;
mod streams;
mod turn;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use holdfast_core::base::LogIndex;
use holdfast_core::request::Request;

use crate::check::Violation;
use crate::disk::{DiskFaults, SimDisk};
use crate::history::{Digest, History, Moment, Terms};
use crate::plan::{Plan, SECOND};
use crate::rng::Rng;
use crate::trace::Trace;
use crate::workload::Workload;
use clients::Client;
use machine::{LaneKind, Process};
use streams::Slot;

/// Virtual time after which the storm ends even if clients have more to ask.
const STORM_NS_MAX: u64 = 120 * SECOND;
/// Length of the calm: longer than the longest TTL and what may be added to it.
const CALM_NS: u64 = 16 * SECOND;
/// Length of the last look.
const LAST_NS: u64 = 6 * SECOND;
/// Turns after which a run is taken to be caught in a loop.
const TURNS_MAX: u64 = 3_000_000;
/// Slack of a lease's end in the calm: an election, the pause between revokes, turns.
const EXPIRY_SLACK_NS: u64 = 5 * SECOND;

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client is done thinking.
    Think {
        client: u32,
    },
    /// A request reaches the machine.
    Arrive {
        op: u32,
    },
    /// A client has waited long enough.
    Impatient {
        op: u32,
    },
    /// The next operation on a watch stream.
    StreamOp {
        slot: u32,
    },
    /// A watch client has read what it got.
    Credit {
        slot: u32,
    },
    /// The node takes a turn.
    Turn {
        life: u32,
    },
    /// A heartbeat interval of the node's clock has passed.
    Tick {
        life: u32,
    },
    /// An operation of a lane is over.
    Lane {
        life: u32,
        kind: LaneKind,
    },
    /// A completion reaches the node.
    Complete {
        life: u32,
        completion: Completion,
    },
    /// A process begins.
    Start,
    /// A process ends, if it runs.
    Crash,
    Calm,
    Last,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Completion {
    Persisted(u64),
    Checkpointed(bool),
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Storm,
    Calm,
    Last,
    Over,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub events: u64,
    pub turns: u64,
    pub ops: u64,
    pub acknowledged: u64,
    pub crashes: u64,
    pub power_losses: u64,
    pub lives: u64,
    pub appends: u64,
    pub checkpoints: u64,
    pub checkpoints_failed: u64,
    pub reclaims: u64,
    pub deliveries: u64,
    /// Faults of every kind: crashes, failed and stalled flushes, flips, refusals for space, pauses.
    pub faults: u64,
    pub pauses: u64,
    pub flips: u64,
    /// Runs that ended since damage was refused.
    pub refused_damage: u64,
    pub dropped_tails: u64,
    pub restored_checkpoints: u64,
    pub entries_lost: u64,
    pub deaths_by_disk: u64,
    pub virtual_ns: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.events += other.events;
        self.turns += other.turns;
        self.ops += other.ops;
        self.acknowledged += other.acknowledged;
        self.crashes += other.crashes;
        self.power_losses += other.power_losses;
        self.lives += other.lives;
        self.appends += other.appends;
        self.checkpoints += other.checkpoints;
        self.checkpoints_failed += other.checkpoints_failed;
        self.reclaims += other.reclaims;
        self.deliveries += other.deliveries;
        self.faults += other.faults;
        self.pauses += other.pauses;
        self.flips += other.flips;
        self.refused_damage += other.refused_damage;
        self.dropped_tails += other.dropped_tails;
        self.restored_checkpoints += other.restored_checkpoints;
        self.entries_lost += other.entries_lost;
        self.deaths_by_disk += other.deaths_by_disk;
        self.virtual_ns += other.virtual_ns;
    }
}

/// A run while it is under way.
pub struct World {
    plan: Plan,
    now_ns: u64,
    seq: u64,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    phase: Phase,
    disk: SimDisk,
    process: Option<Process>,
    clients: Vec<Client>,
    slots: Vec<Slot>,
    workload: Workload,
    /// The last requests, one after the other.
    script: VecDeque<Request>,
    history: History,
    /// Draws of times and cuts, and of faults.
    pace: Rng,
    fate: Rng,
    crashes_left: u32,
    /// File and range of the last append on disk: damage to it cannot be told from a torn one.
    last_append: (String, u64),
    liar: lies::Liar,
    failed: Option<Violation>,
    trace: Trace,
    counts: Counts,
}

/// What a run leaves.
pub struct Outcome {
    pub history: History,
    pub failed: Option<Violation>,
    pub trace: Trace,
    pub counts: Counts,
}

impl World {
    pub fn new(mut plan: Plan, keeps_lines: bool) -> World {
        lies::prepare(&mut plan);
        let seed = plan.seed;
        let terms = Terms {
            drift: plan.drift,
            ttl_min_s: boot::TTL_MIN_S,
            txn_ops_max: 128,
            expiry_slack_ns: EXPIRY_SLACK_NS + plan.disk.stall_ns.1,
            has_quota: plan.quota_bytes.is_some(),
        };
        let history = History {
            terms,
            lives: Vec::new(),
            ops: Vec::new(),
            log: Vec::new(),
            streams: Vec::new(),
            digests: Vec::new(),
            calm_since: Moment::default(),
            end: Moment::default(),
        };
        World {
            now_ns: 0,
            seq: 0,
            heap: BinaryHeap::new(),
            phase: Phase::Storm,
            disk: SimDisk::new(seed, plan.disk.clone()),
            process: None,
            clients: (0..plan.clients).map(|_| Client::default()).collect(),
            slots: (0..plan.streams).map(|_| Slot::default()).collect(),
            workload: Workload::new(seed, plan.mix.clone(), plan.keys, plan.value_bytes_max),
            script: VecDeque::new(),
            history,
            pace: Rng::named(seed, "pace"),
            fate: Rng::named(seed, "fate"),
            crashes_left: plan.crashes.max,
            last_append: (String::new(), 0),
            liar: lies::Liar::default(),
            failed: None,
            trace: Trace::new(keeps_lines),
            counts: Counts::default(),
            plan,
        }
    }

    /// Runs to the end, or to the first broken promise that the world itself sees.
    pub fn run(mut self) -> Outcome {
        self.at(0, Event::Start);
        for client in 0..self.plan.clients {
            let pause = self.pace.between(0, self.plan.think_ns.1);
            self.at(pause, Event::Think { client });
        }
        for slot in 0..self.plan.streams {
            let pause = self.pace.between(0, self.plan.stream_ns.1);
            self.at(pause, Event::StreamOp { slot });
        }
        self.schedule_crash();
        self.at(STORM_NS_MAX, Event::Calm);
        while self.failed.is_none() && self.phase != Phase::Over {
            let Some(Reverse((at_ns, _, event))) = self.heap.pop() else { break };
            self.now_ns = at_ns;
            self.counts.events += 1;
            self.happen(event);
        }
        self.finish()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Think { client } => self.on_think(client),
            Event::Arrive { op } => self.on_arrive(op),
            Event::Impatient { op } => self.on_impatient(op),
            Event::StreamOp { slot } => self.on_stream_op(slot),
            Event::Credit { slot } => self.on_credit(slot),
            Event::Turn { life } if self.is_alive(life) => self.on_turn(),
            Event::Tick { life } if self.is_alive(life) => self.on_tick(),
            Event::Lane { life, kind } if self.is_alive(life) => self.run_lane(kind),
            Event::Complete { life, completion } if self.is_alive(life) => self.on_complete(completion),
            Event::Turn { .. } | Event::Tick { .. } | Event::Lane { .. } | Event::Complete { .. } => {}
            Event::Start => self.start(),
            Event::Crash => {
                if self.process.is_some() && self.phase == Phase::Storm {
                    self.crash("at an arbitrary moment");
                }
                self.schedule_crash();
            }
            Event::Calm => self.begin_calm(),
            Event::Last => self.begin_last(),
            Event::End => self.phase = Phase::Over,
        }
    }

    fn is_alive(&self, life: u32) -> bool {
        self.process.as_ref().is_some_and(|process| process.life == life as usize)
    }

    fn life(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.life as u32)
    }

    /// Schedules an event.
    fn at(&mut self, at_ns: u64, event: Event) {
        self.seq += 1;
        self.heap.push(Reverse((at_ns, self.seq, event)));
    }

    fn after(&mut self, pause_ns: u64, event: Event) {
        self.at(self.now_ns + pause_ns, event);
    }

    /// The present as the history has it; no two are equal.
    fn moment(&mut self) -> Moment {
        self.seq += 1;
        Moment { seq: self.seq, at_ns: self.now_ns, turn: self.counts.turns }
    }

    fn fail(&mut self, check: &'static str, what: String) {
        let at = self.moment();
        self.failed.get_or_insert(Violation { check, what, at });
    }

    fn draw_pause(&mut self, bounds: (u64, u64)) -> u64 {
        self.pace.between(bounds.0, bounds.1)
    }

    fn schedule_crash(&mut self) {
        let mean = self.plan.crashes.every_ns;
        if mean > 0 && self.crashes_left > 0 && self.phase == Phase::Storm {
            let pause = self.fate.between(mean / 10, 2 * mean);
            self.after(pause, Event::Crash);
        }
    }

    /// Digest of the whole State, to be compared with other lives and with a replay.
    fn take_digest(&mut self) {
        let Some(process) = self.process.as_ref().filter(|process| !process.node.is_applying()) else {
            return;
        };
        let LogIndex(applied) = process.node.state().applied;
        let (hash, life) = (process.node.state().hash(), process.life);
        let at = self.moment();
        self.history.digests.push(Digest { life, at, applied, hash });
    }

    /// Faults stop; clients fall silent; leases run out; watches catch up.
    fn begin_calm(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        self.phase = Phase::Calm;
        let DiskFaults { ignores_flush, ignores_directory_flush, .. } = self.disk.faults;
        self.disk.faults = DiskFaults { ignores_flush, ignores_directory_flush, ..DiskFaults::default() };
        self.plan.crashes.at_effect = 0.0;
        self.plan.crashes.at_disk_op = 0.0;
        self.plan.crashes.while_dirty = 0.0;
        self.plan.crashes.flips_max = 0;
        self.plan.cuts.pause = 0.0;
        self.plan.reply_lost = 0.0;
        self.plan.credit_ns = (1, 1000);
        self.history.calm_since = self.moment();
        self.trace.line(self.now_ns, || "calm".to_owned());
        // A flush that stalls when the calm begins stalls to its end.
        self.after(CALM_NS + self.plan.disk.stall_ns.1, Event::Last);
    }

    /// One more power loss, then a last look at everything that should be there.
    fn begin_last(&mut self) {
        self.take_digest();
        self.phase = Phase::Last;
        self.trace.line(self.now_ns, || "last look".to_owned());
        if self.process.is_some() {
            self.crash("before the last look");
        }
        self.script = self.last_requests().into();
        if !self.clients.is_empty() {
            self.clients[0] = Client::default();
            self.after(SECOND, Event::Think { client: 0 });
        }
        self.after(LAST_NS, Event::End);
    }

    fn finish(mut self) -> Outcome {
        self.history.end = self.moment();
        if self.history.calm_since.at_ns == 0 {
            // Ended in the storm (a damaged directory was refused): nothing had time to happen yet.
            self.history.calm_since = self.history.end;
        }
        if self.failed.is_none() && self.phase == Phase::Over {
            self.take_digest();
            self.check_progress();
            if self.process.is_some() {
                self.mark_survivors();
            }
        }
        let disk = self.disk.counts;
        self.counts.virtual_ns = self.now_ns;
        self.counts.faults = self.counts.crashes
            + self.counts.pauses
            + self.counts.flips
            + disk.syncs_failed
            + disk.stalls
            + disk.refused_for_space;
        let World { history, failed, trace, counts, .. } = self;
        Outcome { history, failed, trace, counts }
    }

    /// In the last life, which nobody disturbed, everything asked was answered.
    fn check_progress(&mut self) {
        if self.counts.refused_damage > 0 {
            return;
        }
        let Some(process) = &self.process else {
            return self.fail("no_progress", "the node does not run in the end".to_owned());
        };
        let (life, last) = (process.life, process.node.state().applied.0);
        let open = self.history.ops.iter().find(|op| op.life == life && op.answer.is_none());
        if let Some(op) = open {
            let what = format!("{:?} was never answered", op.request);
            return self.fail("no_progress", what);
        }
        if last < self.history.log.len() as u64 || !self.script.is_empty() {
            let what = format!("entry {} was never applied, {last} is the last", self.history.log.len());
            self.fail("no_progress", what);
        }
    }
}
