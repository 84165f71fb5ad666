//! Watchers that are behind: each scans history from its own cursor, in slices, in turn.

use std::sync::Arc;

use super::{Place, WatchHub};
use crate::boundary::{Event, WatchResponse};
use crate::mvcc::Mvcc;

/// Work of one watcher before the next has its turn.
const SLICE_WORK: u32 = 2_000;

/// Bytes of events after which a batch goes out at the next revision's end.
const BATCH_BYTES: u64 = 1 << 20;

/// Where a lagging watcher is.
pub(super) struct Lag {
    /// First revision of which nothing has been delivered.
    next: i64,
    /// First change that has not been looked at; at or behind `next`.
    cursor: (i64, u32),
    /// Events between the two.
    events: Vec<Event>,
    bytes: u64,
    /// Distinct revisions in `events`.
    revisions: u32,
}

impl Lag {
    pub fn new(next: i64) -> Lag {
        Lag { next, cursor: (next, 0), events: Vec::new(), bytes: 0, revisions: 0 }
    }
}

/// How a slice ended.
enum Slice {
    /// Work ran out.
    Unfinished,
    /// There is a batch to send.
    Full,
    /// Everything the hub has passed is in the batch; it may be empty.
    CaughtUp,
}

impl WatchHub {
    /// Lagging watchers whose streams have credit, round robin, until work runs out.
    pub(super) fn catch_up(&mut self, store: &Mvcc, raft_term: u64, work: &mut u32) {
        // Each watcher once a pass at most: one that waits for the hub must not spin.
        for _ in 0..self.runnable.len() {
            if *work == 0 {
                return;
            }
            let Some(id) = self.runnable.pop_front() else { return };
            *work -= 1;
            let watcher = &self.watchers[&id];
            let stream_id = watcher.stream;
            let Place::Lagging(lag) = &watcher.state else { unreachable!("only lagging ones are listed") };
            if lag.next < store.compact_revision() {
                self.cancel_compacted(id, store, raft_term);
                continue;
            }
            let stream = self.streams.get_mut(&stream_id).expect("watchers have a stream");
            if stream.credit_bytes <= 0 {
                stream.blocked.push(id);
                continue;
            }
            let mut slice = (*work).min(SLICE_WORK);
            *work -= slice;
            let ended = self.scan(id, store, &mut slice);
            *work += slice;
            match ended {
                Slice::Unfinished => self.runnable.push_back(id),
                Slice::Full => {
                    self.send_batch(id, store, raft_term);
                    self.runnable.push_back(id);
                }
                Slice::CaughtUp => {
                    self.send_batch(id, store, raft_term);
                    self.rejoin(id);
                }
            }
        }
    }

    /// Looks at changes from the watcher's cursor up to what the hub has passed.
    fn scan(&mut self, id: u64, store: &Mvcc, work: &mut u32) -> Slice {
        let end = self.position.0;
        let revisions_max = self.config.revisions_max;
        let watcher = self.watchers.get_mut(&id).expect("a living watcher");
        let Place::Lagging(lag) = &mut watcher.state else { unreachable!("only lagging ones are listed") };
        let range = watcher.key.range();
        let mut last_event = lag.events.last().map(|event| event.kv.mod_revision);
        for record in store.history(lag.cursor.0, lag.cursor.1) {
            if record.main >= end {
                break;
            }
            // A batch ends between revisions only (WATCH-12).
            let is_full = lag.revisions >= revisions_max || lag.bytes >= BATCH_BYTES;
            if is_full && last_event != Some(record.main) {
                lag.cursor = (record.main, 0);
                return Slice::Full;
            }
            if *work == 0 {
                return Slice::Unfinished;
            }
            *work -= 1;
            lag.cursor = (record.main, record.sub + 1);
            if range.contains(&record.key)
                && let Some(event) = watcher.key.event(record, store)
            {
                if last_event != Some(record.main) {
                    lag.revisions += 1;
                    last_event = Some(record.main);
                }
                lag.bytes += event.credit_bytes();
                lag.events.push(event);
            }
        }
        lag.cursor = (lag.cursor.0.max(end), 0);
        Slice::CaughtUp
    }

    /// Sends what was collected, if anything; the watcher's next revision is its cursor's.
    fn send_batch(&mut self, id: u64, store: &Mvcc, raft_term: u64) {
        let watcher = self.watchers.get_mut(&id).expect("a living watcher");
        let Place::Lagging(lag) = &mut watcher.state else { unreachable!("only lagging ones are listed") };
        assert_eq!(lag.cursor.1, 0, "a batch ends between revisions");
        let next = lag.cursor.0;
        let events = std::mem::replace(lag, Lag::new(next)).events;
        if events.is_empty() {
            return;
        }
        watcher.was_active = true;
        let response = watcher.response(store.revision(), raft_term, Arc::new(events));
        let stream = self.streams.get_mut(&watcher.stream).expect("watchers have a stream");
        stream.charge(&response);
        self.outlet.push((watcher.stream, response));
    }

    /// A watcher at the hub's position follows it, unless the hub is in the middle of a revision.
    fn rejoin(&mut self, id: u64) {
        let watcher = self.watchers.get_mut(&id).expect("a living watcher");
        let Place::Lagging(lag) = &watcher.state else { unreachable!("only lagging ones are listed") };
        if self.position.1 == 0 && lag.next == self.position.0 {
            self.join(id);
        } else if lag.next > self.position.0 {
            let next = lag.next;
            watcher.state = Place::Future(next);
            self.future.insert((next, id));
        } else {
            self.runnable.push_back(id);
        }
    }

    /// WATCH-21: no reason, no revision, the compact revision instead.
    fn cancel_compacted(&mut self, id: u64, store: &Mvcc, raft_term: u64) {
        let watcher = self.watchers.get_mut(&id).expect("a living watcher");
        watcher.state = Place::Compacted;
        let response = WatchResponse {
            canceled: true,
            compact_revision: store.compact_revision(),
            fragment: false,
            ..watcher.response(0, raft_term, Arc::default())
        };
        self.outlet.push((watcher.stream, response));
    }
}
