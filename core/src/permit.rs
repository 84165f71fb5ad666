//! Whether an asker may do the whole of what it asks: every key that is read, written or hangs on a lease.
//!
//! Judged where the request takes effect: writes when their entry is applied, on every member alike; reads at
//! the state that they are answered from. Users and roles know nothing of leases, hence this place above both.
//!
//! Source: AUTH-17..AUTH-20; etcd 3.7.1 `server/etcdserver/apply/auth.go`.

use crate::auth::{Asker, Auth, Right};
use crate::base::{KeyRange, LeaseId};
use crate::command::Action;
use crate::keyset::SpanEnd;
use crate::lease::Leases;
use crate::request::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use crate::status::Status;

/// Judges an action in the log. What members propose of their own accord is nobody's, and let pass.
/// Compactions, alarms, grants and membership changes are etcd's proposer's to judge; whom the header names is
/// judged here too, where nobody's view is old.
pub fn check_action(auth: &Auth, leases: &Leases, asker: Asker<'_>, action: &Action) -> Result<(), Status> {
    match action {
        Action::Put(put) => check_put(auth, leases, asker, put),
        Action::DeleteRange(delete) => check_delete(auth, asker, delete),
        Action::Txn(txn) => check_txn(auth, leases, asker, txn),
        Action::LeaseGrant { .. } => auth.check_known(asker),
        Action::LeaseRevoke { id } => {
            auth.check_known(asker)?;
            check_lease_keys(auth, leases, asker, *id, Right::Write)
        }
        Action::Compact { .. } | Action::Alarm { .. } => check_named_admin(auth, asker.user),
        Action::Auth(_) => auth.check_admin(asker.user),
        Action::Authenticate { user, .. } => auth.check_login(user, asker.auth_revision),
        Action::LeaseExpire { .. } | Action::LeaseCheckpoint { .. } => Ok(()),
        Action::Publish { .. } | Action::StateVersionSet { .. } => Ok(()),
    }
}

/// Whoever is named must be an admin; nobody was judged by the proposer.
pub fn check_named_admin(auth: &Auth, user: &str) -> Result<(), Status> {
    if user.is_empty() { Ok(()) } else { auth.check_admin(user) }
}

pub fn check_range(auth: &Auth, asker: Asker<'_>, range: &RangeRequest) -> Result<(), Status> {
    auth.check(asker, &KeyRange::new(range.key.clone(), range.range_end.clone()), Right::Read)
}

/// The key, what it was, and all keys of the lease: who attaches a key to a lease may delete all of them.
fn check_put(auth: &Auth, leases: &Leases, asker: Asker<'_>, put: &PutRequest) -> Result<(), Status> {
    let key = KeyRange::single(put.key.clone());
    auth.check(asker, &key, Right::Write)?;
    check_lease_keys(auth, leases, asker, put.lease, Right::Write)?;
    if put.prev_kv { auth.check(asker, &key, Right::Read) } else { Ok(()) }
}

fn check_delete(auth: &Auth, asker: Asker<'_>, delete: &DeleteRangeRequest) -> Result<(), Status> {
    let range = KeyRange::new(delete.key.clone(), delete.range_end.clone());
    auth.check(asker, &range, Right::Write)?;
    if delete.prev_kv { auth.check(asker, &range, Right::Read) } else { Ok(()) }
}

/// Both branches, whichever is taken, and all that is nested in them.
/// Recursion: decoding has bounded the depth by `TXN_DEPTH_MAX`.
pub fn check_txn(auth: &Auth, leases: &Leases, asker: Asker<'_>, txn: &TxnRequest) -> Result<(), Status> {
    for compare in &txn.compare {
        let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
        auth.check(asker, &range, Right::Read)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            RequestOp::Unset => {}
            RequestOp::Range(range) => check_range(auth, asker, range)?,
            RequestOp::Put(put) => check_put(auth, leases, asker, put)?,
            RequestOp::DeleteRange(delete) => check_delete(auth, asker, delete)?,
            RequestOp::Txn(nested) => check_txn(auth, leases, asker, nested)?,
        }
    }
    Ok(())
}

/// Whether the asker has a right on every key of a lease; a lease without keys, or none at all, asks for
/// nothing. Cost: a look-up for each granted interval that has keys of the lease, not for each key.
pub fn check_lease_keys(
    auth: &Auth,
    leases: &Leases,
    asker: Asker<'_>,
    id: LeaseId,
    right: Right,
) -> Result<(), Status> {
    let Some(mut key) = leases.first_key(id) else { return Ok(()) };
    let Some(rights) = auth.rights(asker)? else { return Ok(()) };
    loop {
        match rights.end_at(key, right) {
            None => return Err(Status::PermissionDenied),
            Some(SpanEnd::Never) => return Ok(()),
            Some(SpanEnd::At(end)) => match leases.key_from(id, end) {
                Some(next) => key = next,
                None => return Ok(()),
            },
        }
    }
}

#[cfg(test)]
#[path = "permit_tests.rs"]
mod tests;
