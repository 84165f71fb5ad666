//! What happened in a run, as a script: every request and every fault with its moment and its target.
//!
//! A plan with this script takes nothing from draws but what is too fine to name: delays, cuts into turns,
//! losses of single messages, what a power loss keeps. Those come from streams by link, by member and by
//! moment, so that leaving out one step moves little else.

use std::collections::BTreeMap;

use holdfast_core::boundary::StreamOp;
use holdfast_core::request::{AuthAnswer, AuthRequest, Credentials, Request, Response, Secret};

use super::{Outcome, Phase, World};
use crate::history::{History, Moment, Passed};
use crate::plan::step::{Action, Ask, By, Expect, Step, When, Who};
use crate::plan::{Enlisted, Plan, ReleasePlan, WipePlan};
use crate::workload::root;

/// Something that was done to the world.
#[derive(Clone, Debug)]
pub struct Deed {
    pub at: Moment,
    pub name: Option<String>,
    pub action: Action,
}

/// What a script wanted of a request.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub expect: Expect,
    pub patience_ns: u64,
}

/// What a run leaves beside its history, for a script of it.
#[derive(Clone, Debug, Default)]
pub struct Deeds {
    pub done: Vec<Deed>,
    /// By request: those of scripts.
    pub wanted: BTreeMap<u32, Wanted>,
    /// By stream: its slot, and whether its client reads.
    pub slots: Vec<(u32, bool)>,
    /// Whose machines those of newcomers were.
    pub enlisted: Vec<Enlisted>,
}

impl World {
    /// Takes note of what is done to the world while the storm lasts.
    pub(super) fn note_deed(&mut self, name: Option<String>, action: Action) {
        if self.phase == Phase::Storm {
            let at = self.moment();
            self.deeds.done.push(Deed { at, name, action });
        }
    }
}

/// The plan of a run with everything that happened in it as its script.
pub fn explicit(outcome: &Outcome) -> Plan {
    let plan = &*outcome.plan;
    let storm_is_over = outcome.history.calm_since.at_ns > 0 && outcome.history.calm_since.seq > 0;
    let end = if storm_is_over { outcome.history.calm_since } else { outcome.history.end };
    let mut steps: Vec<(u64, u64, Step)> = Vec::new();
    let mut add = |at_ns: u64, seq: u64, name: Option<String>, action: Action| {
        steps.push((at_ns, seq, Step { when: When::At(at_ns), action, name, line: 0 }));
    };
    for Deed { at, name, action } in &outcome.deeds.done {
        let (at_ns, seq) = match &action {
            Action::CrashBehind { aim, .. } => (aim.at_ns, 0),
            // Before the process begins that reads what flipped.
            Action::Flip { .. } => (at.at_ns.saturating_sub(1), at.seq),
            _ => (at.at_ns, at.seq),
        };
        add(at_ns, seq, name.clone(), action.clone());
    }
    for (m, struck) in outcome.struck.iter().enumerate() {
        for (aim, strike) in struck.iter().filter(|(aim, _)| aim.at_ns < end.at_ns) {
            add(
                aim.at_ns,
                0,
                None,
                Action::StrikeDisk { member: Who::Number(m), aim: *aim, strike: *strike },
            );
        }
    }
    let logins = logins(&outcome.history);
    for (number, op) in (0..).zip(&outcome.history.ops).filter(|(_, op)| op.call.seq < end.seq) {
        let (expect, patience_ns) = match outcome.deeds.wanted.get(&number) {
            Some(wanted) => (wanted.expect.clone(), wanted.patience_ns),
            None => (Expect::Anything, plan.client_timeout_ns),
        };
        let by = by(plan, &logins, &op.credentials);
        let request = op.request.clone();
        let ask = Ask { by, request, subject: None, expect, patience_ns, waits: false };
        let name = is_login(&op.request).then(|| login_name(number));
        add(op.call.at_ns, op.call.seq, name, Action::Ask { to: Who::Number(op.member), ask });
    }
    for (stream, (slot, reads)) in outcome.history.streams.iter().zip(&outcome.deeds.slots) {
        let name = format!("stream{slot}");
        let mut ops = ops_of(&stream.passed).filter(|(at, _)| at.seq < end.seq).peekable();
        let whose = match ops.next_if(|(_, op)| matches!(op, StreamOp::Open { .. })) {
            Some((_, StreamOp::Open { credentials })) => by(plan, &logins, credentials),
            _ => By::Root,
        };
        for (place, (at, op)) in ops.enumerate() {
            let (named, action) = match place {
                0 => {
                    let to = Who::Number(stream.member);
                    (
                        Some(name.clone()),
                        Action::Open { to, by: whose.clone(), op: op.clone(), reads: *reads },
                    )
                }
                _ => (None, Action::Stream { name: name.clone(), op: op.clone() }),
            };
            add(at.at_ns, at.seq, named, action);
        }
    }
    let storm_ns = if storm_is_over { end.at_ns } else { end.at_ns + 1 };
    // The storm lasts as long as the one of the run.
    let last = Step { when: When::At(storm_ns), action: Action::Wait, name: None, line: 0 };
    steps.sort_by_key(|(at_ns, seq, _)| (*at_ns, *seq));
    let script = steps.into_iter().map(|(_, _, step)| step).chain([last]).collect();
    let plan = quiet(plan);
    let membership = plan.membership.scripted(outcome.deeds.enlisted.clone());
    Plan { script, storm_ns, membership, ..plan }
}

