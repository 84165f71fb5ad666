//! What consensus is at, in figures.

use raft::StateRole;

use super::Consensus;
use crate::base::{LogIndex, MemberId, Term};

impl Consensus {
    /// Role, for people and traces.
    pub fn role(&self) -> StateRole {
        self.raw.raft.state
    }

    /// The leader as far as we know.
    pub fn leader(&self) -> Option<MemberId> {
        (!self.detached && self.raw.raft.leader_id != 0).then_some(MemberId(self.raw.raft.leader_id))
    }

    pub fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    /// Whom this member votes for in its term, on disk or not.
    pub fn vote(&self) -> Option<MemberId> {
        (self.raw.raft.vote != 0).then_some(MemberId(self.raw.raft.vote))
    }

    pub fn committed(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.committed)
    }

    /// Last entry of the log, committed or not.
    pub fn last_index(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.last_index())
    }

    /// Whether a membership change may be in the log that is not applied; until then there is no other.
    pub fn has_open_change(&self) -> bool {
        self.raw.raft.has_pending_conf()
    }

    /// How far a member's log is known to match ours; only a leader knows.
    pub fn matched(&self, member: MemberId) -> Option<LogIndex> {
        self.raw.raft.prs().get(member.0).map(|progress| LogIndex(progress.matched))
    }

    /// Messages that wait for the disk.
    pub fn mail_held(&self) -> usize {
        self.ledger.mail_held()
    }

    /// Bytes of entries up to `applied` that are in memory.
    pub fn tail_bytes(&self, applied: LogIndex) -> u64 {
        self.raw.store().bytes_through(applied.0)
    }
}
