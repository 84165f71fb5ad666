//! Beginnings and ends of processes.

use std::collections::VecDeque;

use bytes::Bytes;
use holdfast_core::admit::AdmitConfig;
use holdfast_core::base::{Instant, LogIndex};
use holdfast_core::boundary::Effects;
use holdfast_core::check::RequestLimits;
use holdfast_core::members::Bootstrap;
use holdfast_core::node::{Boot, Config, Node, Start};
use holdfast_core::recover::{self, Listed, RecoverError, Recovered};
use holdfast_core::wal::Identity;

use super::machine::{Done, Lane, Process};
use super::{Event, LaneKind, Phase, World};
use crate::disk::SimDisk;
use crate::history::Life;
use crate::plan::Plan;
use crate::rng::derive;

pub const TTL_MIN_S: i64 = 2;

fn bootstrap() -> Bootstrap {
    Bootstrap {
        token: "sim".to_owned(),
        members: vec![("m0".to_owned(), vec!["http://m0:2380".to_owned()])],
        name: "m0".to_owned(),
    }
}

fn config(plan: &Plan) -> Config {
    let bootstrap = bootstrap();
    let member_id = bootstrap.member_id().expect("the name is in the list");
    Config {
        name: "m0".to_owned(),
        client_urls: vec!["http://m0:2379".to_owned()],
        heartbeat_ns: plan.heartbeat_ns,
        election_ticks: plan.election_ticks,
        pre_vote: true,
        watch_progress_ns: plan.watch_progress_ns,
        admit: AdmitConfig {
            limits: RequestLimits::default(),
            request_bytes_max: 1_572_864,
            quota_bytes: plan.quota_bytes,
            lease_ttl_min_s: TTL_MIN_S,
            learners_max: 1,
            strict_reconfig: true,
        },
        limits: plan.limits.clone(),
        identity: Identity { cluster_id: bootstrap.cluster_id(), member_id },
    }
}

/// Reads a member directory as the shell does.
pub fn recover_disk(disk: &SimDisk) -> Result<Recovered, RecoverError<&'static str>> {
    let listing: Vec<Listed> = disk
        .names()
        .map(|path| Listed { path: path.to_owned(), len: disk.length(path).expect("listed") })
        .collect();
    let mut open: Option<(String, Bytes)> = None;
    Recovered::read(&listing, |path, offset, len| {
        if open.as_ref().is_none_or(|(name, _)| name != path) {
            open = Some((path.to_owned(), Bytes::from(disk.read(path).ok_or("no such file")?)));
        }
        let (_, bytes) = open.as_ref().expect("just read");
        Ok(bytes.slice(offset as usize..(offset + len) as usize))
    })
}

impl World {
    /// A process begins: recovery, then a node.
    pub(super) fn start(&mut self) {
        assert!(self.process.is_none(), "one process at a time");
        self.flip_bits();
        let recovered = match recover_disk(&self.disk) {
            Ok(recovered) => recovered,
            Err(error) => return self.refuse(error.to_string()),
        };
        let found = recovered.found.as_ref();
        let at = self.moment();
        let life = self.history.lives.len();
        self.history.lives.push(Life { from: at, until: None });
        self.counts.lives += 1;
        self.retap(found);
        let config = config(&self.plan);
        let layout = recover::layout(config.identity, self.plan.layout, found);
        self.counts.dropped_tails += u64::from(found.is_some_and(|found| found.dropped().is_some()));
        let has_checkpoint = found.is_some_and(|found| found.checkpoint.is_some());
        self.counts.restored_checkpoints += u64::from(has_checkpoint);
        let boot = match recovered.found {
            Some(found) => Boot::Existing(Box::new(found), Start::New(bootstrap())),
            None => Boot::Fresh(Start::New(bootstrap())),
        };
        let node = match Node::open(config, boot, derive(self.plan.seed, life as u64), Instant(0)) {
            Ok(node) => node,
            Err(error) => return self.refuse(error.to_string()),
        };
        self.trace.fold(node.state().applied.0);
        let applied = node.state().applied;
        self.trace.line(self.now_ns, || format!("life {life} begins with State at entry {applied}"));
        self.process = Some(Process {
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
            tick_is_due: false,
            turn_at_ns: None,
            life,
            born_ns: self.now_ns,
            clock_rate: self.plan.clock_rate,
            appended: VecDeque::new(),
            durable_index: 0,
            effects: Effects::default(),
        });
        if has_checkpoint || applied > LogIndex(0) {
            self.take_digest();
        }
        self.clean_up();
        self.schedule_tick();
        self.schedule_turn(self.now_ns);
    }

    /// Removes what a life before left half made.
    fn clean_up(&mut self) {
        let process = self.process.as_mut().expect("just begun");
        let log = process.layout.clean_up();
        let checkpoints = process.checkpoints.clean_up();
        process.log_lane.start(log, Done::Nothing);
        process.checkpoint_lane.start(checkpoints, Done::Nothing);
        self.run_lane(LaneKind::Log);
        self.run_lane(LaneKind::Checkpoint);
    }

    /// The directory is refused: right if bits were flipped in it, and the end of the run.
    fn refuse(&mut self, why: String) {
        self.trace.line(self.now_ns, || format!("the directory is refused: {why}"));
        if self.counts.flips > 0 {
            self.counts.refused_damage += 1;
            self.phase = Phase::Over;
        } else {
            self.fail("recovery", format!("a directory without damage is refused: {why}"));
        }
    }

    /// The process ends here, killed or by a power loss.
    pub(super) fn crash(&mut self, why: &str) {
        let Some(process) = self.process.take() else { return };
        let is_power = self.phase != Phase::Storm || self.fate.chance(self.plan.crashes.power);
        self.crashes_left = self.crashes_left.saturating_sub(1);
        self.counts.crashes += 1;
        let kind = if is_power { "power loss" } else { "kill" };
        self.trace.line(self.now_ns, || format!("{kind} {why}"));
        self.trace.fold(u64::from(is_power));
        let at = self.moment();
        self.history.lives[process.life].until = Some(at);
        if is_power {
            self.counts.power_losses += 1;
            self.disk.lose_power();
        }
        self.end_connections(process.life);
        let pause = match self.phase {
            Phase::Storm => self.draw_pause(self.plan.crashes.restart_ns),
            _ => 1,
        };
        self.after(pause, Event::Start);
    }

    /// Bit rot between two lives; never in the last append, where it cannot be told from a torn one.
    fn flip_bits(&mut self) {
        let most = self.plan.crashes.flips_max;
        if most == 0 || self.history.lives.is_empty() {
            return;
        }
        for _ in 0..self.fate.below(most + 1) {
            let names: Vec<String> = self.disk.names().map(str::to_owned).collect();
            if names.is_empty() {
                return;
            }
            let name = self.fate.pick(&names).clone();
            let (file, from) = &self.last_append;
            let whole = self.disk.length(&name).expect("listed");
            let length = if *file == name { whole.min(*from) } else { whole };
            if length == 0 {
                continue;
            }
            let offset = self.fate.below(length);
            let bit = self.fate.below(8) as u8;
            if self.disk.flip_bit(&name, offset, bit) {
                self.counts.flips += 1;
                self.trace.line(self.now_ns, || format!("bit {bit} of byte {offset} of {name} flips"));
            }
        }
    }
}
