//! Leases on a leader: when they end, and whose word counts.

use super::*;
use crate::base::Term;

const SECOND: u64 = 1_000_000_000;

impl World {
    fn grant(&mut self, id: i64, ttl: i64) {
        let grant = LeaseGrantRequest { id: LeaseId(id), ttl };
        self.ask(Request::LeaseGrant(grant)).expect("a fresh id");
    }

    /// Time passes without a turn, then comes a tick.
    fn pass(&mut self, ns: u64) {
        self.now = self.now.plus_ns(ns);
        self.turn(vec![Input::Tick]);
    }

    fn has_lease(&self, id: i64) -> bool {
        self.node.state().leases.exists(LeaseId(id))
    }

    /// Puts an action into the log as if some member had proposed it.
    fn decide(&mut self, counter: u64, action: Action) {
        let id = RequestId { member: MemberId(99), epoch: 1, counter };
        let header = CommandHeader { id, ..CommandHeader::default() };
        self.node.consensus.propose([Command { header, action }.encode()]).expect("leads");
        self.turn(vec![]);
    }
}

#[test]
fn a_lease_ends_with_its_keys_when_its_time_is_over() {
    let mut world = World::new();
    world.grant(7, 60);
    let key = Bytes::from_static(b"k");
    let put = PutRequest { key, lease: LeaseId(7), ..PutRequest::default() };
    world.ask(Request::Put(put)).expect("the lease is there");
    world.pass(59 * SECOND);
    assert!(world.has_lease(7));
    world.pass(SECOND);
    assert!(!world.has_lease(7));
    assert_eq!(world.get("k"), None);
}

/// The revoke of a leader that lost its office is late, or was sent on to the one who has it.
#[test]
fn the_word_of_a_deposed_leader_ends_no_lease() {
    let mut world = World::new();
    world.grant(7, 60);
    let term = world.node.consensus.term();
    assert!(term > Term(1));
    world.decide(1, Action::LeaseExpire { id: LeaseId(7), term: Term(term.0 - 1) });
    assert!(world.has_lease(7));
    world.decide(2, Action::LeaseExpire { id: LeaseId(7), term });
    assert!(!world.has_lease(7));
}
