//! Commands: what the replicated log says, in our own bytes.
//!
//! Shape: format version, kind, origin, user, auth revision, then the kind's body. Everything that
//! depends on a member's flags, clock or randomness was resolved by the proposer and stands in the
//! body, so that apply is a function of State and entry alone.

mod auth;

pub use auth::{AuthChange, decode_permission, encode_permission};

use bytes::{Bytes, BytesMut};

use crate::base::{LeaseId, LogIndex, MemberId, Term};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::request::{
    Alarm, Compare, CompareResult, CompareTarget, CompareUnion, DeleteRangeRequest, PutRequest, RangeRequest,
    RequestOp, Secret, SortOrder, SortTarget, TXN_DEPTH_MAX, TxnRequest,
};

/// Version of the bytes below. A member that meets a higher one halts.
const FORMAT: u8 = 1;

/// Names one proposal for good: no two proposals of a cluster's life share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    pub member: MemberId,
    /// Number of the member's life.
    pub epoch: u64,
    /// Counts proposals of that life from 1.
    pub counter: u64,
}

/// What every command carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandHeader {
    pub id: RequestId,
    /// Empty: nobody, with auth off or without credentials.
    pub user: String,
    /// The auth revision at which the proposer knew the user; 0 without one.
    pub auth_revision: u64,
}

/// What changes State.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact {
        revision: i64,
    },
    /// `ttl` in seconds, raised to the minimum already; `id` chosen.
    LeaseGrant {
        id: LeaseId,
        ttl: i64,
    },
    LeaseRevoke {
        id: LeaseId,
    },
    /// The lease that entry `granted` granted ran out on the leader of `term`. Without effect in an entry of a
    /// later term: that term's leader may have renewed the lease meanwhile, and knows best (etcd #15247).
    LeaseExpire {
        id: LeaseId,
        granted: LogIndex,
        term: Term,
    },
    /// What leases have left by the clock of the leader of `term`. Without effect in an entry of a later term,
    /// as `LeaseExpire`.
    LeaseCheckpoint {
        term: Term,
        items: Vec<LeaseLeft>,
    },
    Alarm {
        activate: bool,
        member: MemberId,
        alarm: Alarm,
    },
    /// A started member's name and client URLs (CL-12).
    Publish {
        member: MemberId,
        name: String,
        client_urls: Vec<String>,
    },
    /// Every member knows this version of State: from here on apply is of it. Never goes back.
    StateVersionSet {
        version: u32,
    },
    Auth(AuthChange),
    /// A login whose password was right at the header's auth revision: `user` gets a token that begins so
    /// (AUTH-11, AUTH-12). The header names nobody.
    Authenticate {
        user: String,
        token_prefix: Secret,
    },
}

/// The time of one lease in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLeft {
    pub id: LeaseId,
    /// The entry that granted it.
    pub granted: LogIndex,
    /// 0: it was renewed and has its full time again.
    pub left_s: i64,
}

/// Kinds on disk. Numbers are never reused; those without a variant are reserved for etcd's internal
/// request of that name.
mod kind {
    pub const PUT: u8 = 1;
    pub const DELETE_RANGE: u8 = 2;
    pub const TXN: u8 = 3;
    pub const COMPACT: u8 = 4;
    pub const LEASE_GRANT: u8 = 5;
    pub const LEASE_REVOKE: u8 = 6;
    pub const LEASE_CHECKPOINT: u8 = 7;
    pub const ALARM: u8 = 8;
    pub const PUBLISH: u8 = 9;
    // 10 ClusterVersionSet, 11 DowngradeInfoSet
    pub const STATE_VERSION_SET: u8 = 12;
    pub const AUTHENTICATE: u8 = 13;
    // 14 to 29 are `AuthChange`'s; among them 18 UserGet, 22 UserList, 25 RoleGet, 28 RoleList, 29 AuthStatus
    /// Not LEASE_REVOKE, as etcd has it: the end that a clock brings is judged otherwise than a client's wish.
    pub const LEASE_EXPIRE: u8 = 30;
}

/// One entry of the log, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub header: CommandHeader,
    pub action: Action,
}

impl Command {
    pub fn encode(&self) -> Bytes {
        let mut buffer = BytesMut::with_capacity(128);
        let mut e = Encoder(&mut buffer);
        e.u8(FORMAT).u8(self.action.kind());
        encode_header(&mut e, &self.header);
        encode_action(&mut e, &self.action);
        buffer.freeze()
    }

