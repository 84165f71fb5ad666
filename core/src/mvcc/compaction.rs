//! Physical removal of what a compaction made unreadable, in slices.
//!
//! A pass over the index in key order. A subtree without a change since the compaction before has nothing to
//! remove and is passed over, so that a pass costs as much as there was written, not as much as there is; and
//! what is met is met in the order in which it lies in memory, but for the removed records themselves.

use super::record::{Record, Rev};
use super::walk::Step;
use super::{Mvcc, Resume};
use crate::base::{Key, KeyRange};

/// Keys trimmed between two walks.
const BATCH_KEYS_MAX: usize = 64;

/// The compact revision, and how far the removal of what lies below is.
#[derive(Debug)]
pub(super) struct Compaction {
    /// -1 if there was never a compaction.
    revision: i64,
    /// Everything that a compaction at this revision removes is gone.
    finished: i64,
    pass: Option<Pass>,
}

/// A pass over the index. Its target stays, even if the store is compacted further meanwhile: else a pass
/// that is interrupted again and again would never reach the last keys.
#[derive(Debug)]
struct Pass {
    target: i64,
    /// Where it goes on; `None`: at the first key.
    resume: Option<Resume>,
}

impl Compaction {
    /// At `revision`, with everything removed that has to be.
    pub fn finished(revision: i64) -> Compaction {
        Compaction { revision, finished: revision, pass: None }
    }

    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Whether what lies in history at or below `revision` is just what a compaction there leaves.
    pub fn is_finished_at(&self, revision: i64) -> bool {
        self.finished == revision && self.pass.is_none()
    }
}

impl Mvcc {
    /// The revision below which nothing can be read; -1 if there was never a compaction.
    pub fn compact_revision(&self) -> i64 {
        self.compaction.revision
    }

    /// Compacts at `rev`, which lies above the last compact revision and not above the current one (CMP-3).
    /// Takes effect at once; what became unreadable is removed by `compact_step`.
    pub fn compact(&mut self, rev: i64) {
        assert!(rev > self.compaction.revision, "compact revisions rise");
        assert!(rev <= self.revision, "the future is not compacted");
        self.compaction.revision = rev;
    }

    /// Whether removal has work left.
    pub fn is_compacting(&self) -> bool {
        self.compaction.finished < self.compaction.revision
    }

    /// Whether everything that a compaction at `compact_revision` removes is gone, and no more than that.
    pub fn is_compacted_at(&self, compact_revision: i64) -> bool {
        self.compaction.is_finished_at(compact_revision)
    }

    /// Whether a compaction at `compact_revision` leaves `record`, which is no tombstone at that very revision
    /// (older members removed those). `is_clean`: what `is_compacted_at` says.
    pub(crate) fn is_kept(&self, record: &Record, compact_revision: i64, is_clean: bool) -> bool {
        if record.main > compact_revision {
            return true;
        }
        if record.is_tombstone() {
            return false;
        }
        let newest = || self.index.get(&record.key)?.at(compact_revision);
        is_clean || newest().is_some_and(|newest| newest.rev() == record.rev())
    }

    /// Removes more of what the compaction made unreadable; true if nothing is left to do.
    /// Work: one a key or subtree met, and one a record removed.
    pub fn compact_step(&mut self, work: &mut u32) -> bool {
        while self.is_compacting() {
            if *work == 0 {
                return false;
            }
            let target = self.compaction.revision;
            let pass = self.compaction.pass.take().unwrap_or(Pass { target, resume: None });
            let (keys, mut resume) = self.find_superfluous(&pass, work);
            for key in keys {
                // Met in the walk, so paid for already; a slice may end inside a key with a long history.
                if !self.trim(&key, pass.target, (*work).max(1) as usize, work) {
                    resume = Some(Resume { key, after: false });
                    break;
                }
            }
            match resume {
                Some(_) => self.compaction.pass = Some(Pass { target: pass.target, resume }),
                None => self.compaction.finished = pass.target,
            }
        }
        true
    }

    /// Removes everything of `key` that a compaction at the compact revision removes.
    pub(super) fn trim_restored(&mut self, key: &[u8]) {
        self.trim(key, self.compaction.revision, usize::MAX, &mut 0);
    }

    /// The next keys of which something has to be removed, and where to go on behind them (`None`: all met).
    fn find_superfluous(&self, pass: &Pass, work: &mut u32) -> (Vec<Key>, Option<Resume>) {
        let mut keys = Vec::with_capacity(BATCH_KEYS_MAX);
        let range = KeyRange::all();
        let (bound, after) = super::bound_of(pass.resume.as_ref());
        let mut walk = self.index.walk(&range, bound, after);
        // Tombstones at the finished revision itself were kept: they go now.
        let unchanged_below = self.compaction.finished;
        while let Some(step) = walk.next(|child| child.main_max < unchanged_below) {
            if *work == 0 || keys.len() == BATCH_KEYS_MAX {
                return (keys, Some(Resume { key: step.bound().clone(), after: false }));
            }
            *work -= 1;
            if let Step::Key(entry) = step
                && entry.changes.has_superfluous(pass.target)
            {
                keys.push(entry.key.clone());
            }
        }
        (keys, None)
    }

    /// Removes at most `count_max` records of `key`; false if more are left to be removed.
    fn trim(&mut self, key: &[u8], target: i64, count_max: usize, work: &mut u32) -> bool {
        let place = self.index.locate(key);
        if !place.found {
            return true;
        }
        let mut removed: Vec<Rev> = Vec::new();
        self.index.trim(&place, target, count_max, &mut removed);
        for rev in &removed {
            self.history.remove(*rev).expect("the index names only records that history holds");
        }
        *work = work.saturating_sub(removed.len() as u32);
        removed.len() < count_max || !self.has_superfluous(key, target)
    }

    fn has_superfluous(&self, key: &[u8], target: i64) -> bool {
        self.index.get(key).is_some_and(|changes| changes.has_superfluous(target))
    }
}
