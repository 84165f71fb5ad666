//! What a client of one stream sees, quirk by quirk.

use bytes::Bytes;

use super::*;
use crate::base::LeaseId;
use crate::boundary::WatchCreate;

const STREAM: StreamId = StreamId(1);

/// A store and a hub with one stream.
struct World {
    store: Mvcc,
    hub: WatchHub,
    now: Instant,
}

fn config() -> WatchConfig {
    WatchConfig { credit_bytes: 1 << 20, revisions_max: 1000, progress_interval_ns: 600_000_000_000 }
}

impl World {
    fn new() -> World {
        World { store: Mvcc::new(), hub: WatchHub::new(config(), 1), now: Instant(0) }
    }

    fn put(&mut self, keys: &[&str]) -> i64 {
        self.store.begin();
        for key in keys {
            self.store.put(key.as_bytes(), Bytes::from_static(b"v"), LeaseId(0));
        }
        self.store.end();
        self.store.revision()
    }

    fn delete(&mut self, key: &str) -> i64 {
        self.store.begin();
        self.store.delete(key.as_bytes());
        self.store.end();
        self.store.revision()
    }

    fn op(&mut self, op: StreamOp) {
        self.hub.on_op(STREAM, op, self.now, &self.store, 1);
    }

    fn create(&mut self, create: WatchCreate) {
        self.op(StreamOp::Create(create));
    }

    /// Everything that leaves until the hub rests.
    fn take(&mut self) -> Vec<WatchResponse> {
        let mut out = Vec::new();
        loop {
            let mut work = 7;
            self.hub.step(self.now, &self.store, 1, &mut work, &mut out);
            if !self.hub.has_work(&self.store) {
                return out.into_iter().map(|(_, response)| response).collect();
            }
        }
    }

    fn compact(&mut self, revision: i64) {
        self.store.compact(revision);
        while !self.store.compact_step(&mut 100) {}
    }
}

fn on(key: &'static str) -> WatchCreate {
    WatchCreate { key: Bytes::from_static(key.as_bytes()), ..WatchCreate::default() }
}

fn prefix_all() -> WatchCreate {
    let all = Bytes::from_static(b"\0");
    WatchCreate { key: all.clone(), range_end: all, ..WatchCreate::default() }
}

fn revisions(responses: &[WatchResponse]) -> Vec<i64> {
    responses.iter().flat_map(|r| r.events.iter().map(|event| event.kv.mod_revision)).collect()
}

#[test]
fn q33_auto_ids_count_up_from_zero_and_never_go_back() {
    let mut world = World::new();
    world.create(on("a"));
    world.create(on("b"));
    world.op(StreamOp::Cancel { watch_id: WatchId(0) });
    world.create(on("c"));
    let ids: Vec<_> = world.take().iter().map(|r| (r.watch_id.0, r.created, r.canceled)).collect();
    assert_eq!(ids, [(0, true, false), (1, true, false), (0, false, true), (2, true, false)]);
}

#[test]
fn explicit_id_in_use_is_refused_and_free_again_after_cancel() {
    let mut world = World::new();
    let seven = || WatchCreate { watch_id: WatchId(7), ..on("a") };
    world.create(seven());
    world.create(seven());
    world.op(StreamOp::Cancel { watch_id: WatchId(7) });
    world.create(seven());
    let answers = world.take();
    let told: Vec<_> = answers.iter().map(|r| (r.watch_id.0, r.canceled, r.cancel_reason)).collect();
    let refused = (-1, true, "mvcc: duplicate watch ID provided on the WatchStream");
    assert_eq!(told, [(7, false, ""), refused, (7, true, ""), (7, false, "")]);
}

#[test]
fn q34_compacted_start_is_created_then_canceled_with_the_compact_revision() {
    let mut world = World::new();
    for _ in 0..5 {
        world.put(&["a"]);
    }
    world.compact(5);
    world.create(WatchCreate { start_revision: 3, ..on("a") });
    world.create(WatchCreate { start_revision: 5, ..on("a") });
    let answers = world.take();
    let canceled = answers.iter().find(|r| r.canceled).expect("the first is behind");
    assert_eq!((canceled.watch_id.0, canceled.compact_revision, canceled.revision), (0, 5, 0));
    assert_eq!(canceled.cancel_reason, "");
    assert!(answers[0].created && answers[0].watch_id.0 == 0);
    assert_eq!(revisions(&answers), [5, 6], "a start at the compact revision is served");
}

