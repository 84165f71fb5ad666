//! What leaders compact of their own accord: never what they are told to keep.

use holdfast_core::base::Instant;
use holdfast_core::node::AutoCompaction;

use super::World;
use crate::marks::Mark;

impl World {
    /// A leader proposes to forget what is below `revision`: it must be old enough by its own clock, or by number.
    pub(super) fn on_auto_compaction(&mut self, m: usize, revision: i64, counter: u64) {
        let process = self.machines[m].process.as_ref().expect("it says so");
        let (life, clock) = (process.life, process.clock(self.now_ns));
        let state = process.node.state();
        let newest = match self.plan.auto_compaction {
            None => None,
            Some(AutoCompaction::Revision { retention, .. }) => Some(state.kv.revision() - retention),
            Some(AutoCompaction::Periodic { retention_ns }) => {
                let then = clock.0.checked_sub(retention_ns).map(Instant);
                then.and_then(|then| process.revision_at(then))
            }
        };
        if newest.is_none_or(|newest| revision > newest) {
            let what = format!("m{m} compacts at revision {revision}, and may do so at {newest:?}");
            return self.fail("auto_compaction", what);
        }
        if !self.referee.seats[m].leads {
            return self.fail("auto_compaction", format!("m{m} compacts at {revision} and does not lead"));
        }
        self.referee.compactions.insert((life, counter));
        self.marks.hit(Mark::AutoCompacted);
    }
}
