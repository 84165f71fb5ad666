//! Membership changes on their way: which entries of the log are some, and when they are committed.
//!
//! A commit index alone is not written: entries say by themselves what a quorum has. Not so behind a change of the
//! membership. Who goes on by the new one, forgets in a power loss that the change was committed, and asks the old
//! quorum again may find that those it no longer has were removed and are gone for good. So the word that a change
//! is committed is on disk before anybody hears of it.

use std::collections::VecDeque;

use raft::eraftpb::{Entry, EntryType};

use crate::base::LogIndex;
use crate::wal::{self, EntryKind};

/// Indexes of the changes in the log behind the commit index, ascending.
#[derive(Debug, Default)]
pub(super) struct Changes(VecDeque<u64>);

impl Changes {
    /// Of a log that is opened.
    pub fn of(entries: &[wal::Entry], committed: LogIndex) -> Changes {
        let is_open = |entry: &&wal::Entry| entry.kind == EntryKind::Conf && entry.index > committed;
        Changes(entries.iter().filter(is_open).map(|entry| entry.index.0).collect())
    }

    /// Entries take their place in the log, and that of all that were there from the first of them on. Whether
    /// changes are committed now that were not before.
    pub fn take_committed(&mut self, entries: &[Entry], committed: u64) -> bool {
        if let Some(first) = entries.first() {
            while self.0.pop_back_if(|index| *index >= first.index).is_some() {}
        }
        let is_change = |entry: &&Entry| entry.get_entry_type() == EntryType::EntryConfChange;
        self.0.extend(entries.iter().filter(is_change).map(|entry| entry.index));
        let before = self.0.len();
        while self.0.pop_front_if(|index| *index <= committed).is_some() {}
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, is_change: bool) -> Entry {
        let entry_type = if is_change { EntryType::EntryConfChange } else { EntryType::EntryNormal };
        Entry { index, entry_type, ..Entry::default() }
    }

    #[test]
    fn a_change_is_committed_once_and_not_if_it_was_overwritten() {
        let mut changes = Changes::default();
        assert!(!changes.take_committed(&[entry(3, true), entry(4, false), entry(5, true)], 2));
        assert!(changes.take_committed(&[], 4));
        assert!(!changes.take_committed(&[], 4));
        assert!(!changes.take_committed(&[entry(5, false), entry(6, false)], 6));
        assert!(changes.take_committed(&[entry(7, true)], 7));
    }
}
