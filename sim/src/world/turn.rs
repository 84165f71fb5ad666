//! Turns: which inputs are taken together, and what is done with the effects.

use holdfast_core::base::MemberId;
use holdfast_core::boundary::{CheckpointStep, Effect, Input};
use holdfast_core::peer::PeerMessage;
use raft::eraftpb::MessageType;

use super::event::Event;
use super::machine::{LaneKind, LogWork};
use super::network::brief;
use super::{Phase, TURNS_MAX, World};
use crate::marks::Mark;
use crate::plan::Lie;
use crate::plan::step::Behind;
use crate::rng::{Rng, derive, mix};

/// Time that a turn takes at least, so that a node with work left does not stop the clock.
const TURN_NS: u64 = 20_000;

impl World {
    /// Puts an input into a member's inbox.
    pub(super) fn give(&mut self, m: usize, input: Input) {
        let Some(process) = &mut self.machines[m].process else { return };
        process.inbox.push(input);
        if process.turn_at_ns.is_none() {
            self.schedule_turn_soon(m);
        }
    }

    fn schedule_turn_soon(&mut self, m: usize) {
        let (low, high) = self.plan.cuts.turn_ns;
        let pause = self.machines[m].pace.between(low, high);
        if self.fate.chance(self.plan.cuts.pause) {
            let pause_ns = self.draw_pause(self.plan.cuts.pause_ns);
            self.pause(m, pause_ns);
        }
        self.schedule_turn(m, self.now_ns + pause);
    }

    pub(super) fn schedule_turn(&mut self, m: usize, at_ns: u64) {
        let at_ns = at_ns.max(self.machines[m].paused_until_ns);
        let Some(process) = &mut self.machines[m].process else { return };
        if process.turn_at_ns.is_some_and(|planned| planned <= at_ns) {
            return;
        }
        process.turn_at_ns = Some(at_ns);
        let life = process.life as u32;
        self.at(at_ns, Event::Turn { life });
    }

    /// The next tick of the node's clock.
    pub(super) fn schedule_tick(&mut self, m: usize) {
        let Some(process) = &self.machines[m].process else { return };
        let clock = process.clock(self.now_ns);
        let life = process.life as u32;
        let ticks = self.ticks_merged(m);
        let process = self.machines[m].process.as_ref().expect("seen above");
        let at_ns = process.when(clock.plus_ns(ticks * self.plan.heartbeat_ns)).max(self.now_ns + 1);
        self.at(at_ns, Event::Tick { life });
    }

    pub(super) fn on_tick(&mut self, m: usize) {
        self.schedule_tick(m);
        self.boast(m);
        let others = self.machines.len() as u64 - 1;
        let probability = self.plan.network.false_losses;
        if others > 0
            && let Some(mut rng) = self.draw_oddity(m, b"false loss", probability)
        {
            let other = (m + 1 + rng.below(others) as usize) % self.machines.len();
            self.on_lost(m, other);
        }
        let process = self.machines[m].process.as_mut().expect("alive");
        process.tick_is_due = true;
        if process.turn_at_ns.is_none() {
            self.schedule_turn_soon(m);
        }
    }

    /// Whether something odd and harmless happens to a member at this moment of the storm. Drawn by member and
    /// moment, so that what happens elsewhere does not move it.
    fn draw_oddity(&self, m: usize, name: &[u8], probability: f64) -> Option<Rng> {
        if probability == 0.0 || self.phase != Phase::Storm {
            return None;
        }
        let mut rng = Rng::new(derive(mix(self.plan.seed ^ m as u64, name), self.now_ns));
        rng.chance(probability).then_some(rng)
    }

