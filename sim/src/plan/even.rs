//! Plans without luck: what a story leaves open is the same in each seed.

use holdfast_core::boundary::Limits;
use holdfast_core::state::STATE_VERSION;
use holdfast_core::wal::LayoutConfig;

use super::{MS, MemberPlan, Plan, SECOND};
use crate::disk::DiskFaults;

impl Plan {
    /// Everything that a draw decided gets one plain value: links of a millisecond, disks of a millisecond,
    /// clocks that are right, the limits of production.
    pub fn even_out(&mut self) {
        let cuts = &mut self.cuts;
        (cuts.turn_ns, cuts.split, cuts.way_ns, cuts.completion_ns) = ((0, 0), 0.0, (MS, MS), (0, 0));
        let network = &mut self.network;
        (network.base_ns, network.tail) = ((MS, MS), 0.0);
        (network.keeps_order, network.reports_loss, network.passes_bytes) = (true, 1.0, false);
        (self.cuts.wakes, self.network.false_losses, self.network.hostile) = (0.0, 0.0, 0.0);
        self.crashes.restart_ns = (100 * MS, 100 * MS);
        self.crashes.power = 1.0;
        self.credit_ns = (MS, MS);
        (self.heartbeat_ns, self.election_ticks, self.drift) = (100 * MS, 10, 0.0);
        (self.lease_checkpoint_ns, self.watch_progress_ns) = (None, 600 * SECOND);
        self.auto_compaction = None;
        (self.abandons, self.reply_lost) = (0.0, 0.0);
        for member in &mut self.members {
            *member = MemberPlan {
                clock_rate: 1.0,
                limits: Limits::default(),
                layout: LayoutConfig::default(),
                quota_bytes: None,
                disk: DiskFaults { sync_ns: (MS, MS), torn: 0.0, ..DiskFaults::default() },
                state_version: STATE_VERSION,
            };
        }
    }
}