#[test]
fn q35_and_q23_negative_start_and_empty_range_are_created_and_canceled() {
    let mut world = World::new();
    world.create(WatchCreate { start_revision: -1, ..on("a") });
    world.create(WatchCreate { range_end: Bytes::from_static(b"a"), ..on("b") });
    let answers = world.take();
    let told: Vec<_> =
        answers.iter().map(|r| (r.created, r.canceled, r.watch_id.0, r.cancel_reason)).collect();
    assert_eq!(told[0], (true, true, -1, "etcdserver: mvcc: required revision has been compacted"));
    assert_eq!(told[1], (true, true, -1, "mvcc: watcher range is empty"));
}

#[test]
fn q36_cancel_of_an_unknown_id_answers_nothing() {
    let mut world = World::new();
    world.create(on("a"));
    world.op(StreamOp::Cancel { watch_id: WatchId(42) });
    world.op(StreamOp::Progress);
    let answers = world.take();
    assert_eq!(answers.len(), 2);
    assert_eq!((answers[1].watch_id.0, answers[1].revision, answers[1].events.len()), (-1, 1, 0));
}

#[test]
fn q38_manual_progress_is_all_or_nothing() {
    let mut world = World::new();
    world.op(StreamOp::Progress);
    assert!(world.take().is_empty(), "no watcher, no progress");
    world.create(on("a"));
    world.create(on("b"));
    world.take();
    world.op(StreamOp::Progress);
    assert_eq!(world.take().len(), 1);
    world.create(WatchCreate { start_revision: 100, ..on("c") });
    world.take();
    world.op(StreamOp::Progress);
    assert!(world.take().is_empty());
}

#[test]
fn q39_events_of_a_txn_come_in_one_response_in_order() {
    let mut world = World::new();
    world.create(prefix_all());
    world.take();
    let revision = world.put(&["c", "a", "b"]);
    let answers = world.take();
    let [response] = &answers[..] else { panic!("{answers:?}") };
    let keys: Vec<_> = response.events.iter().map(|event| event.kv.key.to_vec()).collect();
    assert_eq!(keys, [b"c", b"a", b"b"]);
    assert_eq!(response.revision, revision);
}

#[test]
fn q40_delete_event_has_key_and_revision_only() {
    let mut world = World::new();
    world.create(WatchCreate { prev_kv: true, ..on("a") });
    world.put(&["a"]);
    let revision = world.delete("a");
    let answers = world.take();
    let event = &answers.last().expect("delivered").events[0];
    assert_eq!((event.kind, event.kv.mod_revision), (EventKind::Delete, revision));
    assert_eq!((event.kv.version, event.kv.create_revision, event.kv.value.len()), (0, 0, 0));
    assert_eq!(event.prev_kv.as_ref().map(|kv| kv.mod_revision), Some(revision - 1));
    assert!(answers[1].events[0].prev_kv.is_none(), "a create has no pair before");
}

#[test]
fn q41_pair_before_is_missing_once_compacted() {
    let mut world = World::new();
    for _ in 0..3 {
        world.put(&["a"]);
    }
    world.compact(4);
    world.create(WatchCreate { prev_kv: true, start_revision: 4, ..on("a") });
    let answers = world.take();
    assert_eq!(revisions(&answers), [4]);
    assert!(answers[1].events[0].prev_kv.is_none());
}

#[test]
fn q42_catch_up_batch_has_a_thousand_revisions_and_the_store_revision() {
    let mut world = World::new();
    for _ in 0..2500 {
        world.put(&["a"]);
    }
    world.create(WatchCreate { start_revision: 2, ..on("a") });
    let answers = world.take();
    let lens: Vec<_> = answers.iter().map(|r| (r.revision, r.events.len())).collect();
    assert_eq!(lens, [(2501, 0), (2501, 1000), (2501, 1000), (2501, 500)]);
    assert_eq!(revisions(&answers), (2..=2501).collect::<Vec<_>>());
}

