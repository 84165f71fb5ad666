//! Sorting what a range fetched, in slices: sorted runs while it is fetched, then one merge.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::vec::IntoIter;

use crate::base::{KeyValue, Value};
use crate::request::{RangeRequest, SortOrder, SortTarget};

/// Keys sorted at one go; the longest piece of work that is not interrupted, some 0.5 ms.
const RUN_KEYS: usize = 4096;

/// Order of an answer; ties are in the order of keys, where etcd leaves them open (RG-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    target: SortTarget,
    descends: bool,
}

impl Order {
    /// `None`: as the store has it, by ascending key. No order but another target ascends (RG-12).
    pub fn of(request: &RangeRequest) -> Option<Order> {
        let descends = request.sort_order == SortOrder::Descend;
        let is_natural = request.sort_target == SortTarget::Key && !descends;
        (!is_natural).then_some(Order { target: request.sort_target, descends })
    }

    fn compare(self, a: &KeyValue, b: &KeyValue) -> Ordering {
        let by_target = match self.target {
            SortTarget::Key | SortTarget::Unknown(_) => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        let by_target = if self.descends { by_target.reverse() } else { by_target };
        by_target.then_with(|| a.key.cmp(&b.key))
    }
}

/// Takes keys in ascending order and gives back the first `limit` of another order.
/// Memory: with a limit, a run keeps no more than that; with one up to a run's length, all in all two runs.
#[derive(Debug)]
pub(super) struct Sorter {
    order: Option<Order>,
    limit: usize,
    /// Values serve the order only and are left out of the answer.
    drops_values: bool,
    /// The run being filled; without an order, the answer itself.
    run: Vec<KeyValue>,
    /// Sorted runs that are full.
    runs: Vec<Vec<KeyValue>>,
    merge: Option<Merge>,
}

impl Sorter {
    /// `drops_values`: values serve the order only and are left out of the answer.
    pub fn new(order: Option<Order>, limit: u64, drops_values: bool) -> Sorter {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Sorter { order, limit, drops_values, run: Vec::new(), runs: Vec::new(), merge: None }
    }

    pub fn push(&mut self, kv: KeyValue) {
        // In key order all that is beyond the limit is only of interest to whoever counts.
        if self.order.is_some() || self.run.len() < self.limit {
            self.run.push(kv);
        }
    }

    /// Whether `close_full_run` has to be called before the next `push`.
    pub fn is_run_full(&self) -> bool {
        self.order.is_some() && self.run.len() >= self.carried_max() + RUN_KEYS
    }

    /// Sorts the run that is full, if it is.
    pub fn close_full_run(&mut self, work: &mut u32) {
        if self.is_run_full() {
            self.close_run(work);
            if self.carried_max() == 0 {
                self.runs.push(std::mem::take(&mut self.run));
            }
        }
    }

    /// The answer once it is sorted; called when all is pushed, until it returns it.
    pub fn step(&mut self, work: &mut u32) -> Option<Vec<KeyValue>> {
        let Some(order) = self.order else { return Some(std::mem::take(&mut self.run)) };
        if self.merge.is_none() {
            if *work == 0 {
                return None;
            }
            self.close_run(work);
            if self.runs.is_empty() {
                let mut run = std::mem::take(&mut self.run);
                run.iter_mut().filter(|_| self.drops_values).for_each(drop_value);
                return Some(run);
            }
            self.runs.push(std::mem::take(&mut self.run));
            self.merge = Some(Merge::new(order, std::mem::take(&mut self.runs), self.limit));
        }
        self.merge.as_mut()?.step(self.drops_values, work)
    }

    /// Keys of a sorted run that stay in place to be sorted again with the next; 0 if runs are merged.
    fn carried_max(&self) -> usize {
        if self.limit <= RUN_KEYS { self.limit } else { 0 }
    }

    fn close_run(&mut self, work: &mut u32) {
        let Some(order) = self.order else { return };
        *work = work.saturating_sub(u32::try_from(self.run.len()).unwrap_or(u32::MAX));
        self.run.sort_unstable_by(|a, b| order.compare(a, b));
        self.run.truncate(self.limit);
    }
}

/// A merge of sorted runs.
#[derive(Debug)]
struct Merge {
    order: Order,
    runs: Vec<IntoIter<KeyValue>>,
    /// The first key of each run that has one.
    heads: BinaryHeap<Reverse<Head>>,
    merged: Vec<KeyValue>,
    limit: usize,
}

impl Merge {
    fn new(order: Order, runs: Vec<Vec<KeyValue>>, limit: usize) -> Merge {
        let keys: usize = runs.iter().map(Vec::len).sum();
        let mut runs: Vec<IntoIter<KeyValue>> = runs.into_iter().map(Vec::into_iter).collect();
        let first = |(run, kvs): (usize, &mut IntoIter<KeyValue>)| {
            kvs.next().map(|kv| Reverse(Head { order, run, kv }))
        };
        let heads = runs.iter_mut().enumerate().filter_map(first).collect();
        let limit = limit.min(keys);
        Merge { order, runs, heads, merged: Vec::with_capacity(limit), limit }
    }

    fn step(&mut self, drops_values: bool, work: &mut u32) -> Option<Vec<KeyValue>> {
        while self.merged.len() < self.limit {
            *work = work.checked_sub(1)?;
            let Reverse(mut head) = self.heads.pop().expect("a head is left while the limit is not reached");
            if let Some(kv) = self.runs[head.run].next() {
                self.heads.push(Reverse(Head { order: self.order, run: head.run, kv }));
            }
            if drops_values {
                drop_value(&mut head.kv);
            }
            self.merged.push(head.kv);
        }
        Some(std::mem::take(&mut self.merged))
    }
}

fn drop_value(kv: &mut KeyValue) {
    kv.value = Value::new();
}

/// The next key of a run.
#[derive(Debug)]
struct Head {
    order: Order,
    run: usize,
    kv: KeyValue,
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> Ordering {
        self.order.compare(&self.kv, &other.kv)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
