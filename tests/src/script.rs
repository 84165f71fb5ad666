//! A seeded script of requests, as nasty as the API lets them be.

use bytes::Bytes;
use holdfast_net::proto::etcdserverpb as pb;
use pb::compare::TargetUnion;
use pb::request_op::Request as Op;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Lease ids that scripts use. Zero is left out: the server would choose.
pub const LEASES: &[i64] = &[1, 2, 7, 0x7fff_ffff_ffff_ffff, -5];
/// Long enough that nothing expires while a script runs.
const TTL_MIN_S: i64 = 10_000;
/// Above the default of `--max-txn-ops`.
const OPS_TOO_MANY: usize = 129;
/// Above the default of `--max-request-bytes`.
const VALUE_TOO_LARGE_BYTES: usize = 1_600_000;
/// Deepest nesting of a transaction.
const DEPTH_MAX: u32 = 3;

/// One request of a script.
#[derive(Clone, Debug)]
pub enum Request {
    Range(pb::RangeRequest),
    RangeStream(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    HashKv(pb::HashKvRequest),
    Grant(pb::LeaseGrantRequest),
    Revoke(pb::LeaseRevokeRequest),
    KeepAlive(pb::LeaseKeepAliveRequest),
    TimeToLive(pb::LeaseTimeToLiveRequest),
    Leases(pb::LeaseLeasesRequest),
    /// All events from a revision that is there up to the current one.
    Watch(pb::WatchCreateRequest),
}

/// Draws requests. What it knows of the servers only makes revisions interesting.
pub struct Script {
    rng: ChaCha8Rng,
    keys: Vec<Bytes>,
    /// Sorts by anything but the key have a result that does not depend on the sort's algorithm.
    sorts_are_stable: bool,
    /// Last revision seen in an answer.
    pub revision: i64,
    /// Last compaction that was answered.
    pub compact_revision: i64,
}

impl Script {
    /// Odd seeds have many keys, even seeds few: with few, requests meet more often.
    pub fn new(seed: u64) -> Script {
        let nasty: &[&[u8]] = &[
            b"a",
            b"a\0",
            b"aa",
            b"ab",
            b"b",
            b"b\xff",
            b"c",
            b"\0",
            b"\xff",
            b"\xff\xff",
            b"foo/1",
            b"foo/2",
        ];
        let mut keys: Vec<Bytes> = nasty.iter().map(|key| Bytes::from_static(key)).collect();
        let many = seed % 2 == 1;
        if many {
            keys.extend((0..60).map(|i| Bytes::from(format!("foo/{i:02}"))));
        }
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Script { rng, keys, sorts_are_stable: !many, revision: 1, compact_revision: -1 }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    fn key(&mut self) -> Bytes {
        if self.chance(2) {
            return Bytes::new();
        }
        let index = self.below(self.keys.len());
        self.keys[index].clone()
    }

    /// None, from-key, prefix-like, another key (often below the first), or all keys.
    fn range(&mut self) -> (Bytes, Bytes) {
        let key = self.key();
        match self.below(8) {
            0..=2 => (key, Bytes::new()),
            3 => (key, Bytes::from_static(b"\0")),
            4 => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            5 => (Bytes::from_static(b"foo/"), Bytes::from_static(b"foo0")),
            6 => (key.clone(), key),
            _ => (key, self.key()),
        }
    }

    fn value(&mut self) -> Bytes {
        match self.below(12) {
            0 => Bytes::new(),
            1 => Bytes::from(vec![b'x'; 3000]),
            2 => Bytes::from_static(b"\0\xff\xfe"),
            3..=7 => Bytes::from(self.below(4).to_string()),
            _ => Bytes::from(format!("value-{}", self.below(1000))),
        }
    }

    fn lease(&mut self) -> i64 {
        LEASES[self.below(LEASES.len())]
    }

    /// A revision: now, near now, near the compacted one, absurd.
    fn revision(&mut self) -> i64 {
        match self.below(20) {
            0..=7 => 0,
            8..=12 => self.revision - self.rng.random_range(0..20),
            13 => self.revision + 1,
            14 => self.revision + self.rng.random_range(2..100),
            15..=16 => self.compact_revision + self.rng.random_range(-2..3),
            17 => -self.rng.random_range(1..5),
            18 => i64::MAX,
            _ => self.rng.random_range(self.compact_revision.min(self.revision)..=self.revision),
        }
    }

    /// A bound of a revision filter; mostly none.
    fn bound(&mut self) -> i64 {
        if self.chance(85) { 0 } else { self.revision() }
    }

    /// `nested`: inside a transaction.
    fn range_request(&mut self, nested: bool) -> pb::RangeRequest {
        let (key, range_end) = self.range();
        let mut request = pb::RangeRequest {
            key,
            range_end,
            limit: match self.below(10) {
                0..=5 => 0,
                6..=8 => self.rng.random_range(1..6),
                _ => -1,
            },
            revision: self.revision(),
            serializable: self.chance(30),
            keys_only: self.chance(15),
            count_only: self.chance(10),
            min_mod_revision: self.bound(),
            max_mod_revision: self.bound(),
            min_create_revision: self.bound(),
            max_create_revision: self.bound(),
            ..Default::default()
        };
        if self.chance(45) {
            request.sort_order = self.rng.random_range(0..3);
            let may_tie = self.sorts_are_stable || !nested;
            request.sort_target = if may_tie { self.rng.random_range(0..5) } else { 0 };
        }
        if !nested && self.chance(5) {
            request.sort_target = self.rng.random_range(1..5);
        }
        if self.chance(2) {
            request.sort_order = [3, -1, i32::MAX][self.below(3)];
        }
        if self.chance(2) {
            request.sort_target = [5, -1, i32::MIN][self.below(3)];
        }
        request
    }

    fn put_request(&mut self) -> pb::PutRequest {
        let mut request = pb::PutRequest {
            key: self.key(),
            value: self.value(),
            lease: if self.chance(25) { self.lease() } else { 0 },
            prev_kv: self.chance(30),
            ignore_value: self.chance(8),
            ignore_lease: self.chance(8),
        };
        // Half of them well formed.
        if request.ignore_value && self.chance(50) {
            request.value = Bytes::new();
        }
        if request.ignore_lease && self.chance(50) {
            request.lease = 0;
        }
        request
    }

    fn delete_request(&mut self) -> pb::DeleteRangeRequest {
        let (key, mut range_end) = self.range();
        if self.chance(50) {
            range_end = Bytes::new();
        }
        pb::DeleteRangeRequest { key, range_end, prev_kv: self.chance(40) }
    }

    /// A comparison; one in six has a value of another kind than its target, or none.
    fn compare(&mut self) -> pb::Compare {
        let (key, mut range_end) = self.range();
        if self.chance(50) {
            range_end = Bytes::new();
        }
        let mut target = self.rng.random_range(0..5);
        let number = match self.below(4) {
            0 => 0,
            1 => self.rng.random_range(-1..4),
            _ => self.revision - self.rng.random_range(0..10),
        };
        let target_union = match if self.chance(85) { target } else { self.rng.random_range(0..6) } {
            0 => Some(TargetUnion::Version(number.min(5))),
            1 => Some(TargetUnion::CreateRevision(number)),
            2 => Some(TargetUnion::ModRevision(number)),
            3 => Some(TargetUnion::Value(self.value())),
            4 => Some(TargetUnion::Lease(if self.chance(50) { 0 } else { self.lease() })),
            _ => None,
        };
        let mut result = self.rng.random_range(0..4);
        if self.chance(3) {
            result = [4, -1][self.below(2)];
        }
        if self.chance(3) {
            target = [5, -1][self.below(2)];
        }
        pb::Compare { result, target, key, range_end, target_union }
    }

    fn ops(&mut self, depth: u32) -> Vec<pb::RequestOp> {
        let count = if self.chance(1) && depth == 0 { OPS_TOO_MANY } else { self.below(4) };
        (0..count).map(|_| self.op(depth)).collect()
    }

    fn op(&mut self, depth: u32) -> pb::RequestOp {
        let request = match self.below(100) {
            0 => None,
            1..=30 => Some(Op::RequestRange(self.range_request(true))),
            31..=65 => Some(Op::RequestPut(self.put_request())),
            66..=85 => Some(Op::RequestDeleteRange(self.delete_request())),
            _ if depth < DEPTH_MAX => Some(Op::RequestTxn(self.txn(depth + 1))),
            _ => Some(Op::RequestTxn(pb::TxnRequest::default())),
        };
        pb::RequestOp { request }
    }

    fn txn(&mut self, depth: u32) -> pb::TxnRequest {
        let compares = if self.chance(1) && depth == 0 { OPS_TOO_MANY } else { self.below(3) };
        let compare = (0..compares).map(|_| self.compare()).collect();
        pb::TxnRequest { compare, success: self.ops(depth), failure: self.ops(depth) }
    }

    fn txn_request(&mut self) -> pb::TxnRequest {
        let mut txn = self.txn(0);
        if deletes_from_key(&txn) {
            // With an ignore_* put of a key it covers, etcd panics while applying, at every start again.
            clear_ignores(&mut txn);
        }
        txn
    }

    fn lease_request(&mut self) -> Request {
        let id = self.lease();
        match self.below(10) {
            0..=3 => {
                let ttl = match self.below(12) {
                    0 => i64::MAX,
                    1 => 9_000_000_001,
                    _ => TTL_MIN_S + i64::from(self.rng.random_range(0..9)),
                };
                Request::Grant(pb::LeaseGrantRequest { ttl, id })
            }
            4..=5 => Request::Revoke(pb::LeaseRevokeRequest { id }),
            6 => Request::KeepAlive(pb::LeaseKeepAliveRequest { id }),
            7..=8 => Request::TimeToLive(pb::LeaseTimeToLiveRequest { id, keys: self.chance(60) }),
            _ => Request::Leases(pb::LeaseLeasesRequest {}),
        }
    }

    fn watch_request(&mut self) -> pb::WatchCreateRequest {
        let (key, range_end) = self.range();
        let filters = match self.below(6) {
            0 => vec![0],
            1 => vec![1],
            2 => vec![0, 1, 1],
            _ => Vec::new(),
        };
        // Not the compacted revision itself: whether its tombstones are still there is a matter of time.
        let oldest = self.compact_revision.max(0) + 1;
        let start_revision = match self.below(10) {
            0 => 0,
            1 => -1,
            2 => self.compact_revision - 1,
            _ => self.rng.random_range(oldest..=self.revision.max(oldest)),
        };
        pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            filters,
            prev_kv: self.chance(50),
            ..Default::default()
        }
    }

