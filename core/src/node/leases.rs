//! What a leader does for leases: it ends those whose time is over.

use super::Node;
use crate::base::Instant;
use crate::boundary::{Effect, Note};
use crate::command::Action;

/// Expired leases revoked in one turn (LEASE-13).
const REVOKES_IN_A_TURN_MAX: usize = 16;

impl Node {
    /// Proposes what the clocks of leases ask for, while we are the one who keeps them.
    pub(super) fn tend_leases(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.consensus.is_leader() || !self.deadlines.is_primary() {
            return;
        }
        let term = self.consensus.term();
        let mut work = self.limits.work_max;
        let leases = &self.state.leases;
        for id in self.deadlines.expired(now, leases, REVOKES_IN_A_TURN_MAX, &mut work) {
            effects.push(Effect::Note(Note::LeaseExpired { id: id.0 }));
            self.propose_as_leader(now, Action::LeaseExpire { id, term });
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
