//! The disks at work: lanes are moved on operation by operation, and each may be the last.

use holdfast_core::base::Lsn;
use holdfast_core::boundary::{CheckpointStep, Input};

use super::event::{Completion, Event};
use super::machine::{Done, LaneKind, Moved};
use super::{Phase, World};
use crate::disk::DiskError;
use crate::marks::Mark;
use crate::plan::step::Behind;
use crate::record::Class;

impl World {
    /// Moves a lane on until it waits for the disk or has nothing more to do.
    pub(super) fn run_lane(&mut self, m: usize, kind: LaneKind) {
        loop {
            let Some(process) = &mut self.machines[m].process else { return };
            match kind {
                LaneKind::Log => {
                    let starts = process.log_lane.is_idle();
                    process.feed_log_lane();
                    if starts && !process.log_lane.is_idle() && self.forgets_append() {
                        self.machines[m].process.as_mut().expect("it runs").log_lane.forget();
                    }
                }
                LaneKind::Checkpoint => process.feed_checkpoint_lane(),
                LaneKind::Spare => {}
            }
            let machine = &mut self.machines[m];
            machine.disk.now_ns = self.now_ns;
            let process = machine.process.as_mut().expect("it runs");
            match process.lane(kind).step(&mut machine.disk) {
                Moved::Idle => return,
                Moved::Performed => {
                    if self.dies_here(m) {
                        return self.die_here(m);
                    }
                    let probability = self.plan.crashes.at_disk_op;
                    if self.crash_behind(m, Behind::DiskOp, probability, "behind a disk operation") {
                        return;
                    }
                }
                Moved::Waits(takes_ns) => {
                    let life = process.life as u32;
                    if self.dies_here(m) {
                        return self.die_here(m);
                    }
                    return self.after(takes_ns, Event::Lane { life, kind });
                }
                Moved::Finished(done) => self.on_done(m, done),
                Moved::Failed(done, error) => return self.on_failed(m, kind, done, error),
            }
        }
    }

    fn on_done(&mut self, m: usize, done: Done) {
        let machine = &mut self.machines[m];
        let process = machine.process.as_mut().expect("its lane moved");
        match done {
            Done::Appended { through } => {
                machine.last_append.clone_from(&process.append_at);
                process.feed_spare_lane();
                self.referee.taps[m].on_durable(through.0);
                self.complete(m, Completion::Persisted(through.0));
                self.run_lane(m, LaneKind::Spare);
            }
            Done::Checkpointed => self.complete(m, Completion::Checkpointed(true)),
            Done::Prepared => process.layout.prepared(true),
            Done::Nothing => {}
        }
    }

    fn on_failed(&mut self, m: usize, kind: LaneKind, done: Done, error: DiskError) {
        self.tell(Some(m), Class::Disk, || format!("m{m}: {done:?} fails: {error:?}"));
        let machine = &mut self.machines[m];
        let process = machine.process.as_mut().expect("its lane moved");
        match done {
            Done::Prepared => process.layout.prepared(false),
            Done::Checkpointed => {
                self.counts.checkpoints_failed += 1;
                let ops = process.checkpoints.plan(CheckpointStep::Abort);
                process.lane(kind).start(ops, Done::Nothing);
                self.complete(m, Completion::Checkpointed(false));
                self.run_lane(m, kind);
            }
            Done::Appended { .. } | Done::Nothing => {
                // The process dies; if the disk was full, an operator makes room.
                self.counts.deaths_by_disk += 1;
                self.marks.hit(Mark::DeathByDisk);
                if error == DiskError::NoSpace {
                    machine.disk.faults.capacity_bytes *= 2;
                }
                self.crash(m, "by its disk");
            }
        }
    }

    /// A completion sets out for the node; completions may overtake each other.
    pub(super) fn complete(&mut self, m: usize, completion: Completion) {
        let life = self.machines[m].life().expect("its lane moved") as u32;
        let (low, high) = self.plan.cuts.completion_ns;
        let pause = self.machines[m].lanes_pace.between(low, high);
        self.after(pause, Event::Complete { life, completion });
    }

    pub(super) fn on_complete(&mut self, m: usize, completion: Completion) {
        let input = match completion {
            Completion::Persisted(through) => Input::Persisted { through: Lsn(through) },
            Completion::Checkpointed(ok) => Input::Checkpointed { ok },
            Completion::Password(slot) => return self.on_password(m, slot),
        };
        self.give(m, input);
    }

    /// Counts one more place at which a member might die, and whether it is the one that the plan names.
    pub(super) fn dies_here(&mut self, m: usize) -> bool {
        if self.phase != Phase::Storm {
            return false;
        }
        let place = self.places[m];
        self.places[m] += 1;
        self.plan.crashes.exactly.is_some_and(|point| point.member == m && point.place == place)
    }

    pub(super) fn die_here(&mut self, m: usize) {
        let is_power = self.plan.crashes.exactly.is_some_and(|point| point.is_power);
        self.end_life(m, is_power, "where the plan says");
    }
}
