//! The history of a run: everything that clients asked and saw, and what the members agreed on.
//!
//! It is all that the checkers read. Order comes from `Moment::seq`, one count for the whole world, so
//! that "before" never rests on two equal times.

use holdfast_core::base::MemberId;
use holdfast_core::boundary::{StreamOp, WatchResponse};
use holdfast_core::command::RequestId;
use holdfast_core::raft::Payload;
use holdfast_core::request::{Credentials, Request, Response};
use holdfast_core::status::Status;

use crate::oracle::auth::By;
use crate::oracle::model::Decree;

/// When something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Position in the order of all that happened in the world.
    pub seq: u64,
    /// Virtual time.
    pub at_ns: u64,
    /// Turn of the node that it belongs to, for the report.
    pub turn: u64,
}

/// One life of one member: from a start of its process to its end.
#[derive(Clone, Debug)]
pub struct Life {
    /// Number of the member, from 0.
    pub member: usize,
    pub from: Moment,
    pub until: Option<Moment>,
}

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Op {
    pub client: u32,
    /// The member it was sent to.
    pub member: usize,
    /// Index into `History::lives`: the life it was sent to.
    pub life: usize,
    /// Who the client says it is.
    pub credentials: Credentials,
    pub request: Request,
    /// When the client sent it.
    pub call: Moment,
    /// When the node had it in a turn; `None`: it never arrived.
    pub arrived: Option<Moment>,
    pub answer: Option<Answer>,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    pub at: Moment,
    pub result: Result<Response, Status>,
    /// Last entry that the answering node had applied at the end of that turn: its own State had no later one.
    pub applied: u64,
    /// Entries decided by then: what the node was told by the leader can rest on no later one.
    pub decided: u64,
}

impl Answer {
    /// The store's revision that the answer names; refusals and answers without header name none.
    pub fn revision(&self) -> Option<i64> {
        revision_of(self.result.as_ref().ok()?)
    }
}

/// The store's revision that an answer names, if it has a header.
pub fn revision_of(response: &Response) -> Option<i64> {
    response.header().map(|header| header.revision)
}

/// One entry of the log as decided. Its index is its place in `History::log`, from 1.
#[derive(Clone, Debug)]
pub struct LogEntry {
    pub term: u64,
    /// Who proposed it; `None` for entries of raft's own.
    pub id: Option<RequestId>,
    pub decree: Decree,
    /// Who asked for it, as its proposer knew.
    pub by: By,
    /// As the core reads it, for a replay.
    pub payload: Payload,
    /// The life that proposed it; for entries of raft's own, the life that applied it first.
    pub life: usize,
    /// When a member was first seen to have it, or to send it.
    pub seen: Moment,
    /// Term of the member that applied it first: it was committed in this term or an earlier one.
    pub decided_in: u64,
}

/// One watch stream, from its first operation on.
#[derive(Clone, Debug)]
pub struct Stream {
    pub member: usize,
    pub life: usize,
    /// What passed on it, in order.
    pub passed: Vec<(Moment, Passed)>,
    /// Whether it lived until the end of the run with credit to spare.
    pub lives_to_end: bool,
}

/// What passed on a stream.
#[derive(Clone, Debug)]
pub enum Passed {
    Op(StreamOp),
    /// A delivery, with the last entry its node had applied at the end of that turn.
    Delivered(WatchResponse, u64),
}

/// Digest of a node's State at an applied index.
#[derive(Clone, Copy, Debug)]
pub struct Digest {
    pub life: usize,
    pub at: Moment,
    pub applied: u64,
    pub hash: u64,
}

/// What the world promised, as far as the checks depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Bound on the rate error of the members' clocks.
    pub drift: f64,
    /// Smallest effective TTL in seconds.
    pub ttl_min_s: i64,
    pub txn_ops_max: usize,
    /// A lease must be gone so long after its TTL at the latest, in ns of true time.
    pub expiry_slack_ns: u64,
    /// What a new leader may add to a lease, in ns of the members' time.
    pub election_ns: u64,
    /// Longest time between two notifications of progress on an idle watch once all is calm, in ns of true time,
    /// and how long the calm takes to be one.
    pub progress_ns: u64,
    pub progress_slack_ns: u64,
    /// Whether a member may refuse for want of space.
    pub has_quota: bool,
    /// Whether members refuse changes that could cost the quorum, and how many learners they allow.
    pub strict_reconfig: bool,
    pub learners_max: u32,
}

/// A member that began to lead.
#[derive(Clone, Copy, Debug)]
pub struct Leadership {
    pub at: Moment,
    pub term: u64,
    pub member: MemberId,
    pub life: usize,
}

/// Everything of one run.
#[derive(Clone, Debug)]
pub struct History {
    pub terms: Terms,
    pub lives: Vec<Life>,
    pub ops: Vec<Op>,
    /// The log as decided: at each index what the first member to apply it had there.
    pub log: Vec<LogEntry>,
    pub streams: Vec<Stream>,
    pub digests: Vec<Digest>,
    pub leaderships: Vec<Leadership>,
    /// Ids of the members, by number.
    pub ids: Vec<MemberId>,
    /// Since when nothing was disturbed.
    pub calm_since: Moment,
    pub end: Moment,
}

impl History {
    /// Of a run that begins.
    pub fn new(terms: Terms) -> History {
        History {
            terms,
            lives: Vec::new(),
            ops: Vec::new(),
            log: Vec::new(),
            streams: Vec::new(),
            digests: Vec::new(),
            leaderships: Vec::new(),
            ids: Vec::new(),
            calm_since: Moment::default(),
            end: Moment::default(),
        }
    }
}
