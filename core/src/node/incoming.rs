//! State being received from a leader: written to disk as a checkpoint file while it is read, and taken over
//! when raft has its word that the log starts behind it.
//!
//! Order: every piece is on disk under the file's final name; then raft is told; then the log says so,
//! durably; then State is replaced and raft's acknowledgement leaves. A crash anywhere leaves a member that
//! recovers to what it had, or to what it received (`LogStart::BehindCheckpoint`).

use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::Message;

use super::Node;
use super::checkpointing::Writing;
use super::transfer::NOT_WANTED;
use crate::base::{LogIndex, MemberId, Term};
use crate::boundary::{CheckpointStep, Effect, Note};
use crate::checkpoint::{Fault, Header, Reader, Record};
use crate::conf::conf_state;
use crate::peer::{PeerMessage, SnapshotPiece};
use crate::snapshot::{Attaching, Restorer};
use crate::state::{STATE_IS_NEWER, State};
use crate::wal::Identity;

/// Pieces that may wait for the disk; the sender has no more than this under way.
const WAITING_MAX: usize = 8;

/// A state being received.
pub(super) struct Incoming {
    from: MemberId,
    transfer: u64,
    index: LogIndex,
    /// The next piece to take, and those taken that the disk has not been given yet.
    next: u64,
    waiting: VecDeque<Piece>,
    stage: Stage,
    announcement: Option<Box<Message>>,
    /// Pieces whose writing is over; the sender learns of it.
    acknowledge: bool,
    /// The end of the file is with the disk; it is on the disk.
    is_ending: bool,
    is_on_disk: bool,
}

struct Piece {
    bytes: Bytes,
    is_first: bool,
    is_last: bool,
}

enum Stage {
    Reading(Box<(Reader, Restorer)>),
    Attaching(Box<Attaching>),
    Whole(Box<State>),
    /// Raft took the announcement; State waits for the log.
    Announced(Box<State>),
    Over,
}

impl Incoming {
    fn begin(from: MemberId, piece: &SnapshotPiece, version_max: u32) -> Incoming {
        Incoming {
            from,
            transfer: piece.transfer,
            index: piece.index,
            next: 0,
            waiting: VecDeque::new(),
            stage: Stage::Reading(Box::new((Reader::new(), Restorer::new(version_max)))),
            announcement: None,
            acknowledge: false,
            is_ending: false,
            is_on_disk: false,
        }
    }

    pub fn index(&self) -> LogIndex {
        self.index
    }

    /// Takes the piece that is due. Errors: its bytes are no part of a checkpoint of ours.
    fn take(&mut self, piece: SnapshotPiece, identity: Identity) -> Result<(), &'static str> {
        let Stage::Reading(reading) = &mut self.stage else { return Err("pieces behind the last one") };
        let (reader, restorer) = &mut **reading;
        let mut restore = |record: Record| restorer.record(record.kind, record.bytes).map_err(|e| e.0);
        reader.feed(&piece.bytes, &mut restore).map_err(|fault| match fault {
            Fault::Content { what: STATE_IS_NEWER, .. } => STATE_IS_NEWER,
            _ => "a piece is damaged",
        })?;
        let is_last = piece.last.is_some();
        self.waiting.push_back(Piece { bytes: piece.bytes, is_first: piece.number == 0, is_last });
        self.next += 1;
        if let Some(announcement) = piece.last {
            let Stage::Reading(reading) = std::mem::replace(&mut self.stage, Stage::Over) else {
                unreachable!("seen above")
            };
            let (reader, restorer) = *reading;
            let header = reader.finish().map_err(|_| "the last piece is not the end")?;
            self.check(&header, &announcement, identity)?;
            let attaching = restorer.attach(&header).map_err(|error| error.0)?;
            self.stage = Stage::Attaching(Box::new(attaching));
            self.announcement = Some(announcement);
        }
        Ok(())
    }

    fn check(&self, header: &Header, announcement: &Message, identity: Identity) -> Result<(), &'static str> {
        let metadata = announcement.get_snapshot().get_metadata();
        if header.identity != identity || header.index != self.index {
            return Err("a state of another member or another place in the log");
        }
        if (metadata.index, metadata.term) != (header.index.0, header.term.0) {
            return Err("the announcement is of another state");
        }
        Ok(())
    }

    /// Pieces that the sender may forget. The last one is acknowledged when raft has its announcement.
    fn acknowledged(&self) -> u64 {
        let given_to_disk = self.next - self.waiting.len() as u64;
        let all_read = !matches!(self.stage, Stage::Reading(_));
        given_to_disk.min(self.next - u64::from(all_read))
    }

    /// Whether the disk has been given anything of it.
    pub fn is_begun(&self) -> bool {
        self.next > self.waiting.len() as u64
    }

    /// Whether the end of the file is with the disk, or done.
    pub fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// What the disk gets next.
    pub fn next_step(&mut self) -> Option<CheckpointStep> {
        let Piece { bytes, is_first, is_last } = self.waiting.pop_front()?;
        self.is_ending = is_last;
        Some(match (is_first, is_last) {
            (true, _) => CheckpointStep::Begin { index: self.index, bytes },
            (false, false) => CheckpointStep::Piece { bytes },
            (false, true) => CheckpointStep::End { bytes },
        })
    }

    /// The disk has the last step; true if it was the end of the file.
    pub fn on_written(&mut self) -> bool {
        self.acknowledge = true;
        self.is_on_disk = self.is_ending;
        self.is_on_disk
    }

    /// Whether a turn without inputs would bring it on.
    pub fn has_work(&self) -> bool {
        !self.waiting.is_empty() || matches!(self.stage, Stage::Attaching(_))
    }

    /// Whether file and state are both whole.
    fn is_whole(&self) -> bool {
        self.is_on_disk && matches!(self.stage, Stage::Whole(_))
    }
}

