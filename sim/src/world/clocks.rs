//! Clocks that stand still: a machine is suspended, and goes on as if no time had passed.
//!
//! A pause, beside it, is a process that takes no turn while its clock runs on: it finds that time has jumped.

use super::event::Event;
use super::{Phase, World};
use crate::marks::Mark;
use crate::plan::step::{Action, Group};
use crate::record::SpanKind;

impl World {
    pub(super) fn on_suspend_due(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        let m = self.pick_member(0.5);
        let lasts_ns = self.draw_pause(self.plan.clocks.suspend_ns);
        self.suspend(m, lasts_ns);
        self.schedule_fault(self.plan.clocks.suspend_every_ns, Event::Suspend);
    }

    /// A machine and its clock stand still for a while; one that stands still already is left alone.
    pub(super) fn suspend(&mut self, m: usize, lasts_ns: u64) {
        let until_ns = self.now_ns + lasts_ns;
        let machine = &mut self.machines[m];
        let Some(process) = machine.process.as_ref().filter(|_| machine.paused_until_ns <= self.now_ns)
        else {
            return;
        };
        let life = process.life as u32;
        machine.paused_until_ns = until_ns;
        self.counts.pauses += 1;
        self.note_deed(None, Action::Suspend { members: Group::one(m), lasts_ns });
        self.marks.hit_if(Mark::LeaderSuspended, self.referee.seats[m].leads);
        self.trace.line(self.now_ns, || format!("m{m} is suspended for {:.3} s", lasts_ns as f64 / 1e9));
        self.record_stop(SpanKind::Pause, m, None, until_ns);
        // Before the first turn that the pause allows.
        self.at(until_ns - 1, Event::Resume { life, lost_ns: lasts_ns - 1 });
    }

    /// The clock of a process shows what it showed when it was suspended.
    pub(super) fn on_resume(&mut self, m: usize, lost_ns: u64) {
        let process = self.machines[m].process.as_mut().expect("alive");
        process.born_ns += lost_ns;
        // Due moments lie later now; what was scheduled by the old ones is only early.
        self.schedule_turn(m, self.now_ns + 1);
    }

    /// Ticks that come as one, the next one among them.
    pub(super) fn ticks_merged(&mut self, m: usize) -> u64 {
        let (pace, clocks) = (&mut self.machines[m].pace, &self.plan.clocks);
        match clocks.merge > 0.0 && pace.chance(clocks.merge) {
            true => 1 + pace.between(1, clocks.merged_max),
            false => 1,
        }
    }
}
