//! Turns: which inputs are taken together, and what is done with the effects.

use holdfast_core::boundary::{CheckpointStep, Effect, Input, Note};

use super::machine::LogWork;
use super::{Completion, Event, LaneKind, TURNS_MAX, World};
use crate::plan::Lie;

/// Time that a turn takes at least, so that a node with work left does not stop the clock.
const TURN_NS: u64 = 20_000;

impl World {
    /// Puts an input into the node's inbox.
    pub(super) fn give(&mut self, input: Input) {
        let Some(process) = &mut self.process else { return };
        process.inbox.push(input);
        if process.turn_at_ns.is_none() {
            self.schedule_turn_soon();
        }
    }

    fn schedule_turn_soon(&mut self) {
        let mut pause = self.draw_pause(self.plan.cuts.turn_ns);
        if self.fate.chance(self.plan.cuts.pause) {
            self.counts.pauses += 1;
            pause += self.draw_pause(self.plan.cuts.pause_ns);
        }
        self.schedule_turn(self.now_ns + pause);
    }

    pub(super) fn schedule_turn(&mut self, at_ns: u64) {
        let Some(process) = &mut self.process else { return };
        if process.turn_at_ns.is_some_and(|planned| planned <= at_ns) {
            return;
        }
        process.turn_at_ns = Some(at_ns);
        let life = process.life as u32;
        self.at(at_ns, Event::Turn { life });
    }

    /// The next tick of the node's clock.
    pub(super) fn schedule_tick(&mut self) {
        let Some(process) = &self.process else { return };
        let clock = process.clock(self.now_ns);
        let at_ns = process.when(clock.plus_ns(self.plan.heartbeat_ns)).max(self.now_ns + 1);
        let life = process.life as u32;
        self.at(at_ns, Event::Tick { life });
    }

    pub(super) fn on_tick(&mut self) {
        self.schedule_tick();
        let process = self.process.as_mut().expect("alive");
        process.tick_is_due = true;
        if process.turn_at_ns.is_none() {
            self.schedule_turn_soon();
        }
    }

    pub(super) fn on_turn(&mut self) {
        let process = self.process.as_mut().expect("alive");
        if process.turn_at_ns != Some(self.now_ns) {
            return;
        }
        process.turn_at_ns = None;
        self.counts.turns += 1;
        if self.counts.turns > TURNS_MAX {
            return self.fail("no_progress", format!("{TURNS_MAX} turns and no end"));
        }
        let mut inputs = self.take_inputs();
        let process = self.process.as_mut().expect("alive");
        let clock = process.clock(self.now_ns);
        self.trace.fold(clock.0);
        self.trace.fold(inputs.len() as u64);
        self.trace.line(self.now_ns, || format!("turn {} <- {inputs:?}", self.counts.turns));
        let mut effects = std::mem::take(&mut process.effects);
        process.node.step(clock, &mut inputs, &mut effects);
        if let Some(wake_at) = effects.wake_at {
            let at_ns = process.when(wake_at).max(self.now_ns + TURN_NS);
            self.schedule_turn(at_ns);
        }
        self.perform_all(&mut effects.list);
        effects.list.clear();
        let Some(process) = &mut self.process else { return };
        process.effects = effects;
        if !process.inbox.is_empty() && process.turn_at_ns.is_none() {
            self.schedule_turn_soon();
        }
        if self.counts.turns.is_multiple_of(self.plan.digest_turns) {
            self.take_digest();
        }
        let probability = self.plan.crashes.while_dirty;
        if probability > 0.0 && self.disk.is_dirty() && self.draws_crash(probability) {
            self.crash("while the disk has unsynced bytes");
        }
    }

    /// All of the inbox, or a part of it; a due tick goes last, where the batch is closed.
    fn take_inputs(&mut self) -> Vec<Input> {
        let splits = self.fate.chance(self.plan.cuts.split);
        let process = self.process.as_mut().expect("alive");
        let mut inputs = std::mem::take(&mut process.inbox);
        if splits && inputs.len() > 1 {
            let cut = self.pace.between(1, inputs.len() as u64 - 1) as usize;
            process.inbox = inputs.split_off(cut);
        } else if std::mem::take(&mut process.tick_is_due) {
            inputs.push(Input::Tick);
        }
        self.mark_arrivals(&inputs);
        inputs
    }

    /// Performs effects in order; the process may end behind any of them.
    fn perform_all(&mut self, effects: &mut Vec<Effect>) {
        let applied = self.process.as_ref().expect("alive").node.state().applied.0;
        for effect in effects.drain(..) {
            self.trace.effect(&effect);
            self.trace.line(self.now_ns, || format!("  -> {effect:?}"));
            for effect in self.lie_about(effect) {
                self.perform(effect, applied);
                if self.failed.is_some() || self.process.is_none() {
                    return;
                }
            }
            if self.draws_crash(self.plan.crashes.at_effect) {
                return self.crash("between two effects");
            }
        }
    }

    fn perform(&mut self, effect: Effect, applied: u64) {
        match effect {
            Effect::Append { frames, through } => {
                self.counts.appends += 1;
                self.tap(&frames, through);
                if self.plan.lie == Some(Lie::PersistedTooEarly) {
                    self.complete(Completion::Persisted(through.0));
                }
                if let Some(process) = &mut self.process {
                    process.log_work.push_back(LogWork::Append { frames, through });
                }
                self.wake_lane(LaneKind::Log);
            }
            Effect::Reclaim { through } => {
                self.counts.reclaims += 1;
                let process = self.process.as_mut().expect("alive");
                process.log_work.push_back(LogWork::Reclaim { through });
                self.wake_lane(LaneKind::Log);
            }
            Effect::Checkpoint(step) => {
                if matches!(step, CheckpointStep::Begin { .. }) {
                    self.take_digest();
                }
                let process = self.process.as_mut().expect("alive");
                process.checkpoint_waiting = Some(step);
                self.wake_lane(LaneKind::Checkpoint);
            }
            Effect::Reply { waiter, result } => {
                if result.is_ok() {
                    self.check_durable(applied);
                }
                self.on_reply(waiter, result, applied);
            }
            Effect::Deliver { stream, response } => {
                self.check_durable(applied);
                self.on_deliver(stream, response, applied);
            }
            Effect::Send { .. } | Effect::Connect { .. } | Effect::Disconnect { .. } => {}
            Effect::Note(note) => {
                self.counts.checkpoints += u64::from(matches!(note, Note::CheckpointWritten { .. }));
            }
            Effect::Halt { why } => self.fail("halt", format!("the node gave up: {why}")),
        }
    }

    /// A lane that waits for the disk is left alone.
    fn wake_lane(&mut self, kind: LaneKind) {
        let process = self.process.as_mut().expect("alive");
        if process.lane(kind).is_idle() {
            self.run_lane(kind);
        }
    }

    /// Whatever anybody is shown rests on this disk: the node has applied nothing that is not on it.
    fn check_durable(&mut self, applied: u64) {
        let durable = self.process.as_ref().expect("alive").durable_index;
        if applied > durable {
            let what = format!("an effect shows State at entry {applied}, but only {durable} is on disk");
            self.fail("durability", what);
        }
    }
}
