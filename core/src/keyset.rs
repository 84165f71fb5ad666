//! Sets of keys, infinite ones too, made of the ranges of requests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use crate::base::{KeyRange, RangeEnd};

/// A union of key ranges that answers whether it holds a key.
/// Cost: O(log n) for a look-up, amortised O(log n) for an insertion (swallowed spans are dropped).
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySet {
    points: BTreeSet<Bytes>,
    /// Start to end (exclusive; `None` = no end). Invariant: no two spans touch.
    spans: BTreeMap<Bytes, Option<Bytes>>,
}

/// Where a span ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanEnd<'a> {
    /// Before this key.
    At(&'a Bytes),
    Never,
}

impl KeySet {
    /// Adds the keys of `range`; an empty range adds nothing.
    pub fn insert(&mut self, range: &KeyRange) {
        match &range.end {
            RangeEnd::Single => {
                self.points.insert(range.start.clone());
            }
            RangeEnd::Before(_) if range.is_empty() => {}
            RangeEnd::Before(end) => self.insert_span(range.start.clone(), Some(end.clone())),
            RangeEnd::Unbounded => self.insert_span(range.start.clone(), None),
        }
    }

    /// Adds the keys of `range`, a single key as the interval from it to its successor: it joins what it touches.
    /// For sets that are asked with `covers`; `contains` knows both shapes.
    pub fn insert_as_span(&mut self, range: &KeyRange) {
        match &range.end {
            RangeEnd::Single => self.insert_span(range.start.clone(), Some(successor(&range.start))),
            RangeEnd::Before(_) | RangeEnd::Unbounded => self.insert(range),
        }
    }

    /// Whether one span holds all keys of `range`, the first one also if the range is empty.
    pub fn covers(&self, range: &KeyRange) -> bool {
        let Some(span_end) = self.span_end(&range.start) else { return false };
        match (&range.end, span_end) {
            (_, SpanEnd::Never) | (RangeEnd::Single, _) => true,
            (RangeEnd::Before(end), SpanEnd::At(span_end)) => end <= span_end,
            (RangeEnd::Unbounded, SpanEnd::At(_)) => false,
        }
    }

    /// Where the span that holds `key` ends; `None`: no span holds it.
    pub fn span_end(&self, key: &[u8]) -> Option<SpanEnd<'_>> {
        let (_, end) = self.span_from(key)?;
        match end {
            None => Some(SpanEnd::Never),
            Some(end) => (key < &end[..]).then_some(SpanEnd::At(end)),
        }
    }

    /// Spans, for tests of how much was merged.
    #[cfg(test)]
    pub fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// Adds all keys of `other`.
    pub fn append(&mut self, mut other: KeySet) {
        self.points.append(&mut other.points);
        for (start, end) in other.spans {
            self.insert_span(start, end);
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.points.contains(key) || self.span_holds(key)
    }

    fn span_holds(&self, key: &[u8]) -> bool {
        self.span_end(key).is_some()
    }

    /// The last span that starts at or below `key`.
    fn span_from(&self, key: &[u8]) -> Option<(&Bytes, &Option<Bytes>)> {
        self.spans.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()
    }

    fn insert_span(&mut self, mut start: Bytes, mut end: Option<Bytes>) {
        // Spans that touch the new one: the one before it, then those that start inside or at its end.
        let before = self.span_from(&start).filter(|(_, end)| end.as_ref().is_none_or(|end| *end >= start));
        if let Some((earlier, _)) = before {
            start = earlier.clone();
        }
        while let Some((touching, its_end)) = self.spans.range(start.clone()..).next() {
            if end.as_ref().is_some_and(|end| touching > end) {
                break;
            }
            end = match (end, its_end) {
                (Some(end), Some(its_end)) => Some(end.max(its_end.clone())),
                _ => None,
            };
            let touching = touching.clone();
            self.spans.remove(&touching);
        }
        self.spans.insert(start, end);
    }
}

/// The least key above `key`.
fn successor(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::new(Bytes::from(key), Bytes::from(end))
    }

    #[test]
    fn spans_that_touch_become_one() {
        let mut set = KeySet::default();
        for (key, end) in [("b", "d"), ("f", "h"), ("d", "f"), ("x", "a"), ("m", "")] {
            set.insert(&range(key, end));
        }
        assert_eq!(set.spans.len(), 1);
        for inside in ["b", "d", "ff", "m"] {
            assert!(set.contains(inside.as_bytes()), "{inside}");
        }
        for outside in ["a", "h", "x", "mm"] {
            assert!(!set.contains(outside.as_bytes()), "{outside}");
        }
    }

    #[test]
    fn unbounded_span_swallows_all_behind_its_start() {
        let mut set = KeySet::default();
        set.insert(&range("p", "q"));
        set.insert(&range("c", "\0"));
        set.insert(&range("a", "b"));
        assert_eq!(set.spans.len(), 2);
        assert!(set.contains(b"zzz"));
        assert!(!set.contains(b"bb"));
    }

    #[test]
    fn a_span_covers_what_it_holds_whole_and_single_keys_close_gaps() {
        let mut set = KeySet::default();
        for (key, end) in [("a", "c"), ("c", ""), ("c\0", "e"), ("x", "\0")] {
            set.insert_as_span(&range(key, end));
        }
        assert_eq!(set.spans.len(), 2);
        for (key, end) in [("a", "e"), ("b", "c\0"), ("d", ""), ("x", "\0"), ("y", "z"), ("d", "a")] {
            assert!(set.covers(&range(key, end)), "{key} {end}");
        }
        for (key, end) in [("a", "f"), ("d", "\0"), ("e", ""), ("e", "f"), ("e", "a"), ("w", "y")] {
            assert!(!set.covers(&range(key, end)), "{key} {end}");
        }
    }

    /// Random ranges over two-letter keys against a plain list of all of them.
    #[test]
    fn agrees_with_a_list_of_ranges() {
        use rand::{Rng, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        for _ in 0..300 {
            let (mut set, mut other, mut list) = (KeySet::default(), KeySet::default(), Vec::new());
            for _ in 0..rng.random_range(0..12) {
                let mut key = || Bytes::copy_from_slice(&[rng.random_range(1..12)]);
                let (start, end) = (key(), key());
                let range = match rng.random_range(0..8) {
                    0 => KeyRange::single(start),
                    1 => KeyRange { start, end: RangeEnd::Unbounded },
                    _ => KeyRange { start, end: RangeEnd::Before(end) },
                };
                if rng.random() { &mut set } else { &mut other }.insert(&range);
                list.push(range);
            }
            set.append(other);
            for key in 0..14 {
                let listed = list.iter().any(|range| range.contains(&[key]));
                assert_eq!(set.contains(&[key]), listed, "key {key} of {list:?}");
            }
        }
    }
}
