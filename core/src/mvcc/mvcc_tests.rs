//! One test a rule of the contract, by its fact.

use std::ops::ControlFlow;

use super::{HashRun, Mvcc, Record};
use crate::base::{KeyRange, KeyValue, LeaseId, Value};

const NO_LEASE: LeaseId = LeaseId(0);

fn value(text: &'static str) -> Value {
    Value::from_static(text.as_bytes())
}

/// One main revision of puts (`Some`) and deletes.
fn write(mvcc: &mut Mvcc, changes: &[(&str, Option<&'static str>)]) -> i64 {
    mvcc.begin();
    for &(key, text) in changes {
        match text {
            Some(text) => mvcc.put(key.as_bytes(), value(text), NO_LEASE),
            None => mvcc.delete(key.as_bytes()),
        };
    }
    mvcc.end();
    mvcc.revision()
}

fn finish(mvcc: &mut Mvcc) {
    assert!(mvcc.compact_step(&mut u32::MAX.clone()));
    assert!(!mvcc.is_compacting());
}

/// (main, sub, key, whether a put) of history.
fn history(mvcc: &Mvcc) -> Vec<(i64, u32, String, bool)> {
    let name = |record: &Record| String::from_utf8_lossy(&record.key).into_owned();
    mvcc.history(0, 0).map(|r| (r.main, r.sub, name(r), !r.is_tombstone())).collect()
}

fn scan(mvcc: &Mvcc, rev: i64) -> Vec<String> {
    let mut keys = Vec::new();
    let rest = mvcc.scan(&KeyRange::all(), rev, None, &mut 10_000, &mut |record| {
        keys.push(String::from_utf8_lossy(&record.key).into_owned());
        ControlFlow::Continue(())
    });
    assert_eq!(rest, None);
    keys
}

fn hash(mvcc: &Mvcc, rev: i64, compact: i64) -> u32 {
    HashRun::new(rev, compact).step(mvcc, &mut 1000).expect("enough work")
}

fn put(main: i64, sub: u32, key: &str) -> (i64, u32, String, bool) {
    (main, sub, key.to_owned(), true)
}

fn tombstone(main: i64, sub: u32, key: &str) -> (i64, u32, String, bool) {
    (main, sub, key.to_owned(), false)
}

#[test]
fn empty_store_is_at_revision_one_and_never_compacted() {
    let mvcc = Mvcc::new();
    assert_eq!((mvcc.revision(), mvcc.compact_revision(), mvcc.live_keys()), (1, -1, 0));
    assert_eq!((mvcc.bytes(), mvcc.bytes_in_use(), mvcc.is_compacting()), (0, 0, false));
}

#[test]
fn many_changes_take_one_revision_and_none_takes_none() {
    let mut mvcc = Mvcc::new();
    assert_eq!(write(&mut mvcc, &[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))]), 2);
    assert_eq!(write(&mut mvcc, &[]), 2);
    assert_eq!(write(&mut mvcc, &[("missing", None)]), 2);
    assert_eq!(history(&mvcc), [put(2, 0, "a"), put(2, 1, "b"), put(2, 2, "a")]);
}

#[test]
fn put_counts_versions_within_its_generation() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("k", Some("1"))]);
    mvcc.begin();
    let before = mvcc.put(b"k", value("2"), LeaseId(9)).expect("alive").clone();
    assert_eq!((before.main, before.create, before.version, &before.value[..]), (2, 2, 1, &b"1"[..]));
    mvcc.end();
    let expected = KeyValue {
        key: b"k"[..].into(),
        value: value("2"),
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        lease: LeaseId(9),
    };
    assert_eq!(mvcc.get(b"k", 3).map(Record::to_kv), Some(expected));
    assert_eq!(mvcc.get(b"k", 2), Some(&before));
}

#[test]
fn put_after_delete_begins_a_generation() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("k", Some("1"))]);
    write(&mut mvcc, &[("k", Some("2"))]);
    assert_eq!(write(&mut mvcc, &[("k", None)]), 4);
    assert_eq!(mvcc.get(b"k", 4), None);
    write(&mut mvcc, &[("k", Some("3"))]);
    let now = mvcc.get(b"k", 5).expect("alive");
    assert_eq!((now.create, now.main, now.version), (5, 5, 1));
    assert_eq!(mvcc.get(b"k", 3).map(|record| record.version), Some(2));
}

#[test]
fn tombstone_shows_key_and_mod_revision_only() {
    let mut mvcc = Mvcc::new();
    mvcc.begin();
    mvcc.put(b"k", value("1"), LeaseId(9));
    mvcc.end();
    write(&mut mvcc, &[("k", None)]);
    let tombstone = mvcc.history(3, 0).next().expect("the delete is in history").to_kv();
    let (key, value) = (b"k"[..].into(), Value::new());
    let expected = KeyValue { key, value, create_revision: 0, mod_revision: 3, version: 0, lease: NO_LEASE };
    assert_eq!(tombstone, expected);
}

