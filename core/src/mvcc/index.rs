//! The key index: from key to its changes, with counts.
//!
//! An order-statistic B+tree. Sketch: 36 bytes a key in leaves whose capacity follows their fill (about 40
//! with the slack), 88 bytes a leaf above them; keys are shared with history. A look-up in a million keys
//! goes through three levels and looks at one key in each; the lower two are cold: about six cache misses.

use super::changes::{Change, Changes};
use super::node::{Child, Entry, HEIGHT_MAX, Node, child_position};
use super::record::Rev;
use super::sorted::Sorted;
use super::walk::Walk;
use crate::base::{Key, KeyRange};

/// Every key of which history holds a change.
#[derive(Debug)]
pub(super) struct Index {
    root: Child,
    /// Inner levels.
    height: usize,
}

/// Where a key lies in the index, or would lie; valid until the index changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Position of the child taken at each inner level, from the root.
    steps: [u16; HEIGHT_MAX],
    /// Position in the leaf.
    slot: u16,
    /// Whether the key is there.
    pub found: bool,
}

impl Default for Index {
    fn default() -> Index {
        let root = Child { first: Key::from([]), live: 0, main_max: 0, node: Node::Leaf(Sorted::default()) };
        Index { root, height: 0 }
    }
}

impl Index {
    /// Keys whose newest change is not a tombstone.
    pub fn live(&self) -> u64 {
        self.root.live
    }

    pub fn get(&self, key: &[u8]) -> Option<&Changes> {
        let mut node = &self.root.node;
        loop {
            match node {
                Node::Inner(children) => node = &children.items()[child_position(children, key)].node,
                Node::Leaf(entries) => {
                    let slot = entries.search(key).ok()?;
                    return Some(&entries.items()[slot].changes);
                }
            }
        }
    }

    pub fn locate(&self, key: &[u8]) -> Place {
        let mut steps = [0; HEIGHT_MAX];
        let mut level = 0;
        let mut node = &self.root.node;
        loop {
            match node {
                Node::Inner(children) => {
                    let at = child_position(children, key);
                    steps[level] = at as u16;
                    level += 1;
                    node = &children.items()[at].node;
                }
                Node::Leaf(entries) => {
                    let (slot, found) = match entries.search(key) {
                        Ok(slot) => (slot, true),
                        Err(slot) => (slot, false),
                    };
                    return Place { steps, slot: slot as u16, found };
                }
            }
        }
    }

    /// The entry at a place where the key was found.
    pub fn entry(&self, place: &Place) -> &Entry {
        assert!(place.found, "no entry where the key is not");
        let mut node = &self.root.node;
        let mut steps = place.steps.iter();
        loop {
            match node {
                Node::Inner(children) => {
                    let step = *steps.next().expect("a step for each level");
                    node = &children.items()[usize::from(step)].node;
                }
                Node::Leaf(entries) => return &entries.items()[usize::from(place.slot)],
            }
        }
    }

    /// Adds a change of a key that is there.
    pub fn push(&mut self, place: &Place, change: Change) {
        let was_live = self.entry(place).changes.newest().live;
        let mut child = &mut self.root;
        let mut steps = place.steps.iter();
        loop {
            child.live -= u64::from(was_live);
            child.add(u64::from(change.live), change.main);
            match &mut child.node {
                Node::Inner(children) => {
                    let step = *steps.next().expect("a step for each level");
                    child = &mut children.items_mut()[usize::from(step)];
                }
                Node::Leaf(entries) => {
                    return entries.items_mut()[usize::from(place.slot)].changes.push(change);
                }
            }
        }
    }

    /// Adds a key that is not there, with its first change.
    pub fn insert(&mut self, place: &Place, key: Key, change: Change) {
        assert!(!place.found, "a key is added once");
        let entry = Entry { key, changes: Changes::One(change) };
        let steps = &place.steps[..self.height];
        let Some(right) = self.root.insert(steps, usize::from(place.slot), entry) else { return };
        let left = std::mem::replace(&mut self.root, Index::default().root);
        self.root = Child::above(left, right);
        self.height += 1;
        assert!(self.height <= HEIGHT_MAX, "16^8 keys do not fit in memory");
    }

    /// Removes at most `count_max` of the changes of a key that a compaction at `target` removes; see
    /// `Changes::trim`. With its last change the key goes.
    pub fn trim(&mut self, place: &Place, target: i64, count_max: usize, removed: &mut Vec<Rev>) {
        assert!(place.found, "no entry where the key is not");
        let mut node = &mut self.root.node;
        let mut steps = place.steps.iter();
        let entry = loop {
            match node {
                Node::Inner(children) => {
                    let step = *steps.next().expect("a step for each level");
                    node = &mut children.items_mut()[usize::from(step)].node;
                }
                Node::Leaf(entries) => break &mut entries.items_mut()[usize::from(place.slot)],
            }
        };
        entry.changes.trim(target, count_max, removed);
        if let Changes::One(last) = entry.changes
            && removed.len() < count_max
            && entry.changes.is_superfluous(target)
        {
            removed.push(last.rev());
            self.remove(place);
        }
    }

    fn remove(&mut self, place: &Place) {
        self.root.remove(&place.steps[..self.height], usize::from(place.slot));
        if let Node::Inner(children) = &mut self.root.node
            && children.len() == 1
        {
            self.root = children.pop().expect("just counted");
            self.height -= 1;
        }
    }

    /// A walk over the keys of `range` in order, from the first one at or (`after`) behind `bound`.
    pub fn walk<'a>(&'a self, range: &'a KeyRange, bound: &[u8], after: bool) -> Walk<'a> {
        Walk::new(&self.root, range, bound, after)
    }

    #[cfg(test)]
    pub fn root(&self) -> (&Child, usize) {
        (&self.root, self.height)
    }
}
