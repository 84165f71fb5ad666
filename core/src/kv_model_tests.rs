//! Random requests against a naive model, in slices of every size.
//!
//! The model keeps a whole copy of the key space for each revision and executes by recursion: it shares no
//! code with the runs but the request types. It takes its rules from the contract (RG, PUT, DEL, TXN).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::base::{Key, KeyRange, KeyValue, LeaseId, Value};
use crate::kv_fixture::{Kv, bytes, range_of};
use crate::request::*;
use crate::status::Status;
use crate::txn::TxnRun;

type Space = BTreeMap<Vec<u8>, KeyValue>;

struct Model {
    /// Key space by revision, from revision 1 on.
    spaces: Vec<Space>,
    compact_revision: i64,
    leases: BTreeSet<i64>,
}

/// A write in progress.
struct Open {
    space: Space,
    /// Revision before it.
    begin: i64,
    changes: u32,
}

impl Open {
    fn seen(&self) -> i64 {
        self.begin + i64::from(self.changes > 0)
    }
}

impl Model {
    fn revision(&self) -> i64 {
        self.spaces.len() as i64
    }

    fn current(&self) -> &Space {
        self.spaces.last().expect("revision 1 is there")
    }

    fn at(&self, revision: i64) -> &Space {
        &self.spaces[revision as usize - 1]
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Status> {
        let space = match request.revision {
            revision if revision > self.revision() => return Err(Status::FutureRev),
            revision if revision <= 0 => self.current(),
            revision if revision < self.compact_revision => return Err(Status::Compacted),
            revision => self.at(revision),
        };
        let answer = range_in(space, request);
        Ok(RangeResponse { header: header(self.revision()), ..answer })
    }

    fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Status> {
        let mut open = Open { space: self.current().clone(), begin: self.revision(), changes: 0 };
        self.check(request, &mut self.current().clone())?;
        let mut answer = self.execute(request, &mut open);
        answer.header = header(open.seen());
        if open.changes > 0 {
            self.spaces.push(open.space);
        }
        Ok(answer)
    }

    fn branch<'a>(&self, request: &'a TxnRequest) -> (bool, &'a [RequestOp]) {
        let succeeded = request.compare.iter().all(|compare| holds(self.current(), compare));
        (succeeded, if succeeded { &request.success } else { &request.failure })
    }

    /// Checks the taken path; `space` follows what it would do to the keys' existence.
    fn check(&self, request: &TxnRequest, space: &mut Space) -> Result<(), Status> {
        for op in self.branch(request).1 {
            match op {
                RequestOp::Range(range) if range.revision > self.revision() => return Err(Status::FutureRev),
                RequestOp::Range(range) if range.revision != 0 && range.revision < self.compact_revision => {
                    return Err(Status::Compacted);
                }
                RequestOp::Put(put) => {
                    if put.lease.0 != 0 && !self.leases.contains(&put.lease.0) {
                        return Err(Status::LeaseNotFound);
                    }
                    if (put.ignore_value || put.ignore_lease) && !space.contains_key(&put.key[..]) {
                        return Err(Status::KeyNotFound);
                    }
                    let kv = KeyValue {
                        key: Key::from(&put.key[..]),
                        value: Value::new(),
                        create_revision: 0,
                        mod_revision: 0,
                        version: 0,
                        lease: LeaseId(0),
                    };
                    space.insert(put.key.to_vec(), kv);
                }
                RequestOp::DeleteRange(delete) => {
                    let range = KeyRange::new(delete.key.clone(), delete.range_end.clone());
                    space.retain(|key, _| !range.contains(key));
                }
                RequestOp::Txn(nested) => self.check(nested, space)?,
                RequestOp::Range(_) | RequestOp::Unset => {}
            }
        }
        Ok(())
    }

    fn execute(&self, request: &TxnRequest, open: &mut Open) -> TxnResponse {
        let (succeeded, ops) = self.branch(request);
        let mut responses = Vec::new();
        for op in ops {
            responses.push(match op {
                RequestOp::Range(range) => {
                    let past = (range.revision > 0).then(|| self.at(range.revision));
                    let answer = range_in(past.unwrap_or(&open.space), range);
                    ResponseOp::Range(RangeResponse { header: header(open.seen()), ..answer })
                }
                RequestOp::Put(put) => ResponseOp::Put(execute_put(put, open)),
                RequestOp::DeleteRange(delete) => ResponseOp::DeleteRange(execute_delete(delete, open)),
                RequestOp::Txn(nested) => ResponseOp::Txn(self.execute(nested, open)),
                RequestOp::Unset => panic!("the static checks refuse it"),
            });
        }
        TxnResponse { header: header(0), succeeded, responses }
    }
}

fn header(revision: i64) -> Header {
    Header { revision, raft_term: 0 }
}

