//! Scripts: their steps are taken one after the other while the storm lasts.
//!
//! A step waits for a time, for something to hold, or for the answer to the one before. Conditions are
//! looked at after every event, so that a step meets the very moment at which its condition comes true.

use std::collections::BTreeMap;

use holdfast_core::base::MemberId;
use holdfast_core::boundary::StreamOp;
use holdfast_core::request::{AuthAnswer, Credentials, Request, Response, Secret};

use super::event::Event;
use super::explicit::Wanted;
use super::machine::Ambush;
use super::seizure::Side;
use super::{Phase, World};
use crate::check::matching::is_unknown;
use crate::history::revision_of;
use crate::plan::step::{
    Action, Ask, By, Condition, Down, Expect, Facts, Group, MailFilter, Seizure, Step, When, Who,
};
use crate::record::Class;
use holdfast_core::status::Status;

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
enum Named {
    Member(usize),
    Cut(u32),
    Mail(usize),
    /// Index into `History::ops`; `None`: nobody took it.
    Op(Option<u32>),
    Slot(u32),
}

/// What the next step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// The event that is due.
    Time,
    Condition,
    /// What comes of this request.
    Outcome(u32),
    Nothing,
}

/// What came of a request that a step made.
#[derive(Debug)]
enum Outcome {
    Answered,
    /// The client gave up, or its connection broke.
    Unknown,
    NoConnection,
}

/// A script that is being performed.
#[derive(Debug)]
pub struct Script {
    steps: Vec<Step>,
    next: usize,
    waits: Waits,
    names: BTreeMap<String, Named>,
    /// Steps whose request nobody has judged yet, by request.
    asked: BTreeMap<u32, usize>,
    /// The storm would be over but for the script.
    storm_is_over: bool,
}

impl Script {
    pub fn new(steps: Vec<Step>) -> Script {
        let waits = if steps.is_empty() { Waits::Nothing } else { Waits::Time };
        Script { steps, next: 0, waits, names: BTreeMap::new(), asked: BTreeMap::new(), storm_is_over: false }
    }

    pub fn is_done(&self) -> bool {
        self.next == self.steps.len() && self.asked.is_empty()
    }

    pub fn waits_for_condition(&self) -> bool {
        self.waits == Waits::Condition
    }
}

impl World {
    /// Whether the storm may end; if not, it ends with the script.
    pub(super) fn script_lets_go(&mut self) -> bool {
        self.script.storm_is_over = true;
        self.script.is_done()
    }

    /// Prepares the next step.
    pub(super) fn begin_step(&mut self) {
        if self.failed.is_some() || self.phase != Phase::Storm {
            return;
        }
        let Some(step) = self.script.steps.get(self.script.next) else {
            self.script.waits = Waits::Nothing;
            return self.end_script();
        };
        if step.action.is_ahead() {
            return self.take_step();
        }
        let number = self.script.next as u32;
        let (waits, at_ns) = match &step.when {
            When::After(pause_ns) => (Waits::Time, self.now_ns + pause_ns),
            When::At(at_ns) => (Waits::Time, self.now_ns.max(*at_ns)),
            When::Once { within_ns, .. } => (Waits::Condition, self.now_ns + within_ns),
        };
        self.script.waits = waits;
        self.at(at_ns, Event::Step { number });
        self.check_condition();
    }

    /// The moment of a step has come, or the time for its condition has passed.
    pub(super) fn on_step(&mut self, number: u32) {
        if self.script.next != number as usize || self.phase != Phase::Storm {
            return;
        }
        match self.script.waits {
            Waits::Time => self.take_step(),
            Waits::Condition => {
                let step = &self.script.steps[self.script.next];
                let (line, when, seats) = (step.line, &step.when, &self.referee.seats);
                self.fail("no_progress", format!("line {line}: not in time: {when:?}; seats {seats:?}"));
            }
            Waits::Outcome(_) | Waits::Nothing => {}
        }
    }

