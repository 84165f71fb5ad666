//! After the storm: everything heals, and progress is required (G59).
//!
//! The calm is long enough for every lease to run out. Then all members lose power once more, come back,
//! and each of them is asked for a grant, a write, a linearizable read, a watch, and all that is there.

use bytes::Bytes;
use holdfast_core::base::{LeaseId, LogIndex};
use holdfast_core::request::{LeaseGrantRequest, PutRequest, RangeRequest, Request};

use super::event::Event;
use super::streams::Slot;
use super::{Phase, World};
use crate::disk::DiskFaults;
use crate::marks::Mark;
use crate::plan::{MS, Plan, SECOND};
use crate::record::Class;

/// Time that the last look may take.
const LAST_NS_MAX: u64 = 60 * SECOND;
/// Time for the watches to show the last writes.
const SETTLE_NS: u64 = 500 * MS;
/// How often something may be waited for that was decided a moment ago.
pub const GRACES: u32 = 8;
/// Pause between two looks at whether everybody is ready.
const PROBE_NS: u64 = 100 * MS;
/// Election timeouts in which a leader must be there once nothing is disturbed.
const LEADER_TIMEOUTS_MAX: u64 = 20;

/// A lease must be gone so long after its TTL: elections, the pause between revokes, turns, a flush that
/// stalls when the calm begins.
pub fn expiry_slack_ns(plan: &Plan) -> u64 {
    4 * SECOND + 6 * plan.election_ns() + stall_ns(plan) + suspension_ns(plan) + restart_ns(plan)
}

/// Where members come and go two may be all there are: one that is down then keeps the other from leading.
fn restart_ns(plan: &Plan) -> u64 {
    if plan.membership.newcomers.is_empty() { 0 } else { plan.crashes.restart_ns.1 }
}

/// A machine that is suspended when the calm begins wakes so much later, and its clock with it.
fn suspension_ns(plan: &Plan) -> u64 {
    plan.clocks.suspend_ns.1
}

/// An idle watch hears of progress so often at least: the interval and a tenth, once more if it was told of a
/// change just before, and once more if the hub was behind at that moment.
pub fn progress_ns(plan: &Plan) -> u64 {
    (3.3 * plan.watch_progress_ns as f64 / (1.0 - plan.drift)) as u64 + 500 * MS
}

/// Pauses and stalls of the storm are over so long after its end.
pub fn progress_slack_ns(plan: &Plan) -> u64 {
    let late_ns = stall_ns(plan) + suspension_ns(plan) + restart_ns(plan) + plan.cuts.pause_ns.1;
    SECOND + late_ns + 2 * plan.election_ns()
}

fn stall_ns(plan: &Plan) -> u64 {
    let drawn = plan.all_members().map(|member| member.disk.stall_ns.1).max().unwrap_or(0);
    drawn.max(plan.stalls_ns_max)
}

impl World {
    fn calm_ns(&self) -> u64 {
        let ttl_ns = self.plan.ttl_ns_max as f64 / (1.0 - self.plan.drift);
        (ttl_ns as u64 + expiry_slack_ns(&self.plan)).max(self.plan.calm_ns_min)
    }

