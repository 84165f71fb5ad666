//! The faults of a plan: how processes end, how inputs are cut into turns, what the network and the disks do.

use super::{MS, Profile, SECOND};
use crate::disk::DiskFaults;
use crate::rng::Rng;

/// How processes end and begin.
#[derive(Clone, Debug)]
pub struct Crashes {
    /// Mean pause between crashes of some member at arbitrary moments; 0: none.
    pub every_ns: u64,
    /// Mean pause between power losses of all members at once; 0: none.
    pub blackout_every_ns: u64,
    /// Probability that the leader, if there is one, is the one to crash.
    pub aims_at_leader: f64,
    /// Probability of one behind each effect that is performed.
    pub at_effect: f64,
    /// Probability of one behind each disk operation that is performed.
    pub at_disk_op: f64,
    /// Probability of one at the end of a turn while the disk has unsynced bytes.
    pub while_dirty: f64,
    /// Probability of one right behind a granted vote that left.
    pub after_vote: f64,
    /// Probability of one right behind a received state that is whole on disk, before the log says so.
    pub after_received: f64,
    /// Probability that a crash is a power loss; else the process is killed and the page cache survives.
    pub power: f64,
    /// Bounds of the pause before the next life.
    pub restart_ns: (u64, u64),
    pub max: u32,
    /// One crash at a place that is named rather than drawn.
    pub exactly: Option<CrashPoint>,
    /// Bits flipped at rest before a life, at most. Only on a minority of the members, or on the only one.
    pub flips_max: u64,
    /// Probability that a flip is aimed: at the newest checkpoint, or at the last bytes of a segment.
    pub flips_aimed: f64,
}

/// A place in a member's life: behind an effect or disk operation that it performs in the storm, or in the
/// middle of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    pub member: usize,
    /// How many such places the member passes before.
    pub place: u64,
    pub is_power: bool,
}

/// How inputs reach the nodes.
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
    /// Probability that a turn is followed by one for which there is no cause.
    pub wakes: f64,
    /// Mean pause between pauses of some member, preferably the leader, at arbitrary moments; 0: none.
    pub pause_every_ns: u64,
}

/// What the network between members does.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    /// Bounds of a link's own least delay; each directed link draws its own.
    pub base_ns: (u64, u64),
    /// Mean of the exponential tail, as a multiple of the base.
    pub tail: f64,
    /// Mail of one link arrives in the order in which it was sent, unless it is a late copy.
    pub keeps_order: bool,
    /// Probability that a message is lost.
    pub loss: f64,
    /// Probability that a message comes twice.
    pub duplicate: f64,
    /// Probability that another copy comes very late, and the bounds of its delay.
    pub late: f64,
    pub late_ns: (u64, u64),
    /// The same for the pieces of a state.
    pub late_pieces: f64,
    /// Probability that the sender is told of a loss.
    pub reports_loss: f64,
    /// Probability that a member is told at a tick that mail to another was lost, which was not.
    pub false_losses: f64,
    /// Mean pause between clogs of some link, and the bounds of a clog: mail waits until it ends; 0: none.
    pub clog_every_ns: u64,
    pub clog_ns: (u64, u64),
    /// Probability that a message is followed by one that no correct member sends, or by damaged bytes.
    pub hostile: f64,
    /// Every message passes through its bytes, rather than from hand to hand.
    pub passes_bytes: bool,
}

/// A cut of the network between members, or between a member and its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Two groups that do not hear each other.
    Halves,
    /// One group hears the other and is not heard.
    OneWay,
    /// The leader alone.
    IsolateLeader,
    /// A minority, drawn.
    IsolateMinority,
    /// Each member hears only its neighbours on a ring, so that each sees a majority, and another one.
    Ring,
    /// Two groups, and one member that hears both.
    Bridge,
    /// The leader is heard, and hears nobody.
    DeafLeader,
    /// A member is cut off from its clients only.
    ClientsOnly,
}

impl Shape {
    pub const ALL: [Shape; 8] = [
        Shape::Halves,
        Shape::OneWay,
        Shape::IsolateLeader,
        Shape::IsolateMinority,
        Shape::Ring,
        Shape::Bridge,
        Shape::DeafLeader,
        Shape::ClientsOnly,
    ];
}

