//! Proposals: commands on their way into the log, and callers that wait for those in it.
//!
//! A leader puts them into its own log, another member hands them to the leader. Nobody proposes a client's
//! write twice: one that got lost ends with its caller's deadline, as an unknown outcome (TO-5).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::Node;
use crate::base::{Instant, Term};
use crate::boundary::Effect;
use crate::command::{Action, Command, CommandHeader, RequestId};
use crate::conf::ConfCommand;
use crate::peer::{Caller, PeerMessage, Proposal};
use crate::raft::Dropped;
use crate::request::Identity;
use crate::status::Status;

/// Commands on their way into the log, and callers that wait for those in it.
pub(super) struct Proposals {
    pub epoch: u64,
    counter: u64,
    /// Not yet in the log: run of this turn, or no leader yet.
    queued: VecDeque<Queued>,
    /// In the log, or handed to the leader, by counter.
    waiting: BTreeMap<u64, Waiting>,
}

struct Queued {
    counter: u64,
    proposal: Proposal,
    waiting: Waiting,
    /// Proposed as leader of this term: nobody else may propose it, and not in another term (etcd #15247: a
    /// deposed leader's revokes killed leases that were renewed with its successor).
    leader_of: Option<Term>,
}

/// What a client wants in the log.
pub(super) struct Asked {
    pub action: Action,
    pub identity: Option<Identity>,
    /// The answer waits for the compaction to end.
    pub physical: bool,
}

/// Who waits for a proposal; nobody for the node's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub caller: Option<Caller>,
    /// The answer waits for the compaction to end.
    pub physical: bool,
    pub since: Instant,
    pub deadline: Instant,
}

impl Proposals {
    pub fn new(epoch: u64) -> Proposals {
        Proposals { epoch, counter: 0, queued: VecDeque::new(), waiting: BTreeMap::new() }
    }

    /// The counter of the next proposal.
    pub fn next_counter(&self) -> u64 {
        self.counter + 1
    }

    pub fn len(&self) -> usize {
        self.queued.len() + self.waiting.len()
    }

    /// Whether something is queued that a leader can take; a membership change only if it `may_change`.
    pub fn has_queued(&self, may_change: bool) -> bool {
        self.queued.iter().any(|queued| may_change || matches!(queued.proposal, Proposal::Command(_)))
    }

    /// Who waits for this proposal of this life; asked once, when it is applied.
    pub fn take_waiting(&mut self, counter: u64) -> Option<Waiting> {
        self.waiting.remove(&counter)
    }

    /// Proposals whose deadline has passed: those that no leader took, and those in a log.
    /// Deadlines rise with the counter, so the first that is in time ends the search.
    fn take_late(&mut self, now: Instant) -> (Vec<Waiting>, Vec<Waiting>) {
        let mut untaken = Vec::new();
        while let Some(late) = self.queued.pop_front_if(|queued| queued.waiting.deadline <= now) {
            untaken.push(late.waiting);
        }
        let mut unknown = Vec::new();
        while let Some(first) = self.waiting.first_entry()
            && first.get().deadline <= now
        {
            unknown.push(first.remove());
        }
        (untaken, unknown)
    }
}

impl Node {
    /// LIM-2, LIM-1, then into the queue.
    pub(super) fn propose_for_client(
        &mut self,
        now: Instant,
        caller: Caller,
        asked: Asked,
        effects: &mut Vec<Effect>,
    ) {
        let Asked { action, identity, physical } = asked;
        if self.is_overloaded() {
            return self.tell(caller, Err(Status::TooManyRequests), effects);
        }
        let id = self.next_request_id();
        let header = self.header_of(id, identity.as_ref());
        let command = Command { header, action }.encode();
        if command.len() > self.config.admit.request_bytes_max {
            return self.tell(caller, Err(Status::RequestTooLarge), effects);
        }
        let waiting = self.waiting(now, Some(caller), physical);
        self.queue(id, Proposal::Command(command), waiting, None);
    }

    /// The header of a client's command: whom it is by, and since when that is known.
    pub(super) fn header_of(&self, id: RequestId, identity: Option<&Identity>) -> CommandHeader {
        let asker = self.state.auth.asker(identity);
        CommandHeader { id, user: asker.user.to_owned(), auth_revision: asker.auth_revision }
    }

    /// Proposes something of the node's own accord; nobody waits.
    pub(super) fn propose_own(&mut self, now: Instant, action: Action) {
        self.queue_own(now, action, None);
    }

    /// Proposes what only the leader of the present term may.
    pub(super) fn propose_as_leader(&mut self, now: Instant, action: Action) {
        let term = self.consensus.term();
        self.queue_own(now, action, Some(term));
    }

    fn queue_own(&mut self, now: Instant, action: Action, leader_of: Option<Term>) {
        let id = self.next_request_id();
        let header = CommandHeader { id, ..CommandHeader::default() };
        let command = Command { header, action }.encode();
        let waiting = self.waiting(now, None, false);
        self.queue(id, Proposal::Command(command), waiting, leader_of);
    }

    pub(super) fn next_request_id(&mut self) -> RequestId {
        self.proposals.counter += 1;
        let counter = self.proposals.counter;
        RequestId { member: self.id, epoch: self.proposals.epoch, counter }
    }

