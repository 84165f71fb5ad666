//! HashKV: a checksum of history, equal on all members that hold the same (HASH-1, HASH-2).

use super::Mvcc;
use super::record::{Record, Rev};

/// Computes the hash of all changes up to a revision, in slices.
/// Leaves out what a compaction at `compact` removes, and tombstones at `compact` (older members removed
/// them), so that the result does not depend on how far the physical removal is.
/// The caller makes no `compact_step` for a compaction above `compact` while the run is under way.
#[derive(Clone, Debug)]
pub struct HashRun {
    revision: i64,
    compact_revision: i64,
    next: Rev,
    crc: u32,
}

impl HashRun {
    /// The hash at revision `rev` under compact revision `compact` (-1: never compacted).
    pub fn new(rev: i64, compact: i64) -> HashRun {
        HashRun { revision: rev, compact_revision: compact, next: Rev::default(), crc: 0 }
    }

    /// Goes on; the hash once it is complete. Work: one a record.
    pub fn step(&mut self, mvcc: &Mvcc, work: &mut u32) -> Option<u32> {
        let is_clean = mvcc.is_compacted_at(self.compact_revision);
        for record in mvcc.history(self.next.main, self.next.sub) {
            if record.main > self.revision {
                break;
            }
            self.next = record.rev();
            if *work == 0 {
                return None;
            }
            *work -= 1;
            if mvcc.is_kept(record, self.compact_revision, is_clean) {
                self.crc = crc_of(record, self.crc);
            }
        }
        Some(self.crc)
    }
}

/// Shape: lengths of key and value, numbers, key, value; little endian. The lengths keep fields apart.
fn crc_of(record: &Record, crc: u32) -> u32 {
    let numbers = [
        record.key.len() as i64,
        record.value.len() as i64,
        record.main,
        i64::from(record.sub),
        record.create,
        record.version,
        record.lease.0,
    ];
    let mut head = [0; 8 * 7];
    for (bytes, number) in head.chunks_exact_mut(8).zip(numbers) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    let crc = crc32c::crc32c_append(crc, &head);
    let crc = crc32c::crc32c_append(crc, &record.key);
    crc32c::crc32c_append(crc, &record.value)
}
