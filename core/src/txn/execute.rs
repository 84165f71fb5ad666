//! Carrying out a plan that was checked, in the order of its steps.

use std::vec::IntoIter;

use super::plan::Step;
use super::write::{DeleteRun, put_key};
use crate::lease::Leases;
use crate::mvcc::Mvcc;
use crate::range::RangeRun;
use crate::request::{RangeRequest, ResponseOp, TxnResponse};

/// A plan being carried out inside the open revision.
#[derive(Debug)]
pub(super) struct Execute {
    steps: IntoIter<Step>,
    current: Option<Current>,
    answers: Answers,
}

/// A step that may take more than one slice.
#[derive(Debug)]
enum Current {
    Range(Box<RangeRun>),
    DeleteRange(DeleteRun),
}

impl Execute {
    pub fn new(steps: Vec<Step>) -> Execute {
        Execute { steps: steps.into_iter(), current: None, answers: Answers::default() }
    }

    /// The answer of the plan's one outermost step, once all is done.
    pub fn step(&mut self, mvcc: &mut Mvcc, leases: &mut Leases, work: &mut u32) -> Option<ResponseOp> {
        loop {
            match &mut self.current {
                Some(Current::Range(run)) => {
                    let mut answer = run.step(mvcc, work)?;
                    answer.header.revision = seen_revision(mvcc);
                    self.answers.add(ResponseOp::Range(answer));
                }
                Some(Current::DeleteRange(run)) => {
                    let answer = run.step(mvcc, leases, work)?;
                    self.answers.add(ResponseOp::DeleteRange(answer));
                }
                None => {}
            }
            self.current = None;
            if self.steps.as_slice().is_empty() {
                return Some(self.answers.take_root());
            }
            *work = work.checked_sub(1)?;
            match self.steps.next()? {
                Step::Enter { succeeded } => self.answers.enter(succeeded),
                Step::Leave => self.answers.leave(),
                Step::Put(put) => self.answers.add(ResponseOp::Put(put_key(mvcc, leases, &put))),
                Step::DeleteRange(delete) => {
                    self.current = Some(Current::DeleteRange(DeleteRun::new(delete)));
                }
                Step::Range(range) => {
                    let revision = range_revision(&range, seen_revision(mvcc));
                    self.current = Some(Current::Range(Box::new(RangeRun::new(&range, revision))));
                }
            }
        }
    }
}

/// The revision that a step of the open revision sees and reports: its own once it has changed something,
/// the one before until then (REV-11).
pub(super) fn seen_revision(mvcc: &Mvcc) -> i64 {
    mvcc.revision() + i64::from(mvcc.changes() > 0)
}

/// The revision that a range inside a txn reads, which was checked.
pub(super) fn range_revision(range: &RangeRequest, seen: i64) -> i64 {
    if range.revision > 0 { range.revision } else { seen }
}

/// Answers of a plan's steps, folded back into the nesting of its txns.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Txns entered and not left, the innermost last.
    open: Vec<TxnResponse>,
    root: Option<ResponseOp>,
}

impl Answers {
    pub fn enter(&mut self, succeeded: bool) {
        self.open.push(TxnResponse { succeeded, ..Default::default() });
    }

    pub fn leave(&mut self) {
        let txn = self.open.pop().expect("a plan leaves what it entered");
        self.add(ResponseOp::Txn(txn));
    }

    pub fn add(&mut self, answer: ResponseOp) {
        match self.open.last_mut() {
            Some(txn) => txn.responses.push(answer),
            None => {
                assert!(self.root.is_none(), "a plan has one outermost step");
                self.root = Some(answer);
            }
        }
    }

    pub fn take_root(&mut self) -> ResponseOp {
        assert!(self.open.is_empty(), "a plan leaves what it entered");
        self.root.take().expect("a plan has one outermost step")
    }
}