    /// Takes the next step if what it waits for holds.
    pub(super) fn check_condition(&mut self) {
        if !self.script.waits_for_condition() || self.phase != Phase::Storm {
            return;
        }
        let step = &self.script.steps[self.script.next];
        let When::Once { condition, .. } = &step.when else { return };
        if self.holds(condition) {
            self.take_step();
        }
    }

    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Leader => self.referee.leader().is_some(),
            Condition::Leads(who) => self.referee.leader().is_some_and(|m| self.member(who) == Ok(m)),
            Condition::NoLeader => self.referee.leader().is_none(),
            Condition::LeaderOtherThan(group) => {
                let others = self.members_of(group, &[]).unwrap_or_default();
                self.referee.leader().is_some_and(|leader| !others.contains(&leader))
            }
            Condition::CaughtUp(group) => {
                let decided = self.history.log.len() as u64;
                let mut members = self.members_of(group, &[]).unwrap_or_default().into_iter();
                members
                    .all(|m| self.machines[m].process.is_none() || self.referee.seats[m].applied == decided)
            }
            Condition::Answered(name) => match self.script.names.get(name) {
                Some(Named::Op(Some(op))) => self.history.ops[*op as usize].answer.is_some(),
                _ => false,
            },
            Condition::SnapshotAt(who) => self.member(who).is_ok_and(|m| self.referee.seats[m].snapshots > 0),
            Condition::Mail { name, count } => match self.script.names.get(name) {
                Some(Named::Mail(number)) => self.network.seized(*number) >= *count,
                _ => false,
            },
        }
    }

    fn take_step(&mut self) {
        let number = self.script.next;
        let step = self.script.steps[number].clone();
        self.script.next += 1;
        self.script.waits = Waits::Nothing;
        self.trace.fold(number as u64);
        self.tell(None, Class::Step, || format!("step of line {}: {:?}", step.line, step.action));
        match self.perform_step(number, &step) {
            Ok(named) => {
                if let (Some(name), Some(named)) = (step.name, named) {
                    self.script.names.insert(name, named);
                }
            }
            Err(why) => return self.fail("script", format!("line {}: {why}", step.line)),
        }
        if self.script.waits == Waits::Nothing {
            self.begin_step();
        }
    }

    /// Does what a step says. Errors: a name or role that stands for nobody at this moment.
    fn perform_step(&mut self, number: usize, step: &Step) -> Result<Option<Named>, String> {
        match &step.action {
            Action::Wait => {}
            Action::Member(who) => return Ok(Some(Named::Member(self.member(who)?))),
            Action::CutLinks(links) => {
                return Ok(Some(Named::Cut(self.begin_cut(links.clone(), Vec::new()))));
            }
            Action::Cut { from, to, both } => return self.cut_groups(from, to, *both).map(Some),
            Action::CutClients(group) => {
                let clients = self.members_of(group, &[])?;
                return Ok(Some(Named::Cut(self.begin_cut(Vec::new(), clients))));
            }
            Action::Heal(name) => self.heal(name.as_deref())?,
            Action::Crash { members, power, down } => self.crash_group(members, *power, *down)?,
            Action::CrashBehind { member, what, aim, skip, power } => {
                let m = self.member(member)?;
                let ambush = Ambush { what: *what, aim: *aim, skip: *skip, power: *power };
                self.machines[m].ambushes.push(ambush);
            }
            Action::Start(members) => self.each(members, World::start_machine)?,
            Action::Pause { members, lasts_ns } => {
                self.each(members, |world, m| world.pause(m, *lasts_ns))?;
            }
            Action::Suspend { members, lasts_ns } => {
                self.each(members, |world, m| world.suspend(m, *lasts_ns))?;
            }
            Action::Wipe { member, returns_ns } => {
                let m = self.member(member)?;
                self.wipe_for(m, *returns_ns)?;
            }
            Action::ChangeRelease { member, state_version } => {
                self.change_release(self.member(member)?, *state_version);
            }
            Action::StrikeDisk { member, aim, strike } => {
                let m = self.member(member)?;
                self.machines[m].disk.strike(*aim, *strike);
            }
            Action::Flip { member, file, offset, bit } => {
                let m = self.member(member)?;
                self.flip_bit(m, file, *offset, *bit);
            }
            Action::Rot { member, part } => {
                self.rot(self.member(member)?, *part)?;
            }
            Action::Clog { from, to, lasts_ns } => {
                let (from, to) = (self.member(from)?, self.member(to)?);
                self.clog(from, to, *lasts_ns);
            }
            Action::Seize { seizure, filter } => return self.seize(*seizure, filter).map(Some),
            Action::Release { name, count, times } => self.release(name, *count, *times)?,
            Action::Clock { member, rate } => {
                self.set_clock_rate(self.member(member)?, *rate);
            }
            Action::Ask { to, ask } => {
                let (m, credentials) = (self.member(to)?, self.credentials_of(&ask.by)?);
                return Ok(Some(Named::Op(self.ask(number, m, credentials, ask)?)));
            }
            Action::Open { to, by, op, reads } => {
                let (m, credentials) = (self.member(to)?, self.credentials_of(by)?);
                let known = step.name.as_ref().and_then(|name| self.script.names.get(name));
                let slot = match known {
                    Some(Named::Slot(slot)) => Some(*slot),
                    _ => None,
                };
                return Ok(self.open_scripted(slot, m, (credentials, op), *reads).or(slot).map(Named::Slot));
            }
            Action::Stream { name, op } => self.speak(name, op)?,
        }
        Ok(None)
    }

    fn each(&mut self, members: &Group, mut then: impl FnMut(&mut World, usize)) -> Result<(), String> {
        self.members_of(members, &[])?.into_iter().for_each(|m| then(self, m));
        Ok(())
    }

    fn seize(&mut self, seizure: Seizure, filter: &MailFilter) -> Result<Named, String> {
        let MailFilter { kind, from, to, count } = filter;
        let (from, to) = self.sides(from.as_ref(), to.as_ref())?;
        let group = |members: &Side| {
            members.as_ref().map(|members| Group::Of(members.iter().map(|m| Who::Number(*m)).collect()))
        };
        let sides = (group(&from), group(&to));
        let number = self.network.seize(seizure, *kind, (from, to), *count);
        let (from, to) = sides;
        let filter = MailFilter { kind: *kind, from, to, count: *count };
        self.note_deed(Some(format!("mail{number}")), Action::Seize { seizure, filter });
        Ok(Named::Mail(number))
    }

    /// Senders and receivers of mail, as far as they are named.
    fn sides(&self, from: Option<&Group>, to: Option<&Group>) -> Result<(Side, Side), String> {
        let named = |group: Option<&Group>, others: &[usize]| {
            group.map(|group| self.members_of(group, others)).transpose()
        };
        match from {
            Some(Group::Rest) => {
                let to = named(to, &[])?;
                Ok((named(from, to.as_deref().unwrap_or_default())?, to))
            }
            _ => {
                let from = named(from, &[])?;
                let to = named(to, from.as_deref().unwrap_or_default())?;
                Ok((from, to))
            }
        }
    }

    fn release(&mut self, name: &str, count: u64, times: u64) -> Result<(), String> {
        let Some(Named::Mail(number)) = self.script.names.get(name) else {
            return Err(format!("`{name}` is no mail"));
        };
        let number = *number;
        self.note_deed(None, Action::Release { name: format!("mail{number}"), count, times });
        self.release_mail(number, count, times);
        Ok(())
    }

    fn crash_group(&mut self, members: &Group, power: bool, down: Down) -> Result<(), String> {
        let numbers = self.members_of(members, &[])?;
        let members = match members {
            Group::All => Group::All,
            _ => Group::Of(numbers.iter().map(|m| Who::Number(*m)).collect()),
        };
        if members == Group::All && power {
            self.note_blackout();
        }
        self.note_deed(None, Action::Crash { members: members.clone(), power, down });
        for m in numbers {
            // As when all lose power by chance: whoever is leaving is given the time.
            if members != Group::All || !self.is_leaving(m) {
                self.crash_for(m, power, down);
            }
        }
        Ok(())
    }

    /// The client of a stream says something on it. A connection that broke takes the stream with it: nobody
    /// hears then.
    fn speak(&mut self, name: &str, op: &StreamOp) -> Result<(), String> {
        match self.script.names.get(name) {
            Some(Named::Slot(slot)) => {
                let slot = *slot;
                if self.slots[slot as usize].is_open() {
                    self.send_op(slot, op.clone());
                }
                Ok(())
            }
            _ => Err(format!("`{name}` is no stream")),
        }
    }

    /// The member that is meant at this moment.
    fn member(&self, who: &Who) -> Result<usize, String> {
        match who {
            Who::Number(m) => Ok(*m),
            Who::Leader => self.referee.leader().ok_or_else(|| "nobody leads".to_owned()),
            Who::OldLeader => self.referee.old_leader().ok_or_else(|| "nobody led before".to_owned()),
            Who::Follower => (0..self.machines.len())
                .find(|m| self.machines[*m].process.is_some() && !self.referee.seats[*m].leads)
                .ok_or_else(|| "nobody follows".to_owned()),
            Who::Named(name) => match self.script.names.get(name) {
                Some(Named::Member(m)) => Ok(*m),
                _ => Err(format!("`{name}` is no member")),
            },
        }
    }

    /// Who somebody is at this moment. Errors: a name that stands for no request.
    fn credentials_of(&self, by: &By) -> Result<Credentials, String> {
        let name = match by {
            By::Root => return Ok(self.own_credentials()),
            By::Is(credentials) => return Ok(credentials.clone()),
            By::TokenOf(name) => name,
        };
        let Some(Named::Op(op)) = self.script.names.get(name) else {
            return Err(format!("`{name}` is no request"));
        };
        let answer = op.and_then(|op| self.history.ops[op as usize].answer.as_ref());
        Ok(Credentials::Token(match answer.map(|answer| &answer.result) {
            Some(Ok(Response::Auth { answer: AuthAnswer::Token { token, .. }, .. })) => token.clone(),
            _ => Secret::new("of a login that came to nothing"),
        }))
    }

    fn members_of(&self, group: &Group, others: &[usize]) -> Result<Vec<usize>, String> {
        let all = 0..self.machines.len();
        match group {
            Group::Of(members) => {
                let mut members =
                    members.iter().map(|who| self.member(who)).collect::<Result<Vec<_>, _>>()?;
                members.sort_unstable();
                members.dedup();
                Ok(members)
            }
            Group::All => Ok(all.collect()),
            Group::Rest => Ok(all.filter(|m| !others.contains(m)).collect()),
        }
    }

    fn cut_groups(&mut self, from: &Group, to: &Group, both: bool) -> Result<Named, String> {
        let (from, to) = match from {
            Group::Rest => {
                let to = self.members_of(to, &[])?;
                (self.members_of(from, &to)?, to)
            }
            _ => {
                let from = self.members_of(from, &[])?;
                let to = self.members_of(to, &from)?;
                (from, to)
            }
        };
        let pairs = from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b);
        let mut links: Vec<(usize, usize)> = pairs.collect();
        if both {
            let back: Vec<_> =
                links.iter().map(|(a, b)| (*b, *a)).filter(|link| !links.contains(link)).collect();
            links.extend(back);
        }
        Ok(Named::Cut(self.begin_cut(links, Vec::new())))
    }

    fn heal(&mut self, name: Option<&str>) -> Result<(), String> {
        match name.map(|name| (name, self.script.names.get(name))) {
            None => {
                self.heal_cuts();
                self.network.end_seizures();
                self.note_deed(None, Action::Heal(None));
            }
            Some((_, Some(Named::Cut(cut)))) => self.end_cut(*cut),
            Some((_, Some(Named::Mail(seizure)))) => {
                let number = *seizure;
                self.network.end_seizure(number);
                self.note_deed(None, Action::Heal(Some(format!("mail{number}"))));
            }
            Some((name, _)) => return Err(format!("`{name}` is no cut and no mail")),
        }
        Ok(())
    }

    /// A client of its own asks; the request's number, if somebody was there to take it. Errors: a name or role
    /// that stands for nobody.
    fn ask(
        &mut self,
        step: usize,
        m: usize,
        credentials: Credentials,
        ask: &Ask,
    ) -> Result<Option<u32>, String> {
        let subject = ask.subject.as_ref().map(|who| self.member(who)).transpose()?;
        let request = about(ask.request.clone(), subject.map(|m| self.ids[m]));
        let Some(life) = self.machines[m].life() else {
            self.judge(step, None, &Outcome::NoConnection);
            return Ok(None);
        };
        let client = self.add_scripted_client();
        let op = self.send_request(client, m, life, (request, credentials));
        self.after(ask.patience_ns, Event::Impatient { op });
        if ask.waits || ask.expect != Expect::Anything {
            self.script.asked.insert(op, step);
        }
        let wanted = Wanted { expect: ask.expect.clone(), patience_ns: ask.patience_ns };
        self.deeds.wanted.insert(op, wanted);
        if ask.waits {
            self.script.waits = Waits::Outcome(op);
        }
        Ok(Some(op))
    }

    /// A request of a step was answered and its client heard it.
    pub(super) fn on_scripted_answer(&mut self, op: u32) {
        self.conclude(op, &Outcome::Answered);
    }

    /// The client of a step's request gave up or lost its connection.
    pub(super) fn on_scripted_loss(&mut self, op: u32) {
        self.conclude(op, &Outcome::Unknown);
    }

    fn conclude(&mut self, op: u32, outcome: &Outcome) {
        let Some(step) = self.script.asked.remove(&op) else { return };
        self.judge(step, Some(op), outcome);
        if self.script.waits == Waits::Outcome(op) {
            self.script.waits = Waits::Nothing;
            let number = self.script.next as u32;
            // The next step is not taken in the middle of a turn.
            self.at(self.now_ns, Event::NextStep { number });
        } else if self.script.next == self.script.steps.len() {
            self.end_script();
        }
    }

    pub(super) fn on_next_step(&mut self, number: u32) {
        if self.script.next == number as usize && self.script.waits == Waits::Nothing {
            self.begin_step();
        }
    }

    /// The last step is done and judged; a storm that is over ends.
    fn end_script(&mut self) {
        if self.script.is_done() && self.script.storm_is_over {
            self.at(self.now_ns, Event::Calm);
        }
    }

    fn judge(&mut self, step: usize, op: Option<u32>, outcome: &Outcome) {
        let Action::Ask { ask, .. } = &self.script.steps[step].action else { return };
        let answer = match outcome {
            Outcome::Answered => op.and_then(|op| self.history.ops[op as usize].answer.as_ref()),
            _ => None,
        };
        let judged = match (outcome, answer) {
            (Outcome::NoConnection, _) => Judged::NoConnection,
            (_, Some(answer)) => Judged::Answer(&answer.result),
            (_, None) => Judged::Unknown,
        };
        if !meets(&ask.expect, judged) {
            let line = self.script.steps[step].line;
            let came = answer.map_or_else(|| format!("{outcome:?}"), |answer| format!("{:?}", answer.result));
            let what = format!("line {line}: {:?} came to {came}, not to {:?}", ask.request, ask.expect);
            self.fail("expect", what);
        }
    }
}

