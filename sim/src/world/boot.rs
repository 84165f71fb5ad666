//! Beginnings and ends of processes.

use std::collections::VecDeque;

use bytes::Bytes;
use holdfast_core::admit::AdmitConfig;
use holdfast_core::base::{Instant, LogIndex, MemberId};
use holdfast_core::boundary::Effects;
use holdfast_core::check::RequestLimits;
use holdfast_core::checkpoint;
use holdfast_core::members::Bootstrap;
use holdfast_core::node::{Boot, BootError, Config, Node, Start};
use holdfast_core::recover::{self, Listed, RecoverError, Recovered};
use holdfast_core::wal::Identity;

use super::event::Event;
use super::machine::{Done, Lane, LaneKind, Machine, Process};
use super::members::is_quorum;
use super::{Phase, World};
use crate::disk::SimDisk;
use crate::history::Life;
use crate::marks::Mark;
use crate::plan::step::{Action, Behind, Down, Group, Who};
use crate::plan::{Plan, SECOND};
use crate::record::Class;
use crate::rng::{Rng, derive};

pub const TTL_MIN_S: i64 = 2;

/// Most that a clock shows when a process begins.
const CLOCK_OFFSET_NS_MAX: u64 = 1000 * SECOND;

fn name(m: usize) -> String {
    format!("m{m}")
}

/// What member `m` of `size` starts from.
pub fn bootstrap(m: usize, size: usize) -> Bootstrap {
    let members = (0..size).map(|m| (name(m), vec![format!("http://m{m}:2380")]));
    Bootstrap { token: "sim".to_owned(), members: members.collect(), name: name(m) }
}

/// Ids of the members, by number.
pub fn ids(size: usize) -> Vec<MemberId> {
    (0..size).map(|m| bootstrap(m, size).member_id().expect("the name is in the list")).collect()
}

pub fn config(plan: &Plan, m: usize, member_id: MemberId) -> Config {
    let bootstrap = bootstrap(0, plan.members.len());
    let member = plan.member(m);
    Config {
        name: name(m),
        client_urls: vec![format!("http://m{m}:2379")],
        heartbeat_ns: plan.heartbeat_ns,
        lease_checkpoint_ns: plan.lease_checkpoint_ns,
        auto_compaction: plan.auto_compaction,
        election_ticks: plan.election_ticks,
        pre_vote: true,
        watch_progress_ns: plan.watch_progress_ns,
        auth_token_ttl_ns: plan.auth_token_ttl_ns,
        state_version_max: member.state_version,
        admit: AdmitConfig {
            limits: RequestLimits::default(),
            request_bytes_max: 1_572_864,
            quota_bytes: member.quota_bytes,
            lease_ttl_min_s: TTL_MIN_S,
            learners_max: plan.membership.learners_max,
            strict_reconfig: plan.membership.strict_reconfig,
        },
        limits: member.limits.clone(),
        identity: Identity { cluster_id: bootstrap.cluster_id(), member_id },
    }
}

/// Reads a member directory as the shell does.
pub fn recover_disk(disk: &SimDisk, version_max: u32) -> Result<Recovered, RecoverError<&'static str>> {
    let listing: Vec<Listed> = disk
        .names()
        .map(|path| Listed { path: path.to_owned(), len: disk.length(path).expect("listed") })
        .collect();
    let mut open: Option<(String, Bytes)> = None;
    Recovered::read(&listing, version_max, |path, offset, len| {
        if open.as_ref().is_none_or(|(name, _)| name != path) {
            open = Some((path.to_owned(), Bytes::from(disk.read(path).ok_or("no such file")?)));
        }
        let (_, bytes) = open.as_ref().expect("just read");
        Ok(bytes.slice(offset as usize..(offset + len) as usize))
    })
}

