//! The checkers against each other: on small histories, true and corrupted, the log-directed checks, the
//! black-box checker and the brute-force search must agree.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_core::base::{LeaseId, MemberId, WatchId};
use holdfast_core::boundary::{Event, StreamOp, WatchCreate, WatchResponse};
use holdfast_core::command::RequestId;
use holdfast_core::raft::Payload;
use holdfast_core::request::{
    CompactRequest, Compare, CompareResult, CompareTarget, CompareUnion, DeleteRangeRequest,
    LeaseGrantRequest, PutRequest, RangeRequest, Request, RequestOp, Response, TxnRequest,
};
use holdfast_core::status::Status;
use holdfast_sim::blackbox::brute::is_explained;
use holdfast_sim::blackbox::history::ClientHistory;
use holdfast_sim::blackbox::{self, Verdict};
use holdfast_sim::check;
use holdfast_sim::check::matching::goes_through_log;
use holdfast_sim::history::{Answer, History, Life, LogEntry, Moment, Op, Passed, Stream, Terms};
use holdfast_sim::oracle::model::{Decree, Model};
use holdfast_sim::rng::{Rng, derive};

/// True histories; each is also corrupted in every way.
const HISTORIES: u64 = 3000;
/// Where histories are derived from; `HOLDFAST_SIM_BASE` names another.
fn base() -> u64 {
    std::env::var("HOLDFAST_SIM_BASE").map_or(31, |text| text.parse().expect("a number"))
}

const CALLS: (u64, u64) = (4, 9);
const SECOND_NS: u64 = 1_000_000_000;
/// Moments are so far apart, so that there is room between two.
const STRIDE: u64 = 16;

/// A database in which nothing goes wrong, and its clients.
struct Tiny {
    rng: Rng,
    history: History,
    model: Model,
    now: Moment,
    /// Calls that are on their way: index, and the answer if they have taken effect.
    flying: Vec<(usize, Option<Result<Response, Status>>)>,
    /// When each lease was granted, and may end.
    leases: BTreeMap<LeaseId, (u64, u64)>,
    written: u64,
    watched: i64,
}

impl Tiny {
    fn new(seed: u64) -> Tiny {
        let terms = Terms {
            drift: 0.0,
            ttl_min_s: 2,
            txn_ops_max: 128,
            expiry_slack_ns: 1 << 60,
            election_ns: SECOND_NS,
            progress_ns: u64::MAX / 4,
            progress_slack_ns: 0,
            has_quota: false,
            strict_reconfig: true,
            learners_max: 1,
        };
        let lives = vec![Life { member: 0, from: Moment::default(), until: None }];
        let history = History { lives, ..History::new(terms) };
        Tiny {
            rng: Rng::new(seed),
            history,
            model: Model::default(),
            now: Moment::default(),
            flying: Vec::new(),
            leases: BTreeMap::new(),
            written: 0,
            watched: 0,
        }
    }

    fn moment(&mut self) -> Moment {
        self.now.seq += STRIDE;
        self.now.at_ns += self.rng.between(1, SECOND_NS);
        self.now
    }

    fn run(mut self) -> History {
        let calls = self.rng.between(CALLS.0, CALLS.1) as usize;
        if self.rng.chance(0.7) {
            self.open_stream();
        }
        while self.history.ops.len() < calls || !self.flying.is_empty() {
            match self.rng.weighted(&[4, 5, 4, 2, 2]) {
                0 if self.history.ops.len() < calls && self.flying.len() < 3 => self.call(),
                1 => self.take_effect(),
                2 => self.give_answer(),
                3 => self.expire(),
                4 => self.deliver(),
                _ => {}
            }
        }
        self.deliver();
        self.history.end = self.moment();
        self.history.calm_since = self.history.end;
        self.history
    }

    fn call(&mut self) {
        let request = self.request();
        let call = self.moment();
        self.flying.push((self.history.ops.len(), None));
        self.history.ops.push(Op {
            client: 0,
            member: 0,
            life: 0,
            credentials: Default::default(),
            request,
            call,
            arrived: None,
            answer: None,
        });
    }

