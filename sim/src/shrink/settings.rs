//! Plainer settings: fewer members, no losses, short waits, limits as they come.

use holdfast_core::boundary::Limits;

use super::drop_orphans;
use crate::disk::DiskFaults;
use crate::plan::step::{Action, Group, When, Who};
use crate::plan::{Plan, SECOND};

/// Candidates with one setting each made plainer; those that change nothing are left out.
pub fn plainer(plan: &Plan) -> Vec<Plan> {
    let changes: [fn(&mut Plan); 17] = [
        |plan| keep_members(plan, 3),
        |plan| keep_members(plan, 1),
        |plan| plan.network.loss = 0.0,
        |plan| plan.network.duplicate = 0.0,
        |plan| (plan.network.late, plan.network.late_pieces) = (0.0, 0.0),
        |plan| (plan.network.tail, plan.network.keeps_order) = (0.0, true),
        |plan| plan.network.reports_loss = 0.0,
        |plan| plan.network.passes_bytes = false,
        |plan| (plan.reply_lost, plan.abandons) = (0.0, 0.0),
        |plan| plan.cuts.split = 0.0,
        |plan| plan.cuts.turn_ns = (0, 1),
        |plan| plan.cuts.completion_ns = (0, 1),
        |plan| plan.cuts.way_ns = (10_000, 20_000),
        |plan| {
            plan.drift = 0.0;
            plan.members.iter_mut().for_each(|member| member.clock_rate = 1.0);
        },
        |plan| plan.members.iter_mut().for_each(|member| member.disk = DiskFaults::default()),
        |plan| {
            let limits = Limits::default();
            plan.members.iter_mut().for_each(|member| member.limits = limits.clone());
        },
        end_early,
    ];
    let changed = changes.into_iter().map(|change| {
        let mut candidate = plan.clone();
        change(&mut candidate);
        candidate
    });
    changed.filter(|candidate| format!("{candidate:?}") != format!("{plan:?}")).collect()
}

/// The first members alone, and of the steps those that need no other.
fn keep_members(plan: &mut Plan, count: usize) {
    if plan.members.len() <= count {
        return;
    }
    plan.members.truncate(count);
    let is_there = |who: &Who| matches!(who, Who::Number(m) if *m < count);
    plan.script.retain_mut(|step| match &mut step.action {
        Action::CutLinks(links) => {
            links.retain(|(from, to)| *from < count && *to < count);
            !links.is_empty()
        }
        Action::Crash { members, .. }
        | Action::Pause { members, .. }
        | Action::Start(members)
        | Action::CutClients(members) => match members {
            Group::Of(members) => {
                members.retain(is_there);
                !members.is_empty()
            }
            Group::All | Group::Rest => true,
        },
        Action::CrashBehind { member, .. }
        | Action::StrikeDisk { member, .. }
        | Action::Flip { member, .. }
        | Action::Clock { member, .. } => is_there(member),
        Action::Clog { from, to, .. } => is_there(from) && is_there(to),
        Action::Ask { to, .. } | Action::Open { to, .. } => is_there(to),
        _ => true,
    });
    drop_orphans(plan);
}

/// The storm ends soon after the last thing that is done in it.
fn end_early(plan: &mut Plan) {
    let [.., before, last] = &mut plan.script[..] else { return };
    let (When::At(before_ns), Action::Wait) = (&before.when, &last.action) else { return };
    let end_ns = (before_ns + SECOND).min(plan.storm_ns);
    last.when = When::At(end_ns);
    plan.storm_ns = end_ns;
}
