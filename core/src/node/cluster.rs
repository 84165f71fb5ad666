//! What a member knows of the others beside State: whom it hears, who leads, since when.

use std::collections::BTreeMap;

use super::Node;
use crate::base::{Instant, MemberId};
use crate::boundary::{Effect, Note};
use crate::peer::{Caller, PeerMessage};
use crate::request::Response;
use crate::status::Status;

/// Ticks between two pings; a connection that loses one is not silent for an election timeout.
pub(super) const PING_TICKS: u64 = 3;

/// The part of an election timeout in which mail of a member that is gone may still arrive.
const LATE_PART: u64 = 10;

/// Volatile knowledge of the other members.
#[derive(Default)]
pub(super) struct Cluster {
    heard: BTreeMap<MemberId, Heard>,
    /// Whom our mail did not reach, and when, until they are heard again.
    lost: BTreeMap<MemberId, Instant>,
    leader: Option<MemberId>,
    /// When the present leader became known here.
    leader_since: Instant,
    /// Callers that wait until leadership is handed to somebody.
    moving: Vec<Moving>,
    pub ticks: u64,
    /// What programs of the other members know, as they said last, and when.
    pub knows: BTreeMap<MemberId, (u32, Instant)>,
    /// When a later version of State was proposed last.
    pub raised_at: Option<Instant>,
    /// Since when this member has applied its own removal.
    pub removed_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    last: Instant,
    /// First message behind the last long silence.
    since: Instant,
}

struct Moving {
    target: MemberId,
    caller: Caller,
    deadline: Instant,
}

impl Cluster {
    /// A member spoke; a silence of `silence_ns` ends a connection.
    pub fn on_heard(&mut self, member: MemberId, now: Instant, silence_ns: u64) {
        // What arrives right behind the loss was said before it.
        if self.lost.get(&member).is_some_and(|lost| now.since_ns(*lost) > silence_ns / LATE_PART) {
            self.lost.remove(&member);
        }
        let heard = self.heard.entry(member).or_insert(Heard { last: now, since: now });
        if now.since_ns(heard.last) > silence_ns {
            heard.since = now;
        }
        heard.last = now;
    }

    /// Since when a member has been heard without a long silence; `None` while it is silent.
    pub fn connected_since(&self, member: MemberId, now: Instant, silence_ns: u64) -> Option<Instant> {
        let heard = self.heard.get(&member)?;
        (now.since_ns(heard.last) <= silence_ns).then_some(heard.since)
    }

    /// What was sent to a member lately did not reach it.
    pub fn on_unreachable(&mut self, member: MemberId, now: Instant) {
        self.lost.insert(member, now);
    }

    /// Whether what is sent to a member now is likely to be lost.
    pub fn is_lost(&self, member: MemberId) -> bool {
        self.lost.contains_key(&member)
    }

    pub fn forget(&mut self, member: MemberId) {
        self.heard.remove(&member);
        self.lost.remove(&member);
        self.knows.remove(&member);
    }
}

impl Node {
    /// Questions to an old leader are asked again; who waited for this leader is told.
    pub(super) fn follow_leader(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let leader = self.consensus.leader();
        if leader == self.cluster.leader {
            return;
        }
        let before = std::mem::replace(&mut self.cluster.leader, leader);
        self.cluster.leader_since = now;
        let term = self.consensus.term().0;
        effects.push(Effect::Note(Note::LeaderChanged { before, leader, term }));
        let mut answers = Vec::new();
        self.reads.on_leader_changed(&mut answers);
        self.tell_all(answers, effects);
        let arrived = self.cluster.moving.extract_if(.., |moving| Some(moving.target) == leader);
        for moving in arrived.collect::<Vec<_>>() {
            self.tell(moving.caller, Ok(Response::MoveLeader), effects);
        }
    }