    fn request(&mut self) -> Request {
        let key = Bytes::from_static(if self.rng.chance(0.5) { b"a" } else { b"b" });
        let lease = *self.rng.pick(&[LeaseId(1), LeaseId(2)]);
        self.written += 1;
        let value = Bytes::from(format!("v{}", self.written));
        let attach = if self.rng.chance(0.5) { lease } else { LeaseId(0) };
        let put =
            PutRequest { key: key.clone(), value, lease: attach, prev_kv: true, ..PutRequest::default() };
        let range = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let all = RangeRequest {
            key: Bytes::from_static(b"a"),
            range_end: Bytes::from_static(b"\0"),
            ..RangeRequest::default()
        };
        let revision = self.model.now().revision();
        match self.rng.weighted(&[8, 3, 3, 5, 2, 2, 3, 1, 2, 1]) {
            0 => Request::Put(put),
            1 => Request::DeleteRange(DeleteRangeRequest {
                key,
                range_end: Bytes::new(),
                prev_kv: self.rng.chance(0.5),
            }),
            2 => Request::Txn(TxnRequest {
                compare: vec![Compare {
                    result: CompareResult::Less,
                    target: CompareTarget::Mod,
                    key,
                    range_end: Bytes::new(),
                    union: CompareUnion::Mod(self.rng.between(1, revision as u64 + 1) as i64),
                }],
                success: vec![RequestOp::Put(put)],
                failure: vec![RequestOp::Range(range)],
            }),
            3 => Request::Range(all),
            4 => Request::Range(RangeRequest { serializable: true, ..all }),
            5 => Request::Compact(CompactRequest {
                revision: self.rng.between(1, revision as u64 + 1) as i64,
                physical: false,
            }),
            6 => Request::LeaseGrant(LeaseGrantRequest { id: lease, ttl: 2 }),
            7 => Request::LeaseRevoke { id: lease },
            8 => Request::LeaseKeepAlive { id: lease },
            _ => Request::Range(RangeRequest {
                revision: self.rng.between(1, revision as u64 + 1) as i64,
                ..all
            }),
        }
    }

    fn take_effect(&mut self) {
        let waiting: Vec<usize> = (0..self.flying.len()).filter(|f| self.flying[*f].1.is_none()).collect();
        if waiting.is_empty() {
            return;
        }
        let flying = *self.rng.pick(&waiting);
        let op = self.flying[flying].0;
        let at = self.moment();
        // A member proposes in the order in which requests arrive.
        self.history.ops[op].arrived = Some(at);
        let request = self.history.ops[op].request.clone();
        let result = match &request {
            request if goes_through_log(request) => self.write(request, at),
            Request::Range(range) => self.model.now().range(range).result,
            Request::LeaseKeepAlive { id } => {
                let now = self.model.now();
                let ttl = now.lease(*id).unwrap_or(0);
                if let Some((_, until_ns)) = self.leases.get_mut(id).filter(|_| ttl > 0) {
                    *until_ns = at.at_ns + ttl as u64 * SECOND_NS;
                }
                Ok(Response::LeaseKeepAlive { header: now.header(), id: *id, ttl })
            }
            other => unreachable!("{other:?} is never asked"),
        };
        self.flying[flying].1 = Some(result);
    }

    fn write(&mut self, request: &Request, at: Moment) -> Result<Response, Status> {
        let expected = self.decide(Decree::Request(request.clone()), at).expect("a request has an answer");
        let granted = self.history.log.len() as u64;
        if let Ok(Response::LeaseGrant { id, ttl, .. }) = &expected {
            self.leases.insert(*id, (granted, at.at_ns + *ttl as u64 * SECOND_NS));
        }
        expected
    }

    fn decide(&mut self, decree: Decree, seen: Moment) -> Option<Result<Response, Status>> {
        let counter = self.history.log.len() as u64 + 1;
        let id = Some(RequestId { member: MemberId(1), epoch: 1, counter });
        let expected = self.model.apply(1, &decree);
        self.history.log.push(LogEntry {
            term: 1,
            id,
            decree,
            by: Default::default(),
            payload: Payload::Empty,
            life: 0,
            seen,
            decided_in: 1,
        });
        expected.map(|expected| expected.result)
    }

