use std::collections::BTreeSet;

use holdfast_core::base;

use super::*;
use crate::proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader, TxnRequest, request_op};
use crate::proto::mvccpb::KeyValue;

fn method(path: &str) -> Method {
    methods()[path].clone()
}

fn read<M: Message + Default>(path: &str, json: &str) -> M {
    let frame = method(path).frame_of(json.as_bytes()).unwrap_or_else(|status| panic!("{json}: {status}"));
    M::decode(frame.slice(5..)).expect("our own frame")
}

#[test]
fn every_route_names_a_method_and_streams_are_known_as_such() {
    let all = methods();
    assert_eq!(all.len(), ROUTES.len());
    let streams: BTreeSet<_> = all
        .iter()
        .filter(|(_, method)| method.takes_stream || method.gives_stream)
        .map(|(path, _)| *path)
        .collect();
    let expected = ["/v3/election/observe", "/v3/lease/keepalive", "/v3/maintenance/snapshot", "/v3/watch"];
    assert_eq!(streams, BTreeSet::from(expected));
}

#[test]
fn both_spellings_of_names_numbers_and_base64_are_read_and_unknown_fields_passed_over() {
    let expected = RangeRequest {
        key: Bytes::from_static(b"\xfb\xff"),
        range_end: Bytes::from_static(b"\0"),
        limit: 7,
        sort_order: 2,
        count_only: true,
        ..RangeRequest::default()
    };
    for json in [
        r#"{"key":"+/8=","range_end":"AA==","limit":"7","sort_order":"DESCEND","count_only":true}"#,
        r#"{"key":"-_8","rangeEnd":"AA","limit":7,"sortOrder":2,"countOnly":true,"what":[{"is":null}]} tail"#,
    ] {
        assert_eq!(read::<RangeRequest>("/v3/kv/range", json), expected, "{json}");
    }
    for nothing in [" \n", r#"{"sort_order":"SIDEWAYS"}"#] {
        assert_eq!(read::<RangeRequest>("/v3/kv/range", nothing), RangeRequest::default(), "{nothing}");
    }
}

#[test]
fn members_of_a_oneof_are_read_by_name() {
    let txn: TxnRequest = read(
        "/v3/kv/txn",
        r#"{"compare":[{"target":"CREATE","key":"YQ==","createRevision":"0"}],"success":[{"requestPut":{"key":"YQ=="}}]}"#,
    );
    assert!(txn.compare[0].target_union.is_some(), "zero is said");
    assert!(matches!(&txn.success[0].request, Some(request_op::Request::RequestPut(put)) if put.key == "a"));
}

#[test]
fn zeros_are_left_out_and_64_bits_are_strings() {
    let header = ResponseHeader { cluster_id: u64::MAX, member_id: 1, revision: -1, raft_term: 0 };
    let kv = base::KeyValue {
        key: b"foo"[..].into(),
        value: Bytes::new(),
        create_revision: 0,
        mod_revision: 0,
        version: 1,
        lease: base::LeaseId(0),
    };
    let reply = RangeResponse { header: Some(header), kvs: vec![KeyValue(kv)], more: false, count: 1 };
    let json = method("/v3/kv/range").json_of(reply.encode_to_vec().into()).expect("it is whole");
    assert_eq!(
        String::from_utf8(json).expect("JSON"),
        r#"{"header":{"cluster_id":"18446744073709551615","member_id":"1","revision":"-1"},"kvs":[{"key":"Zm9v","version":"1"}],"count":"1"}"#
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    for (json, place) in [
        ("{", "line 1 column 1"),
        (r#"{"key":"%"}"#, "base64"),
        (r#"{"limit":"seven"}"#, "line 1"),
        ("[]", "line 1"),
    ] {
        let refused = method("/v3/kv/range").frame_of(json.as_bytes()).expect_err(json);
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{json}");
        assert!(refused.message().contains(place), "{json}: {}", refused.message());
    }
}

#[test]
fn values_are_told_apart_in_a_stream() {
    assert_eq!(whole_value(b"").expect("nothing yet"), None);
    assert_eq!(whole_value(b" {\"a\": \"}").expect("half a string"), None);
    assert_eq!(whole_value(b" {} {\"b\":1}").expect("the first"), Some(3));
    whole_value(b"}").expect_err("no value begins so");
}
