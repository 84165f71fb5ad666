//! What kind of request a txn is, and what a request costs in quota, by its fields alone.

use crate::request::{PutRequest, Request, RequestOp, TXN_DEPTH_MAX, TxnRequest};

/// Bytes that quota takes a lease grant for (QUO-1).
pub const GRANT_COST_BYTES: u64 = 64;

/// Bytes that quota adds to key and value of a put (QUO-1).
const PUT_OVERHEAD_BYTES: u64 = 256;

/// Whether the txn need not go through the log: all operations of both branches are ranges. A nested txn is
/// none, even if it only reads (TXN-12). One without operations is read-only (TXN-13).
pub fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, RequestOp::Range(_)))
}

/// Whether a read-only txn may be answered from local state without quorum: all its ranges may (TXN-12,
/// TXN-13).
pub fn is_serializable(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.all(|op| matches!(op, RequestOp::Range(range) if range.serializable))
}

/// Whether any branch, also of a nested txn, has a put: refused while out of space (QUO-4).
pub fn has_put(txn: &TxnRequest) -> bool {
    let mut txns = vec![txn];
    while let Some(txn) = txns.pop() {
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                RequestOp::Put(_) => return true,
                RequestOp::Txn(nested) => txns.push(nested),
                RequestOp::Unset | RequestOp::Range(_) | RequestOp::DeleteRange(_) => {}
            }
        }
    }
    false
}

/// Bytes that quota takes a request for; 0 = never refused for space (QUO-1).
pub fn quota_cost_bytes(request: &Request) -> u64 {
    match request {
        Request::Put(put) => put_cost_bytes(put),
        Request::Txn(txn) => txn_cost_bytes(txn),
        Request::LeaseGrant(_) => GRANT_COST_BYTES,
        _ => 0,
    }
}

/// Bytes that quota takes a txn for: the dearer of its branches (QUO-1).
pub fn txn_cost_bytes(txn: &TxnRequest) -> u64 {
    cost_at(txn, 0)
}

/// `depth`: txns around this one. Quota is judged before the fields are, so the depth is any client's choice;
/// what lies deeper than `TXN_DEPTH_MAX` counts nothing, as `check_request` refuses it right after.
fn cost_at(txn: &TxnRequest, depth: u32) -> u64 {
    if depth > TXN_DEPTH_MAX {
        return 0;
    }
    let cost = |op: &RequestOp| match op {
        RequestOp::Put(put) => put_cost_bytes(put),
        RequestOp::Txn(nested) => cost_at(nested, depth + 1),
        RequestOp::Unset | RequestOp::Range(_) | RequestOp::DeleteRange(_) => 0,
    };
    let success: u64 = txn.success.iter().map(cost).sum();
    let failure: u64 = txn.failure.iter().map(cost).sum();
    success.max(failure)
}

fn put_cost_bytes(put: &PutRequest) -> u64 {
    PUT_OVERHEAD_BYTES + put.key.len() as u64 + put.value.len() as u64
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::request::{DeleteRangeRequest, LeaseGrantRequest, RangeRequest};

    fn put(value_bytes: usize) -> RequestOp {
        RequestOp::Put(PutRequest {
            key: Bytes::from_static(b"k"),
            value: Bytes::from(vec![0; value_bytes]),
            ..Default::default()
        })
    }

    fn range(serializable: bool) -> RequestOp {
        RequestOp::Range(RangeRequest { serializable, ..Default::default() })
    }

    fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        RequestOp::Txn(Box::new(txn(success, failure)))
    }

    fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
        TxnRequest { compare: vec![], success, failure }
    }

    #[test]
    fn q07_txn_without_operations_is_read_only_and_serializable() {
        let empty = TxnRequest { compare: vec![Default::default()], ..Default::default() };
        assert!(is_read_only(&empty));
        assert!(is_serializable(&empty));
        let reading = txn(vec![range(true)], vec![range(false)]);
        assert!(is_read_only(&reading));
        assert!(!is_serializable(&reading));
        assert!(is_serializable(&txn(vec![range(true)], vec![range(true)])));
    }

    #[test]
    fn q08_nested_txn_makes_a_write_of_a_txn_that_only_reads() {
        let outer = txn(vec![nested(vec![range(true)], vec![])], vec![]);
        assert!(!is_read_only(&outer));
        assert!(!is_serializable(&outer));
        assert!(!has_put(&outer));
    }

    #[test]
    fn put_in_any_branch_at_any_depth_is_seen() {
        let delete = RequestOp::DeleteRange(DeleteRangeRequest::default());
        assert!(!has_put(&txn(vec![delete.clone()], vec![range(false)])));
        assert!(has_put(&txn(vec![delete.clone()], vec![put(0)])));
        assert!(has_put(&txn(vec![nested(vec![], vec![nested(vec![put(0)], vec![])])], vec![delete])));
    }

    #[test]
    fn quota_takes_the_dearer_branch_and_sums_what_is_nested_in_it() {
        assert_eq!(quota_cost_bytes(&Request::Txn(txn(vec![put(10)], vec![put(3), put(4)]))), 2 * 257 + 7);
        let deep = txn(vec![nested(vec![put(1), put(2)], vec![put(100)]), put(4)], vec![put(50)]);
        assert_eq!(txn_cost_bytes(&deep), 3 * 257 + 7);
        assert_eq!(txn_cost_bytes(&txn(vec![range(false)], vec![])), 0);
        assert_eq!(quota_cost_bytes(&Request::LeaseGrant(LeaseGrantRequest::default())), 64);
        assert_eq!(quota_cost_bytes(&Request::DeleteRange(DeleteRangeRequest::default())), 0);
        let RequestOp::Put(plain) = put(5) else { unreachable!("put() makes puts") };
        assert_eq!(quota_cost_bytes(&Request::Put(plain)), 256 + 6);
    }

    #[test]
    fn cost_of_a_txn_nested_deeper_than_any_legal_one_is_bounded_work() {
        let mut deep = txn(vec![put(0)], vec![]);
        for _ in 0..10 * TXN_DEPTH_MAX {
            deep = txn(vec![RequestOp::Txn(Box::new(deep))], vec![]);
        }
        assert_eq!(txn_cost_bytes(&deep), 0);
        assert!(has_put(&deep));
    }
}
