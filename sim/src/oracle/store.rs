//! The model of the store: every change ever made, by key and by revision, and nothing clever.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_core::base::{Key, KeyRange, KeyValue, LeaseId};
use holdfast_core::boundary::EventKind;

/// A change of one key. `kv` is as an event shows it: a deletion has only key and mod_revision (REV-8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub sub: u32,
    pub kind: EventKind,
    pub kv: KeyValue,
}

/// All changes of all keys. Nothing is ever removed: compaction is the reader's affair.
#[derive(Default, Clone, Debug)]
pub struct Store {
    /// Changes of each key, oldest first.
    by_key: BTreeMap<Key, Vec<Change>>,
    /// Changes of each revision from 2 on, in the order they were made.
    by_revision: Vec<Vec<Change>>,
    /// Changes of the revision that is being made.
    open: Vec<Change>,
}

impl Store {
    /// The newest finished revision; an empty store is at 1 (REV-2).
    pub fn revision(&self) -> i64 {
        1 + self.by_revision.len() as i64
    }

    /// The revision at which a read sees what the open one has changed so far.
    pub fn open_revision(&self) -> i64 {
        self.revision() + i64::from(!self.open.is_empty())
    }

    /// Number of changes in the open revision.
    pub fn open_changes(&self) -> usize {
        self.open.len()
    }

    /// Writes a key; returns what was there.
    pub fn put(&mut self, key: &[u8], value: Bytes, lease: LeaseId) -> Option<KeyValue> {
        let main = self.revision() + 1;
        let before = self.get(key, main).cloned();
        let (create_revision, version) =
            before.as_ref().map_or((main, 1), |kv| (kv.create_revision, kv.version + 1));
        let kv = KeyValue { key: Key::from(key), value, create_revision, mod_revision: main, version, lease };
        self.record(EventKind::Put, kv);
        before
    }

    /// Deletes every live key of the range in ascending order; returns what was there.
    pub fn delete(&mut self, range: &KeyRange) -> Vec<KeyValue> {
        let main = self.revision() + 1;
        let gone: Vec<KeyValue> = self.live(range, main).cloned().collect();
        for kv in &gone {
            self.record(EventKind::Delete, tombstone(kv.key.clone(), main));
        }
        gone
    }

    fn record(&mut self, kind: EventKind, kv: KeyValue) {
        let change = Change { sub: self.open.len() as u32, kind, kv };
        self.by_key.entry(change.kv.key.clone()).or_default().push(change.clone());
        self.open.push(change);
    }

    /// Ends the open revision: it counts only if it changed something (REV-3, REV-4).
    pub fn finish(&mut self) {
        if !self.open.is_empty() {
            self.by_revision.push(std::mem::take(&mut self.open));
        }
    }

    /// Takes the newest finished revision back.
    pub fn undo(&mut self) {
        assert!(self.open.is_empty(), "only finished revisions are taken back");
        for change in self.by_revision.pop().expect("there is a revision to take back") {
            let changes = self.by_key.get_mut(&change.kv.key).expect("its key has changes");
            changes.pop();
            if changes.is_empty() {
                self.by_key.remove(&change.kv.key);
            }
        }
    }

    /// The live record of one key at `revision`.
    pub fn get(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        newest(self.by_key.get(key)?, revision)
    }

    /// Live records of a range at `revision`, in key order.
    pub fn live<'a>(&'a self, range: &'a KeyRange, revision: i64) -> impl Iterator<Item = &'a KeyValue> {
        self.by_key
            .range::<[u8], _>((std::ops::Bound::Included(&range.start[..]), std::ops::Bound::Unbounded))
            .take_while(|(key, _)| range.is_before_end(key))
            .filter_map(move |(_, changes)| newest(changes, revision))
    }

    /// Changes of one finished revision, in the order they were made; none if there is no such revision.
    pub fn changes(&self, revision: i64) -> &[Change] {
        usize::try_from(revision - 2).ok().and_then(|i| self.by_revision.get(i)).map_or(&[], |c| c)
    }
}

/// What a deletion looks like in an event.
pub fn tombstone(key: Key, main: i64) -> KeyValue {
    KeyValue {
        key,
        value: Bytes::new(),
        create_revision: 0,
        mod_revision: main,
        version: 0,
        lease: LeaseId(0),
    }
}

fn newest(changes: &[Change], revision: i64) -> Option<&KeyValue> {
    let end = changes.partition_point(|c| c.kv.mod_revision <= revision);
    let change = &changes[end.checked_sub(1)?];
    (change.kind == EventKind::Put).then_some(&change.kv)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &mut Store, key: &str, value: &str) {
        store.put(key.as_bytes(), Bytes::copy_from_slice(value.as_bytes()), LeaseId(0));
        store.finish();
    }

    #[test]
    fn first_put_is_revision_two_and_starts_a_generation() {
        let mut store = Store::default();
        assert_eq!(store.revision(), 1);
        put(&mut store, "a", "1");
        put(&mut store, "a", "1");
        let kv = store.get(b"a", 3).expect("written");
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
        assert_eq!(store.get(b"a", 2).map(|kv| kv.version), Some(1));
    }

    #[test]
    fn revision_taken_back_leaves_what_was_before() {
        let mut store = Store::default();
        put(&mut store, "a", "1");
        put(&mut store, "a", "2");
        put(&mut store, "b", "3");
        store.undo();
        store.undo();
        assert_eq!((store.revision(), store.get(b"b", 9)), (2, None));
        assert_eq!(store.get(b"a", 9).map(|kv| kv.version), Some(1));
    }

    #[test]
    fn deletion_of_nothing_makes_no_revision_and_a_put_after_one_begins_anew() {
        let mut store = Store::default();
        assert!(store.delete(&KeyRange::all()).is_empty());
        store.finish();
        assert_eq!(store.revision(), 1);
        put(&mut store, "a", "1");
        assert_eq!(store.delete(&KeyRange::all()).len(), 1);
        store.put(b"a", Bytes::new(), LeaseId(0));
        assert_eq!(store.open_revision(), 3);
        store.finish();
        let kv = store.get(b"a", 3).expect("put again");
        assert_eq!((kv.create_revision, kv.version), (3, 1));
        assert_eq!(store.changes(3).len(), 2);
        assert_eq!(store.changes(4).len(), 0);
    }
}
