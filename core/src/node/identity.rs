//! Who asks: tokens, logins and hashes under way, and callers whose token is of an entry not applied here yet.

use std::collections::BTreeMap;

use super::{Asked, Node};
use crate::admit::Admitted;
use crate::auth::{AuthEvent, Tokens, token_index, token_prefix};
use crate::base::{Instant, LogIndex, StreamId, WaiterId};
use crate::boundary::{Effect, Input, StreamOp, WatchCreate};
use crate::command::{Action, AuthChange};
use crate::peer::Caller;
use crate::permit;
use crate::read::{Query, Read, Told};
use crate::request::{Credentials, Identity, RangeRequest, Response, Secret};
use crate::status::Status;

/// What a member keeps of who its callers are. Volatile.
pub(super) struct Identities {
    tokens: Tokens,
    /// Logins in entries up to here were told in an earlier life: their tokens are lost (AUTH-12).
    tokens_from: LogIndex,
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    /// Whose a stream is, if its client said so.
    streams: BTreeMap<StreamId, Credentials>,
    jobs: BTreeMap<u64, Job>,
    next_job: u64,
}

/// An input that came with a token of an entry that is not applied here yet, or behind such a one on its stream.
struct Waiting {
    index: LogIndex,
    deadline: Instant,
    input: Input,
}

/// What waits for a password to be hashed or checked.
enum Job {
    Login(Login),
    Change { waiter: WaiterId, identity: Option<Identity>, change: AuthChange },
}

struct Login {
    waiter: WaiterId,
    name: String,
    password: Secret,
    /// The auth revision whose password was looked at.
    checked_revision: u64,
}

impl Identities {
    pub fn new(token_ttl_ns: u64, tokens_from: LogIndex) -> Identities {
        Identities {
            tokens: Tokens::new(token_ttl_ns),
            tokens_from,
            waiting: Vec::new(),
            streams: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
        }
    }

    /// What an applied entry does to tokens.
    pub fn on_event(&mut self, event: AuthEvent, index: LogIndex, now: Instant) {
        match event {
            AuthEvent::None => {}
            AuthEvent::UserRevoked(user) => self.tokens.revoke(&user),
            AuthEvent::Disabled => self.tokens.clear(),
            AuthEvent::Login { user, token } if index > self.tokens_from => {
                self.tokens.assign(token, user, now);
            }
            AuthEvent::Login { .. } => {}
        }
    }

    /// State was replaced: which tokens became void on the way is not known.
    pub fn on_state_replaced(&mut self) {
        self.tokens.clear();
    }

    fn add_job(&mut self, job: Job) -> u64 {
        self.next_job += 1;
        self.jobs.insert(self.next_job, job);
        self.next_job
    }
}

impl Node {
    /// Who the bearer of credentials is by what is known here. `None`: nobody, or auth is off.
    /// Errors: `InvalidAuthToken` (AUTH-14).
    pub(super) fn identify(
        &mut self,
        now: Instant,
        credentials: &Credentials,
    ) -> Result<Option<Identity>, Status> {
        if !self.state.auth.is_enabled() {
            return Ok(None);
        }
        let of = |user: &str, auth_revision| Some(Identity { user: user.to_owned(), auth_revision });
        Ok(match credentials {
            Credentials::None => None,
            Credentials::Certificate(name) => of(name, None),
            Credentials::Signed { user, auth_revision } => of(user, Some(*auth_revision)),
            Credentials::Token(token) => {
                let user = self.identities.tokens.user_of(token, now).ok_or(Status::InvalidAuthToken)?;
                of(user, None)
            }
        })
    }

    /// The entry that has to be applied before credentials can be judged.
    fn awaited(&self, credentials: &Credentials) -> Option<LogIndex> {
        match credentials {
            Credentials::Token(token) if self.state.auth.is_enabled() => {
                token_index(token).filter(|index| *index > self.state.applied)
            }
            _ => None,
        }
    }

