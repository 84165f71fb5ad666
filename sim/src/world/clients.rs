//! Clients: each asks one thing at a time of some member, and is patient to a point.

use holdfast_core::base::WaiterId;
use holdfast_core::boundary::Input;
use holdfast_core::request::{AuthRequest, Credentials, Request, Response};
use holdfast_core::status::Status;

use super::event::Event;
use super::{Phase, World};
use crate::check::auth;
use crate::check::matching::goes_through_log;
use crate::history::{Answer, Op};
use crate::marks::Mark;
use crate::plan::{MS, Routing};
use crate::record::What;
use crate::workload::root;

/// One client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// The request it waits for: an index into `History::ops`.
    waits_for: Option<u32>,
    /// The member it turned to last.
    member: Option<usize>,
    /// It asked for a step of the script, and asks nothing more.
    is_scripted: bool,
}

impl Client {
    pub fn waits_for(&self) -> Option<u32> {
        self.waits_for
    }
}

impl World {
    /// A client asks its next question, if it waits for no answer.
    pub(super) fn on_think(&mut self, client: u32) {
        let state = self.clients[client as usize];
        if state.waits_for.is_some() || state.is_scripted {
            return;
        }
        let (member, (request, credentials)) = match self.phase {
            Phase::Storm if self.counts.ops < self.plan.ops_max => match self.next_admin(client) {
                Some((member, request)) => (member, (request, self.own_credentials())),
                None => (self.choose_member(client), self.next_request()),
            },
            Phase::Storm => return self.begin_calm(),
            Phase::Last if client == 0 => match self.last_requests.pop_front() {
                Some((member, request)) => (member, (request, self.own_credentials())),
                None => return self.on_all_asked(),
            },
            _ => return,
        };
        let machine = &self.machines[member];
        let Some(life) = machine.life().filter(|_| machine.is_known) else {
            // Connection refused: the request was never sent.
            self.clients[client as usize].member = None;
            if self.phase == Phase::Last {
                self.last_requests.push_front((member, request));
            }
            let pause = self.draw_pause((MS, 20 * MS));
            return self.after(pause, Event::Think { client });
        };
        let op = self.send_request(client, member, life, (request, credentials));
        if self.phase == Phase::Storm {
            self.after(self.plan.client_timeout_ns, Event::Impatient { op });
        }
    }

    /// A client that asks once.
    pub(super) fn add_scripted_client(&mut self) -> u32 {
        self.clients.push(Client { is_scripted: true, ..Client::default() });
        self.clients.len() as u32 - 1
    }

    /// Sends a request on its way; its number.
    pub(super) fn send_request(
        &mut self,
        client: u32,
        member: usize,
        life: usize,
        (request, credentials): (Request, Credentials),
    ) -> u32 {
        let op = self.history.ops.len() as u32;
        let call = self.moment();
        self.counts.ops += 1;
        let before = self.clients[client as usize].member.replace(member);
        if before.is_some_and(|before| before != member) {
            self.marks.hit(Mark::ClientMoved);
        }
        let (arrived, answer) = (None, None);
        self.history.ops.push(Op { client, member, life, credentials, request, call, arrived, answer });
        self.clients[client as usize].waits_for = Some(op);
        self.workload.note(&self.history.ops[op as usize].request);
        let (low, high) = self.plan.cuts.way_ns;
        let way = self.draws_of("way", member as u64, self.now_ns).between(low, high);
        if self.network.reaches_clients(member) {
            self.after(way, Event::Arrive { op });
        }
        op
    }

    /// What some client asks next, and who it says it is.
    fn next_request(&mut self) -> (Request, Credentials) {
        let Some(guests) = &mut self.guests else { return (self.workload.next(), Credentials::None) };
        match guests.next_request() {
            Some(next) => next,
            None => (self.workload.next(), guests.credentials()),
        }
    }

    /// Those of whoever may do everything.
    pub(super) fn own_credentials(&self) -> Credentials {
        if self.guests.is_some() { root() } else { Credentials::None }
    }

    /// The member that a client turns to next.
    pub(super) fn choose_member(&mut self, client: u32) -> usize {
        let known = self.clients[client as usize].member;
        match (self.plan.routing, self.referee.leader(), known) {
            (Routing::Leader, Some(leader), _) => leader,
            (Routing::Sticky, _, Some(member)) => member,
            _ => {
                let serving = self.serving();
                *self.pace.pick(&serving)
            }
        }
    }

    pub(super) fn on_arrive(&mut self, op: u32) {
        let sent = &self.history.ops[op as usize];
        let m = sent.member;
        if self.machines[m].life() == Some(sent.life) {
            let (waiter, request) = (WaiterId(u64::from(op)), sent.request.clone());
            let credentials = sent.credentials.clone();
            if self.referee.is_deposed(m) {
                match &request {
                    Request::Range(range) if !range.serializable => {
                        self.marks.hit(Mark::ReadAtDeposedLeader);
                    }
                    Request::LeaseKeepAlive { .. } => self.marks.hit(Mark::KeepAliveAtDeposedLeader),
                    _ => {}
                }
            }
            self.give(m, Input::Client { waiter, credentials, request });
        }
    }

    /// Notes when a node gets to see requests: from here on they may take effect.
    pub(super) fn mark_arrivals(&mut self, inputs: &[Input]) {
        for input in inputs {
            if let Input::Client { waiter, request, .. } = input {
                if let Request::MemberPromote { id } = request {
                    self.note_promotion(*id);
                }
                let at = self.moment();
                self.history.ops[waiter.0 as usize].arrived = Some(at);
            }
        }
    }

