//! Core requests through the generated stubs, and their answers as the core gave them.

use std::future::ready;

use futures_util::{StreamExt, stream};
use holdfast_core::boundary::{StreamOp, WatchCreate};
use holdfast_core::request::{
    Compare, CompareResult, CompareTarget, CompareUnion, DeleteRangeRequest, PutRequest, RangeRequest,
    Request, RequestOp, Response, SortOrder, SortTarget, TxnRequest,
};
use holdfast_core::status::Status;
use holdfast_net::answers::Answer;
use holdfast_net::proto::etcdserverpb::compare::TargetUnion;
use holdfast_net::proto::etcdserverpb::request_op::Request as Op;
use holdfast_net::proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_net::proto::etcdserverpb::{
    self as pb, cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient,
};
use tonic::transport::Channel;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The server says so.
    Status(Status),
    /// The way to it broke.
    Way(String),
}

impl From<tonic::Status> for Refusal {
    fn from(status: tonic::Status) -> Refusal {
        let is_it =
            |known: &&Status| known.code() as i32 == status.code() as i32 && known.text() == status.message();
        match Status::ALL.iter().find(is_it) {
            Some(known) => Refusal::Status(*known),
            None => Refusal::Way(format!("{:?} {}", status.code(), status.message())),
        }
    }
}

/// Whether the black-box checker knows such a request.
pub fn is_judged(request: &Request) -> bool {
    matches!(
        request,
        Request::Range(_)
            | Request::Put(_)
            | Request::DeleteRange(_)
            | Request::Txn(_)
            | Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke { .. }
            | Request::LeaseKeepAlive { .. }
            | Request::LeaseTimeToLive { .. }
    )
}

/// Whether `send` knows how to ask this.
pub fn is_known(request: &Request) -> bool {
    is_judged(request)
        || matches!(
            request,
            Request::MemberList { .. }
                | Request::MemberRemove { .. }
                | Request::MemberPromote { .. }
                | Request::MoveLeader { .. }
                | Request::Defragment
                | Request::MemberAdd { .. }
                | Request::HashKv { .. }
                | Request::AlarmList { .. }
        )
}

/// Asks a server.
pub async fn send(channel: Channel, request: Request) -> Result<Response, Refusal> {
    Ok(match request {
        Request::Range(asked) => KvClient::new(channel).range(range(asked)).await?.into_inner().response(),
        Request::Put(asked) => KvClient::new(channel).put(put(asked)).await?.into_inner().response(),
        Request::DeleteRange(asked) => {
            KvClient::new(channel).delete_range(delete(asked)).await?.into_inner().response()
        }
        Request::Txn(asked) => KvClient::new(channel).txn(txn(asked)).await?.into_inner().response(),
        Request::Compact(asked) => {
            let asked = pb::CompactionRequest { revision: asked.revision, physical: asked.physical };
            KvClient::new(channel).compact(asked).await?.into_inner().response()
        }
        Request::LeaseGrant(asked) => {
            let asked = pb::LeaseGrantRequest { ttl: asked.ttl, id: asked.id.0 };
            LeaseClient::new(channel).lease_grant(asked).await?.into_inner().response()
        }
        Request::LeaseRevoke { id } => LeaseClient::new(channel)
            .lease_revoke(pb::LeaseRevokeRequest { id: id.0 })
            .await?
            .into_inner()
            .response(),
        Request::LeaseTimeToLive { id, keys } => {
            let asked = pb::LeaseTimeToLiveRequest { id: id.0, keys };
            LeaseClient::new(channel).lease_time_to_live(asked).await?.into_inner().response()
        }
        Request::LeaseKeepAlive { id } => keep_alive(channel, id.0).await?,
        Request::MemberList { linearizable } => ClusterClient::new(channel)
            .member_list(pb::MemberListRequest { linearizable })
            .await?
            .into_inner()
            .response(),
        Request::MemberRemove { id } => ClusterClient::new(channel)
            .member_remove(pb::MemberRemoveRequest { id: id.0 })
            .await?
            .into_inner()
            .response(),
        Request::MemberPromote { id } => {
            let asked = pb::MemberPromoteRequest { id: id.0 };
            ClusterClient::new(channel).member_promote(asked).await?.into_inner().response()
        }
        Request::MoveLeader { target } => {
            MaintenanceClient::new(channel)
                .move_leader(pb::MoveLeaderRequest { target_id: target.0 })
                .await?;
            Response::MoveLeader
        }
        Request::Defragment => {
            MaintenanceClient::new(channel).defragment(pb::DefragmentRequest {}).await?;
            Response::Defragment
        }
        Request::MemberAdd { peer_urls, is_learner, .. } => {
            let asked = pb::MemberAddRequest { peer_ur_ls: peer_urls, is_learner };
            ClusterClient::new(channel).member_add(asked).await?.into_inner().response()
        }
        Request::HashKv { revision } => {
            let asked = pb::HashKvRequest { revision };
            MaintenanceClient::new(channel).hash_kv(asked).await?.into_inner().response()
        }
        Request::AlarmList { .. } => {
            let asked = pb::AlarmRequest::default();
            MaintenanceClient::new(channel).alarm(asked).await?.into_inner().response()
        }
        other => unreachable!("`is_known` leaves out {other:?}"),
    })
}

