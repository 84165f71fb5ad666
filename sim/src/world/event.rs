//! What can happen next, and in which order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::machine::LaneKind;

/// Something that is due at a moment. Small: the heap moves them about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A client is done thinking.
    Think {
        client: u32,
    },
    /// A request reaches its machine.
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
    /// Some stream asks for progress.
    Progress,
    /// A watch client has read what it got.
    Credit {
        slot: u32,
    },
    /// The node of this life takes a turn.
    Turn {
        life: u32,
    },
    /// A heartbeat interval of its clock has passed.
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
    /// A message reaches its machine.
    Mail {
        letter: u32,
    },
    /// A sender learns that mail to a member was lost.
    Lost {
        life: u32,
        to: u32,
    },
    /// A process begins.
    Start {
        member: u32,
    },
    /// Some process ends.
    Crash,
    /// All machines lose power.
    Blackout,
    /// Some process is paused.
    Pause,
    /// Some link is clogged.
    Clog,
    /// A cut of the network begins; it comes and goes.
    Partition,
    /// Some disk is lost.
    Wipe,
    /// Some program becomes one of another release.
    Release,
    /// Some machine is suspended; it goes on, and its clock has stood still so long.
    Suspend,
    Resume {
        life: u32,
        lost_ns: u64,
    },
    Flip {
        cut: u32,
    },
    /// The moment of a script's step has come.
    Step {
        number: u32,
    },
    /// A script goes on.
    NextStep {
        number: u32,
    },
    Calm,
    /// A leader is due.
    LeaderDue,
    Last,
    /// Whether everybody is ready for the last look.
    Probe,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Completion {
    Persisted(u64),
    Checkpointed(bool),
    /// An index into `Process::passwords`.
    Password(u32),
}

/// Events to come, by time and then by the order of their making.
#[derive(Debug, Default)]
pub struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
}

impl Agenda {
    /// `seq` makes events of one time come in the order in which they were made.
    pub fn push(&mut self, at_ns: u64, seq: u64, event: Event) {
        self.heap.push(Reverse((at_ns, seq, event)));
    }

    pub fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|Reverse((at_ns, _, event))| (at_ns, event))
    }
}
