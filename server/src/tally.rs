//! Counts operations by the answers that clients get, and what the node says of itself.
//!
//! etcd counts the same where it applies; here a member counts what it answered, once each.

use std::time::Instant;

use holdfast_core::boundary::Note;
use holdfast_core::request::{Request, Response, ResponseOp, TxnResponse};
use holdfast_core::status::Status;
use holdfast_net::clock::WallClock;

use crate::metrics::Metrics;

/// Operations of one request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Operations {
    ranges: u64,
    puts: u64,
    deletes: u64,
}

/// What is counted apart about requests.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Goes into the log. A txn that only reads does not, but is taken for one that does.
    Proposal,
    /// Waits for what others have acknowledged.
    Read,
    Promotion,
    Defragment {
        began: Instant,
    },
    Other,
}

impl Kind {
    pub fn of(request: &Request) -> Kind {
        match request {
            Request::Put(_)
            | Request::DeleteRange(_)
            | Request::Txn(_)
            | Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke { .. } => Kind::Proposal,
            Request::Range(range) if !range.serializable => Kind::Read,
            Request::MemberPromote { .. } => Kind::Promotion,
            Request::Defragment => Kind::Defragment { began: Instant::now() },
            _ => Kind::Other,
        }
    }

    /// It is answered, or nobody waits for it any more.
    pub fn end(self, metrics: &Metrics) {
        if let Kind::Defragment { began } = self {
            metrics.disk.defrags.dec();
            metrics.disk.defrag_seconds.observe(began.elapsed().as_secs_f64());
        }
    }
}

/// Counts an answer to a request.
pub fn count(metrics: &Metrics, kind: Kind, result: &Result<Response, Status>) {
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
        Ok(Response::MemberPromote { .. }) => metrics.raft.promotions.inc(),
        Err(status) => count_refusal(metrics, kind, *status),
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

/// Counts what a node says of itself.
pub fn count_note(metrics: &Metrics, note: &Note, wall: WallClock) {
    match note {
        Note::LeaderChanged { leader: Some(_), .. } => metrics.raft.leader_changes.inc(),
        Note::LeaseExpired { .. } => {
            metrics.store.lease_expired.inc();
            metrics.store.lease_revoked.inc();
        }
        Note::SnapshotReceiving { .. } => metrics.raft.installing.set(1),
        Note::SnapshotInstalled { .. } => metrics.raft.installing.set(0),
        Note::Compacted { .. } => metrics.store.compacted_at.set(wall.unix_s() as i64),
        _ => {}
    }
}

fn count_refusal(metrics: &Metrics, kind: Kind, status: Status) {
    let raft = &metrics.raft;
    match kind {
        Kind::Proposal if is_failed_proposal(status) => raft.failed.inc(),
        Kind::Read if is_failed_proposal(status) => raft.read_indexes_failed.inc(),
        Kind::Promotion => raft.promotions_failed.with_label_values(&[status.text()]).inc(),
        _ => {}
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
            features: &[],
        });
        let put = || ResponseOp::Put(Default::default());
        let nested = TxnResponse { responses: vec![put(), put()], ..TxnResponse::default() };
        let responses = vec![put(), ResponseOp::Range(Default::default()), ResponseOp::Txn(nested)];
        count(
            &metrics,
            Kind::Proposal,
            &Ok(Response::Txn(TxnResponse { responses, ..TxnResponse::default() })),
        );
        count(&metrics, Kind::Proposal, &Ok(Response::Put(Default::default())));
        count(&metrics, Kind::Read, &Err(Status::Timeout));
        count(&metrics, Kind::Proposal, &Err(Status::Timeout));
        count(&metrics, Kind::Proposal, &Err(Status::EmptyKey));
        let store = &metrics.store;
        let counted = [&store.puts, &store.ranges, &store.deletes, &store.txns].map(|counter| counter.get());
        assert_eq!(counted, [4, 1, 0, 1]);
        assert_eq!((metrics.raft.failed.get(), metrics.raft.read_indexes_failed.get()), (1, 1));
    }
}
