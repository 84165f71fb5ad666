//! The checkers themselves: a good history with one thing changed must be found bad, by the right checker.

use std::sync::{Arc, OnceLock};

use holdfast_core::base::WatchId;
use holdfast_core::boundary::WatchResponse;
use holdfast_core::request::{AuthRequest, Request, Response, Secret};
use holdfast_core::status::Status;
use holdfast_sim::check::{Truth, check};
use holdfast_sim::history::{Answer, History, Op, Passed};
use holdfast_sim::oracle::model::Decree;
use holdfast_sim::plan::{AuthPlan, Plan, Profile};
use holdfast_sim::rng::{Rng, derive};
use holdfast_sim::world::World;

/// Histories that each corruption is tried on.
const HISTORIES: u64 = 24;

/// Good histories, made once.
fn histories() -> &'static [History] {
    static HISTORIES_MADE: OnceLock<Vec<History>> = OnceLock::new();
    HISTORIES_MADE.get_or_init(|| {
        let made: Vec<History> = (0..HISTORIES)
            .map(|n| {
                let mut plan = Plan::draw(derive(77, n), Profile::Calm);
                plan.ops_max = 400;
                plan.streams = 3;
                World::new(plan, false).run().history
            })
            .collect();
        made.iter().for_each(|history| assert_eq!(check(history).map(|_| ()), Ok(())));
        made
    })
}

/// The same with users and roles.
fn guarded() -> &'static [History] {
    static GUARDED_MADE: OnceLock<Vec<History>> = OnceLock::new();
    GUARDED_MADE.get_or_init(|| {
        let made: Vec<History> = (0..HISTORIES)
            .map(|n| {
                let mut plan = Plan::draw(derive(78, n), Profile::Calm);
                (plan.ops_max, plan.auth) = (400, Some(AuthPlan { share: 0.2 }));
                World::new(plan, false).run().history
            })
            .collect();
        made.iter().for_each(|history| assert_eq!(check(history).map(|_| ()), Ok(())));
        made
    })
}

/// Changes each history where `change` finds something to change; at least some must be, and each of these
/// must be refused by one of `checks`.
fn refused(checks: &[&str], change: impl FnMut(&mut History, &mut Rng) -> bool) {
    refused_of(histories(), checks, change);
}

fn refused_of(
    histories: &[History],
    checks: &[&str],
    mut change: impl FnMut(&mut History, &mut Rng) -> bool,
) {
    let mut changed = 0;
    for (n, good) in histories.iter().enumerate() {
        let mut bad = good.clone();
        if !change(&mut bad, &mut Rng::new(n as u64)) {
            continue;
        }
        changed += 1;
        match check(&bad) {
            Ok(_) => panic!("history {n}: nothing was found"),
            Err(violation) => {
                assert!(checks.contains(&violation.check), "history {n}: {violation:?}");
            }
        }
    }
    assert!(changed >= 3, "only {changed} histories could be changed");
}

/// Some op that passes a test, drawn.
fn some_op<'a>(
    history: &'a mut History,
    rng: &mut Rng,
    test: impl Fn(&Op, &Answer) -> bool,
) -> Option<&'a mut Op> {
    let found: Vec<usize> = (0..history.ops.len())
        .filter(|o| history.ops[*o].answer.as_ref().is_some_and(|answer| test(&history.ops[*o], answer)))
        .collect();
    if found.is_empty() {
        return None;
    }
    let chosen = *rng.pick(&found);
    Some(&mut history.ops[chosen])
}

fn result(op: &mut Op) -> &mut Result<Response, Status> {
    &mut op.answer.as_mut().expect("chosen for its answer").result
}

#[test]
fn changed_value_in_a_range_is_found() {
    refused(&["read"], |history, rng| {
        let has_keys = |_: &Op, answer: &Answer| matches!(&answer.result, Ok(Response::Range(range)) if !range.kvs.is_empty());
        let Some(op) = some_op(history, rng, has_keys) else { return false };
        let Ok(Response::Range(range)) = result(op) else { unreachable!("tested above") };
        range.kvs[0].mod_revision -= 1;
        true
    });
}

