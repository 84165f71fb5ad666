//! Steps of the search: what each demands, does, and takes back.

use holdfast_core::base::LeaseId;
use holdfast_core::request::Request;

use super::Conflict;
use super::answer::{decree, fits, is_quiet, may_end_lease, shows};
use super::ground::Op;
use super::history::{Call, Time};
use super::search::{END, Search, Step, Trail, code};
use crate::check::matching::goes_through_log;
use crate::check::order::is_local;
use crate::oracle::expect::Expected;
use crate::oracle::model::Decree;
use crate::rng::mix;

impl Search<'_> {
    /// Takes a step. Errors: why it cannot be taken; nothing has changed then.
    pub(super) fn take(&mut self, step: Step) -> Result<(), Conflict> {
        self.tried += 1;
        let (chain, expired_ns) = (self.chain, self.expired_ns);
        let before = self.model.now().revision();
        let is_applied = match step {
            Step::Required(at) => self.take_op(&self.ground.required[at], true)?,
            Step::Optional(at) => self.take_op(&self.ground.optional[at], false)?,
            Step::Expire(id) => {
                self.expire(id)?;
                true
            }
        };
        let revision = self.model.now().revision();
        if revision > before {
            if let Err(conflict) = self.check_maker(step, revision).and_then(|()| self.check_made(revision)) {
                self.model.undo();
                self.expired_ns = expired_ns;
                return Err(conflict);
            }
            self.chain = mix(self.chain, &code(step).to_le_bytes());
        }
        self.trail.push(Trail { step, is_applied, chain, expired_ns });
        self.note(step, true);
        Ok(())
    }

    /// Places an op; whether the model has an entry for it. Errors: its answer does not fit here.
    fn take_op(&mut self, op: &Op, is_required: bool) -> Result<bool, Conflict> {
        let call = self.call_of(op);
        if op.until.at_ns < self.expired_ns {
            let what = format!(
                "a lease that lasts to {} ns must have run out before {:?} was answered at {} ns",
                self.expired_ns, call.request, op.until.at_ns
            );
            return Err(Conflict::of("blackbox_lease", what, [op.call]));
        }
        let now = self.model.now();
        if now.revision() < op.floor {
            let what = format!("revision {} had been seen before {:?} was asked", op.floor, call.request);
            return Err(Conflict::of("blackbox_real_time", what, [op.call]));
        }
        if !goes_through_log(&call.request) {
            return match fits(&self.model, call, self.ceiling(op)) {
                true => Ok(false),
                false => {
                    let got = call.answer.as_ref().map(|answer| &answer.result);
                    let what =
                        format!("{:?} was answered {got:?} at revision {}", call.request, now.revision());
                    Err(Conflict::of("blackbox_read", what, [op.call]))
                }
            };
        }
        let Some(decree) = decree(call, self.ground.history.terms.ttl_min_s) else {
            let got = call.answer.as_ref().map(|answer| &answer.result);
            let what = format!("{:?} was answered {got:?}", call.request);
            return Err(Conflict::of("blackbox_write", what, [op.call]));
        };
        if let (Request::LeaseRevoke { id }, true) = (&decree, may_end_lease(call)) {
            self.check_lease_is_done(*id, Some(op.call))?;
        }
        let (revision, compact) = (now.revision(), now.compact_revision());
        let expected = self.model.apply(0, &Decree::Request(decree)).expect("a request has an answer");
        let is_right = match &call.answer {
            Some(answer) if is_required => expected.agrees(&call.request, &answer.result),
            _ => self.has_changed(&expected, call, revision, compact),
        };
        if is_right {
            return Ok(true);
        }
        self.model.undo();
        let got = call.answer.as_ref().map(|answer| &answer.result);
        let what = format!(
            "{:?} was answered {got:?}; behind revision {revision} it is {:?}",
            call.request, expected.result
        );
        Err(Conflict::of("blackbox_write", what, [op.call]))
    }

    /// Whether an unanswered write that was just applied did anything: else it need not be placed.
    fn has_changed(&self, expected: &Expected, call: &Call, revision: i64, compact: i64) -> bool {
        let now = self.model.now();
        now.revision() > revision
            || now.compact_revision() != compact
            || (is_quiet(&call.request) && expected.result.is_ok())
    }

    /// The lease ends with its keys, and time has come at least so far as its renewals promised.
    fn expire(&mut self, id: LeaseId) -> Result<(), Conflict> {
        self.check_lease_is_done(id, None)?;
        let renewals = self.ground.leases.get(&id).map_or(&[][..], |lease| &lease.renewals[..]);
        let placed = renewals.iter().filter(|(op, _)| self.is_placed(*op));
        let until_ns = placed.map(|(_, until_ns)| *until_ns).fold(self.expired_ns, u64::max);
        let revision = self.model.now().revision() + 1;
        let seen = self.ground.seen_by.get(revision as usize).copied().unwrap_or(Time::NEVER);
        if until_ns > seen.at_ns {
            let what = format!(
                "lease {id} lasts to {until_ns} ns; it must end before revision {revision}, seen at {} ns",
                seen.at_ns
            );
            let calls: Vec<usize> = renewals.iter().map(|(op, _)| self.ground.required[*op].call).collect();
            return Err(Conflict::of("blackbox_lease", what, calls));
        }
        self.expired_ns = until_ns;
        self.model.apply(0, &Decree::Request(Request::LeaseRevoke { id }));
        Ok(())
    }

    /// A lease does not end, by another than call `by`, before something that found it alive and that no later
    /// grant of its id can explain.
    fn check_lease_is_done(&self, id: LeaseId, by: Option<usize>) -> Result<(), Conflict> {
        let Some(lease) = self.ground.leases.get(&id) else { return Ok(()) };
        let is_explained = |exact: Option<i64>, until: Time| {
            let grants = lease.grants.iter().filter(|grant| !self.is_placed(**grant));
            let mut grants = grants.map(|grant| &self.ground.required[*grant]);
            let unknown = lease.unknown_grants.iter().filter(|grant| !self.is_taken[**grant]);
            let mut unknown = unknown.map(|grant| &self.ground.optional[*grant]);
            grants.any(|grant| {
                grant.from.order <= until.order && exact.is_none_or(|exact| grant.exact <= Some(exact))
            }) || unknown.any(|grant| grant.from.order <= until.order)
        };
        for proof in lease.proofs.iter().filter(|proof| !self.is_placed(**proof)) {
            let op = &self.ground.required[*proof];
            if Some(op.call) != by && !is_explained(op.exact, op.until) {
                let what = format!("lease {id} was alive for {:?}", self.call_of(op).request);
                return Err(Conflict::of("blackbox_lease", what, [op.call]));
            }
        }
        let seen = self.ground.seen_by.get(lease.attached as usize).copied().unwrap_or(Time::NEVER);
        if lease.attached > self.model.now().revision() && !is_explained(Some(lease.attached), seen) {
            let what = format!("lease {id} was alive at revision {}", lease.attached);
            return Err(Conflict::of("blackbox_lease", what, []));
        }
        Ok(())
    }

    /// Who makes a revision does it before anybody sees it.
    fn check_maker(&self, step: Step, revision: i64) -> Result<(), Conflict> {
        if self.due.get(&(revision - 1)).is_some_and(|due| *due > 0) {
            return Err(self.too_late(step, revision - 1));
        }
        let seen = self.ground.seen_by.get(revision as usize).copied().unwrap_or(Time::NEVER);
        let op = match step {
            Step::Required(at) => &self.ground.required[at],
            Step::Optional(at) => &self.ground.optional[at],
            Step::Expire(_) => return Ok(()),
        };
        let call = self.call_of(op);
        if op.from.order >= seen.order || self.expired_ns > seen.at_ns {
            let what = format!(
                "revision {revision} was seen at {seen:?}, {:?} that makes it was asked at {:?}",
                call.request, op.from
            );
            return Err(Conflict::of("blackbox_real_time", what, [op.call]));
        }
        match self.ground.owners.get(&revision) {
            Some(owner) if !matches!(step, Step::Required(at) if at == *owner) => {
                let what = format!("revision {revision} is another's");
                Err(Conflict::of("blackbox_write", what, [op.call, self.ground.required[*owner].call]))
            }
            _ => Ok(()),
        }
    }

    /// Something that was answered at a revision which is over.
    fn too_late(&self, step: Step, revision: i64) -> Conflict {
        let of = |at: usize| &self.ground.required[at];
        let is_due = |at: &usize| of(*at).exact == Some(revision) && !self.is_placed(*at);
        let due = (0..self.ground.required.len()).find(is_due).map(of);
        let what = format!(
            "{:?} was answered at revision {revision} and does not fit before {step:?}",
            due.map(|op| &self.call_of(op).request)
        );
        Conflict::of("blackbox_real_time", what, due.map(|op| op.call).into_iter().collect::<Vec<_>>())
    }

    /// A new revision is what all watches that cover it were told, and what local reads show.
    pub(super) fn check_made(&self, revision: i64) -> Result<(), Conflict> {
        let store = &self.model.store;
        for watched in &self.ground.watched {
            let checked = watched.check(store, revision, &self.ground.compactions);
            checked.map_err(|what| Conflict::of("blackbox_watch", what, []))?;
        }
        let seen = self.ground.facts.check(store, revision);
        seen.map_err(|what| Conflict::of("blackbox_read", what, []))?;
        for index in self.ground.shown.get(&revision).into_iter().flatten() {
            let call = &self.ground.history.calls[*index];
            let result = &call.answer.as_ref().expect("it shows something").result;
            if !shows(&self.model, call, result, revision) {
                let what = format!("{:?} was answered {result:?} at revision {revision}", call.request);
                let check = if is_local(&call.request) { "blackbox_local" } else { "blackbox_read" };
                return Err(Conflict::of(check, what, [*index]));
            }
        }
        Ok(())
    }

    /// The newest revision that can have been there when an op was answered.
    fn ceiling(&self, op: &Op) -> i64 {
        let from = self.model.now().revision();
        let asked_later = |revision: &i64| {
            let owner = self.ground.owners.get(&(revision + 1));
            owner.is_some_and(|owner| self.ground.required[*owner].from.order >= op.until.order)
        };
        (from..self.ground.newest()).find(asked_later).unwrap_or(self.ground.newest().max(from))
    }

    pub(super) fn is_placed(&self, op: usize) -> bool {
        // A placed op is not linked from where it points.
        let before = self.before[op];
        let link = if before == END { self.head } else { self.next[before] };
        link != op
    }

    pub(super) fn take_back(&mut self) {
        let Trail { step, is_applied, chain, expired_ns } = self.trail.pop().expect("there is a step");
        if is_applied {
            self.model.undo();
        }
        (self.chain, self.expired_ns) = (chain, expired_ns);
        self.note(step, false);
    }

    /// Links an op out of those that are not placed, or in again: in the reverse order of the way out.
    fn note(&mut self, step: Step, is_placed: bool) {
        match step {
            Step::Required(at) => {
                let (before, next) = (self.before[at], self.next[at]);
                let (forward, back) = if is_placed { (next, before) } else { (at, at) };
                if before == END {
                    self.head = forward
                } else {
                    self.next[before] = forward
                }
                if next != END {
                    self.before[next] = back;
                }
                self.left = if is_placed { self.left - 1 } else { self.left + 1 };
                if let Some(exact) = self.ground.required[at].exact {
                    let due = self.due.get_mut(&exact).expect("counted when it was read");
                    *due = if is_placed { *due - 1 } else { *due + 1 };
                }
            }
            Step::Optional(at) => self.is_taken[at] = is_placed,
            Step::Expire(_) => return,
        }
        self.placed ^= mix(1, &code(step).to_le_bytes());
    }
}
