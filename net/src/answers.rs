//! Generated answers back into the core's terms: for those who judge what clients saw.
//!
//! Members and terms are left out, since no order of requests explains them.

use holdfast_core::base::{self, LeaseId};
use holdfast_core::request as core;

use crate::proto::etcdserverpb as pb;
use crate::wire;

/// An answer that the core could have given.
pub trait Answer {
    fn response(&self) -> core::Response;
}

fn header(header: &Option<pb::ResponseHeader>) -> core::Header {
    core::Header { revision: header.as_ref().map_or(0, |header| header.revision), raft_term: 0 }
}

fn kvs(kvs: &[wire::KeyValue]) -> Vec<base::KeyValue> {
    kvs.iter().map(|kv| kv.0.clone()).collect()
}

fn range(range: &pb::RangeResponse) -> core::RangeResponse {
    let pb::RangeResponse { more, count, .. } = *range;
    core::RangeResponse { header: header(&range.header), kvs: kvs(&range.kvs), more, count }
}

fn put(put: &pb::PutResponse) -> core::PutResponse {
    core::PutResponse { header: header(&put.header), prev_kv: put.prev_kv.as_ref().map(|kv| kv.0.clone()) }
}

fn delete(delete: &pb::DeleteRangeResponse) -> core::DeleteRangeResponse {
    let prev_kvs = kvs(&delete.prev_kvs);
    core::DeleteRangeResponse { header: header(&delete.header), deleted: delete.deleted, prev_kvs }
}

/// Recursion ends where the decoder's does.
fn txn(txn: &pb::TxnResponse) -> core::TxnResponse {
    let responses = txn.responses.iter().filter_map(response_op).collect();
    core::TxnResponse { header: header(&txn.header), succeeded: txn.succeeded, responses }
}

fn response_op(op: &pb::ResponseOp) -> Option<core::ResponseOp> {
    use pb::response_op::Response;
    Some(match op.response.as_ref()? {
        Response::ResponseRange(answer) => core::ResponseOp::Range(range(answer)),
        Response::ResponsePut(answer) => core::ResponseOp::Put(put(answer)),
        Response::ResponseDeleteRange(answer) => core::ResponseOp::DeleteRange(delete(answer)),
        Response::ResponseTxn(answer) => core::ResponseOp::Txn(txn(answer)),
    })
}

impl Answer for pb::RangeResponse {
    fn response(&self) -> core::Response {
        core::Response::Range(range(self))
    }
}

impl Answer for pb::PutResponse {
    fn response(&self) -> core::Response {
        core::Response::Put(put(self))
    }
}

impl Answer for pb::DeleteRangeResponse {
    fn response(&self) -> core::Response {
        core::Response::DeleteRange(delete(self))
    }
}

impl Answer for pb::TxnResponse {
    fn response(&self) -> core::Response {
        core::Response::Txn(txn(self))
    }
}

impl Answer for pb::LeaseGrantResponse {
    fn response(&self) -> core::Response {
        core::Response::LeaseGrant { header: header(&self.header), id: LeaseId(self.id), ttl: self.ttl }
    }
}

impl Answer for pb::LeaseKeepAliveResponse {
    fn response(&self) -> core::Response {
        core::Response::LeaseKeepAlive { header: header(&self.header), id: LeaseId(self.id), ttl: self.ttl }
    }
}

impl Answer for pb::LeaseRevokeResponse {
    fn response(&self) -> core::Response {
        core::Response::LeaseRevoke { header: header(&self.header) }
    }
}