#[test]
fn range_that_misses_an_acknowledged_write_is_found() {
    refused(&["read"], |history, rng| {
        // A range of one key at the newest revision, whose key was written between two acknowledged writes.
        let truth = Truth::of(history);
        let is_plain = |op: &Op, answer: &Answer| {
            matches!((&op.request, &answer.result), (Request::Range(range), Ok(Response::Range(got)))
                if range.revision == 0 && !range.serializable && got.header.revision > 40)
        };
        let Some(op) = some_op(history, rng, is_plain) else { return false };
        let Request::Range(request) = op.request.clone() else { unreachable!("tested above") };
        let Ok(Response::Range(got)) = result(op) else { unreachable!("tested above") };
        let (first, _) = truth.model.positions_of(got.header.revision - 30).expect("it was reached");
        let old = truth.model.at(first).range(&request);
        *result(op) = old.result;
        true
    });
}

#[test]
fn acknowledged_write_that_is_not_in_the_log_is_found() {
    refused(&["write", "read", "state_hash", "watch"], |history, _| {
        let last =
            history.log.iter().rposition(|entry| matches!(&entry.decree, Decree::Request(Request::Put(_))));
        let Some(last) = last else { return false };
        history.log.truncate(last);
        true
    });
}

#[test]
fn write_that_takes_effect_twice_is_found() {
    refused(&["write"], |history, rng| {
        let puts: Vec<usize> = (0..history.log.len())
            .filter(|i| matches!(&history.log[*i].decree, Decree::Request(Request::Put(_))))
            .collect();
        if puts.is_empty() {
            return false;
        }
        let mut again = history.log[*rng.pick(&puts)].clone();
        if let Some(id) = &mut again.id {
            id.epoch = u64::MAX;
        }
        history.log.push(again);
        true
    });
}

#[test]
fn wrong_revision_of_a_write_is_found() {
    refused(&["write"], |history, rng| {
        let Some(op) = some_op(history, rng, |_, a| matches!(a.result, Ok(Response::Put(_)))) else {
            return false;
        };
        let Ok(Response::Put(put)) = result(op) else { unreachable!("tested above") };
        put.header.revision += 1;
        true
    });
}

#[test]
fn wrong_term_of_a_write_is_found() {
    refused(&["write"], |history, rng| {
        let Some(op) = some_op(history, rng, |_, a| matches!(a.result, Ok(Response::Put(_)))) else {
            return false;
        };
        let Ok(Response::Put(put)) = result(op) else { unreachable!("tested above") };
        put.header.raft_term += 1;
        true
    });
}

#[test]
fn missing_previous_value_is_found() {
    refused(&["write"], |history, rng| {
        let has_prev =
            |_: &Op, a: &Answer| matches!(&a.result, Ok(Response::Put(put)) if put.prev_kv.is_some());
        let Some(op) = some_op(history, rng, has_prev) else { return false };
        let Ok(Response::Put(put)) = result(op) else { unreachable!("tested above") };
        put.prev_kv = None;
        true
    });
}

#[test]
fn other_branch_of_a_transaction_is_found() {
    refused(&["write", "read"], |history, rng| {
        let Some(op) = some_op(history, rng, |_, a| matches!(a.result, Ok(Response::Txn(_)))) else {
            return false;
        };
        let Ok(Response::Txn(txn)) = result(op) else { unreachable!("tested above") };
        txn.succeeded = !txn.succeeded;
        true
    });
}

#[test]
fn refusal_of_a_good_write_and_acceptance_of_a_bad_one_are_found() {
    refused(&["write"], |history, rng| {
        let Some(op) = some_op(history, rng, |_, a| matches!(a.result, Ok(Response::Put(_)))) else {
            return false;
        };
        *result(op) = Err(Status::LeaseNotFound);
        true
    });
    refused(&["refusal"], |history, rng| {
        let is_malformed = |_: &Op, a: &Answer| a.result == Err(Status::EmptyKey);
        let Some(op) = some_op(history, rng, is_malformed) else { return false };
        *result(op) = Err(Status::KeyNotFound);
        true
    });
}

