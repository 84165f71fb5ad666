//! Elections among clients.

use futures_util::stream;
use tonic::{Request, Response, Status};

use super::refusal::not_supported;
use super::service;
use super::terms::Terms;
use crate::gate::Gate;
use crate::proto::v3electionpb as pb;

/// `v3electionpb.Election`.
#[derive(Clone, Debug)]
pub struct Election {
    gate: Gate,
}

impl Election {
    pub fn new(gate: Gate) -> Election {
        Election { gate }
    }
}

service! {
    impl pb::election_server::Election as "Election" for Election;
    not_supported {
        "Campaign" campaign(pb::CampaignRequest) -> pb::CampaignResponse;
        "Proclaim" proclaim(pb::ProclaimRequest) -> pb::ProclaimResponse;
        "Leader" leader(pb::LeaderRequest) -> pb::LeaderResponse;
        "Resign" resign(pb::ResignRequest) -> pb::ResignResponse;
    }
    also {
        type ObserveStream = stream::Empty<Result<pb::LeaderResponse, Status>>;

        async fn observe(
            &self,
            request: Request<pb::LeaderRequest>,
        ) -> Result<Response<Self::ObserveStream>, Status> {
            Terms::check(&self.gate, request.metadata())?;
            Err(not_supported("Election", "Observe"))
        }
    }
}
