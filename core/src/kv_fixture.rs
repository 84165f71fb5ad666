//! A store with leases for tests: requests go through the static checks and the runs, in slices of any size.

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::base::{KeyValue, LeaseId, LogIndex};
use crate::check::{RequestLimits, check_request};
use crate::lease::Leases;
use crate::mvcc::Mvcc;
use crate::range::{RangeRun, read_revision};
use crate::request::*;
use crate::status::Status;
use crate::txn::{ReadTxnRun, RevokeRun, TxnRun, is_read_only};

pub struct Kv {
    pub mvcc: Mvcc,
    pub leases: Leases,
    /// Draws the work of each slice; `None`: no end to it.
    slices: Option<(ChaCha8Rng, u32)>,
}

impl Kv {
    pub fn new() -> Kv {
        Kv { mvcc: Mvcc::new(), leases: Leases::new(), slices: None }
    }

    /// Every run gets slices of 0 to `work_max`.
    pub fn sliced(seed: u64, work_max: u32) -> Kv {
        Kv { slices: Some((ChaCha8Rng::seed_from_u64(seed), work_max)), ..Kv::new() }
    }

    fn slice(&mut self) -> u32 {
        self.slices.as_mut().map_or(u32::MAX, |(rng, max)| rng.random_range(0..=*max))
    }

    pub fn range(&mut self, request: RangeRequest) -> Result<RangeResponse, Status> {
        check_request(&Request::Range(request.clone()), &RequestLimits::default())?;
        let current = self.mvcc.revision();
        let revision = read_revision(request.revision, current, self.mvcc.compact_revision())?;
        let mut run = RangeRun::new(&request, revision);
        loop {
            let mut work = self.slice();
            if let Some(answer) = run.step(&self.mvcc, &mut work) {
                return Ok(RangeResponse { header: Header { revision: current, raft_term: 0 }, ..answer });
            }
        }
    }

    pub fn write(&mut self, mut run: TxnRun) -> Result<Response, Status> {
        loop {
            let mut work = self.slice();
            if let Some(answer) = run.step(&mut self.mvcc, &mut self.leases, &mut work) {
                return answer;
            }
        }
    }

    pub fn put_request(&mut self, request: PutRequest) -> Result<PutResponse, Status> {
        check_request(&Request::Put(request.clone()), &RequestLimits::default())?;
        let Response::Put(answer) = self.write(TxnRun::put(request))? else { panic!("a put is answered") };
        Ok(answer)
    }

    pub fn put(&mut self, key: &str, value: &str) -> i64 {
        self.put_leased(key, value, 0)
    }

    pub fn put_leased(&mut self, key: &str, value: &str, lease: i64) -> i64 {
        let request = put_of(key, value, lease);
        self.put_request(request).expect("a legal put").header.revision
    }

    /// A key that is there.
    pub fn get(&mut self, key: &str) -> KeyValue {
        self.range(range_of(key, "")).expect("legal").kvs.remove(0)
    }

    pub fn delete(&mut self, key: &str, end: &str) -> DeleteRangeResponse {
        let request = DeleteRangeRequest { key: bytes(key), range_end: bytes(end), prev_kv: true };
        check_request(&Request::DeleteRange(request.clone()), &RequestLimits::default()).expect("legal");
        match self.write(TxnRun::delete_range(request)) {
            Ok(Response::DeleteRange(answer)) => answer,
            other => panic!("a delete is answered, not {other:?}"),
        }
    }

    /// Runs a txn the way its kind asks for: a read-only one without a revision.
    pub fn txn(&mut self, request: TxnRequest) -> Result<TxnResponse, Status> {
        check_request(&Request::Txn(request.clone()), &RequestLimits::default())?;
        if !is_read_only(&request) {
            let Response::Txn(answer) = self.write(TxnRun::txn(request))? else {
                panic!("a txn is answered")
            };
            return Ok(answer);
        }
        let mut run = ReadTxnRun::new(request, &self.mvcc);
        loop {
            let mut work = self.slice();
            if let Some(answer) = run.step(&self.mvcc, &mut work) {
                return answer;
            }
        }
    }

    /// Runs the operations as the one branch of a txn.
    pub fn all(&mut self, success: Vec<RequestOp>) -> Result<TxnResponse, Status> {
        self.txn(TxnRequest { success, ..Default::default() })
    }

    /// Whether a compare holds.
    pub fn holds(&mut self, compare: Compare) -> bool {
        self.txn(TxnRequest { compare: vec![compare], ..Default::default() }).expect("legal").succeeded
    }

    pub fn grant(&mut self, id: i64) {
        self.leases.grant(LeaseId(id), 60, LogIndex(1)).expect("a fresh id");
    }

    pub fn revoke(&mut self, id: i64) -> bool {
        let mut run = RevokeRun::new(LeaseId(id));
        loop {
            let mut work = self.slice();
            if let Some(changed) = run.step(&mut self.mvcc, &mut self.leases, &mut work) {
                assert_eq!(self.leases.remove(LeaseId(id)).map(|keys| keys.len()), Some(0));
                return changed;
            }
        }
    }

    /// Compacts, to the last record that goes.
    pub fn compact(&mut self, revision: i64) {
        self.mvcc.compact(revision);
        while !self.mvcc.compact_step(&mut 1000) {}
    }

    pub fn keys_of(&self, lease: i64) -> Vec<String> {
        self.leases.keys(LeaseId(lease)).map(|key| text(key)).collect()
    }

    /// Keys of the whole store now.
    pub fn keys(&mut self) -> Vec<String> {
        let all = range_of("\0", "\0");
        keys(&self.range(all).expect("legal"))
    }

    /// Every record there is, as `(main, sub, key, version)`.
    pub fn history(&self) -> Vec<(i64, u32, String, i64)> {
        let record = |r: &crate::mvcc::Record| (r.main, r.sub, text(&r.key), r.version);
        self.mvcc.history(0, 0).map(record).collect()
    }
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn keys(answer: &RangeResponse) -> Vec<String> {
    answer.kvs.iter().map(|kv| text(&kv.key)).collect()
}

pub fn range_of(key: &str, end: &str) -> RangeRequest {
    RangeRequest { key: bytes(key), range_end: bytes(end), ..Default::default() }
}

pub fn put_of(key: &str, value: &str, lease: i64) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), lease: LeaseId(lease), ..Default::default() }
}

/// A put that asks for the one before.
pub fn put_flags(key: &str, value: &str, lease: i64, ignore_value: bool, ignore_lease: bool) -> PutRequest {
    PutRequest { ignore_value, ignore_lease, prev_kv: true, ..put_of(key, value, lease) }
}

pub fn range(key: &str, end: &str) -> RequestOp {
    RequestOp::Range(range_of(key, end))
}

pub fn put(key: &str, value: &str) -> RequestOp {
    RequestOp::Put(put_of(key, value, 0))
}

pub fn delete(key: &str, end: &str) -> RequestOp {
    RequestOp::DeleteRange(DeleteRangeRequest { key: bytes(key), range_end: bytes(end), prev_kv: true })
}

pub fn nested(compare: Vec<Compare>, success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
    RequestOp::Txn(Box::new(TxnRequest { compare, success, failure }))
}

pub fn compare(key: &str, result: CompareResult, target: CompareTarget, union: CompareUnion) -> Compare {
    Compare { result, target, key: bytes(key), range_end: Bytes::new(), union }
}

/// A compare that no store satisfies.
pub fn never() -> Compare {
    compare("k", CompareResult::Less, CompareTarget::Version, CompareUnion::Version(0))
}
