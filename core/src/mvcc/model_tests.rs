//! The store against a model that keeps every record for ever and finds everything by walking over it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::index_tests::check_index;
use super::{HashRun, Mvcc, Record, Resume};
use crate::base::{Key, KeyRange, LeaseId, Value};

/// Every record ever made, oldest first.
#[derive(Default)]
struct Model {
    records: Vec<Record>,
    /// Positions in `records`, by key.
    keys: BTreeMap<Key, Vec<usize>>,
}

impl Model {
    fn newest(&self, key: &[u8], rev: i64) -> Option<&Record> {
        let mut positions = self.keys.get(key)?.iter().rev().map(|&position| &self.records[position]);
        positions.find(|record| record.main <= rev)
    }

    fn get(&self, key: &[u8], rev: i64) -> Option<&Record> {
        self.newest(key, rev).filter(|record| !record.is_tombstone())
    }

    fn add(&mut self, record: Record) {
        self.keys.entry(record.key.clone()).or_default().push(self.records.len());
        self.records.push(record);
    }

    fn put(&mut self, key: &[u8], value: Value, lease: LeaseId, place: (i64, u32)) -> Option<Record> {
        let (main, sub) = place;
        let before = self.get(key, i64::MAX).cloned();
        let (create, version) = before.as_ref().map_or((main, 1), |old| (old.create, old.version + 1));
        self.add(Record { main, sub, key: Key::from(key), value, create, version, lease });
        before
    }

    fn delete(&mut self, key: &[u8], place: (i64, u32)) -> Option<Record> {
        let (main, sub) = place;
        let before = self.get(key, i64::MAX).cloned()?;
        let key = Key::from(key);
        self.add(Record { main, sub, key, value: Value::new(), create: 0, version: 0, lease: LeaseId(0) });
        Some(before)
    }

    fn range(&self, range: &KeyRange, rev: i64) -> Vec<Record> {
        let live = self.keys.keys().filter(|key| range.contains(key)).filter_map(|key| self.get(key, rev));
        live.cloned().collect()
    }

    /// What a finished compaction at `rev` leaves (CMP-1).
    fn after_compaction(&self, rev: i64) -> Vec<Record> {
        let stays = |record: &&Record| {
            let is_newest = self.newest(&record.key, rev).is_some_and(|newest| newest == *record);
            record.main > rev
                || (record.is_tombstone() && record.main == rev)
                || (!record.is_tombstone() && is_newest)
        };
        self.records.iter().filter(stays).cloned().collect()
    }
}

/// A read at a pinned revision, done in slices while the store changes.
struct Reader {
    range: KeyRange,
    rev: i64,
    expected: Vec<Record>,
    resume: Option<Resume>,
    /// `None`: counts.
    seen: Option<Vec<Record>>,
    counted: i64,
}

