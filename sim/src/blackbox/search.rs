//! The search for an order, from the first revision on, depth first, with memory of states that failed.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::base::LeaseId;
use holdfast_core::request::{LeaseGrantRequest, Request};
use holdfast_core::status::Status;

use super::answer::is_quiet;
use super::ground::{Class, Ground, Op, names_lease};
use super::history::{Call, Time};
use super::{Conflict, Counted, Verdict};
use crate::oracle::model::Model;
use crate::oracle::store::Store;
use crate::rng::{Rng, mix};

/// Attempts before the search is given up. Each begins anew with the guesses in another order and may try
/// twice as many steps as the one before; states that failed are remembered throughout.
const ATTEMPTS: u32 = 8;
/// Steps that the first attempt may try, and so many more for each op.
const TRIES: (u64, u64) = (1000, 4);
/// No op: end of the list of ops that are not placed.
pub(super) const END: usize = usize::MAX;

/// Something that can come next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Required(usize),
    Optional(usize),
    /// The lease runs out.
    Expire(LeaseId),
}

/// What a step changed, to take it back.
pub(super) struct Trail {
    pub(super) step: Step,
    pub(super) is_applied: bool,
    pub(super) chain: u64,
    pub(super) expired_ns: u64,
}

/// A state in which there is a choice.
struct Frame {
    /// Length of the trail before the state was settled, to which a failure goes back.
    back_to: usize,
    options: Vec<Step>,
    next: usize,
    key: Key,
}

/// What the future of a state depends on: what is placed, how the revisions came about, what has none.
type Key = (u64, u64, i64, u64, u64);

/// A state under construction.
pub(super) struct Search<'a> {
    pub(super) ground: &'a Ground<'a>,
    pub(super) model: Model,
    /// Required ops that are not placed, by `from`: links to the next and the one before; `END` is at `heads`.
    pub(super) next: Vec<usize>,
    pub(super) before: Vec<usize>,
    pub(super) head: usize,
    pub(super) is_taken: Vec<bool>,
    pub(super) left: usize,
    /// Of them, those that leave the database at each revision.
    pub(super) due: BTreeMap<i64, u64>,
    pub(super) trail: Vec<Trail>,
    /// Of what is placed, in any order.
    pub(super) placed: u64,
    /// Of the steps that made revisions, in order.
    pub(super) chain: u64,
    /// No moment before this one is left: a lease ran out that lasted until then.
    pub(super) expired_ns: u64,
    failed: BTreeSet<Key>,
    pub(super) tried: u64,
    attempt: u32,
    /// For the order of guesses.
    guess: Rng,
    /// What stood in the way where the search got furthest.
    obstacles: (usize, Vec<Conflict>),
    counted: Counted,
}

/// Searches; with the order if there is one.
pub fn search(ground: &Ground<'_>, counted: Counted) -> (Verdict, Option<Explained>) {
    let mut search = Search::new(ground, counted);
    let verdict = search.run();
    let explained = matches!(verdict, Verdict::Ok(_)).then(|| search.explain());
    (verdict, explained)
}

/// An order that explains a history.
pub struct Explained {
    pub store: Store,
    /// The call that made each revision from 2 on; `None`: a lease ran out.
    pub made_by: BTreeMap<i64, Option<usize>>,
}