    pub(super) fn on_turn(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        let process = machine.process.as_mut().expect("alive");
        if process.turn_at_ns != Some(self.now_ns) {
            return;
        }
        process.turn_at_ns = None;
        if self.now_ns < machine.paused_until_ns {
            return self.schedule_turn(m, self.now_ns);
        }
        self.counts.turns += 1;
        if self.counts.turns > TURNS_MAX {
            return self.fail("no_progress", format!("{TURNS_MAX} turns and no end"));
        }
        let mut inputs = self.take_inputs(m);
        let process = self.machines[m].process.as_mut().expect("alive");
        let clock = process.clock(self.now_ns);
        self.trace.fold(clock.0 ^ (m as u64) << 60);
        self.trace.fold(inputs.len() as u64);
        let turn = self.counts.turns;
        self.trace.line(self.now_ns, || format!("m{m} turn {turn} <- {}", told(&inputs)));
        let mut effects = std::mem::take(&mut process.effects);
        process.node.step(clock, &mut inputs, &mut effects);
        process.inbox_spare = inputs;
        if self.plan.auto_compaction.is_some() {
            process.note_revision(clock);
        }
        if let Some(wake_at) = effects.wake_at {
            let at_ns = process.when(wake_at).max(self.now_ns + TURN_NS);
            self.schedule_turn(m, at_ns);
        }
        if self.plan.lie == Some(Lie::Sleepless) {
            self.schedule_turn(m, self.now_ns + TURN_NS);
        }
        self.tap_appends(m, &effects.list);
        self.observe(m);
        self.record_figures(m);
        self.trace.line(self.now_ns, || {
            let seat = self.referee.seats[m];
            let role = if seat.leads { "leader" } else { "follower" };
            format!("m{m} {role} term {} commit {} applied {}", seat.term, seat.committed, seat.applied)
        });
        self.perform_all(m, &mut effects.list);
        effects.list.clear();
        if self.machines[m].is_wiped {
            self.check_doomed(m);
        }
        let Some(process) = &mut self.machines[m].process else { return };
        process.effects = effects;
        self.check_forged(m);
        let Some(process) = &mut self.machines[m].process else { return };
        if !process.inbox.is_empty() && process.turn_at_ns.is_none() {
            self.schedule_turn_soon(m);
        }
        if let Some(mut rng) = self.draw_oddity(m, b"wake-up", self.plan.cuts.wakes) {
            let pause = rng.between(TURN_NS, 100 * TURN_NS);
            self.schedule_turn(m, self.now_ns + pause);
        }
        if self.counts.turns.is_multiple_of(self.plan.digest_turns) {
            self.take_digest(m);
        }
        let probability = self.plan.crashes.while_dirty;
        let may_crash = probability > 0.0 || !self.machines[m].ambushes.is_empty();
        if may_crash && self.machines[m].disk.is_dirty() {
            self.crash_behind(m, Behind::Turn, probability, "while its disk has unsynced bytes");
        }
    }

    /// All of the inbox, or a part of it; a due tick goes last, where the batch is closed.
    fn take_inputs(&mut self, m: usize) -> Vec<Input> {
        let machine = &mut self.machines[m];
        let splits = machine.pace.chance(self.plan.cuts.split);
        let process = machine.process.as_mut().expect("alive");
        let spare = std::mem::take(&mut process.inbox_spare);
        let mut inputs = std::mem::replace(&mut process.inbox, spare);
        if splits && inputs.len() > 1 {
            let cut = machine.pace.between(1, inputs.len() as u64 - 1) as usize;
            process.inbox.extend(inputs.drain(cut..));
        } else if std::mem::take(&mut process.tick_is_due) {
            inputs.push(Input::Tick);
        }
        self.mark_arrivals(&inputs);
        self.weigh_turn(m, &inputs);
        self.count_forged(m, &inputs);
        inputs
    }

    /// Performs effects in order; the process may end behind any of them.
    fn perform_all(&mut self, m: usize, effects: &mut Vec<Effect>) {
        let applied = self.referee.seats[m].applied;
        for effect in effects.drain(..) {
            if self.failed.is_some() {
                return;
            }
            self.trace.effect(&effect);
            self.trace.line(self.now_ns, || format!("  -> {}", wanted(&effect)));
            match self.plan.lie {
                None => self.perform(m, effect, applied),
                Some(lie) => {
                    for effect in self.lie_about(lie, effect) {
                        self.perform(m, effect, applied);
                    }
                }
            }
            if self.failed.is_some() || self.machines[m].process.is_none() {
                return;
            }
            if self.dies_here(m) {
                return self.die_here(m);
            }
            let probability = self.plan.crashes.at_effect;
            if self.crash_behind(m, Behind::Effect, probability, "between two effects") {
                return;
            }
        }
    }

