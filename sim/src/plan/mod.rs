//! The plan of one run: what a seed and a profile decide before anything happens.
//!
//! Swarm: each seed draws which faults and requests it has at all, and how many, so that none hides
//! another for good. A plan is plain data: whoever fills one by hand runs it with `run::run_plan`.

mod aims;
mod clocks;
mod even;
mod faults;
mod lie;
mod membership;
mod profile;
mod releases;
pub mod step;
mod wipes;

use holdfast_core::boundary::Limits;
use holdfast_core::node::AutoCompaction;
use holdfast_core::request::Request;
use holdfast_core::state::STATE_VERSION;
use holdfast_core::wal::LayoutConfig;

use crate::disk::{DiskFaults, Strike};
use crate::rng::Rng;
use crate::workload::Mix;
pub use clocks::ClockPlan;
use faults::Draw;
pub use faults::{CrashPoint, Crashes, Cuts, NetworkPlan, PartitionPlan, Shape};
pub use lie::Lie;
pub use membership::{Enlisted, MembershipPlan};
pub use profile::Profile;
pub use releases::{EARLIER, ReleasePlan};
use step::{Action, Step};
pub use wipes::WipePlan;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// Which member a client turns to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// The same one while it takes requests.
    Sticky,
    /// Any, for each request.
    Random,
    /// The leader, if there is one.
    Leader,
}

/// What is a member's own: flags need not be equal in a cluster.
#[derive(Clone, Debug)]
pub struct MemberPlan {
    /// How fast its clock runs; true time is 1.
    pub clock_rate: f64,
    pub limits: Limits,
    pub layout: LayoutConfig,
    pub quota_bytes: Option<u64>,
    pub disk: DiskFaults,
    /// Newest version of State that its program knows.
    pub state_version: u32,
}

/// How much of a run is about users and roles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AuthPlan {
    /// The part of requests that is, once auth is on.
    pub share: f64,
}