#[test]
fn wrong_reason_of_a_refused_read_is_found() {
    refused(&["read"], |history, rng| {
        let is_compacted = |op: &Op, a: &Answer| {
            matches!(op.request, Request::Range(_)) && a.result == Err(Status::Compacted)
        };
        let Some(op) = some_op(history, rng, is_compacted) else { return false };
        *result(op) = Err(Status::FutureRev);
        true
    });
}

#[test]
fn answer_before_its_entry_is_applied_is_found() {
    refused(&["write"], |history, rng| {
        let Some(op) = some_op(history, rng, |_, a| matches!(a.result, Ok(Response::Put(_)))) else {
            return false;
        };
        op.answer.as_mut().expect("chosen for its answer").applied = 1;
        true
    });
}

#[test]
fn diverging_digest_and_hash_are_found() {
    refused(&["state_hash"], |history, _| {
        let Some(digest) = history.digests.first().copied() else { return false };
        history.digests.push(holdfast_sim::history::Digest { hash: !digest.hash, ..digest });
        true
    });
    refused(&["hash_kv"], |history, rng| {
        let is_hash = |_: &Op, a: &Answer| matches!(a.result, Ok(Response::HashKv { .. }));
        let Some(op) = some_op(history, rng, is_hash) else { return false };
        let mut again = op.clone();
        if let Ok(Response::HashKv { hash, .. }) = result(&mut again) {
            *hash ^= 1;
        }
        history.ops.push(again);
        true
    });
}

#[test]
fn lease_that_ends_early_or_never_is_found() {
    refused(&["lease_early"], |history, _| {
        // Some end of a lease, 1.9 s earlier: every TTL is at least 2 s. Not each had an acknowledged renewal.
        let ends: Vec<usize> = (0..history.log.len())
            .filter(|i| matches!(history.log[*i].decree, Decree::Expire { .. }))
            .collect();
        ends.into_iter().any(|i| {
            let seen = history.log[i].seen;
            history.log[i].seen.at_ns = seen.at_ns.saturating_sub(1_900_000_000);
            let is_found = check(history).is_err();
            if !is_found {
                history.log[i].seen = seen;
            }
            is_found
        })
    });
    refused(&["lease_late"], |history, _| {
        history.end.at_ns += 60_000_000_000;
        history.calm_since.at_ns = 0;
        let truth = Truth::of(history);
        // A grant that nobody takes back any more.
        let id = holdfast_core::base::LeaseId(4242);
        let Some(last) = history.log.last().cloned() else { return false };
        let grant = holdfast_core::request::LeaseGrantRequest { id, ttl: 2 };
        let request = Request::LeaseGrant(grant);
        let mut entry = last;
        entry.decree = Decree::Request(request.clone());
        entry.id = Some(holdfast_core::command::RequestId { counter: u64::MAX - 1, ..Default::default() });
        let seq = history.end.seq;
        entry.seen.seq = seq + 2;
        let at = |seq| holdfast_sim::history::Moment { seq, ..history.calm_since };
        history.ops.push(Op {
            client: 0,
            member: history.lives[entry.life].member,
            life: entry.life,
            credentials: Default::default(),
            request,
            call: at(seq),
            arrived: Some(at(seq + 1)),
            answer: None,
        });
        history.log.push(entry);
        truth.model.position() > 0
    });
}

#[test]
fn checkpoint_that_promises_too_little_or_all_is_found() {
    let told = |history: &History| -> Vec<(usize, usize)> {
        let items = |i: usize| match &history.log[i].decree {
            Decree::Checkpoint { items, .. } => items.clone(),
            _ => Vec::new(),
        };
        let all = (0..history.log.len()).flat_map(|i| items(i).into_iter().enumerate().map(move |x| (i, x)));
        all.filter(|(_, (_, item))| item.left_s > 0).map(|(i, (place, _))| (i, place)).collect()
    };
    let set = |history: &mut History, (i, place): (usize, usize), left_s: i64| {
        let Decree::Checkpoint { items, .. } = &mut history.log[i].decree else { unreachable!("just found") };
        std::mem::replace(&mut items[place].left_s, left_s)
    };
    refused(&["lease_checkpoint"], |history, rng| {
        let told = told(history);
        if told.is_empty() {
            return false;
        }
        let at = *rng.pick(&told);
        set(history, at, 9);
        check(history).is_err()
    });
    refused(&["lease_checkpoint"], |history, _| {
        // Two seconds less. Not each has a renewal that was acknowledged and is the last.
        told(history).into_iter().any(|at| {
            let before = set(history, at, 1);
            set(history, at, (before - 2).max(1));
            let is_found = check(history).is_err();
            if !is_found {
                set(history, at, before);
            }
            is_found
        })
    });
}

