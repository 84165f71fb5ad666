//! The world around the members of a cluster: virtual time, disks, a network, clients, and what goes wrong.
//!
//! One agenda of events, ordered by time and then by the order of their making; nothing else decides what
//! comes next. A run is a storm of requests and faults, a calm in which everything heals, leases run out
//! and watches catch up, a last power loss of all, and a last look at everything on every member.

mod admin;
pub(crate) mod boot;
mod calm;
mod clients;
mod clocks;
mod compactions;
mod counts;
mod decrees;
mod disk_lanes;
mod event;
pub mod explicit;
mod faults;
mod forged;
mod lies;
mod load;
pub mod machine;
mod members;
mod network;
pub(crate) mod passwords;
mod quorum;
mod recording;
mod referee;
mod releases;
mod rot;
mod script;
mod seizure;
mod streams;
mod tap;
mod turn;
mod wipes;

use std::collections::VecDeque;

use holdfast_core::base::MemberId;
use holdfast_core::request::Request;

use crate::aim::Aim;
use crate::check::Violation;
use crate::disk::Strike;
use crate::history::{History, Moment, Terms};
use crate::marks::Marks;
use crate::plan::Plan;
use crate::record::Record;
use crate::rng::{Rng, derive};
use crate::trace::Trace;
use crate::workload::{Guests, Workload};
use admin::Admin;
use clients::Client;
pub use counts::Counts;
use event::{Agenda, Event};
use explicit::Deeds;
use faults::Faults;
use forged::Forged;
use load::Load;
use machine::Machine;
use network::Network;
use referee::Referee;
use script::Script;
pub use script::{Judged, about, meets};
pub use seizure::KINDS as MAIL_KINDS;
use streams::Slot;

/// Turns after which a run is taken to be caught in a loop.
const TURNS_MAX: u64 = 3_000_000;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Storm,
    Calm,
    /// All lost power once more, and come back.
    Return,
    Last,
    /// Everything was asked; watches show the last writes.
    Settling,
    Over,
}

/// A run while it is under way.
pub struct World {
    plan: Plan,
    now_ns: u64,
    seq: u64,
    agenda: Agenda,
    phase: Phase,
    machines: Vec<Machine>,
    /// Ids of the members, by number.
    ids: Vec<MemberId>,
    network: Network,
    admin: Admin,
    faults: Faults,
    referee: Referee,
    clients: Vec<Client>,
    slots: Vec<Slot>,
    workload: Workload,
    /// Who asks, where users and roles are part of the run.
    guests: Option<Guests>,
    script: Script,
    /// The last requests, one after the other, each with the member it goes to.
    last_requests: VecDeque<(usize, Request)>,
    graces_left: u32,
    history: History,
    /// The plan as it was given, and what was done to the world.
    given: Box<Plan>,
    deeds: Deeds,
    /// Draws of times and cuts, and of faults.
    pace: Rng,
    fate: Rng,
    liar: lies::Liar,
    load: Load,
    forged: Forged,
    /// Places passed at which each member might have died in the storm.
    places: Vec<u64>,
    failed: Option<Violation>,
    trace: Trace,
    /// `None` but where somebody wants to read the run.
    record: Option<Box<Record>>,
    marks: Marks,
    counts: Counts,
}

/// What a run leaves.
pub struct Outcome {
    pub history: History,
    pub failed: Option<Violation>,
    pub trace: Trace,
    pub record: Option<Box<Record>>,
    pub marks: Marks,
    pub counts: Counts,
    /// The plan as it was given.
    pub plan: Box<Plan>,
    pub deeds: Deeds,
    /// What struck the disk of each member.
    pub struck: Vec<Vec<(Aim, Strike)>>,
    /// Places at which each member might have died in the storm.
    pub places: Vec<u64>,
}

