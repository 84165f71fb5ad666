//! Messages that no correct member sends, and some that one might: well-typed, of every kind.

use bytes::Bytes;
use holdfast_core::base::{LeaseId, LogIndex, MemberId, Term};
use holdfast_core::boundary::CheckpointStep;
use holdfast_core::command::{Action, AuthChange, Command, CommandHeader, RequestId};
use holdfast_core::conf::{ConfChangeKind, ConfCommand};
use holdfast_core::node::Gauges;
use holdfast_core::peer::{Answer, PeerMessage, Proposal, Question, SnapshotPiece};
use holdfast_core::request::{Identity as Somebody, Member, PutRequest, Secret};
use holdfast_core::snapshot::SnapshotRun;
use holdfast_core::state::State;
use holdfast_core::status::Status;
use holdfast_core::wal::Identity;
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType};

use crate::rng::Rng;

/// Those that members exchange, and those that raft-rs keeps to itself.
const TYPES: [MessageType; 19] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgTimeoutNow,
    MessageType::MsgHup,
    MessageType::MsgBeat,
    MessageType::MsgPropose,
    MessageType::MsgUnreachable,
    MessageType::MsgSnapStatus,
    MessageType::MsgCheckQuorum,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgTransferLeader,
];

/// How many of them have bytes on the wire.
const SENT_TYPES: u64 = 10;

/// Draws messages to one member; knows what it is at, since what is near that does most harm.
pub struct Forger {
    pub rng: Rng,
    pub identity: Identity,
    /// The others; the first of them is whom most messages come from.
    pub others: Vec<MemberId>,
    pub epoch: u64,
    pub gauges: Gauges,
    /// Pieces of a state on its way and whom they come from, so that some arrive whole.
    pieces: Vec<SnapshotPiece>,
    sender: MemberId,
    transfers: u64,
}

impl Forger {
    pub fn new(rng: Rng, identity: Identity, others: Vec<MemberId>, gauges: Gauges) -> Forger {
        let sender = others[0];
        Forger { rng, identity, others, epoch: 1, gauges, pieces: Vec::new(), sender, transfers: 0 }
    }

    /// A message and whom it comes from, mostly one of the cluster.
    pub fn draw(&mut self) -> (MemberId, PeerMessage) {
        let from = match self.rng.weighted(&[20, 6, 1, 1]) {
            0 => self.others[0],
            1 => *self.rng.pick(&self.others),
            2 => self.identity.member_id,
            _ => MemberId(self.rng.next()),
        };
        let message = match self.rng.weighted(&[60, 6, 8, 14, 10, 3, 1]) {
            0 => PeerMessage::Raft(Box::new(self.raft(from))),
            1 => {
                let commands = (0..self.rng.below(4)).map(|_| self.proposal()).collect();
                PeerMessage::Forward { commands }
            }
            2 => PeerMessage::Ask { epoch: self.number(), number: self.number(), question: self.question() },
            3 => PeerMessage::Answer { epoch: self.epoch(), number: self.small(), answer: self.answer() },
            4 => {
                let piece = self.piece(from);
                return (self.sender, PeerMessage::SnapshotPiece(piece));
            }
            5 => PeerMessage::SnapshotAck { transfer: self.transfer(), next: self.number() },
            _ => PeerMessage::Ping,
        };
        (from, message)
    }

    /// A message of those that have bytes, with some bits of them flipped; `None`: they say nothing then.
    pub fn draw_flipped(&mut self) -> Option<(MemberId, PeerMessage)> {
        let (from, message) = loop {
            let (from, message) = self.draw();
            let mail = match &message {
                PeerMessage::Raft(mail) => Some(mail),
                PeerMessage::SnapshotPiece(piece) => piece.last.as_ref(),
                _ => None,
            };
            if mail.is_none_or(|mail| is_sent(mail.get_msg_type())) {
                break (from, message);
            }
        };
        let mut bytes = message.encode().to_vec();
        for _ in 0..self.rng.between(1, 8) {
            let place = self.rng.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << self.rng.below(8);
        }
        if self.rng.chance(0.1) {
            bytes.truncate(self.rng.below(bytes.len() as u64) as usize);
        }
        PeerMessage::decode(Bytes::from(bytes)).ok().map(|message| (from, message))
    }

    fn small(&mut self) -> u64 {
        self.rng.below(12)
    }

    /// Any number; often one that the member knows.
    fn number(&mut self) -> u64 {
        let Gauges { term, committed, last_index, .. } = self.gauges;
        let near = *self.rng.pick(&[term, committed, last_index, self.epoch]);
        match self.rng.weighted(&[8, 6, 1, 1]) {
            0 => (near.saturating_add(self.rng.below(4))).saturating_sub(self.rng.below(4)),
            1 => self.small(),
            2 => 1 << self.rng.below(64),
            _ => u64::MAX - self.rng.below(2),
        }
    }