#[test]
fn q45_watch_that_filters_everything_is_silent_but_alive() {
    let mut world = World::new();
    world.create(WatchCreate { no_put: true, no_delete: true, progress_notify: true, ..on("a") });
    world.put(&["a"]);
    assert_eq!(world.take().len(), 1);
    world.now = Instant(700_000_000_000);
    let answers = world.take();
    assert_eq!(answers.iter().map(|r| (r.watch_id.0, r.revision)).collect::<Vec<_>>(), [(0, 2)]);
}

#[test]
fn progress_notification_comes_to_idle_watchers_that_want_it_also_if_they_never_had_an_event() {
    let mut world = World::new();
    world.create(WatchCreate { progress_notify: true, ..on("a") });
    world.create(WatchCreate { progress_notify: true, ..on("b") });
    world.create(on("c"));
    world.put(&["b"]);
    world.take();
    world.now = Instant(660_000_000_001);
    let answers = world.take();
    assert_eq!(answers.iter().map(|r| r.watch_id.0).collect::<Vec<_>>(), [0], "b was active, c did not ask");
    world.now = Instant(2 * 660_000_000_002);
    assert_eq!(world.take().len(), 2);
}

#[test]
fn future_start_is_silent_until_it_is_reached() {
    let mut world = World::new();
    world.create(WatchCreate { start_revision: 4, ..on("a") });
    world.create(WatchCreate { start_revision: i64::MAX - 2, ..on("a") });
    for _ in 0..4 {
        world.put(&["a"]);
    }
    assert_eq!(revisions(&world.take()), [4, 5]);
}

#[test]
fn stream_without_credit_lags_and_loses_nothing() {
    let mut world = World::new();
    world.hub.config.credit_bytes = 1;
    world.create(on("a"));
    for _ in 0..5 {
        world.put(&["a"]);
    }
    let first = world.take();
    assert_eq!(revisions(&first), [2], "one response may overdraw the credit");
    world.put(&["a"]);
    assert!(world.take().is_empty());
    world.op(StreamOp::Credit { bytes: 1 << 20 });
    assert_eq!(revisions(&world.take()), [3, 4, 5, 6, 7]);
    world.put(&["a"]);
    assert_eq!(revisions(&world.take()), [8]);
}

#[test]
fn slow_watcher_overtaken_by_compaction_is_canceled_not_served_with_a_gap() {
    let mut world = World::new();
    world.hub.config.credit_bytes = 1;
    world.create(on("a"));
    for _ in 0..5 {
        world.put(&["a"]);
    }
    world.take();
    world.compact(5);
    world.op(StreamOp::Credit { bytes: 1 << 20 });
    let answers = world.take();
    assert_eq!(answers.iter().map(|r| (r.canceled, r.compact_revision)).collect::<Vec<_>>(), [(true, 5)]);
}

#[test]
fn id_of_a_compacted_watcher_is_in_use_until_the_client_cancels_it() {
    let mut world = World::new();
    for _ in 0..5 {
        world.put(&["a"]);
    }
    world.compact(5);
    let seven = || WatchCreate { watch_id: WatchId(7), start_revision: 3, ..on("a") };
    world.create(seven());
    world.take();
    world.create(seven());
    world.op(StreamOp::Progress);
    world.op(StreamOp::Cancel { watch_id: WatchId(7) });
    let told: Vec<_> = world.take().iter().map(|r| (r.watch_id.0, r.canceled, r.compact_revision)).collect();
    assert_eq!(told, [(-1, true, 0), (7, true, 0)]);
}

#[test]
fn closed_stream_gets_nothing_more() {
    let mut world = World::new();
    world.create(WatchCreate { progress_notify: true, ..on("a") });
    world.op(StreamOp::Close);
    world.put(&["a"]);
    assert!(world.take().is_empty());
    assert_eq!(world.hub.counts(), (0, 0, 0));
}