    /// The version that an entry raises State to, if that is what it does; looks at no other entry's body.
    pub fn state_version_of(bytes: &Bytes) -> Option<u32> {
        if bytes.get(1) != Some(&kind::STATE_VERSION_SET) {
            return None;
        }
        match Command::decode(bytes.clone()).ok()?.action {
            Action::StateVersionSet { version } => Some(version),
            _ => None,
        }
    }

    /// Values are slices of `bytes`. An unknown format or kind is an error: never skipped.
    pub fn decode(bytes: Bytes) -> Result<Command, DecodeError> {
        let mut d = Decoder(bytes);
        if d.u8()? != FORMAT {
            return Err(DecodeError("unknown command format"));
        }
        let kind = d.u8()?;
        let header = decode_header(&mut d)?;
        let action = decode_action(kind, &mut d)?;
        d.finish()?;
        Ok(Command { header, action })
    }
}

impl Action {
    fn kind(&self) -> u8 {
        match self {
            Action::Put(_) => kind::PUT,
            Action::DeleteRange(_) => kind::DELETE_RANGE,
            Action::Txn(_) => kind::TXN,
            Action::Compact { .. } => kind::COMPACT,
            Action::LeaseGrant { .. } => kind::LEASE_GRANT,
            Action::LeaseRevoke { .. } => kind::LEASE_REVOKE,
            Action::LeaseExpire { .. } => kind::LEASE_EXPIRE,
            Action::LeaseCheckpoint { .. } => kind::LEASE_CHECKPOINT,
            Action::Alarm { .. } => kind::ALARM,
            Action::Publish { .. } => kind::PUBLISH,
            Action::StateVersionSet { .. } => kind::STATE_VERSION_SET,
            Action::Auth(change) => change.kind(),
            Action::Authenticate { .. } => kind::AUTHENTICATE,
        }
    }
}

/// A header in our own bytes; membership changes carry the same.
pub fn encode_header(e: &mut Encoder<'_>, header: &CommandHeader) {
    e.u64(header.id.member.0).u64(header.id.epoch).u64(header.id.counter);
    e.str(&header.user).u64(header.auth_revision);
}

/// The header of `encode_header`.
pub fn decode_header(d: &mut Decoder) -> Result<CommandHeader, DecodeError> {
    let id = RequestId { member: MemberId(d.u64()?), epoch: d.u64()?, counter: d.u64()? };
    Ok(CommandHeader { id, user: d.string()?, auth_revision: d.u64()? })
}

fn encode_action(e: &mut Encoder<'_>, action: &Action) {
    match action {
        Action::Put(put) => encode_put(e, put),
        Action::DeleteRange(delete) => encode_delete(e, delete),
        Action::Txn(txn) => encode_txn(e, txn),
        Action::Compact { revision } => {
            e.i64(*revision);
        }
        Action::LeaseGrant { id, ttl } => {
            e.i64(id.0).i64(*ttl);
        }
        Action::LeaseRevoke { id } => {
            e.i64(id.0);
        }
        Action::LeaseExpire { id, granted, term } => {
            e.i64(id.0).u64(granted.0).u64(term.0);
        }
        Action::LeaseCheckpoint { term, items } => {
            e.u64(term.0).list_len(items.len());
            for LeaseLeft { id, granted, left_s } in items {
                e.i64(id.0).u64(granted.0).i64(*left_s);
            }
        }
        Action::Alarm { activate, member, alarm } => {
            e.bool(*activate).u64(member.0).u8(encode_alarm(*alarm));
        }
        Action::Publish { member, name, client_urls } => {
            e.u64(member.0).str(name).strs(client_urls);
        }
        Action::StateVersionSet { version } => {
            e.u32(*version);
        }
        Action::Auth(change) => change.encode(e),
        Action::Authenticate { user, token_prefix } => {
            e.str(user).bytes(&token_prefix.0);
        }
    }
}

