//! etcd's surprises that take a whole node to be seen, by their numbers.

use super::*;
use crate::boundary::{EventKind, StreamOp, WatchCreate};

const NS_A_S: u64 = 1_000_000_000;

fn leased(key: &'static str, lease: i64) -> Request {
    let key = Bytes::from_static(key.as_bytes());
    Request::Put(PutRequest { key, lease: LeaseId(lease), ..PutRequest::default() })
}

fn grant(id: i64, ttl: i64) -> Request {
    Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(id), ttl })
}

fn compact(revision: i64) -> Request {
    Request::Compact(CompactRequest { revision, physical: true })
}

impl World {
    fn revision(&self) -> i64 {
        self.node.state().kv.revision()
    }

    fn granted_ttl(&mut self, id: i64, ttl: i64) -> i64 {
        match self.ask(grant(id, ttl)) {
            Ok(Response::LeaseGrant { ttl, .. }) => ttl,
            other => panic!("{other:?}"),
        }
    }

    fn remaining_ttl(&mut self, id: i64) -> i64 {
        match self.ask(Request::LeaseTimeToLive { id: LeaseId(id), keys: false }) {
            Ok(Response::LeaseTimeToLive { ttl, .. }) => ttl,
            other => panic!("{other:?}"),
        }
    }

    /// Hash, compact revision and hash revision.
    fn hash_kv(&mut self, revision: i64) -> (u32, i64, i64) {
        match self.ask(Request::HashKv { revision }) {
            Ok(Response::HashKv { hash, compact_revision, hash_revision, .. }) => {
                (hash, compact_revision, hash_revision)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn q25_compacting_twice_at_one_revision_fails() {
    let mut world = World::new();
    for _ in 0..6 {
        world.put("a", b"");
    }
    assert!(world.ask(compact(5)).is_ok());
    assert_eq!(world.ask(compact(5)), Err(Status::Compacted));
    assert_eq!(world.ask(compact(4)), Err(Status::Compacted));
    let current = world.revision();
    assert_eq!(world.ask(compact(current + 1)), Err(Status::FutureRev));
    assert!(world.ask(compact(current)).is_ok());
    assert_eq!(world.revision(), current, "a compaction takes no revision");
}

#[test]
fn q30_hash_kv_at_a_revision_does_not_depend_on_how_far_removal_and_defragmentation_are() {
    let mut worlds = [World::new(), World::new()];
    for world in &mut worlds {
        for i in 0..40u8 {
            world.put(&format!("k{}", i % 5), &[i]);
        }
        let key = Bytes::from_static(b"k3");
        world.ask(Request::DeleteRange(DeleteRangeRequest { key, ..Default::default() })).expect("deleted");
    }
    let [ahead, behind] = &mut worlds;
    ahead.ask(compact(30)).expect("compacted");
    ahead.ask(Request::Defragment).expect("nothing to do");
    // The other one has only just been told to compact: its old revisions are still there.
    behind.waiter += 1;
    let request = Request::Compact(CompactRequest { revision: 30, physical: false });
    let mut inputs =
        vec![Input::Client { waiter: WaiterId(behind.waiter), credentials: Credentials::None, request }];
    behind.node.limits.work_max = 3;
    behind.node.step(behind.now, &mut inputs, &mut behind.effects);
    behind.perform(&mut inputs);
    behind.node.step(behind.now, &mut inputs, &mut behind.effects);
    assert!(behind.node.state().kv.is_compacting());
    assert_eq!(ahead.hash_kv(35), behind.hash_kv(35));
    assert_eq!(ahead.hash_kv(0), behind.hash_kv(0));
    assert_eq!(ahead.hash_kv(35).1, 30);
}

#[test]
fn q31_first_hash_kv_has_a_compact_revision_of_minus_one() {
    let mut world = World::new();
    world.put("a", b"");
    let (hash, compact_revision, hash_revision) = world.hash_kv(0);
    assert_ne!(hash, 0);
    assert_eq!((compact_revision, hash_revision), (-1, 2));
}

#[test]
fn q32_size_is_that_of_the_encoded_command() {
    let mut world = World::new();
    let bytes_max = 1_572_864;
    let mut put = |value_bytes: usize| {
        let value = Bytes::from(vec![0; value_bytes]);
        world.ask(Request::Put(PutRequest { key: Bytes::from_static(b"k"), value, ..Default::default() }))
    };
    assert_eq!(put(bytes_max), Err(Status::RequestTooLarge));
    assert!(put(bytes_max - 512).is_ok());
}

#[test]
fn q46_ttl_of_zero_or_less_is_granted_as_the_minimum() {
    let mut world = World::new();
    assert_eq!(world.granted_ttl(1, 0), 2);
    assert_eq!(world.granted_ttl(2, -5), 2);
    assert_eq!(world.granted_ttl(3, 3), 3);
}

#[test]
fn q47_ttl_above_nine_billion_is_refused_before_the_id_is_looked_at() {
    let mut world = World::new();
    assert_eq!(world.granted_ttl(1, 9_000_000_000), 9_000_000_000);
    assert_eq!(world.ask(grant(1, 9_000_000_001)), Err(Status::LeaseTtlTooLarge));
    assert_eq!(world.ask(grant(1, 60)), Err(Status::LeaseExist));
}

#[test]
fn q48_unknown_lease_has_another_answer_for_each_question() {
    let mut world = World::new();
    let id = LeaseId(9);
    assert_eq!(world.ask(Request::LeaseRevoke { id }), Err(Status::LeaseNotFound));
    assert_eq!(world.ask(leased("a", 9)), Err(Status::LeaseNotFound));
    assert_eq!(world.remaining_ttl(9), -1);
    let Ok(Response::LeaseKeepAlive { ttl, .. }) = world.ask(Request::LeaseKeepAlive { id }) else {
        panic!("it is answered")
    };
    assert_eq!(ttl, 0);
    assert_eq!(world.revision(), 1);
}

#[test]
fn q49_revoke_takes_one_revision_with_keys_and_none_without() {
    let mut world = World::new();
    world.granted_ttl(1, 60);
    world.granted_ttl(2, 60);
    world.ask(Request::LeaseRevoke { id: LeaseId(1) }).expect("revoked");
    assert_eq!(world.revision(), 1);
    for key in ["c", "a", "b"] {
        world.ask(leased(key, 2)).expect("attached");
    }
    let all = Bytes::from_static(b"\0");
    let create = WatchCreate { key: all.clone(), range_end: all, ..WatchCreate::default() };
    world.turn(vec![Input::Stream { stream: StreamId(1), op: StreamOp::Create(create) }]);
    world.delivered.clear();
    world.ask(Request::LeaseRevoke { id: LeaseId(2) }).expect("revoked");
    assert_eq!(world.revision(), 5);
    let [response] = &world.delivered[..] else { panic!("{:?}", world.delivered) };
    let events: Vec<_> = response.events.iter().map(|e| (e.kind, &e.kv.key[..], e.kv.mod_revision)).collect();
    let gone = |key: &'static [u8]| (EventKind::Delete, key, 5);
    assert_eq!(events, [gone(b"a"), gone(b"b"), gone(b"c")]);
}

#[test]
fn q50_new_leader_gives_leases_their_full_time() {
    let mut world = World::new();
    world.granted_ttl(1, 60);
    world.now = world.now.plus_ns(30 * NS_A_S);
    let left = world.remaining_ttl(1);
    assert!((28..=30).contains(&left), "{left}");
    let mut world = world.restart(Limits::default());
    let left = world.remaining_ttl(1);
    assert!((60..=61).contains(&left), "{left}");
}

#[test]
fn q52_list_of_leases_needs_nobody_else() {
    let mut world = World::new();
    world.granted_ttl(7, 60);
    // A quorum of one is this member's disk; it hangs.
    let mut inputs = vec![Input::Client {
        waiter: WaiterId(100),
        credentials: Credentials::None,
        request: leased("a", 7),
    }];
    world.node.step(world.now, &mut inputs, &mut world.effects);
    assert!(matches!(&world.effects.list[..], [Effect::Append { .. }]));
    let Ok(Response::LeaseLeases { ids, .. }) = world.ask(Request::LeaseLeases) else {
        panic!("it is answered")
    };
    assert_eq!(ids, [LeaseId(7)]);
    assert!(world.replies.is_empty());
}
