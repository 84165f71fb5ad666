//! Users, roles and who may do what, from the contract's rules (AUTH-1 to AUTH-20): every question looks through
//! all grants of all roles, one after the other.

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_core::auth::{AuthBackup, UserBackup};
use holdfast_core::base::LeaseId;
use holdfast_core::request::{
    AuthAnswer, AuthRequest, DeleteRangeRequest, Permission, PermissionKind, PutRequest, Request, RequestOp,
    Secret, TxnRequest,
};
use holdfast_core::status::Status;

/// Who a request is by, as its entry says: nobody has no name and revision 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    pub user: String,
    pub auth_revision: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Read,
    Write,
}

/// Something that a request cannot do without.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    Keys {
        right: Right,
        key: Bytes,
        range_end: Bytes,
    },
    /// The right on each key of a lease.
    Lease {
        right: Right,
        id: LeaseId,
    },
    /// To be somebody.
    Name,
    /// To hold the root role.
    Root,
    /// The same for whoever is named.
    RootIfNamed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: String,
    /// `None`: nothing fits.
    password: Option<Secret>,
    no_password: bool,
    roles: Vec<String>,
}

/// All of it at one position of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    pub is_on: bool,
    pub revision: u64,
    users: Vec<User>,
    roles: Vec<(String, Vec<Permission>)>,
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts { is_on: false, revision: 1, users: Vec::new(), roles: Vec::new() }
    }
}

impl Accounts {
    fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    fn user_mut(&mut self, name: &str) -> Result<&mut User, Status> {
        self.users.iter_mut().find(|user| user.name == name).ok_or(Status::UserNotFound)
    }

    fn role(&self, name: &str) -> Option<&Vec<Permission>> {
        self.roles.iter().find(|(role, _)| role == name).map(|(_, permissions)| permissions)
    }

    fn role_mut(&mut self, name: &str) -> Result<&mut Vec<Permission>, Status> {
        let found = self.roles.iter_mut().find(|(role, _)| role == name);
        found.map(|(_, permissions)| permissions).ok_or(Status::RoleNotFound)
    }

    fn is_root(&self, name: &str) -> bool {
        self.user(name).is_some_and(|user| user.roles.iter().any(|role| role == "root"))
    }

    /// Whether a backup has just these users and roles. What a password's hash is, only who made it knows.
    pub fn fit(&self, backup: Option<&AuthBackup>) -> bool {
        let Some(backup) = backup else { return (self.is_on, self.revision) == (false, 1) };
        let is_there = |user: &UserBackup| {
            let roles: BTreeSet<String> =
                self.user(&user.name).into_iter().flat_map(|known| known.roles.iter().cloned()).collect();
            let known = self.user(&user.name).map(|known| known.no_password);
            known == Some(user.no_password) && roles == user.roles
        };
        (self.is_on, self.revision) == (backup.is_enabled, backup.revision)
            && (self.users.len(), self.roles.len()) == (backup.users.len(), backup.roles.len())
            && backup.users.iter().all(is_there)
            && backup.roles.iter().all(|(role, permissions)| self.role(role) == Some(permissions))
    }

    /// Carries out a change, and counts it if it was one.
    pub fn change(&mut self, change: &AuthRequest) -> Result<(), Status> {
        let before = self.clone();
        match change {
            AuthRequest::Enable => return self.enable(),
            AuthRequest::Disable => self.is_on = false,
            AuthRequest::RoleAdd { .. }
            | AuthRequest::RoleDelete { .. }
            | AuthRequest::RoleGrantPermission { .. }
            | AuthRequest::RoleRevokePermission { .. } => self.change_role(change)?,
            _ => self.change_user(change)?,
        }
        // The same permission or password again is a change all the same.
        let always = matches!(
            change,
            AuthRequest::UserChangePassword { .. } | AuthRequest::RoleGrantPermission { .. }
        );
        self.revision += u64::from(always || before != *self);
        Ok(())
    }

    fn enable(&mut self) -> Result<(), Status> {
        if !self.is_on {
            self.user("root").ok_or(Status::RootUserNotExist)?;
            if !self.is_root("root") {
                return Err(Status::RootRoleNotExist);
            }
        }
        self.is_on = true;
        Ok(())
    }

