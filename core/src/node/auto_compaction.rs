//! Compaction that nobody asks for: the leader forgets what is older than it is told to keep.
//!
//! Every member takes samples of its revision, so that whoever comes to lead knows what was there a while ago; only
//! a leader proposes. A sample may be of a moment ago where the log is behind, never of a later one: what is younger
//! than the retention stays.
//!
//! Source: etcd 3.7.1 server/etcdserver/api/v3compactor/{periodic,revision}.go.

use std::collections::VecDeque;

use super::Node;
use crate::base::Instant;
use crate::boundary::{Effect, Note};
use crate::command::Action;

/// What is kept (`--auto-compaction-mode`, `--auto-compaction-retention`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// What is younger than this.
    Periodic { retention_ns: u64 },
    /// So many revisions; looked at each `every_ns`.
    Revision { retention: i64, every_ns: u64 },
}

/// Pause between two looks at revisions kept by number.
pub const REVISION_INTERVAL_NS: u64 = 300 * 1_000_000_000;

/// Longest pause between two compactions of what is too old.
const PERIOD_NS_MAX: u64 = 3600 * 1_000_000_000;

/// Samples in a period, also how soon a compaction that failed is tried again.
const SAMPLES_IN_A_PERIOD: u64 = 10;

impl AutoCompaction {
    /// Pause between two looks.
    fn interval_ns(self) -> u64 {
        match self {
            AutoCompaction::Periodic { retention_ns } => {
                (retention_ns.min(PERIOD_NS_MAX) / SAMPLES_IN_A_PERIOD).max(1)
            }
            AutoCompaction::Revision { every_ns, .. } => every_ns,
        }
    }

    /// Samples from the oldest that is needed to the newest.
    fn samples_max(self) -> usize {
        match self {
            AutoCompaction::Periodic { retention_ns } => (retention_ns / self.interval_ns()) as usize + 1,
            AutoCompaction::Revision { .. } => 1,
        }
    }
}

/// When to compact, and at what.
#[derive(Debug)]
pub(super) struct AutoCompactor {
    policy: AutoCompaction,
    /// The next look is due.
    due: Instant,
    /// Revisions at the looks before, oldest first.
    samples: VecDeque<i64>,
    /// Since when nothing was compacted: the first time, since we began to look.
    idle_since: Instant,
    /// Time that must have passed since.
    wait_ns: u64,
    /// What was compacted last.
    last: i64,
    /// Proposed at the look before.
    asked: Option<i64>,
}

impl AutoCompactor {
    pub fn new(policy: AutoCompaction, now: Instant, revision: i64) -> AutoCompactor {
        let wait_ns = match policy {
            // The first sample must get old enough.
            AutoCompaction::Periodic { retention_ns } => retention_ns,
            AutoCompaction::Revision { .. } => 0,
        };
        let due = now.plus_ns(policy.interval_ns());
        let samples = VecDeque::from([revision]);
        AutoCompactor { policy, due, samples, idle_since: now, wait_ns, last: 0, asked: None }
    }

    /// The revision to compact at, if there is one and `leads`. `compacted`: the present compact revision.
    fn look(&mut self, now: Instant, leads: bool, revision: i64, compacted: i64) -> Option<i64> {
        if now < self.due {
            return None;
        }
        self.due = now.plus_ns(self.policy.interval_ns());
        if let Some(asked) = self.asked.take()
            && compacted >= asked
        {
            self.on_compacted(now, asked);
        }
        let oldest = match self.policy {
            AutoCompaction::Periodic { .. } => self.samples[0],
            AutoCompaction::Revision { retention, .. } => revision - retention,
        };
        self.samples.push_back(revision);
        if self.samples.len() > self.policy.samples_max() {
            self.samples.pop_front();
        }
        let is_time = leads && now.since_ns(self.idle_since) >= self.wait_ns;
        if !is_time || oldest <= 0 || oldest == self.last {
            return None;
        }
        if let AutoCompaction::Periodic { retention_ns } = self.policy {
            self.wait_ns = retention_ns.min(PERIOD_NS_MAX);
        }
        if compacted >= oldest {
            // Somebody else has done it.
            self.on_compacted(now, oldest);
            return None;
        }
        self.asked = Some(oldest);
        self.asked
    }

