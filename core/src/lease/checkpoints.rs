//! Which leases' time the leader tells the log, so that a next leader does not begin anew with all of it, and
//! which renewals have to wait until the log has forgotten it again.
//!
//! A lease has one command on its way at most that counts, its newest: the log keeps the order in which a
//! leader proposes, so when that one is applied, the earlier ones are too or never will be.
//! Cost: O(log n) for each lease told, renewed or dropped; 24 bytes in the log for each told.
//!
//! Source: etcd 3.7.1 `server/lease/lessor.go` (scheduleCheckpointIfNeeded, findDueScheduledCheckpoints,
//! Renew). Two holes of it are closed: a renewal that overtakes a checkpoint resets it too, and a lease that was
//! renewed just before its turn stays in the queue.

use std::collections::{BTreeMap, BTreeSet};

use super::NS_PER_S;
use super::deadlines::Deadline;
use crate::base::{Instant, LeaseId};

/// What is not applied by then is proposed again: raft may have dropped it.
const RETRY_NS: u64 = NS_PER_S;

/// A leader's plan; gone with its office.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// `None`: no lease is told; what earlier leaders told is reset all the same.
    interval_ns: Option<u64>,
    /// When each lease is looked at next.
    queue: BTreeSet<(Instant, LeaseId)>,
    queued_at: BTreeMap<LeaseId, Instant>,
    /// The newest command about a lease, until it is applied.
    on_their_way: BTreeMap<LeaseId, Told>,
    /// Resets that are not proposed yet.
    wanted: BTreeSet<LeaseId>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    /// Of the command, unique among those of this leader.
    number: u64,
    is_reset: bool,
}

impl Checkpoints {
    pub(super) fn new(interval_ns: Option<u64>) -> Checkpoints {
        Checkpoints {
            interval_ns,
            queue: BTreeSet::new(),
            queued_at: BTreeMap::new(),
            on_their_way: BTreeMap::new(),
            wanted: BTreeSet::new(),
        }
    }

    /// Looks at a lease an interval from `now`, if it has longer than that by what the log says of it.
    pub(super) fn schedule(&mut self, id: LeaseId, left_s: i64, now: Instant) {
        self.unschedule(id);
        let Some(interval_ns) = self.interval_ns else { return };
        if u64::try_from(left_s).unwrap_or(0).saturating_mul(NS_PER_S) > interval_ns {
            self.look_at(now.plus_ns(interval_ns), id);
        }
    }

    /// The lease is gone.
    pub(super) fn forget(&mut self, id: LeaseId) {
        self.unschedule(id);
        self.on_their_way.remove(&id);
        self.wanted.remove(&id);
    }

    /// Whether a command about this lease is not applied yet.
    pub(super) fn is_on_its_way(&self, id: LeaseId) -> bool {
        self.on_their_way.contains_key(&id)
    }

    /// A renewal waits until the log says 0 of this lease.
    pub(super) fn want_reset(&mut self, id: LeaseId) {
        if self.on_their_way.get(&id).is_none_or(|told| !told.is_reset) {
            self.wanted.insert(id);
        }
    }

    /// Whether the reset that was wanted is still to be applied.
    pub(super) fn is_reset_pending(&self, id: LeaseId) -> bool {
        self.wanted.contains(&id) || self.on_their_way.get(&id).is_some_and(|told| told.is_reset)
    }

    /// Whether `take_due` has a reset to give whatever the time.
    pub(super) fn wants_reset(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Leases to tell in one command, `number`, with the whole seconds that each has left, rounded up; 0 is a
    /// reset. Looks at `max` leases at most.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        number: u64,
        leases: &BTreeMap<LeaseId, Deadline>,
        max: usize,
    ) -> Vec<(LeaseId, i64)> {
        let mut items = Vec::new();
        while items.len() < max
            && let Some(id) = self.wanted.pop_first()
        {
            items.push((id, 0));
            self.tell(id, Told { number, is_reset: true }, now);
        }
        for _ in items.len()..max {
            let Some(&(at, id)) = self.queue.first() else { break };
            if at > now {
                break;
            }
            self.unschedule(id);
            let deadline = leases.get(&id).expect("a lease that is gone is forgotten here, too");
            let left_s = i64::try_from(deadline.expires.since_ns(now).div_ceil(NS_PER_S));
            let left_s = left_s.expect("2^64 ns are 1.8e10 s");
            if self.on_their_way.get(&id).is_some_and(|told| told.is_reset) {
                items.push((id, 0));
                self.tell(id, Told { number, is_reset: true }, now);
            } else if left_s >= deadline.ttl_s {
                // Renewed within this second: it has nothing to tell.
                self.schedule(id, deadline.ttl_s, now);
            } else if left_s > 0 {
                items.push((id, left_s));
                self.tell(id, Told { number, is_reset: false }, now);
            }
        }
        items
    }

    /// Command `number` is applied: the log says that this lease has `left_s`.
    pub(super) fn on_applied(&mut self, number: u64, id: LeaseId, left_s: i64, now: Instant) {
        if self.on_their_way.get(&id).is_some_and(|told| told.number == number) {
            self.on_their_way.remove(&id);
            self.schedule(id, left_s, now);
        }
    }

    fn tell(&mut self, id: LeaseId, told: Told, now: Instant) {
        self.on_their_way.insert(id, told);
        self.unschedule(id);
        self.look_at(now.plus_ns(RETRY_NS), id);
    }

    fn look_at(&mut self, at: Instant, id: LeaseId) {
        self.queue.insert((at, id));
        self.queued_at.insert(id, at);
        assert_eq!(self.queue.len(), self.queued_at.len(), "each lease is queued once at most");
    }

    fn unschedule(&mut self, id: LeaseId) {
        if let Some(at) = self.queued_at.remove(&id) {
            self.queue.remove(&(at, id));
        }
    }
}
