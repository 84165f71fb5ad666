//! Writes and txns: one test a rule, named by the quirk where there is one.

use super::*;
use crate::kv_fixture::*;
use crate::request::{
    Compare, CompareResult, CompareTarget, CompareUnion, Header, RangeRequest, RequestOp, TxnResponse,
};

fn inner_revision(op: &ResponseOp) -> i64 {
    let header = match op {
        ResponseOp::Range(range) => range.header,
        ResponseOp::Put(put) => put.header,
        ResponseOp::DeleteRange(delete) => delete.header,
        ResponseOp::Txn(txn) => txn.header,
    };
    assert_eq!(header.raft_term, 0);
    header.revision
}

fn inner_revisions(answer: &TxnResponse) -> Vec<i64> {
    answer.responses.iter().map(inner_revision).collect()
}

// --- revisions

#[test]
fn q03_delete_of_nothing_keeps_the_revision() {
    let mut kv = Kv::new();
    kv.put("a", "x");
    let answer = kv.delete("nokey", "");
    assert_eq!((answer.deleted, answer.header.revision), (0, 2));
    assert_eq!(kv.history().len(), 1);
    assert_eq!(kv.delete("z", "a").deleted, 0);
    assert_eq!(kv.mvcc.revision(), 2);
}

#[test]
fn q04_put_of_what_is_there_takes_a_revision() {
    let mut kv = Kv::new();
    assert_eq!((kv.put("a", "1"), kv.put("a", "1")), (2, 3));
    let touched = kv.put_request(put_flags("a", "", 0, true, true)).expect("the key is there");
    assert_eq!(touched.header.revision, 4);
    assert_eq!(kv.get("a").version, 3);
    assert_eq!(kv.history().len(), 3);
}

#[test]
fn txn_takes_one_revision_however_many_changes_it_makes() {
    let mut kv = Kv::new();
    let puts = (0..128).map(|n| put(&format!("{n:03}"), "v")).collect();
    assert_eq!(kv.all(puts).expect("legal").header, Header { revision: 2, raft_term: 0 });
    let subs: Vec<u32> = kv.history().iter().map(|record| record.1).collect();
    assert_eq!(subs, (0..128).collect::<Vec<_>>());
    let answer = kv.delete("\0", "\0");
    assert_eq!((answer.deleted, answer.header.revision), (128, 3));
}

#[test]
fn txn_that_changes_nothing_keeps_the_revision() {
    let mut kv = Kv::new();
    kv.put("a", "x");
    let nothing = vec![delete("nokey", ""), range("a", ""), nested(vec![], vec![range("a", "")], vec![])];
    let answer = kv.all(nothing).expect("legal");
    assert_eq!((answer.header.revision, kv.mvcc.revision()), (2, 2));
    assert_eq!(inner_revisions(&answer), [2, 2, 0]);
    assert_eq!(kv.put("a", "y"), 3);
}

#[test]
fn q05_operation_before_the_first_change_reports_the_old_revision() {
    let mut kv = Kv::new();
    kv.put("x", "1");
    let answer = kv.all(vec![
        range("a", ""),
        delete("nokey", ""),
        put("a", "1"),
        delete("nokey", ""),
        range("a", ""),
        nested(vec![], vec![range("a", "")], vec![]),
    ]);
    let answer = answer.expect("legal");
    assert_eq!(answer.header.revision, 3);
    assert_eq!(inner_revisions(&answer), [2, 2, 3, 3, 3, 0]);
    let ResponseOp::Txn(inner) = &answer.responses[5] else { panic!("a nested txn is answered as one") };
    assert_eq!(inner_revisions(inner), [3]);
}

#[test]
fn q06_range_sees_what_the_txn_wrote_before_it() {
    let mut kv = Kv::new();
    let answer =
        kv.all(vec![put("a", "x"), range("a", ""), delete("a", "\0"), range("a", "")]).expect("legal");
    let ResponseOp::Range(after_put) = &answer.responses[1] else { panic!("a range is answered as one") };
    assert_eq!((text(&after_put.kvs[0].value).as_str(), after_put.kvs[0].mod_revision), ("x", 2));
    assert_eq!(after_put.header.revision, 2);
    let ResponseOp::Range(after_delete) = &answer.responses[3] else { panic!("a range is answered as one") };
    assert_eq!((after_delete.count, after_delete.header.revision), (0, 2));
}

