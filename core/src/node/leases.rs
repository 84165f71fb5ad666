//! What a leader does for leases: it ends those whose time is over, and tells the log what others have left.

use super::Node;
use crate::base::Instant;
use crate::boundary::{Effect, Note};
use crate::command::Action;

/// Expired leases revoked in one turn (LEASE-13).
const REVOKES_IN_A_TURN_MAX: usize = 16;

/// Leases told in one entry, one a turn (LEASE-15).
const CHECKPOINTS_IN_AN_ENTRY_MAX: usize = 1000;

impl Node {
    /// Proposes what the clocks of leases ask for, while we are the one who keeps them.
    pub(super) fn tend_leases(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let term = self.consensus.term();
        // Before our first entry of the term is applied, deadlines are of an earlier office.
        let is_settled = self.consensus.is_leader() && self.state.applied_term == term;
        if !is_settled || !self.deadlines.is_primary() {
            return;
        }
        let mut work = self.limits.work_max;
        let expired = self.deadlines.expired(now, &self.state.leases, REVOKES_IN_A_TURN_MAX, &mut work);
        for id in expired {
            let granted = self.state.leases.granted(id).expect("a lease that is gone has no deadline");
            effects.push(Effect::Note(Note::LeaseExpired { id: id.0 }));
            self.propose_as_leader(now, Action::LeaseExpire { id, granted, term });
        }
        let number = self.proposals.next_counter();
        let leases = &self.state.leases;
        let items = self.deadlines.take_checkpoints(now, number, leases, CHECKPOINTS_IN_AN_ENTRY_MAX);
        if !items.is_empty() {
            // It is known again by its counter.
            self.propose_as_leader(now, Action::LeaseCheckpoint { term, items });
        }
    }

    /// The leader's first entry is applied: leases run from here, with their full or checkpointed time
    /// (LEASE-14).
    pub(super) fn on_term_started(&mut self, now: Instant) {
        if self.consensus.is_leader() && self.state.applied_term == self.consensus.term() {
            self.deadlines.promote(now, &self.state.leases, self.config.election_timeout_ns());
        }
    }
}
