//! Every unary call, and whether it may be repeated.
//!
//! Source: etcd 3.7.1 client/v3/retry.go.

use holdfast_net::proto::etcdserverpb::{
    self as pb, auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient,
    lease_client::LeaseClient, maintenance_client::MaintenanceClient,
};
use tonic::Streaming;
use tonic::transport::Channel;

use super::{CallError, Client, Repeat};

macro_rules! calls {
    ($($service:ident { $($name:ident($request:ident) -> $answer:ident $repeat:ident;)* })*) => {
        impl Client {
            $($(
                pub async fn $name(&self, request: pb::$request) -> Result<pb::$answer, CallError> {
                    let limit = self.receive_bytes_max();
                    self.call(Repeat::$repeat, request, async |channel: Channel, request| {
                        $service::new(channel).max_decoding_message_size(limit).$name(request).await
                    })
                    .await
                }
            )*)*
        }
    };
}

calls! {
    KvClient {
        range(RangeRequest) -> RangeResponse Safe;
        put(PutRequest) -> PutResponse Never;
        delete_range(DeleteRangeRequest) -> DeleteRangeResponse Never;
        compact(CompactionRequest) -> CompactionResponse Never;
    }
    LeaseClient {
        lease_grant(LeaseGrantRequest) -> LeaseGrantResponse Safe;
        lease_revoke(LeaseRevokeRequest) -> LeaseRevokeResponse Safe;
        lease_time_to_live(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse Safe;
        lease_leases(LeaseLeasesRequest) -> LeaseLeasesResponse Safe;
    }
    ClusterClient {
        member_add(MemberAddRequest) -> MemberAddResponse Never;
        member_remove(MemberRemoveRequest) -> MemberRemoveResponse Never;
        member_update(MemberUpdateRequest) -> MemberUpdateResponse Never;
        member_list(MemberListRequest) -> MemberListResponse Safe;
        member_promote(MemberPromoteRequest) -> MemberPromoteResponse Never;
    }
    MaintenanceClient {
        alarm(AlarmRequest) -> AlarmResponse Safe;
        status(StatusRequest) -> StatusResponse Safe;
        defragment(DefragmentRequest) -> DefragmentResponse Never;
        hash_kv(HashKvRequest) -> HashKvResponse Safe;
        move_leader(MoveLeaderRequest) -> MoveLeaderResponse Safe;
        downgrade(DowngradeRequest) -> DowngradeResponse Never;
    }
    AuthClient {
        auth_enable(AuthEnableRequest) -> AuthEnableResponse Never;
        auth_disable(AuthDisableRequest) -> AuthDisableResponse Never;
        auth_status(AuthStatusRequest) -> AuthStatusResponse Never;
        user_add(AuthUserAddRequest) -> AuthUserAddResponse Never;
        user_get(AuthUserGetRequest) -> AuthUserGetResponse Safe;
        user_list(AuthUserListRequest) -> AuthUserListResponse Safe;
        user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse Never;
        user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse Never;
        user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse Never;
        user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse Never;
        role_add(AuthRoleAddRequest) -> AuthRoleAddResponse Never;
        role_get(AuthRoleGetRequest) -> AuthRoleGetResponse Safe;
        role_list(AuthRoleListRequest) -> AuthRoleListResponse Safe;
        role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse Never;
        role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse Never;
        role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse Never;
    }
}

impl Client {
    /// Repeated if it only reads.
    pub async fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, CallError> {
        let reads = |op: &pb::RequestOp| matches!(op.request, Some(pb::request_op::Request::RequestRange(_)));
        let only_reads = request.success.iter().chain(&request.failure).all(reads);
        let repeat = if only_reads { Repeat::Safe } else { Repeat::Never };
        let limit = self.receive_bytes_max();
        self.call(repeat, request, async |channel: Channel, request| {
            KvClient::new(channel).max_decoding_message_size(limit).txn(request).await
        })
        .await
    }

    /// Opens a stream of a backend's bytes.
    pub async fn snapshot(&self) -> Result<Streaming<pb::SnapshotResponse>, CallError> {
        let limit = self.receive_bytes_max();
        self.call(Repeat::Safe, pb::SnapshotRequest {}, async |channel: Channel, request| {
            MaintenanceClient::new(channel).max_decoding_message_size(limit).snapshot(request).await
        })
        .await
    }

    /// A range in parts, put together again.
    pub async fn range_stream(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, CallError> {
        let limit = self.receive_bytes_max();
        let mut parts = self
            .call(Repeat::Never, request, async |channel: Channel, request| {
                KvClient::new(channel).max_decoding_message_size(limit).range_stream(request).await
            })
            .await?;
        let mut whole = pb::RangeResponse::default();
        let collect = async {
            while let Some(part) = parts.message().await? {
                let Some(part) = part.range_response else { continue };
                whole.header = part.header.or(whole.header.take());
                whole.kvs.extend(part.kvs);
                whole.more |= part.more;
                whole.count = if part.count == 0 { whole.count } else { part.count };
            }
            Ok::<_, CallError>(())
        };
        self.bounded(collect).await??;
        Ok(whole)
    }
}