    /// CL-14.
    pub(super) fn move_leader(
        &mut self,
        now: Instant,
        caller: Caller,
        target: MemberId,
        effects: &mut Vec<Effect>,
    ) {
        if !self.consensus.is_leader() {
            return self.tell(caller, Err(Status::NotLeader), effects);
        }
        if let Err(status) = self.state.members.check_transferee(target) {
            return self.tell(caller, Err(status), effects);
        }
        if target == self.id {
            return self.tell(caller, Ok(Response::MoveLeader), effects);
        }
        self.consensus.transfer_leader(target);
        let deadline = now.plus_ns(self.config.request_timeout_ns());
        self.cluster.moving.push(Moving { target, caller, deadline });
    }

    /// A leader that stops spares the others an election. Errors: no other voter is connected.
    /// Source: etcd 3.7.1 server/etcdserver/server.go (TryTransferLeadershipOnShutdown, longestConnected).
    pub(super) fn hand_over(&mut self, now: Instant, caller: Caller, effects: &mut Vec<Effect>) {
        if !self.consensus.is_leader() || self.consensus.is_sole_voter() {
            return self.tell(caller, Ok(Response::MoveLeader), effects);
        }
        let silence_ns = self.silence_ns();
        let others = self.state.members.voters().map(|voter| voter.id).filter(|id| *id != self.id);
        let connected =
            others.filter_map(|id| Some((self.cluster.connected_since(id, now, silence_ns)?, id)));
        match connected.min() {
            Some((_, target)) => self.move_leader(now, caller, target, effects),
            None => self.tell(caller, Err(Status::Unhealthy), effects),
        }
    }

    /// Callers whose handover did not come about.
    pub(super) fn expire_moves(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let late = self.cluster.moving.extract_if(.., |moving| moving.deadline <= now);
        for moving in late.collect::<Vec<_>>() {
            self.tell(moving.caller, Err(Status::TimeoutLeaderTransfer), effects);
        }
    }

    /// TO-2: why a proposal made at `since` may have got lost.
    pub(super) fn timeout_since(&self, since: Instant) -> Status {
        let Cluster { leader, leader_since, .. } = &self.cluster;
        let lost_after = leader_since.0.saturating_sub(2 * self.config.election_timeout_ns());
        if since.0 > lost_after && since < *leader_since {
            return Status::TimeoutDueToLeaderFail;
        }
        let is_connected = match leader {
            None => true,
            Some(leader) if *leader == self.id => self.is_connected_to_quorum(since),
            Some(leader) => self.is_connected(*leader, since),
        };
        if is_connected { Status::Timeout } else { Status::TimeoutDueToConnectionLost }
    }

    fn is_connected(&self, member: MemberId, since: Instant) -> bool {
        self.cluster.heard.get(&member).is_some_and(|heard| heard.since <= since)
    }

    fn is_connected_to_quorum(&self, since: Instant) -> bool {
        let voters = || self.state.members.iter().filter(|member| !member.is_learner);
        let connected = voters().filter(|member| member.id == self.id || self.is_connected(member.id, since));
        connected.count() > voters().count() / 2
    }

    /// Silence after which a member counts as unreachable.
    pub(super) fn silence_ns(&self) -> u64 {
        self.config.election_timeout_ns()
    }

    /// A tick: members that neither lead nor are led by us hear that we are there.
    pub(super) fn ping(&mut self, effects: &mut Vec<Effect>) {
        self.cluster.ticks += 1;
        let leader = self.consensus.leader();
        if !self.is_open || !self.cluster.ticks.is_multiple_of(PING_TICKS) || leader == Some(self.id) {
            return;
        }
        let others = self.state.members.iter().map(|member| member.id);
        effects.extend(
            others
                .filter(|&id| id != self.id && Some(id) != leader)
                .map(|to| Effect::Send { to, message: PeerMessage::Ping }),
        );
    }

    /// Tells the shell whom to talk to, as of State.
    pub(super) fn connect_all(&mut self, effects: &mut Vec<Effect>) {
        for member in self.state.members.iter().filter(|member| member.id != self.id) {
            effects.push(Effect::Connect { member: member.id, peer_urls: member.peer_urls.clone() });
        }
    }
}
