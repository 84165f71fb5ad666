//! What clients of one run saw, and whether one sequence of revisions explains all of it.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::request::{Request, Response};
use holdfast_core::status::Status;

use super::trace;
use crate::blackbox::history::{self as blackbox, ClientHistory, Passed};
use crate::rng::mix;

/// A key as a client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub value: String,
    pub create: i64,
    pub modified: i64,
    pub version: i64,
    pub lease: i64,
}

/// Live keys at one revision.
pub type Keys = BTreeMap<String, Seen>;

/// What a client asked for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Puts (a value that no other write has) and deletes of one revision; `guarded`: only if a comparison
    /// held.
    Write { sets: BTreeMap<String, Option<String>>, guarded: bool },
    /// Live keys of `from..to`.
    Read { from: String, to: String, serializable: bool },
    /// Live keys at a past revision.
    ReadAt { revision: i64 },
    /// A lease's time to live begins anew: grants and keep-alives.
    Renew { is_grant: bool },
    /// Ends a lease with its keys.
    Revoke { lease: i64 },
    /// What a story says; the black-box checker judges it alone.
    Told,
}

/// What it was told; absent when it was told nothing it could rely on.
#[derive(Clone, Debug)]
pub enum Told {
    /// `applied`: the write changed something, at `Answer::revision`.
    Written {
        applied: bool,
    },
    Read(Keys),
    /// Lease and its time to live; 0 if it is gone.
    Renewed {
        lease: i64,
        ttl_s: i64,
    },
    Revoked,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    pub client: u64,
    pub began_ns: u64,
    pub ask: Ask,
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub at_ns: u64,
    /// Of the answer's header.
    pub revision: i64,
    pub told: Told,
}

/// Everything clients of one run did.
#[derive(Clone, Debug)]
pub struct History {
    pub terms: blackbox::Terms,
    pub calls: Vec<Call>,
    /// Calls that ended without an answer, by the text of their status.
    pub unanswered: BTreeMap<String, u64>,
    /// The same calls for the black-box checker.
    pub seen: Vec<blackbox::Call>,
    pub streams: Vec<blackbox::Stream>,
    pub marks: Marks,
    /// Terms in the headers of answers.
    pub terms_seen: BTreeSet<u64>,
    hash: u64,
}

/// How often something happened that a run should be about.
pub type Marks = BTreeMap<&'static str, u64>;

impl Default for History {
    /// Of true clocks, under etcd's defaults.
    fn default() -> History {
        // 1.5 election timeouts, and `--max-txn-ops`.
        let terms = blackbox::Terms { drift: 0.0, ttl_min_s: 2, txn_ops_max: 128, has_quota: false };
        History {
            terms,
            calls: Vec::new(),
            unanswered: BTreeMap::new(),
            seen: Vec::new(),
            streams: Vec::new(),
            marks: Marks::new(),
            terms_seen: BTreeSet::new(),
            hash: 0,
        }
    }
}

/// Lives of all members of a run are fewer.
const LIVES_MAX: usize = 1 << 20;

/// Clients have clocks and nothing else: what happens in one instant is concurrent.
fn time(at_ns: u64) -> blackbox::Time {
    blackbox::Time { order: at_ns, at_ns }
}

/// A call being made.
#[derive(Clone, Copy, Debug)]
pub struct CallId(usize);

/// A watch stream that was opened.
#[derive(Clone, Copy, Debug)]
pub struct StreamId(usize);

impl History {
    pub fn begin(&mut self, client: u64, now_ns: u64, ask: Ask, request: Request) -> CallId {
        self.fold(&format!("{now_ns} {client} asks {ask:?}"));
        self.calls.push(Call { client, began_ns: now_ns, ask, answer: None });
        let place = self.calls.len() + LIVES_MAX;
        let (client, call) = (client as u32, time(now_ns));
        self.seen.push(blackbox::Call { client, place, request, call, answer: None });
        CallId(self.calls.len() - 1)
    }

    pub fn answered(&mut self, call: CallId, now_ns: u64, revision: i64, told: Told) {
        self.fold(&format!("{now_ns} {} is told {revision} {told:?}", call.0));
        self.calls[call.0].answer = Some(Answer { at_ns: now_ns, revision, told });
    }

