//! Leases against true time: none dies early, none lives on for ever.

use holdfast_core::base::LeaseId;
use holdfast_core::command::LeaseLeft;
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
    check_told(history, truth, &renewals, checked)?;
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
        let Decree::Expire { id, granted, .. } = &entry.decree else { continue };
        let granted = *granted as usize;
        if truth.model.at(*i).lease_granted_at(*id) != Some(granted) {
            continue;
        }
        let of_this = renewals_of(truth, renewals, *id, granted);
        for renewal in of_this.filter(|renewal| renewal.call.seq <= entry.seen.seq) {
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

/// What the log is told that a lease has left is less than its TTL, since that needs no telling, and no less
/// than its renewals promised, or a next leader ends it early (G31).
fn check_told(
    history: &History,
    truth: &Truth,
    renewals: &[Renewal],
    checked: &mut Checked,
) -> Result<(), Violation> {
    for (i, entry) in history.log.iter().enumerate() {
        let Decree::Checkpoint { term, items } = &entry.decree else { continue };
        if truth.repeats[i] || *term != entry.term {
            continue;
        }
        let before = truth.model.at(i);
        for LeaseLeft { id, granted, left_s } in items.iter().filter(|item| item.left_s > 0) {
            let granted = granted.0 as usize;
            let Some(ttl) = before.lease(*id).filter(|_| before.lease_granted_at(*id) == Some(granted))
            else {
                continue;
            };
            let of_this = renewals_of(truth, renewals, *id, granted);
            let least_ns = of_this
                .filter(|renewal| renewal.answered.seq < entry.seen.seq)
                .map(|renewal| {
                    let passed = entry.seen.at_ns.saturating_sub(renewal.call.at_ns) as f64;
                    renewal.ttl as f64 * SECOND_NS - passed * (1.0 + history.terms.drift) - GRAIN_NS
                })
                .fold(0.0, f64::max);
            checked.leases += 1;
            if *left_s >= ttl || (*left_s as f64) * SECOND_NS < least_ns {
                let what = format!(
                    "entry {} says that lease {id} of {ttl} s has {left_s} s left, promised are {:.3} s",
                    i + 1,
                    least_ns / SECOND_NS
                );
                return Err(Violation { check: "lease_checkpoint", what, at: entry.seen });
            }
        }
    }
    Ok(())
}

/// Renewals of the lease `id` that was granted at `granted`. One that may have found another lease of this id
/// says nothing of this one.
fn renewals_of<'a>(
    truth: &Truth,
    renewals: &'a [Renewal],
    id: LeaseId,
    granted: usize,
) -> impl Iterator<Item = &'a Renewal> {
    renewals.iter().filter(move |renewal| {
        renewal.id == id
            && match renewal.granted {
                Some(place) => place == granted,
                None => {
                    let end = renewal.decided.min(truth.model.position());
                    truth.model.grants_within(id, renewal.floor..=end).eq([granted])
                }
            }
    })
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
