//! Locks and elections seen from inside: a lease, a key of that lease, and those who were there before.
//!
//! etcd serves both through its own client, in its own process; what its errors lose on that way they lose here
//! (LOCK-5).
//! Source: etcd 3.7.1 `client/v3/concurrency/{session,key}.go`, `server/etcdserver/api/{v3lock,v3election}`.

use bytes::Bytes;
use holdfast_core::base::{KeyValue, LeaseId, WatchId};
use holdfast_core::boundary::{EventKind, StreamOp, WatchCreate, WatchResponse};
use holdfast_core::request::{
    Compare, CompareTarget, CompareUnion, Credentials, DeleteRangeRequest, LeaseGrantRequest, PutRequest,
    RangeRequest, RangeResponse, Request, RequestOp, Response, SortOrder, SortTarget, TxnRequest,
    TxnResponse,
};
use holdfast_core::status;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::credentials::credentials;
use super::mismatched;
use super::refusal::refusal;
use crate::gate::{Gate, WatchHandle};

/// Seconds of a lease that nobody brought; nobody keeps it alive (LOCK-2).
const TTL_S: i64 = 60;

/// Somebody who takes part, with a caller's rights.
#[derive(Clone, Debug)]
pub struct Session {
    pub gate: Gate,
    credentials: Credentials,
}

impl Session {
    pub fn new(gate: &Gate, metadata: &MetadataMap) -> Session {
        Session { gate: gate.clone(), credentials: credentials(metadata) }
    }

    async fn ask(&self, request: Request) -> Result<Response, Status> {
        self.gate.call(self.credentials.clone(), request).await.map_err(lost)
    }

    /// The lease that a caller brought, or a new one.
    pub async fn lease(&self, given: i64) -> Result<LeaseId, Status> {
        if given != 0 {
            return Ok(LeaseId(given));
        }
        match self.ask(Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(0), ttl: TTL_S })).await? {
            Response::LeaseGrant { id, .. } => Ok(id),
            other => mismatched("LeaseGrant", &other),
        }
    }

    pub async fn txn(&self, txn: TxnRequest) -> Result<TxnResponse, Status> {
        match self.ask(Request::Txn(txn)).await? {
            Response::Txn(txn) => Ok(txn),
            other => mismatched("Txn", &other),
        }
    }

    pub async fn range(&self, range: RangeRequest) -> Result<RangeResponse, Status> {
        match self.ask(Request::Range(range)).await? {
            Response::Range(range) => Ok(range),
            other => mismatched("Range", &other),
        }
    }

    pub async fn delete(&self, key: Bytes) -> Result<holdfast_core::request::Header, Status> {
        let delete = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
        match self.ask(Request::DeleteRange(delete)).await? {
            Response::DeleteRange(delete) => Ok(delete.header),
            other => mismatched("DeleteRange", &other),
        }
    }

    /// Waits until nobody is left under the prefix who came at this revision or before: for the newest of them
    /// to go, then for the newest of those that are left.
    pub async fn wait_for_earlier(&self, prefix: &Prefix, created_max: i64) -> Result<(), Status> {
        let newest = RangeRequest {
            sort_order: SortOrder::Descend,
            max_create_revision: created_max,
            ..prefix.first_created()
        };
        loop {
            let found = self.range(newest.clone()).await?;
            let Some(earlier) = found.kvs.first() else { return Ok(()) };
            let key = Bytes::copy_from_slice(&earlier.key);
            let mut watch = self.watch(key, Bytes::new(), found.header.revision)?;
            let is_delete = |response: &WatchResponse| {
                response.events.iter().any(|event| event.kind == EventKind::Delete)
            };
            while !is_delete(&watch.next().await?) {}
        }
    }

    /// A watch of `[key, range_end)` from a revision on.
    pub fn watch(&self, key: Bytes, range_end: Bytes, start_revision: i64) -> Result<Following, Status> {
        let handle = self.gate.open_stream(self.credentials.clone()).map_err(lost)?;
        let create =
            WatchCreate { key, range_end, start_revision, watch_id: WatchId(0), ..WatchCreate::default() };
        handle.send(StreamOp::Create(create));
        Ok(Following { handle })
    }

    /// Has a request made should the caller go before `keep` is called.
    pub fn undo(&self, request: Request) -> Undo<'_> {
        Undo { session: self, request: Some(request) }
    }
}

