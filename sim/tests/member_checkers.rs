//! The checkers of changes of the membership: a good history with one thing changed must be found bad.

use std::sync::OnceLock;

use holdfast_core::base::MemberId;
use holdfast_core::request::{Request, Response};
use holdfast_core::status::Status;
use holdfast_sim::check::check;
use holdfast_sim::history::{History, Op};
use holdfast_sim::oracle::model::Decree;
use holdfast_sim::plan::{Plan, Profile};
use holdfast_sim::rng::derive;
use holdfast_sim::world::World;

const HISTORIES: u64 = 24;

/// Good histories of clusters whose members come and go, made once.
fn histories() -> &'static [History] {
    static HISTORIES_MADE: OnceLock<Vec<History>> = OnceLock::new();
    HISTORIES_MADE.get_or_init(|| {
        let made = (0..HISTORIES).map(|n| {
            let mut plan = Plan::draw(derive(78, n), Profile::Membership);
            plan.ops_max = 600;
            plan.membership.strict_reconfig = n % 2 == 0;
            World::new(plan, false).run().history
        });
        let made: Vec<History> = made.collect();
        made.iter().for_each(|history| assert_eq!(check(history).map(|_| ()), Ok(())));
        made
    })
}

/// Changes each history where `change` finds something to change; at least some must be, and `found` says in how
/// many of them one of `checks` must have seen it.
fn refused(checks: &[&str], least: usize, mut change: impl FnMut(&mut History) -> bool) {
    let (mut changed, mut seen) = (0, 0);
    for (n, good) in histories().iter().enumerate() {
        let mut bad = good.clone();
        if !change(&mut bad) {
            continue;
        }
        changed += 1;
        if let Err(violation) = check(&bad) {
            assert!(checks.contains(&violation.check), "history {n}: {violation:?}");
            seen += 1;
        }
    }
    assert!(seen >= least, "found in {seen} of {changed} histories");
}

fn answered(op: &Op, test: impl Fn(&Result<Response, Status>) -> bool) -> bool {
    op.answer.as_ref().is_some_and(|answer| test(&answer.result))
}

fn set(op: &mut Op, result: Result<Response, Status>) {
    op.answer.as_mut().expect("chosen for its answer").result = result;
}

#[test]
fn change_that_nobody_asked_for_is_found() {
    refused(&["members"], 3, |history| {
        let is_done = |op: &Op| {
            let is_change = matches!(op.request, Request::MemberAdd { .. } | Request::MemberRemove { .. });
            is_change && answered(op, Result::is_ok)
        };
        let Some(o) = history.ops.iter().position(is_done) else { return false };
        // Asked of others, it would be theirs.
        let request = history.ops[o].request.clone();
        for op in history.ops.iter_mut().filter(|op| op.request == request) {
            op.request = Request::MemberRemove { id: MemberId(1) };
            op.answer = None;
        }
        true
    });
}

#[test]
fn change_that_was_acknowledged_and_is_in_no_log_is_found() {
    refused(&["members"], 3, |history| {
        let is_refused = |op: &Op| {
            matches!(op.request, Request::MemberRemove { .. })
                && answered(op, |result| *result == Err(Status::Unhealthy))
        };
        let Some(o) = history.ops.iter().position(is_refused) else { return false };
        set(
            &mut history.ops[o],
            Ok(Response::MemberRemove { header: Default::default(), members: Vec::new() }),
        );
        true
    });
}

#[test]
fn list_with_a_member_too_few_is_found() {
    refused(&["read"], 3, |history| {
        let shows = |op: &&mut Op| {
            answered(
                op,
                |result| matches!(result, Ok(Response::MemberList { members, .. }) if members.len() > 1),
            )
        };
        let Some(op) = history.ops.iter_mut().find(shows) else { return false };
        let Some(Ok(Response::MemberList { members, .. })) =
            op.answer.as_mut().map(|answer| &mut answer.result)
        else {
            unreachable!("chosen for its answer")
        };
        members.pop();
        true
    });
}

#[test]
fn leadership_that_nobody_took_over_is_found() {
    refused(&["handover"], 3, |history| {
        let leaders: Vec<MemberId> = history.leaderships.iter().map(|leadership| leadership.member).collect();
        let moved = |op: &&mut Op| answered(op, |result| matches!(result, Ok(Response::MoveLeader)));
        let Some(op) = history.ops.iter_mut().find(moved) else { return false };
        let Some(other) = history.ids.iter().find(|id| !leaders.contains(id)) else { return false };
        op.request = Request::MoveLeader { target: *other };
        true
    });
}

#[test]
fn change_that_the_strict_check_forbids_is_found() {
    refused(&["strict"], 2, |history| {
        // As if nobody had ever said its name.
        let is_voter = |op: &Op| {
            matches!(op.request, Request::MemberAdd { is_learner: false, .. }) && answered(op, Result::is_ok)
        };
        if !history.terms.strict_reconfig || !history.ops.iter().any(is_voter) {
            return false;
        }
        for entry in &mut history.log {
            if matches!(entry.decree, Decree::Publish { .. }) {
                entry.decree = Decree::Nothing;
            }
        }
        // What answers show of names would be found first.
        for op in &mut history.ops {
            let shows_names = answered(op, |result| {
                matches!(result, Ok(Response::MemberList { .. })) || result.is_ok() && names_of(result)
            });
            if shows_names {
                forget_names(op);
            }
        }
        true
    });
}

fn names_of(result: &Result<Response, Status>) -> bool {
    matches!(
        result,
        Ok(Response::MemberAdd { .. }
            | Response::MemberRemove { .. }
            | Response::MemberUpdate { .. }
            | Response::MemberPromote { .. })
    )
}

fn forget_names(op: &mut Op) {
    let Some(answer) = &mut op.answer else { return };
    if let Ok(
        Response::MemberList { members, .. }
        | Response::MemberAdd { members, .. }
        | Response::MemberRemove { members, .. }
        | Response::MemberUpdate { members, .. }
        | Response::MemberPromote { members, .. },
    ) = &mut answer.result
    {
        for member in members {
            member.name.clear();
            member.client_urls.clear();
        }
    }
}