impl World {
    /// A process begins: recovery, then a node.
    pub(super) fn start(&mut self, m: usize) {
        let machine = &self.machines[m];
        if machine.is_refused || machine.is_off || machine.is_held_down {
            return;
        }
        // A lost disk and a crash may each have asked for it, or somebody who was early and the calm.
        if (self.machines[m].is_wiped || self.machines[m].joins) && self.machines[m].process.is_some() {
            return;
        }
        assert!(self.machines[m].process.is_none(), "one process at a time");
        let joins = self.machines[m].joins;
        if joins && self.machines[m].lives == 0 {
            self.note_deed(None, Action::Start(Group::one(m)));
        }
        self.machines[m].is_known &= !joins;
        let is_member = self.referee.configs.roster().get(self.ids[m]).is_some();
        self.marks.hit_if(Mark::JoinedBeforeAdded, joins && !is_member);
        self.flip_bits(m);
        let recovered = match recover_disk(&self.machines[m].disk, self.plan.member(m).state_version) {
            Ok(recovered) => recovered,
            Err(RecoverError::NewerState { path }) => return self.on_newer_state(m, &path),
            Err(error) => return self.refuse(m, error.to_string()),
        };
        let found = recovered.found.as_ref();
        match self.referee.taps[m].restart(found) {
            Ok(lost) => self.counts.entries_lost += lost,
            // A bit that flipped in the newest of what was read cannot be told from a torn write.
            Err(why) => return self.fail("recovery", format!("m{m}: {why}")),
        }
        self.referee.forget_terms_above(m, found.map_or(0, |found| found.log.hard.term.0));
        if found.is_some_and(|found| found.dropped().is_some()) {
            self.counts.dropped_tails += 1;
            self.marks.hit(Mark::TornTailDropped);
        }
        if found.is_some_and(|found| found.checkpoint.is_some()) {
            self.counts.restored_checkpoints += 1;
            self.marks.hit(Mark::CheckpointRestored);
        }
        self.open(m, recovered);
    }

    fn open(&mut self, m: usize, recovered: Recovered) {
        let config = config(&self.plan, m, self.ids[m]);
        let found = recovered.found.as_ref();
        let layout = recover::layout(config.identity, self.plan.member(m).layout, found);
        let boot = match recovered.found {
            Some(found) => Boot::Existing(Box::new(found), self.beginning(m)),
            None => Boot::Fresh(self.beginning(m)),
        };
        let life = self.history.lives.len();
        let from = self.moment();
        self.history.lives.push(Life { member: m, from, until: None });
        self.counts.lives += 1;
        let number = self.machines[m].lives;
        self.machines[m].lives += 1;
        let seed = derive(derive(self.plan.seed, m as u64), number);
        let clock_offset_ns = Rng::named(seed, "clock").below(CLOCK_OFFSET_NS_MAX);
        let node = match Node::open(config, boot, seed, Instant(clock_offset_ns)) {
            Ok(node) => node,
            Err(BootError::Removed { .. }) if self.referee.configs.is_removed(self.ids[m]) => {
                self.marks.hit(Mark::RemovedMemberRefused);
                return self.switch_off(m, "since it was removed");
            }
            Err(error) => return self.refuse(m, error.to_string()),
        };
        let applied = node.state().applied;
        let revisions = vec![(Instant(clock_offset_ns), node.state().kv.revision())];
        self.trace.fold(applied.0);
        self.tell(Some(m), Class::Start, || format!("m{m} begins life {life} with State at entry {applied}"));
        self.machines[m].process = Some(Process {
            node,
            layout,
            checkpoints: recovered.checkpoints,
            log_lane: Lane::default(),
            log_work: VecDeque::new(),
            checkpoint_lane: Lane::default(),
            checkpoint_waiting: None,
            append_at: (String::new(), 0),
            spare_lane: Lane::default(),
            inbox: Vec::new(),
            inbox_spare: Vec::new(),
            tick_is_due: false,
            passwords: Vec::new(),
            turn_at_ns: None,
            life,
            born_ns: self.now_ns,
            clock_offset_ns,
            clock_rate: self.plan.member(m).clock_rate,
            revisions,
            disconnected: Vec::new(),
            strays: Vec::new(),
            counted_on: 0,
            is_leaving: false,
            effects: Effects::default(),
        });
        let is_back = self.plan.member(m).state_version < self.machines[m].knew;
        self.marks.hit_if(Mark::ReleaseTakenBack, is_back);
        self.machines[m].knew = self.machines[m].knew.max(self.plan.member(m).state_version);
        self.referee.begin_life(m, applied.0);
        self.record_figures(m);
        if applied > LogIndex(0) {
            self.take_digest(m);
        }
        self.clean_up(m);
        self.schedule_tick(m);
        self.schedule_turn(m, self.now_ns);
    }

    /// Removes what a life before left half made.
    fn clean_up(&mut self, m: usize) {
        let process = self.machines[m].process.as_mut().expect("just begun");
        let log = process.layout.clean_up();
        let checkpoints = process.checkpoints.clean_up();
        process.log_lane.start(log, Done::Nothing);
        process.checkpoint_lane.start(checkpoints, Done::Nothing);
        self.run_lane(m, LaneKind::Log);
        self.run_lane(m, LaneKind::Checkpoint);
    }

