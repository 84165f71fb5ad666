//! Faults at arbitrary moments: processes that end or pause, cuts and clogs of the network.

use std::collections::BTreeMap;

use super::event::Event;
use super::{Phase, World};
use crate::marks::Mark;
use crate::plan::step::{Action, Down, Group, Who};
use crate::plan::{Plan, Shape};
use crate::record::SpanKind;

/// What is left of a plan's faults, and the cuts in force.
#[derive(Debug)]
pub struct Faults {
    pub crashes_left: u32,
    cuts: BTreeMap<u32, Cut>,
    next_cut: u32,
}

/// A cut of the network.
#[derive(Debug)]
struct Cut {
    /// Directions that are stopped, from and to.
    links: Vec<(usize, usize)>,
    /// Members kept from their clients.
    clients: Vec<usize>,
    is_on: bool,
    /// How often it still comes or goes, and how long it stays so.
    flips_left: u64,
    lasts_ns: u64,
}

impl Faults {
    pub fn new(plan: &Plan) -> Faults {
        Faults { crashes_left: plan.crashes.max, cuts: BTreeMap::new(), next_cut: 0 }
    }

    /// Whether the network is cut somewhere.
    pub fn is_cut(&self) -> bool {
        self.cuts.values().any(|cut| cut.is_on)
    }
}

impl World {
    /// Schedules the first fault of each kind.
    pub(super) fn schedule_faults(&mut self) {
        self.schedule_fault(self.plan.crashes.every_ns, Event::Crash);
        self.schedule_fault(self.plan.crashes.blackout_every_ns, Event::Blackout);
        self.schedule_fault(self.plan.cuts.pause_every_ns, Event::Pause);
        if self.plan.members_max() > 1 {
            self.schedule_fault(self.plan.network.clog_every_ns, Event::Clog);
        }
        self.schedule_fault(self.plan.partitions.every_ns, Event::Partition);
        self.schedule_fault(self.plan.wipes.every_ns, Event::Wipe);
        self.schedule_fault(self.plan.releases.every_ns, Event::Release);
        self.schedule_fault(self.plan.clocks.suspend_every_ns, Event::Suspend);
    }

    pub(super) fn schedule_fault(&mut self, mean_ns: u64, event: Event) {
        if mean_ns > 0 && self.phase == Phase::Storm {
            let pause = self.fate.between((mean_ns / 10).max(1), 2 * mean_ns);
            self.after(pause, event);
        }
    }

    /// The leader with this probability, if there is one; else any member.
    pub(super) fn pick_member(&mut self, aims_at_leader: f64) -> usize {
        match self.referee.leader() {
            Some(leader) if self.fate.chance(aims_at_leader) => leader,
            _ => {
                let in_use = self.in_use();
                *self.fate.pick(&in_use)
            }
        }
    }

    pub(super) fn on_crash_due(&mut self) {
        if self.phase == Phase::Storm && self.faults.crashes_left > 0 {
            let m = self.pick_member(self.plan.crashes.aims_at_leader);
            if !self.is_leaving(m) {
                let power = self.fate.chance(self.plan.crashes.power);
                self.note_deed(None, Action::Crash { members: Group::one(m), power, down: Down::Drawn });
                self.end_life(m, power, "at an arbitrary moment");
            }
            self.schedule_fault(self.plan.crashes.every_ns, Event::Crash);
        }
    }

    pub(super) fn on_blackout_due(&mut self) {
        if self.phase == Phase::Storm && self.faults.crashes_left > 0 {
            self.note_deed(None, Action::Crash { members: Group::All, power: true, down: Down::Drawn });
            self.black_out("while all lose power");
            self.schedule_fault(self.plan.crashes.blackout_every_ns, Event::Blackout);
        }
    }

    /// Everybody loses power at once.
    pub(super) fn black_out(&mut self, why: &str) {
        self.note_blackout();
        for m in 0..self.machines.len() {
            if !self.is_leaving(m) {
                self.end_life(m, true, why);
            }
        }
    }

    pub(super) fn note_blackout(&mut self) {
        self.counts.blackouts += 1;
        if self.in_use().iter().all(|m| self.machines[*m].process.is_some()) {
            self.marks.hit(Mark::Blackout);
        }
    }