#[test]
fn range_at_an_explicit_revision_sees_the_state_before_the_txn() {
    let mut kv = Kv::new();
    kv.put("a", "old");
    let at = |revision| RequestOp::Range(RangeRequest { revision, ..range_of("a", "") });
    let answer = kv.all(vec![put("a", "new"), at(2), at(0)]).expect("legal");
    let values = answer.responses[1..].iter().map(|op| match op {
        ResponseOp::Range(range) => text(&range.kvs[0].value),
        other => panic!("a range is answered as one, not {other:?}"),
    });
    assert_eq!(values.collect::<Vec<_>>(), ["old", "new"]);
    assert_eq!(kv.all(vec![put("a", "x"), at(4)]), Err(Status::FutureRev), "the txn's own is a future one");
}

// --- compares

#[test]
fn txn_without_compares_succeeds_and_one_false_compare_is_enough() {
    let mut kv = Kv::new();
    let always = compare("k", CompareResult::Equal, CompareTarget::Version, CompareUnion::Version(0));
    let branches = |compare: Vec<Compare>| TxnRequest {
        compare,
        success: vec![put("s", "1")],
        failure: vec![put("f", "1"), range("f", "")],
    };
    let answer = kv.txn(branches(vec![])).expect("legal");
    assert_eq!((answer.succeeded, answer.responses.len()), (true, 1));
    let answer = kv.txn(branches(vec![always.clone(), never(), always])).expect("legal");
    assert_eq!((answer.succeeded, answer.responses.len()), (false, 2));
    assert_eq!(kv.keys(), ["f", "s"]);
}

#[test]
fn compare_is_of_the_stored_field_with_the_given_one() {
    let mut kv = Kv::new();
    kv.grant(9);
    kv.put_leased("k", "m", 9);
    kv.put_leased("k", "m", 9);
    let union = |target: CompareTarget, given: i64| match target {
        CompareTarget::Version => CompareUnion::Version(given),
        CompareTarget::Create => CompareUnion::Create(given),
        CompareTarget::Mod => CompareUnion::Mod(given),
        _ => CompareUnion::Lease(given),
    };
    let targets = [
        (CompareTarget::Version, 2),
        (CompareTarget::Create, 2),
        (CompareTarget::Mod, 3),
        (CompareTarget::Lease, 9),
    ];
    let truth = |given: i64, stored: i64| {
        [
            (CompareResult::Equal, stored == given),
            (CompareResult::NotEqual, stored != given),
            (CompareResult::Greater, stored > given),
            (CompareResult::Less, stored < given),
            (CompareResult::Unknown(7), true),
        ]
    };
    for (target, stored) in targets {
        for given in [stored - 1, stored, stored + 1] {
            for (result, expected) in truth(given, stored) {
                assert_eq!(
                    kv.holds(compare("k", result, target, union(target, given))),
                    expected,
                    "{target:?} {given}"
                );
            }
        }
    }
    for (value, given) in [("l", 0), ("m", 1), ("ma", 2)] {
        for (result, expected) in truth(given, 1) {
            let by_value = compare("k", result, CompareTarget::Value, CompareUnion::Value(bytes(value)));
            assert_eq!(kv.holds(by_value), expected, "{value} {result:?}");
        }
    }
}

#[test]
fn q09_nested_compares_see_the_state_before_the_txn() {
    let mut kv = Kv::new();
    let absent = compare("a", CompareResult::Equal, CompareTarget::Version, CompareUnion::Version(0));
    let answer =
        kv.all(vec![put("a", "1"), nested(vec![absent], vec![put("b", "1")], vec![])]).expect("legal");
    let ResponseOp::Txn(inner) = &answer.responses[1] else { panic!("a nested txn is answered as one") };
    assert!(inner.succeeded);
    assert_eq!(kv.keys(), ["a", "b"]);
}

#[test]
fn q10_nothing_is_true_of_the_value_of_a_missing_key() {
    let mut kv = Kv::new();
    let results = [0, 1, 2, 3, 4].map(CompareResult::from);
    for result in results {
        let by_value = compare("nokey", result, CompareTarget::Value, CompareUnion::Value(bytes("x")));
        assert!(!kv.holds(by_value), "{result:?}");
    }
    for target in [CompareTarget::Version, CompareTarget::Create, CompareTarget::Mod, CompareTarget::Lease] {
        assert!(kv.holds(compare("nokey", CompareResult::Equal, target, CompareUnion::Unset)), "{target:?}");
        assert!(!kv.holds(compare("nokey", CompareResult::NotEqual, target, CompareUnion::Unset)));
    }
}

