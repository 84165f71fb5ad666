//! The same services on the simulated network, which has no codec, HTTP, limits or layers.

use std::net::SocketAddr;

use tonic::transport::{Error, Server};

use crate::gate::Gate;
use crate::peer::PeerService;
use crate::proto::etcdserverpb::{
    auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer, lease_server::LeaseServer,
    maintenance_server::MaintenanceServer, watch_server::WatchServer,
};
use crate::proto::healthpb::health_server::HealthServer;
use crate::proto::holdfast::peer_server::PeerServer;
use crate::proto::v3electionpb::election_server::ElectionServer;
use crate::proto::v3lockpb::lock_server::LockServer;
use crate::service::{Auth, Cluster, Election, Health, Kv, Lease, Lock, Maintenance, Watch};

/// Serves until the simulated node is killed. Errors: the address cannot be had.
pub async fn listen_madsim(address: SocketAddr, gate: Gate) -> Result<(), Error> {
    Server::builder()
        .add_service(KvServer::new(Kv::new(gate.clone())))
        .add_service(WatchServer::new(Watch::new(gate.clone())))
        .add_service(LeaseServer::new(Lease::new(gate.clone())))
        .add_service(ClusterServer::new(Cluster::new(gate.clone())))
        .add_service(MaintenanceServer::new(Maintenance::new(gate.clone())))
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
