//! Consensus: raft-rs under the boundary's contract, with the ledger of what is durable.
//!
//! raft-rs counts everything in `Tail` as persisted. The ledger knows better: each `Ready` that must be
//! synced becomes one log frame, and raft-rs hears of its persistence only when the frame's `Lsn` is
//! durable. So committed entries, and with them replies, always rest on this member's own disk, and mail
//! leaves when what it promises is durable.
//!
//! Source: Raft thesis §3.5, §6.4, §10.2.1; raft-rs 0.7.0 `raw_node.rs` (async ready).

mod changes;
pub mod check;
mod convert;
mod farewell;
mod figures;
mod ledger;
mod tail;

use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::{ConfChange, ConfState, Entry, EntryType, Message, MessageType};
use raft::{GetEntriesContext, ProgressState, RawNode, SnapshotStatus, StateRole, Storage};
use slog::{Discard, Logger, o};

use crate::base::{LogIndex, Lsn, MemberId, Term};
use crate::wal::{self, EntryFrame, Frame, FrameKind, FrameWriter};
use changes::Changes;
pub use check::Refused;
use check::{Receiver, check, check_announcement};
use convert::{
    committed_of, marker_of, mix, read_of, to_raft_entry, to_raft_hard, to_wal_entry, to_wal_hard,
};
use farewell::Farewell;
use ledger::Ledger;
use tail::Tail;

/// Readies in one turn; raft-rs yields one or two, and many only behind a long log at open.
const READIES_IN_A_TURN_MAX: u32 = 64;

/// Committed entries that may wait for apply; above it raft waits too.
const COMMITTED_WAITING_MAX: usize = 8192;

/// Bytes of committed entries that one Ready hands out; the rest follows in the next.
const COMMITTED_BYTES_IN_A_READY_MAX: u64 = 8 << 20;

/// Term of the entries that a new cluster begins with; elections begin with the next one.
pub const BOOTSTRAP_TERM: Term = Term(1);

/// Timing and identity of the local raft.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    pub id: MemberId,
    /// Ticks without a leader before an election; randomised up to twice that.
    pub election_ticks: u32,
    pub pre_vote: bool,
    /// Uncommitted bytes above which raft drops proposals.
    pub uncommitted_bytes_max: u64,
    /// Bytes of entries in one message.
    pub append_bytes_max: u64,
}

/// Log bytes kept in memory behind the applied index.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// For followers that may come back.
    pub tail_bytes_max: u64,
    /// While a follower in reach needs them.
    pub lag_bytes_max: u64,
}

/// What the log says at open.
pub struct RaftBoot {
    /// Index and term behind which `entries` start: the checkpoint's, or (0, 0).
    pub truncated: (LogIndex, Term),
    /// Entries behind `truncated`.
    pub entries: Vec<wal::Entry>,
    pub hard: wal::HardState,
    pub conf: ConfState,
    /// Frames with entries that are on disk.
    pub frames: VecDeque<EntryFrame>,
    /// The last frame on disk that carries a hard state.
    pub hard_at: Lsn,
    /// Continues the log's frames.
    pub writer: FrameWriter,
    pub start: LogStart,
    /// Drawn for this life; makes its first frame unlike any other.
    pub life: u64,
}

/// What the first frames of a life must say beside its boot record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// The log on disk is the log.
    Continues,
    /// An empty data directory: `entries` and `hard` are not on disk yet.
    Fresh,
    /// The log on disk ends before the checkpoint, or holds another history there: the checkpoint came from
    /// a peer, and the life before ended between the file and the log's word of it.
    BehindCheckpoint,
    /// The log on disk ends before this place of `entries`; what follows, and `hard`, are not on disk yet.
    Extended { kept: usize },
}

/// An entry that is committed and on our disk, in log order.
#[derive(Clone, Debug)]
pub struct Committed {
    pub index: LogIndex,
    pub term: Term,
    pub payload: Payload,
}

/// What an entry carries.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A leader's first entry of its term.
    Empty,
    Command(Bytes),
    Conf(Bytes),
}

/// What a turn of raft brought.
#[derive(Default)]
pub struct Outcome {
    pub committed: VecDeque<Committed>,
    /// Confirmed read rounds with the index to wait for.
    pub reads: Vec<(u64, LogIndex)>,
    /// Members whose log ends before ours begins: raft-rs waits until the state was sent to them.
    pub laggards: Vec<MemberId>,
}

/// Why a proposal was not taken; it will not enter the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Too many bytes are uncommitted.
    Overload,
    /// Leadership is being handed over (TO-4).
    Transfer,
    /// A membership change is not applied yet: this one has to wait.
    PendingConf,
}

