//! A run of consecutive records of history in one allocation.

use super::record::{Record, Rev};

/// Records in a chunk at most.
pub(super) const CHUNK_RECORDS_MAX: usize = 512;

/// Removed records in a chunk before it is packed: at most an eighth of history is holes.
const CHUNK_HOLES_MAX: usize = CHUNK_RECORDS_MAX / 8;

/// A record's place, or what is left of it until the chunk is packed: its number, so that search still works.
#[derive(Debug)]
enum Slot {
    Held(Record),
    Hole(Rev),
}

// The hole lies in the record's bytes: no tag.
const _: () = assert!(size_of::<Slot>() == size_of::<Record>());

impl Slot {
    fn rev(&self) -> Rev {
        match self {
            Slot::Held(record) => record.rev(),
            Slot::Hole(rev) => *rev,
        }
    }

    fn record(&self) -> Option<&Record> {
        match self {
            Slot::Held(record) => Some(record),
            Slot::Hole(_) => None,
        }
    }
}

/// Records in order of their places, some of them removed.
/// Shape: strictly rising; at most `CHUNK_RECORDS_MAX` slots, within `SPAN_MAX` main revisions.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    slots: Vec<Slot>,
    /// Main revision of each slot, less the first one's. Slots are large and cold: a search among them would
    /// miss the cache at each step, while all offsets of a chunk take 2 KiB.
    offsets: Vec<u32>,
    holes: usize,
    /// Places of the first and the last slot, here beside the directory.
    ends: Option<(Rev, Rev)>,
}

/// Main revisions from a chunk's first to its last at most.
const SPAN_MAX: i64 = u32::MAX as i64;

impl Chunk {
    /// Records that are still there.
    pub fn record_count(&self) -> usize {
        self.slots.len() - self.holes
    }

    pub fn first(&self) -> Option<Rev> {
        self.ends.map(|(first, _)| first)
    }

    pub fn last(&self) -> Option<Rev> {
        self.ends.map(|(_, last)| last)
    }

    /// Whether a record at `rev`, behind all others, has room.
    pub fn has_room(&self, rev: Rev) -> bool {
        self.slots.len() < CHUNK_RECORDS_MAX && self.spans_to(rev)
    }

    /// Whether the records of `tail`, which lie behind these, have room as well.
    pub fn has_room_for(&self, tail: &Chunk) -> bool {
        self.record_count() + tail.record_count() <= CHUNK_RECORDS_MAX
            && tail.last().is_none_or(|last| self.spans_to(last))
    }

    fn spans_to(&self, rev: Rev) -> bool {
        self.first().is_none_or(|first| rev.main - first.main <= SPAN_MAX)
    }

    pub fn push(&mut self, record: Record) {
        let rev = record.rev();
        assert!(self.has_room(rev), "a full chunk takes no record");
        let first = self.first().unwrap_or(rev);
        self.ends = Some((first, rev));
        self.offsets.push((rev.main - first.main) as u32);
        self.slots.push(Slot::Held(record));
    }

    pub fn get(&self, rev: Rev) -> Option<&Record> {
        self.slots[self.position(rev)..].first().filter(|slot| slot.rev() == rev)?.record()
    }

    /// Takes out the record at `rev`, which leaves a hole; `None` if it is not there.
    pub fn remove(&mut self, rev: Rev) -> Option<Record> {
        let position = self.position(rev);
        let slot = self.slots.get_mut(position).filter(|slot| slot.rev() == rev)?;
        match std::mem::replace(slot, Slot::Hole(rev)) {
            Slot::Held(record) => {
                self.holes += 1;
                Some(record)
            }
            Slot::Hole(_) => None,
        }
    }

    /// Records from `rev` on.
    pub fn records_from(&self, rev: Rev) -> Records<'_> {
        Records { slots: self.slots[self.position(rev)..].iter() }
    }

    /// Whether the holes are worth a packing.
    pub fn is_sparse(&self) -> bool {
        self.holes >= CHUNK_HOLES_MAX || self.holes == self.slots.len()
    }

    /// Squeezes out the holes, with room for `tail`, which is put behind; memory becomes exact.
    pub fn pack(&mut self, tail: Chunk) {
        assert!(self.has_room_for(&tail), "chunks are joined only if they fit in one");
        let count = self.record_count() + tail.record_count();
        let mut slots = Vec::with_capacity(count);
        let both = std::mem::take(&mut self.slots).into_iter().chain(tail.slots);
        slots.extend(both.filter(|slot| slot.record().is_some()));
        let ends = slots.first().map(Slot::rev).zip(slots.last().map(Slot::rev));
        let base = ends.map_or(0, |(first, _)| first.main);
        let offsets = slots.iter().map(|slot| (slot.rev().main - base) as u32).collect();
        *self = Chunk { slots, offsets, holes: 0, ends };
    }

    /// Position of the first slot at or behind `rev`.
    fn position(&self, rev: Rev) -> usize {
        let Some((first, last)) = self.ends else { return 0 };
        if rev <= first {
            return 0;
        }
        if rev > last {
            return self.slots.len();
        }
        let offset = (rev.main - first.main) as u32;
        let at = self.offset_position(offset, (last.main - first.main) as u32);
        let same_main = self.offsets[at..].iter().take_while(|other| **other == offset).count();
        match same_main {
            0 => at,
            // The usual case, which is spared a look at the slot.
            1 if rev.sub == 0 => at,
            _ => at + sub_position(&self.slots[at..at + same_main], rev),
        }
    }

    /// Position of the first slot whose offset is at least `offset`, which is at most `span`, the last one.
    /// Guesses, as most chunks are filled evenly, then doubles its steps away from the guess.
    fn offset_position(&self, offset: u32, span: u32) -> usize {
        let end = self.offsets.len() - 1;
        let guess = match span {
            0 => 0,
            _ => (u64::from(offset) * end as u64 / u64::from(span)) as usize,
        };
        let mut step = 1;
        let (mut low, mut high) = (guess, guess);
        while low > 0 && self.offsets[low - 1] >= offset {
            low = low.saturating_sub(step);
            step *= 2;
        }
        while high < end && self.offsets[high] < offset {
            high = (high + step).min(end);
            step *= 2;
        }
        low + self.offsets[low..high].partition_point(|other| *other < offset)
    }
}