impl World {
    pub fn new(mut plan: Plan, keeps_lines: bool) -> World {
        let given = Box::new(plan.clone());
        lies::prepare(&mut plan);
        let (seed, size) = (plan.seed, plan.members.len());
        let terms = Terms {
            drift: plan.drift,
            ttl_min_s: boot::TTL_MIN_S,
            txn_ops_max: 128,
            // A leader that was down as the calm began may be followed by another, whose leases begin anew.
            expiry_slack_ns: calm::expiry_slack_ns(&plan) + plan.crashes.restart_ns.1,
            election_ns: u64::from(plan.election_ticks) * plan.heartbeat_ns,
            progress_ns: calm::progress_ns(&plan),
            progress_slack_ns: calm::progress_slack_ns(&plan),
            has_quota: plan.all_members().any(|member| member.quota_bytes.is_some()),
            strict_reconfig: plan.membership.strict_reconfig,
            learners_max: plan.membership.learners_max,
        };
        let machines = (0..).zip(&plan.members).map(|(m, member)| {
            // A member alone has the disk of the seed itself.
            let seed = if m == 0 { seed } else { derive(seed, m) };
            Machine::new(seed, member.disk.clone())
        });
        let value_bytes = (plan.value_bytes_min, plan.value_bytes_max);
        let workload = Workload::new(seed, plan.mix.clone(), plan.keys, boot::ids(size), value_bytes);
        let guests = plan.auth.map(|auth| Guests::new(seed, auth, workload.keys().to_vec()));
        let mut world = World {
            now_ns: 0,
            seq: 0,
            agenda: Agenda::default(),
            phase: Phase::Storm,
            machines: machines.collect(),
            ids: boot::ids(size),
            network: Network::new(seed, &plan.network, plan.members_max()),
            admin: Admin::new(seed),
            faults: Faults::new(&plan),
            referee: Referee::new(size),
            clients: vec![Client::default(); plan.clients as usize],
            slots: vec![Slot::default(); plan.streams as usize],
            workload,
            guests,
            script: Script::new(plan.script.clone()),
            last_requests: VecDeque::new(),
            graces_left: calm::GRACES,
            history: History::new(terms),
            given,
            deeds: Deeds::default(),
            pace: Rng::named(seed, "pace"),
            fate: Rng::named(seed, "fate"),
            liar: lies::Liar::default(),
            load: Load::new(plan.members_max()),
            forged: Forged::default(),
            places: vec![0; plan.members_max()],
            failed: None,
            trace: Trace::new(keeps_lines),
            record: None,
            marks: Marks::default(),
            counts: Counts::default(),
            plan,
        };
        world.enlist_known();
        world
    }

    /// What was decided before it began, lies included.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs to the end, or to the first broken promise that the world itself sees.
    pub fn run(mut self) -> Outcome {
        self.play();
        self.into_outcome()
    }

