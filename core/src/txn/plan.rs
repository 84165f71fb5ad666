//! Which operations of a txn run: its compares, nested ones included, against the state before it.

use std::vec::IntoIter;

use super::compare::CompareRun;
use crate::mvcc::Mvcc;
use crate::request::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};

/// One thing to do. A plan is the taken path of a txn from left to right, with its nesting as brackets.
#[derive(Debug)]
pub(super) enum Step {
    /// A txn begins, the outermost too.
    Enter {
        succeeded: bool,
    },
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    /// The txn entered last ends.
    Leave,
}

/// A txn being laid out as a plan. All compares see the state before it (TXN-7).
#[derive(Debug)]
pub(super) struct Decide {
    /// The txn whose compares are being evaluated.
    undecided: Option<Branches>,
    /// What is left of the branches taken, the innermost last.
    open: Vec<IntoIter<RequestOp>>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Branches {
    current: Option<CompareRun>,
    compares: IntoIter<Compare>,
    success: Vec<RequestOp>,
    failure: Vec<RequestOp>,
}

impl Decide {
    pub fn new(txn: TxnRequest) -> Decide {
        Decide { undecided: Some(Branches::new(txn)), open: Vec::new(), steps: Vec::new() }
    }

    /// The plan once it is complete; reads at `revision`, the same at every step.
    pub fn step(&mut self, mvcc: &Mvcc, revision: i64, work: &mut u32) -> Option<Vec<Step>> {
        loop {
            if let Some(branches) = &mut self.undecided {
                let succeeded = branches.step(mvcc, revision, work)?;
                let branches = self.undecided.take().expect("it was decided just now");
                self.steps.push(Step::Enter { succeeded });
                self.open.push(if succeeded { branches.success } else { branches.failure }.into_iter());
            }
            let Some(branch) = self.open.last_mut() else {
                return Some(std::mem::take(&mut self.steps));
            };
            *work = work.checked_sub(1)?;
            match branch.next() {
                None => {
                    self.open.pop();
                    self.steps.push(Step::Leave);
                }
                // Refused by `check_request`; etcd passes over it too.
                Some(RequestOp::Unset) => {}
                Some(RequestOp::Range(range)) => self.steps.push(Step::Range(range)),
                Some(RequestOp::Put(put)) => self.steps.push(Step::Put(put)),
                Some(RequestOp::DeleteRange(delete)) => self.steps.push(Step::DeleteRange(delete)),
                Some(RequestOp::Txn(nested)) => self.undecided = Some(Branches::new(*nested)),
            }
        }
    }
}

impl Branches {
    fn new(txn: TxnRequest) -> Branches {
        let TxnRequest { compare, success, failure } = txn;
        Branches { current: None, compares: compare.into_iter(), success, failure }
    }

    /// Whether all compares hold; true if there are none (TXN-9).
    fn step(&mut self, mvcc: &Mvcc, revision: i64, work: &mut u32) -> Option<bool> {
        loop {
            if let Some(compare) = &mut self.current {
                if !compare.step(mvcc, revision, work)? {
                    return Some(false);
                }
                self.current = None;
            }
            let Some(compare) = self.compares.next() else { return Some(true) };
            self.current = Some(CompareRun::new(compare));
        }
    }
}
