//! One compare of a txn, against the state at a fixed revision.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use crate::base::KeyRange;
use crate::mvcc::{Mvcc, Record, Resume};
use crate::request::{Compare, CompareResult, CompareTarget, CompareUnion};

/// A compare being evaluated; of a range, in slices.
/// Source: TXN-10, TXN-11; etcd 3.7.1 server/etcdserver/txn/txn.go (applyCompare).
#[derive(Debug)]
pub(super) struct CompareRun {
    compare: Compare,
    range: KeyRange,
    from: Option<Resume>,
    /// Whether any key was met, all of which hold so far.
    has_met_key: bool,
}

impl CompareRun {
    pub fn new(compare: Compare) -> CompareRun {
        let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
        CompareRun { compare, range, from: None, has_met_key: false }
    }

    /// Whether all keys of the range hold at `revision`; `None` if `work` is up before that is known.
    pub fn step(&mut self, mvcc: &Mvcc, revision: i64, work: &mut u32) -> Option<bool> {
        if *work == 0 {
            return None;
        }
        if self.range.is_single() {
            *work -= 1;
            return Some(holds(&self.compare, mvcc.get(&self.range.start, revision)));
        }
        let mut all_hold = true;
        let CompareRun { compare, range, from, has_met_key } = self;
        let rest = mvcc.scan(range, revision, from.as_ref(), work, &mut |record| {
            *has_met_key = true;
            all_hold = holds(compare, Some(record));
            if all_hold { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if !all_hold {
            return Some(false);
        }
        if rest.is_some() {
            *from = rest;
            return None;
        }
        Some(*has_met_key || holds(compare, None))
    }
}

/// Whether a key (`None`: an absent one, or an empty range) holds.
fn holds(compare: &Compare, record: Option<&Record>) -> bool {
    if record.is_none() && compare.target == CompareTarget::Value {
        // The protocol cannot tell "no value" from an empty one, so nothing is true of it (Q10).
        return false;
    }
    let ordering = stored_to_given(compare, record);
    match compare.result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
        CompareResult::Unknown(_) => true,
    }
}

/// The stored field against the given one: an absent key's is 0, a given one of another target is 0 or empty
/// (Q12), an unknown target is always equal.
fn stored_to_given(compare: &Compare, record: Option<&Record>) -> Ordering {
    let stored = |field: fn(&Record) -> i64| record.map_or(0, field);
    match (&compare.target, &compare.union) {
        (CompareTarget::Value, given) => {
            let given = if let CompareUnion::Value(value) = given { &value[..] } else { &[] };
            record.map_or(&[][..], |record| &record.value).cmp(given)
        }
        (CompareTarget::Version, CompareUnion::Version(n)) => stored(|r| r.version).cmp(n),
        (CompareTarget::Version, _) => stored(|r| r.version).cmp(&0),
        (CompareTarget::Create, CompareUnion::Create(n)) => stored(|r| r.create).cmp(n),
        (CompareTarget::Create, _) => stored(|r| r.create).cmp(&0),
        (CompareTarget::Mod, CompareUnion::Mod(n)) => stored(|r| r.main).cmp(n),
        (CompareTarget::Mod, _) => stored(|r| r.main).cmp(&0),
        (CompareTarget::Lease, CompareUnion::Lease(n)) => stored(|r| r.lease.0).cmp(n),
        (CompareTarget::Lease, _) => stored(|r| r.lease.0).cmp(&0),
        (CompareTarget::Unknown(_), _) => Ordering::Equal,
    }
}
