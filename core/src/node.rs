//! The node: one turn takes inputs in, effects out.
//!
//! A turn, top to bottom: fold (each input to its one owner, in order of arrival) -> lease expiry ->
//! propose -> consensus and apply -> reads -> watch -> compaction -> checkpoint, transfers -> emit.
//! Only emission is per turn: one proposal for a run of client inputs, one read round, one Append.

use raft::eraftpb::Message;
use rand_chacha::ChaCha8Rng;

use crate::admit::{Admitted, Refusal, admit, raise_alarm};
use crate::apply::Applier;
use crate::base::{Instant, LogIndex, MemberId, WaiterId};
use crate::boundary::{Effect, Effects, Input, Limits, Note};
use crate::lease::Deadlines;
use crate::peer::{Caller, PeerMessage};
use crate::raft::{Consensus, Outcome};
use crate::read::{Here, Query, Read, Reads};
use crate::request::{Credentials, Request, Response};
use crate::state::State;
use crate::status::Status;
use crate::watch::WatchHub;
use auto_compaction::AutoCompactor;
use checkpointing::Checkpointing;
use cluster::Cluster;
use identity::Identities;
use membership::Promotions;
use proposals::{Asked, Proposals};
use transfer::Transfers;

mod auto_compaction;
mod checkpointing;
mod cluster;
mod commit;
mod figures;
mod identity;
mod incoming;
mod lead;
mod leases;
mod membership;
mod open;
mod peers;
mod proposals;
mod publish;
mod transfer;
mod versions;

pub use auto_compaction::{AutoCompaction, REVISION_INTERVAL_NS};
pub use figures::{Gauges, Queues, Standing};
pub use open::{Boot, BootError, Config, Start};

#[cfg(test)]
mod cluster_tests;
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
    /// What was committed when the configuration last changed: an earlier member may have answered for it.
    reads_from: LogIndex,
    watch: WatchHub,
    deadlines: Deadlines,
    checkpoint: Checkpointing,
    auto_compactor: Option<AutoCompactor>,
    promotions: Promotions,
    transfers: Transfers,
    cluster: Cluster,
    identities: Identities,
    compact_waiters: Vec<(Caller, Result<Response, Status>)>,
    defrag_waiters: Vec<WaiterId>,
    /// Client inputs that came before the boot record was durable.
    early: Vec<Input>,
    is_open: bool,
    /// The shell was told whom to talk to.
    is_connected: bool,
    was_leader: bool,
    publication: publish::Publication,
    halted: bool,
    db_size_bytes: u64,
    /// Questions asked and rounds begun in this life.
    question: u64,
    /// Capacity kept between turns.
    mail: Vec<Message>,
}

impl Node {
    /// One turn: drains `inputs`, fills `effects` (cleared first).
    pub fn step(&mut self, now: Instant, inputs: &mut Vec<Input>, effects: &mut Effects) {
        effects.list.clear();
        effects.wake_at = None;
        if !self.is_connected {
            self.is_connected = true;
            self.connect_all(&mut effects.list);
        }
        for input in inputs.drain(..) {
            if self.halted {
                break;
            }
            self.fold(now, input, &mut effects.list);
        }
        inputs.clear();
        if self.halted {
            return;
        }
        self.flush_proposals(&mut effects.list);
        self.consensus_and_apply(now, &mut effects.list);
        self.take_known(now, &mut effects.list);
        self.lead(now, &mut effects.list);
        self.read(now, &mut effects.list);
        self.deliver(now, &mut effects.list);
        self.compact(&mut effects.list);
        self.write_checkpoint(now, &mut effects.list);
        self.send_states(&mut effects.list);
        self.emit(&mut effects.list);
        effects.wake_at = (self.has_work() && !self.halted).then_some(now);
    }

    /// One append for the whole turn, and the mail that rests on nothing still on its way.
    fn emit(&mut self, effects: &mut Vec<Effect>) {
        if let Some((frames, through)) = self.consensus.take_frames() {
            effects.push(Effect::Append { frames, through });
        }
        self.consensus.take_mail(&mut self.mail);
        effects.extend(self.mail.drain(..).map(|message| Effect::Send {
            to: MemberId(message.to),
            message: PeerMessage::Raft(Box::new(message)),
        }));
    }