    fn change_user(&mut self, change: &AuthRequest) -> Result<(), Status> {
        let on = self.is_on;
        match change {
            AuthRequest::UserAdd { name, .. } if name.is_empty() => return Err(Status::UserEmpty),
            AuthRequest::UserAdd { name, .. } if self.user(name).is_some() => {
                return Err(Status::UserAlreadyExist);
            }
            AuthRequest::UserAdd { name, password, no_password } => {
                let password = (!no_password).then(|| password.clone());
                let (name, no_password) = (name.clone(), *no_password);
                self.users.push(User { name, password, no_password, roles: Vec::new() });
            }
            AuthRequest::UserDelete { name } if on && name == "root" => return Err(Status::InvalidAuthMgmt),
            AuthRequest::UserDelete { name } => {
                self.user(name).ok_or(Status::UserNotFound)?;
                self.users.retain(|user| user.name != *name);
            }
            AuthRequest::UserChangePassword { name, password } => {
                let user = self.user_mut(name)?;
                let has_word = !user.no_password && !password.0.is_empty();
                user.password = has_word.then(|| password.clone());
            }
            AuthRequest::UserGrantRole { name, role } => {
                self.user(name).ok_or(Status::UserNotFound)?;
                if role != "root" && self.role(role).is_none() {
                    return Err(Status::RoleNotFound);
                }
                let user = self.user_mut(name)?;
                if !user.roles.contains(role) {
                    user.roles.push(role.clone());
                }
            }
            AuthRequest::UserRevokeRole { name, role } if on && name == "root" && role == "root" => {
                return Err(Status::InvalidAuthMgmt);
            }
            AuthRequest::UserRevokeRole { name, role } => {
                let user = self.user_mut(name)?;
                if !user.roles.contains(role) {
                    return Err(Status::RoleNotGranted);
                }
                user.roles.retain(|held| held != role);
            }
            other => unreachable!("{other:?} changes no user"),
        }
        Ok(())
    }

    fn change_role(&mut self, change: &AuthRequest) -> Result<(), Status> {
        match change {
            AuthRequest::RoleAdd { role } if role.is_empty() => Err(Status::RoleEmpty),
            AuthRequest::RoleAdd { role } if self.role(role).is_some() => Err(Status::RoleAlreadyExist),
            AuthRequest::RoleAdd { role } => {
                self.roles.push((role.clone(), Vec::new()));
                Ok(())
            }
            AuthRequest::RoleDelete { role } if self.is_on && role == "root" => Err(Status::InvalidAuthMgmt),
            AuthRequest::RoleDelete { role } => {
                self.role(role).ok_or(Status::RoleNotFound)?;
                self.roles.retain(|(name, _)| name != role);
                self.users.iter_mut().for_each(|user| user.roles.retain(|held| held != role));
                Ok(())
            }
            AuthRequest::RoleGrantPermission { role, permission } => self.grant(role, permission.as_ref()),
            AuthRequest::RoleRevokePermission { role, key, range_end } => {
                let permissions = self.role_mut(role)?;
                let is_it = |p: &Permission| p.key == key && p.range_end == range_end;
                if !permissions.iter().any(is_it) {
                    return Err(Status::PermissionNotGranted);
                }
                permissions.retain(|permission| !is_it(permission));
                Ok(())
            }
            other => unreachable!("{other:?} changes no role"),
        }
    }

    /// AUTH-6, with the entry that is found only if it is the first of its key.
    fn grant(&mut self, role: &str, permission: Option<&Permission>) -> Result<(), Status> {
        let Some(permission) = permission else { return Err(Status::PermissionNotGiven) };
        let Permission { kind, key, range_end } = permission;
        let is_legal = range_end.is_empty() || range_end[..] == [0] || range_end > key;
        if key.is_empty() || !is_legal {
            return Err(Status::InvalidAuthMgmt);
        }
        let permissions = self.role_mut(role)?;
        match permissions.iter_mut().find(|known| known.key == key) {
            Some(first) if first.range_end == range_end => first.kind = *kind,
            _ => {
                permissions.push(permission.clone());
                permissions.sort_by(|a, b| a.key.cmp(&b.key));
            }
        }
        Ok(())
    }