#[test]
fn q11_compare_of_an_empty_range_is_one_of_a_missing_key() {
    let mut kv = Kv::new();
    kv.put("r", "v");
    let of_range = |key: &str, end: &str, target, union| Compare {
        range_end: bytes(end),
        ..compare(key, CompareResult::Equal, target, union)
    };
    assert!(kv.holds(of_range("p", "q", CompareTarget::Create, CompareUnion::Create(0))));
    assert!(kv.holds(of_range("z", "a", CompareTarget::Create, CompareUnion::Create(0))));
    assert!(!kv.holds(of_range("p", "q", CompareTarget::Value, CompareUnion::Value(bytes("")))));
    assert!(!kv.holds(of_range("p", "s", CompareTarget::Create, CompareUnion::Create(0))));
    assert!(!kv.holds(of_range("p", "\0", CompareTarget::Create, CompareUnion::Create(0))));
}

#[test]
fn compare_of_a_range_is_true_if_every_key_satisfies_it() {
    let mut kv = Kv::new();
    for key in ["a", "b", "c", "c"] {
        kv.put(key, "v");
    }
    let once = |end: &str| Compare {
        range_end: bytes(end),
        ..compare("a", CompareResult::Equal, CompareTarget::Version, CompareUnion::Version(1))
    };
    assert!(kv.holds(once("c")));
    assert!(!kv.holds(once("d")));
    assert!(!kv.holds(once("\0")));
    kv.delete("c", "");
    assert!(kv.holds(once("\0")));
}

#[test]
fn q12_given_side_of_another_target_counts_as_zero() {
    let mut kv = Kv::new();
    let equal = |key: &str, target, union| compare(key, CompareResult::Equal, target, union);
    let value = || CompareUnion::Value(bytes("x"));
    assert!(kv.holds(equal("nokey", CompareTarget::Mod, value())));
    kv.put("k", "");
    assert!(!kv.holds(equal("k", CompareTarget::Mod, value())));
    assert!(kv.holds(equal("k", CompareTarget::Lease, CompareUnion::Version(5))));
    assert!(kv.holds(equal("k", CompareTarget::Value, CompareUnion::Mod(5))), "empty bytes");
    assert!(kv.holds(equal("k", CompareTarget::Unknown(8), value())));
    assert!(!kv.holds(compare("k", CompareResult::NotEqual, CompareTarget::Unknown(8), value())));
}

// --- what is refused as a whole

#[test]
fn q13_errors_in_the_branch_not_taken_are_ignored() {
    let mut kv = Kv::new();
    let leased = || RequestOp::Put(put_of("k", "v", 999));
    let request = |success, failure| TxnRequest { compare: vec![never()], success, failure };
    assert!(!kv.txn(request(vec![leased()], vec![])).expect("not taken").succeeded);
    assert_eq!(kv.txn(request(vec![], vec![leased()])), Err(Status::LeaseNotFound));
    let hidden = nested(vec![never()], vec![leased()], vec![put("ok", "v")]);
    assert!(kv.all(vec![hidden]).is_ok());
    assert_eq!(
        kv.all(vec![put("a", "v"), nested(vec![never()], vec![], vec![leased()])]),
        Err(Status::LeaseNotFound)
    );
    assert_eq!((kv.keys(), kv.mvcc.revision()), (vec!["ok".to_string()], 2));
}

#[test]
fn refusal_of_any_operation_leaves_no_change() {
    let mut kv = Kv::new();
    for value in ["1", "2", "3", "4"] {
        kv.put("k", value);
    }
    kv.grant(5);
    kv.put_leased("k", "5", 5);
    kv.compact(4);
    let at = |revision| RequestOp::Range(RangeRequest { revision, ..range_of("k", "") });
    let bad = [
        (at(7), Status::FutureRev),
        (at(3), Status::Compacted),
        (at(-1), Status::Compacted),
        (RequestOp::Put(put_of("b", "v", 999)), Status::LeaseNotFound),
        (RequestOp::Put(put_flags("b", "", 0, true, false)), Status::KeyNotFound),
        (RequestOp::Put(put_flags("b", "x", 0, false, true)), Status::KeyNotFound),
        // The lease is judged before the key.
        (RequestOp::Put(put_flags("b", "", 999, true, false)), Status::LeaseNotFound),
    ];
    let before = kv.history();
    for (op, status) in bad {
        let ops = vec![delete("k", ""), put("a", "x"), op];
        assert_eq!(kv.all(ops.clone()), Err(status), "{ops:?}");
        assert_eq!(
            (kv.mvcc.revision(), kv.history(), kv.keys_of(5)),
            (6, before.clone(), vec!["k".to_string()])
        );
    }
    assert!(kv.all(vec![at(4), at(6), put("a", "x")]).is_ok());
    // The first refusal in the order of operations wins.
    assert_eq!(kv.all(vec![at(9), RequestOp::Put(put_of("b", "v", 999))]), Err(Status::FutureRev));
}