    /// The call that began as the `number`th.
    pub fn call(&self, number: usize) -> CallId {
        assert!(number < self.calls.len());
        CallId(number)
    }

    /// The answer as it came. `life`: the only life of a member that can have given it, if that is known.
    pub fn saw(&mut self, call: CallId, now_ns: u64, response: Response, life: Option<usize>) {
        let seen = &mut self.seen[call.0];
        seen.answer = Some(blackbox::Answer { at: time(now_ns), result: Ok(response) });
        seen.place = life.unwrap_or(seen.place);
    }

    /// A story's request was answered.
    pub fn answered_with(&mut self, call: CallId, now_ns: u64, result: Result<Response, Status>) {
        self.fold(&format!("{now_ns} {} is told {result:?}", call.0));
        self.seen[call.0].answer = Some(blackbox::Answer { at: time(now_ns), result });
    }

    /// Calls that were answered with more than a refusal.
    pub fn heard(&self) -> u64 {
        let is_heard = |call: &&blackbox::Call| call.answer.as_ref().is_some_and(|a| a.result.is_ok());
        self.seen.iter().filter(is_heard).count() as u64
    }

    pub fn failed(&mut self, call: CallId, now_ns: u64, why: &str) {
        self.fold(&format!("{now_ns} {} fails: {why}", call.0));
        *self.unanswered.entry(why.to_owned()).or_default() += 1;
    }

    pub fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    /// Opens a watch stream to a life of a member, if it is known which.
    pub fn open_stream(&mut self, life: Option<usize>) -> StreamId {
        let place = life.unwrap_or(2 * LIVES_MAX + self.streams.len());
        self.streams.push(blackbox::Stream { place, passed: Vec::new(), lives_to_end: false });
        StreamId(self.streams.len() - 1)
    }

    /// Something passed on a stream.
    pub fn passed(&mut self, stream: StreamId, now_ns: u64, passed: Passed) {
        self.fold(&format!("{now_ns} stream {} {passed:?}", stream.0));
        self.streams[stream.0].passed.push((time(now_ns), passed));
    }

    /// It was another life than was thought, nobody knows which.
    pub fn misplace(&mut self, stream: StreamId) {
        self.streams[stream.0].place = 2 * LIVES_MAX + stream.0;
    }

    /// The stream was left in peace until the end.
    pub fn lives_to_end(&mut self, stream: StreamId) {
        self.streams[stream.0].lives_to_end = true;
    }

    /// Writes that were done though nobody was told so.
    pub fn done_unheard(&self, truth: &[Keys]) -> u64 {
        let values: BTreeSet<&str> = truth.iter().flat_map(Keys::values).map(|s| s.value.as_str()).collect();
        let is_done = |call: &&Call| match &call.ask {
            Ask::Write { sets, .. } => {
                call.answer.is_none() && sets.values().flatten().any(|value| values.contains(value.as_str()))
            }
            _ => false,
        };
        self.calls.iter().filter(is_done).count() as u64
    }

    /// Takes `text` into the hash.
    pub fn fold(&mut self, text: &str) {
        trace::tell(|| text.to_owned());
        self.hash = mix(self.hash, text.as_bytes());
    }

