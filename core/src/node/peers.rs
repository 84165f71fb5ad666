//! What other members say, and what callers, here or there, are told.

use super::Node;
use crate::base::{Instant, MemberId};
use crate::boundary::{Effect, Note};
use crate::conf::ConfChangeKind;
use crate::peer::{Answer, Caller, PeerMessage, Question};
use crate::raft::Refused;
use crate::read::{Query, Read, Told};
use crate::request::Response;
use crate::status::Status;

/// Ticks after which a question of another member is dropped: it has been asked again by then.
const QUESTION_TICKS_MAX: u64 = 10;

impl Node {
    pub(super) fn on_peer(
        &mut self,
        now: Instant,
        from: MemberId,
        message: PeerMessage,
        effects: &mut Vec<Effect>,
    ) {
        if from == self.id || self.state.members.is_removed(from) {
            return;
        }
        // Whatever would be answered before the boot record is durable might not have happened.
        if !self.is_open && !matches!(message, PeerMessage::Raft(_)) {
            return;
        }
        let silence_ns = self.silence_ns();
        self.cluster.on_heard(from, now, silence_ns);
        match message {
            PeerMessage::Raft(message) => {
                if let Err(refused) = self.consensus.step(from, *message) {
                    self.refuse(from, refused, effects);
                }
            }
            PeerMessage::Ping => {}
            PeerMessage::Knows { state_version } => self.on_knows(from, state_version, now),
            PeerMessage::Forward { commands } => self.on_forward(commands),
            PeerMessage::Ask { epoch, number, question } => {
                let caller = Caller::Peer { member: from, epoch, number };
                self.on_question(now, caller, question, effects);
            }
            PeerMessage::Answer { epoch, number, answer } => {
                // An answer to a life before says nothing to this one.
                if epoch == self.proposals.epoch {
                    self.on_answer(number, answer, effects);
                }
            }
            PeerMessage::SnapshotPiece(piece) => self.on_piece(from, piece, effects),
            PeerMessage::SnapshotAck { transfer, next } => self.on_piece_ack(from, transfer, next),
        }
    }

    /// Drops what no correct member says; who is told that it lost entries has to end.
    pub(super) fn refuse(&mut self, from: MemberId, refused: Refused, effects: &mut Vec<Effect>) {
        match refused {
            Refused::Lie(what) => effects.push(Effect::Note(Note::PeerRefused { from, what })),
            Refused::LostEntries { commit, last } => self.halt(
                format!(
                    "the cluster counts on this member for entry {commit}, but its log ends at {last}: the data \
                     directory was lost or replaced; remove the member and add it again under a new id"
                ),
                effects,
            ),
        }
    }

    /// Another member asks what only a leader knows.
    fn on_question(&mut self, now: Instant, caller: Caller, question: Question, effects: &mut Vec<Effect>) {
        if !self.consensus.is_leader() {
            return self.tell_one(caller, Told::NotLeader, effects);
        }
        let deadline = now.plus_ns(QUESTION_TICKS_MAX * self.config.heartbeat_ns);
        let (query, identity) = match question {
            Question::ReadIndex => (Query::ReadIndex, None),
            Question::KeepAlive { id, identity } => (Query::KeepAlive(id), identity),
            Question::TimeToLive { id, keys, identity } => (Query::TimeToLive { id, keys }, identity),
            Question::Promote { id, identity } => {
                return self.change_membership(now, caller, identity, ConfChangeKind::Promote(id), effects);
            }
        };
        self.reads.linearizable(Read { caller, query, identity, deadline });
    }

    /// What waits for an index, or for what only a leader knows, is asked of the leader; if that is us, of
    /// a quorum.
    pub(super) fn ask_leader(&mut self, effects: &mut Vec<Effect>) {
        if !self.reads.wants_asking() {
            return;
        }
        if self.consensus.is_leader() {
            if !self.reads.wants_round() {
                return;
            }
            self.question += 1;
            if self.consensus.read_round(self.question) {
                self.reads.on_asked(self.question);
                self.take_rounds(effects);
            }
        } else if let Some(leader) = self.consensus.leader() {
            let epoch = self.proposals.epoch;
            let mut questions = Vec::new();
            self.reads.take_questions(&mut self.question, &mut questions);
            effects.extend(questions.into_iter().map(|(number, question)| Effect::Send {
                to: leader,
                message: PeerMessage::Ask { epoch, number, question },
            }));
        }
    }