    /// Whether a password is that of a user who may have one.
    pub fn password_fits(&self, name: &str, password: &Secret) -> bool {
        self.user(name).is_some_and(|user| !user.no_password && user.password.as_ref() == Some(password))
    }

    /// What a login must be refused with by what is here; `None`: it gets its token.
    pub fn login_refusal(&self, name: &str, password: &Secret) -> Option<Status> {
        if !self.is_on {
            return Some(Status::AuthNotEnabled);
        }
        match self.user(name) {
            None => Some(Status::AuthFailed),
            Some(user) if user.no_password => Some(Status::NoPasswordUser),
            Some(_) => (!self.password_fits(name, password)).then_some(Status::AuthFailed),
        }
    }

    /// What an entry of a login is refused with, whose password was right at an auth revision.
    pub fn token_refusal(&self, name: &str, checked: u64) -> Option<Status> {
        if !self.is_on {
            return Some(Status::AuthNotEnabled);
        }
        match self.user(name) {
            Some(user) if !user.no_password => (checked < self.revision).then_some(Status::AuthOldRevision),
            _ => Some(Status::AuthFailed),
        }
    }

    /// The answer to a question about users and roles.
    pub fn answer(&self, by: &By, asked: &AuthRequest) -> Result<AuthAnswer, Status> {
        let is_admin = self.meets(by, &Need::Root, &|_| Vec::new());
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        Ok(match asked {
            AuthRequest::Status => {
                AuthAnswer::Status { is_enabled: self.is_on, auth_revision: self.revision }
            }
            AuthRequest::UserGet { name } => {
                if by.user != *name {
                    is_admin?;
                }
                let user = self.user(name).ok_or(Status::UserNotFound)?;
                AuthAnswer::User { roles: sorted(user.roles.clone()) }
            }
            AuthRequest::UserList => {
                is_admin?;
                AuthAnswer::Users(sorted(self.users.iter().map(|user| user.name.clone()).collect()))
            }
            AuthRequest::RoleGet { role } => {
                if !self.user(&by.user).is_some_and(|user| user.roles.contains(role)) {
                    is_admin?;
                }
                let permissions = self.role(role).ok_or(Status::RoleNotFound)?.clone();
                let (key, range_end) = (Bytes::new(), Bytes::from_static(&[0]));
                let all = Permission { kind: PermissionKind::ReadWrite, key, range_end };
                AuthAnswer::Role { permissions: if role == "root" { vec![all] } else { permissions } }
            }
            AuthRequest::RoleList => {
                is_admin?;
                AuthAnswer::Roles(sorted(self.roles.iter().map(|(name, _)| name.clone()).collect()))
            }
            other => unreachable!("{other:?} is no question"),
        })
    }

    /// What a request is refused with for want of rights; `keys_of`: the keys on a lease.
    pub fn refusal(
        &self,
        by: &By,
        request: &Request,
        keys_of: &dyn Fn(LeaseId) -> Vec<Bytes>,
    ) -> Option<Status> {
        if !self.is_on {
            return None;
        }
        let mut needs = Vec::new();
        needs_of(request, &mut needs);
        needs.iter().find_map(|need| self.meets(by, need, keys_of).err())
    }

    /// What a change of the membership is refused with where its entry stands.
    pub fn member_refusal(&self, by: &By) -> Option<Status> {
        self.meets(by, &Need::RootIfNamed, &|_| Vec::new()).err()
    }

    /// What a member refuses before it proposes anything, as etcd's services do.
    pub fn early_refusal(&self, by: &By, request: &Request) -> Option<Status> {
        let need = match request {
            Request::Compact(_) | Request::AlarmSet { .. } => Need::Root,
            Request::LeaseGrant(_) | Request::LeaseRevoke { .. } => Need::Name,
            _ => return None,
        };
        self.meets(by, &need, &|_| Vec::new()).err()
    }

