//! Members of the cluster.

use holdfast_core::base::MemberId;
use holdfast_core::request as core;
use tonic::{Request, Response, Status};

use super::{ask, mismatched};
use crate::convert;
use crate::gate::Gate;
use crate::proto::etcdserverpb as pb;

/// `etcdserverpb.Cluster`.
#[derive(Clone, Debug)]
pub struct Cluster {
    gate: Gate,
}

impl Cluster {
    pub fn new(gate: Gate) -> Cluster {
        Cluster { gate }
    }

    /// Q70: headers of this service have no revision.
    fn header(&self, header: core::Header) -> Option<pb::ResponseHeader> {
        Some(convert::header(self.gate.identity(), core::Header { revision: 0, ..header }))
    }
}

fn members(members: Vec<core::Member>) -> Vec<pb::Member> {
    members.into_iter().map(convert::member).collect()
}

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Cluster {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let list = core::Request::MemberList { linearizable: message.linearizable };
        match ask(&self.gate, &metadata, list).await? {
            core::Response::MemberList { header, members: list } => {
                let header = self.header(header);
                Ok(Response::new(pb::MemberListResponse { header, members: members(list) }))
            }
            other => mismatched("MemberList", &other),
        }
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let add = core::Request::MemberAdd {
            peer_urls: message.peer_ur_ls,
            is_learner: message.is_learner,
            unix_s: self.gate.identity().wall.unix_s(),
        };
        match ask(&self.gate, &metadata, add).await? {
            core::Response::MemberAdd { header, member, members: list } => {
                Ok(Response::new(pb::MemberAddResponse {
                    header: self.header(header),
                    member: Some(convert::member(*member)),
                    members: members(list),
                }))
            }
            other => mismatched("MemberAdd", &other),
        }
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let remove = core::Request::MemberRemove { id: MemberId(message.id) };
        match ask(&self.gate, &metadata, remove).await? {
            core::Response::MemberRemove { header, members: list } => {
                let header = self.header(header);
                Ok(Response::new(pb::MemberRemoveResponse { header, members: members(list) }))
            }
            other => mismatched("MemberRemove", &other),
        }
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let (id, peer_urls) = (MemberId(message.id), message.peer_ur_ls);
        match ask(&self.gate, &metadata, core::Request::MemberUpdate { id, peer_urls }).await? {
            core::Response::MemberUpdate { header, members: list } => {
                let header = self.header(header);
                Ok(Response::new(pb::MemberUpdateResponse { header, members: members(list) }))
            }
            other => mismatched("MemberUpdate", &other),
        }
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let promote = core::Request::MemberPromote { id: MemberId(message.id) };
        match ask(&self.gate, &metadata, promote).await? {
            core::Response::MemberPromote { header, members: list } => {
                let header = self.header(header);
                Ok(Response::new(pb::MemberPromoteResponse { header, members: members(list) }))
            }
            other => mismatched("MemberPromote", &other),
        }
    }
}
