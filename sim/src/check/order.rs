//! Real time: what was answered is seen by all that is asked later; and what each read must answer.

use std::ops::RangeInclusive;

use bytes::Bytes;
use holdfast_core::backup::Backup;
use holdfast_core::base::LeaseId;
use holdfast_core::request::{AuthRequest, Header, RangeRequest, Request, RequestOp, Response};
use holdfast_core::status::Status;

use super::matching::{Places, goes_through_log, is_overload, is_unknown};
use super::members::is_about_members;
use super::{Checked, Truth, Violation, auth};
use crate::history::{Answer, History, Op, Passed};
use crate::oracle::auth::By;
use crate::oracle::model::{Model, View, is_read_only};
use crate::oracle::refuse::static_refusal;
use crate::told;

/// The place of what has seen nothing of the state.
const NOWHERE: usize = 0;

/// What happens to an op, in the order of the world.
enum Event {
    Call(usize),
    Return(usize),
    /// A stream of a life shows a place.
    Told(usize, usize),
}

/// Sweeps all calls and returns in order. The *floor* of an op is the furthest place that anything
/// returned before its call had: the op must lie at or behind it. Each read takes the first place that
/// fits, which is the best choice for all that come later: their floors only rise.
pub fn check(
    history: &History,
    truth: &Truth,
    places: &Places,
    checked: &mut Checked,
) -> Result<Floors, Violation> {
    let mut events = Vec::with_capacity(2 * history.ops.len());
    for (o, op) in history.ops.iter().enumerate() {
        events.push((op.call.seq, Event::Call(o)));
        if let Some(answer) = &op.answer {
            events.push((answer.at.seq, Event::Return(o)));
        }
    }
    for stream in &history.streams {
        for (at, passed) in &stream.passed {
            if let Passed::Delivered(response, _) = passed
                && let Some((place, _)) = truth.model.positions_of(response.revision)
            {
                events.push((at.seq, Event::Told(stream.life, place)));
            }
        }
    }
    events.sort_by_key(|(seq, _)| *seq);
    let mut floors = vec![0; history.ops.len()];
    let mut own_floors = vec![0; history.ops.len()];
    let mut reached = 0;
    // A local read need not see what other lives and members answered; what its own life did, it must.
    let mut reached_by_life = vec![0; history.lives.len()];
    let mut hashes = std::collections::BTreeMap::new();
    for (_, event) in events {
        match event {
            Event::Call(o) => {
                let op = &history.ops[o];
                own_floors[o] = reached_by_life[op.life];
                floors[o] = if is_local(&op.request) { own_floors[o] } else { reached };
                check_after(history, places, o, reached)?;
            }
            // What a watch was told is decided: who asks later must see it.
            Event::Told(life, place) => {
                reached = reached.max(place);
                reached_by_life[life] = reached_by_life[life].max(place);
            }
            Event::Return(o) => {
                let op = &history.ops[o];
                let answer = op.answer.as_ref().expect("it returned");
                let place = match places[o] {
                    // An answer that says nothing acknowledges nothing.
                    Some(_) if answer.result.as_ref().is_err_and(|status| is_unknown(*status)) => NOWHERE,
                    Some(place) => place,
                    None => {
                        let floor = Floor { all: floors[o], own: own_floors[o] };
                        place_of_read(history, truth, op, answer, floor, checked)?
                    }
                };
                let own = shown_by_itself(truth, op, answer, place);
                reached = reached.max(place).max(own);
                reached_by_life[op.life] = reached_by_life[op.life].max(own);
                check_hash(op, answer, &mut hashes)?;
            }
        }
    }
    Ok(Floors { all: floors, own: own_floors })
}

/// How far everybody had got when each op was asked, and how far the life that was asked.
pub struct Floors {
    pub all: Vec<usize>,
    pub own: Vec<usize>,
}

/// The place that a member shows of its own State by an answer. What the leader said of a lease, or of a promotion,
/// need not be applied where it is passed on: only the header is the own one's.
fn shown_by_itself(truth: &Truth, op: &Op, answer: &Answer, place: usize) -> usize {
    if matches!(op.request, Request::MemberPromote { .. }) {
        return NOWHERE;
    }
    if !is_asked_of_leader(&op.request) {
        return place;
    }
    let own = answer.revision().and_then(|revision| truth.model.positions_of(revision));
    own.map_or(NOWHERE, |(first, _)| first)
}

/// How far an op must see at least.
#[derive(Clone, Copy)]
struct Floor {
    /// What the op itself must have seen.
    all: usize,
    /// What the life that answers had shown before.
    own: usize,
}

/// Whether only a leader knows the answer: the member that was asked passes it on.
fn is_asked_of_leader(request: &Request) -> bool {
    matches!(request, Request::LeaseKeepAlive { .. } | Request::LeaseTimeToLive { .. })
}

