//! Nodes of the key index: how they are searched, split and joined.

use super::changes::{Change, Changes};
use super::sorted::{Keyed, Sorted};
use crate::base::Key;

/// Keys in a leaf, or children of an inner node, at most.
pub(super) const NODE_MAX: usize = 64;

/// The same at least, except in the root.
pub(super) const NODE_MIN: usize = NODE_MAX / 4;

/// Two neighbours are joined up to this size; beyond it they share evenly, so that neither is soon full again.
const NODE_JOIN_MAX: usize = NODE_MAX * 3 / 4;

/// Inner levels above a leaf at most: 16^8 keys. Every recursion over nodes ends there.
pub(super) const HEIGHT_MAX: usize = 8;

/// A key and what happened to it.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: Key,
    pub changes: Changes,
}

const _: () = assert!(size_of::<Entry>() == 32);

impl Keyed for Entry {
    fn key(&self) -> &Key {
        &self.key
    }
}

impl Keyed for Child {
    fn key(&self) -> &Key {
        &self.first
    }
}

/// A subtree with the sums that let a count skip it.
/// Invariant: `first` is at or below every key that belongs inside and above every key of the sibling before;
/// that of an inner node's first child is the node's own, and empty on the left edge of the tree.
#[derive(Debug)]
pub(super) struct Child {
    pub first: Key,
    /// Keys whose newest change is not a tombstone.
    pub live: u64,
    /// Highest main revision of a change inside. Of changes that compaction removed as well, until the node
    /// is split or joined; no read below those is allowed, so they mislead nobody.
    pub main_max: i64,
    pub node: Node,
}

#[derive(Debug)]
pub(super) enum Node {
    Leaf(Sorted<Entry>),
    /// All at one height.
    Inner(Sorted<Child>),
}

impl Node {
    pub fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(children) => children.len(),
        }
    }
}

/// Position of the child in which `key` lies or would lie.
pub(super) fn child_position(children: &Sorted<Child>, key: &[u8]) -> usize {
    children.search(key).unwrap_or_else(|behind| behind.saturating_sub(1))
}

impl Child {
    /// A subtree of `node`, which is not empty.
    fn new(node: Node) -> Child {
        let first = match &node {
            Node::Leaf(entries) => entries.items()[0].key.clone(),
            Node::Inner(children) => children.items()[0].first.clone(),
        };
        let mut child = Child { first, live: 0, main_max: 0, node };
        child.recount();
        child
    }

    /// The parent of two halves of a root.
    pub fn above(left: Child, right: Child) -> Child {
        Child::new(Node::Inner(Sorted::new(vec![left, right])))
    }

    /// Adds an entry where `steps` (one a level) and `slot` (in the leaf) say.
    /// Returns the right half if the node had to be split. Recursion: one call a level.
    pub fn insert(&mut self, steps: &[u16], slot: usize, entry: Entry) -> Option<Child> {
        let newest = entry.changes.newest();
        self.add(u64::from(newest.live), newest.main);
        let at = match &mut self.node {
            Node::Leaf(entries) => {
                entries.insert(slot, entry);
                slot
            }
            Node::Inner(children) => {
                let (&step, steps) = steps.split_first().expect("a step for each level");
                let at = usize::from(step);
                let right = children.items_mut()[at].insert(steps, slot, entry)?;
                children.insert(at + 1, right);
                at + 1
            }
        };
        let len = self.node.len();
        // Keys that arrive in order fill nodes from the left: the left half is never touched again.
        let keep = if at + 1 == len { NODE_JOIN_MAX } else { len / 2 };
        (len > NODE_MAX).then(|| self.split(keep))
    }

    /// Removes the entry where `steps` and `slot` say; its newest change must be a tombstone.
    /// Recursion: one call a level.
    pub fn remove(&mut self, steps: &[u16], slot: usize) -> Entry {
        match &mut self.node {
            Node::Leaf(entries) => {
                let entry = entries.remove(slot);
                assert!(!entry.changes.newest().live, "a live key stays in the index");
                entry
            }
            Node::Inner(children) => {
                let (&step, steps) = steps.split_first().expect("a step for each level");
                let entry = children.items_mut()[usize::from(step)].remove(steps, slot);
                mend(children, usize::from(step));
                entry
            }
        }
    }

    /// Notes a change inside that made `live` more keys alive.
    pub fn add(&mut self, live: u64, main: i64) {
        self.live += live;
        self.main_max = self.main_max.max(main);
    }

    fn recount(&mut self) {
        let of_entry = |change: Change| (u64::from(change.live), change.main);
        let sum = |(live, max): (u64, i64), (more, main): (u64, i64)| (live + more, max.max(main));
        (self.live, self.main_max) = match &self.node {
            Node::Leaf(entries) => {
                entries.items().iter().map(|entry| of_entry(entry.changes.newest())).fold((0, 0), sum)
            }
            Node::Inner(children) => {
                children.items().iter().map(|child| (child.live, child.main_max)).fold((0, 0), sum)
            }
        };
    }

    /// Keeps the first `keep` entries or children; returns a node of the others.
    fn split(&mut self, keep: usize) -> Child {
        let right = match &mut self.node {
            Node::Leaf(entries) => Node::Leaf(entries.split_off(keep)),
            Node::Inner(children) => Node::Inner(children.split_off(keep)),
        };
        self.recount();
        Child::new(right)
    }

    /// Takes in the sibling behind this one, of the same height.
    fn join(&mut self, right: Child) {
        self.live += right.live;
        self.main_max = self.main_max.max(right.main_max);
        match (&mut self.node, right.node) {
            (Node::Leaf(entries), Node::Leaf(more)) => entries.append(more),
            (Node::Inner(children), Node::Inner(more)) => children.append(more),
            (Node::Leaf(_), Node::Inner(_)) | (Node::Inner(_), Node::Leaf(_)) => {
                unreachable!("siblings have one height")
            }
        }
    }
}

/// Refills the child at `at` from a neighbour if it became too small.
fn mend(children: &mut Sorted<Child>, at: usize) {
    if children.items()[at].node.len() >= NODE_MIN {
        return;
    }
    assert!(children.len() >= 2, "an inner node has two children");
    let left = at.saturating_sub(1);
    let right = children.remove(left + 1);
    let left_child = &mut children.items_mut()[left];
    left_child.join(right);
    let len = left_child.node.len();
    if len > NODE_JOIN_MAX {
        let right = left_child.split(len / 2);
        children.insert(left + 1, right);
    }
}