    fn give_answer(&mut self) {
        let done: Vec<usize> = (0..self.flying.len()).filter(|f| self.flying[*f].1.is_some()).collect();
        if done.is_empty() {
            // Some never take effect and never return.
            if !self.flying.is_empty() && self.rng.chance(0.05) {
                self.flying.remove(0);
            }
            return;
        }
        let (op, result) = self.flying.remove(*self.rng.pick(&done));
        if self.rng.chance(0.2) {
            return;
        }
        let at = self.moment();
        let (applied, decided) = (self.history.log.len() as u64, self.history.log.len() as u64);
        let result = result.expect("chosen for having taken effect");
        self.history.ops[op].answer = Some(Answer { at, result, applied, decided });
    }

    fn expire(&mut self) {
        let ended = self.leases.iter().find(|(id, _)| self.model.now().lease(**id).is_some());
        let Some((id, (granted, until_ns))) = ended.map(|(id, lease)| (*id, *lease)) else { return };
        self.now.at_ns = self.now.at_ns.max(until_ns);
        let at = self.moment();
        self.decide(Decree::Expire { id, granted, term: 1 }, at);
    }

    fn open_stream(&mut self) {
        let create = WatchCreate {
            key: Bytes::from_static(b"a"),
            range_end: Bytes::from_static(b"\0"),
            prev_kv: true,
            ..WatchCreate::default()
        };
        let at = self.moment();
        let passed = vec![(at, Passed::Op(StreamOp::Create(create)))];
        self.history.streams.push(Stream { member: 0, life: 0, passed, lives_to_end: false });
        self.tell(WatchResponse { created: true, ..self.response(Vec::new()) });
        self.watched = self.model.now().revision();
    }

    fn response(&self, events: Vec<Event>) -> WatchResponse {
        WatchResponse {
            revision: self.model.now().revision(),
            raft_term: 1,
            watch_id: WatchId(0),
            created: false,
            canceled: false,
            compact_revision: 0,
            cancel_reason: "",
            fragment: false,
            events: Arc::new(events),
        }
    }

    fn tell(&mut self, response: WatchResponse) {
        let at = self.moment();
        let applied = self.history.log.len() as u64;
        self.history.streams[0].passed.push((at, Passed::Delivered(response, applied)));
    }

    fn deliver(&mut self) {
        let now = self.model.now().revision();
        if self.history.streams.is_empty() || self.watched == now {
            return;
        }
        let mut events = Vec::new();
        for revision in self.watched + 1..=now {
            for change in self.model.store.changes(revision) {
                let prev_kv = self.model.store.get(&change.kv.key, revision - 1).cloned();
                events.push(Event { kind: change.kind, kv: change.kv.clone(), prev_kv });
            }
        }
        self.watched = now;
        self.tell(self.response(events));
    }
}

type Corruption = fn(&mut History, &mut Rng) -> bool;

/// What is done to true histories. Not all of it makes them false.
const CORRUPTIONS: [(&str, Corruption); 10] = [
    ("swap_two_revisions", swap_two_revisions),
    ("drop_an_event", |history, rng| change_events(history, rng, |events, at| drop(events.remove(at)))),
    ("repeat_an_event", |history, rng| {
        change_events(history, rng, |events, at| events.insert(at, events[at].clone()))
    }),
    ("change_an_event", |history, rng| change_events(history, rng, |events, at| events[at].kv.version += 1)),
    ("shift_a_call", shift_a_call),
    ("shift_an_answer", shift_an_answer),
    ("change_a_value", change_a_value),
    ("answer_from_the_future", answer_from_the_future),
    ("lose_an_acknowledged_write", lose_an_acknowledged_write),
    ("end_a_lease_early", end_a_lease_early),
];

fn pick_op(history: &History, rng: &mut Rng, test: impl Fn(&Op, &Answer) -> bool) -> Option<usize> {
    let is_it = |o: &usize| history.ops[*o].answer.as_ref().is_some_and(|a| test(&history.ops[*o], a));
    let found: Vec<usize> = (0..history.ops.len()).filter(is_it).collect();
    (!found.is_empty()).then(|| *rng.pick(&found))
}

