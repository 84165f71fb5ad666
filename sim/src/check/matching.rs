//! Finds each write of a client in the log, and nothing in the log that nobody asked for.

use holdfast_core::base::LeaseId;
use holdfast_core::request::{AuthRequest, CompactRequest, LeaseGrantRequest, Request};
use holdfast_core::status::Status;

use super::{Checked, Truth, Violation, auth};
use crate::history::{History, LogEntry, Op};
use crate::oracle::model::{Decree, is_read_only};
use crate::oracle::refuse::static_refusal;
use crate::told;

/// Where each op took effect: the position after its entry; `None` for reads, refusals and what was lost.
pub type Places = Vec<Option<usize>>;

/// Ops and entries, put together.
pub struct Matched {
    pub places: Places,
    /// Entries (from 0) that end a lease whose time is over, and take effect.
    pub expiries: Vec<usize>,
}

/// Matches ops and entries life by life. An acknowledged write must be in the log with the answer that
/// the oracle predicts there; an entry must belong to somebody; a refused op must not be in the log.
pub fn find(history: &History, truth: &Truth, checked: &mut Checked) -> Result<Matched, Violation> {
    let mut places: Places = vec![None; history.ops.len()];
    let mut owned = vec![false; history.log.len()];
    for (mine, ops) in entries_by_life(history, truth).iter().zip(ops_by_life(history)) {
        acknowledged(history, truth, &ops, mine, &mut owned, &mut places)?;
        unanswered(history, truth, &ops, mine, &mut owned, &mut places);
    }
    let expiries = check_owners(history, truth, &owned)?;
    count(history, &places, checked);
    Ok(Matched { places, expiries })
}

/// Entries that each life proposed for clients, in the order in which it proposed them; a follower's reach
/// the log through the leader.
fn entries_by_life(history: &History, truth: &Truth) -> Vec<Vec<usize>> {
    let mut lives = vec![Vec::new(); history.lives.len()];
    for (i, entry) in history.log.iter().enumerate() {
        if matches!(entry.decree, Decree::Request(_) | Decree::Login { .. }) && !truth.repeats[i] {
            lives[entry.life].push(i);
        }
    }
    for mine in &mut lives {
        mine.sort_by_key(|i| history.log[*i].id.map(|id| id.counter));
    }
    lives
}

fn ops_by_life(history: &History) -> Vec<Vec<usize>> {
    let mut lives = vec![Vec::new(); history.lives.len()];
    for (o, op) in history.ops.iter().enumerate() {
        lives[op.life].push(o);
    }
    lives
}

/// The ops of a life that the log decides, in the order of their entries. What waits for a password or for the entry
/// of its token is proposed later than it arrives; it is answered in the order of the log all the same.
fn in_order(history: &History, ops: &[usize], is_mixed: bool) -> Vec<usize> {
    let is_decided = |o: &usize| is_decided_by_log(&history.ops[*o], history.terms.txn_ops_max);
    let mut ops: Vec<usize> = ops.iter().copied().filter(is_decided).collect();
    ops.sort_by_key(|o| {
        let op = &history.ops[*o];
        // A refused grant whose id the proposer chose fits any grant that was refused: named ones come first.
        match is_mixed {
            true => (is_of_chosen_id(op), op.answer.as_ref().map(|answer| answer.at)),
            false => (false, op.arrived),
        }
    });
    ops
}