fn execute_put(put: &PutRequest, open: &mut Open) -> PutResponse {
    let revision = open.begin + 1;
    let before = open.space.get(&put.key[..]).cloned();
    let old = before.as_ref();
    let kept = |ignored: bool| old.filter(|_| ignored);
    let kv = KeyValue {
        key: Key::from(&put.key[..]),
        value: kept(put.ignore_value).map_or(put.value.clone(), |kv| kv.value.clone()),
        create_revision: old.map_or(revision, |kv| kv.create_revision),
        mod_revision: revision,
        version: old.map_or(1, |kv| kv.version + 1),
        lease: kept(put.ignore_lease).map_or(put.lease, |kv| kv.lease),
    };
    open.space.insert(put.key.to_vec(), kv);
    open.changes += 1;
    PutResponse { header: header(revision), prev_kv: before.filter(|_| put.prev_kv) }
}

fn execute_delete(delete: &DeleteRangeRequest, open: &mut Open) -> DeleteRangeResponse {
    let range = KeyRange::new(delete.key.clone(), delete.range_end.clone());
    let gone: Vec<KeyValue> = open.space.values().filter(|kv| range.contains(&kv.key)).cloned().collect();
    open.space.retain(|key, _| !range.contains(key));
    open.changes += gone.len() as u32;
    let deleted = gone.len() as i64;
    let prev_kvs = if delete.prev_kv { gone } else { vec![] };
    DeleteRangeResponse { header: header(open.seen()), deleted, prev_kvs }
}

/// Fetch, filter, sort, cut, strip: in etcd's order, each over the whole list.
fn range_in(space: &Space, request: &RangeRequest) -> RangeResponse {
    let range = KeyRange::new(request.key.clone(), request.range_end.clone());
    let mut kvs: Vec<KeyValue> = space.values().filter(|kv| range.contains(&kv.key)).cloned().collect();
    let count = kvs.len() as i64;
    if request.count_only {
        return RangeResponse { count, ..Default::default() };
    }
    let limit = if request.limit > 0 { request.limit as usize } else { usize::MAX };
    let filters = [
        (request.max_mod_revision, true, false),
        (request.min_mod_revision, false, false),
        (request.max_create_revision, true, true),
        (request.min_create_revision, false, true),
    ];
    let is_filtered = filters.iter().any(|filter| filter.0 != 0);
    let by_key = request.sort_target == SortTarget::Key;
    let is_default =
        request.sort_order == SortOrder::None || (by_key && request.sort_order == SortOrder::Ascend);
    if is_default && !is_filtered {
        kvs.truncate(limit.saturating_add(1));
    }
    for (bound, is_max, is_create) in filters.into_iter().filter(|filter| filter.0 != 0) {
        let of = |kv: &KeyValue| if is_create { kv.create_revision } else { kv.mod_revision };
        kvs.retain(|kv| if is_max { of(kv) <= bound } else { of(kv) >= bound });
    }
    kvs.sort_by(|a, b| {
        let ordering = match request.sort_target {
            SortTarget::Key | SortTarget::Unknown(_) => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if request.sort_order == SortOrder::Descend { ordering.reverse() } else { ordering }
    });
    let more = kvs.len() > limit;
    kvs.truncate(limit);
    for kv in kvs.iter_mut().filter(|_| request.keys_only) {
        kv.value = Value::new();
        if request.sort_target != SortTarget::Value {
            kv.lease = LeaseId(0);
        }
    }
    RangeResponse { kvs, more, count, ..Default::default() }
}

fn holds(space: &Space, compare: &Compare) -> bool {
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    let mut kvs = space.values().filter(|kv| range.contains(&kv.key)).peekable();
    if kvs.peek().is_none() {
        return compare.target != CompareTarget::Value && ordering_holds(compare, 0, &[]);
    }
    kvs.all(|kv| {
        let stored = match compare.target {
            CompareTarget::Version => kv.version,
            CompareTarget::Create => kv.create_revision,
            CompareTarget::Mod => kv.mod_revision,
            CompareTarget::Lease => kv.lease.0,
            CompareTarget::Value | CompareTarget::Unknown(_) => 0,
        };
        ordering_holds(compare, stored, &kv.value)
    })
}

fn ordering_holds(compare: &Compare, stored: i64, value: &[u8]) -> bool {
    let given = match (&compare.target, &compare.union) {
        (CompareTarget::Version, CompareUnion::Version(n))
        | (CompareTarget::Create, CompareUnion::Create(n)) => *n,
        (CompareTarget::Mod, CompareUnion::Mod(n)) | (CompareTarget::Lease, CompareUnion::Lease(n)) => *n,
        _ => 0,
    };
    let given_value: &[u8] = if let CompareUnion::Value(value) = &compare.union { value } else { &[] };
    let ordering = match compare.target {
        CompareTarget::Value => value.cmp(given_value),
        CompareTarget::Unknown(_) => std::cmp::Ordering::Equal,
        _ => stored.cmp(&given),
    };
    match compare.result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Unknown(_) => true,
    }
}

