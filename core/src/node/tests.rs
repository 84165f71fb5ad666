//! A node on an honest disk: what a turn does, and what a new life finds.

use bytes::Bytes;

use std::collections::BTreeMap;

mod auth;
mod leases;

use super::*;
use crate::admit::AdmitConfig;
use crate::base::{LeaseId, StreamId};
use crate::boundary::WatchResponse;
use crate::check::RequestLimits;
use crate::members::Bootstrap;
use crate::memory_disk::MemoryDisk;
use crate::recover;
use crate::request::{
    CompactRequest, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, Secret,
};
use crate::wal::{Identity, Layout, LayoutConfig};

mod quirks;

const LAYOUT: LayoutConfig =
    LayoutConfig { first_segment_bytes: 64 << 10, segment_bytes: 64 << 10, spares_max: 1 };

/// A node, its disk, and time that passes a millisecond a turn.
struct World {
    disk: MemoryDisk,
    node: Node,
    layout: Layout,
    checkpoints: crate::checkpoint::Checkpoints,
    now: Instant,
    waiter: u64,
    effects: Effects,
    notes: Vec<Note>,
    replies: BTreeMap<WaiterId, Result<Response, Status>>,
    /// What watch streams were sent, whichever stream it was.
    delivered: Vec<WatchResponse>,
    /// Passwords checked.
    entropy: u128,
}

/// What a password hashes to here.
fn hash_of(password: &Secret) -> Secret {
    Secret([b"hash of ", &password.0[..]].concat().into())
}

fn config(limits: Limits) -> Config {
    let bootstrap = bootstrap();
    Config {
        name: "default".into(),
        client_urls: vec!["http://localhost:2379".into()],
        heartbeat_ns: 100_000_000,
        election_ticks: 10,
        pre_vote: true,
        watch_progress_ns: 600_000_000_000,
        lease_checkpoint_ns: None,
        auto_compaction: None,
        auth_token_ttl_ns: 300_000_000_000,
        state_version_max: crate::state::STATE_VERSION,
        admit: AdmitConfig {
            limits: RequestLimits::default(),
            request_bytes_max: 1_572_864,
            quota_bytes: None,
            lease_ttl_min_s: 2,
            learners_max: 1,
            strict_reconfig: true,
        },
        limits,
        identity: Identity {
            cluster_id: bootstrap.cluster_id(),
            member_id: bootstrap.member_id().expect("we are in it"),
        },
    }
}

fn bootstrap() -> Bootstrap {
    Bootstrap {
        token: "etcd-cluster".into(),
        members: vec![("default".into(), vec!["http://localhost:2380".into()])],
        name: "default".into(),
    }
}

impl World {
    fn open(disk: MemoryDisk, now: Instant, limits: Limits) -> World {
        let recovered = disk.recover().expect("undamaged");
        let config = config(limits);
        let layout = recover::layout(config.identity, LAYOUT, recovered.found.as_ref());
        let boot = match recovered.found {
            Some(found) => Boot::Existing(Box::new(found), Start::New(bootstrap())),
            None => Boot::Fresh(Start::New(bootstrap())),
        };
        let node = Node::open(config, boot, 7, now).expect("a valid directory");
        World {
            disk,
            node,
            layout,
            checkpoints: recovered.checkpoints,
            now,
            waiter: 0,
            effects: Effects::default(),
            notes: Vec::new(),
            replies: BTreeMap::new(),
            delivered: Vec::new(),
            entropy: 0,
        }
    }

    fn new() -> World {
        let mut world = World::open(MemoryDisk::default(), Instant(0), Limits::default());
        world.serve();
        world
    }

    /// Ticks until the member has published itself.
    fn serve(&mut self) {
        for _ in 0..10 {
            self.turn(vec![Input::Tick]);
            if self.notes.iter().any(|note| matches!(note, Note::Published { .. })) {
                return;
            }
        }
        panic!("not published: {:?}", self.notes);
    }

    /// Turns until the node asks for nothing more.
    fn turn(&mut self, mut inputs: Vec<Input>) {
        loop {
            self.now = self.now.plus_ns(1_000_000);
            self.node.step(self.now, &mut inputs, &mut self.effects);
            self.perform(&mut inputs);
            if inputs.is_empty() && self.effects.wake_at.is_none() {
                return;
            }
        }
    }