fn decode_action(kind: u8, d: &mut Decoder) -> Result<Action, DecodeError> {
    Ok(match kind {
        kind::PUT => Action::Put(decode_put(d)?),
        kind::DELETE_RANGE => Action::DeleteRange(decode_delete(d)?),
        kind::TXN => Action::Txn(decode_txn(d, TXN_DEPTH_MAX)?),
        kind::COMPACT => Action::Compact { revision: d.i64()? },
        kind::LEASE_GRANT => Action::LeaseGrant { id: LeaseId(d.i64()?), ttl: d.i64()? },
        kind::LEASE_REVOKE => Action::LeaseRevoke { id: LeaseId(d.i64()?) },
        kind::LEASE_EXPIRE => {
            let (id, granted) = (LeaseId(d.i64()?), LogIndex(d.u64()?));
            Action::LeaseExpire { id, granted, term: Term(d.u64()?) }
        }
        kind::LEASE_CHECKPOINT => {
            let (term, len) = (Term(d.u64()?), d.list_len()?);
            let mut item = || {
                let (id, granted) = (LeaseId(d.i64()?), LogIndex(d.u64()?));
                Ok(LeaseLeft { id, granted, left_s: d.i64()? })
            };
            Action::LeaseCheckpoint { term, items: (0..len).map(|_| item()).collect::<Result<_, _>>()? }
        }
        kind::ALARM => {
            Action::Alarm { activate: d.bool()?, member: MemberId(d.u64()?), alarm: decode_alarm(d.u8()?)? }
        }
        kind::PUBLISH => {
            Action::Publish { member: MemberId(d.u64()?), name: d.string()?, client_urls: d.strings()? }
        }
        kind::STATE_VERSION_SET => Action::StateVersionSet { version: d.u32()? },
        kind::AUTHENTICATE => Action::Authenticate { user: d.string()?, token_prefix: Secret(d.bytes()?) },
        kind => {
            let change = AuthChange::decode(kind, d)?;
            Action::Auth(change.ok_or(DecodeError("unknown command kind"))?)
        }
    })
}

/// Number of an alarm on disk.
pub fn encode_alarm(alarm: Alarm) -> u8 {
    match alarm {
        Alarm::None => 0,
        Alarm::NoSpace => 1,
        Alarm::Corrupt => 2,
    }
}

/// The alarm of a number on disk.
pub fn decode_alarm(number: u8) -> Result<Alarm, DecodeError> {
    match number {
        0 => Ok(Alarm::None),
        1 => Ok(Alarm::NoSpace),
        2 => Ok(Alarm::Corrupt),
        _ => Err(DecodeError("unknown alarm")),
    }
}

fn flags(bits: &[bool]) -> u8 {
    bits.iter().enumerate().fold(0, |byte, (i, bit)| byte | (u8::from(*bit) << i))
}

fn encode_put(e: &mut Encoder<'_>, put: &PutRequest) {
    e.u8(flags(&[put.prev_kv, put.ignore_value, put.ignore_lease]));
    e.bytes(&put.key).bytes(&put.value).i64(put.lease.0);
}

fn decode_put(d: &mut Decoder) -> Result<PutRequest, DecodeError> {
    let bits = d.u8()?;
    Ok(PutRequest {
        prev_kv: bits & 1 != 0,
        ignore_value: bits & 2 != 0,
        ignore_lease: bits & 4 != 0,
        key: d.bytes()?,
        value: d.bytes()?,
        lease: LeaseId(d.i64()?),
    })
}

fn encode_delete(e: &mut Encoder<'_>, delete: &DeleteRangeRequest) {
    e.bool(delete.prev_kv).bytes(&delete.key).bytes(&delete.range_end);
}

fn decode_delete(d: &mut Decoder) -> Result<DeleteRangeRequest, DecodeError> {
    Ok(DeleteRangeRequest { prev_kv: d.bool()?, key: d.bytes()?, range_end: d.bytes()? })
}

fn encode_range(e: &mut Encoder<'_>, range: &RangeRequest) {
    e.u8(flags(&[range.serializable, range.keys_only, range.count_only]));
    e.bytes(&range.key).bytes(&range.range_end).i64(range.limit).i64(range.revision);
    e.i32(sort_order_number(range.sort_order)).i32(sort_target_number(range.sort_target));
    e.i64(range.min_mod_revision).i64(range.max_mod_revision);
    e.i64(range.min_create_revision).i64(range.max_create_revision);
}

fn decode_range(d: &mut Decoder) -> Result<RangeRequest, DecodeError> {
    let bits = d.u8()?;
    Ok(RangeRequest {
        serializable: bits & 1 != 0,
        keys_only: bits & 2 != 0,
        count_only: bits & 4 != 0,
        key: d.bytes()?,
        range_end: d.bytes()?,
        limit: d.i64()?,
        revision: d.i64()?,
        sort_order: SortOrder::from(d.i32()?),
        sort_target: SortTarget::from(d.i32()?),
        min_mod_revision: d.i64()?,
        max_mod_revision: d.i64()?,
        min_create_revision: d.i64()?,
        max_create_revision: d.i64()?,
    })
}

