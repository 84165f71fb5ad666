//! What a transaction does and answers, from the contract's rules TXN-6 to TXN-18.

use std::cmp::Ordering;

use holdfast_core::base::{KeyRange, KeyValue, LeaseId};
use holdfast_core::request::{
    Compare, CompareResult, CompareTarget, CompareUnion, DeleteRangeRequest, DeleteRangeResponse, Header,
    PutRequest, PutResponse, RangeRequest, RequestOp, ResponseOp, TxnRequest, TxnResponse,
};
use holdfast_core::status::Status;

use super::range::{self, Pool};
use super::store::Store;

/// What the checks before execution look at besides the store.
pub struct Ground<'a> {
    pub compact: i64,
    pub has_lease: &'a dyn Fn(LeaseId) -> bool,
    /// The revision that a read at "latest" sees before the transaction begins.
    pub revision: i64,
}

/// A transaction whose branches are chosen: compares are all judged on the state before it (TXN-7).
pub struct Path<'a> {
    succeeded: bool,
    ops: &'a [RequestOp],
    /// Chosen paths of the nested transactions of `ops`, in order.
    nested: Vec<Path<'a>>,
}

impl<'a> Path<'a> {
    pub fn choose(store: &Store, revision: i64, txn: &'a TxnRequest) -> Path<'a> {
        let succeeded = txn.compare.iter().all(|compare| holds(store, revision, compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let nested = ops
            .iter()
            .filter_map(|op| match op {
                RequestOp::Txn(child) => Some(Path::choose(store, revision, child)),
                _ => None,
            })
            .collect();
        Path { succeeded, ops, nested }
    }
}

fn holds(store: &Store, revision: i64, compare: &Compare) -> bool {
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    let mut found = store.live(&range, revision).peekable();
    if found.peek().is_none() {
        // There is no value to compare with, not even an empty one; numbers of a missing key are 0.
        return compare.target != CompareTarget::Value && judge(compare, order(compare, None));
    }
    found.all(|kv| judge(compare, order(compare, Some(kv))))
}

/// The stored side against the given one; a given side of another kind counts as zero.
fn order(compare: &Compare, kv: Option<&KeyValue>) -> Ordering {
    let (stored, given) = match (compare.target, &compare.union) {
        (CompareTarget::Version, CompareUnion::Version(n)) => (kv.map(|kv| kv.version), *n),
        (CompareTarget::Version, _) => (kv.map(|kv| kv.version), 0),
        (CompareTarget::Create, CompareUnion::Create(n)) => (kv.map(|kv| kv.create_revision), *n),
        (CompareTarget::Create, _) => (kv.map(|kv| kv.create_revision), 0),
        (CompareTarget::Mod, CompareUnion::Mod(n)) => (kv.map(|kv| kv.mod_revision), *n),
        (CompareTarget::Mod, _) => (kv.map(|kv| kv.mod_revision), 0),
        (CompareTarget::Lease, CompareUnion::Lease(n)) => (kv.map(|kv| kv.lease.0), *n),
        (CompareTarget::Lease, _) => (kv.map(|kv| kv.lease.0), 0),
        (CompareTarget::Value, union) => {
            let given = if let CompareUnion::Value(value) = union { &value[..] } else { &[] };
            return kv.map_or(&[][..], |kv| &kv.value[..]).cmp(given);
        }
        (CompareTarget::Unknown(_), _) => return Ordering::Equal,
    };
    stored.unwrap_or(0).cmp(&given)
}

fn judge(compare: &Compare, order: Ordering) -> bool {
    match compare.result {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::NotEqual => order != Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
        CompareResult::Unknown(_) => true,
    }
}

/// Checks of the taken branches before anything is changed (TXN-8). `gone` are the ranges that earlier ops
/// delete: a put that keeps what one of them took away is refused (TXN-16).
pub fn precheck(store: &Store, ground: &Ground, path: &Path, gone: &mut Vec<KeyRange>) -> Result<(), Status> {
    let mut nested = path.nested.iter();
    for op in path.ops {
        match op {
            RequestOp::Range(range) => check_revision(ground, range.revision)?,
            RequestOp::Put(put) => check_put(store, ground, put, gone)?,
            RequestOp::DeleteRange(delete) => {
                gone.push(KeyRange::new(delete.key.clone(), delete.range_end.clone()));
            }
            RequestOp::Txn(_) => {
                let child = nested.next().expect("one path for each nested transaction");
                precheck(store, ground, child, gone)?;
            }
            RequestOp::Unset => return Err(Status::KeyNotFound),
        }
    }
    Ok(())
}

/// A read at an explicit revision: future is checked before compacted (RG-9).
pub fn check_revision(ground: &Ground, revision: i64) -> Result<(), Status> {
    if revision <= 0 {
        Ok(())
    } else if revision > ground.revision {
        Err(Status::FutureRev)
    } else if revision < ground.compact {
        Err(Status::Compacted)
    } else {
        Ok(())
    }
}

/// Lease, then existence for the ignore flags (WR-0, 13 and 14).
pub fn check_put(store: &Store, ground: &Ground, put: &PutRequest, gone: &[KeyRange]) -> Result<(), Status> {
    if put.lease.0 != 0 && !(ground.has_lease)(put.lease) {
        return Err(Status::LeaseNotFound);
    }
    let is_there =
        store.get(&put.key, ground.revision).is_some() && !gone.iter().any(|range| range.contains(&put.key));
    if (put.ignore_value || put.ignore_lease) && !is_there {
        return Err(Status::KeyNotFound);
    }
    Ok(())
}

/// Runs the taken branch of a checked transaction; pools of its ranges are appended depth first.
pub fn execute(store: &mut Store, path: &Path, pools: &mut Vec<Option<Pool>>) -> TxnResponse {
    let mut responses = Vec::with_capacity(path.ops.len());
    let mut nested = path.nested.iter();
    for op in path.ops {
        responses.push(match op {
            RequestOp::Range(request) => {
                let (response, pool) = read(store, request);
                pools.push(pool);
                ResponseOp::Range(range::with_header(response, inner_header(store)))
            }
            RequestOp::Put(request) => ResponseOp::Put(put(store, request)),
            RequestOp::DeleteRange(request) => ResponseOp::DeleteRange(delete(store, request)),
            RequestOp::Txn(_) => {
                let child = nested.next().expect("one path for each nested transaction");
                ResponseOp::Txn(execute(store, child, pools))
            }
            RequestOp::Unset => unreachable!("refused by its form"),
        });
    }
    TxnResponse { header: Header::default(), succeeded: path.succeeded, responses }
}

/// Answers of a read-only transaction at `revision`, without changing anything.
pub fn execute_reads(
    store: &Store,
    path: &Path,
    revision: i64,
    pools: &mut Vec<Option<Pool>>,
) -> TxnResponse {
    let header = Header { revision, raft_term: 0 };
    let mut responses = Vec::with_capacity(path.ops.len());
    for op in path.ops {
        let RequestOp::Range(request) = op else { unreachable!("a read-only transaction has only ranges") };
        let at = if request.revision > 0 { request.revision } else { revision };
        let (response, pool) = range::evaluate(store, request, at);
        pools.push(pool);
        responses.push(ResponseOp::Range(range::with_header(response, header)));
    }
    TxnResponse { header: Header::default(), succeeded: path.succeeded, responses }
}

fn read(store: &Store, request: &RangeRequest) -> (holdfast_core::request::RangeResponse, Option<Pool>) {
    let revision = if request.revision > 0 { request.revision } else { store.open_revision() };
    range::evaluate(store, request, revision)
}

/// Header of an op inside a transaction: the revision before the first change, the new one after it (REV-11).
fn inner_header(store: &Store) -> Header {
    Header { revision: store.open_revision(), raft_term: 0 }
}

/// One put; its header is that of an op inside a transaction.
pub fn put(store: &mut Store, request: &PutRequest) -> PutResponse {
    let before = store.get(&request.key, store.open_revision()).cloned();
    let value = match &before {
        Some(kv) if request.ignore_value => kv.value.clone(),
        _ => request.value.clone(),
    };
    let lease = match &before {
        Some(kv) if request.ignore_lease => kv.lease,
        _ => request.lease,
    };
    store.put(&request.key, value, lease);
    PutResponse { header: inner_header(store), prev_kv: before.filter(|_| request.prev_kv) }
}

/// One delete; its header is that of an op inside a transaction.
pub fn delete(store: &mut Store, request: &DeleteRangeRequest) -> DeleteRangeResponse {
    let gone = store.delete(&KeyRange::new(request.key.clone(), request.range_end.clone()));
    DeleteRangeResponse {
        header: inner_header(store),
        deleted: gone.len() as i64,
        prev_kvs: if request.prev_kv { gone } else { Vec::new() },
    }
}
