//! What operators ask of one member.

use holdfast_core::base::MemberId;
use holdfast_core::request as core;
use tonic::{Request, Response, Status};

use super::credentials::credentials;
use super::terms::{Terms, Until};
use super::{STORAGE_VERSION, VERSION, ask, mismatched, service};
use crate::backup::{SnapshotStream, Snapshots};
use crate::convert;
use crate::gate::Gate;
use crate::proto::etcdserverpb as pb;

/// `etcdserverpb.Maintenance`.
#[derive(Clone, Debug)]
pub struct Maintenance {
    gate: Gate,
    snapshots: Snapshots,
}

impl Maintenance {
    pub fn new(gate: Gate, snapshots: Snapshots) -> Maintenance {
        Maintenance { gate, snapshots }
    }

    fn header(&self, header: core::Header) -> Option<pb::ResponseHeader> {
        Some(convert::header(self.gate.identity(), header))
    }

    fn status_response(&self, status: core::StatusResponse) -> pb::StatusResponse {
        pb::StatusResponse {
            header: self.header(status.header),
            version: VERSION.to_owned(),
            db_size: status.db_size_bytes,
            leader: status.leader.0,
            raft_index: status.raft_index,
            raft_term: status.header.raft_term,
            raft_applied_index: status.raft_applied_index,
            errors: status.errors,
            db_size_in_use: status.db_size_in_use_bytes,
            is_learner: status.is_learner,
            storage_version: STORAGE_VERSION.to_owned(),
            db_size_quota: status.db_size_quota_bytes,
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }
    }
}

service! {
    impl pb::maintenance_server::Maintenance as "Maintenance" for Maintenance;
    not_supported {
        "Downgrade" downgrade(pb::DowngradeRequest) -> pb::DowngradeResponse;
    }
    also {
        type SnapshotStream = Until<SnapshotStream>;

        async fn snapshot(
            &self,
            request: Request<pb::SnapshotRequest>,
        ) -> Result<Response<Self::SnapshotStream>, Status> {
            let terms = Terms::check_anywhere(&self.gate, request.metadata())?;
            let making = self.snapshots.begin(&self.gate, credentials(request.metadata()));
            let snapshot = terms.bound_call(&self.gate, making).await?;
            Ok(Response::new(terms.bound(&self.gate, snapshot)))
        }

        /// What a number that nobody knows asks for is empty, and so is what cannot be raised (MNT-4).
        async fn alarm(
            &self,
            request: Request<pb::AlarmRequest>,
        ) -> Result<Response<pb::AlarmResponse>, Status> {
            use pb::alarm_request::AlarmAction;
            let (metadata, _, message) = request.into_parts();
            let action = AlarmAction::try_from(message.action).ok();
            let wanted = action.and_then(|_| convert::alarm(message.alarm));
            let alarm = wanted.unwrap_or_default();
            let member = MemberId(message.member_id);
            let request = match action {
                Some(AlarmAction::Activate) => core::Request::AlarmSet { activate: true, member, alarm },
                Some(AlarmAction::Deactivate) => core::Request::AlarmSet { activate: false, member, alarm },
                Some(AlarmAction::Get) | None => core::Request::AlarmList { alarm },
            };
            match ask(&self.gate, &metadata, request).await? {
                core::Response::AlarmList { header, mut alarms } => {
                    if wanted.is_none() {
                        alarms.clear();
                    }
                    let alarms = alarms.into_iter().map(|(member, alarm)| pb::AlarmMember {
                        member_id: member.0,
                        alarm: convert::alarm_number(alarm),
                    });
                    let header = self.header(header);
                    Ok(Response::new(pb::AlarmResponse { header, alarms: alarms.collect() }))
                }
                other => mismatched("Alarm", &other),
            }
        }

        async fn status(
            &self,
            request: Request<pb::StatusRequest>,
        ) -> Result<Response<pb::StatusResponse>, Status> {
            match ask(&self.gate, request.metadata(), core::Request::Status).await? {
                core::Response::Status(status) => Ok(Response::new(self.status_response(status))),
                other => mismatched("Status", &other),
            }
        }

        /// Its answer has no header, as etcd's.
        async fn move_leader(
            &self,
            request: Request<pb::MoveLeaderRequest>,
        ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
            let (metadata, _, message) = request.into_parts();
            let target = MemberId(message.target_id);
            match ask(&self.gate, &metadata, core::Request::MoveLeader { target }).await? {
                core::Response::MoveLeader => Ok(Response::new(pb::MoveLeaderResponse { header: None })),
                other => mismatched("MoveLeader", &other),
            }
        }

        /// Its answer has no header (MNT-2).
        async fn defragment(
            &self,
            request: Request<pb::DefragmentRequest>,
        ) -> Result<Response<pb::DefragmentResponse>, Status> {
            match ask(&self.gate, request.metadata(), core::Request::Defragment).await? {
                core::Response::Defragment => Ok(Response::new(pb::DefragmentResponse { header: None })),
                other => mismatched("Defragment", &other),
            }
        }

        async fn hash(
            &self,
            request: Request<pb::HashRequest>,
        ) -> Result<Response<pb::HashResponse>, Status> {
            match ask(&self.gate, request.metadata(), core::Request::Hash).await? {
                core::Response::Hash { header, hash } => {
                    Ok(Response::new(pb::HashResponse { header: self.header(header), hash }))
                }
                other => mismatched("Hash", &other),
            }
        }

        async fn hash_kv(
            &self,
            request: Request<pb::HashKvRequest>,
        ) -> Result<Response<pb::HashKvResponse>, Status> {
            let (metadata, _, message) = request.into_parts();
            let hash = core::Request::HashKv { revision: message.revision };
            match ask(&self.gate, &metadata, hash).await? {
                core::Response::HashKv { header, hash, compact_revision, hash_revision } => {
                    let header = self.header(header);
                    Ok(Response::new(pb::HashKvResponse { header, hash, compact_revision, hash_revision }))
                }
                other => mismatched("HashKV", &other),
            }
        }
    }
}
