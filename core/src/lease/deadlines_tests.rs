use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Deadlines, Granted, Leases, Renewal};
use crate::base::{Instant, LeaseId, LogIndex};

const S: u64 = 1_000_000_000;
const MS: u64 = S / 1_000;

fn at(ns: u64) -> Instant {
    Instant(ns)
}

fn granted(ttls: &[(i64, i64)]) -> Leases {
    let mut leases = Leases::new();
    for &(id, ttl_s) in ttls {
        leases.grant(LeaseId(id), ttl_s, LogIndex(1)).expect("a fresh id");
    }
    leases
}

fn expired(deadlines: &mut Deadlines, now: u64, leases: &Leases) -> Vec<LeaseId> {
    deadlines.expired(at(now), leases, usize::MAX, &mut u32::MAX.clone())
}

#[test]
fn nothing_expires_and_nothing_renews_on_a_member_that_does_not_lead() {
    let leases = granted(&[(1, 2)]);
    let mut deadlines = Deadlines::new(2);
    deadlines.on_grant(LeaseId(1), 2, at(0));
    assert!(expired(&mut deadlines, 100 * S, &leases).is_empty());
    assert_eq!(deadlines.renew(LeaseId(1), at(0), &leases), Renewal::Unknown);
    assert_eq!(deadlines.next_wake(), None);
    deadlines.promote(at(0), &leases, S);
    assert!(deadlines.is_primary());
    deadlines.demote();
    assert!(expired(&mut deadlines, 100 * S, &leases).is_empty());
}

#[test]
fn promotion_gives_full_or_checkpointed_time_and_the_extension() {
    let mut leases = granted(&[(-3, 60), (4, 60), (5, 1)]);
    assert!(leases.checkpoint(LeaseId(4), 20));
    let mut deadlines = Deadlines::new(2);
    deadlines.promote(at(10 * S), &leases, S);
    // Also before the promotion has come to it.
    assert_eq!(deadlines.remaining_s(LeaseId(4), at(10 * S), &leases), Some(21));
    assert_eq!(deadlines.next_wake(), Some(at(10 * S)));
    assert!(expired(&mut deadlines, 10 * S, &leases).is_empty());
    assert_eq!(deadlines.remaining_s(LeaseId(-3), at(10 * S), &leases), Some(61));
    assert_eq!(deadlines.remaining_s(LeaseId(4), at(10 * S), &leases), Some(21));
    assert_eq!(deadlines.remaining_s(LeaseId(5), at(10 * S), &leases), Some(3));
    assert_eq!(deadlines.next_wake(), Some(at(13 * S)));
    assert_eq!(expired(&mut deadlines, 13 * S, &leases), [LeaseId(5)]);
}

#[test]
fn a_promotion_is_resumed_where_the_work_ran_out() {
    let leases = granted(&[(1, 5), (2, 5), (3, 5)]);
    let mut deadlines = Deadlines::new(2);
    deadlines.promote(at(0), &leases, 0);
    let mut work = 2;
    assert_eq!(deadlines.expired(at(5 * S), &leases, 9, &mut work), [LeaseId(1), LeaseId(2)]);
    assert_eq!(work, 0);
    assert_eq!(deadlines.next_wake(), Some(at(0)));
    assert_eq!(deadlines.renew(LeaseId(3), at(4 * S), &leases), Renewal::Ok(5));
    assert!(expired(&mut deadlines, 8 * S, &leases).is_empty());
    assert_eq!(expired(&mut deadlines, 9 * S, &leases), [LeaseId(3)]);
}

