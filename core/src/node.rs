//! The node: one turn takes inputs in, effects out.
//!
//! A turn, top to bottom: fold (each input to its one owner, in order of arrival) -> lease expiry ->
//! propose -> consensus and apply -> reads -> watch -> compaction -> checkpoint -> emit.
//! Only emission is per turn: one proposal for a run of client inputs, one read round, one Append.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;

use crate::admit::{Admitted, Refusal, admit, raise_alarm};
use crate::apply::{Applied, Applier, Change};
use crate::base::{Instant, LogIndex, Lsn, MemberId, WaiterId};
use crate::boundary::{Effect, Effects, Input, Limits, Note};
use crate::command::{Action, Command, CommandHeader, RequestId};
use crate::lease::Deadlines;
use crate::raft::{Consensus, Outcome};
use crate::read::{Here, Query, Read, Reads};
use crate::request::{Request, Response, StatusResponse};
use crate::snapshot::SnapshotRun;
use crate::state::State;
use crate::status::Status;
use crate::watch::WatchHub;

mod open;
mod publish;

pub use open::{Boot, BootError, Config};

#[cfg(test)]
mod tests;

/// A member of the cluster.
pub struct Node {
    config: Config,
    limits: Limits,
    id: MemberId,
    rng: ChaCha8Rng,
    /// Replicated.
    state: State,
    consensus: Consensus,
    outcome: Outcome,
    applier: Applier,
    /// Volatile: who waits for what.
    proposals: Proposals,
    reads: Reads,
    watch: WatchHub,
    deadlines: Deadlines,
    checkpoint: Checkpointing,
    compact_waiters: Vec<(WaiterId, Result<Response, Status>)>,
    defrag_waiters: Vec<WaiterId>,
    /// Client inputs that came before the boot record was durable.
    early: Vec<Input>,
    is_open: bool,
    was_leader: bool,
    publication: publish::Publication,
    halted: bool,
    db_size_bytes: u64,
}

/// What a member is at, in figures.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    pub has_leader: bool,
    pub is_leader: bool,
    pub committed: u64,
    pub applied: u64,
    /// Proposals that nobody has been answered yet.
    pub proposals: u64,
    pub bytes: u64,
    pub bytes_in_use: u64,
    pub keys: u64,
    pub revision: i64,
    pub compact_revision: i64,
}

/// Commands on their way into the log, and callers that wait for those in it.
struct Proposals {
    epoch: u64,
    counter: u64,
    /// Not yet in the log: run of this turn, or no leader yet.
    queued: VecDeque<Queued>,
    /// In the log, by counter.
    waiting: BTreeMap<u64, Waiting>,
}

struct Queued {
    counter: u64,
    command: Bytes,
    waiting: Waiting,
}

/// Who waits for a proposal; nobody for the node's own.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    waiter: Option<WaiterId>,
    physical: bool,
    deadline: Instant,
}

/// The checkpoint being written and those on disk.
struct Checkpointing {
    run: Option<SnapshotRun>,
    awaiting: bool,
    /// Index of the newest finished one; the log behind it goes when the next one stands.
    newest: LogIndex,
    /// Log bytes behind the newest one, as of the last tick.
    log_bytes: u64,
    /// Earliest instant for another attempt after a failure.
    retry_at: Instant,
}

/// Pause before a failed checkpoint is tried again.
const CHECKPOINT_RETRY_NS: u64 = 10_000_000_000;

/// Expired leases revoked in one turn (LEASE-13).
const REVOKES_IN_A_TURN_MAX: usize = 16;

