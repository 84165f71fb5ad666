//! When leases end, by the clock of a member that leads.
//!
//! Cost: a grant, renewal or revoke is O(log n); 16 outstanding revokes bound everything else.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoints::Checkpoints;
use super::{Granted, Leases, NS_PER_S};
use crate::base::{Instant, LeaseId};
use crate::command::LeaseLeft;

/// Expired leases let out in one window, and the window (LEASE-13: 500 each 500 ms).
const REVOKES_PER_WINDOW_MAX: u32 = 500;
const WINDOW_NS: u64 = NS_PER_S / 2;
/// Revokes proposed and not yet applied.
const REVOKES_IN_FLIGHT_MAX: usize = 16;
/// A revoke that was not applied by then is proposed again.
const RETRY_NS: u64 = 7 * NS_PER_S;
/// From this many leases on, a new leader spreads their deadlines (LEASE-14).
const SPREAD_FROM: usize = 1_000;
/// Three quarters of what can be revoked in a second, so that a pile leaves room for the rest.
const SPREAD_PER_S_MAX: u32 = 750;

const _: () = assert!(REVOKES_IN_FLIGHT_MAX < REVOKES_PER_WINDOW_MAX as usize);

/// What a renewal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The deadline is now + this many seconds.
    Ok(i64),
    /// There is no such lease, or this member is not primary.
    Unknown,
    /// Past its deadline, not revoked yet: the caller waits until it is, or until leadership is lost
    /// (LEASE-10).
    Expiring,
    /// It has its full time here, but the log still says less (or is about to): the caller waits until that
    /// is reset, or a next leader could end the lease early (LEASE-15).
    Resetting,
}

/// Deadlines of all leases while this member leads; nothing while it does not.
/// Volatile: never in State, never compared with another member's clock.
#[derive(Debug)]
pub struct Deadlines {
    /// TTLs below it are raised: a lease may have been granted under other flags (LEASE-17).
    ttl_min_s: i64,
    /// Time between two checkpoints of a lease; `None`: there are none.
    checkpoint_ns: Option<u64>,
    primary: Option<Primary>,
}

#[derive(Debug)]
struct Primary {
    promotion: Option<Promotion>,
    leases: BTreeMap<LeaseId, Deadline>,
    /// Every lease once, by its `due`.
    queue: BTreeSet<(Instant, LeaseId)>,
    /// Revokes let out, by when they are given up.
    in_flight: BTreeMap<LeaseId, Instant>,
    window_start: Instant,
    window_count: u32,
    checkpoints: Checkpoints,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) ttl_s: i64,
    pub(super) expires: Instant,
    /// `expires`, or when a revoke on its way is tried again.
    due: Instant,
}

/// A promotion on its way through the leases, ascending by id.
/// A lease behind `after` that is not in the map is not visited yet, hence not known to be expired.
#[derive(Debug)]
struct Promotion {
    at: Instant,
    extend_ns: u64,
    after: Option<LeaseId>,
    spread: Option<Spread>,
}

/// Seconds since the promotion that have taken all the deadlines they may.
#[derive(Debug, Default)]
struct Spread {
    counts: BTreeMap<u64, u32>,
    /// Runs of full seconds: first -> one past the last. Runs neither touch nor overlap.
    full: BTreeMap<u64, u64>,
}

impl Deadlines {
    /// Of a member that does not lead.
    pub fn new(ttl_min_s: i64) -> Deadlines {
        Deadlines { ttl_min_s, checkpoint_ns: None, primary: None }
    }

    /// With the time of long leases told to the log each `interval_ns` (LEASE-15).
    pub fn with_checkpoints(self, interval_ns: Option<u64>) -> Deadlines {
        Deadlines { checkpoint_ns: interval_ns, ..self }
    }

    pub fn is_primary(&self) -> bool {
        self.primary.is_some()
    }

    /// This member leads: each lease gets its checkpointed time, else its full one, and `extend_ns` (an
    /// election timeout: clients could not renew meanwhile). The leases are visited by `expired`, in slices.
    pub fn promote(&mut self, now: Instant, leases: &Leases, extend_ns: u64) {
        let spread = (leases.len() >= SPREAD_FROM).then(Spread::default);
        self.primary = Some(Primary {
            promotion: Some(Promotion { at: now, extend_ns, after: None, spread }),
            leases: BTreeMap::new(),
            queue: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            window_start: now,
            window_count: 0,
            checkpoints: Checkpoints::new(self.checkpoint_ns),
        });
    }

    /// This member does not lead any more; no lease expires here.
    pub fn demote(&mut self) {
        self.primary = None;
    }

    /// A grant was applied.
    pub fn on_grant(&mut self, id: LeaseId, ttl_s: i64, now: Instant) {
        let ttl_s = ttl_s.max(self.ttl_min_s);
        if let Some(primary) = &mut self.primary {
            primary.set(id, ttl_s, after_s(now, ttl_s));
            primary.checkpoints.schedule(id, ttl_s, now);
        }
    }

