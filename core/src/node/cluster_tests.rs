//! Members on honest disks and a network that a test cuts by hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use raft::eraftpb::MessageType;

mod transfers;

use super::*;
use crate::admit::AdmitConfig;
use crate::base::{LeaseId, StreamId, WatchId};
use crate::boundary::{StreamOp, WatchCreate, WatchResponse};
use crate::check::RequestLimits;
use crate::checkpoint::Checkpoints;
use crate::members::Bootstrap;
use crate::memory_disk::MemoryDisk;
use crate::recover;
use crate::request::{CompactRequest, LeaseGrantRequest, PutRequest, RangeRequest};
use crate::wal::{Identity, Layout, LayoutConfig};

const LAYOUT: LayoutConfig =
    LayoutConfig { first_segment_bytes: 64 << 10, segment_bytes: 64 << 10, spares_max: 1 };
const TICK_NS: u64 = 100_000_000;

/// One member with its disk.
struct Machine {
    disk: MemoryDisk,
    node: Node,
    layout: Layout,
    checkpoints: Checkpoints,
    inputs: Vec<Input>,
    effects: Effects,
    notes: Vec<Note>,
    delivered: Vec<WatchResponse>,
    halted: Option<String>,
}

/// Members by number; time passes a millisecond a round.
struct Cluster {
    bootstrap: Vec<(String, Vec<String>)>,
    machines: BTreeMap<MemberId, Machine>,
    now: Instant,
    waiter: u64,
    replies: BTreeMap<WaiterId, Result<Response, Status>>,
    /// Members that hear nothing and are not heard.
    cut: BTreeSet<MemberId>,
    limits: Limits,
}

impl Cluster {
    fn new(voters: usize, limits: Limits) -> Cluster {
        let urls = |n: usize| vec![format!("http://m{n}:2380")];
        let bootstrap: Vec<_> = (0..voters).map(|n| (format!("m{n}"), urls(n))).collect();
        let mut cluster = Cluster {
            bootstrap,
            machines: BTreeMap::new(),
            now: Instant(0),
            waiter: 0,
            replies: BTreeMap::new(),
            cut: BTreeSet::new(),
            limits,
        };
        for n in 0..voters {
            let bootstrap = cluster.bootstrap_of(n);
            let id = bootstrap.member_id().expect("in the list");
            let machine = cluster.open(MemoryDisk::default(), id, Start::New(bootstrap), n as u64);
            cluster.machines.insert(id, machine);
        }
        cluster.until("a leader, and everybody published", |cluster| {
            cluster
                .machines
                .values()
                .all(|machine| machine.notes.iter().any(|note| matches!(note, Note::Published { .. })))
        });
        cluster
    }

    fn bootstrap_of(&self, n: usize) -> Bootstrap {
        let (token, members) = ("t".to_owned(), self.bootstrap.clone());
        Bootstrap { token, members, name: format!("m{n}") }
    }

    fn open(&self, disk: MemoryDisk, id: MemberId, start: Start, seed: u64) -> Machine {
        self.open_by(disk, id, seed, |found| match found {
            Some(found) => Boot::Existing(Box::new(found), start),
            None => Boot::Fresh(start),
        })
    }

    fn open_by(
        &self,
        disk: MemoryDisk,
        id: MemberId,
        seed: u64,
        boot: impl FnOnce(Option<recover::Found>) -> Boot,
    ) -> Machine {
        let recovered = disk.recover().expect("undamaged");
        let config = Config {
            name: format!("{id:x}"),
            client_urls: vec!["http://localhost:2379".into()],
            heartbeat_ns: TICK_NS,
            election_ticks: 10,
            pre_vote: true,
            lease_checkpoint_ns: None,
            auto_compaction: None,
            auth_token_ttl_ns: 300_000_000_000,
            state_version_max: crate::state::STATE_VERSION,
            watch_progress_ns: 600_000_000_000,
            admit: AdmitConfig {
                limits: RequestLimits::default(),
                request_bytes_max: 1_572_864,
                quota_bytes: None,
                lease_ttl_min_s: 2,
                learners_max: 1,
                strict_reconfig: true,
            },
            limits: self.limits.clone(),
            identity: Identity { cluster_id: self.bootstrap_of(0).cluster_id(), member_id: id },
        };
        let layout = recover::layout(config.identity, LAYOUT, recovered.found.as_ref());
        let node = Node::open(config, boot(recovered.found), seed, self.now).expect("a valid directory");
        Machine {
            disk,
            node,
            layout,
            checkpoints: recovered.checkpoints,
            inputs: Vec::new(),
            effects: Effects::default(),
            notes: Vec::new(),
            delivered: Vec::new(),
            halted: None,
        }
    }

