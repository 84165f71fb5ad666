//! Requests written as `scenario::request` reads them; what is empty or 0 is left out.

use std::fmt;

use holdfast_core::request::{
    Alarm, Compare, CompareResult, CompareTarget, CompareUnion, DeleteRangeRequest, PutRequest, RangeRequest,
    Request, RequestOp, SortOrder, SortTarget, TxnRequest,
};

use super::auth::fill_auth;
use super::write::quoted;

/// The fields of an inline table.
#[derive(Debug, Default)]
pub struct Fields {
    fields: Vec<String>,
}

impl Fields {
    pub fn put(&mut self, key: &str, value: String) {
        self.fields.push(format!("{key} = {value}"));
    }

    pub fn integer(&mut self, key: &str, number: i64) {
        if number != 0 {
            self.put(key, number.to_string());
        }
    }

    pub fn flag(&mut self, key: &str, flag: bool) {
        if flag {
            self.put(key, "true".to_owned());
        }
    }

    pub fn bytes(&mut self, key: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.put(key, text(bytes));
        }
    }

    /// A value, without the dots that fill it up.
    fn value(&mut self, value: &[u8]) {
        let filled = value.iter().rev().take_while(|byte| **byte == b'.').count();
        match filled {
            0..8 => self.bytes("value", value),
            _ => {
                self.bytes("value", &value[..value.len() - filled]);
                self.put("value_bytes", value.len().to_string());
            }
        }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{ {} }}", self.fields.join(", "))
    }
}

pub fn text(bytes: &[u8]) -> String {
    let escaped: String = bytes
        .iter()
        .map(|byte| match byte {
            b'\\' => "\\\\".to_owned(),
            b' '..=b'~' => char::from(*byte).to_string(),
            byte => format!("\\x{byte:02x}"),
        })
        .collect();
    quoted(&escaped)
}

/// The key and the fields of a request. Errors: one that no scenario has.
pub fn request(request: &Request, mut f: Fields) -> Result<(&'static str, Fields), String> {
    let key = match request {
        Request::Put(put) => {
            fill_put(put, &mut f);
            "put"
        }
        Request::Range(range) => {
            fill_range(range, &mut f);
            "get"
        }
        Request::DeleteRange(delete) => {
            fill_delete(delete, &mut f);
            "delete"
        }
        Request::Txn(txn) => {
            fill_txn(txn, &mut f)?;
            "txn"
        }
        Request::Compact(compact) => {
            f.integer("revision", compact.revision);
            f.flag("physical", compact.physical);
            "compact"
        }
        Request::LeaseGrant(grant) => {
            f.integer("id", grant.id.0);
            f.put("ttl", grant.ttl.to_string());
            "grant"
        }
        Request::LeaseRevoke { id } => {
            f.put("id", id.0.to_string());
            "revoke"
        }
        Request::LeaseKeepAlive { id } => {
            f.put("id", id.0.to_string());
            "keep_alive"
        }
        Request::LeaseTimeToLive { id, keys } => {
            f.put("id", id.0.to_string());
            f.flag("keys", *keys);
            "time_to_live"
        }
        Request::LeaseLeases => "leases",
        Request::Hash => "hash",
        Request::Backup => "backup",
        Request::HashKv { revision } => {
            f.integer("revision", *revision);
            "hash_kv"
        }
        Request::Status => "status",
        Request::MemberList { linearizable } => {
            f.flag("linearizable", *linearizable);
            "member_list"
        }
        Request::AlarmList { .. } => "alarm_list",
        Request::Defragment => "defragment",
        Request::Auth(asked) => {
            fill_auth(asked, &mut f);
            "auth"
        }
        other => match change(other, &mut f) {
            Some(key) => key,
            None => return Err(format!("no scenario can say {other:?}")),
        },
    };
    Ok((key, f))
}

/// A request about members, their alarms, or who leads.
fn change(request: &Request, f: &mut Fields) -> Option<&'static str> {
    let (key, id) = match request {
        Request::MemberAdd { is_learner, unix_s, .. } => {
            f.flag("learner", *is_learner);
            f.put("unix", unix_s.to_string());
            ("member_add", None)
        }
        Request::MemberRemove { id } => ("member_remove", Some(id)),
        Request::MemberUpdate { id, .. } => ("member_update", Some(id)),
        Request::MemberPromote { id } => ("member_promote", Some(id)),
        Request::MoveLeader { target } => ("move_leader", Some(target)),
        Request::AlarmSet { activate: false, member, alarm: Alarm::NoSpace } => ("disarm", Some(member)),
        _ => return None,
    };
    if let Some(id) = id {
        f.put("id", format!("{:#018x}", id.0));
    }
    if let Request::MemberAdd { peer_urls, .. } | Request::MemberUpdate { peer_urls, .. } = request {
        let urls: Vec<String> = peer_urls.iter().map(|url| quoted(url)).collect();
        f.put("peer_urls", format!("[{}]", urls.join(", ")));
    }
    Some(key)
}

