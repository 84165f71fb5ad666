//! What only a leader does, and what a tick brings.

use super::Node;
use crate::base::Instant;
use crate::boundary::{Effect, Note};

impl Node {
    /// What only a leader does, and what changes when leadership does.
    pub(super) fn lead(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let leads = self.consensus.is_leader();
        if leads != self.was_leader {
            self.was_leader = leads;
            let term = self.consensus.term().0;
            effects.push(Effect::Note(match leads {
                true => Note::BecameLeader { term },
                false => Note::LostLeader { term },
            }));
            self.transfers.clear();
        }
        // A leader of one term may be the leader of another before it took a turn.
        if self.deadlines.is_primary() && (!leads || self.state.applied_term < self.consensus.term()) {
            self.deadlines.demote();
        }
        self.tend_leases(now, effects);
        self.publish(now);
        self.ask_promotions(now, effects);
        self.flush_proposals(effects);
        self.take_rounds(effects);
    }

    pub(super) fn on_tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.checkpoint.log_bytes = self.consensus.bytes_behind(self.checkpoint.newest);
        let mut answers = Vec::new();
        let has_leader = self.consensus.leader().is_some();
        self.reads.on_tick(now, has_leader, &mut answers);
        self.tell_all(answers, effects);
        self.expire_proposals(now, effects);
        self.expire_moves(now, effects);
        self.expire_promotions(now, effects);
        self.expire_tokens(now);
        self.resend_pieces();
        self.ping(effects);
        self.tend_version(now, effects);
        self.tend_history(now, effects);
        self.end_when_removed(now, effects);
    }
}
