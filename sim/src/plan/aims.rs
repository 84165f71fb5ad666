//! Aims: what some seeds are after beside their profile.
//!
//! Each is switched on by a draw of its own, so that one that is added leaves the draws of all others as they
//! are. All of them were made for mutants that lived: docs/mutants.md.

use super::{MS, Plan, Profile, SECOND};
use crate::rng::Rng;

/// Bytes that a frame with one put has beside the value: within these, some value fills whole blocks exactly.
const PUT_FRAME_BYTES: std::ops::Range<u64> = 100..180;
const BLOCK_BYTES: u64 = 4096;

impl Plan {
    pub(super) fn aim(&mut self) {
        let (seed, profile) = (self.seed, self.profile);
        let switched_on = |name: &str, probability: f64| {
            let mut rng = Rng::named(seed, name);
            rng.chance(probability).then_some(rng)
        };
        let lags = matches!(profile, Profile::Laggards | Profile::WatchPartitions);
        if let Some(mut rng) = switched_on("key space", 0.1) {
            self.widen(&mut rng);
        }
        if let Some(mut rng) = switched_on("slices", if lags { 0.25 } else { 0.03 }) {
            self.slice(&mut rng);
        }
        if let Some(mut rng) = switched_on("small mail", 0.2) {
            self.each_limit(|limits| limits.append_bytes_max = rng.log_between(1, 4096));
        }
        if switched_on("whole blocks", if profile == Profile::AimedCrashes { 0.3 } else { 0.02 }).is_some() {
            self.fill_blocks();
        }
        if switched_on("leases of few ids", if profile == Profile::LeaseClocks { 0.4 } else { 0.04 })
            .is_some()
        {
            self.mix.contend_for_leases();
        }
        if switched_on("names in any order", 0.3).is_some() {
            self.members.iter_mut().for_each(|member| member.disk.reorders_names = true);
        }
        if matches!(profile, Profile::LeaderIsolation | Profile::WatchPartitions)
            && let Some(mut rng) = switched_on("tiny tails", 0.3)
        {
            self.cut_tails(&mut rng);
        }
        if profile == Profile::Laggards && switched_on("stalled log", 0.3).is_some() {
            self.members.iter_mut().for_each(|member| {
                (member.disk.stall, member.disk.stall_ns) = (0.05, (100 * MS, 3 * SECOND));
            });
        }
        // What is odd and harmless: a seed has it or not, and then often.
        let odd = |name: &str| profile != Profile::Calm && switched_on(name, 0.25).is_some();
        if odd("wake-ups without cause") {
            self.cuts.wakes = 0.25;
        }
        if odd("losses that were none") {
            self.network.false_losses = 0.25;
        }
        if odd("checkpoints without need") {
            self.each_limit(|limits| limits.checkpoint_log_bytes_min = 1);
        }
        if let Some(mut rng) = switched_on("hostile", if profile == Profile::Calm { 0.0 } else { 0.1 }) {
            self.network.hostile = *rng.pick(&[0.005, 0.05]);
        }
        if profile == Profile::Laggards {
            self.crashes.after_received = *Rng::named(seed, "received states").pick(&[0.0, 0.3, 0.8]);
            self.network.late_pieces = *Rng::named(seed, "late pieces").pick(&[0.0, 0.05, 0.3]);
        }
        if profile == Profile::BitRot {
            self.crashes.flips_aimed = *Rng::named(seed, "rot").pick(&[0.0, 0.5, 1.0]);
        }
        if profile == Profile::Large {
            self.enlarge();
        }
    }

    /// Values up to what a request may carry, and keys by the thousand; fewer requests, so that a run costs no more.
    fn enlarge(&mut self) {
        let rng = &mut Rng::named(self.seed, "large");
        self.ops_max = 120;
        if rng.chance(0.5) {
            self.mix.put_many();
        } else {
            self.value_bytes_max = rng.log_between(64 << 10, 1_572_000);
        }
    }

    /// Keys are few, so that requests meet; now and then they are more than a node of the index holds, so that
    /// counts pass over subtrees. Members that work two keys a turn would not be done with those.
    fn widen(&mut self, rng: &mut Rng) {
        self.keys = rng.log_between(100, 1000) as usize;
        self.mix.grow();
        self.each_limit(|limits| limits.work_max = limits.work_max.max(1000));
    }

    /// Whatever can be done in slices is done in the smallest, and compaction comes between them.
    fn slice(&mut self, rng: &mut Rng) {
        self.keys = self.keys.min(24);
        self.mix.compact_often();
        self.each_limit(|limits| {
            limits.work_max = *rng.pick(&[2, 3, 5]);
            limits.checkpoint_piece_bytes_max = rng.log_between(512, 4096) as usize;
        });
    }

    /// A leader that is back from being alone is sent a state that ends in the middle of what it wrote there.
    fn cut_tails(&mut self, rng: &mut Rng) {
        self.crashes.after_received = 0.5;
        self.each_limit(|limits| {
            limits.log_tail_bytes_max = rng.log_between(1, 256);
            limits.log_lag_bytes_max = rng.log_between(1, 256);
        });
    }

    /// Frames end where blocks do: a torn append may keep whole frames behind one that is lost.
    fn fill_blocks(&mut self) {
        let blocks = 1 + self.seed % 2;
        self.mix.grow();
        self.value_bytes_min = blocks * BLOCK_BYTES - PUT_FRAME_BYTES.end;
        self.value_bytes_max = blocks * BLOCK_BYTES - PUT_FRAME_BYTES.start;
    }

    fn each_limit(&mut self, mut change: impl FnMut(&mut holdfast_core::boundary::Limits)) {
        self.members.iter_mut().for_each(|member| change(&mut member.limits));
    }
}
