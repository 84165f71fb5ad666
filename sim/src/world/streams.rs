//! Watch streams: opened, used, resumed in the next life, and read slowly.

use holdfast_core::base::StreamId;
use holdfast_core::boundary::{Input, StreamOp, WatchResponse};
use holdfast_core::request::Credentials;

use super::event::Event;
use super::{Phase, World};
use crate::history::{Passed, Stream};
use crate::marks::Mark;
use crate::plan::{Lie, Routing, SECOND};
use crate::workload::Workload;

/// A client that keeps a stream open, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// Index into `History::streams`; `None`: to be opened.
    open: Option<usize>,
    /// The member it is or was open on last.
    member: Option<usize>,
    /// It belongs to the last look, on this member.
    probes: bool,
    /// It belongs to a script, which alone speaks on it.
    is_scripted: bool,
    /// Its client gives no credit back until the calm.
    is_stuck: bool,
    /// Watches asked for on it.
    created: u64,
    /// Revision to resume a watch of everything at; 0: none yet.
    resume_at: i64,
    /// Whether the first watch of the open stream watches everything.
    watches_all: bool,
    /// Bytes delivered and not yet given back as credit.
    owed_bytes: u64,
    /// Credit that the open stream has left, at least: what is on its way counts as arrived.
    credit_bytes: i64,
}

impl Slot {
    /// A slot of the last look.
    pub fn probe(member: usize) -> Slot {
        Slot { member: Some(member), probes: true, ..Slot::default() }
    }

    /// A slot of a script.
    pub fn scripted(member: usize, reads: bool) -> Slot {
        Slot { member: Some(member), is_scripted: true, is_stuck: !reads, ..Slot::default() }
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub fn is_open_on(&self, member: usize) -> bool {
        self.open.is_some() && self.member == Some(member)
    }

    /// A member's process ended, and its streams with it.
    pub fn end(&mut self, member: usize) {
        if self.member == Some(member) {
            self.open = None;
        }
    }
}

impl World {
    pub(super) fn on_stream_op(&mut self, slot: u32) {
        let is_last = self.phase == Phase::Last;
        if matches!(self.phase, Phase::Calm | Phase::Return | Phase::Settling | Phase::Over) {
            // Resumed in the last life.
            return self.after(4 * SECOND, Event::StreamOp { slot });
        }
        let pause = self.draw_pause(self.plan.stream_ns);
        self.after(pause, Event::StreamOp { slot });
        let op = match self.slots[slot as usize].open {
            None => match self.first_op(slot) {
                Some(op) => {
                    self.name_stream(slot);
                    op
                }
                None => return,
            },
            Some(_) if is_last => return,
            Some(_) if self.fate.chance(0.05) => StreamOp::Close,
            Some(_) => self.workload.stream_op(self.slots[slot as usize].created),
        };
        self.send_op(slot, op);
    }

    /// Some stream asks for progress, at the moment at which its answer is most likely to be wrong.
    pub(super) fn ask_progress(&mut self) {
        if self.slots.is_empty() || self.phase != Phase::Storm {
            return;
        }
        let slot = self.pace.below(self.slots.len() as u64) as u32;
        if self.slots[slot as usize].open.is_some() && !self.slots[slot as usize].is_scripted {
            self.send_op(slot, StreamOp::Progress);
        }
    }

    fn choose_stream_member(&mut self, slot: u32) -> usize {
        let serving = self.serving();
        match self.phase {
            Phase::Storm => *self.pace.pick(&serving),
            _ => *self.draws_of("stream", u64::from(slot), self.now_ns).pick(&serving),
        }
    }

    /// A script opens a stream in a slot of its own, or in one that it has used before.
    pub(super) fn open_scripted(
        &mut self,
        slot: Option<u32>,
        m: usize,
        (credentials, op): (Credentials, &StreamOp),
        reads: bool,
    ) -> Option<u32> {
        let life = self.machines[m].life()?;
        let slot = slot.unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        if self.slots[slot as usize].open.is_some() {
            self.send_op(slot, StreamOp::Close);
        }
        let resume_at = self.slots[slot as usize].resume_at;
        let watches_all =
            matches!(op, StreamOp::Create(create) if create.key[..] == [0] && create.range_end[..] == [0]);
        self.slots[slot as usize] = Slot { resume_at, watches_all, ..Slot::scripted(m, reads) };
        self.open_stream(slot, m, life);
        if self.guests.is_some() {
            self.send_op(slot, StreamOp::Open { credentials });
        }
        self.send_op(slot, op.clone());
        Some(slot)
    }

