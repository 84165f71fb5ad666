//! Watchers come and go.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;

use super::lagging::Lag;
use super::{GroupKey, Place, WatchHub, Watcher};
use crate::base::{Instant, KeyRange, StreamId, WatchId};
use crate::boundary::{WatchCreate, WatchResponse};
use crate::mvcc::Mvcc;
use crate::status::Status;

/// Texts of refusals (WATCH-5, 6, 8). Source: etcd 3.7.1 server/storage/mvcc/watcher.go.
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";

impl WatchHub {
    /// A created response, and a watcher; or one that is canceled at once, with the reason.
    pub(super) fn create(
        &mut self,
        stream_id: StreamId,
        create: WatchCreate,
        now: Instant,
        store: &Mvcc,
        raft_term: u64,
    ) {
        let watch_id = match self.check_create(stream_id, &create) {
            Ok(watch_id) => watch_id,
            Err(reason) => return self.push_refusal(stream_id, reason, store, raft_term),
        };
        self.next_watcher += 1;
        let id = self.next_watcher;
        let wants_progress = create.progress_notify;
        let watcher = Watcher {
            stream: stream_id,
            watch_id,
            start_revision: create.start_revision,
            fragment: create.fragment,
            progress_notify: create.progress_notify,
            was_active: false,
            state: Place::Future(0),
            key: GroupKey {
                start: if create.key.is_empty() { Bytes::from_static(b"\0") } else { create.key },
                range_end: create.range_end,
                no_put: create.no_put,
                no_delete: create.no_delete,
                prev_kv: create.prev_kv,
            },
        };
        self.watchers.insert(id, watcher);
        let stream = self.streams.get_mut(&stream_id).expect("opened by its first operation");
        stream.ids.insert(watch_id.0, id);
        self.outlet.push((stream_id, created(watch_id, store, raft_term)));
        let next = match create.start_revision {
            0 => store.revision() + 1,
            start => start,
        };
        self.place(id, next, store);
        if wants_progress {
            self.schedule_progress(stream_id, now);
        }
    }

    /// Refuses a watch whose creator may not read its range. A start before time itself is judged first.
    pub fn refuse(
        &mut self,
        stream_id: StreamId,
        create: &WatchCreate,
        status: Status,
        store: &Mvcc,
        raft_term: u64,
    ) {
        self.open_stream(stream_id);
        let reason = match create.start_revision < 0 {
            true => Status::Compacted.text(),
            false => reason_of(status),
        };
        self.push_refusal(stream_id, reason, store, raft_term);
    }

    fn push_refusal(&mut self, stream_id: StreamId, reason: &'static str, store: &Mvcc, raft_term: u64) {
        let canceled = created(WatchId(-1), store, raft_term);
        let refused = WatchResponse { canceled: true, cancel_reason: reason, ..canceled };
        self.outlet.push((stream_id, refused));
    }

    /// Checks in etcd's order; the id the watcher gets.
    fn check_create(&mut self, stream_id: StreamId, create: &WatchCreate) -> Result<WatchId, &'static str> {
        if create.start_revision < 0 {
            return Err(Status::Compacted.text());
        }
        let start = if create.key.is_empty() { Bytes::from_static(b"\0") } else { create.key.clone() };
        if KeyRange::new(start, create.range_end.clone()).is_empty() {
            return Err(EMPTY_RANGE);
        }
        let stream = self.streams.get_mut(&stream_id).expect("opened by its first operation");
        if create.watch_id.0 == 0 {
            while stream.ids.contains_key(&stream.next_auto_id) {
                stream.next_auto_id += 1;
            }
            stream.next_auto_id += 1;
            return Ok(WatchId(stream.next_auto_id - 1));
        }
        match stream.ids.entry(create.watch_id.0) {
            Entry::Occupied(_) => Err(DUPLICATE_ID),
            Entry::Vacant(_) => Ok(create.watch_id),
        }
    }

    /// Puts a watcher where its next revision is: behind the hub, with it, or ahead of it.
    fn place(&mut self, id: u64, next: i64, store: &Mvcc) {
        let watcher = self.watchers.get_mut(&id).expect("just made");
        if next <= store.revision() {
            watcher.state = Place::Lagging(Lag::new(next));
            let stream = self.streams.get_mut(&watcher.stream).expect("watchers have a stream");
            match stream.credit_bytes > 0 {
                true => self.runnable.push_back(id),
                false => stream.blocked.push(id),
            }
        } else if next == self.position.0 && self.position.1 == 0 {
            self.join(id);
        } else {
            watcher.state = Place::Future(next);
            self.future.insert((next, id));
        }
    }

    /// Known: canceled, without a reason; unknown: nothing (WATCH-22).
    pub(super) fn cancel(&mut self, stream_id: StreamId, watch_id: WatchId, store: &Mvcc, raft_term: u64) {
        let stream = self.streams.get_mut(&stream_id).expect("opened by its first operation");
        let Some(id) = stream.ids.remove(&watch_id.0) else { return };
        let response =
            WatchResponse { created: false, canceled: true, ..created(watch_id, store, raft_term) };
        self.forget(id);
        self.outlet.push((stream_id, response));
    }

    /// The stream and all its watchers go; nothing more is delivered.
    pub(super) fn close(&mut self, stream_id: StreamId) {
        let ids: Vec<u64> = self.streams[&stream_id].ids.values().copied().collect();
        for id in ids {
            self.forget(id);
        }
        if let Some(at) = self.streams.remove(&stream_id).and_then(|stream| stream.progress_at) {
            self.next_progress.remove(&(at, stream_id));
        }
        self.outlet.retain(|(stream, _)| *stream != stream_id);
        self.progress_asked.retain(|stream| *stream != stream_id);
    }
}

/// What a client reads of a refusal; etcd hands on its gRPC error with all that Go says around it.
/// Source: etcd 3.7.1 server/etcdserver/api/v3rpc/watch.go (recvLoop).
fn reason_of(status: Status) -> &'static str {
    match status {
        Status::InvalidAuthToken => "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        Status::AuthOldRevision => {
            "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old"
        }
        Status::UserEmpty => "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
        _ => "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
    }
}

/// A created response (WATCH-4).
fn created(watch_id: WatchId, store: &Mvcc, raft_term: u64) -> WatchResponse {
    WatchResponse {
        revision: store.revision(),
        raft_term,
        watch_id,
        created: true,
        canceled: false,
        compact_revision: 0,
        cancel_reason: "",
        fragment: false,
        events: Arc::default(),
    }
}
