//! A data directory of an earlier commit, with every kind of command in it, opens with the same state.
//!
//! `UPDATE=1` writes it anew: only when the format is meant to change, and then under a new name beside.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use holdfast_core::admit::AdmitConfig;
use holdfast_core::base::{Instant, LeaseId, WaiterId};
use holdfast_core::boundary::{Effect, Effects, Input, Limits};
use holdfast_core::check::RequestLimits;
use holdfast_core::checkpoint::Checkpoints;
use holdfast_core::members::Bootstrap;
use holdfast_core::node::{Boot, Config, Node, Start};
use holdfast_core::recover::{self, Listed, Recovered};
use holdfast_core::request::{
    Alarm, CompactRequest, Compare, CompareUnion, Credentials, DeleteRangeRequest, LeaseGrantRequest,
    PutRequest, RangeRequest, Request, RequestOp, TxnRequest,
};
use holdfast_core::state::STATE_VERSION;
use holdfast_core::wal::{Identity, Layout, LayoutConfig};
use holdfast_sim::disk::{DiskFaults, SimDisk};

const LAYOUT: LayoutConfig =
    LayoutConfig { first_segment_bytes: 32 << 10, segment_bytes: 32 << 10, spares_max: 0 };

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/format-1")
}

fn bootstrap() -> Bootstrap {
    let members = vec![("golden".into(), vec!["http://localhost:2380".into()])];
    Bootstrap { token: "etcd-cluster".into(), members, name: "golden".into() }
}

fn open(recovered: Recovered) -> (Node, Layout, Checkpoints) {
    let identity = Identity {
        cluster_id: bootstrap().cluster_id(),
        member_id: bootstrap().member_id().expect("it is in the list"),
    };
    let config = Config {
        name: "golden".into(),
        client_urls: vec!["http://localhost:2379".into()],
        heartbeat_ns: 100_000_000,
        election_ticks: 10,
        pre_vote: true,
        watch_progress_ns: 600_000_000_000,
        lease_checkpoint_ns: None,
        auto_compaction: None,
        auth_token_ttl_ns: 300_000_000_000,
        state_version_max: STATE_VERSION,
        admit: AdmitConfig {
            limits: RequestLimits::default(),
            request_bytes_max: 1_572_864,
            quota_bytes: None,
            lease_ttl_min_s: 2,
            learners_max: 1,
            strict_reconfig: true,
        },
        limits: Limits { checkpoint_log_bytes_min: 6_000, ..Limits::default() },
        identity,
    };
    let layout = recover::layout(identity, LAYOUT, recovered.found.as_ref());
    let boot = match recovered.found {
        Some(found) => Boot::Existing(Box::new(found), Start::New(bootstrap())),
        None => Boot::Fresh(Start::New(bootstrap())),
    };
    (Node::open(config, boot, 5, Instant(0)).expect("the directory is whole"), layout, recovered.checkpoints)
}

/// Turns until the node rests; what it writes goes to `disk`.
fn turn(node: &mut Node, layout: &mut Layout, ckpts: &mut Checkpoints, disk: &mut SimDisk, input: Input) {
    let (mut inputs, mut effects) = (vec![input], Effects::default());
    while !inputs.is_empty() || effects.wake_at.is_some() {
        node.step(Instant(1), &mut inputs, &mut effects);
        for effect in effects.list.drain(..) {
            let (ops, done) = match effect {
                Effect::Append { frames, through } => {
                    (layout.append(&frames, through), Some(Input::Persisted { through }))
                }
                Effect::Checkpoint(step) => (ckpts.plan(step), Some(Input::Checkpointed { ok: true })),
                Effect::Reply { result, .. } => {
                    result.expect("every request is in order");
                    continue;
                }
                Effect::Halt { why } => panic!("{why}"),
                _ => continue,
            };
            for op in ops {
                if let Some(flush) = disk.begin(&op).expect("an honest disk") {
                    disk.end(flush).expect("an honest disk");
                }
            }
            inputs.extend(done);
        }
    }
}