    fn compaction(&mut self) -> pb::CompactionRequest {
        let revision = match self.below(5) {
            0..=2 => self.revision - self.rng.random_range(0..60),
            3 => self.revision(),
            _ => self.compact_revision + self.rng.random_range(-1..3),
        };
        pb::CompactionRequest { revision, physical: self.chance(50) }
    }

    /// The next request.
    pub fn draw(&mut self) -> Request {
        match self.below(1000) {
            0..=279 => Request::Range(self.range_request(false)),
            280..=309 => Request::RangeStream(self.range_request(false)),
            310..=579 => Request::Put(self.put_request()),
            580..=669 => Request::Delete(self.delete_request()),
            670..=879 => Request::Txn(self.txn_request()),
            880..=889 => Request::Compact(self.compaction()),
            890..=909 => Request::HashKv(pb::HashKvRequest { revision: self.revision() }),
            910..=979 => self.lease_request(),
            980..=988 => Request::Watch(self.watch_request()),
            989..=998 => Request::Leases(pb::LeaseLeasesRequest {}),
            _ => {
                let value = Bytes::from(vec![b'z'; VALUE_TOO_LARGE_BYTES]);
                Request::Put(pb::PutRequest { key: self.key(), value, ..Default::default() })
            }
        }
    }
}

/// Whether a delete of this transaction, however deep, runs to the end of the keys.
fn deletes_from_key(txn: &pb::TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Op::RequestDeleteRange(delete)) => delete.range_end == b"\0"[..],
        Some(Op::RequestTxn(nested)) => deletes_from_key(nested),
        _ => false,
    })
}

