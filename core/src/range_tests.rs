//! Ranges: one test a rule, named by the quirk where there is one.

use super::*;
use crate::kv_fixture::{Kv, bytes, keys, put_of, range_of, text};
use crate::request::PutRequest;

/// Keys a, b, c put in the order c, b, a, then c twice more: mod a=4, b=3, c=6; versions 1, 1, 3.
fn store() -> Kv {
    let mut kv = Kv::new();
    for (key, value) in [("c", "1"), ("b", "3"), ("a", "2"), ("c", "1"), ("c", "1")] {
        kv.put(key, value);
    }
    kv
}

fn abc() -> RangeRequest {
    range_of("a", "d")
}

fn sorted(sort_order: SortOrder, sort_target: SortTarget) -> RangeRequest {
    RangeRequest { sort_order, sort_target, ..abc() }
}

/// Keys and `more` of an answer.
fn page(kv: &mut Kv, request: RangeRequest) -> (String, bool) {
    let answer = kv.range(request).expect("legal");
    (keys(&answer).concat(), answer.more)
}

#[test]
fn q01_fresh_store_is_at_revision_one() {
    let mut kv = Kv::new();
    let answer = kv.range(range_of("a", "")).expect("legal");
    assert_eq!(answer, RangeResponse { header: answer.header, ..Default::default() });
    assert_eq!(answer.header.revision, 1);
    assert_eq!(kv.put("a", "x"), 2);
}

#[test]
fn q02_header_is_the_revision_of_the_store_not_the_one_asked_for() {
    let mut kv = Kv::new();
    for value in ["1", "2", "3"] {
        kv.put("a", value);
    }
    let answer = kv.range(RangeRequest { revision: 2, ..range_of("a", "") }).expect("legal");
    assert_eq!((answer.header.revision, answer.kvs[0].mod_revision), (4, 2));
    assert_eq!(text(&answer.kvs[0].value), "1");
}

#[test]
fn limit_cuts_and_tells_whether_there_is_more() {
    let mut kv = store();
    let limited = |limit| RangeRequest { limit, ..abc() };
    assert_eq!(page(&mut kv, limited(2)), ("ab".into(), true));
    assert_eq!(page(&mut kv, limited(3)), ("abc".into(), false));
    assert_eq!(page(&mut kv, limited(0)), ("abc".into(), false));
    assert_eq!(page(&mut kv, limited(-1)), ("abc".into(), false));
    assert_eq!(page(&mut kv, limited(i64::MAX)), ("abc".into(), false));
}

#[test]
fn q19_count_ignores_limit_and_filters() {
    let mut kv = store();
    let current = kv.mvcc.revision();
    let filtered = RangeRequest { limit: 1, min_mod_revision: current, ..abc() };
    let answer = kv.range(filtered).expect("legal");
    assert_eq!((keys(&answer).concat(), answer.count, answer.more), ("c".into(), 3, false));
    let limited = kv.range(RangeRequest { limit: 1, ..abc() }).expect("legal");
    assert_eq!((limited.count, limited.more), (3, true));
    let keys_only = kv.range(RangeRequest { limit: 1, keys_only: true, ..abc() }).expect("legal");
    assert_eq!(keys_only.count, 3);
}

#[test]
fn q20_count_only_ignores_limit_order_and_filters() {
    let mut kv = store();
    let plain = RangeRequest { count_only: true, limit: 1, ..abc() };
    let filtered = RangeRequest { max_mod_revision: -1, sort_order: SortOrder::Descend, ..plain.clone() };
    for request in [plain, filtered] {
        let answer = kv.range(request).expect("legal");
        assert_eq!((answer.count, answer.more, answer.kvs.len()), (3, false, 0));
    }
}

#[test]
fn filters_bound_revisions_inclusively() {
    let mut kv = store();
    let mut filtered = |min_mod_revision, max_mod_revision, min_create_revision, max_create_revision| {
        let bounds = RangeRequest {
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
            ..abc()
        };
        page(&mut kv, bounds).0
    };
    assert_eq!(filtered(4, 0, 0, 0), "ac");
    assert_eq!(filtered(0, 4, 0, 0), "ab");
    assert_eq!(filtered(4, 4, 0, 0), "a");
    assert_eq!(filtered(0, 0, 3, 0), "ab");
    assert_eq!(filtered(0, 0, 0, 2), "c");
    assert_eq!(filtered(5, 0, 3, 0), "");
    assert_eq!(filtered(0, -1, 0, 0), "");
    assert_eq!(filtered(-1, 0, -1, 0), "abc");
}