fn fill_put(put: &PutRequest, f: &mut Fields) {
    f.bytes("key", &put.key);
    f.value(&put.value);
    f.integer("lease", put.lease.0);
    f.flag("prev_kv", put.prev_kv);
    f.flag("ignore_value", put.ignore_value);
    f.flag("ignore_lease", put.ignore_lease);
}

fn fill_range(range: &RangeRequest, f: &mut Fields) {
    f.bytes("key", &range.key);
    f.bytes("range_end", &range.range_end);
    f.integer("limit", range.limit);
    f.integer("revision", range.revision);
    let order = match range.sort_order {
        SortOrder::None => 0,
        SortOrder::Ascend => 1,
        SortOrder::Descend => 2,
        SortOrder::Unknown(number) => number,
    };
    let target = match range.sort_target {
        SortTarget::Key => 0,
        SortTarget::Version => 1,
        SortTarget::Create => 2,
        SortTarget::Mod => 3,
        SortTarget::Value => 4,
        SortTarget::Unknown(number) => number,
    };
    f.integer("sort_order", order.into());
    f.integer("sort_target", target.into());
    f.flag("serializable", range.serializable);
    f.flag("keys_only", range.keys_only);
    f.flag("count_only", range.count_only);
    f.integer("min_mod_revision", range.min_mod_revision);
    f.integer("max_mod_revision", range.max_mod_revision);
    f.integer("min_create_revision", range.min_create_revision);
    f.integer("max_create_revision", range.max_create_revision);
}

fn fill_delete(delete: &DeleteRangeRequest, f: &mut Fields) {
    f.bytes("key", &delete.key);
    f.bytes("range_end", &delete.range_end);
    f.flag("prev_kv", delete.prev_kv);
}

fn fill_txn(txn: &TxnRequest, f: &mut Fields) -> Result<(), String> {
    if !txn.compare.is_empty() {
        let compares: Result<Vec<String>, String> = txn.compare.iter().map(compare).collect();
        f.put("compare", format!("[{}]", compares?.join(", ")));
    }
    for (key, ops) in [("then", &txn.success), ("else", &txn.failure)] {
        if !ops.is_empty() {
            let ops: Result<Vec<String>, String> = ops.iter().map(branch_op).collect();
            f.put(key, format!("[{}]", ops?.join(", ")));
        }
    }
    Ok(())
}

fn branch_op(op: &RequestOp) -> Result<String, String> {
    let mut f = Fields::default();
    let key = match op {
        RequestOp::Unset => return Ok("{}".to_owned()),
        RequestOp::Range(range) => {
            fill_range(range, &mut f);
            "get"
        }
        RequestOp::Put(put) => {
            fill_put(put, &mut f);
            "put"
        }
        RequestOp::DeleteRange(delete) => {
            fill_delete(delete, &mut f);
            "delete"
        }
        RequestOp::Txn(txn) => {
            fill_txn(txn, &mut f)?;
            "txn"
        }
    };
    Ok(format!("{{ {key} = {f} }}"))
}

fn compare(compare: &Compare) -> Result<String, String> {
    let mut f = Fields::default();
    f.bytes("key", &compare.key);
    f.bytes("range_end", &compare.range_end);
    let result = match compare.result {
        CompareResult::Equal => "equal",
        CompareResult::Greater => "greater",
        CompareResult::Less => "less",
        CompareResult::NotEqual => "not_equal",
        CompareResult::Unknown(number) => return Err(format!("no scenario compares by {number}")),
    };
    let target = match compare.target {
        CompareTarget::Version => "version",
        CompareTarget::Create => "create",
        CompareTarget::Mod => "mod",
        CompareTarget::Value => "value",
        CompareTarget::Lease => "lease",
        CompareTarget::Unknown(number) => return Err(format!("no scenario compares target {number}")),
    };
    f.put("is", quoted(result));
    f.put("target", quoted(target));
    match &compare.union {
        CompareUnion::Unset => {}
        CompareUnion::Version(number) => f.put("version", number.to_string()),
        CompareUnion::Create(number) => f.put("create", number.to_string()),
        CompareUnion::Mod(number) => f.put("mod", number.to_string()),
        CompareUnion::Lease(number) => f.put("lease", number.to_string()),
        CompareUnion::Value(value) => f.put("value", text(value)),
    }
    Ok(f.to_string())
}
