//! Static checks: one test a rule, named by the quirk where there is one.

use super::*;
use crate::command::{Action, Command, CommandHeader};
use crate::kv_fixture::{bytes, compare, delete, nested, never, put, put_of, range, range_of};
use crate::request::{CompareResult, CompareTarget, CompareUnion};

fn check(request: Request) -> Result<(), Status> {
    check_request(&request, &RequestLimits::default())
}

fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> Result<(), Status> {
    check(Request::Txn(TxnRequest { compare: vec![], success, failure }))
}

fn then(success: Vec<RequestOp>) -> Result<(), Status> {
    txn(success, vec![])
}

#[test]
fn empty_key_is_refused_everywhere() {
    let refused = Err(Status::EmptyKey);
    assert_eq!(check(Request::Range(range_of("", "\0"))), refused);
    assert_eq!(check(Request::Put(put_of("", "v", 0))), refused);
    assert_eq!(check(Request::DeleteRange(DeleteRangeRequest::default())), refused);
    assert_eq!(then(vec![put("", "v")]), refused);
    assert_eq!(txn(vec![], vec![nested(vec![], vec![], vec![range("", "z")])]), refused);
    let unkeyed = compare("", CompareResult::Equal, CompareTarget::Version, CompareUnion::Unset);
    assert_eq!(then(vec![nested(vec![unkeyed], vec![], vec![])]), refused);
}

#[test]
fn unknown_sort_numbers_are_refused() {
    let sorted = |sort_order: i32, sort_target: i32| {
        let (sort_order, sort_target) = (sort_order.into(), sort_target.into());
        check(Request::Range(RangeRequest { sort_order, sort_target, ..range_of("a", "") }))
    };
    assert_eq!(sorted(2, 4), Ok(()));
    assert_eq!(sorted(3, 0), Err(Status::InvalidSortOption));
    assert_eq!(sorted(0, 5), Err(Status::InvalidSortOption));
    assert_eq!(sorted(-1, 0), Err(Status::InvalidSortOption));
}

#[test]
fn q26_value_or_lease_given_and_ignored_is_refused() {
    let ignoring = PutRequest { ignore_value: true, ignore_lease: true, ..put_of("k", "", 0) };
    assert_eq!(check(Request::Put(ignoring.clone())), Ok(()));
    let with_value = PutRequest { value: bytes("x"), lease: LeaseId(1), ..ignoring.clone() };
    assert_eq!(check(Request::Put(with_value)), Err(Status::ValueProvided));
    let with_lease = PutRequest { lease: LeaseId(1), ..ignoring };
    assert_eq!(check(Request::Put(with_lease)), Err(Status::LeaseProvided));
}

#[test]
fn q17_operation_without_a_request_is_refused_as_a_missing_key() {
    assert_eq!(then(vec![RequestOp::Unset]), Err(Status::KeyNotFound));
    assert_eq!(txn(vec![], vec![RequestOp::Unset]), Err(Status::KeyNotFound));
}

#[test]
fn q14_static_checks_cover_both_branches() {
    let twice = || vec![put("k", "1"), put("k", "2")];
    let refused = Err(Status::DuplicateKey);
    let request = |success, failure| Request::Txn(TxnRequest { compare: vec![never()], success, failure });
    assert_eq!(check(request(twice(), vec![])), refused);
    assert_eq!(check(request(vec![], twice())), refused);
    assert_eq!(check(request(vec![put("k", "1")], vec![put("k", "2")])), Ok(()));
}

#[test]
fn q15_from_key_delete_covers_nothing() {
    assert_eq!(then(vec![delete("\0", "\0"), put("k", "v")]), Ok(()));
    assert_eq!(then(vec![put("k", "v"), delete("a", "\0")]), Ok(()));
    // The hole is not one for the start of the range either.
    assert_eq!(then(vec![put("a", "v"), delete("a", "\0")]), Ok(()));
}

#[test]
fn q16_bounded_delete_that_covers_a_put_is_refused() {
    let refused = Err(Status::DuplicateKey);
    assert_eq!(then(vec![delete("a", "c"), put("b", "v")]), refused);
    assert_eq!(then(vec![put("b", "v"), delete("a", "c")]), refused);
    assert_eq!(then(vec![delete("b", ""), put("b", "v")]), refused);
    assert_eq!(then(vec![delete("a", "c"), put("c", "v")]), Ok(()));
    assert_eq!(then(vec![delete("b", ""), put("b\0", "v")]), Ok(()));
    // An inverted range holds no key.
    assert_eq!(then(vec![delete("c", "a"), put("b", "v"), put("c", "v")]), Ok(()));
}

#[test]
fn deletes_may_overlap_and_reads_never_conflict() {
    assert_eq!(then(vec![delete("a", "m"), delete("c", "z"), delete("d", ""), range("a", "z")]), Ok(()));
    assert_eq!(then(vec![put("k", "v"), range("k", ""), range("k", "")]), Ok(()));
}

#[test]
fn nested_branches_exclude_one_another_but_not_their_parent_and_siblings() {
    let either = || nested(vec![], vec![put("k", "1")], vec![put("k", "2")]);
    let refused = Err(Status::DuplicateKey);
    assert_eq!(then(vec![either()]), Ok(()));
    assert_eq!(then(vec![either(), put("k", "3")]), refused);
    assert_eq!(then(vec![put("k", "3"), either()]), refused);
    assert_eq!(then(vec![either(), either()]), refused);
    let other = nested(vec![], vec![], vec![put("k", "4")]);
    assert_eq!(then(vec![either(), other]), refused);
    assert_eq!(then(vec![nested(vec![], vec![put("k", "1"), put("k", "1")], vec![])]), refused);
    // A delete in one branch does not meet the put in the other one.
    assert_eq!(then(vec![nested(vec![], vec![delete("a", "z")], vec![put("k", "2")])]), Ok(()));
}

