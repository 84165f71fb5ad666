//! Plainer settings: fewer members, no losses, short waits, limits as they come.

use holdfast_core::boundary::Limits;
use holdfast_core::state::STATE_VERSION;

use super::drop_orphans;
use crate::disk::DiskFaults;
use crate::plan::step::{Action, Group, Step, When, Who};
use crate::plan::{Plan, SECOND};

/// Candidates with one setting each made plainer; those that change nothing are left out.
pub fn plainer(plan: &Plan) -> Vec<Plan> {
    let changes: [fn(&mut Plan); 22] = [
        |plan| keep_members(plan, 3, usize::MAX),
        |plan| keep_members(plan, 1, usize::MAX),
        |plan| keep_members(plan, usize::MAX, 0),
        |plan| {
            let newcomers = plan.membership.enlisted.len();
            keep_members(plan, usize::MAX, newcomers.saturating_sub(1));
        },
        |plan| plan.membership.newcomers.truncate(plan.membership.enlisted.len()),
        |plan| plan.all_members_mut().for_each(|member| member.state_version = STATE_VERSION),
        |plan| plan.clocks.merge = 0.0,
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
            plan.all_members_mut().for_each(|member| member.clock_rate = 1.0);
        },
        |plan| plan.all_members_mut().for_each(|member| member.disk = DiskFaults::default()),
        |plan| {
            let limits = Limits::default();
            plan.all_members_mut().for_each(|member| member.limits = limits.clone());
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

/// The first of the first members and of the newcomers alone, and of the steps those that need no other.
fn keep_members(plan: &mut Plan, first: usize, newcomers: usize) {
    let (before, known) = (plan.members.len(), plan.membership.enlisted.len());
    let (first, newcomers) = (first.min(before), newcomers.min(known));
    if (first, newcomers) == (before, known) {
        return;
    }
    plan.members.truncate(first);
    plan.membership.newcomers.drain(newcomers..known);
    plan.membership.enlisted.truncate(newcomers);
    // Newcomers have the numbers behind those of the first members.
    let number = |m: usize| match m.checked_sub(before) {
        None => (m < first).then_some(m),
        Some(newcomer) => (newcomer < newcomers).then_some(first + newcomer),
    };
    for enlisted in &mut plan.membership.enlisted {
        enlisted.heir_of = enlisted.heir_of.and_then(number);
    }
    plan.script.retain_mut(|step| renumber(&mut step.action, &number));
    drop_orphans(plan);
}

/// Gives members their new numbers; whether anything is left to do.
fn renumber(action: &mut Action, number: &dyn Fn(usize) -> Option<usize>) -> bool {
    let is_there = |who: &mut Who| match who {
        Who::Number(m) => number(*m).map(|new| *m = new).is_some(),
        _ => false,
    };
    match action {
        Action::CutLinks(links) => {
            *links = links.iter().filter_map(|(from, to)| number(*from).zip(number(*to))).collect();
            !links.is_empty()
        }
        Action::Crash { members, .. }
        | Action::Pause { members, .. }
        | Action::Suspend { members, .. }
        | Action::Start(members)
        | Action::CutClients(members) => match members {
            Group::Of(members) => {
                members.retain_mut(is_there);
                !members.is_empty()
            }
            Group::All | Group::Rest => true,
        },
        Action::CrashBehind { member, .. }
        | Action::StrikeDisk { member, .. }
        | Action::Flip { member, .. }
        | Action::Wipe { member, .. }
        | Action::ChangeRelease { member, .. }
        | Action::Clock { member, .. } => is_there(member),
        Action::Clog { from, to, .. } => is_there(from) && is_there(to),
        Action::Ask { to, .. } | Action::Open { to, .. } => is_there(to),
        _ => true,
    }
}

/// The plan whose storm ends at a moment, if that leaves out anything.
pub fn ended_at(plan: &Plan, end_ns: u64) -> Option<Plan> {
    let [steps @ .., last] = &plan.script[..] else { return None };
    let is_early = |step: &&Step| !matches!(step.when, When::At(at_ns) if at_ns > end_ns);
    let mut script: Vec<Step> = steps.iter().filter(is_early).cloned().collect();
    if last.action != Action::Wait || script.len() == steps.len() {
        return None;
    }
    script.push(Step { when: When::At(end_ns), ..last.clone() });
    let mut plan = Plan { script, storm_ns: plan.storm_ns.min(end_ns), ..plan.clone() };
    drop_orphans(&mut plan);
    Some(plan)
}

/// The storm ends soon after the last thing that is done in it.
fn end_early(plan: &mut Plan) {
    let [.., before, last] = &mut plan.script[..] else { return };
    let (When::At(before_ns), Action::Wait) = (&before.when, &last.action) else { return };
    let end_ns = (before_ns + SECOND).min(plan.storm_ns);
    last.when = When::At(end_ns);
    plan.storm_ns = end_ns;
}