#[test]
fn renewal_moves_the_deadline_until_it_is_past() {
    let leases = granted(&[]);
    let mut deadlines = Deadlines::new(2);
    deadlines.promote(at(0), &leases, 0);
    deadlines.on_grant(LeaseId(7), 5, at(0));
    let leases = granted(&[(7, 5)]);
    assert_eq!(deadlines.renew(LeaseId(8), at(0), &leases), Renewal::Unknown);
    assert_eq!(deadlines.renew(LeaseId(7), at(5 * S - 1), &leases), Renewal::Ok(5));
    assert!(expired(&mut deadlines, 10 * S - 2, &leases).is_empty());
    assert_eq!(deadlines.next_wake(), Some(at(10 * S - 1)));
    assert_eq!(deadlines.renew(LeaseId(7), at(10 * S - 1), &leases), Renewal::Expiring);
    assert_eq!(expired(&mut deadlines, 10 * S - 1, &leases), [LeaseId(7)]);
    assert_eq!(deadlines.renew(LeaseId(7), at(11 * S), &leases), Renewal::Expiring);
    assert_eq!(deadlines.remaining_s(LeaseId(7), at(12 * S), &leases), Some(-2));
    deadlines.on_revoke(LeaseId(7));
    assert_eq!(deadlines.renew(LeaseId(7), at(12 * S), &granted(&[])), Renewal::Unknown);
    assert_eq!(deadlines.next_wake(), None);
}

#[test]
fn a_revoke_that_is_not_applied_is_let_out_again_after_the_request_timeout() {
    let leases = granted(&[(1, 2)]);
    let mut deadlines = Deadlines::new(2);
    deadlines.promote(at(0), &leases, 0);
    assert_eq!(expired(&mut deadlines, 2 * S, &leases), [LeaseId(1)]);
    assert_eq!(deadlines.next_wake(), Some(at(9 * S)));
    assert!(expired(&mut deadlines, 9 * S - 1, &leases).is_empty());
    assert_eq!(expired(&mut deadlines, 9 * S, &leases), [LeaseId(1)]);
}

#[test]
fn sixteen_revokes_are_outstanding_at_most() {
    let leases = granted(&(0..40).map(|id| (id, 2)).collect::<Vec<_>>());
    let mut deadlines = Deadlines::new(2);
    deadlines.promote(at(0), &leases, 0);
    let first = expired(&mut deadlines, 3 * S, &leases);
    assert_eq!(first.len(), 16);
    assert!(expired(&mut deadlines, 3 * S, &leases).is_empty());
    assert_eq!(deadlines.next_wake(), Some(at(10 * S)));
    deadlines.on_revoke(first[0]);
    assert_eq!(deadlines.next_wake(), Some(at(2 * S)));
    assert_eq!(expired(&mut deadlines, 3 * S, &leases), [LeaseId(16)]);
    // The retries do not stand before leases that were never let out.
    assert_eq!(expired(&mut deadlines, 10 * S, &leases)[..3], [LeaseId(17), LeaseId(18), LeaseId(19)]);
}

#[test]
fn five_hundred_leases_are_let_out_in_half_a_second_at_most() {
    let leases = granted(&(0..900).map(|id| (id, 2)).collect::<Vec<_>>());
    let mut deadlines = Deadlines::new(2);
    deadlines.promote(at(0), &leases, 0);
    let mut revoked_by = BTreeMap::new();
    for now in (0..4_000).map(|ms| ms * MS) {
        for id in expired(&mut deadlines, now, &leases) {
            deadlines.on_revoke(id);
            *revoked_by.entry(now / (500 * MS)).or_insert(0) += 1;
        }
    }
    assert_eq!(revoked_by.values().sum::<u32>(), 900);
    assert!(revoked_by.values().all(|&count| count <= 500), "{revoked_by:?}");
}

#[test]
fn a_pile_of_leases_is_spread_at_promotion() {
    let leases = granted(&(0..5_000).map(|id| (id, 10 + id % 2)).collect::<Vec<_>>());
    let mut deadlines = Deadlines::new(2);
    deadlines.promote(at(0), &leases, S / 2);
    assert!(expired(&mut deadlines, 0, &leases).is_empty());
    let mut by_second = BTreeMap::new();
    for id in leases.ids() {
        let left_s = deadlines.remaining_s(id, at(0), &leases).expect("it is there");
        assert!(left_s >= leases.ttl(id).expect("it is there"));
        *by_second.entry(left_s).or_insert(0) += 1;
    }
    assert!(by_second.values().all(|&count| count <= 750), "{by_second:?}");
    assert_eq!(by_second.len(), 7);
}

/// Deadlines against a list: never early, never forgotten, renewals truthful.
struct Model {
    rng: ChaCha8Rng,
    now: u64,
    leases: Leases,
    deadlines: Deadlines,
    /// Earliest instant at which each lease may be revoked.
    earliest: BTreeMap<LeaseId, u64>,
    /// Revokes that may still land, by when they were let out.
    outstanding: BTreeMap<LeaseId, u64>,
    revoked: u32,
}

