//! Ids, counts and small types that every other module names.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// Nanoseconds of a monotonic clock since the process began.
/// Never compared between members, never written to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The instant `ns` nanoseconds later; saturates, so that "never" is `Instant(u64::MAX)`.
    pub fn plus_ns(self, ns: u64) -> Instant {
        Instant(self.0.saturating_add(ns))
    }

    /// Nanoseconds from `earlier` to here; 0 if `earlier` is later.
    pub fn since_ns(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

id!(
    /// Id of a member, as etcd derives it; 0 is "none".
    MemberId(u64)
);
id!(
    /// Id of a cluster, as etcd derives it.
    ClusterId(u64)
);
id!(
    /// Raft term.
    Term(u64)
);
id!(
    /// Index of a raft log entry, from 1.
    LogIndex(u64)
);
id!(
    /// Sequence number of a log frame on this member's disk, from 1; 0 is "before the first frame".
    /// Rises over the lives of a member; a torn tail's numbers are issued again.
    Lsn(u64)
);
id!(
    /// Main revision of the store; an empty store is at 1.
    Revision(i64)
);
id!(
    /// Id of a lease; 0 is "no lease", negative ones are legal.
    LeaseId(i64)
);
id!(
    /// Id of a watcher on its stream, from 0; -1 where there is none.
    WatchId(i64)
);
id!(
    /// A watch stream of a client, named by the shell; never used twice in a life.
    StreamId(u64)
);
id!(
    /// A caller that waits for one `Reply`, named by the shell; never used twice in a life.
    WaiterId(u64)
);

/// A key, in an allocation of its own that index, history and replies share.
pub type Key = Arc<[u8]>;

/// A value, in an allocation of its own: never a slice of a network buffer or of a log entry.
pub type Value = Bytes;

/// One key with its value and revisions, as a client sees it.
/// A tombstone has only `key` and `mod_revision` (REV-8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Key,
    pub value: Value,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    pub lease: LeaseId,
}

/// A set of keys: one key, a half-open interval, or all keys from one on.
/// Source: RG-2; etcd's `key` and `range_end`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    pub start: Bytes,
    pub end: RangeEnd,
}

/// Where a `KeyRange` ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RangeEnd {
    /// Just the key `start`.
    Single,
    /// Keys below this one; empty range if it is at or below `start`.
    Before(Bytes),
    /// All keys from `start` on.
    Unbounded,
}

impl KeyRange {
    /// Reads etcd's pair: empty end = one key, a single zero byte = from `key` on.
    pub fn new(key: Bytes, range_end: Bytes) -> KeyRange {
        let end = match &range_end[..] {
            [] => RangeEnd::Single,
            [0] => RangeEnd::Unbounded,
            _ => RangeEnd::Before(range_end),
        };
        KeyRange { start: key, end }
    }

    /// The range of one key.
    pub fn single(key: Bytes) -> KeyRange {
        KeyRange { start: key, end: RangeEnd::Single }
    }

    /// Every key there can be (keys are never empty).
    pub fn all() -> KeyRange {
        KeyRange { start: Bytes::new(), end: RangeEnd::Unbounded }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.is_before_end(key)
    }

    /// Whether `key`, known to be at or after `start`, lies before the end.
    pub fn is_before_end(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == &self.start[..],
            RangeEnd::Before(end) => key < &end[..],
            RangeEnd::Unbounded => true,
        }
    }

    /// Whether no key can lie in the range (`range_end` at or below `key`).
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, RangeEnd::Before(end) if end <= &self.start)
    }

    /// Whether the range is one key.
    pub fn is_single(&self) -> bool {
        self.end == RangeEnd::Single
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_end_of_one_zero_byte_is_unbounded() {
        let range = KeyRange::new(Bytes::from_static(b"b"), Bytes::from_static(b"\0"));
        assert!(range.contains(b"b"));
        assert!(range.contains(b"zz"));
        assert!(!range.contains(b"a"));
    }

    #[test]
    fn range_end_at_or_below_key_is_empty() {
        let range = KeyRange::new(Bytes::from_static(b"b"), Bytes::from_static(b"a"));
        assert!(range.is_empty());
        assert!(!range.contains(b"b"));
    }

    #[test]
    fn single_key_range_holds_that_key_only() {
        let range = KeyRange::single(Bytes::from_static(b"k"));
        assert!(range.contains(b"k"));
        assert!(!range.contains(b"k\0"));
    }
}
