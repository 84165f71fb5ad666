//! The tree's own rules, checked node by node, and its behaviour at sizes that need several levels.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::changes::{Change, Changes};
use super::index::Index;
use super::node::{Child, NODE_MAX, NODE_MIN, Node};
use super::walk::Step;
use crate::base::{Key, KeyRange};

/// What a subtree holds, counted one by one.
#[derive(Default)]
struct Counted {
    keys: usize,
    live: u64,
    main_max: i64,
    last: Option<Key>,
}

/// Checks the rules of `Child` and `Node` all over the tree; returns its number of keys.
/// `compacted`: sums may still know changes at or below this revision that are gone.
pub(super) fn check_index(index: &Index, compacted: i64) -> usize {
    let (root, height) = index.root();
    let mut seen = Counted::default();
    check_child(root, height, compacted, true, &mut seen);
    seen.keys
}

fn check_child(child: &Child, height: usize, compacted: i64, is_root: bool, seen: &mut Counted) {
    let len = child.node.len();
    assert!(len <= NODE_MAX, "a node has room for itself");
    assert!(is_root || len >= NODE_MIN, "no node but the root is nearly empty");
    assert!(seen.last.as_ref().is_none_or(|last| *last < child.first), "first lies above the sibling before");
    let mut here = Counted { last: seen.last.clone(), ..Counted::default() };
    match &child.node {
        Node::Leaf(entries) => {
            assert_eq!(height, 0, "leaves lie at one height");
            entries.check();
            for entry in entries.items() {
                check_changes(&entry.changes);
                assert!(child.first <= entry.key, "first lies below the keys");
                assert!(here.last.as_ref().is_none_or(|last| *last < entry.key), "keys rise");
                here.last = Some(entry.key.clone());
                here.keys += 1;
                here.live += u64::from(entry.changes.newest().live);
                here.main_max = here.main_max.max(entry.changes.newest().main);
            }
        }
        Node::Inner(children) => {
            assert!(len >= 2, "an inner node has two children");
            children.check();
            assert_eq!(child.first, children.items()[0].first, "the first child begins where the node does");
            for below in children.items() {
                check_child(below, height - 1, compacted, false, &mut here);
            }
        }
    }
    assert_eq!(here.live, child.live);
    assert!(here.main_max <= child.main_max, "no change is above the sum");
    assert!(here.main_max.max(compacted) >= child.main_max, "only removed changes may linger in the sum");
    seen.keys += here.keys;
    seen.live += here.live;
    seen.main_max = seen.main_max.max(here.main_max);
    seen.last = here.last;
}

fn check_changes(changes: &Changes) {
    let list = changes.to_vec();
    assert!(!list.is_empty());
    assert_eq!(list.len() == 1, matches!(changes, Changes::One(_)), "a single change lies inline");
    assert!(list.windows(2).all(|pair| pair[0].rev() < pair[1].rev()), "changes rise");
}

fn key(number: u32) -> Key {
    format!("/registry/pods/default/name-{number:06}").into_bytes().into()
}

fn set(index: &mut Index, key: &Key, main: i64, live: bool) {
    let change = Change { main, sub: 0, live };
    let place = index.locate(key);
    match place.found {
        true => index.push(&place, change),
        false => index.insert(&place, key.clone(), change),
    }
}

/// Deletes `key` and removes all that is known of it.
fn erase(index: &mut Index, key: &Key, main: i64) {
    set(index, key, main, false);
    let known = index.get(key).expect("just set").to_vec().len();
    let mut removed = Vec::new();
    index.trim(&index.locate(key), main + 1, usize::MAX, &mut removed);
    assert_eq!(removed.len(), known);
    assert!(!index.locate(key).found);
}

fn count(index: &Index, range: &KeyRange, rev: i64) -> (u64, u32) {
    let mut walk = index.walk(range, &[], false);
    let (mut live, mut steps) = (0, 0);
    while let Some(step) = walk.next(|child| child.main_max <= rev) {
        steps += 1;
        live += match step {
            Step::Subtree(child) => child.live,
            Step::Key(entry) => u64::from(entry.changes.live_at(rev).is_some()),
        };
    }
    (live, steps)
}

const KEYS: u32 = 20_000;