fn response(history: &mut History, op: usize) -> &mut Response {
    let answer = history.ops[op].answer.as_mut().expect("chosen for its answer");
    answer.result.as_mut().expect("chosen for its response")
}

fn swap_two_revisions(history: &mut History, rng: &mut Rng) -> bool {
    let is_put = |_: &Op, answer: &Answer| matches!(answer.result, Ok(Response::Put(_)));
    let (Some(one), Some(two)) = (pick_op(history, rng, is_put), pick_op(history, rng, is_put)) else {
        return false;
    };
    let revisions = [one, two].map(|op| response(history, op).header_mut().expect("a put has one").revision);
    for (op, revision) in [one, two].into_iter().zip(revisions.into_iter().rev()) {
        response(history, op).header_mut().expect("a put has one").revision = revision;
    }
    one != two
}

fn change_events(history: &mut History, rng: &mut Rng, change: impl Fn(&mut Vec<Event>, usize)) -> bool {
    let mut told: Vec<&mut WatchResponse> = history
        .streams
        .iter_mut()
        .flat_map(|stream| &mut stream.passed)
        .filter_map(|(_, passed)| match passed {
            Passed::Delivered(response, _) if !response.events.is_empty() => Some(response),
            _ => None,
        })
        .collect();
    if told.is_empty() {
        return false;
    }
    let chosen = rng.below(told.len() as u64) as usize;
    let mut events = told[chosen].events.to_vec();
    let at = rng.below(events.len() as u64) as usize;
    change(&mut events, at);
    told[chosen].events = Arc::new(events);
    true
}

/// A moment between two, with a time between theirs.
fn between(history: &History, from: Moment, to: Moment, rng: &mut Rng) -> Moment {
    let seq = rng.between(from.seq + 1, to.seq.max(from.seq + 1)) | 1;
    let mut known: Vec<Moment> = history.log.iter().map(|entry| entry.seen).collect();
    known.extend(
        history.ops.iter().flat_map(|op| [Some(op.call), op.answer.as_ref().map(|a| a.at)]).flatten(),
    );
    let at_ns = known.iter().filter(|moment| moment.seq < seq).map(|moment| moment.at_ns).max();
    Moment { seq, at_ns: at_ns.unwrap_or(0), turn: 0 }
}

/// Asked later, perhaps when what was answered first was over.
fn shift_a_call(history: &mut History, rng: &mut Rng) -> bool {
    let Some(op) = pick_op(history, rng, |_, _| true) else { return false };
    let to = history.ops[op].answer.as_ref().expect("chosen for its answer").at;
    let call = between(history, history.ops[op].call, to, rng);
    if call.seq >= to.seq {
        return false;
    }
    history.ops[op].call = call;
    history.ops[op].arrived = history.ops[op].arrived.max(Some(call));
    true
}

/// Answered earlier, perhaps before what it shows.
fn shift_an_answer(history: &mut History, rng: &mut Rng) -> bool {
    let Some(op) = pick_op(history, rng, |_, _| true) else { return false };
    let from = history.ops[op].call;
    let at = history.ops[op].answer.as_ref().expect("chosen for its answer").at;
    let shifted = between(history, from, at, rng);
    if shifted.seq >= at.seq {
        return false;
    }
    let applied = history.log.iter().filter(|entry| entry.seen.seq < shifted.seq).count() as u64;
    let answer = history.ops[op].answer.as_mut().expect("chosen for its answer");
    (answer.at, answer.applied, answer.decided) = (shifted, applied, applied);
    true
}

fn change_a_value(history: &mut History, rng: &mut Rng) -> bool {
    let has_keys =
        |_: &Op, a: &Answer| matches!(&a.result, Ok(Response::Range(range)) if !range.kvs.is_empty());
    let Some(op) = pick_op(history, rng, has_keys) else { return false };
    let Response::Range(range) = response(history, op) else { unreachable!("chosen as a range") };
    range.kvs[0].value = Bytes::from_static(b"never");
    true
}

