//! Requests, answers and watch traffic in a line that people read.

use holdfast_core::base::{KeyValue, LeaseId};
use holdfast_core::boundary::{EventKind, StreamOp, WatchCreate, WatchResponse};
use holdfast_core::request::{
    Compare, CompareResult, CompareUnion, DeleteRangeRequest, PutRequest, RangeRequest, Request, RequestOp,
    Response, ResponseOp, TxnRequest,
};
use holdfast_core::status::Status;

use crate::history::Passed;
use crate::oracle::model::Decree;

/// Bytes of a key or value that are shown; the rest is counted.
const SHOWN_BYTES_MAX: usize = 12;
/// Keys or events that are shown of many.
const SHOWN_ITEMS_MAX: usize = 3;

fn bytes(bytes: &[u8]) -> String {
    match bytes.len() {
        0 => "\"\"".to_owned(),
        len if len <= SHOWN_BYTES_MAX => bytes.escape_ascii().to_string(),
        len => format!("{}..({len} bytes)", bytes[..SHOWN_BYTES_MAX - 4].escape_ascii()),
    }
}

fn keys(key: &[u8], end: &[u8]) -> String {
    match (key, end) {
        ([0], [0]) => "everything".to_owned(),
        (key, []) => bytes(key),
        (key, [0]) => format!("[{}, end)", bytes(key)),
        (key, end) => format!("[{}, {})", bytes(key), bytes(end)),
    }
}

/// The first few of a list, and how many there are beyond.
fn few(items: impl ExactSizeIterator<Item = String>) -> String {
    let beyond = items.len().saturating_sub(SHOWN_ITEMS_MAX);
    let mut words: Vec<String> = items.take(SHOWN_ITEMS_MAX).collect();
    if beyond > 0 {
        words.push(format!("{beyond} more"));
    }
    words.join(", ")
}

/// Words that are said when something holds.
fn flags(flags: &[(bool, &str)]) -> String {
    flags.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| format!(" {word}")).collect()
}

fn lease(id: LeaseId) -> String {
    if id == LeaseId(0) { String::new() } else { format!(" lease {:x}", id.0) }
}

fn range(range: &RangeRequest) -> String {
    let limits = [
        ("rev", range.revision),
        ("limit", range.limit),
        ("mod>=", range.min_mod_revision),
        ("mod<=", range.max_mod_revision),
        ("create>=", range.min_create_revision),
        ("create<=", range.max_create_revision),
    ];
    let limits: String =
        limits.iter().filter(|(_, number)| *number != 0).map(|(word, n)| format!(" {word} {n}")).collect();
    let flags = flags(&[
        (range.serializable, "serializable"),
        (range.keys_only, "keys only"),
        (range.count_only, "count only"),
    ]);
    format!("get {}{limits}{flags}", keys(&range.key, &range.range_end))
}

fn put(put: &PutRequest) -> String {
    let flags = flags(&[
        (put.prev_kv, "prev kv"),
        (put.ignore_value, "ignore value"),
        (put.ignore_lease, "ignore lease"),
    ]);
    format!("put {} = {}{}{flags}", bytes(&put.key), bytes(&put.value), lease(put.lease))
}

fn delete(delete: &DeleteRangeRequest) -> String {
    let flags = flags(&[(delete.prev_kv, "prev kv")]);
    format!("delete {}{flags}", keys(&delete.key, &delete.range_end))
}

fn compare(compare: &Compare) -> String {
    let sign = match compare.result {
        CompareResult::Equal => "=",
        CompareResult::Greater => ">",
        CompareResult::Less => "<",
        CompareResult::NotEqual => "!=",
        CompareResult::Unknown(_) => "?",
    };
    let given = match &compare.union {
        CompareUnion::Unset => "nothing".to_owned(),
        CompareUnion::Value(value) => bytes(value),
        CompareUnion::Version(n) | CompareUnion::Create(n) | CompareUnion::Mod(n) => n.to_string(),
        CompareUnion::Lease(id) => format!("{id:x}"),
    };
    let target = format!("{:?}", compare.target).to_lowercase();
    format!("{target}({}) {sign} {given}", keys(&compare.key, &compare.range_end))
}

