//! Requests of clients, as a scenario writes them: etcd's field names, what is left out is empty or 0.
//!
//! Keys and values are texts; `\xNN` stands for a byte and `\\` for a backslash, best in 'single quotes'.

use bytes::Bytes;
use holdfast_core::base::{LeaseId, MemberId, WatchId};
use holdfast_core::boundary::WatchCreate;
use holdfast_core::request::{
    Alarm, CompactRequest, Compare, CompareResult, CompareTarget, CompareUnion, DeleteRangeRequest,
    LeaseGrantRequest, PutRequest, RangeRequest, Request, RequestOp, SortOrder, SortTarget, TxnRequest,
};

use super::auth::read_auth;
use super::table::{Item, Read, Table, Trouble};

/// Keys under which a step has a request.
pub const REQUESTS: [&str; 24] = [
    "put",
    "get",
    "delete",
    "txn",
    "compact",
    "grant",
    "revoke",
    "keep_alive",
    "time_to_live",
    "leases",
    "hash",
    "backup",
    "hash_kv",
    "status",
    "member_list",
    "member_add",
    "member_remove",
    "member_update",
    "member_promote",
    "move_leader",
    "alarm_list",
    "disarm",
    "defragment",
    "auth",
];

/// Requests that name a member: by `id`, or by `member` as a step knows it.
const OF_MEMBERS: [&str; 5] = ["member_remove", "member_update", "member_promote", "move_leader", "disarm"];

const SORT_TARGETS: [(&str, SortTarget); 5] = [
    ("key", SortTarget::Key),
    ("version", SortTarget::Version),
    ("create", SortTarget::Create),
    ("mod", SortTarget::Mod),
    ("value", SortTarget::Value),
];

const RESULTS: [(&str, CompareResult); 4] = [
    ("equal", CompareResult::Equal),
    ("greater", CompareResult::Greater),
    ("less", CompareResult::Less),
    ("not_equal", CompareResult::NotEqual),
];

const TARGETS: [(&str, CompareTarget); 5] = [
    ("version", CompareTarget::Version),
    ("create", CompareTarget::Create),
    ("mod", CompareTarget::Mod),
    ("value", CompareTarget::Value),
    ("lease", CompareTarget::Lease),
];

/// The request under the key `kind`; the fields left in `t` are the caller's. `is_about_member`: the caller knows
/// the member that it is about.
pub fn read_request(kind: &str, t: &mut Table, is_about_member: bool) -> Read<Request> {
    if is_about_member && !OF_MEMBERS.contains(&kind) {
        return Err(Trouble::new(t.at, format!("`{kind}` knows no key `member`")));
    }

    Ok(match kind {
        "put" => Request::Put(read_put(t)?),
        "get" => Request::Range(read_range(t)?),
        "delete" => Request::DeleteRange(read_delete(t)?),
        "txn" => Request::Txn(read_txn(t)?),
        "compact" => Request::Compact(CompactRequest {
            revision: integer(t, "revision")?,
            physical: flag(t, "physical")?,
        }),
        "grant" => {
            let id = LeaseId(integer(t, "id")?);
            Request::LeaseGrant(LeaseGrantRequest { id, ttl: t.need("ttl")?.integer()? })
        }
        "revoke" => Request::LeaseRevoke { id: lease(t)? },
        "keep_alive" => Request::LeaseKeepAlive { id: lease(t)? },
        "time_to_live" => Request::LeaseTimeToLive { id: lease(t)?, keys: flag(t, "keys")? },
        "leases" => Request::LeaseLeases,
        "hash" => Request::Hash,
        "backup" => Request::Backup,
        "hash_kv" => Request::HashKv { revision: integer(t, "revision")? },
        "status" => Request::Status,
        "member_list" => Request::MemberList { linearizable: flag(t, "linearizable")? },
        "member_add" => Request::MemberAdd {
            peer_urls: urls(t)?,
            is_learner: flag(t, "learner")?,
            unix_s: t.take("unix").map_or(Ok(0), |item| item.count())?,
        },
        "member_remove" => Request::MemberRemove { id: member(t, is_about_member)? },
        "member_update" => Request::MemberUpdate { id: member(t, is_about_member)?, peer_urls: urls(t)? },
        "member_promote" => Request::MemberPromote { id: member(t, is_about_member)? },
        "move_leader" => Request::MoveLeader { target: member(t, is_about_member)? },
        "alarm_list" => Request::AlarmList { alarm: Alarm::None },
        "disarm" => {
            Request::AlarmSet { activate: false, member: member(t, is_about_member)?, alarm: Alarm::NoSpace }
        }
        "defragment" => Request::Defragment,
        "auth" => read_auth(t)?,
        other => unreachable!("{other} is not among the requests"),
    })
}