    /// Streams of scripts are resumed for the last look, as others are.
    pub(super) fn resume_scripted_streams(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].is_scripted {
                self.at(self.now_ns, Event::StreamOp { slot });
            }
        }
    }

    /// Opens a stream: with a watch of everything, resumed where the last one ended, or any other.
    fn first_op(&mut self, slot: u32) -> Option<StreamOp> {
        let before = self.slots[slot as usize].member;
        let member = match before {
            Some(member) if self.slots[slot as usize].probes || self.plan.routing == Routing::Sticky => {
                member
            }
            _ => self.choose_stream_member(slot),
        };
        let life = self.machines[member].life().filter(|_| self.machines[member].is_known)?;
        // The shell of a learner opens no streams (CL-13).
        if self.is_learner(member) {
            return None;
        }
        let resumes = self.phase == Phase::Last || self.fate.chance(0.6);
        let compacted = self.workload.compacted();
        let state = &mut self.slots[slot as usize];
        let oldest = match (self.phase, state.probes) {
            (Phase::Last, true) => compacted.max(1),
            (Phase::Last, false) => 1,
            _ => 0,
        };
        let (resume_at, probes) = (state.resume_at.max(oldest), state.probes);
        if resumes && resume_at > 1 && before.is_some_and(|before| before != member) {
            self.marks.hit(Mark::WatchMoved);
        }
        let is_scripted = state.is_scripted;
        *state = Slot { probes, is_scripted, resume_at, watches_all: resumes, ..Slot::default() };
        self.open_stream(slot, member, life);
        Some(match resumes {
            true => StreamOp::Create(Workload::watch_all(resume_at)),
            false => self.workload.stream_op(0),
        })
    }

    /// Says whose a fresh stream is, where that matters. In the last look everything must be seen.
    fn name_stream(&mut self, slot: u32) {
        let credentials = match &mut self.guests {
            None => return,
            Some(guests) if self.phase == Phase::Storm && !self.slots[slot as usize].watches_all => {
                guests.credentials()
            }
            Some(_) => self.own_credentials(),
        };
        self.send_op(slot, StreamOp::Open { credentials });
    }

    /// Opens a stream in a slot.
    pub(super) fn open_stream(&mut self, slot: u32, member: usize, life: usize) {
        let number = self.history.streams.len();
        self.history.streams.push(Stream { member, life, passed: Vec::new(), lives_to_end: false });
        let credit_bytes = self.plan.member(member).limits.watch_credit_bytes as i64;
        let state = &mut self.slots[slot as usize];
        (state.open, state.member, state.credit_bytes) = (Some(number), Some(member), credit_bytes);
        self.deeds.slots.push((slot, !state.is_stuck));
    }

    /// From here on every client reads.
    pub(super) fn read_all_streams(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            if std::mem::take(&mut self.slots[slot as usize].is_stuck) {
                self.at(self.now_ns, Event::Credit { slot });
            }
        }
    }

    pub(super) fn send_op(&mut self, slot: u32, op: StreamOp) {
        let number = self.slots[slot as usize].open.expect("opened before");
        let at = self.moment();
        let is_close = op == StreamOp::Close;
        self.slots[slot as usize].created += u64::from(matches!(op, StreamOp::Create(_)));
        self.history.streams[number].passed.push((at, Passed::Op(op.clone())));
        let m = self.history.streams[number].member;
        self.give(m, Input::Stream { stream: StreamId(number as u64), op });
        if is_close {
            self.slots[slot as usize].open = None;
        }
    }

    pub(super) fn on_deliver(&mut self, m: usize, stream: StreamId, response: WatchResponse, applied: u64) {
        let at = self.moment();
        self.counts.deliveries += 1;
        self.marks.hit_if(Mark::WatchDenied, response.cancel_reason.contains("permission denied"));
        let number = stream.0 as usize;
        let slot = self.slots.iter().position(|slot| slot.open == Some(number));
        if let Some(slot) = slot {
            self.check_credit(slot, &response);
            self.take_delivery(slot as u32, &response);
        }
        match self.history.streams.get_mut(number) {
            Some(known) if Some(known.life) == self.machines[m].life() => {
                // What was on its way when the stream was closed is nobody's.
                if slot.is_some() {
                    known.passed.push((at, Passed::Delivered(response, applied)));
                }
            }
            _ => self.fail("watch", format!("a delivery on stream {stream} of no such life: {response:?}")),
        }
    }

    /// Memory at a slow watcher is bounded: nothing is delivered without credit (G60).
    fn check_credit(&mut self, slot: usize, response: &WatchResponse) {
        let (bytes, credit) = (response.credit_bytes() as i64, self.slots[slot].credit_bytes);
        self.slots[slot].credit_bytes -= bytes;
        if bytes > 0 && credit <= 0 {
            let what = format!("{bytes} bytes come to a watch stream whose credit is {credit}");
            self.fail("memory", what);
        }
    }

    fn take_delivery(&mut self, slot: u32, response: &WatchResponse) {
        let state = &mut self.slots[slot as usize];
        if state.watches_all && response.watch_id.0 == 0 {
            if response.canceled && response.compact_revision > 0 {
                state.resume_at = response.compact_revision;
            } else if let Some(event) = response.events.last() {
                state.resume_at = event.kv.mod_revision + 1;
            }
        }
        let is_first = state.owed_bytes == 0;
        state.owed_bytes += response.credit_bytes();
        if is_first && !state.is_stuck {
            let (low, high) = self.plan.credit_ns;
            let member = state.member.map_or(0, |member| member as u64);
            let pause = self.draws_of("credit", member, self.now_ns).between(low, high);
            self.after(pause, Event::Credit { slot });
        }
    }

    pub(super) fn on_credit(&mut self, slot: u32) {
        let state = &mut self.slots[slot as usize];
        let bytes = std::mem::take(&mut state.owed_bytes);
        if state.open.is_some() && bytes > 0 {
            if self.plan.lie != Some(Lie::CreditUnseen) {
                state.credit_bytes += bytes as i64;
            }
            self.send_op(slot, StreamOp::Credit { bytes });
        }
    }

    /// Streams that live in the last life are owed everything.
    pub(super) fn mark_survivors(&mut self) {
        // A member that does not know that it was removed is told nothing any more.
        let members: Vec<usize> = self.healthy().collect();
        for slot in &self.slots {
            if let Some(number) = slot.open.filter(|_| slot.member.is_some_and(|m| members.contains(&m))) {
                self.history.streams[number].lives_to_end = true;
            }
        }
    }
}