/// Whether a read is answered from where the member is, without asking anybody (RG-19, TXN-12, TXN-13).
pub fn is_local(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.serializable,
        Request::Txn(txn) => {
            let mut ops = txn.success.iter().chain(&txn.failure);
            ops.all(|op| matches!(op, RequestOp::Range(range) if range.serializable))
        }
        Request::LeaseLeases
        | Request::Status
        | Request::Hash
        | Request::HashKv { .. }
        | Request::Backup
        | Request::BackupHistory(_)
        | Request::Defragment => true,
        Request::MemberList { linearizable } => !linearizable,
        _ => false,
    }
}

/// A write, answered or not, lies behind all that had returned before it was called.
fn check_after(history: &History, places: &Places, o: usize, floor: usize) -> Result<(), Violation> {
    match places[o] {
        Some(place) if place <= floor => {
            let op = &history.ops[o];
            let what = format!(
                "m{} was asked {}: it is entry {place}, but entry {floor} had been acknowledged before",
                op.member,
                told::request(&op.request)
            );
            Err(Violation { check: "real_time", what, at: op.call })
        }
        _ => Ok(()),
    }
}

/// Finds the place of an op that is in no entry; refusals by form or for load have none of their own.
fn place_of_read(
    history: &History,
    truth: &Truth,
    op: &Op,
    answer: &Answer,
    floor: Floor,
    checked: &mut Checked,
) -> Result<usize, Violation> {
    if is_about_members(&op.request) || answer.result == Err(Status::NotSupportedForLearner) {
        return Ok(NOWHERE);
    }
    if let Some(place) = place_of_refused(history, truth, op, answer, floor, checked) {
        return place;
    }
    let broken = |check, what: String| Err(Violation { check, what, at: answer.at });
    if goes_through_log(&op.request) {
        return broken("write", format!("{:?} was answered {:?} for nothing", op.request, answer.result));
    }
    checked.reads += 1;
    let last = truth.model.position().min(answer.applied as usize);
    if is_asked_of_leader(&op.request) {
        return place_of_question(truth, op, answer, floor, last);
    }
    let (floor, own) = (floor.all, floor.own);
    if floor > last {
        let asked = told::request(&op.request);
        let what = format!("m{} answers {asked}: entry {floor} was acknowledged, it is at {last}", op.member);
        return broken("read", what);
    }
    let (low, high) = match answer.revision() {
        // What has no revision in its header may have been answered anywhere.
        None | Some(0) => (floor, last),
        Some(revision) => match truth.model.positions_of(revision) {
            Some((first, end)) => (first.max(floor), end.min(last)),
            None => (1, 0),
        },
    };
    if low > high {
        let now = truth.model.at(floor).revision();
        let (asked, got) = (told::request(&op.request), told::answer(&answer.result));
        let at = answer.revision().unwrap_or_default();
        let what =
            format!("m{} answers {asked} at revision {at}: {got}; revision {now} had been seen", op.member);
        return broken("read", what);
    }
    let found = (low..=high).find(|place| {
        is_let_in(&truth.model, *place, op, own) && fits(&truth.model, *place, op, &answer.result)
    });
    found.map_or_else(
        || {
            let expected = predicted(&truth.model.at(low), op);
            broken("read", format!("{:?} answered {:?}, must be {expected}", op.request, answer.result))
        },
        Ok,
    )
}

/// The same of one that is or must be refused: by form, for load, or for want of rights. `None`: it is none of these.
fn place_of_refused(
    history: &History,
    truth: &Truth,
    op: &Op,
    answer: &Answer,
    floor: Floor,
    checked: &mut Checked,
) -> Option<Result<usize, Violation>> {
    if let Some(status) = static_refusal(&op.request, history.terms.txn_ops_max) {
        checked.refusals += 1;
        return Some(match answer.result {
            Err(got) if got == status => Ok(NOWHERE),
            // Of a lease's TTL nobody hears who has no name.
            Err(got) if status == Status::LeaseTtlTooLarge && auth::is_refusal(got) => {
                place_of_refusal(truth, op, answer, floor)
            }
            // The quota is judged before the form (WR-0).
            Err(Status::NoSpace) if may_be_unknown(history, op, Status::NoSpace) => Ok(NOWHERE),
            ref got => {
                let what = format!("{:?} must be refused {status:?}: {got:?}", op.request);
                Err(Violation { check: "refusal", what, at: answer.at })
            }
        });
    }
    let Err(status) = &answer.result else { return None };
    if is_overload(*status) || (is_unknown(*status) && may_be_unknown(history, op, *status)) {
        return Some(Ok(NOWHERE));
    }
    if auth::is_refusal(*status) && (!goes_through_log(&op.request) || auth::is_refused_early(op)) {
        checked.refusals += 1;
        return Some(place_of_refusal(truth, op, answer, floor));
    }
    None
}

