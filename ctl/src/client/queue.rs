//! Keys under one prefix that wait their turn by creation: what locks and elections are made of.
//!
//! Source: etcd 3.7.1 client/v3/concurrency (mutex.go, election.go, key.go).

use holdfast_core::boundary::EventKind;
use holdfast_net::proto::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request as Op;

use super::keys::prefix_end;
use super::watch::Watcher;
use super::{CallError, Client};

/// A key of ours in the queue.
pub struct Place {
    pub key: Vec<u8>,
    pub create_revision: i64,
    /// Whether we put it there, or found it.
    pub is_new: bool,
    /// The value that was found.
    pub value: Vec<u8>,
}

/// `prefix` and the lease in hexadecimal: each session has one place.
fn place_key(prefix: &[u8], lease: i64) -> Vec<u8> {
    let sign = if lease < 0 { "-" } else { "" };
    [prefix, format!("{sign}{:x}", lease.unsigned_abs()).as_bytes()].concat()
}

pub fn compare_created(key: &[u8], revision: i64) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.to_vec().into(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..pb::Compare::default()
    }
}

pub fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

impl Client {
    /// Takes a place at the queue's end, or finds the one that the session has.
    pub async fn take_place(&self, prefix: &[u8], lease: i64, value: &[u8]) -> Result<Place, CallError> {
        let key = place_key(prefix, lease);
        let put = pb::PutRequest {
            key: key.clone().into(),
            value: value.to_vec().into(),
            lease,
            ..pb::PutRequest::default()
        };
        let get = pb::RangeRequest { key: key.clone().into(), ..pb::RangeRequest::default() };
        let request = pb::TxnRequest {
            compare: vec![compare_created(&key, 0)],
            success: vec![op(Op::RequestPut(put))],
            failure: vec![op(Op::RequestRange(get))],
        };
        let answer = self.txn(request).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        if answer.succeeded {
            return Ok(Place { key, create_revision: revision, is_new: true, value: value.to_vec() });
        }
        let found = answer.responses.into_iter().find_map(|response| match response.response {
            Some(pb::response_op::Response::ResponseRange(range)) => range.kvs.into_iter().next(),
            _ => None,
        });
        let kv = found.ok_or_else(|| CallError::Own("a key that exists was not found".to_owned()))?;
        Ok(Place { key, create_revision: kv.create_revision, is_new: false, value: kv.value.to_vec() })
    }

    /// Waits until nobody stands before `create_revision`; gives whether anybody did.
    pub async fn wait_turn(&self, prefix: &[u8], create_revision: i64) -> Result<bool, CallError> {
        let mut has_waited = false;
        loop {
            let last_before = pb::RangeRequest {
                key: prefix.to_vec().into(),
                range_end: prefix_end(prefix).into(),
                limit: 1,
                sort_order: SortOrder::Descend.into(),
                sort_target: SortTarget::Create.into(),
                max_create_revision: create_revision - 1,
                ..pb::RangeRequest::default()
            };
            let answer = self.range(last_before).await?;
            let Some(kv) = answer.kvs.first() else { return Ok(has_waited) };
            has_waited = true;
            let revision = answer.header.map_or(0, |header| header.revision);
            self.wait_deleted(&kv.key, revision).await?;
        }
    }

    async fn wait_deleted(&self, key: &[u8], revision: i64) -> Result<(), CallError> {
        let create = pb::WatchCreateRequest {
            key: key.to_vec().into(),
            start_revision: revision,
            ..pb::WatchCreateRequest::default()
        };
        let mut watcher = Watcher::new(self, create);
        while let Some(told) = watcher.next().await {
            if told.events.iter().any(|event| event.kind == EventKind::Delete) {
                return Ok(());
            }
            if let Some(text) = told.error() {
                return Err(CallError::Own(text));
            }
        }
        Err(CallError::Own("lost watcher waiting for delete".to_owned()))
    }

    /// Who stands first.
    pub async fn first_in_queue(&self, prefix: &[u8]) -> Result<pb::RangeResponse, CallError> {
        let first = pb::RangeRequest {
            key: prefix.to_vec().into(),
            range_end: prefix_end(prefix).into(),
            limit: 1,
            sort_order: SortOrder::Ascend.into(),
            sort_target: SortTarget::Create.into(),
            ..pb::RangeRequest::default()
        };
        self.range(first).await
    }

    /// Gives a place up, if it is still ours.
    pub async fn leave(&self, place: &Place) -> Result<(), CallError> {
        let delete =
            pb::DeleteRangeRequest { key: place.key.clone().into(), ..pb::DeleteRangeRequest::default() };
        let request = pb::TxnRequest {
            compare: vec![compare_created(&place.key, place.create_revision)],
            success: vec![op(Op::RequestDeleteRange(delete))],
            failure: Vec::new(),
        };
        self.txn(request).await.map(drop)
    }

    pub async fn get(&self, key: &[u8]) -> Result<pb::RangeResponse, CallError> {
        self.range(pb::RangeRequest { key: key.to_vec().into(), ..pb::RangeRequest::default() }).await
    }
}