    /// Puts an input aside whose bearer cannot be known yet; gives it back if it can.
    pub(super) fn wait_for_token(&mut self, now: Instant, input: Input) -> Option<Input> {
        let waits_with = |waiting: &Waiting, stream: StreamId| match &waiting.input {
            Input::Stream { stream: other, .. } => *other == stream,
            _ => false,
        };
        let index = match &input {
            Input::Client { credentials, .. } => self.awaited(credentials),
            Input::Stream { op: StreamOp::Close, stream } => {
                self.identities.waiting.retain(|waiting| !waits_with(waiting, *stream));
                None
            }
            Input::Stream { op: StreamOp::Create(_), stream } => {
                let credentials = self.identities.streams.get(stream);
                credentials.and_then(|credentials| self.awaited(credentials))
            }
            _ => None,
        };
        // Operations of one stream keep their order.
        let behind = match &input {
            Input::Stream { stream, .. } => {
                let before = self.identities.waiting.iter().rev();
                before.clone().find(|waiting| waits_with(waiting, *stream)).map(|waiting| waiting.index)
            }
            _ => None,
        };
        let Some(index) = index.max(behind) else { return Some(input) };
        let deadline = now.plus_ns(self.config.request_timeout_ns());
        self.identities.waiting.push(Waiting { index, deadline, input });
        None
    }

    /// Goes on with inputs whose entry is applied, or whose patience is over: their token is refused then.
    pub(super) fn take_known(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let applied = self.state.applied;
        let is_ready = |waiting: &Waiting| waiting.index <= applied || waiting.deadline <= now;
        if !self.identities.waiting.iter().any(is_ready) {
            return;
        }
        let (ready, waiting) = std::mem::take(&mut self.identities.waiting).into_iter().partition(is_ready);
        self.identities.waiting = waiting;
        for Waiting { input, .. } in ready {
            match input {
                Input::Client { waiter, credentials, request } => {
                    self.on_client(now, waiter, &credentials, request, effects);
                }
                Input::Stream { stream, op } => self.on_stream(now, stream, op),
                _ => unreachable!("only requests and streams have credentials"),
            }
        }
    }

    /// A watch stream speaks.
    pub(super) fn on_stream(&mut self, now: Instant, stream: StreamId, op: StreamOp) {
        let term = self.state.applied_term.0;
        match &op {
            StreamOp::Open { credentials } => {
                self.identities.streams.insert(stream, credentials.clone());
                return;
            }
            StreamOp::Close => {
                self.identities.streams.remove(&stream);
            }
            StreamOp::Create(create) => {
                if let Err(status) = self.check_watch(now, stream, create) {
                    return self.watch.refuse(stream, create, status, &self.state.kv, term);
                }
            }
            StreamOp::Cancel { .. } | StreamOp::Progress | StreamOp::Credit { .. } => {}
        }
        self.watch.on_op(stream, op, now, &self.state.kv, term);
    }

    /// The right to read the whole range, once: what is watched stays watched whatever happens to the right
    /// (etcd 3.7.1 `server/etcdserver/api/v3rpc/watch.go`, isWatchPermitted).
    fn check_watch(&mut self, now: Instant, stream: StreamId, create: &WatchCreate) -> Result<(), Status> {
        let credentials = self.identities.streams.get(&stream).cloned().unwrap_or_default();
        let identity = self.identify(now, &credentials)?;
        let key = match create.key.is_empty() {
            // The smallest key there can be, as for the watch itself.
            true => bytes::Bytes::from_static(&[0]),
            false => create.key.clone(),
        };
        let range = RangeRequest { key, range_end: create.range_end.clone(), ..RangeRequest::default() };
        let auth = &self.state.auth;
        permit::check_range(auth, auth.asker(identity.as_ref()), &range)
    }

