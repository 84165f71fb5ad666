//! Reads: everything that is answered from State without changing it.
//!
//! A linearizable read waits for a round that confirms leadership and for its index to be applied
//! (LIN-1, LIN-2); one round serves all reads queued before it. A leader runs rounds through raft; another
//! member asks the leader for the index. Then a read is a job at a pinned revision that runs in slices
//! between turns, so that a large one delays nobody. What only a leader knows (renewals, times to live)
//! is asked of it as it stands.

mod auth;

pub use auth::AuthQuery;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::auth::Right;
use crate::backup::{Backup, HistoryAsk, history_piece};
use crate::base::{Instant, Key, KeyRange, LeaseId, LogIndex, MemberId, WaiterId};
use crate::lease::{Deadlines, Renewal};
use crate::mvcc::HashRun;
use crate::peer::{Caller, Question};
use crate::range::{RangeRun, read_revision};
use crate::request::{Alarm, Header, Identity, RangeRequest, Response, TxnRequest};
use crate::state::State;
use crate::status::Status;
use crate::txn::ReadTxnRun;

/// Ticks after which an unanswered round is asked again under a new number.
const ROUND_RETRY_TICKS: u64 = 3;

/// Work that one job does before the next one has its turn.
const JOB_SLICE_WORK: u32 = 2_000;

/// What a read wants to know.
#[derive(Clone, Debug)]
pub enum Query {
    /// Another member's round: it wants the index alone.
    ReadIndex,
    /// The caller goes on itself when State has what a linearizable read would see.
    Barrier,
    Range(RangeRequest),
    Txn(TxnRequest),
    KeepAlive(LeaseId),
    TimeToLive {
        id: LeaseId,
        keys: bool,
    },
    Leases,
    Members,
    Alarms(Alarm),
    HashKv {
        revision: i64,
    },
    Hash,
    Backup,
    BackupHistory(HistoryAsk),
    Auth(AuthQuery),
}

/// A caller with its question.
#[derive(Clone, Debug)]
pub struct Read {
    pub caller: Caller,
    pub query: Query,
    /// Judged when the read begins, and for some again at its end.
    pub identity: Option<Identity>,
    pub deadline: Instant,
}

/// What a job sees in one turn.
pub struct Here<'a> {
    pub now: Instant,
    pub state: &'a State,
    /// An entry is half applied: attachments of leases are part-way.
    pub is_applying: bool,
}

/// Reads in all their stages.
#[derive(Default)]
pub struct Reads {
    /// Need a round.
    queued: Vec<Read>,
    /// Asked, not yet confirmed.
    rounds: VecDeque<Round>,
    /// Asked of the leader as they stand, by number.
    asked: BTreeMap<u64, Asked>,
    /// Asked of a member that does not lead: queued again with the next tick or leader. At once, two members
    /// without a leader would ask each other at the speed of the network.
    refused: Vec<Read>,
    /// Confirmed, waiting for the index to be applied.
    confirmed: VecDeque<(LogIndex, Vec<Read>)>,
    /// May run.
    jobs: VecDeque<Job>,
    /// Keep-alives of leases past their deadline whose revoke is not applied yet (LEASE-10), or whose
    /// checkpoint is not reset yet (LEASE-15).
    held: Vec<Read>,
    ticks: u64,
}

struct Round {
    number: u64,
    asked_at_tick: u64,
    reads: Vec<Read>,
}

struct Asked {
    at_tick: u64,
    read: Read,
}

struct Job {
    read: Read,
    run: Run,
    /// The state as the run found it: what the answer is of, however long it takes.
    header: Header,
    /// The auth revision at which somebody was let in.
    judged_at: Option<u64>,
}

enum Run {
    NotStarted,
    Range(Box<RangeRun>),
    Txn(Box<ReadTxnRun>),
    HashKv { run: HashRun, compact_revision: i64, revision: i64 },
    Hash { run: HashRun, compact_revision: i64 },
    Keys(Box<KeysRun>),
}

/// Keys of a lease being listed while others may attach more.
struct KeysRun {
    id: LeaseId,
    identity: Option<Identity>,
    after: Option<Key>,
    keys: Vec<Bytes>,
    ttl: i64,
    granted_ttl: i64,
}