/// Everything drawn beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub profile: Profile,
    /// The voters that the cluster begins with, at least one.
    pub members: Vec<MemberPlan>,
    pub membership: MembershipPlan,
    pub wipes: WipePlan,
    pub releases: ReleasePlan,
    pub clocks: ClockPlan,
    pub ops_max: u64,
    pub clients: u32,
    pub routing: Routing,
    pub keys: usize,
    /// Bounds of the pause between an answer and a client's next request.
    pub think_ns: (u64, u64),
    pub client_timeout_ns: u64,
    /// Probability that a client that waits too long says so.
    pub abandons: f64,
    /// Probability that an answer is lost on its way.
    pub reply_lost: f64,
    /// Bounds of the length of a value; some are much longer.
    pub value_bytes_min: u64,
    pub value_bytes_max: u64,
    pub mix: Mix,
    pub streams: u32,
    /// Bounds of the pause between two operations on a stream.
    pub stream_ns: (u64, u64),
    /// Probability that a stream asks for progress right behind an answer to somebody's write.
    pub eager_progress: f64,
    /// Bounds of the pause between two grants of credit.
    pub credit_ns: (u64, u64),
    pub cuts: Cuts,
    pub crashes: Crashes,
    pub network: NetworkPlan,
    pub partitions: PartitionPlan,
    /// Bound on the rate error of the members' clocks, below 1.
    pub drift: f64,
    pub heartbeat_ns: u64,
    pub election_ticks: u32,
    pub watch_progress_ns: u64,
    /// Time between two checkpoints of what a lease has left; `None`: there are none.
    pub lease_checkpoint_ns: Option<u64>,
    /// `None`: only clients compact.
    pub auto_compaction: Option<AutoCompaction>,
    /// `None`: nobody ever hears of users and roles.
    pub auth: Option<AuthPlan>,
    /// How long a simple token lives from its last use.
    pub auth_token_ttl_ns: u64,
    /// A digest of some member's State is taken each so many turns.
    pub digest_turns: u64,
    /// Time after which the storm ends, if the clients have not asked everything by then.
    pub storm_ns: u64,
    /// The calm lasts so long at least.
    pub calm_ns_min: u64,
    /// Longest TTL that clients ask for.
    pub ttl_ns_max: u64,
    /// Longest that a step stops a disk or a process.
    pub stalls_ns_max: u64,
    /// Steps that are taken beside everything that is drawn. The storm lasts until the last one is done.
    pub script: Vec<Step>,
    /// The file that the plan comes from, if it comes from one.
    pub scenario: Option<String>,
    /// `None` but in tests of the checkers.
    pub lie: Option<Lie>,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, profile: Profile) -> Plan {
        let size = draw_size(&mut Rng::named(seed, "size"), profile);
        Plan::draw_sized(seed, profile, size)
    }

    /// The plan of a seed for so many members.
    pub fn draw_sized(seed: u64, profile: Profile, size: usize) -> Plan {
        assert!(size > 0, "a cluster has a member");
        let rng = &mut Rng::named(seed, "plan");
        let (drift, heartbeat_ns) = (draw_drift(rng, profile), 100 * MS);
        let election_ticks = match profile {
            // Not two: a heartbeat that is late by a hair would begin an election, in the calm too.
            Profile::Votes => *rng.pick(&[3, 3, 3, 5]),
            _ => *rng.pick(&[10, 10, 10, 5, 3]),
        };
        let clients = rng.between(1, 24);
        let pace_ns = clients * rng.log_between(5 * MS, 40 * MS);
        let election_ns = u64::from(election_ticks) * heartbeat_ns;
        let mut faults = Draw { rng, profile, is_alone: size == 1, election_ns };
        let (cuts, crashes) = (faults.cuts(), faults.crashes());
        let (network, partitions) = (faults.network(), faults.partitions());
        let mut plan = Plan {
            seed,
            profile,
            members: draw_members(rng, profile, size, drift, election_ns),
            membership: MembershipPlan::draw(seed, profile, |rng| {
                draw_members(rng, profile, 1, drift, election_ns).pop().expect("one was asked for")
            }),
            wipes: WipePlan::draw(seed, profile),
            releases: ReleasePlan::none(),
            clocks: ClockPlan::draw(seed, profile),
            ops_max: 1000,
            clients: clients as u32,
            routing: *rng.pick(&[Routing::Sticky, Routing::Random, Routing::Random, Routing::Leader]),
            keys: rng.log_between(1, 24) as usize,
            think_ns: (pace_ns / 4, pace_ns * 7 / 4),
            client_timeout_ns: rng.log_between(50 * MS, 20 * SECOND),
            abandons: *rng.pick(&[0.0, 0.5, 1.0]),
            reply_lost: *rng.pick(&[0.0, 0.0, 0.02]),
            value_bytes_min: 0,
            value_bytes_max: rng.log_between(1, 4096),
            mix: Mix::draw(rng),
            streams: rng.below(6) as u32 + if profile == Profile::WatchPartitions { 3 } else { 0 },
            stream_ns: (20 * MS, rng.log_between(100 * MS, 4 * SECOND)),
            eager_progress: *rng.pick(&[0.0, 0.1, 0.5]),
            credit_ns: (MS, rng.log_between(5 * MS, 3 * SECOND)),
            cuts,
            crashes,
            network,
            partitions,
            drift,
            heartbeat_ns,
            election_ticks,
            lease_checkpoint_ns: draw_lease_checkpoints(&mut Rng::named(seed, "lease checkpoints")),
            auto_compaction: draw_auto_compaction(&mut Rng::named(seed, "auto compaction")),
            auth: draw_auth(&mut Rng::named(seed, "auth"), profile),
            auth_token_ttl_ns: Rng::named(seed, "token ttl").log_between(2 * SECOND, 300 * SECOND),
            watch_progress_ns: rng.log_between(100 * MS, 20 * SECOND),
            digest_turns: rng.log_between(200, 5000),
            storm_ns: 120 * SECOND,
            calm_ns_min: 0,
            ttl_ns_max: 8 * SECOND,
            stalls_ns_max: 0,
            script: Vec::new(),
            scenario: None,
            lie: None,
        };
        plan.aim();
        plan.releases =
            ReleasePlan::draw(seed, profile, plan.members.iter_mut().chain(&mut plan.membership.newcomers));
        plan
    }

    /// Widens the promises of the world to what the script does to it.
    pub fn allow_for_script(&mut self) {
        for step in &self.script {
            match &step.action {
                Action::Clock { rate, .. } => self.drift = self.drift.max((1.0 - rate).abs()),
                Action::StrikeDisk { strike: Strike::Stall(lasts_ns), .. }
                | Action::Pause { lasts_ns, .. } => {
                    self.stalls_ns_max = self.stalls_ns_max.max(*lasts_ns);
                }
                Action::Suspend { lasts_ns, .. } => {
                    self.clocks.suspend_ns.1 = self.clocks.suspend_ns.1.max(*lasts_ns);
                }
                Action::Ask { ask, .. } => {
                    if let Request::LeaseGrant(grant) = &ask.request {
                        let ttl_s = u64::try_from(grant.ttl).unwrap_or(0).min(60);
                        self.ttl_ns_max = self.ttl_ns_max.max(ttl_s * SECOND);
                    }
                }
                _ => {}
            }
        }
    }

    /// What is member `m`'s own: one of the first ones, or a newcomer.
    pub fn member(&self, m: usize) -> &MemberPlan {
        let newcomer = || &self.membership.newcomers[m - self.members.len()];
        self.members.get(m).unwrap_or_else(newcomer)
    }

    pub fn member_mut(&mut self, m: usize) -> &mut MemberPlan {
        match m.checked_sub(self.members.len()) {
            None => &mut self.members[m],
            Some(newcomer) => &mut self.membership.newcomers[newcomer],
        }
    }

    /// The first members and those to come.
    pub fn all_members(&self) -> impl Iterator<Item = &MemberPlan> {
        self.members.iter().chain(&self.membership.newcomers)
    }

    pub fn all_members_mut(&mut self) -> impl Iterator<Item = &mut MemberPlan> {
        self.members.iter_mut().chain(&mut self.membership.newcomers)
    }

    /// How many members there can ever be.
    pub fn members_max(&self) -> usize {
        self.members.len() + self.membership.newcomers.len()
    }

    /// The election timeout in true time on the slowest clock that the plan allows.
    pub fn election_ns(&self) -> u64 {
        let ns = u64::from(self.election_ticks) * self.heartbeat_ns;
        (ns as f64 / (1.0 - self.drift)) as u64
    }
}

