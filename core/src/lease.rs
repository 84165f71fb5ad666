//! Leases: what is replicated (`Leases`) and what only a leader knows (`Deadlines`).
//!
//! The two never share a struct: a grant is the same on every member, a deadline is one member's clock.

mod checkpoints;
#[cfg(test)]
mod checkpoints_tests;
mod deadlines;
#[cfg(test)]
mod deadlines_tests;

pub use deadlines::{Deadlines, Renewal};

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::base::{Key, LeaseId, LogIndex};
use crate::status::Status;

/// Longest TTL that can be asked for, in seconds (LEASE-3).
pub const TTL_MAX_S: i64 = 9_000_000_000;

/// Time between two checkpoints of a lease where there are any (LEASE-15).
pub const CHECKPOINT_INTERVAL_NS: u64 = 300 * NS_PER_S;

const NS_PER_S: u64 = 1_000_000_000;

/// The TTL that a grant gets, in seconds: one below the minimum, even a negative one, is raised.
/// Errors: `LeaseTtlTooLarge`, the client's fault; judged before the id's existence (LEASE-3).
pub fn effective_ttl(ttl_s: i64, ttl_min_s: i64) -> Result<i64, Status> {
    if ttl_s > TTL_MAX_S {
        return Err(Status::LeaseTtlTooLarge);
    }
    Ok(ttl_s.max(ttl_min_s))
}

/// The least TTL of a member, in seconds: one and a half election timeouts, rounded up (LEASE-2).
pub fn ttl_min_s(election_ticks: u64, heartbeat_ns: u64) -> i64 {
    let least_ns = (election_ticks.saturating_mul(3) / 2).saturating_mul(heartbeat_ns);
    i64::try_from(least_ns.div_ceil(NS_PER_S)).expect("2^64 ns are 1.8e10 s")
}

/// Granted leases and the keys attached to each; part of State.
/// Invariant: a key is attached to one lease at most. The caller detaches before it attaches elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    by_id: BTreeMap<LeaseId, Lease>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    ttl_s: i64,
    /// Time left at the last checkpoint; 0 = never checkpointed, or renewed since (LEASE-15).
    remaining_s: i64,
    granted: LogIndex,
    keys: BTreeSet<Key>,
}

/// A lease without its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub id: LeaseId,
    pub ttl_s: i64,
    /// Time left at the last checkpoint; 0 if there is none.
    pub remaining_s: i64,
    /// The entry that granted it: tells it from an earlier lease of the same id, of which a leader's word may
    /// still be on its way. 0 in a lease from a checkpoint file that did not keep it.
    pub granted: LogIndex,
}

impl Leases {
    pub fn new() -> Leases {
        Leases::default()
    }

    /// Adds a lease by entry `granted`; `ttl_s` is the effective one. Errors: `LeaseExist`, the TTL is left alone
    /// (LEASE-4).
    pub fn grant(&mut self, id: LeaseId, ttl_s: i64, granted: LogIndex) -> Result<(), Status> {
        if self.exists(id) {
            return Err(Status::LeaseExist);
        }
        self.restore(Granted { id, ttl_s, remaining_s: 0, granted });
        Ok(())
    }

    /// Puts back a lease that `iter` gave; its keys follow by `attach` as they are read.
    pub fn restore(&mut self, lease: Granted) {
        let Granted { id, ttl_s, remaining_s, granted } = lease;
        let fresh = Lease { ttl_s, remaining_s, granted, keys: BTreeSet::new() };
        let earlier = self.by_id.insert(id, fresh);
        assert!(earlier.is_none(), "lease {id} is there already");
    }

    pub fn exists(&self, id: LeaseId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Granted TTL in seconds.
    pub fn ttl(&self, id: LeaseId) -> Option<i64> {
        self.by_id.get(&id).map(|lease| lease.ttl_s)
    }

    /// Time left at the last checkpoint in seconds, 0 if there is none.
    pub fn remaining(&self, id: LeaseId) -> Option<i64> {
        self.by_id.get(&id).map(|lease| lease.remaining_s)
    }

    /// The entry that granted a lease.
    pub fn granted(&self, id: LeaseId) -> Option<LogIndex> {
        self.by_id.get(&id).map(|lease| lease.granted)
    }

    /// Records a checkpoint (0 clears it), whatever was there; false if there is no such lease.
    pub fn checkpoint(&mut self, id: LeaseId, remaining_s: i64) -> bool {
        let Some(lease) = self.by_id.get_mut(&id) else { return false };
        lease.remaining_s = remaining_s;
        true
    }

    /// Attaches a key; false, and no change, if there is no such lease.
    pub fn attach(&mut self, id: LeaseId, key: &Key) -> bool {
        let Some(lease) = self.by_id.get_mut(&id) else { return false };
        lease.keys.insert(Key::clone(key));
        true
    }

    /// Detaches a key; false if it was not attached to this lease.
    pub fn detach(&mut self, id: LeaseId, key: &[u8]) -> bool {
        self.by_id.get_mut(&id).is_some_and(|lease| lease.keys.remove(key))
    }

    /// Keys of a lease, ascending: the order in which a revoke deletes them on every member.
    pub fn keys(&self, id: LeaseId) -> impl Iterator<Item = &Key> {
        self.by_id.get(&id).into_iter().flat_map(|lease| lease.keys.iter())
    }

    /// The least key of a lease. A revoke over many turns asks for it again after each delete.
    pub fn first_key(&self, id: LeaseId) -> Option<&Key> {
        self.by_id.get(&id)?.keys.first()
    }

    /// The key of a lease behind `after`, or its first one: for listings that span turns.
    pub fn key_after(&self, id: LeaseId, after: Option<&Key>) -> Option<&Key> {
        let keys = &self.by_id.get(&id)?.keys;
        match after {
            Some(after) => keys.range::<Key, _>((Bound::Excluded(after), Bound::Unbounded)).next(),
            None => keys.first(),
        }
    }

    /// The first key of a lease at or behind `from`.
    pub fn key_from(&self, id: LeaseId, from: &[u8]) -> Option<&Key> {
        self.by_id.get(&id)?.keys.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).next()
    }