fn txn(txn: &TxnRequest) -> String {
    let branch = |ops: &[RequestOp]| match ops {
        [] => "nothing".to_owned(),
        ops => few(ops.iter().map(request_op)),
    };
    let (yes, no) = (branch(&txn.success), branch(&txn.failure));
    match txn.compare.as_slice() {
        [] => format!("txn then {yes}"),
        compares => format!("txn if {} then {yes} else {no}", few(compares.iter().map(compare))),
    }
}

fn request_op(op: &RequestOp) -> String {
    match op {
        RequestOp::Unset => "unset".to_owned(),
        RequestOp::Range(op) => range(op),
        RequestOp::Put(op) => put(op),
        RequestOp::DeleteRange(op) => delete(op),
        // One level is enough to know it by; the depth of what clients nest stays theirs.
        RequestOp::Txn(_) => "txn in txn".to_owned(),
    }
}

/// What a client asks.
pub fn request(request: &Request) -> String {
    match request {
        Request::Range(asked) => range(asked),
        Request::Put(asked) => put(asked),
        Request::DeleteRange(asked) => delete(asked),
        Request::Txn(asked) => txn(asked),
        Request::Compact(asked) => {
            format!("compact {}{}", asked.revision, flags(&[(asked.physical, "physical")]))
        }
        Request::LeaseGrant(asked) => format!("grant{} ttl {}", lease(asked.id), asked.ttl),
        Request::LeaseRevoke { id } => format!("revoke{}", lease(*id)),
        Request::LeaseKeepAlive { id } => format!("keep alive{}", lease(*id)),
        Request::LeaseTimeToLive { id, .. } => format!("time to live{}", lease(*id)),
        Request::HashKv { revision } => format!("hash kv at {revision}"),
        other => format!("{other:?}"),
    }
}

fn kv(kv: &KeyValue) -> String {
    format!("{} = {}", bytes(&kv.key), bytes(&kv.value))
}

/// What a node answers, without the revision of its header.
pub fn answer(result: &Result<Response, Status>) -> String {
    let response = match result {
        Ok(response) => response,
        Err(status) => return status.text().to_owned(),
    };
    match response {
        Response::Range(range) => match range.kvs.as_slice() {
            [] => format!("{} keys", range.count),
            [only] if range.count == 1 => kv(only),
            kvs => format!("{} keys: {}", range.count, few(kvs.iter().map(kv))),
        },
        Response::Put(put) => {
            put.prev_kv.as_ref().map_or("ok".to_owned(), |old| format!("ok, was {}", kv(old)))
        }
        Response::DeleteRange(delete) => format!("{} deleted", delete.deleted),
        Response::Txn(txn) => {
            let branch = if txn.succeeded { "then" } else { "else" };
            format!("{branch}: {}", few(txn.responses.iter().map(response_op)))
        }
        Response::LeaseGrant { id, ttl, .. } => format!("lease {:x} ttl {ttl}", id.0),
        Response::LeaseKeepAlive { ttl: 0, .. } => "no such lease".to_owned(),
        Response::LeaseKeepAlive { ttl, .. } => format!("ttl {ttl}"),
        Response::LeaseTimeToLive { ttl: -1, .. } => "no such lease".to_owned(),
        Response::LeaseTimeToLive { ttl, granted_ttl, .. } => format!("ttl {ttl} of {granted_ttl}"),
        Response::LeaseLeases { ids, .. } => format!("{} leases", ids.len()),
        Response::HashKv { hash, .. } | Response::Hash { hash, .. } => format!("hash {hash:08x}"),
        Response::Backup { backup, .. } => format!("a backup of entry {}", backup.index),
        Response::Compact { .. } | Response::LeaseRevoke { .. } => "ok".to_owned(),
        other => format!("{other:?}"),
    }
}