#[test]
fn delete_then_put_in_one_revision_begins_a_generation() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("k", Some("1"))]);
    write(&mut mvcc, &[("k", Some("2"))]);
    write(&mut mvcc, &[("k", None), ("k", Some("3"))]);
    assert_eq!(history(&mvcc)[2..], [tombstone(4, 0, "k"), put(4, 1, "k")]);
    let now = mvcc.get(b"k", 4).expect("alive");
    assert_eq!((now.create, now.main, now.version), (4, 4, 1));
}

#[test]
fn put_then_delete_in_one_revision_are_both_in_history() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("k", Some("1"))]);
    write(&mut mvcc, &[("k", Some("2")), ("k", None)]);
    assert_eq!(history(&mvcc)[1..], [put(3, 0, "k"), tombstone(3, 1, "k")]);
    let put = mvcc.history(3, 0).next().expect("there");
    assert_eq!((put.create, put.version), (2, 2));
    assert_eq!((mvcc.get(b"k", 3), mvcc.live_keys()), (None, 0));
}

#[test]
fn open_revision_is_seen_by_itself_only() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("a", Some("1")), ("b", Some("1"))]);
    mvcc.begin();
    mvcc.delete(b"a");
    mvcc.put(b"c", value("2"), NO_LEASE);
    assert_eq!(
        (scan(&mvcc, 2), scan(&mvcc, 3)),
        (vec!["a".into(), "b".into()], vec!["b".into(), "c".into()])
    );
    let mut counts = [0, 0];
    assert_eq!(mvcc.count(&KeyRange::all(), 2, None, &mut 10, &mut counts[0]), None);
    assert_eq!(mvcc.count(&KeyRange::all(), 3, None, &mut 10, &mut counts[1]), None);
    assert_eq!((counts, mvcc.changes()), ([2, 2], 2));
    assert_eq!(history(&mvcc).len(), 2);
    assert!(mvcc.end());
    assert_eq!(history(&mvcc).len(), 4);
}

#[test]
fn scan_without_work_visits_nothing_and_goes_on_later() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("a", Some("1")), ("b", Some("1"))]);
    let mut seen = Vec::new();
    let mut visit = |record: &Record| {
        seen.push(record.key[0]);
        ControlFlow::Continue(())
    };
    let resume = mvcc.scan(&KeyRange::all(), 2, None, &mut 0, &mut visit).expect("not exhausted");
    let resume = mvcc.scan(&KeyRange::all(), 2, Some(&resume), &mut 1, &mut visit).expect("not exhausted");
    // What lies behind is found although the key at which the scan stopped went away.
    write(&mut mvcc, &[("a", None), ("aa", Some("1")), ("b", None)]);
    assert_eq!(mvcc.scan(&KeyRange::all(), 2, Some(&resume), &mut 10, &mut visit), None);
    assert_eq!(seen, b"ab");
}

#[test]
fn compaction_keeps_the_newest_change_at_or_below_and_all_above() {
    let mut mvcc = Mvcc::new();
    for _ in 0..4 {
        write(&mut mvcc, &[("k", Some("1"))]);
    }
    write(&mut mvcc, &[("other", Some("1"))]);
    mvcc.compact(4);
    assert_eq!(mvcc.compact_revision(), 4);
    assert!(mvcc.get(b"k", 4).is_some());
    finish(&mut mvcc);
    assert_eq!(history(&mvcc), [put(4, 0, "k"), put(5, 0, "k"), put(6, 0, "other")]);
    assert_eq!(mvcc.get(b"k", 4).map(|record| record.version), Some(3));
}

#[test]
fn compaction_removes_older_tombstones_and_their_keys() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("k", Some("1"))]);
    write(&mut mvcc, &[("k", None)]);
    write(&mut mvcc, &[("other", Some("1"))]);
    mvcc.compact(4);
    finish(&mut mvcc);
    assert_eq!(history(&mvcc), [put(4, 0, "other")]);
    assert!(mvcc.index.get(b"k").is_none());
}

#[test]
fn tombstone_at_the_compact_revision_stays_until_the_next_compaction() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("k", Some("1"))]);
    write(&mut mvcc, &[("k", None)]);
    write(&mut mvcc, &[("other", Some("1"))]);
    mvcc.compact(3);
    finish(&mut mvcc);
    assert_eq!(history(&mvcc), [tombstone(3, 0, "k"), put(4, 0, "other")]);
    mvcc.compact(4);
    finish(&mut mvcc);
    assert_eq!(history(&mvcc), [put(4, 0, "other")]);
}

