//! A txn that only reads, answered from the state at one revision without the log.

use std::vec::IntoIter;

use super::execute::{Answers, range_revision};
use super::plan::{Decide, Step};
use super::precheck::check_range_revision;
use crate::mvcc::Mvcc;
use crate::range::RangeRun;
use crate::request::{RequestOp, ResponseOp, TxnRequest, TxnResponse};
use crate::status::Status;

/// A read-only txn (`is_read_only`) being answered at a fixed revision.
/// While it lives, history from `oldest_revision()` on must not be removed: physical compaction above it waits.
/// Source: TXN-12, TXN-13.
#[derive(Debug)]
pub struct ReadTxnRun {
    revision: i64,
    /// The compacted revision at that moment: a compaction that comes while it runs is behind it.
    compact_revision: i64,
    oldest_revision: i64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Decide(Decide),
    Precheck { steps: Vec<Step>, next: usize },
    Execute { steps: IntoIter<Step>, current: Option<Box<RangeRun>>, answers: Answers },
    Done,
}

impl ReadTxnRun {
    /// Answered from the store as it is at this moment.
    pub fn new(request: TxnRequest, mvcc: &Mvcc) -> ReadTxnRun {
        let (revision, compact_revision) = (mvcc.revision(), mvcc.compact_revision());
        let given = request.success.iter().chain(&request.failure).filter_map(|op| match op {
            RequestOp::Range(range) if range.revision > 0 => Some(range.revision),
            _ => None,
        });
        let oldest_revision = given.fold(revision, i64::min);
        let phase = Phase::Decide(Decide::new(request));
        ReadTxnRun { revision, compact_revision, oldest_revision, phase }
    }

    /// The revision it is answered at.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The oldest revision that any of its ranges may read.
    pub fn oldest_revision(&self) -> i64 {
        self.oldest_revision
    }

    /// Goes on for about `work` keys; the answer once it is complete, but for the header's term.
    /// Errors: `FutureRev`, `Compacted`, the client's fault.
    pub fn step(&mut self, mvcc: &Mvcc, work: &mut u32) -> Option<Result<TxnResponse, Status>> {
        loop {
            match &mut self.phase {
                Phase::Decide(decide) => {
                    let steps = decide.step(mvcc, self.revision, work)?;
                    self.phase = Phase::Precheck { steps, next: 0 };
                }
                Phase::Precheck { steps, next } => {
                    while let Some(step) = steps.get(*next) {
                        *work = work.checked_sub(1)?;
                        let Step::Range(range) = step else {
                            *next += 1;
                            continue;
                        };
                        if let Err(status) = check_range_revision(range, self.revision, self.compact_revision)
                        {
                            self.phase = Phase::Done;
                            return Some(Err(status));
                        }
                        *next += 1;
                    }
                    let steps = std::mem::take(steps).into_iter();
                    self.phase = Phase::Execute { steps, current: None, answers: Answers::default() };
                }
                Phase::Execute { .. } => {
                    let answer = self.execute(mvcc, work)?;
                    self.phase = Phase::Done;
                    return Some(Ok(answer));
                }
                Phase::Done => panic!("a read is stepped after it was answered"),
            }
        }
    }

    /// Answers the plan's ranges.
    fn execute(&mut self, mvcc: &Mvcc, work: &mut u32) -> Option<TxnResponse> {
        let Phase::Execute { steps, current, answers } = &mut self.phase else {
            panic!("only a plan that was checked is carried out");
        };
        loop {
            if let Some(run) = current {
                let mut answer = run.step(mvcc, work)?;
                answer.header.revision = self.revision;
                answers.add(ResponseOp::Range(answer));
                *current = None;
            }
            if steps.as_slice().is_empty() {
                break;
            }
            *work = work.checked_sub(1)?;
            match steps.next()? {
                Step::Enter { succeeded } => answers.enter(succeeded),
                Step::Leave => answers.leave(),
                Step::Range(range) => {
                    let revision = range_revision(&range, self.revision);
                    *current = Some(Box::new(RangeRun::new(&range, revision)));
                }
                Step::Put(_) | Step::DeleteRange(_) => panic!("a read-only txn has no writes"),
            }
        }
        let ResponseOp::Txn(mut txn) = answers.take_root() else {
            panic!("the outermost step of a txn is a txn");
        };
        txn.header.revision = self.revision;
        Some(txn)
    }
}