    /// Carries out what a turn asked for; completions are the next turn's inputs.
    fn perform(&mut self, inputs: &mut Vec<Input>) {
        for effect in self.effects.list.drain(..) {
            match effect {
                Effect::Append { frames, through } => {
                    self.disk.perform(self.layout.append(&frames, through));
                    inputs.push(Input::Persisted { through });
                }
                Effect::Checkpoint(step) => {
                    self.disk.perform(self.checkpoints.plan(step));
                    inputs.push(Input::Checkpointed { ok: true });
                }
                Effect::Reclaim { through } => self.disk.perform(self.layout.reclaim(through)),
                Effect::Reply { waiter, result } => {
                    assert!(self.replies.insert(waiter, result).is_none(), "one reply a caller");
                }
                Effect::Note(note) => self.notes.push(note),
                Effect::Deliver { response, .. } => self.delivered.push(response),
                Effect::Send { .. } | Effect::Connect { .. } | Effect::Disconnect { .. } => {}
                Effect::HashPassword { job, password } => {
                    inputs.push(Input::PasswordHashed { job, hash: hash_of(&password) });
                }
                Effect::CheckPassword { job, password, hash } => {
                    self.entropy += 1;
                    let fits = hash == hash_of(&password);
                    inputs.push(Input::PasswordChecked { job, fits, entropy: self.entropy });
                }
                Effect::Halt { why } => panic!("halted: {why}"),
            }
        }
    }

    fn ask(&mut self, request: Request) -> Result<Response, Status> {
        self.ask_as(Credentials::None, request)
    }

    fn ask_as(&mut self, credentials: Credentials, request: Request) -> Result<Response, Status> {
        self.waiter += 1;
        let waiter = WaiterId(self.waiter);
        self.turn(vec![Input::Client { waiter, credentials, request }]);
        self.replies.remove(&waiter).expect("answered")
    }

    fn put(&mut self, key: &str, value: &[u8]) -> i64 {
        let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value));
        match self.ask(Request::Put(PutRequest { key, value, ..PutRequest::default() })) {
            Ok(Response::Put(put)) => put.header.revision,
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        match self.ask(Request::Range(RangeRequest { key, ..RangeRequest::default() })) {
            Ok(Response::Range(range)) => range.kvs.first().map(|kv| kv.value.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    /// The process dies; another opens the same disk.
    fn restart(self, limits: Limits) -> World {
        let mut world = World::open(self.disk, self.now, limits);
        world.serve();
        world
    }
}

#[test]
fn a_fresh_member_is_at_revision_one_and_puts_raise_it() {
    let mut world = World::new();
    assert_eq!(world.node.state().kv.revision(), 1);
    assert_eq!(world.put("a", b"1"), 2);
    assert_eq!(world.put("a", b"2"), 3);
    assert_eq!(world.get("a"), Some(b"2".to_vec()));
    assert!(world.node.consensus.is_settled());
}

#[test]
fn a_new_life_has_the_state_of_the_old_one() {
    let mut world = World::new();
    for i in 0..50 {
        world.put(&format!("key-{}", i % 7), &[i; 100]);
    }
    world.ask(Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(5), ttl: 60 })).expect("granted");
    let (revision, term) = (world.node.state().kv.revision(), world.node.state().applied_term);
    let mut world = world.restart(Limits::default());
    assert_eq!(world.node.state().kv.revision(), revision);
    assert!(world.node.state().applied_term > term, "a new life leads in a new term");
    assert_eq!(world.get("key-0"), Some(vec![49; 100]));
    assert!(world.node.state().leases.exists(LeaseId(5)));
    assert_eq!(world.put("key-0", b""), revision + 1);
}

#[test]
fn checkpoints_are_written_the_log_is_reclaimed_and_both_are_read_back() {
    let limits =
        Limits { checkpoint_log_bytes_min: 20_000, checkpoint_piece_bytes_max: 3000, ..Limits::default() };
    let mut world = World::open(MemoryDisk::default(), Instant(0), limits.clone());
    world.serve();
    for round in 0..6 {
        for i in 0..200u16 {
            world.put(&format!("key-{}", i % 37), &i.to_le_bytes().repeat(100));
            if i % 10 == 0 {
                world.turn(vec![Input::Tick]);
            }
        }
        let revision = world.node.state().kv.revision();
        world.ask(Request::Compact(CompactRequest { revision, physical: true })).expect("compacted");
        let (hash, applied) = (world.node.state().hash(), world.node.state().applied);
        let mut copy = World::open(world.disk.clone(), world.now, limits.clone());
        copy.turn(vec![]);
        assert_eq!((copy.node.state().hash(), copy.node.state().applied), (hash, applied), "round {round}");
        world = world.restart(limits.clone());
    }
    let files: Vec<_> = world.disk.0.keys().collect();
    assert_eq!(files.iter().filter(|file| file.ends_with(".ckpt")).count(), 2, "{files:?}");
    assert!(files.iter().filter(|file| file.ends_with(".wal")).count() < 40, "{files:?}");
    assert!(!files.iter().any(|file| file.ends_with("wal/0000000000000001.wal")), "{files:?}");
}