impl Model {
    fn new(seed: u64) -> Model {
        Model {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: 0,
            leases: Leases::new(),
            deadlines: Deadlines::new(2),
            earliest: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            revoked: 0,
        }
    }

    fn random_id(&mut self) -> LeaseId {
        LeaseId(self.rng.random_range(-40..40))
    }

    fn step(&mut self) {
        self.now += self.rng.random_range(0..300) * MS;
        match self.rng.random_range(0..100) {
            0 => self.change_leader(),
            1..30 => self.grant(),
            30..60 => self.renew(),
            60..75 => self.land_revoke(),
            _ => self.expire(),
        }
    }

    fn change_leader(&mut self) {
        self.deadlines.demote();
        self.outstanding.clear();
        self.deadlines.promote(at(self.now), &self.leases, S);
        for Granted { id, ttl_s, .. } in self.leases.iter(None) {
            self.earliest.insert(id, self.now + (ttl_s as u64 + 1) * S);
        }
    }

    fn grant(&mut self) {
        let (id, ttl_s) = (self.random_id(), self.rng.random_range(2..9));
        if self.leases.grant(id, ttl_s, LogIndex(1)).is_ok() {
            self.deadlines.on_grant(id, ttl_s, at(self.now));
            self.earliest.insert(id, self.now + ttl_s as u64 * S);
        }
    }

    fn renew(&mut self) {
        let id = self.random_id();
        let renewal = self.deadlines.renew(id, at(self.now), &self.leases);
        let Some(earliest) = self.earliest.get_mut(&id) else {
            assert_eq!(renewal, Renewal::Unknown);
            return;
        };
        if !self.deadlines.is_primary() {
            assert_eq!(renewal, Renewal::Unknown);
        } else if self.now >= *earliest {
            assert_eq!(renewal, Renewal::Expiring);
        } else {
            let ttl_s = self.leases.ttl(id).expect("the model has it");
            assert_eq!(renewal, Renewal::Ok(ttl_s));
            *earliest = self.now + ttl_s as u64 * S;
        }
    }

    fn expire(&mut self) {
        let max = self.rng.random_range(0..20);
        let mut work = self.rng.random_range(0..30);
        for id in self.deadlines.expired(at(self.now), &self.leases, max, &mut work) {
            assert!(self.earliest[&id] <= self.now, "{id} is let out early");
            self.outstanding.insert(id, self.now);
        }
        let young = self.outstanding.values().filter(|&&since| since + 7 * S > self.now).count();
        assert!(young <= 16, "{young} revokes are outstanding");
    }

    fn land_revoke(&mut self) {
        if self.outstanding.is_empty() {
            return;
        }
        let place = self.rng.random_range(0..self.outstanding.len());
        let id = *self.outstanding.keys().nth(place).expect("the place is within");
        // One in four revokes is lost on its way, to be tried again.
        if self.rng.random_range(0..4) > 0 {
            assert!(self.leases.remove(id).is_some());
            self.deadlines.on_revoke(id);
            self.outstanding.remove(&id);
            self.earliest.remove(&id);
            self.revoked += 1;
        }
    }

    /// Nobody renews any more: everything has to go.
    fn drain(&mut self) {
        for _ in 0..2_000 {
            let Some(wake) = self.deadlines.next_wake() else { break };
            self.now = self.now.max(wake.0);
            for id in self.deadlines.expired(at(self.now), &self.leases, 3, &mut 10) {
                assert!(self.earliest[&id] <= self.now, "{id} is let out early");
                self.leases.remove(id);
                self.deadlines.on_revoke(id);
            }
        }
        assert!(self.leases.is_empty(), "leases are left behind");
    }
}

#[test]
fn random_renewals_and_revokes_never_expire_early_and_forget_nothing() {
    let mut revoked = 0;
    for seed in 0..60 {
        let mut model = Model::new(seed);
        for _ in 0..1_500 {
            model.step();
        }
        revoked += model.revoked;
        model.change_leader();
        model.drain();
    }
    assert!(revoked > 1_000, "the runs must have revoked leases: {revoked}");
}
