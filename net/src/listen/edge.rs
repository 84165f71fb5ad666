//! One HTTP request to the service that answers it: gRPC by its content type, the rest as plain HTTP.
//!
//! tonic's router and layers are not used: a match on the service's name takes their place, and what
//! tonic says differently from grpc-go is put right on error answers alone, so that a call that succeeds
//! pays one header look-up for it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Version, header};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Code, Status};

use super::socket::CertifiedUser;
use crate::backup::Snapshots;
use crate::gate::Gate;
use crate::proto::etcdserverpb::{
    auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer, lease_server::LeaseServer,
    maintenance_server::MaintenanceServer, watch_server::WatchServer,
};
use crate::proto::healthpb::health_server::HealthServer;
use crate::proto::v3electionpb::election_server::ElectionServer;
use crate::proto::v3lockpb::lock_server::LockServer;
use crate::service::{
    Auth, CERTIFIED_USER, Cluster, Election, Health, Kv, Lease, Lock, MESSAGE_OVERHEAD_BYTES, Maintenance,
    Watch, restated,
};

/// What a port answers with.
pub type Response = http::Response<Body>;

/// Answers what is not gRPC: health, metrics, versions.
pub type PlainHttp =
    Arc<dyn Fn(http::Request<()>) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

/// The body of a plain answer.
pub fn whole_body(bytes: Bytes) -> Body {
    Body::new(http_body_util::Full::new(bytes))
}

/// Everything a client port serves; clones share it.
#[derive(Clone)]
pub struct Edge {
    /// `None`: a port of plain HTTP only.
    servers: Option<Arc<Servers>>,
    plain: PlainHttp,
}

struct Servers {
    kv: KvServer<Kv>,
    watch: WatchServer<Watch>,
    lease: LeaseServer<Lease>,
    cluster: ClusterServer<Cluster>,
    maintenance: MaintenanceServer<Maintenance>,
    auth: AuthServer<Auth>,
    lock: LockServer<Lock>,
    election: ElectionServer<Election>,
    health: HealthServer<Health>,
}

impl Edge {
    /// Messages above `--max-request-bytes` and 512 KiB are refused unread (LIM-1).
    pub fn new(gate: &Gate, snapshots: &Snapshots, plain: PlainHttp) -> Edge {
        let limit = gate.identity().request_bytes_max as usize + MESSAGE_OVERHEAD_BYTES;
        macro_rules! server {
            ($server:ident($service:ident $(, $more:expr)?)) => {
                $server::new($service::new(gate.clone() $(, $more)?)).max_decoding_message_size(limit)
            };
        }
        let servers = Servers {
            kv: server!(KvServer(Kv)),
            watch: server!(WatchServer(Watch)),
            lease: server!(LeaseServer(Lease)),
            cluster: server!(ClusterServer(Cluster)),
            maintenance: server!(MaintenanceServer(Maintenance, snapshots.clone())),
            auth: server!(AuthServer(Auth)),
            lock: server!(LockServer(Lock)),
            election: server!(ElectionServer(Election)),
            health: server!(HealthServer(Health)),
        };
        Edge { servers: Some(Arc::new(servers)), plain }
    }

    /// A port without gRPC.
    pub fn plain_only(plain: PlainHttp) -> Edge {
        Edge { servers: None, plain }
    }

    /// Answers one request.
    async fn answer<B: RequestBody>(self, mut request: http::Request<B>) -> Result<Response, Infallible> {
        let Some(servers) = self.servers.filter(|_| is_grpc(&request)) else {
            return Ok((self.plain)(request.map(drop)).await);
        };
        name_user(&mut request);
        let uri = request.uri().clone();
        let (service, method) = match split_path(uri.path()) {
            Ok(target) => target,
            Err(status) => return Ok(status.into_http()),
        };
        let Some(call) = servers.call(service, request) else {
            return Ok(Status::unimplemented(format!("unknown service {service}")).into_http());
        };
        let Ok(mut response) = call.await;
        if let Some(status) = other_words(response.headers(), service, method) {
            response = status.into_http();
        }
        Ok(response)
    }
}

/// What a request's bytes come in.
pub trait RequestBody:
    hyper::body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static
{
}

impl<B> RequestBody for B where
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static
{
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Call = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl<B: RequestBody> Service<http::Request<B>> for Edge {
    type Response = Response;
    type Error = Infallible;
    type Future = Call;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Call {
        Box::pin(self.clone().answer(request))
    }
}

impl Servers {
    /// `None`: there is no such service.
    fn call<B: RequestBody>(&self, service: &str, request: http::Request<B>) -> Option<Call> {
        Some(match service {
            "etcdserverpb.KV" => self.kv.clone().call(request),
            "etcdserverpb.Watch" => self.watch.clone().call(request),
            "etcdserverpb.Lease" => self.lease.clone().call(request),
            "etcdserverpb.Cluster" => self.cluster.clone().call(request),
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request),
            "etcdserverpb.Auth" => self.auth.clone().call(request),
            "v3lockpb.Lock" => self.lock.clone().call(request),
            "v3electionpb.Election" => self.election.clone().call(request),
            "grpc.health.v1.Health" => self.health.clone().call(request),
            _ => return None,
        })
    }
}

/// Tells the services of the user that the connection's certificate proves, and of no other that a client may
/// name. A common name that a header cannot hold is no user's.
fn name_user<B>(request: &mut http::Request<B>) {
    let user = request.extensions_mut().remove::<CertifiedUser>();
    let headers = request.headers_mut();
    headers.remove(CERTIFIED_USER);
    if let Some(value) = user.and_then(|CertifiedUser(name)| HeaderValue::from_bytes(name.as_bytes()).ok()) {
        headers.insert(CERTIFIED_USER, value);
    }
}

pub(crate) fn is_grpc<B>(request: &http::Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Service and method of a path. Source: grpc-go server.go (handleStream).
pub(super) fn split_path(path: &str) -> Result<(&str, &str), Status> {
    let name = path.strip_prefix('/').unwrap_or(path);
    name.rsplit_once('/').ok_or_else(|| Status::unimplemented(format!("malformed method name: {path:?}")))
}

/// What grpc-go would have said where tonic has refused a call by itself; `None` for all other answers.
/// A status in the headers means that there is no message: successes carry theirs in the trailers.
fn other_words(headers: &HeaderMap, service: &str, method: &str) -> Option<Status> {
    let code = headers.get(Status::GRPC_STATUS)?;
    match Code::from_bytes(code.as_bytes()) {
        Code::Unimplemented if !headers.contains_key(Status::GRPC_MESSAGE) => {
            let text = format!("unknown method {method} for service {service}");
            Some(Status::unimplemented(text))
        }
        Code::OutOfRange | Code::Internal => Status::from_header_map(headers).map(restated),
        _ => None,
    }
}
