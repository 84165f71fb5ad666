//! The version of State: raised through the log once every member has said that its program knows the next one.
//!
//! Members tell their leader, until the version is what they know. The leader counts what it heard lately: a member may
//! have been rolled back to an earlier release since. One that is rolled back behind the decision, or joins behind it
//! with an earlier release, halts and says so; it never skips an entry.
//!
//! Source: etcd 3.7.1 server/etcdserver/version/monitor.go (UpdateClusterVersionIfNeeded), which asks all members once
//! in four seconds.

use super::Node;
use super::cluster::PING_TICKS;
use crate::base::{Instant, MemberId};
use crate::boundary::Effect;
use crate::command::Action;
use crate::peer::PeerMessage;

/// Ticks for which a word counts: one in four may arrive.
const FRESH_TICKS: u64 = 4 * PING_TICKS;

/// Pause before an unanswered proposal is made again.
const RETRY_NS: u64 = 1_000_000_000;

impl Node {
    /// A member says what its program knows.
    pub(super) fn on_knows(&mut self, from: MemberId, state_version: u32, now: Instant) {
        // Whom the cluster does not know yet is not counted, and nothing is kept for strangers.
        if self.state.members.get(from).is_some() {
            self.cluster.knows.insert(from, (state_version, now));
        }
    }

    /// A tick: tells the leader what we know, or raises the version if all know more.
    pub(super) fn tend_version(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let state_version = self.config.state_version_max;
        if !self.is_open || self.state.version >= state_version {
            return;
        }
        if self.consensus.is_leader() {
            self.raise_version(now);
        } else if let Some(leader) = self.consensus.leader()
            && self.cluster.ticks.is_multiple_of(PING_TICKS)
        {
            effects.push(Effect::Send { to: leader, message: PeerMessage::Knows { state_version } });
        }
    }

    fn raise_version(&mut self, now: Instant) {
        let is_due = self.cluster.raised_at.is_none_or(|at| now.since_ns(at) >= RETRY_NS);
        let version = self.version_known_to_all(now);
        if is_due && version > self.state.version {
            self.cluster.raised_at = Some(now);
            self.propose_as_leader(now, Action::StateVersionSet { version });
        }
    }

    /// The newest version that every member, learners too, has lately said to know; 0 if one has said nothing.
    fn version_known_to_all(&self, now: Instant) -> u32 {
        let fresh_ns = FRESH_TICKS * self.config.heartbeat_ns;
        let word_of = |id: MemberId| {
            if id == self.id {
                return self.config.state_version_max;
            }
            let word = self.cluster.knows.get(&id).filter(|(_, at)| now.since_ns(*at) <= fresh_ns);
            word.map_or(0, |(version, _)| *version)
        };
        self.state.members.iter().map(|member| word_of(member.id)).min().unwrap_or(0)
    }
}
