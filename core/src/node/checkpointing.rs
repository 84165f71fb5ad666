//! Checkpoints of our own State, and the lane that they share with a state received from a leader.

use super::Node;
use super::incoming::Incoming;
use crate::base::{Instant, LogIndex, Lsn};
use crate::boundary::{CheckpointStep, Effect, Note};
use crate::snapshot::SnapshotRun;

/// Pause before a failed checkpoint is tried again.
const CHECKPOINT_RETRY_NS: u64 = 10_000_000_000;

/// The checkpoint being written and those on disk.
pub(super) struct Checkpointing {
    pub writing: Writing,
    /// A step is with the disk.
    awaiting: bool,
    /// Index of the newest finished one; the log behind it goes when the next one stands.
    pub newest: LogIndex,
    /// Log bytes behind the newest one, as of the last tick.
    pub log_bytes: u64,
    /// Earliest instant for another attempt after a failure.
    retry_at: Instant,
}

/// What the lane is busy with.
pub(super) enum Writing {
    Nothing,
    Own(SnapshotRun),
    /// Another file was begun and is not wanted any more. `asked`: the disk was told so.
    Aborting {
        next: Option<Box<Incoming>>,
        asked: bool,
    },
    Incoming(Box<Incoming>),
}

impl Checkpointing {
    /// `newest`: index of the checkpoint the node was opened from; 0 if there is none.
    pub fn new(newest: LogIndex, now: Instant) -> Checkpointing {
        Checkpointing { writing: Writing::Nothing, awaiting: false, newest, log_bytes: 0, retry_at: now }
    }

    /// Whether history is being copied. Physical compaction waits, also a half done one: it would take the
    /// tombstone that is still to be copied of a key that was copied already.
    pub fn reads_state(&self) -> bool {
        matches!(&self.writing, Writing::Own(run) if !run.is_finished())
    }

    /// Whether a turn without inputs would bring it on.
    pub fn has_work(&self) -> bool {
        match &self.writing {
            Writing::Incoming(incoming) => !self.awaiting && incoming.has_work(),
            Writing::Aborting { asked, .. } => !self.awaiting && !asked,
            Writing::Own(_) => !self.awaiting,
            Writing::Nothing => false,
        }
    }

    /// The state being received, if there is one.
    pub fn incoming(&mut self) -> Option<&mut Incoming> {
        match &mut self.writing {
            Writing::Incoming(incoming) | Writing::Aborting { next: Some(incoming), .. } => Some(incoming),
            _ => None,
        }
    }

    /// The lane turns to `incoming`; what it was at is given up.
    pub fn begin_incoming(&mut self, incoming: Incoming) {
        let next = Box::new(incoming);
        self.writing = match std::mem::replace(&mut self.writing, Writing::Nothing) {
            Writing::Nothing => Writing::Incoming(next),
            Writing::Incoming(before) if !before.is_begun() => Writing::Incoming(next),
            Writing::Own(_) | Writing::Incoming(_) => Writing::Aborting { next: Some(next), asked: false },
            Writing::Aborting { asked, .. } => Writing::Aborting { next: Some(next), asked },
        };
    }

    /// What is being received is of no use.
    pub fn drop_incoming(&mut self) {
        self.writing = match std::mem::replace(&mut self.writing, Writing::Nothing) {
            Writing::Incoming(incoming) if incoming.is_begun() => {
                Writing::Aborting { next: None, asked: false }
            }
            Writing::Incoming(_) => Writing::Nothing,
            Writing::Aborting { asked, .. } => Writing::Aborting { next: None, asked },
            own => own,
        };
    }

    /// Whether the end of a file is with the disk.
    pub fn is_ending(&self) -> bool {
        match &self.writing {
            Writing::Nothing | Writing::Aborting { .. } => false,
            Writing::Own(run) => run.is_finished(),
            Writing::Incoming(incoming) => incoming.is_ending(),
        }
    }