#[test]
fn order_against_real_time_is_found() {
    refused(&["real_time"], |history, rng| {
        // An unanswered request takes the place of an answered one: it was asked when that was long done.
        let is_put = |_: &Op, a: &Answer| matches!(a.result, Ok(Response::Put(_)));
        let end = history.end;
        let Some(op) = some_op(history, rng, is_put) else { return false };
        let arrived = op.arrived;
        op.call = end;
        op.arrived = arrived;
        op.answer = None;
        true
    });
}

/// Deliveries with events, as places in the history.
fn with_events(history: &History) -> Vec<(usize, usize)> {
    deliveries(history, |response| !response.events.is_empty())
}

fn deliveries(history: &History, test: impl Fn(&WatchResponse) -> bool) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (s, stream) in history.streams.iter().enumerate() {
        for (p, (_, passed)) in stream.passed.iter().enumerate() {
            if matches!(passed, Passed::Delivered(response, _) if test(response)) {
                found.push((s, p));
            }
        }
    }
    found
}

fn delivery(history: &mut History, (s, p): (usize, usize)) -> &mut WatchResponse {
    match &mut history.streams[s].passed[p].1 {
        Passed::Delivered(response, _) => response,
        Passed::Op(_) => unreachable!("chosen as a delivery"),
    }
}

/// Deliveries with events that follow each other on one watch: stream and both places.
fn consecutive(history: &History) -> Vec<(usize, usize, usize)> {
    let mut pairs = Vec::new();
    for (s, stream) in history.streams.iter().enumerate() {
        let mut last = std::collections::BTreeMap::new();
        for (p, (_, passed)) in stream.passed.iter().enumerate() {
            let Passed::Delivered(response, _) = passed else { continue };
            if response.created || response.canceled {
                last.remove(&response.watch_id.0);
            } else if !response.events.is_empty()
                && let Some(before) = last.insert(response.watch_id.0, p)
            {
                pairs.push((s, before, p));
            }
        }
    }
    pairs
}

/// Changes one delivery, drawn from those that pass a test.
fn refused_delivery(test: impl Fn(&WatchResponse) -> bool, change: impl Fn(&mut WatchResponse)) {
    refused(&["watch"], |history, rng| {
        let found = deliveries(history, &test);
        if found.is_empty() {
            return false;
        }
        let chosen = *rng.pick(&found);
        change(delivery(history, chosen));
        true
    });
}

#[test]
fn lost_repeated_and_reordered_deliveries_are_found() {
    type Change = fn(&mut History, (usize, usize, usize));
    // Of deliveries that another of the same watch follows: what a cancel cuts off is not owed.
    let changes: [Change; 3] = [
        |history, (s, a, _)| {
            history.streams[s].passed.remove(a);
        },
        |history, (s, a, _)| {
            let again = history.streams[s].passed[a].clone();
            history.streams[s].passed.insert(a, again);
        },
        |history, (s, a, b)| history.streams[s].passed.swap(a, b),
    ];
    for change in changes {
        refused(&["watch"], |history, rng| {
            let pairs = consecutive(history);
            if pairs.is_empty() {
                return false;
            }
            change(history, *rng.pick(&pairs));
            true
        });
    }
}

