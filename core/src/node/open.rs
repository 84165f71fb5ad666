//! Opening a node: from what replay found on disk, or from a bootstrap on an empty one.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use raft::eraftpb::ConfState;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::auto_compaction::{AutoCompaction, AutoCompactor};
use super::{Checkpointing, Cluster, Identities, Node, Promotions, Proposals, Transfers};
use crate::admit::AdmitConfig;
use crate::apply::Applier;
use crate::base::{Instant, LogIndex, Lsn, MemberId, Term};
use crate::boundary::Limits;
use crate::command::CommandHeader;
use crate::conf::{ConfChangeKind, ConfCommand, conf_state};
use crate::lease::Deadlines;
use crate::members::Bootstrap;
use crate::raft::{BOOTSTRAP_TERM, Consensus, LogStart, Outcome, RaftBoot, RaftConfig};
use crate::read::Reads;
use crate::recover::Found;
use crate::state::State;
use crate::wal::{self, FrameWriter, Identity};
use crate::watch::{WatchConfig, WatchHub};

/// What a member's flags say; read once.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--name`.
    pub name: String,
    /// `--advertise-client-urls`.
    pub client_urls: Vec<String>,
    /// `--heartbeat-interval`: length of a tick.
    pub heartbeat_ns: u64,
    /// `--election-timeout` in ticks.
    pub election_ticks: u32,
    /// `--pre-vote`.
    pub pre_vote: bool,
    /// `--watch-progress-notify-interval`.
    pub watch_progress_ns: u64,
    /// Time between two checkpoints of a lease's remaining time; `None`: there are none, the default
    /// (`--feature-gates=LeaseCheckpoint`).
    pub lease_checkpoint_ns: Option<u64>,
    /// `None`: nothing is compacted unless somebody asks for it.
    pub auto_compaction: Option<AutoCompaction>,
    /// `--auth-token-ttl`.
    pub auth_token_ttl_ns: u64,
    /// Newest version of State that this program knows: `STATE_VERSION`, or less where an earlier release is played.
    pub state_version_max: u32,
    pub admit: AdmitConfig,
    pub limits: Limits,
    /// Who we are: derived at bootstrap, read from the log afterwards.
    pub identity: Identity,
}

impl Config {
    pub(super) fn election_timeout_ns(&self) -> u64 {
        u64::from(self.election_ticks) * self.heartbeat_ns
    }

    /// TO-1: five seconds and two election timeouts.
    pub(super) fn request_timeout_ns(&self) -> u64 {
        5_000_000_000 + 2 * self.election_timeout_ns()
    }
}

/// What a node starts from.
pub enum Boot {
    /// An empty data directory.
    Fresh(Start),
    /// What recovery found. The start counts only if the first life ended before it was in the log.
    Existing(Box<Found>, Start),
    /// What recovery found, to go on alone with (`--force-new-cluster`): the other members are lost for good.
    ForceNewCluster(Box<Found>),
}

/// How a member's first life begins.
pub enum Start {
    /// With the other members of a new cluster, all of which begin with the same log.
    New(Bootstrap),
    /// As a member that an existing cluster has added: its log comes from there.
    Join,
}

/// Why a node cannot be opened; nothing on disk has been changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The local name is not among the initial members.
    NameNotInCluster { name: String },
    /// A first start that stored nothing was made with another initial cluster or token.
    BootstrapChanged { member_id: MemberId },
    /// The cluster has removed this member for good (CL-3).
    Removed { member_id: MemberId },
    /// There is nothing here to go on alone with.
    NoMembership { member_id: MemberId },
    /// The log starts behind the checkpoint, or behind the beginning without one.
    LogStartsTooLate { needed: LogIndex, found: LogIndex },
    /// Entries that the log knows to be committed are neither in it nor in the checkpoint: newer checkpoints
    /// that held them do not verify.
    CommittedLost { committed: LogIndex, found: LogIndex },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::NameNotInCluster { name } => {
                write!(f, "couldn't find local name \"{name}\" in the initial cluster configuration")
            }
            BootError::BootstrapChanged { member_id } => write!(
                f,
                "the data directory was begun by member {member_id:x} of another initial cluster or token and holds nothing yet: remove it"
            ),
            BootError::Removed { member_id } => {
                write!(f, "the member has been permanently removed from the cluster (member {member_id:x})")
            }
            BootError::NoMembership { member_id } => write!(
                f,
                "--force-new-cluster: nothing committed in this data directory says that member {member_id:x} belongs to a cluster"
            ),
            BootError::LogStartsTooLate { needed, found } => {
                write!(
                    f,
                    "the log starts at entry {found}, but entry {needed} is needed behind the checkpoint"
                )
            }
            BootError::CommittedLost { committed, found } => write!(
                f,
                "entry {committed} is committed, but checkpoint and log end at entry {found}: a newer checkpoint is damaged"
            ),
        }
    }
}

