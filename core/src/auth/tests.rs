use bytes::Bytes;

use super::*;
use crate::codec::Decoder;
use crate::command::AuthChange;
use crate::request::PermissionKind;

fn name(text: &str) -> String {
    text.to_owned()
}

fn permission(kind: PermissionKind, key: &'static str, range_end: &'static str) -> Permission {
    Permission { kind, key: Bytes::from(key), range_end: Bytes::from(range_end) }
}

fn add_user(user: &str) -> AuthChange {
    AuthChange::UserAdd { name: name(user), password_hash: Secret::new("h"), no_password: false }
}

fn grant_role(user: &str, role: &str) -> AuthChange {
    AuthChange::UserGrantRole { name: name(user), role: name(role) }
}

fn grant(role: &str, permission: Permission) -> AuthChange {
    AuthChange::RoleGrantPermission { role: name(role), permission: Some(permission) }
}

fn revoke(role: &str, key: &'static str, range_end: &'static str) -> AuthChange {
    AuthChange::RoleRevokePermission {
        role: name(role),
        key: Bytes::from(key),
        range_end: Bytes::from(range_end),
    }
}

impl Auth {
    fn made(changes: impl IntoIterator<Item = AuthChange>) -> Auth {
        let mut auth = Auth::new();
        for change in changes {
            auth.done(change);
        }
        auth
    }

    fn done(&mut self, change: AuthChange) {
        assert!(self.apply(change.clone()).is_ok(), "{change:?}");
    }

    /// With root, user `u` of role `r`, and on.
    fn on() -> Auth {
        let add_role = AuthChange::RoleAdd { role: name("r") };
        let changes = [add_user(ROOT), grant_role(ROOT, ROOT), add_user("u"), add_role, grant_role("u", "r")];
        let mut auth = Auth::made(changes);
        auth.done(AuthChange::Enable);
        auth
    }

    fn may(
        &self,
        user: &str,
        right: Right,
        key: &'static str,
        range_end: &'static str,
    ) -> Result<(), Status> {
        let asker = Asker { user, auth_revision: self.revision };
        self.check(asker, &KeyRange::new(Bytes::from(key), Bytes::from(range_end)), right)
    }
}

#[test]
fn enabling_needs_root_with_its_role_and_leaves_the_revision() {
    let mut auth = Auth::new();
    assert_eq!(auth.apply(AuthChange::Enable), Err(Status::RootUserNotExist));
    auth.done(add_user(ROOT));
    assert_eq!(auth.apply(AuthChange::Enable), Err(Status::RootRoleNotExist));
    auth.done(grant_role(ROOT, ROOT));
    assert_eq!(auth.revision(), 3);
    auth.done(AuthChange::Enable);
    auth.done(AuthChange::Enable);
    assert_eq!((auth.is_enabled(), auth.revision()), (true, 3));
    assert_eq!(auth.apply(AuthChange::Disable), Ok(AuthEvent::Disabled));
    assert_eq!(auth.apply(AuthChange::Disable), Ok(AuthEvent::None));
    assert_eq!((auth.is_enabled(), auth.revision()), (false, 4));
}

#[test]
fn root_stays_what_it_is_while_auth_is_on() {
    let mut auth = Auth::on();
    let refused = [
        AuthChange::UserDelete { name: name(ROOT) },
        AuthChange::UserRevokeRole { name: name(ROOT), role: name(ROOT) },
        AuthChange::RoleDelete { role: name(ROOT) },
    ];
    let revision = auth.revision();
    for change in &refused {
        assert_eq!(auth.apply(change.clone()), Err(Status::InvalidAuthMgmt));
    }
    assert_eq!(auth.revision(), revision);
    auth.done(AuthChange::Disable);
    auth.done(AuthChange::RoleAdd { role: name(ROOT) });
    auth.done(refused[1].clone());
    auth.done(refused[0].clone());
    auth.done(refused[2].clone());
}

