//! Clients: each asks one thing at a time, and is patient to a point.

use holdfast_core::base::WaiterId;
use holdfast_core::boundary::Input;
use holdfast_core::request::{RangeRequest, Request, Response};
use holdfast_core::status::Status;

use bytes::Bytes;

use super::{Event, Phase, World};
use crate::check::matching::goes_through_log;
use crate::history::{Answer, Op};
use crate::plan::MS;

/// One client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// The request it waits for: an index into `History::ops`.
    waits_for: Option<u32>,
}

impl World {
    /// A client asks its next question, if it waits for no answer.
    pub(super) fn on_think(&mut self, client: u32) {
        if self.clients[client as usize].waits_for.is_some() {
            return;
        }
        let request = match self.phase {
            Phase::Storm if self.counts.ops < self.plan.ops_max => self.workload.next(),
            Phase::Storm => return self.begin_calm(),
            Phase::Last => match self.script.pop_front() {
                Some(request) => request,
                None => return,
            },
            Phase::Calm | Phase::Over => return,
        };
        let Some(life) = self.life() else {
            if self.phase == Phase::Last {
                self.script.push_front(request);
            }
            // Connection refused: the request was never sent.
            let pause = self.draw_pause((MS, 20 * MS));
            return self.after(pause, Event::Think { client });
        };
        let op = self.history.ops.len() as u32;
        let call = self.moment();
        self.counts.ops += 1;
        let life = life as usize;
        self.history.ops.push(Op { client, life, request, call, arrived: None, answer: None });
        self.clients[client as usize].waits_for = Some(op);
        let way = self.draw_pause(self.plan.cuts.way_ns);
        self.after(way, Event::Arrive { op });
        if self.phase == Phase::Storm {
            self.after(self.plan.client_timeout_ns, Event::Impatient { op });
        }
    }

    pub(super) fn on_arrive(&mut self, op: u32) {
        let sent = &self.history.ops[op as usize];
        if self.life() == Some(sent.life as u32) {
            let (waiter, request) = (WaiterId(u64::from(op)), sent.request.clone());
            self.give(Input::Client { waiter, request });
        }
    }

    /// Notes when the node gets to see requests: from here on they may take effect.
    pub(super) fn mark_arrivals(&mut self, inputs: &[Input]) {
        for input in inputs {
            if let Input::Client { waiter, .. } = input {
                let at = self.moment();
                self.history.ops[waiter.0 as usize].arrived = Some(at);
            }
        }
    }

    pub(super) fn on_impatient(&mut self, op: u32) {
        let asked = &self.history.ops[op as usize];
        let (client, life) = (asked.client, asked.life);
        if asked.answer.is_some() || self.clients[client as usize].waits_for != Some(op) {
            return;
        }
        self.clients[client as usize].waits_for = None;
        if self.life() == Some(life as u32) && self.fate.chance(self.plan.abandons) {
            self.give(Input::Abandon { waiter: WaiterId(u64::from(op)) });
        }
        self.think(client);
    }

    pub(super) fn on_reply(&mut self, waiter: WaiterId, result: Result<Response, Status>, applied: u64) {
        let at = self.moment();
        let life = self.life();
        let Some(op) = self.history.ops.get(waiter.0 as usize) else {
            return self.fail("reply", format!("a reply to nobody: {waiter} {result:?}"));
        };
        if op.answer.is_some() || life != Some(op.life as u32) {
            let what = format!("a second reply to {:?}: {result:?}", op.request);
            return self.fail("reply", what);
        }
        let client = op.client;
        let is_write = goes_through_log(&op.request);
        if is_write && self.fate.chance(self.plan.eager_progress) {
            self.ask_progress();
        }
        let answer = Answer { at, result, applied };
        if let Ok(response) = &answer.result {
            self.counts.acknowledged += 1;
            self.workload.learn(answer.revision().unwrap_or(0), response);
        }
        // One that gave up does not hear it; what it says was true all the same.
        let waits = self.clients[client as usize].waits_for == Some(waiter.0 as u32);
        let is_lost = waits && self.fate.chance(self.plan.reply_lost);
        self.history.ops[waiter.0 as usize].answer = Some(answer);
        if waits && !is_lost {
            self.clients[client as usize].waits_for = None;
            self.think(client);
        }
    }

    fn think(&mut self, client: u32) {
        let pause = match self.phase {
            Phase::Storm => self.draw_pause(self.plan.think_ns),
            _ => MS,
        };
        self.after(pause, Event::Think { client });
    }

    /// Connections to a life end: nobody waits for it any more.
    pub(super) fn end_connections(&mut self, life: usize) {
        for client in 0..self.clients.len() as u32 {
            if self.clients[client as usize].waits_for.take().is_some() {
                self.think(client);
            }
        }
        for slot in &mut self.slots {
            slot.end(life);
        }
    }

    /// What is asked at the end: everything there is, now and at revisions that can still be read.
    pub(super) fn last_requests(&mut self) -> Vec<Request> {
        let all = RangeRequest {
            key: Bytes::from_static(&[0]),
            range_end: Bytes::from_static(&[0]),
            ..RangeRequest::default()
        };
        let newest = self.workload.revision();
        let oldest = self.workload.compacted().clamp(1, newest);
        let mut requests = vec![Request::Range(all.clone()), Request::LeaseLeases, Request::Status];
        for part in 0..=4 {
            let revision = oldest + (newest - oldest) * part / 4;
            requests.push(Request::Range(RangeRequest { revision, ..all.clone() }));
            requests.push(Request::HashKv { revision });
        }
        requests
    }
}
