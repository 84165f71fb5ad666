//! Pieces of history beside compactions, and a State that is made of them again.

use super::*;
use crate::base::{Key, LeaseId, Value};
use crate::mvcc::HashRun;
use crate::request::{Permission, PermissionKind};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A State of random puts and deletions, on leases and without.
fn state(rng: &mut ChaCha8Rng, changes: u32) -> State {
    let mut state = State::new();
    (state.applied, state.applied_term) = (LogIndex(40), Term(3));
    for id in 1..4 {
        state.leases.grant(LeaseId(id), 10 * id, LogIndex(1)).expect("free");
    }
    for n in 0..changes {
        let key = format!("k{}", rng.random_range(0..20));
        state.kv.begin();
        match rng.random_range(0..3) {
            0 => {
                state.kv.delete(key.as_bytes());
            }
            lease => {
                let lease = LeaseId(lease - 1);
                let value = Value::from(format!("v{n}").into_bytes());
                state.kv.put(key.as_bytes(), value, lease);
            }
        }
        state.kv.end();
    }
    state
}

fn hash(kv: &Mvcc) -> u32 {
    let mut run = HashRun::new(kv.revision(), kv.compact_revision());
    run.step(kv, &mut u32::MAX.clone()).expect("enough work")
}

/// Every piece, with a slice of physical compaction between two.
fn pieces(state: &mut State, backup: &Backup, work: u32) -> Vec<Record> {
    let mut ask = HistoryAsk::first(backup);
    let mut records = Vec::new();
    loop {
        let piece = history_piece(&state.kv, &ask).expect("nothing came between");
        records.extend(piece.records);
        state.kv.compact_step(&mut work.clone());
        match piece.next {
            Some(next) => ask.from = next,
            None => return records,
        }
    }
}

fn restored(backup: &Backup, records: Vec<Record>) -> State {
    let mut restore = Restore::begin(backup.clone(), Vec::new()).expect("a backup of ours");
    records.into_iter().for_each(|record| restore.record(record).expect("in order"));
    restore.finish()
}

#[test]
fn what_is_restored_is_what_was_there_however_far_a_compaction_is() {
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut state = state(&mut rng, 9_000);
        state.kv.compact(rng.random_range(2..=state.kv.revision()));
        state.kv.compact_step(&mut rng.random_range(0..40));
        let backup = Backup::of(&state);
        // What is written meanwhile is not in it.
        state.kv.begin();
        state.kv.put(b"later", Value::from_static(b"x"), LeaseId(0));
        let before = {
            state.kv.end();
            let mut run = HashRun::new(backup.revision, backup.compact_revision);
            run.step(&state.kv, &mut u32::MAX.clone()).expect("enough work")
        };
        let records = pieces(&mut state, &backup, rng.random_range(1..30));
        let restored = restored(&backup, records);
        assert_eq!(hash(&restored.kv), before, "seed {seed}");
        assert_eq!(restored.kv.get(b"later", i64::MAX), None);
        let live = |state: &State, key: &Key| state.kv.get(key, backup.revision).map(Record::to_kv);
        for n in 0..20 {
            let key = Key::from(format!("k{n}").as_bytes());
            assert_eq!(live(&restored, &key), live(&state, &key), "seed {seed}, k{n}");
        }
    }
}

#[test]
fn a_compaction_that_comes_between_ends_it() {
    let mut state = state(&mut ChaCha8Rng::seed_from_u64(1), 3_000);
    let backup = Backup::of(&state);
    let ask = HistoryAsk::first(&backup);
    let next = history_piece(&state.kv, &ask).expect("just made").next.expect("more than a piece");
    state.kv.compact(5);
    assert_eq!(history_piece(&state.kv, &HistoryAsk { from: next, ..ask }), Err(Status::Compacted));
    let future = HistoryAsk { revision: backup.revision + 1, compact_revision: 5, from: (0, 0) };
    assert_eq!(history_piece(&state.kv, &future), Err(Status::FutureRev));
}

#[test]
fn keys_hang_on_their_leases_again() {
    let mut state = state(&mut ChaCha8Rng::seed_from_u64(2), 100);
    let backup = Backup::of(&state);
    let records = pieces(&mut state, &backup, 1);
    let restored = restored(&backup, records);
    for id in 1..4 {
        let id = LeaseId(id);
        let live = |key: &Key| state.kv.get(key, backup.revision).is_some_and(|record| record.lease == id);
        let keys: Vec<_> = (0..20).map(|n| Key::from(format!("k{n}").as_bytes())).filter(live).collect();
        let mut expected = keys.clone();
        expected.sort();
        assert_eq!(restored.leases.keys(id).cloned().collect::<Vec<_>>(), expected);
        assert_eq!(restored.leases.ttl(id), state.leases.ttl(id));
    }
}

#[test]
fn users_and_roles_are_the_same() {
    let permission = |kind, key: &'static [u8]| Permission {
        kind,
        key: key.into(),
        range_end: bytes::Bytes::from_static(b"x"),
    };
    let granted = vec![permission(PermissionKind::Read, b"a"), permission(PermissionKind::Write, b"b")];
    let backup = AuthBackup {
        is_enabled: true,
        revision: 9,
        users: vec![crate::auth::UserBackup {
            name: "ann".into(),
            roles: ["r".to_owned()].into(),
            no_password: true,
            ..Default::default()
        }],
        roles: vec![("r".into(), granted)],
    };
    let auth = Auth::restore(backup.clone());
    assert_eq!(auth.backup(), backup);
    assert!(!auth.is_fresh());
}

#[test]
fn damage_is_told() {
    let backup = Backup { revision: 5, compact_revision: -1, ..Backup::default() };
    let bad = [Backup { revision: 0, ..backup.clone() }, Backup { compact_revision: 6, ..backup.clone() }, {
        let lease = Granted { id: LeaseId(1), ttl_s: 5, remaining_s: 0, granted: LogIndex(1) };
        Backup { leases: vec![lease, lease], ..backup.clone() }
    }];
    for bad in bad {
        assert!(Restore::begin(bad.clone(), Vec::new()).is_err(), "{bad:?}");
    }
    let record = |main, sub| Record {
        main,
        sub,
        key: Key::from(&b"k"[..]),
        value: Value::new(),
        create: main,
        version: 1,
        lease: LeaseId(0),
    };
    let mut restore = Restore::begin(backup, Vec::new()).expect("legal");
    restore.record(record(2, 1)).expect("the first");
    for bad in [record(2, 1), record(1, 0), record(6, 0), Record { key: Key::from(&b""[..]), ..record(3, 0) }]
    {
        assert!(restore.record(bad.clone()).is_err(), "{bad:?}");
    }
    let state = restore.finish();
    assert_eq!((state.applied, state.applied_term), (LogIndex(1), Term(1)));
}
