//! What clients ask and what they are answered, field by field as etcd's v3 API.
//!
//! Enums that a client may send with an unknown number keep that number: what happens then is part
//! of the contract (RG-11, TXN-10).

mod auth;

pub use auth::{AuthAnswer, AuthRequest, Credentials, Identity, Permission, PermissionKind, Secret};

use bytes::Bytes;

use crate::backup::{Backup, HistoryAsk, HistoryPiece};
use crate::base::{KeyValue, LeaseId, MemberId};

/// Order of a range's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
    Unknown(i32),
}

impl From<i32> for SortOrder {
    fn from(number: i32) -> SortOrder {
        match number {
            0 => SortOrder::None,
            1 => SortOrder::Ascend,
            2 => SortOrder::Descend,
            n => SortOrder::Unknown(n),
        }
    }
}

/// Field that a range's answer is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
    Unknown(i32),
}

impl From<i32> for SortTarget {
    fn from(number: i32) -> SortTarget {
        match number {
            0 => SortTarget::Key,
            1 => SortTarget::Version,
            2 => SortTarget::Create,
            3 => SortTarget::Mod,
            4 => SortTarget::Value,
            n => SortTarget::Unknown(n),
        }
    }
}

/// etcd's RangeRequest. `key` and `range_end` as a client sends them (see `KeyRange::new`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeRequest {
    pub key: Bytes,
    pub range_end: Bytes,
    pub limit: i64,
    pub revision: i64,
    pub sort_order: SortOrder,
    pub sort_target: SortTarget,
    pub serializable: bool,
    pub keys_only: bool,
    pub count_only: bool,
    pub min_mod_revision: i64,
    pub max_mod_revision: i64,
    pub min_create_revision: i64,
    pub max_create_revision: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutRequest {
    pub key: Bytes,
    pub value: Bytes,
    pub lease: LeaseId,
    pub prev_kv: bool,
    pub ignore_value: bool,
    pub ignore_lease: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeRequest {
    pub key: Bytes,
    pub range_end: Bytes,
    pub prev_kv: bool,
}

/// Most txns nested inside one another below the outermost: bounds every recursion over a txn.
/// What is deeper is refused as too many operations. A level costs at least one operation, so at its
/// default of 128 etcd's own limit is met first.
pub const TXN_DEPTH_MAX: u32 = 128;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnRequest {
    pub compare: Vec<Compare>,
    pub success: Vec<RequestOp>,
    pub failure: Vec<RequestOp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOp {
    /// A RequestOp with no request set (TXN-3).
    Unset,
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(Box<TxnRequest>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompareResult {
    #[default]
    Equal,
    Greater,
    Less,
    NotEqual,
    Unknown(i32),
}

impl From<i32> for CompareResult {
    fn from(number: i32) -> CompareResult {
        match number {
            0 => CompareResult::Equal,
            1 => CompareResult::Greater,
            2 => CompareResult::Less,
            3 => CompareResult::NotEqual,
            n => CompareResult::Unknown(n),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompareTarget {
    #[default]
    Version,
    Create,
    Mod,
    Value,
    Lease,
    Unknown(i32),
}

impl From<i32> for CompareTarget {
    fn from(number: i32) -> CompareTarget {
        match number {
            0 => CompareTarget::Version,
            1 => CompareTarget::Create,
            2 => CompareTarget::Mod,
            3 => CompareTarget::Value,
            4 => CompareTarget::Lease,
            n => CompareTarget::Unknown(n),
        }
    }
}

/// The given side of a comparison; which one is set need not match the target (Q12).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CompareUnion {
    #[default]
    Unset,
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(Bytes),
    Lease(i64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compare {
    pub result: CompareResult,
    pub target: CompareTarget,
    pub key: Bytes,
    pub range_end: Bytes,
    pub union: CompareUnion,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRequest {
    pub revision: i64,
    pub physical: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseGrantRequest {
    /// 0 = the server picks.
    pub id: LeaseId,
    /// Seconds.
    pub ttl: i64,
}

/// Everything a client can ask of a node in one call (watches are streams: see `StreamOp`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactRequest),
    LeaseGrant(LeaseGrantRequest),
    LeaseRevoke {
        id: LeaseId,
    },
    LeaseKeepAlive {
        id: LeaseId,
    },
    LeaseTimeToLive {
        id: LeaseId,
        keys: bool,
    },
    LeaseLeases,
    MemberList {
        linearizable: bool,
    },
    /// `unix_s`: the wall clock of who asks; the new member's id rests on it (CL-1).
    MemberAdd {
        peer_urls: Vec<String>,
        is_learner: bool,
        unix_s: u64,
    },
    MemberRemove {
        id: MemberId,
    },
    MemberUpdate {
        id: MemberId,
        peer_urls: Vec<String>,
    },
    MemberPromote {
        id: MemberId,
    },
    /// Answered when `target` leads (CL-14).
    MoveLeader {
        target: MemberId,
    },
    /// The member is about to stop: a leader hands over to the voter it has been connected with for longest.
    /// No client asks this. Answered as `MoveLeader`, at once where there is nothing to hand over.
    HandOver,
    AlarmList {
        alarm: Alarm,
    },
    AlarmSet {
        activate: bool,
        member: MemberId,
        alarm: Alarm,
    },
    Status,
    Hash,
    HashKv {
        revision: i64,
    },
    Defragment,
    /// All of State but history, from what is here: for a backup.
    Backup,
    /// A piece of the history that belongs to a backup.
    BackupHistory(HistoryAsk),
    Auth(AuthRequest),
}

impl Request {
    /// Whether a learner answers it; anything else it refuses with `NotSupportedForLearner` (CL-13).
    /// The streams of a learner are `net`'s to refuse, RangeStream among them.
    /// Source: etcd 3.7.1 server/etcdserver/api/v3rpc/util.go (isRPCSupportedForLearner).
    pub fn is_served_by_learner(&self) -> bool {
        match self {
            Request::Status | Request::Backup | Request::BackupHistory(_) => true,
            Request::Range(range) => range.serializable,
            _ => false,
        }
    }
}

/// Kind of an alarm; `None` stands for every kind in a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    #[default]
    None,
    NoSpace,
    Corrupt,
}

/// etcd's ResponseHeader without what never changes (cluster and member id are added by `net`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub revision: i64,
    /// Term of the last applied entry (REV-12).
    pub raft_term: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResponse {
    pub header: Header,
    pub kvs: Vec<KeyValue>,
    pub more: bool,
    pub count: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutResponse {
    pub header: Header,
    pub prev_kv: Option<KeyValue>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeResponse {
    pub header: Header,
    pub deleted: i64,
    pub prev_kvs: Vec<KeyValue>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnResponse {
    pub header: Header,
    pub succeeded: bool,
    pub responses: Vec<ResponseOp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseOp {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
}

/// A member of the cluster as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    /// Empty until the member has published itself.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

impl Member {
    /// Whether it has ever served: it publishes its name first (CL-12).
    pub fn is_started(&self) -> bool {
        !self.name.is_empty()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusResponse {
    pub header: Header,
    pub db_size_bytes: i64,
    pub db_size_in_use_bytes: i64,
    pub leader: MemberId,
    /// Committed index (Q77).
    pub raft_index: u64,
    pub raft_applied_index: u64,
    pub is_learner: bool,
    pub db_size_quota_bytes: i64,
    pub errors: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact {
        header: Header,
    },
    LeaseGrant {
        header: Header,
        id: LeaseId,
        ttl: i64,
    },
    LeaseRevoke {
        header: Header,
    },
    /// `ttl` 0: no such lease (Q48).
    LeaseKeepAlive {
        header: Header,
        id: LeaseId,
        ttl: i64,
    },
    /// `ttl` -1: no such lease (Q48).
    LeaseTimeToLive {
        header: Header,
        id: LeaseId,
        ttl: i64,
        granted_ttl: i64,
        keys: Vec<Bytes>,
    },
    LeaseLeases {
        header: Header,
        ids: Vec<LeaseId>,
    },
    /// Its header has no revision (Q70).
    MemberList {
        header: Header,
        members: Vec<Member>,
    },
    /// `member` as added, boxed so that answers of every put stay small; `members` after the change, ascending
    /// by id. No revision either, nor in the next three.
    MemberAdd {
        header: Header,
        member: Box<Member>,
        members: Vec<Member>,
    },
    MemberRemove {
        header: Header,
        members: Vec<Member>,
    },
    MemberUpdate {
        header: Header,
        members: Vec<Member>,
    },
    MemberPromote {
        header: Header,
        members: Vec<Member>,
    },
    /// Without a header, as etcd has it.
    MoveLeader,
    AlarmList {
        header: Header,
        alarms: Vec<(MemberId, Alarm)>,
    },
    Status(StatusResponse),
    Hash {
        header: Header,
        hash: u32,
    },
    HashKv {
        header: Header,
        hash: u32,
        compact_revision: i64,
        hash_revision: i64,
    },
    Defragment,
    Backup {
        header: Header,
        backup: Box<Backup>,
    },
    /// No header: it belongs to the backup's.
    BackupHistory(HistoryPiece),
    Auth {
        header: Header,
        answer: AuthAnswer,
    },
}

/// The header of an answer, borrowed as `$borrow` says, where the kind has one.
macro_rules! header_of {
    ($response:expr, $($borrow:tt)+) => {
        match $response {
            Response::Range(r) => Some($($borrow)+ r.header),
            Response::Put(r) => Some($($borrow)+ r.header),
            Response::DeleteRange(r) => Some($($borrow)+ r.header),
            Response::Txn(r) => Some($($borrow)+ r.header),
            Response::Status(r) => Some($($borrow)+ r.header),
            Response::Compact { header }
            | Response::LeaseGrant { header, .. }
            | Response::LeaseRevoke { header }
            | Response::LeaseKeepAlive { header, .. }
            | Response::LeaseTimeToLive { header, .. }
            | Response::LeaseLeases { header, .. }
            | Response::MemberList { header, .. }
            | Response::MemberAdd { header, .. }
            | Response::MemberRemove { header, .. }
            | Response::MemberUpdate { header, .. }
            | Response::MemberPromote { header, .. }
            | Response::AlarmList { header, .. }
            | Response::Hash { header, .. }
            | Response::HashKv { header, .. }
            | Response::Backup { header, .. }
            | Response::Auth { header, .. } => Some(header),
            Response::MoveLeader | Response::Defragment | Response::BackupHistory(_) => None,
        }
    };
}

impl Response {
    /// The header, where the kind has one.
    pub fn header(&self) -> Option<&Header> {
        header_of!(self, &)
    }

    /// The same, to be filled in.
    pub fn header_mut(&mut self) -> Option<&mut Header> {
        header_of!(self, &mut)
    }
}
