//! Generated messages to core requests, core answers to generated messages.
//!
//! Requests lose nothing: enum numbers that nobody knows survive (RG-11, TXN-10). Answers share the
//! core's keys and values; a list of pairs is turned in place.

use holdfast_core::base::{self, LeaseId, WatchId};
use holdfast_core::boundary::{self, StreamOp};
use holdfast_core::request as core;

use crate::gate::Identity;
use crate::proto::{authpb, etcdserverpb as pb};
use crate::wire::{Events, KeyValue};

/// Transactions inside a transaction, one inside the other. etcd allows what `--max-txn-ops` does (128);
/// our decoder ends at 100 nested messages, two a transaction.
pub const NESTED_TXNS_MAX: u32 = 48;

/// A transaction is nested deeper than `NESTED_TXNS_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooDeep;

pub fn range_request(request: pb::RangeRequest) -> core::RangeRequest {
    core::RangeRequest {
        key: request.key,
        range_end: request.range_end,
        limit: request.limit,
        revision: request.revision,
        sort_order: request.sort_order.into(),
        sort_target: request.sort_target.into(),
        serializable: request.serializable,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    }
}

pub fn put_request(request: pb::PutRequest) -> core::PutRequest {
    core::PutRequest {
        key: request.key,
        value: request.value,
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

pub fn delete_range_request(request: pb::DeleteRangeRequest) -> core::DeleteRangeRequest {
    core::DeleteRangeRequest { key: request.key, range_end: request.range_end, prev_kv: request.prev_kv }
}

/// Errors: `TooDeep`.
pub fn txn_request(request: pb::TxnRequest) -> Result<core::TxnRequest, TooDeep> {
    txn_at_depth(request, 0)
}

/// Recursion ends at `NESTED_TXNS_MAX`.
fn txn_at_depth(request: pb::TxnRequest, depth: u32) -> Result<core::TxnRequest, TooDeep> {
    if depth > NESTED_TXNS_MAX {
        return Err(TooDeep);
    }
    Ok(core::TxnRequest {
        compare: request.compare.into_iter().map(compare).collect(),
        success: branch(request.success, depth)?,
        failure: branch(request.failure, depth)?,
    })
}

fn branch(ops: Vec<pb::RequestOp>, depth: u32) -> Result<Vec<core::RequestOp>, TooDeep> {
    ops.into_iter().map(|op| request_op(op, depth)).collect()
}

fn request_op(op: pb::RequestOp, depth: u32) -> Result<core::RequestOp, TooDeep> {
    use pb::request_op::Request;
    Ok(match op.request {
        None => core::RequestOp::Unset,
        Some(Request::RequestRange(range)) => core::RequestOp::Range(range_request(range)),
        Some(Request::RequestPut(put)) => core::RequestOp::Put(put_request(put)),
        Some(Request::RequestDeleteRange(delete)) => {
            core::RequestOp::DeleteRange(delete_range_request(delete))
        }
        Some(Request::RequestTxn(txn)) => core::RequestOp::Txn(Box::new(txn_at_depth(txn, depth + 1)?)),
    })
}

fn compare(compare: pb::Compare) -> core::Compare {
    use pb::compare::TargetUnion;
    core::Compare {
        result: compare.result.into(),
        target: compare.target.into(),
        key: compare.key,
        range_end: compare.range_end,
        union: match compare.target_union {
            None => core::CompareUnion::Unset,
            Some(TargetUnion::Version(version)) => core::CompareUnion::Version(version),
            Some(TargetUnion::CreateRevision(revision)) => core::CompareUnion::Create(revision),
            Some(TargetUnion::ModRevision(revision)) => core::CompareUnion::Mod(revision),
            Some(TargetUnion::Value(value)) => core::CompareUnion::Value(value),
            Some(TargetUnion::Lease(lease)) => core::CompareUnion::Lease(lease),
        },
    }
}

/// What a message on a watch stream asks; `None` if nothing (WATCH-1).
pub fn stream_op(request: pb::WatchRequest) -> Option<StreamOp> {
    use pb::watch_request::RequestUnion;
    Some(match request.request_union? {
        RequestUnion::CreateRequest(create) => StreamOp::Create(watch_create(create)),
        RequestUnion::CancelRequest(cancel) => StreamOp::Cancel { watch_id: WatchId(cancel.watch_id) },
        RequestUnion::ProgressRequest(_) => StreamOp::Progress,
    })
}

fn watch_create(request: pb::WatchCreateRequest) -> boundary::WatchCreate {
    use pb::watch_create_request::FilterType;
    let filters = |filter: FilterType| request.filters.contains(&(filter as i32));
    boundary::WatchCreate {
        no_put: filters(FilterType::Noput),
        no_delete: filters(FilterType::Nodelete),
        key: request.key,
        range_end: request.range_end,
        start_revision: request.start_revision,
        progress_notify: request.progress_notify,
        prev_kv: request.prev_kv,
        watch_id: WatchId(request.watch_id),
        fragment: request.fragment,
    }
}

/// A kind of alarm; `None` for a number that nobody knows.
pub fn alarm(number: i32) -> Option<core::Alarm> {
    Some(match pb::AlarmType::try_from(number).ok()? {
        pb::AlarmType::None => core::Alarm::None,
        pb::AlarmType::Nospace => core::Alarm::NoSpace,
        pb::AlarmType::Corrupt => core::Alarm::Corrupt,
    })
}

pub fn alarm_number(alarm: core::Alarm) -> i32 {
    let alarm = match alarm {
        core::Alarm::None => pb::AlarmType::None,
        core::Alarm::NoSpace => pb::AlarmType::Nospace,
        core::Alarm::Corrupt => pb::AlarmType::Corrupt,
    };
    alarm as i32
}

pub fn permission(permission: authpb::Permission) -> core::Permission {
    core::Permission {
        kind: permission.perm_type.into(),
        key: permission.key,
        range_end: permission.range_end,
    }
}

pub fn permission_message(permission: core::Permission) -> authpb::Permission {
    authpb::Permission {
        perm_type: permission.kind.into(),
        key: permission.key,
        range_end: permission.range_end,
    }
}

/// The header of an answer, with what never changes filled in.
pub fn header(identity: &Identity, header: core::Header) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: identity.cluster_id.0,
        member_id: identity.member_id.0,
        revision: header.revision,
        raft_term: header.raft_term,
    }
}