#[test]
fn nested_delete_meets_the_puts_of_its_parent_and_of_later_siblings() {
    let deleting = || nested(vec![], vec![], vec![delete("a", "c")]);
    let putting = || nested(vec![], vec![put("b", "v")], vec![]);
    let refused = Err(Status::DuplicateKey);
    assert_eq!(then(vec![deleting(), put("b", "v")]), refused);
    assert_eq!(then(vec![put("b", "v"), deleting()]), refused);
    assert_eq!(then(vec![putting(), delete("a", "c")]), refused);
    assert_eq!(then(vec![deleting(), putting()]), refused);
    assert_eq!(then(vec![nested(vec![], vec![deleting()], vec![]), putting()]), refused);
    // The known hole: a delete in a later sibling is not held against an earlier sibling's put.
    assert_eq!(then(vec![putting(), deleting()]), Ok(()));
}

#[test]
fn q18_budget_of_operations_is_the_longest_list_not_the_sum() {
    let reads = |n: usize| vec![range("a", ""); n];
    let full = |success| TxnRequest { compare: vec![never(); 128], success, failure: reads(128) };
    assert_eq!(check(Request::Txn(full(reads(128)))), Ok(()));
    assert_eq!(check(Request::Txn(full(reads(129)))), Err(Status::TooManyOps));
    let mut with_nested = reads(127);
    with_nested.push(nested(vec![], reads(1), vec![]));
    assert_eq!(then(with_nested), Err(Status::TooManyOps));
    let mut with_empty = reads(127);
    with_empty.push(nested(vec![], vec![], vec![]));
    assert_eq!(then(with_empty), Ok(()));
    // Siblings do not share: each gets what its parent left.
    let wide = || nested(vec![], reads(126), reads(126));
    assert_eq!(then(vec![wide(), wide()]), Ok(()));
    assert_eq!(then(vec![nested(vec![], reads(127), vec![]), wide()]), Err(Status::TooManyOps));
}

#[test]
fn number_of_operations_is_judged_before_their_fields_and_those_before_duplicates() {
    let mut many = vec![put("", "v"); 129];
    assert_eq!(then(many.clone()), Err(Status::TooManyOps));
    many.truncate(2);
    assert_eq!(then(many), Err(Status::EmptyKey));
    assert_eq!(txn(vec![put("k", "v"), put("k", "v")], vec![RequestOp::Unset]), Err(Status::KeyNotFound));
}

/// A txn of `levels` below the outermost, each with one operation but the last.
fn deep(levels: u32) -> TxnRequest {
    (0..levels).fold(TxnRequest::default(), |inner, _| {
        let success = vec![RequestOp::Txn(Box::new(inner))];
        TxnRequest { success, ..Default::default() }
    })
}

#[test]
fn nesting_is_bounded_whatever_the_limit_on_operations() {
    let limits = RequestLimits { txn_ops_max: 1_000_000 };
    let deepest = Request::Txn(deep(TXN_DEPTH_MAX));
    assert_eq!(check_request(&deepest, &limits), Ok(()));
    assert_eq!(check(deepest), Ok(()));
    assert_eq!(check_request(&Request::Txn(deep(TXN_DEPTH_MAX + 1)), &limits), Err(Status::TooManyOps));
    assert_eq!(check_request(&Request::Txn(deep(2_000)), &limits), Err(Status::TooManyOps));
}

/// Or a member could propose what every member then fails to decode.
#[test]
fn what_is_checked_can_be_read_back_from_the_log() {
    let command = Command { header: CommandHeader::default(), action: Action::Txn(deep(TXN_DEPTH_MAX)) };
    assert_eq!(Command::decode(command.encode()), Ok(command));
    let command = Command { header: CommandHeader::default(), action: Action::Txn(deep(TXN_DEPTH_MAX + 1)) };
    assert!(Command::decode(command.encode()).is_err());
}

#[test]
fn stream_of_a_range_has_neither_order_nor_filter() {
    let ordered = |order: i32, target: i32| RangeRequest {
        sort_order: order.into(),
        sort_target: target.into(),
        ..range_of("a", "z")
    };
    assert_eq!(check_range_stream(&ordered(0, 3)), Ok(()));
    assert_eq!(check_range_stream(&ordered(1, 0)), Ok(()));
    assert_eq!(check_range_stream(&ordered(2, 0)), Err(Status::RangeStreamSort));
    assert_eq!(check_range_stream(&ordered(1, 3)), Err(Status::RangeStreamSort));
    assert_eq!(check_range_stream(&ordered(9, 0)), Err(Status::InvalidSortOption));
    let filtered = RangeRequest { max_create_revision: -1, ..range_of("a", "z") };
    assert_eq!(check_range_stream(&filtered), Err(Status::RangeStreamFilter));
}

#[test]
fn other_requests_have_no_static_checks() {
    assert_eq!(check(Request::LeaseRevoke { id: LeaseId(0) }), Ok(()));
    assert_eq!(check(Request::Status), Ok(()));
}
