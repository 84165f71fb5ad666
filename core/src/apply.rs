//! Apply: committed entries, in log order, become State; the only writer of it.
//!
//! A function of State and entry alone, spread over turns when an entry touches many keys: what it
//! writes becomes visible when it ends. A crash in between is nothing, since State is memory.
//!
//! Source: etcd 3.7.1 `server/etcdserver/apply/`; order of the checks: WR-0 (9) to (15).

use std::collections::VecDeque;

use crate::auth::{Asker, AuthEvent};
use crate::base::{LeaseId, LogIndex, MemberId, Term};
use crate::codec::DecodeError;
use crate::command::{Action, AuthChange, Command, CommandHeader, LeaseLeft, RequestId};
use crate::conf::ConfCommand;
use crate::permit;
use crate::raft::{Committed, Payload};
use crate::request::{Alarm, AuthAnswer, Request, Response, Secret};
use crate::state::{STATE_IS_NEWER, State};
use crate::status::Status;
use crate::txn::{RevokeRun, TxnRun, has_put};

/// An entry whose effects are all in State.
#[derive(Debug)]
pub struct Applied {
    pub index: LogIndex,
    pub term: Term,
    /// Who waits for `result`, if anybody does.
    pub id: RequestId,
    pub result: Option<Result<Response, Status>>,
    pub change: Change,
}

/// What beside State itself a member has to act on.
#[derive(Debug, PartialEq)]
pub enum Change {
    None,
    /// A leader's first entry of its term.
    TermStarted,
    Conf(Box<ConfCommand>),
    Granted {
        id: LeaseId,
        ttl: i64,
    },
    Revoked {
        id: LeaseId,
    },
    /// Seconds left as the log now has them.
    Checkpointed {
        items: Vec<LeaseLeft>,
    },
    Published {
        member: MemberId,
    },
    /// State is of this version.
    Version(u32),
    /// What tokens there are has changed.
    Auth(AuthEvent),
}

/// An entry that this binary must not skip and cannot carry out: the member halts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub index: LogIndex,
    pub why: &'static str,
}

/// Applies entries one by one; holds the one that is not finished.
pub struct Applier {
    /// Newest version of State that this program knows. No entry is applied in another way for it.
    version_max: u32,
    current: Option<Current>,
}

struct Current {
    index: LogIndex,
    term: Term,
    id: RequestId,
    run: Run,
}

#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is nearly always a write")]
enum Run {
    Write(TxnRun),
    Revoke(LeaseId, RevokeRun),
}

impl Applier {
    /// Of a program that knows State up to this version.
    pub fn new(version_max: u32) -> Applier {
        Applier { version_max, current: None }
    }

    /// Forgets an entry that is half done: State is replaced.
    pub fn reset(&mut self) {
        self.current = None;
    }

    /// Whether an entry is half done: its revision is open.
    pub fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    /// Works on the entry at hand or the next of `queue`; `None` when work or entries ran out.
    pub fn step(
        &mut self,
        state: &mut State,
        queue: &mut VecDeque<Committed>,
        work: &mut u32,
    ) -> Result<Option<Applied>, Unreadable> {
        if self.current.is_none() {
            if *work == 0 {
                return Ok(None);
            }
            *work -= 1;
            let Some(entry) = queue.pop_front() else { return Ok(None) };
            assert_eq!(entry.index.0, state.applied.0 + 1, "entries are applied in log order");
            if let Some(applied) = self.start(state, entry)? {
                return Ok(Some(finish(state, applied)));
            }
        }
        let current = self.current.as_mut().expect("started above");
        let done = match &mut current.run {
            Run::Write(run) => run.step(&mut state.kv, &mut state.leases, work).map(|r| (r, Change::None)),
            Run::Revoke(lease, run) => {
                let lease = *lease;
                run.step(&mut state.kv, &mut state.leases, work).map(|_| {
                    state.leases.remove(lease);
                    (Ok(Response::LeaseRevoke { header: Default::default() }), Change::Revoked { id: lease })
                })
            }
        };
        let Some((result, change)) = done else { return Ok(None) };
        let Current { index, term, id, .. } = self.current.take().expect("in use above");
        Ok(Some(finish(state, Applied { index, term, id, result: Some(result), change })))
    }

