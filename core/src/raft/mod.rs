//! Consensus: raft-rs under the boundary's contract, with the ledger of what is durable.
//!
//! raft-rs counts everything in `Tail` as persisted. The ledger knows better: each `Ready` that must be
//! synced becomes one log frame, and raft-rs hears of its persistence only when the frame's `Lsn` is
//! durable. So committed entries, and with them replies, always rest on this member's own disk.
//!
//! Source: Raft thesis §3.5, §6.4, §10.2.1; raft-rs 0.7.0 `raw_node.rs` (async ready).

mod tail;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use raft::eraftpb::{ConfChange, ConfState, Entry, EntryType, HardState, Message, MessageType};
use raft::{GetEntriesContext, RawNode, StateRole, Storage};
use slog::{Discard, Logger, o};

use crate::base::{LogIndex, Lsn, MemberId, Term};
use crate::wal::{self, EntryFrame, Frame, FrameKind, FrameWriter};
use tail::Tail;

/// Readies in one turn; raft-rs yields one or two, and many only behind a long log at open.
const READIES_IN_A_TURN_MAX: u32 = 64;

/// Committed entries that may wait for apply; above it raft waits too.
const COMMITTED_WAITING_MAX: usize = 8192;

/// Bytes of committed entries that one Ready hands out; the rest follows in the next.
const COMMITTED_BYTES_IN_A_READY_MAX: u64 = 8 << 20;

/// Timing and identity of the local raft.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    pub id: MemberId,
    /// Ticks without a leader before an election; randomised up to twice that.
    pub election_ticks: u32,
    pub pre_vote: bool,
    /// Uncommitted bytes above which raft drops proposals.
    pub uncommitted_bytes_max: u64,
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
    /// `Some` on an empty data directory: the first frames must carry `entries` and `hard` themselves.
    pub fresh: bool,
    /// Drawn for this life; makes its first frame unlike any other.
    pub life: u64,
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
}

/// Why a proposal was not taken; it will not enter the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped;

/// raft-rs with its ledger.
pub struct Consensus {
    raw: RawNode<Tail>,
    config: RaftConfig,
    seed: u64,
    /// Elections begun, so that each draws another timeout.
    attempt: u64,
    ledger: Ledger,
    read_counter: u64,
}

/// What was handed to the disk and what came back.
struct Ledger {
    writer: FrameWriter,
    /// Frames of the next append.
    buffer: BytesMut,
    /// Last frame handed out. One append at a time: while it is on its way, frames gather behind it,
    /// and each frame names the append it goes with.
    handed_out: Lsn,
    /// Last frame made.
    end: Lsn,
    /// Last frame known to be on disk.
    durable: Lsn,
    /// Last frame that had to be synced: what later effects rest on.
    barrier: Lsn,
    /// The boot record of this life.
    boot: Lsn,
    /// Readies whose frames are not yet durable: raft-rs number, barrier at that time.
    readies: VecDeque<(u64, Lsn)>,
    /// The hard state moved without a frame of its own (commit only).
    hard_pending: bool,
    /// Last durable frame that carries a hard state: the log is kept back to it.
    hard_at: Lsn,
    /// Frames with a hard state that are on their way.
    hard_on_its_way: VecDeque<Lsn>,
    /// Frames with entries, oldest first.
    frames: VecDeque<EntryFrame>,
}

impl Consensus {
    /// Starts raft on what the log says and puts the boot record, which gates everything, in the buffer.
    pub fn open(config: RaftConfig, boot: RaftBoot, seed: u64) -> Consensus {
        let RaftBoot { truncated, entries, hard, conf, frames, hard_at, writer, fresh, life } = boot;
        let mut tail = Tail::new((truncated.0.0, truncated.1.0), to_raft_hard(&hard), conf);
        let mut ledger = Ledger::new(writer, frames, hard_at, life);
        if fresh {
            ledger.push(Frame {
                kind: FrameKind::Ready,
                hard: Some(hard),
                snapshot: None,
                entries: entries.clone(),
            });
        }
        tail.append(entries.into_iter().map(to_raft_entry).collect());
        let raft_config = raft::Config {
            id: config.id.0,
            election_tick: config.election_ticks as usize,
            heartbeat_tick: 1,
            applied: truncated.0.0,
            check_quorum: true,
            pre_vote: config.pre_vote,
            batch_append: true,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            max_uncommitted_size: config.uncommitted_bytes_max,
            max_committed_size_per_ready: COMMITTED_BYTES_IN_A_READY_MAX,
            ..raft::Config::default()
        };
        let logger = Logger::root(Discard, o!());
        let raw = RawNode::new(&raft_config, tail, &logger).expect("the configuration is valid");
        let mut consensus = Consensus { raw, config, seed, attempt: 0, ledger, read_counter: 0 };
        consensus.redraw_election_timeout();
        consensus
    }

