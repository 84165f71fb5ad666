//! What one answer says of the database it was given by.

use holdfast_core::base::LeaseId;
use holdfast_core::request::{CompactRequest, LeaseGrantRequest, Request, Response};
use holdfast_core::status::Status;

use super::history::Call;
use crate::oracle::expect::Expected;
use crate::oracle::model::Model;
use crate::oracle::{range, txn};

/// Whether a write changes only what has no revision, but for the keys that a revoke takes along.
pub fn is_quiet(request: &Request) -> bool {
    matches!(request, Request::Compact(_) | Request::LeaseGrant(_) | Request::LeaseRevoke { .. })
}

/// Whether a revoke takes a lease away: a refused one does not.
pub fn may_end_lease(call: &Call) -> bool {
    call.answer.as_ref().is_none_or(|answer| !matches!(answer.result, Err(Status::LeaseNotFound)))
}

/// What a write becomes in the log: a grant has its id and effective TTL filled in, from the answer where the
/// server chose. `None` if the answer cannot be one to it.
pub fn decree(call: &Call, ttl_min_s: i64) -> Option<Request> {
    match &call.request {
        Request::LeaseGrant(asked) => {
            let ttl = asked.ttl.max(ttl_min_s);
            let id = match call.answer.as_ref().map(|answer| &answer.result) {
                Some(Ok(Response::LeaseGrant { id, .. })) => *id,
                _ => asked.id,
            };
            let is_answer = asked.id == id || (asked.id == LeaseId(0) && id.0 > 0);
            is_answer.then_some(Request::LeaseGrant(LeaseGrantRequest { id, ttl }))
        }
        Request::Compact(asked) => {
            Some(Request::Compact(CompactRequest { revision: asked.revision, physical: false }))
        }
        other => Some(other.clone()),
    }
}

/// Whether a read's answer is true of the database as it is now. Keys of a lease may be those of any revision
/// from now to `ceiling`, since they are collected while others write.
pub fn fits(model: &Model, call: &Call, ceiling: i64) -> bool {
    let Some(answer) = &call.answer else { return false };
    let now = model.now();
    match (&call.request, &answer.result) {
        (Request::Range(request), got) => now.range(request).agrees(&call.request, got),
        (Request::Txn(request), got) => now.read_txn(request).agrees(&call.request, got),
        (Request::LeaseKeepAlive { id }, Ok(Response::LeaseKeepAlive { id: answered, ttl, .. })) => {
            id == answered && *ttl == now.lease(*id).unwrap_or(0)
        }
        (
            Request::LeaseTimeToLive { id, keys: wants_keys },
            Ok(Response::LeaseTimeToLive { id: answered, ttl, granted_ttl, keys, .. }),
        ) => {
            let is_gone = (*ttl, *granted_ttl, keys.len()) == (-1, 0, 0);
            let is_true = match now.lease(*id) {
                None => is_gone,
                Some(granted) => granted == *granted_ttl && (*wants_keys || keys.is_empty()),
            };
            // Nothing was written meanwhile: the keys are exact.
            let is_whole = ceiling > now.revision() || !*wants_keys || *keys == now.keys_of_lease(*id);
            id == answered && is_true && is_whole
        }
        _ => false,
    }
}

/// Whether a read shows the store at a revision.
pub fn shows(model: &Model, call: &Call, got: &Result<Response, Status>, revision: i64) -> bool {
    let (mut response, pools) = match &call.request {
        Request::Range(request) => {
            let (response, pool) = range::evaluate(&model.store, request, revision);
            (Response::Range(response), vec![pool])
        }
        Request::Txn(request) => {
            let path = txn::Path::choose(&model.store, revision, request);
            let mut pools = Vec::new();
            (Response::Txn(txn::execute_reads(&model.store, &path, revision, &mut pools)), pools)
        }
        _ => return false,
    };
    // An explicit revision may be older than the member's, which the header names.
    let header = got.as_ref().ok().and_then(Response::header).copied();
    if let (Some(to), Some(header)) = (response.header_mut(), header) {
        *to = header;
    }
    Expected { result: Ok(response), pools }.agrees(&call.request, got)
}
