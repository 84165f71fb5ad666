//! What a member that was removed still tells the others: that its removal is committed.
//!
//! Who holds the entry and does not know that still counts the removed member as a voter. Of two members the one
//! that stays could elect nobody, should the one message that tells it be lost. So a leader that leaves repeats its
//! last word until enough have answered: heartbeats commit, and their answers say up to where. One that has gone on
//! to a later term, since leadership was on its way to it, hears no leader of this one; it asks for votes, and is
//! told why it gets none (raft-rs 0.7.0 `raft.rs`, `maybe_commit_by_vote`).
//!
//! Source: Raft thesis §4.2.2 has the leader stay until the entry is committed; that the others know is more.

use raft::eraftpb::{Message, MessageType};

use super::Consensus;
use super::check::check;
use crate::base::{LogIndex, MemberId, Term};

/// What is left to be told.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// The entry that removed this member, and its term.
    index: LogIndex,
    term: Term,
    /// Remaining voters that hold the entry and have not said that they know; none if this member did not lead.
    waiting: Vec<MemberId>,
    /// How many of them must say so.
    needed: usize,
}

impl Farewell {
    /// By what a leader knows of the others; they are as they were before its removal.
    pub fn of(index: LogIndex, consensus: &Consensus) -> Farewell {
        let term = consensus.term_of(index).unwrap_or_default();
        if !consensus.is_leader() {
            return Farewell { index, term, ..Farewell::default() };
        }
        let progress = consensus.raw.raft.prs();
        let me = consensus.config.id.0;
        let voters: Vec<u64> = progress.conf().voters().ids().iter().filter(|id| *id != me).collect();
        let holds = |id: &u64| progress.get(*id).is_some_and(|progress| progress.matched >= index.0);
        let mut waiting: Vec<MemberId> = voters.iter().copied().filter(holds).map(MemberId).collect();
        waiting.sort_unstable();
        let needed = waiting.len().min(voters.len() / 2 + 1);
        Farewell { index, term, waiting, needed }
    }

    fn on_heard(&mut self, from: MemberId, message: &Message) {
        let is_answer = matches!(
            message.get_msg_type(),
            MessageType::MsgHeartbeatResponse | MessageType::MsgAppendResponse
        );
        let place = self.waiting.iter().position(|id| *id == from);
        if let Some(place) = place.filter(|_| is_answer && message.commit >= self.index.0) {
            self.waiting.remove(place);
            self.needed = self.needed.saturating_sub(1);
        }
    }
}

impl Consensus {
    /// A member speaks to this one, which has left: raft-rs does not hear it.
    pub(super) fn step_detached(&mut self, from: MemberId, message: &Message) {
        if check(message, from.0, self.receiver()).is_err() {
            return;
        }
        self.farewell.on_heard(from, message);
        if message.get_msg_type() != MessageType::MsgRequestPreVote {
            return;
        }
        // It asks for its next term, and hears answers in its present one. A refusal promises nothing.
        let term = message.term.saturating_sub(1);
        let mut answer = Message { from: self.config.id.0, to: from.0, term, ..Message::default() };
        answer.set_msg_type(MessageType::MsgRequestPreVoteResponse);
        answer.reject = true;
        (answer.commit, answer.commit_term) = (self.farewell.index.0, self.farewell.term.0);
        self.ledger.hold(answer, false);
    }

    /// A tick of a member that has left: a leader's last word goes out once more.
    pub fn bid_farewell(&mut self) {
        for to in &self.farewell.waiting {
            let (from, term, commit) = (self.config.id.0, self.raw.raft.term, self.farewell.index.0);
            let mut message = Message { from, to: to.0, term, commit, ..Message::default() };
            message.set_msg_type(MessageType::MsgHeartbeat);
            self.ledger.hold(message, true);
        }
    }

    /// Whether the others can do without this member, which they have removed.
    pub fn is_dispensable(&self) -> bool {
        self.farewell.needed == 0
    }
}
