//! What a history says by itself, before any order is looked for: which call made which revision, what was
//! seen by when, and what must be true of each revision the moment it is made.

use std::collections::BTreeMap;

use holdfast_core::base::LeaseId;
use holdfast_core::request::{LeaseGrantRequest, Request, RequestOp, Response, ResponseOp};
use holdfast_core::status::Status;

use super::facts::Facts;
use super::history::{Call, ClientHistory, Passed, Time};
use super::watch::{self, Watched};
use super::{Conflict, Counted};
use crate::check::matching::{goes_through_log, is_overload, is_unknown};
use crate::check::order::is_local;
use crate::oracle::model::is_read_only;
use crate::oracle::refuse::static_refusal;

/// Granularity of a member's clock: a tick and the turn that it waits for.
const GRAIN_NS: f64 = 1e6;
const SECOND_NS: f64 = 1e9;

/// What an op does to the database if its answer is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing: reads, refusals, writes that found nothing to change.
    Pure,
    /// It makes the revision that its answer names.
    Write,
    /// It changes what has no revision, or, a revoke, perhaps makes the one that its answer names.
    Quiet,
}

/// A call that has a place in the order.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Index into `ClientHistory::calls`.
    pub call: usize,
    pub from: Time,
    /// `Time::NEVER` if what came of it is unknown: it may be left out.
    pub until: Time,
    /// The revision of the database right after it.
    pub exact: Option<i64>,
    /// A revision that somebody had seen before it was asked.
    pub floor: i64,
    pub class: Class,
}

/// All that is known of the leases of one id.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    /// Required ops that granted one, and optional ones that may have.
    pub grants: Vec<usize>,
    pub unknown_grants: Vec<usize>,
    /// Required ops that found one.
    pub proofs: Vec<usize>,
    /// The newest revision at which a key was seen to hang on one.
    pub attached: i64,
    /// If there was one grant: required ops that promised it a life, and until when, in ns.
    pub renewals: Vec<(usize, u64)>,
}

/// A history, read.
pub struct Ground<'a> {
    pub history: &'a ClientHistory,
    /// What was answered and has a place, by `from`.
    pub required: Vec<Op>,
    /// Writes of which it is unknown whether they happened, by `from`.
    pub optional: Vec<Op>,
    /// The required op that made a revision.
    pub owners: BTreeMap<i64, usize>,
    /// When somebody had seen each revision, or a later one, at the earliest; by revision.
    pub seen_by: Vec<Time>,
    /// Reads by the revision whose keys they show: judged when it is made, wherever their place is.
    pub shown: BTreeMap<i64, Vec<usize>>,
    pub facts: Facts,
    /// How many required ops leave the database at each revision.
    pub due: BTreeMap<i64, u64>,
    pub watched: Vec<Watched>,
    pub leases: BTreeMap<LeaseId, Lease>,
    /// Compactions that may have happened: revision, and when they were asked for.
    pub compactions: Vec<(i64, Time)>,
}