    /// Carries out a small entry, or makes a large one current.
    fn start(&mut self, state: &mut State, entry: Committed) -> Result<Option<Applied>, Unreadable> {
        let Committed { index, term, payload } = entry;
        let unreadable = |error: DecodeError| Unreadable { index, why: error.0 };
        let without_answer =
            |change| Some(Applied { index, term, id: RequestId::default(), result: None, change });
        let command = match payload {
            Payload::Empty => return Ok(without_answer(Change::TermStarted)),
            Payload::Conf(bytes) => {
                let command = ConfCommand::decode(bytes).map_err(unreadable)?;
                return Ok(Some(apply_conf(state, index, term, command)));
            }
            Payload::Command(bytes) => Command::decode(bytes).map_err(unreadable)?,
        };
        if let Action::StateVersionSet { version } = command.action
            && version > self.version_max
        {
            return Err(Unreadable { index, why: STATE_IS_NEWER });
        }
        let id = command.header.id;
        if !state.seen.admit(id) {
            return Ok(without_answer(Change::None));
        }
        if let Err(status) = check_alarms(state, &command.action)
            .and_then(|()| check_permission(state, &command.header, &command.action))
        {
            return Ok(Some(Applied { index, term, id, result: Some(Err(status)), change: Change::None }));
        }
        let run = match command.action {
            Action::Put(put) => Run::Write(TxnRun::put(put)),
            Action::DeleteRange(delete) => Run::Write(TxnRun::delete_range(delete)),
            Action::Txn(txn) => Run::Write(TxnRun::txn(txn)),
            Action::LeaseRevoke { id: lease } if state.leases.exists(lease) => {
                Run::Revoke(lease, RevokeRun::new(lease))
            }
            // Entries of a term begin with its leader's first one: a later term in the log has a later leader,
            // whose leases these are.
            Action::LeaseExpire { id: lease, granted, term: of }
                if of == term && state.leases.granted(lease) == Some(granted) =>
            {
                Run::Revoke(lease, RevokeRun::new(lease))
            }
            Action::LeaseCheckpoint { term: of, items } => {
                let change = apply_checkpoint(state, of == term, items);
                return Ok(Some(Applied { index, term, id, result: None, change }));
            }
            small => {
                let (result, change) = apply_small(state, index, small);
                return Ok(Some(Applied { index, term, id, result: Some(result), change }));
            }
        };
        self.current = Some(Current { index, term, id, run });
        Ok(None)
    }
}

/// Moves the applied index and completes the answer's header.
fn finish(state: &mut State, mut applied: Applied) -> Applied {
    state.applied = applied.index;
    state.applied_term = applied.term;
    if let Some(Ok(response)) = &mut applied.result {
        let header = match &applied.change {
            Change::Conf(_) => state.membership_header(),
            _ => state.header(),
        };
        let slot = response.header_mut().expect("every answer of apply has a header");
        *slot = header;
    }
    applied
}

/// WR-0 (9) and (10); COR-1, QUO-4.
fn check_alarms(state: &State, action: &Action) -> Result<(), Status> {
    let (grows, writes) = match action {
        Action::Put(_) | Action::LeaseGrant { .. } => (true, true),
        Action::Txn(txn) => (has_put(txn), true),
        Action::DeleteRange(_)
        | Action::Compact { .. }
        | Action::LeaseRevoke { .. }
        | Action::LeaseExpire { .. } => (false, true),
        // etcd lets it pass all alarms, and who renews must be answered.
        Action::LeaseCheckpoint { .. } => (false, false),
        Action::Alarm { .. } | Action::Publish { .. } | Action::StateVersionSet { .. } => (false, false),
        Action::Auth(_) | Action::Authenticate { .. } => (false, false),
    };
    if writes && state.has_alarm(Alarm::Corrupt) {
        return Err(Status::Corrupt);
    }
    if grows && state.has_alarm(Alarm::NoSpace) {
        return Err(Status::NoSpace);
    }
    Ok(())
}

/// WR-0 (11) and (12).
fn check_permission(state: &State, header: &CommandHeader, action: &Action) -> Result<(), Status> {
    let asker = Asker { user: &header.user, auth_revision: header.auth_revision };
    permit::check_action(&state.auth, &state.leases, asker, action)
}