/// What a caller is told.
#[derive(Debug)]
pub enum Told {
    Done(Result<Response, Status>),
    /// To `Query::ReadIndex`.
    Index(LogIndex),
    /// To `Query::Barrier`.
    Reached,
    /// To a member that asked what only a leader knows.
    NotLeader,
}

/// An answer, for the caller named.
pub type Answer = (Caller, Told);

impl Query {
    /// Whether only the leader can answer it.
    fn is_leaders(&self) -> bool {
        matches!(self, Query::KeepAlive(_) | Query::TimeToLive { .. })
    }
}

impl Reads {
    /// A read that must see everything acknowledged before it.
    pub fn linearizable(&mut self, read: Read) {
        self.queued.push(read);
    }

    /// A read of what is here now.
    pub fn local(&mut self, read: Read) {
        self.jobs.push_back(Job::new(read));
    }

    /// Reads in all their stages.
    pub fn count(&self) -> usize {
        let in_rounds: usize = self.rounds.iter().map(|round| round.reads.len()).sum();
        let confirmed: usize = self.confirmed.iter().map(|(_, reads)| reads.len()).sum();
        let waiting = self.queued.len() + in_rounds + self.asked.len() + self.refused.len();
        waiting + confirmed + self.jobs.len() + self.held.len()
    }

    /// Whether a round would serve anybody. Reads that come while one is under way share the next one, which
    /// begins when it is confirmed; at the latest with the next tick, since it may be lost.
    pub fn wants_round(&self) -> bool {
        !self.queued.is_empty() && !self.is_round_under_way()
    }

    fn is_round_under_way(&self) -> bool {
        self.rounds.back().is_some_and(|round| round.asked_at_tick == self.ticks)
    }

    /// Whether there is anything to ask of another member that leads.
    pub fn wants_asking(&self) -> bool {
        self.wants_round() || self.queued.iter().any(|read| read.query.is_leaders())
    }

    /// Everything queued waits for round `number`.
    pub fn on_asked(&mut self, number: u64) {
        let reads = std::mem::take(&mut self.queued);
        self.rounds.push_back(Round { number, asked_at_tick: self.ticks, reads });
    }

    /// Round `number` is confirmed at `index`; so are the rounds asked before it. A number that is not
    /// awaited any more says nothing.
    pub fn on_confirmed(&mut self, number: u64, index: LogIndex, answers: &mut Vec<Answer>) {
        if !self.rounds.iter().any(|round| round.number == number) {
            return;
        }
        while let Some(round) = self.rounds.pop_front_if(|round| round.number <= number) {
            let (rounds, reads): (Vec<_>, Vec<_>) =
                round.reads.into_iter().partition(|read| matches!(read.query, Query::ReadIndex));
            answers.extend(rounds.into_iter().map(|read| (read.caller, Told::Index(index))));
            self.confirmed.push_back((index, reads));
        }
    }

