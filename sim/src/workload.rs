//! The workload: what clients ask, drawn so that requests get in each other's way.

mod auth;

pub use auth::{Guests, root};

use bytes::Bytes;
use holdfast_core::base::{LeaseId, MemberId};
use holdfast_core::boundary::{StreamOp, WatchCreate};
use holdfast_core::request::{
    Alarm, CompactRequest, Compare, CompareResult, CompareTarget, CompareUnion, DeleteRangeRequest,
    LeaseGrantRequest, PutRequest, RangeRequest, Request, RequestOp, Response, SortOrder, SortTarget,
    TxnRequest,
};

use crate::rng::Rng;

/// Weights of the kinds of requests, in the order of `Workload::next`.
#[derive(Clone, Debug)]
pub struct Mix {
    weights: [u32; 17],
}

impl Mix {
    /// Usual weights, of which each but puts and gets is switched off or multiplied by chance.
    pub fn draw(rng: &mut Rng) -> Mix {
        let Mix { mut weights } = Mix::mixed();
        for weight in &mut weights[2..16] {
            *weight *= *rng.pick(&[0, 1, 1, 3]);
        }
        Mix { weights }
    }

    /// Puts keys by the hundred, and takes them away all at once.
    pub fn put_many(&mut self) {
        self.weights[16] = 60;
    }

    /// Compacts so often that reads, watches and transfers in slices meet it.
    pub fn compact_often(&mut self) {
        let [puts, ranges, _, _, txns, read_txns, compactions, ..] = &mut self.weights;
        (*puts, *ranges, *txns, *read_txns, *compactions) = (30, 20, 20, 10, 16);
    }

    /// Grants, revokes and renewals of the same few ids.
    pub fn contend_for_leases(&mut self) {
        let [puts, ranges, .., grants, revokes, renewals, remaining, _, _, _, _, _, _] = &mut self.weights;
        (*puts, *ranges) = (15, 5);
        (*grants, *revokes, *renewals, *remaining) = (25, 14, 20, 4);
    }

    /// Puts so often, and deletes so seldom, that many keys live at a time.
    pub fn grow(&mut self) {
        let [puts, _, deletes, wipes, ..] = &mut self.weights;
        (*puts, *deletes, *wipes) = (120, 1, 1);
    }

    /// No requests at all; others are added.
    pub fn none() -> Mix {
        Mix { weights: [0; 17] }
    }

    /// Everything.
    pub fn mixed() -> Mix {
        Mix { weights: [40, 24, 6, 2, 14, 3, 3, 4, 2, 5, 3, 1, 2, 2, 1, 2, 0] }
    }