    fn on_compacted(&mut self, now: Instant, revision: i64) {
        (self.last, self.idle_since) = (revision, now);
    }
}

impl Node {
    /// Proposes a compaction when one is due.
    pub(super) fn tend_history(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(compactor) = &mut self.auto_compactor else { return };
        let leads = self.consensus.is_leader();
        let (revision, compacted) = (self.state.kv.revision(), self.state.kv.compact_revision());
        let Some(revision) = compactor.look(now, leads, revision, compacted) else { return };
        let counter = self.proposals.next_counter();
        effects.push(Effect::Note(Note::AutoCompaction { revision, counter }));
        self.propose_as_leader(now, Action::Compact { revision });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Looks each tenth of a second while the revision rises by one each; what was compacted when.
    fn compactions(policy: AutoCompaction, seconds: u64, leads: impl Fn(u64) -> bool) -> Vec<(u64, i64)> {
        let mut compactor = AutoCompactor::new(policy, Instant(0), 1);
        let (mut compacted, mut found) = (-1, Vec::new());
        for tenth in 1..seconds * 10 {
            let now = Instant(tenth * SECOND / 10);
            if let Some(revision) = compactor.look(now, leads(tenth), 1 + tenth as i64, compacted) {
                assert!(revision > compacted);
                compacted = revision;
                found.push((tenth, revision));
            }
        }
        found
    }

    #[test]
    fn what_is_younger_than_the_period_is_kept() {
        let policy = AutoCompaction::Periodic { retention_ns: 10 * SECOND };
        let found = compactions(policy, 60, |_| true);
        // As etcd: first after a period, then once a period; each at what was there a period ago or before.
        assert_eq!(found.len(), 5);
        assert!(found[0].0 >= 100);
        for (tenth, revision) in found {
            let age_tenths = tenth as i64 - (revision - 1);
            assert!((100..=110).contains(&age_tenths), "{revision} at {tenth}");
        }
    }

    #[test]
    fn long_periods_are_compacted_every_hour() {
        let policy = AutoCompaction::Periodic { retention_ns: 24 * 3600 * SECOND };
        assert_eq!(policy.interval_ns(), 360 * SECOND);
        assert_eq!(policy.samples_max(), 241);
    }

    #[test]
    fn revisions_are_kept_by_number() {
        let policy = AutoCompaction::Revision { retention: 30, every_ns: 5 * SECOND };
        assert_eq!(compactions(policy, 16, |_| true), [(50, 21), (100, 71), (150, 121)]);
    }

    #[test]
    fn who_comes_to_lead_knows_what_was_there_before() {
        let policy = AutoCompaction::Periodic { retention_ns: 10 * SECOND };
        let found = compactions(policy, 40, |tenth| tenth > 305);
        assert_eq!(found[0].0, 310, "at the first look in office");
        assert!(found[0].1 >= 200, "what is older than a period goes, whoever led then");
    }

    /// A proposal that is lost is made again at the next look, not a period later.
    #[test]
    fn what_did_not_come_through_is_tried_again() {
        let policy = AutoCompaction::Periodic { retention_ns: 10 * SECOND };
        let mut compactor = AutoCompactor::new(policy, Instant(0), 5);
        let mut asked = Vec::new();
        for second in 1..=13 {
            let now = Instant(second * SECOND);
            asked.extend(compactor.look(now, true, 5, -1).map(|revision| (second, revision)));
        }
        assert_eq!(asked, [(10, 5), (11, 5), (12, 5), (13, 5)]);
        assert_eq!(compactor.look(Instant(14 * SECOND), true, 5, 5), None, "it was done");
    }
}