    /// Equal for two runs in which clients saw the same at the same times.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn acknowledged(&self) -> u64 {
        self.calls.iter().filter(|call| call.answer.is_some()).count() as u64
    }

    /// What clients saw, for the black-box checker.
    pub fn blackbox(&self) -> ClientHistory {
        ClientHistory { terms: self.terms, calls: self.seen.clone(), streams: self.streams.clone() }
    }

    /// Checks every answer against `truth`, the live keys at each revision from 1 on, read at the end.
    /// Errors: the first thing that does not fit.
    pub fn check(&self, truth: &[Keys]) -> Result<(), String> {
        self.check_time()?;
        let writes = self.writes_by_revision(truth)?;
        self.check_revisions(truth, &writes)?;
        self.check_reads(truth)?;
        self.check_leases(truth)
    }

    /// Reads and writes never go back: an answer is at least as new as all that came before its question.
    fn check_time(&self) -> Result<(), String> {
        let mut newest: Vec<(u64, i64)> =
            self.answers().map(|(_, answer)| (answer.at_ns, answer.revision)).collect();
        newest.sort_unstable();
        for i in 1..newest.len() {
            newest[i].1 = newest[i].1.max(newest[i - 1].1);
        }
        for (call, answer) in self.answers() {
            // The header of a renewal is the member's own, which may be behind the leader that renewed.
            if let Ask::Read { serializable: true, .. } | Ask::Renew { is_grant: false } = call.ask {
                continue;
            }
            let before = newest.partition_point(|(at_ns, _)| *at_ns < call.began_ns);
            let floor = before.checked_sub(1).map_or(0, |last| newest[last].1);
            if answer.revision < floor {
                return Err(format!("revision {floor} was seen before it was asked: {call:?}"));
            }
        }
        Ok(())
    }

    /// Which call made each revision, as acknowledged. Errors: two at one; one that is not there.
    fn writes_by_revision(&self, truth: &[Keys]) -> Result<BTreeMap<i64, usize>, String> {
        let mut writes = BTreeMap::new();
        for (index, call) in self.calls.iter().enumerate() {
            let Some(Answer { revision, told: Told::Written { applied: true }, .. }) = call.answer else {
                continue;
            };
            if let Some(other) = writes.insert(revision, index) {
                return Err(format!("revision {revision} twice: {call:?} and {:?}", self.calls[other]));
            }
            let Some(keys) = at(truth, revision) else {
                return Err(format!("acknowledged and lost, the last revision is {}: {call:?}", truth.len()));
            };
            let Ask::Write { sets, .. } = &call.ask else { continue };
            for (key, value) in sets {
                let there = keys.get(key).map(|seen| (&seen.value, seen.modified));
                let is_right = match value {
                    Some(value) => there == Some((value, revision)),
                    None => there.is_none(),
                };
                if !is_right {
                    return Err(format!("acknowledged, but {key} is {there:?} at {revision}: {call:?}"));
                }
            }
        }
        Ok(writes)
    }

    /// Each revision is one call's doing, whole, and no call is done twice.
    fn check_revisions(&self, truth: &[Keys], writes: &BTreeMap<i64, usize>) -> Result<(), String> {
        let mut by_value: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, call) in self.calls.iter().enumerate() {
            if let Ask::Write { sets, .. } = &call.ask {
                by_value.extend(sets.values().flatten().map(|value| (value.as_str(), index)));
            }
        }
        let mut done = BTreeSet::new();
        for (before, revision) in truth.windows(2).zip(2..) {
            let [before, after] = before else { unreachable!("windows of two") };
            let changed = |(key, seen): &(&String, &Seen)| before.get(*key) != Some(*seen);
            let put: BTreeMap<&String, &Seen> = after.iter().filter(changed).collect();
            let gone: Vec<&String> = before.keys().filter(|key| !after.contains_key(*key)).collect();
            for (key, seen) in &put {
                check_version(key, seen, before.get(*key), revision)?;
            }
            let Some((key, seen)) = put.first_key_value() else {
                self.check_deletion(&gone, revision, writes, before)?;
                continue;
            };
            let Some(&index) = by_value.get(seen.value.as_str()) else {
                return Err(format!("nobody wrote {key} at {revision}: {seen:?}"));
            };
            let call = &self.calls[index];
            let Ask::Write { sets, .. } = &call.ask else { unreachable!("only writes have values") };
            let whole = put.len() + gone.len();
            let is_whole = sets.values().flatten().count() == put.len()
                && put.iter().all(|(key, seen)| sets.get(*key) == Some(&Some(seen.value.clone())))
                && gone.iter().all(|key| sets.get(*key) == Some(&None));
            if !is_whole {
                return Err(format!("{whole} changes at {revision} are not those of {call:?}"));
            }
            if !done.insert(index) {
                return Err(format!("done twice, the second time at {revision}: {call:?}"));
            }
            if call.answer.as_ref().is_some_and(|answer| answer.revision != revision) {
                return Err(format!("done at {revision}: {call:?}"));
            }
        }
        Ok(())
    }

    /// A revision that only deletes is a delete of these keys, or the end of a lease.
    fn check_deletion(
        &self,
        gone: &[&String],
        revision: i64,
        writes: &BTreeMap<i64, usize>,
        before: &Keys,
    ) -> Result<(), String> {
        if gone.is_empty() {
            return Err(format!("nothing changed at {revision}"));
        }
        if writes.contains_key(&revision) {
            return Ok(());
        }
        let is_end_of_lease =
            gone.iter().all(|key| before[*key].lease != 0 && before[*key].lease == before[gone[0]].lease);
        let asked = |call: &&Call| match &call.ask {
            Ask::Write { sets, .. } => {
                call.answer.is_none() && gone.iter().all(|key| sets.get(*key) == Some(&None))
            }
            _ => false,
        };
        match is_end_of_lease || self.calls.iter().any(|call| asked(&call)) {
            true => Ok(()),
            false => Err(format!("nobody deleted {gone:?} at {revision}")),
        }
    }

    fn check_reads(&self, truth: &[Keys]) -> Result<(), String> {
        for call in &self.calls {
            let (Ask::Read { from, to, .. }, Some(answer)) = (&call.ask, &call.answer) else { continue };
            let Told::Read(keys) = &answer.told else { continue };
            let Some(expected) = at(truth, answer.revision) else {
                return Err(format!("read at a revision that never was: {call:?}"));
            };
            let expected = expected.range(from.clone()..to.clone());
            if !keys.iter().eq(expected.clone()) {
                let expected: Keys = expected.map(|(key, seen)| (key.clone(), seen.clone())).collect();
                return Err(format!("expected {expected:?}: {call:?}"));
            }
        }
        Ok(())
    }

    /// No key goes before its lease's time, all go after it. The end of the run is long after all.
    fn check_leases(&self, truth: &[Keys]) -> Result<(), String> {
        let left: Vec<_> = truth.last().into_iter().flatten().filter(|(_, seen)| seen.lease != 0).collect();
        if !left.is_empty() {
            return Err(format!("their leases ended long ago: {left:?}"));
        }
        let mut revoked = BTreeSet::new();
        let mut alive_until_ns: BTreeMap<i64, u64> = BTreeMap::new();
        for call in &self.calls {
            if let Ask::Revoke { lease } = call.ask {
                revoked.insert(lease);
            }
            if let Some(Answer { told: Told::Renewed { lease, ttl_s }, .. }) = call.answer
                && let Ok(ttl_s @ 1..) = u64::try_from(ttl_s)
            {
                let lives_ns = (ttl_s * 1_000_000_000) as f64 * (1.0 - self.terms.drift);
                let until_ns = call.began_ns + lives_ns as u64;
                let latest = alive_until_ns.entry(lease).or_default();
                *latest = until_ns.max(*latest);
            }
        }
        let mut seen_at: Vec<(i64, u64)> =
            self.answers().map(|(_, told)| (told.revision, told.at_ns)).collect();
        seen_at.sort_unstable();
        for i in (1..seen_at.len()).rev() {
            seen_at[i - 1].1 = seen_at[i - 1].1.min(seen_at[i].1);
        }
        for (before, revision) in truth.windows(2).zip(2..) {
            let [before, after] = before else { unreachable!("windows of two") };
            let Some((_, first_ns)) = seen_at.get(seen_at.partition_point(|(at, _)| *at < revision)) else {
                continue;
            };
            for (key, seen) in
                before.iter().filter(|(key, seen)| seen.lease != 0 && !after.contains_key(*key))
            {
                let until_ns = alive_until_ns.get(&seen.lease).copied().unwrap_or(0);
                if *first_ns < until_ns && !revoked.contains(&seen.lease) {
                    return Err(format!(
                        "{key} gone by {first_ns} ns, its lease lasts to {until_ns}: {seen:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn answers(&self) -> impl Iterator<Item = (&Call, &Answer)> {
        self.calls.iter().filter_map(|call| Some((call, call.answer.as_ref()?)))
    }
}

/// A changed key counts on from what it was. Errors: it does not.
fn check_version(key: &str, seen: &Seen, before: Option<&Seen>, revision: i64) -> Result<(), String> {
    let (create, version) = before.map_or((revision, 1), |before| (before.create, before.version + 1));
    match (seen.create, seen.version, seen.modified) == (create, version, revision) {
        true => Ok(()),
        false => Err(format!("{key} at {revision} is {seen:?} after {before:?}")),
    }
}

/// Live keys at `revision`; `truth` begins with revision 1.
fn at(truth: &[Keys], revision: i64) -> Option<&Keys> {
    truth.get(usize::try_from(revision.checked_sub(1)?).ok()?)
}
