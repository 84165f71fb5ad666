//! The model of the whole database: a fold over the log, with every earlier position still readable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use holdfast_core::base::{KeyRange, LeaseId, MemberId};
use holdfast_core::command::LeaseLeft;
use holdfast_core::request::{
    Alarm, AuthAnswer, AuthRequest, CompactRequest, Header, LeaseGrantRequest, RangeRequest, Request,
    RequestOp, Response, Secret, TxnRequest,
};
use holdfast_core::status::Status;

use super::auth::{Accounts, By};
use super::expect::Expected;
use super::members::{Change, Roster};
use super::store::Store;
use super::{range, txn};

/// What one log entry asks for, in the model's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decree {
    /// An entry that clients cannot see: a new term, an alarm that goes.
    Nothing,
    /// A change of the membership.
    Member(Change),
    /// A member says its name and where its clients reach it.
    Publish { member: MemberId, name: String, client_urls: Vec<String> },
    /// A write of a client. A grant has its id and effective TTL filled in; a change of auth is what was asked,
    /// with the word behind a password's hash.
    Request(Request),
    /// A login whose password was right at the entry's auth revision.
    Login { user: String, token_prefix: Secret },
    /// The lease of entry `granted` ran out by the clock of the leader of `term`: void in an entry of another
    /// term, and if the lease is gone.
    Expire { id: LeaseId, granted: u64, term: u64 },
    /// What leases have left by the clock of the leader of `term`: clients cannot see it.
    Checkpoint { term: u64, items: Vec<LeaseLeft> },
    /// The leader compacts of its own accord.
    AutoCompaction { revision: i64 },
    /// A member is out of space.
    NoSpace(MemberId),
}

/// The state after a prefix of the log, as far as it is not in the store's history.
#[derive(Clone, Copy, Debug)]
struct Mark {
    revision: i64,
    compact: i64,
    term: u64,
}

/// A lease from the entry that granted it to the one that took it away.
#[derive(Clone, Copy, Debug)]
struct LeaseLife {
    from: usize,
    until: usize,
    ttl: i64,
}

/// A token from the entry that gave it to the one that made it void.
#[derive(Clone, Debug)]
pub struct TokenLife {
    token: Secret,
    pub user: String,
    pub from: usize,
    pub until: usize,
}

/// The database after each prefix of the log. A *position* is the number of entries folded.
#[derive(Clone, Debug)]
pub struct Model {
    pub store: Store,
    marks: Vec<Mark>,
    leases: BTreeMap<LeaseId, Vec<LeaseLife>>,
    /// Users and roles, each with the position from which they are so.
    accounts: Vec<(usize, Accounts)>,
    tokens: Vec<TokenLife>,
    /// The membership from each position on at which it became another one.
    rosters: Vec<(usize, Roster)>,
    /// The alarms, the same way.
    alarms: Vec<(usize, Alarms)>,
}

/// Who raised what.
pub type Alarms = BTreeSet<(MemberId, Alarm)>;

impl Default for Model {
    fn default() -> Model {
        let start = Mark { revision: 1, compact: -1, term: 0 };
        Model {
            store: Store::default(),
            marks: vec![start],
            leases: BTreeMap::new(),
            accounts: vec![(0, Accounts::default())],
            tokens: Vec::new(),
            rosters: vec![(0, Roster::default())],
            alarms: vec![(0, Alarms::default())],
        }
    }
}

impl Model {
    /// Entries folded so far.
    pub fn position(&self) -> usize {
        self.marks.len() - 1
    }

    /// Folds the next entry, which is nobody's.
    pub fn apply(&mut self, term: u64, decree: &Decree) -> Option<Expected> {
        self.apply_by(term, &By::default(), decree)
    }

