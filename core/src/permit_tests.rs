use bytes::Bytes;

use super::*;
use crate::base::{Key, LogIndex};
use crate::command::AuthChange;
use crate::request::{Compare, Permission, PermissionKind, Secret};

/// Auth is on; `u` may read what begins with a or b, and write what begins with b or c. Lease 1 has b1 and
/// c1, lease 2 has b1 and d1, lease 3 nothing.
fn ground() -> (Auth, Leases) {
    let (root, user, role) = ("root".to_owned(), "u".to_owned(), "r".to_owned());
    let add = |name: &String| AuthChange::UserAdd {
        name: name.clone(),
        password_hash: Secret::default(),
        no_password: false,
    };
    let grant_role =
        |name: &String, role: &String| AuthChange::UserGrantRole { name: name.clone(), role: role.clone() };
    let grant = |kind, key: &'static str, end: &'static str| AuthChange::RoleGrantPermission {
        role: role.clone(),
        permission: Some(Permission { kind, key: Bytes::from(key), range_end: Bytes::from(end) }),
    };
    let changes = [
        add(&root),
        grant_role(&root, &root),
        add(&user),
        AuthChange::RoleAdd { role: role.clone() },
        grant_role(&user, &role),
        grant(PermissionKind::Read, "a", "b"),
        grant(PermissionKind::ReadWrite, "b", "c"),
        grant(PermissionKind::Write, "c", "d"),
        AuthChange::Enable,
    ];
    let mut auth = Auth::new();
    for change in changes {
        auth.apply(change).expect("in order");
    }
    let mut leases = Leases::new();
    for (id, keys) in [(1, &["b1", "c1"][..]), (2, &["b1", "d1"]), (3, &[])] {
        leases.grant(LeaseId(id), 10, LogIndex(1)).expect("a fresh id");
        for key in keys {
            leases.attach(LeaseId(id), &Key::from(key.as_bytes()));
        }
    }
    (auth, leases)
}

fn judged(action: &Action) -> Result<(), Status> {
    let (auth, leases) = ground();
    let revision = auth.revision();
    let as_user = |user, auth_revision| check_action(&auth, &leases, Asker { user, auth_revision }, action);
    assert_eq!(as_user("root", revision), Ok(()), "{action:?}");
    assert_eq!(as_user("", 0), Err(Status::UserEmpty), "{action:?}");
    // Of a lease's keys an admin is not asked for one by one (AUTH-18).
    let is_revoke = matches!(action, Action::LeaseRevoke { .. });
    let with_old = if is_revoke { Ok(()) } else { Err(Status::AuthOldRevision) };
    assert_eq!(as_user("root", revision - 1), with_old, "{action:?}");
    as_user("u", revision)
}

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: Bytes::from(key), ..PutRequest::default() }
}

fn range(key: &'static str, end: &'static str) -> RangeRequest {
    RangeRequest { key: Bytes::from(key), range_end: Bytes::from(end), ..RangeRequest::default() }
}

fn delete(key: &'static str, end: &'static str, prev_kv: bool) -> DeleteRangeRequest {
    DeleteRangeRequest { key: Bytes::from(key), range_end: Bytes::from(end), prev_kv }
}

const DENIED: Result<(), Status> = Err(Status::PermissionDenied);

#[test]
fn a_put_needs_its_key_its_old_value_and_its_lease() {
    let cases = [
        (put("b1"), Ok(())),
        (put("c1"), Ok(())),
        (put("a1"), DENIED),
        (PutRequest { prev_kv: true, ..put("b1") }, Ok(())),
        (PutRequest { prev_kv: true, ..put("c1") }, DENIED),
        (PutRequest { lease: LeaseId(1), ..put("b2") }, Ok(())),
        (PutRequest { lease: LeaseId(2), ..put("b2") }, DENIED),
        (PutRequest { lease: LeaseId(3), ..put("b2") }, Ok(())),
        (PutRequest { lease: LeaseId(4), ..put("b2") }, Ok(())),
    ];
    for (put, expected) in cases {
        assert_eq!(judged(&Action::Put(put.clone())), expected, "{put:?}");
    }
}