// --- random requests

/// Draws requests over a few keys, so that they meet.
struct Draw {
    rng: ChaCha8Rng,
    revision: i64,
}

impl Draw {
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn key(&mut self) -> Bytes {
        bytes(["a", "b", "ba", "c", "d", "e", "f", "g"].choose(&mut self.rng).expect("there are keys"))
    }

    fn end(&mut self) -> Bytes {
        match self.rng.random_range(0..6) {
            0..=2 => Bytes::new(),
            3 => bytes("\0"),
            _ => self.key(),
        }
    }

    fn value(&mut self) -> Bytes {
        bytes(["", "x", "y", "yy"].choose(&mut self.rng).expect("there are values"))
    }

    /// 0 to 3 are granted at first, 4 never is.
    fn lease(&mut self) -> LeaseId {
        let is_leased = self.chance(40);
        LeaseId(if is_leased { self.rng.random_range(0..40) / 9 } else { 0 })
    }

    fn past(&mut self) -> i64 {
        self.rng.random_range(-1..=self.revision + 1)
    }

    fn bound(&mut self) -> i64 {
        if self.chance(85) { 0 } else { self.past() }
    }

    fn range(&mut self) -> RangeRequest {
        RangeRequest {
            key: self.key(),
            range_end: self.end(),
            limit: self.rng.random_range(-1..5),
            revision: if self.chance(85) { 0 } else { self.past() },
            sort_order: self.rng.random_range(0..3).into(),
            sort_target: self.rng.random_range(0..5).into(),
            serializable: self.chance(50),
            keys_only: self.chance(30),
            count_only: self.chance(10),
            min_mod_revision: self.bound(),
            max_mod_revision: self.bound(),
            min_create_revision: self.bound(),
            max_create_revision: self.bound(),
        }
    }