#[test]
fn negative_revision_in_a_txn_is_compacted_only_after_a_compaction() {
    let mut kv = Kv::new();
    kv.put("a", "x");
    let at = |revision| vec![RequestOp::Range(RangeRequest { revision, ..range_of("a", "") })];
    assert!(kv.all(at(-1)).is_ok());
    assert_eq!(kv.all(at(-2)), Err(Status::Compacted));
    kv.compact(2);
    assert_eq!(kv.all(at(-1)), Err(Status::Compacted));
    assert_eq!(kv.all(at(1)), Err(Status::Compacted));
    assert!(kv.all(at(2)).is_ok());
}

// --- put and delete in one txn

#[test]
fn q15_delete_all_then_put_starts_a_new_generation() {
    let mut kv = Kv::new();
    kv.put("k", "1");
    kv.put("k", "2");
    let answer = kv.all(vec![delete("\0", "\0"), put("k", "3")]).expect("legal");
    assert_eq!(answer.header.revision, 4);
    let new = kv.get("k");
    assert_eq!((new.version, new.create_revision, new.mod_revision), (1, 4, 4));
    assert_eq!(kv.history()[2..], [(4, 0, "k".to_string(), 0), (4, 1, "k".to_string(), 1)]);
}

#[test]
fn put_then_delete_all_leaves_nothing_and_goes_on_with_the_generation() {
    let mut kv = Kv::new();
    kv.put("k", "1");
    let answer = kv.all(vec![put("k", "2"), delete("\0", "\0")]).expect("legal");
    let ResponseOp::DeleteRange(deleted) = &answer.responses[1] else {
        panic!("a delete is answered as one")
    };
    assert_eq!((deleted.deleted, text(&deleted.prev_kvs[0].value).as_str()), (1, "2"));
    assert_eq!(kv.history()[1..], [(3, 0, "k".to_string(), 2), (3, 1, "k".to_string(), 0)]);
    assert_eq!(kv.keys(), Vec::<String>::new());
}

#[test]
fn prev_kv_shows_what_the_txn_did_before() {
    let mut kv = Kv::new();
    kv.put("k", "1");
    let with_prev = |value: &str| RequestOp::Put(put_flags("k", value, 0, false, false));
    let answer = kv.all(vec![with_prev("2"), delete("k", "\0")]).expect("legal");
    let ResponseOp::Put(put_answer) = &answer.responses[0] else { panic!("a put is answered as one") };
    assert_eq!(put_answer.prev_kv.as_ref().map(|kv| text(&kv.value)), Some("1".into()));
    let answer = kv.all(vec![delete("k", "\0"), with_prev("3")]).expect("legal");
    let ResponseOp::Put(put_answer) = &answer.responses[1] else { panic!("a put is answered as one") };
    assert_eq!(put_answer.prev_kv, None);
}

/// etcd dies of this request, on every member and at every restart (TXN-16).
#[test]
fn ignore_of_a_key_that_the_txn_deletes_first_is_refused() {
    let mut kv = Kv::new();
    kv.put("k", "1");
    for (ignore_value, ignore_lease) in [(true, false), (false, true), (true, true)] {
        let touch = || RequestOp::Put(put_flags("k", "", 0, ignore_value, ignore_lease));
        let refused = Err(Status::KeyNotFound);
        assert_eq!(kv.all(vec![delete("\0", "\0"), touch()]), refused);
        assert_eq!(kv.all(vec![nested(vec![], vec![delete("a", "\0")], vec![]), touch()]), refused);
        assert_eq!(kv.all(vec![delete("a", "\0"), nested(vec![], vec![touch()], vec![])]), refused);
        assert_eq!((kv.mvcc.revision(), kv.keys()), (2, vec!["k".to_string()]));
    }
    let touch = RequestOp::Put(put_flags("k", "", 0, true, false));
    assert!(kv.all(vec![delete("l", "\0"), touch.clone()]).is_ok(), "not covered");
    assert!(kv.all(vec![touch, delete("a", "\0")]).is_ok(), "deleted afterwards");
}