    /// Folds the next entry; what its proposer must be told. Nothing is told for entries of no client.
    pub fn apply_by(&mut self, term: u64, by: &By, decree: &Decree) -> Option<Expected> {
        let mut mark = *self.marks.last().expect("there is a mark for the empty prefix");
        mark.term = term;
        let position = self.marks.len();
        let expected = match decree {
            Decree::Nothing | Decree::Checkpoint { .. } => None,
            Decree::Member(change) => Some(self.change_members(by, change, position, term)),
            Decree::Publish { member, name, client_urls } => {
                let mut roster = self.at(position - 1).roster().clone();
                roster.publish(*member, name, client_urls);
                self.rosters.push((position, roster));
                None
            }
            Decree::NoSpace(member) => {
                let mut alarms = self.at(position - 1).alarms().clone();
                alarms.insert((*member, Alarm::NoSpace));
                self.alarms.push((position, alarms));
                None
            }
            Decree::Expire { id, granted, term: of } => {
                let found = self.at(position - 1).lease_granted_at(*id);
                if *of == term && found == Some(*granted as usize) {
                    self.revoke(*id, position);
                }
                None
            }
            Decree::AutoCompaction { revision } => {
                let compact = CompactRequest { revision: *revision, physical: false };
                self.apply_request(by, &Request::Compact(compact), position, &mut mark);
                None
            }
            Decree::Request(request) => Some(self.apply_request(by, request, position, &mut mark)),
            Decree::Login { user, token_prefix } => Some(self.login(by, user, token_prefix, position)),
        };
        self.store.finish();
        mark.revision = self.store.revision();
        self.marks.push(mark);
        let header = Header { revision: mark.revision, raft_term: term };
        expected.map(|expected| with_header(expected, header))
    }

    fn change_members(&mut self, by: &By, change: &Change, position: usize, term: u64) -> Expected {
        if let Some(status) = self.accounts_at(position - 1).member_refusal(by) {
            return Expected::refusal(status);
        }
        let mut roster = self.at(position - 1).roster().clone();
        match roster.change(change) {
            Err(status) => Expected::refusal(status),
            Ok(()) => {
                let answer = roster.answer(change, term);
                self.rosters.push((position, roster));
                Expected::answer(answer)
            }
        }
    }

    fn apply_request(&mut self, by: &By, request: &Request, position: usize, mark: &mut Mark) -> Expected {
        let is_full = self.at(position - 1).alarms().iter().any(|(_, alarm)| *alarm == Alarm::NoSpace);
        if is_full && needs_space(request) {
            return Expected::refusal(Status::NoSpace);
        }
        if let Some(status) = self.at(position - 1).refusal(by, request) {
            return Expected::refusal(status);
        }
        let header = Header::default();
        let result = match request {
            Request::Put(put) => {
                let checked = {
                    let view = self.at(position - 1);
                    view.with_ground(|ground| txn::check_put(&self.store, ground, put, &[]))
                };
                checked.map(|()| Response::Put(txn::put(&mut self.store, put)))
            }
            Request::DeleteRange(delete) => Ok(Response::DeleteRange(txn::delete(&mut self.store, delete))),
            Request::Txn(request) => return self.apply_txn(request, position),
            Request::Compact(CompactRequest { revision, .. }) => {
                if *revision <= mark.compact {
                    Err(Status::Compacted)
                } else if *revision > mark.revision {
                    Err(Status::FutureRev)
                } else {
                    mark.compact = *revision;
                    Ok(Response::Compact { header })
                }
            }
            Request::LeaseGrant(LeaseGrantRequest { id, ttl }) => {
                let lives = self.leases.entry(*id).or_default();
                if lives.last().is_some_and(|life| life.until == usize::MAX) {
                    Err(Status::LeaseExist)
                } else {
                    lives.push(LeaseLife { from: position, until: usize::MAX, ttl: *ttl });
                    Ok(Response::LeaseGrant { header, id: *id, ttl: *ttl })
                }
            }
            Request::LeaseRevoke { id } => match self.revoke(*id, position) {
                true => Ok(Response::LeaseRevoke { header }),
                false => Err(Status::LeaseNotFound),
            },
            Request::Auth(change) => self.change_accounts(change, position),
            Request::AlarmSet { activate: false, member, alarm } => {
                let mut alarms = self.at(position - 1).alarms().clone();
                let was_there = alarms.remove(&(*member, *alarm));
                self.alarms.push((position, alarms));
                let gone = was_there.then_some((*member, *alarm));
                Ok(Response::AlarmList { header, alarms: gone.into_iter().collect() })
            }
            other => unreachable!("{other:?} does not go through the log"),
        };
        Expected { result, pools: Vec::new() }
    }