/// Enough keys for many leaves, all put in one revision.
fn many_keys() -> (Mvcc, Vec<String>) {
    let keys: Vec<_> = (0..1000).map(|n| format!("key-{n:04}")).collect();
    let mut mvcc = Mvcc::new();
    let puts: Vec<_> = keys.iter().map(|key| (&key[..], Some("text"))).collect();
    assert_eq!(write(&mut mvcc, &puts), 2);
    (mvcc, keys)
}

#[test]
fn tombstone_that_stayed_is_found_in_a_subtree_without_later_changes() {
    let (mut mvcc, keys) = many_keys();
    write(&mut mvcc, &[(&keys[500], None)]);
    mvcc.compact(3);
    finish(&mut mvcc);
    assert_eq!(history(&mvcc).len(), keys.len());
    write(&mut mvcc, &[(&keys[999], Some("new"))]);
    mvcc.compact(4);
    finish(&mut mvcc);
    assert_eq!(history(&mvcc).len(), keys.len() - 1);
    assert!(mvcc.index.get(keys[500].as_bytes()).is_none());
}

#[test]
fn scan_finds_what_was_alive_before_everything_was_deleted() {
    let (mut mvcc, keys) = many_keys();
    let deletes: Vec<_> = keys.iter().map(|key| (&key[..], None)).collect();
    write(&mut mvcc, &deletes);
    assert_eq!(scan(&mvcc, 2), keys);
    assert!(scan(&mvcc, 3).is_empty());
    // Leaves without a live key are passed over as a whole.
    let mut work = 100;
    let none = &mut |_: &Record| ControlFlow::Break(());
    assert_eq!(mvcc.scan(&KeyRange::all(), 3, None, &mut work, none), None);
    assert!(work > 0);
}

#[test]
fn compaction_of_few_changes_visits_few_keys() {
    let (mut mvcc, keys) = many_keys();
    write(&mut mvcc, &[(&keys[500], Some("new"))]);
    mvcc.compact(3);
    finish(&mut mvcc);
    write(&mut mvcc, &[(&keys[900], Some("new"))]);
    mvcc.compact(4);
    let mut work = 1000;
    assert!(mvcc.compact_step(&mut work));
    assert_eq!(history(&mvcc).len(), keys.len());
    assert!(work > 750, "{work} of 1000 left");
}

#[test]
fn tombstone_at_the_compact_revision_stays_with_a_put_behind_it() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("k", Some("1"))]);
    write(&mut mvcc, &[("k", Some("2")), ("k", None), ("k", Some("3"))]);
    mvcc.compact(3);
    finish(&mut mvcc);
    assert_eq!(history(&mvcc), [tombstone(3, 1, "k"), put(3, 2, "k")]);
    assert_eq!(mvcc.get(b"k", 3).map(|record| record.sub), Some(2));
    write(&mut mvcc, &[("other", Some("1"))]);
    mvcc.compact(4);
    finish(&mut mvcc);
    assert_eq!(history(&mvcc), [put(3, 2, "k"), put(4, 0, "other")]);
}

#[test]
fn compaction_of_a_fresh_store_at_zero_takes_effect_once() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("k", Some("1"))]);
    mvcc.compact(0);
    finish(&mut mvcc);
    assert_eq!((mvcc.compact_revision(), history(&mvcc).len()), (0, 1));
}

#[test]
fn compaction_at_the_current_revision_leaves_the_live_keys() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("a", Some("1")), ("b", Some("1"))]);
    write(&mut mvcc, &[("a", Some("2"))]);
    mvcc.compact(3);
    finish(&mut mvcc);
    assert_eq!(scan(&mvcc, 3), ["a", "b"]);
    assert_eq!((mvcc.revision(), mvcc.bytes()), (3, mvcc.bytes_in_use()));
}

#[test]
fn compaction_during_removal_moves_its_target() {
    let mut mvcc = Mvcc::new();
    for n in 0..6 {
        write(&mut mvcc, &[("k", if n == 2 { None } else { Some("1") })]);
    }
    mvcc.compact(4);
    assert!(!mvcc.compact_step(&mut 2));
    mvcc.compact(6);
    finish(&mut mvcc);
    assert_eq!(history(&mvcc), [put(6, 0, "k"), put(7, 0, "k")]);
}

#[test]
fn removal_goes_on_while_a_revision_is_open() {
    let mut mvcc = Mvcc::new();
    for _ in 0..3 {
        write(&mut mvcc, &[("k", Some("1"))]);
    }
    mvcc.compact(4);
    mvcc.begin();
    mvcc.put(b"k", value("2"), NO_LEASE);
    assert!(!mvcc.compact_step(&mut 2));
    mvcc.delete(b"k");
    while !mvcc.compact_step(&mut 1) {}
    mvcc.end();
    assert_eq!(history(&mvcc), [put(4, 0, "k"), put(5, 0, "k"), tombstone(5, 1, "k")]);
}