    /// Hands one input to its owner. Runs of client writes are proposed together, before anything else.
    fn fold(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        if !self.is_open && matches!(input, Input::Client { .. } | Input::Stream { .. }) {
            self.early.push(input);
            return;
        }
        let Some(input) = self.wait_for_token(now, input) else { return };
        match input {
            Input::Client { waiter, credentials, request } => {
                self.on_client(now, waiter, &credentials, request, effects);
            }
            Input::Abandon { waiter } => self.reads.abandon(waiter),
            Input::Stream { stream, op } => self.on_stream(now, stream, op),
            Input::PasswordHashed { job, hash } => self.on_password_hashed(now, job, hash, effects),
            Input::PasswordChecked { job, fits, entropy } => {
                self.on_password_checked(now, job, fits, entropy, effects);
            }
            Input::Persisted { through } => {
                self.flush_proposals(effects);
                self.consensus.on_persisted(through);
                self.open_for_clients(now, effects);
                self.install(effects);
            }
            Input::Checkpointed { ok } => self.on_checkpointed(now, ok, effects),
            Input::Peer { from, message } => {
                self.flush_proposals(effects);
                self.on_peer(now, from, message, effects);
            }
            Input::Unreachable { member } => {
                self.cluster.on_unreachable(member, now);
                self.flush_proposals(effects);
                self.consensus.report_unreachable(member);
            }
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

    fn on_client(
        &mut self,
        now: Instant,
        waiter: WaiterId,
        credentials: &Credentials,
        request: Request,
        effects: &mut Vec<Effect>,
    ) {
        let deadline = now.plus_ns(self.config.request_timeout_ns());
        let caller = Caller::Local(waiter);
        if self.is_learner() && !request.is_served_by_learner() {
            return self.tell(caller, Err(Status::NotSupportedForLearner), effects);
        }
        let known = self.identify(now, credentials);
        let identity = known.as_ref().map(Option::as_ref).map_err(|status| *status);
        let admitted = admit(request, identity, &self.config.admit, &self.state, &mut self.rng);
        let identity = known.unwrap_or_default();
        let read = |query: Query, identity| Read { caller, query, identity, deadline };
        match admitted {
            Ok(Admitted::Local(query)) => self.reads.local(read(query, identity)),
            Ok(Admitted::Linearizable(query)) => self.reads.linearizable(read(query, identity)),
            Ok(Admitted::Propose { action, physical }) => {
                self.propose_for_client(now, caller, Asked { action, identity, physical }, effects);
            }
            Ok(with_password @ (Admitted::Login { .. } | Admitted::HashPassword { .. })) => {
                self.on_password(now, waiter, identity, with_password, effects);
            }
            Ok(Admitted::Conf(change)) => self.change_membership(now, caller, identity, change, effects),
            Ok(Admitted::HandOver) => self.hand_over(now, caller, effects),
            Ok(Admitted::MoveLeader { target }) => self.move_leader(now, caller, target, effects),
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
                    self.propose_own(now, raise_alarm(member, alarm));
                }
                effects.push(Effect::Reply { waiter, result: Err(status) });
            }
        }
    }

    fn read(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.ask_leader(effects);
        let mut work = self.limits.work_max;
        let mut answers = Vec::new();
        let here = Here { now, state: &self.state, is_applying: self.applier.is_busy() };
        self.reads.step(&here, &mut self.deadlines, &mut work, &mut answers);
        self.tell_all(answers, effects);
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
            for (caller, result) in std::mem::take(&mut self.compact_waiters) {
                self.tell(caller, result, effects);
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
            && !self.checkpoint.reads_state()
            && !self.transfers.read_state()
            && self.watch.pinned_revision(&self.state.kv).is_none_or(|revision| revision > compact_revision)
            && self.reads.pinned_revision().is_none_or(|revision| revision >= compact_revision)
    }

    fn has_work(&self) -> bool {
        // What waits for a state to be installed waits for the disk: turns would not bring it on.
        let may_apply = !self.consensus.is_installing() && self.cluster.removed_at.is_none();
        // Nor do they a membership change that waits for the one before it.
        let may_change = !self.consensus.has_open_change();
        self.consensus.has_ready()
            || (may_apply && (self.applier.is_busy() || !self.outcome.committed.is_empty()))
            || self.reads.has_work()
            || self.watch.has_work(&self.state.kv)
            || self.is_compaction_runnable()
            || self.checkpoint.has_work()
            || self.deadlines.wants_reset()
            || (self.consensus.is_leader() && self.proposals.has_queued(may_change))
    }

    fn halt(&mut self, why: String, effects: &mut Vec<Effect>) {
        self.halted = true;
        effects.push(Effect::Halt { why });
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