/// Whether whoever asks has the right to at a place.
fn is_let_in(model: &Model, place: usize, op: &Op, own_floor: usize) -> bool {
    let is_on = |place: usize| model.accounts_at(place).is_on;
    // Nobody looked at the credentials while auth was off; some things anybody may ask.
    let as_nobody = || model.at(place).refusal(&By::default(), &op.request).is_none();
    !is_on(place)
        || (as_nobody() && (own_floor..=place).any(|place| !is_on(place)))
        || (auth::may_be_known(model, &op.credentials, own_floor)
            && auth::refusal_at(model, place, &op.credentials, &op.request).is_none())
}

/// The place of a refusal for want of rights: somewhere between what must have been seen and what can have been.
fn place_of_refusal(truth: &Truth, op: &Op, answer: &Answer, floor: Floor) -> Result<usize, Violation> {
    let model = &truth.model;
    let status = answer.result.as_ref().expect_err("a refusal");
    let is_login = matches!(op.request, Request::Auth(AuthRequest::Authenticate { .. }));
    // A member judges by what it has itself what it does not propose, and every token.
    let is_own = (goes_through_log(&op.request) && !is_login) || *status == Status::InvalidAuthToken;
    let low = if is_own { floor.own } else { floor.all };
    let high = match is_asked_of_leader(&op.request) {
        true => model.position().min(answer.decided as usize),
        false => model.position().min(answer.applied as usize),
    };
    let place = auth::place_of_refusal(model, op, *status, low..=high, floor.own);
    place.ok_or_else(|| {
        let what = format!(
            "{:?} by {:?} was refused {status:?}, which is right nowhere from entry {low} to {high}",
            op.request, op.credentials
        );
        Violation { check: "permission", what, at: answer.at }
    })
}

/// The place of a question about a lease: somewhere between what was acknowledged when it was asked and
/// what was decided when it was answered. The header is that of the member that passes the answer on.
fn place_of_question(
    truth: &Truth,
    op: &Op,
    answer: &Answer,
    floor: Floor,
    last: usize,
) -> Result<usize, Violation> {
    let model = &truth.model;
    let end = model.position().min(answer.decided as usize);
    let header_fits = |header: &Header| {
        let places = model.positions_of(header.revision);
        places.is_some_and(|(first, end)| {
            (first.max(floor.own)..=end.min(last)).any(|place| model.at(place).header() == *header)
        })
    };
    let found = match (&op.request, &answer.result) {
        (Request::LeaseKeepAlive { id }, Ok(Response::LeaseKeepAlive { header, id: answered, ttl })) => {
            let is_there = |place: &usize| {
                *ttl == model.at(*place).lease(*id).unwrap_or(0) && is_let_in(model, *place, op, floor.own)
            };
            let right = id == answered && header_fits(header);
            right.then(|| (floor.all..=end).find(is_there)).flatten()
        }
        (Request::LeaseTimeToLive { id, .. }, Ok(got @ Response::LeaseTimeToLive { header, .. })) => {
            let is_let_in = (floor.all..=end).any(|place| is_let_in(model, place, op, floor.own));
            let right = header_fits(header) && floor.all <= end && is_let_in;
            (right && time_to_live_fits(model, floor.all..=end, *id, op, got)).then_some(floor.all)
        }
        _ => None,
    };
    found.ok_or_else(|| {
        let expected = predicted(&model.at(floor.all.min(end)), op);
        let what = format!("{:?} answered {:?}, must be about {expected}", op.request, answer.result);
        Violation { check: "read", what, at: answer.at }
    })
}

/// NOSPACE is a legal answer only to writes and where a quota is set.
fn may_be_unknown(history: &History, op: &Op, status: Status) -> bool {
    status != Status::NoSpace || (history.terms.has_quota && goes_through_log(&op.request))
}

