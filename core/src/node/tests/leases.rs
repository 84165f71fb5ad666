//! Leases on a leader: when they end, and whose word counts.

use super::*;
use crate::base::{LogIndex, Term};

use crate::command::{Action, Command, CommandHeader, LeaseLeft, RequestId};

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

    /// The entry that granted a lease.
    fn granted(&self, id: i64) -> LogIndex {
        self.node.state().leases.granted(LeaseId(id)).expect("it is there")
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
    let (id, granted) = (LeaseId(7), world.granted(7));
    world.decide(1, Action::LeaseExpire { id, granted, term: Term(term.0 - 1) });
    assert!(world.has_lease(7));
    world.decide(2, Action::LeaseExpire { id, granted, term });
    assert!(!world.has_lease(7));
}

/// A client revokes a lease and grants the id again while the leader's word about the first is on its way.
#[test]
fn the_word_about_an_earlier_lease_of_an_id_does_not_touch_the_next() {
    let mut world = World::new();
    world.grant(7, 60);
    let (id, granted, term) = (LeaseId(7), world.granted(7), world.node.consensus.term());
    world.ask(Request::LeaseRevoke { id }).expect("it is there");
    world.grant(7, 600);
    assert!(world.granted(7) > granted);
    world.decide(1, Action::LeaseExpire { id, granted, term });
    assert!(world.has_lease(7));
    world.decide(2, Action::LeaseCheckpoint { term, items: vec![LeaseLeft { id, granted, left_s: 5 }] });
    assert_eq!(world.node.state().leases.remaining(id), Some(0));
}

#[test]
fn a_checkpoint_file_knows_which_entry_granted_a_lease() {
    let limits = Limits { checkpoint_log_bytes_min: 4096, ..Limits::default() };
    let mut world = World::open(MemoryDisk::default(), Instant(0), limits.clone());
    world.serve();
    for id in 1..100 {
        world.grant(id, 60 + id);
    }
    world.turn(vec![Input::Tick]);
    assert!(world.disk.0.keys().any(|file| file.ends_with(".ckpt")), "{:?}", world.disk.0.keys());
    let (granted, hash) = (world.granted(7), world.node.state().hash());
    assert!(granted > LogIndex(7));
    let mut copy = World::open(world.disk.clone(), world.now, limits);
    copy.turn(vec![]);
    assert_eq!((copy.granted(7), copy.node.state().hash()), (granted, hash));
}

/// A member that tells the log what leases have left, each `interval_ns`.
fn with_checkpoints(disk: MemoryDisk, now: Instant, interval_ns: u64) -> World {
    let mut world = World::open(disk, now, Limits::default());
    world.node.deadlines = Deadlines::new(2).with_checkpoints(Some(interval_ns));
    world.serve();
    world
}

fn keep_alive(id: i64) -> Request {
    Request::LeaseKeepAlive { id: LeaseId(id) }
}

fn time_to_live(world: &mut World, id: i64) -> i64 {
    match world.ask(Request::LeaseTimeToLive { id: LeaseId(id), keys: false }) {
        Ok(Response::LeaseTimeToLive { ttl, .. }) => ttl,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_leader_goes_on_with_what_the_log_says_is_left() {
    let mut world = with_checkpoints(MemoryDisk::default(), Instant(0), 300 * SECOND);
    world.grant(7, 900);
    world.grant(8, 300);
    world.pass(299 * SECOND);
    let leases = |world: &World, id| world.node.state().leases.remaining(LeaseId(id));
    assert_eq!(leases(&world, 7), Some(0));
    world.pass(SECOND);
    assert_eq!(leases(&world, 7), Some(600));
    assert!(!world.has_lease(8), "it was too short to be told, and is over");
    let mut world = with_checkpoints(world.disk, world.now, 300 * SECOND);
    // An election timeout is added (LEASE-14).
    assert_eq!(time_to_live(&mut world, 7), 600);
    world.pass(601 * SECOND);
    assert!(!world.has_lease(7));
}

#[test]
fn a_renewal_is_answered_when_the_log_has_forgotten_what_was_left() {
    let mut world = with_checkpoints(MemoryDisk::default(), Instant(0), 300 * SECOND);
    world.grant(7, 900);
    world.pass(300 * SECOND);
    let waiter = WaiterId(1000);
    let mut inputs = vec![Input::Client { waiter, credentials: Credentials::None, request: keep_alive(7) }];
    // Turns without a disk that reports: the reset is in an append, and the answer waits for it.
    let mut last = None;
    for _ in 0..5 {
        world.node.step(world.now, &mut inputs, &mut world.effects);
        for effect in world.effects.list.drain(..) {
            match effect {
                Effect::Append { frames, through } => {
                    world.disk.perform(world.layout.append(&frames, through));
                    assert_eq!(last.replace(through), None, "one append at a time");
                }
                Effect::Reply { .. } => panic!("answered before the reset was on disk"),
                _ => {}
            }
        }
    }
    assert_eq!(world.node.state().leases.remaining(LeaseId(7)), Some(600));
    let through = last.expect("the reset is in the log");
    world.turn(vec![Input::Persisted { through }]);
    assert_eq!(world.node.state().leases.remaining(LeaseId(7)), Some(0));
    let answer = world.replies.remove(&waiter).expect("answered");
    assert!(matches!(answer, Ok(Response::LeaseKeepAlive { ttl: 900, .. })), "{answer:?}");
    let mut world = with_checkpoints(world.disk, world.now, 300 * SECOND);
    assert!(time_to_live(&mut world, 7) >= 899, "a new leader gives the full time");
}

#[test]
fn a_checkpoint_of_a_deposed_leader_counts_for_nothing() {
    let mut world = World::new();
    world.grant(7, 900);
    let term = world.node.consensus.term();
    let granted = world.granted(7);
    let items = [7, 8].map(|id| LeaseLeft { id: LeaseId(id), granted, left_s: 5 }).to_vec();
    world.decide(1, Action::LeaseCheckpoint { term: Term(term.0 - 1), items: items.clone() });
    assert_eq!(world.node.state().leases.remaining(LeaseId(7)), Some(0));
    world.decide(2, Action::LeaseCheckpoint { term, items });
    assert_eq!(world.node.state().leases.remaining(LeaseId(7)), Some(5));
    assert!(!world.has_lease(8));
}