fn answer_from_the_future(history: &mut History, rng: &mut Rng) -> bool {
    let has_revision = |_: &Op, answer: &Answer| answer.revision().is_some();
    let Some(op) = pick_op(history, rng, has_revision) else { return false };
    let by = rng.between(1, 2) as i64;
    response(history, op).header_mut().expect("chosen for its revision").revision += by;
    true
}

/// A read of everything that does not know of the last write.
fn lose_an_acknowledged_write(history: &mut History, rng: &mut Rng) -> bool {
    let is_all = |op: &Op, a: &Answer| {
        matches!((&op.request, &a.result), (Request::Range(range), Ok(Response::Range(got)))
            if range.revision == 0 && got.header.revision > 1)
    };
    let Some(op) = pick_op(history, rng, is_all) else { return false };
    let truth = check::Truth::of(history);
    let Request::Range(request) = history.ops[op].request.clone() else { unreachable!("chosen as a range") };
    let revision = history.ops[op].answer.as_ref().and_then(Answer::revision).expect("a range has one");
    let Some((place, _)) = truth.model.positions_of(revision - 1) else { return false };
    let old = truth.model.at(place).range(&request).result;
    history.ops[op].answer.as_mut().expect("chosen for its answer").result = old;
    true
}

/// All that happened from the end of a lease on happened six seconds earlier.
fn end_a_lease_early(history: &mut History, _: &mut Rng) -> bool {
    let ends = |entry: &&LogEntry| matches!(entry.decree, Decree::Expire { .. });
    let Some(seen) = history.log.iter().find(ends).map(|entry| entry.seen) else { return false };
    let earlier = |moment: &mut Moment| {
        if moment.seq >= seen.seq {
            moment.at_ns = moment.at_ns.saturating_sub(6 * SECOND_NS);
        }
    };
    history.log.iter_mut().for_each(|entry| earlier(&mut entry.seen));
    for op in &mut history.ops {
        earlier(&mut op.call);
        op.arrived.as_mut().into_iter().for_each(earlier);
        op.answer.iter_mut().for_each(|answer| earlier(&mut answer.at));
    }
    history.streams.iter_mut().flat_map(|stream| &mut stream.passed).for_each(|(at, _)| earlier(at));
    true
}

/// What the three say: whether brute force finds an order, and whether the log-directed checks are content.
fn judge(name: &str, n: u64, history: &History) -> (bool, bool) {
    let clients = ClientHistory::from(history);
    let brute = is_explained(&clients);
    let verdict = blackbox::check(&clients);
    let is_ok = match &verdict {
        Verdict::Ok(_) => true,
        Verdict::Violation(_) => false,
        Verdict::Undecided { why } => panic!("history {n} {name}: {why}"),
    };
    assert_eq!(is_ok, brute, "history {n} {name}: {verdict:?}\n{clients:?}");
    (brute, check::check(history).is_ok())
}

#[test]
fn brute_force_black_box_and_log_agree() {
    let mut table: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for n in 0..HISTORIES {
        let good = Tiny::new(derive(base(), n)).run();
        assert_eq!(check::check(&good).map(|_| ()), Ok(()), "history {n}");
        assert_eq!(judge("as it is", n, &good), (true, true), "history {n}");
        for (name, corrupt) in CORRUPTIONS {
            let mut bad = good.clone();
            if !corrupt(&mut bad, &mut Rng::new(n)) {
                continue;
            }
            let (is_legal, log_is_content) = judge(name, n, &bad);
            assert!(
                is_legal || !log_is_content,
                "history {n} {name}: the log-directed checks miss it\n{bad:?}"
            );
            let (tried, illegal) = table.entry(name).or_default();
            *tried += 1;
            *illegal += u64::from(!is_legal);
        }
    }
    let lines = table.iter().map(|(name, (tried, illegal))| format!("  {name} {tried} {illegal}\n"));
    let text = format!("corruption, histories, found illegal by all three\n{}", lines.collect::<String>());
    std::io::stdout().write_all(text.as_bytes()).expect("standard output is open");
    for (name, _) in CORRUPTIONS {
        assert!(
            table.get(name).is_some_and(|(_, illegal)| *illegal > 10),
            "{name} was hardly tried: {table:?}"
        );
    }
}