fn acknowledged(
    history: &History,
    truth: &Truth,
    ops: &[usize],
    mine: &[usize],
    owned: &mut [bool],
    places: &mut Places,
) -> Result<(), Violation> {
    let is_mixed = history.ops.iter().any(auth::may_be_late);
    let mut from = 0;
    for o in in_order(history, ops, is_mixed) {
        if is_mixed {
            from = 0;
        }
        let op = &history.ops[o];
        let answer = op.answer.as_ref().expect("decided by the log means answered");
        let arrived = op.arrived.expect("what was answered had arrived").seq;
        let fits = |place: &usize| {
            let i = mine[*place];
            !owned[i]
                && history.log[i].seen.seq >= arrived
                // What was refused early may look like another that was refused in the log.
                && (!auth::is_refused_early(op) || (i as u64) < answer.applied)
                && asks_for(history, truth, op, &history.log[i])
        };
        let expected = |place: usize| truth.expected[mine[place]].as_ref();
        let agrees = |place: &usize| expected(*place).is_some_and(|e| e.agrees(&op.request, &answer.result));
        let fitting = || (from..mine.len()).filter(fits).filter(agrees);
        let is_in_time = |place: &usize| (mine[*place] as u64) < answer.applied;
        let found = match is_mixed {
            // An equal request that nobody answered may stand before it, and have been decided behind it.
            false => fitting().find(is_in_time).or(fitting().next()),
            // An entry that names nobody may be anybody's: one that names the client is looked for first.
            true => fitting()
                .filter(is_in_time)
                .min_by_key(|place| (history.log[mine[*place]].by.user.is_empty(), *place)),
        };
        let Some(place) = found else {
            if auth::is_refused_early(op) {
                continue;
            }
            let near = (from..mine.len()).find(fits);
            let what = match near {
                Some(place) => format!(
                    "{:?} was answered {:?}; entry {} predicts {:?}",
                    op.request,
                    answer.result,
                    mine[place] + 1,
                    expected(place).map(|e| &e.result)
                ),
                None => format!(
                    "m{} answers {}: {}; it is not in the log",
                    op.member,
                    told::request(&op.request),
                    told::answer(&answer.result)
                ),
            };
            return Err(Violation { check: "write", what, at: answer.at });
        };
        if mine[place] as u64 >= answer.applied {
            let (asked, entry) = (told::request(&op.request), mine[place] + 1);
            let what = format!("m{} answers {asked} before it has applied entry {entry}", op.member);
            return Err(Violation { check: "write", what, at: answer.at });
        }
        owned[mine[place]] = true;
        places[o] = Some(mine[place] + 1);
        from = place + 1;
    }
    Ok(())
}

/// Whether it leaves the id of a lease to its proposer.
fn is_of_chosen_id(op: &Op) -> bool {
    matches!(&op.request, Request::LeaseGrant(grant) if grant.id == LeaseId(0))
}

/// What nobody was told of may be in the log once, after it arrived.
fn unanswered(
    history: &History,
    truth: &Truth,
    ops: &[usize],
    mine: &[usize],
    owned: &mut [bool],
    places: &mut Places,
) {
    let open = ops.iter().map(|o| (*o, &history.ops[*o])).filter(|(_, op)| is_open(op));
    // A grant whose id the proposer chose fits any grant: those that named one come first.
    let (chosen, named): (Vec<_>, Vec<_>) = open.partition(|(_, op)| is_of_chosen_id(op));
    for (o, op) in named.into_iter().chain(chosen) {
        let Some(arrived) = op.arrived else { continue };
        let gives_nothing = |i: usize| {
            let is_login = matches!(history.log[i].decree, Decree::Login { .. });
            is_login && truth.expected[i].as_ref().is_some_and(|expected| expected.result.is_err())
        };
        let found = mine.iter().copied().find(|i| {
            !owned[*i]
                // A login that a change overtook is tried again: its last entry counts.
                && !gives_nothing(*i)
                && history.log[*i].seen.seq >= arrived.seq
                && asks_for(history, truth, op, &history.log[*i])
        });
        if let Some(i) = found {
            owned[i] = true;
            places[o] = Some(i + 1);
        }
    }
}

/// Every entry belongs to somebody; the ends of leases are the leader's own doing.
fn check_owners(history: &History, truth: &Truth, owned: &[bool]) -> Result<Vec<usize>, Violation> {
    let mut expiries = Vec::new();
    for (i, entry) in history.log.iter().enumerate() {
        match &entry.decree {
            _ if owned[i] || truth.repeats[i] => {}
            Decree::Expire { term, .. } if *term == entry.term => expiries.push(i),
            Decree::Request(request) => {
                let what = format!("entry {} is nobody's, or of one who was refused: {request:?}", i + 1);
                return Err(Violation { check: "write", what, at: entry.seen });
            }
            // A login that a change overtook is tried again.
            Decree::Login { .. } if truth.expected[i].as_ref().is_some_and(|e| e.result.is_err()) => {}
            Decree::Login { user, .. } => {
                let what = format!("entry {} gives {user} a token that nobody asked for", i + 1);
                return Err(Violation { check: "write", what, at: entry.seen });
            }
            Decree::Nothing
            | Decree::NoSpace(_)
            | Decree::AutoCompaction { .. }
            | Decree::Expire { .. }
            | Decree::Checkpoint { .. }
            | Decree::Member(_)
            | Decree::Publish { .. } => {}
        }
    }
    Ok(expiries)
}

