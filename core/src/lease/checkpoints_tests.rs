//! Checkpoints: a log that is slow, leaders that change, and renewals that must outlive both.

use std::collections::{BTreeMap, VecDeque};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Deadlines, Leases, Renewal};
use crate::base::{Instant, LeaseId, LogIndex};
use crate::command::LeaseLeft;

const S: u64 = 1_000_000_000;
const MS: u64 = S / 1_000;
const L: LeaseId = LeaseId(1);

fn at(ns: u64) -> Instant {
    Instant(ns)
}

/// A leader of one lease of `ttl_s`, checkpointed each ten seconds.
fn leader(ttl_s: i64) -> (Deadlines, Leases) {
    let mut leases = Leases::new();
    leases.grant(L, ttl_s, LogIndex(1)).expect("a fresh id");
    let mut deadlines = Deadlines::new(2).with_checkpoints(Some(10 * S));
    deadlines.promote(at(0), &leases, 0);
    deadlines.expired(at(0), &leases, 9, &mut 9);
    (deadlines, leases)
}

/// What command `number` tells of at most `max` leases.
fn told(
    deadlines: &mut Deadlines,
    leases: &Leases,
    now: u64,
    number: u64,
    max: usize,
) -> Vec<(LeaseId, i64)> {
    let items = deadlines.take_checkpoints(at(now), number, leases, max);
    assert!(items.iter().all(|item| item.granted == LogIndex(1)));
    items.into_iter().map(|item| (item.id, item.left_s)).collect()
}

/// The log applies a command; what is gone it does not find.
fn apply(deadlines: &mut Deadlines, leases: &mut Leases, number: u64, items: &[(LeaseId, i64)], now: u64) {
    let found = items.iter().filter(|(id, left_s)| leases.checkpoint(*id, *left_s));
    let found: Vec<LeaseLeft> =
        found.map(|&(id, left_s)| LeaseLeft { id, granted: LogIndex(1), left_s }).collect();
    deadlines.on_checkpoint(number, &found, at(now));
}

#[test]
fn a_long_lease_is_told_each_interval_rounded_up() {
    let (mut deadlines, mut leases) = leader(25);
    assert_eq!(told(&mut deadlines, &leases, 10 * S - 1, 1, 9), []);
    assert_eq!(told(&mut deadlines, &leases, 10 * S + MS, 1, 9), [(L, 15)]);
    assert_eq!(told(&mut deadlines, &leases, 10 * S + 2 * MS, 2, 9), [], "it is on its way");
    apply(&mut deadlines, &mut leases, 1, &[(L, 15)], 11 * S);
    assert_eq!(told(&mut deadlines, &leases, 21 * S, 3, 9), [(L, 4)]);
    apply(&mut deadlines, &mut leases, 3, &[(L, 4)], 21 * S);
    // What is left ends before the next one would be due.
    assert_eq!(told(&mut deadlines, &leases, 24 * S, 4, 9), []);
    assert_eq!(deadlines.expired(at(25 * S), &leases, 9, &mut 9), [L]);
}

#[test]
fn short_leases_and_members_without_checkpoints_tell_nothing() {
    let (mut deadlines, leases) = leader(10);
    assert_eq!(told(&mut deadlines, &leases, 10 * S - 1, 1, 9), []);
    let mut leases = Leases::new();
    leases.grant(L, 60, LogIndex(1)).expect("a fresh id");
    let mut deadlines = Deadlines::new(2);
    assert_eq!(told(&mut deadlines, &leases, 30 * S, 1, 9), []);
    deadlines.promote(at(0), &leases, 0);
    deadlines.expired(at(0), &leases, 9, &mut 9);
    assert_eq!(told(&mut deadlines, &leases, 30 * S, 1, 9), []);
}

#[test]
fn a_renewal_of_a_told_lease_waits_for_its_reset() {
    let (mut deadlines, mut leases) = leader(25);
    assert_eq!(deadlines.renew(L, at(S), &leases), Renewal::Ok(25));
    let items = told(&mut deadlines, &leases, 12 * S, 1, 9);
    apply(&mut deadlines, &mut leases, 1, &items, 12 * S);
    assert_eq!(deadlines.renew(L, at(13 * S), &leases), Renewal::Resetting);
    assert!(deadlines.wants_reset() && deadlines.is_held(L, at(13 * S)));
    assert_eq!(told(&mut deadlines, &leases, 13 * S, 2, 9), [(L, 0)]);
    assert!(!deadlines.wants_reset() && deadlines.is_held(L, at(13 * S)));
    apply(&mut deadlines, &mut leases, 2, &[(L, 0)], 14 * S);
    assert!(!deadlines.is_held(L, at(14 * S)));
    assert_eq!(deadlines.renew(L, at(14 * S), &leases), Renewal::Ok(25));
    assert_eq!(told(&mut deadlines, &leases, 24 * S, 3, 9), [(L, 15)], "the next interval has begun");
}