/// What a step hears of its request.
#[derive(Clone, Copy, Debug)]
pub enum Judged<'a> {
    Answer(&'a Result<Response, Status>),
    /// The client gave up, or the way broke.
    Unknown,
    NoConnection,
}

/// Whether that is what the step expects.
pub fn meets(expect: &Expect, judged: Judged<'_>) -> bool {
    match (expect, judged) {
        (Expect::Anything, _)
        | (Expect::Unknown, Judged::Unknown)
        | (Expect::NoConnection, Judged::NoConnection) => true,
        (Expect::Ok(facts), Judged::Answer(Ok(response))) => {
            let revision = revision_of(response);
            facts.revision.is_none_or(|wanted| revision == Some(wanted)) && agrees(facts, response)
        }
        (Expect::Unknown, Judged::Answer(Err(status))) => is_unknown(*status),
        (Expect::Refused(wanted), Judged::Answer(Err(status))) => wanted == status,
        _ => false,
    }
}

/// The request with the id of its subject.
pub fn about(mut request: Request, subject: Option<MemberId>) -> Request {
    let Some(subject) = subject else { return request };
    match &mut request {
        Request::MemberRemove { id }
        | Request::MemberPromote { id }
        | Request::MemberUpdate { id, .. }
        | Request::MoveLeader { target: id }
        | Request::AlarmSet { member: id, .. } => *id = subject,
        _ => {}
    }
    request
}

/// Whether an answer says what it must.
fn agrees(facts: &Facts, response: &Response) -> bool {
    let Facts { value, count, succeeded, ttl, .. } = facts;
    match response {
        Response::Range(range) => {
            let first = range.kvs.first().map(|kv| &kv.value);
            value.as_ref().is_none_or(|value| first == Some(value))
                && count.is_none_or(|count| count == range.count)
        }
        Response::MemberList { members, .. }
        | Response::MemberAdd { members, .. }
        | Response::MemberRemove { members, .. }
        | Response::MemberUpdate { members, .. }
        | Response::MemberPromote { members, .. } => count.is_none_or(|count| count == members.len() as i64),
        Response::DeleteRange(delete) => count.is_none_or(|count| count == delete.deleted),
        Response::Txn(txn) => succeeded.is_none_or(|succeeded| succeeded == txn.succeeded),
        Response::LeaseKeepAlive { ttl: told, .. }
        | Response::LeaseGrant { ttl: told, .. }
        | Response::LeaseTimeToLive { ttl: told, .. } => ttl.is_none_or(|ttl| ttl == *told),
        _ => *facts == Facts { revision: facts.revision, ..Facts::default() },
    }
}
