//! Leases: grants, revokes, keep-alives.

use std::pin::Pin;

use futures_util::{Stream, stream};
use holdfast_core::base::LeaseId;
use holdfast_core::request as core;
use tonic::{Request, Response, Status, Streaming};

use super::credentials::credentials;
use super::refusal::{refusal, restated};
use super::terms::{Terms, Until};
use super::{ask, mismatched};
use crate::convert;
use crate::gate::Gate;
use crate::proto::etcdserverpb as pb;

/// `etcdserverpb.Lease`.
#[derive(Clone, Debug)]
pub struct Lease {
    gate: Gate,
}

/// The answers of one keep-alive stream.
pub type KeepAlives = Pin<Box<dyn Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send>>;

impl Lease {
    pub fn new(gate: Gate) -> Lease {
        Lease { gate }
    }

    fn header(&self, header: core::Header) -> Option<pb::ResponseHeader> {
        Some(convert::header(self.gate.identity(), header))
    }
}

#[tonic::async_trait]
impl pb::lease_server::Lease for Lease {
    type LeaseKeepAliveStream = Until<KeepAlives>;

    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let grant = core::LeaseGrantRequest { id: LeaseId(message.id), ttl: message.ttl };
        match ask(&self.gate, &metadata, core::Request::LeaseGrant(grant)).await? {
            core::Response::LeaseGrant { header, id, ttl } => Ok(Response::new(pb::LeaseGrantResponse {
                header: self.header(header),
                id: id.0,
                ttl,
                error: String::new(),
            })),
            other => mismatched("LeaseGrant", &other),
        }
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let revoke = core::Request::LeaseRevoke { id: LeaseId(message.id) };
        match ask(&self.gate, &metadata, revoke).await? {
            core::Response::LeaseRevoke { header } => {
                Ok(Response::new(pb::LeaseRevokeResponse { header: self.header(header) }))
            }
            other => mismatched("LeaseRevoke", &other),
        }
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let terms = Terms::check(&self.gate, &metadata)?;
        let answers = keep_alives(self.gate.clone(), credentials(&metadata), requests);
        Ok(Response::new(terms.bound_standing(&self.gate, answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let request = core::Request::LeaseTimeToLive { id: LeaseId(message.id), keys: message.keys };
        match ask(&self.gate, &metadata, request).await? {
            core::Response::LeaseTimeToLive { header, id, ttl, granted_ttl, keys } => {
                Ok(Response::new(pb::LeaseTimeToLiveResponse {
                    header: self.header(header),
                    id: id.0,
                    ttl,
                    granted_ttl,
                    keys,
                }))
            }
            other => mismatched("LeaseTimeToLive", &other),
        }
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        match ask(&self.gate, request.metadata(), core::Request::LeaseLeases).await? {
            core::Response::LeaseLeases { header, ids } => Ok(Response::new(pb::LeaseLeasesResponse {
                header: self.header(header),
                leases: ids.into_iter().map(|id| pb::LeaseStatus { id: id.0 }).collect(),
            })),
            other => mismatched("LeaseLeases", &other),
        }
    }
}

/// One answer a request, in order (LEASE-7); the client's half-close ends the stream.
fn keep_alives(
    gate: Gate,
    credentials: core::Credentials,
    requests: Streaming<pb::LeaseKeepAliveRequest>,
) -> KeepAlives {
    Box::pin(stream::try_unfold(
        (gate, credentials, requests),
        |(gate, credentials, mut requests)| async move {
            let Some(request) = requests.message().await.map_err(restated)? else { return Ok(None) };
            let renew = core::Request::LeaseKeepAlive { id: LeaseId(request.id) };
            match gate.call(credentials.clone(), renew).await.map_err(refusal)? {
                core::Response::LeaseKeepAlive { header, id, ttl } => {
                    let header = Some(convert::header(gate.identity(), header));
                    let answer = pb::LeaseKeepAliveResponse { header, id: id.0, ttl };
                    Ok(Some((answer, (gate, credentials, requests))))
                }
                other => mismatched("LeaseKeepAlive", &other),
            }
        },
    ))
}
