//! Watch: changes of ranges of keys, in order, each once, none missing.
//!
//! A watcher is a range, a filter and a cursor; it has no queue. The hub walks history once behind apply
//! and finds from each event the watchers that want it (`Intervals`); watchers with the same range and
//! options form a group and share one batch. These are *synced*: their cursor is the hub's own. A watcher
//! that starts in the past, or whose stream has no credit when events come, is *lagging*: it scans history
//! itself, in slices, and joins the hub when it has caught up. One that starts in the future waits.
//!
//! Sketch: a put with no watcher on its key costs one stab, O(log groups); with n watchers of one group,
//! one batch and n deliveries of an `Arc`.
//!
//! Source: WATCH-1..28; etcd 3.7.1 `server/storage/mvcc/watchable_store.go`, `server/etcdserver/api/v3rpc/watch.go`.

mod create;
mod interval;
mod lagging;
mod progress;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::base::{Instant, KeyRange, StreamId, WatchId};
use crate::boundary::{Event, EventKind, StreamOp, WatchResponse};
use crate::mvcc::{Mvcc, Record};
use interval::Intervals;

/// What a member's flags and limits say about watches.
#[derive(Clone, Copy, Debug)]
pub struct WatchConfig {
    /// Credit of a new stream.
    pub credit_bytes: u64,
    /// Distinct revisions in one response to a lagging watcher.
    pub revisions_max: u32,
    /// `--watch-progress-notify-interval`.
    pub progress_interval_ns: u64,
}

/// All watch streams of a member. Volatile: nothing here is replicated.
pub struct WatchHub {
    config: WatchConfig,
    rng: ChaCha8Rng,
    streams: BTreeMap<StreamId, Stream>,
    watchers: BTreeMap<u64, Watcher>,
    next_watcher: u64,
    groups: BTreeMap<u64, Group>,
    group_ids: BTreeMap<GroupKey, u64>,
    next_group: u64,
    intervals: Intervals,
    /// First change that synced watchers have not been matched with.
    position: (i64, u32),
    /// Events of the revision at `position` so far, by group.
    gathered: BTreeMap<u64, Vec<Event>>,
    /// Watchers that start at a revision not reached yet.
    future: BTreeSet<(i64, u64)>,
    /// Lagging watchers whose stream has credit, in turn.
    runnable: VecDeque<u64>,
    /// What leaves with the next step, in order.
    outlet: Vec<(StreamId, WatchResponse)>,
    /// Streams that asked for progress in this turn.
    progress_asked: Vec<StreamId>,
    /// The earliest progress notification that is due.
    next_progress: BTreeSet<(Instant, StreamId)>,
    hits: Vec<u64>,
}

struct Stream {
    /// May fall below zero by one response.
    credit_bytes: i64,
    /// Watchers by the client's id.
    ids: BTreeMap<i64, u64>,
    next_auto_id: i64,
    /// Lagging watchers that wait for credit.
    blocked: Vec<u64>,
    progress_at: Option<Instant>,
}

struct Watcher {
    stream: StreamId,
    watch_id: WatchId,
    key: GroupKey,
    start_revision: i64,
    fragment: bool,
    progress_notify: bool,
    /// Events went out since the last progress tick.
    was_active: bool,
    state: Place,
}

/// Where a watcher is.
enum Place {
    /// Follows the hub.
    Synced,
    /// Starts at a revision that is not reached.
    Future(i64),
    Lagging(lagging::Lag),
    /// Canceled by a compaction. The id stays in use, and the stream without manual progress, until the
    /// client cancels it too (WATCH-19, 21; as etcd's `watchStream.watchers`).
    Compacted,
}

/// What watchers must have in common to share a batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    start: bytes::Bytes,
    range_end: bytes::Bytes,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
}

/// Synced watchers that share batches.
struct Group {
    key: GroupKey,
    watchers: BTreeSet<u64>,
}

impl GroupKey {
    fn range(&self) -> KeyRange {
        KeyRange::new(self.start.clone(), self.range_end.clone())
    }

    /// The event of a change, if it passes the filters; with the pair before if asked (WATCH-15, 16).
    fn event(&self, record: &Record, store: &Mvcc) -> Option<Event> {
        let kind = if record.is_tombstone() { EventKind::Delete } else { EventKind::Put };
        let is_filtered = match kind {
            EventKind::Put => self.no_put,
            EventKind::Delete => self.no_delete,
        };
        if is_filtered {
            return None;
        }
        let is_create = kind == EventKind::Put && record.create == record.main;
        let before = record.main - 1;
        let prev_kv = (self.prev_kv && !is_create && before >= store.compact_revision())
            .then(|| store.get(&record.key, before).map(Record::to_kv))
            .flatten();
        Some(Event { kind, kv: record.to_kv(), prev_kv })
    }
}

