//! The standard health protocol: one service, the whole server, named by the empty string.
//!
//! Source: grpc-go health/server.go, as etcd 3.7.1 registers it.

use std::pin::Pin;

use futures_util::stream::{self, StreamExt};
use futures_util::{Stream, future};
use tonic::{Request, Response, Status};

use super::terms::{Terms, Until};
use crate::gate::Gate;
use crate::proto::healthpb as pb;
use pb::health_check_response::ServingStatus;

/// `grpc.health.v1.Health`.
#[derive(Clone, Debug)]
pub struct Health {
    gate: Gate,
}

/// The answers of one health watch.
pub type Healths = Pin<Box<dyn Stream<Item = Result<pb::HealthCheckResponse, Status>> + Send>>;

impl Health {
    pub fn new(gate: Gate) -> Health {
        Health { gate }
    }

    fn status(&self) -> ServingStatus {
        if self.gate.is_closing() || self.gate.is_stopped() {
            ServingStatus::NotServing
        } else {
            ServingStatus::Serving
        }
    }
}

fn response(status: ServingStatus) -> pb::HealthCheckResponse {
    pb::HealthCheckResponse { status: status as i32 }
}

#[tonic::async_trait]
impl pb::health_server::Health for Health {
    type WatchStream = Until<Healths>;

    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        Terms::check(&self.gate, request.metadata())?;
        if !request.get_ref().service.is_empty() {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(response(self.status())))
    }

    async fn list(
        &self,
        request: Request<pb::HealthListRequest>,
    ) -> Result<Response<pb::HealthListResponse>, Status> {
        Terms::check(&self.gate, request.metadata())?;
        let statuses = [(String::new(), response(self.status()))].into();
        Ok(Response::new(pb::HealthListResponse { statuses }))
    }

    /// Says what it knows and stays open: what is unknown may come to be known.
    async fn watch(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let terms = Terms::check(&self.gate, request.metadata())?;
        let known = request.get_ref().service.is_empty();
        let first = response(if known { self.status() } else { ServingStatus::ServiceUnknown });
        let stream: Healths = Box::pin(stream::once(future::ready(Ok(first))).chain(stream::pending()));
        Ok(Response::new(terms.bound_standing(&self.gate, stream)))
    }
}