    fn epoch(&mut self) -> u64 {
        if self.rng.chance(0.8) { self.epoch } else { self.number() }
    }

    /// A term that lets the cluster go on: one near the end of numbers would be the last for good.
    fn term(&mut self) -> u64 {
        match self.number() {
            far @ (0x1_0000_0000..=0x7fff_ffff_ffff_ffff) => far % 1000,
            term => term,
        }
    }

    fn raft(&mut self, from: MemberId) -> Message {
        let types = if self.rng.chance(0.9) { SENT_TYPES } else { TYPES.len() as u64 };
        let mut m = Message::default();
        m.set_msg_type(TYPES[self.rng.below(types) as usize]);
        let is_right = self.rng.chance(0.95);
        m.from = if is_right { from.0 } else { self.number() };
        m.to = if self.rng.chance(0.98) { self.identity.member_id.0 } else { self.number() };
        m.term = self.term();
        (m.index, m.log_term, m.commit) = (self.number(), self.term(), self.number());
        m.reject = self.rng.chance(0.3);
        m.reject_hint = self.number();
        m.commit_term = if self.rng.chance(0.1) { self.term() } else { 0 };
        m.request_snapshot = if self.rng.chance(0.05) { self.number() } else { 0 };
        m.priority = if self.rng.chance(0.05) { self.number() as i64 } else { 0 };
        let context = self.rng.pick(&[0, 0, 8, 16, 17, 900]);
        m.context = Bytes::from(vec![self.rng.next() as u8; *context]);
        if self.rng.chance(0.5) {
            m.set_entries(self.entries(m.index, m.term).into());
        }
        if self.rng.chance(0.1) {
            let metadata = m.mut_snapshot().mut_metadata();
            (metadata.index, metadata.term) = (self.number(), self.term());
            *metadata.mut_conf_state() = self.conf_state();
        }
        if m.get_msg_type() == MessageType::MsgHeartbeat && !self.rng.chance(0.01) {
            // One that counts on entries which are not there ends the member, and rightly.
            m.commit = m.commit.min(self.gauges.last_index);
        }
        m
    }

    /// Entries behind `index`, mostly as a leader of `term` has them.
    fn entries(&mut self, index: u64, term: u64) -> Vec<Entry> {
        let mut at = index;
        let mut entry_term = self.term().min(term);
        let mut entries = Vec::new();
        for _ in 0..self.rng.between(1, 4) {
            at = if self.rng.chance(0.95) { at.wrapping_add(1) } else { self.number() };
            if self.rng.chance(0.3) {
                entry_term = if self.rng.chance(0.8) { term } else { self.term() };
            }
            let mut entry = Entry { index: at, term: entry_term, ..Entry::default() };
            match self.rng.weighted(&[60, 2, 1, 3]) {
                0 => entry.data = self.command(),
                1 => entry.set_entry_type(EntryType::EntryConfChangeV2),
                2 => entry.data = self.garbage(),
                _ => {}
            }
            entries.push(entry);
        }
        entries
    }

    fn garbage(&mut self) -> Bytes {
        let len = self.rng.below(40);
        (0..len).map(|_| self.rng.next() as u8).collect()
    }

    fn command(&mut self) -> Bytes {
        // Under the member's own name a forged command would void the true ones: it has been seen then.
        let member = *self.rng.pick(&self.others);
        let id = RequestId { member, epoch: self.epoch(), counter: self.small() };
        let header = CommandHeader { id, ..CommandHeader::default() };
        let key = Bytes::from(vec![b'a' + self.rng.below(4) as u8]);
        let name = if self.rng.chance(0.5) { "root".to_owned() } else { String::new() };
        let action = match self.rng.below(9) {
            0 => Action::LeaseGrant { id: LeaseId(self.small() as i64), ttl: 5 },
            1 => Action::LeaseRevoke { id: LeaseId(self.small() as i64) },
            2 => Action::LeaseExpire {
                id: LeaseId(self.small() as i64),
                granted: LogIndex(self.number()),
                term: Term(self.term()),
            },
            3 => Action::Compact { revision: self.number() as i64 },
            // No role is granted to anybody: auth stays off, and what comes after is answered.
            4 => Action::Auth(AuthChange::UserAdd {
                name,
                password_hash: Secret(self.garbage()),
                no_password: self.rng.chance(0.5),
            }),
            5 => Action::Auth(AuthChange::Enable),
            6 => Action::Authenticate { user: name, token_prefix: Secret(self.garbage()) },
            _ => Action::Put(PutRequest { key, value: self.garbage(), ..PutRequest::default() }),
        };
        Command { header, action }.encode()
    }

    fn proposal(&mut self) -> Proposal {
        match self.rng.weighted(&[6, 2, 1, 1]) {
            0 => Proposal::Command(self.command()),
            1 => Proposal::Command(self.garbage()),
            2 => Proposal::Conf(self.garbage()),
            _ => {
                let stranger = MemberId(self.rng.next());
                let change = ConfChangeKind::Promote(stranger);
                let id = RequestId { member: self.others[0], epoch: self.small(), counter: self.small() };
                let header = CommandHeader { id, ..CommandHeader::default() };
                Proposal::Conf(ConfCommand { header, change }.encode())
            }
        }
    }

