//! What a question of permission costs: a user of 1,000 roles with 10,000 ranges asks for keys and ranges that it
//! has and for some that it has not. Prints nanoseconds a question; an optimised build is meant.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use holdfast_core::auth::{Asker, Auth, Right};
use holdfast_core::base::KeyRange;
use holdfast_core::command::AuthChange;
use holdfast_core::request::{Permission, PermissionKind, Secret};

const ROLES: u32 = 1_000;
const RANGES_OF_A_ROLE: u32 = 10;
const QUESTIONS: u32 = 1_000_000;

fn key(number: u32) -> Bytes {
    Bytes::from(format!("/registry/pods/namespace/{number:08}"))
}

fn apply(auth: &mut Auth, change: AuthChange) {
    auth.apply(change).expect("every change is in order");
}

/// Every second key of the space is granted, role by role.
fn guarded() -> Auth {
    let mut auth = Auth::new();
    for name in ["root", "user"] {
        let (password_hash, no_password) = (Secret::default(), true);
        apply(&mut auth, AuthChange::UserAdd { name: name.to_owned(), password_hash, no_password });
    }
    let root = "root".to_owned();
    apply(&mut auth, AuthChange::UserGrantRole { name: root.clone(), role: root });
    for number in 0..ROLES {
        let (name, role) = ("user".to_owned(), format!("role{number}"));
        apply(&mut auth, AuthChange::RoleAdd { role: role.clone() });
        for range in 0..RANGES_OF_A_ROLE {
            let from = 2 * (number * RANGES_OF_A_ROLE + range);
            let kind = PermissionKind::ReadWrite;
            let permission = Some(Permission { kind, key: key(from), range_end: key(from + 1) });
            apply(&mut auth, AuthChange::RoleGrantPermission { role: role.clone(), permission });
        }
        apply(&mut auth, AuthChange::UserGrantRole { name, role });
    }
    apply(&mut auth, AuthChange::Enable);
    auth
}

fn main() {
    let auth = guarded();
    let asker = Asker { user: "user", auth_revision: auth.revision() };
    let ranges: Vec<KeyRange> = (0..4_096)
        .map(|n| {
            let from = n * 7_919 % (2 * ROLES * RANGES_OF_A_ROLE);
            let range_end = if n % 2 == 0 { Bytes::new() } else { key(from + 1) };
            KeyRange::new(key(from), range_end)
        })
        .collect();
    let start = Instant::now();
    let mut granted = 0;
    for n in 0..QUESTIONS as usize {
        granted += u32::from(auth.check(asker, black_box(&ranges[n % ranges.len()]), Right::Read).is_ok());
    }
    let ns = start.elapsed().as_nanos() / u128::from(QUESTIONS);
    println!("permission: roles={ROLES} ranges={} ns={ns} granted={granted}", ROLES * RANGES_OF_A_ROLE);
}