fn orders() -> Vec<Vec<u32>> {
    let rising: Vec<u32> = (0..KEYS).collect();
    let falling: Vec<u32> = (0..KEYS).rev().collect();
    let mut random = rising.clone();
    random.shuffle(&mut ChaCha8Rng::seed_from_u64(7));
    vec![rising, falling, random]
}

#[test]
fn tree_stays_in_shape_whatever_the_order_of_inserts_and_removals() {
    for inserts in orders() {
        for removals in orders() {
            let mut index = Index::default();
            for (at, &number) in inserts.iter().enumerate() {
                set(&mut index, &key(number), at as i64 + 2, true);
            }
            assert_eq!(check_index(&index, -1), KEYS as usize);
            assert_eq!(index.live(), u64::from(KEYS));
            let mut main = i64::from(KEYS) + 2;
            for (at, &number) in removals.iter().enumerate() {
                erase(&mut index, &key(number), main);
                main += 1;
                if at % 4999 == 0 {
                    assert_eq!(check_index(&index, main), KEYS as usize - at - 1);
                }
            }
            let (root, height) = index.root();
            assert_eq!((root.node.len(), height, index.live()), (0, 0, 0));
        }
    }
}

#[test]
fn keys_in_order_fill_leaves_to_three_quarters() {
    let mut index = Index::default();
    (0..KEYS).for_each(|number| set(&mut index, &key(number), 2, true));
    let Node::Inner(children) = &index.root().0.node else { panic!("more than a leaf") };
    let leaves: usize = children.items().iter().map(|child| child.node.len()).sum();
    assert!(leaves <= KEYS as usize / (NODE_MAX * 3 / 4) + 2, "{leaves} leaves");
}

#[test]
fn count_passes_over_subtrees_that_did_not_change() {
    let mut index = Index::default();
    (0..KEYS).for_each(|number| set(&mut index, &key(number), 2, true));
    let range = KeyRange::new(Bytes::from(key(777).to_vec()), Bytes::from(key(19_222).to_vec()));
    let (live, steps) = count(&index, &range, 2);
    assert_eq!(live, 19_222 - 777);
    assert!(steps <= 4 * NODE_MAX as u32, "{steps} steps");

    // A few changes cost the leaves in which they lie, at an older revision only.
    (0..10).for_each(|at| set(&mut index, &key(1000 + at * 1500), 3, at % 2 == 0));
    let (live, steps) = count(&index, &range, 2);
    assert_eq!(live, 19_222 - 777);
    assert!(steps <= 14 * NODE_MAX as u32, "{steps} steps");
    let (live, steps) = count(&index, &range, 3);
    assert_eq!(live, 19_222 - 777 - 5);
    assert!(steps <= 4 * NODE_MAX as u32, "{steps} steps");
}

#[test]
fn random_changes_keep_tree_and_map_equal() {
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let keys = [30, 300, 3000][seed as usize % 3];
        let mut index = Index::default();
        let mut map: BTreeMap<Key, bool> = BTreeMap::new();
        for main in 2..6000 {
            let key = key(rng.random_range(0..keys));
            match rng.random_range(0..10) {
                // Long spells of growth and of shrinking, so that nodes both split and join.
                n if n < (if main / 1500 % 2 == 0 { 8 } else { 2 }) => {
                    let live = rng.random_bool(0.7);
                    set(&mut index, &key, main, live);
                    map.insert(key, live);
                }
                _ => {
                    let Some((key, _)) = map.range(key..).next() else { continue };
                    let key = key.clone();
                    erase(&mut index, &key, main);
                    map.remove(&key);
                }
            }
            if main % 100 == 0 {
                assert_eq!(check_index(&index, main), map.len());
            }
        }
        let range = KeyRange::all();
        let mut walk = index.walk(&range, &[], false);
        for (key, live) in &map {
            let Some(Step::Key(entry)) = walk.next(|_| false) else { panic!("a key is missing") };
            assert_eq!((&entry.key, entry.changes.newest().live), (key, *live));
            let found = index.get(key).map(|changes| changes.newest());
            assert_eq!(found, Some(entry.changes.newest()));
        }
        assert!(walk.next(|_| false).is_none());
    }
}