    fn next_step(&mut self, node: &Here<'_>) -> Option<CheckpointStep> {
        match &mut self.writing {
            Writing::Nothing => None,
            Writing::Own(run) => Some(run.next_step(&node.state.kv, node.piece_bytes_max)),
            Writing::Aborting { asked, .. } => {
                *asked = true;
                Some(CheckpointStep::Abort)
            }
            Writing::Incoming(incoming) => incoming.next_step(),
        }
    }
}

/// What a step is made from.
struct Here<'a> {
    state: &'a crate::state::State,
    piece_bytes_max: usize,
}

impl Node {
    /// Begins a checkpoint when the log has grown enough, or writes the next piece of what is being written.
    pub(super) fn write_checkpoint(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.checkpoint.awaiting {
            if matches!(self.checkpoint.writing, Writing::Nothing) && self.is_checkpoint_due(now) {
                self.consensus.refresh_hard_state();
                let run = SnapshotRun::begin(&self.state, self.config.identity);
                self.checkpoint.writing = Writing::Own(run);
            }
            let here = Here { state: &self.state, piece_bytes_max: self.limits.checkpoint_piece_bytes_max };
            if let Some(step) = self.checkpoint.next_step(&here) {
                self.checkpoint.awaiting = true;
                effects.push(Effect::Checkpoint(step));
            }
        }
        self.receive(effects);
    }

    fn is_checkpoint_due(&self, now: Instant) -> bool {
        let threshold = self.limits.checkpoint_log_bytes_min.max(self.state.kv.bytes());
        self.checkpoint.log_bytes > threshold
            && now >= self.checkpoint.retry_at
            && self.state.applied > self.checkpoint.newest
            && self.is_state_whole()
            && self.consensus.is_settled()
    }

    /// Whether State is what the log says up to its applied index, no more and no less.
    pub(super) fn is_state_whole(&self) -> bool {
        !self.applier.is_busy() && !self.consensus.is_installing()
    }

    pub(super) fn on_checkpointed(&mut self, now: Instant, ok: bool, effects: &mut Vec<Effect>) {
        self.checkpoint.awaiting = false;
        match &mut self.checkpoint.writing {
            Writing::Nothing => {}
            Writing::Own(run) => {
                let (index, is_finished) = (run.index(), run.is_finished());
                if !ok {
                    self.on_checkpoint_failed(now, index, effects);
                } else if is_finished {
                    self.checkpoint.writing = Writing::Nothing;
                    self.on_checkpoint_written(index, effects);
                }
            }
            // The step that was under way is over; now the disk is told.
            Writing::Aborting { asked: false, .. } => {}
            Writing::Aborting { next, asked: true } => {
                self.checkpoint.writing = match next.take() {
                    Some(incoming) => Writing::Incoming(incoming),
                    None => Writing::Nothing,
                };
            }
            Writing::Incoming(incoming) => {
                let index = incoming.index();
                match (ok, incoming.on_written()) {
                    (false, _) => self.on_checkpoint_failed(now, index, effects),
                    (true, true) => self.on_checkpoint_written(index, effects),
                    (true, false) => {}
                }
            }
        }
    }

    fn on_checkpoint_failed(&mut self, now: Instant, index: LogIndex, effects: &mut Vec<Effect>) {
        self.checkpoint.writing = Writing::Nothing;
        self.checkpoint.retry_at = now.plus_ns(CHECKPOINT_RETRY_NS);
        effects.push(Effect::Note(Note::CheckpointFailed { index }));
    }

    fn on_checkpoint_written(&mut self, index: LogIndex, effects: &mut Vec<Effect>) {
        effects.push(Effect::Note(Note::CheckpointWritten { index }));
        // The log stays back to the older of the two checkpoints.
        let older = std::mem::replace(&mut self.checkpoint.newest, index);
        self.checkpoint.log_bytes = self.consensus.bytes_behind(index);
        let through = self.consensus.reclaim(older);
        if older > LogIndex(0) && through > Lsn(0) {
            effects.push(Effect::Reclaim { through });
        }
    }
}
