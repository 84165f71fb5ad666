//! The simulated world has no files: its members refuse snapshots.

use holdfast_core::request::Credentials;
use tonic::Status;

use crate::gate::Gate;
use crate::proto::etcdserverpb as pb;

/// What snapshots need beside the gate: nothing here.
#[derive(Clone, Debug, Default)]
pub struct Snapshots;

/// The pieces of a snapshot.
pub type SnapshotStream = futures_util::stream::Empty<Result<pb::SnapshotResponse, Status>>;

impl Snapshots {
    /// Errors: always.
    pub async fn begin(&self, _gate: &Gate, _credentials: Credentials) -> Result<SnapshotStream, Status> {
        Err(Status::unimplemented("etcdserver: snapshots need files"))
    }
}