    /// Drops a lease and returns the keys still attached, ascending; `None` if there is no such lease.
    pub fn remove(&mut self, id: LeaseId) -> Option<BTreeSet<Key>> {
        self.by_id.remove(&id).map(|lease| lease.keys)
    }

    /// Ids, ascending (negative ones first).
    pub fn ids(&self) -> impl Iterator<Item = LeaseId> {
        self.by_id.keys().copied()
    }

    /// The leases behind `after`, ascending by id.
    /// All that a checkpoint needs: attachments are read back from the live keys (LEASE-17).
    pub fn iter(&self, after: Option<LeaseId>) -> impl Iterator<Item = Granted> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.by_id.range((from, Unbounded)).map(|(&id, lease)| Granted {
            id,
            ttl_s: lease.ttl_s,
            remaining_s: lease.remaining_s,
            granted: lease.granted,
        })
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::from(text.as_bytes())
    }

    #[test]
    fn ttl_below_the_minimum_is_raised_and_above_the_maximum_refused() {
        assert_eq!(effective_ttl(0, 2), Ok(2));
        assert_eq!(effective_ttl(-5, 2), Ok(2));
        assert_eq!(effective_ttl(60, 2), Ok(60));
        assert_eq!(effective_ttl(TTL_MAX_S, 2), Ok(TTL_MAX_S));
        assert_eq!(effective_ttl(TTL_MAX_S + 1, 2), Err(Status::LeaseTtlTooLarge));
    }

    #[test]
    fn minimum_ttl_is_one_and_a_half_elections_rounded_up() {
        assert_eq!(ttl_min_s(10, 100_000_000), 2);
        assert_eq!(ttl_min_s(20, 100_000_000), 3);
        assert_eq!(ttl_min_s(5, 10_000_000), 1);
    }

    #[test]
    fn grant_of_an_id_in_use_is_refused_and_leaves_its_ttl() {
        let mut leases = Leases::new();
        assert_eq!(leases.grant(LeaseId(-7), 10, LogIndex(4)), Ok(()));
        assert_eq!(leases.grant(LeaseId(-7), 99, LogIndex(5)), Err(Status::LeaseExist));
        assert_eq!(leases.ttl(LeaseId(-7)), Some(10));
        assert_eq!(leases.granted(LeaseId(-7)), Some(LogIndex(4)));
    }

    #[test]
    fn keys_come_in_ascending_order_whatever_the_order_of_attaching() {
        let mut leases = Leases::new();
        leases.grant(LeaseId(1), 10, LogIndex(4)).expect("a fresh id");
        for text in ["c", "a", "b", "a"] {
            assert!(leases.attach(LeaseId(1), &key(text)));
        }
        assert_eq!(leases.keys(LeaseId(1)).cloned().collect::<Vec<_>>(), [key("a"), key("b"), key("c")]);
        assert_eq!(leases.first_key(LeaseId(1)), Some(&key("a")));
        assert!(leases.detach(LeaseId(1), b"a"));
        assert!(!leases.detach(LeaseId(1), b"a"));
        assert_eq!(leases.remove(LeaseId(1)), Some(BTreeSet::from([key("b"), key("c")])));
        assert_eq!(leases.remove(LeaseId(1)), None);
    }

    #[test]
    fn attaching_to_an_unknown_lease_changes_nothing() {
        let mut leases = Leases::new();
        assert!(!leases.attach(LeaseId(1), &key("a")));
        assert!(leases.is_empty());
        assert_eq!(leases.keys(LeaseId(1)).count(), 0);
    }

    #[test]
    fn iteration_and_restore_keep_every_id_there_can_be() {
        let mut leases = Leases::new();
        for (place, id) in [i64::MIN, -1, 1, i64::MAX].into_iter().enumerate() {
            leases.grant(LeaseId(id), 10 + place as i64, LogIndex(9 + place as u64)).expect("a fresh id");
        }
        assert!(leases.checkpoint(LeaseId(-1), 4));
        assert!(!leases.checkpoint(LeaseId(2), 4));
        let mut copy = Leases::new();
        let mut after = None;
        while let Some(lease) = leases.iter(after).next() {
            copy.restore(lease);
            after = Some(lease.id);
        }
        assert_eq!(copy, leases);
        assert_eq!(copy.len(), 4);
        assert_eq!(copy.remaining(LeaseId(-1)), Some(4));
        assert_eq!(
            copy.ids().collect::<Vec<_>>(),
            [LeaseId(i64::MIN), LeaseId(-1), LeaseId(1), LeaseId(i64::MAX)]
        );
    }
}