    /// The directory is refused: right if bits were flipped in it, and the end of the run for a member alone.
    fn refuse(&mut self, m: usize, why: String) {
        self.tell(Some(m), Class::Start, || format!("the directory of m{m} is refused: {why}"));
        if self.machines[m].disk.counts.bits_flipped == 0 {
            return self.fail("recovery", format!("m{m}: a directory without damage is refused: {why}"));
        }
        if !self.may_refuse(m) {
            let what = format!("m{m}: one damaged checkpoint of two refuses the directory: {why}");
            return self.fail("recovery", what);
        }
        self.counts.refused_damage += 1;
        self.marks.hit(Mark::DamageRefused);
        self.machines[m].is_refused = true;
        if self.machines.len() == 1 {
            self.phase = Phase::Over;
        }
    }

    /// Whether the damage is more than a member must stand: one checkpoint of its own may rot, since the one
    /// before, or the whole log, stands in for it. A received state has nothing before it.
    fn may_refuse(&self, m: usize) -> bool {
        let Machine { disk, flipped, has_received, .. } = &self.machines[m];
        let damaged: Vec<&str> = disk.names().filter(|name| flipped.contains(*name)).collect();
        let has_log_damage = damaged.iter().any(|name| !name.starts_with(checkpoint::files::DIR));
        *has_received || has_log_damage || damaged.len() > 1
    }

    /// The member's process ends here, killed or by a power loss.
    pub(super) fn crash(&mut self, m: usize, why: &str) {
        let mut draws = self.draws_of("end", m as u64, self.now_ns);
        let is_power = self.phase != Phase::Storm || draws.chance(self.plan.crashes.power);
        self.end_life(m, is_power, why);
    }

    /// The process may end behind something that it did; whether it has.
    pub(super) fn crash_behind(&mut self, m: usize, what: Behind, probability: f64, why: &str) -> bool {
        let machine = &mut self.machines[m];
        let aim = machine.tallies[what as usize].next(self.now_ns);
        let power = match machine.take_ambush(what, aim) {
            Some(power) => power,
            None if self.faults.crashes_left > 0 && self.fate.chance(probability) && !self.is_leaving(m) => {
                self.phase != Phase::Storm || self.fate.chance(self.plan.crashes.power)
            }
            None => return false,
        };
        let member = Who::Number(m);
        self.note_deed(None, Action::CrashBehind { member, what, aim, skip: 0, power });
        self.end_life(m, power, why);
        true
    }

    pub(super) fn end_life(&mut self, m: usize, is_power: bool, why: &str) {
        if !self.stop_process(m, is_power, why) {
            return;
        }
        let pause = match self.phase {
            Phase::Storm => self.draw_restart(m),
            _ => 1,
        };
        self.after(pause, Event::Start { member: m as u32 });
    }

    /// The pause before the member's next life.
    pub(super) fn draw_restart(&self, m: usize) -> u64 {
        let (low, high) = self.plan.crashes.restart_ns;
        self.draws_of("restart", m as u64, self.machines[m].lives).between(low, high)
    }

    /// A script ends a process.
    pub(super) fn crash_for(&mut self, m: usize, power: bool, down: Down) {
        let ran = self.stop_process(m, power, "as the script says");
        let pause = match down {
            Down::Held => {
                self.machines[m].is_held_down = true;
                return;
            }
            Down::Drawn => self.draw_restart(m),
            Down::For(down_ns) => down_ns,
        };
        if ran {
            self.after(pause, Event::Start { member: m as u32 });
        }
    }

    /// A script starts a machine that was held down, that of a newcomer, or one that is off.
    pub(super) fn start_machine(&mut self, m: usize) {
        self.release_machine(m);
        self.begin_soon(m, 0);
        if std::mem::take(&mut self.machines[m].is_off) {
            self.note_deed(None, Action::Start(Group::one(m)));
            self.machines[m].has_begun = true;
            self.at(self.now_ns, Event::Start { member: m as u32 });
        }
    }

    /// A machine that was held down may run again.
    pub(super) fn release_machine(&mut self, m: usize) {
        if std::mem::take(&mut self.machines[m].is_held_down) {
            self.note_deed(None, Action::Start(Group::one(m)));
            self.at(self.now_ns, Event::Start { member: m as u32 });
        }
    }