    fn apply_txn(&mut self, request: &TxnRequest, position: usize) -> Expected {
        let path = txn::Path::choose(&self.store, self.store.revision(), request);
        let checked = {
            let view = self.at(position - 1);
            view.with_ground(|ground| txn::precheck(&self.store, ground, &path, &mut Vec::new()))
        };
        if let Err(status) = checked {
            return Expected::refusal(status);
        }
        let mut pools = Vec::new();
        let response = txn::execute(&mut self.store, &path, &mut pools);
        Expected { result: Ok(Response::Txn(response)), pools }
    }

    fn change_accounts(&mut self, change: &AuthRequest, position: usize) -> Result<Response, Status> {
        let mut accounts = self.accounts_at(position).clone();
        accounts.change(change)?;
        let was_on = self.accounts_at(position).is_on;
        let is_void = |life: &TokenLife| match change {
            AuthRequest::UserDelete { name } | AuthRequest::UserChangePassword { name, .. } => {
                life.user == *name
            }
            AuthRequest::Disable => was_on,
            _ => false,
        };
        for life in self.tokens.iter_mut().filter(|life| life.until == usize::MAX) {
            if is_void(life) {
                life.until = position;
            }
        }
        self.accounts.push((position, accounts));
        Ok(Response::Auth { header: Header::default(), answer: AuthAnswer::Done })
    }

    fn login(&mut self, by: &By, user: &str, token_prefix: &Secret, position: usize) -> Expected {
        if let Some(status) = self.accounts_at(position).token_refusal(user, by.auth_revision) {
            return Expected::refusal(status);
        }
        let token = Secret([&token_prefix.0[..], format!(".{position}").as_bytes()].concat().into());
        let life =
            TokenLife { token: token.clone(), user: user.to_owned(), from: position, until: usize::MAX };
        self.tokens.push(life);
        let answer = AuthAnswer::Token { token, auth_revision: self.accounts_at(position).revision };
        Expected::answer(Response::Auth { header: Header::default(), answer })
    }

    /// Users and roles after `position` entries.
    pub fn accounts_at(&self, position: usize) -> &Accounts {
        let end = self.accounts.partition_point(|(from, _)| *from <= position);
        &self.accounts[end - 1].1
    }

    /// What became of a token; `None`: nobody was ever given it.
    pub fn token(&self, token: &Secret) -> Option<&TokenLife> {
        self.tokens.iter().find(|life| life.token == *token)
    }

    /// Takes a lease away with all its keys (LEASE-6); false if there is none.
    fn revoke(&mut self, id: LeaseId, position: usize) -> bool {
        let Some(life) = self.leases.get_mut(&id).and_then(|lives| lives.last_mut()) else { return false };
        if life.until != usize::MAX {
            return false;
        }
        life.until = position;
        for key in keys_of_lease(&self.store, self.store.revision(), id) {
            self.store.delete(&KeyRange::single(key));
        }
        true
    }

    /// Takes the last entry back.
    pub fn undo(&mut self) {
        let position = self.position();
        assert!(position > 0, "only an entry can be taken back");
        let gone = self.marks.pop().expect("there is a mark for each entry");
        if self.store.revision() > self.marks[position - 1].revision {
            self.store.undo();
        }
        assert!(self.store.revision() >= gone.revision - 1, "an entry makes one revision");
        self.accounts.retain(|(from, _)| *from < position);
        self.tokens.retain(|life| life.from < position);
        for life in self.tokens.iter_mut().filter(|life| life.until == position) {
            life.until = usize::MAX;
        }
        self.rosters.pop_if(|(from, _)| *from == position);
        self.alarms.pop_if(|(from, _)| *from == position);
        for lives in self.leases.values_mut() {
            if lives.last().is_some_and(|life| life.from == position) {
                lives.pop();
            } else if let Some(life) = lives.last_mut().filter(|life| life.until == position) {
                life.until = usize::MAX;
            }
        }
    }