    fn put(&mut self) -> PutRequest {
        let (ignore_value, ignore_lease) = (self.chance(15), self.chance(15));
        PutRequest {
            key: self.key(),
            value: if ignore_value { Bytes::new() } else { self.value() },
            lease: if ignore_lease { LeaseId(0) } else { self.lease() },
            prev_kv: self.chance(50),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        DeleteRangeRequest { key: self.key(), range_end: self.end(), prev_kv: self.chance(50) }
    }

    fn compare(&mut self) -> Compare {
        let number = self.rng.random_range(0..self.revision + 2);
        let union = match self.rng.random_range(0..6) {
            0 => CompareUnion::Unset,
            1 => CompareUnion::Version(number.min(3)),
            2 => CompareUnion::Create(number),
            3 => CompareUnion::Mod(number),
            4 => CompareUnion::Value(self.value()),
            _ => CompareUnion::Lease(number.min(3)),
        };
        Compare {
            result: self.rng.random_range(0..5).into(),
            target: self.rng.random_range(0..6).into(),
            key: self.key(),
            range_end: self.end(),
            union,
        }
    }

    fn txn(&mut self, depth: u32) -> TxnRequest {
        let compares = self.rng.random_range(0..3);
        let compare = (0..compares).map(|_| self.compare()).collect();
        TxnRequest { compare, success: self.ops(depth), failure: self.ops(depth) }
    }

    fn ops(&mut self, depth: u32) -> Vec<RequestOp> {
        let ops = self.rng.random_range(0..5);
        let only_reads = self.chance(15);
        let op = |draw: &mut Draw| match draw.rng.random_range(0..10) {
            0..=3 => RequestOp::Range(draw.range()),
            _ if only_reads => RequestOp::Range(draw.range()),
            4..=6 => RequestOp::Put(draw.put()),
            7 => RequestOp::DeleteRange(draw.delete()),
            _ if depth == 0 => RequestOp::Put(draw.put()),
            _ => RequestOp::Txn(Box::new(draw.txn(depth - 1))),
        };
        (0..ops).map(|_| op(self)).collect()
    }
}

/// What the random requests came to; each must have been met often.
#[derive(Debug, Default)]
struct Met {
    changed: u32,
    unchanged: u32,
    refused: BTreeMap<&'static str, u32>,
}

impl Met {
    fn count<T>(&mut self, answer: &Result<T, Status>, has_changed: bool) {
        match answer {
            Ok(_) if has_changed => self.changed += 1,
            Ok(_) => self.unchanged += 1,
            Err(status) => *self.refused.entry(status.text()).or_default() += 1,
        }
    }
}

/// One request, to the model and to the stores, of which the first runs without slices.
fn request_all(draw: &mut Draw, model: &mut Model, stores: &mut [Kv], met: &mut Met) {
    let before = model.revision();
    draw.revision = before;
    match draw.rng.random_range(0..20) {
        0..=3 => {
            let request = draw.range();
            let expected = model.range(&request);
            met.count(&expected, false);
            for kv in stores {
                assert_eq!(kv.range(request.clone()), expected, "{request:?}");
            }
        }
        4..=6 => {
            let put = draw.put();
            let success = vec![RequestOp::Put(put.clone())];
            let expected = model.txn(&TxnRequest { success, ..Default::default() });
            met.count(&expected, model.revision() > before);
            let expected = expected.map(|mut txn| txn.responses.remove(0));
            for kv in stores {
                assert_eq!(kv.put_request(put.clone()).map(ResponseOp::Put), expected, "{put:?}");
            }
        }
        7 => {
            let delete = draw.delete();
            let success = vec![RequestOp::DeleteRange(delete.clone())];
            let expected = model.txn(&TxnRequest { success, ..Default::default() }).map(|txn| txn.responses);
            for kv in stores {
                let Ok(Response::DeleteRange(answer)) = kv.write(TxnRun::delete_range(delete.clone())) else {
                    panic!("a delete is answered");
                };
                assert_eq!(Ok(vec![ResponseOp::DeleteRange(answer)]), expected, "{delete:?}");
            }
        }
        8 if draw.chance(20) => compact_all(draw, model, stores),
        9 if draw.chance(30) => revoke_all(draw, model, stores),
        _ => {
            let request = draw.txn(2);
            let (first, rest) = stores.split_first_mut().expect("there are stores");
            let answer = first.txn(request.clone());
            // Whether duplicates are refused is `check`'s; the model has no opinion of its own.
            if answer != Err(Status::DuplicateKey) {
                assert_eq!(answer, model.txn(&request), "{request:?}");
            }
            met.count(&answer, model.revision() > before);
            for kv in rest {
                assert_eq!(kv.txn(request.clone()), answer, "{request:?}");
            }
        }
    }
}

fn compact_all(draw: &mut Draw, model: &mut Model, stores: &mut [Kv]) {
    let revision = draw.rng.random_range(1..=model.revision());
    if revision > model.compact_revision {
        model.compact_revision = revision;
        stores.iter_mut().for_each(|kv| kv.compact(revision));
    }
}

fn revoke_all(draw: &mut Draw, model: &mut Model, stores: &mut [Kv]) {
    let lease = draw.rng.random_range(1..4);
    let mut space = model.current().clone();
    space.retain(|_, kv| kv.lease.0 != lease);
    let has_changed = space.len() < model.current().len();
    if has_changed {
        model.spaces.push(space);
    }
    for kv in stores {
        assert_eq!(kv.revoke(lease), has_changed);
        kv.grant(lease);
    }
}

/// Every answer, and in the end revision, key space, attachments and records, are those of the model and
/// the same whatever the slices were.
#[test]
fn random_requests_agree_with_the_model_in_slices_of_any_size() {
    let mut met = Met::default();
    for seed in 0..200 {
        let mut draw = Draw { rng: ChaCha8Rng::seed_from_u64(seed), revision: 1 };
        let mut model =
            Model { spaces: vec![Space::new()], compact_revision: -1, leases: BTreeSet::from([1, 2, 3]) };
        let mut stores = [Kv::new(), Kv::sliced(seed, 1), Kv::sliced(seed, 3), Kv::sliced(seed, 20)];
        for kv in &mut stores {
            (1..4).for_each(|id| kv.grant(id));
        }
        for _ in 0..60 {
            request_all(&mut draw, &mut model, &mut stores, &mut met);
        }
        let records = stores[0].history();
        for kv in &mut stores {
            assert_eq!(kv.mvcc.revision(), model.revision(), "seed {seed}");
            let all = kv.range(range_of("\0", "\0")).expect("legal").kvs;
            assert!(all.iter().eq(model.current().values()), "seed {seed}");
            for lease in 1..4 {
                let attached = model.current().values().filter(|kv| kv.lease.0 == lease).map(|kv| &kv.key);
                assert!(kv.leases.keys(LeaseId(lease)).eq(attached), "seed {seed}");
            }
            assert_eq!(kv.history(), records, "seed {seed}");
        }
    }
    assert!(met.changed > 1000 && met.unchanged > 1000, "{met:?}");
    for status in [
        Status::FutureRev,
        Status::Compacted,
        Status::LeaseNotFound,
        Status::KeyNotFound,
        Status::DuplicateKey,
    ] {
        assert!(met.refused.get(status.text()).is_some_and(|n| *n > 20), "{status}: {met:?}");
    }
}
