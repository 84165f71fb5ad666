//! The slow judge of the checkers: every order of a small history is tried as it stands, and what must be true
//! of time, watches and local reads is looked at when an order is whole. No bounds, no memory, no guidance.

use holdfast_core::base::LeaseId;
use holdfast_core::request::{Request, Response};
use holdfast_core::status::Status;

use super::Counted;
use super::answer::{decree, fits, shows};
use super::history::{Call, ClientHistory, Passed, Time};
use super::watch::{self, Watched};
use crate::check::matching::{goes_through_log, is_overload, is_unknown};
use crate::check::order::is_local;
use crate::oracle::model::{Decree, Model};
use crate::oracle::refuse::static_refusal;

/// Calls that a history may have at most.
pub const CALLS_MAX: usize = 14;
const SECOND_NS: f64 = 1e9;
/// Granularity of a member's clock.
const GRAIN_NS: f64 = 1e6;

/// What was put into the order, and the revision right after it.
#[derive(Clone, Copy)]
struct Placed {
    what: What,
    revision: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Call(usize),
    End(LeaseId),
}

struct Brute<'a> {
    history: &'a ClientHistory,
    /// Calls to be placed, and whether each must be.
    calls: Vec<(usize, bool)>,
    watched: Vec<Watched>,
    compactions: Vec<(i64, Time)>,
    newest: i64,
    order: Vec<Placed>,
    model: Model,
}

/// Whether there is an order that explains a history of at most `CALLS_MAX` calls.
pub fn is_explained(history: &ClientHistory) -> bool {
    assert!(history.calls.len() <= CALLS_MAX, "{} calls are too many to try all orders", history.calls.len());
    let mut calls = Vec::new();
    let mut compactions = Vec::new();
    for (index, call) in history.calls.iter().enumerate() {
        let got = call.answer.as_ref().map(|answer| &answer.result);
        if let Some(status) = static_refusal(&call.request, history.terms.txn_ops_max) {
            match got {
                None => {}
                Some(Err(got)) if *got == status || is_unknown(*got) || is_overload(*got) => {}
                Some(_) => return false,
            }
            continue;
        }
        let is_known = got.is_some_and(|got| !got.as_ref().is_err_and(|status| is_unknown(*status)));
        let is_out = got.is_some_and(|got| got.as_ref().is_err_and(|status| is_overload(*status)));
        if let (Request::Compact(compact), false) =
            (&call.request, is_known && got.is_some_and(Result::is_err))
        {
            compactions.push((compact.revision, call.call));
        }
        if !is_out && !is_local(&call.request) && (is_known || goes_through_log(&call.request)) {
            calls.push((index, is_known));
        }
    }
    let Ok(mut watched) = watch::walk(history, &compactions, &mut Counted::default()) else { return false };
    let newest = sights(history).map(|(_, revision)| revision).max().unwrap_or(1).max(1);
    for watch in &mut watched {
        watch.end_at(newest);
    }
    let order = Vec::new();
    Brute { history, calls, watched, compactions, newest, order, model: Model::default() }.extend()
}

/// When somebody learned of a revision.
fn sights(history: &ClientHistory) -> impl Iterator<Item = (Time, i64)> {
    let answers = history.calls.iter().filter_map(|call| Some((call.answer.as_ref()?.at, call.revision()?)));
    let told =
        history.streams.iter().flat_map(|stream| &stream.passed).filter_map(|(at, passed)| match passed {
            Passed::Told(response) if response.revision > 0 => Some((*at, response.revision)),
            _ => None,
        });
    answers.chain(told)
}