    /// Puts, ranges, deletes and transactions.
    pub fn register() -> Mix {
        Mix { weights: [40, 40, 6, 0, 14, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// Leases, and puts that hang keys on them.
    pub fn lease() -> Mix {
        Mix { weights: [20, 0, 0, 0, 0, 0, 0, 8, 3, 20, 5, 2, 0, 0, 0, 0, 0] }
    }

    /// Puts alone.
    pub fn puts() -> Mix {
        Mix { weights: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// Compactions.
    pub fn compact() -> Mix {
        Mix { weights: [0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0] }
    }

    pub fn add(&mut self, other: &Mix) {
        for (weight, more) in self.weights.iter_mut().zip(other.weights) {
            *weight += more;
        }
    }
}

/// Draws requests; learns from answers what revisions and leases there are.
#[derive(Clone, Debug)]
pub struct Workload {
    rng: Rng,
    mix: Mix,
    keys: Vec<Bytes>,
    /// Whose alarms are taken away.
    members: Vec<MemberId>,
    value_bytes: (u64, u64),
    /// Highest revision and compaction that an answer has told of.
    revision: i64,
    compacted: i64,
    leases: Vec<LeaseId>,
    written: u64,
    /// Keys put by the hundred, so far.
    bulk: u64,
}

impl Workload {
    pub fn new(
        seed: u64,
        mix: Mix,
        keys: usize,
        members: Vec<MemberId>,
        value_bytes: (u64, u64),
    ) -> Workload {
        let mut rng = Rng::named(seed, "workload");
        let keys = (0..keys).map(|_| draw_key(&mut rng)).collect();
        Workload {
            rng,
            mix,
            keys,
            members,
            value_bytes,
            revision: 1,
            compacted: 0,
            leases: Vec::new(),
            written: 0,
            bulk: 0,
        }
    }

    /// Takes note of what an answer shows.
    pub fn learn(&mut self, revision: i64, response: &Response) {
        self.revision = self.revision.max(revision);
        if let Response::LeaseGrant { id, .. } = response
            && !self.leases.contains(id)
        {
            self.leases.push(*id);
            if self.leases.len() > 6 {
                self.leases.remove(0);
            }
        }
    }

    /// Takes note of what is asked.
    pub fn note(&mut self, request: &Request) {
        if let Request::Compact(compact) = request
            && compact.revision <= self.revision
        {
            self.compacted = self.compacted.max(compact.revision);
        }
    }

    /// The next request of some client.
    #[expect(clippy::should_implement_trait, reason = "an endless source is no iterator to loop over")]
    pub fn next(&mut self) -> Request {
        match self.rng.weighted(&self.mix.weights.clone()) {
            0 => Request::Put(self.put()),
            1 => Request::Range(self.range()),
            2 => Request::DeleteRange(self.delete()),
            3 => Request::DeleteRange(DeleteRangeRequest {
                key: Bytes::from_static(&[0]),
                range_end: Bytes::from_static(&[0]),
                prev_kv: self.rng.chance(0.5),
            }),
            4 => Request::Txn(self.txn(2)),
            5 => Request::Txn(self.read_txn()),
            6 => self.compact(),
            7 => self.grant(),
            8 => Request::LeaseRevoke { id: self.lease() },
            9 => Request::LeaseKeepAlive { id: self.lease() },
            10 => Request::LeaseTimeToLive { id: self.lease(), keys: self.rng.chance(0.5) },
            11 => Request::LeaseLeases,
            12 => Request::HashKv { revision: self.revision_to_read() },
            13 => match self.rng.below(6) {
                0 => Request::Status,
                1 => Request::MemberList { linearizable: self.rng.chance(0.5) },
                2 => Request::AlarmList { alarm: Alarm::None },
                3 => Request::AlarmSet {
                    activate: false,
                    member: *self.rng.pick(&self.members),
                    alarm: Alarm::NoSpace,
                },
                4 => Request::Backup,
                _ => Request::Hash,
            },
            14 => Request::Defragment,
            15 => self.malformed(),
            _ => self.bulk(),
        }
    }

    fn key(&mut self) -> Bytes {
        self.rng.pick(&self.keys).clone()
    }

    /// A range end for `key`: none, a prefix, another key (also a lower one), from-key.
    fn range_end(&mut self, key: &Bytes) -> Bytes {
        match self.rng.weighted(&[6, 3, 3, 1]) {
            0 => Bytes::new(),
            1 => prefix_end(key),
            2 => self.key(),
            _ => Bytes::from_static(&[0]),
        }
    }

    /// Values are unique, so that a value names its write.
    fn value(&mut self) -> Bytes {
        self.written += 1;
        let mut value = format!("v{}", self.written).into_bytes();
        let (least, most) = self.value_bytes;
        let most = if self.rng.chance(0.02) { 16 * most } else { most };
        let length = least + self.rng.below((most - least).max(1));
        let length = length as usize;
        if length > value.len() {
            value.resize(length, b'.');
        }
        Bytes::from(value)
    }

    fn lease(&mut self) -> LeaseId {
        if self.leases.is_empty() || self.rng.chance(0.1) {
            return LeaseId(*self.rng.pick(&[1, 2, -3, 77]));
        }
        *self.rng.pick(&self.leases)
    }

    /// Many small keys at a time, on one lease if there is one; now and then all of them go in one entry.
    fn bulk(&mut self) -> Request {
        let all = || (Bytes::from_static(b"bulk/"), Bytes::from_static(b"bulk0"));
        match self.rng.weighted(&[30, 1, 1, 1]) {
            1 => {
                let (key, range_end) = all();
                Request::DeleteRange(DeleteRangeRequest { key, range_end, prev_kv: self.rng.chance(0.3) })
            }
            2 => {
                let (key, range_end) = all();
                let count_only = self.rng.chance(0.5);
                Request::Range(RangeRequest { key, range_end, count_only, ..RangeRequest::default() })
            }
            3 => Request::LeaseRevoke { id: self.leases.last().copied().unwrap_or(LeaseId(1)) },
            _ => {
                let lease = self.leases.last().copied().filter(|_| self.rng.chance(0.7));
                let first = self.bulk;
                self.bulk += 120;
                let puts = (first..self.bulk).map(|n| {
                    RequestOp::Put(PutRequest {
                        key: Bytes::from(format!("bulk/{n:07}")),
                        value: Bytes::from_static(b"one of many"),
                        lease: lease.unwrap_or_default(),
                        ..PutRequest::default()
                    })
                });
                Request::Txn(TxnRequest { success: puts.collect(), ..TxnRequest::default() })
            }
        }
    }

    fn grant(&mut self) -> Request {
        let id = *self.rng.pick(&[0, 0, 1, 2, 3, -3, i64::MAX, i64::MIN]);
        let ttl = *self.rng.pick(&[1, 2, 2, 3, 5, 8, 0, -1]);
        Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(id), ttl })
    }

    fn put(&mut self) -> PutRequest {
        let mut put = PutRequest { key: self.key(), prev_kv: self.rng.chance(0.3), ..PutRequest::default() };
        if self.rng.chance(0.05) {
            put.ignore_value = true;
        } else {
            put.value = self.value();
        }
        if self.rng.chance(0.05) {
            put.ignore_lease = true;
        } else if self.rng.chance(0.2) {
            put.lease = self.lease();
        }
        put
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let key = self.key();
        let range_end = self.range_end(&key);
        DeleteRangeRequest { key, range_end, prev_kv: self.rng.chance(0.5) }
    }

    /// 0 (latest), an old revision, one around the compacted or the newest one.
    fn revision_to_read(&mut self) -> i64 {
        match self.rng.weighted(&[6, 3, 1, 1]) {
            0 => 0,
            1 => self.rng.between(1, self.revision as u64) as i64,
            2 => self.compacted + self.rng.below(3) as i64 - 1,
            _ => self.revision + self.rng.below(4) as i64 - 1,
        }
        .max(0)
    }

    fn range(&mut self) -> RangeRequest {
        let key = if self.rng.chance(0.1) { Bytes::from_static(&[0]) } else { self.key() };
        let range_end = self.range_end(&key);
        let mut range = RangeRequest {
            key,
            range_end,
            revision: self.revision_to_read(),
            serializable: self.rng.chance(0.2),
            ..RangeRequest::default()
        };
        if self.rng.chance(0.4) {
            self.add_options(&mut range);
        }
        range
    }

    fn add_options(&mut self, range: &mut RangeRequest) {
        range.limit = *self.rng.pick(&[0, 0, 1, 2, 5, -1, i64::MAX]);
        range.keys_only = self.rng.chance(0.2);
        range.count_only = self.rng.chance(0.1);
        if self.rng.chance(0.4) {
            range.sort_order = *self.rng.pick(&[SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
            range.sort_target = *self.rng.pick(&[
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ]);
        }
        let bounds = [
            &mut range.min_mod_revision,
            &mut range.max_mod_revision,
            &mut range.min_create_revision,
            &mut range.max_create_revision,
        ];
        for bound in bounds {
            if self.rng.chance(0.1) {
                *bound = self.rng.below(self.revision as u64 + 2) as i64;
            }
        }
    }

    fn compact(&mut self) -> Request {
        let revision = match self.rng.weighted(&[4, 3, 1, 1]) {
            0 => self
                .rng
                .between(self.compacted.max(1) as u64, self.revision.max(self.compacted).max(1) as u64)
                as i64,
            1 => self.revision,
            2 => self.compacted,
            _ => self.revision + self.rng.below(3) as i64,
        };
        Request::Compact(CompactRequest { revision, physical: self.rng.chance(0.3) })
    }

    fn compare(&mut self) -> Compare {
        let key = self.key();
        let range_end = if self.rng.chance(0.8) { Bytes::new() } else { self.range_end(&key) };
        let target = *self.rng.pick(&[
            CompareTarget::Version,
            CompareTarget::Create,
            CompareTarget::Mod,
            CompareTarget::Value,
            CompareTarget::Lease,
        ]);
        let result = *self.rng.pick(&[
            CompareResult::Equal,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::NotEqual,
        ]);
        let number = match target {
            CompareTarget::Version => self.rng.below(3) as i64,
            CompareTarget::Lease => self.lease().0,
            _ => self.rng.below(self.revision as u64 + 1) as i64,
        };
        let union = match if self.rng.chance(0.95) { target } else { CompareTarget::Mod } {
            CompareTarget::Version => CompareUnion::Version(number),
            CompareTarget::Create => CompareUnion::Create(number),
            CompareTarget::Mod => CompareUnion::Mod(number),
            CompareTarget::Lease => CompareUnion::Lease(number),
            _ => CompareUnion::Value(Bytes::from(format!("v{}", self.rng.below(self.written + 1)))),
        };
        Compare { result, target, key, range_end, union }
    }

    fn compares(&mut self) -> Vec<Compare> {
        (0..self.rng.weighted(&[3, 5, 2])).map(|_| self.compare()).collect()
    }

    /// A transaction, with others inside down to `depth`.
    fn txn(&mut self, depth: u32) -> TxnRequest {
        TxnRequest { compare: self.compares(), success: self.branch(depth), failure: self.branch(depth) }
    }

    fn branch(&mut self, depth: u32) -> Vec<RequestOp> {
        let nested = if depth > 0 { 1 } else { 0 };
        (0..self.rng.weighted(&[1, 4, 4, 2, 1]))
            .map(|_| match self.rng.weighted(&[6, 3, 2, nested]) {
                0 => RequestOp::Put(self.put()),
                1 => RequestOp::Range(self.range()),
                2 => RequestOp::DeleteRange(self.delete()),
                _ => RequestOp::Txn(Box::new(self.txn(depth - 1))),
            })
            .collect()
    }

    fn read_txn(&mut self) -> TxnRequest {
        let compare = self.compares();
        let success = (0..self.rng.below(3)).map(|_| RequestOp::Range(self.range())).collect();
        let failure = (0..self.rng.below(3)).map(|_| RequestOp::Range(self.range())).collect();
        TxnRequest { compare, success, failure }
    }

    /// What is refused by its form.
    fn malformed(&mut self) -> Request {
        match self.rng.below(8) {
            0 => Request::Put(PutRequest { value: self.value(), ..PutRequest::default() }),
            1 => Request::Put(PutRequest { ignore_value: true, value: self.value(), ..self.put() }),
            2 => Request::Put(PutRequest {
                ignore_lease: true,
                lease: LeaseId(5),
                ignore_value: false,
                ..self.put()
            }),
            3 => Request::Range(RangeRequest { sort_target: SortTarget::Unknown(9), ..self.range() }),
            4 => Request::DeleteRange(DeleteRangeRequest::default()),
            5 => {
                let put = self.put();
                let success = vec![RequestOp::Put(put.clone()), RequestOp::Put(put)];
                Request::Txn(TxnRequest { success, ..TxnRequest::default() })
            }
            6 => {
                let success = (0..129).map(|_| RequestOp::Range(RangeRequest::default())).collect();
                Request::Txn(TxnRequest { success, ..TxnRequest::default() })
            }
            _ => Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(9), ttl: 9_000_000_001 }),
        }
    }

    /// The next operation of a watch stream that has made `created` watches so far.
    pub fn stream_op(&mut self, created: u64) -> StreamOp {
        match self.rng.weighted(&[4, 1, 2]) {
            1 if created > 0 => StreamOp::Cancel {
                watch_id: holdfast_core::base::WatchId(self.rng.below(created + 1) as i64),
            },
            2 => StreamOp::Progress,
            _ => StreamOp::Create(self.watch()),
        }
    }

    /// A watch of some range, from now, the past or the future.
    pub fn watch(&mut self) -> WatchCreate {
        let key = match self.rng.below(12) {
            0 => Bytes::new(),
            1..=4 => Bytes::from_static(&[0]),
            _ => self.key(),
        };
        let range_end =
            if key.len() == 1 && key[0] == 0 { Bytes::from_static(&[0]) } else { self.range_end(&key) };
        let start_revision = match self.rng.weighted(&[6, 6, 2, 1]) {
            0 => 0,
            1 => self.rng.between(1, self.revision as u64) as i64,
            2 => self.revision + self.rng.below(5) as i64,
            _ => self.compacted + self.rng.below(3) as i64 - 2,
        };
        WatchCreate {
            key,
            range_end,
            start_revision,
            progress_notify: self.rng.chance(0.5),
            no_put: self.rng.chance(0.1),
            no_delete: self.rng.chance(0.1),
            prev_kv: self.rng.chance(0.5),
            watch_id: holdfast_core::base::WatchId(if self.rng.chance(0.1) {
                self.rng.between(1, 9) as i64
            } else {
                0
            }),
            fragment: self.rng.chance(0.2),
        }
    }

    /// A watch of everything from `start_revision` on.
    pub fn watch_all(start_revision: i64) -> WatchCreate {
        WatchCreate {
            key: Bytes::from_static(&[0]),
            range_end: Bytes::from_static(&[0]),
            start_revision,
            prev_kv: true,
            progress_notify: true,
            ..WatchCreate::default()
        }
    }

    /// The keys that requests are about.
    pub fn keys(&self) -> &[Bytes] {
        &self.keys
    }

    /// Highest revision that an answer has told of.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Highest revision that was asked to be compacted.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }
}

/// Short keys over few bytes, so that they are each other's prefixes and successors.
fn draw_key(rng: &mut Rng) -> Bytes {
    let length = rng.weighted(&[0, 4, 4, 2]);
    let key: Vec<u8> = (0..length).map(|_| *rng.pick(&[b'a', b'b', b'c', b'd', 0x00, 0xff])).collect();
    Bytes::from(key)
}

/// The end of the prefix range of `key`, as clients compute it (RG-3).
fn prefix_end(key: &[u8]) -> Bytes {
    let mut end = key.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Bytes::from(end);
        }
    }
    Bytes::from_static(&[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends_are_those_of_the_clients() {
        assert_eq!(prefix_end(b"ab"), Bytes::from_static(b"ac"));
        assert_eq!(prefix_end(b"a\xff"), Bytes::from_static(b"b"));
        assert_eq!(prefix_end(b"\xff\xff"), Bytes::from_static(b"\0"));
    }

    #[test]
    fn same_seed_asks_the_same() {
        let requests = || {
            let mix = Mix::draw(&mut Rng::new(5));
            let mut workload = Workload::new(3, mix, 5, vec![MemberId(1)], (0, 100));
            (0..200).map(|_| format!("{:?}", workload.next())).collect::<Vec<_>>()
        };
        assert_eq!(requests(), requests());
    }
}
