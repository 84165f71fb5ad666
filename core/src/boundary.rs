//! The boundary: everything that can happen to a node, and everything a node can ask for.
//!
//! Contract (ARCHITECTURE.md, "The boundary"): an effect may be performed the moment it is seen; what
//! must wait for durability is not emitted until its completion has come in; every effect with a
//! completion reports exactly once, or the node is dead.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Instant, KeyValue, LogIndex, Lsn, MemberId, StreamId, WaiterId, WatchId};
use crate::peer::PeerMessage;
use crate::request::{Credentials, Request, Response, Secret};
use crate::status::Status;

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// A caller asks; answered by exactly one `Effect::Reply` unless it is `Abandon`ed.
    Client { waiter: WaiterId, credentials: Credentials, request: Request },
    /// The caller is gone; no reply is wanted. A write may still take effect.
    Abandon { waiter: WaiterId },
    /// A watch stream speaks. The first operation opens the stream.
    Stream { stream: StreamId, op: StreamOp },
    /// Every frame up to `through` is on stable storage.
    Persisted { through: Lsn },
    /// The last `Effect::Checkpoint` was carried out, or failed (disk full).
    Checkpointed { ok: bool },
    /// A member of this cluster, proved by its connection, says something. Late, twice, out of order or
    /// never: all of it is legal.
    Peer { from: MemberId, message: PeerMessage },
    /// What was sent to a member lately did not reach it.
    Unreachable { member: MemberId },
    /// The hash that `Effect::HashPassword` asked for.
    PasswordHashed { job: u64, hash: Secret },
    /// What `Effect::CheckPassword` asked for. `entropy`: fresh and known to nobody; a token is made of it.
    PasswordChecked { job: u64, fits: bool, entropy: u128 },
    /// One heartbeat interval has passed; the shell puts it last in a batch and never two in one.
    Tick,
}

/// What a node asks for.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Write `frames` behind all earlier ones and flush; completion: `Persisted { through }`.
    /// One at a time: the next comes after its completion. A failed flush is the death of the node.
    Append { frames: Bytes, through: Lsn },
    /// The one answer to a `Client` input.
    Reply { waiter: WaiterId, result: Result<Response, Status> },
    /// A message for a watch stream; deliveries of one stream keep their order.
    Deliver { stream: StreamId, response: WatchResponse },
    /// A step of writing a checkpoint; completion: `Checkpointed`. One at a time.
    Checkpoint(CheckpointStep),
    /// Log frames up to `through` are not needed any more. No completion.
    Reclaim { through: Lsn },
    /// Carry a message to another member, or lose it; appends keep their order if the way allows.
    /// No completion; `Input::Unreachable` if it is known to be lost.
    Send { to: MemberId, message: PeerMessage },
    /// `member` belongs to the cluster and is reached at these URLs; replaces what was said before.
    Connect { member: MemberId, peer_urls: Vec<String> },
    /// Nothing more will be sent to `member`, and nothing is taken from it.
    Disconnect { member: MemberId },
    /// Hash a password with `--bcrypt-cost` and a fresh salt, off the turn; completion: `PasswordHashed`.
    HashPassword { job: u64, password: Secret },
    /// Whether a password fits a hash; an empty hash fits none. Completion: `PasswordChecked`.
    CheckPassword { job: u64, password: Secret, hash: Secret },
    /// Something an operator may want to read. No completion.
    Note(Note),
    /// The node cannot go on; the shell stops the process with this line.
    Halt { why: String },
}

/// One step of writing a checkpoint file.
#[derive(Clone, Debug)]
pub enum CheckpointStep {
    /// Start a temporary file for the state at `index` with these bytes.
    Begin { index: LogIndex, bytes: Bytes },
    /// More bytes.
    Piece { bytes: Bytes },
    /// The last bytes; then flush, rename into place, flush the directory, drop all but the newest two.
    End { bytes: Bytes },
    /// Give up and remove the temporary file.
    Abort,
}

/// What a client does on its watch stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOp {
    /// First on a stream, if at all: whose it is. Watches on it are judged by that as they are created.
    Open {
        credentials: Credentials,
    },
    Create(WatchCreate),
    Cancel {
        watch_id: WatchId,
    },
    /// A manual progress request (WATCH-19).
    Progress,
    /// The client took `bytes` of what was delivered: events may flow while the balance is positive.
    Credit {
        bytes: u64,
    },
    /// The stream is over; nothing more is delivered.
    Close,
}

/// etcd's WatchCreateRequest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchCreate {
    pub key: Bytes,
    pub range_end: Bytes,
    pub start_revision: i64,
    pub progress_notify: bool,
    pub no_put: bool,
    pub no_delete: bool,
    pub prev_kv: bool,
    /// 0 = the server picks.
    pub watch_id: WatchId,
    pub fragment: bool,
}

