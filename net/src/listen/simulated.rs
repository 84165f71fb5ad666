//! The same services on the simulated network, which has no codec, HTTP, limits or layers.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::time::sleep;
use tonic::transport::{Error, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::backup::Snapshots;
use crate::gate::Gate;
use crate::peer::PeerService;
use crate::proto::etcdserverpb::{
    self as pb, auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
    lease_server::LeaseServer, maintenance_server::MaintenanceServer, watch_server::WatchServer,
};
use crate::proto::healthpb::health_server::HealthServer;
use crate::proto::holdfast::peer_server::PeerServer;
use crate::proto::v3electionpb::election_server::ElectionServer;
use crate::proto::v3lockpb::lock_server::LockServer;
use crate::service::{Auth, Cluster, Election, Health, Kv, Lease, Lock, Maintenance, Watch};

/// Metadata of a watch: ns that pass between two answers. The simulated transport has no windows and takes
/// everything at once; so a slow client names its pace.
pub const PACE: &str = "simulated-pace-ns";

/// Serves until the simulated node is killed. Errors: the address cannot be had.
pub async fn listen_madsim(address: SocketAddr, gate: Gate) -> Result<(), Error> {
    Server::builder()
        .add_service(KvServer::new(Kv::new(gate.clone())))
        .add_service(WatchServer::new(PacedWatch(Watch::new(gate.clone()))))
        .add_service(LeaseServer::new(Lease::new(gate.clone())))
        .add_service(ClusterServer::new(Cluster::new(gate.clone())))
        .add_service(MaintenanceServer::new(Maintenance::new(gate.clone(), Snapshots)))
        .add_service(AuthServer::new(Auth::new(gate.clone())))
        .add_service(LockServer::new(Lock::new(gate.clone())))
        .add_service(ElectionServer::new(Election::new(gate.clone())))
        .add_service(HealthServer::new(Health::new(gate)))
        .serve(address)
        .await
}

/// The same for the peer port.
pub async fn listen_peers_madsim(address: SocketAddr, service: PeerService) -> Result<(), Error> {
    Server::builder().add_service(PeerServer::new(service)).serve(address).await
}

/// Watches over a transport that takes answers at the client's pace.
struct PacedWatch(Watch);

#[tonic::async_trait]
impl pb::watch_server::Watch for PacedWatch {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let named = request.metadata().get(PACE).and_then(|text| text.to_str().ok());
        let pause = Duration::from_nanos(named.and_then(|text| text.parse().ok()).unwrap_or(0));
        let answers = self.0.watch(request).await?.into_inner();
        if pause.is_zero() {
            return Ok(Response::new(answers.boxed()));
        }
        let paced = stream::unfold(Box::pin(answers), move |mut answers| async move {
            let answer = answers.next().await?;
            sleep(pause).await;
            Some((answer, answers))
        });
        Ok(Response::new(paced.boxed()))
    }
}
