//! A machine: a disk, and while it runs a process on it, made of a node and the lanes that serve its disk.
//!
//! It is the shell without threads: the same plans, in the same order, on the simulated disk.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use holdfast_core::base::{Instant, LogIndex, Lsn, MemberId};
use holdfast_core::boundary::{CheckpointStep, Effects, Input};
use holdfast_core::checkpoint::Checkpoints;
use holdfast_core::disk::DiskOp;
use holdfast_core::node::Node;
use holdfast_core::wal::Layout;

use crate::aim::{Aim, Tally};
use crate::disk::{DiskError, DiskFaults, SimDisk};
use crate::disk_ops::Flush;
use crate::plan::step::Behind;
use crate::rng::Rng;

/// What a finished plan is reported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Appended { through: Lsn },
    Checkpointed,
    Prepared,
    Nothing,
}

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaneKind {
    /// Appends and reclaims, in order.
    Log,
    /// Checkpoints.
    Checkpoint,
    /// Spare segments.
    Spare,
}

/// What a lane came to when it was moved on by one operation.
#[derive(Debug)]
pub enum Moved {
    Idle,
    /// An instant operation is done; there may be more.
    Performed,
    /// The operation takes so long.
    Waits(u64),
    Finished(Done),
    Failed(Done, DiskError),
}

/// A plan being performed, one operation after the other.
#[derive(Debug, Default)]
pub struct Lane {
    ops: VecDeque<DiskOp>,
    done: Option<Done>,
    flush: Option<Flush>,
}

impl Lane {
    pub fn is_idle(&self) -> bool {
        self.done.is_none()
    }

    pub fn start(&mut self, ops: Vec<DiskOp>, done: Done) {
        assert!(self.is_idle(), "one plan at a time");
        self.ops = ops.into();
        self.done = Some(done);
    }

    /// Leaves the rest of the plan out and calls it done: a fault that is planted in tests.
    pub fn forget(&mut self) {
        self.ops.clear();
    }

    /// Ends what was waited for, if anything was, and begins the next operation.
    pub fn step(&mut self, disk: &mut SimDisk) -> Moved {
        let Some(done) = self.done else { return Moved::Idle };
        let result = match self.flush.take() {
            Some(flush) => disk.end(flush).map(|()| None),
            None => match self.ops.pop_front() {
                Some(op) => disk.begin(&op),
                None => {
                    self.done = None;
                    return Moved::Finished(done);
                }
            },
        };
        match result {
            Ok(None) => Moved::Performed,
            Ok(Some(flush)) => {
                let takes_ns = flush.takes_ns;
                self.flush = Some(flush);
                Moved::Waits(takes_ns)
            }
            Err(error) => {
                self.done = None;
                self.ops.clear();
                Moved::Failed(done, error)
            }
        }
    }
}

/// What waits for the log lane.
#[derive(Debug)]
pub enum LogWork {
    Append { frames: Bytes, through: Lsn },
    Reclaim { through: Lsn },
}

/// A crash that waits behind something that a process does.
#[derive(Clone, Copy, Debug)]
pub struct Ambush {
    pub what: Behind,
    pub aim: Aim,
    /// So many that meet the aim still pass.
    pub skip: u64,
    pub power: bool,
}

/// One member's machine: what outlives its processes, and the process.
pub struct Machine {
    pub disk: SimDisk,
    pub process: Option<Process>,
    /// File and offset of the last append on disk: damage to it cannot be told from a torn one.
    pub last_append: (String, u64),
    /// Files in which bits were flipped.
    pub flipped: BTreeSet<String>,
    /// Its directory was refused: it stays down.
    pub is_refused: bool,
    /// It begins as a member that the cluster has added.
    pub joins: bool,
    /// Its first life has begun, or is about to.
    pub has_begun: bool,
    /// Clients know of it.
    pub is_known: bool,
    /// It is switched off for good.
    pub is_off: bool,
    /// Its disk was lost, and with it what it acknowledged as the member it is.
    pub is_wiped: bool,
    /// Newest version of State that any program of it ever knew.
    pub knew: u32,
    /// It stays down until a script says otherwise, or the calm comes.
    pub is_held_down: bool,
    /// How often it did what a crash can come behind, in the order of `Behind`, and the crashes to come.
    pub tallies: [Tally; 5],
    pub ambushes: Vec<Ambush>,
    /// Lives so far.
    pub lives: u64,
    /// Draws of its turns, and of its completions.
    pub pace: Rng,
    pub lanes_pace: Rng,
    /// It takes no turn before this moment.
    pub paused_until_ns: u64,
    /// The state that it receives, and whether it ever began to.
    pub receives: Option<LogIndex>,
    pub has_received: bool,
}

impl Machine {
    pub fn new(seed: u64, faults: DiskFaults) -> Machine {
        Machine {
            disk: SimDisk::new(seed, faults),
            process: None,
            last_append: (String::new(), 0),
            flipped: BTreeSet::new(),
            is_refused: false,
            joins: false,
            has_begun: true,
            is_known: true,
            is_off: false,
            is_wiped: false,
            knew: 0,
            is_held_down: false,
            tallies: [Tally::default(); 5],
            ambushes: Vec::new(),
            lives: 0,
            pace: Rng::named(seed, "turns"),
            lanes_pace: Rng::named(seed, "lanes"),
            paused_until_ns: 0,
            receives: None,
            has_received: false,
        }
    }