    /// Faults stop; clients fall silent; leases run out; watches catch up.
    pub(super) fn begin_calm(&mut self) {
        if self.phase != Phase::Storm || !self.script_lets_go() {
            return;
        }
        self.phase = Phase::Calm;
        for machine in &mut self.machines {
            let DiskFaults { ignores_flush, ignores_directory_flush, .. } = machine.disk.faults;
            machine.disk.faults =
                DiskFaults { ignores_flush, ignores_directory_flush, ..DiskFaults::default() };
            machine.disk.end_strikes();
            machine.ambushes.clear();
        }
        let crashes = &mut self.plan.crashes;
        (crashes.at_effect, crashes.at_disk_op) = (0.0, 0.0);
        (crashes.while_dirty, crashes.after_vote, crashes.after_received) = (0.0, 0.0, 0.0);
        self.plan.cuts.pause = 0.0;
        self.plan.cuts.turn_ns.1 = self.plan.cuts.turn_ns.1.min(MS);
        self.plan.cuts.completion_ns.1 = self.plan.cuts.completion_ns.1.min(MS);
        self.plan.reply_lost = 0.0;
        self.plan.clocks.merge = 0.0;
        self.plan.credit_ns = (1, 1000);
        self.heal_cuts();
        self.network.heal();
        self.network.end_seizures();
        self.release_machines();
        self.read_all_streams();
        self.settle_members();
        self.settle_releases();
        self.history.calm_since = self.moment();
        self.tell(None, Class::Phase, || "calm".to_owned());
        let stall_ns = stall_ns(&self.plan)
            + suspension_ns(&self.plan)
            + self.plan.cuts.pause_ns.1
            + self.plan.crashes.restart_ns.1;
        let due = LEADER_TIMEOUTS_MAX * self.plan.election_ns() + stall_ns;
        if due < self.calm_ns() {
            self.after(due, Event::LeaderDue);
        }
        self.after(self.calm_ns(), Event::Last);
    }

    pub(super) fn check_leader(&mut self) {
        if self.referee.leader().is_none() {
            let seats = &self.referee.seats;
            let what = format!("no leader after {LEADER_TIMEOUTS_MAX} election timeouts of calm: {seats:?}");
            self.fail("no_progress", what);
        }
    }

    /// Whether something was decided a moment ago that not everybody has applied: there is time for that, but
    /// not for ever.
    fn grants_grace(&mut self, again: Event) -> bool {
        let decided = self.history.log.len() as u64;
        let lags = self.healthy().any(|m| self.referee.seats[m].applied < decided);
        let is_granted = lags && self.graces_left > 0;
        if is_granted {
            self.graces_left -= 1;
            self.after(SETTLE_NS, again);
        }
        is_granted
    }

    /// One more power loss of all, then a last look at everything that should be there.
    pub(super) fn begin_last(&mut self) {
        if self.grants_grace(Event::Last) {
            return;
        }
        self.check_leader();
        self.check_converged();
        self.phase = Phase::Return;
        self.black_out("before the last look");
        self.last_requests = self.requests_of_last_look().into();
        if let Some(client) = self.clients.first_mut() {
            *client = Default::default();
            self.after(SECOND, Event::Probe);
        }
        self.after(LAST_NS_MAX, Event::End);
    }

    /// The last questions begin when every member knows a leader and has caught up.
    pub(super) fn on_probe(&mut self) {
        // A member that catches up by a snapshot cannot tell its callers what became of their requests.
        let decided = self.history.log.len() as u64;
        let is_ready = |m: usize| {
            let seat = self.referee.seats[m];
            let is_booted = self.referee.taps[m].is_booted() && self.machines[m].is_known;
            is_booted && seat.has_leader && seat.applied == decided
        };
        if !self.healthy().all(is_ready) {
            return self.after(PROBE_NS, Event::Probe);
        }
        self.phase = Phase::Last;
        self.resume_scripted_streams();
        self.tell(None, Class::Phase, || "last look".to_owned());
        self.at(self.now_ns, Event::Think { client: 0 });
        let healthy: Vec<usize> = self.healthy().collect();
        for m in healthy {
            let slot = self.slots.len() as u32;
            self.slots.push(Slot::probe(m));
            self.at(self.now_ns, Event::StreamOp { slot });
        }
    }

    /// Everything was asked: the end is near.
    pub(super) fn on_all_asked(&mut self) {
        self.phase = Phase::Settling;
        self.after(SETTLE_NS, Event::End);
    }

    pub(super) fn on_end(&mut self) {
        if !self.grants_grace(Event::End) {
            self.phase = Phase::Over;
        }
    }

