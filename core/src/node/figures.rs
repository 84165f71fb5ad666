//! What a member says of itself: Status, and figures for metrics and traces.

use raft::StateRole;

use super::{Node, publish};
use crate::base::{Instant, MemberId};
use crate::request::StatusResponse;
use crate::status::Status;

/// What a member is at, in figures.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    pub has_leader: bool,
    pub is_leader: bool,
    pub is_learner: bool,
    pub term: u64,
    pub committed: u64,
    pub applied: u64,
    /// Last entry of the log, committed or not.
    pub last_index: u64,
    /// Proposals that nobody has been answered yet.
    pub proposals: u64,
    pub bytes: u64,
    pub bytes_in_use: u64,
    pub keys: u64,
    pub revision: i64,
    pub compact_revision: i64,
    pub auth_revision: u64,
}

/// A member's part in elections and leases, beside its `Gauges`: for who watches a run turn by turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub role: StateRole,
    /// Whom it follows, itself among them.
    pub leader: Option<MemberId>,
    /// Whom it votes for in its term.
    pub vote: Option<MemberId>,
    /// Leases in State.
    pub leases: u64,
    /// The deadline that comes first, by this member's clock; `None` where it does not lead.
    pub lease_deadline: Option<Instant>,
}

/// How much waits in a member, in figures.
#[derive(Clone, Copy, Debug)]
pub struct Queues {
    /// Reads in all their stages, other members' questions among them.
    pub reads: u64,
    /// Proposals that nobody has been answered yet.
    pub proposals: u64,
    /// Mail that waits for the disk.
    pub mail: u64,
    /// Bytes of the log in memory that are in State too: kept for followers alone.
    pub tail_bytes: u64,
}

impl Node {
    /// MNT-1.
    pub(super) fn status(&self) -> StatusResponse {
        let mut errors = Vec::new();
        if self.consensus.leader().is_none() {
            errors.push(Status::NoLeader.text().to_owned());
        }
        for (member, alarm) in &self.state.alarms {
            errors.push(publish::alarm_text(*member, *alarm));
        }
        StatusResponse {
            header: self.state.header(),
            db_size_bytes: self.db_size_bytes.max(self.state.kv.bytes()) as i64,
            db_size_in_use_bytes: self.state.kv.bytes_in_use() as i64,
            leader: self.consensus.leader().unwrap_or_default(),
            raft_index: self.consensus.committed().0,
            raft_applied_index: self.state.applied.0,
            is_learner: self.is_learner(),
            db_size_quota_bytes: self.config.admit.quota_bytes.unwrap_or(0) as i64,
            errors,
        }
    }

    pub(super) fn is_learner(&self) -> bool {
        self.state.members.get(self.id).is_some_and(|m| m.is_learner)
    }

    /// Figures for metrics; cheap enough for each turn.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            has_leader: self.consensus.leader().is_some(),
            is_leader: self.consensus.is_leader(),
            is_learner: self.is_learner(),
            term: self.consensus.term().0,
            committed: self.consensus.committed().0,
            applied: self.state.applied.0,
            last_index: self.consensus.last_index().0,
            proposals: self.proposals.len() as u64,
            bytes: self.db_size_bytes.max(self.state.kv.bytes()),
            bytes_in_use: self.state.kv.bytes_in_use(),
            keys: self.state.kv.live_keys(),
            revision: self.state.kv.revision(),
            compact_revision: self.state.kv.compact_revision(),
            auth_revision: self.state.auth.revision(),
        }
    }

    /// Ids of voters and learners by raft's own configuration, ascending; for checkers. `None` while a snapshot
    /// replaces State, which lags behind it then.
    pub fn configuration(&self) -> Option<(Vec<MemberId>, Vec<MemberId>)> {
        let sorted = |ids: &[u64]| {
            let mut ids: Vec<MemberId> = ids.iter().copied().map(MemberId).collect();
            ids.sort_unstable();
            ids
        };
        let conf = self.consensus.conf();
        (!self.consensus.is_installing()).then(|| (sorted(&conf.voters), sorted(&conf.learners)))
    }

    /// Its part in elections and leases.
    pub fn standing(&self) -> Standing {
        Standing {
            role: self.consensus.role(),
            leader: self.consensus.leader(),
            vote: self.consensus.vote(),
            leases: self.state.leases.len() as u64,
            lease_deadline: self.deadlines.earliest(),
        }
    }

    /// What waits in here; walks over reads and over entries that are not applied.
    pub fn queues(&self) -> Queues {
        Queues {
            reads: self.reads.count() as u64,
            proposals: self.proposals.len() as u64,
            mail: self.consensus.mail_held() as u64,
            tail_bytes: self.consensus.tail_bytes(self.state.applied),
        }
    }

    /// Watch streams, watchers, and watchers that lag; walks over all of them.
    pub fn watch_counts(&self) -> (u64, u64, u64) {
        self.watch.counts()
    }
}