fn member(t: &mut Table, is_known: bool) -> Read<MemberId> {
    if is_known { Ok(MemberId(0)) } else { Ok(MemberId(t.need("id")?.bits()?)) }
}

fn urls(t: &mut Table) -> Read<Vec<String>> {
    let Some(item) = t.take("peer_urls") else { return Ok(Vec::new()) };
    item.list()?.iter().map(Item::text).collect()
}

fn lease(t: &mut Table) -> Read<LeaseId> {
    Ok(LeaseId(t.need("id")?.integer()?))
}

pub fn flag(t: &mut Table, key: &str) -> Read<bool> {
    t.take(key).map_or(Ok(false), |item| item.flag())
}

fn integer(t: &mut Table, key: &str) -> Read<i64> {
    t.take(key).map_or(Ok(0), |item| item.integer())
}

pub fn bytes(t: &mut Table, key: &str) -> Read<Bytes> {
    t.take(key).map_or(Ok(Bytes::new()), |item| read_bytes(&item))
}

/// A text with `\xNN` for bytes.
pub fn read_bytes(item: &Item) -> Read<Bytes> {
    let text = item.text()?;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, behind)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        if let Some(behind) = behind.strip_prefix('\\') {
            bytes.push(b'\\');
            rest = behind;
            continue;
        }
        let number = behind.strip_prefix('x').and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
        bytes.push(
            number.ok_or_else(|| item.trouble(r"a backslash stands before `xNN` or another backslash"))?,
        );
        rest = &behind[3..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(Bytes::from(bytes))
}

/// A value; `value_bytes` fills it up with dots, so that a large one is short to write.
fn read_value(t: &mut Table) -> Read<Bytes> {
    let value = bytes(t, "value")?;
    let Some(length) = t.take("value_bytes") else { return Ok(value) };
    let mut filled = value.to_vec();
    let length = length.count_in(0..4 << 20)? as usize;
    filled.resize(length.max(value.len()), b'.');
    Ok(Bytes::from(filled))
}

fn read_put(t: &mut Table) -> Read<PutRequest> {
    Ok(PutRequest {
        key: bytes(t, "key")?,
        value: read_value(t)?,
        lease: LeaseId(integer(t, "lease")?),
        prev_kv: flag(t, "prev_kv")?,
        ignore_value: flag(t, "ignore_value")?,
        ignore_lease: flag(t, "ignore_lease")?,
    })
}

fn read_range(t: &mut Table) -> Read<RangeRequest> {
    Ok(RangeRequest {
        key: bytes(t, "key")?,
        range_end: bytes(t, "range_end")?,
        limit: integer(t, "limit")?,
        revision: integer(t, "revision")?,
        sort_order: t.take("sort_order").map_or(Ok(SortOrder::None), |item| match item.is_text() {
            true => item.word(&[("ascend", SortOrder::Ascend), ("descend", SortOrder::Descend)]),
            false => Ok(SortOrder::from(item.integer()? as i32)),
        })?,
        sort_target: t.take("sort_target").map_or(Ok(SortTarget::Key), |item| match item.is_text() {
            true => item.word(&SORT_TARGETS),
            false => Ok(SortTarget::from(item.integer()? as i32)),
        })?,
        serializable: flag(t, "serializable")?,
        keys_only: flag(t, "keys_only")?,
        count_only: flag(t, "count_only")?,
        min_mod_revision: integer(t, "min_mod_revision")?,
        max_mod_revision: integer(t, "max_mod_revision")?,
        min_create_revision: integer(t, "min_create_revision")?,
        max_create_revision: integer(t, "max_create_revision")?,
    })
}

