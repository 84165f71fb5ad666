//! Leases against true time: none dies early, none lives on for ever.

use holdfast_core::base::LeaseId;
use holdfast_core::request::{Request, Response};

use super::matching::Matched;
use super::{Checked, Truth, Violation};
use crate::history::{History, Moment};
use crate::oracle::model::Decree;

/// Granularity of a member's clock: a tick and the turn that it waits for.
const GRAIN_NS: f64 = 1e6;
const SECOND_NS: f64 = 1e9;

/// A moment from which a lease had its whole TTL again, and who says so.
struct Renewal {
    id: LeaseId,
    ttl: i64,
    /// When the client asked: the lease was renewed at this moment or later.
    call: Moment,
    /// When the answer came.
    answered: Moment,
    /// Places between which it can have found the lease.
    floor: usize,
    decided: usize,
    /// Where the lease was granted, if this is the grant.
    granted: Option<usize>,
}

pub fn check(
    history: &History,
    truth: &Truth,
    matched: &Matched,
    floors: &[usize],
    checked: &mut Checked,
) -> Result<(), Violation> {
    let renewals = renewals(history, matched, floors);
    check_not_early(history, truth, &matched.expiries, &renewals, checked)?;
    check_remaining(history, &renewals)?;
    check_not_late(history, truth)
}

/// Acknowledged grants and keep-alives.
fn renewals(history: &History, matched: &Matched, floors: &[usize]) -> Vec<Renewal> {
    let mut renewals = Vec::new();
    for ((op, place), floor) in history.ops.iter().zip(&matched.places).zip(floors) {
        let Some(answer) = &op.answer else { continue };
        match &answer.result {
            Ok(Response::LeaseGrant { id, ttl, .. }) | Ok(Response::LeaseKeepAlive { id, ttl, .. })
                if *ttl > 0 =>
            {
                renewals.push(Renewal {
                    id: *id,
                    ttl: *ttl,
                    call: op.call,
                    answered: answer.at,
                    floor: *floor,
                    decided: answer.decided as usize,
                    granted: *place,
                });
            }
            _ => {}
        }
    }
    renewals
}

/// No lease is expired before its TTL since the call of its last acknowledged renewal has passed, counted
/// by the slowest clock that the run allows.
fn check_not_early(
    history: &History,
    truth: &Truth,
    expiries: &[usize],
    renewals: &[Renewal],
    checked: &mut Checked,
) -> Result<(), Violation> {
    for i in expiries {
        let entry = &history.log[*i];
        let Decree::Expire { id, .. } = &entry.decree else { continue };
        let Some(granted) = truth.model.at(*i).lease_granted_at(*id) else { continue };
        let grant = renewals.iter().find(|renewal| renewal.granted == Some(granted));
        if grant.is_none_or(|grant| grant.answered.seq > entry.seen.seq) {
            // Granted while the end of an earlier lease of this id was on its way, it falls to that, as in
            // etcd: an end names its lease by the id alone.
            continue;
        }
        for renewal in renewals.iter().filter(|renewal| renewal.id == *id) {
            let is_of_this = match renewal.granted {
                Some(place) => place == granted,
                // Where it may have found another lease of this id, it says nothing of this one.
                None => {
                    let end = renewal.decided.min(truth.model.position());
                    truth.model.grants_within(*id, renewal.floor..=end).eq([granted])
                }
            };
            if !is_of_this || renewal.call.seq > entry.seen.seq {
                continue;
            }
            checked.leases += 1;
            let floor = renewal.ttl as f64 * SECOND_NS * (1.0 - history.terms.drift) - GRAIN_NS;
            let lived = entry.seen.at_ns.saturating_sub(renewal.call.at_ns) as f64;
            if lived < floor {
                let what = format!(
                    "lease {id} of {} s expired (entry {}) {:.3} s after a renewal asked at {:.3} s and answered at {:.3} s",
                    renewal.ttl,
                    i + 1,
                    lived / SECOND_NS,
                    renewal.call.at_ns as f64 / SECOND_NS,
                    renewal.answered.at_ns as f64 / SECOND_NS
                );
                return Err(Violation { check: "lease_early", what, at: entry.seen });
            }
        }
    }
    Ok(())
}

/// What TimeToLive says remains lies between what the renewals guarantee and the whole TTL.
fn check_remaining(history: &History, renewals: &[Renewal]) -> Result<(), Violation> {
    for op in &history.ops {
        let Some(answer) = &op.answer else { continue };
        let Ok(Response::LeaseTimeToLive { id, ttl, granted_ttl, .. }) = &answer.result else { continue };
        if *ttl == -1 && *granted_ttl == 0 {
            continue;
        }
        // A new leader adds an election timeout to the TTL (LEASE-14).
        let most = *granted_ttl + 1 + history.terms.election_ns.div_ceil(1_000_000_000) as i64;
        let least = renewals
            .iter()
            .filter(|r| r.id == *id && r.ttl == *granted_ttl && r.answered.seq < op.call.seq)
            .map(|r| {
                let passed = (answer.at.at_ns - r.call.at_ns) as f64 * (1.0 + history.terms.drift);
                ((r.ttl as f64 * SECOND_NS - passed - GRAIN_NS) / SECOND_NS).floor() as i64
            })
            .max();
        // An expired lease that is still to be revoked has 0 or less.
        if *ttl > most || least.is_some_and(|least| least > 0 && *ttl < least) {
            let what = format!(
                "lease {id} of {granted_ttl} s has {ttl} s left, must be between {least:?} and {most}"
            );
            return Err(Violation { check: "lease_remaining", what, at: answer.at });
        }
    }
    Ok(())
}

/// A lease that nobody renewed in the calm is gone at the end.
fn check_not_late(history: &History, truth: &Truth) -> Result<(), Violation> {
    let end = truth.model.at(truth.model.position());
    for id in end.leases() {
        let ttl = end.lease(id).expect("listed");
        let touched = history
            .ops
            .iter()
            .filter(|op| match &op.request {
                Request::LeaseKeepAlive { id: kept } => *kept == id,
                Request::LeaseGrant(asked) => match op.answer.as_ref().map(|answer| &answer.result) {
                    Some(Ok(Response::LeaseGrant { id: granted, .. })) => *granted == id,
                    _ => asked.id == id || asked.id == LeaseId(0),
                },
                _ => false,
            })
            .map(|op| op.answer.as_ref().map_or(op.call, |answer| answer.at))
            .max()
            .unwrap_or_default()
            .max(history.calm_since);
        let most =
            ttl as f64 * SECOND_NS / (1.0 - history.terms.drift) + history.terms.expiry_slack_ns as f64;
        let lived = history.end.at_ns.saturating_sub(touched.at_ns) as f64;
        if lived > most {
            let what =
                format!("lease {id} of {ttl} s is alive {:.1} s after its last renewal", lived / SECOND_NS);
            return Err(Violation { check: "lease_late", what, at: history.end });
        }
    }
    Ok(())
}
