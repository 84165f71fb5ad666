//! The changes of one key, as the index holds them.

use std::collections::VecDeque;

use super::record::Rev;

/// One change: its place in history, and whether it left the key alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub main: i64,
    pub sub: u32,
    /// False for a tombstone.
    pub live: bool,
}

impl Change {
    pub fn rev(self) -> Rev {
        Rev { main: self.main, sub: self.sub }
    }
}

/// The changes of one key that history still holds, oldest first.
/// Shape: strictly rising by place; never empty while it lies in the index.
/// Most keys have one change between compactions: it lies inline, so that such a key costs no allocation.
#[derive(Debug)]
pub(super) enum Changes {
    One(Change),
    #[expect(clippy::box_collection, reason = "a VecDeque in place would double every entry of the index")]
    Many(Box<VecDeque<Change>>),
}

const _: () = assert!(size_of::<Changes>() == 16);

impl Changes {
    pub fn newest(&self) -> Change {
        match self {
            Changes::One(change) => *change,
            Changes::Many(list) => *list.back().expect("Many holds at least two changes"),
        }
    }

    /// The newest change at or below main revision `main`.
    pub fn at(&self, main: i64) -> Option<Change> {
        let newest = self.newest();
        if newest.main <= main {
            return Some(newest);
        }
        let Changes::Many(list) = self else { return None };
        let above = list.partition_point(|change| change.main <= main);
        above.checked_sub(1).map(|position| list[position])
    }

    /// As `at`, if that change left the key alive.
    pub fn live_at(&self, main: i64) -> Option<Change> {
        self.at(main).filter(|change| change.live)
    }

    /// Adds the newest change.
    pub fn push(&mut self, change: Change) {
        assert!(self.newest().rev() < change.rev(), "changes of a key rise");
        match self {
            Changes::One(first) => {
                let mut list = VecDeque::with_capacity(2);
                list.push_back(*first);
                list.push_back(change);
                *self = Changes::Many(Box::new(list));
            }
            Changes::Many(list) => list.push_back(change),
        }
    }

    /// Whether a compaction at `target` removes any of the changes.
    pub fn has_superfluous(&self, target: i64) -> bool {
        match self {
            Changes::One(_) => self.is_superfluous(target),
            Changes::Many(list) => {
                let count = list.partition_point(|change| change.main <= target);
                (0..count).any(|at| !stays(list[at], at + 1 == count, target))
            }
        }
    }

    /// Whether a compaction at `target` removes the only change, and so the key.
    pub fn is_superfluous(&self, target: i64) -> bool {
        matches!(self, Changes::One(change) if change.main <= target && !stays(*change, true, target))
    }

    /// Removes at most `count_max` changes, oldest first, that a compaction at `target` removes, and adds
    /// their places to `removed`. The last change is left in any case.
    pub fn trim(&mut self, target: i64, count_max: usize, removed: &mut Vec<Rev>) {
        let Changes::Many(list) = self else { return };
        let mut count = list.partition_point(|change| change.main <= target);
        let mut at = 0;
        while at < count && list.len() > 1 && removed.len() < count_max {
            if stays(list[at], at + 1 == count, target) {
                at += 1;
                continue;
            }
            // Near the front, where the shorter part moves: what stays before it is at `target` itself.
            removed.extend(list.remove(at).map(Change::rev));
            count -= 1;
        }
        if list.len() == 1 {
            *self = Changes::One(list[0]);
        } else if list.len() * 4 <= list.capacity() {
            list.shrink_to(list.len() * 2);
        }
    }

    #[cfg(test)]
    pub fn to_vec(&self) -> Vec<Change> {
        match self {
            Changes::One(change) => vec![*change],
            Changes::Many(list) => list.iter().copied().collect(),
        }
    }
}

/// Whether a change at or below `target` outlives a compaction there (CMP-1): as the `newest` such change of
/// its key if it is a put; as a tombstone at `target`, which a watch from there is to see.
fn stays(change: Change, newest: bool, target: i64) -> bool {
    match change.live {
        true => newest,
        false => change.main == target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(main: i64, sub: u32, live: bool) -> Change {
        Change { main, sub, live }
    }

    #[test]
    fn change_at_a_revision_is_the_last_one_inside_it() {
        let mut changes = Changes::One(change(3, 0, true));
        changes.push(change(5, 0, true));
        changes.push(change(5, 4, false));
        changes.push(change(9, 1, true));
        assert_eq!(changes.at(2), None);
        assert_eq!(changes.at(4), Some(change(3, 0, true)));
        assert_eq!(changes.at(5), Some(change(5, 4, false)));
        assert_eq!(changes.live_at(8), None);
        assert_eq!(changes.live_at(9), Some(change(9, 1, true)));
    }

    #[test]
    fn trim_goes_on_where_it_stopped_and_leaves_one_inline() {
        let mut changes = Changes::One(change(3, 0, true));
        (4..9).for_each(|main| changes.push(change(main, 0, main != 8)));
        let mut removed = Vec::new();
        changes.trim(7, 2, &mut removed);
        assert_eq!((removed.len(), changes.to_vec().len(), changes.has_superfluous(7)), (2, 4, true));
        changes.trim(7, 9, &mut removed);
        assert_eq!(removed.iter().map(|rev| rev.main).collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(changes.to_vec(), [change(7, 0, true), change(8, 0, false)]);
        changes.trim(9, 9, &mut removed);
        assert!(matches!(changes, Changes::One(Change { main: 8, .. })));
        assert_eq!((changes.is_superfluous(8), changes.is_superfluous(9)), (false, true));
    }

    #[test]
    fn trim_keeps_tombstones_at_its_target_wherever_they_lie() {
        let mut changes = Changes::One(change(3, 0, true));
        for (sub, live) in [true, false, true, false, true].into_iter().enumerate() {
            changes.push(change(5, sub as u32, live));
        }
        let mut removed = Vec::new();
        changes.trim(5, 9, &mut removed);
        let left = [change(5, 1, false), change(5, 3, false), change(5, 4, true)];
        assert_eq!((changes.to_vec(), removed.len()), (left.to_vec(), 3));
    }
}
