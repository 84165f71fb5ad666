use bytes::Bytes;
use holdfast_core::base::{ClusterId, MemberId};
use prost::Message;

use super::*;

const IDENTITY: Identity = Identity {
    cluster_id: ClusterId(11),
    member_id: MemberId(12),
    request_bytes_max: 1_572_864,
    election_timeout_ms: 1000,
    wall: crate::clock::WallClock::TRUE,
};

/// The message as a client would send it and the decoder hands it out.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(Bytes::from(message.encode_to_vec())).expect("what prost wrote it can read")
}

fn put_op(key: &'static str) -> pb::RequestOp {
    let put = pb::PutRequest { key: key.into(), ..pb::PutRequest::default() };
    pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) }
}

/// A put inside `depth` transactions, each inside the one before it.
fn nested(depth: u32) -> pb::TxnRequest {
    let mut txn = pb::TxnRequest { success: vec![put_op("k")], ..pb::TxnRequest::default() };
    for _ in 0..depth {
        let op = pb::RequestOp { request: Some(pb::request_op::Request::RequestTxn(txn)) };
        txn = pb::TxnRequest { success: vec![op], ..pb::TxnRequest::default() };
    }
    txn
}

#[test]
fn range_request_keeps_every_field() {
    let request = pb::RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: -1,
        revision: 2,
        sort_order: 2,
        sort_target: 4,
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 6,
    };
    let expected = core::RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: -1,
        revision: 2,
        sort_order: core::SortOrder::Descend,
        sort_target: core::SortTarget::Value,
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 6,
    };
    assert_eq!(range_request(sent(&request)), expected);
}

#[test]
fn unknown_enum_numbers_survive() {
    let range = pb::RangeRequest { sort_order: 9, sort_target: -3, ..pb::RangeRequest::default() };
    let range = range_request(sent(&range));
    assert_eq!(range.sort_order, core::SortOrder::Unknown(9));
    assert_eq!(range.sort_target, core::SortTarget::Unknown(-3));
    let condition = pb::Compare { result: 7, target: 8, ..pb::Compare::default() };
    let txn = pb::TxnRequest { compare: vec![condition], ..pb::TxnRequest::default() };
    let txn = txn_request(sent(&txn)).expect("not nested");
    assert_eq!(txn.compare[0].result, core::CompareResult::Unknown(7));
    assert_eq!(txn.compare[0].target, core::CompareTarget::Unknown(8));
    assert_eq!(alarm(3), None);
}

#[test]
fn compare_keeps_the_union_that_was_set() {
    use pb::compare::TargetUnion;
    let unions = [
        (TargetUnion::Version(1), core::CompareUnion::Version(1)),
        (TargetUnion::CreateRevision(2), core::CompareUnion::Create(2)),
        (TargetUnion::ModRevision(0), core::CompareUnion::Mod(0)),
        (TargetUnion::Value("v".into()), core::CompareUnion::Value("v".into())),
        (TargetUnion::Lease(5), core::CompareUnion::Lease(5)),
    ];
    for (target_union, expected) in unions {
        let request = pb::Compare { target_union: Some(target_union), ..pb::Compare::default() };
        assert_eq!(compare(sent(&request)).union, expected);
    }
    assert_eq!(compare(sent(&pb::Compare::default())).union, core::CompareUnion::Unset);
}

#[test]
fn deepest_nested_txn_passes_decoder_and_limit() {
    let deepest = sent(&nested(NESTED_TXNS_MAX));
    let mut txn = txn_request(deepest).expect("at the limit");
    for _ in 0..NESTED_TXNS_MAX {
        let Some(core::RequestOp::Txn(inner)) = txn.success.pop() else { panic!("expected a nested txn") };
        txn = *inner;
    }
    assert!(matches!(txn.success[..], [core::RequestOp::Put(_)]));
}

#[test]
fn txn_nested_deeper_is_refused() {
    assert_eq!(txn_request(nested(NESTED_TXNS_MAX + 1)), Err(TooDeep));
}

#[test]
fn decoder_refuses_endless_nesting() {
    let bytes = Bytes::from(nested(200).encode_to_vec());
    let error = pb::TxnRequest::decode(bytes).expect_err("200 levels");
    assert!(error.to_string().contains("recursion limit"), "{error}");
}

#[test]
fn empty_op_is_unset() {
    let txn = pb::TxnRequest { failure: vec![pb::RequestOp::default()], ..pb::TxnRequest::default() };
    assert_eq!(txn_request(sent(&txn)).expect("not nested").failure, [core::RequestOp::Unset]);
}

#[test]
fn headers_inside_a_txn_answer_have_only_a_revision() {
    let inner_header = core::Header { revision: 4, raft_term: 9 };
    let put = core::PutResponse { header: inner_header, prev_kv: None };
    let inner = core::TxnResponse {
        header: inner_header,
        succeeded: true,
        responses: vec![core::ResponseOp::Put(put)],
    };
    let outer = core::TxnResponse {
        header: core::Header { revision: 5, raft_term: 9 },
        succeeded: false,
        responses: vec![core::ResponseOp::Txn(inner)],
    };
    let top = header(&IDENTITY, outer.header);
    let response = txn_response(outer, top);
    let expected = pb::ResponseHeader { cluster_id: 11, member_id: 12, revision: 5, raft_term: 9 };
    assert_eq!(response.header, Some(expected));
    let Some(pb::response_op::Response::ResponseTxn(nested)) = &response.responses[0].response else {
        panic!("expected a nested txn")
    };
    assert_eq!(nested.header, Some(pb::ResponseHeader::default()));
    let Some(pb::response_op::Response::ResponsePut(put)) = &nested.responses[0].response else {
        panic!("expected a put")
    };
    assert_eq!(put.header, Some(pb::ResponseHeader { revision: 4, ..pb::ResponseHeader::default() }));
}

#[test]
fn watch_requests_become_stream_operations() {
    use pb::watch_request::RequestUnion;
    let create = pb::WatchCreateRequest {
        key: "k".into(),
        range_end: "z".into(),
        start_revision: -5,
        progress_notify: true,
        filters: vec![1, 77],
        prev_kv: true,
        watch_id: 3,
        fragment: true,
    };
    let op = |union| stream_op(sent(&pb::WatchRequest { request_union: union }));
    let expected = boundary::WatchCreate {
        key: "k".into(),
        range_end: "z".into(),
        start_revision: -5,
        progress_notify: true,
        no_put: false,
        no_delete: true,
        prev_kv: true,
        watch_id: WatchId(3),
        fragment: true,
    };
    assert_eq!(op(Some(RequestUnion::CreateRequest(create))), Some(StreamOp::Create(expected)));
    let cancel = pb::WatchCancelRequest { watch_id: 4 };
    let expected = StreamOp::Cancel { watch_id: WatchId(4) };
    assert_eq!(op(Some(RequestUnion::CancelRequest(cancel))), Some(expected));
    let progress = pb::WatchProgressRequest {};
    assert_eq!(op(Some(RequestUnion::ProgressRequest(progress))), Some(StreamOp::Progress));
    assert_eq!(op(None), None);
}