    fn meets(&self, by: &By, need: &Need, keys_of: &dyn Fn(LeaseId) -> Vec<Bytes>) -> Result<(), Status> {
        if !self.is_on {
            return Ok(());
        }
        match need {
            Need::Name if by.auth_revision == 0 => Err(Status::UserEmpty),
            Need::Name => Ok(()),
            Need::RootIfNamed if by.user.is_empty() => Ok(()),
            Need::Root | Need::RootIfNamed => {
                if by.user.is_empty() {
                    return Err(Status::UserEmpty);
                }
                self.user(&by.user).ok_or(Status::UserNotFound)?;
                if self.is_root(&by.user) { Ok(()) } else { Err(Status::PermissionDenied) }
            }
            Need::Lease { .. } if self.is_root(&by.user) => Ok(()),
            Need::Lease { right, id } => keys_of(*id).into_iter().try_for_each(|key| {
                let need = Need::Keys { right: *right, key, range_end: Bytes::new() };
                self.meets(by, &need, keys_of)
            }),
            Need::Keys { right, key, range_end } => {
                if by.auth_revision == 0 {
                    return Err(Status::UserEmpty);
                }
                if by.auth_revision < self.revision {
                    return Err(Status::AuthOldRevision);
                }
                let granted = self.is_root(&by.user) || self.is_granted(&by.user, *right, key, range_end);
                if granted { Ok(()) } else { Err(Status::PermissionDenied) }
            }
        }
    }

    /// Walks from the first key of a range to its end, from one grant into the next that holds where it has
    /// come to.
    fn is_granted(&self, user: &str, right: Right, key: &Bytes, range_end: &Bytes) -> bool {
        let Some(user) = self.user(user) else { return false };
        let grants = user.roles.iter().filter_map(|role| self.role(role)).flatten();
        let grants: Vec<&Permission> = grants.filter(|grant| gives(grant.kind, right)).collect();
        let mut at = key.to_vec();
        loop {
            let holding = grants.iter().filter(|grant| holds(grant, &at));
            let Some(end) = holding.map(|grant| end_of(grant)).max() else { return false };
            let is_there = match (&range_end[..], &end) {
                (_, End::Never) | ([], _) => true,
                ([0], End::At(_)) => false,
                (range_end, End::At(end)) => range_end <= &end[..],
            };
            match end {
                _ if is_there => return true,
                End::At(end) => at = end,
                End::Never => return true,
            }
        }
    }
}

/// The first key behind a grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    At(Vec<u8>),
    Never,
}

fn end_of(grant: &Permission) -> End {
    match &grant.range_end[..] {
        [] => End::At([&grant.key[..], &[0]].concat()),
        [0] => End::Never,
        end => End::At(end.to_vec()),
    }
}

fn holds(grant: &Permission, key: &[u8]) -> bool {
    key >= &grant.key[..] && End::At(key.to_vec()) < end_of(grant)
}

fn gives(kind: PermissionKind, right: Right) -> bool {
    match kind {
        PermissionKind::Read => right == Right::Read,
        PermissionKind::Write => right == Right::Write,
        PermissionKind::ReadWrite => true,
        PermissionKind::Unknown(_) => false,
    }
}

/// The table below AUTH-20, as a list of what is needed.
fn needs_of(request: &Request, needs: &mut Vec<Need>) {
    match request {
        Request::Range(range) => needs.push(keys(Right::Read, &range.key, &range.range_end)),
        Request::Put(put) => needs_of_put(put, needs),
        Request::DeleteRange(delete) => needs_of_delete(delete, needs),
        Request::Txn(txn) => needs_of_txn(txn, needs),
        Request::Compact(_) | Request::AlarmSet { .. } => needs.push(Need::RootIfNamed),
        Request::LeaseGrant(_) | Request::Status => needs.push(Need::Name),
        Request::MemberList { .. } | Request::AlarmList { .. } => needs.push(Need::Name),
        Request::LeaseRevoke { id } | Request::LeaseKeepAlive { id } => {
            needs.push(Need::Name);
            needs.push(Need::Lease { right: Right::Write, id: *id });
        }
        Request::LeaseTimeToLive { id, keys } => {
            needs.push(Need::Name);
            if *keys {
                needs.push(Need::Lease { right: Right::Read, id: *id });
            }
        }
        Request::LeaseLeases => needs.push(Need::Name),
        Request::Hash | Request::HashKv { .. } | Request::Defragment | Request::MoveLeader { .. } => {
            needs.push(Need::Root);
        }
        Request::Backup | Request::BackupHistory(_) => {
            needs.push(Need::Root);
        }
        Request::MemberAdd { .. }
        | Request::MemberRemove { .. }
        | Request::MemberUpdate { .. }
        | Request::MemberPromote { .. } => needs.push(Need::Root),
        // The member asks itself as it ends.
        Request::HandOver => {}
        Request::Auth(
            AuthRequest::Status
            | AuthRequest::Authenticate { .. }
            | AuthRequest::UserGet { .. }
            | AuthRequest::UserList
            | AuthRequest::RoleGet { .. }
            | AuthRequest::RoleList,
        ) => {}
        Request::Auth(_) => needs.push(Need::Root),
    }
}