    /// What a member that does not lead asks of the leader: one round for everything that waits for an
    /// index, and each question that only a leader answers. `number` counts questions of this life.
    pub fn take_questions(&mut self, number: &mut u64, questions: &mut Vec<(u64, Question)>) {
        let (leaders, reads): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.queued).into_iter().partition(|read| read.query.is_leaders());
        for read in leaders {
            *number += 1;
            let identity = read.identity.clone();
            questions.push((
                *number,
                match read.query {
                    Query::KeepAlive(id) => Question::KeepAlive { id, identity },
                    Query::TimeToLive { id, keys } => Question::TimeToLive { id, keys, identity },
                    _ => unreachable!("partitioned above"),
                },
            ));
            self.asked.insert(*number, Asked { at_tick: self.ticks, read });
        }
        if self.is_round_under_way() {
            self.queued = reads;
        } else if !reads.is_empty() {
            *number += 1;
            questions.push((*number, Question::ReadIndex));
            self.rounds.push_back(Round { number: *number, asked_at_tick: self.ticks, reads });
        }
    }

    /// The read that question `number` stands for, if its answer is still awaited.
    pub fn take_asked(&mut self, number: u64) -> Option<Read> {
        self.asked.remove(&number).map(|asked| asked.read)
    }

    /// The one asked does not lead: question `number` is asked again later, of whoever leads then. A number
    /// that is not awaited any more says nothing.
    pub fn on_not_leader(&mut self, number: u64) {
        let asked = self.take_asked(number);
        self.refused.extend(asked);
        if let Some(place) = self.rounds.iter().position(|round| round.number == number) {
            let gone = self.rounds.drain(..=place);
            self.refused.extend(gone.flat_map(|round| round.reads));
        }
    }

    /// Another leader, or none: what was asked of the old one is asked again. Other members' questions go
    /// back to them.
    pub fn on_leader_changed(&mut self, answers: &mut Vec<Answer>) {
        self.queued.append(&mut self.refused);
        self.queued.extend(self.rounds.drain(..).flat_map(|round| round.reads));
        self.queued.extend(std::mem::take(&mut self.asked).into_values().map(|asked| asked.read));
        self.queued.retain(|read| {
            let is_ours = !matches!(read.caller, Caller::Peer { .. });
            if !is_ours {
                answers.push((read.caller, Told::NotLeader));
            }
            is_ours
        });
    }

    /// State was replaced by a later one: what runs begins again on it.
    pub fn on_state_replaced(&mut self) {
        for job in &mut self.jobs {
            job.run = Run::NotStarted;
        }
    }

    /// Asks again what was not answered in time, drops reads that waited too long.
    pub fn on_tick(&mut self, now: Instant, has_leader: bool, answers: &mut Vec<Answer>) {
        self.ticks += 1;
        self.queued.append(&mut self.refused);
        let is_late = |at_tick: u64, ticks: u64| ticks - at_tick > ROUND_RETRY_TICKS;
        while let Some(round) = self.rounds.pop_front_if(|round| is_late(round.asked_at_tick, self.ticks)) {
            self.queued.extend(round.reads);
        }
        let late = self.asked.extract_if(.., |_, asked| is_late(asked.at_tick, self.ticks));
        self.queued.extend(late.map(|(_, asked)| asked.read));
        let mut expire = |reads: &mut Vec<Read>| {
            reads.retain(|read| {
                let late = read.deadline <= now;
                if late {
                    // LEASE-8: a forwarded call names the missing leader.
                    let status = match read.query.is_leaders() && !has_leader {
                        true => Status::NoLeader,
                        false => Status::Timeout,
                    };
                    answers.push((read.caller, Told::Done(Err(status))));
                }
                !late
            });
        };
        expire(&mut self.queued);
        expire(&mut self.held);
        self.confirmed.iter_mut().for_each(|(_, reads)| expire(reads));
    }

    /// The caller has gone: a job of its own is not worth finishing.
    pub fn abandon(&mut self, waiter: WaiterId) {
        self.jobs.retain(|job| job.read.caller != Caller::Local(waiter));
    }

    /// The lowest revision that a running job reads at; compaction must not pass below it.
    pub fn pinned_revision(&self) -> Option<i64> {
        self.jobs.iter().filter_map(|job| job.run.revision()).min()
    }

    /// Whether `step` could go on at once.
    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Runs jobs in slices, round robin, until `work` is used up.
    pub fn step(
        &mut self,
        here: &Here<'_>,
        deadlines: &mut Deadlines,
        work: &mut u32,
        answers: &mut Vec<Answer>,
    ) {
        let state = here.state;
        while let Some((index, _)) = self.confirmed.front()
            && *index <= state.applied
        {
            let (_, reads) = self.confirmed.pop_front().expect("just seen");
            self.jobs.extend(reads.into_iter().map(Job::new));
        }
        if !self.held.is_empty() {
            let again = std::mem::take(&mut self.held);
            let (waiting, gone) = again.into_iter().partition(|read| match read.query {
                Query::KeepAlive(id) => state.leases.exists(id) && deadlines.is_held(id, here.now),
                _ => false,
            });
            self.held = waiting;
            self.jobs.extend(gone.into_iter().map(Job::new));
        }
        while *work > 0
            && let Some(mut job) = self.jobs.pop_front()
        {
            let slice = (*work).min(JOB_SLICE_WORK);
            let mut left = slice - 1;
            match job.step(here, deadlines, &mut left) {
                Progress::Done(result) => answers.push((job.read.caller, Told::Done(result))),
                Progress::More => self.jobs.push_back(job),
                Progress::Reached => answers.push((job.read.caller, Told::Reached)),
                Progress::Held => self.held.push(job.read),
                Progress::NotLeader => match job.read.caller {
                    // Whoever leads now is asked in its turn.
                    Caller::Local(_) | Caller::Login { .. } => self.queued.push(job.read),
                    caller @ Caller::Peer { .. } => answers.push((caller, Told::NotLeader)),
                },
            }
            *work -= slice - left;
        }
    }
}