fn read_delete(t: &mut Table) -> Read<DeleteRangeRequest> {
    Ok(DeleteRangeRequest {
        key: bytes(t, "key")?,
        range_end: bytes(t, "range_end")?,
        prev_kv: flag(t, "prev_kv")?,
    })
}

fn read_txn(t: &mut Table) -> Read<TxnRequest> {
    let compare = match t.take("compare") {
        Some(list) => list.tables()?.into_iter().map(read_compare).collect::<Read<_>>()?,
        None => Vec::new(),
    };
    Ok(TxnRequest { compare, success: read_branch(t, "then")?, failure: read_branch(t, "else")? })
}

fn read_branch(t: &mut Table, key: &str) -> Read<Vec<RequestOp>> {
    match t.take(key) {
        Some(list) => list.tables()?.into_iter().map(read_op).collect(),
        None => Ok(Vec::new()),
    }
}

/// One operation of a branch. An empty table is one with nothing set.
fn read_op(mut t: Table) -> Read<RequestOp> {
    let found = t.take_one_of(&["put", "get", "delete", "txn"])?;
    t.finish()?;
    let Some(item) = found else { return Ok(RequestOp::Unset) };
    let kind = item.key().to_owned();
    let mut t = item.table()?;
    let op = match kind.as_str() {
        "put" => RequestOp::Put(read_put(&mut t)?),
        "get" => RequestOp::Range(read_range(&mut t)?),
        "delete" => RequestOp::DeleteRange(read_delete(&mut t)?),
        _ => RequestOp::Txn(Box::new(read_txn(&mut t)?)),
    };
    t.finish()?;
    Ok(op)
}

/// A comparison: the field that is given is the target, unless `target` says otherwise.
fn read_compare(mut t: Table) -> Read<Compare> {
    let (key, range_end) = (bytes(&mut t, "key")?, bytes(&mut t, "range_end")?);
    let result = t.take("is").map_or(Ok(CompareResult::Equal), |item| item.word(&RESULTS))?;
    let given = t.take_one_of(&["version", "create", "mod", "value", "lease"])?;
    let union = match &given {
        None => CompareUnion::Unset,
        Some(item) => match item.key() {
            "version" => CompareUnion::Version(item.integer()?),
            "create" => CompareUnion::Create(item.integer()?),
            "mod" => CompareUnion::Mod(item.integer()?),
            "lease" => CompareUnion::Lease(item.integer()?),
            _ => CompareUnion::Value(read_bytes(item)?),
        },
    };
    let of_union = TARGETS.iter().find(|(name, _)| given.as_ref().is_some_and(|item| item.key() == *name));
    let target = match t.take("target") {
        Some(item) => item.word(&TARGETS)?,
        None => of_union.map_or(CompareTarget::Version, |(_, target)| *target),
    };
    t.finish()?;
    Ok(Compare { result, target, key, range_end, union })
}

/// What a watch asks for.
pub fn read_watch(t: &mut Table) -> Read<WatchCreate> {
    Ok(WatchCreate {
        key: bytes(t, "key")?,
        range_end: bytes(t, "range_end")?,
        start_revision: integer(t, "start_revision")?,
        progress_notify: flag(t, "progress_notify")?,
        no_put: flag(t, "no_put")?,
        no_delete: flag(t, "no_delete")?,
        prev_kv: flag(t, "prev_kv")?,
        watch_id: WatchId(integer(t, "watch_id")?),
        fragment: flag(t, "fragment")?,
    })
}