fn response_op(response: &ResponseOp) -> String {
    match response {
        ResponseOp::Range(range) => format!("{} keys", range.count),
        ResponseOp::Put(_) => "put".to_owned(),
        ResponseOp::DeleteRange(delete) => format!("{} deleted", delete.deleted),
        ResponseOp::Txn(txn) => format!("txn {}", if txn.succeeded { "then" } else { "else" }),
    }
}

/// What an entry of the log asks for.
pub fn decree(decree: &Decree) -> String {
    match decree {
        Decree::Nothing => "nothing that clients see".to_owned(),
        Decree::Request(asked) => request(asked),
        Decree::AutoCompaction { revision } => format!("the leader compacts at {revision}"),
        Decree::Expire { id, .. } => format!("lease {:x} ran out", id.0),
        Decree::Checkpoint { items, .. } => format!("what {} leases have left", items.len()),
        other => format!("{other:?}"),
    }
}

/// What passes on a watch stream.
pub fn passed(passed: &Passed) -> String {
    match passed {
        Passed::Op(op) => stream_op(op),
        Passed::Delivered(response, _) => delivery(response),
    }
}

fn stream_op(op: &StreamOp) -> String {
    match op {
        StreamOp::Open { credentials } => format!("opens a stream as {credentials:?}"),
        StreamOp::Create(WatchCreate { key, range_end, start_revision, .. }) => {
            let from =
                if *start_revision == 0 { String::new() } else { format!(" from rev {start_revision}") };
            format!("watch {}{from}", keys(key, range_end))
        }
        StreamOp::Cancel { watch_id } => format!("cancel watch {}", watch_id.0),
        StreamOp::Progress => "ask for progress".to_owned(),
        StreamOp::Credit { bytes } => format!("has read {bytes} bytes"),
        StreamOp::Close => "close".to_owned(),
    }
}

fn delivery(response: &WatchResponse) -> String {
    let (id, revision) = (response.watch_id.0, response.revision);
    if response.created {
        return format!("watch {id} is made at rev {revision}");
    }
    if response.canceled {
        return format!("watch {id} is cancelled: {}", response.cancel_reason);
    }
    if response.events.is_empty() {
        return format!("watch {id}: progress to rev {revision}");
    }
    let events = response.events.iter().map(|event| {
        let at = event.kv.mod_revision;
        match event.kind {
            EventKind::Put => format!("put {} at {at}", kv(&event.kv)),
            _ => format!("delete {} at {at}", bytes(&event.kv.key)),
        }
    });
    format!("watch {id}: {}", few(events))
}

#[cfg(test)]
mod tests {
    use holdfast_core::request::LeaseGrantRequest;

    use super::*;

    #[test]
    fn requests_are_short_whatever_is_in_them() {
        let value = vec![7u8; 1 << 20].into();
        let asked = PutRequest { key: "k\n".into(), value, lease: LeaseId(0xab), ..PutRequest::default() };
        let told = request(&Request::Put(asked.clone()));
        assert_eq!(told, "put k\\n = \\x07\\x07\\x07\\x07\\x07\\x07\\x07\\x07..(1048576 bytes) lease ab");
        let many = TxnRequest { success: vec![RequestOp::Put(asked); 100], ..TxnRequest::default() };
        assert!(request(&Request::Txn(many)).ends_with(", 97 more"));
        let grant = Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(0), ttl: 5 });
        assert_eq!(request(&grant), "grant ttl 5");
    }

    #[test]
    fn ranges_are_told_as_people_write_them() {
        let all = RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..RangeRequest::default() };
        assert_eq!(range(&all), "get everything");
        let part = RangeRequest {
            key: "a".into(),
            range_end: "c".into(),
            revision: 7,
            serializable: true,
            ..RangeRequest::default()
        };
        assert_eq!(range(&part), "get [a, c) rev 7 serializable");
    }
}