/// raft-rs with its ledger.
pub struct Consensus {
    raw: RawNode<Tail>,
    config: RaftConfig,
    seed: u64,
    /// Elections begun, so that each draws another timeout.
    attempt: u64,
    ledger: Ledger,
    install: Install,
    /// This member has applied its own removal: raft-rs is not asked any more, only mail leaves.
    detached: bool,
    farewell: Farewell,
    /// Membership changes in the log that are not known to be committed, oldest first.
    changes: Changes,
}

/// How far a snapshot is that raft took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Install {
    None,
    /// The log was replaced in memory; the frame that says so, of this `Ready`, is on its way.
    Written {
        number: u64,
        index: LogIndex,
        term: Term,
    },
    /// It is durable: State has to follow.
    Durable {
        index: LogIndex,
        term: Term,
    },
}

impl Consensus {
    /// Starts raft on what the log says and puts the boot record, which gates everything, in the buffer.
    pub fn open(config: RaftConfig, boot: RaftBoot, seed: u64) -> Consensus {
        let RaftBoot { truncated, entries, hard, conf, frames, hard_at, writer, start, life } = boot;
        let changes = Changes::of(&entries, hard.commit);
        let mut tail = Tail::new((truncated.0.0, truncated.1.0), to_raft_hard(&hard), conf);
        let mut ledger = Ledger::new(writer, frames, hard_at, life);
        let first = |snapshot, entries| Frame { kind: FrameKind::Ready, hard: Some(hard), snapshot, entries };
        match start {
            LogStart::Continues => {}
            LogStart::Fresh => ledger.push(first(None, entries.clone())),
            LogStart::Extended { kept } => ledger.push(first(None, entries[kept..].to_vec())),
            LogStart::BehindCheckpoint => ledger.push(first(Some(truncated), entries.clone())),
        }
        tail.append(entries.into_iter().map(to_raft_entry).collect());
        let raft_config = raft::Config {
            id: config.id.0,
            election_tick: config.election_ticks as usize,
            heartbeat_tick: 1,
            applied: truncated.0.0,
            check_quorum: true,
            pre_vote: config.pre_vote,
            // raft-rs 0.7.0 adds entries to a queued append that has none, whatever entry that one follows.
            batch_append: false,
            max_size_per_msg: config.append_bytes_max,
            max_inflight_msgs: 256,
            max_uncommitted_size: config.uncommitted_bytes_max,
            max_committed_size_per_ready: COMMITTED_BYTES_IN_A_READY_MAX,
            ..raft::Config::default()
        };
        let logger = Logger::root(Discard, o!());
        let raw = RawNode::new(&raft_config, tail, &logger).expect("the configuration is valid");
        let (attempt, install, detached, farewell) = (0, Install::None, false, Farewell::default());
        let mut consensus =
            Consensus { raw, config, seed, attempt, ledger, install, detached, farewell, changes };
        consensus.redraw_election_timeout();
        consensus
    }

    /// One heartbeat interval has passed.
    pub fn tick(&mut self) {
        // Between a snapshot in the log and its State raft-rs cannot campaign: it would look for entries
        // that the snapshot replaced.
        if self.detached || self.is_installing() {
            return;
        }
        if self.is_sole_voter() && !self.is_leader() {
            if self.knows_half_a_beginning() {
                return;
            }
            // A sole voter that campaigns over an undurable tail would count entries it may lose.
            if self.is_settled() && !self.raw.has_ready() {
                // Nobody else can be elected: no need to wait for the election timeout.
                // An error means unapplied conf changes; the next tick tries again.
                let _refused_until_applied = self.raw.campaign();
            }
        } else if self.raw.tick() && !self.is_leader() {
            self.attempt += 1;
        }
        self.redraw_election_timeout();
    }

    /// Whether others lead in a cluster of whose beginning this member may have a part alone: it is sent the log from the
    /// first entry on, since it lost its disk before the cluster knew it, and is the only voter of what it has so far.
    fn knows_half_a_beginning(&self) -> bool {
        let raft = &self.raw.raft;
        let is_of_others = raft.term > BOOTSTRAP_TERM.0 && raft.vote != raft.id;
        is_of_others && raft.raft_log.last_term() <= BOOTSTRAP_TERM.0
    }

    /// A member's raft speaks. Errors: what it says cannot be taken.
    pub fn step(&mut self, from: MemberId, message: Message) -> Result<(), Refused> {
        if self.detached {
            self.step_detached(from, &message);
            return Ok(());
        }
        check(&message, from.0, self.receiver())?;
        if !self.is_too_early(&message) {
            self.step_checked(message);
        }
        Ok(())
    }