fn is_login(request: &Request) -> bool {
    matches!(request, Request::Auth(AuthRequest::Authenticate { .. }))
}

fn login_name(number: u32) -> String {
    format!("login{number}")
}

/// The requests that were given tokens, by token.
fn logins(history: &History) -> BTreeMap<&Secret, u32> {
    let given = (0..).zip(&history.ops).filter_map(|(number, op)| match &op.answer.as_ref()?.result {
        Ok(Response::Auth { answer: AuthAnswer::Token { token, .. }, .. }) => Some((token, number)),
        _ => None,
    });
    given.collect()
}

/// Who somebody was: tokens that were given are named by their request, since another run gives others.
fn by(plan: &Plan, logins: &BTreeMap<&Secret, u32>, credentials: &Credentials) -> By {
    match credentials {
        Credentials::Token(token) => match logins.get(token) {
            Some(number) => By::TokenOf(login_name(*number)),
            None => By::Is(credentials.clone()),
        },
        Credentials::None if plan.auth.is_none() => By::Root,
        credentials if *credentials == root() => By::Root,
        credentials => By::Is(credentials.clone()),
    }
}

/// What the client of a stream said; credit is given by itself.
fn ops_of(passed: &[(Moment, Passed)]) -> impl Iterator<Item = (&Moment, &StreamOp)> {
    passed.iter().filter_map(|(at, passed)| match passed {
        Passed::Op(StreamOp::Credit { .. }) | Passed::Delivered(..) => None,
        Passed::Op(op) => Some((at, op)),
    })
}

/// The plan without requests and faults of its own.
fn quiet(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    (plan.ops_max, plan.clients, plan.streams, plan.eager_progress) = (0, 1, 0, 0.0);
    let crashes = &mut plan.crashes;
    (crashes.every_ns, crashes.blackout_every_ns, crashes.flips_max) = (0, 0, 0);
    (crashes.at_effect, crashes.at_disk_op) = (0.0, 0.0);
    (crashes.while_dirty, crashes.after_vote, crashes.after_received) = (0.0, 0.0, 0.0);
    (plan.cuts.pause, plan.cuts.pause_every_ns) = (0.0, 0);
    plan.network.clog_every_ns = 0;
    plan.partitions.every_ns = 0;
    (plan.wipes, plan.releases) = (WipePlan::none(), ReleasePlan::none());
    plan.clocks.suspend_every_ns = 0;
    for member in plan.all_members_mut() {
        (member.disk.sync_fails, member.disk.stall) = (0.0, 0.0);
    }
    plan
}