#[test]
fn revision_cut_in_two_is_found() {
    refused_delivery(
        |response| {
            let last = response.events.last().map(|event| event.kv.mod_revision);
            response.events.iter().filter(|event| Some(event.kv.mod_revision) == last).count() > 1
        },
        |response| {
            let mut events = response.events.to_vec();
            events.pop();
            response.events = Arc::new(events);
        },
    );
}

#[test]
fn changed_event_is_found() {
    let has_events = |response: &WatchResponse| !response.events.is_empty();
    refused_delivery(has_events, |response| {
        let mut events = response.events.to_vec();
        events[0].kv.mod_revision += 1;
        response.events = Arc::new(events);
    });
    refused_delivery(has_events, |response| {
        let mut events = response.events.to_vec();
        events[0].kv.key = Arc::from(&b"never"[..]);
        response.events = Arc::new(events);
    });
    refused_delivery(
        |response| response.events.iter().any(|event| event.prev_kv.is_some()),
        |response| {
            let mut events = response.events.to_vec();
            let event = events.iter_mut().find(|event| event.prev_kv.is_some()).expect("tested above");
            event.prev_kv.as_mut().expect("tested above").version += 1;
            response.events = Arc::new(events);
        },
    );
}

#[test]
fn broken_promise_of_progress_is_found() {
    refused(&["watch"], |history, rng| {
        // The same progress one event earlier: what it promised had not been told.
        let found = with_events(history);
        if found.is_empty() {
            return false;
        }
        let (s, p) = *rng.pick(&found);
        let (at, passed) = history.streams[s].passed[p].clone();
        let Passed::Delivered(response, applied) = passed else { unreachable!("chosen as a delivery") };
        let last = response.events.last().map_or(0, |event| event.kv.mod_revision);
        let progress = WatchResponse { watch_id: response.watch_id, revision: last, ..response };
        let progress = WatchResponse { events: Arc::new(Vec::new()), ..progress };
        history.streams[s].passed.insert(p, (at, Passed::Delivered(progress, applied)));
        true
    });
}

#[test]
fn wrong_control_answers_are_found() {
    let is_created = |response: &WatchResponse| response.created && !response.canceled;
    refused_delivery(is_created, |response| response.watch_id = WatchId(99));
    refused_delivery(is_created, |response| response.revision += 1_000_000);
    refused_delivery(
        |response| response.canceled && response.compact_revision > 0,
        |response| response.compact_revision += 1_000_000,
    );
    refused_delivery(
        |response| response.created && response.canceled && !response.cancel_reason.is_empty(),
        |response| response.cancel_reason = "",
    );
}

#[test]
fn login_by_another_word_is_found() {
    refused_of(guarded(), &["identity"], |history, rng| {
        let is_login = |op: &Op, answer: &Answer| {
            matches!(op.request, Request::Auth(AuthRequest::Authenticate { .. })) && answer.result.is_ok()
        };
        let Some(op) = some_op(history, rng, is_login) else { return false };
        if let Request::Auth(AuthRequest::Authenticate { password, .. }) = &mut op.request {
            *password = Secret::new("another");
        }
        true
    });
}

#[test]
fn right_that_was_denied_and_one_that_was_given_for_nothing_are_found() {
    let is_range = |op: &Op| matches!(&op.request, Request::Range(range) if !range.key.is_empty());
    refused_of(guarded(), &["permission"], |history, rng| {
        let root = history.ops[0].credentials.clone();
        let is_roots =
            |op: &Op, answer: &Answer| is_range(op) && op.credentials == root && answer.result.is_ok();
        let Some(op) = some_op(history, rng, is_roots) else { return false };
        *result(op) = Err(Status::PermissionDenied);
        true
    });
    refused_of(guarded(), &["read"], |history, rng| {
        let truth = Truth::of(history);
        let is_denied =
            |op: &Op, answer: &Answer| is_range(op) && answer.result == Err(Status::PermissionDenied);
        let Some(op) = some_op(history, rng, is_denied) else { return false };
        let Request::Range(range) = op.request.clone() else { unreachable!("tested above") };
        let applied = op.answer.as_ref().expect("chosen for its answer").applied as usize;
        *result(op) = truth.model.at(applied).range(&range).result;
        true
    });
}