/// Position of the first of `slots`, all of the main revision of `rev`, at or behind `rev`.
/// A revision of many changes may fill whole chunks: their numbers tell their positions.
fn sub_position(slots: &[Slot], rev: Rev) -> usize {
    let guess = rev.sub.saturating_sub(slots[0].rev().sub) as usize;
    if slots.get(guess).is_some_and(|slot| slot.rev() == rev) {
        return guess;
    }
    slots.partition_point(|slot| slot.rev() < rev)
}

/// Records of a chunk in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Records<'a> {
    slots: std::slice::Iter<'a, Slot>,
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a Record;

    fn next(&mut self) -> Option<&'a Record> {
        self.slots.by_ref().find_map(Slot::record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{LeaseId, Value};

    fn record(main: i64, sub: u32) -> Record {
        let (value, lease) = (Value::new(), LeaseId(0));
        Record { main, sub, key: b"k"[..].into(), value, create: main, version: 1, lease }
    }

    fn chunk(places: &[(i64, u32)]) -> Chunk {
        let mut chunk = Chunk::default();
        places.iter().for_each(|&(main, sub)| chunk.push(record(main, sub)));
        chunk
    }

    #[test]
    fn every_place_is_found_however_uneven_the_chunk() {
        let even: Vec<_> = (0..CHUNK_RECORDS_MAX as i64).map(|n| (2 * n + 4, 0)).collect();
        let skewed: Vec<_> = (0..200).map(|n| (n * n * n * n + 1, 0)).collect();
        let one_main: Vec<_> = (0..300).map(|n| (7, 3 * n)).collect();
        let mixed: Vec<_> = (0..500).map(|n| (n / 60 * 1000 + 5, n as u32 % 60)).collect();
        let late: Vec<_> =
            (0..100).map(|n| (n + if n > 50 { SPAN_MAX - 100 } else { 9 }, n as u32 % 2)).collect();
        for places in [even, skewed, one_main, mixed, late] {
            let chunk = chunk(&places);
            for (at, &(main, sub)) in places.iter().enumerate() {
                assert_eq!(chunk.position(Rev { main, sub }), at);
                assert_eq!(chunk.position(Rev { main, sub: sub + 1 }), at + 1);
                assert_eq!(chunk.get(Rev { main, sub }).map(Record::rev), Some(Rev { main, sub }));
            }
            assert_eq!(chunk.position(Rev { main: 0, sub: 0 }), 0);
            assert_eq!(chunk.position(Rev { main: i64::MAX, sub: 0 }), places.len());
        }
    }

    #[test]
    fn chunk_spans_no_more_revisions_than_its_offsets_hold() {
        let mut front = chunk(&[(5, 0)]);
        assert!(front.has_room(Rev { main: 5 + SPAN_MAX, sub: 0 }));
        assert!(!front.has_room(Rev { main: 6 + SPAN_MAX, sub: 0 }));
        assert!(!front.has_room_for(&chunk(&[(7, 0), (6 + SPAN_MAX, 0)])));
        front.pack(chunk(&[(7, 0), (5 + SPAN_MAX, 0)]));
        assert_eq!(front.get(Rev { main: 5 + SPAN_MAX, sub: 0 }), Some(&record(5 + SPAN_MAX, 0)));
    }

    #[test]
    fn removed_record_is_gone_at_once_and_its_slot_when_packed() {
        let mut front = chunk(&[(2, 0), (3, 0), (3, 1), (9, 0)]);
        assert_eq!(front.remove(Rev { main: 3, sub: 1 }), Some(record(3, 1)));
        assert_eq!(front.remove(Rev { main: 3, sub: 1 }), None);
        assert_eq!(front.get(Rev { main: 3, sub: 1 }), None);
        assert_eq!((front.slots.len(), front.record_count()), (4, 3));
        front.pack(chunk(&[(10, 0)]));
        assert_eq!((front.slots.len(), front.slots.capacity()), (4, 4));
        let mains: Vec<_> = front.records_from(Rev::default()).map(|record| record.main).collect();
        assert_eq!(mains, [2, 3, 9, 10]);
    }
}
