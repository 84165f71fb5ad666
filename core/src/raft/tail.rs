//! The log as raft-rs reads it: what is behind the last truncation, in memory.
//!
//! Everything in here counts as persisted for raft-rs; what really is on disk is the ledger's to know.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

/// Bytes an entry costs in memory beside its data.
const ENTRY_OVERHEAD_BYTES: u64 = 96;

/// Log entries behind `truncated`, the hard state and the configuration at open.
/// Invariant: `entries[i].index == truncated.0 + 1 + i`.
pub struct Tail {
    /// Index and term of the last entry that is gone.
    truncated: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: u64,
    pub hard: HardState,
    /// The configuration as of the last applied entry.
    pub conf: ConfState,
    /// Index and term of the last applied entry: what a snapshot for a laggard would be of.
    applied: (u64, u64),
}

impl Tail {
    /// The log behind a checkpoint at `truncated` (index and term), whose configuration is `conf`.
    pub fn new(truncated: (u64, u64), hard: HardState, conf: ConfState) -> Tail {
        Tail { truncated, entries: VecDeque::new(), bytes: 0, hard, conf, applied: truncated }
    }

    /// Everything up to the entry of this index and term is in State.
    pub fn on_applied(&mut self, index: u64, term: u64) {
        self.applied = (index, term);
    }

    /// A snapshot replaces the whole log.
    pub fn replace(&mut self, index: u64, term: u64, conf: ConfState) {
        assert!(index > self.truncated.0, "raft-rs takes no snapshot from before the log");
        self.truncated = (index, term);
        self.entries.clear();
        self.bytes = 0;
        self.conf = conf;
    }

    /// Puts entries behind those before the first one's index; later ones of an older term go.
    pub fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.truncated.0, "raft-rs overwrites no truncated entry");
        let keep = (first.index - self.truncated.0 - 1) as usize;
        assert!(keep <= self.entries.len(), "raft-rs leaves no gap in the log");
        for gone in self.entries.drain(keep..) {
            self.bytes -= cost(&gone);
        }
        for entry in entries {
            assert_eq!(entry.index, self.truncated.0 + 1 + self.entries.len() as u64);
            self.bytes += cost(&entry);
            self.entries.push_back(entry);
        }
    }

    /// Whether more than this is held.
    pub fn exceeds(&self, bytes_max: u64) -> bool {
        self.bytes > bytes_max
    }

    /// Bytes of entries up to `index`; walks over those behind it.
    pub fn bytes_through(&self, index: u64) -> u64 {
        let behind = self.entries.iter().rev().take_while(|entry| entry.index > index);
        self.bytes - behind.map(cost).sum::<u64>()
    }

    /// Forgets entries up to `index`, oldest first, until at most `bytes_max` remain; those behind `floor`
    /// only while more than `lag_bytes_max` remain.
    pub fn truncate_to(&mut self, index: u64, bytes_max: u64, floor: u64, lag_bytes_max: u64) {
        while let Some(first) = self.entries.front() {
            let most = if first.index > floor { bytes_max.max(lag_bytes_max) } else { bytes_max };
            if first.index > index || self.bytes <= most {
                break;
            }
            self.truncated = (first.index, first.term);
            self.bytes -= cost(first);
            self.entries.pop_front();
        }
    }

    fn last(&self) -> u64 {
        self.truncated.0 + self.entries.len() as u64
    }

    fn position(&self, index: u64) -> usize {
        (index - self.truncated.0 - 1) as usize
    }
}

fn cost(entry: &Entry) -> u64 {
    entry.data.len() as u64 + ENTRY_OVERHEAD_BYTES
}

impl Storage for Tail {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState { hard_state: self.hard.clone(), conf_state: self.conf.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.truncated.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last() + 1, "raft-rs reads no entry beyond the last");
        let max_size = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0;
        let slice = self.entries.range(self.position(low)..self.position(high));
        let within = slice.take_while(|entry| {
            let first = size == 0;
            size += cost(entry);
            first || size <= max_size
        });
        Ok(within.cloned().collect())
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.truncated.0 {
            return Ok(self.truncated.1);
        }
        if index < self.truncated.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self.entries.get(self.position(index));
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.truncated.0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    /// The announcement alone: the node sends the state itself, and the announcement with its last piece.
    fn snapshot(&self, _request_index: u64, _to: u64) -> Result<Snapshot> {
        let (index, term) = self.applied;
        if index == 0 {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (index, term);
        *metadata.mut_conf_state() = self.conf.clone();
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    fn tail(entries: &[(u64, u64)]) -> Tail {
        let mut tail = Tail::new((0, 0), HardState::default(), ConfState::default());
        tail.append(entries.iter().map(|(index, term)| entry(*index, *term)).collect());
        tail
    }

    #[test]
    fn append_of_a_later_term_overwrites_the_tail() {
        let mut tail = tail(&[(1, 1), (2, 1), (3, 1)]);
        tail.append(vec![entry(2, 2)]);
        assert_eq!(tail.last_index(), Ok(2));
        assert_eq!(tail.term(2), Ok(2));
    }

    #[test]
    fn truncation_keeps_the_term_of_the_last_gone_entry() {
        let mut tail = tail(&[(1, 1), (2, 3), (3, 3)]);
        tail.truncate_to(2, 0, 9, 0);
        assert_eq!(tail.first_index(), Ok(3));
        assert_eq!(tail.term(2), Ok(3));
        assert!(matches!(tail.term(1), Err(Error::Store(StorageError::Compacted))));
    }

    #[test]
    fn truncation_stops_at_the_bytes_to_keep() {
        let mut tail = tail(&[(1, 1), (2, 1), (3, 1)]);
        tail.truncate_to(3, 2 * ENTRY_OVERHEAD_BYTES, 9, 0);
        assert_eq!(tail.first_index(), Ok(2));
    }
}