/// The header of an answer inside a transaction's: only a revision (REV-11).
fn header_inside(header: core::Header) -> pb::ResponseHeader {
    pb::ResponseHeader { revision: header.revision, ..pb::ResponseHeader::default() }
}

fn kvs(kvs: Vec<base::KeyValue>) -> Vec<KeyValue> {
    kvs.into_iter().map(KeyValue).collect()
}

pub fn range_response(response: core::RangeResponse, header: pb::ResponseHeader) -> pb::RangeResponse {
    pb::RangeResponse {
        header: Some(header),
        kvs: kvs(response.kvs),
        more: response.more,
        count: response.count,
    }
}

pub fn put_response(response: core::PutResponse, header: pb::ResponseHeader) -> pb::PutResponse {
    pb::PutResponse { header: Some(header), prev_kv: response.prev_kv.map(KeyValue) }
}

pub fn delete_range_response(
    response: core::DeleteRangeResponse,
    header: pb::ResponseHeader,
) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header: Some(header),
        deleted: response.deleted,
        prev_kvs: kvs(response.prev_kvs),
    }
}

/// Recursion is bounded by the request's (`NESTED_TXNS_MAX`).
pub fn txn_response(response: core::TxnResponse, header: pb::ResponseHeader) -> pb::TxnResponse {
    pb::TxnResponse {
        header: Some(header),
        succeeded: response.succeeded,
        responses: response.responses.into_iter().map(response_op).collect(),
    }
}

fn response_op(op: core::ResponseOp) -> pb::ResponseOp {
    use pb::response_op::Response;
    let response = match op {
        core::ResponseOp::Range(range) => {
            let header = header_inside(range.header);
            Response::ResponseRange(range_response(range, header))
        }
        core::ResponseOp::Put(put) => {
            let header = header_inside(put.header);
            Response::ResponsePut(put_response(put, header))
        }
        core::ResponseOp::DeleteRange(delete) => {
            let header = header_inside(delete.header);
            Response::ResponseDeleteRange(delete_range_response(delete, header))
        }
        // A nested transaction has a header with nothing in it.
        core::ResponseOp::Txn(txn) => Response::ResponseTxn(txn_response(txn, pb::ResponseHeader::default())),
    };
    pb::ResponseOp { response: Some(response) }
}

pub fn member(member: core::Member) -> pb::Member {
    pb::Member {
        id: member.id.0,
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        is_learner: member.is_learner,
    }
}

pub fn watch_response(identity: &Identity, response: boundary::WatchResponse) -> pb::WatchResponse {
    let core_header = core::Header { revision: response.revision, raft_term: response.raft_term };
    pb::WatchResponse {
        header: Some(header(identity, core_header)),
        watch_id: response.watch_id.0,
        created: response.created,
        canceled: response.canceled,
        compact_revision: response.compact_revision,
        cancel_reason: response.cancel_reason.into(),
        fragment: false,
        events: Events::from(response.events),
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