enum Progress {
    Done(Result<Response, Status>),
    More,
    Reached,
    /// A renewal is not decided: wait for the revoke of its lease, or for the reset of a checkpoint.
    Held,
    /// Leadership was lost between the round and now.
    NotLeader,
}

impl Job {
    fn new(read: Read) -> Job {
        Job { read, run: Run::NotStarted, header: Header::default(), judged_at: None }
    }

    fn step(&mut self, here: &Here<'_>, deadlines: &mut Deadlines, work: &mut u32) -> Progress {
        let run = match &mut self.run {
            Run::NotStarted => match start(&self.read, here, deadlines) {
                Ok(run) => {
                    self.run = run;
                    self.header = here.state.header();
                    let auth = &here.state.auth;
                    let is_somebody = self.read.identity.is_some() && self.read.query.is_judged_again();
                    self.judged_at = is_somebody.then(|| auth.revision());
                    &mut self.run
                }
                Err(progress) => return progress,
            },
            run => run,
        };
        let Some(result) = run.step(here, self.header, work) else { return Progress::More };
        let is_old = self.judged_at.is_some_and(|judged_at| judged_at != here.state.auth.revision());
        Progress::Done(if is_old { Err(Status::AuthOldRevision) } else { result })
    }
}

/// LEASE-12: by time left on the leader, ascending by id elsewhere. Leases that a new leader has not given
/// a deadline yet come last.
fn lease_ids(state: &State, deadlines: &Deadlines) -> Vec<LeaseId> {
    let mut ids: Vec<LeaseId> = deadlines.ids().filter(|id| state.leases.exists(*id)).collect();
    if ids.len() < state.leases.len() {
        let known: BTreeSet<LeaseId> = ids.iter().copied().collect();
        ids.extend(state.leases.ids().filter(|id| !known.contains(id)));
    }
    ids
}

/// A run for a question that may be large, or the answer at once.
fn start(read: &Read, here: &Here<'_>, deadlines: &mut Deadlines) -> Result<Run, Progress> {
    let (query, now, state) = (&read.query, here.now, here.state);
    let header = state.header();
    let done = |response| Err(Progress::Done(Ok(response)));
    if query.is_leaders() && !deadlines.is_primary() {
        return Err(Progress::NotLeader);
    }
    if here.is_applying && state.auth.is_enabled() && query.reads_lease_keys() {
        return Err(Progress::More);
    }
    auth::check(query, read.identity.as_ref(), here).map_err(|status| Progress::Done(Err(status)))?;
    match query {
        Query::ReadIndex => unreachable!("answered with the round"),
        Query::Barrier => Err(Progress::Reached),
        Query::Auth(query) => {
            let asker = state.auth.asker(read.identity.as_ref());
            Err(Progress::Done(auth::answer(query, asker, state, header)))
        }
        Query::Range(range) => {
            let revision = revision_of(range.revision, state)?;
            Ok(Run::Range(Box::new(RangeRun::new(range, revision))))
        }
        Query::Txn(txn) => Ok(Run::Txn(Box::new(ReadTxnRun::new(txn.clone(), &state.kv)))),
        Query::KeepAlive(id) => match deadlines.renew(*id, now, &state.leases) {
            Renewal::Ok(ttl) => done(Response::LeaseKeepAlive { header, id: *id, ttl }),
            Renewal::Unknown => done(Response::LeaseKeepAlive { header, id: *id, ttl: 0 }),
            Renewal::Expiring | Renewal::Resetting => Err(Progress::Held),
        },
        Query::TimeToLive { id, keys } => {
            let Some(granted_ttl) = state.leases.ttl(*id) else {
                let none =
                    Response::LeaseTimeToLive { header, id: *id, ttl: -1, granted_ttl: 0, keys: vec![] };
                return done(none);
            };
            let ttl = deadlines.remaining_s(*id, now, &state.leases).unwrap_or(granted_ttl);
            if *keys {
                let identity = read.identity.clone();
                let keys = KeysRun { id: *id, identity, after: None, keys: Vec::new(), ttl, granted_ttl };
                return Ok(Run::Keys(Box::new(keys)));
            }
            done(Response::LeaseTimeToLive { header, id: *id, ttl, granted_ttl, keys: vec![] })
        }
        Query::Leases => done(Response::LeaseLeases { header, ids: lease_ids(state, deadlines) }),
        Query::Members => {
            let header = state.membership_header();
            done(Response::MemberList { header, members: state.members.iter().cloned().collect() })
        }
        Query::Alarms(kind) => {
            let asked = |alarm: &Alarm| *kind == Alarm::None || alarm == kind;
            let alarms = state.alarms.iter().filter(|(_, alarm)| asked(alarm));
            let alarms: Vec<(MemberId, Alarm)> = alarms.copied().collect();
            done(Response::AlarmList { header, alarms })
        }
        Query::HashKv { revision } => {
            // HASH-1: only a positive revision is judged; 0 is "now".
            let hash_revision = revision_of((*revision).max(0), state)?;
            let compact_revision = state.kv.compact_revision();
            let run = HashRun::new(hash_revision, compact_revision);
            Ok(Run::HashKv { run, compact_revision, revision: hash_revision })
        }
        Query::Backup => done(Response::Backup { header, backup: Box::new(Backup::of(state)) }),
        Query::BackupHistory(ask) => {
            Err(Progress::Done(history_piece(&state.kv, ask).map(Response::BackupHistory)))
        }
        Query::Hash => {
            let compact_revision = state.kv.compact_revision();
            Ok(Run::Hash { run: HashRun::new(state.kv.revision(), compact_revision), compact_revision })
        }
    }
}