    pub(super) fn on_pause_due(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        let m = self.pick_member(0.7);
        let pause = self.draw_pause(self.plan.cuts.pause_ns);
        self.pause(m, pause);
        self.schedule_fault(self.plan.cuts.pause_every_ns, Event::Pause);
    }

    /// A process stands still for a while.
    pub(super) fn pause(&mut self, m: usize, pause_ns: u64) {
        self.counts.pauses += 1;
        self.note_deed(None, Action::Pause { members: Group::one(m), lasts_ns: pause_ns });
        let paused_until_ns = &mut self.machines[m].paused_until_ns;
        *paused_until_ns = (*paused_until_ns).max(self.now_ns + pause_ns);
        if self.referee.seats[m].leads {
            self.marks.hit(Mark::LeaderPaused);
        }
        self.trace.line(self.now_ns, || format!("m{m} pauses for {:.3} s", pause_ns as f64 / 1e9));
        self.record_stop(SpanKind::Pause, m, None, self.now_ns + pause_ns);
    }

    pub(super) fn on_clog_due(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        let size = self.machines.len() as u64;
        if size == 1 {
            return self.schedule_fault(self.plan.network.clog_every_ns, Event::Clog);
        }
        let from = self.fate.below(size) as usize;
        let to = (from + 1 + self.fate.below(size - 1) as usize) % size as usize;
        let clog = self.draw_pause(self.plan.network.clog_ns);
        self.clog(from, to, clog);
        self.schedule_fault(self.plan.network.clog_every_ns, Event::Clog);
    }

    pub(super) fn clog(&mut self, from: usize, to: usize, lasts_ns: u64) {
        self.counts.clogs += 1;
        self.note_deed(None, Action::Clog { from: Who::Number(from), to: Who::Number(to), lasts_ns });
        self.network.clog(from, to, self.now_ns + lasts_ns);
        self.record_stop(SpanKind::Clog, from, Some(to), self.now_ns + lasts_ns);
        self.trace.line(self.now_ns, || format!("m{from} => m{to} clogs for {:.3} s", lasts_ns as f64 / 1e9));
    }

    pub(super) fn on_partition_due(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        let shape = *self.fate.pick(&self.plan.partitions.shapes);
        let (low, high) = self.plan.partitions.lasts_ns;
        let lasts_ns = self.fate.log_between(low, high);
        let flaps = self.fate.chance(self.plan.partitions.flaps);
        let flips_left = if flaps { 2 * self.fate.between(1, 5) + 1 } else { 1 };
        let (links, clients) = self.draw_cut(shape);
        if !links.is_empty() || !clients.is_empty() {
            let lasts_ns = if flaps { lasts_ns.min(2 * self.plan.election_ns()) } else { lasts_ns };
            self.add_cut(Cut { links, clients, is_on: false, flips_left: flips_left + 1, lasts_ns });
        }
        self.schedule_fault(self.plan.partitions.every_ns, Event::Partition);
    }

    /// Begins a cut; its number.
    fn add_cut(&mut self, cut: Cut) -> u32 {
        self.counts.partitions += 1;
        let number = self.faults.next_cut;
        self.faults.next_cut += 1;
        self.trace.line(self.now_ns, || {
            format!("cut {number}: {:?}, from their clients {:?}", cut.links, cut.clients)
        });
        self.faults.cuts.insert(number, cut);
        self.on_flip(number);
        number
    }

    /// Begins a cut that lasts until it is healed; its number.
    pub(super) fn begin_cut(&mut self, links: Vec<(usize, usize)>, clients: Vec<usize>) -> u32 {
        self.add_cut(Cut { links, clients, is_on: false, flips_left: u64::MAX, lasts_ns: u64::MAX / 2 })
    }

    /// Ends a cut, if it still lasts.
    pub(super) fn end_cut(&mut self, number: u32) {
        if let Some(cut) = self.faults.cuts.get_mut(&number) {
            cut.flips_left = 1;
            self.on_flip(number);
        }
    }