async fn keep_alive(channel: Channel, id: i64) -> Result<Response, Refusal> {
    // The requests do not end while the answer is awaited.
    let requests = stream::once(ready(pb::LeaseKeepAliveRequest { id })).chain(stream::pending());
    let mut answers = LeaseClient::new(channel).lease_keep_alive(requests).await?.into_inner();
    match answers.message().await? {
        Some(answer) => Ok(answer.response()),
        None => Err(Refusal::Way("the stream ended".to_owned())),
    }
}

fn range(asked: RangeRequest) -> pb::RangeRequest {
    pb::RangeRequest {
        key: asked.key,
        range_end: asked.range_end,
        limit: asked.limit,
        revision: asked.revision,
        sort_order: match asked.sort_order {
            SortOrder::None => 0,
            SortOrder::Ascend => 1,
            SortOrder::Descend => 2,
            SortOrder::Unknown(number) => number,
        },
        sort_target: match asked.sort_target {
            SortTarget::Key => 0,
            SortTarget::Version => 1,
            SortTarget::Create => 2,
            SortTarget::Mod => 3,
            SortTarget::Value => 4,
            SortTarget::Unknown(number) => number,
        },
        serializable: asked.serializable,
        keys_only: asked.keys_only,
        count_only: asked.count_only,
        min_mod_revision: asked.min_mod_revision,
        max_mod_revision: asked.max_mod_revision,
        min_create_revision: asked.min_create_revision,
        max_create_revision: asked.max_create_revision,
    }
}

fn put(asked: PutRequest) -> pb::PutRequest {
    pb::PutRequest {
        key: asked.key,
        value: asked.value,
        lease: asked.lease.0,
        prev_kv: asked.prev_kv,
        ignore_value: asked.ignore_value,
        ignore_lease: asked.ignore_lease,
    }
}

fn delete(asked: DeleteRangeRequest) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: asked.key, range_end: asked.range_end, prev_kv: asked.prev_kv }
}

/// Recursion ends with the story's own nesting.
fn txn(asked: TxnRequest) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: asked.compare.into_iter().map(compare).collect(),
        success: asked.success.into_iter().map(request_op).collect(),
        failure: asked.failure.into_iter().map(request_op).collect(),
    }
}

fn request_op(op: RequestOp) -> pb::RequestOp {
    let request = match op {
        RequestOp::Unset => None,
        RequestOp::Range(asked) => Some(Op::RequestRange(range(asked))),
        RequestOp::Put(asked) => Some(Op::RequestPut(put(asked))),
        RequestOp::DeleteRange(asked) => Some(Op::RequestDeleteRange(delete(asked))),
        RequestOp::Txn(asked) => Some(Op::RequestTxn(txn(*asked))),
    };
    pb::RequestOp { request }
}

fn compare(asked: Compare) -> pb::Compare {
    pb::Compare {
        result: match asked.result {
            CompareResult::Equal => 0,
            CompareResult::Greater => 1,
            CompareResult::Less => 2,
            CompareResult::NotEqual => 3,
            CompareResult::Unknown(number) => number,
        },
        target: match asked.target {
            CompareTarget::Version => 0,
            CompareTarget::Create => 1,
            CompareTarget::Mod => 2,
            CompareTarget::Value => 3,
            CompareTarget::Lease => 4,
            CompareTarget::Unknown(number) => number,
        },
        key: asked.key,
        range_end: asked.range_end,
        target_union: match asked.union {
            CompareUnion::Unset => None,
            CompareUnion::Version(version) => Some(TargetUnion::Version(version)),
            CompareUnion::Create(revision) => Some(TargetUnion::CreateRevision(revision)),
            CompareUnion::Mod(revision) => Some(TargetUnion::ModRevision(revision)),
            CompareUnion::Value(value) => Some(TargetUnion::Value(value)),
            CompareUnion::Lease(lease) => Some(TargetUnion::Lease(lease)),
        },
    }
}

/// What is said on a watch stream; `None` for what its transport does by itself.
pub fn watch_request(op: &StreamOp) -> Option<pb::WatchRequest> {
    let request = match op {
        StreamOp::Create(create) => RequestUnion::CreateRequest(watch_create(create)),
        StreamOp::Cancel { watch_id } => {
            RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: watch_id.0 })
        }
        StreamOp::Progress => RequestUnion::ProgressRequest(pb::WatchProgressRequest {}),
        StreamOp::Open { .. } | StreamOp::Credit { .. } | StreamOp::Close => return None,
    };
    Some(pb::WatchRequest { request_union: Some(request) })
}

fn watch_create(create: &WatchCreate) -> pb::WatchCreateRequest {
    let filters = [(create.no_put, 0), (create.no_delete, 1)];
    pb::WatchCreateRequest {
        key: create.key.clone(),
        range_end: create.range_end.clone(),
        start_revision: create.start_revision,
        progress_notify: create.progress_notify,
        filters: filters.iter().filter(|(is_on, _)| *is_on).map(|(_, number)| *number).collect(),
        prev_kv: create.prev_kv,
        watch_id: create.watch_id.0,
        fragment: create.fragment,
    }
}