impl Node {
    /// A piece of a state arrives.
    pub(super) fn on_piece(&mut self, from: MemberId, piece: SnapshotPiece, effects: &mut Vec<Effect>) {
        let ack = |next| Effect::Send {
            to: from,
            message: PeerMessage::SnapshotAck { transfer: piece.transfer, next },
        };
        if self.consensus.is_installing() || self.cluster.removed_at.is_some() {
            return;
        }
        let newest = self.checkpoint.incoming().map_or(0, |incoming| incoming.transfer);
        if piece.number == 0 && piece.transfer > newest {
            if piece.index <= self.state.applied {
                return effects.push(ack(NOT_WANTED));
            }
            // A file that is all but on disk is not given up: the piece comes again.
            if self.checkpoint.is_ending() {
                return;
            }
            effects.push(Effect::Note(Note::SnapshotReceiving { from, index: piece.index }));
            self.checkpoint.begin_incoming(Incoming::begin(from, &piece, self.config.state_version_max));
        }
        let identity = self.config.identity;
        let known = |incoming: &&mut Incoming| incoming.transfer == piece.transfer && incoming.from == from;
        let Some(incoming) = self.checkpoint.incoming().filter(known) else {
            return effects.push(ack(0));
        };
        if piece.number != incoming.next || incoming.waiting.len() >= WAITING_MAX {
            return effects.push(ack(incoming.acknowledged()));
        }
        if let Err(what) = incoming.take(piece, identity) {
            self.checkpoint.drop_incoming();
            if what == STATE_IS_NEWER {
                return self.halt(what.to_owned(), effects);
            }
            effects.push(Effect::Note(Note::PeerRefused { from, what }));
        }
    }

    /// Brings a state being received on: attachments, acknowledgements, the word to raft.
    pub(super) fn receive(&mut self, effects: &mut Vec<Effect>) {
        let mut work = self.limits.work_max;
        let Writing::Incoming(incoming) = &mut self.checkpoint.writing else { return };
        if let Stage::Attaching(attaching) = &mut incoming.stage
            && attaching.step(&mut work)
            && let Stage::Attaching(attaching) = std::mem::replace(&mut incoming.stage, Stage::Over)
        {
            incoming.stage = Stage::Whole(Box::new(attaching.into_state()));
        }
        if incoming.is_whole() {
            return self.announce(effects);
        }
        if incoming.acknowledge && !incoming.is_on_disk {
            incoming.acknowledge = false;
            let next = incoming.acknowledged();
            let message = PeerMessage::SnapshotAck { transfer: incoming.transfer, next };
            effects.push(Effect::Send { to: incoming.from, message });
        }
    }

    /// File and state are whole: raft decides.
    fn announce(&mut self, effects: &mut Vec<Effect>) {
        let Writing::Incoming(mut incoming) =
            std::mem::replace(&mut self.checkpoint.writing, Writing::Nothing)
        else {
            unreachable!("asked only while receiving")
        };
        let announcement = incoming.announcement.take().expect("it came with the last piece");
        let message = PeerMessage::SnapshotAck { transfer: incoming.transfer, next: incoming.next };
        effects.push(Effect::Send { to: incoming.from, message });
        let Stage::Whole(state) = std::mem::replace(&mut incoming.stage, Stage::Over) else {
            unreachable!("seen to be whole")
        };
        // Overtaken by the log, or refused: what was received stays as one more checkpoint.
        match self.consensus.step_snapshot(incoming.from, *announcement, &conf_state(&state.members)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(refused) => return self.refuse(incoming.from, refused, effects),
        }
        incoming.stage = Stage::Announced(state);
        self.checkpoint.writing = Writing::Incoming(incoming);
    }

    /// The log says that it starts behind the state received: it takes State's place.
    pub(super) fn install(&mut self, effects: &mut Vec<Effect>) {
        let Some((index, term)) = self.consensus.take_installed() else { return };
        let Writing::Incoming(incoming) = std::mem::replace(&mut self.checkpoint.writing, Writing::Nothing)
        else {
            unreachable!("raft takes only the announcement of a state at hand")
        };
        let Stage::Announced(state) = incoming.stage else { unreachable!("raft was told of it") };
        assert_eq!((state.applied, state.applied_term), (index, Term(term.0)), "the state raft was told of");
        assert!(state.applied > self.state.applied, "State never goes back");
        self.state = *state;
        self.applier.reset();
        self.consensus.on_applied(index, term, self.keep());
        self.db_size_bytes = self.db_size_bytes.max(self.state.kv.bytes());
        self.reads.on_state_replaced();
        self.identities.on_state_replaced();
        self.watch.on_store_replaced(&self.state.kv);
        self.deadlines.demote();
        effects.push(Effect::Note(Note::SnapshotInstalled { index }));
        self.connect_all(effects);
    }
}
