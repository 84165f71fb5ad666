//! A whole RangeRequest at a fixed revision, in slices of work.
//!
//! Sketch: a page of N keys costs one descent of the index, N clones of two shared pointers, and a count of
//! O(log keys). A sort of a million keys is done as runs of 4,096 while they are fetched, then a merge.

mod filter;
mod sort;

use std::ops::ControlFlow;

use crate::base::{KeyRange, KeyValue, LeaseId, Value};
use crate::mvcc::{Mvcc, Record, Resume};
use crate::request::{RangeRequest, RangeResponse, SortOrder, SortTarget};
use crate::status::Status;
use filter::Filter;
use sort::{Order, Sorter};

/// The revision that a range outside of a txn reads: 0 and below is the current one (RG-8).
/// Errors: `FutureRev`, then `Compacted` (RG-9), the client's fault.
pub fn read_revision(revision: i64, current: i64, compact_revision: i64) -> Result<i64, Status> {
    if revision > current {
        return Err(Status::FutureRev);
    }
    let revision = if revision <= 0 { current } else { revision };
    if revision < compact_revision { Err(Status::Compacted) } else { Ok(revision) }
}

impl RangeRequest {
    /// Whether its order is taken to be the order of keys before its limit is applied; also of
    /// `None` with another target than the key, which is sorted only afterwards (RG-14).
    pub fn is_key_ordered(&self) -> bool {
        match self.sort_order {
            SortOrder::None => true,
            SortOrder::Ascend => self.sort_target == SortTarget::Key,
            SortOrder::Descend | SortOrder::Unknown(_) => false,
        }
    }

    /// Whether any bound on revisions is set; negative ones are (RG-16).
    pub fn has_filters(&self) -> bool {
        let bounds = [
            self.min_mod_revision,
            self.max_mod_revision,
            self.min_create_revision,
            self.max_create_revision,
        ];
        bounds.iter().any(|bound| *bound != 0)
    }
}

/// A RangeRequest being answered.
/// While it lives, history at `revision()` must not be removed: physical compaction above it waits.
/// Source: RG-1..RG-18; etcd 3.7.1 server/etcdserver/txn/range.go.
#[derive(Debug)]
pub struct RangeRun {
    range: KeyRange,
    revision: i64,
    /// Most keys in the answer; `u64::MAX` for no limit.
    limit: u64,
    /// Most keys fetched from the store, before filter and sort.
    fetch_max: u64,
    filter: Filter,
    projection: Projection,
    phase: Phase,
    from: Option<Resume>,
    fetched: u64,
    /// Fetched and let through by the filter.
    matched: u64,
    /// Live keys in the range, whatever limit and filter say (RG-6).
    count: i64,
    sorter: Sorter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Fetch,
    Count,
    Sort,
}

/// What of a record goes into the answer (RG-17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Projection {
    Whole,
    /// From the index alone as in etcd 3.7: neither value nor lease.
    Key,
    /// Sorted by the value, which is dropped afterwards; the lease stays.
    KeyByValue,
}

impl RangeRun {
    /// Answers `request` at `revision`, which the caller has resolved and checked (`read_revision`).
    pub fn new(request: &RangeRequest, revision: i64) -> RangeRun {
        let limit = if request.limit <= 0 { u64::MAX } else { request.limit as u64 };
        // One more than the limit tells whether there is more. With an order or a filter the limit says
        // nothing about how much to fetch; with the order `None` it does, even if a target is given (RG-14).
        let is_limit_pushed = request.is_key_ordered() && !request.has_filters();
        let fetch_max = if is_limit_pushed { limit.saturating_add(1) } else { u64::MAX };
        let projection = match (request.keys_only, request.sort_target) {
            (false, _) => Projection::Whole,
            (true, SortTarget::Value) => Projection::KeyByValue,
            (true, _) => Projection::Key,
        };
        RangeRun {
            range: KeyRange::new(request.key.clone(), request.range_end.clone()),
            revision,
            limit,
            fetch_max,
            filter: Filter::new(request),
            projection,
            phase: if request.count_only { Phase::Count } else { Phase::Fetch },
            from: None,
            fetched: 0,
            matched: 0,
            count: 0,
            sorter: Sorter::new(Order::of(request), limit, projection == Projection::KeyByValue),
        }
    }

    /// The revision it reads.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Goes on for about `work` keys; the answer once it is complete, its header left to the caller.
    pub fn step(&mut self, mvcc: &Mvcc, work: &mut u32) -> Option<RangeResponse> {
        if self.phase == Phase::Fetch {
            self.fetch(mvcc, work)?;
        }
        if self.phase == Phase::Count {
            self.count(mvcc, work)?;
        }
        assert!(self.phase == Phase::Sort, "counting is followed by sorting");
        let kvs = self.sorter.step(work)?;
        Some(RangeResponse { more: self.matched > self.limit, count: self.count, kvs, ..Default::default() })
    }

    /// Collects what the answer is made of; ends in the phase that follows.
    fn fetch(&mut self, mvcc: &Mvcc, work: &mut u32) -> Option<()> {
        loop {
            if *work == 0 {
                return None;
            }
            let RangeRun { filter, projection, sorter, fetched, matched, fetch_max, .. } = self;
            let rest = mvcc.scan(&self.range, self.revision, self.from.as_ref(), work, &mut |record| {
                *fetched += 1;
                if filter.passes(record) {
                    *matched += 1;
                    sorter.push(projection.of(record));
                }
                if *fetched == *fetch_max || sorter.is_run_full() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            self.sorter.close_full_run(work);
            if rest.is_none() {
                self.count = i64::try_from(self.fetched).expect("keys fit into memory");
                self.phase = Phase::Sort;
                return Some(());
            }
            if self.fetched == self.fetch_max {
                self.from = None;
                self.phase = Phase::Count;
                return Some(());
            }
            self.from = rest;
        }
    }

    fn count(&mut self, mvcc: &Mvcc, work: &mut u32) -> Option<()> {
        if *work == 0 {
            return None;
        }
        self.from = mvcc.count(&self.range, self.revision, self.from.as_ref(), work, &mut self.count);
        if self.from.is_some() {
            return None;
        }
        self.phase = Phase::Sort;
        Some(())
    }
}

impl Projection {
    fn of(self, record: &Record) -> KeyValue {
        let kv = record.to_kv();
        match self {
            Projection::Whole | Projection::KeyByValue => kv,
            Projection::Key => KeyValue { value: Value::new(), lease: LeaseId(0), ..kv },
        }
    }
}

#[cfg(test)]
#[path = "range_tests.rs"]
mod tests;
