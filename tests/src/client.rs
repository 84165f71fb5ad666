//! A gRPC client of the v3 API, as thin as it can be.

use std::time::Duration;

use bytes::Bytes;
use holdfast_net::proto::etcdserverpb as pb;
use holdfast_net::proto::v3electionpb::election_client::ElectionClient;
use holdfast_net::proto::v3lockpb::lock_client::LockClient;
use pb::auth_client::AuthClient;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Largest message taken; the server bounds none.
const RECEIVE_BYTES_MAX: usize = 1 << 30;

/// One connection with all the services on it.
#[derive(Clone)]
pub struct Client {
    pub lock: LockClient<Channel>,
    pub election: ElectionClient<Channel>,
    pub auth: AuthClient<Channel>,
    pub kv: KvClient<Channel>,
    pub lease: LeaseClient<Channel>,
    pub cluster: ClusterClient<Channel>,
    pub maintenance: MaintenanceClient<Channel>,
    pub watch: WatchClient<Channel>,
    /// Goes with what `ask` asks.
    pub token: Option<String>,
}

impl Client {
    /// Connects when first used.
    pub fn new(endpoint: &str) -> Client {
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).expect("a URL of our own making");
        let channel = endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true).connect_lazy();
        Client::over(channel)
    }

    /// Over a connection that is there.
    pub fn over(channel: Channel) -> Client {
        Client {
            lock: LockClient::new(channel.clone()),
            election: ElectionClient::new(channel.clone()),
            auth: AuthClient::new(channel.clone()),
            kv: KvClient::new(channel.clone()).max_decoding_message_size(RECEIVE_BYTES_MAX),
            lease: LeaseClient::new(channel.clone()),
            cluster: ClusterClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            watch: WatchClient::new(channel).max_decoding_message_size(RECEIVE_BYTES_MAX),
            token: None,
        }
    }

    /// A request with the token, if there is one.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let token = token.parse().expect("tokens are letters and digits");
            request.metadata_mut().insert("token", token);
        }
        request
    }

    /// Puts and gives the revision.
    pub async fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<i64, Status> {
        let request = pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() };
        let response = self.kv.put(request).await?.into_inner();
        Ok(response.header.expect("every answer has a header").revision)
    }

    /// One key at a revision (0: now).
    pub async fn get(
        &mut self,
        key: impl Into<Bytes>,
        revision: i64,
    ) -> Result<Option<(Bytes, i64)>, Status> {
        let request = pb::RangeRequest { key: key.into(), revision, ..Default::default() };
        let response = self.kv.range(request).await?.into_inner();
        Ok(response.kvs.into_iter().next().map(|kv| (kv.value.clone(), kv.mod_revision)))
    }

    /// Grants a lease of `ttl` seconds under an id of the server's choice.
    pub async fn grant(&mut self, ttl: i64) -> Result<i64, Status> {
        let request = pb::LeaseGrantRequest { ttl, id: 0 };
        Ok(self.lease.lease_grant(request).await?.into_inner().id)
    }
}
