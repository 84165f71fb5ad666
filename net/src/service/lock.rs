//! Locks that live as long as a lease.
//!
//! Source: LOCK-1 to LOCK-5; etcd 3.7.1 `client/v3/concurrency/mutex.go`.

use bytes::Bytes;
use holdfast_core::request as core;
use tonic::{Request, Response, Status};

use super::session::{Prefix, Session, found, get, is_created_at, put};
use super::terms::Terms;
use crate::convert;
use crate::gate::Gate;
use crate::proto::v3lockpb as pb;

const SESSION_EXPIRED: &str = "mutex: session is expired";

/// `v3lockpb.Lock`.
#[derive(Clone, Debug)]
pub struct Lock {
    gate: Gate,
}

impl Lock {
    pub fn new(gate: Gate) -> Lock {
        Lock { gate }
    }
}

#[tonic::async_trait]
impl pb::lock_server::Lock for Lock {
    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let terms = Terms::check(&self.gate, &metadata)?;
        let session = Session::new(&self.gate, &metadata);
        let (header, key) = terms.bound_call(&self.gate, lock(&session, message)).await?;
        let header = Some(convert::header(self.gate.identity(), header));
        Ok(Response::new(pb::LockResponse { header, key }))
    }

    /// Whose lock it is nobody asks (LOCK-4).
    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let terms = Terms::check(&self.gate, &metadata)?;
        let session = Session::new(&self.gate, &metadata);
        let header = terms.bound_call(&self.gate, session.delete(message.key)).await?;
        let header = Some(convert::header(self.gate.identity(), header));
        Ok(Response::new(pb::UnlockResponse { header }))
    }
}

/// Queues up under the lock's name and waits for those before. A caller that goes meanwhile leaves the queue.
async fn lock(session: &Session, message: pb::LockRequest) -> Result<(core::Header, Bytes), Status> {
    let lease = session.lease(message.lease).await?;
    let prefix = Prefix::of(&message.name);
    let key = prefix.key(lease);
    let owner = core::RequestOp::Range(prefix.first_created());
    let queued = session
        .txn(core::TxnRequest {
            compare: vec![is_created_at(&key, 0)],
            success: vec![put(&key, Bytes::new(), lease), owner.clone()],
            failure: vec![core::RequestOp::Range(get(&key)), owner],
        })
        .await?;
    // Who has the lock already gets it again.
    let created = match queued.succeeded {
        true => queued.header.revision,
        false => found(&queued, 0).map_or(0, |kv| kv.create_revision),
    };
    if found(&queued, 1).is_none_or(|owner| owner.create_revision == created) {
        return Ok((queued.header, key));
    }
    let delete = core::DeleteRangeRequest { key: key.clone(), ..core::DeleteRangeRequest::default() };
    let place = session.undo(core::Request::DeleteRange(delete));
    session.wait_for_earlier(&prefix, created - 1).await?;
    // The lease may have ended meanwhile, and the place in the queue with it (etcd #11456).
    let own = session.range(get(&key)).await?;
    place.keep();
    match own.kvs.first() {
        Some(kv) if kv.create_revision == created => Ok((own.header, key)),
        _ => Err(Status::unknown(SESSION_EXPIRED)),
    }
}