/// Which cuts there are, and how often.
#[derive(Clone, Debug)]
pub struct PartitionPlan {
    /// Mean pause between the beginnings of two; 0: none.
    pub every_ns: u64,
    /// Bounds of its length.
    pub lasts_ns: (u64, u64),
    /// Those that are drawn from. Never empty.
    pub shapes: Vec<Shape>,
    /// Probability that a cut comes and goes a few times.
    pub flaps: f64,
}

/// Draws faults: classes are switched on and off one by one, so that none hides another for good.
pub(super) struct Draw<'a> {
    pub rng: &'a mut Rng,
    pub profile: Profile,
    pub is_alone: bool,
    pub election_ns: u64,
}

impl Draw<'_> {
    fn is_calm(&self) -> bool {
        self.profile == Profile::Calm
    }

    pub fn cuts(&mut self) -> Cuts {
        let rng = &mut *self.rng;
        let mut cuts = Cuts {
            turn_ns: (0, *rng.pick(&[1, 200_000, 2 * MS, 20 * MS, 150 * MS])),
            split: *rng.pick(&[0.0, 0.1, 0.5]),
            way_ns: (10_000, rng.log_between(20_000, 20 * MS)),
            completion_ns: (0, *rng.pick(&[1, MS, 30 * MS])),
            pause: *rng.pick(&[0.0, 0.0, 0.0001, 0.001]),
            pause_ns: (100 * MS, 5 * SECOND),
            wakes: 0.0,
            pause_every_ns: *rng.pick(&[0, 0, 8 * SECOND]),
        };
        match self.profile {
            Profile::Calm => (cuts.pause, cuts.pause_every_ns) = (0.0, 0),
            Profile::StaleReads => {
                cuts.turn_ns.1 = cuts.turn_ns.1.min(20 * MS);
                cuts.pause_every_ns = *self.rng.pick(&[0, 4 * SECOND]);
            }
            Profile::LeaseClocks => cuts.pause_every_ns = *self.rng.pick(&[0, 6 * SECOND]),
            _ => {}
        }
        // Turns so slow that no leader could keep its followers quiet teach nothing.
        cuts.turn_ns.1 = cuts.turn_ns.1.min(self.election_ns / 10);
        cuts
    }

    pub fn crashes(&mut self) -> Crashes {
        let rng = &mut *self.rng;
        let mut crashes = Crashes {
            every_ns: *rng.pick(&[0, 3 * SECOND, 10 * SECOND]),
            blackout_every_ns: *rng.pick(&[0, 0, 0, 15 * SECOND]),
            aims_at_leader: *rng.pick(&[0.0, 0.3, 0.8]),
            at_effect: 0.0,
            at_disk_op: 0.0,
            while_dirty: 0.0,
            after_vote: 0.0,
            after_received: 0.0,
            power: *rng.pick(&[0.0, 0.5, 1.0]),
            restart_ns: (MS, rng.log_between(2 * MS, 500 * MS)),
            max: 12,
            exactly: None,
            flips_max: 0,
            flips_aimed: 0.0,
        };
        if !self.is_alone && rng.chance(0.2) {
            crashes.restart_ns.1 = 10 * SECOND;
        }
        match self.profile {
            Profile::Calm => (crashes.every_ns, crashes.blackout_every_ns) = (0, 0),
            Profile::AimedCrashes => {
                crashes.at_effect = *rng.pick(&[0.0, 0.002, 0.02]);
                crashes.at_disk_op = *rng.pick(&[0.0, 0.01, 0.05]);
                crashes.while_dirty = *rng.pick(&[0.01, 0.04]);
                crashes.restart_ns = (MS, 60 * MS);
                crashes.max = 40;
            }
            Profile::Votes => {
                crashes.after_vote = *rng.pick(&[0.05, 0.3]);
                crashes.while_dirty = *rng.pick(&[0.0, 0.01]);
                crashes.power = *rng.pick(&[0.5, 1.0]);
                crashes.restart_ns = (MS, 60 * MS);
                crashes.max = 40;
            }
            Profile::BitRot => {
                crashes.every_ns = 5 * SECOND;
                crashes.flips_max = 3;
            }
            Profile::PowerLoss => {
                crashes.blackout_every_ns = *rng.pick(&[2 * SECOND, 5 * SECOND]);
                crashes.max = 60;
            }
            Profile::LeaseClocks => {
                crashes.every_ns = *rng.pick(&[0, 4 * SECOND]);
                crashes.aims_at_leader = 0.9;
            }
            Profile::Laggards => {
                crashes.every_ns = *rng.pick(&[0, 5 * SECOND]);
                crashes.restart_ns = (SECOND, 8 * SECOND);
                crashes.aims_at_leader = 0.0;
            }
            _ => {}
        }
        crashes
    }

    pub fn disk(&mut self) -> DiskFaults {
        let rng = &mut *self.rng;
        let mut faults = DiskFaults {
            sync_ns: (50_000, rng.log_between(100_000, 10 * MS)),
            torn: *rng.pick(&[0.0, 0.1, 0.5]),
            ..DiskFaults::default()
        };
        match self.profile {
            Profile::Calm => {}
            Profile::SlowDisk => {
                faults.sync_ns = (2 * MS, rng.log_between(10 * MS, 400 * MS));
                faults.stall = *rng.pick(&[0.0, 0.01, 0.1]);
                faults.stall_ns = (100 * MS, 10 * SECOND);
            }
            Profile::AimedCrashes | Profile::Votes => faults.sync_ns = (2 * MS, 150 * MS),
            Profile::FullDisk => {
                faults.capacity_bytes = rng.log_between(1 << 20, 8 << 20);
                faults.sync_fails = *rng.pick(&[0.0, 0.002]);
            }
            _ => faults.sync_fails = *rng.pick(&[0.0, 0.0, 0.0005]),
        }
        faults
    }

    pub fn network(&mut self) -> NetworkPlan {
        let election_ns = self.election_ns;
        let is_calm = self.is_calm();
        let rng = &mut *self.rng;
        let most = (election_ns / 20).clamp(200_000, 50 * MS);
        let base = rng.log_between(100_000, most);
        let on = |rng: &mut Rng, low: u64, high: u64| {
            if rng.chance(0.5) && !is_calm { rng.log_between(low, high) as f64 / 1e6 } else { 0.0 }
        };
        let mut network = NetworkPlan {
            base_ns: (100_000.min(base), base),
            tail: *rng.pick(&[0.1, 0.5, 2.0]),
            keeps_order: rng.chance(0.7),
            loss: on(rng, 1_000, 200_000),
            duplicate: on(rng, 1_000, 300_000),
            late: on(rng, 100, 10_000),
            late_ns: (election_ns, 100 * election_ns),
            late_pieces: 0.0,
            reports_loss: *rng.pick(&[0.0, 0.5, 1.0]),
            clog_every_ns: if is_calm { 0 } else { *rng.pick(&[0, 0, 4 * SECOND]) },
            clog_ns: (10 * MS, 3 * election_ns),
            hostile: 0.0,
            false_losses: 0.0,
            passes_bytes: rng.chance(0.125),
        };
        if self.profile == Profile::StaleReads {
            network.late = 0.02;
            network.late_ns = (election_ns / 10, 10 * election_ns);
            network.duplicate = 0.1;
        }
        network
    }

    pub fn partitions(&mut self) -> PartitionPlan {
        let election_ns = self.election_ns;
        let rng = &mut *self.rng;
        let mut shapes: Vec<Shape> = Shape::ALL.into_iter().filter(|_| rng.chance(0.5)).collect();
        if shapes.is_empty() {
            shapes = Shape::ALL.to_vec();
        }
        let mut plan = PartitionPlan {
            every_ns: *rng.pick(&[0, 4 * SECOND, 10 * SECOND]),
            lasts_ns: (election_ns / 10, rng.log_between(election_ns, 20 * election_ns)),
            shapes,
            flaps: *rng.pick(&[0.0, 0.3]),
        };
        match self.profile {
            Profile::Calm => plan.every_ns = 0,
            Profile::StaleReads => {
                plan.every_ns = 2 * election_ns;
                plan.lasts_ns = (election_ns, 4 * election_ns);
                plan.shapes = vec![Shape::IsolateLeader, Shape::DeafLeader, Shape::OneWay];
            }
            Profile::LeaderIsolation => {
                plan.every_ns = 3 * SECOND;
                plan.lasts_ns = (election_ns, 6 * election_ns);
                plan.shapes = vec![Shape::IsolateLeader, Shape::DeafLeader, Shape::Bridge, Shape::Ring];
            }
            Profile::WatchPartitions | Profile::Laggards => {
                plan.every_ns = 4 * SECOND;
                plan.lasts_ns = (election_ns, 10 * election_ns);
                plan.shapes = vec![Shape::IsolateMinority, Shape::Halves, Shape::OneWay];
            }
            _ => {}
        }
        plan
    }
}