fn revision_of(asked: i64, state: &State) -> Result<i64, Progress> {
    let (current, compacted) = (state.kv.revision(), state.kv.compact_revision());
    read_revision(asked, current, compacted).map_err(|status| Progress::Done(Err(status)))
}

impl Run {
    fn revision(&self) -> Option<i64> {
        match self {
            Run::Range(run) => Some(run.revision()),
            Run::Txn(run) => Some(run.oldest_revision()),
            // A hash counts what a compaction at its compact revision leaves: no later one may begin.
            Run::HashKv { compact_revision, .. } | Run::Hash { compact_revision, .. } => {
                Some(*compact_revision)
            }
            Run::NotStarted | Run::Keys(_) => None,
        }
    }

    fn step(&mut self, here: &Here<'_>, header: Header, work: &mut u32) -> Option<Result<Response, Status>> {
        let state = here.state;
        match self {
            Run::NotStarted => unreachable!("started by the job"),
            Run::Range(run) => {
                let mut response = run.step(&state.kv, work)?;
                response.header = header;
                Some(Ok(Response::Range(response)))
            }
            Run::Txn(run) => Some(run.step(&state.kv, work)?.map(|mut response| {
                response.header = header;
                Response::Txn(response)
            })),
            Run::HashKv { run, compact_revision, revision } => {
                let hash = run.step(&state.kv, work)?;
                let (compact_revision, hash_revision) = (*compact_revision, *revision);
                Some(Ok(Response::HashKv { header, hash, compact_revision, hash_revision }))
            }
            Run::Hash { run, .. } => Some(Ok(Response::Hash { header, hash: run.step(&state.kv, work)? })),
            Run::Keys(run) => run.step(here, header, work),
        }
    }
}

impl KeysRun {
    /// Each key is judged as it is listed: one that came meanwhile may be another user's.
    fn step(&mut self, here: &Here<'_>, header: Header, work: &mut u32) -> Option<Result<Response, Status>> {
        let auth = &here.state.auth;
        while *work > 0 && !here.is_applying {
            *work -= 1;
            let Some(key) = here.state.leases.key_after(self.id, self.after.as_ref()) else {
                let KeysRun { id, ttl, granted_ttl, .. } = *self;
                let keys = std::mem::take(&mut self.keys);
                return Some(Ok(Response::LeaseTimeToLive { header, id, ttl, granted_ttl, keys }));
            };
            let shown = Bytes::copy_from_slice(key);
            self.after = Some(key.clone());
            let asker = auth.asker(self.identity.as_ref());
            if let Err(status) = auth.check(asker, &KeyRange::single(shown.clone()), Right::Read) {
                return Some(Err(status));
            }
            self.keys.push(shown);
        }
        None
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
