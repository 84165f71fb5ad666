//! Writes to the key space, each as one revision over as many turns as it needs.
//!
//! Every write goes the same way: decide which branches run (`plan`), check that everything on them can be
//! carried out (`precheck`), carry it out (`execute`). Compares and checks see the state before the write,
//! operations see those before them; after the checks nothing can fail, so a refusal never leaves a change.
//!
//! Source: TXN-6..TXN-18; etcd 3.7.1 server/etcdserver/txn/txn.go, put.go, delete.go.
//! Sketch of a plain put: three allocations here (plan, the value's own, a frame of none), one look-up for the
//! put itself, one more only if a lease changes or `ignore_*` is set.

mod class;
mod compare;
mod execute;
mod plan;
mod precheck;
mod read;
mod write;

pub use class::{GRANT_COST_BYTES, has_put, is_read_only, is_serializable, quota_cost_bytes, txn_cost_bytes};
pub use read::ReadTxnRun;
pub use write::RevokeRun;

use crate::lease::Leases;
use crate::mvcc::Mvcc;
use crate::request::{DeleteRangeRequest, PutRequest, Response, ResponseOp, TxnRequest};
use crate::status::Status;
use execute::Execute;
use plan::{Decide, Step};
use precheck::Precheck;

/// A Put, DeleteRange or Txn being applied.
/// From the first step that carries something out to the last, main revision `revision() + 1` is open in the
/// store and `Leases` is part-way: nothing else may be applied, and answers that list a lease's keys wait.
#[derive(Debug)]
pub struct TxnRun {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Decide(Decide),
    Precheck(Precheck),
    Execute(Execute),
    Done,
}

impl TxnRun {
    pub fn put(request: PutRequest) -> TxnRun {
        TxnRun { phase: Phase::Precheck(Precheck::new(vec![Step::Put(request)])) }
    }

    pub fn delete_range(request: DeleteRangeRequest) -> TxnRun {
        TxnRun { phase: Phase::Precheck(Precheck::new(vec![Step::DeleteRange(request)])) }
    }

    /// `request` has passed `check_request` where it was proposed.
    pub fn txn(request: TxnRequest) -> TxnRun {
        TxnRun { phase: Phase::Decide(Decide::new(request)) }
    }

    /// Goes on for about `work` keys; the answer once it is complete, but for the header's term.
    /// Errors, all the client's fault and without any change: `LeaseNotFound`, `KeyNotFound` (`ignore_*` of
    /// an absent key), `FutureRev`, `Compacted`.
    pub fn step(
        &mut self,
        mvcc: &mut Mvcc,
        leases: &mut Leases,
        work: &mut u32,
    ) -> Option<Result<Response, Status>> {
        loop {
            match &mut self.phase {
                Phase::Decide(decide) => {
                    let steps = decide.step(mvcc, mvcc.revision(), work)?;
                    self.phase = Phase::Precheck(Precheck::new(steps));
                }
                Phase::Precheck(precheck) => match precheck.step(mvcc, leases, work)? {
                    Err(status) => {
                        self.phase = Phase::Done;
                        return Some(Err(status));
                    }
                    Ok(steps) => {
                        mvcc.begin();
                        self.phase = Phase::Execute(Execute::new(steps));
                    }
                },
                Phase::Execute(execute) => {
                    let answer = execute.step(mvcc, leases, work)?;
                    mvcc.end();
                    self.phase = Phase::Done;
                    return Some(Ok(response(answer, mvcc.revision())));
                }
                Phase::Done => panic!("a write is stepped after it was answered"),
            }
        }
    }
}

/// The answer of the whole write; of a txn only the outermost header tells the revision (REV-11).
fn response(answer: ResponseOp, revision: i64) -> Response {
    match answer {
        ResponseOp::Put(put) => Response::Put(put),
        ResponseOp::DeleteRange(delete) => Response::DeleteRange(delete),
        ResponseOp::Range(range) => Response::Range(range),
        ResponseOp::Txn(mut txn) => {
            txn.header.revision = revision;
            Response::Txn(txn)
        }
    }
}

#[cfg(test)]
#[path = "txn_tests.rs"]
mod tests;