impl Brute<'_> {
    /// Whether the order so far is, or can become, one that explains everything.
    fn extend(&mut self) -> bool {
        let open: Vec<(usize, bool)> = self.calls.iter().copied().filter(|(c, _)| !self.has(*c)).collect();
        if open.iter().all(|(_, must)| !must) && self.is_whole() {
            return true;
        }
        for (call, must) in &open {
            let asked = self.history.calls[*call].call.order;
            let returned_before = |(other, must): &(usize, bool)| *must && self.until(*other).order < asked;
            if open.iter().any(returned_before) {
                continue;
            }
            if self.place(*call, *must) {
                if self.extend() {
                    return true;
                }
                self.take_back();
            }
        }
        for id in self.model.now().leases() {
            self.model.apply(0, &Decree::Request(Request::LeaseRevoke { id }));
            self.order.push(Placed { what: What::End(id), revision: self.model.now().revision() });
            if self.extend() {
                return true;
            }
            self.take_back();
        }
        false
    }

    fn has(&self, call: usize) -> bool {
        self.order.iter().any(|placed| placed.what == What::Call(call))
    }

    fn until(&self, call: usize) -> Time {
        self.history.calls[call].answer.as_ref().map_or(Time::NEVER, |answer| answer.at)
    }

    /// Puts a call behind all others; false if its answer is not true there.
    fn place(&mut self, index: usize, must: bool) -> bool {
        let call = &self.history.calls[index];
        if goes_through_log(&call.request) {
            let Some(decree) = decree(call, self.history.terms.ttl_min_s) else { return false };
            let expected = self.model.apply(0, &Decree::Request(decree)).expect("a request has an answer");
            let got = call.answer.as_ref().map(|answer| &answer.result);
            if must && !got.is_some_and(|got| expected.agrees(&call.request, got)) {
                self.model.undo();
                return false;
            }
        } else if fits(&self.model, call, i64::MAX) {
            self.model.apply(0, &Decree::Nothing);
        } else {
            return false;
        }
        self.order.push(Placed { what: What::Call(index), revision: self.model.now().revision() });
        true
    }

    fn take_back(&mut self) {
        self.order.pop();
        self.model.undo();
    }

    fn is_whole(&self) -> bool {
        self.model.now().revision() >= self.newest
            && self.is_seen_in_time()
            && self.no_lease_ends_early()
            && self.watched.iter().all(|watched| {
                let mut revisions = 1..=self.model.now().revision();
                revisions.all(|r| watched.check(&self.model.store, r, &self.compactions).is_ok())
            })
            && self.local_reads_are_true()
    }

    /// Nothing is seen before who made it asked, and nothing asked behind that comes before it.
    fn is_seen_in_time(&self) -> bool {
        let mut before = 1;
        self.order.iter().all(|Placed { what, revision }| {
            let makes = (*revision > before).then_some(*revision);
            let at_start = before;
            before = *revision;
            let What::Call(call) = what else { return true };
            let asked = self.history.calls[*call].call.order;
            sights(self.history).all(|(at, seen)| {
                let is_too_early = makes.is_some_and(|made| made <= seen) && at.order <= asked;
                let is_too_late = at.order < asked && at_start < seen;
                !is_too_early && !is_too_late
            })
        })
    }

    /// What comes behind the end of a lease was answered or seen when its time was over.
    fn no_lease_ends_early(&self) -> bool {
        (0..self.order.len()).all(|end| {
            let What::End(id) = self.order[end].what else { return true };
            let before = end.checked_sub(1).map_or(1, |last| self.order[last].revision);
            let until_ns = self.order[..end].iter().filter_map(|placed| match placed.what {
                What::Call(call) => self.promise(&self.history.calls[call], id),
                What::End(_) => None,
            });
            let Some(until_ns) = until_ns.max().filter(|_| self.grants(id) == 1) else { return true };
            let behind = self.order[end + 1..].iter().all(|placed| match placed.what {
                What::Call(call) => self.until(call).at_ns >= until_ns,
                What::End(_) => true,
            });
            behind && sights(self.history).all(|(at, seen)| seen <= before || at.at_ns >= until_ns)
        })
    }

    /// Until when a lease lives by the word of an answer.
    fn promise(&self, call: &Call, lease: LeaseId) -> Option<u64> {
        let (Response::LeaseGrant { id, ttl, .. } | Response::LeaseKeepAlive { id, ttl, .. }) =
            call.answer.as_ref()?.result.as_ref().ok()?
        else {
            return None;
        };
        let lives_ns = *ttl as f64 * SECOND_NS * (1.0 - self.history.terms.drift) - GRAIN_NS;
        (*id == lease && *ttl > 0).then(|| call.call.at_ns + lives_ns as u64)
    }

    /// How many leases of this id there may have been.
    fn grants(&self, lease: LeaseId) -> usize {
        let is_one = |call: &&Call| match (&call.request, call.answer.as_ref().map(|answer| &answer.result)) {
            (Request::LeaseGrant(_), Some(Ok(Response::LeaseGrant { id, .. }))) => *id == lease,
            (Request::LeaseGrant(_), Some(Err(status))) if *status == Status::LeaseExist => false,
            (Request::LeaseGrant(grant), _) => grant.id == lease,
            _ => false,
        };
        self.history.calls.iter().filter(is_one).count()
    }

    fn local_reads_are_true(&self) -> bool {
        self.history.calls.iter().filter(|call| is_local(&call.request)).all(|call| {
            let (Some(answer), Some(revision)) = (&call.answer, call.revision()) else { return true };
            let is_before = |at: Time| at.order < call.call.order;
            let answered =
                self.history.calls.iter().filter(|other| other.place == call.place).filter_map(|other| {
                    other.answer.as_ref().filter(|answer| is_before(answer.at)).and_then(|_| other.revision())
                });
            let streams = self.history.streams.iter().filter(|stream| stream.place == call.place);
            let told = streams.flat_map(|stream| &stream.passed).filter_map(|(at, passed)| match passed {
                Passed::Told(response) if is_before(*at) => Some(response.revision),
                _ => None,
            });
            let own = answered.chain(told);
            let at = match &call.request {
                Request::Range(range) if range.revision > 0 => range.revision,
                _ => revision,
            };
            own.max().is_none_or(|own| revision >= own)
                && at <= revision
                && shows(&self.model, call, &answer.result, at)
        })
    }
}