    /// A lease was removed from `Leases`, for whatever reason.
    pub fn on_revoke(&mut self, id: LeaseId) {
        let Some(primary) = &mut self.primary else { return };
        if let Some(deadline) = primary.leases.remove(&id) {
            primary.queue.remove(&(deadline.due, id));
        }
        primary.in_flight.remove(&id);
        primary.checkpoints.forget(id);
    }

    /// Gives a lease its full time from `now`. `leases` must be what was handed to `promote`, as it is now.
    pub fn renew(&mut self, id: LeaseId, now: Instant, leases: &Leases) -> Renewal {
        let Some(deadline) = self.find(id, leases) else { return Renewal::Unknown };
        if now >= deadline.expires {
            return Renewal::Expiring;
        }
        let primary = self.primary.as_mut().expect("`find` found it there");
        primary.set(id, deadline.ttl_s, after_s(now, deadline.ttl_s));
        let is_told = leases.remaining(id).is_some_and(|left_s| left_s > 0);
        if is_told || primary.checkpoints.is_on_its_way(id) {
            primary.checkpoints.want_reset(id);
            return Renewal::Resetting;
        }
        Renewal::Ok(deadline.ttl_s)
    }

    /// Whether a renewal that was `Expiring` or `Resetting` has to wait on.
    pub fn is_held(&self, id: LeaseId, now: Instant) -> bool {
        let Some(primary) = &self.primary else { return false };
        let is_over = primary.leases.get(&id).is_some_and(|deadline| now >= deadline.expires);
        is_over || primary.checkpoints.is_reset_pending(id)
    }

    /// What command `number` is to tell the log: the seconds that leases have left, 0 for those whose renewal
    /// waits for it. At most `max` leases; empty if there is nothing to tell.
    pub fn take_checkpoints(
        &mut self,
        now: Instant,
        number: u64,
        leases: &Leases,
        max: usize,
    ) -> Vec<LeaseLeft> {
        let Some(primary) = &mut self.primary else { return Vec::new() };
        let due = primary.checkpoints.take_due(now, number, &primary.leases, max);
        let of = |(id, left_s)| {
            let granted = leases.granted(id).expect("a lease that is gone has no deadline");
            LeaseLeft { id, granted, left_s }
        };
        due.into_iter().map(of).collect()
    }

    /// Whether a renewal waits for a reset that `take_checkpoints` has not given yet.
    pub fn wants_reset(&self) -> bool {
        self.primary.as_ref().is_some_and(|primary| primary.checkpoints.wants_reset())
    }

    /// Command `number` of this leader was applied; `items` are the leases it found.
    pub fn on_checkpoint(&mut self, number: u64, items: &[LeaseLeft], now: Instant) {
        let Some(primary) = &mut self.primary else { return };
        for &LeaseLeft { id, left_s, .. } in items {
            let Some(deadline) = primary.leases.get(&id) else { continue };
            let left_s = if left_s > 0 { left_s } else { deadline.ttl_s };
            primary.checkpoints.on_applied(number, id, left_s, now);
        }
    }

    /// Time left in whole seconds, rounded towards zero; negative if expired and not revoked yet.
    pub fn remaining_s(&mut self, id: LeaseId, now: Instant, leases: &Leases) -> Option<i64> {
        let expires = self.find(id, leases)?.expires;
        let whole_s = |ns: u64| i64::try_from(ns / NS_PER_S).expect("2^64 ns are 1.8e10 s");
        Some(whole_s(expires.since_ns(now)) - whole_s(now.since_ns(expires)))
    }

    /// Ids by time left, the next to expire first (LEASE-12); leases not visited yet are missing.
    pub fn ids(&self) -> impl Iterator<Item = LeaseId> {
        self.primary.iter().flat_map(|primary| primary.queue.iter().map(|&(_, id)| id))
    }

    /// When the next lease to end does, or the revoke of one that has is tried again; `None` where this member
    /// does not lead. Leases not visited yet are missing.
    pub fn earliest(&self) -> Option<Instant> {
        self.primary.as_ref()?.queue.first().map(|&(due, _)| due)
    }

    /// At most `max` leases to revoke now, the longest overdue first; each is let out again if `on_revoke`
    /// does not follow within the retry time. Spends `work` on a promotion under way.
    pub fn expired(&mut self, now: Instant, leases: &Leases, max: usize, work: &mut u32) -> Vec<LeaseId> {
        while *work > 0 && self.visit_next(leases) {
            *work -= 1;
        }
        let Some(primary) = &mut self.primary else { return Vec::new() };
        primary.in_flight.retain(|_, &mut until| until > now);
        if now.since_ns(primary.window_start) >= WINDOW_NS {
            primary.window_start = now;
            primary.window_count = 0;
        }
        let mut ids = Vec::new();
        while ids.len() < max && primary.has_room() {
            let Some(&(due, id)) = primary.queue.first() else { break };
            if due > now {
                break;
            }
            primary.let_out(id, now);
            ids.push(id);
        }
        ids
    }