/// Three members most often; one where a member alone shows what the profile is after.
fn draw_size(rng: &mut Rng, profile: Profile) -> usize {
    match profile {
        Profile::Membership => return rng.between(1, 5) as usize,
        Profile::Wipes => return rng.between(3, 5) as usize,
        _ => {}
    }
    let alone = match profile {
        Profile::BitRot => 6,
        _ if profile.needs_peers() => 0,
        _ => 3,
    };
    [1, 3, 5, 7][rng.weighted(&[alone, 10, 3, 1])]
}

fn draw_lease_checkpoints(rng: &mut Rng) -> Option<u64> {
    *rng.pick(&[None, Some(200 * MS), Some(SECOND), Some(3 * SECOND)])
}

/// In one seed of four, of history that a storm is long enough for.
fn draw_auto_compaction(rng: &mut Rng) -> Option<AutoCompaction> {
    match rng.weighted(&[6, 1, 1]) {
        0 => None,
        1 => Some(AutoCompaction::Periodic { retention_ns: rng.log_between(500 * MS, 20 * SECOND) }),
        _ => Some(AutoCompaction::Revision {
            retention: rng.log_between(1, 200) as i64,
            every_ns: rng.log_between(500 * MS, 20 * SECOND),
        }),
    }
}

/// Rare but where it is what the profile is after: it hides other things behind refusals.
fn draw_auth(rng: &mut Rng, profile: Profile) -> Option<AuthPlan> {
    let share = *rng.pick(&[0.05, 0.15, 0.3]);
    let is_on = match profile {
        Profile::Auth => true,
        Profile::Calm | Profile::FullDisk | Profile::Membership | Profile::Wipes => false,
        _ => rng.chance(0.05),
    };
    is_on.then_some(AuthPlan { share })
}

fn draw_drift(rng: &mut Rng, profile: Profile) -> f64 {
    match profile {
        // A leader whose clock runs at a third does not notice for long that it was deposed.
        Profile::StaleReads => *rng.pick(&[0.0, 0.4, 0.65]),
        Profile::LeaseClocks => *rng.pick(&[0.0, 0.01, 0.05, 0.2]),
        _ => *rng.pick(&[0.0, 0.0, 1e-4, 0.05]),
    }
}

fn draw_members(
    rng: &mut Rng,
    profile: Profile,
    size: usize,
    drift: f64,
    election_ns: u64,
) -> Vec<MemberPlan> {
    let is_unequal = rng.chance(0.3);
    let mut members: Vec<MemberPlan> = Vec::with_capacity(size);
    for _ in 0..size {
        let clock_rate = 1.0 + drift * (2.0 * rng.unit() - 1.0);
        let (limits, layout) = match members.first().filter(|_| !is_unequal) {
            Some(first) => (first.limits.clone(), first.layout),
            None => (draw_limits(rng, profile), draw_layout(rng)),
        };
        let has_quota = profile == Profile::FullDisk && rng.chance(0.5);
        let quota_bytes = has_quota.then(|| rng.log_between(20_000, 2_000_000));
        let disk = Draw { rng, profile, is_alone: size == 1, election_ns }.disk();
        let state_version = STATE_VERSION;
        members.push(MemberPlan { clock_rate, limits, layout, quota_bytes, disk, state_version });
    }
    members
}

/// Tight on purpose: what is rare in production is the rule here.
fn draw_limits(rng: &mut Rng, profile: Profile) -> Limits {
    let is_tight = matches!(profile, Profile::Laggards | Profile::Auth);
    let tail = if is_tight { 8 << 10 } else { 1 << 20 };
    Limits {
        work_max: *rng.pick(&[2, 3, 10, 100, 10_000]),
        checkpoint_piece_bytes_max: rng.log_between(512, 1 << 20) as usize,
        checkpoint_log_bytes_min: rng.log_between(4 << 10, 512 << 10),
        log_tail_bytes_max: rng.log_between(1, tail),
        log_lag_bytes_max: rng.log_between(1, 1 << 20),
        watch_revisions_max: *rng.pick(&[1, 2, 10, 1000]),
        watch_credit_bytes: rng.log_between(1, 1 << 20),
        // What a new leader and seven members that tell their names put into the log at once is no overload.
        proposals_max: *rng.pick(&[8, 5000]),
        ..Limits::default()
    }
}

/// Segments so short that a run has many.
pub fn draw_layout(rng: &mut Rng) -> LayoutConfig {
    let segment_bytes = 4096 * rng.log_between(4, 128);
    LayoutConfig {
        first_segment_bytes: 4096 * rng.log_between(4, 64),
        segment_bytes,
        spares_max: rng.below(3) as usize,
    }
}
