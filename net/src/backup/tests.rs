//! A backup survives its file, and a file of etcd's is read as etcd reads it.

use std::io::Cursor;

use holdfast_core::auth::{AuthBackup, UserBackup};
use holdfast_core::backup::Backup;
use holdfast_core::base::{Key, LeaseId, LogIndex, MemberId, Term, Value};
use holdfast_core::lease::Granted;
use holdfast_core::mvcc::Record;
use holdfast_core::request::{Alarm, Member, Permission, PermissionKind, Secret};

use super::write::write;
use super::{Contents, HASH_BYTES, ReadError, Snapshot};

/// Saved by etcdctl 3.7.1 from etcd 3.7.1: five keys, one of them deleted, compacted at 4; one on a lease; auth on.
const OF_ETCD: &[u8] = include_bytes!("testdata/etcd-3.7.1.db");

fn backup() -> Backup {
    let member = |id, name: &str, is_learner| Member {
        id: MemberId(id),
        name: name.to_owned(),
        peer_urls: vec![format!("http://10.0.0.{id}:2380")],
        client_urls: if name.is_empty() { vec![] } else { vec!["http://\"x\":2379".to_owned()] },
        is_learner,
    };
    let permission = |kind, key: &'static [u8], range_end: &'static [u8]| Permission {
        kind,
        key: key.into(),
        range_end: range_end.into(),
    };
    let lease = |id, remaining_s| Granted { id: LeaseId(id), ttl_s: 60, remaining_s, granted: LogIndex(0) };
    Backup {
        index: LogIndex(77),
        term: Term(5),
        revision: 9,
        compact_revision: 3,
        members: vec![member(1, "a", false), member(0xf2, "", false), member(u64::MAX, "c", true)],
        removed: vec![MemberId(3), MemberId(4)],
        leases: vec![lease(1, 0), lease(i64::MAX, 12)],
        alarms: vec![(MemberId(1), Alarm::NoSpace), (MemberId(2), Alarm::Corrupt)],
        auth: Some(AuthBackup {
            is_enabled: true,
            revision: 12,
            users: vec![
                UserBackup { name: "ann".into(), no_password: true, ..UserBackup::default() },
                UserBackup {
                    name: "root".into(),
                    password_hash: Secret::new("$2a$hash"),
                    no_password: false,
                    roles: ["r".to_owned(), "root".to_owned()].into(),
                },
            ],
            roles: vec![
                ("r".into(), vec![permission(PermissionKind::Read, b"", b"\0")]),
                ("root".into(), vec![]),
            ],
        }),
    }
}

fn put(main: i64, sub: u32, key: &[u8], value: &'static [u8]) -> Record {
    let (key, value) = (Key::from(key), Value::from_static(value));
    Record { main, sub, key, value, create: main, version: 1, lease: LeaseId(i64::from(sub)) }
}

fn tombstone(main: i64, sub: u32, key: &[u8]) -> Record {
    Record { create: 0, version: 0, lease: LeaseId(0), ..put(main, sub, key, b"") }
}

fn history() -> Vec<Record> {
    vec![put(2, 0, b"a", b"x"), put(4, 0, b"b", b""), tombstone(5, 0, b"a"), put(9, 1, b"\xff", b"y")]
}

fn file(backup: &Backup, history: Vec<Record>) -> Vec<u8> {
    let pieces = history.into_iter().map(|record| vec![record]);
    write(backup, pieces, Cursor::new(Vec::new())).expect("memory").0.into_inner()
}

fn records(snapshot: &Snapshot<'_, [u8]>) -> Vec<Record> {
    let mut records = Vec::new();
    snapshot
        .for_each_record::<ReadError>(&mut |record| {
            records.push(record);
            Ok(())
        })
        .expect("read once already");
    records
}

#[test]
fn a_backup_survives_its_file() {
    let file = file(&backup(), history());
    let snapshot = Snapshot::read(file.as_slice()).expect("ours");
    assert_eq!(*snapshot.backup(), Backup { removed: vec![], ..backup() });
    assert_eq!(records(&snapshot), history());
    let Contents { revision, keys, bytes, version, .. } = snapshot.contents().clone();
    assert_eq!((revision, keys, version.as_str()), (9, 2, "3.7.0"));
    assert_eq!(bytes, file.len() as u64);
}

#[test]
fn an_empty_store_is_one_too() {
    let empty = Backup { revision: 1, compact_revision: -1, ..Backup::default() };
    let file = file(&empty, Vec::new());
    let snapshot = Snapshot::read(file.as_slice()).expect("ours");
    assert_eq!(*snapshot.backup(), empty);
    assert_eq!(snapshot.contents().revision, 0);
    // A checksum behind it is told from a page by the length.
    assert_eq!(file.len() % 512, 0);
    assert_ne!(HASH_BYTES % 512, 0);
}

/// The numbers are those that `etcdutl snapshot status` shows of it.
#[test]
fn a_file_of_etcds_is_read_as_etcd_reads_it() {
    let snapshot = Snapshot::read(OF_ETCD).expect("etcd's");
    let expected =
        Contents { hash: 3_235_523_936, revision: 8, keys: 5, bytes: 20_480, version: "3.7.0".into() };
    assert_eq!(*snapshot.contents(), expected);
    let backup = snapshot.backup();
    assert_eq!((backup.index, backup.term), (LogIndex(22), Term(2)));
    assert_eq!((backup.revision, backup.compact_revision), (8, 4));
    assert_eq!(backup.members[0].peer_urls, ["http://127.0.0.1:32380"]);
    assert_eq!(backup.leases[0].ttl_s, 1_000);
    let auth = backup.auth.as_ref().expect("it is on");
    assert!(auth.is_enabled);
    assert_eq!(auth.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["ann", "root"]);
    let records = records(&snapshot);
    assert_eq!(records.len(), 7);
    assert_eq!(records[5], tombstone(7, 0, b"k3"));
    assert_eq!(records[6].lease, backup.leases[0].id);
}

/// `etcdutl snapshot restore --bump-revision` leaves a record without a key.
#[test]
fn a_raised_revision_is_no_key() {
    let raised = Record { key: Key::from(&b""[..]), create: 0, version: 0, ..put(20, 0, b"", b"") };
    let file = file(&backup(), [history(), vec![raised]].concat());
    // As etcd writes it, it is no tombstone; as we write it, it is one. Its revision is what counts.
    let snapshot = Snapshot::read(file.as_slice()).expect("ours");
    assert_eq!(snapshot.backup().revision, 20);
    assert_eq!(records(&snapshot), history());
}

#[test]
fn no_byte_of_a_file_can_do_harm() {
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for _ in 0..3_000 {
        let mut bad = OF_ETCD.to_vec();
        for _ in 0..=draw(4) {
            let at = 2 * 4096 + draw(bad.len() - 2 * 4096);
            bad[at] = draw(256) as u8;
        }
        match Snapshot::read(bad.as_slice()) {
            Ok(snapshot) => drop(snapshot.for_each_record::<ReadError>(&mut |_| Ok(()))),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 150, "{refused} of 3,000");
}