impl<'a> Ground<'a> {
    /// Reads a history. Errors: what is wrong whatever the order is.
    pub fn of(history: &'a ClientHistory, counted: &mut Counted) -> Result<Ground<'a>, Conflict> {
        let compactions = compactions(history);
        let watched = watch::walk(history, &compactions, counted)?;
        let sights = Sights::of(history);
        let mut ground = Ground {
            history,
            required: Vec::new(),
            optional: Vec::new(),
            owners: BTreeMap::new(),
            seen_by: Vec::new(),
            shown: BTreeMap::new(),
            facts: Facts::default(),
            due: BTreeMap::new(),
            watched,
            leases: BTreeMap::new(),
            compactions,
        };
        for call in 0..history.calls.len() {
            ground.take(call, &sights, counted)?;
        }
        ground.required.sort_by_key(|op| op.from);
        ground.optional.sort_by_key(|op| op.from);
        ground.find_owners()?;
        ground.see(&sights)?;
        ground.facts = Facts::of(history);
        ground.find_leases();
        check_hashes(history)?;
        Ok(ground)
    }

    /// The newest revision that anybody saw.
    pub fn newest(&self) -> i64 {
        self.seen_by.len() as i64 - 1
    }

    /// Sorts one call: refused by its form, local, to be placed, perhaps to be placed, or of no account.
    fn take(&mut self, index: usize, sights: &Sights, counted: &mut Counted) -> Result<(), Conflict> {
        let call = &self.history.calls[index];
        let terms = &self.history.terms;
        let result = call.answer.as_ref().map(|answer| &answer.result);
        if let Some(status) = static_refusal(&call.request, terms.txn_ops_max) {
            return match result {
                Some(Err(got)) if *got == status || says_nothing(*got) => Ok(()),
                None => Ok(()),
                Some(got) => {
                    let what = format!("{:?} must be refused {status:?}: {got:?}", call.request);
                    Err(Conflict::of("blackbox_form", what, [index]))
                }
            };
        }
        let is_write = goes_through_log(&call.request);
        let answer = match &call.answer {
            Some(answer) if !answer.result.as_ref().is_err_and(|status| says_nothing(*status)) => answer,
            other => {
                let is_out = other
                    .as_ref()
                    .is_some_and(|answer| answer.result.as_ref().is_err_and(|status| !is_unknown(*status)));
                let names_lease = !matches!(&call.request, Request::LeaseGrant(grant) if grant.id.0 == 0);
                if is_write && names_lease && !is_out {
                    let floor = sights.floor(call.call);
                    let until = Time::NEVER;
                    self.optional.push(Op {
                        call: index,
                        from: call.call,
                        until,
                        exact: None,
                        floor,
                        class: Class::Quiet,
                    });
                }
                return Ok(());
            }
        };
        if is_local(&call.request) {
            return self.take_local(index, sights, counted);
        }
        if !is_write && !has_place(&call.request) {
            return Ok(());
        }
        let class = class_of(&call.request, &answer.result);
        let exact = match call.request {
            Request::LeaseKeepAlive { .. } | Request::LeaseTimeToLive { .. } => None,
            _ => call.revision(),
        };
        let floor = sights.floor(call.call);
        // What makes a revision makes a new one; a revoke need not have found keys.
        let least = floor + i64::from(class == Class::Write);
        if exact.is_some_and(|exact| exact < least) {
            let what = format!(
                "{:?} was answered {:?}, but revision {floor} had been seen before it was asked",
                call.request, answer.result
            );
            return Err(Conflict::of("blackbox_real_time", what, [index]));
        }
        counted.placed += 1;
        if let (false, Ok(response), Some(exact)) = (is_write, &answer.result, exact)
            && let Some(at) = shown_at(&call.request, response, exact)
        {
            self.shown.entry(at).or_default().push(index);
        }
        if let Some(exact) = exact {
            *self.due.entry(exact).or_default() += 1;
        }
        self.required.push(Op { call: index, from: call.call, until: answer.at, exact, floor, class });
        Ok(())
    }

    /// A read of what one member has: its content is judged when the revision is made.
    fn take_local(&mut self, index: usize, sights: &Sights, counted: &mut Counted) -> Result<(), Conflict> {
        let call = &self.history.calls[index];
        let floor = sights.floor_of(call.place, call.call);
        let Some(revision) = call.revision() else { return Ok(()) };
        if revision < floor {
            let what = format!("{:?} was answered at {revision}, this life had shown {floor}", call.request);
            return Err(Conflict::of("blackbox_local", what, [index]));
        }
        let response = call.answer.as_ref().and_then(|answer| answer.result.as_ref().ok());
        let Some(at) = response.and_then(|response| shown_at(&call.request, response, revision)) else {
            return Ok(());
        };
        if at > revision {
            let what = format!("{:?} was answered, the member was at {revision}", call.request);
            return Err(Conflict::of("blackbox_local", what, [index]));
        }
        counted.locals += 1;
        self.shown.entry(at).or_default().push(index);
        Ok(())
    }

    fn find_owners(&mut self) -> Result<(), Conflict> {
        for (index, op) in self.required.iter().enumerate().filter(|(_, op)| op.class == Class::Write) {
            let revision = op.exact.expect("a write that changed something names its revision");
            if let Some(other) = self.owners.insert(revision, index) {
                let calls = [self.required[other].call, op.call];
                let [one, two] = calls.map(|call| &self.history.calls[call].request);
                let what = format!("revision {revision} was given twice, to {one:?} and to {two:?}");
                return Err(Conflict::of("blackbox_twice", what, calls));
            }
        }
        Ok(())
    }

    /// Fills `seen_by`. Errors: more revisions were seen than writes can have made.
    fn see(&mut self, sights: &Sights) -> Result<(), Conflict> {
        let newest = sights.all.iter().map(|(_, revision, _)| *revision).max().unwrap_or(1).max(1);
        let grants =
            self.history.calls.iter().filter(|c| matches!(c.request, Request::LeaseGrant(_))).count();
        let quiet = self.required.iter().filter(|op| op.class == Class::Quiet).count();
        let most = 1 + (self.owners.len() + quiet + self.optional.len() + grants) as i64;
        if newest > most {
            let what = format!("revision {newest} was seen, all writes together can have made {most}");
            let calls: Vec<usize> = (0..self.history.calls.len())
                .filter(|call| self.history.calls[*call].revision() == Some(newest))
                .collect();
            return Err(Conflict::of("blackbox_nobody", what, calls));
        }
        self.seen_by = vec![Time::NEVER; newest as usize + 1];
        for (at, revision, _) in &sights.all {
            let seen = &mut self.seen_by[*revision as usize];
            *seen = (*seen).min(*at);
        }
        for revision in (1..self.seen_by.len()).rev() {
            self.seen_by[revision - 1] = self.seen_by[revision - 1].min(self.seen_by[revision]);
        }
        for watched in &mut self.watched {
            watched.end_at(newest);
        }
        Ok(())
    }

    fn find_leases(&mut self) {
        let answer = |op: &Op| self.history.calls[op.call].answer.as_ref().map(|answer| &answer.result);
        let mut leases: BTreeMap<LeaseId, Lease> = BTreeMap::new();
        for (index, op) in self.required.iter().enumerate() {
            let request = &self.history.calls[op.call].request;
            if let (Request::LeaseGrant(_), Some(Ok(Response::LeaseGrant { id, .. }))) = (request, answer(op))
            {
                leases.entry(*id).or_default().grants.push(index);
            }
            let proved = match (request, answer(op)) {
                (Request::Put(put), Some(Ok(_))) => put.lease,
                (Request::LeaseRevoke { id }, Some(Ok(_))) => *id,
                (Request::LeaseGrant(grant), Some(Err(Status::LeaseExist))) => grant.id,
                (_, Some(Ok(Response::LeaseKeepAlive { id, ttl: 1.., .. }))) => *id,
                (_, Some(Ok(Response::LeaseTimeToLive { id, granted_ttl: 1.., .. }))) => *id,
                _ => LeaseId(0),
            };
            if proved != LeaseId(0) {
                leases.entry(proved).or_default().proofs.push(index);
            }
        }
        for (index, op) in self.optional.iter().enumerate() {
            if let Request::LeaseGrant(LeaseGrantRequest { id, .. }) = &self.history.calls[op.call].request {
                leases.entry(*id).or_default().unknown_grants.push(index);
            }
        }
        for (id, revision) in &self.facts.attached {
            leases.entry(*id).or_default().attached = *revision;
        }
        for (index, op) in self.required.iter().enumerate() {
            let (Some(Ok(Response::LeaseGrant { id, ttl, .. }))
            | Some(Ok(Response::LeaseKeepAlive { id, ttl, .. }))) = answer(op)
            else {
                continue;
            };
            // What may have found another lease of this id says nothing of this one.
            let lease = leases.entry(*id).or_default();
            if *ttl > 0 && lease.grants.len() + lease.unknown_grants.len() == 1 {
                let lives_ns = *ttl as f64 * SECOND_NS * (1.0 - self.history.terms.drift) - GRAIN_NS;
                lease.renewals.push((index, op.from.at_ns.saturating_add(lives_ns.max(0.0) as u64)));
            }
        }
        self.leases = leases;
    }
}

/// The revision whose keys a read shows, if its answer has keys.
pub fn shown_at(request: &Request, response: &Response, revision: i64) -> Option<i64> {
    match (request, response) {
        (Request::Range(range), Response::Range(_)) if range.revision > 0 => Some(range.revision),
        (Request::Range(_), Response::Range(_)) | (Request::Txn(_), Response::Txn(_)) => Some(revision),
        _ => None,
    }
}

/// Refusals that are the same in every State, or say that it was not looked at.
fn says_nothing(status: Status) -> bool {
    is_unknown(status) || is_overload(status) || status == Status::NotSupportedForLearner
}

/// Reads that have a place in the order; the others show nothing that is ordered here.
fn has_place(request: &Request) -> bool {
    match request {
        Request::Range(_) | Request::LeaseKeepAlive { .. } | Request::LeaseTimeToLive { .. } => true,
        Request::Txn(txn) => is_read_only(txn),
        _ => false,
    }
}

fn class_of(request: &Request, result: &Result<Response, Status>) -> Class {
    match (request, result) {
        (Request::Put(_), Ok(_)) => Class::Write,
        (_, Ok(Response::DeleteRange(delete))) if delete.deleted > 0 => Class::Write,
        (_, Ok(Response::Txn(txn))) if changes(&txn.responses) => Class::Write,
        (Request::Compact(_) | Request::LeaseGrant(_) | Request::LeaseRevoke { .. }, Ok(_)) => Class::Quiet,
        _ => Class::Pure,
    }
}

fn changes(responses: &[ResponseOp]) -> bool {
    responses.iter().any(|response| match response {
        ResponseOp::Put(_) => true,
        ResponseOp::DeleteRange(delete) => delete.deleted > 0,
        ResponseOp::Txn(txn) => changes(&txn.responses),
        ResponseOp::Range(_) => false,
    })
}

fn compactions(history: &ClientHistory) -> Vec<(i64, Time)> {
    let may_be_done = |call: &&Call| match call.answer.as_ref().map(|answer| &answer.result) {
        Some(Err(status)) => is_unknown(*status),
        _ => true,
    };
    history
        .calls
        .iter()
        .filter(may_be_done)
        .filter_map(|call| match &call.request {
            Request::Compact(compact) => Some((compact.revision, call.call)),
            _ => None,
        })
        .collect()
}

/// Whether a request names a lease: only such ones can tell whether it is there.
pub fn names_lease(request: &Request, lease: LeaseId) -> bool {
    fn ops(list: &[RequestOp], lease: LeaseId) -> bool {
        list.iter().any(|op| match op {
            RequestOp::Put(put) => put.lease == lease,
            RequestOp::Txn(txn) => ops(&txn.success, lease) || ops(&txn.failure, lease),
            _ => false,
        })
    }
    match request {
        Request::Put(put) => put.lease == lease,
        Request::Txn(txn) => ops(&txn.success, lease) || ops(&txn.failure, lease),
        Request::LeaseGrant(grant) => grant.id == lease,
        Request::LeaseRevoke { id }
        | Request::LeaseKeepAlive { id }
        | Request::LeaseTimeToLive { id, .. } => *id == lease,
        _ => false,
    }
}

/// Moments at which somebody learned of a revision.
struct Sights {
    /// Time, revision, and the life that showed it. By time.
    all: Vec<(Time, i64, usize)>,
    /// For each of `all`, the newest revision seen so far.
    newest: Vec<i64>,
}

impl Sights {
    fn of(history: &ClientHistory) -> Sights {
        let mut all: Vec<(Time, i64, usize)> = Vec::new();
        for call in &history.calls {
            if let (Some(answer), Some(revision)) = (&call.answer, call.revision()) {
                all.push((answer.at, revision, call.place));
            }
        }
        for stream in &history.streams {
            for (at, passed) in &stream.passed {
                if let Passed::Told(response) = passed
                    && response.revision > 0
                {
                    all.push((*at, response.revision, stream.place));
                }
            }
        }
        all.sort_unstable();
        let mut most = 1;
        let newest = all
            .iter()
            .map(|(_, revision, _)| {
                most = most.max(*revision);
                most
            })
            .collect();
        Sights { all, newest }
    }