fn count(history: &History, places: &Places, checked: &mut Checked) {
    for (op, place) in history.ops.iter().zip(places) {
        match (goes_through_log(&op.request), op.answer.is_some(), place.is_some()) {
            (true, true, true) => checked.writes += 1,
            (true, false, true) => checked.unknown_done += 1,
            (true, false, false) => checked.unknown_lost += 1,
            _ => {}
        }
    }
}

/// Whether a request becomes a log entry if it is not refused by its form.
pub fn goes_through_log(request: &Request) -> bool {
    match request {
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke { .. }
        | Request::AlarmSet { .. } => true,
        Request::Txn(txn) => !is_read_only(txn),
        Request::Auth(asked) => !auth::is_question(asked),
        _ => false,
    }
}

/// Refusals that say nothing about the state: the request may be in the log or not.
pub fn is_unknown(status: Status) -> bool {
    matches!(
        status,
        Status::Timeout
            | Status::TimeoutDueToLeaderFail
            | Status::TimeoutDueToConnectionLost
            | Status::TimeoutWaitAppliedIndex
            | Status::LeaderChanged
            | Status::NoLeader
            | Status::Stopped
            | Status::ProposalDropped
            | Status::Unhealthy
            | Status::ContextDeadlineExceeded
            | Status::NoSpace
    )
}

/// Refusals before anything was proposed that depend on load, not on state.
pub fn is_overload(status: Status) -> bool {
    matches!(status, Status::TooManyRequests | Status::RequestTooLarge)
}

/// A write whose answer was decided where its entry was applied.
fn is_decided_by_log(op: &Op, txn_ops_max: usize) -> bool {
    let Some(answer) = &op.answer else { return false };
    if matches!(op.request, Request::Auth(AuthRequest::Authenticate { .. })) && answer.result.is_err() {
        // The password was wrong, before or behind an entry that was refused.
        return false;
    }
    goes_through_log(&op.request)
        && static_refusal(&op.request, txn_ops_max).is_none()
        && !answer.result.as_ref().is_err_and(|status| {
            is_unknown(*status) || is_overload(*status) || *status == Status::NotSupportedForLearner
        })
}

/// A write that may or may not have happened.
fn is_open(op: &Op) -> bool {
    let is_unknown = match &op.answer {
        None => true,
        Some(answer) => answer.result.as_ref().is_err_and(|status| is_unknown(*status)),
    };
    is_unknown && goes_through_log(&op.request)
}

/// Whether an entry is what this request becomes: the proposer fills in lease ids and raises TTLs.
pub(super) fn asks_for(history: &History, truth: &Truth, op: &Op, entry: &LogEntry) -> bool {
    if !auth::may_be_by(&truth.model, &op.credentials, entry) {
        return false;
    }
    let decided = match (&op.request, &entry.decree) {
        (_, Decree::Request(decided)) => decided,
        (Request::Auth(AuthRequest::Authenticate { name, .. }), Decree::Login { user, .. }) => {
            return name == user;
        }
        _ => return false,
    };
    match (&op.request, decided) {
        // No password, whatever was sent with it.
        (
            Request::Auth(AuthRequest::UserAdd { name, no_password: true, .. }),
            Request::Auth(AuthRequest::UserAdd { name: added, no_password: true, .. }),
        ) => name == added,
        (Request::LeaseGrant(asked), Request::LeaseGrant(LeaseGrantRequest { id, ttl })) => {
            let is_chosen = asked.id == LeaseId(0) && id.0 > 0;
            (is_chosen || asked.id == *id) && *ttl == asked.ttl.max(history.terms.ttl_min_s)
        }
        (Request::Compact(asked), Request::Compact(CompactRequest { revision, .. })) => {
            asked.revision == *revision
        }
        (asked, decided) => asked == decided,
    }
}
