//! What is refused before anything is decided: the static checks, from the contract's rules.

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_core::request::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, Request, RequestOp, SortOrder,
    SortTarget, TxnRequest,
};
use holdfast_core::status::Status;

/// Largest lease TTL in seconds (LEASE-3).
const TTL_MAX_S: i64 = 9_000_000_000;

/// The refusal that a request earns by its form alone, whatever the state is.
pub fn static_refusal(request: &Request, txn_ops_max: usize) -> Option<Status> {
    match request {
        Request::Range(range) => of_range(range),
        Request::Put(put) => of_put(put),
        Request::DeleteRange(delete) => of_delete(delete),
        Request::Txn(txn) => of_txn(txn, txn_ops_max)
            .or_else(|| duplicate(&txn.success).err())
            .or_else(|| duplicate(&txn.failure).err()),
        Request::LeaseGrant(LeaseGrantRequest { ttl, .. }) if *ttl > TTL_MAX_S => {
            Some(Status::LeaseTtlTooLarge)
        }
        _ => None,
    }
}

fn of_range(range: &RangeRequest) -> Option<Status> {
    if range.key.is_empty() {
        return Some(Status::EmptyKey);
    }
    let unknown = matches!(range.sort_order, SortOrder::Unknown(_))
        || matches!(range.sort_target, SortTarget::Unknown(_));
    unknown.then_some(Status::InvalidSortOption)
}

fn of_put(put: &PutRequest) -> Option<Status> {
    if put.key.is_empty() {
        Some(Status::EmptyKey)
    } else if put.ignore_value && !put.value.is_empty() {
        Some(Status::ValueProvided)
    } else if put.ignore_lease && put.lease.0 != 0 {
        Some(Status::LeaseProvided)
    } else {
        None
    }
}

fn of_delete(delete: &DeleteRangeRequest) -> Option<Status> {
    delete.key.is_empty().then_some(Status::EmptyKey)
}

fn of_txn(txn: &TxnRequest, ops_max: usize) -> Option<Status> {
    let ops = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    if ops > ops_max {
        return Some(Status::TooManyOps);
    }
    if txn.compare.iter().any(|Compare { key, .. }| key.is_empty()) {
        return Some(Status::EmptyKey);
    }
    txn.success.iter().chain(&txn.failure).find_map(|op| match op {
        RequestOp::Unset => Some(Status::KeyNotFound),
        RequestOp::Range(range) => of_range(range),
        RequestOp::Put(put) => of_put(put),
        RequestOp::DeleteRange(delete) => of_delete(delete),
        RequestOp::Txn(child) => of_txn(child, ops_max - ops),
    })
}

/// What one branch puts and deletes, nested branches folded in.
#[derive(Default)]
struct Touched {
    puts: BTreeSet<Bytes>,
    /// Key and range end as sent.
    deletes: Vec<(Bytes, Bytes)>,
}

impl Touched {
    /// Whether a delete covers the key, as far as etcd's check sees: a from-key delete never does (TXN-5a).
    fn deletes_key(&self, key: &Bytes) -> bool {
        self.deletes
            .iter()
            .any(|(start, end)| if end.is_empty() { key == start } else { key >= start && key < end })
    }
}

/// The duplicate rule inside one branch (TXN-4) with its holes (TXN-5).
fn duplicate(branch: &[RequestOp]) -> Result<Touched, Status> {
    let mut touched = Touched::default();
    for op in branch {
        if let RequestOp::DeleteRange(delete) = op {
            touched.deletes.push((delete.key.clone(), delete.range_end.clone()));
        }
    }
    for op in branch {
        let RequestOp::Txn(child) = op else { continue };
        let then = duplicate(&child.success)?;
        let otherwise = duplicate(&child.failure)?;
        for key in &then.puts {
            if touched.puts.contains(key) || touched.deletes_key(key) {
                return Err(Status::DuplicateKey);
            }
        }
        for key in &otherwise.puts {
            if touched.puts.contains(key) || touched.deletes_key(key) {
                return Err(Status::DuplicateKey);
            }
        }
        touched.puts.extend(then.puts.into_iter().chain(otherwise.puts));
        touched.deletes.extend(then.deletes.into_iter().chain(otherwise.deletes));
    }
    for op in branch {
        let RequestOp::Put(put) = op else { continue };
        if touched.deletes_key(&put.key) || !touched.puts.insert(put.key.clone()) {
            return Err(Status::DuplicateKey);
        }
    }
    Ok(touched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str) -> RequestOp {
        RequestOp::Put(PutRequest { key: Bytes::from_static(key.as_bytes()), ..PutRequest::default() })
    }

    fn delete(key: &'static str, end: &'static str) -> RequestOp {
        RequestOp::DeleteRange(DeleteRangeRequest {
            key: Bytes::from_static(key.as_bytes()),
            range_end: Bytes::from_static(end.as_bytes()),
            prev_kv: false,
        })
    }

    fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        RequestOp::Txn(Box::new(TxnRequest { compare: Vec::new(), success, failure }))
    }

    fn refusal(success: Vec<RequestOp>) -> Option<Status> {
        static_refusal(&Request::Txn(TxnRequest { success, ..TxnRequest::default() }), 128)
    }

    #[test]
    fn duplicates_in_one_branch_are_refused() {
        assert_eq!(refusal(vec![put("a"), put("a")]), Some(Status::DuplicateKey));
        assert_eq!(refusal(vec![delete("a", "c"), put("b")]), Some(Status::DuplicateKey));
        assert_eq!(refusal(vec![put("b"), delete("b", "")]), Some(Status::DuplicateKey));
        assert_eq!(refusal(vec![txn(vec![put("a")], vec![]), put("a")]), Some(Status::DuplicateKey));
        assert_eq!(refusal(vec![delete("a", "c"), delete("b", "")]), None);
    }

    #[test]
    fn holes_of_the_rule_are_kept() {
        assert_eq!(refusal(vec![delete("a", "\0"), put("b")]), None);
        assert_eq!(refusal(vec![txn(vec![put("a")], vec![put("a")])]), None);
        let (first, second) = (txn(vec![put("a")], vec![]), txn(vec![delete("a", "")], vec![]));
        assert_eq!(refusal(vec![first.clone(), second.clone()]), None);
        assert_eq!(refusal(vec![second, first]), Some(Status::DuplicateKey));
    }

    #[test]
    fn budget_of_a_nested_txn_is_what_its_parent_leaves() {
        let full: Vec<RequestOp> =
            (0..127).map(|_| delete("x", "")).chain([txn(vec![put("a")], vec![])]).collect();
        assert_eq!(refusal(full.clone()), Some(Status::TooManyOps));
        assert_eq!(refusal(full[..127].to_vec()), None);
    }
}
