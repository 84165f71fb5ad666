//! A walk over a range of the key index, which can pass over whole subtrees.

use super::node::{Child, Entry, HEIGHT_MAX, Node, child_position};
use crate::base::{Key, KeyRange, RangeEnd};

/// Where the walk is inside one inner node.
#[derive(Clone, Copy, Debug, Default)]
struct Frame<'a> {
    /// Children not yet entered.
    rest: &'a [Child],
    /// A bound above every key of the node; none on the right edge of the tree.
    upper: Option<&'a [u8]>,
}

/// What a walk meets.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Key(&'a Entry),
    /// A subtree that lies in the range as a whole and was not worth entering.
    Subtree(&'a Child),
}

impl<'a> Step<'a> {
    /// At or below every key of the step, above every key before it.
    pub fn bound(&self) -> &'a Key {
        match self {
            Step::Key(entry) => &entry.key,
            Step::Subtree(child) => &child.first,
        }
    }
}

/// Keys of a range in order.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    range: &'a KeyRange,
    frames: [Frame<'a>; HEIGHT_MAX],
    depth: usize,
    /// What is left of the current leaf.
    entries: &'a [Entry],
}

impl<'a> Walk<'a> {
    /// Starts at the first key of `range` at or (`after`, then it is a key of the range) behind `bound`.
    pub fn new(root: &'a Child, range: &'a KeyRange, bound: &[u8], after: bool) -> Walk<'a> {
        let mut walk = Walk { range, frames: [Frame::default(); HEIGHT_MAX], depth: 0, entries: &[] };
        let key = bound.max(&range.start[..]);
        let mut node = &root.node;
        let mut upper = None;
        loop {
            match node {
                Node::Inner(children) => {
                    let at = child_position(children, key);
                    walk.enter(&children.items()[at + 1..], upper);
                    upper = children.items().get(at + 1).map_or(upper, |next| Some(&next.first[..]));
                    node = &children.items()[at].node;
                }
                Node::Leaf(entries) => {
                    let slot = entries.search(key).map_or_else(|slot| slot, |slot| slot + usize::from(after));
                    walk.entries = &entries.items()[slot..];
                    return walk;
                }
            }
        }
    }

    /// The next key, or the next subtree of which `is_whole` wants no more than its sums.
    pub fn next(&mut self, is_whole: impl Fn(&Child) -> bool) -> Option<Step<'a>> {
        loop {
            if let Some((entry, rest)) = self.entries.split_first() {
                if !self.range.is_before_end(&entry.key) {
                    return None;
                }
                self.entries = rest;
                return Some(Step::Key(entry));
            }
            let (child, upper) = self.next_child()?;
            if is_whole(child) && self.ends_behind(upper) {
                return Some(Step::Subtree(child));
            }
            match &child.node {
                Node::Inner(children) => self.enter(children.items(), upper),
                Node::Leaf(entries) => self.entries = entries.items(),
            }
        }
    }

    fn enter(&mut self, rest: &'a [Child], upper: Option<&'a [u8]>) {
        self.frames[self.depth] = Frame { rest, upper };
        self.depth += 1;
    }

    /// The next subtree that may hold a key of the range, and a bound above its keys.
    fn next_child(&mut self) -> Option<(&'a Child, Option<&'a [u8]>)> {
        loop {
            let frame = &mut self.frames[self.depth.checked_sub(1)?];
            let Some((child, rest)) = frame.rest.split_first() else {
                self.depth -= 1;
                continue;
            };
            frame.rest = rest;
            if !self.range.is_before_end(&child.first) {
                return None;
            }
            let upper = rest.first().map_or(frame.upper, |next| Some(&next.first[..]));
            return Some((child, upper));
        }
    }

    /// Whether every key below `upper` lies before the range's end.
    fn ends_behind(&self, upper: Option<&[u8]>) -> bool {
        match (&self.range.end, upper) {
            (RangeEnd::Unbounded, _) => true,
            (RangeEnd::Before(end), Some(upper)) => upper <= &end[..],
            (RangeEnd::Before(_), None) | (RangeEnd::Single, _) => false,
        }
    }
}