/// Every kind of command, some of them twice.
fn requests() -> Vec<Request> {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let put = |key, value: &'static str, lease| PutRequest {
        key: bytes(key),
        value: bytes(value),
        lease: LeaseId(lease),
        ..PutRequest::default()
    };
    let nested = TxnRequest { success: vec![RequestOp::Put(put("n", "nested", 0))], ..TxnRequest::default() };
    let compare = Compare { key: bytes("a"), union: CompareUnion::Version(1), ..Compare::default() };
    let range = RangeRequest { key: bytes("a"), range_end: bytes("z"), limit: 2, ..RangeRequest::default() };
    let txn = TxnRequest {
        compare: vec![compare],
        success: vec![RequestOp::Txn(Box::new(nested)), RequestOp::Range(range)],
        failure: vec![RequestOp::DeleteRange(DeleteRangeRequest { key: bytes("a"), ..Default::default() })],
    };
    let mut requests = vec![
        Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(7), ttl: 60 }),
        Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(-8), ttl: 600 }),
        Request::Put(put("a", "one", 7)),
        Request::Put(put("b", "two", -8)),
        Request::Txn(txn),
        Request::DeleteRange(DeleteRangeRequest { key: bytes("b"), ..Default::default() }),
        Request::LeaseRevoke { id: LeaseId(7) },
        Request::Compact(CompactRequest { revision: 3, physical: true }),
        Request::AlarmSet {
            activate: true,
            member: bootstrap().member_id().expect("known"),
            alarm: Alarm::Corrupt,
        },
        Request::AlarmSet {
            activate: false,
            member: bootstrap().member_id().expect("known"),
            alarm: Alarm::Corrupt,
        },
    ];
    let filler = std::iter::repeat_n(Request::Put(put("filler", "some more bytes in the log", 0)), 40);
    requests.splice(8..8, filler);
    requests
}

fn write(directory: &Path) {
    let mut disk = SimDisk::new(1, DiskFaults::default());
    let (mut node, mut layout, mut ckpts) = open(recover_from(&|| Vec::new(), &|_| None));
    for _ in 0..3 {
        turn(&mut node, &mut layout, &mut ckpts, &mut disk, Input::Tick);
    }
    for (i, request) in (1..).zip(requests()) {
        let waiter = WaiterId(i);
        turn(
            &mut node,
            &mut layout,
            &mut ckpts,
            &mut disk,
            Input::Client { waiter, credentials: Credentials::None, request },
        );
        turn(&mut node, &mut layout, &mut ckpts, &mut disk, Input::Tick);
    }
    for name in [disk.list("wal"), disk.list("ckpt")].concat() {
        let path = directory.join(&name);
        fs::create_dir_all(path.parent().expect("below the directory")).expect("writable");
        fs::write(path, disk.read(&name).expect("listed")).expect("writable");
    }
}

fn recover_from(list: &dyn Fn() -> Vec<Listed>, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Recovered {
    Recovered::read(&list(), STATE_VERSION, |path, offset, len| {
        let bytes = read(path).ok_or("no such file")?;
        Ok::<_, &str>(Bytes::copy_from_slice(&bytes[offset as usize..(offset + len) as usize]))
    })
    .expect("the directory is whole")
}

/// Index, revision and digest of the state that the directory holds, before anything is added to it.
fn state_of(directory: &Path) -> String {
    let list = || {
        let mut listing = Vec::new();
        for dir in ["wal", "ckpt"] {
            for entry in fs::read_dir(directory.join(dir)).expect("committed") {
                let entry = entry.expect("readable");
                let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
                listing.push(Listed { path, len: entry.metadata().expect("readable").len() });
            }
        }
        listing.sort();
        listing
    };
    let recovered = recover_from(&list, &|path| fs::read(directory.join(path)).ok());
    assert!(
        recovered.found.as_ref().is_some_and(|found| found.checkpoint.is_some()),
        "a checkpoint is in it"
    );
    let (mut node, ..) = open(recovered);
    let (mut inputs, mut effects) = (Vec::new(), Effects { list: Vec::new(), wake_at: Some(Instant(1)) });
    while effects.wake_at.is_some() {
        node.step(Instant(1), &mut inputs, &mut effects);
    }
    let state = node.state();
    format!("applied {} revision {} hash {:016x}\n", state.applied, state.kv.revision(), state.hash())
}

#[test]
fn golden_directory_opens_with_the_state_it_was_written_with() {
    let (directory, told) = (directory(), directory().join("STATE"));
    if std::env::var_os("UPDATE").is_some() {
        write(&directory);
        fs::write(&told, state_of(&directory)).expect("writable");
    }
    assert_eq!(state_of(&directory), fs::read_to_string(told).expect("committed"));
}