    fn question(&mut self) -> Question {
        let lease = LeaseId(self.small() as i64);
        let identity = self.somebody();
        match self.rng.below(4) {
            0 => Question::ReadIndex,
            1 => Question::KeepAlive { id: lease, identity },
            2 => Question::TimeToLive { id: lease, keys: self.rng.chance(0.5), identity },
            _ => Question::Promote { id: *self.rng.pick(&self.others), identity },
        }
    }

    fn somebody(&mut self) -> Option<Somebody> {
        let auth_revision = self.rng.chance(0.5).then(|| self.number());
        let user = if self.rng.chance(0.5) { "root".to_owned() } else { String::new() };
        self.rng.chance(0.5).then_some(Somebody { user, auth_revision })
    }

    fn answer(&mut self) -> Answer {
        match self.rng.below(6) {
            0 => Answer::NotLeader,
            1 => Answer::Refused(*self.rng.pick(Status::ALL)),
            2 => Answer::ReadIndex(LogIndex(self.number())),
            3 => Answer::KeepAlive { ttl: self.number() as i64 },
            4 => Answer::TimeToLive {
                ttl: self.number() as i64,
                granted_ttl: self.number() as i64,
                keys: vec![self.garbage(); self.rng.below(3) as usize],
            },
            _ => Answer::Promoted { members: vec![Member::default(); self.rng.below(3) as usize] },
        }
    }

    fn transfer(&mut self) -> u64 {
        if self.rng.chance(0.7) { self.transfers } else { self.number() }
    }

    fn conf_state(&mut self) -> ConfState {
        let mut ids = self.others.clone();
        ids.push(self.identity.member_id);
        let voters = ids.iter().filter(|_| self.rng.chance(0.9)).map(|id| id.0).collect::<Vec<_>>();
        let mut learners = Vec::new();
        if self.rng.chance(0.2) {
            learners.push(if self.rng.chance(0.5) { ids[0].0 } else { self.number() });
        }
        ConfState::from((voters, learners))
    }

    /// A piece of a state: the next of one that is whole, any of it again, or noise.
    fn piece(&mut self, from: MemberId) -> SnapshotPiece {
        if self.pieces.is_empty() {
            (self.pieces, self.sender) = (self.make_pieces(from), from);
        }
        let mut piece = match self.rng.weighted(&[20, 1]) {
            0 => self.pieces.remove(0),
            _ => self.rng.pick(&self.pieces).clone(),
        };
        match self.rng.weighted(&[100, 1, 1, 1, 1]) {
            0 => {}
            1 => piece.number = self.number(),
            2 => piece.transfer = self.number(),
            3 => piece.bytes = self.garbage(),
            _ => piece.index = LogIndex(self.number()),
        }
        piece
    }

    /// A whole state somewhat ahead of the member's, with an announcement that need not fit it.
    fn make_pieces(&mut self, from: MemberId) -> Vec<SnapshotPiece> {
        let mut state = State::new();
        state.applied = LogIndex(self.gauges.applied + self.rng.between(1, 20));
        state.applied_term = Term(self.gauges.term.max(1));
        for id in self.others.iter().chain([&self.identity.member_id]) {
            ConfCommand::bootstrap(Member { id: *id, ..Member::default() }).apply(&mut state.members);
        }
        state.kv.begin();
        state.kv.put(b"forged", self.garbage(), LeaseId(0));
        state.kv.end();
        let mut run = SnapshotRun::begin(&state, self.identity);
        self.transfers += self.rng.below(3);
        let (transfer, index) = (self.transfers, state.applied);
        let mut pieces = Vec::new();
        while !run.is_finished() {
            let (bytes, is_last) = match run.next_step(&state.kv, 60) {
                CheckpointStep::Begin { bytes, .. } | CheckpointStep::Piece { bytes } => (bytes, false),
                CheckpointStep::End { bytes } => (bytes, true),
                CheckpointStep::Abort => unreachable!("a run does not give itself up"),
            };
            let mut announcement = self.raft(from);
            if self.rng.chance(0.8) {
                announcement.set_msg_type(MessageType::MsgSnapshot);
                let metadata = announcement.mut_snapshot().mut_metadata();
                (metadata.index, metadata.term) = (index.0, state.applied_term.0);
                *metadata.mut_conf_state() = self.conf_state();
            }
            let last = (is_last || self.rng.chance(0.02)).then(|| Box::new(announcement));
            pieces.push(SnapshotPiece { transfer, number: pieces.len() as u64, index, bytes, last });
        }
        pieces
    }
}

fn is_sent(kind: MessageType) -> bool {
    TYPES[..SENT_TYPES as usize].contains(&kind)
}