    /// Every member takes one turn; mail arrives in the next round.
    fn round(&mut self) {
        self.now = self.now.plus_ns(1_000_000);
        let is_tick = self.now.0.is_multiple_of(TICK_NS);
        let mut mail = VecDeque::new();
        for (&id, machine) in &mut self.machines {
            if is_tick {
                machine.inputs.push(Input::Tick);
            }
            machine.node.step(self.now, &mut machine.inputs, &mut machine.effects);
            for effect in machine.effects.list.drain(..) {
                match effect {
                    Effect::Append { frames, through } => {
                        machine.disk.perform(machine.layout.append(&frames, through));
                        machine.inputs.push(Input::Persisted { through });
                    }
                    Effect::Checkpoint(step) => {
                        machine.disk.perform(machine.checkpoints.plan(step));
                        machine.inputs.push(Input::Checkpointed { ok: true });
                    }
                    Effect::Reclaim { through } => machine.disk.perform(machine.layout.reclaim(through)),
                    Effect::Reply { waiter, result } => {
                        assert!(self.replies.insert(waiter, result).is_none(), "one reply a caller");
                    }
                    Effect::Note(note) => machine.notes.push(note),
                    Effect::Deliver { response, .. } => machine.delivered.push(response),
                    Effect::Send { to, message } => mail.push_back((id, to, message)),
                    Effect::Connect { .. } | Effect::Disconnect { .. } => {}
                    // Here auth is used with certificates alone.
                    Effect::HashPassword { .. } | Effect::CheckPassword { .. } => panic!("no passwords here"),
                    Effect::Halt { why } => machine.halted = Some(why),
                }
            }
        }
        self.machines.retain(|_, machine| machine.halted.is_none() || machine.is_watched());
        for (from, to, message) in mail {
            if self.cut.contains(&from) || self.cut.contains(&to) {
                continue;
            }
            if let Some(machine) = self.machines.get_mut(&to) {
                let message = PeerMessage::decode(message.encode()).expect("our own bytes");
                machine.inputs.push(Input::Peer { from, message });
            }
        }
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Cluster) -> bool) {
        for _ in 0..60_000 {
            if is_so(self) {
                return;
            }
            self.round();
        }
        panic!("never: {what}");
    }

    fn rounds(&mut self, rounds: u64) {
        for _ in 0..rounds {
            self.round();
        }
    }

    fn leader(&mut self) -> MemberId {
        let mut leader = MemberId(0);
        self.until("a leader that the connected ones agree on", |cluster| {
            let connected = cluster.machines.iter().filter(|(id, _)| !cluster.cut.contains(id));
            let mut leaders = connected.filter(|(_, machine)| machine.node.consensus.is_leader());
            let Some((&id, machine)) = leaders.next() else { return false };
            leader = id;
            leaders.next().is_none() && machine.node.consensus.is_settled()
        });
        leader
    }

    fn others(&self, than: MemberId) -> Vec<MemberId> {
        self.machines.keys().copied().filter(|id| *id != than).collect()
    }

    fn send(&mut self, to: MemberId, request: Request) -> WaiterId {
        self.waiter += 1;
        let waiter = WaiterId(self.waiter);
        let machine = self.machines.get_mut(&to).expect("it runs");
        machine.inputs.push(Input::Client { waiter, credentials: Credentials::None, request });
        waiter
    }

    fn ask(&mut self, to: MemberId, request: Request) -> Result<Response, Status> {
        let waiter = self.send(to, request);
        self.until("an answer", |cluster| cluster.replies.contains_key(&waiter));
        self.replies.remove(&waiter).expect("just seen")
    }

    fn put(&mut self, to: MemberId, key: &str, value: &[u8]) -> i64 {
        let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value));
        match self.ask(to, Request::Put(PutRequest { key, value, ..PutRequest::default() })) {
            Ok(Response::Put(put)) => put.header.revision,
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, from: MemberId, key: &str) -> Option<Vec<u8>> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        match self.ask(from, Request::Range(RangeRequest { key, ..RangeRequest::default() })) {
            Ok(Response::Range(range)) => range.kvs.first().map(|kv| kv.value.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    fn converge(&mut self) {
        self.until("equal applied indexes", |cluster| {
            let mut applied = cluster.machines.values().map(|machine| machine.node.state().applied);
            let first = applied.next();
            applied.all(|other| Some(other) == first)
        });
        let hashes: BTreeSet<u64> =
            self.machines.values().map(|machine| machine.node.state().hash()).collect();
        assert_eq!(hashes.len(), 1, "one State after one log prefix");
    }

    fn state(&self, id: MemberId) -> &State {
        self.machines[&id].node.state()
    }
}

impl Machine {
    /// A halted one stays while a test asks why.
    fn is_watched(&self) -> bool {
        self.halted.as_deref().is_some_and(|why| why.contains("removed"))
    }
}

#[test]
fn every_member_serves_writes_reads_and_leases_and_all_states_are_one() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.leader();
    let members: Vec<MemberId> = cluster.machines.keys().copied().collect();
    for (n, &member) in members.iter().enumerate() {
        let revision = cluster.put(member, "k", &[n as u8]);
        assert_eq!(revision, n as i64 + 2);
        for &reader in &members {
            assert_eq!(cluster.get(reader, "k"), Some(vec![n as u8]), "read at {reader:x}");
        }
    }
    let follower = cluster.others(leader)[0];
    let grant = Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(7), ttl: 10 });
    cluster.ask(follower, grant).expect("granted through a follower");
    for &member in &members {
        let kept = cluster.ask(member, Request::LeaseKeepAlive { id: LeaseId(7) });
        assert!(matches!(kept, Ok(Response::LeaseKeepAlive { ttl: 10, .. })), "{kept:?}");
        let left = cluster.ask(member, Request::LeaseTimeToLive { id: LeaseId(7), keys: true });
        let Ok(Response::LeaseTimeToLive { ttl, granted_ttl: 10, .. }) = left else { panic!("{left:?}") };
        assert!((8..=10).contains(&ttl), "{ttl}");
    }
    cluster.converge();
}