fn clear_ignores(txn: &mut pb::TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Op::RequestPut(put)) => (put.ignore_value, put.ignore_lease) = (false, false),
            Some(Op::RequestTxn(nested)) => clear_ignores(nested),
            _ => {}
        }
    }
}

/// The ranges of keys that a request asks for, however deep.
pub fn ranges_of(request: &Request) -> Vec<(Bytes, Bytes)> {
    match request {
        Request::Range(range) | Request::RangeStream(range) => {
            vec![(range.key.clone(), range.range_end.clone())]
        }
        Request::Delete(delete) => vec![(delete.key.clone(), delete.range_end.clone())],
        Request::Watch(create) => vec![(create.key.clone(), create.range_end.clone())],
        Request::Txn(txn) => ranges_of_txn(txn),
        _ => Vec::new(),
    }
}

fn ranges_of_txn(txn: &pb::TxnRequest) -> Vec<(Bytes, Bytes)> {
    let compares = txn.compare.iter().map(|compare| (compare.key.clone(), compare.range_end.clone()));
    let ops = txn.success.iter().chain(&txn.failure).flat_map(|op| match &op.request {
        Some(Op::RequestRange(range)) => vec![(range.key.clone(), range.range_end.clone())],
        Some(Op::RequestDeleteRange(delete)) => vec![(delete.key.clone(), delete.range_end.clone())],
        Some(Op::RequestTxn(nested)) => ranges_of_txn(nested),
        _ => Vec::new(),
    });
    compares.chain(ops).collect()
}

/// The numbers that a variable of the environment lists, if it is there.
pub fn numbers(variable: &str) -> Option<Vec<u64>> {
    let text = std::env::var(variable).ok()?;
    Some(text.split(',').map(|number| number.trim().parse().expect("a list of numbers")).collect())
}
