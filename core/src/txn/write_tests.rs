//! Puts, deletes and revokes: one test a rule, named by the quirk where there is one.

use crate::base::LeaseId;
use crate::kv_fixture::*;
use crate::request::{DeleteRangeRequest, PutRequest, RangeRequest, Response};
use crate::status::Status;
use crate::txn::TxnRun;

#[test]
fn q26_ignore_needs_a_key_that_is_there() {
    let mut kv = Kv::new();
    assert_eq!(kv.put_request(put_flags("new", "", 0, true, false)), Err(Status::KeyNotFound));
    assert_eq!(kv.put_request(put_flags("new", "x", 0, false, true)), Err(Status::KeyNotFound));
    kv.put("k", "x");
    kv.delete("k", "");
    assert_eq!(kv.put_request(put_flags("k", "", 0, true, true)), Err(Status::KeyNotFound));
    assert_eq!(kv.mvcc.revision(), 3);
}

#[test]
fn ignored_value_and_lease_are_kept() {
    let mut kv = Kv::new();
    kv.grant(1);
    kv.grant(2);
    kv.put_leased("k", "x", 1);
    let fields = |kv: &mut Kv| {
        let now = kv.get("k");
        (text(&now.value), now.lease.0, kv.keys_of(1).len(), kv.keys_of(2).len())
    };
    kv.put_request(put_flags("k", "y", 0, false, true)).expect("the key is there");
    assert_eq!(fields(&mut kv), ("y".into(), 1, 1, 0));
    kv.put_request(put_flags("k", "", 2, true, false)).expect("the key is there");
    assert_eq!(fields(&mut kv), ("y".into(), 2, 0, 1));
    kv.put_request(put_flags("k", "", 0, true, true)).expect("the key is there");
    assert_eq!(fields(&mut kv), ("y".into(), 2, 0, 1));
    kv.put_request(put_flags("k", "", 0, true, false)).expect("the key is there");
    assert_eq!(fields(&mut kv), ("y".into(), 0, 0, 0));
}

#[test]
fn prev_kv_of_a_put_is_given_only_if_asked_for() {
    let mut kv = Kv::new();
    assert_eq!(kv.put_request(put_flags("k", "1", 0, false, false)).expect("legal").prev_kv, None);
    let before = kv.get("k");
    let answer = kv.put_request(put_flags("k", "2", 0, false, false)).expect("legal");
    assert_eq!(answer.prev_kv, Some(before));
    let touch = PutRequest { prev_kv: false, ..put_flags("k", "", 0, true, true) };
    assert_eq!(kv.put_request(touch).expect("legal").prev_kv, None);
}

#[test]
fn put_with_an_unknown_lease_is_refused() {
    let mut kv = Kv::new();
    assert_eq!(kv.put_request(put_of("k", "v", 999)), Err(Status::LeaseNotFound));
    assert_eq!(kv.put_request(put_of("k", "v", -1)), Err(Status::LeaseNotFound));
    assert_eq!((kv.mvcc.revision(), kv.keys().len()), (1, 0));
}

#[test]
fn empty_value_is_a_value() {
    let mut kv = Kv::new();
    kv.put("k", "");
    assert_eq!((kv.keys(), kv.get("k").version), (vec!["k".to_string()], 1));
}

#[test]
fn q27_put_without_a_lease_detaches() {
    let mut kv = Kv::new();
    kv.grant(1);
    kv.put_leased("k", "1", 1);
    kv.put("k", "2");
    assert!(kv.keys_of(1).is_empty());
    assert!(!kv.revoke(1));
    assert_eq!((kv.mvcc.revision(), kv.keys()), (3, vec!["k".to_string()]));
}

#[test]
fn put_with_another_lease_moves_the_key() {
    let mut kv = Kv::new();
    kv.grant(1);
    kv.grant(-2);
    kv.put_leased("k", "1", 1);
    kv.put_leased("k", "2", -2);
    assert_eq!((kv.keys_of(1), kv.keys_of(-2)), (vec![], vec!["k".to_string()]));
    kv.put_leased("k", "3", -2);
    assert_eq!(kv.keys_of(-2), ["k"]);
}