fn keys(right: Right, key: &Bytes, range_end: &Bytes) -> Need {
    Need::Keys { right, key: key.clone(), range_end: range_end.clone() }
}

fn needs_of_put(put: &PutRequest, needs: &mut Vec<Need>) {
    needs.push(keys(Right::Write, &put.key, &Bytes::new()));
    needs.push(Need::Lease { right: Right::Write, id: put.lease });
    if put.prev_kv {
        needs.push(keys(Right::Read, &put.key, &Bytes::new()));
    }
}

fn needs_of_delete(delete: &DeleteRangeRequest, needs: &mut Vec<Need>) {
    needs.push(keys(Right::Write, &delete.key, &delete.range_end));
    if delete.prev_kv {
        needs.push(keys(Right::Read, &delete.key, &delete.range_end));
    }
}

fn needs_of_txn(txn: &TxnRequest, needs: &mut Vec<Need>) {
    for compare in &txn.compare {
        needs.push(keys(Right::Read, &compare.key, &compare.range_end));
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            RequestOp::Unset => {}
            RequestOp::Range(range) => needs.push(keys(Right::Read, &range.key, &range.range_end)),
            RequestOp::Put(put) => needs_of_put(put, needs),
            RequestOp::DeleteRange(delete) => needs_of_delete(delete, needs),
            RequestOp::Txn(child) => needs_of_txn(child, needs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(kind: PermissionKind, key: &'static str, end: &'static str) -> AuthRequest {
        let permission = Permission { kind, key: Bytes::from(key), range_end: Bytes::from(end) };
        AuthRequest::RoleGrantPermission { role: "r".to_owned(), permission: Some(permission) }
    }

    #[test]
    fn a_range_is_walked_from_grant_to_grant() {
        let (name, role) = ("u".to_owned(), "r".to_owned());
        let add = AuthRequest::UserAdd { name: name.clone(), password: Secret::default(), no_password: true };
        let changes = [
            add,
            AuthRequest::RoleAdd { role: role.clone() },
            AuthRequest::UserGrantRole { name, role },
            grant(PermissionKind::Read, "a", "c"),
            grant(PermissionKind::ReadWrite, "c", ""),
            grant(PermissionKind::Read, "c\0", "e"),
            grant(PermissionKind::Read, "x", "\0"),
        ];
        let mut accounts = Accounts::default();
        for change in &changes {
            accounts.change(change).expect("in order");
        }
        let may = |key: &'static str, end: &'static str| {
            accounts.is_granted("u", Right::Read, &Bytes::from(key), &Bytes::from(end))
        };
        for (key, end) in [("a", "e"), ("c", ""), ("b", "a"), ("y", "\0"), ("a", "")] {
            assert!(may(key, end), "{key} {end}");
        }
        for (key, end) in [("a", "f"), ("a", "\0"), ("e", ""), ("w", "z"), ("c", "\0")] {
            assert!(!may(key, end), "{key} {end}");
        }
        assert!(!accounts.is_granted("u", Right::Write, &Bytes::from("a"), &Bytes::new()));
        assert_eq!(accounts.revision, 8);
    }
}
