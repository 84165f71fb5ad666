//! Between raft-rs's types and ours.

use raft::eraftpb::{Entry, EntryType, HardState, Snapshot};

use super::{Committed, Payload};
use crate::base::{LogIndex, MemberId, Term};
use crate::wal;

pub fn to_raft_hard(hard: &wal::HardState) -> HardState {
    HardState { term: hard.term.0, vote: hard.vote.0, commit: hard.commit.0, ..HardState::default() }
}

pub fn to_wal_hard(raft: &HardState) -> wal::HardState {
    wal::HardState { term: Term(raft.term), vote: MemberId(raft.vote), commit: LogIndex(raft.commit) }
}

pub fn to_raft_entry(entry: wal::Entry) -> Entry {
    let entry_type = match entry.kind {
        wal::EntryKind::Normal => EntryType::EntryNormal,
        wal::EntryKind::Conf => EntryType::EntryConfChange,
    };
    let (index, term) = (entry.index.0, entry.term.0);
    Entry { entry_type, index, term, data: entry.data, ..Entry::default() }
}

pub fn to_wal_entry(raft: &Entry) -> wal::Entry {
    wal::Entry {
        index: LogIndex(raft.index),
        term: Term(raft.term),
        kind: match raft.get_entry_type() {
            EntryType::EntryNormal => wal::EntryKind::Normal,
            EntryType::EntryConfChange => wal::EntryKind::Conf,
            EntryType::EntryConfChangeV2 => unreachable!("only single-step changes are proposed or taken"),
        },
        data: raft.data.clone(),
    }
}

pub fn committed_of(entry: Entry) -> Committed {
    let payload = match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => Payload::Empty,
        EntryType::EntryNormal => Payload::Command(entry.data),
        _ => Payload::Conf(entry.data),
    };
    Committed { index: LogIndex(entry.index), term: Term(entry.term), payload }
}

/// The number of the round that a read state answers.
pub fn read_of(state: raft::ReadState) -> Option<(u64, LogIndex)> {
    let number: [u8; 8] = state.request_ctx.get(8..16)?.try_into().ok()?;
    Some((u64::from_le_bytes(number), LogIndex(state.index)))
}

/// Index and term of a snapshot.
pub fn marker_of(snapshot: &Snapshot) -> (LogIndex, Term) {
    let metadata = snapshot.get_metadata();
    (LogIndex(metadata.index), Term(metadata.term))
}

/// splitmix64's finaliser.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
