//! Committed entries become State, and what changes with it: waiting callers, deadlines, the configuration.

use super::Node;
use crate::apply::{Applied, Change};
use crate::base::{Instant, LogIndex};
use crate::boundary::{Effect, Limits, Note};
use crate::conf::{ConfChangeKind, ConfCommand};
use crate::raft::Keep;

/// How long a removed member goes on handing out its mail: the others learn from it that the change is
/// committed (CL-8).
const LEAVE_NS: u64 = 1_000_000_000;

/// Election timeouts after which a removed leader ends even if the others have not said that they know: what they
/// say is not taken any more once they do, so it can get lost.
const FAREWELL_ELECTIONS_MAX: u64 = 60;

impl Node {
    pub(super) fn keep(&self) -> Keep {
        let Limits { log_tail_bytes_max, log_lag_bytes_max, .. } = self.limits;
        Keep { tail_bytes_max: log_tail_bytes_max, lag_bytes_max: log_lag_bytes_max }
    }

    /// Takes what consensus has ready and applies it within the turn's work.
    pub(super) fn consensus_and_apply(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut work = self.limits.work_max;
        loop {
            self.take_rounds(effects);
            self.follow_leader(now, effects);
            // A snapshot is on its way into State: nothing goes in before it any more.
            if self.consensus.is_installing() || self.cluster.removed_at.is_some() {
                break;
            }
            let committed = &mut self.outcome.committed;
            match self.applier.step(&mut self.state, committed, &mut work) {
                Ok(Some(applied)) => self.on_applied(now, applied, effects),
                Ok(None) => break,
                Err(unreadable) => {
                    let (index, why) = (unreadable.index, unreadable.why);
                    return self.halt(format!("log entry {index} cannot be applied: {why}"), effects);
                }
            }
        }
    }

    /// Answers the proposer and tells the volatile parts what changed.
    fn on_applied(&mut self, now: Instant, applied: Applied, effects: &mut Vec<Effect>) {
        let Applied { index, term, id, result, change } = applied;
        self.consensus.on_applied(index, term, self.keep());
        match change {
            Change::None => {}
            Change::TermStarted => self.on_term_started(now),
            Change::Conf(command) => self.on_conf_applied(now, index, &command, effects),
            Change::Granted { id, ttl } => self.deadlines.on_grant(id, ttl, now),
            Change::Revoked { id } => self.deadlines.on_revoke(id),
            Change::Checkpointed { items } => self.deadlines.on_checkpoint(id.counter, &items, now),
            Change::Published { member } if member == self.id => self.on_published(effects),
            Change::Published { .. } => {}
            Change::Version(version) => effects.push(Effect::Note(Note::StateVersion { version })),
            Change::Auth(event) => self.identities.on_event(event, index, now),
        }
        self.db_size_bytes = self.db_size_bytes.max(self.state.kv.bytes());
        if id.member != self.id || id.epoch != self.proposals.epoch {
            return;
        }
        let Some(waiting) = self.proposals.take_waiting(id.counter) else { return };
        let (Some(caller), Some(result)) = (waiting.caller, result) else { return };
        if waiting.physical && self.state.kv.is_compacting() {
            self.compact_waiters.push((caller, result));
        } else {
            self.tell(caller, result, effects);
        }
    }

    /// The membership is another one.
    fn on_conf_applied(
        &mut self,
        now: Instant,
        index: LogIndex,
        command: &ConfCommand,
        effects: &mut Vec<Effect>,
    ) {
        let member = command.change.member_id();
        if command.change == ConfChangeKind::Remove(self.id) {
            return self.leave(now, index, effects);
        }
        if !matches!(command.change, ConfChangeKind::UpdatePeerUrls { .. }) {
            self.consensus.apply_conf_change(&command.to_raft());
            self.reads_from = self.consensus.committed();
        }
        if member == self.id {
            return;
        }
        match self.state.members.get(member) {
            Some(known) => effects.push(Effect::Connect { member, peer_urls: known.peer_urls.clone() }),
            None => {
                self.cluster.forget(member);
                self.transfers.forget(member);
                effects.push(Effect::Disconnect { member });
            }
        }
    }

    /// We are removed: raft ends here, mail on its way still leaves, then the member does.
    fn leave(&mut self, now: Instant, index: LogIndex, effects: &mut Vec<Effect>) {
        self.consensus.detach(index, &mut self.outcome);
        self.cluster.removed_at = Some(now);
        self.deadlines.demote();
        effects.push(Effect::Note(Note::Removed));
    }

    /// A removed member has given the others their time; one that led ends when they can do without it.
    pub(super) fn end_when_removed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(removed_at) = self.cluster.removed_at else { return };
        self.consensus.bid_farewell();
        let since_ns = now.since_ns(removed_at);
        let late_ns = FAREWELL_ELECTIONS_MAX * self.config.election_timeout_ns();
        if since_ns >= LEAVE_NS && (self.consensus.is_dispensable() || since_ns >= late_ns) {
            self.halt("the member has been permanently removed from the cluster".to_owned(), effects);
        }
    }
}