#[test]
fn a_leader_without_a_quorum_answers_nothing_and_its_successor_everything() {
    let mut cluster = Cluster::new(3, Limits::default());
    let old = cluster.leader();
    cluster.put(old, "k", b"1");
    cluster.cut.insert(old);
    let key = Bytes::from_static(b"k");
    let stale = cluster.send(old, Request::Range(RangeRequest { key, ..RangeRequest::default() }));
    let lost = cluster
        .send(old, Request::Put(PutRequest { key: Bytes::from_static(b"lost"), ..PutRequest::default() }));
    let new = cluster.leader();
    assert_ne!(new, old);
    cluster.put(new, "k", b"2");
    assert!(!cluster.replies.contains_key(&stale), "nobody confirmed it");
    assert!(!cluster.replies.contains_key(&lost));
    cluster.cut.clear();
    cluster.until("the read is answered by way of the new leader", |c| c.replies.contains_key(&stale));
    let Some(Ok(Response::Range(range))) = cluster.replies.remove(&stale) else { panic!("a range") };
    assert_eq!(&range.kvs[0].value[..], b"2");
    cluster.until("the write ends", |c| c.replies.contains_key(&lost));
    assert!(matches!(cluster.replies[&lost], Err(Status::TimeoutDueToLeaderFail | Status::Timeout)));
    assert_eq!(cluster.get(old, "lost"), None);
    cluster.converge();
}

fn tight() -> Limits {
    Limits {
        log_tail_bytes_max: 2_000,
        log_lag_bytes_max: 20_000,
        checkpoint_piece_bytes_max: 1_000,
        checkpoint_log_bytes_min: 40_000,
        work_max: 50,
        ..Limits::default()
    }
}