/// Whether `got` is right at this place.
fn fits(model: &Model, place: usize, op: &Op, got: &Result<Response, Status>) -> bool {
    let view = &model.at(place);
    match (&op.request, got) {
        (Request::Range(request), _) => view.range(request).agrees(&op.request, got),
        (Request::Txn(request), _) if is_read_only(request) => {
            view.read_txn(request).agrees(&op.request, got)
        }
        (Request::LeaseLeases, Ok(Response::LeaseLeases { header, ids })) => {
            let mut ids = ids.clone();
            ids.sort();
            *header == view.header() && ids == view.leases()
        }
        (Request::HashKv { revision }, Err(status)) => {
            let bound = if *revision > view.revision() {
                Some(Status::FutureRev)
            } else if *revision > 0 && *revision < view.compact_revision() {
                Some(Status::Compacted)
            } else {
                None
            };
            bound == Some(*status)
        }
        (Request::HashKv { revision }, Ok(Response::HashKv { header, hash_revision, .. })) => {
            let wanted = if *revision == 0 { view.revision() } else { *revision };
            *header == view.header() && *hash_revision == wanted
        }
        (Request::Status, Ok(Response::Status(status))) => {
            status.header == view.header() && status.raft_applied_index == view.position as u64
        }
        (Request::MemberList { .. }, Ok(Response::MemberList { header, members })) => {
            *header == Header { revision: 0, ..view.header() } && *members == view.roster().list()
        }
        (Request::AlarmList { .. }, Ok(Response::AlarmList { header, alarms })) => {
            *header == view.header() && alarms.iter().eq(view.alarms())
        }
        (Request::Backup, Ok(Response::Backup { header, backup })) => {
            *header == view.header() && backup_fits(view, backup)
        }
        (Request::Hash | Request::Defragment, got) => got.is_ok(),
        (Request::Auth(_), Ok(got)) => auth::question_fits(model, place, op, got),
        _ => false,
    }
}

/// Whether a backup is of this place, whole.
fn backup_fits(view: &View<'_>, backup: &Backup) -> bool {
    let leases = backup.leases.iter().map(|lease| (lease.id, Some(lease.ttl_s)));
    backup.index.0 == view.position as u64
        && (backup.revision, backup.compact_revision) == (view.revision(), view.compact_revision())
        && backup.members == view.roster().list()
        && backup.alarms.iter().eq(view.alarms())
        && leases.eq(view.leases().into_iter().map(|id| (id, view.lease(id))))
        && view.accounts().fit(backup.auth.as_ref())
}

/// The keys of a lease are collected while others write: each must hang on it at some place of the answer's
/// span, and one that hangs on it throughout must be there.
fn time_to_live_fits(
    model: &Model,
    span: RangeInclusive<usize>,
    asked: LeaseId,
    op: &Op,
    got: &Response,
) -> bool {
    let Response::LeaseTimeToLive { id, ttl, granted_ttl, keys, .. } = got else { return false };
    let wants_keys = matches!(op.request, Request::LeaseTimeToLive { keys: true, .. });
    if *id != asked || (!wants_keys && !keys.is_empty()) {
        return false;
    }
    let is_gone = |place: usize| model.at(place).lease(asked).is_none();
    if (*ttl, *granted_ttl, keys.len()) == (-1, 0, 0) {
        return span.clone().any(is_gone);
    }
    let attached: Vec<Vec<Bytes>> = span.clone().map(|place| model.at(place).keys_of_lease(asked)).collect();
    let is_true = |key: &Bytes| attached.iter().any(|at| at.contains(key));
    let is_whole =
        attached[0].iter().all(|key| keys.contains(key) || attached.iter().any(|at| !at.contains(key)));
    // Each key was shown to somebody who might read it.
    let is_shown = |key: &Bytes| {
        let request = Request::Range(RangeRequest { key: key.clone(), ..RangeRequest::default() });
        span.clone().any(|place| auth::refusal_at(model, place, &op.credentials, &request).is_none())
    };
    keys.iter().all(is_shown)
        && span.clone().any(|place| model.at(place).lease(asked) == Some(*granted_ttl))
        && (!wants_keys || (keys.iter().all(is_true) && is_whole))
}

fn predicted(view: &View<'_>, op: &Op) -> String {
    match &op.request {
        Request::Range(request) => format!("{:?}", view.range(request).result),
        Request::Txn(request) => format!("{:?}", view.read_txn(request).result),
        Request::LeaseKeepAlive { id } | Request::LeaseTimeToLive { id, .. } => {
            format!(
                "at {:?} with TTL {:?}, keys {:?}",
                view.header(),
                view.lease(*id),
                view.keys_of_lease(*id)
            )
        }
        Request::LeaseLeases => format!("at {:?} {:?}", view.header(), view.leases()),
        Request::MemberList { .. } => format!("at {:?} {:?}", view.header(), view.roster().list()),
        _ => format!("at {:?}, compacted {}", view.header(), view.compact_revision()),
    }
}

/// HashKV of one revision under one compaction is one number, whoever answers and when (HASH-2).
fn check_hash(
    op: &Op,
    answer: &Answer,
    hashes: &mut std::collections::BTreeMap<(i64, i64), u32>,
) -> Result<(), Violation> {
    let Ok(Response::HashKv { hash, compact_revision, hash_revision, .. }) = &answer.result else {
        return Ok(());
    };
    let known = *hashes.entry((*hash_revision, *compact_revision)).or_insert(*hash);
    if known == *hash {
        return Ok(());
    }
    let what = format!("{:?} answered {:?}, and {known} before", op.request, answer.result);
    Err(Violation { check: "hash_kv", what, at: answer.at })
}