impl<'a> Search<'a> {
    fn new(ground: &'a Ground<'a>, counted: Counted) -> Search<'a> {
        let count = ground.required.len();
        Search {
            ground,
            model: Model::default(),
            next: (1..=count).map(|i| if i == count { END } else { i }).collect(),
            before: (0..count).map(|i| i.checked_sub(1).unwrap_or(END)).collect(),
            head: if count == 0 { END } else { 0 },
            is_taken: vec![false; ground.optional.len()],
            left: count,
            due: ground.due.clone(),
            trail: Vec::new(),
            placed: 0,
            chain: 0,
            expired_ns: 0,
            failed: BTreeSet::new(),
            tried: 0,
            attempt: 0,
            guess: Rng::new(0),
            obstacles: (0, Vec::new()),
            counted,
        }
    }

    fn run(&mut self) -> Verdict {
        if let Err(conflict) = self.check_made(1) {
            return Verdict::Violation(conflict);
        }
        let ops = self.ground.required.len() + self.ground.optional.len();
        let first = TRIES.0 + TRIES.1 * ops as u64;
        for attempt in 0..ATTEMPTS {
            self.guess = Rng::new(u64::from(attempt));
            self.attempt = attempt;
            self.tried = 0;
            if let Some(verdict) = self.attempt(first << attempt) {
                return verdict;
            }
            self.back_to(0);
        }
        let obstacle = self.verdict();
        let (newest, left) = (self.ground.newest(), self.ground.required.len());
        let why = format!(
            "no order of {left} ops up to revision {newest} was found in {ATTEMPTS} attempts; in the way: {obstacle}"
        );
        Verdict::Undecided { why }
    }

    /// Searches from the first revision on; `None` if `most` steps do not suffice.
    fn attempt(&mut self, most: u64) -> Option<Verdict> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut back_to = 0;
        loop {
            let is_alive = self.settle();
            if is_alive && self.left == 0 && self.model.now().revision() >= self.ground.newest() {
                return Some(Verdict::Ok(self.tally()));
            }
            let key = self.key();
            let options = match is_alive && !self.failed.contains(&key) {
                true => self.options(),
                false => Vec::new(),
            };
            frames.push(Frame { back_to, options, next: 0, key });
            if !self.advance(&mut frames) {
                return Some(Verdict::Violation(self.verdict()));
            }
            back_to = self.trail.len() - 1;
            if self.tried > most {
                return None;
            }
        }
    }

    /// Takes the next step that can be taken, going back as far as needed; false if there is none.
    fn advance(&mut self, frames: &mut Vec<Frame>) -> bool {
        while let Some(frame) = frames.last_mut() {
            let Some(step) = frame.options.get(frame.next).copied() else {
                let Frame { back_to, key, .. } = frames.pop().expect("just seen");
                self.failed.insert(key);
                self.back_to(back_to);
                continue;
            };
            frame.next += 1;
            match self.take(step) {
                Ok(()) => return true,
                Err(conflict) => self.obstacle(conflict),
            }
        }
        false
    }

    fn back_to(&mut self, length: usize) {
        while self.trail.len() > length {
            self.counted.taken_back += 1;
            self.take_back();
        }
    }

    /// Places all that changes nothing and fits; false if something can never fit any more.
    fn settle(&mut self) -> bool {
        let mut is_moving = true;
        while is_moving {
            is_moving = false;
            let revision = self.model.now().revision();
            let mut until = Time::NEVER;
            let mut at = self.head;
            while at != END {
                let (op, following) = (&self.ground.required[at], self.next[at]);
                if op.from.order > until.order {
                    break;
                }
                if op.exact.is_some_and(|exact| exact < revision) {
                    let call = &self.ground.history.calls[op.call];
                    let what =
                        format!("{:?} was answered at {:?}, too late for that", call.request, op.exact);
                    self.obstacle(Conflict::of("blackbox_real_time", what, [op.call]));
                    return false;
                }
                let is_now = op.exact.is_none_or(|exact| exact == revision);
                if op.class == Class::Pure && is_now {
                    match self.take(Step::Required(at)) {
                        Ok(()) => {
                            is_moving = true;
                            at = following;
                            continue;
                        }
                        Err(conflict) => self.obstacle(conflict),
                    }
                }
                until = until.min(op.until);
                at = following;
            }
        }
        true
    }

    /// What can come next and changes something, the likeliest first.
    fn options(&mut self) -> Vec<Step> {
        let revision = self.model.now().revision();
        let owner = self.ground.owners.get(&(revision + 1)).copied();
        let mut until = Time::NEVER;
        let (mut options, mut waiting) = (Vec::new(), Vec::new());
        let mut owner_is_near = false;
        let mut at = self.head;
        while at != END {
            let op = &self.ground.required[at];
            if op.from.order > until.order {
                break;
            }
            waiting.push(op);
            let is_now = op.exact == Some(revision) || (op.exact == Some(revision + 1) && owner.is_none());
            if op.class == Class::Quiet && is_now {
                options.push(Step::Required(at));
            }
            owner_is_near |= owner == Some(at);
            until = until.min(op.until);
            at = self.next[at];
        }
        options.extend(owner.filter(|_| owner_is_near).map(Step::Required));
        let open: Vec<usize> = (0..self.ground.optional.len())
            .filter(|o| !self.is_taken[*o] && self.ground.optional[*o].from.order <= until.order)
            .collect();
        let is_over = revision >= self.ground.newest() && waiting.iter().all(|op| op.exact.is_some());
        let is_open = owner.is_none() && !is_over;
        if is_open {
            let mut guesses = self.guesses(&open);
            if self.attempt > 0 {
                shuffle(&mut guesses, &mut self.guess);
            }
            options.append(&mut guesses);
        }
        options.extend(self.silent(&open, &waiting, is_open));
        options
    }

    /// What can make a revision of which no answer says whose it is.
    fn guesses(&self, open: &[usize]) -> Vec<Step> {
        let may_make = |o: &&usize| match &self.call_of(&self.ground.optional[**o]).request {
            Request::LeaseRevoke { id } => self.has_keys(*id),
            request => !is_quiet(request),
        };
        let leases = self.model.now().leases().into_iter().filter(|id| self.has_keys(*id));
        open.iter().filter(may_make).map(|o| Step::Optional(*o)).chain(leases.map(Step::Expire)).collect()
    }

    /// What makes no revision and that nobody was told of. It can wait until it matters to somebody: to a call
    /// that waits for its place, or, where a revision is open, to an unanswered one that may have made it.
    fn silent(&self, open: &[usize], waiting: &[&Op], is_open: bool) -> Vec<Step> {
        let request = |o: usize| &self.call_of(&self.ground.optional[o]).request;
        let matters = |lease: LeaseId| {
            waiting.iter().any(|op| names_lease(&self.call_of(op).request, lease))
                || (is_open && open.iter().any(|o| !is_quiet(request(*o)) && names_lease(request(*o), lease)))
        };
        let asks_of_compaction = waiting.iter().any(|op| self.asks_of_compaction(op));
        let may_matter = |o: &&usize| match request(**o) {
            Request::LeaseGrant(LeaseGrantRequest { id, .. }) => matters(*id),
            Request::LeaseRevoke { id } => !self.has_keys(*id) && matters(*id),
            Request::Compact(_) => asks_of_compaction,
            _ => false,
        };
        let leases = self.model.now().leases().into_iter();
        let ended = leases.filter(|id| matters(*id) && !self.has_keys(*id));
        open.iter().filter(may_matter).map(|o| Step::Optional(*o)).chain(ended.map(Step::Expire)).collect()
    }

    fn has_keys(&self, lease: LeaseId) -> bool {
        !self.model.now().keys_of_lease(lease).is_empty()
    }

    pub(super) fn call_of(&self, op: &Op) -> &'a Call {
        &self.ground.history.calls[op.call]
    }

    /// Whether the answer of an op can rest on a compaction.
    fn asks_of_compaction(&self, op: &Op) -> bool {
        let call = self.call_of(op);
        let is_refused = call.answer.as_ref().is_some_and(|a| a.result == Err(Status::Compacted));
        is_refused || matches!(call.request, Request::Compact(_))
    }

    fn key(&self) -> Key {
        let now = self.model.now();
        let leases = now.leases().into_iter().fold(0, |sum, id| {
            let ttl = now.lease(id).unwrap_or(0);
            mix(mix(sum, &id.0.to_le_bytes()), &ttl.to_le_bytes())
        });
        (self.placed, self.chain, now.compact_revision(), leases, self.expired_ns)
    }

    /// Keeps what stood in the way where the search got furthest.
    fn obstacle(&mut self, conflict: Conflict) {
        let depth = self.trail.len();
        if depth > self.obstacles.0 {
            self.obstacles = (depth, Vec::new());
        }
        if depth == self.obstacles.0 && !self.obstacles.1.contains(&conflict) {
            self.obstacles.1.push(conflict);
        }
    }

    /// What to tell of a history that no order explains.
    fn verdict(&mut self) -> Conflict {
        let (_, obstacles) = std::mem::take(&mut self.obstacles);
        let mut obstacles = obstacles.into_iter();
        match obstacles.next() {
            Some(mut first) => {
                let others: Vec<Conflict> = obstacles.take(3).collect();
                for other in &others {
                    first.what.push_str("; or ");
                    first.what.push_str(&other.what);
                }
                first.calls.extend(others.into_iter().flat_map(|other| other.calls));
                first.calls.dedup();
                first
            }
            None => {
                Conflict::of("blackbox_nobody", "a revision that was seen is nobody's doing".to_owned(), [])
            }
        }
    }

    fn explain(self) -> Explained {
        let mut made_by = BTreeMap::new();
        let (mut position, mut revision) = (0, 1);
        for trail in self.trail.iter().filter(|trail| trail.is_applied) {
            position += 1;
            let now = self.model.at(position).revision();
            if now > revision {
                let op = match trail.step {
                    Step::Required(at) => Some(&self.ground.required[at]),
                    Step::Optional(at) => Some(&self.ground.optional[at]),
                    Step::Expire(_) => None,
                };
                made_by.insert(now, op.map(|op| op.call));
            }
            revision = now;
        }
        Explained { store: self.model.store, made_by }
    }

    fn tally(&self) -> Counted {
        let mut counted = self.counted;
        for trail in &self.trail {
            match trail.step {
                Step::Required(_) => {}
                Step::Optional(_) => counted.unknown_done += 1,
                Step::Expire(_) => counted.expired += 1,
            }
        }
        counted
    }
}

fn shuffle(steps: &mut [Step], rng: &mut Rng) {
    for end in (1..steps.len()).rev() {
        steps.swap(end, rng.below(end as u64 + 1) as usize);
    }
}

/// A number for a step, other than every other's.
pub(super) fn code(step: Step) -> u128 {
    match step {
        Step::Required(at) => at as u128,
        Step::Optional(at) => (1 << 64) | at as u128,
        Step::Expire(id) => (2 << 64) | u128::from(id.0 as u64),
    }
}