    pub(super) fn waiting(&self, now: Instant, caller: Option<Caller>, physical: bool) -> Waiting {
        let deadline = now.plus_ns(self.config.request_timeout_ns());
        Waiting { caller, physical, since: now, deadline }
    }

    pub(super) fn queue(
        &mut self,
        id: RequestId,
        proposal: Proposal,
        waiting: Waiting,
        leader_of: Option<Term>,
    ) {
        let counter = id.counter;
        self.proposals.queued.push_back(Queued { counter, proposal, waiting, leader_of });
    }

    pub(super) fn is_overloaded(&self) -> bool {
        let backlog = self.consensus.committed().0 - self.state.applied.0;
        backlog > self.limits.proposals_max as u64
    }

    /// Everything queued goes into the log, if we lead, or to the leader; else it waits for one until its
    /// deadline. A leader that our mail does not reach counts as none: what is lost on the way to it would be
    /// lost for good. A membership change waits for the one before.
    pub(super) fn flush_proposals(&mut self, effects: &mut Vec<Effect>) {
        if self.proposals.queued.is_empty() {
            return;
        }
        let term = self.consensus.term();
        let leads = self.consensus.is_leader();
        self.proposals
            .queued
            .retain(|queued| queued.leader_of.is_none_or(|leader_of| leads && leader_of == term));
        if leads {
            self.flush_to_log(effects);
        } else if let Some(leader) = self.consensus.leader()
            && !self.cluster.is_lost(leader)
        {
            let queued = std::mem::take(&mut self.proposals.queued);
            let mut commands = Vec::with_capacity(queued.len());
            for Queued { counter, proposal, waiting, .. } in queued {
                self.proposals.waiting.insert(counter, waiting);
                commands.push(proposal);
            }
            if !commands.is_empty() {
                effects.push(Effect::Send { to: leader, message: PeerMessage::Forward { commands } });
            }
        }
    }

    fn flush_to_log(&mut self, effects: &mut Vec<Effect>) {
        let queued = std::mem::take(&mut self.proposals.queued);
        let mut run = Vec::new();
        for queued in queued {
            match &queued.proposal {
                Proposal::Command(_) => run.push(queued),
                Proposal::Conf(bytes) => {
                    let bytes = bytes.clone();
                    self.flush_run(std::mem::take(&mut run), effects);
                    match self.consensus.propose_conf(bytes) {
                        Err(Dropped::PendingConf) => self.proposals.queued.push_back(queued),
                        result => self.on_proposed(queued, result, effects),
                    }
                }
            }
        }
        self.flush_run(run, effects);
    }

    /// One proposal for a run of commands.
    fn flush_run(&mut self, run: Vec<Queued>, effects: &mut Vec<Effect>) {
        if run.is_empty() {
            return;
        }
        let commands: Vec<Bytes> = run.iter().map(|queued| queued.proposal.bytes().clone()).collect();
        let result = self.consensus.propose(commands);
        for queued in run {
            self.on_proposed(queued, result, effects);
        }
    }

    fn on_proposed(&mut self, queued: Queued, result: Result<(), Dropped>, effects: &mut Vec<Effect>) {
        let status = match result {
            Ok(()) => {
                self.proposals.waiting.insert(queued.counter, queued.waiting);
                return;
            }
            // TO-4.
            Err(Dropped::Transfer) => Status::ProposalDropped,
            Err(Dropped::Overload | Dropped::PendingConf) => Status::TooManyRequests,
        };
        if let Some(caller) = queued.waiting.caller {
            self.tell(caller, Err(status), effects);
        }
    }

    /// Commands that another member's clients wait for. Without leadership they are dropped: their callers
    /// cannot know whether somebody else took them.
    pub(super) fn on_forward(&mut self, commands: Vec<Proposal>) {
        if !self.consensus.is_leader() {
            return;
        }
        let mut run = Vec::new();
        for proposal in commands {
            match proposal {
                // What cannot be read here could be applied nowhere, and would halt every member.
                Proposal::Command(bytes) if Command::decode(bytes.clone()).is_ok() => run.push(bytes),
                Proposal::Conf(bytes) if ConfCommand::decode(bytes.clone()).is_ok() => {
                    // Dropped if another one is on its way: its caller's deadline decides.
                    let _unknown_to_its_caller = self.consensus.propose_conf(bytes);
                }
                Proposal::Command(_) | Proposal::Conf(_) => {}
            }
        }
        if !run.is_empty() {
            let _unknown_to_their_callers = self.consensus.propose(run);
        }
    }

    /// Ends proposals whose deadline has passed (TO-2, TO-3).
    pub(super) fn expire_proposals(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let (untaken, unknown) = self.proposals.take_late(now);
        for caller in untaken.into_iter().filter_map(|waiting| waiting.caller) {
            self.tell(caller, Err(Status::ContextDeadlineExceeded), effects);
        }
        for waiting in unknown {
            if let Some(caller) = waiting.caller {
                let status = self.timeout_since(waiting.since);
                self.tell(caller, Err(status), effects);
            }
        }
    }
}