/// etcd's WatchResponse; splitting into fragments is `net`'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchResponse {
    pub revision: i64,
    pub raft_term: u64,
    pub watch_id: WatchId,
    pub created: bool,
    pub canceled: bool,
    pub compact_revision: i64,
    pub cancel_reason: &'static str,
    /// The watcher allows its responses to be split.
    pub fragment: bool,
    /// Shared by all watchers of the same range and options.
    pub events: Arc<Vec<Event>>,
}

impl WatchResponse {
    /// What a delivery takes from its stream's credit, and what `StreamOp::Credit` gives back for it.
    /// Answers without events are free: they are as many as the client's requests.
    pub fn credit_bytes(&self) -> u64 {
        self.events.iter().map(Event::credit_bytes).sum()
    }
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub kv: KeyValue,
    pub prev_kv: Option<KeyValue>,
}

impl Event {
    /// An event's part of `WatchResponse::credit_bytes`: what it has in keys and values, and a constant.
    pub fn credit_bytes(&self) -> u64 {
        let kv_bytes = |kv: &KeyValue| (kv.key.len() + kv.value.len()) as u64;
        64 + kv_bytes(&self.kv) + self.prev_kv.as_ref().map_or(0, kv_bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

/// What is worth a line in a log; the shell writes it with etcd's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    BecameLeader {
        term: u64,
    },
    LostLeader {
        term: u64,
    },
    Published {
        name: String,
    },
    Compacted {
        revision: i64,
    },
    /// A compaction that nobody asked for is proposed, under this counter of the member's life.
    AutoCompaction {
        revision: i64,
        counter: u64,
    },
    CheckpointWritten {
        index: LogIndex,
    },
    CheckpointFailed {
        index: LogIndex,
    },
    LeaseExpired {
        id: i64,
    },
    /// Whom this member follows, itself among them; `None`: nobody.
    LeaderChanged {
        before: Option<MemberId>,
        leader: Option<MemberId>,
        term: u64,
    },
    /// A member said what no correct member says; it was dropped.
    PeerRefused {
        from: MemberId,
        what: &'static str,
    },
    /// State goes to a member whose log ends before ours begins.
    SnapshotSending {
        to: MemberId,
        index: LogIndex,
    },
    SnapshotReceiving {
        from: MemberId,
        index: LogIndex,
    },
    /// State was replaced by what a leader sent.
    SnapshotInstalled {
        index: LogIndex,
    },
    /// What entries do is of this version from here on.
    StateVersion {
        version: u32,
    },
    /// This member is no part of the cluster any more; it ends in a moment.
    Removed,
}

/// The effects of a turn, and when to wake the node if nothing happens before.
#[derive(Debug, Default)]
pub struct Effects {
    pub list: Vec<Effect>,
    /// `None`: only an input can make progress.
    pub wake_at: Option<Instant>,
}

/// Bounds of one turn and of what is kept in memory. Never read by apply.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Units of work (about one key visited each) in one turn for apply, reads, watch, compaction together.
    pub work_max: u32,
    /// Bytes of one checkpoint piece.
    pub checkpoint_piece_bytes_max: usize,
    /// A checkpoint is written when the log since the last one exceeds max(this, the state's size).
    pub checkpoint_log_bytes_min: u64,
    /// Log bytes kept in memory behind the applied index for live followers.
    pub log_tail_bytes_max: u64,
    /// The same while a follower in reach is behind: above it, it is sent the state.
    pub log_lag_bytes_max: u64,
    /// Distinct revisions in one response to a lagging watcher (etcd: 1000).
    pub watch_revisions_max: u32,
    /// Credit a new watch stream starts with.
    pub watch_credit_bytes: u64,
    /// Outstanding proposals; above it `too many requests` (etcd: 5000 entries between commit and apply).
    pub proposals_max: usize,
    /// Bytes of outstanding proposals.
    pub proposals_bytes_max: u64,
    /// Bytes of entries in one message to a follower; one entry goes whatever its size.
    pub append_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            work_max: 10_000,
            checkpoint_piece_bytes_max: 1 << 20,
            checkpoint_log_bytes_min: 128 << 20,
            log_tail_bytes_max: 64 << 20,
            log_lag_bytes_max: 512 << 20,
            watch_revisions_max: 1000,
            watch_credit_bytes: 1 << 20,
            proposals_max: 5000,
            proposals_bytes_max: 256 << 20,
            append_bytes_max: 1 << 20,
        }
    }
}