#[test]
fn history_gives_memory_back_after_keys_are_overwritten() {
    let mut mvcc = Mvcc::new();
    let keys: Vec<_> = (0..5000).map(|n| format!("key-{n:05}")).collect();
    let mut single = (0, 0);
    for round in 0..4 {
        for key in &keys {
            write(&mut mvcc, &[(key, Some("text"))]);
        }
        if round == 0 {
            single = (mvcc.bytes(), mvcc.history.check().0);
        }
    }
    assert_eq!(mvcc.bytes(), 4 * single.0);
    mvcc.compact(mvcc.revision());
    while !mvcc.compact_step(&mut 100) {}
    let chunks = mvcc.history.check().0;
    assert_eq!(mvcc.bytes(), single.0);
    assert!(chunks <= single.1 + 3, "{chunks} chunks, {} at first", single.1);
}

#[test]
fn key_is_one_allocation_for_all_its_revisions() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("k", Some("1"))]);
    write(&mut mvcc, &[("k", None)]);
    write(&mut mvcc, &[("k", Some("2"))]);
    let mut restored = Mvcc::restore(mvcc.revision(), -1);
    for record in mvcc.history(0, 0) {
        restored.restore_record(Record { key: record.key.to_vec().into(), ..record.clone() });
    }
    for mvcc in [mvcc, restored] {
        let keys: Vec<_> = mvcc.history(0, 0).map(|record| record.key.as_ptr()).collect();
        assert_eq!(keys, [keys[0]; 3]);
    }
}

#[test]
fn hash_tells_every_field_apart() {
    let record = Record {
        main: 5,
        sub: 0,
        key: b"key"[..].into(),
        value: value("text"),
        create: 3,
        version: 2,
        lease: LeaseId(7),
    };
    let variants = [
        record.clone(),
        Record { main: 6, ..record.clone() },
        Record { sub: 1, ..record.clone() },
        Record { key: b"kez"[..].into(), ..record.clone() },
        Record { key: b"keyt"[..].into(), value: value("ext"), ..record.clone() },
        Record { value: value("Text"), ..record.clone() },
        Record { create: 4, ..record.clone() },
        Record { version: 3, ..record.clone() },
        Record { lease: LeaseId(8), ..record.clone() },
        Record { create: 0, version: 0, lease: NO_LEASE, value: Value::new(), ..record.clone() },
    ];
    let hashes = variants.map(|record| {
        let mut mvcc = Mvcc::restore(9, -1);
        mvcc.restore_record(record);
        hash(&mvcc, 9, -1)
    });
    for (at, one) in hashes.iter().enumerate() {
        assert!(!hashes[..at].contains(one), "variant {at} hashes like an earlier one");
    }
}

#[test]
fn hash_covers_changes_up_to_its_revision() {
    let mut mvcc = Mvcc::new();
    write(&mut mvcc, &[("a", Some("1"))]);
    let before = hash(&mvcc, 2, -1);
    write(&mut mvcc, &[("a", Some("2"))]);
    assert_eq!(hash(&mvcc, 2, -1), before);
    assert_ne!(hash(&mvcc, 3, -1), before);
}

#[test]
fn hash_leaves_out_tombstones_at_the_compact_revision() {
    let mut with_tombstone = Mvcc::new();
    write(&mut with_tombstone, &[("k", Some("1")), ("other", Some("1"))]);
    write(&mut with_tombstone, &[("k", None)]);
    with_tombstone.compact(3);
    let early = hash(&with_tombstone, 3, 3);
    finish(&mut with_tombstone);
    assert_eq!(hash(&with_tombstone, 3, 3), early);

    // A member that removed the tombstone as well, as etcd before 3.5.16 did.
    let mut without = Mvcc::restore(3, 3);
    let live = with_tombstone.history(0, 0).filter(|record| !record.is_tombstone());
    live.for_each(|record| without.restore_record(record.clone()));
    assert_eq!(hash(&without, 3, 3), early);
}

#[test]
fn hash_before_a_compaction_can_be_had_until_its_removal_starts() {
    let mut mvcc = Mvcc::new();
    for _ in 0..5 {
        write(&mut mvcc, &[("k", Some("1")), ("other", Some("2"))]);
    }
    mvcc.compact(3);
    finish(&mut mvcc);
    let expected = hash(&mvcc, 5, 3);
    mvcc.compact(5);
    assert_eq!(hash(&mvcc, 5, 3), expected);
}