impl std::error::Error for BootError {}

impl Node {
    /// Opens a member on what is on its disk. `seed` decides everything that is drawn.
    /// Errors: data that cannot be trusted or a configuration that is not supported.
    pub fn open(config: Config, boot: Boot, seed: u64, now: Instant) -> Result<Node, BootError> {
        let id = config.identity.member_id;
        let (state, raft_boot) = start_from(boot, id, seed)?;
        if state.members.is_removed(id) {
            return Err(BootError::Removed { member_id: id });
        }
        let epoch = raft_boot.writer.last().0 + 1;
        let raft_config = RaftConfig {
            id,
            election_ticks: config.election_ticks,
            pre_vote: config.pre_vote,
            uncommitted_bytes_max: config.limits.proposals_bytes_max,
            append_bytes_max: config.limits.append_bytes_max,
        };
        let limits = config.limits.clone();
        let watch_config = WatchConfig {
            credit_bytes: limits.watch_credit_bytes,
            revisions_max: limits.watch_revisions_max,
            progress_interval_ns: config.watch_progress_ns,
        };
        let consensus = Consensus::open(raft_config, raft_boot, seed);
        let compactor = |policy| AutoCompactor::new(policy, now, state.kv.revision());
        let auto_compactor = config.auto_compaction.map(compactor);
        Ok(Node {
            id,
            rng: ChaCha8Rng::seed_from_u64(seed),
            db_size_bytes: state.kv.bytes(),
            checkpoint: Checkpointing::new(state.applied, now),
            state,
            identities: Identities::new(config.auth_token_ttl_ns, consensus.last_index()),
            consensus,
            outcome: Outcome::default(),
            applier: Applier::new(config.state_version_max),
            proposals: Proposals::new(epoch),
            reads: Reads::default(),
            reads_from: LogIndex(0),
            watch: WatchHub::new(watch_config, seed),
            auto_compactor,
            deadlines: Deadlines::new(config.admit.lease_ttl_min_s)
                .with_checkpoints(config.lease_checkpoint_ns),
            promotions: Promotions::default(),
            transfers: Transfers::default(),
            cluster: Cluster::default(),
            compact_waiters: Vec::new(),
            defrag_waiters: Vec::new(),
            early: Vec::new(),
            is_open: false,
            is_connected: false,
            was_leader: false,
            publication: Default::default(),
            halted: false,
            question: 0,
            mail: Vec::new(),
            limits,
            config,
        })
    }
}

/// State and log as this life finds them. `life` makes its first frame unlike any other.
fn start_from(boot: Boot, id: MemberId, life: u64) -> Result<(State, RaftBoot), BootError> {
    match boot {
        Boot::Fresh(start) => fresh(&start, FrameWriter::new(Lsn(0), 0), life),
        Boot::Existing(found, start) if found.is_bare() => {
            if let Start::New(bootstrap) = &start
                && bootstrap.member_id() != Some(id)
            {
                return Err(BootError::BootstrapChanged { member_id: id });
            }
            fresh(&start, found.log.writer, life)
        }
        Boot::Existing(found, _) => existing(*found, life),
        Boot::ForceNewCluster(found) => {
            let (state, mut boot) = existing(*found, life)?;
            go_alone(id, &state, &mut boot)?;
            Ok((state, boot))
        }
    }
}