    /// Whether a crash waits behind this occurrence, and whether it is a power loss.
    pub fn take_ambush(&mut self, what: Behind, occurrence: Aim) -> Option<bool> {
        let is_meant = |ambush: &Ambush| ambush.what == what && ambush.aim.is_met(occurrence);
        let place = self.ambushes.iter().position(is_meant)?;
        let ambush = &mut self.ambushes[place];
        if ambush.skip > 0 {
            ambush.skip -= 1;
            return None;
        }
        Some(self.ambushes.remove(place).power)
    }

    /// The life that its process lives, if it runs.
    pub fn life(&self) -> Option<usize> {
        self.process.as_ref().map(|process| process.life)
    }
}

/// A running process.
pub struct Process {
    pub node: Node,
    pub layout: Layout,
    pub checkpoints: Checkpoints,
    pub log_lane: Lane,
    pub log_work: VecDeque<LogWork>,
    pub checkpoint_lane: Lane,
    /// A step that came while the lane was still removing leftovers.
    pub checkpoint_waiting: Option<CheckpointStep>,
    pub spare_lane: Lane,
    /// Where the last planned append begins: its file and offset.
    pub append_at: (String, u64),
    pub inbox: Vec<Input>,
    /// An empty vector with the room of an earlier inbox.
    pub inbox_spare: Vec<Input>,
    pub tick_is_due: bool,
    /// Hashes and checks of passwords, under way or over.
    pub passwords: Vec<Option<Input>>,
    /// When the scheduled turn is; later events for another moment are stale.
    pub turn_at_ns: Option<u64>,
    /// Index into `History::lives`.
    pub life: usize,
    pub born_ns: u64,
    /// What its clock showed at birth, and how fast it runs.
    pub clock_offset_ns: u64,
    pub clock_rate: f64,
    /// Revisions of its State by its clock, where it compacts by them.
    pub revisions: Vec<(Instant, i64)>,
    /// Members that it was told to keep no connection to, and since when.
    pub disconnected: Vec<(MemberId, u64)>,
    /// Senders of mail that was meant for another member, for each of which it may complain once.
    pub strays: Vec<MemberId>,
    /// It has noted that it was removed while it led.
    pub is_leaving: bool,
    /// The entry up to which a leader counts on it, as far as it was told.
    pub counted_on: u64,
    pub effects: Effects,
}

impl Process {
    /// The node's own clock: it runs at its own rate since its birth.
    pub fn clock(&self, now_ns: u64) -> Instant {
        Instant(self.clock_offset_ns + ((now_ns - self.born_ns) as f64 * self.clock_rate) as u64)
    }

    /// From here on the clock runs at another rate.
    pub fn set_clock_rate(&mut self, now_ns: u64, rate: f64) {
        self.clock_offset_ns = self.clock(now_ns).0;
        (self.born_ns, self.clock_rate) = (now_ns, rate);
    }

    /// True time at which the node's clock shows `instant`, at the earliest.
    pub fn when(&self, instant: Instant) -> u64 {
        let since_birth = instant.since_ns(Instant(self.clock_offset_ns));
        self.born_ns + (since_birth as f64 / self.clock_rate).ceil() as u64
    }

    /// Takes note of what its State is at.
    pub fn note_revision(&mut self, clock: Instant) {
        let revision = self.node.state().kv.revision();
        if self.revisions.last().is_none_or(|(_, known)| *known != revision) {
            self.revisions.push((clock, revision));
        }
    }

    /// The revision that its State was at when its clock showed `instant`; `None` before its first turn.
    pub fn revision_at(&self, instant: Instant) -> Option<i64> {
        let known = self.revisions.partition_point(|(at, _)| *at <= instant);
        Some(self.revisions[known.checked_sub(1)?].1)
    }

    /// Gives the log lane its next plan: an append, or a reclaim.
    pub fn feed_log_lane(&mut self) {
        if !self.log_lane.is_idle() {
            return;
        }
        match self.log_work.pop_front() {
            None => {}
            Some(LogWork::Reclaim { through }) => {
                let ops = self.layout.reclaim(through);
                self.log_lane.start(ops, Done::Nothing);
            }
            Some(LogWork::Append { frames, through }) => {
                let ops = self.layout.append(&frames, through);
                if let [.., DiskOp::Write { file, offset, .. }, DiskOp::Sync { .. }] = &ops[..] {
                    self.append_at = (file.clone(), *offset);
                }
                self.log_lane.start(ops, Done::Appended { through });
            }
        }
    }

    /// Gives the checkpoint lane what waits for it.
    pub fn feed_checkpoint_lane(&mut self) {
        if self.checkpoint_lane.is_idle()
            && let Some(step) = self.checkpoint_waiting.take()
        {
            let ops = self.checkpoints.plan(step);
            self.checkpoint_lane.start(ops, Done::Checkpointed);
        }
    }

    /// Makes the next segment ahead of need.
    pub fn feed_spare_lane(&mut self) {
        if self.spare_lane.is_idle()
            && let Some(ops) = self.layout.prepare()
        {
            self.spare_lane.start(ops, Done::Prepared);
        }
    }

    pub fn lane(&mut self, kind: LaneKind) -> &mut Lane {
        match kind {
            LaneKind::Log => &mut self.log_lane,
            LaneKind::Checkpoint => &mut self.checkpoint_lane,
            LaneKind::Spare => &mut self.spare_lane,
        }
    }
}
