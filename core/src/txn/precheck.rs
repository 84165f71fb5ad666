//! Whether a plan can be carried out, judged as a whole before anything is changed.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::plan::Step;
use crate::base::{KeyRange, LeaseId};
use crate::keyset::KeySet;
use crate::lease::Leases;
use crate::mvcc::Mvcc;
use crate::request::{PutRequest, RangeRequest};
use crate::status::Status;

/// A plan being checked against the state before it, step by step in order (TXN-8).
#[derive(Debug)]
pub(super) struct Precheck {
    steps: Vec<Step>,
    next: usize,
    /// What the steps checked so far will have done; kept only if some put relies on its key's existence.
    effects: Option<Effects>,
}

impl Precheck {
    pub fn new(steps: Vec<Step>) -> Precheck {
        let needs_key = |step: &Step| matches!(step, Step::Put(put) if put.ignore_value || put.ignore_lease);
        // With one step there is nothing before it.
        let effects = (steps.len() > 1 && steps.iter().any(needs_key)).then(Effects::default);
        Precheck { steps, next: 0, effects }
    }

    /// The plan once all of it is checked, or the refusal of its first bad step.
    pub fn step(
        &mut self,
        mvcc: &Mvcc,
        leases: &Leases,
        work: &mut u32,
    ) -> Option<Result<Vec<Step>, Status>> {
        while let Some(step) = self.steps.get(self.next) {
            *work = work.checked_sub(1)?;
            let checked = match step {
                Step::Range(range) => check_range_revision(range, mvcc.revision(), mvcc.compact_revision()),
                Step::Put(put) => check_put(put, mvcc, leases, self.effects.as_ref()),
                Step::Enter { .. } | Step::DeleteRange(_) | Step::Leave => Ok(()),
            };
            if let Err(status) = checked {
                return Some(Err(status));
            }
            match (step, &mut self.effects) {
                (Step::Put(put), Some(effects)) => effects.put(&put.key),
                (Step::DeleteRange(delete), Some(effects)) => {
                    effects.delete(&KeyRange::new(delete.key.clone(), delete.range_end.clone()));
                }
                _ => {}
            }
            self.next += 1;
        }
        Some(Ok(std::mem::take(&mut self.steps)))
    }
}

/// Checks the revision of a range inside a txn: a negative one is below the compacted one, if there was a
/// compaction, and not the current one as outside (RG-8).
pub(super) fn check_range_revision(
    range: &RangeRequest,
    current: i64,
    compact_revision: i64,
) -> Result<(), Status> {
    match range.revision {
        0 => Ok(()),
        revision if revision > current => Err(Status::FutureRev),
        revision if revision < compact_revision => Err(Status::Compacted),
        _ => Ok(()),
    }
}

/// Checks the lease, then the existence of the key if the put relies on it (PUT-3, PUT-4).
fn check_put(
    put: &PutRequest,
    mvcc: &Mvcc,
    leases: &Leases,
    effects: Option<&Effects>,
) -> Result<(), Status> {
    if put.lease != LeaseId(0) && !leases.exists(put.lease) {
        return Err(Status::LeaseNotFound);
    }
    if put.ignore_value || put.ignore_lease {
        let exists = effects
            .and_then(|effects| effects.leave(&put.key))
            .unwrap_or_else(|| mvcc.get(&put.key, mvcc.revision()).is_some());
        if !exists {
            return Err(Status::KeyNotFound);
        }
    }
    Ok(())
}

/// What earlier steps of a plan will have done to keys. etcd checks against the state before the txn only,
/// and dies of an `ignore_*` put whose key the txn itself deletes first (TXN-16): here it is refused.
#[derive(Debug, Default)]
struct Effects {
    /// Keys deleted by any step so far.
    deleted: KeySet,
    /// Keys put since they were last deleted.
    put: BTreeSet<Bytes>,
}

impl Effects {
    fn put(&mut self, key: &Bytes) {
        self.put.insert(key.clone());
    }

    fn delete(&mut self, range: &KeyRange) {
        let behind_start = self.put.range(range.start.clone()..);
        let covered: Vec<Bytes> = behind_start.take_while(|key| range.is_before_end(key)).cloned().collect();
        for key in covered {
            self.put.remove(&key);
        }
        self.deleted.insert(range);
    }

    /// Whether `key` is there after these steps; `None` if none of them touches it.
    fn leave(&self, key: &[u8]) -> Option<bool> {
        if self.put.contains(key) {
            return Some(true);
        }
        self.deleted.contains(key).then_some(false)
    }
}