#[test]
fn limit_applies_to_what_the_filter_leaves() {
    let mut kv = store();
    let request = RangeRequest { max_mod_revision: 4, limit: 1, ..abc() };
    assert_eq!(page(&mut kv, request.clone()), ("a".into(), true));
    assert_eq!(page(&mut kv, RangeRequest { limit: 2, ..request }), ("ab".into(), false));
}

#[test]
fn sorts_by_every_target_both_ways() {
    let mut kv = store();
    let targets = [
        (SortTarget::Key, "abc", "cba"),
        (SortTarget::Version, "abc", "cab"),
        (SortTarget::Create, "cba", "abc"),
        (SortTarget::Mod, "bac", "cab"),
        (SortTarget::Value, "cab", "bac"),
    ];
    for (target, ascending, descending) in targets {
        assert_eq!(page(&mut kv, sorted(SortOrder::Ascend, target)).0, ascending, "{target:?}");
        assert_eq!(page(&mut kv, sorted(SortOrder::Descend, target)).0, descending, "{target:?}");
        assert_eq!(page(&mut kv, sorted(SortOrder::None, target)).0, ascending, "{target:?} without order");
    }
}

#[test]
fn q21_no_order_with_a_target_sorts_after_the_limit_cut() {
    let mut kv = Kv::new();
    for key in ["c", "b", "a"] {
        kv.put(key, "v");
    }
    let limited = |order| RangeRequest { limit: 1, ..sorted(order, SortTarget::Mod) };
    assert_eq!(page(&mut kv, limited(SortOrder::None)), ("b".into(), true));
    assert_eq!(page(&mut kv, limited(SortOrder::Ascend)), ("c".into(), true));
    assert_eq!(page(&mut kv, limited(SortOrder::Descend)), ("a".into(), true));
    let filtered = RangeRequest { min_mod_revision: 1, ..limited(SortOrder::None) };
    assert_eq!(page(&mut kv, filtered), ("c".into(), true), "a filter takes the limit's push-down away");
}

#[test]
fn q22_keys_only_drops_the_lease_unless_sorted_by_value() {
    let mut kv = Kv::new();
    kv.grant(7);
    kv.put_leased("k", "v", 7);
    kv.put_leased("k", "v", 7);
    let keys_only = RangeRequest { keys_only: true, ..range_of("k", "") };
    let answer = kv.range(keys_only.clone()).expect("legal");
    let fast = answer.kvs[0].clone();
    assert_eq!((fast.lease, fast.version, fast.create_revision, fast.mod_revision), (LeaseId(0), 2, 2, 3));
    assert!(fast.value.is_empty());
    for sort_order in [SortOrder::None, SortOrder::Descend] {
        let by_value = RangeRequest { sort_target: SortTarget::Value, sort_order, ..keys_only.clone() };
        let slow = kv.range(by_value).expect("legal").kvs[0].clone();
        assert_eq!(slow, KeyValue { lease: LeaseId(7), ..fast.clone() });
    }
    let whole = kv.range(range_of("k", "")).expect("legal").kvs[0].clone();
    assert_eq!((text(&whole.value).as_str(), whole.lease), ("v", LeaseId(7)));
}

#[test]
fn keys_only_is_sorted_by_a_value_that_it_does_not_show() {
    let mut kv = store();
    let by_value = RangeRequest { keys_only: true, ..sorted(SortOrder::Descend, SortTarget::Value) };
    let answer = kv.range(by_value).expect("legal");
    assert_eq!(keys(&answer).concat(), "bac");
    assert!(answer.kvs.iter().all(|kv| kv.value.is_empty()));
    let none = kv.range(RangeRequest { keys_only: true, ..range_of("x", "z") }).expect("legal");
    assert_eq!((none.count, none.kvs.len()), (0, 0));
}

#[test]
fn q23_range_end_at_or_below_key_is_empty() {
    let mut kv = store();
    for (key, end) in [("b", "a"), ("b", "b")] {
        let answer = kv.range(range_of(key, end)).expect("legal");
        assert_eq!((answer.kvs.len(), answer.count, answer.more), (0, 0, false));
        let counted = kv.range(RangeRequest { count_only: true, ..range_of(key, end) }).expect("legal");
        assert_eq!(counted.count, 0);
    }
}

#[test]
fn range_end_of_one_zero_byte_reads_on_to_the_last_key() {
    let mut kv = store();
    assert_eq!(page(&mut kv, range_of("b", "\0")).0, "bc");
    assert_eq!(page(&mut kv, range_of("\0", "\0")).0, "abc");
    assert_eq!(page(&mut kv, range_of("b", "")).0, "b");
}

