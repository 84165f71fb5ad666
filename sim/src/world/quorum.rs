//! Quorums, counted by the membership that whoever leads had applied: a removed member and a learner count for
//! nothing (G41, G46, G53).

use holdfast_core::request::{Request, Response};
use holdfast_core::status::Status;

use super::World;
use super::members::is_quorum;
use super::referee::Seat;
use crate::marks::Mark;

impl World {
    /// A leader commits what a quorum has on disk; its own append may be later.
    pub(super) fn check_quorum(&mut self, m: usize, before: Seat, now: Seat) {
        let index = now.committed;
        let keeps = |m: usize| self.referee.keeps(m, index, now.term);
        let is_right = {
            let mut configs = self.referee.configs.voters_within(before.applied, now.applied);
            configs.any(|voters| is_quorum(voters, keeps))
        };
        if !is_right {
            let voters = self.referee.configs.voters();
            let what = format!(
                "m{m} commits entry {index} of term {}, which no quorum has on disk; voters are {voters:?}",
                now.term
            );
            self.fail("durability", what);
        }
    }

    /// What is applied for the first time is on the disks of a quorum, whoever committed it.
    pub(super) fn is_kept_by_quorum(&self, index: u64, term: u64) -> bool {
        let mut configs = self.referee.configs.voters_for(index);
        configs.any(|voters| is_quorum(voters, |m| self.referee.keeps(m, index, term)))
    }

    /// Who leads was voted for by a quorum.
    pub(super) fn check_votes(&mut self, m: usize, term: u64) {
        let id = self.ids[m].0;
        let votes = &self.referee.votes;
        // A sole voter asks nobody, itself neither; its own vote is on its disk by what it sends later.
        let has_voted = |voter: usize| voter == m || votes.get(&(term, voter)) == Some(&id);
        let Seat { applied_before, applied, .. } = self.referee.seats[m];
        let is_right = {
            let mut configs = self.referee.configs.voters_within(applied_before, applied);
            configs.any(|voters| voters.contains(&m) && is_quorum(voters, has_voted))
        };
        if !is_right {
            let voters = self.referee.configs.voters();
            let what =
                format!("m{m} leads in term {term} without the votes of a quorum; voters are {voters:?}");
            self.fail("election", what);
        }
    }

    pub(super) fn is_learner(&self, m: usize) -> bool {
        self.referee.configs.is_learner_at(self.ids[m], self.referee.seats[m].applied)
    }

    /// A learner serves what it may and refuses the rest (CL-13); nobody else refuses it.
    pub(super) fn check_service(&mut self, m: usize, op: usize, result: &Result<Response, Status>) {
        let request = &self.history.ops[op].request;
        let is_served = match request {
            Request::Status | Request::Backup | Request::BackupHistory(_) => true,
            Request::Range(range) => range.serializable,
            _ => false,
        };
        let what = match result {
            // Nobody becomes a learner who was something else before.
            Ok(_) if !is_served && self.is_learner(m) => format!("learner m{m} answers {request:?}"),
            Err(Status::NotSupportedForLearner) => {
                let before = self.referee.seats[m].applied_before;
                if !is_served && !self.referee.configs.is_voter_at(self.ids[m], before) {
                    return self.marks.hit(Mark::LearnerRefuses);
                }
                format!("m{m} refuses {request:?} as if it were a learner")
            }
            _ => return,
        };
        self.fail("learner", what);
    }
}
