//! The multi-version store: every key, and every revision of it since the last compaction, in memory.
//!
//! Two views of the same changes: `index` finds a key's changes and counts keys, `history` holds the records
//! in the order in which they were made. A key is one allocation that both share, a value is one that every
//! reply and watcher shares.
//!
//! Sketch for a million keys of 35 bytes with values of 256: record 92, index 42, key 64 and value 272 with
//! the allocator's rounding: 470 bytes a key. A put of a new key costs one allocation here (the key), one of
//! a known key none; both one descent of the index (about six cold lines), the latter also one cold record.
//! A count, or a page with its count, costs O(log keys) where nothing in the range changed after the
//! revision it reads. Compaction costs a pass over the parts of the index that changed since the one
//! before, and one cold record and value for each change that it removes.

mod changes;
mod chunk;
mod compaction;
mod hash;
mod history;
mod index;
mod node;
mod record;
mod sorted;
mod walk;

#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod mvcc_tests;

use std::ops::ControlFlow;

use crate::base::{Key, KeyRange, LeaseId, Value};
use changes::Change;
use compaction::Compaction;
pub use hash::HashRun;
use history::History;
use index::{Index, Place};
pub use record::Record;
use record::Rev;
use walk::Step;

/// The store.
/// A change belongs to the revision that is open (`begin` to `end`), which readers do not see unless they ask
/// for revision `revision() + 1`. Callers have checked what they ask for against `compact_revision()`.
#[derive(Debug)]
pub struct Mvcc {
    index: Index,
    history: History,
    compaction: Compaction,
    /// Last finished main revision.
    revision: i64,
    /// Changes in the open revision; `None` if none is open.
    open: Option<u32>,
    /// Sum of `Record::bytes` over live keys.
    bytes_in_use: u64,
}

/// Where a scan or count goes on, whatever changed in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    key: Key,
    /// Whether `key` itself is done.
    after: bool,
}

impl Default for Mvcc {
    fn default() -> Mvcc {
        Mvcc::new()
    }
}

impl Mvcc {
    /// An empty store: revision 1, never compacted (REV-2).
    pub fn new() -> Mvcc {
        Mvcc::restore(1, -1)
    }

    /// A store that is to be filled by `restore_record`.
    pub fn restore(revision: i64, compact_revision: i64) -> Mvcc {
        Mvcc {
            index: Index::default(),
            history: History::default(),
            compaction: Compaction::finished(compact_revision),
            revision,
            open: None,
            bytes_in_use: 0,
        }
    }

    /// Adds a record of a checkpoint, in order of (main, sub), none above `revision()`.
    /// What a compaction at `compact_revision` removes goes at once, so that none is owed afterwards.
    pub fn restore_record(&mut self, mut record: Record) {
        assert!(self.open.is_none(), "records are restored before the first write");
        assert!(record.main <= self.revision, "a record belongs to a finished revision");
        let rev = record.rev();
        let place = self.index.locate(&record.key);
        if place.found {
            record.key = self.index.entry(&place).key.clone();
        }
        let key = record.key.clone();
        self.add(&place, record);
        if rev.main <= self.compaction.revision() {
            self.trim_restored(&key);
        }
    }

    /// The last finished main revision.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Opens main revision `revision() + 1`.
    pub fn begin(&mut self) {
        assert!(self.open.is_none(), "one revision is open at a time");
        self.open = Some(0);
    }

    /// Changes made in the open revision.
    pub fn changes(&self) -> u32 {
        self.open.expect("a revision is open")
    }

    /// Closes the open revision; true if it changed anything and so was consumed (REV-3, REV-4).
    pub fn end(&mut self) -> bool {
        let changes = self.open.take().expect("a revision is open");
        self.revision += i64::from(changes > 0);
        changes > 0
    }

    /// Sets `key`; returns its live record from before. `value` is an allocation of its own.
    pub fn put(&mut self, key: &[u8], value: Value, lease: LeaseId) -> Option<&Record> {
        let rev = self.next_rev();
        let place = self.index.locate(key);
        let before = self.newest_at(&place);
        let (create, version) = before.map_or((rev.main, 1), |old| (old.create, old.version + 1));
        let key = if place.found { self.index.entry(&place).key.clone() } else { Key::from(key) };
        self.add(&place, Record { main: rev.main, sub: rev.sub, key, value, create, version, lease })
    }

    /// Deletes `key`; returns its live record from before, or `None` if there was nothing to delete.
    pub fn delete(&mut self, key: &[u8]) -> Option<&Record> {
        let place = self.index.locate(key);
        let key = self.newest_at(&place)?.key.clone();
        let rev = self.next_rev();
        let (value, lease) = (Value::new(), LeaseId(0));
        self.add(&place, Record { main: rev.main, sub: rev.sub, key, value, create: 0, version: 0, lease })
    }

