//! Keys as anybody saw them anywhere: each says what its revision put, and what did not happen since.

use std::collections::BTreeMap;

use holdfast_core::base::{Key, KeyValue, LeaseId};
use holdfast_core::boundary::EventKind;
use holdfast_core::request::{Request, RequestOp, Response, ResponseOp, TxnRequest, TxnResponse};

use super::ground::shown_at;
use super::history::{Call, ClientHistory, Passed};
use crate::oracle::store::Store;

/// A key as somebody saw it. Some answers leave out value and lease.
#[derive(Clone, Debug)]
struct Fact {
    kv: KeyValue,
    is_whole: bool,
}

/// A key that was put at `modified` in the generation of `create`, and was so until `until` at least.
#[derive(Clone, Copy, Debug)]
struct Kept {
    create: i64,
    modified: i64,
    until: i64,
}

/// All that was seen of keys.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// By the revision that put them.
    put: BTreeMap<i64, Vec<Fact>>,
    kept: BTreeMap<Key, Vec<Kept>>,
    /// The newest revision at which a key was seen to hang on a lease.
    pub attached: BTreeMap<LeaseId, i64>,
}

impl Facts {
    pub fn of(history: &ClientHistory) -> Facts {
        let mut facts = Facts::default();
        for call in &history.calls {
            facts.take_call(call);
        }
        for (_, passed) in history.streams.iter().flat_map(|stream| &stream.passed) {
            let Passed::Told(response) = passed else { continue };
            for event in response.events.iter() {
                let revision = event.kv.mod_revision;
                if event.kind == EventKind::Put {
                    facts.add(&event.kv, true, revision);
                }
                event.prev_kv.iter().for_each(|kv| facts.add(kv, true, revision - 1));
            }
        }
        facts
    }

    fn take_call(&mut self, call: &Call) {
        let Some(Ok(response)) = call.answer.as_ref().map(|answer| &answer.result) else { return };
        let Some(revision) = call.revision() else { return };
        let shown = shown_at(&call.request, response, revision).unwrap_or(revision);
        match (&call.request, response) {
            (Request::Range(request), Response::Range(range)) => {
                range.kvs.iter().for_each(|kv| self.add(kv, !request.keys_only, shown));
            }
            (_, Response::Put(put)) => put.prev_kv.iter().for_each(|kv| self.add(kv, true, revision - 1)),
            (_, Response::DeleteRange(delete)) => {
                delete.prev_kvs.iter().for_each(|kv| self.add(kv, true, revision - 1));
            }
            (Request::Txn(request), Response::Txn(txn)) => self.take_txn(request, txn),
            _ => {}
        }
    }

    /// What a transaction shows may be its own doing, or older than its revision: it says only who put it.
    fn take_txn(&mut self, request: &TxnRequest, response: &TxnResponse) {
        let ops = if response.succeeded { &request.success } else { &request.failure };
        for (op, response) in ops.iter().zip(&response.responses) {
            match (op, response) {
                (RequestOp::Range(request), ResponseOp::Range(range)) => {
                    range.kvs.iter().for_each(|kv| self.add(kv, !request.keys_only, kv.mod_revision));
                }
                (_, ResponseOp::Put(put)) => {
                    put.prev_kv.iter().for_each(|kv| self.add(kv, true, kv.mod_revision));
                }
                (_, ResponseOp::DeleteRange(delete)) => {
                    delete.prev_kvs.iter().for_each(|kv| self.add(kv, true, kv.mod_revision));
                }
                (RequestOp::Txn(request), ResponseOp::Txn(txn)) => self.take_txn(request, txn),
                _ => {}
            }
        }
    }

    fn add(&mut self, kv: &KeyValue, is_whole: bool, until: i64) {
        if is_whole && kv.lease.0 != 0 {
            let newest = self.attached.entry(kv.lease).or_default();
            *newest = until.max(*newest);
        }
        let kept = self.kept.entry(kv.key.clone()).or_default();
        let (create, modified) = (kv.create_revision, kv.mod_revision);
        match kept.iter_mut().find(|kept| (kept.create, kept.modified) == (create, modified)) {
            Some(known) => known.until = until.max(known.until),
            None => kept.push(Kept { create, modified, until }),
        }
        let put = self.put.entry(modified).or_default();
        if !put.iter().any(|fact| fact.kv == *kv && fact.is_whole == is_whole) {
            put.push(Fact { kv: kv.clone(), is_whole });
        }
    }

    /// Whether the newest revision of a store is what was seen. Errors: what was seen instead.
    pub fn check(&self, store: &Store, revision: i64) -> Result<(), String> {
        let changes = store.changes(revision);
        for fact in self.put.get(&revision).into_iter().flatten() {
            let seen = &fact.kv;
            let is_put = changes.iter().any(|change| {
                let made = &change.kv;
                change.kind == EventKind::Put
                    && (&made.key, made.create_revision, made.version)
                        == (&seen.key, seen.create_revision, seen.version)
                    && (!fact.is_whole || made == seen)
            });
            if !is_put {
                return Err(format!("{seen:?} was seen, revision {revision} did not put it"));
            }
        }
        for change in changes {
            let kept = self.kept.get(&change.kv.key).into_iter().flatten();
            // One transaction may put a key and delete it.
            let is_broken = |kept: &Kept| {
                let is_within = kept.create < revision && revision < kept.modified;
                let is_behind = kept.modified < revision && revision <= kept.until;
                is_behind || (is_within && change.kind == EventKind::Delete)
            };
            let broken = kept.clone().find(|kept| is_broken(kept));
            if let Some(kept) = broken {
                return Err(format!("{change:?} came between: {kept:?} was seen"));
            }
        }
        Ok(())
    }
}