    fn perform(&mut self, m: usize, effect: Effect, applied: u64) {
        let Some(process) = &mut self.machines[m].process else { return };
        match effect {
            Effect::Append { frames, through } => {
                self.counts.appends += 1;
                self.weigh_append(m, frames.len());
                self.complete_too_early(m, &frames, through);
                if let Some(process) = &mut self.machines[m].process {
                    process.log_work.push_back(LogWork::Append { frames, through });
                }
                self.wake_lane(m, LaneKind::Log);
            }
            Effect::Reclaim { through } => {
                self.counts.reclaims += 1;
                process.log_work.push_back(LogWork::Reclaim { through });
                self.wake_lane(m, LaneKind::Log);
            }
            Effect::Checkpoint(step) => {
                let begins = matches!(step, CheckpointStep::Begin { .. });
                process.checkpoint_waiting = Some(step);
                if begins {
                    self.take_digest(m);
                }
                self.wake_lane(m, LaneKind::Checkpoint);
            }
            Effect::Reply { waiter, result } => {
                if result.is_ok() {
                    self.check_durable(m, applied);
                }
                self.on_reply(m, waiter, result, applied);
            }
            Effect::Deliver { stream, response } => {
                self.check_durable(m, applied);
                self.on_deliver(m, stream, response, applied);
            }
            Effect::Send { to, message } => self.on_send(m, to, message),
            Effect::HashPassword { job, password } => self.hash_password(m, job, &password),
            Effect::CheckPassword { job, password, hash } => self.check_password(m, job, &password, &hash),
            Effect::Connect { member, .. } => process.disconnected.retain(|(known, _)| *known != member),
            Effect::Disconnect { member } => process.disconnected.push((member, self.now_ns)),
            Effect::Note(note) => self.observe_note(m, &note),
            Effect::Halt { why } => self.on_halt(m, &why),
        }
    }

    fn on_send(&mut self, m: usize, to: MemberId, message: PeerMessage) {
        let Some(number) = self.number_of(to).filter(|number| *number != m) else {
            return self.fail("send", format!("m{m} sends to {to:x}: {}", brief(&message)));
        };
        self.observe_send(m, &message);
        self.weigh_send(m, &message);
        let grants = matches!(&message, PeerMessage::Raft(mail)
            if mail.get_msg_type() == MessageType::MsgRequestVoteResponse && !mail.reject);
        self.send(m, number, message);
        let probability = self.plan.crashes.after_vote;
        if grants && self.crash_behind(m, Behind::Vote, probability, "right behind a granted vote") {
            self.marks.hit(Mark::CrashAfterVote);
        }
    }

    /// A lane that waits for the disk is left alone.
    fn wake_lane(&mut self, m: usize, kind: LaneKind) {
        let process = self.machines[m].process.as_mut().expect("alive");
        if process.lane(kind).is_idle() {
            self.run_lane(m, kind);
        }
    }

    /// Whatever anybody is shown rests on this disk: the node has applied nothing that is not on it.
    fn check_durable(&mut self, m: usize, applied: u64) {
        let tap = &self.referee.taps[m];
        if applied > 0 && !(tap.is_booted() && tap.is_durable(applied)) {
            let what = format!("m{m} shows State at entry {applied}, which is not on its disk");
            self.fail("durability", what);
        }
    }
}

/// Inputs for a reader; mail in a few words.
fn told(inputs: &[Input]) -> String {
    let words = inputs.iter().map(|input| match input {
        Input::Peer { message, .. } => brief(message),
        other => format!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn wanted(effect: &Effect) -> String {
    match effect {
        Effect::Send { to, message } => format!("to {to:x}: {}", brief(message)),
        Effect::Append { frames, through } => format!("Append of {} bytes through {through}", frames.len()),
        other => format!("{other:?}"),
    }
}