    /// Whether it would have raft-rs campaign, or lead, over a log that is not on disk.
    fn is_too_early(&self, message: &Message) -> bool {
        match message.get_msg_type() {
            // Nobody hands leadership to a sole voter; it campaigns with its ticks.
            MessageType::MsgTimeoutNow => self.is_installing() || self.is_sole_voter(),
            // The request for this vote cannot have left yet.
            MessageType::MsgRequestVoteResponse => !self.is_settled(),
            _ => false,
        }
    }

    /// The state that `announcement` names is whole on this disk: raft decides whether it replaces the log.
    /// True if it does; State has to be replaced when `take_installed` says so. `conf` is the state's own
    /// configuration. Errors: no correct member announces it so.
    pub fn step_snapshot(
        &mut self,
        from: MemberId,
        announcement: Message,
        conf: &ConfState,
    ) -> Result<bool, Refused> {
        assert!(!self.is_installing(), "one snapshot at a time");
        if self.detached {
            return Ok(false);
        }
        check_announcement(&announcement, from.0, self.receiver(), conf)?;
        self.step_checked(announcement);
        Ok(self.raw.snap().is_some())
    }

    fn step_checked(&mut self, message: Message) {
        // Errors: a response of a member that left the configuration; it says nothing to anybody.
        let _stranger = self.raw.step(message);
        self.redraw_election_timeout();
    }

    fn receiver(&self) -> Receiver {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        Receiver { id: raft.id, term: raft.term, leads, last_index: raft.raft_log.last_index() }
    }

    /// Mail to `member` was lost: a leader probes before it sends more.
    pub fn report_unreachable(&mut self, member: MemberId) {
        if !self.detached {
            self.raw.report_unreachable(member.0);
        }
    }