impl WatchHub {
    /// `seed` decides the jitter of progress notifications.
    pub fn new(config: WatchConfig, seed: u64) -> WatchHub {
        WatchHub {
            config,
            rng: ChaCha8Rng::seed_from_u64(seed),
            streams: BTreeMap::new(),
            watchers: BTreeMap::new(),
            next_watcher: 0,
            groups: BTreeMap::new(),
            group_ids: BTreeMap::new(),
            next_group: 0,
            intervals: Intervals::default(),
            position: (0, 0),
            gathered: BTreeMap::new(),
            future: BTreeSet::new(),
            runnable: VecDeque::new(),
            outlet: Vec::new(),
            progress_asked: Vec::new(),
            next_progress: BTreeSet::new(),
            hits: Vec::new(),
        }
    }

    /// What a client does on its stream; the first operation opens it.
    pub fn on_op(&mut self, id: StreamId, op: StreamOp, now: Instant, store: &Mvcc, raft_term: u64) {
        self.align(store);
        self.open_stream(id);
        match op {
            // Whose it is has been judged by then.
            StreamOp::Open { .. } => {}
            StreamOp::Create(create) => self.create(id, create, now, store, raft_term),
            StreamOp::Cancel { watch_id } => self.cancel(id, watch_id, store, raft_term),
            StreamOp::Progress => self.progress_asked.push(id),
            StreamOp::Credit { bytes } => {
                let stream = self.streams.get_mut(&id).expect("opened above");
                stream.credit_bytes = stream.credit_bytes.saturating_add_unsigned(bytes);
                if stream.credit_bytes > 0 {
                    self.runnable.extend(stream.blocked.drain(..));
                }
            }
            StreamOp::Close => self.close(id),
        }
    }

    /// Sees to it that there is a stream of this id.
    fn open_stream(&mut self, id: StreamId) {
        let credit_bytes = i64::try_from(self.config.credit_bytes).unwrap_or(i64::MAX);
        self.streams.entry(id).or_insert_with(|| Stream {
            credit_bytes,
            ids: BTreeMap::new(),
            next_auto_id: 0,
            blocked: Vec::new(),
            progress_at: None,
        });
    }

    /// One bounded pass: what waits in the outlet, events for synced watchers, catch-up of lagging ones,
    /// progress.
    pub fn step(
        &mut self,
        now: Instant,
        store: &Mvcc,
        raft_term: u64,
        work: &mut u32,
        out: &mut Vec<(StreamId, WatchResponse)>,
    ) {
        self.align(store);
        self.follow(store, raft_term, work);
        self.catch_up(store, raft_term, work);
        self.answer_progress(now, store, raft_term);
        out.append(&mut self.outlet);
    }

    /// The store was replaced by a later one (a leader's snapshot), whose history may begin behind what watchers
    /// have seen: each goes on from its own next revision, and is canceled if that is compacted.
    /// Source: etcd #15271, where they went on from a revision long past.
    pub fn on_store_replaced(&mut self, store: &Mvcc) {
        self.gathered.clear();
        let next = self.position.0;
        let synced: Vec<u64> =
            self.groups.values().flat_map(|group| group.watchers.iter().copied()).collect();
        for id in synced {
            self.make_lagging(id, next);
            self.runnable.push_back(id);
        }
        while let Some((start, id)) = self.future.pop_first() {
            if start > store.revision() {
                self.future.insert((start, id));
                break;
            }
            self.watchers.get_mut(&id).expect("a living watcher").state =
                Place::Lagging(lagging::Lag::new(start));
            self.runnable.push_back(id);
        }
        self.align(store);
    }

    /// Whether `step` could go on at once.
    pub fn has_work(&self, store: &Mvcc) -> bool {
        !self.outlet.is_empty()
            || !self.runnable.is_empty()
            || (!self.groups.is_empty() && self.position.0 <= store.revision())
            || self.future.first().is_some_and(|(start, _)| *start <= store.revision())
    }

    /// The revision from which the hub still needs history; physical compaction must not reach it.
    pub fn pinned_revision(&self, store: &Mvcc) -> Option<i64> {
        (!self.groups.is_empty() && self.position.0 <= store.revision()).then_some(self.position.0)
    }

    /// Streams, watchers, and watchers that do not follow the hub.
    pub fn counts(&self) -> (u64, u64, u64) {
        let slow = self.watchers.values().filter(|watcher| matches!(watcher.state, Place::Lagging(_)));
        (self.streams.len() as u64, self.watchers.len() as u64, slow.count() as u64)
    }

    /// With nobody to match there is nothing to walk over, up to where the next one starts.
    fn align(&mut self, store: &Mvcc) {
        if self.groups.is_empty() {
            let end = store.revision() + 1;
            let next = self.future.first().map_or(end, |(start, _)| end.min(*start));
            self.position = (next.max(self.position.0), 0);
            self.gathered.clear();
            self.admit_future();
        }
    }