#[test]
fn a_laggard_gets_the_state_and_its_watchers_go_on_without_a_gap() {
    let mut cluster = Cluster::new(3, tight());
    let leader = cluster.leader();
    let laggard = cluster.others(leader)[0];
    let stream = StreamId(1);
    let watch = WatchCreate { key: Bytes::from_static(b"key-3"), watch_id: WatchId(1), ..Default::default() };
    let machine = cluster.machines.get_mut(&laggard).expect("it runs");
    machine.inputs.push(Input::Stream { stream, op: StreamOp::Create(watch) });
    cluster.rounds(10);
    cluster.cut.insert(laggard);
    for n in 0..200u32 {
        cluster.put(leader, &format!("key-{}", n % 7), &n.to_le_bytes().repeat(20));
    }
    cluster.cut.clear();
    cluster.put(leader, "key-3", b"last");
    cluster.converge();
    let machine = &cluster.machines[&laggard];
    assert!(machine.notes.iter().any(|note| matches!(note, Note::SnapshotInstalled { .. })));
    cluster.rounds(100);
    let events = cluster.machines[&laggard].delivered.iter().flat_map(|response| response.events.iter());
    let revisions: Vec<i64> = events.map(|event| event.kv.mod_revision).collect();
    let expected: Vec<i64> = (0..200).filter(|n| n % 7 == 3).map(|n| n + 2).chain([202]).collect();
    assert_eq!(revisions, expected);
}

#[test]
fn a_watcher_whose_revisions_were_compacted_under_a_snapshot_is_told() {
    let mut cluster = Cluster::new(3, tight());
    let leader = cluster.leader();
    let laggard = cluster.others(leader)[0];
    let watch = WatchCreate { key: Bytes::from_static(b"k"), watch_id: WatchId(1), ..Default::default() };
    let machine = cluster.machines.get_mut(&laggard).expect("it runs");
    machine.inputs.push(Input::Stream { stream: StreamId(1), op: StreamOp::Create(watch) });
    cluster.rounds(10);
    cluster.cut.insert(laggard);
    for n in 0..100u32 {
        cluster.put(leader, "k", &n.to_le_bytes().repeat(20));
    }
    cluster
        .ask(leader, Request::Compact(CompactRequest { revision: 90, physical: true }))
        .expect("compacted");
    cluster.cut.clear();
    cluster.put(leader, "k", b"last");
    cluster.converge();
    cluster.rounds(100);
    let delivered = &cluster.machines[&laggard].delivered;
    let canceled = delivered.last().expect("an answer");
    assert!(canceled.canceled, "{canceled:?}");
    assert_eq!(canceled.compact_revision, 90);
    assert!(delivered.iter().all(|response| response.events.is_empty()), "a gap is never passed over");
}

#[test]
fn a_learner_joins_is_promoted_and_the_old_leader_leaves() {
    let mut cluster = Cluster::new(3, tight());
    let leader = cluster.leader();
    for n in 0..100u32 {
        cluster.put(leader, &format!("key-{}", n % 7), &n.to_le_bytes().repeat(20));
    }
    let follower = cluster.others(leader)[0];
    cluster.rounds(6_000);
    let peer_urls = vec!["http://m9:2380".to_owned()];
    let add = Request::MemberAdd { peer_urls, is_learner: true, unix_s: 1 };
    let Ok(Response::MemberAdd { member, members, .. }) = cluster.ask(follower, add) else { panic!("added") };
    assert_eq!(members.len(), 4);
    let early = cluster.ask(follower, Request::MemberPromote { id: member.id });
    assert_eq!(early, Err(Status::LearnerNotReady), "it has not even started");
    let machine = cluster.open(MemoryDisk::default(), member.id, Start::Join, 99);
    cluster.machines.insert(member.id, machine);
    cluster.converge();
    let refused = cluster.ask(member.id, Request::Put(PutRequest::default()));
    assert_eq!(refused, Err(Status::NotSupportedForLearner));
    cluster.ask(follower, Request::MemberPromote { id: member.id }).expect("promoted");
    cluster.rounds(6_000);
    cluster.ask(leader, Request::MemberRemove { id: leader }).expect("the leader removes itself");
    cluster.until("the removed member ends", |cluster| cluster.machines[&leader].halted.is_some());
    cluster.machines.remove(&leader);
    let next = cluster.leader();
    cluster.put(next, "after", b"1");
    assert_eq!(cluster.get(member.id, "after"), Some(b"1".to_vec()));
    cluster.converge();
    assert!(cluster.state(next).members.is_removed(leader));
    assert_eq!(cluster.state(next).members.iter().count(), 3);
}