    /// The transfer of State to `member` is over. Each laggard that `drain` named is reported once.
    pub fn report_snapshot(&mut self, member: MemberId, is_whole: bool) {
        if !self.detached {
            let status = if is_whole { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
            self.raw.report_snapshot(member.0, status);
        }
    }

    /// Hands leadership to a voter; raft gives up after an election timeout.
    pub fn transfer_leader(&mut self, member: MemberId) {
        assert!(self.is_leader(), "only a leader can hand over");
        self.raw.transfer_leader(member.0);
        self.redraw_election_timeout();
    }

    /// Frames up to `through` are on disk.
    pub fn on_persisted(&mut self, through: Lsn) {
        self.ledger.on_persisted(through);
        self.release_readies();
    }

    /// Puts commands in the log, all or none. Only on the leader.
    pub fn propose(&mut self, commands: impl IntoIterator<Item = Bytes>) -> Result<(), Dropped> {
        assert!(self.is_leader(), "raft-rs would forward the proposal by itself");
        let entries: Vec<Entry> =
            commands.into_iter().map(|data| Entry { data, ..Entry::default() }).collect();
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.config.id.0;
        message.set_entries(entries.into());
        let result = self.raw.step(message);
        self.redraw_election_timeout();
        result.map_err(|_| match self.raw.raft.lead_transferee {
            Some(_) => Dropped::Transfer,
            None => Dropped::Overload,
        })
    }

    /// Puts a membership change in the log. Only on the leader; one at a time until it is applied.
    ///
    /// `MsgPropose` would have raft-rs parse the entry as protobuf. What it does beside that is done here:
    /// at most one unapplied change, in a configuration that is not joint (ours never is).
    /// Source: raft-rs 0.7.0 `raft.rs`, `step_leader`.
    pub fn propose_conf(&mut self, data: Bytes) -> Result<(), Dropped> {
        assert!(self.is_leader(), "only a leader has a log of its own");
        if self.has_open_change() {
            return Err(Dropped::PendingConf);
        }
        let raft = &mut self.raw.raft;
        if raft.lead_transferee.is_some() {
            return Err(Dropped::Transfer);
        }
        let index = raft.raft_log.last_index() + 1;
        let entry = Entry { entry_type: EntryType::EntryConfChange, data, ..Entry::default() };
        if !raft.append_entry(&mut [entry]) {
            return Err(Dropped::Overload);
        }
        raft.pending_conf_index = index;
        raft.bcast_append();
        self.redraw_election_timeout();
        Ok(())
    }

    /// Starts a round that confirms leadership; `number`, never used before in this life, comes back in
    /// `Outcome::reads`. False while the leader has committed nothing in its term: raft-rs would drop the
    /// round silently.
    pub fn read_round(&mut self, number: u64) -> bool {
        if !self.is_leader() || !self.raw.raft.commit_to_current_term() {
            return false;
        }
        let mut context = Vec::with_capacity(16);
        context.extend_from_slice(&self.raw.raft.term.to_le_bytes());
        context.extend_from_slice(&number.to_le_bytes());
        self.raw.read_index(context);
        true
    }

    /// Everything raft has ready: frames into the buffer, mail to the ledger, committed entries and read
    /// rounds out.
    pub fn drain(&mut self, outcome: &mut Outcome) {
        let mut rounds = 0;
        while rounds < READIES_IN_A_TURN_MAX
            && outcome.committed.len() < COMMITTED_WAITING_MAX
            && self.has_ready()
        {
            rounds += 1;
            let mut ready = self.raw.ready();
            if let Some(hard) = ready.hs() {
                self.raw.mut_store().hard = hard.clone();
                self.ledger.want_hard();
            }
            let snapshot = (!ready.snapshot().is_empty()).then(|| marker_of(ready.snapshot()));
            let changes_members = self.changes.take_committed(ready.entries(), self.raw.store().hard.commit);
            if ready.must_sync() || changes_members {
                let entries = ready.entries().iter().map(to_wal_entry).collect();
                let hard = self.ledger.is_hard_pending().then(|| to_wal_hard(&self.raw.store().hard));
                self.ledger.push(Frame { kind: FrameKind::Ready, hard, snapshot, entries });
            }
            if changes_members {
                self.ledger.hold_all_mail();
            }
            if let Some((index, term)) = snapshot {
                let conf = ready.snapshot().get_metadata().get_conf_state().clone();
                self.raw.mut_store().replace(index.0, term.0, conf);
                self.install = Install::Written { number: ready.number(), index, term };
                // The snapshot has them all; their configuration changes must not be applied over its own.
                outcome.committed.clear();
            }
            self.raw.mut_store().append(ready.take_entries());
            self.post(ready.take_messages(), true, outcome);
            self.post(ready.take_persisted_messages(), false, outcome);
            outcome.reads.extend(ready.take_read_states().into_iter().filter_map(read_of));
            outcome.committed.extend(ready.take_committed_entries().into_iter().map(committed_of));
            self.ledger.record_ready(ready.number());
            self.raw.advance_append_async(ready);
            self.release_readies();
        }
        self.redraw_election_timeout();
    }

    /// Gives mail to the ledger; announcements of snapshots go out with the state, not by themselves.
    fn post(&mut self, messages: Vec<Message>, by_leader: bool, outcome: &mut Outcome) {
        for message in messages {
            match message.get_msg_type() {
                MessageType::MsgSnapshot => outcome.laggards.push(MemberId(message.to)),
                _ => self.ledger.hold(message, by_leader),
            }
        }
    }

    /// Mail that may leave now.
    pub fn take_mail(&mut self, mail: &mut Vec<Message>) {
        self.ledger.take_mail(mail);
    }

    /// Whether `drain` or `take_mail` has left something for the next turn.
    pub fn has_ready(&self) -> bool {
        !self.detached && self.raw.has_ready()
    }

    /// Entries up to `index` are in State; what `keep` allows of them stays for followers.
    pub fn on_applied(&mut self, index: LogIndex, term: Term, keep: Keep) {
        if self.detached {
            return;
        }
        self.raw.advance_apply_to(index.0);
        let tail_bytes_max = if self.is_alone() { 0 } else { keep.tail_bytes_max };
        self.raw.mut_store().on_applied(index.0, term.0);
        if self.raw.store().exceeds(tail_bytes_max) {
            let floor = self.needed_by_followers().unwrap_or(u64::MAX);
            self.raw.mut_store().truncate_to(index.0, tail_bytes_max, floor, keep.lag_bytes_max);
        }
    }

    /// The entry before the first one that a follower in reach still needs, or that one being sent the state
    /// will: without them it would be sent the state again and again under steady writes.
    fn needed_by_followers(&self) -> Option<u64> {
        if !self.is_leader() {
            return None;
        }
        let followers = self.raw.raft.prs().iter().filter(|(id, _)| **id != self.config.id.0);
        let in_reach = followers.filter(|(_, progress)| progress.recent_active);
        in_reach
            .map(|(_, progress)| match progress.state {
                ProgressState::Snapshot => progress.matched.max(progress.pending_snapshot),
                _ => progress.matched,
            })
            .min()
    }

    /// Applies a configuration change that `drain` handed out.
    pub fn apply_conf_change(&mut self, change: &ConfChange) {
        if self.detached {
            return;
        }
        let conf = self.raw.apply_conf_change(change).expect("single steps, in log order, are valid");
        self.raw.mut_store().conf = conf;
        self.redraw_election_timeout();
    }

    /// This member is no part of the cluster any more, by the entry at `index`. raft-rs 0.7.0 cannot lead, nor
    /// take completions as a leader, outside its own configuration: from here on only mail on its way leaves,
    /// and a leader's farewell.
    pub fn detach(&mut self, index: LogIndex, outcome: &mut Outcome) {
        self.drain(outcome);
        outcome.committed.clear();
        self.farewell = Farewell::of(index, self);
        self.detached = true;
    }

    /// Index and term of a snapshot whose word in the log is durable, once: State has to be replaced by
    /// what was received, and `on_applied` follows.
    pub fn take_installed(&mut self) -> Option<(LogIndex, Term)> {
        let Install::Durable { index, term } = self.install else { return None };
        self.install = Install::None;
        Some((index, term))
    }

    /// Whether a snapshot replaced the log and State has not followed yet: nothing is applied meanwhile.
    pub fn is_installing(&self) -> bool {
        self.install != Install::None || self.raw.snap().is_some()
    }

    /// Frames for an `Append`, if there are any and the last append is durable.
    pub fn take_frames(&mut self) -> Option<(Bytes, Lsn)> {
        self.ledger.take_frames()
    }

    /// Whether this life's boot record, and with it everything that replay found, is durable.
    pub fn is_booted(&self) -> bool {
        self.ledger.is_booted()
    }

    /// Whether everything that had to be synced is durable. Only then may State be checkpointed:
    /// raft-rs can count an overwritten entry as persisted before its last copy is.
    pub fn is_settled(&self) -> bool {
        self.ledger.is_settled()
    }

    /// Whether the term we may lead in is on disk.
    pub fn is_vote_durable(&self) -> bool {
        self.ledger.is_vote_durable()
    }

    /// Makes the next frame carry the hard state, so that frames before it can be reclaimed.
    pub fn refresh_hard_state(&mut self) {
        self.ledger.want_hard();
    }

    /// Gives up the frames that a checkpoint at `index` makes dispensable; the last one of them.
    pub fn reclaim(&mut self, index: LogIndex) -> Lsn {
        self.ledger.reclaim(index)
    }

    /// Bytes of frames with entries behind `index`: what a replay from there would read.
    pub fn bytes_behind(&self, index: LogIndex) -> u64 {
        self.ledger.bytes_behind(index)
    }

    pub fn is_leader(&self) -> bool {
        !self.detached && self.raw.raft.state == StateRole::Leader
    }

    /// The configuration as of the last applied entry.
    pub fn conf(&self) -> &ConfState {
        &self.raw.store().conf
    }

    /// Term of a log entry still in memory, or of the one just before.
    pub fn term_of(&self, index: LogIndex) -> Option<Term> {
        self.raw.store().term(index.0).ok().map(Term)
    }

    /// Committed entries behind the checkpoint that this log holds, for tests and replay checks.
    pub fn entries_from(&self, low: LogIndex) -> Vec<wal::Entry> {
        let high = self.raw.raft.raft_log.committed + 1;
        let store = self.raw.store();
        let entries = store.entries(low.0, high, None, GetEntriesContext::empty(false));
        entries.unwrap_or_default().iter().map(to_wal_entry).collect()
    }

    /// Whether this member is the whole quorum, by the configuration applied so far.
    pub fn is_sole_voter(&self) -> bool {
        let voters = self.raw.raft.prs().conf().voters();
        voters.ids().len() == 1 && voters.contains(self.config.id.0)
    }

    /// Whether nobody follows or leads us.
    fn is_alone(&self) -> bool {
        self.is_sole_voter() && self.raw.raft.prs().conf().learners().is_empty()
    }

    fn release_readies(&mut self) {
        let Some(last) = self.ledger.take_persisted_ready() else { return };
        if self.detached {
            return;
        }
        self.raw.on_persist_ready(last);
        if let Install::Written { number, index, term } = self.install
            && number <= last
        {
            self.install = Install::Durable { index, term };
        }
    }

    /// raft-rs draws from the thread's generator; what we draw is a function of seed and history.
    fn redraw_election_timeout(&mut self) {
        let ticks = u64::from(self.config.election_ticks);
        let draw =
            mix(self.seed ^ mix(self.config.id.0) ^ mix(self.raw.raft.term).rotate_left(17) ^ self.attempt);
        self.raw.raft.set_randomized_election_timeout((ticks + draw % ticks) as usize);
    }
}
