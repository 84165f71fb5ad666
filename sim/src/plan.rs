//! The plan of one run: what a seed and a profile decide before anything happens.
//!
//! Swarm: each seed draws which faults and requests it has at all, and how many, so that none hides
//! another for good.

use holdfast_core::boundary::Limits;
use holdfast_core::wal::LayoutConfig;

use crate::disk::DiskFaults;
use crate::rng::Rng;
use crate::workload::Mix;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// What a family of runs is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Everything a little.
    Standard,
    /// Crashes while bytes are unsynced and between two effects of one turn.
    AimedCrashes,
    /// Flushes of up to seconds, stalls.
    SlowDisk,
    /// A disk that fills, and a quota.
    FullDisk,
    /// Bits flip at rest between two lives.
    BitRot,
    /// No faults: what fails here is the oracle or the plainest bug.
    Calm,
}

impl Profile {
    pub const ALL: [Profile; 6] = [
        Profile::Standard,
        Profile::AimedCrashes,
        Profile::SlowDisk,
        Profile::FullDisk,
        Profile::BitRot,
        Profile::Calm,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Standard => "standard",
            Profile::AimedCrashes => "aimed-crashes",
            Profile::SlowDisk => "slow-disk",
            Profile::FullDisk => "full-disk",
            Profile::BitRot => "bit-rot",
            Profile::Calm => "calm",
        }
    }

    pub fn by_name(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The profile of a seed when none is named: all take turns, the calm one rarely.
    pub fn of_seed(seed: u64) -> Profile {
        match Rng::named(seed, "profile").below(16) {
            0..=4 => Profile::Standard,
            5..=9 => Profile::AimedCrashes,
            10..=11 => Profile::SlowDisk,
            12..=13 => Profile::FullDisk,
            14 => Profile::BitRot,
            _ => Profile::Calm,
        }
    }
}

/// How processes end and begin.
#[derive(Clone, Debug)]
pub struct Crashes {
    /// Mean pause between crashes at arbitrary moments; 0: none.
    pub every_ns: u64,
    /// Probability of one behind each effect that is performed.
    pub at_effect: f64,
    /// Probability of one behind each disk operation that is performed.
    pub at_disk_op: f64,
    /// Probability of one at the end of a turn while the disk has unsynced bytes.
    pub while_dirty: f64,
    /// Probability that a crash is a power loss; else the process is killed and the page cache survives.
    pub power: f64,
    /// Bounds of the pause before the next life.
    pub restart_ns: (u64, u64),
    pub max: u32,
    /// Bits flipped at rest before a life, at most.
    pub flips_max: u64,
}

/// How inputs reach the node.
#[derive(Clone, Debug)]
pub struct Cuts {
    /// Bounds of the delay from an input to the turn that takes it.
    pub turn_ns: (u64, u64),
    /// Probability that a turn takes only a part of what is there.
    pub split: f64,
    /// Bounds of the way from a client to the node.
    pub way_ns: (u64, u64),
    /// Bounds of the delay of a completion.
    pub completion_ns: (u64, u64),
    /// Probability that a turn is delayed by a pause of the process, and its bounds.
    pub pause: f64,
    pub pause_ns: (u64, u64),
}

/// A fault that no node can survive, planted so that a test sees the checkers find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Completions of appends come before their flush.
    PersistedTooEarly,
    /// Flushes of files do nothing.
    FlushIsNoFlush,
    /// Flushes of directories do nothing.
    NamesAreNotFlushed,
    /// The clock runs twice as fast as promised.
    FastClock,
    /// Every hundredth delivery on a watch stream is lost.
    LostDelivery,
    /// Every hundredth delivery comes again.
    RepeatedDelivery,
    /// An answer is given twice.
    RepeatedAnswer,
    /// Ranges are answered as they were when the same range was asked before.
    StaleRange,
    /// Appends of a life after the first are not written.
    ForgottenAppend,
}

impl Lie {
    pub const ALL: [Lie; 9] = [
        Lie::PersistedTooEarly,
        Lie::FlushIsNoFlush,
        Lie::NamesAreNotFlushed,
        Lie::FastClock,
        Lie::LostDelivery,
        Lie::RepeatedDelivery,
        Lie::RepeatedAnswer,
        Lie::StaleRange,
        Lie::ForgottenAppend,
    ];
}