/// The disk of a member that ends here, as a power loss leaves it.
fn disk_of(cluster: &mut Cluster, member: MemberId) -> MemoryDisk {
    cluster.machines.remove(&member).expect("it runs").disk
}

#[test]
fn of_two_members_the_one_that_stays_hears_that_its_leader_is_gone() {
    let mut cluster = Cluster::new(2, Limits::default());
    let leader = cluster.leader();
    let other = cluster.others(leader)[0];
    cluster.rounds(6_000);
    cluster.ask(leader, Request::MemberRemove { id: leader }).expect("the leader removes itself");
    // The word that it is committed is lost, and for a while everything else.
    let inputs = &mut cluster.machines.get_mut(&other).expect("it runs").inputs;
    inputs.retain(|input| !matches!(input, Input::Peer { .. }));
    cluster.cut.insert(other);
    cluster.rounds(5_000);
    assert!(cluster.machines[&leader].halted.is_none(), "nobody else knows");
    cluster.cut.clear();
    cluster.until("the removed member ends", |cluster| cluster.machines[&leader].halted.is_some());
    cluster.machines.remove(&leader);
    assert_eq!(cluster.leader(), other);
    cluster.put(other, "after", b"1");
}

#[test]
fn a_candidate_of_a_later_term_hears_that_its_leader_is_gone() {
    let mut cluster = Cluster::new(2, Limits::default());
    let leader = cluster.leader();
    let other = cluster.others(leader)[0];
    cluster.rounds(6_000);
    cluster.ask(leader, Request::MemberRemove { id: leader }).expect("the leader removes itself");
    // It was told to take over, and has begun a term in which it hears nothing of the one before.
    let machine = cluster.machines.get_mut(&other).expect("it runs");
    machine.inputs.retain(|input| !matches!(input, Input::Peer { .. }));
    let mut handover = Message { from: leader.0, to: other.0, ..Default::default() };
    handover.set_msg_type(MessageType::MsgTimeoutNow);
    handover.term = machine.node.consensus.term().0;
    machine.inputs.push(Input::Peer { from: leader, message: PeerMessage::Raft(Box::new(handover)) });
    cluster.until("it leads alone", |cluster| cluster.machines[&other].node.consensus.is_leader());
    cluster.put(other, "after", b"1");
}

#[test]
fn who_is_left_alone_knows_it_after_a_power_loss() {
    let mut cluster = Cluster::new(2, Limits::default());
    let leader = cluster.leader();
    let other = cluster.others(leader)[0];
    cluster.rounds(6_000);
    cluster.ask(leader, Request::MemberRemove { id: other }).expect("removed");
    cluster.rounds(10);
    disk_of(&mut cluster, other);
    let disk = disk_of(&mut cluster, leader);
    let n = (0..2).find(|n| cluster.bootstrap_of(*n).member_id() == Some(leader)).expect("one of them");
    let machine = cluster.open(disk, leader, Start::New(cluster.bootstrap_of(n)), 51);
    cluster.machines.insert(leader, machine);
    assert_eq!(cluster.leader(), leader);
    cluster.put(leader, "after", b"1");
}

#[test]
fn leadership_is_handed_over_on_request() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.leader();
    let target = cluster.others(leader)[1];
    let refused = cluster.ask(target, Request::MoveLeader { target });
    assert_eq!(refused, Err(Status::NotLeader));
    assert_eq!(cluster.ask(leader, Request::MoveLeader { target }), Ok(Response::MoveLeader));
    assert_eq!(cluster.leader(), target);
}

#[test]
fn a_leader_that_stops_hands_over_and_others_have_nothing_to() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.leader();
    let term = cluster.machines[&leader].node.consensus.term();
    for follower in cluster.others(leader) {
        assert_eq!(cluster.ask(follower, Request::HandOver), Ok(Response::MoveLeader));
    }
    assert_eq!(cluster.leader(), leader);
    assert_eq!(cluster.ask(leader, Request::HandOver), Ok(Response::MoveLeader));
    let next = cluster.leader();
    assert_ne!(next, leader);
    assert_eq!(cluster.machines[&next].node.consensus.term().0, term.0 + 1);
    let mut sole = Cluster::new(1, Limits::default());
    let sole_leader = sole.leader();
    assert_eq!(sole.ask(sole_leader, Request::HandOver), Ok(Response::MoveLeader));
}

