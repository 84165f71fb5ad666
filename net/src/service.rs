//! What is said between a client and the node, one file a gRPC service.
//!
//! Nothing here knows of sockets, HTTP or layers: the simulated transport has none of them, and runs this
//! code as it is. So what etcd does in interceptors is a function that each method calls first.

mod auth;
mod cluster;
mod credentials;
mod election;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod range_stream;
mod refusal;
mod session;
mod terms;
mod watch;

pub use auth::Auth;
pub use cluster::Cluster;
pub use election::Election;
pub use health::Health;
pub use kv::Kv;
pub use lease::Lease;
pub use lock::Lock;
pub use maintenance::Maintenance;
#[cfg(not(madsim))]
pub(crate) use refusal::restated;
pub use watch::Watch;

use holdfast_core::request as core;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::gate::Gate;
#[cfg(not(madsim))]
pub(crate) use credentials::CERTIFIED_USER;
use credentials::credentials;
pub(crate) use refusal::refusal;
use terms::Terms;

/// Room beside `--max-request-bytes` in one message.
/// Source: etcd 3.7.1 server/config/config.go (grpcOverheadBytes).
pub(crate) const MESSAGE_OVERHEAD_BYTES: usize = 512 * 1024;

/// Version that this server answers to be.
pub const VERSION: &str = "3.7.1";
/// Version of the storage schema that goes with it.
pub const STORAGE_VERSION: &str = "3.7.0";

/// Puts a request before the node, on the terms of its metadata.
async fn ask(gate: &Gate, metadata: &MetadataMap, request: core::Request) -> Result<core::Response, Status> {
    let terms = match request.is_served_by_learner() {
        true => Terms::check_anywhere(gate, metadata)?,
        false => Terms::check(gate, metadata)?,
    };
    let call = gate.call(credentials(metadata), request);
    let answer = match terms.deadline {
        None => call.await,
        Some(deadline) => tokio::time::timeout(deadline, call)
            .await
            .unwrap_or(Err(holdfast_core::status::Status::ContextDeadlineExceeded)),
    };
    answer.map_err(refusal)
}

/// The node pairs each request with its own kind of answer.
pub(crate) fn mismatched(method: &str, answer: &core::Response) -> ! {
    unreachable!("{method} was answered with {answer:?}")
}

/// Implements a service some of whose methods are refused by name; the others follow after `also`.
macro_rules! service {
    (
        impl $trait:path as $name:literal for $type:ty;
        not_supported { $($rpc:literal $method:ident($request:ty) -> $response:ty;)* }
        also { $($rest:tt)* }
    ) => {
        #[tonic::async_trait]
        impl $trait for $type {
            $(
                async fn $method(
                    &self,
                    request: tonic::Request<$request>,
                ) -> Result<tonic::Response<$response>, tonic::Status> {
                    crate::service::terms::Terms::check(&self.gate, request.metadata())?;
                    Err(crate::service::refusal::not_supported($name, $rpc))
                }
            )*
            $($rest)*
        }
    };
}
use service;
