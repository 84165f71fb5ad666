//! What a range answers, from the contract's rules RG-1 to RG-18.

use std::cmp::Ordering;

use bytes::Bytes;
use holdfast_core::base::{KeyRange, KeyValue, LeaseId};
use holdfast_core::request::{Header, RangeRequest, RangeResponse, SortOrder, SortTarget};

use super::store::Store;

/// The keys that a sorted answer is drawn from: order among equal sort values is free (RG-15), so which of
/// them a limit lets through is free too.
pub type Pool = Vec<KeyValue>;

/// The answer at `revision`, without header; and the pool if the sort leaves freedom.
pub fn evaluate(store: &Store, request: &RangeRequest, revision: i64) -> (RangeResponse, Option<Pool>) {
    let range = KeyRange::new(request.key.clone(), request.range_end.clone());
    let mut found: Vec<KeyValue> = store.live(&range, revision).cloned().collect();
    let mut response = RangeResponse { count: found.len() as i64, ..RangeResponse::default() };
    if request.count_only {
        return (response, None);
    }
    let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
    let is_filtered = is_filtered(request);
    let is_by_key = request.sort_target == SortTarget::Key;
    let is_ordered =
        request.sort_order != SortOrder::None && !(is_by_key && request.sort_order == SortOrder::Ascend);
    if let Some(limit) = limit.filter(|_| !is_ordered && !is_filtered) {
        found.truncate(limit + 1);
    }
    found.retain(|kv| passes(request, kv));
    sort(&mut found, request);
    let pool = (!is_by_key).then(|| found.clone());
    if let Some(limit) = limit.filter(|limit| found.len() > *limit) {
        found.truncate(limit);
        response.more = true;
    }
    response.kvs = found.into_iter().map(|kv| project(request, kv)).collect();
    (response, pool)
}

fn is_filtered(request: &RangeRequest) -> bool {
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    bounds.iter().any(|bound| *bound != 0)
}

fn passes(request: &RangeRequest, kv: &KeyValue) -> bool {
    let within = |at: i64, min: i64, max: i64| (min == 0 || at >= min) && (max == 0 || at <= max);
    within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(kv.create_revision, request.min_create_revision, request.max_create_revision)
}

fn sort(found: &mut [KeyValue], request: &RangeRequest) {
    match (request.sort_order, request.sort_target) {
        (SortOrder::None, SortTarget::Key) => {}
        (SortOrder::Descend, target) => found.sort_by(|a, b| compare(target, b, a)),
        (_, target) => found.sort_by(|a, b| compare(target, a, b)),
    }
}

fn compare(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
        SortTarget::Key | SortTarget::Unknown(_) => a.key.cmp(&b.key),
    }
}

fn project(request: &RangeRequest, mut kv: KeyValue) -> KeyValue {
    if request.keys_only {
        kv.value = Bytes::new();
        if request.sort_target != SortTarget::Value {
            kv.lease = LeaseId(0);
        }
    }
    kv
}

/// Whether an answer is one that etcd may give: equal, or equal up to the order among equal sort values.
/// Headers are compared by the caller.
pub fn agrees(
    request: &RangeRequest,
    expected: &RangeResponse,
    pool: Option<&Pool>,
    got: &RangeResponse,
) -> bool {
    if (got.more, got.count, got.kvs.len()) != (expected.more, expected.count, expected.kvs.len()) {
        return false;
    }
    let Some(pool) = pool.filter(|_| got.kvs != expected.kvs) else { return got.kvs == expected.kvs };
    let mut chosen: Vec<&KeyValue> = Vec::new();
    for kv in &got.kvs {
        match pool.iter().find(|candidate| candidate.key == kv.key) {
            Some(candidate) if project(request, candidate.clone()) == *kv => chosen.push(candidate),
            _ => return false,
        }
    }
    let mut keys: Vec<_> = chosen.iter().map(|kv| &kv.key).collect();
    keys.sort();
    keys.dedup();
    // The pool is sorted: an answer is right if its sort values are those of the pool's beginning.
    keys.len() == chosen.len()
        && chosen.iter().zip(pool).all(|(a, b)| compare(request.sort_target, a, b) == Ordering::Equal)
}

/// A response with this header.
pub fn with_header(mut response: RangeResponse, header: Header) -> RangeResponse {
    response.header = header;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys c, b, a written in that order: revisions 2, 3, 4.
    fn store() -> Store {
        let mut store = Store::default();
        for key in ["c", "b", "a"] {
            store.put(key.as_bytes(), Bytes::from_static(b"same"), LeaseId(7));
            store.finish();
        }
        store
    }

    fn all() -> RangeRequest {
        RangeRequest {
            key: Bytes::from_static(b"a"),
            range_end: Bytes::from_static(b"\0"),
            ..RangeRequest::default()
        }
    }

    fn keys(response: &RangeResponse) -> Vec<&str> {
        response.kvs.iter().map(|kv| std::str::from_utf8(&kv.key).expect("ascii")).collect()
    }

    #[test]
    fn unordered_sort_by_another_target_cuts_first() {
        let request = RangeRequest { sort_target: SortTarget::Mod, limit: 1, ..all() };
        let (cut, _) = evaluate(&store(), &request, 4);
        assert_eq!((keys(&cut), cut.more, cut.count), (vec!["b"], true, 3));
        // With ASCEND the whole range is sorted before the cut (Q21); here a and b tie on nothing.
        let (sorted, _) = evaluate(&store(), &RangeRequest { sort_order: SortOrder::Ascend, ..request }, 4);
        assert_eq!(keys(&sorted), vec!["c"]);
    }

    #[test]
    fn count_ignores_limit_and_filters_and_keys_only_drops_the_lease() {
        let request = RangeRequest { limit: 1, min_mod_revision: 3, keys_only: true, ..all() };
        let (response, _) = evaluate(&store(), &request, 4);
        assert_eq!((keys(&response), response.count, response.more), (vec!["a"], 3, true));
        assert_eq!((response.kvs[0].lease, response.kvs[0].value.len()), (LeaseId(0), 0));
    }

    #[test]
    fn order_among_equal_sort_values_is_free() {
        let request = RangeRequest { sort_order: SortOrder::Ascend, sort_target: SortTarget::Value, ..all() };
        let (expected, pool) = evaluate(&store(), &request, 4);
        let mut got = expected.clone();
        got.kvs.swap(0, 2);
        assert!(agrees(&request, &expected, pool.as_ref(), &got));
        got.kvs[1] = got.kvs[0].clone();
        assert!(!agrees(&request, &expected, pool.as_ref(), &got));
        let by_mod = RangeRequest { sort_target: SortTarget::Mod, ..request };
        let (expected, pool) = evaluate(&store(), &by_mod, 4);
        let mut got = expected.clone();
        got.kvs.swap(0, 2);
        assert!(!agrees(&by_mod, &expected, pool.as_ref(), &got));
    }
}