    /// The record of `key` at revision `rev`, if it is alive there.
    pub fn get(&self, key: &[u8], rev: i64) -> Option<&Record> {
        let change = self.index.get(key)?.live_at(rev)?;
        Some(self.record(change))
    }

    /// Visits the live records of `range` at revision `rev` in key order, from where `from` left off.
    /// `None`: the range is exhausted. `Some`: `visit` broke off, or `work` (one a key or subtree met) is up.
    pub fn scan(
        &self,
        range: &KeyRange,
        rev: i64,
        from: Option<&Resume>,
        work: &mut u32,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Option<Resume> {
        let (bound, after) = bound_of(from);
        let mut walk = self.index.walk(range, bound, after);
        while let Some(step) = walk.next(|child| child.live == 0 && child.main_max <= rev) {
            if *work == 0 {
                return Some(Resume { key: step.bound().clone(), after: false });
            }
            *work -= 1;
            let Step::Key(entry) = step else { continue };
            let Some(change) = entry.changes.live_at(rev) else { continue };
            if visit(self.record(change)).is_break() {
                return Some(Resume { key: entry.key.clone(), after: true });
            }
        }
        None
    }

    /// Adds to `total` the number of live keys of `range` at revision `rev`, from where `from` left off.
    /// `None`: all counted. `Some`: `work` (one a key or subtree met) is up.
    /// A subtree without a change after `rev` is counted as one.
    pub fn count(
        &self,
        range: &KeyRange,
        rev: i64,
        from: Option<&Resume>,
        work: &mut u32,
        total: &mut i64,
    ) -> Option<Resume> {
        let (bound, after) = bound_of(from);
        let mut walk = self.index.walk(range, bound, after);
        while let Some(step) = walk.next(|child| child.main_max <= rev) {
            if *work == 0 {
                return Some(Resume { key: step.bound().clone(), after: false });
            }
            *work -= 1;
            *total += match step {
                Step::Subtree(child) => child.live as i64,
                Step::Key(entry) => i64::from(entry.changes.live_at(rev).is_some()),
            };
        }
        None
    }

    /// Records of finished revisions from (`from_main`, `from_sub`) on, in order of (main, sub), as far as
    /// compaction left them.
    pub fn history(&self, from_main: i64, from_sub: u32) -> impl Iterator<Item = &Record> {
        let last = self.revision;
        let from = Rev { main: from_main, sub: from_sub };
        self.history.iter_from(from).take_while(move |record| record.main <= last)
    }

    /// Keys alive now, those of the open revision included.
    pub fn live_keys(&self) -> u64 {
        self.index.live()
    }

    /// Estimated memory of all records, history included.
    pub fn bytes(&self) -> u64 {
        self.history.bytes()
    }

    /// Estimated memory of the records that are alive now.
    pub fn bytes_in_use(&self) -> u64 {
        self.bytes_in_use
    }

    /// The newest record of the key at `place`, if it is there and alive.
    fn newest_at(&self, place: &Place) -> Option<&Record> {
        let newest = place.found.then(|| self.index.entry(place).changes.newest())?;
        newest.live.then(|| self.record(newest))
    }

    /// The place of the next change in the open revision.
    fn next_rev(&mut self) -> Rev {
        let changes = self.open.as_mut().expect("a revision is open");
        let rev = Rev { main: self.revision + 1, sub: *changes };
        *changes += 1;
        rev
    }

    /// Adds the newest record to both views, at the place of its key; returns what was alive there.
    /// By reference: a clone of a value costs it an allocation for the rest of its life.
    fn add(&mut self, place: &Place, record: Record) -> Option<&Record> {
        let before = place.found.then(|| self.index.entry(place).changes.newest()).filter(|old| old.live);
        let change = Change { main: record.main, sub: record.sub, live: !record.is_tombstone() };
        match place.found {
            true => self.index.push(place, change),
            false => self.index.insert(place, record.key.clone(), change),
        }
        if change.live {
            self.bytes_in_use += record.bytes();
        }
        self.history.push(record);
        let before =
            self.history.get(before?.rev()).expect("the index names only records that history holds");
        self.bytes_in_use -= before.bytes();
        Some(before)
    }

    fn record(&self, change: Change) -> &Record {
        self.history.get(change.rev()).expect("the index names only records that history holds")
    }
}

fn bound_of(from: Option<&Resume>) -> (&[u8], bool) {
    from.map_or((&[], false), |resume| (&resume.key, resume.after))
}