    /// Begins what needs a password looked at.
    pub(super) fn on_password(
        &mut self,
        now: Instant,
        waiter: WaiterId,
        identity: Option<Identity>,
        admitted: Admitted,
        effects: &mut Vec<Effect>,
    ) {
        match admitted {
            Admitted::HashPassword { password, change } => {
                let job = self.identities.add_job(Job::Change { waiter, identity, change });
                effects.push(Effect::HashPassword { job, password });
            }
            Admitted::Login { name, password } => {
                let login = Login { waiter, name, password, checked_revision: 0 };
                let job = self.identities.add_job(Job::Login(login));
                let deadline = now.plus_ns(self.config.request_timeout_ns());
                let caller = Caller::Login { job };
                self.reads.linearizable(Read { caller, query: Query::Barrier, identity: None, deadline });
            }
            other => unreachable!("{other:?} has no password"),
        }
    }

    pub(super) fn on_password_hashed(
        &mut self,
        now: Instant,
        job: u64,
        hash: Secret,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Job::Change { waiter, identity, mut change }) = self.identities.jobs.remove(&job) else {
            unreachable!("a hash that nobody asked for")
        };
        match &mut change {
            AuthChange::UserAdd { password_hash, .. }
            | AuthChange::UserChangePassword { password_hash, .. } => {
                *password_hash = hash;
            }
            other => unreachable!("{other:?} has no password"),
        }
        let asked = Asked { action: Action::Auth(change), identity, physical: false };
        self.propose_for_client(now, Caller::Local(waiter), asked, effects);
    }

    pub(super) fn on_password_checked(
        &mut self,
        now: Instant,
        job: u64,
        fits: bool,
        entropy: u128,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Job::Login(login)) = self.identities.jobs.get(&job) else {
            unreachable!("a check that nobody asked for")
        };
        if !fits {
            return self.end_login(job, Err(Status::AuthFailed), effects);
        }
        let identity = Identity { user: String::new(), auth_revision: Some(login.checked_revision) };
        let (user, token_prefix) = (login.name.clone(), token_prefix(entropy));
        let action = Action::Authenticate { user, token_prefix };
        let asked = Asked { action, identity: Some(identity), physical: false };
        self.propose_for_client(now, Caller::Login { job }, asked, effects);
    }

    /// How a step of a login ended. One whose revision was overtaken by a change looks at the password again:
    /// it may be another one now (etcd 3.7.1 `server/etcdserver/v3_server.go`, Authenticate).
    pub(super) fn on_login_told(&mut self, job: u64, told: Told, effects: &mut Vec<Effect>) {
        match told {
            Told::Reached | Told::Done(Err(Status::AuthOldRevision)) => self.check_password(job, effects),
            Told::Done(result) => self.end_login(job, result, effects),
            Told::Index(_) | Told::NotLeader => unreachable!("answers to other members only"),
        }
    }

    fn check_password(&mut self, job: u64, effects: &mut Vec<Effect>) {
        let Some(Job::Login(login)) = self.identities.jobs.get_mut(&job) else {
            unreachable!("a login lasts until its answer")
        };
        login.checked_revision = self.state.auth.revision();
        match self.state.auth.password_hash(&login.name) {
            Ok(hash) => {
                let (password, hash) = (login.password.clone(), hash.clone());
                effects.push(Effect::CheckPassword { job, password, hash });
            }
            Err(status) => self.end_login(job, Err(status), effects),
        }
    }

    fn end_login(&mut self, job: u64, result: Result<Response, Status>, effects: &mut Vec<Effect>) {
        let Some(Job::Login(Login { waiter, .. })) = self.identities.jobs.remove(&job) else {
            unreachable!("a login lasts until its answer")
        };
        effects.push(Effect::Reply { waiter, result });
    }

    /// A tick: tokens that nobody used for long are gone.
    pub(super) fn expire_tokens(&mut self, now: Instant) {
        self.identities.tokens.expire(now);
    }
}
