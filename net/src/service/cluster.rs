//! Members of the cluster.

use holdfast_core::request as core;
use tonic::{Request, Response, Status};

use super::{ask, mismatched, service};
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
}

service! {
    impl pb::cluster_server::Cluster as "Cluster" for Cluster;
    not_supported {
        "MemberAdd" member_add(pb::MemberAddRequest) -> pb::MemberAddResponse;
        "MemberRemove" member_remove(pb::MemberRemoveRequest) -> pb::MemberRemoveResponse;
        "MemberUpdate" member_update(pb::MemberUpdateRequest) -> pb::MemberUpdateResponse;
        "MemberPromote" member_promote(pb::MemberPromoteRequest) -> pb::MemberPromoteResponse;
    }
    also {
        async fn member_list(
            &self,
            request: Request<pb::MemberListRequest>,
        ) -> Result<Response<pb::MemberListResponse>, Status> {
            let (metadata, _, message) = request.into_parts();
            let list = core::Request::MemberList { linearizable: message.linearizable };
            match ask(&self.gate, &metadata, list).await? {
                core::Response::MemberList { header, members } => {
                    // Q70: headers of this service have no revision.
                    let header = core::Header { revision: 0, ..header };
                    Ok(Response::new(pb::MemberListResponse {
                        header: Some(convert::header(self.gate.identity(), header)),
                        members: members.into_iter().map(convert::member).collect(),
                    }))
                }
                other => mismatched("MemberList", &other),
            }
        }
    }
}
