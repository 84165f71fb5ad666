//! Random histories, streams, credits and slices: each watcher gets exactly its events.

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

use super::*;
use crate::base::LeaseId;
use crate::boundary::WatchCreate;

/// What a watcher must have seen.
struct Expected {
    range: KeyRange,
    no_put: bool,
    no_delete: bool,
    next: i64,
    is_canceled: bool,
}

/// All changes ever made: revision, key, whether it is a put.
type Changes = Vec<(i64, Vec<u8>, bool)>;

struct World {
    rng: ChaCha8Rng,
    store: Mvcc,
    hub: WatchHub,
    changes: Changes,
    watchers: BTreeMap<(u64, i64), Expected>,
    next_id: BTreeMap<u64, i64>,
    now: u64,
    delivered: u64,
    canceled: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = WatchConfig {
            credit_bytes: rng.random_range(1..2000),
            revisions_max: rng.random_range(1..5),
            progress_interval_ns: 100,
        };
        World {
            rng,
            store: Mvcc::new(),
            hub: WatchHub::new(config, seed),
            changes: Vec::new(),
            watchers: BTreeMap::new(),
            next_id: BTreeMap::new(),
            now: 0,
            delivered: 0,
            canceled: 0,
        }
    }

    fn key(&mut self) -> Bytes {
        vec![self.rng.random_range(b'a'..b'h')].into()
    }

    fn write(&mut self) {
        self.store.begin();
        let revision = self.store.revision() + 1;
        for _ in 0..self.rng.random_range(1..6) {
            let key = self.key();
            if self.changes.iter().rev().any(|(at, seen, _)| *at == revision && *seen == key) {
                // A compaction at this revision would rightly keep the later change only.
                continue;
            }
            let is_put = self.rng.random_bool(0.7);
            let changed = match is_put {
                true => {
                    self.store.put(&key, Bytes::from_static(b"value"), LeaseId(0));
                    true
                }
                false => self.store.delete(&key).is_some(),
            };
            if changed {
                self.changes.push((revision, key.to_vec(), is_put));
            }
        }
        self.store.end();
    }

    fn create(&mut self) {
        let stream = self.rng.random_range(0..4);
        let current = self.store.revision();
        let start_revision = match self.rng.random_range(0..3) {
            0 => 0,
            1 => self.rng.random_range(1..=current),
            _ => current + self.rng.random_range(1..4),
        };
        let range_end = match self.rng.random_range(0..3) {
            0 => Bytes::new(),
            1 => Bytes::from_static(b"\0"),
            _ => Bytes::from_static(b"z"),
        };
        let create = WatchCreate {
            key: self.key(),
            range_end,
            start_revision,
            no_put: self.rng.random_bool(0.2),
            no_delete: self.rng.random_bool(0.2),
            prev_kv: self.rng.random_bool(0.5),
            progress_notify: self.rng.random_bool(0.3),
            ..WatchCreate::default()
        };
        let id = self.next_id.entry(stream).or_insert(0);
        let expected = Expected {
            range: KeyRange::new(create.key.clone(), create.range_end.clone()),
            no_put: create.no_put,
            no_delete: create.no_delete,
            next: if start_revision == 0 { current + 1 } else { start_revision },
            is_canceled: false,
        };
        self.watchers.insert((stream, *id), expected);
        *id += 1;
        self.op(stream, StreamOp::Create(create));
    }

    fn op(&mut self, stream: u64, op: StreamOp) {
        self.hub.on_op(StreamId(stream), op, Instant(self.now), &self.store, 1);
    }

    fn step(&mut self, work: u32) {
        let (mut out, mut work) = (Vec::new(), work);
        self.now += 1;
        self.hub.step(Instant(self.now), &self.store, 1, &mut work, &mut out);
        for (stream, response) in out {
            self.check(stream.0, response);
        }
    }

    /// The response says just what comes next for its watcher.
    fn check(&mut self, stream: u64, response: WatchResponse) {
        let (changes, compacted) = (&self.changes, self.store.compact_revision());
        if response.watch_id.0 == -1 {
            for ((_, id), watcher) in self.watchers.iter().filter(|((s, _), _)| *s == stream) {
                let owed = watcher.owed(changes, response.revision);
                assert!(watcher.is_canceled || owed.is_empty(), "progress ahead of {owed:?} of {id}");
            }
            return;
        }
        let watcher = self.watchers.get_mut(&(stream, response.watch_id.0)).expect("created before");
        assert!(!watcher.is_canceled, "nothing after a cancel");
        if response.canceled {
            assert!(watcher.next < compacted, "canceled at {} though {compacted} is compacted", watcher.next);
            watcher.is_canceled = true;
            self.canceled += 1;
        } else if response.events.is_empty() {
            if !response.created {
                assert!(watcher.owed(changes, response.revision).is_empty(), "progress ahead of events");
            }
        } else {
            let got: Changes = response
                .events
                .iter()
                .map(|e| (e.kv.mod_revision, e.kv.key.to_vec(), e.kind == EventKind::Put))
                .collect();
            let last = got.last().expect("not empty").0;
            assert_eq!(got, watcher.owed(changes, last), "in order, whole revisions, none missing");
            watcher.next = last + 1;
            self.delivered += got.len() as u64;
        }
    }

    /// Physical compaction as the node does it.
    fn compact_step(&mut self) {
        let compacted = self.store.compact_revision();
        if self.hub.pinned_revision(&self.store).is_none_or(|revision| revision > compacted) {
            self.store.compact_step(&mut 20);
        }
    }
}

impl Expected {
    /// Events from `next` up to `through`.
    fn owed(&self, changes: &Changes, through: i64) -> Changes {
        let wanted = |(revision, key, is_put): &&(i64, Vec<u8>, bool)| {
            (self.next..=through).contains(revision)
                && self.range.contains(key)
                && !(if *is_put { self.no_put } else { self.no_delete })
        };
        changes.iter().filter(wanted).cloned().collect()
    }
}

#[test]
fn every_watcher_gets_its_events_in_order_or_a_cancel_when_it_is_really_behind() {
    let (mut delivered, mut canceled) = (0, 0);
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            match world.rng.random_range(0..20) {
                0..8 => world.write(),
                8 => world.create(),
                9 => {
                    let current = world.store.revision();
                    let low = world.store.compact_revision().max(0);
                    if low < current && world.rng.random_bool(0.3) {
                        let revision = world.rng.random_range(low + 1..=current);
                        world.store.compact(revision);
                    }
                }
                10 => {
                    let stream = world.rng.random_range(0..4);
                    world.op(stream, StreamOp::Progress);
                }
                11 | 12 => {
                    let (stream, bytes) = (world.rng.random_range(0..4), world.rng.random_range(1..1000));
                    world.op(stream, StreamOp::Credit { bytes });
                }
                _ => {
                    let work = world.rng.random_range(1..12);
                    world.step(work);
                    world.compact_step();
                }
            }
        }
        for stream in 0..4 {
            world.op(stream, StreamOp::Credit { bytes: 1 << 40 });
        }
        while world.hub.has_work(&world.store) {
            world.step(1000);
        }
        let current = world.store.revision();
        for (id, watcher) in world.watchers.iter().filter(|(_, watcher)| !watcher.is_canceled) {
            assert!(watcher.owed(&world.changes, current).is_empty(), "seed {seed}: {id:?} is owed events");
        }
        delivered += world.delivered;
        canceled += world.canceled;
    }
    assert!(delivered > 10_000, "{delivered}");
    assert!(canceled > 20, "{canceled}");
}
