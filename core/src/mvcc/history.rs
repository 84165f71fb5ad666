//! All changes in the order in which they were made.
//!
//! Sketch: a record is 92 bytes in a chunk of 512, so an append is a write into a warm line and one
//! allocation in 512. A look-up goes through the directory of chunks (2,000 of them for a million records,
//! in cache), the chunk's offsets and then the record itself. A removal frees key and value at once; the slot
//! goes when an eighth of its chunk is holes, at one move of at most 512 records for 64 removals.

use std::collections::{BTreeMap, btree_map};

use super::chunk::{CHUNK_RECORDS_MAX, Chunk, Records};
use super::record::{Record, Rev};

/// Every change that compaction has not removed.
/// Shape: records lie in sealed chunks and then in the tail; places rise strictly over all of them.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Full chunks and what is left of them. The key is at or below the chunk's first place and above the
    /// last one of the chunk before.
    sealed: BTreeMap<Rev, Chunk>,
    /// Where records are added.
    tail: Chunk,
    /// Sum of `Record::bytes`.
    bytes: u64,
}

impl History {
    /// Estimated memory of all records.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the newest record.
    pub fn push(&mut self, record: Record) {
        let last = self.tail.last().or_else(|| self.sealed.values().next_back()?.last());
        assert!(last.is_none_or(|last| last < record.rev()), "places rise");
        if !self.tail.has_room(record.rev()) {
            let first = self.tail.first().expect("a chunk without room is not empty");
            self.sealed.insert(first, std::mem::take(&mut self.tail));
        }
        self.bytes += record.bytes();
        self.tail.push(record);
    }

    /// The record at `rev`.
    pub fn get(&self, rev: Rev) -> Option<&Record> {
        if self.is_in_tail(rev) {
            return self.tail.get(rev);
        }
        self.sealed.range(..=rev).next_back()?.1.get(rev)
    }

    /// Takes out the record at `rev`; `None` if there is none.
    pub fn remove(&mut self, rev: Rev) -> Option<Record> {
        if self.is_in_tail(rev) {
            let record = self.tail.remove(rev)?;
            self.bytes -= record.bytes();
            if self.tail.is_sparse() {
                self.tail.pack(Chunk::default());
            }
            return Some(record);
        }
        let (&start, chunk) = self.sealed.range_mut(..=rev).next_back()?;
        let record = chunk.remove(rev)?;
        self.bytes -= record.bytes();
        if chunk.is_sparse() {
            chunk.pack(Chunk::default());
            self.join(start);
        }
        Some(record)
    }

    /// Records from `rev` on, in order.
    pub fn iter_from(&self, rev: Rev) -> Iter<'_> {
        let start = self.sealed.range(..=rev).next_back().map_or(rev, |(&start, _)| start);
        let mut chunks = self.sealed.range(start..);
        match chunks.next() {
            Some((_, chunk)) => {
                Iter { records: chunk.records_from(rev), chunks, tail: Some(&self.tail), rev }
            }
            None => Iter { records: self.tail.records_from(rev), chunks, tail: None, rev },
        }
    }

    fn is_in_tail(&self, rev: Rev) -> bool {
        self.tail.first().is_some_and(|first| first <= rev)
    }

    /// Drops the chunk that starts at `start` if it is empty; joins it with a neighbour if it is small and
    /// both fit in one, so that the directory shrinks with history.
    fn join(&mut self, start: Rev) {
        let count = self.sealed[&start].record_count();
        if count == 0 {
            self.sealed.remove(&start);
            return;
        }
        if count > CHUNK_RECORDS_MAX / 2 {
            return;
        }
        let chunk = &self.sealed[&start];
        let before = self.sealed.range(..start).next_back().filter(|(_, before)| before.has_room_for(chunk));
        let after = self.sealed.range(start..).nth(1).filter(|(_, after)| chunk.has_room_for(after));
        let (front, back) = match (before, after) {
            (Some((&before, _)), _) => (before, start),
            (None, Some((&after, _))) => (start, after),
            (None, None) => return,
        };
        let back = self.sealed.remove(&back).expect("found just above");
        self.sealed.get_mut(&front).expect("found just above").pack(back);
    }

    /// Chunks, the tail included, and records in them, counted one by one.
    #[cfg(test)]
    pub fn check(&self) -> (usize, usize) {
        let mut last = Rev { main: i64::MIN, sub: 0 };
        let mut bytes = 0;
        let mut records = 0;
        for (&start, chunk) in &self.sealed {
            assert!(chunk.record_count() > 0, "an empty chunk is dropped");
            assert!(last < start, "directory keys lie between chunks");
            assert!(Some(start) <= chunk.first(), "directory key is a lower bound");
            assert!(!chunk.is_sparse(), "a sparse chunk is packed");
            last = chunk.last().expect("not empty");
        }
        for record in self.iter_from(Rev::default()) {
            bytes += record.bytes();
            records += 1;
        }
        assert_eq!(bytes, self.bytes);
        let counted: usize = self.sealed.values().map(Chunk::record_count).sum();
        assert_eq!(records, counted + self.tail.record_count());
        (self.sealed.len() + 1, records)
    }
}

