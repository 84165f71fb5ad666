//! Opening a node: from what replay found on disk, or from a bootstrap on an empty one.

use std::collections::VecDeque;
use std::fmt;

use raft::eraftpb::ConfState;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Checkpointing, Node, Proposals};
use crate::admit::AdmitConfig;
use crate::apply::{Applier, encode_add_member};
use crate::base::{Instant, LogIndex, Lsn, MemberId, Term};
use crate::boundary::Limits;
use crate::lease::Deadlines;
use crate::members::Bootstrap;
use crate::raft::{Consensus, Outcome, RaftBoot, RaftConfig};
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
    Fresh(Bootstrap),
    /// What recovery found. The bootstrap counts only if the first life ended before it was in the log.
    Existing(Box<Found>, Bootstrap),
}

/// Why a node cannot be opened; nothing on disk has been changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The local name is not among the initial members.
    NameNotInCluster { name: String },
    /// A first start that stored nothing was made with another initial cluster or token.
    BootstrapChanged { member_id: MemberId },
    /// More than one member, or a configuration without us.
    NotTheSoleVoter { voters: usize },
    /// The log starts behind the checkpoint, or behind the beginning without one.
    LogStartsTooLate { needed: LogIndex, found: LogIndex },
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
            BootError::NotTheSoleVoter { voters } => {
                write!(f, "a cluster of {voters} voters is not supported yet: this version runs one member")
            }
            BootError::LogStartsTooLate { needed, found } => {
                write!(
                    f,
                    "the log starts at entry {found}, but entry {needed} is needed behind the checkpoint"
                )
            }
        }
    }
}

impl std::error::Error for BootError {}

impl Node {
    /// Opens a member on what is on its disk. `seed` decides everything that is drawn.
    /// Errors: data that cannot be trusted or a configuration that is not supported.
    pub fn open(config: Config, boot: Boot, seed: u64, now: Instant) -> Result<Node, BootError> {
        let id = config.identity.member_id;
        let (state, raft_boot) = match boot {
            Boot::Fresh(bootstrap) => fresh(&bootstrap, FrameWriter::new(Lsn(0), 0), seed)?,
            Boot::Existing(found, bootstrap) if found.is_bare() => {
                if bootstrap.member_id() != Some(id) {
                    return Err(BootError::BootstrapChanged { member_id: id });
                }
                fresh(&bootstrap, found.log.writer, seed)?
            }
            Boot::Existing(found, _) => existing(*found, seed)?,
        };
        let epoch = raft_boot.writer.last().0 + 1;
        let raft_config = RaftConfig {
            id,
            election_ticks: config.election_ticks,
            pre_vote: config.pre_vote,
            uncommitted_bytes_max: config.limits.proposals_bytes_max,
        };
        let limits = config.limits.clone();
        let watch = WatchHub::new(
            WatchConfig {
                credit_bytes: limits.watch_credit_bytes,
                revisions_max: limits.watch_revisions_max,
                progress_interval_ns: config.watch_progress_ns,
            },
            seed,
        );
        Ok(Node {
            id,
            rng: ChaCha8Rng::seed_from_u64(seed),
            db_size_bytes: state.kv.bytes(),
            checkpoint: Checkpointing::new(state.applied, now),
            state,
            consensus: Consensus::open(raft_config, raft_boot, seed),
            outcome: Outcome::default(),
            applier: Applier::default(),
            proposals: Proposals::new(epoch),
            reads: Reads::default(),
            watch,
            deadlines: Deadlines::new(config.admit.lease_ttl_min_s),
            compact_waiters: Vec::new(),
            defrag_waiters: Vec::new(),
            early: Vec::new(),
            is_open: false,
            was_leader: false,
            publication: Default::default(),
            halted: false,
            limits,
            config,
        })
    }
}

/// A new cluster's log: one conf change for each member, committed at term 1 (as etcd bootstraps).
fn fresh(bootstrap: &Bootstrap, writer: FrameWriter, life: u64) -> Result<(State, RaftBoot), BootError> {
    let members = bootstrap.members();
    if bootstrap.member_id().is_none() {
        return Err(BootError::NameNotInCluster { name: bootstrap.name.clone() });
    }
    if members.len() != 1 {
        return Err(BootError::NotTheSoleVoter { voters: members.len() });
    }
    let entries: Vec<wal::Entry> = (1..)
        .zip(&members)
        .map(|(index, member)| wal::Entry {
            index: LogIndex(index),
            term: Term(1),
            kind: wal::EntryKind::Conf,
            data: encode_add_member(member),
        })
        .collect();
    let commit = LogIndex(entries.len() as u64);
    let hard = wal::HardState { term: Term(1), vote: MemberId(0), commit };
    let truncated = (LogIndex(0), Term(0));
    let conf = ConfState::default();
    let (frames, hard_at) = (VecDeque::new(), Lsn(0));
    Ok((
        State::new(),
        RaftBoot { truncated, entries, hard, conf, frames, hard_at, writer, fresh: true, life },
    ))
}

fn existing(found: Found, life: u64) -> Result<(State, RaftBoot), BootError> {
    let Found { checkpoint, mut log, .. } = found;
    let (frames, hard_at) = (std::mem::take(&mut log.frames), log.hard_at);
    let (state, index, term) = checkpoint.unwrap_or_else(|| (State::new(), LogIndex(0), Term(0)));
    let ids = |learners| state.members.iter().filter(move |m| m.is_learner == learners).map(|m| m.id.0);
    let conf = ConfState::from((ids(false).collect::<Vec<_>>(), ids(true).collect::<Vec<_>>()));
    if conf.voters.len() > 1 {
        return Err(BootError::NotTheSoleVoter { voters: conf.voters.len() });
    }
    let (mut hard, writer) = (log.hard, log.writer);
    let entries = log.after_checkpoint(index, term);
    if let Some(first) = entries.first()
        && first.index.0 > index.0 + 1
    {
        return Err(BootError::LogStartsTooLate { needed: LogIndex(index.0 + 1), found: first.index });
    }
    hard.commit = hard.commit.max(index);
    hard.term = hard.term.max(term);
    let truncated = (index, term);
    Ok((state, RaftBoot { truncated, entries, hard, conf, frames, hard_at, writer, fresh: false, life }))
}

impl Proposals {
    fn new(epoch: u64) -> Proposals {
        Proposals { epoch, counter: 0, queued: Default::default(), waiting: Default::default() }
    }
}

impl Checkpointing {
    /// `newest`: index of the checkpoint the node was opened from; 0 if there is none.
    fn new(newest: LogIndex, now: Instant) -> Checkpointing {
        Checkpointing { run: None, awaiting: false, newest, log_bytes: 0, retry_at: now }
    }
}