    /// A cut comes or goes.
    pub(super) fn on_flip(&mut self, number: u32) {
        let Some(cut) = self.faults.cuts.get_mut(&number) else { return };
        cut.is_on = !cut.is_on;
        cut.flips_left -= 1;
        for (from, to) in &cut.links {
            self.network.cut(*from, *to, cut.is_on);
        }
        for member in &cut.clients {
            self.network.cut_clients(*member, cut.is_on);
        }
        let (is_on, lasts_ns, flips_left) = (cut.is_on, cut.lasts_ns, cut.flips_left);
        let name = format!("cut{number}");
        let (links, clients) = (cut.links.clone(), cut.clients.clone());
        self.record_cut(number, is_on, &links, &clients);
        if is_on && links.is_empty() {
            let members = Group::Of(clients.iter().map(|m| Who::Number(*m)).collect());
            self.note_deed(Some(name), Action::CutClients(members));
        } else if is_on {
            self.note_deed(Some(name), Action::CutLinks(links));
        } else {
            self.note_deed(None, Action::Heal(Some(name)));
        }
        self.trace.line(self.now_ns, || format!("cut {number} {}", if is_on { "begins" } else { "ends" }));
        if let Some(leader) = self.referee.leader()
            && is_on
            && (0..self.machines.len()).any(|m| m != leader && !self.network.reaches(leader, m))
        {
            self.marks.hit(Mark::LeaderCutOff);
        }
        match flips_left {
            0 => drop(self.faults.cuts.remove(&number)),
            _ => self.after(lasts_ns, Event::Flip { cut: number }),
        }
    }

    /// Ends every cut.
    pub(super) fn heal_cuts(&mut self) {
        for (number, cut) in std::mem::take(&mut self.faults.cuts) {
            if cut.is_on {
                self.record_cut(number, false, &cut.links, &cut.clients);
                cut.links.iter().for_each(|(from, to)| self.network.cut(*from, *to, false));
                cut.clients.iter().for_each(|member| self.network.cut_clients(*member, false));
            }
        }
    }

    /// The directions that a cut of this shape stops, and the members that it keeps from their clients.
    fn draw_cut(&mut self, shape: Shape) -> (Vec<(usize, usize)>, Vec<usize>) {
        let size = self.machines.len();
        let mut order: Vec<usize> = (0..size).collect();
        for place in (1..size).rev() {
            order.swap(place, self.fate.below(place as u64 + 1) as usize);
        }
        let pairs = || (0..size).flat_map(move |a| (0..size).map(move |b| (a, b))).filter(|(a, b)| a != b);
        let mut clients = Vec::new();
        let links: Vec<(usize, usize)> = match shape {
            Shape::Halves | Shape::OneWay | Shape::IsolateMinority => {
                let most = if shape == Shape::IsolateMinority { (size - 1) / 2 } else { size - 1 };
                let count = if most == 0 { 0 } else { self.fate.between(1, most as u64) as usize };
                let group = &order[..count];
                let leaves = |a: &usize, b: &usize| group.contains(a) && !group.contains(b);
                let is_one_way = shape == Shape::OneWay;
                pairs().filter(|(a, b)| leaves(a, b) || (!is_one_way && leaves(b, a))).collect()
            }
            Shape::IsolateLeader | Shape::DeafLeader => {
                let alone = self.pick_member(1.0);
                let is_deaf = shape == Shape::DeafLeader;
                pairs().filter(|(a, b)| *b == alone || (!is_deaf && *a == alone)).collect()
            }
            Shape::Ring => {
                let at = |m: usize| order.iter().position(|o| *o == m).expect("each has a place");
                let near = |a: usize, b: usize| {
                    let distance = at(a).abs_diff(at(b));
                    distance.min(size - distance) <= 1
                };
                pairs().filter(|(a, b)| !near(*a, *b)).collect()
            }
            Shape::Bridge => {
                let (left, right) = order[1..].split_at((size - 1) / 2);
                let crosses = |a: &usize, b: &usize| left.contains(a) && right.contains(b);
                pairs().filter(|(a, b)| crosses(a, b) || crosses(b, a)).collect()
            }
            Shape::ClientsOnly => {
                clients.push(self.pick_member(0.5));
                Vec::new()
            }
        };
        (links, clients)
    }
}
