//! Progress: the promise that everything up to a revision has been delivered.

use std::sync::Arc;

use rand::Rng;

use super::{Place, WatchHub};
use crate::base::{Instant, StreamId, WatchId};
use crate::boundary::WatchResponse;
use crate::mvcc::Mvcc;

impl WatchHub {
    /// Starts a stream's ticker with its first watcher that wants one: the interval and up to a tenth more
    /// (WATCH-18).
    pub(super) fn schedule_progress(&mut self, stream_id: StreamId, now: Instant) {
        let interval_ns = self.config.progress_interval_ns;
        let jitter_ns = self.rng.random_range(0..=interval_ns / 10);
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if stream.progress_at.is_none() {
            let at = now.plus_ns(interval_ns + jitter_ns);
            stream.progress_at = Some(at);
            self.next_progress.insert((at, stream_id));
        }
    }

    /// Answers what was asked for, then what is due. Behind the events of this pass: never ahead of one.
    pub(super) fn answer_progress(&mut self, now: Instant, store: &Mvcc, raft_term: u64) {
        let is_current = self.groups.is_empty() || self.position == (store.revision() + 1, 0);
        for stream_id in std::mem::take(&mut self.progress_asked) {
            if is_current && self.is_stream_synced(stream_id, store) {
                let response = progress(WatchId(-1), store, raft_term);
                self.outlet.push((stream_id, response));
            }
        }
        while let Some(&(at, stream_id)) = self.next_progress.first()
            && at <= now
        {
            self.next_progress.pop_first();
            self.notify(stream_id, is_current, store, raft_term);
            if let Some(stream) = self.streams.get_mut(&stream_id) {
                stream.progress_at = None;
                self.schedule_progress(stream_id, now);
            }
        }
    }

    /// WATCH-19: all watchers of the stream, of which there must be one, have everything.
    fn is_stream_synced(&self, stream_id: StreamId, store: &Mvcc) -> bool {
        let Some(stream) = self.streams.get(&stream_id) else { return false };
        let mut ids = stream.ids.values();
        !stream.ids.is_empty()
            && ids.all(|id| {
                let watcher = &self.watchers[id];
                matches!(watcher.state, Place::Synced) && watcher.start_revision <= store.revision()
            })
    }

    /// Watchers that want it, are synced and had no event since the last time.
    fn notify(&mut self, stream_id: StreamId, is_current: bool, store: &Mvcc, raft_term: u64) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        for id in stream.ids.values() {
            let watcher = self.watchers.get_mut(id).expect("streams hold living watchers");
            let was_active = std::mem::take(&mut watcher.was_active);
            let is_due = watcher.progress_notify && !was_active && is_current;
            if is_due && matches!(watcher.state, Place::Synced) {
                self.outlet.push((stream_id, progress(watcher.watch_id, store, raft_term)));
            }
        }
    }
}

fn progress(watch_id: WatchId, store: &Mvcc, raft_term: u64) -> WatchResponse {
    WatchResponse {
        revision: store.revision(),
        raft_term,
        watch_id,
        created: false,
        canceled: false,
        compact_revision: 0,
        cancel_reason: "",
        fragment: false,
        events: Arc::default(),
    }
}