    /// The same for who wants to have the outcome also of a run that ends in a panic.
    pub fn play(&mut self) {
        for member in 0..self.plan.members.len() as u32 {
            self.at(0, Event::Start { member });
        }
        for client in 0..self.plan.clients {
            let pause = self.pace.between(0, self.plan.think_ns.1);
            self.at(pause, Event::Think { client });
        }
        for slot in 0..self.plan.streams {
            let pause = self.pace.between(0, self.plan.stream_ns.1);
            self.at(pause, Event::StreamOp { slot });
        }
        self.schedule_faults();
        self.at(self.plan.storm_ns, Event::Calm);
        if !self.script.is_done() {
            self.begin_step();
        }
        while self.failed.is_none() && self.phase != Phase::Over {
            let Some((at_ns, event)) = self.agenda.pop() else { break };
            self.now_ns = at_ns;
            self.counts.events += 1;
            self.happen(event);
            if self.script.waits_for_condition() {
                self.check_condition();
            }
        }
        self.close();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Think { client } => self.on_think(client),
            Event::Arrive { op } => self.on_arrive(op),
            Event::Impatient { op } => self.on_impatient(op),
            Event::StreamOp { slot } => self.on_stream_op(slot),
            Event::Progress => self.ask_progress(),
            Event::Credit { slot } => self.on_credit(slot),
            Event::Turn { life } => self.if_alive(life, World::on_turn),
            Event::Tick { life } => self.if_alive(life, World::on_tick),
            Event::Lane { life, kind } => self.if_alive(life, |world, m| world.run_lane(m, kind)),
            Event::Complete { life, completion } => {
                self.if_alive(life, |world, m| world.on_complete(m, completion));
            }
            Event::Mail { letter } => self.on_mail(letter),
            Event::Lost { life, to } => self.if_alive(life, |world, m| world.on_lost(m, to as usize)),
            Event::Start { member } => self.start(member as usize),
            Event::Crash => self.on_crash_due(),
            Event::Blackout => self.on_blackout_due(),
            Event::Pause => self.on_pause_due(),
            Event::Clog => self.on_clog_due(),
            Event::Partition => self.on_partition_due(),
            Event::Wipe => self.on_wipe_due(),
            Event::Release => self.on_release_due(),
            Event::Suspend => self.on_suspend_due(),
            Event::Resume { life, lost_ns } => self.if_alive(life, |world, m| world.on_resume(m, lost_ns)),
            Event::Flip { cut } => self.on_flip(cut),
            Event::Step { number } => self.on_step(number),
            Event::NextStep { number } => self.on_next_step(number),
            Event::Calm => self.begin_calm(),
            Event::LeaderDue => self.check_leader(),
            Event::Last => self.begin_last(),
            Event::Probe => self.on_probe(),
            Event::End => self.on_end(),
        }
    }

    /// Does something with a member if this life of it still goes on.
    fn if_alive(&mut self, life: u32, then: impl FnOnce(&mut World, usize)) {
        let m = self.history.lives[life as usize].member;
        if self.machines[m].life() == Some(life as usize) {
            then(self, m);
        }
    }

    /// The member's number.
    fn number_of(&self, id: MemberId) -> Option<usize> {
        self.ids.iter().position(|known| *known == id)
    }

    /// Schedules an event.
    fn at(&mut self, at_ns: u64, event: Event) {
        self.seq += 1;
        self.agenda.push(at_ns, self.seq, event);
    }

    fn after(&mut self, pause_ns: u64, event: Event) {
        self.at(self.now_ns + pause_ns, event);
    }

    /// The present as the history has it; no two are equal.
    fn moment(&mut self) -> Moment {
        self.seq += 1;
        Moment { seq: self.seq, at_ns: self.now_ns, turn: self.counts.turns }
    }

    fn fail(&mut self, check: &'static str, what: String) {
        let at = self.moment();
        self.failed.get_or_insert(Violation { check, what, at });
    }

    fn draw_pause(&mut self, bounds: (u64, u64)) -> u64 {
        self.pace.between(bounds.0, bounds.1)
    }

    /// Draws that depend on nothing but what they are for: whatever is left out of a plan, they stay.
    fn draws_of(&self, name: &str, whose: u64, when: u64) -> Rng {
        Rng::named(derive(derive(self.plan.seed, whose), when), name)
    }

    fn close(&mut self) {
        self.history.end = self.moment();
        if self.history.calm_since.at_ns == 0 {
            // Ended in the storm (the only directory was refused): nothing had time to happen yet.
            self.history.calm_since = self.history.end;
        }
        if self.failed.is_none() && self.phase == Phase::Over {
            self.check_end();
        }
    }

    /// What a run leaves, however it ended.
    pub fn into_outcome(mut self) -> Outcome {
        if self.history.end == Moment::default() {
            self.history.end = self.moment();
        }
        self.counts.virtual_ns = self.now_ns;
        self.counts.faults = self.counts.crashes
            + self.counts.pauses
            + self.counts.flips
            + self.counts.partitions
            + self.counts.clogs;
        for machine in &self.machines {
            let disk = machine.disk.counts;
            self.counts.faults += disk.syncs_failed + disk.stalls + disk.refused_for_space;
        }
        self.deeds.enlisted = self.enlisted();
        self.history.ids = std::mem::take(&mut self.ids);
        let struck =
            self.machines.iter_mut().map(|machine| std::mem::take(&mut machine.disk.struck)).collect();
        let World { given, history, failed, trace, record, marks, counts, deeds, places, .. } = self;
        Outcome { plan: given, history, failed, trace, record, marks, counts, deeds, struck, places }
    }
}
