//! State on its way to members whose log ends before ours begins.
//!
//! raft-rs names a laggard and waits. What is sent is a checkpoint file of the receiver, made from State at a
//! pinned revision, in numbered pieces of which a few are under way at a time; the last one carries raft's
//! announcement. A piece that is not acknowledged is sent again; a receiver that does not know the transfer,
//! or is silent for long, ends it, and raft tries anew.
//!
//! Source: Raft thesis §5.4; etcd 3.7.1 `server/etcdserver/api/rafthttp/snapshot_sender.go`.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::{Message, MessageType};

use super::Node;
use crate::base::{LogIndex, MemberId, Term};
use crate::boundary::{CheckpointStep, Effect, Note};
use crate::peer::{PeerMessage, SnapshotPiece};
use crate::snapshot::SnapshotRun;
use crate::wal::Identity;

/// Transfers at a time; a further laggard is told to raft as failed, which tries again.
const TRANSFERS_MAX: usize = 2;
/// Pieces under way.
const WINDOW: usize = 4;
/// Ticks without an acknowledgement after which pieces are sent again, and after which it is given up.
const RESEND_TICKS: u32 = 5;
const GIVE_UP_TICKS: u32 = 50;

/// Acknowledged by a receiver that has applied all that the state contains.
pub(super) const NOT_WANTED: u64 = u64::MAX;

/// Transfers of one term of leadership.
#[derive(Default)]
pub(super) struct Transfers {
    by_member: BTreeMap<MemberId, Transfer>,
    counter: u64,
}

struct Transfer {
    id: u64,
    /// `None` until State is whole.
    run: Option<Run>,
    silent_ticks: u32,
}

struct Run {
    snapshot: SnapshotRun,
    term: Term,
    conf: raft::eraftpb::ConfState,
    /// Number of the first piece in `window`.
    acknowledged: u64,
    /// Pieces under way, oldest first; sent ones before unsent ones.
    window: VecDeque<SnapshotPiece>,
    unsent: usize,
}

impl Transfers {
    /// Leadership began or ended: raft-rs starts its progress anew.
    pub fn clear(&mut self) {
        self.by_member.clear();
    }

    pub fn forget(&mut self, member: MemberId) {
        self.by_member.remove(&member);
    }

    /// Whether history is being copied: physical compaction waits (`Checkpointing::reads_state`).
    pub fn read_state(&self) -> bool {
        let mut runs = self.by_member.values().filter_map(|transfer| transfer.run.as_ref());
        runs.any(|run| !run.snapshot.is_finished())
    }
}

impl Node {
    /// Takes on laggards and sends what their windows allow.
    pub(super) fn send_states(&mut self, effects: &mut Vec<Effect>) {
        for member in std::mem::take(&mut self.outcome.laggards) {
            let has_room = self.transfers.by_member.len() < TRANSFERS_MAX;
            // Raft named it earlier in this turn, in which it may have been removed since: State is without it.
            let is_member = self.state.members.get(member).is_some();
            if !is_member || self.transfers.by_member.contains_key(&member) {
                continue;
            }
            if !has_room || !self.consensus.is_leader() {
                self.consensus.report_snapshot(member, false);
                continue;
            }
            // Terms have one leader, so the number is unique among all transfers to this member.
            self.transfers.counter += 1;
            let id = self.consensus.term().0 << 24 | self.transfers.counter & 0xff_ffff;
            self.transfers.by_member.insert(member, Transfer { id, run: None, silent_ticks: 0 });
        }
        // What a leader says of its own accord rests on its term.
        if self.transfers.by_member.is_empty() || !self.consensus.is_vote_durable() {
            return;
        }
        let is_whole = self.is_state_whole();
        for (&member, transfer) in &mut self.transfers.by_member {
            if transfer.run.is_none() && is_whole && self.state.applied > LogIndex(0) {
                let identity = Identity { member_id: member, ..self.config.identity };
                let conf = self.consensus.conf().clone();
                transfer.run = Some(Run::begin(&self.state, identity, conf));
                effects.push(Effect::Note(Note::SnapshotSending { to: member, index: self.state.applied }));
            }
            let Some(run) = &mut transfer.run else { continue };
            let announcement = Announcement { from: self.id, to: member, term: self.consensus.term() };
            run.fill(transfer.id, &self.state.kv, self.limits.checkpoint_piece_bytes_max, announcement);
            run.send(member, effects);
        }
    }