    /// The newest revision seen by anybody before `time`.
    fn floor(&self, time: Time) -> i64 {
        let before = self.all.partition_point(|(at, ..)| at.order < time.order);
        before.checked_sub(1).map_or(1, |last| self.newest[last])
    }

    /// The newest revision that one life had shown before `time`.
    fn floor_of(&self, place: usize, time: Time) -> i64 {
        let before = self.all.partition_point(|(at, ..)| at.order < time.order);
        let of_place = self.all[..before].iter().filter(|(.., by)| *by == place);
        of_place.map(|(_, revision, _)| *revision).max().unwrap_or(1)
    }
}

/// HashKV of one revision under one compaction is one number, whoever answers and when (HASH-2).
fn check_hashes(history: &ClientHistory) -> Result<(), Conflict> {
    let mut hashes = BTreeMap::new();
    for (index, call) in history.calls.iter().enumerate() {
        let Some(Ok(Response::HashKv { hash, compact_revision, hash_revision, .. })) =
            call.answer.as_ref().map(|answer| &answer.result)
        else {
            continue;
        };
        let (known, first) = *hashes.entry((*hash_revision, *compact_revision)).or_insert((*hash, index));
        if known != *hash {
            let what = format!("the hash of revision {hash_revision} is {known} and {hash}");
            return Err(Conflict::of("blackbox_hash", what, [first, index]));
        }
    }
    Ok(())
}