/// What is done when a caller goes while it waits.
#[derive(Debug)]
pub struct Undo<'a> {
    session: &'a Session,
    request: Option<Request>,
}

impl Undo<'_> {
    /// What was done stays.
    pub fn keep(mut self) {
        self.request = None;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            self.session.gate.call_unheard(self.session.credentials.clone(), request);
        }
    }
}

/// A watch on a stream of its own.
pub struct Following {
    handle: WatchHandle,
}

impl Following {
    /// The next events. Errors: the watch is over, as the embedded client of etcd would have it said.
    pub async fn next(&mut self) -> Result<WatchResponse, Status> {
        loop {
            let Some(response) = self.handle.recv().await else { return Err(lost(status::Status::Stopped)) };
            self.handle.send(StreamOp::Credit { bytes: response.credit_bytes() });
            if response.canceled {
                return Err(match response.compact_revision {
                    0 => Status::failed_precondition(response.cancel_reason),
                    _ => lost(status::Status::Compacted),
                });
            }
            if !response.events.is_empty() {
                return Ok(response);
            }
        }
    }
}

/// The keys of those who take part: `NAME/` and behind it each one's lease.
#[derive(Clone, Debug)]
pub struct Prefix(Vec<u8>);

impl Prefix {
    pub fn of(name: &[u8]) -> Prefix {
        Prefix([name, b"/"].concat())
    }

    /// The key of who has this lease: in hexadecimal, as Go writes it.
    pub fn key(&self, lease: LeaseId) -> Bytes {
        let sign = if lease.0 < 0 { "-" } else { "" };
        let behind = format!("{sign}{:x}", lease.0.unsigned_abs());
        [&self.0, behind.as_bytes()].concat().into()
    }

    pub fn start(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }

    /// Behind the last key: `0` follows `/`.
    pub fn end(&self) -> Bytes {
        [&self.0[..self.0.len() - 1], b"0"].concat().into()
    }

    /// Who came first of those that are there: who holds the lock, who leads.
    pub fn first_created(&self) -> RangeRequest {
        RangeRequest {
            key: self.start(),
            range_end: self.end(),
            limit: 1,
            sort_order: SortOrder::Ascend,
            sort_target: SortTarget::Create,
            ..RangeRequest::default()
        }
    }
}

/// Whether a key is the one that was created at a revision; 0: whether it is not there.
pub fn is_created_at(key: &Bytes, revision: i64) -> Compare {
    Compare {
        target: CompareTarget::Create,
        key: key.clone(),
        union: CompareUnion::Create(revision),
        ..Compare::default()
    }
}

pub fn put(key: &Bytes, value: Bytes, lease: LeaseId) -> RequestOp {
    RequestOp::Put(PutRequest { key: key.clone(), value, lease, ..PutRequest::default() })
}

pub fn get(key: &Bytes) -> RangeRequest {
    RangeRequest { key: key.clone(), ..RangeRequest::default() }
}

/// The first key that an operation of a txn found.
pub fn found(txn: &TxnResponse, op: usize) -> Option<&KeyValue> {
    match txn.responses.get(op) {
        Some(holdfast_core::request::ResponseOp::Range(range)) => range.kvs.first(),
        _ => None,
    }
}

/// A refusal that came through a client: the text is left of it (LOCK-5).
fn lost(refused: status::Status) -> Status {
    match refused {
        status::Status::ContextCanceled | status::Status::ContextDeadlineExceeded => refusal(refused),
        _ => Status::unknown(refused.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_by_their_lease_as_go_writes_it() {
        let prefix = Prefix::of(b"a/b");
        assert_eq!(prefix.key(LeaseId(0x7fff_ffff_ffff_ffff)), &b"a/b/7fffffffffffffff"[..]);
        assert_eq!(prefix.key(LeaseId(10)), &b"a/b/a"[..]);
        assert_eq!(prefix.key(LeaseId(-5)), &b"a/b/-5"[..]);
        assert_eq!((prefix.start(), prefix.end()), (Bytes::from("a/b/"), Bytes::from("a/b0")));
        assert_eq!((Prefix::of(b"").start(), Prefix::of(b"").end()), (Bytes::from("/"), Bytes::from("0")));
    }
}
