//! Items of one node of the key index, sorted by key, found with one look at a key.

use std::cmp::Ordering;

use crate::base::Key;

/// Capacity of a list grows by this many: half-full nodes would else hold a third of the index empty.
const GROWTH: usize = 8;

/// What has a key to be sorted by.
pub(super) trait Keyed {
    fn key(&self) -> &Key;
}

/// Items sorted by key, with four bytes of each key beside each other.
/// Keys lie far apart in memory: a binary search over them would miss the cache at every step. Neighbours
/// share a prefix, and the four bytes behind it mostly tell them apart.
#[derive(Debug)]
pub(super) struct Sorted<T> {
    /// Bytes that all keys have in common; perhaps not all such bytes.
    skip: u32,
    /// `head_of` each key behind the prefix. Shape: rising, not strictly; parallel to `items`.
    heads: Vec<u32>,
    items: Vec<T>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Sorted<T> {
        Sorted { skip: 0, heads: Vec::new(), items: Vec::new() }
    }
}

impl<T> Sorted<T> {
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// The items, to change anything but their keys.
    pub fn items_mut(&mut self) -> &mut [T] {
        &mut self.items
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn pop(&mut self) -> Option<T> {
        self.heads.pop();
        self.items.pop()
    }

    pub fn remove(&mut self, at: usize) -> T {
        self.heads.remove(at);
        self.items.remove(at)
    }
}

impl<T: Keyed> Sorted<T> {
    pub fn new(items: Vec<T>) -> Sorted<T> {
        let mut sorted = Sorted { skip: 0, heads: Vec::new(), items };
        sorted.rehead();
        sorted
    }

    /// The item of `key` (`Ok`), or where it belongs (`Err`).
    pub fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let skip = self.skip as usize;
        let head = head_of(key, skip);
        let low = self.heads.partition_point(|other| *other < head);
        let equal = self.heads[low..].iter().take_while(|other| **other == head).count();
        let at = match self.items[low..low + equal].binary_search_by(|item| item.key()[..].cmp(key)) {
            Ok(at) => return Ok(low + at),
            Err(at) => low + at,
        };
        // The head spoke for the key if it has the prefix of the others; else it lies beside them all.
        // Asking always the first item keeps the inner nodes' in cache.
        let Some(first) = self.items.first() else { return Err(0) };
        match key[..skip.min(key.len())].cmp(&first.key()[..skip]) {
            Ordering::Less => Err(0),
            Ordering::Equal => Err(at),
            Ordering::Greater => Err(self.len()),
        }
    }

    /// Adds an item where its key belongs.
    pub fn insert(&mut self, at: usize, item: T) {
        let skip = self.skip as usize;
        // Between two others a key has their prefix.
        let has_prefix = (at > 0 && at < self.len())
            || self.items.first().is_some_and(|first| item.key().get(..skip) == Some(&first.key()[..skip]));
        if self.items.len() == self.items.capacity() {
            self.items.reserve_exact(GROWTH);
        }
        if has_prefix {
            if self.heads.len() == self.heads.capacity() {
                self.heads.reserve_exact(GROWTH);
            }
            self.heads.insert(at, head_of(item.key(), skip));
        }
        self.items.insert(at, item);
        if !has_prefix {
            self.rehead();
        }
    }

    /// Takes in the items of `more`, which lie behind these.
    pub fn append(&mut self, mut more: Sorted<T>) {
        self.items.reserve_exact(more.items.len());
        self.items.append(&mut more.items);
        self.rehead();
    }

    /// Keeps the first `keep` items; returns the others. Memory becomes exact.
    pub fn split_off(&mut self, keep: usize) -> Sorted<T> {
        let others = Sorted::new(self.items.split_off(keep));
        self.items.shrink_to_fit();
        self.rehead();
        others
    }

    /// Finds the prefix and the heads anew.
    fn rehead(&mut self) {
        let (Some(first), Some(last)) = (self.items.first(), self.items.last()) else {
            return *self = Sorted::default();
        };
        let skip = common_prefix(first.key(), last.key());
        if self.heads.capacity() < self.items.len() || self.heads.capacity() > self.items.len() + GROWTH {
            self.heads = Vec::with_capacity(self.items.len());
        }
        self.heads.clear();
        self.heads.extend(self.items.iter().map(|item| head_of(item.key(), skip)));
        self.skip = skip as u32;
    }

    /// Checks that heads and prefix are those of the keys.
    #[cfg(test)]
    pub fn check(&self) {
        let skip = self.skip as usize;
        assert_eq!(self.heads.len(), self.items.len());
        for (head, item) in self.heads.iter().zip(&self.items) {
            assert_eq!(*head, head_of(item.key(), skip));
            assert_eq!(item.key()[..skip], self.items[0].key()[..skip]);
        }
        assert!(self.items.windows(2).all(|pair| pair[0].key() < pair[1].key()), "keys rise");
    }
}

/// Four bytes of `key` from `skip` on, filled up with zeros, as a number of the same order.
fn head_of(key: &[u8], skip: usize) -> u32 {
    let rest = key.get(skip..).unwrap_or(&[]);
    if let Some(head) = rest.first_chunk::<4>() {
        return u32::from_be_bytes(*head);
    }
    let mut head = [0; 4];
    head[..rest.len()].copy_from_slice(rest);
    u32::from_be_bytes(head)
}

fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    impl Keyed for Key {
        fn key(&self) -> &Key {
            self
        }
    }

    /// Keys that share prefixes, are prefixes of each other, and hold zeros.
    fn random_key(rng: &mut ChaCha8Rng) -> Key {
        let prefix: &[u8] = [&b""[..], b"a", b"abcd", b"abcdefgh", b"abcdefgi\0"][rng.random_range(0..5)];
        let rest = (0..rng.random_range(0..7)).map(|_| [0, 1, b'a', 255][rng.random_range(0..4)]);
        prefix.iter().copied().chain(rest).collect()
    }

    #[test]
    fn search_finds_what_a_search_by_whole_keys_finds() {
        for seed in 0..300 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut sorted: Sorted<Key> = Sorted::default();
            for _ in 0..200 {
                let key = random_key(&mut rng);
                let expected = sorted.items().binary_search(&key);
                assert_eq!(sorted.search(&key), expected, "{key:?} in {:?}", sorted.items());
                match expected {
                    Ok(at) if rng.random_bool(0.5) => drop(sorted.remove(at)),
                    Ok(_) => {}
                    Err(at) => sorted.insert(at, key),
                }
                if sorted.len() == 60 {
                    let others = sorted.split_off(rng.random_range(1..60));
                    others.check();
                    sorted = if rng.random_bool(0.5) { others } else { sorted };
                }
                sorted.check();
            }
        }
    }

    #[test]
    fn keys_alike_in_prefix_and_head_are_told_apart() {
        let keys: Vec<Key> = (0..50).map(|n| format!("prefix-same-{n:02}").into_bytes().into()).collect();
        let mut sorted = Sorted::new(keys.clone());
        sorted.insert(0, b"other"[..].into());
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(sorted.search(key), Ok(at + 1));
            assert_eq!(sorted.search(&[key, &b"\0"[..]].concat()), Err(at + 2));
        }
    }
}
