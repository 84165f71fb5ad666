//! Static checks of a request: what can be refused without looking at any state.
//!
//! Source: etcd 3.7.1 server/etcdserver/api/v3rpc/key.go, in its order (WR-0 step 4).

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::base::{KeyRange, LeaseId};
use crate::keyset::KeySet;
use crate::members::read_peer_urls;
use crate::request::{
    DeleteRangeRequest, PutRequest, RangeRequest, Request, RequestOp, SortOrder, SortTarget, TXN_DEPTH_MAX,
    TxnRequest,
};
use crate::status::Status;

/// Bounds that a member sets for requests; judged before a request is proposed, never by apply.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Most compares, and most operations in either branch, of a txn with its nested ones
    /// (`--max-txn-ops`).
    pub txn_ops_max: u32,
}

impl Default for RequestLimits {
    fn default() -> RequestLimits {
        RequestLimits { txn_ops_max: 128 }
    }
}

/// Checks the fields of any request. Errors: always the client's fault.
pub fn check_request(request: &Request, limits: &RequestLimits) -> Result<(), Status> {
    match request {
        Request::Range(range) => check_range(range),
        Request::Put(put) => check_put(put),
        Request::DeleteRange(delete) => check_delete_range(delete),
        Request::Txn(txn) => {
            check_txn(txn, limits.txn_ops_max as usize, 0)?;
            check_branch(&txn.success)?;
            check_branch(&txn.failure)?;
            Ok(())
        }
        Request::MemberAdd { peer_urls, .. } | Request::MemberUpdate { peer_urls, .. } => {
            // etcd takes any text for an update and leaves its members with URLs that nobody can use.
            read_peer_urls(peer_urls).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Checks a RangeRequest that is to be answered in chunks (RS-1).
pub fn check_range_stream(request: &RangeRequest) -> Result<(), Status> {
    check_range(request)?;
    if !request.is_key_ordered() {
        return Err(Status::RangeStreamSort);
    }
    if request.has_filters() {
        return Err(Status::RangeStreamFilter);
    }
    Ok(())
}

fn check_key(key: &[u8]) -> Result<(), Status> {
    if key.is_empty() { Err(Status::EmptyKey) } else { Ok(()) }
}

fn check_range(request: &RangeRequest) -> Result<(), Status> {
    check_key(&request.key)?;
    let is_order_known = !matches!(request.sort_order, SortOrder::Unknown(_));
    let is_target_known = !matches!(request.sort_target, SortTarget::Unknown(_));
    if is_order_known && is_target_known { Ok(()) } else { Err(Status::InvalidSortOption) }
}

fn check_put(request: &PutRequest) -> Result<(), Status> {
    check_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(Status::ValueProvided);
    }
    if request.ignore_lease && request.lease != LeaseId(0) {
        return Err(Status::LeaseProvided);
    }
    Ok(())
}

fn check_delete_range(request: &DeleteRangeRequest) -> Result<(), Status> {
    check_key(&request.key)
}

/// Checks counts and fields of a txn and of those nested in it, without the rule on duplicates.
/// `depth`: txns around this one, at most `TXN_DEPTH_MAX`.
fn check_txn(txn: &TxnRequest, ops_max: usize, depth: u32) -> Result<(), Status> {
    let ops = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    if ops > ops_max || depth > TXN_DEPTH_MAX {
        return Err(Status::TooManyOps);
    }
    for compare in &txn.compare {
        check_key(&compare.key)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            // The same text as for a missing key, upstream's choice (TXN-3).
            RequestOp::Unset => return Err(Status::KeyNotFound),
            RequestOp::Range(range) => check_range(range)?,
            RequestOp::Put(put) => check_put(put)?,
            RequestOp::DeleteRange(delete) => check_delete_range(delete)?,
            RequestOp::Txn(nested) => check_txn(nested, ops_max - ops, depth + 1)?,
        }
    }
    Ok(())
}

/// What the operations of a branch and of the txns nested in it may put and delete.
#[derive(Default)]
struct Touched {
    puts: BTreeSet<Bytes>,
    deletes: KeySet,
}

/// Refuses a branch that puts a key twice, or puts one that it also deletes (TXN-4).
/// Deletes of this level are known first, then come nested txns in order, then the puts of this level. So a
/// put in a nested txn is judged only against deletes of earlier siblings, and a delete without an end
/// counts for nothing: two holes that clients rely on (TXN-5).
/// Recursion: `check_txn` has bounded the depth by `TXN_DEPTH_MAX`.
fn check_branch(ops: &[RequestOp]) -> Result<Touched, Status> {
    let mut touched = Touched::default();
    for op in ops {
        let RequestOp::DeleteRange(delete) = op else { continue };
        let is_from_key = delete.range_end[..] == [0];
        if !is_from_key {
            touched.deletes.insert(&KeyRange::new(delete.key.clone(), delete.range_end.clone()));
        }
    }
    for op in ops {
        let RequestOp::Txn(nested) = op else { continue };
        let success = check_branch(&nested.success)?;
        let failure = check_branch(&nested.failure)?;
        // Only one of the two branches runs, so they may put the same key.
        for put in success.puts.iter().chain(&failure.puts) {
            touched.check_put(put)?;
        }
        touched.puts.extend(success.puts);
        touched.puts.extend(failure.puts);
        touched.deletes.append(success.deletes);
        touched.deletes.append(failure.deletes);
    }
    for op in ops {
        let RequestOp::Put(put) = op else { continue };
        touched.check_put(&put.key)?;
        touched.puts.insert(put.key.clone());
    }
    Ok(touched)
}

impl Touched {
    fn check_put(&self, key: &Bytes) -> Result<(), Status> {
        let is_touched = self.puts.contains(key) || self.deletes.contains(key);
        if is_touched { Err(Status::DuplicateKey) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