#[test]
fn q24_reading_at_the_compact_revision_works_and_below_it_does_not() {
    let mut kv = store();
    kv.compact(5);
    let at = |revision| RangeRequest { revision, ..abc() };
    let answer = kv.range(at(5)).expect("retained");
    assert_eq!(answer.kvs.iter().map(|kv| kv.mod_revision).collect::<Vec<_>>(), [4, 3, 5]);
    assert_eq!(kv.range(at(4)), Err(Status::Compacted));
    assert_eq!(kv.range(at(7)), Err(Status::FutureRev));
    assert_eq!(kv.range(at(-1)).map(|answer| answer.count), Ok(3));
}

#[test]
fn history_shows_the_key_as_it_was() {
    let mut kv = Kv::new();
    kv.grant(3);
    kv.put_leased("k", "old", 3);
    kv.revoke(3);
    kv.put("k", "new");
    let then = kv.range(RangeRequest { revision: 2, ..range_of("k", "") }).expect("retained").kvs;
    assert_eq!((then[0].version, then[0].lease, text(&then[0].value).as_str()), (1, LeaseId(3), "old"));
    assert_eq!(kv.range(RangeRequest { revision: 3, ..range_of("k", "") }).expect("retained").count, 0);
    let now = kv.range(range_of("k", "")).expect("legal").kvs;
    assert_eq!((now[0].version, now[0].create_revision, now[0].lease), (1, 4, LeaseId(0)));
}

/// 20,000 keys in five runs of the sorter, with values that repeat.
fn large() -> Kv {
    let mut kv = Kv::new();
    for n in 0..20_000_u64 {
        let value = format!("{:03}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55);
        kv.put_request(put_of(&format!("{n:05}"), &value, 0)).expect("legal");
    }
    kv
}

#[test]
fn large_sort_is_right_and_never_stays_long_in_one_step() {
    let kv = large();
    let mut expected: Vec<KeyValue> = Vec::new();
    let collected = mvcc_all(&kv.mvcc);
    expected.extend(collected);
    expected.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.key.cmp(&b.key)));
    for limit in [0, 1, 10, 4096, 4097, 9000, 20_000, 30_000] {
        let request = RangeRequest {
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Value,
            limit,
            ..range_of("0", "\0")
        };
        let mut run = RangeRun::new(&request, kv.mvcc.revision());
        let mut steps = 0;
        let answer = loop {
            let mut work = 500;
            steps += 1;
            if let Some(answer) = run.step(&kv.mvcc, &mut work) {
                break answer;
            }
        };
        let shown = if limit == 0 { 20_000 } else { (limit as usize).min(20_000) };
        assert!(answer.kvs == expected[..shown], "limit {limit}");
        assert_eq!((answer.count, answer.more), (20_000, shown < 20_000));
        // Fetching alone takes 20,000 / 500 steps, and no step may do what was paid for many.
        assert!(steps >= 40, "{steps} steps with limit {limit}");
    }
}

fn mvcc_all(mvcc: &Mvcc) -> Vec<KeyValue> {
    let mut kvs = Vec::new();
    let all = KeyRange::all();
    let rest = mvcc.scan(&all, mvcc.revision(), None, &mut u32::MAX.clone(), &mut |record| {
        kvs.push(record.to_kv());
        ControlFlow::Continue(())
    });
    assert_eq!(rest, None);
    kvs
}

#[test]
fn answer_is_of_its_revision_whatever_is_written_between_its_steps() {
    let mut kv = store();
    let request = RangeRequest { sort_order: SortOrder::Descend, ..range_of("a", "\0") };
    let pinned = kv.mvcc.revision();
    let expected = kv.range(request.clone()).expect("legal");
    let mut run = RangeRun::new(&request, pinned);
    assert_eq!(run.revision(), pinned);
    let answer = loop {
        if let Some(answer) = run.step(&kv.mvcc, &mut 1) {
            break answer;
        }
        kv.put("aa", "later");
        kv.delete("b", "");
        kv.put_request(PutRequest { value: bytes("other"), ..put_of("c", "", 0) }).expect("legal");
    };
    assert_eq!(answer.kvs, expected.kvs);
    assert_eq!(answer.count, 3);
}

#[test]
fn step_without_work_does_nothing() {
    let kv = store();
    for request in [abc(), RangeRequest { count_only: true, ..abc() }, RangeRequest { limit: 1, ..abc() }] {
        let mut run = RangeRun::new(&request, kv.mvcc.revision());
        for _ in 0..5 {
            assert_eq!(run.step(&kv.mvcc, &mut 0), None);
        }
        assert!(run.step(&kv.mvcc, &mut 100).is_some());
    }
}