fn sort_order_number(order: SortOrder) -> i32 {
    match order {
        SortOrder::None => 0,
        SortOrder::Ascend => 1,
        SortOrder::Descend => 2,
        SortOrder::Unknown(n) => n,
    }
}

fn sort_target_number(target: SortTarget) -> i32 {
    match target {
        SortTarget::Key => 0,
        SortTarget::Version => 1,
        SortTarget::Create => 2,
        SortTarget::Mod => 3,
        SortTarget::Value => 4,
        SortTarget::Unknown(n) => n,
    }
}

fn encode_txn(e: &mut Encoder<'_>, txn: &TxnRequest) {
    e.list_len(txn.compare.len());
    for compare in &txn.compare {
        encode_compare(e, compare);
    }
    for branch in [&txn.success, &txn.failure] {
        e.list_len(branch.len());
        for op in branch {
            encode_op(e, op);
        }
    }
}

fn decode_txn(d: &mut Decoder, nesting_left: u32) -> Result<TxnRequest, DecodeError> {
    let compares = d.list_len()?;
    let compare = (0..compares).map(|_| decode_compare(d)).collect::<Result<_, _>>()?;
    let successes = d.list_len()?;
    let success = (0..successes).map(|_| decode_op(d, nesting_left)).collect::<Result<_, _>>()?;
    let failures = d.list_len()?;
    let failure = (0..failures).map(|_| decode_op(d, nesting_left)).collect::<Result<_, _>>()?;
    Ok(TxnRequest { compare, success, failure })
}

fn encode_op(e: &mut Encoder<'_>, op: &RequestOp) {
    match op {
        RequestOp::Unset => {
            e.u8(0);
        }
        RequestOp::Range(range) => encode_range(e.u8(1), range),
        RequestOp::Put(put) => encode_put(e.u8(2), put),
        RequestOp::DeleteRange(delete) => encode_delete(e.u8(3), delete),
        RequestOp::Txn(txn) => encode_txn(e.u8(4), txn),
    }
}

fn decode_op(d: &mut Decoder, nesting_left: u32) -> Result<RequestOp, DecodeError> {
    Ok(match d.u8()? {
        0 => RequestOp::Unset,
        1 => RequestOp::Range(decode_range(d)?),
        2 => RequestOp::Put(decode_put(d)?),
        3 => RequestOp::DeleteRange(decode_delete(d)?),
        4 => {
            let nesting_left = nesting_left.checked_sub(1).ok_or(DecodeError("a txn nests too deep"))?;
            RequestOp::Txn(Box::new(decode_txn(d, nesting_left)?))
        }
        _ => return Err(DecodeError("unknown operation in a txn")),
    })
}

fn encode_compare(e: &mut Encoder<'_>, compare: &Compare) {
    e.i32(match compare.result {
        CompareResult::Equal => 0,
        CompareResult::Greater => 1,
        CompareResult::Less => 2,
        CompareResult::NotEqual => 3,
        CompareResult::Unknown(n) => n,
    });
    e.i32(match compare.target {
        CompareTarget::Version => 0,
        CompareTarget::Create => 1,
        CompareTarget::Mod => 2,
        CompareTarget::Value => 3,
        CompareTarget::Lease => 4,
        CompareTarget::Unknown(n) => n,
    });
    e.bytes(&compare.key).bytes(&compare.range_end);
    match &compare.union {
        CompareUnion::Unset => e.u8(0),
        CompareUnion::Version(n) => e.u8(1).i64(*n),
        CompareUnion::Create(n) => e.u8(2).i64(*n),
        CompareUnion::Mod(n) => e.u8(3).i64(*n),
        CompareUnion::Value(bytes) => e.u8(4).bytes(bytes),
        CompareUnion::Lease(n) => e.u8(5).i64(*n),
    };
}

fn decode_compare(d: &mut Decoder) -> Result<Compare, DecodeError> {
    Ok(Compare {
        result: CompareResult::from(d.i32()?),
        target: CompareTarget::from(d.i32()?),
        key: d.bytes()?,
        range_end: d.bytes()?,
        union: match d.u8()? {
            0 => CompareUnion::Unset,
            1 => CompareUnion::Version(d.i64()?),
            2 => CompareUnion::Create(d.i64()?),
            3 => CompareUnion::Mod(d.i64()?),
            4 => CompareUnion::Value(d.bytes()?),
            5 => CompareUnion::Lease(d.i64()?),
            _ => return Err(DecodeError("unknown operand of a comparison")),
        },
    })
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
