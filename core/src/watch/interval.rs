//! Which ranges contain a key: single keys by look-up, the others by a treap over their starts.
//!
//! Each node of the treap knows the furthest end below it, so that a stab visits O(log n + hits) nodes.
//! Priorities are a hash of the id: the shape is a function of what is in it, on every member.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::base::{KeyRange, RangeEnd};

/// Position in the arena; `NONE` where there is no node.
type At = u32;
const NONE: At = At::MAX;

/// Ranges by id; several may be equal.
#[derive(Debug)]
pub struct Intervals {
    single: BTreeMap<Bytes, BTreeSet<u64>>,
    nodes: Vec<Node>,
    free: Vec<At>,
    root: At,
}

#[derive(Debug)]
struct Node {
    start: Bytes,
    /// `None`: unbounded.
    end: Option<Bytes>,
    id: u64,
    priority: u64,
    left: At,
    right: At,
    /// The furthest end in the subtree.
    reach: Option<Bytes>,
}

impl Default for Intervals {
    fn default() -> Intervals {
        Intervals { single: BTreeMap::new(), nodes: Vec::new(), free: Vec::new(), root: NONE }
    }
}

impl Intervals {
    pub fn insert(&mut self, range: &KeyRange, id: u64) {
        let Some(end) = bounds(range) else {
            self.single.entry(range.start.clone()).or_default().insert(id);
            return;
        };
        let node = Node {
            start: range.start.clone(),
            reach: end.clone(),
            end,
            id,
            priority: mix(id),
            left: NONE,
            right: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                At::try_from(self.nodes.len() - 1).expect("far fewer watchers than that fit in memory")
            }
        };
        let (below, above) = self.split(self.root, &range.start, id);
        let left = self.merge(below, at);
        self.root = self.merge(left, above);
    }

    pub fn remove(&mut self, range: &KeyRange, id: u64) {
        if bounds(range).is_none() {
            if let Some(ids) = self.single.get_mut(&range.start) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.single.remove(&range.start);
                }
            }
            return;
        }
        let (below, rest) = self.split(self.root, &range.start, id);
        let (found, above) = self.split(rest, &range.start, id + 1);
        if found != NONE {
            self.free.push(found);
        }
        self.root = self.merge(below, above);
    }

    /// Ids of all ranges that contain `key`, into `hits`.
    pub fn stab(&self, key: &[u8], hits: &mut Vec<u64>) {
        if let Some(ids) = self.single.get(key) {
            hits.extend(ids);
        }
        let mut stack = Vec::new();
        if self.root != NONE {
            stack.push(self.root);
        }
        while let Some(at) = stack.pop() {
            let node = &self.nodes[at as usize];
            if node.reach.as_ref().is_some_and(|reach| &reach[..] <= key) {
                continue;
            }
            if node.left != NONE {
                stack.push(node.left);
            }
            if &node.start[..] <= key {
                if node.end.as_ref().is_none_or(|end| key < &end[..]) {
                    hits.push(node.id);
                }
                if node.right != NONE {
                    stack.push(node.right);
                }
            }
        }
    }

    /// Nodes below `(start, id)` and those at or above it. Depth: that of the treap, some 50 at a million.
    fn split(&mut self, at: At, start: &[u8], id: u64) -> (At, At) {
        if at == NONE {
            return (NONE, NONE);
        }
        let node = &self.nodes[at as usize];
        if (&node.start[..], node.id) < (start, id) {
            let (below, above) = self.split(node.right, start, id);
            self.nodes[at as usize].right = below;
            self.refresh(at);
            (at, above)
        } else {
            let (below, above) = self.split(node.left, start, id);
            self.nodes[at as usize].left = above;
            self.refresh(at);
            (below, at)
        }
    }

    /// One tree of two, all of `left` below all of `right`. Depth as `split`.
    fn merge(&mut self, left: At, right: At) -> At {
        if left == NONE {
            return right;
        }
        if right == NONE {
            return left;
        }
        if self.nodes[left as usize].priority >= self.nodes[right as usize].priority {
            let below = self.nodes[left as usize].right;
            self.nodes[left as usize].right = self.merge(below, right);
            self.refresh(left);
            left
        } else {
            let below = self.nodes[right as usize].left;
            self.nodes[right as usize].left = self.merge(left, below);
            self.refresh(right);
            right
        }
    }

    fn refresh(&mut self, at: At) {
        let node = &self.nodes[at as usize];
        let mut reach = node.end.clone();
        for child in [node.left, node.right] {
            if child != NONE {
                let other = &self.nodes[child as usize].reach;
                reach = match (reach, other) {
                    (Some(a), Some(b)) => Some(a.max(b.clone())),
                    _ => None,
                };
            }
        }
        self.nodes[at as usize].reach = reach;
    }
}

/// Where a range of more than one key ends: `Some(None)` = nowhere. `None`: a single key.
fn bounds(range: &KeyRange) -> Option<Option<Bytes>> {
    match &range.end {
        RangeEnd::Single => None,
        RangeEnd::Before(end) => Some(Some(end.clone())),
        RangeEnd::Unbounded => Some(None),
    }
}

/// splitmix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn key(rng: &mut ChaCha8Rng) -> Bytes {
        let len = rng.random_range(1..4);
        (0..len).map(|_| rng.random_range(b'a'..b'e')).collect::<Vec<u8>>().into()
    }

    #[test]
    fn stab_finds_what_a_scan_finds() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut intervals = Intervals::default();
        let mut model: BTreeMap<u64, KeyRange> = BTreeMap::new();
        for id in 0..3000 {
            let end = match rng.random_range(0..5) {
                0 => RangeEnd::Single,
                1 => RangeEnd::Unbounded,
                _ => RangeEnd::Before(key(&mut rng)),
            };
            let range = KeyRange { start: key(&mut rng), end };
            intervals.insert(&range, id);
            model.insert(id, range);
            if rng.random_bool(0.45) {
                let gone = *model.keys().nth(rng.random_range(0..model.len())).expect("not empty");
                let range = model.remove(&gone).expect("just seen");
                intervals.remove(&range, gone);
            }
            let probe = key(&mut rng);
            let mut hits = Vec::new();
            intervals.stab(&probe, &mut hits);
            hits.sort_unstable();
            let expected: Vec<u64> =
                model.iter().filter(|(_, range)| range.contains(&probe)).map(|(id, _)| *id).collect();
            assert_eq!(hits, expected);
        }
    }
}