    /// What each member is asked at the end: to do something, and for everything there is, now and at
    /// revisions that can still be read.
    fn requests_of_last_look(&mut self) -> Vec<(usize, Request)> {
        let all = RangeRequest {
            key: Bytes::from_static(&[0]),
            range_end: Bytes::from_static(&[0]),
            ..RangeRequest::default()
        };
        let newest = self.workload.revision();
        let oldest = self.workload.compacted().clamp(1, newest);
        let mut requests = Vec::new();
        for m in self.healthy() {
            let grant = LeaseGrantRequest { id: LeaseId(0), ttl: 60 };
            let put = PutRequest {
                key: Bytes::from(format!("last{m}")),
                value: Bytes::from_static(b"look"),
                ..PutRequest::default()
            };
            requests.push((m, Request::LeaseGrant(grant)));
            requests.push((m, Request::Put(put)));
            requests.push((m, Request::Range(all.clone())));
            requests.push((m, Request::LeaseLeases));
            requests.push((m, Request::MemberList { linearizable: true }));
            requests.push((m, Request::Status));
        }
        for part in 0..=4 {
            let revision = oldest + (newest - oldest) * part / 4;
            let m = self.healthy().nth(part as usize % self.healthy().count().max(1)).unwrap_or(0);
            requests.push((m, Request::Range(RangeRequest { revision, ..all.clone() })));
            for m in self.healthy() {
                requests.push((m, Request::HashKv { revision }));
            }
        }
        requests
    }

    /// Every member has applied all that is decided, and has the same State.
    fn check_converged(&mut self) {
        let decided = self.history.log.len() as u64;
        let healthy: Vec<usize> = self.healthy().collect();
        for m in healthy {
            let Some(process) = &self.machines[m].process else {
                return self.fail("no_progress", format!("m{m} does not run in the end"));
            };
            let LogIndex(applied) = process.node.state().applied;
            if applied < decided {
                let what = format!("m{m} has applied {applied} of {decided} entries and goes no further");
                return self.fail("no_progress", what);
            }
            self.take_digest(m);
        }
    }

    /// In the last lives, which nobody disturbed, everything asked was answered, and answered well.
    pub(super) fn check_end(&mut self) {
        if self.machines.len() == 1 && self.machines[0].is_refused {
            return;
        }
        self.check_converged();
        self.check_log_matching();
        if let Some((m, request)) = self.last_requests.front() {
            let what = format!("{request:?} was not yet asked of m{m}, seats {:?}", self.referee.seats);
            return self.fail("no_progress", what);
        }
        let lives: Vec<usize> = self.healthy().filter_map(|m| self.machines[m].life()).collect();
        let ops = self.history.ops.iter().filter(|op| lives.contains(&op.life));
        for op in ops {
            let is_answered = op.answer.as_ref().is_some_and(|answer| match &answer.result {
                Ok(_) => true,
                Err(status) => {
                    use crate::check::matching::{goes_through_log, is_overload, is_unknown};
                    // A member that takes over a state cannot tell what became of what it had forwarded.
                    let may_not_know =
                        self.referee.seats[op.member].snapshots > 0 && goes_through_log(&op.request);
                    (may_not_know && is_unknown(*status))
                        || *status == holdfast_core::status::Status::NoSpace
                        || !(is_unknown(*status) || is_overload(*status))
                }
            });
            if !is_answered {
                let what = format!("m{} was asked {:?} and answered {:?}", op.member, op.request, op.answer);
                return self.fail("no_progress", what);
            }
        }
        let quotas: Vec<bool> = self.plan.all_members().map(|member| member.quota_bytes.is_some()).collect();
        if quotas.contains(&true) && quotas.contains(&false) && self.saw_no_space() {
            self.marks.hit(Mark::NoSpaceOnOne);
        }
        self.check_version();
        self.mark_survivors();
    }

    fn saw_no_space(&self) -> bool {
        self.history.log.iter().any(|entry| matches!(entry.decree, crate::oracle::model::Decree::NoSpace(_)))
    }
}