#[test]
fn refusals_are_those_of_etcd_and_change_nothing() {
    let mut auth = Auth::on();
    let (before, revision) = (encode_auth(&auth), auth.revision());
    let (no_user, no_role) = (Status::UserNotFound, Status::RoleNotFound);
    let revoke_role =
        |user: &str, role: &str| AuthChange::UserRevokeRole { name: name(user), role: name(role) };
    let cases = [
        (add_user(""), Status::UserEmpty),
        (add_user("u"), Status::UserAlreadyExist),
        (AuthChange::UserDelete { name: name("x") }, no_user),
        (AuthChange::UserChangePassword { name: name("x"), password_hash: Secret::default() }, no_user),
        (grant_role("x", "r"), no_user),
        (grant_role("u", "x"), no_role),
        (revoke_role("x", "r"), no_user),
        (revoke_role("u", "x"), Status::RoleNotGranted),
        (AuthChange::RoleAdd { role: name("") }, Status::RoleEmpty),
        (AuthChange::RoleAdd { role: name("r") }, Status::RoleAlreadyExist),
        (AuthChange::RoleDelete { role: name("x") }, no_role),
        (AuthChange::RoleGrantPermission { role: name("r"), permission: None }, Status::PermissionNotGiven),
        (grant("x", permission(PermissionKind::Read, "", "")), Status::InvalidAuthMgmt),
        (grant("r", permission(PermissionKind::Read, "b", "a")), Status::InvalidAuthMgmt),
        (grant("r", permission(PermissionKind::Read, "b", "b")), Status::InvalidAuthMgmt),
        (grant("x", permission(PermissionKind::Read, "b", "\0")), no_role),
        (revoke("x", "a", ""), no_role),
        (revoke("r", "a", ""), Status::PermissionNotGranted),
    ];
    for (change, status) in cases {
        assert_eq!(auth.apply(change.clone()), Err(status), "{change:?}");
    }
    // What the user has already is no refusal, and no change either.
    auth.done(grant_role("u", "r"));
    assert_eq!((encode_auth(&auth), auth.revision()), (before, revision));
}

#[test]
fn every_change_raises_the_revision_by_one() {
    let mut auth = Auth::on();
    let changes = [
        grant("r", permission(PermissionKind::Read, "a", "")),
        grant("r", permission(PermissionKind::Read, "a", "")),
        revoke("r", "a", ""),
        AuthChange::UserChangePassword { name: name("u"), password_hash: Secret::new("other") },
        AuthChange::UserRevokeRole { name: name("u"), role: name("r") },
        AuthChange::RoleDelete { role: name("r") },
        AuthChange::UserDelete { name: name("u") },
    ];
    for change in changes {
        let before = auth.revision();
        auth.done(change.clone());
        assert_eq!(auth.revision(), before + 1, "{change:?}");
    }
}

#[test]
fn a_range_is_granted_if_its_permissions_leave_no_gap() {
    let mut auth = Auth::on();
    let (reads, both) = (PermissionKind::Read, PermissionKind::ReadWrite);
    for (kind, key, end) in [(reads, "a", "c"), (both, "c", ""), (reads, "c\0", "e"), (both, "x", "\0")] {
        auth.done(grant("r", permission(kind, key, end)));
    }
    for (key, end) in [("a", ""), ("c", ""), ("a", "e"), ("x", "\0"), ("y", "z")] {
        assert_eq!(auth.may("u", Right::Read, key, end), Ok(()), "{key} {end}");
    }
    // A watch or range of one key's right must not take in all that follows (CVE of 2026).
    for (key, end) in [("c", "\0"), ("a", "\0"), ("e", ""), ("a", "f"), ("\0", "\0")] {
        assert_eq!(auth.may("u", Right::Read, key, end), Err(Status::PermissionDenied), "{key} {end}");
        assert_eq!(auth.may(ROOT, Right::Read, key, end), Ok(()));
    }
    assert_eq!(auth.may("u", Right::Write, "a", ""), Err(Status::PermissionDenied));
    assert_eq!(auth.may("u", Right::Write, "c", ""), Ok(()));
}