    /// The database as it is now.
    pub fn now(&self) -> View<'_> {
        self.at(self.position())
    }

    /// The database after `position` entries.
    pub fn at(&self, position: usize) -> View<'_> {
        View { model: self, position, mark: self.marks[position] }
    }

    /// The positions of the grants of all leases of this id that were there at some position of a span.
    pub fn grants_within(&self, id: LeaseId, span: RangeInclusive<usize>) -> impl Iterator<Item = usize> {
        let lives = self.leases.get(&id).map_or(&[][..], |lives| &lives[..]);
        let was_there = move |life: &&LeaseLife| life.from <= *span.end() && *span.start() < life.until;
        lives.iter().filter(was_there).map(|life| life.from)
    }

    /// The memberships at the positions of a span, one after the other.
    pub fn rosters_within(&self, span: RangeInclusive<usize>) -> impl Iterator<Item = &Roster> {
        let first = self.rosters.partition_point(|(from, _)| from <= span.start()) - 1;
        let end = self.rosters.partition_point(|(from, _)| from <= span.end());
        self.rosters[first..end].iter().map(|(_, roster)| roster)
    }

    /// First and last position at which the store was at `revision`; `None` if it never was.
    pub fn positions_of(&self, revision: i64) -> Option<(usize, usize)> {
        let first = self.marks.partition_point(|mark| mark.revision < revision);
        let end = self.marks.partition_point(|mark| mark.revision <= revision);
        (first < end).then(|| (first, end - 1))
    }

    /// The first position from `from` on at which more than `revision` was compacted away.
    pub fn compacted_above(&self, revision: i64, from: usize) -> usize {
        from + self.marks[from..].partition_point(|mark| mark.compact <= revision)
    }
}

/// The database at one position.
#[derive(Clone, Copy)]
pub struct View<'a> {
    model: &'a Model,
    pub position: usize,
    mark: Mark,
}

