//! What somebody may read and write, as merged intervals.

use bytes::Bytes;

use crate::base::KeyRange;
use crate::keyset::{KeySet, SpanEnd};
use crate::request::{Permission, PermissionKind};

/// What is asked of a range of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Read,
    Write,
}

/// The union of a user's permissions. Intervals that touch are one, also those of single keys.
/// Cost: O(log n) a question in n intervals; 1,000 roles with 10,000 ranges are at most 10,000.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    read: KeySet,
    write: KeySet,
}

impl Rights {
    pub fn of<'a>(permissions: impl Iterator<Item = &'a Permission>) -> Rights {
        let mut rights = Rights::default();
        permissions.for_each(|permission| rights.add(permission));
        rights
    }

    pub fn add(&mut self, permission: &Permission) {
        let range = KeyRange::new(permission.key.clone(), permission.range_end.clone());
        let (reads, writes) = match permission.kind {
            PermissionKind::Read => (true, false),
            PermissionKind::Write => (false, true),
            PermissionKind::ReadWrite => (true, true),
            PermissionKind::Unknown(_) => (false, false),
        };
        if reads {
            self.read.insert_as_span(&range);
        }
        if writes {
            self.write.insert_as_span(&range);
        }
    }

    /// Whether every key of `range` is granted. Of an empty range, whether its first key is (as etcd's interval
    /// tree has it).
    pub fn cover(&self, range: &KeyRange, right: Right) -> bool {
        self.of_right(right).covers(range)
    }

    /// Where the granted interval that holds `key` ends (itself not granted); `None`: `key` is not granted.
    pub fn end_at(&self, key: &[u8], right: Right) -> Option<SpanEnd<'_>> {
        self.of_right(right).span_end(key)
    }

    #[cfg(test)]
    pub fn interval_count(&self, right: Right) -> usize {
        self.of_right(right).span_count()
    }

    fn of_right(&self, right: Right) -> &KeySet {
        match right {
            Right::Read => &self.read,
            Right::Write => &self.write,
        }
    }
}

/// What the root role is shown to have (AUTH-3).
pub(super) fn everything() -> Permission {
    let range_end = Bytes::from_static(&[0]);
    Permission { kind: PermissionKind::ReadWrite, key: Bytes::new(), range_end }
}

/// AUTH-6: a key, and no end, an end above it, or none at all.
pub(super) fn is_legal(permission: &Permission) -> bool {
    let Permission { key, range_end, .. } = permission;
    !key.is_empty() && (range_end.is_empty() || key < range_end || range_end[..] == [0])
}
