//! One change of one key, and its place in the order of all changes.

use crate::base::{Key, KeyValue, LeaseId, Value};

/// Place of a change in history: the main revision, then the change's number inside it, from 0 (REV-1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rev {
    pub main: i64,
    pub sub: u32,
}

/// One change of one key: a put, or a tombstone (`version` 0, then `create` and `lease` 0, `value` empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Main revision; the client's mod_revision.
    pub main: i64,
    /// Number of the change inside its main revision, from 0.
    pub sub: u32,
    pub key: Key,
    pub value: Value,
    /// Main revision of the first put of the generation.
    pub create: i64,
    /// Puts in the generation, this one included.
    pub version: i64,
    pub lease: LeaseId,
}

const _: () = assert!(size_of::<Record>() <= 88);

/// What a record costs beside its key and value: the record, its share of the index, allocator rounding.
/// An estimate that leans high: a key's second revision costs less.
const RECORD_OVERHEAD_BYTES: u64 = 160;

impl Record {
    /// Whether the change was a deletion.
    pub fn is_tombstone(&self) -> bool {
        self.version == 0
    }

    /// The key as a client sees it; of a tombstone only key and mod_revision are set (REV-8).
    pub fn to_kv(&self) -> KeyValue {
        KeyValue {
            key: self.key.clone(),
            value: self.value.clone(),
            create_revision: self.create,
            mod_revision: self.main,
            version: self.version,
            lease: self.lease,
        }
    }

    pub(super) fn rev(&self) -> Rev {
        Rev { main: self.main, sub: self.sub }
    }

    /// Estimated memory of the record.
    pub(super) fn bytes(&self) -> u64 {
        self.key.len() as u64 + self.value.len() as u64 + RECORD_OVERHEAD_BYTES
    }
}