#[test]
fn rights_follow_every_change_of_role_and_user() {
    let mut auth = Auth::on();
    let denied = Err(Status::PermissionDenied);
    assert_eq!(auth.may("u", Right::Read, "a", ""), denied);
    auth.done(grant("r", permission(PermissionKind::Read, "a", "")));
    assert_eq!(auth.may("u", Right::Read, "a", ""), Ok(()));
    auth.done(grant("r", permission(PermissionKind::Write, "a", "")));
    assert_eq!(auth.may("u", Right::Read, "a", ""), denied);
    auth.done(grant("r", permission(PermissionKind::Read, "a", "")));
    auth.done(AuthChange::UserRevokeRole { name: name("u"), role: name("r") });
    assert_eq!(auth.may("u", Right::Read, "a", ""), denied);
    auth.done(grant_role("u", "r"));
    assert_eq!(auth.may("u", Right::Read, "a", ""), Ok(()));
    auth.done(revoke("r", "a", ""));
    assert_eq!(auth.may("u", Right::Read, "a", ""), denied);
    auth.done(grant("r", permission(PermissionKind::Read, "a", "")));
    assert_eq!(auth.may("u", Right::Read, "a", ""), Ok(()));
    auth.done(AuthChange::RoleDelete { role: name("r") });
    assert_eq!(auth.may("u", Right::Read, "a", ""), denied);
    auth.done(AuthChange::UserDelete { name: name("u") });
    assert_eq!(auth.may("u", Right::Read, "a", ""), denied);
}

#[test]
fn askers_are_judged_in_order() {
    let auth = Auth::on();
    let range = KeyRange::single(Bytes::from("a"));
    let asked = |user, auth_revision| auth.check(Asker { user, auth_revision }, &range, Right::Read);
    assert_eq!(asked("", 0), Err(Status::UserEmpty));
    assert_eq!(asked("u", auth.revision() - 1), Err(Status::AuthOldRevision));
    assert_eq!(asked(ROOT, auth.revision() - 1), Err(Status::AuthOldRevision));
    assert_eq!(asked("x", auth.revision()), Err(Status::PermissionDenied));
    assert_eq!(asked(ROOT, auth.revision()), Ok(()));
    assert_eq!(auth.check_admin(""), Err(Status::UserEmpty));
    assert_eq!(auth.check_admin("x"), Err(Status::UserNotFound));
    assert_eq!(auth.check_admin("u"), Err(Status::PermissionDenied));
    assert_eq!(auth.check_admin(ROOT), Ok(()));
}

#[test]
fn users_and_roles_are_shown_to_root_and_to_those_they_are_of() {
    let auth = Auth::on();
    let asker = |user| Asker { user, auth_revision: 1 };
    assert_eq!(auth.user(asker("u"), "u"), Ok(vec![name("r")]));
    assert_eq!(auth.user(asker("u"), ROOT), Err(Status::PermissionDenied));
    assert_eq!(auth.user(asker(ROOT), "x"), Err(Status::UserNotFound));
    assert_eq!(auth.role(asker("u"), "r"), Ok(vec![]));
    assert_eq!(auth.role(asker("u"), ROOT), Err(Status::PermissionDenied));
    // The role that root has was never added.
    assert_eq!(auth.role(asker(ROOT), ROOT), Err(Status::RoleNotFound));
    assert_eq!(auth.users(asker("u")), Err(Status::PermissionDenied));
    assert_eq!(auth.users(asker(ROOT)), Ok(vec![name(ROOT), name("u")]));
    assert_eq!(auth.roles(asker(ROOT)), Ok(vec![name("r")]));
}