    /// One heartbeat interval has passed.
    pub fn tick(&mut self) {
        // A sole voter that campaigns over an undurable tail would count entries it may lose.
        if self.is_sole_voter() && !self.is_settled() {
            return;
        }
        if self.is_sole_voter() && !self.is_leader() {
            // Nobody else can be elected: no need to wait for the election timeout.
            // An error means unapplied conf changes; the next tick tries again.
            let _refused_until_applied = self.raw.campaign();
        } else if self.raw.tick() && !self.is_leader() {
            self.attempt += 1;
        }
        self.redraw_election_timeout();
    }

    /// Frames up to `through` are on disk.
    pub fn on_persisted(&mut self, through: Lsn) {
        assert!(through <= self.ledger.handed_out, "the shell reports only what it was given");
        let ledger = &mut self.ledger;
        ledger.durable = ledger.durable.max(through);
        while let Some(lsn) = ledger.hard_on_its_way.pop_front_if(|lsn| *lsn <= ledger.durable) {
            ledger.hard_at = lsn;
        }
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
        result.map_err(|_| Dropped)
    }

    /// Starts a round that confirms leadership; its number comes back in `Outcome::reads`.
    /// `None` while the leader has committed nothing in its term: raft-rs would drop the round silently.
    pub fn read_round(&mut self) -> Option<u64> {
        if !self.is_leader() || !self.raw.raft.commit_to_current_term() {
            return None;
        }
        self.read_counter += 1;
        let mut context = Vec::with_capacity(16);
        context.extend_from_slice(&self.raw.raft.term.to_le_bytes());
        context.extend_from_slice(&self.read_counter.to_le_bytes());
        self.raw.read_index(context);
        Some(self.read_counter)
    }

    /// Everything raft has ready: frames into the buffer, committed entries and read rounds out.
    pub fn drain(&mut self, outcome: &mut Outcome) {
        let mut rounds = 0;
        while rounds < READIES_IN_A_TURN_MAX
            && outcome.committed.len() < COMMITTED_WAITING_MAX
            && self.raw.has_ready()
        {
            rounds += 1;
            let mut ready = self.raw.ready();
            if let Some(hard) = ready.hs() {
                self.raw.mut_store().hard = hard.clone();
                self.ledger.hard_pending = true;
            }
            if ready.must_sync() {
                let entries = ready.entries().iter().map(to_wal_entry).collect();
                let hard = self.ledger.hard_pending.then(|| to_wal_hard(&self.raw.store().hard));
                self.ledger.push(Frame { kind: FrameKind::Ready, hard, snapshot: None, entries });
            }
            self.raw.mut_store().append(ready.take_entries());
            assert!(ready.take_messages().is_empty(), "a sole voter has nobody to write to");
            assert!(ready.take_persisted_messages().is_empty(), "a sole voter has nobody to write to");
            outcome.reads.extend(ready.take_read_states().into_iter().filter_map(read_of));
            outcome.committed.extend(ready.take_committed_entries().into_iter().map(committed_of));
            self.ledger.readies.push_back((ready.number(), self.ledger.barrier));
            self.raw.advance_append_async(ready);
            self.release_readies();
        }
        self.redraw_election_timeout();
    }

    /// Whether `drain` has left something for the next turn.
    pub fn has_ready(&self) -> bool {
        self.raw.has_ready()
    }

    /// Entries up to `index` are in State; at most `tail_bytes_max` of them stay for followers.
    pub fn on_applied(&mut self, index: LogIndex, tail_bytes_max: u64) {
        self.raw.advance_apply_to(index.0);
        let keep = if self.is_sole_voter() { 0 } else { tail_bytes_max };
        self.raw.mut_store().truncate_to(index.0, keep);
    }

    /// Applies a configuration change that `drain` handed out; gives the configuration after it.
    pub fn apply_conf_change(&mut self, change: &ConfChange) -> Option<ConfState> {
        let conf = self.raw.apply_conf_change(change).ok()?;
        self.raw.mut_store().conf = conf.clone();
        self.redraw_election_timeout();
        Some(conf)
    }

    /// Frames for an `Append`, if there are any and the last append is durable.
    pub fn take_frames(&mut self) -> Option<(Bytes, Lsn)> {
        let ledger = &mut self.ledger;
        if ledger.buffer.is_empty() || ledger.durable < ledger.handed_out {
            return None;
        }
        ledger.handed_out = ledger.end;
        Some((ledger.buffer.split().freeze(), ledger.end))
    }

    /// Whether this life's boot record, and with it everything that replay found, is durable.
    pub fn is_booted(&self) -> bool {
        self.ledger.durable >= self.ledger.boot
    }

    /// Whether everything that had to be synced is durable. Only then may State be checkpointed:
    /// raft-rs can count an overwritten entry as persisted before its last copy is.
    pub fn is_settled(&self) -> bool {
        self.ledger.durable >= self.ledger.barrier
    }

    /// Makes the next frame carry the hard state, so that frames before it can be reclaimed.
    pub fn refresh_hard_state(&mut self) {
        self.ledger.hard_pending = true;
    }