    pub(super) fn on_impatient(&mut self, op: u32) {
        let asked = &self.history.ops[op as usize];
        let (client, m, life) = (asked.client, asked.member, asked.life);
        if self.clients[client as usize].waits_for != Some(op) {
            return;
        }
        self.record(|| What::GaveUp(op));
        if self.clients[client as usize].is_scripted {
            self.on_scripted_loss(op);
        }
        // What it asks next is another request, of another member if it can choose.
        self.clients[client as usize].waits_for = None;
        if self.plan.routing != Routing::Sticky || self.fate.chance(0.5) {
            self.clients[client as usize].member = None;
        }
        let hears = self.network.reaches_clients(m);
        if self.machines[m].life() == Some(life)
            && asked_still(&self.history.ops[op as usize])
            && hears
            && self.draws_of("abandons", m as u64, self.now_ns).chance(self.plan.abandons)
        {
            self.give(m, Input::Abandon { waiter: WaiterId(u64::from(op)) });
        }
        self.think(client);
    }

    pub(super) fn on_reply(
        &mut self,
        m: usize,
        waiter: WaiterId,
        result: Result<Response, Status>,
        applied: u64,
    ) {
        let at = self.moment();
        let life = self.machines[m].life();
        let Some(op) = self.history.ops.get(waiter.0 as usize) else {
            return self.fail("reply", format!("a reply to nobody: {waiter} {result:?}"));
        };
        if op.answer.is_some() || life != Some(op.life) {
            let what = format!("a second reply to {:?}: {result:?}", op.request);
            return self.fail("reply", what);
        }
        let client = op.client;
        self.check_service(m, waiter.0 as usize, &result);
        self.on_admin_answer(&result);
        let deleted = matches!(&result, Ok(Response::DeleteRange(delete)) if delete.deleted >= 1000);
        self.marks.hit_if(Mark::ManyKeysInOneEntry, deleted);
        let Some(op) = self.history.ops.get(waiter.0 as usize) else { return };
        let is_write = goes_through_log(&op.request);
        if result.is_ok() && !self.referee.seats[m].leads {
            match op.request {
                Request::LeaseKeepAlive { .. } => self.marks.hit(Mark::KeepAliveThroughFollower),
                _ if is_write => self.marks.hit(Mark::WriteThroughFollower),
                _ => {}
            }
        }
        if is_write && self.fate.chance(self.plan.eager_progress) {
            self.after(1, Event::Progress);
        }
        let decided = self.history.log.len() as u64;
        let answer = Answer { at, result, applied, decided };
        if answer.result.as_ref().is_err_and(|status| auth::is_refusal(*status)) {
            self.counts.denied += 1;
        }
        if let Ok(response) = &answer.result {
            self.counts.acknowledged += 1;
            self.workload.learn(answer.revision().unwrap_or(0), response);
            if let Some(guests) = &mut self.guests {
                guests.learn(response);
            }
        }
        self.mark_judgement(waiter, &answer);
        // One that gave up does not hear it; what it says was true all the same.
        let waits = self.clients[client as usize].waits_for == Some(waiter.0 as u32);
        let is_lost = waits
            && (!self.network.reaches_clients(m)
                || self.draws_of("replies", m as u64, self.now_ns).chance(self.plan.reply_lost));
        self.history.ops[waiter.0 as usize].answer = Some(answer);
        if is_lost {
            self.record(|| What::AnswerLost(waiter.0 as u32));
        }
        if waits && !is_lost {
            self.clients[client as usize].waits_for = None;
            match self.clients[client as usize].is_scripted {
                true => self.on_scripted_answer(waiter.0 as u32),
                false => self.think(client),
            }
        }
    }

    /// Marks of what became of somebody's rights.
    fn mark_judgement(&mut self, waiter: WaiterId, answer: &Answer) {
        let request = &self.history.ops[waiter.0 as usize].request;
        let mark = match (&answer.result, request) {
            (result, Request::Auth(AuthRequest::Authenticate { .. })) => match result {
                Ok(_) => Mark::LoginDone,
                Err(Status::AuthFailed) => Mark::LoginRefused,
                Err(_) => return,
            },
            (Err(Status::InvalidAuthToken), _) => Mark::TokenRefused,
            (Err(Status::AuthOldRevision), request) if goes_through_log(request) => Mark::AuthRevisionOld,
            (Err(Status::PermissionDenied), request) => match request {
                Request::Put(_) => Mark::PutDenied,
                Request::DeleteRange(_) => Mark::DeleteDenied,
                Request::Txn(_) => Mark::TxnDenied,
                Request::Range(_) => Mark::RangeDenied,
                Request::LeaseRevoke { .. }
                | Request::LeaseKeepAlive { .. }
                | Request::LeaseTimeToLive { .. }
                | Request::LeaseLeases => Mark::LeaseDenied,
                _ => Mark::AdminDenied,
            },
            _ => return,
        };
        self.marks.hit(mark);
    }

    fn think(&mut self, client: u32) {
        let pause = match self.phase {
            Phase::Storm => self.draw_pause(self.plan.think_ns),
            _ => MS,
        };
        self.after(pause, Event::Think { client });
    }

    /// Connections to a life end: nobody waits for it any more.
    pub(super) fn end_connections(&mut self, m: usize, life: usize) {
        for client in 0..self.clients.len() as u32 {
            let state = &mut self.clients[client as usize];
            let is_its = |op: &u32| self.history.ops[*op as usize].life == life;
            let Some(op) = state.waits_for.take_if(|op| is_its(op)) else { continue };
            match state.is_scripted {
                true => self.on_scripted_loss(op),
                false => self.think(client),
            }
        }
        for slot in &mut self.slots {
            slot.end(m);
        }
    }
}

fn asked_still(op: &Op) -> bool {
    op.answer.is_none()
}
