//! Smaller requests: fewer parts of transactions, fewer options.

use holdfast_core::request::{PutRequest, RangeRequest, Request, RequestOp, TxnRequest};

use crate::plan::Plan;
use crate::plan::step::Action;

/// Candidates in which one request each is smaller.
pub fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut candidates = Vec::new();
    for (place, step) in plan.script.iter().enumerate() {
        let Action::Ask { ask, .. } = &step.action else { continue };
        for request in smaller_requests(&ask.request) {
            let mut candidate = plan.clone();
            if let Action::Ask { ask, .. } = &mut candidate.script[place].action {
                ask.request = request;
            }
            candidates.push(candidate);
        }
    }
    candidates
}

fn smaller_requests(request: &Request) -> Vec<Request> {
    let mut found = match request {
        Request::Txn(txn) => smaller_txns(txn),
        Request::Put(put) => {
            let PutRequest { key, value, lease, .. } = put.clone();
            vec![
                Request::Put(PutRequest { key: key.clone(), value: value.clone(), ..PutRequest::default() }),
                Request::Put(PutRequest { key, value, lease, ..PutRequest::default() }),
                Request::Put(PutRequest { value: put.value.slice(..put.value.len().min(3)), ..put.clone() }),
            ]
        }
        Request::Range(range) => {
            let RangeRequest { key, range_end, revision, serializable, .. } = range.clone();
            vec![
                Request::Range(RangeRequest { key: key.clone(), serializable, ..RangeRequest::default() }),
                Request::Range(RangeRequest {
                    key,
                    range_end,
                    revision,
                    serializable,
                    ..RangeRequest::default()
                }),
            ]
        }
        _ => Vec::new(),
    };
    found.retain(|smaller| smaller != request);
    found
}

/// The parts of a transaction alone, and the transaction with one part less.
fn smaller_txns(txn: &TxnRequest) -> Vec<Request> {
    let alone = txn.success.iter().chain(&txn.failure).filter_map(|op| match op {
        RequestOp::Put(put) => Some(Request::Put(put.clone())),
        RequestOp::Range(range) => Some(Request::Range(range.clone())),
        RequestOp::DeleteRange(delete) => Some(Request::DeleteRange(delete.clone())),
        RequestOp::Txn(txn) => Some(Request::Txn((**txn).clone())),
        RequestOp::Unset => None,
    });
    let mut found: Vec<Request> = alone.collect();
    let mut less = |count: usize, remove: fn(&mut TxnRequest, usize)| {
        for place in 0..count {
            let mut smaller = txn.clone();
            remove(&mut smaller, place);
            found.push(Request::Txn(smaller));
        }
    };
    less(txn.compare.len(), |txn, place| drop(txn.compare.remove(place)));
    less(txn.success.len(), |txn, place| drop(txn.success.remove(place)));
    less(txn.failure.len(), |txn, place| drop(txn.failure.remove(place)));
    found
}
