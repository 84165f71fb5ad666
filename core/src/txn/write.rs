//! Changes of keys inside the open revision, with what they do to leases.

use std::ops::ControlFlow;
use std::vec::IntoIter;

use bytes::Bytes;

use super::execute::seen_revision;
use crate::base::{Key, KeyRange, KeyValue, LeaseId};
use crate::lease::Leases;
use crate::mvcc::{Mvcc, Record, Resume};
use crate::request::{DeleteRangeRequest, DeleteRangeResponse, Header, PutRequest, PutResponse};

/// Keys looked up ahead of their deletion; bounds what a slice holds beside its answer.
const DELETE_BATCH_KEYS: u32 = 1024;

/// Puts a key; what it relies on was checked. The lease follows the key's newest version (LEASE-16).
pub(super) fn put_key(mvcc: &mut Mvcc, leases: &mut Leases, put: &PutRequest) -> PutResponse {
    let revision = mvcc.revision() + 1;
    let kept = (put.ignore_value || put.ignore_lease).then(|| {
        let record = mvcc.get(&put.key, revision).expect("checked: the key is there");
        (record.value.clone(), record.lease)
    });
    let (value, lease) = match kept {
        // A slice of the request would keep the whole buffer that it came in.
        None => (Bytes::copy_from_slice(&put.value), put.lease),
        Some((value, lease)) => (
            if put.ignore_value { value } else { Bytes::copy_from_slice(&put.value) },
            if put.ignore_lease { lease } else { put.lease },
        ),
    };
    let before = mvcc.put(&put.key, value, lease);
    let lease_before = before.map_or(LeaseId(0), |record| record.lease);
    let prev_kv = before.filter(|_| put.prev_kv).map(Record::to_kv);
    if lease != lease_before {
        detach(leases, lease_before, &put.key);
        if lease != LeaseId(0) {
            let record = mvcc.get(&put.key, revision).expect("it was put just now");
            let is_attached = leases.attach(lease, &record.key);
            assert!(is_attached, "checked: lease {lease} is there");
        }
    }
    PutResponse { header: Header { revision, ..Default::default() }, prev_kv }
}

/// Deletes a key; its record before, `None` if there was nothing to delete.
fn delete_key<'a>(mvcc: &'a mut Mvcc, leases: &mut Leases, key: &[u8]) -> Option<&'a Record> {
    let before = mvcc.delete(key)?;
    detach(leases, before.lease, key);
    Some(before)
}

fn detach(leases: &mut Leases, lease: LeaseId, key: &[u8]) {
    if lease != LeaseId(0) {
        let was_attached = leases.detach(lease, key);
        assert!(was_attached, "a key with lease {lease} is attached to it");
    }
}

/// A DeleteRange being carried out: finds a batch of keys, deletes it, finds the next.
#[derive(Debug)]
pub(super) struct DeleteRun {
    range: KeyRange,
    prev_kv: bool,
    from: Option<Resume>,
    is_all_found: bool,
    batch: IntoIter<Key>,
    deleted: i64,
    prev_kvs: Vec<KeyValue>,
}

impl DeleteRun {
    pub fn new(request: DeleteRangeRequest) -> DeleteRun {
        DeleteRun {
            range: KeyRange::new(request.key, request.range_end),
            prev_kv: request.prev_kv,
            from: None,
            is_all_found: false,
            batch: Vec::new().into_iter(),
            deleted: 0,
            prev_kvs: Vec::new(),
        }
    }

    /// The answer once all is deleted.
    pub fn step(
        &mut self,
        mvcc: &mut Mvcc,
        leases: &mut Leases,
        work: &mut u32,
    ) -> Option<DeleteRangeResponse> {
        loop {
            while !self.batch.as_slice().is_empty() {
                *work = work.checked_sub(1)?;
                let key = self.batch.next()?;
                let before = delete_key(mvcc, leases, &key).expect("no step came between find and delete");
                self.deleted += 1;
                if self.prev_kv {
                    self.prev_kvs.push(before.to_kv());
                }
            }
            if self.is_all_found {
                let header = Header { revision: seen_revision(mvcc), ..Default::default() };
                let prev_kvs = std::mem::take(&mut self.prev_kvs);
                return Some(DeleteRangeResponse { header, deleted: self.deleted, prev_kvs });
            }
            self.find(mvcc, work)?;
        }
    }

    fn find(&mut self, mvcc: &Mvcc, work: &mut u32) -> Option<()> {
        if *work == 0 {
            return None;
        }
        let mut batch = Vec::new();
        let slice = DELETE_BATCH_KEYS.min(*work);
        let mut left = slice;
        self.from =
            mvcc.scan(&self.range, mvcc.revision() + 1, self.from.as_ref(), &mut left, &mut |record| {
                batch.push(record.key.clone());
                ControlFlow::Continue(())
            });
        *work -= slice - left;
        self.is_all_found = self.from.is_none();
        self.batch = batch.into_iter();
        Some(())
    }
}

/// A lease revoke being applied: deletes the lease's keys in ascending order as one revision (REV-3, LEASE-6).
/// The caller has checked that the lease exists, and drops it when the run is over. Until then the same holds
/// as for `TxnRun`.
#[derive(Debug)]
pub struct RevokeRun {
    lease: LeaseId,
    is_begun: bool,
}

impl RevokeRun {
    pub fn new(lease: LeaseId) -> RevokeRun {
        RevokeRun { lease, is_begun: false }
    }

    /// Goes on for about `work` keys; `Some` once all keys are deleted: whether that took a revision.
    pub fn step(&mut self, mvcc: &mut Mvcc, leases: &mut Leases, work: &mut u32) -> Option<bool> {
        if !self.is_begun {
            mvcc.begin();
            self.is_begun = true;
        }
        while let Some(key) = leases.first_key(self.lease) {
            *work = work.checked_sub(1)?;
            let key = key.clone();
            let before = delete_key(mvcc, leases, &key);
            assert!(before.is_some(), "a key attached to lease {} is alive", self.lease);
        }
        Some(mvcc.end())
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