/// etcd looks at what is applied only, and a checkpoint that is on its way outlives the renewal.
#[test]
fn a_renewal_that_overtakes_a_checkpoint_resets_it_too() {
    let (mut deadlines, mut leases) = leader(25);
    let items = told(&mut deadlines, &leases, 10 * S, 1, 9);
    assert_eq!(items, [(L, 15)]);
    assert_eq!(deadlines.renew(L, at(10 * S + MS), &leases), Renewal::Resetting);
    assert_eq!(told(&mut deadlines, &leases, 10 * S + MS, 2, 9), [(L, 0)]);
    apply(&mut deadlines, &mut leases, 1, &items, 11 * S);
    assert!(deadlines.is_held(L, at(11 * S)), "the log says 15 s");
    apply(&mut deadlines, &mut leases, 2, &[(L, 0)], 11 * S);
    assert_eq!(leases.remaining(L), Some(0));
    assert_eq!(deadlines.renew(L, at(11 * S), &leases), Renewal::Ok(25));
}

#[test]
fn a_waiting_renewal_has_the_full_time_already() {
    let (mut deadlines, mut leases) = leader(25);
    let items = told(&mut deadlines, &leases, 10 * S, 1, 9);
    apply(&mut deadlines, &mut leases, 1, &items, 10 * S);
    assert_eq!(deadlines.renew(L, at(25 * S - 1), &leases), Renewal::Resetting);
    assert_eq!(deadlines.expired(at(30 * S), &leases, 9, &mut 9), []);
    assert_eq!(deadlines.remaining_s(L, at(30 * S - 1), &leases), Some(20));
}

#[test]
fn what_raft_drops_is_told_again() {
    let (mut deadlines, mut leases) = leader(25);
    assert_eq!(told(&mut deadlines, &leases, 10 * S, 1, 9), [(L, 15)]);
    assert_eq!(told(&mut deadlines, &leases, 11 * S, 2, 9), [(L, 14)]);
    assert_eq!(deadlines.renew(L, at(11 * S), &leases), Renewal::Resetting);
    assert_eq!(told(&mut deadlines, &leases, 11 * S, 3, 9), [(L, 0)]);
    assert_eq!(told(&mut deadlines, &leases, 12 * S, 4, 9), [(L, 0)]);
    // The first of the two resets was slow, not lost: the second is the one that counts.
    apply(&mut deadlines, &mut leases, 3, &[(L, 0)], 12 * S);
    assert!(deadlines.is_held(L, at(12 * S)));
    apply(&mut deadlines, &mut leases, 4, &[(L, 0)], 12 * S);
    assert!(!deadlines.is_held(L, at(12 * S)));
}

#[test]
fn a_member_without_checkpoints_resets_what_an_earlier_leader_told() {
    let mut leases = Leases::new();
    leases.grant(L, 60, LogIndex(1)).expect("a fresh id");
    leases.checkpoint(L, 20);
    let mut deadlines = Deadlines::new(2);
    deadlines.promote(at(0), &leases, 0);
    assert_eq!(deadlines.renew(L, at(S), &leases), Renewal::Resetting);
    assert_eq!(told(&mut deadlines, &leases, S, 1, 9), [(L, 0)]);
    apply(&mut deadlines, &mut leases, 1, &[(L, 0)], S);
    assert_eq!(deadlines.renew(L, at(S), &leases), Renewal::Ok(60));
}

#[test]
fn one_command_tells_so_many_leases_and_no_more() {
    let mut leases = Leases::new();
    for id in 0..25 {
        leases.grant(LeaseId(id), 60, LogIndex(1)).expect("a fresh id");
    }
    let mut deadlines = Deadlines::new(2).with_checkpoints(Some(10 * S));
    deadlines.promote(at(0), &leases, 0);
    deadlines.expired(at(0), &leases, 9, &mut 99);
    let counts: Vec<usize> =
        (1..5).map(|number| told(&mut deadlines, &leases, 10 * S, number, 10).len()).collect();
    assert_eq!(counts, [10, 10, 5, 0]);
}