#[test]
fn a_delete_needs_its_range_and_what_it_shows_of_it() {
    for (key, end, prev_kv, expected) in [
        ("b", "d", false, Ok(())),
        ("b", "d", true, DENIED),
        ("b", "c", true, Ok(())),
        ("b", "\0", false, DENIED),
        ("a1", "", false, DENIED),
    ] {
        assert_eq!(judged(&Action::DeleteRange(delete(key, end, prev_kv))), expected, "{key} {end}");
    }
}

#[test]
fn a_txn_needs_everything_in_it_at_any_depth() {
    let nested = |op: RequestOp| {
        let inner = TxnRequest { failure: vec![op], ..TxnRequest::default() };
        RequestOp::Txn(Box::new(TxnRequest {
            success: vec![RequestOp::Txn(Box::new(inner))],
            ..TxnRequest::default()
        }))
    };
    let cases = [
        (RequestOp::Range(range("a", "c")), Ok(())),
        (RequestOp::Range(range("a", "d")), DENIED),
        (RequestOp::Put(put("b1")), Ok(())),
        (RequestOp::Put(PutRequest { prev_kv: true, ..put("c1") }), DENIED),
        (RequestOp::Put(PutRequest { lease: LeaseId(2), ..put("b1") }), DENIED),
        (RequestOp::DeleteRange(delete("c", "d", false)), Ok(())),
        (RequestOp::DeleteRange(delete("c", "d", true)), DENIED),
    ];
    for (op, expected) in cases {
        for op in [op.clone(), nested(op)] {
            let in_success = TxnRequest { success: vec![op.clone()], ..TxnRequest::default() };
            let in_failure = TxnRequest { failure: vec![op.clone()], ..TxnRequest::default() };
            assert_eq!(judged(&Action::Txn(in_success)), expected, "{op:?}");
            assert_eq!(judged(&Action::Txn(in_failure)), expected, "{op:?}");
        }
    }
    for (key, expected) in [("a1", Ok(())), ("c1", DENIED)] {
        let compare = Compare { key: Bytes::from(key), ..Compare::default() };
        let txn = TxnRequest { compare: vec![compare], ..TxnRequest::default() };
        assert_eq!(judged(&Action::Txn(txn)), expected, "{key}");
    }
}

#[test]
fn a_revoke_needs_every_key_of_the_lease() {
    assert_eq!(judged(&Action::LeaseRevoke { id: LeaseId(1) }), Ok(()));
    assert_eq!(judged(&Action::LeaseRevoke { id: LeaseId(2) }), DENIED);
    let (auth, leases) = ground();
    let asker = Asker { user: "u", auth_revision: auth.revision() };
    assert_eq!(check_lease_keys(&auth, &leases, asker, LeaseId(1), Right::Read), DENIED);
    assert_eq!(check_lease_keys(&auth, &leases, asker, LeaseId(3), Right::Read), Ok(()));
}

#[test]
fn what_members_propose_themselves_passes_and_whoever_is_named_must_be_an_admin() {
    let (auth, leases) = ground();
    let as_user = |user, action: &Action| {
        check_action(&auth, &leases, Asker { user, auth_revision: auth.revision() }, action)
    };
    let expire = Action::LeaseExpire { id: LeaseId(2), granted: LogIndex(1), term: crate::base::Term(1) };
    let nobody = Asker { user: "", auth_revision: 0 };
    assert_eq!(check_action(&auth, &leases, nobody, &expire), Ok(()));
    let compact = Action::Compact { revision: 3 };
    assert_eq!(check_action(&auth, &leases, nobody, &compact), Ok(()));
    assert_eq!(as_user("u", &compact), DENIED);
    assert_eq!(as_user("root", &compact), Ok(()));
    assert_eq!(as_user("u", &Action::Auth(AuthChange::Disable)), DENIED);
    assert_eq!(as_user("x", &Action::Auth(AuthChange::Disable)), Err(Status::UserNotFound));
}