    /// Gives up the frames that a checkpoint at `index` makes dispensable; the last one of them.
    pub fn reclaim(&mut self, index: LogIndex) -> Lsn {
        let ledger = &mut self.ledger;
        let mut needed = ledger.hard_at;
        if let Some(frame) = ledger.frames.iter().find(|frame| frame.last > index) {
            needed = needed.min(frame.lsn);
        }
        while ledger.frames.front().is_some_and(|frame| frame.lsn < needed) {
            ledger.frames.pop_front();
        }
        Lsn(needed.0.saturating_sub(1))
    }

    /// Bytes of frames with entries behind `index`: what a replay from there would read.
    pub fn bytes_behind(&self, index: LogIndex) -> u64 {
        let behind = self.ledger.frames.iter().rev().take_while(|frame| frame.last > index);
        behind.map(|frame| frame.bytes).sum()
    }

    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// The leader as far as we know.
    pub fn leader(&self) -> Option<MemberId> {
        (self.raw.raft.leader_id != 0).then_some(MemberId(self.raw.raft.leader_id))
    }

    pub fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    pub fn committed(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.committed)
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

    fn is_sole_voter(&self) -> bool {
        let voters = self.raw.raft.prs().conf().voters();
        voters.ids().len() == 1 && voters.contains(self.config.id.0)
    }

    fn release_readies(&mut self) {
        let mut last = None;
        while let Some((number, barrier)) = self.ledger.readies.front()
            && *barrier <= self.ledger.durable
        {
            last = Some(*number);
            self.ledger.readies.pop_front();
        }
        if let Some(number) = last {
            self.raw.on_persist_ready(number);
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

impl Ledger {
    fn new(writer: FrameWriter, frames: VecDeque<EntryFrame>, hard_at: Lsn, life: u64) -> Ledger {
        let end = writer.last();
        let mut ledger = Ledger {
            writer,
            buffer: BytesMut::new(),
            handed_out: end,
            end,
            durable: end,
            barrier: end,
            boot: Lsn(end.0 + 1),
            readies: VecDeque::new(),
            hard_pending: true,
            hard_at,
            hard_on_its_way: VecDeque::new(),
            frames,
        };
        ledger.push(Frame {
            kind: FrameKind::Boot { life },
            hard: None,
            snapshot: None,
            entries: Vec::new(),
        });
        ledger
    }

    fn push(&mut self, frame: Frame) {
        let before = self.buffer.len();
        let batch = Lsn(self.handed_out.0 + 1);
        let lsn = self.writer.push(&frame, batch, &mut self.buffer);
        assert_eq!(lsn.0, self.end.0 + 1, "frames are numbered without gaps");
        self.end = lsn;
        self.barrier = lsn;
        if frame.hard.is_some() {
            self.hard_pending = false;
            self.hard_on_its_way.push_back(lsn);
        }
        if let Some(last) = frame.entries.last() {
            let bytes = (self.buffer.len() - before) as u64;
            self.frames.push_back(EntryFrame { lsn, last: last.index, bytes });
        }
    }
}

/// splitmix64's finaliser.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn to_raft_hard(hard: &wal::HardState) -> HardState {
    HardState { term: hard.term.0, vote: hard.vote.0, commit: hard.commit.0, ..HardState::default() }
}

fn to_wal_hard(raft: &HardState) -> wal::HardState {
    wal::HardState { term: Term(raft.term), vote: MemberId(raft.vote), commit: LogIndex(raft.commit) }
}

fn to_raft_entry(entry: wal::Entry) -> Entry {
    let entry_type = match entry.kind {
        wal::EntryKind::Normal => EntryType::EntryNormal,
        wal::EntryKind::Conf => EntryType::EntryConfChange,
    };
    let (index, term) = (entry.index.0, entry.term.0);
    Entry { entry_type, index, term, data: entry.data, ..Entry::default() }
}

fn to_wal_entry(raft: &Entry) -> wal::Entry {
    wal::Entry {
        index: LogIndex(raft.index),
        term: Term(raft.term),
        kind: match raft.get_entry_type() {
            EntryType::EntryNormal => wal::EntryKind::Normal,
            EntryType::EntryConfChange => wal::EntryKind::Conf,
            EntryType::EntryConfChangeV2 => unreachable!("only single-step changes are proposed"),
        },
        data: raft.data.clone(),
    }
}

fn committed_of(entry: Entry) -> Committed {
    let payload = match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => Payload::Empty,
        EntryType::EntryNormal => Payload::Command(entry.data),
        _ => Payload::Conf(entry.data),
    };
    Committed { index: LogIndex(entry.index), term: Term(entry.term), payload }
}

fn read_of(state: raft::ReadState) -> Option<(u64, LogIndex)> {
    let counter: [u8; 8] = state.request_ctx.get(8..16)?.try_into().ok()?;
    Some((u64::from_le_bytes(counter), LogIndex(state.index)))
}