fn apply_small(state: &mut State, index: LogIndex, action: Action) -> (Result<Response, Status>, Change) {
    let header = Default::default();
    match action {
        Action::Compact { revision } => (apply_compact(state, revision), Change::None),
        Action::LeaseGrant { id, ttl } => match state.leases.grant(id, ttl, index) {
            Ok(()) => (Ok(Response::LeaseGrant { header, id, ttl }), Change::Granted { id, ttl }),
            Err(status) => (Err(status), Change::None),
        },
        Action::LeaseRevoke { .. } | Action::LeaseExpire { .. } => (Err(Status::LeaseNotFound), Change::None),
        Action::Alarm { activate, member, alarm } => {
            let touched = match (activate, alarm) {
                (_, Alarm::None) => false,
                (true, alarm) => {
                    state.alarms.insert((member, alarm));
                    true
                }
                (false, alarm) => state.alarms.remove(&(member, alarm)),
            };
            let alarms = touched.then_some((member, alarm)).into_iter().collect();
            (Ok(Response::AlarmList { header, alarms }), Change::None)
        }
        Action::Publish { member, name, client_urls } => {
            state.members.publish(member, name, client_urls);
            (Ok(Response::MemberList { header, members: Vec::new() }), Change::Published { member })
        }
        Action::StateVersionSet { version } => {
            let is_raised = version > state.version;
            state.version = state.version.max(version);
            let change = if is_raised { Change::Version(version) } else { Change::None };
            (Ok(Response::MemberList { header, members: Vec::new() }), change)
        }
        Action::Auth(change) => apply_auth(state, change),
        Action::Authenticate { user, token_prefix } => {
            let token = Secret([&token_prefix.0[..], format!(".{index}").as_bytes()].concat().into());
            let answer = AuthAnswer::Token { token: token.clone(), auth_revision: state.auth.revision() };
            (Ok(Response::Auth { header, answer }), Change::Auth(AuthEvent::Login { user, token }))
        }
        Action::LeaseCheckpoint { .. } => unreachable!("it has no answer"),
        Action::Put(_) | Action::DeleteRange(_) | Action::Txn(_) => unreachable!("these run over turns"),
    }
}

fn apply_auth(state: &mut State, change: AuthChange) -> (Result<Response, Status>, Change) {
    match state.auth.apply(change) {
        Ok(event) => {
            let response = Response::Auth { header: Default::default(), answer: AuthAnswer::Done };
            (Ok(response), Change::Auth(event))
        }
        Err(status) => (Err(status), Change::None),
    }
}

/// LEASE-15. Leases that are gone, or granted anew, are passed over.
fn apply_checkpoint(state: &mut State, is_of_this_term: bool, mut items: Vec<LeaseLeft>) -> Change {
    if !is_of_this_term {
        return Change::None;
    }
    items.retain(|item| state.leases.granted(item.id) == Some(item.granted));
    for item in &items {
        state.leases.checkpoint(item.id, item.left_s);
    }
    Change::Checkpointed { items }
}

/// CMP-3: future first, then compacted.
fn apply_compact(state: &mut State, revision: i64) -> Result<Response, Status> {
    if revision > state.kv.revision() {
        return Err(Status::FutureRev);
    }
    if revision <= state.kv.compact_revision() {
        return Err(Status::Compacted);
    }
    state.kv.compact(revision);
    Ok(Response::Compact { header: Default::default() })
}

/// A refused change changes nothing, here or in raft; so does a repeat.
fn apply_conf(state: &mut State, index: LogIndex, term: Term, command: ConfCommand) -> Applied {
    let id = command.header.id;
    let applied = |result, change| Applied { index, term, id, result, change };
    if !command.is_bootstrap() && !state.seen.admit(id) {
        return applied(None, Change::None);
    }
    let permitted = permit::check_named_admin(&state.auth, &command.header.user);
    if let Err(status) = permitted.and_then(|()| command.check(&state.members)) {
        return applied(Some(Err(status)), Change::None);
    }
    command.apply(&mut state.members);
    let response = command.response(&state.members);
    applied(Some(Ok(response)), Change::Conf(Box::new(command)))
}

/// The action of a request that goes through the log as it stands.
pub fn action_of(request: Request) -> Option<Action> {
    Some(match request {
        Request::Put(put) => Action::Put(put),
        Request::DeleteRange(delete) => Action::DeleteRange(delete),
        Request::Txn(txn) => Action::Txn(txn),
        Request::Compact(compact) => Action::Compact { revision: compact.revision },
        Request::LeaseGrant(grant) => Action::LeaseGrant { id: grant.id, ttl: grant.ttl },
        Request::LeaseRevoke { id } => Action::LeaseRevoke { id },
        Request::AlarmSet { activate, member, alarm } => Action::Alarm { activate, member, alarm },
        _ => return None,
    })
}