    pub(super) fn release_machines(&mut self) {
        (0..self.machines.len()).for_each(|m| self.release_machine(m));
    }

    /// The clock of a member runs at another rate, in this life and the next ones.
    pub(super) fn set_clock_rate(&mut self, m: usize, rate: f64) {
        self.plan.member_mut(m).clock_rate = rate;
        self.note_deed(None, Action::Clock { member: Who::Number(m), rate });
        let now_ns = self.now_ns;
        if let Some(process) = &mut self.machines[m].process {
            process.set_clock_rate(now_ns, rate);
        }
    }

    /// Ends a process; false if there is none. What made it end is recorded by who knows it.
    fn stop_process(&mut self, m: usize, is_power: bool, why: &str) -> bool {
        let Some(process) = self.machines[m].process.take() else { return false };
        self.faults.crashes_left = self.faults.crashes_left.saturating_sub(1);
        self.counts.crashes += 1;
        let kind = if is_power { "loses power" } else { "is killed" };
        self.tell(Some(m), Class::Crash, || format!("m{m} {kind} {why}"));
        self.trace.fold(2 * m as u64 + u64::from(is_power));
        if self.referee.seats[m].leads {
            self.marks.hit(Mark::LeaderCrashed);
        }
        if is_power {
            self.counts.power_losses += 1;
            let seed = derive(derive(self.plan.seed, m as u64), self.now_ns);
            self.machines[m].disk.reseed(seed);
            self.machines[m].disk.lose_power();
        }
        let voters = self.referee.configs.voters();
        if voters.len() > 1 && !is_quorum(voters, |m| self.machines[m].process.is_some()) {
            self.marks.hit(Mark::QuorumDown);
        }
        self.bury(m, process.life);
        true
    }

    /// What ends with a life.
    pub(super) fn bury(&mut self, m: usize, life: usize) {
        let at = self.moment();
        self.history.lives[life].until = Some(at);
        self.referee.end_life(m);
        self.machines[m].paused_until_ns = 0;
        self.end_connections(m, life);
    }

    /// What a first life of the member starts from.
    fn beginning(&self, m: usize) -> Start {
        match self.machines[m].joins {
            true => Start::Join,
            false => Start::New(bootstrap(m, self.plan.members.len())),
        }
    }

    /// Bit rot between two lives; never in the last append, where it cannot be told from a torn one, and
    /// never on so many members that no majority is whole.
    fn flip_bits(&mut self, m: usize) {
        let most = self.plan.crashes.flips_max;
        let is_first = !self.history.lives.iter().any(|life| life.member == m);
        let size = self.machines.len();
        if most == 0 || is_first || self.phase != Phase::Storm || (size > 1 && m >= (size - 1) / 2) {
            return;
        }
        for _ in 0..self.fate.below(most + 1) {
            let machine = &self.machines[m];
            let names: Vec<String> = machine.disk.names().map(str::to_owned).collect();
            if names.is_empty() {
                return;
            }
            let is_aimed = self.fate.chance(self.plan.crashes.flips_aimed);
            let name = match is_aimed && self.fate.chance(0.5) {
                true => names.iter().rfind(|name| name.starts_with(checkpoint::files::DIR)),
                false => None,
            };
            let name = name.unwrap_or_else(|| self.fate.pick(&names)).clone();
            let (file, from) = &machine.last_append;
            let whole = machine.disk.length(&name).expect("listed");
            let length = if *file == name { whole.min(*from) } else { whole };
            if length == 0 {
                continue;
            }
            let offset = match is_aimed {
                true => machine.disk.last_set_byte(&name, length).saturating_sub(self.fate.below(64)),
                false => self.fate.below(length),
            };
            let bit = self.fate.below(8) as u8;
            self.flip_bit(m, &name, offset, bit);
        }
    }

    pub(super) fn flip_bit(&mut self, m: usize, name: &str, offset: u64, bit: u8) {
        if self.machines[m].disk.flip_bit(name, offset, bit) {
            self.counts.flips += 1;
            self.machines[m].flipped.insert(name.to_owned());
            self.note_deed(None, Action::Flip { member: Who::Number(m), file: name.to_owned(), offset, bit });
            self.tell(Some(m), Class::Disk, || format!("m{m}: bit {bit} of byte {offset} of {name} flips"));
        }
    }
}