/// The static checks let no two puts of a key through; apply does not rely on that.
#[test]
fn ignore_of_a_key_that_the_txn_puts_first_is_carried_out() {
    let mut kv = Kv::new();
    let touch = RequestOp::Put(put_flags("k", "", 0, true, false));
    let request = |success| TxnRun::txn(TxnRequest { success, ..Default::default() });
    let run = request(vec![delete("\0", "\0"), put("k", "1"), touch.clone()]);
    assert!(kv.write(run).is_ok());
    assert_eq!(text(&kv.get("k").value), "1");
    let run = request(vec![put("k", "2"), delete("k", ""), touch]);
    assert_eq!(kv.write(run), Err(Status::KeyNotFound));
}

#[test]
fn nested_txns_answer_in_place() {
    let mut kv = Kv::new();
    let deep =
        nested(vec![], vec![nested(vec![never()], vec![], vec![put("c", "3")]), range("c", "")], vec![]);
    let answer = kv.all(vec![put("a", "1"), deep, put("b", "2")]).expect("legal");
    let [ResponseOp::Put(_), ResponseOp::Txn(outer), ResponseOp::Put(_)] = &answer.responses[..] else {
        panic!("answers are of the kinds of the operations: {answer:?}");
    };
    let [ResponseOp::Txn(inner), ResponseOp::Range(read)] = &outer.responses[..] else {
        panic!("answers are of the kinds of the operations: {outer:?}");
    };
    assert_eq!((outer.succeeded, inner.succeeded, inner.responses.len(), read.count), (true, false, 1, 1));
    let order: Vec<String> = kv.history().into_iter().map(|record| record.2).collect();
    assert_eq!(order, ["a", "c", "b"]);
}

// --- slices and read-only txns

#[test]
fn compare_of_a_large_range_is_sliced() {
    let mut kv = Kv::new();
    for n in 0..1000 {
        kv.put(&format!("{n:04}"), "v");
    }
    let once = compare("0", CompareResult::Equal, CompareTarget::Version, CompareUnion::Version(1));
    let compare = vec![Compare { range_end: bytes("\0"), ..once }];
    let request = TxnRequest { compare, success: vec![put("x", "v")], failure: vec![] };
    let mut run = TxnRun::txn(request);
    let mut steps = 0;
    while run.step(&mut kv.mvcc, &mut kv.leases, &mut 10).is_none() {
        steps += 1;
    }
    assert!(steps >= 100, "{steps} steps");
    assert_eq!(kv.mvcc.revision(), 1002);
}

#[test]
fn compaction_during_a_read_only_txn_is_behind_it() {
    let mut kv = Kv::new();
    kv.put("a", "1");
    kv.put("a", "2");
    let range = RequestOp::Range(RangeRequest { revision: 2, ..range_of("a", "") });
    let request = TxnRequest { success: vec![range], ..TxnRequest::default() };
    let mut run = ReadTxnRun::new(request, &kv.mvcc);
    assert!(run.step(&kv.mvcc, &mut 0).is_none(), "it has only begun");
    kv.mvcc.compact(3);
    let answer = run.step(&kv.mvcc, &mut 100).expect("complete").expect("decided before the compaction");
    assert_eq!(inner_revisions(&answer), [3]);
}

#[test]
fn read_only_txn_is_answered_at_its_revision() {
    let mut kv = Kv::new();
    kv.put("a", "1");
    kv.put("a", "2");
    let at = |revision| RequestOp::Range(RangeRequest { revision, ..range_of("a", "") });
    let request = TxnRequest { success: vec![at(0), at(2)], failure: vec![at(9)], ..Default::default() };
    let mut run = ReadTxnRun::new(request.clone(), &kv.mvcc);
    assert_eq!((run.revision(), run.oldest_revision()), (3, 2));
    let answer = loop {
        if let Some(answer) = run.step(&kv.mvcc, &mut 1) {
            break answer.expect("retained");
        }
        kv.put("a", "later");
    };
    assert_eq!((answer.header.revision, inner_revisions(&answer)), (3, vec![3, 3]));
    let mods = answer.responses.iter().map(|op| match op {
        ResponseOp::Range(range) => range.kvs[0].mod_revision,
        other => panic!("a range is answered as one, not {other:?}"),
    });
    assert_eq!(mods.collect::<Vec<_>>(), [3, 2]);
    assert_eq!(kv.all(vec![at(99)]), Err(Status::FutureRev));
    let answer = kv.txn(TxnRequest { compare: vec![never()], ..request });
    assert!(answer.is_ok(), "revision 9 is a past one, as it was written to in between");
}