#[test]
fn an_entry_that_cannot_be_read_halts_the_member() {
    let mut world = World::new();
    world.node.consensus.propose([Bytes::from_static(b"\xffnonsense")]).expect("leads");
    let mut inputs = Vec::new();
    world.node.step(world.now, &mut inputs, &mut world.effects);
    let Some(Effect::Append { through, .. }) = world.effects.list.pop() else { panic!("appended") };
    inputs.push(Input::Persisted { through });
    world.node.step(world.now, &mut inputs, &mut world.effects);
    let halt = world.effects.list.iter().find_map(|effect| match effect {
        Effect::Halt { why } => Some(why.clone()),
        _ => None,
    });
    assert_eq!(halt.as_deref(), Some("log entry 5 cannot be applied: unknown command format"));
}

#[test]
fn leadership_stays_with_the_only_member() {
    let mut world = World::new();
    let target = world.node.id();
    assert_eq!(world.ask(Request::MoveLeader { target }), Ok(Response::MoveLeader));
    let unknown = Request::MoveLeader { target: MemberId(1) };
    assert_eq!(world.ask(unknown), Err(Status::BadLeaderTransferee));
}

#[test]
fn nothing_is_answered_before_its_frame_is_durable() {
    let mut world = World::new();
    let request = Request::Put(PutRequest { key: Bytes::from_static(b"k"), ..PutRequest::default() });
    let mut inputs = vec![Input::Client { waiter: WaiterId(1), credentials: Credentials::None, request }];
    world.node.step(world.now, &mut inputs, &mut world.effects);
    let [Effect::Append { through, .. }] = &world.effects.list[..] else {
        panic!("{:?}", world.effects.list)
    };
    let through = *through;
    world.node.step(world.now, &mut inputs, &mut world.effects);
    assert!(world.effects.list.is_empty());
    inputs.push(Input::Persisted { through });
    world.node.step(world.now, &mut inputs, &mut world.effects);
    assert!(matches!(&world.effects.list[..], [Effect::Reply { waiter: WaiterId(1), result: Ok(_) }]));
}

#[test]
fn a_half_applied_delete_holds_up_no_read() {
    let limits = Limits { work_max: 10, ..Limits::default() };
    let mut world = World::open(MemoryDisk::default(), Instant(0), limits);
    world.serve();
    for i in 0..100 {
        world.put(&format!("key-{i:02}"), b"v");
    }
    let all = || Bytes::from_static(b"\0");
    let delete = DeleteRangeRequest { key: all(), range_end: all(), prev_kv: false };
    let mut inputs = vec![Input::Client {
        waiter: WaiterId(1000),
        credentials: Credentials::None,
        request: Request::DeleteRange(delete),
    }];
    for _ in 0..3 {
        world.node.step(world.now, &mut inputs, &mut world.effects);
        world.perform(&mut inputs);
    }
    assert!(world.node.applier.is_busy());
    // Linearizable: nobody has been told of the delete.
    let request = Request::Range(RangeRequest { key: all(), range_end: all(), ..Default::default() });
    inputs.push(Input::Client {
        waiter: WaiterId(1001),
        credentials: Credentials::None,
        request: Request::clone(&request),
    });
    let mut turns = 0;
    while !world.replies.contains_key(&WaiterId(1001)) {
        turns += 1;
        world.node.step(world.now, &mut inputs, &mut world.effects);
        world.perform(&mut inputs);
        assert!(turns < 100, "it is answered");
    }
    let Some(Ok(Response::Range(found))) = world.replies.remove(&WaiterId(1001)) else { panic!("a range") };
    assert_eq!((found.header.revision, found.kvs.len()), (101, 100));
    assert!(!world.replies.contains_key(&WaiterId(1000)));
    world.turn(inputs);
    assert!(world.replies.contains_key(&WaiterId(1000)));
    let Ok(Response::Range(found)) = world.ask(request) else { panic!("a range") };
    assert_eq!((found.header.revision, found.kvs.len()), (102, 0));
}

#[test]
fn a_change_that_waits_for_the_one_before_asks_for_no_turn() {
    let mut world = World::new();
    let add = |waiter: u64, host: &str| Input::Client {
        waiter: WaiterId(waiter),
        credentials: Credentials::None,
        request: Request::MemberAdd {
            peer_urls: vec![format!("http://{host}")],
            is_learner: true,
            unix_s: 5,
        },
    };
    let mut inputs = vec![add(1000, "a:1"), add(1001, "b:1")];
    world.node.step(world.now, &mut inputs, &mut world.effects);
    assert!(matches!(&world.effects.list[..], [Effect::Append { .. }]));
    assert_eq!(world.effects.wake_at, None);
    world.perform(&mut inputs);
    world.turn(inputs);
    assert!(matches!(world.replies[&WaiterId(1000)], Ok(Response::MemberAdd { .. })));
    assert_eq!(world.replies[&WaiterId(1001)], Err(Status::TooManyLearners));
}