impl View<'_> {
    pub fn revision(&self) -> i64 {
        self.mark.revision
    }

    pub fn compact_revision(&self) -> i64 {
        self.mark.compact
    }

    /// Whether any compaction so far was at just this revision.
    pub fn was_compacted_at(&self, revision: i64) -> bool {
        let marks = &self.model.marks[..=self.position];
        let first = marks.partition_point(|mark| mark.compact < revision);
        marks.get(first).is_some_and(|mark| mark.compact == revision)
    }

    pub fn header(&self) -> Header {
        Header { revision: self.mark.revision, raft_term: self.mark.term }
    }

    /// The membership here.
    pub fn roster(&self) -> &Roster {
        let rosters = &self.model.rosters;
        let end = rosters.partition_point(|(from, _)| *from <= self.position);
        &rosters[end - 1].1
    }

    /// The alarms as they are here.
    pub fn alarms(&self) -> &Alarms {
        let alarms = &self.model.alarms;
        let end = alarms.partition_point(|(from, _)| *from <= self.position);
        &alarms[end - 1].1
    }

    /// Users and roles as they are here.
    pub fn accounts(&self) -> &Accounts {
        self.model.accounts_at(self.position)
    }

    /// What a request of somebody is refused with here for want of rights.
    pub fn refusal(&self, by: &By, request: &Request) -> Option<Status> {
        let accounts = self.accounts();
        let keys_of = |id: LeaseId| self.keys_of_lease(id);
        let refused = accounts.refusal(by, request, &keys_of);
        let leases = match request {
            // It shows all leases: those whose keys one may not read, too.
            Request::LeaseLeases if accounts.is_on && refused.is_none() => self.leases(),
            _ => Vec::new(),
        };
        refused.or_else(|| {
            let of_lease = |id| accounts.refusal(by, &Request::LeaseTimeToLive { id, keys: true }, &keys_of);
            leases.into_iter().find_map(of_lease)
        })
    }

    /// TTL of a lease; `None` if there is no such lease.
    pub fn lease(&self, id: LeaseId) -> Option<i64> {
        self.lease_life(id).map(|life| life.ttl)
    }

    /// The position at which the lease that is here was granted.
    pub fn lease_granted_at(&self, id: LeaseId) -> Option<usize> {
        self.lease_life(id).map(|life| life.from)
    }

    fn lease_life(&self, id: LeaseId) -> Option<&LeaseLife> {
        let lives = self.model.leases.get(&id)?;
        lives.iter().find(|life| life.from <= self.position && self.position < life.until)
    }

    pub fn leases(&self) -> Vec<LeaseId> {
        self.model.leases.keys().copied().filter(|id| self.lease(*id).is_some()).collect()
    }

    /// Keys that hang on a lease, ascending.
    pub fn keys_of_lease(&self, id: LeaseId) -> Vec<bytes::Bytes> {
        match self.lease(id) {
            Some(_) => keys_of_lease(&self.model.store, self.mark.revision, id),
            None => Vec::new(),
        }
    }

    fn with_ground<T>(&self, run: impl FnOnce(&txn::Ground) -> T) -> T {
        let has_lease = |id: LeaseId| self.lease(id).is_some();
        run(&txn::Ground { compact: self.mark.compact, has_lease: &has_lease, revision: self.mark.revision })
    }

    /// What a range must be answered with here.
    pub fn range(&self, request: &RangeRequest) -> Expected {
        if let Err(status) = self.with_ground(|ground| txn::check_revision(ground, request.revision)) {
            return Expected::refusal(status);
        }
        let at = if request.revision > 0 { request.revision } else { self.mark.revision };
        let (response, pool) = range::evaluate(&self.model.store, request, at);
        let result = Ok(Response::Range(range::with_header(response, self.header())));
        Expected { result, pools: vec![pool] }
    }

    /// What a read-only transaction must be answered with here.
    pub fn read_txn(&self, request: &TxnRequest) -> Expected {
        let store = &self.model.store;
        let path = txn::Path::choose(store, self.mark.revision, request);
        let checked = self.with_ground(|ground| txn::precheck(store, ground, &path, &mut Vec::new()));
        if let Err(status) = checked {
            return Expected::refusal(status);
        }
        let mut pools = Vec::new();
        let response = txn::execute_reads(store, &path, self.mark.revision, &mut pools);
        with_header(Expected { result: Ok(Response::Txn(response)), pools }, self.header())
    }
}

/// Whether a transaction changes nothing whatever happens: every op of both branches is a range (TXN-12).
pub fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, RequestOp::Range(_)))
}

fn keys_of_lease(store: &Store, revision: i64, id: LeaseId) -> Vec<bytes::Bytes> {
    let all = KeyRange::all();
    let keys = store.live(&all, revision).filter(|kv| kv.lease == id);
    keys.map(|kv| bytes::Bytes::copy_from_slice(&kv.key)).collect()
}

/// What the NOSPACE alarm refuses (QUO-4): puts in either branch count.
fn needs_space(request: &Request) -> bool {
    fn puts(ops: &[RequestOp]) -> bool {
        ops.iter().any(|op| match op {
            RequestOp::Put(_) => true,
            RequestOp::Txn(child) => puts(&child.success) || puts(&child.failure),
            _ => false,
        })
    }
    match request {
        Request::Put(_) | Request::LeaseGrant(_) => true,
        Request::Txn(txn) => puts(&txn.success) || puts(&txn.failure),
        _ => false,
    }
}

/// The outermost header is the state after the entry (REV-9).
fn with_header(mut expected: Expected, after: Header) -> Expected {
    if let Ok(response) = &mut expected.result {
        match response {
            Response::Put(put) => put.header = after,
            Response::DeleteRange(delete) => delete.header = after,
            Response::Txn(txn) => txn.header = after,
            Response::Compact { header }
            | Response::LeaseGrant { header, .. }
            | Response::LeaseRevoke { header }
            | Response::AlarmList { header, .. }
            | Response::Auth { header, .. } => *header = after,
            // Answers about the membership name no revision.
            Response::MemberAdd { .. }
            | Response::MemberRemove { .. }
            | Response::MemberUpdate { .. }
            | Response::MemberPromote { .. } => {}
            other => unreachable!("{other:?} is no answer to a write"),
        }
    }
    expected
}