/// Everything drawn beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub profile: Profile,
    pub ops_max: u64,
    pub clients: u32,
    pub keys: usize,
    pub think_ns: (u64, u64),
    pub client_timeout_ns: u64,
    /// Probability that a client that waits too long says so.
    pub abandons: f64,
    /// Probability that an answer is lost on its way.
    pub reply_lost: f64,
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
    pub disk: DiskFaults,
    /// Bound on the error of a member's clock, and the error drawn.
    pub drift: f64,
    pub clock_rate: f64,
    pub heartbeat_ns: u64,
    pub election_ticks: u32,
    pub limits: Limits,
    pub layout: LayoutConfig,
    pub watch_progress_ns: u64,
    pub quota_bytes: Option<u64>,
    /// A digest of State is taken each so many turns.
    pub digest_turns: u64,
    /// `None` but in tests of the checkers.
    pub lie: Option<Lie>,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, profile: Profile) -> Plan {
        let mut rng = Rng::named(seed, "plan");
        let rng = &mut rng;
        let drift = *rng.pick(&[0.0, 0.0, 1e-4, 0.05]);
        let clock_rate = 1.0 + drift * (2.0 * rng.unit() - 1.0);
        let pace_ns = rng.log_between(2 * MS, 200 * MS);
        Plan {
            seed,
            profile,
            ops_max: 1000,
            clients: rng.between(1, 24) as u32,
            keys: rng.log_between(1, 24) as usize,
            think_ns: (pace_ns / 4, pace_ns * 4),
            client_timeout_ns: rng.log_between(50 * MS, 20 * SECOND),
            abandons: *rng.pick(&[0.0, 0.5, 1.0]),
            reply_lost: *rng.pick(&[0.0, 0.0, 0.02]),
            value_bytes_max: rng.log_between(1, 4096),
            mix: Mix::draw(rng),
            streams: rng.below(6) as u32,
            stream_ns: (20 * MS, rng.log_between(100 * MS, 4 * SECOND)),
            eager_progress: *rng.pick(&[0.0, 0.1, 0.5]),
            credit_ns: (MS, rng.log_between(5 * MS, 3 * SECOND)),
            cuts: draw_cuts(rng),
            crashes: draw_crashes(rng, profile),
            disk: draw_disk(rng, profile),
            drift,
            clock_rate,
            heartbeat_ns: 100 * MS,
            election_ticks: 10,
            limits: draw_limits(rng),
            layout: draw_layout(rng),
            watch_progress_ns: rng.log_between(100 * MS, 20 * SECOND),
            quota_bytes: (profile == Profile::FullDisk && rng.chance(0.5))
                .then(|| rng.log_between(20_000, 2_000_000)),
            digest_turns: rng.log_between(200, 5000),
            lie: None,
        }
    }
}

fn draw_cuts(rng: &mut Rng) -> Cuts {
    Cuts {
        turn_ns: (0, *rng.pick(&[1, 200_000, 2 * MS, 20 * MS, 150 * MS])),
        split: *rng.pick(&[0.0, 0.1, 0.5]),
        way_ns: (10_000, rng.log_between(20_000, 20 * MS)),
        completion_ns: (0, *rng.pick(&[1, MS, 30 * MS])),
        pause: *rng.pick(&[0.0, 0.0, 0.001]),
        pause_ns: (100 * MS, 5 * SECOND),
    }
}

fn draw_crashes(rng: &mut Rng, profile: Profile) -> Crashes {
    let mut crashes = Crashes {
        every_ns: *rng.pick(&[0, 3 * SECOND, 10 * SECOND]),
        at_effect: 0.0,
        at_disk_op: 0.0,
        while_dirty: 0.0,
        power: *rng.pick(&[0.0, 0.5, 1.0]),
        restart_ns: (MS, rng.log_between(2 * MS, 500 * MS)),
        max: 12,
        flips_max: 0,
    };
    match profile {
        Profile::Calm => crashes.every_ns = 0,
        Profile::AimedCrashes => {
            crashes.at_effect = *rng.pick(&[0.0, 0.002, 0.02]);
            crashes.at_disk_op = *rng.pick(&[0.0, 0.01, 0.05]);
            crashes.while_dirty = *rng.pick(&[0.01, 0.04]);
            crashes.restart_ns = (MS, 60 * MS);
            crashes.max = 40;
        }
        Profile::BitRot => {
            crashes.every_ns = 5 * SECOND;
            crashes.flips_max = 3;
        }
        Profile::Standard | Profile::SlowDisk | Profile::FullDisk => {}
    }
    crashes
}

fn draw_disk(rng: &mut Rng, profile: Profile) -> DiskFaults {
    let mut faults = DiskFaults {
        sync_ns: (50_000, rng.log_between(100_000, 10 * MS)),
        torn: *rng.pick(&[0.0, 0.1, 0.5]),
        ..DiskFaults::default()
    };
    match profile {
        Profile::Calm => {}
        Profile::SlowDisk => {
            faults.sync_ns = (2 * MS, rng.log_between(10 * MS, 400 * MS));
            faults.stall = *rng.pick(&[0.0, 0.01, 0.1]);
            faults.stall_ns = (100 * MS, 10 * SECOND);
        }
        Profile::AimedCrashes => faults.sync_ns = (2 * MS, 150 * MS),
        Profile::FullDisk => {
            faults.capacity_bytes = rng.log_between(1 << 20, 8 << 20);
            faults.sync_fails = *rng.pick(&[0.0, 0.002]);
        }
        Profile::Standard | Profile::BitRot => faults.sync_fails = *rng.pick(&[0.0, 0.0, 0.0005]),
    }
    faults
}

/// Tight on purpose: what is rare in production is the rule here.
fn draw_limits(rng: &mut Rng) -> Limits {
    Limits {
        work_max: *rng.pick(&[2, 3, 10, 100, 10_000]),
        checkpoint_piece_bytes_max: rng.log_between(512, 1 << 20) as usize,
        checkpoint_log_bytes_min: rng.log_between(4 << 10, 512 << 10),
        log_tail_bytes_max: rng.log_between(1, 1 << 20),
        watch_revisions_max: *rng.pick(&[1, 2, 10, 1000]),
        watch_credit_bytes: rng.log_between(1, 1 << 20),
        proposals_max: *rng.pick(&[4, 5000]),
        ..Limits::default()
    }
}

fn draw_layout(rng: &mut Rng) -> LayoutConfig {
    let segment_bytes = 4096 * rng.log_between(4, 128);
    LayoutConfig {
        first_segment_bytes: 4096 * rng.log_between(4, 64),
        segment_bytes,
        spares_max: rng.below(3) as usize,
    }
}