    /// When `expired` has something to do again.
    pub fn next_wake(&self) -> Option<Instant> {
        let primary = self.primary.as_ref()?;
        if let Some(promotion) = &primary.promotion {
            return Some(promotion.at);
        }
        let &(due, _) = primary.queue.first()?;
        let window_opens = match primary.window_count < REVOKES_PER_WINDOW_MAX {
            true => due,
            false => primary.window_start.plus_ns(WINDOW_NS),
        };
        let slot_opens = match primary.in_flight.len() < REVOKES_IN_FLIGHT_MAX {
            true => due,
            false => primary.in_flight.values().copied().min().unwrap_or(due),
        };
        Some(due.max(window_opens).max(slot_opens))
    }

    /// The deadline of a lease, which is visited if the promotion has not come to it.
    fn find(&mut self, id: LeaseId, leases: &Leases) -> Option<Deadline> {
        let primary = self.primary.as_mut()?;
        if let Some(deadline) = primary.leases.get(&id) {
            return Some(*deadline);
        }
        primary.promotion.as_ref()?;
        let (ttl_s, remaining_s) = (leases.ttl(id)?, leases.remaining(id)?);
        primary.visit(id, ttl_s, remaining_s, self.ttl_min_s);
        primary.leases.get(&id).copied()
    }

    /// Takes the promotion one lease further; false when it is over.
    fn visit_next(&mut self, leases: &Leases) -> bool {
        let Some(primary) = &mut self.primary else { return false };
        let Some(promotion) = &mut primary.promotion else { return false };
        let Some(Granted { id, ttl_s, remaining_s, .. }) = leases.iter(promotion.after).next() else {
            primary.promotion = None;
            return false;
        };
        promotion.after = Some(id);
        // Granted or renewed since the promotion began: it has a deadline of its own.
        if !primary.leases.contains_key(&id) {
            primary.visit(id, ttl_s, remaining_s, self.ttl_min_s);
        }
        true
    }
}

impl Primary {
    /// Gives a lease the deadline that the promotion has for it.
    fn visit(&mut self, id: LeaseId, ttl_s: i64, remaining_s: i64, ttl_min_s: i64) {
        let promotion = self.promotion.as_mut().expect("only visited during a promotion");
        let ttl_s = ttl_s.max(ttl_min_s);
        let left_s = if remaining_s > 0 { remaining_s } else { ttl_s };
        let mut expires = after_s(promotion.at, left_s).plus_ns(promotion.extend_ns);
        if let Some(spread) = &mut promotion.spread {
            let second = expires.since_ns(promotion.at) / NS_PER_S;
            let later_s = spread.take_second(second) - second;
            expires = expires.plus_ns(later_s.saturating_mul(NS_PER_S));
        }
        let at = promotion.at;
        self.set(id, ttl_s, expires);
        self.checkpoints.schedule(id, left_s, at);
    }

    fn set(&mut self, id: LeaseId, ttl_s: i64, expires: Instant) {
        if let Some(earlier) = self.leases.insert(id, Deadline { ttl_s, expires, due: expires }) {
            self.queue.remove(&(earlier.due, id));
        }
        self.queue.insert((expires, id));
        assert_eq!(self.queue.len(), self.leases.len(), "each lease is queued once");
    }

    fn has_room(&self) -> bool {
        self.window_count < REVOKES_PER_WINDOW_MAX && self.in_flight.len() < REVOKES_IN_FLIGHT_MAX
    }

    /// Counts a revoke of this lease as under way and queues its retry.
    fn let_out(&mut self, id: LeaseId, now: Instant) {
        let retry = now.plus_ns(RETRY_NS);
        let deadline = self.leases.get_mut(&id).expect("queued, so it is there");
        assert!(deadline.expires <= now, "lease {id} would be revoked before its time");
        self.queue.remove(&(deadline.due, id));
        deadline.due = retry;
        self.queue.insert((retry, id));
        self.in_flight.insert(id, retry);
        self.window_count += 1;
    }
}

impl Spread {
    /// The first second at or after `wanted` that may take one more deadline; takes it.
    fn take_second(&mut self, wanted: u64) -> u64 {
        let second = match self.full.range(..=wanted).next_back() {
            Some((_, &past)) if wanted < past => past,
            _ => wanted,
        };
        let count = self.counts.entry(second).or_default();
        *count += 1;
        if *count == SPREAD_PER_S_MAX {
            self.counts.remove(&second);
            self.close_second(second);
        }
        second
    }

    fn close_second(&mut self, second: u64) {
        let past = self.full.remove(&(second + 1)).unwrap_or(second + 1);
        let first = match self.full.range(..second).next_back() {
            Some((&first, &past_before)) if past_before == second => first,
            _ => second,
        };
        self.full.insert(first, past);
    }
}

fn after_s(now: Instant, seconds: i64) -> Instant {
    now.plus_ns(u64::try_from(seconds).unwrap_or(0).saturating_mul(NS_PER_S))
}
