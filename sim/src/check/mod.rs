//! The checkers: a history against the oracle, directed by the log.
//!
//! The log gives the order of writes; each acknowledged write is found in it and compared with what the
//! oracle predicts at that place, reads are put into the earliest place that real time and their own
//! revision allow, watches are walked along the events of the log. No search. If the log is what all
//! members agree on, a history that passes is strictly serializable: the log with the reads slotted in is
//! the witness.

pub mod auth;
pub mod lease;
pub mod matching;
pub mod members;
pub mod order;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::base::MemberId;
use holdfast_core::command::RequestId;

use crate::history::{History, Moment};
use crate::oracle::expect::Expected;
use crate::oracle::model::{Decree, Model};

/// Every check of ring 1 by its name, here and in `world`.
pub const NAMES: [&str; 40] = [
    "append",
    "assert",
    "auto_compaction",
    "busy",
    "codec",
    "determinism",
    "durability",
    "election",
    "expect",
    "halt",
    "handover",
    "hash_kv",
    "identity",
    "learner",
    "lease_checkpoint",
    "lease_early",
    "lease_late",
    "lease_remaining",
    "log_matching",
    "members",
    "memory",
    "no_progress",
    "peer",
    "permission",
    "raft",
    "read",
    "real_time",
    "recovery",
    "refusal",
    "replay",
    "reply",
    "script",
    "send",
    "state_hash",
    "state_machine",
    "strict",
    "version",
    "watch",
    "wiped",
    "write",
];

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which checker found it.
    pub check: &'static str,
    pub what: String,
    pub at: Moment,
}

/// What was checked, so that a silent checker shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub writes: u64,
    pub reads: u64,
    pub refusals: u64,
    pub events: u64,
    pub progress: u64,
    /// Watches that were owed a notification within the calm.
    pub silences: u64,
    pub leases: u64,
    pub digests: u64,
    /// Requests and watches that were judged by who asked.
    pub judged: u64,
    /// Answers to requests for a change of the membership.
    pub changes: u64,
    /// Requests without an answer that are in the log after all, and those that are not.
    pub unknown_done: u64,
    pub unknown_lost: u64,
}

impl Checked {
    pub fn add(&mut self, other: &Checked) {
        self.writes += other.writes;
        self.reads += other.reads;
        self.refusals += other.refusals;
        self.events += other.events;
        self.progress += other.progress;
        self.silences += other.silences;
        self.leases += other.leases;
        self.digests += other.digests;
        self.judged += other.judged;
        self.changes += other.changes;
        self.unknown_done += other.unknown_done;
        self.unknown_lost += other.unknown_lost;
    }
}

/// The log folded through the oracle.
pub struct Truth {
    pub model: Model,
    /// What the proposer of each entry must be told; the entry of index i is at i - 1.
    pub expected: Vec<Option<Expected>>,
    /// Entries that take no effect since their request was applied before.
    pub repeats: Vec<bool>,
}

/// Which requests were applied before: each takes effect once, and none of an earlier life behind one of a later.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    ids: BTreeSet<RequestId>,
    newest_epoch: BTreeMap<MemberId, u64>,
}

impl Seen {
    /// Takes the next request of the log; whether it takes no effect.
    pub fn is_repeat(&mut self, id: RequestId) -> bool {
        let newest = self.newest_epoch.entry(id.member).or_insert(id.epoch);
        let is_old = id.epoch < *newest;
        *newest = id.epoch.max(*newest);
        is_old || !self.ids.insert(id)
    }
}

impl Truth {
    pub fn of(history: &History) -> Truth {
        let mut model = Model::default();
        let mut seen = Seen::default();
        let mut repeats = Vec::with_capacity(history.log.len());
        let mut expected = Vec::with_capacity(history.log.len());
        for entry in &history.log {
            let is_repeat = entry.id.is_some_and(|id| seen.is_repeat(id));
            let decree = if is_repeat { &Decree::Nothing } else { &entry.decree };
            expected.push(model.apply_by(entry.term, &entry.by, decree));
            repeats.push(is_repeat);
        }
        Truth { model, expected, repeats }
    }
}

/// Checks a history. Errors: the first broken promise found.
pub fn check(history: &History) -> Result<Checked, Violation> {
    let truth = Truth::of(history);
    let mut checked = Checked::default();
    check_digests(history, &mut checked)?;
    let mut matched = matching::find(history, &truth, &mut checked)?;
    members::find(history, &truth, &mut matched.places, &mut checked)?;
    let floors = order::check(history, &truth, &matched.places, &mut checked)?;
    auth::check(history, &truth, &matched.places, &floors.own, &mut checked)?;
    lease::check(history, &truth, &matched, &floors.all, &mut checked)?;
    watch::check(history, &truth, &mut checked)?;
    Ok(checked)
}

/// State is a function of the log prefix, in every life and on every member.
fn check_digests(history: &History, checked: &mut Checked) -> Result<(), Violation> {
    let mut first = BTreeMap::new();
    for digest in &history.digests {
        let known = first.entry(digest.applied).or_insert(*digest);
        checked.digests += 1;
        if known.hash != digest.hash {
            let what = format!(
                "State after entry {} has digest {:016x} in life {} and {:016x} in life {}",
                digest.applied, known.hash, known.life, digest.hash, digest.life
            );
            return Err(Violation { check: "state_hash", what, at: digest.at });
        }
    }
    Ok(())
}
