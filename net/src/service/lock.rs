//! Locks that live as long as a lease.

use super::service;
use crate::gate::Gate;
use crate::proto::v3lockpb as pb;

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

service! {
    impl pb::lock_server::Lock as "Lock" for Lock;
    not_supported {
        "Lock" lock(pb::LockRequest) -> pb::LockResponse;
        "Unlock" unlock(pb::UnlockRequest) -> pb::UnlockResponse;
    }
    also {}
}
