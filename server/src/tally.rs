//! Counts operations by the answers that clients get.
//!
//! etcd counts the same where it applies; here a member counts what it answered, once each.

use holdfast_core::request::{Response, ResponseOp, TxnResponse};
use holdfast_core::status::Status;

use crate::metrics::Metrics;

/// Operations of one request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Operations {
    ranges: u64,
    puts: u64,
    deletes: u64,
}

/// Counts an answer. `is_proposal`: it is a write's.
pub fn count(metrics: &Metrics, is_proposal: bool, result: &Result<Response, Status>) {
    let store = &metrics.store;
    let mut operations = Operations::default();
    match result {
        Ok(Response::Range(_)) => operations.ranges = 1,
        Ok(Response::Put(_)) => operations.puts = 1,
        Ok(Response::DeleteRange(_)) => operations.deletes = 1,
        Ok(Response::Txn(txn)) => operations.add_txn(txn),
        Ok(Response::LeaseGrant { ttl, .. }) => {
            store.lease_granted.inc();
            store.lease_ttl.observe(*ttl as f64);
        }
        Ok(Response::LeaseRevoke { .. }) => store.lease_revoked.inc(),
        Ok(Response::LeaseKeepAlive { ttl, .. }) if *ttl > 0 => store.lease_renewed.inc(),
        Err(status) if is_proposal && is_failed_proposal(*status) => metrics.raft.failed.inc(),
        _ => {}
    }
    let Operations { ranges, puts, deletes } = operations;
    store.ranges.inc_by(ranges);
    store.puts.inc_by(puts);
    store.deletes.inc_by(deletes);
    if ranges + puts + deletes > 1 {
        store.txns.inc();
    }
}

impl Operations {
    fn add_txn(&mut self, txn: &TxnResponse) {
        let mut open = vec![txn];
        while let Some(txn) = open.pop() {
            for response in &txn.responses {
                match response {
                    ResponseOp::Range(_) => self.ranges += 1,
                    ResponseOp::Put(_) => self.puts += 1,
                    ResponseOp::DeleteRange(_) => self.deletes += 1,
                    ResponseOp::Txn(txn) => open.push(txn),
                }
            }
        }
    }
}

/// Refusals that say nothing about the request but that it did not get through.
fn is_failed_proposal(status: Status) -> bool {
    matches!(
        status,
        Status::Timeout
            | Status::TimeoutDueToLeaderFail
            | Status::TimeoutDueToConnectionLost
            | Status::ContextDeadlineExceeded
            | Status::ProposalDropped
            | Status::TooManyRequests
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Identity;

    #[test]
    fn operations_of_nested_txns_count_and_the_txn_once() {
        let metrics = Metrics::new(Identity {
            member_id: 1,
            extensive: false,
            server_version: "3.7.1",
            cluster_version: "3.7",
        });
        let put = || ResponseOp::Put(Default::default());
        let nested = TxnResponse { responses: vec![put(), put()], ..TxnResponse::default() };
        let responses = vec![put(), ResponseOp::Range(Default::default()), ResponseOp::Txn(nested)];
        count(&metrics, true, &Ok(Response::Txn(TxnResponse { responses, ..TxnResponse::default() })));
        count(&metrics, true, &Ok(Response::Put(Default::default())));
        count(&metrics, false, &Err(Status::Timeout));
        count(&metrics, true, &Err(Status::Timeout));
        count(&metrics, true, &Err(Status::EmptyKey));
        let store = &metrics.store;
        let counted = [&store.puts, &store.ranges, &store.deletes, &store.txns].map(|counter| counter.get());
        assert_eq!(counted, [4, 1, 0, 1]);
        assert_eq!(metrics.raft.failed.get(), 1);
    }
}