impl Node {
    /// One turn: drains `inputs`, fills `effects` (cleared first).
    pub fn step(&mut self, now: Instant, inputs: &mut Vec<Input>, effects: &mut Effects) {
        effects.list.clear();
        effects.wake_at = None;
        if self.halted {
            inputs.clear();
            return;
        }
        for input in inputs.drain(..) {
            self.fold(now, input, &mut effects.list);
        }
        self.flush_proposals(&mut effects.list);
        self.consensus_and_apply(now, &mut effects.list);
        self.lead(now, &mut effects.list);
        self.read(now, &mut effects.list);
        self.deliver(now, &mut effects.list);
        self.compact(&mut effects.list);
        self.write_checkpoint(now, &mut effects.list);
        if let Some((frames, through)) = self.consensus.take_frames() {
            effects.list.push(Effect::Append { frames, through });
        }
        effects.wake_at = self.has_work().then_some(now);
    }

    /// Hands one input to its owner. Runs of client writes are proposed together, before anything else.
    fn fold(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        if !self.is_open && matches!(input, Input::Client { .. } | Input::Stream { .. }) {
            self.early.push(input);
            return;
        }
        match input {
            Input::Client { waiter, request } => self.on_client(now, waiter, request, effects),
            Input::Abandon { waiter } => self.reads.abandon(waiter),
            Input::Stream { stream, op } => {
                self.watch.on_op(stream, op, now, &self.state.kv, self.state.applied_term.0);
            }
            Input::Persisted { through } => {
                self.flush_proposals(effects);
                self.consensus.on_persisted(through);
                self.open_for_clients(now, effects);
            }
            Input::Checkpointed { ok } => self.on_checkpointed(now, ok, effects),
            Input::Peer { .. } | Input::Unreachable { .. } => {}
            Input::Tick => {
                self.flush_proposals(effects);
                self.consensus.tick();
                self.on_tick(now, effects);
            }
        }
    }

    /// The boot record is durable: what replay found is, too, and may be shown.
    fn open_for_clients(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.is_open || !self.consensus.is_booted() {
            return;
        }
        self.is_open = true;
        for input in std::mem::take(&mut self.early) {
            self.fold(now, input, effects);
        }
    }

    fn on_client(&mut self, now: Instant, waiter: WaiterId, request: Request, effects: &mut Vec<Effect>) {
        let deadline = now.plus_ns(self.config.request_timeout_ns());
        let read = |query: Query| Read { waiter, query, deadline };
        match admit(request, &self.config.admit, &self.state, &mut self.rng) {
            Ok(Admitted::Local(query)) => self.reads.local(read(query)),
            Ok(Admitted::Linearizable(query)) => self.reads.linearizable(read(query)),
            Ok(Admitted::Propose { action, physical }) => {
                self.propose(Waiting { waiter: Some(waiter), physical, deadline }, action, effects);
            }
            Ok(Admitted::Status) => {
                let result = Ok(Response::Status(self.status()));
                effects.push(Effect::Reply { waiter, result });
            }
            Ok(Admitted::Defragment) => self.defrag_waiters.push(waiter),
            Err(Refusal { status, raise }) => {
                let member = self.id;
                if let Some(alarm) = raise
                    && !self.state.alarms.contains(&(member, alarm))
                {
                    self.propose_own(now, raise_alarm(member, alarm), effects);
                }
                effects.push(Effect::Reply { waiter, result: Err(status) });
            }
        }
    }

    /// Queues a command; it enters the log with the turn's others.
    fn propose(&mut self, waiting: Waiting, action: Action, effects: &mut Vec<Effect>) {
        let refuse = |status, effects: &mut Vec<Effect>| {
            if let Some(waiter) = waiting.waiter {
                effects.push(Effect::Reply { waiter, result: Err(status) });
            }
        };
        let backlog = self.consensus.committed().0 - self.state.applied.0;
        if backlog > self.limits.proposals_max as u64 && waiting.waiter.is_some() {
            return refuse(Status::TooManyRequests, effects);
        }
        self.proposals.counter += 1;
        let counter = self.proposals.counter;
        let id = RequestId { member: self.id, epoch: self.proposals.epoch, counter };
        let header = CommandHeader { id, ..CommandHeader::default() };
        let command = Command { header, action }.encode();
        if command.len() > self.config.admit.request_bytes_max && waiting.waiter.is_some() {
            return refuse(Status::RequestTooLarge, effects);
        }
        self.proposals.queued.push_back(Queued { counter, command, waiting });
    }