/// A new cluster's log: one conf change for each member, committed at term 1 (as etcd bootstraps). A member
/// that joins has none.
fn fresh(start: &Start, writer: FrameWriter, life: u64) -> Result<(State, RaftBoot), BootError> {
    let members = match start {
        Start::New(bootstrap) if bootstrap.member_id().is_none() => {
            return Err(BootError::NameNotInCluster { name: bootstrap.name.clone() });
        }
        Start::New(bootstrap) => bootstrap.members(),
        Start::Join => Vec::new(),
    };
    let entries: Vec<wal::Entry> = (1..)
        .zip(members)
        .map(|(index, member)| wal::Entry {
            index: LogIndex(index),
            term: BOOTSTRAP_TERM,
            kind: wal::EntryKind::Conf,
            data: ConfCommand::bootstrap(member).encode(),
        })
        .collect();
    let commit = LogIndex(entries.len() as u64);
    let term = if entries.is_empty() { Term(0) } else { BOOTSTRAP_TERM };
    let hard = wal::HardState { term, vote: MemberId(0), commit };
    let truncated = (LogIndex(0), Term(0));
    let conf = ConfState::default();
    let (frames, hard_at) = (VecDeque::new(), Lsn(0));
    let start = LogStart::Fresh;
    Ok((State::new(), RaftBoot { truncated, entries, hard, conf, frames, hard_at, writer, start, life }))
}

fn existing(found: Found, life: u64) -> Result<(State, RaftBoot), BootError> {
    let Found { checkpoint, mut log, .. } = found;
    let (frames, hard_at) = (std::mem::take(&mut log.frames), log.hard_at);
    let (state, index, term) = checkpoint.unwrap_or_else(|| (State::new(), LogIndex(0), Term(0)));
    let conf = conf_state(&state.members);
    if let Some(base) = log.base
        && base > index
    {
        let found = LogIndex(base.0 + 1);
        return Err(BootError::LogStartsTooLate { needed: LogIndex(index.0 + 1), found });
    }
    let (mut hard, writer) = (log.hard, log.writer);
    let (entries, start) = match log.after_checkpoint(index, term) {
        Some(entries) => (entries, LogStart::Continues),
        None => (Vec::new(), LogStart::BehindCheckpoint),
    };
    // A log from which a received state has taken all entries does not say where it stands.
    let found = LogIndex(index.0 + entries.len() as u64);
    if hard.commit > found {
        return Err(BootError::CommittedLost { committed: hard.commit, found });
    }
    hard.commit = hard.commit.max(index);
    if term > hard.term {
        // The checkpoint is a leader's of a later term, in which this member has not voted.
        (hard.term, hard.vote) = (term, MemberId(0));
    }
    let truncated = (index, term);
    Ok((state, RaftBoot { truncated, entries, hard, conf, frames, hard_at, writer, start, life }))
}

/// Makes a cluster of one of what is on the disk: the whole log counts as committed, and with it the changes
/// that remove everybody else, behind it (CL-25). Removed ids stay removed.
///
/// etcd drops what its disk does not call committed. Ours says so of the last entries only with the next frame,
/// so that would drop writes that were acknowledged; an entry that was not may still come to be applied.
/// Source: etcd 3.7.1 server/etcdserver/bootstrap.go (NewConfigChangeEntries).
fn go_alone(id: MemberId, state: &State, boot: &mut RaftBoot) -> Result<(), BootError> {
    let mut members = state.members.clone();
    for entry in boot.entries.iter().filter(|entry| entry.kind == wal::EntryKind::Conf) {
        // One that cannot be read halts the member when it is applied, with its place.
        if let Ok(command) = ConfCommand::decode(entry.data.clone())
            && command.check(&members).is_ok()
        {
            command.apply(&mut members);
        }
    }
    if members.is_removed(id) {
        return Err(BootError::Removed { member_id: id });
    }
    let me = members.get(id).ok_or(BootError::NoMembership { member_id: id })?;
    let promotion = me.is_learner.then_some(ConfChangeKind::Promote(id));
    let others = members.iter().map(|member| member.id).filter(|other| *other != id);
    let changes = promotion.into_iter().chain(others.map(ConfChangeKind::Remove));
    let changes: Vec<Bytes> =
        changes.map(|change| ConfCommand { header: CommandHeader::default(), change }.encode()).collect();
    let kept = boot.entries.len();
    let last = boot.entries.last().map_or(boot.truncated.0, |entry| entry.index);
    let term = boot.hard.term;
    for (index, data) in (last.0 + 1..).zip(changes) {
        let (index, kind) = (LogIndex(index), wal::EntryKind::Conf);
        boot.entries.push(wal::Entry { index, term, kind, data });
    }
    boot.hard.commit = boot.entries.last().map_or(last, |entry| entry.index);
    boot.start = match boot.start {
        // A log that ends before its checkpoint is dropped by a frame of its own.
        LogStart::Continues => LogStart::Extended { kept },
        start => start,
    };
    Ok(())
}