/// Records of history in order.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    records: Records<'a>,
    chunks: btree_map::Range<'a, Rev, Chunk>,
    tail: Option<&'a Chunk>,
    rev: Rev,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Record;

    fn next(&mut self) -> Option<&'a Record> {
        loop {
            if let Some(record) = self.records.next() {
                return Some(record);
            }
            let chunk = match self.chunks.next() {
                Some((_, chunk)) => chunk,
                None => self.tail.take()?,
            };
            self.records = chunk.records_from(self.rev);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{LeaseId, Value};

    fn record(main: i64) -> Record {
        let (value, lease) = (Value::from_static(b"value"), LeaseId(0));
        Record { main, sub: 0, key: b"k"[..].into(), value, create: main, version: 1, lease }
    }

    fn mains_from(history: &History, main: i64) -> Vec<i64> {
        history.iter_from(Rev { main, sub: 0 }).map(|record| record.main).collect()
    }

    #[test]
    fn records_come_back_in_order_from_any_place() {
        let mut history = History::default();
        (1..=2000).for_each(|main| history.push(record(2 * main)));
        assert_eq!(history.check(), (4, 2000));
        for from in [0, 1, 2, 1023, 1024, 1025, 1026, 3999, 4000, 4001] {
            let expected: Vec<_> = (1..=2000).map(|main| 2 * main).filter(|&main| main >= from).collect();
            assert_eq!(mains_from(&history, from), expected);
        }
        assert_eq!(history.get(Rev { main: 1024, sub: 0 }), Some(&record(1024)));
        assert_eq!(history.get(Rev { main: 1025, sub: 0 }), None);
    }

    #[test]
    fn chunks_join_as_records_go() {
        let mut history = History::default();
        let count = 64 * CHUNK_RECORDS_MAX as i64;
        (1..=count).for_each(|main| history.push(record(main)));
        for main in (1..=count).filter(|main| main % 64 != 0) {
            assert_eq!(history.remove(Rev { main, sub: 0 }), Some(record(main)));
        }
        let (chunks, records) = history.check();
        assert_eq!(records, CHUNK_RECORDS_MAX);
        assert!(chunks <= 6, "{chunks} chunks for one chunk's records");
        assert_eq!(mains_from(&history, 100), (2..=512).map(|n| 64 * n).collect::<Vec<_>>());
    }

    #[test]
    fn emptied_history_takes_records_again() {
        let mut history = History::default();
        (1..=1000).for_each(|main| history.push(record(main)));
        (1..=1000).for_each(|main| assert!(history.remove(Rev { main, sub: 0 }).is_some()));
        assert_eq!((history.check(), history.bytes()), ((1, 0), 0));
        history.push(record(1001));
        assert_eq!(mains_from(&history, 0), [1001]);
    }
}