    /// Proposes something of the node's own accord; nobody waits.
    fn propose_own(&mut self, now: Instant, action: Action, effects: &mut Vec<Effect>) {
        let deadline = now.plus_ns(self.config.request_timeout_ns());
        self.propose(Waiting { waiter: None, physical: false, deadline }, action, effects);
    }

    /// One proposal for everything queued, if we lead; else it waits for a leader until its deadline.
    fn flush_proposals(&mut self, effects: &mut Vec<Effect>) {
        if self.proposals.queued.is_empty() || !self.consensus.is_leader() {
            return;
        }
        let queued = std::mem::take(&mut self.proposals.queued);
        let commands: Vec<Bytes> = queued.iter().map(|q| q.command.clone()).collect();
        let result = self.consensus.propose(commands);
        for Queued { counter, waiting, .. } in queued {
            match (result, waiting.waiter) {
                (Ok(()), _) => {
                    self.proposals.waiting.insert(counter, waiting);
                }
                (Err(_), Some(waiter)) => {
                    effects.push(Effect::Reply { waiter, result: Err(Status::TooManyRequests) });
                }
                (Err(_), None) => {}
            }
        }
    }

    /// Takes what consensus has ready and applies it within the turn's work.
    fn consensus_and_apply(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut work = self.limits.work_max;
        loop {
            self.consensus.drain(&mut self.outcome);
            for (number, index) in self.outcome.reads.drain(..) {
                self.reads.on_confirmed(number, index);
            }
            let committed = &mut self.outcome.committed;
            match self.applier.step(&mut self.state, committed, &mut work) {
                Ok(Some(applied)) => self.on_applied(now, applied, effects),
                Ok(None) => break,
                Err(unreadable) => {
                    self.halted = true;
                    let (index, why) = (unreadable.index, unreadable.why);
                    effects.push(Effect::Halt { why: format!("log entry {index} cannot be applied: {why}") });
                    return;
                }
            }
        }
        if self.reads.wants_round()
            && let Some(number) = self.consensus.read_round()
        {
            self.reads.on_asked(number);
            self.consensus.drain(&mut self.outcome);
            for (number, index) in self.outcome.reads.drain(..) {
                self.reads.on_confirmed(number, index);
            }
        }
    }

    /// Answers the proposer and tells the volatile parts what changed.
    fn on_applied(&mut self, now: Instant, applied: Applied, effects: &mut Vec<Effect>) {
        let Applied { index, id, result, change, .. } = applied;
        match change {
            Change::None => {}
            Change::TermStarted => self.on_term_started(now),
            Change::Conf(change) => {
                self.consensus.apply_conf_change(&change).expect("single steps, in log order, are valid");
            }
            Change::Granted { id, ttl } => self.deadlines.on_grant(id, ttl, now),
            Change::Revoked { id } => self.deadlines.on_revoke(id),
            Change::Published { member } if member == self.id => self.on_published(effects),
            Change::Published { .. } => {}
        }
        self.consensus.on_applied(index, self.limits.log_tail_bytes_max);
        self.db_size_bytes = self.db_size_bytes.max(self.state.kv.bytes());
        if id.member != self.id || id.epoch != self.proposals.epoch {
            return;
        }
        let Some(waiting) = self.proposals.waiting.remove(&id.counter) else { return };
        let (Some(waiter), Some(result)) = (waiting.waiter, result) else { return };
        if waiting.physical && self.state.kv.is_compacting() {
            self.compact_waiters.push((waiter, result));
        } else {
            effects.push(Effect::Reply { waiter, result });
        }
    }