#[test]
fn a_lease_that_is_gone_is_told_no_more() {
    let (mut deadlines, mut leases) = leader(25);
    let items = told(&mut deadlines, &leases, 10 * S, 1, 9);
    assert_eq!(deadlines.renew(L, at(10 * S), &leases), Renewal::Resetting);
    leases.remove(L);
    deadlines.on_revoke(L);
    apply(&mut deadlines, &mut leases, 1, &items, 10 * S);
    assert_eq!(told(&mut deadlines, &leases, 60 * S, 2, 9), []);
    assert!(!deadlines.is_held(L, at(10 * S)));
}

/// Leaders in turn over one log. Invariant: at each promotion, a lease has by the log at least what its last
/// acknowledged renewal promised.
struct Model {
    rng: ChaCha8Rng,
    now: u64,
    number: u64,
    leases: Leases,
    deadlines: Deadlines,
    /// Commands in the log, not applied yet.
    log: VecDeque<(u64, Vec<(LeaseId, i64)>)>,
    /// Until when the last acknowledged renewal keeps each lease.
    promised: BTreeMap<LeaseId, u64>,
    held: Vec<LeaseId>,
    acknowledged_after_reset: u32,
    told: u32,
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut model = Model {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: 0,
            number: 0,
            leases: Leases::new(),
            deadlines: Deadlines::new(2),
            log: VecDeque::new(),
            promised: BTreeMap::new(),
            held: Vec::new(),
            acknowledged_after_reset: 0,
            told: 0,
        };
        for id in 0..8 {
            model.leases.grant(LeaseId(id), 4 + 3 * id, LogIndex(1)).expect("a fresh id");
            model.promised.insert(LeaseId(id), 0);
        }
        model.change_leader();
        model
    }

    fn step(&mut self) {
        self.now += self.rng.random_range(0..400) * MS;
        match self.rng.random_range(0..100) {
            0..2 => self.change_leader(),
            2..30 => {
                let id = LeaseId(self.rng.random_range(0..8));
                self.renew(id);
            }
            30..60 => self.propose(),
            _ => self.apply_one(),
        }
        for id in std::mem::take(&mut self.held) {
            match self.deadlines.is_held(id, at(self.now)) {
                true => self.held.push(id),
                false => {
                    self.acknowledged_after_reset += 1;
                    self.renew(id);
                }
            }
        }
    }

    /// The new leader's first entry is behind all that is in the log.
    fn change_leader(&mut self) {
        self.deadlines.demote();
        while !self.log.is_empty() {
            self.apply_one();
        }
        self.held.clear();
        let interval_ns = self.rng.random_range(1..4) * S;
        self.deadlines =
            Deadlines::new(2).with_checkpoints((self.rng.random_range(0..6) > 0).then_some(interval_ns));
        self.deadlines.promote(at(self.now), &self.leases, 0);
        for (&id, &until) in &self.promised {
            let left_s = self.deadlines.remaining_s(id, at(self.now), &self.leases).expect("it is there");
            assert!(self.now + left_s as u64 * S >= until, "lease {id} is promised longer");
        }
        // Nothing is let out, but the promotion comes to all of them.
        self.deadlines.expired(at(self.now), &self.leases, 0, &mut 99);
    }

    fn renew(&mut self, id: LeaseId) {
        match self.deadlines.renew(id, at(self.now), &self.leases) {
            Renewal::Ok(ttl_s) => {
                self.promised.insert(id, self.now + ttl_s as u64 * S);
            }
            Renewal::Resetting => self.held.push(id),
            Renewal::Expiring => {}
            Renewal::Unknown => panic!("lease {id} is known"),
        }
    }

    fn propose(&mut self) {
        self.number += 1;
        let items = told(&mut self.deadlines, &self.leases, self.now, self.number, 3);
        for (id, left_s) in &items {
            let until = self.promised[id];
            assert!(*left_s == 0 || self.now + *left_s as u64 * S >= until, "{id} is told too little");
            self.told += u32::from(*left_s > 0);
        }
        // One in eight is dropped by raft.
        if !items.is_empty() && self.rng.random_range(0..8) > 0 {
            self.log.push_back((self.number, items));
        }
    }

    fn apply_one(&mut self) {
        let Some((number, items)) = self.log.pop_front() else { return };
        apply(&mut self.deadlines, &mut self.leases, number, &items, self.now);
    }
}

#[test]
fn no_leader_learns_of_less_than_was_acknowledged() {
    let (mut told, mut after_reset) = (0, 0);
    for seed in 0..100 {
        let mut model = Model::new(seed);
        for _ in 0..2_000 {
            model.step();
        }
        told += model.told;
        after_reset += model.acknowledged_after_reset;
    }
    assert!(told > 10_000 && after_reset > 1_000, "told {told}, acknowledged after a reset {after_reset}");
}