    /// Matches changes behind `position` with synced watchers, revision by revision.
    fn follow(&mut self, store: &Mvcc, raft_term: u64, work: &mut u32) {
        while self.position.0 <= store.revision() && *work > 0 && !self.groups.is_empty() {
            let (main, sub) = self.position;
            let mut is_whole = true;
            let mut next_sub = sub;
            for record in store.history(main, sub).take_while(|record| record.main == main) {
                if *work == 0 {
                    is_whole = false;
                    break;
                }
                *work -= 1;
                next_sub = record.sub + 1;
                self.hits.clear();
                self.intervals.stab(&record.key, &mut self.hits);
                for group in &self.hits {
                    if let Some(event) = self.groups[group].key.event(record, store) {
                        self.gathered.entry(*group).or_default().push(event);
                    }
                }
            }
            self.position = (main, next_sub);
            if is_whole {
                *work = work.saturating_sub(1);
                self.hand_out(main, raft_term);
                self.position = (main + 1, 0);
                self.admit_future();
            }
        }
        self.align(store);
    }

    /// Delivers what was gathered of revision `main`: one response a watcher (WATCH-12, 13).
    fn hand_out(&mut self, main: i64, raft_term: u64) {
        for (group, events) in std::mem::take(&mut self.gathered) {
            let events = Arc::new(events);
            let watchers: Vec<u64> = match self.groups.get(&group) {
                Some(group) => group.watchers.iter().copied().collect(),
                None => continue,
            };
            for id in watchers {
                let watcher = self.watchers.get_mut(&id).expect("groups hold living watchers");
                let stream = self.streams.get_mut(&watcher.stream).expect("watchers have a stream");
                if stream.credit_bytes <= 0 {
                    stream.blocked.push(id);
                    self.make_lagging(id, main);
                    continue;
                }
                watcher.was_active = true;
                let response = watcher.response(main, raft_term, Arc::clone(&events));
                stream.charge(&response);
                self.outlet.push((watcher.stream, response));
            }
        }
    }

    /// Watchers whose start the hub has reached follow it from here.
    fn admit_future(&mut self) {
        while let Some(&(start, id)) = self.future.first()
            && start <= self.position.0
        {
            self.future.pop_first();
            self.join(id);
        }
    }

    /// A watcher that has everything below `position` follows the hub.
    fn join(&mut self, id: u64) {
        assert_eq!(self.position.1, 0, "a revision is matched with all its watchers or none");
        let watcher = self.watchers.get_mut(&id).expect("a living watcher");
        watcher.state = Place::Synced;
        let key = watcher.key.clone();
        let group = *self.group_ids.entry(key.clone()).or_insert_with(|| {
            self.next_group += 1;
            self.intervals.insert(&key.range(), self.next_group);
            self.groups.insert(self.next_group, Group { key, watchers: BTreeSet::new() });
            self.next_group
        });
        self.groups.get_mut(&group).expect("just looked up").watchers.insert(id);
    }

    /// A synced watcher leaves the hub; the group goes with its last.
    fn leave(&mut self, id: u64) {
        let key = &self.watchers[&id].key;
        let group_id = self.group_ids[key];
        let group = self.groups.get_mut(&group_id).expect("a group has its id");
        group.watchers.remove(&id);
        if group.watchers.is_empty() {
            let group = self.groups.remove(&group_id).expect("just seen");
            self.group_ids.remove(&group.key);
            self.intervals.remove(&group.key.range(), group_id);
        }
    }

    /// A synced watcher that could not take revision `next` scans history from there.
    fn make_lagging(&mut self, id: u64, next: i64) {
        self.leave(id);
        let watcher = self.watchers.get_mut(&id).expect("a living watcher");
        watcher.state = Place::Lagging(lagging::Lag::new(next));
    }

    /// Takes a watcher out of every list.
    fn forget(&mut self, id: u64) {
        match self.watchers[&id].state {
            Place::Synced => self.leave(id),
            Place::Compacted => {}
            Place::Future(start) => {
                self.future.remove(&(start, id));
            }
            Place::Lagging(_) => {
                let stream = self.watchers[&id].stream;
                self.runnable.retain(|other| *other != id);
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.blocked.retain(|other| *other != id);
                }
            }
        }
        self.watchers.remove(&id);
    }
}

impl Stream {
    /// Takes a delivery from the credit.
    fn charge(&mut self, response: &WatchResponse) {
        self.credit_bytes = self.credit_bytes.saturating_sub_unsigned(response.credit_bytes());
    }
}

impl Watcher {
    fn response(&self, revision: i64, raft_term: u64, events: Arc<Vec<Event>>) -> WatchResponse {
        WatchResponse {
            revision,
            raft_term,
            watch_id: self.watch_id,
            created: false,
            canceled: false,
            compact_revision: 0,
            cancel_reason: "",
            fragment: self.fragment,
            events,
        }
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