    /// What only a leader does, and what changes when leadership does.
    fn lead(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let leads = self.consensus.is_leader();
        if leads != self.was_leader {
            self.was_leader = leads;
            let term = self.consensus.term().0;
            effects.push(Effect::Note(match leads {
                true => Note::BecameLeader { term },
                false => Note::LostLeader { term },
            }));
            if !leads {
                self.deadlines.demote();
            }
        }
        if leads && self.deadlines.is_primary() {
            let mut work = self.limits.work_max;
            let leases = &self.state.leases;
            for id in self.deadlines.expired(now, leases, REVOKES_IN_A_TURN_MAX, &mut work) {
                effects.push(Effect::Note(Note::LeaseExpired { id: id.0 }));
                self.propose_own(now, Action::LeaseRevoke { id }, effects);
            }
        }
        self.publish(now, effects);
        self.flush_proposals(effects);
        self.consensus.drain(&mut self.outcome);
    }

    /// The leader's first entry is applied: leases run from here with their full time (LEASE-14).
    fn on_term_started(&mut self, now: Instant) {
        if self.consensus.is_leader() && self.state.applied_term == self.consensus.term() {
            self.deadlines.promote(now, &self.state.leases, self.config.election_timeout_ns());
        }
    }

    fn on_tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.checkpoint.log_bytes = self.consensus.bytes_behind(self.checkpoint.newest);
        let mut answers = Vec::new();
        self.reads.on_tick(now, &mut answers);
        // TO-3: a proposal that raft never took ends like the caller's own deadline.
        while let Some(first) = self.proposals.queued.front()
            && first.waiting.deadline <= now
        {
            let late = self.proposals.queued.pop_front().expect("just seen");
            answers.extend(late.waiting.waiter.map(|w| (w, Err(Status::ContextDeadlineExceeded))));
        }
        while let Some(first) = self.proposals.waiting.first_entry()
            && first.get().deadline <= now
        {
            answers.extend(first.remove().waiter.map(|w| (w, Err(Status::Timeout))));
        }
        effects.extend(answers.into_iter().map(|(waiter, result)| Effect::Reply { waiter, result }));
    }

    fn read(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut work = self.limits.work_max;
        let mut answers = Vec::new();
        let here = Here { now, state: &self.state, is_applying: self.applier.is_busy() };
        self.reads.step(&here, &mut self.deadlines, &mut work, &mut answers);
        effects.extend(answers.into_iter().map(|(waiter, result)| Effect::Reply { waiter, result }));
    }

    fn deliver(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut work = self.limits.work_max;
        let mut out = Vec::new();
        self.watch.step(now, &self.state.kv, self.state.applied_term.0, &mut work, &mut out);
        effects.extend(out.into_iter().map(|(stream, response)| Effect::Deliver { stream, response }));
    }

    /// A slice of physical compaction, unless somebody still reads below the compacted revision.
    fn compact(&mut self, effects: &mut Vec<Effect>) {
        if self.is_compaction_runnable() {
            let mut work = self.limits.work_max;
            if self.state.kv.compact_step(&mut work) {
                let revision = self.state.kv.compact_revision();
                effects.push(Effect::Note(Note::Compacted { revision }));
            }
        }
        if !self.state.kv.is_compacting() {
            for (waiter, result) in self.compact_waiters.drain(..) {
                effects.push(Effect::Reply { waiter, result });
            }
            if !self.defrag_waiters.is_empty() {
                self.db_size_bytes = self.state.kv.bytes();
            }
            for waiter in self.defrag_waiters.drain(..) {
                effects.push(Effect::Reply { waiter, result: Ok(Response::Defragment) });
            }
        }
    }

    fn is_compaction_runnable(&self) -> bool {
        let compact_revision = self.state.kv.compact_revision();
        self.state.kv.is_compacting()
            && self.checkpoint.run.as_ref().is_none_or(|run| run.compact_revision() == compact_revision)
            && self.watch.pinned_revision(&self.state.kv).is_none_or(|revision| revision > compact_revision)
            && self.reads.pinned_revision().is_none_or(|revision| revision >= compact_revision)
    }

    /// Begins a checkpoint when the log has grown enough, or writes the next piece of one.
    fn write_checkpoint(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.checkpoint.awaiting {
            return;
        }
        if self.checkpoint.run.is_none() && self.is_checkpoint_due(now) {
            self.consensus.refresh_hard_state();
            self.checkpoint.run = Some(SnapshotRun::begin(&self.state, self.config.identity));
        }
        if let Some(run) = &mut self.checkpoint.run {
            let step = run.next_step(&self.state.kv, self.limits.checkpoint_piece_bytes_max);
            self.checkpoint.awaiting = true;
            effects.push(Effect::Checkpoint(step));
        }
    }

    fn is_checkpoint_due(&self, now: Instant) -> bool {
        let threshold = self.limits.checkpoint_log_bytes_min.max(self.state.kv.bytes());
        self.checkpoint.log_bytes > threshold
            && now >= self.checkpoint.retry_at
            && !self.applier.is_busy()
            && self.consensus.is_settled()
    }

    fn on_checkpointed(&mut self, now: Instant, ok: bool, effects: &mut Vec<Effect>) {
        self.checkpoint.awaiting = false;
        let Some(run) = &self.checkpoint.run else { return };
        let index = run.index();
        if !ok {
            self.checkpoint.run = None;
            self.checkpoint.retry_at = now.plus_ns(CHECKPOINT_RETRY_NS);
            effects.push(Effect::Note(Note::CheckpointFailed { index }));
        } else if run.is_finished() {
            self.checkpoint.run = None;
            effects.push(Effect::Note(Note::CheckpointWritten { index }));
            // The log stays back to the older of the two checkpoints.
            let older = std::mem::replace(&mut self.checkpoint.newest, index);
            self.checkpoint.log_bytes = self.consensus.bytes_behind(index);
            let through = self.consensus.reclaim(older);
            if older > LogIndex(0) && through > Lsn(0) {
                effects.push(Effect::Reclaim { through });
            }
        }
    }

    fn has_work(&self) -> bool {
        self.consensus.has_ready()
            || self.applier.is_busy()
            || !self.outcome.committed.is_empty()
            || self.reads.has_work()
            || self.watch.has_work(&self.state.kv)
            || self.is_compaction_runnable()
            || (self.consensus.is_leader() && !self.proposals.queued.is_empty())
    }

    fn status(&self) -> StatusResponse {
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
            is_learner: self.state.members.get(self.id).is_some_and(|m| m.is_learner),
            db_size_quota_bytes: self.config.admit.quota_bytes.unwrap_or(0) as i64,
            errors,
        }
    }

    /// Figures for metrics; cheap enough for each turn.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            has_leader: self.consensus.leader().is_some(),
            is_leader: self.consensus.is_leader(),
            committed: self.consensus.committed().0,
            applied: self.state.applied.0,
            proposals: (self.proposals.queued.len() + self.proposals.waiting.len()) as u64,
            bytes: self.db_size_bytes.max(self.state.kv.bytes()),
            bytes_in_use: self.state.kv.bytes_in_use(),
            keys: self.state.kv.live_keys(),
            revision: self.state.kv.revision(),
            compact_revision: self.state.kv.compact_revision(),
        }
    }

    /// Watch streams, watchers, and watchers that lag; walks over all of them.
    pub fn watch_counts(&self) -> (u64, u64, u64) {
        self.watch.counts()
    }

    /// What has been applied; for tests, checkers and figures.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether an entry is applied in part: `state` has changes of it that its applied index does not count.
    pub fn is_applying(&self) -> bool {
        self.applier.is_busy()
    }

    pub fn id(&self) -> MemberId {
        self.id
    }
}
