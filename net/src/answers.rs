//! Generated answers back into the core's terms: for those who judge what clients saw.
//!
//! Members and terms are left out, since no order of requests explains them.

use std::sync::Arc;

use holdfast_core::base::{self, LeaseId, MemberId, WatchId};
use holdfast_core::boundary::WatchResponse;
use holdfast_core::request as core;

use crate::convert::alarm;
use crate::proto::etcdserverpb as pb;
use crate::wire;

/// An answer that the core could have given.
pub trait Answer {
    fn response(&self) -> core::Response;

    /// The term in its header: that of the last entry that whoever answered had applied.
    fn term(&self) -> u64;
}

/// What passed on a watch stream; why a watch ended is left out.
pub fn watch_response(response: &pb::WatchResponse) -> WatchResponse {
    WatchResponse {
        revision: header(&response.header).revision,
        raft_term: 0,
        watch_id: WatchId(response.watch_id),
        created: response.created,
        canceled: response.canceled,
        compact_revision: response.compact_revision,
        cancel_reason: "",
        fragment: response.fragment,
        events: Arc::new(response.events.to_vec()),
    }
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

fn member(member: &pb::Member) -> core::Member {
    core::Member {
        id: MemberId(member.id),
        name: member.name.clone(),
        peer_urls: member.peer_ur_ls.clone(),
        client_urls: member.client_ur_ls.clone(),
        is_learner: member.is_learner,
    }
}

fn members(members: &[pb::Member]) -> Vec<core::Member> {
    members.iter().map(member).collect()
}

macro_rules! answer {
    ($($answer:ident in $type:ident is $response:expr;)*) => {
        $(impl Answer for pb::$type {
            fn response(&self) -> core::Response {
                let $answer = self;
                $response
            }

            fn term(&self) -> u64 {
                self.header.as_ref().map_or(0, |header| header.raft_term)
            }
        })*
    };
}

answer! {
    a in RangeResponse is core::Response::Range(range(a));
    a in PutResponse is core::Response::Put(put(a));
    a in DeleteRangeResponse is core::Response::DeleteRange(delete(a));
    a in TxnResponse is core::Response::Txn(txn(a));
    a in LeaseGrantResponse is
        core::Response::LeaseGrant { header: header(&a.header), id: LeaseId(a.id), ttl: a.ttl };
    a in LeaseKeepAliveResponse is
        core::Response::LeaseKeepAlive { header: header(&a.header), id: LeaseId(a.id), ttl: a.ttl };
    a in LeaseRevokeResponse is core::Response::LeaseRevoke { header: header(&a.header) };
    a in CompactionResponse is core::Response::Compact { header: header(&a.header) };
    a in LeaseTimeToLiveResponse is core::Response::LeaseTimeToLive {
        header: header(&a.header),
        id: LeaseId(a.id),
        ttl: a.ttl,
        granted_ttl: a.granted_ttl,
        keys: a.keys.clone(),
    };
    a in MemberListResponse is
        core::Response::MemberList { header: header(&a.header), members: members(&a.members) };
    a in MemberAddResponse is core::Response::MemberAdd {
        header: header(&a.header),
        member: Box::new(a.member.as_ref().map(member).unwrap_or_default()),
        members: members(&a.members),
    };
    a in HashKvResponse is core::Response::HashKv {
        header: header(&a.header),
        hash: a.hash,
        compact_revision: a.compact_revision,
        hash_revision: a.hash_revision,
    };
    a in AlarmResponse is core::Response::AlarmList {
        header: header(&a.header),
        alarms: a.alarms.iter().filter_map(|m| Some((MemberId(m.member_id), alarm(m.alarm)?))).collect(),
    };
    a in MemberRemoveResponse is
        core::Response::MemberRemove { header: header(&a.header), members: members(&a.members) };
    a in MemberPromoteResponse is
        core::Response::MemberPromote { header: header(&a.header), members: members(&a.members) };
}