impl Reader {
    /// One slice; true when the read is complete, and then it was right.
    fn step(&mut self, mvcc: &Mvcc, rng: &mut ChaCha8Rng) -> bool {
        let mut work = rng.random_range(1..20);
        let break_at = rng.random_range(1..10);
        let from = self.resume.take();
        self.resume = match &mut self.seen {
            None => mvcc.count(&self.range, self.rev, from.as_ref(), &mut work, &mut self.counted),
            Some(seen) => {
                let mut visited = 0;
                mvcc.scan(&self.range, self.rev, from.as_ref(), &mut work, &mut |record| {
                    seen.push(record.clone());
                    visited += 1;
                    if visited == break_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
            }
        };
        if self.resume.is_some() {
            return false;
        }
        match &self.seen {
            None => assert_eq!(self.counted, self.expected.len() as i64),
            Some(seen) => assert_eq!(*seen, self.expected),
        }
        true
    }
}

struct World {
    rng: ChaCha8Rng,
    mvcc: Mvcc,
    /// The same, but removal never runs.
    unremoved: Mvcc,
    model: Model,
    readers: Vec<Reader>,
    keys: u32,
}

fn hash(mvcc: &Mvcc, rev: i64, compact: i64, slice: u32) -> u32 {
    let mut run = HashRun::new(rev, compact);
    loop {
        if let Some(hash) = run.step(mvcc, &mut slice.clone()) {
            return hash;
        }
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let keys = [5, 40, 400, 3000][rng.random_range(0..4)];
        let (mvcc, unremoved, model) = (Mvcc::new(), Mvcc::new(), Model::default());
        World { rng, mvcc, unremoved, model, readers: Vec::new(), keys }
    }

    fn key(&mut self) -> Bytes {
        let number = self.rng.random_range(0..self.keys);
        Bytes::from(format!("key/{}/{number}", number % 7))
    }

    fn key_range(&mut self) -> KeyRange {
        let (start, end) = (self.key(), self.key());
        match self.rng.random_range(0..6) {
            0 => KeyRange::single(start),
            1 => KeyRange::all(),
            2 => KeyRange::new(start, Bytes::from_static(b"\0")),
            3 => KeyRange::new(Bytes::from_static(b"key/3/"), Bytes::from_static(b"key/30")),
            _ => KeyRange::new(start, end),
        }
    }

    /// A revision that may be read; the open one if asked for.
    fn revision(&mut self, open: bool) -> i64 {
        let last = self.mvcc.revision() + i64::from(open);
        let first = self.mvcc.compact_revision().max(0);
        // Mostly near the ends, where it is decided what is seen and what is kept.
        match self.rng.random_range(0..4) {
            0 => last,
            1 => first,
            _ => self.rng.random_range(first..=last),
        }
    }

    fn change(&mut self) {
        let key = self.key();
        let place = (self.mvcc.revision() + 1, self.mvcc.changes());
        if self.rng.random_bool(0.65) {
            let value = Value::from(vec![b'v'; self.rng.random_range(0..20)]);
            let lease = LeaseId(self.rng.random_range(-1..3));
            let before = self.model.put(&key, value.clone(), lease, place);
            assert_eq!(self.mvcc.put(&key, value.clone(), lease), before.as_ref());
            assert_eq!(self.unremoved.put(&key, value, lease), before.as_ref());
        } else {
            let before = self.model.delete(&key, place);
            assert_eq!(self.mvcc.delete(&key), before.as_ref());
            assert_eq!(self.unremoved.delete(&key), before.as_ref());
        }
    }

    /// A main revision of several changes, with everything else going on between them.
    fn write(&mut self) {
        let before = self.mvcc.revision();
        self.mvcc.begin();
        self.unremoved.begin();
        for _ in 0..[0, 1, 1, 1, 3, 12][self.rng.random_range(0..6)] {
            self.change();
            self.read(true);
            self.turn();
        }
        let changes = self.mvcc.changes();
        assert_eq!(self.mvcc.end(), changes > 0);
        assert_eq!(self.unremoved.end(), changes > 0);
        assert_eq!(self.mvcc.revision(), before + i64::from(changes > 0));
    }

    fn read(&mut self, open: bool) {
        let (key, range, rev) = (self.key(), self.key_range(), self.revision(open));
        assert_eq!(self.mvcc.get(&key, rev), self.model.get(&key, rev));
        // What the open revision shows changes with it: such a read is made at once.
        if open || self.readers.len() < 5 {
            let seen = self.rng.random_bool(0.5).then(Vec::new);
            let expected = self.model.range(&range, rev);
            let mut reader = Reader { range, rev, expected, resume: None, seen, counted: 0 };
            if open {
                while !reader.step(&self.mvcc, &mut self.rng) {}
            } else {
                self.readers.push(reader);
            }
        }
    }

    /// Readers and removal go on a little.
    fn turn(&mut self) {
        let (mvcc, rng) = (&self.mvcc, &mut self.rng);
        self.readers.retain_mut(|reader| !reader.step(mvcc, rng));
        let slice = self.rng.random_range(0..20);
        let mut work = slice;
        let done = self.mvcc.compact_step(&mut work);
        assert!(done || work == 0, "removal stops early only for want of work");
        assert_eq!(done, !self.mvcc.is_compacting());
    }

    fn compact(&mut self) {
        let (last, rev) = (self.mvcc.compact_revision(), self.revision(false));
        if rev > last {
            // A run under the compact revision before is over, or given up.
            self.readers.retain(|reader| reader.rev >= rev);
            self.mvcc.compact(rev);
            self.unremoved.compact(rev);
            assert_eq!(self.mvcc.compact_revision(), rev);
        }
    }

    fn check_hash(&mut self) {
        let (rev, compact) = (self.revision(false), self.mvcc.compact_revision());
        let expected = hash(&self.unremoved, rev, compact, u32::MAX);
        let slice = self.rng.random_range(1..20);
        assert_eq!(hash(&self.mvcc, rev, compact, slice), expected);
    }

    fn check_history(&mut self) {
        let from = (self.revision(false), self.rng.random_range(0..3));
        let last = self.mvcc.revision();
        let physical: Vec<_> = self.mvcc.history(from.0, from.1).cloned().collect();
        let at_least = self.model.after_compaction(self.mvcc.compact_revision());
        let in_sight = |record: &&Record| (record.main, record.sub) >= from && record.main <= last;
        let mut rest = physical.iter();
        let all_there = at_least.iter().filter(in_sight).all(|record| rest.any(|other| other == record));
        assert!(all_there, "removal took too much");
        let unremoved: Vec<_> = self.model.records.iter().filter(in_sight).cloned().collect();
        let mut rest = unremoved.iter();
        assert!(physical.iter().all(|record| rest.any(|other| other == record)), "history is in order");
    }

    fn check_sums(&self) {
        check_index(&self.mvcc.index, self.mvcc.compact_revision());
        self.mvcc.history.check();
        let live = self.model.range(&KeyRange::all(), i64::MAX);
        assert_eq!(self.mvcc.live_keys(), live.len() as u64);
        assert_eq!(self.mvcc.bytes_in_use(), live.iter().map(Record::bytes).sum::<u64>());
    }

    fn restored(&self) -> Mvcc {
        let mut restored = Mvcc::restore(self.mvcc.revision(), self.mvcc.compact_revision());
        self.mvcc.history(0, 0).for_each(|record| restored.restore_record(record.clone()));
        restored
    }

    /// Removal finished: what is left is what CMP-1 names, here and in a restored store.
    fn check_finished(&mut self) {
        let restored = self.restored();
        while !self.mvcc.compact_step(&mut 7) {}
        let expected = self.model.after_compaction(self.mvcc.compact_revision());
        assert!(!restored.is_compacting());
        for mvcc in [&self.mvcc, &restored] {
            assert_eq!(mvcc.history(0, 0).cloned().collect::<Vec<_>>(), expected);
            assert_eq!(mvcc.bytes(), expected.iter().map(Record::bytes).sum::<u64>());
            let keys = expected.iter().map(|record| &record.key).collect::<BTreeSet<_>>().len();
            assert_eq!(check_index(&mvcc.index, mvcc.compact_revision()), keys);
        }
        assert_eq!(restored.bytes_in_use(), self.mvcc.bytes_in_use());
        self.check_hash();
        self.mvcc = restored;
        self.check_hash();
    }
}

#[test]
fn store_and_model_agree_over_random_histories() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        for _ in 0..1000 {
            world.write();
            world.read(false);
            world.turn();
            match world.rng.random_range(0..200) {
                0..4 => world.compact(),
                4..8 => world.check_hash(),
                8..12 => world.check_history(),
                12..16 => world.check_sums(),
                16 => world.check_finished(),
                _ => {}
            }
        }
        world.check_finished();
        world.check_sums();
        while !world.readers.is_empty() {
            world.turn();
        }
    }
}