#[test]
fn a_write_does_not_go_to_a_leader_that_mail_does_not_reach() {
    let mut cluster = Cluster::new(3, Limits::default());
    let old = cluster.leader();
    cluster.cut.insert(old);
    let follower = cluster.others(old)[0];
    let machine = cluster.machines.get_mut(&follower).expect("it runs");
    machine.inputs.push(Input::Unreachable { member: old });
    // Answered by the successor, where it would have been lost on its way to the old one.
    cluster.put(follower, "k", b"1");
    assert_ne!(cluster.leader(), old);
    // One that is heard again counts.
    cluster.cut.clear();
    cluster.converge();
    let leader = cluster.leader();
    let follower = cluster.others(leader)[0];
    let machine = cluster.machines.get_mut(&follower).expect("it runs");
    machine.inputs.push(Input::Unreachable { member: leader });
    cluster.put(follower, "k", b"2");
    assert_eq!(cluster.leader(), leader);
}

/// With checkpoints behind the log and without; what the others never had is kept, too.
#[test]
fn a_member_goes_on_alone_with_all_it_has_when_it_is_forced_to() {
    for limits in [Limits::default(), tight()] {
        let mut cluster = Cluster::new(3, limits);
        let leader = cluster.leader();
        for n in 0..60u8 {
            cluster.put(leader, &format!("key-{}", n % 7), &[n].repeat(200));
        }
        cluster.cut.insert(leader);
        let waiter = cluster.send(
            leader,
            Request::Put(PutRequest { key: Bytes::from_static(b"mine"), ..PutRequest::default() }),
        );
        cluster.rounds(50);
        assert!(!cluster.replies.contains_key(&waiter));
        let gone = cluster.others(leader);
        let disk = cluster.machines[&leader].disk.clone();
        cluster.machines.clear();
        cluster.cut.clear();
        for life in 0..2 {
            let machine = cluster.open_by(disk.clone(), leader, 70 + life, |found| {
                Boot::ForceNewCluster(Box::new(found.expect("it has lived")))
            });
            cluster.machines.insert(leader, machine);
            assert_eq!(cluster.get(leader, "key-3"), Some([59].repeat(200)));
            assert_eq!(cluster.get(leader, "mine"), Some(Vec::new()));
            let members = &cluster.state(leader).members;
            assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [leader]);
            assert!(gone.iter().all(|id| members.is_removed(*id)));
        }
        cluster.put(leader, "after", b"1");
        let disk = cluster.machines[&leader].disk.clone();
        let machine = cluster.open(disk, leader, Start::Join, 80);
        cluster.machines.insert(leader, machine);
        assert_eq!(cluster.get(leader, "after"), Some(b"1".to_vec()));
        assert_eq!(cluster.state(leader).members.iter().count(), 1);
    }
}

#[test]
fn a_wiped_member_under_its_old_id_ends_itself() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.leader();
    for n in 0..20u8 {
        cluster.put(leader, "k", &[n]);
    }
    cluster.converge();
    let wiped = cluster.others(leader)[0];
    let n = (0..3).find(|n| cluster.bootstrap_of(*n).member_id() == Some(wiped)).expect("one of them");
    let machine = cluster.open(MemoryDisk::default(), wiped, Start::New(cluster.bootstrap_of(n)), 50);
    cluster.machines.insert(wiped, machine);
    cluster.rounds(3_000);
    assert!(!cluster.machines.contains_key(&wiped), "it was halted");
}

#[test]
fn a_cluster_that_lost_power_has_everything_it_acknowledged() {
    let mut cluster = Cluster::new(3, tight());
    let leader = cluster.leader();
    for n in 0..150u32 {
        cluster.put(leader, &format!("key-{}", n % 7), &n.to_le_bytes().repeat(20));
    }
    let disks: Vec<_> = cluster.machines.iter().map(|(id, machine)| (*id, machine.disk.clone())).collect();
    for (id, disk) in disks {
        let machine = cluster.open(disk, id, Start::Join, 1000 + id.0 % 7);
        cluster.machines.insert(id, machine);
    }
    let leader = cluster.leader();
    assert_eq!(cluster.get(leader, "key-2"), Some(149u32.to_le_bytes().repeat(20)));
    assert_eq!(cluster.put(leader, "key-2", b""), 152);
    cluster.converge();
}