    /// A receiver has everything before piece `next`.
    pub(super) fn on_piece_ack(&mut self, from: MemberId, id: u64, next: u64) {
        let Some(transfer) = self.transfers.by_member.get_mut(&from).filter(|transfer| transfer.id == id)
        else {
            return;
        };
        let Some(run) = &mut transfer.run else { return };
        // It has the state: that it said so before was lost. Raft goes on behind it, and hears how far it is.
        if next == NOT_WANTED {
            return self.end_transfer(from, true);
        }
        // Forgotten in a new life.
        if next == 0 && run.acknowledged > 0 {
            return self.end_transfer(from, false);
        }
        if next > run.acknowledged {
            transfer.silent_ticks = 0;
        }
        if run.acknowledge(next) {
            self.end_transfer(from, true);
        }
    }

    fn end_transfer(&mut self, member: MemberId, is_whole: bool) {
        self.transfers.by_member.remove(&member);
        self.consensus.report_snapshot(member, is_whole);
    }

    /// A tick: pieces that were not acknowledged go out again, or the transfer is given up.
    pub(super) fn resend_pieces(&mut self) {
        let mut given_up = Vec::new();
        for (&member, transfer) in &mut self.transfers.by_member {
            transfer.silent_ticks += 1;
            if transfer.silent_ticks >= GIVE_UP_TICKS {
                given_up.push(member);
            } else if transfer.silent_ticks.is_multiple_of(RESEND_TICKS)
                && let Some(run) = &mut transfer.run
            {
                run.unsent = run.window.len();
            }
        }
        for member in given_up {
            self.end_transfer(member, false);
        }
    }
}

/// Whose word the announcement is, and to whom.
struct Announcement {
    from: MemberId,
    to: MemberId,
    term: Term,
}

impl Run {
    fn begin(state: &crate::state::State, identity: Identity, conf: raft::eraftpb::ConfState) -> Run {
        let snapshot = SnapshotRun::begin(state, identity);
        let term = state.applied_term;
        Run { snapshot, term, conf, acknowledged: 0, window: VecDeque::new(), unsent: 0 }
    }

    /// Makes pieces until the window is full.
    fn fill(&mut self, transfer: u64, kv: &crate::mvcc::Mvcc, bytes_max: usize, announcement: Announcement) {
        while self.window.len() < WINDOW && !self.snapshot.is_finished() {
            let number = self.acknowledged + self.window.len() as u64;
            let index = self.snapshot.index();
            let (bytes, is_last) = match self.snapshot.next_step(kv, bytes_max) {
                CheckpointStep::Begin { bytes, .. } | CheckpointStep::Piece { bytes } => (bytes, false),
                CheckpointStep::End { bytes } => (bytes, true),
                CheckpointStep::Abort => unreachable!("a run does not give itself up"),
            };
            let last = is_last.then(|| Box::new(self.announce(&announcement)));
            self.window.push_back(SnapshotPiece { transfer, number, index, bytes, last });
            self.unsent += 1;
        }
    }

    fn announce(&self, announcement: &Announcement) -> Message {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgSnapshot);
        message.from = announcement.from.0;
        message.to = announcement.to.0;
        message.term = announcement.term.0;
        let metadata = message.mut_snapshot().mut_metadata();
        metadata.index = self.snapshot.index().0;
        metadata.term = self.term.0;
        *metadata.mut_conf_state() = self.conf.clone();
        message
    }

    /// The receiver has everything before piece `next`; whether that is all.
    fn acknowledge(&mut self, next: u64) -> bool {
        while self.acknowledged < next
            && let Some(piece) = self.window.pop_front()
        {
            self.acknowledged = piece.number + 1;
            if piece.last.is_some() {
                return true;
            }
        }
        // What was to go out again may be what is acknowledged.
        self.unsent = self.unsent.min(self.window.len());
        false
    }

    fn send(&mut self, to: MemberId, effects: &mut Vec<Effect>) {
        let first = self.window.len() - self.unsent;
        effects.extend(
            self.window
                .range(first..)
                .map(|piece| Effect::Send { to, message: PeerMessage::SnapshotPiece(piece.clone()) }),
        );
        self.unsent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;
    use crate::wal::Identity;

    #[test]
    fn a_piece_that_is_to_go_out_again_may_be_acknowledged_before_it_does() {
        let identity = Identity { cluster_id: crate::base::ClusterId(1), member_id: MemberId(2) };
        let mut run = Run::begin(&State::new(), identity, Default::default());
        let piece = |number| SnapshotPiece {
            transfer: 1,
            number,
            index: LogIndex(1),
            bytes: Default::default(),
            last: None,
        };
        run.window = (0..2).map(piece).collect();
        run.unsent = 2;
        assert!(!run.acknowledge(1));
        let mut effects = Vec::new();
        run.send(MemberId(2), &mut effects);
        let sent: Vec<u64> = effects
            .iter()
            .map(|effect| match effect {
                Effect::Send { message: PeerMessage::SnapshotPiece(piece), .. } => piece.number,
                other => panic!("a piece was due: {other:?}"),
            })
            .collect();
        assert_eq!(sent, [1]);
    }
}