    /// Rounds that raft has confirmed.
    pub(super) fn take_rounds(&mut self, effects: &mut Vec<Effect>) {
        self.consensus.drain(&mut self.outcome);
        let mut answers = Vec::new();
        let applied = self.state.applied;
        let alone = self.is_sole_authority();
        for (number, index) in self.outcome.reads.drain(..) {
            let index = if alone { applied.min(index) } else { index };
            self.reads.on_confirmed(number, index, &mut answers);
        }
        self.tell_all(answers, effects);
    }

    /// Nobody but a sole voter can have told a client of what it has not applied itself, so its reads see
    /// all that was acknowledged without waiting for what is in the log or half applied: a DeleteRange of a
    /// million keys holds up no read. `reads_from` leaves out what others, or an earlier life, may have told.
    fn is_sole_authority(&self) -> bool {
        self.consensus.is_sole_voter()
            && self.state.applied_term == self.consensus.term()
            && self.state.applied >= self.reads_from
    }

    fn on_answer(&mut self, number: u64, answer: Answer, effects: &mut Vec<Effect>) {
        if let Answer::ReadIndex(index) = answer {
            let mut answers = Vec::new();
            self.reads.on_confirmed(number, index, &mut answers);
            return self.tell_all(answers, effects);
        }
        match answer {
            Answer::NotLeader if self.on_promotion_not_leader(number) => return,
            Answer::NotLeader => return self.reads.on_not_leader(number),
            Answer::Refused(status) if self.on_promotion_answer(number, Err(status), effects) => return,
            Answer::Promoted { members } => {
                self.on_promotion_answer(number, Ok(members), effects);
                return;
            }
            _ => {}
        }
        let Some(read) = self.reads.take_asked(number) else { return };
        // The header is the answering member's own (LEASE-7).
        let header = self.state.header();
        let result = match (answer, &read.query) {
            (Answer::KeepAlive { ttl }, Query::KeepAlive(id)) => {
                Ok(Response::LeaseKeepAlive { header, id: *id, ttl })
            }
            (Answer::TimeToLive { ttl, granted_ttl, keys }, Query::TimeToLive { id, .. }) => {
                Ok(Response::LeaseTimeToLive { header, id: *id, ttl, granted_ttl, keys })
            }
            (Answer::Refused(status), _) => Err(status),
            // An answer to another question: the peer is confused, the caller's deadline decides.
            _ => return,
        };
        self.tell(read.caller, result, effects);
    }

    pub(super) fn tell_all(&mut self, answers: Vec<(Caller, Told)>, effects: &mut Vec<Effect>) {
        for (caller, told) in answers {
            self.tell_one(caller, told, effects);
        }
    }

    /// Tells a caller how its request ended.
    pub(super) fn tell(
        &mut self,
        caller: Caller,
        result: Result<Response, Status>,
        effects: &mut Vec<Effect>,
    ) {
        self.tell_one(caller, Told::Done(result), effects);
    }

    fn tell_one(&mut self, caller: Caller, told: Told, effects: &mut Vec<Effect>) {
        match (caller, told) {
            (Caller::Local(waiter), Told::Done(result)) => effects.push(Effect::Reply { waiter, result }),
            (Caller::Local(_), Told::Index(_) | Told::NotLeader | Told::Reached) => {
                unreachable!("answers to other members and to logins only")
            }
            (Caller::Login { job }, told) => self.on_login_told(job, told, effects),
            (Caller::Peer { member, epoch, number }, told) => {
                let message = PeerMessage::Answer { epoch, number, answer: answer_of(told) };
                effects.push(Effect::Send { to: member, message });
            }
        }
    }
}

fn answer_of(told: Told) -> Answer {
    match told {
        Told::Index(index) => Answer::ReadIndex(index),
        Told::NotLeader => Answer::NotLeader,
        Told::Reached => unreachable!("no member asks for a barrier"),
        Told::Done(Ok(Response::LeaseKeepAlive { ttl, .. })) => Answer::KeepAlive { ttl },
        Told::Done(Ok(Response::LeaseTimeToLive { ttl, granted_ttl, keys, .. })) => {
            Answer::TimeToLive { ttl, granted_ttl, keys }
        }
        Told::Done(Ok(Response::MemberPromote { members, .. })) => Answer::Promoted { members },
        Told::Done(Ok(other)) => unreachable!("no member asks for {other:?}"),
        Told::Done(Err(status)) => Answer::Refused(status),
    }
}