#[test]
fn delete_detaches_and_the_lease_lives_on() {
    let mut kv = Kv::new();
    kv.grant(1);
    for key in ["a", "b", "c"] {
        kv.put_leased(key, "v", 1);
    }
    kv.delete("a", "c");
    assert_eq!((kv.keys_of(1), kv.leases.exists(LeaseId(1))), (vec!["c".to_string()], true));
    kv.put("a", "v");
    assert_eq!(kv.keys_of(1), ["c"], "a new generation does not inherit the lease");
}

#[test]
fn revoke_deletes_in_key_order_as_one_revision() {
    let mut kv = Kv::sliced(1, 1);
    kv.grant(1);
    for key in ["c", "a", "b"] {
        kv.put_leased(key, "v", 1);
    }
    kv.put("aa", "v");
    assert!(kv.revoke(1));
    assert_eq!((kv.mvcc.revision(), kv.keys()), (6, vec!["aa".to_string()]));
    let deletes: Vec<(i64, u32, String, i64)> = kv.history().split_off(4);
    let expected = ["a", "b", "c"].iter().zip(0..).map(|(key, sub)| (6, sub, key.to_string(), 0));
    assert_eq!(deletes, expected.collect::<Vec<_>>());
}

#[test]
fn q28_deleted_keys_come_back_in_order_and_complete() {
    let mut kv = Kv::new();
    for key in ["z", "c", "a", "b"] {
        kv.put(key, key);
    }
    let answer = kv.delete("a", "z");
    let deleted: Vec<String> = answer.prev_kvs.iter().map(|kv| text(&kv.key)).collect();
    assert_eq!((deleted.concat().as_str(), answer.deleted, answer.header.revision), ("abc", 3, 6));
    assert_eq!(answer.prev_kvs[0].mod_revision, 4);
    let request = DeleteRangeRequest { key: bytes("z"), ..Default::default() };
    let Ok(Response::DeleteRange(silent)) = kv.write(TxnRun::delete_range(request)) else {
        panic!("a delete is answered");
    };
    assert_eq!((silent.deleted, silent.prev_kvs.len()), (1, 0));
}

/// A slice of a network buffer would keep all of it alive.
#[test]
fn value_is_copied_out_of_the_request() {
    let mut kv = Kv::new();
    let buffer = bytes("keyvalue");
    let request = PutRequest { key: buffer.slice(..3), value: buffer.slice(3..), ..Default::default() };
    kv.put_request(request).expect("legal");
    let stored = kv.get("key").value;
    assert_eq!(text(&stored), "value");
    let inside = buffer.as_ptr_range().contains(&stored.as_ptr());
    assert!(!inside);
}

/// A delete of many keys does at most its share in a step, and readers see it all at once.
#[test]
fn large_delete_is_sliced_and_appears_at_once() {
    let mut kv = Kv::new();
    kv.grant(1);
    for n in 0..5000 {
        kv.put_leased(&format!("{n:04}"), "v", i64::from(n % 2 == 0));
    }
    let before = kv.mvcc.revision();
    let request = DeleteRangeRequest { key: bytes("0"), range_end: bytes("\0"), prev_kv: true };
    let mut run = TxnRun::delete_range(request);
    let (mut steps, mut changes) = (0, 0);
    let answer = loop {
        let mut work = 100;
        steps += 1;
        if let Some(answer) = run.step(&mut kv.mvcc, &mut kv.leases, &mut work) {
            break answer;
        }
        let now = kv.mvcc.changes();
        assert!(now - changes <= 100, "{} changes in one step", now - changes);
        changes = now;
        assert_eq!(kv.mvcc.revision(), before);
        let all = range_of("\0", "\0");
        let counted = kv.range(RangeRequest { count_only: true, ..all }).expect("legal");
        assert_eq!((counted.count, counted.header.revision), (5000, before));
    };
    let Ok(Response::DeleteRange(answer)) = answer else { panic!("a delete is answered") };
    assert_eq!((answer.deleted, answer.prev_kvs.len(), answer.header.revision), (5000, 5000, before + 1));
    assert!(steps >= 100, "5000 keys are found and deleted in {steps} steps of 100");
    assert_eq!((kv.keys().len(), kv.keys_of(1).len(), kv.mvcc.revision()), (0, 0, before + 1));
}