/// AUTH-6: only the first permission of a key is looked at.
#[test]
fn a_permission_behind_another_of_its_key_is_not_replaced() {
    let mut auth = Auth::on();
    let (read, write) = (PermissionKind::Read, PermissionKind::Write);
    for (kind, end) in [(read, "c"), (read, "d"), (write, "c"), (write, "d")] {
        auth.done(grant("r", permission(kind, "b", end)));
    }
    let asker = Asker { user: ROOT, auth_revision: 1 };
    let expected = [(write, "c"), (read, "d"), (write, "d")];
    let expected: Vec<_> = expected.iter().map(|(kind, end)| permission(*kind, "b", end)).collect();
    assert_eq!(auth.role(asker, "r"), Ok(expected));
    auth.done(revoke("r", "b", "d"));
    assert_eq!(auth.role(asker, "r"), Ok(vec![permission(write, "b", "c")]));
}

#[test]
fn logins_are_judged_by_user_and_revision() {
    let mut auth = Auth::on();
    auth.done(AuthChange::UserAdd { name: name("n"), password_hash: Secret::new("h"), no_password: true });
    assert_eq!(auth.password_hash("u"), Ok(&Secret::new("h")));
    assert_eq!(auth.password_hash("x"), Err(Status::AuthFailed));
    assert_eq!(auth.password_hash("n"), Err(Status::NoPasswordUser));
    let revision = auth.revision();
    assert_eq!(auth.check_login("u", revision), Ok(()));
    assert_eq!(auth.check_login("n", revision), Err(Status::AuthFailed));
    auth.done(AuthChange::UserChangePassword { name: name("u"), password_hash: Secret::default() });
    assert_eq!(auth.check_login("u", revision), Err(Status::AuthOldRevision));
    assert_eq!(auth.password_hash("u"), Ok(&Secret::default()));
    auth.done(AuthChange::Disable);
    assert_eq!(auth.check_login("u", auth.revision()), Err(Status::AuthNotEnabled));
    assert_eq!(auth.password_hash("u"), Err(Status::AuthNotEnabled));
}

#[test]
fn a_checkpoint_keeps_all_of_it_and_rights_are_made_anew() {
    let mut auth = Auth::on();
    auth.done(grant("r", permission(PermissionKind::Unknown(9), "k", "")));
    auth.done(grant("r", permission(PermissionKind::Read, "a", "\0")));
    let bytes = encode_auth(&auth).freeze();
    let mut d = Decoder(bytes.clone());
    let read = decode_auth(&mut d).expect("our own bytes");
    assert_eq!(d.finish(), Ok(()));
    assert_eq!(encode_auth(&read).freeze(), bytes);
    assert_eq!(read.may("u", Right::Read, "k", ""), Ok(()));
    assert_eq!(read.may("u", Right::Write, "k", ""), Err(Status::PermissionDenied));
    assert_eq!((read.is_enabled(), read.revision()), (true, auth.revision()));
    for len in 0..bytes.len() {
        assert!(decode_auth(&mut Decoder(bytes.slice(..len))).is_err(), "cut at {len}");
    }
}

/// 10,000 ranges in 1,000 roles: a question takes one search in at most so many intervals, and those that
/// touch are one. `cargo run -r -p holdfast-sim --example permission` has the nanoseconds.
#[test]
fn many_roles_are_one_union() {
    let rights = rights_of_many_roles(|i| (i * 2, i * 2 + 1));
    assert_eq!(rights.interval_count(Right::Read), 10_000);
    let rights = rights_of_many_roles(|i| (i, i + 1));
    assert_eq!(rights.interval_count(Right::Read), 1);
}

fn rights_of_many_roles(bounds: impl Fn(u32) -> (u32, u32)) -> Rights {
    let key = |i: u32| Bytes::from(format!("{i:08}"));
    let permissions: Vec<Permission> = (0..10_000)
        .map(|i| {
            let (from, to) = bounds(i);
            Permission { kind: PermissionKind::Read, key: key(from), range_end: key(to) }
        })
        .collect();
    Rights::of(permissions.iter())
}
