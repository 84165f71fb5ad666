//! Changes of users and roles, in etcd's order of checks.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Auth, ROOT, User, rights};
use crate::command::AuthChange;
use crate::request::{Permission, Secret};
use crate::status::Status;

/// What beside State has to know of a change: tokens are a member's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthEvent {
    None,
    /// The tokens of this user are void (AUTH-7).
    UserRevoked(String),
    /// All tokens are (AUTH-12).
    Disabled,
    Login {
        user: String,
        token: Secret,
    },
}

impl Auth {
    /// Carries out a change that `check_admin` let pass. A refused one changes nothing.
    /// Errors: the client's fault (AUTH-2, AUTH-4..AUTH-6).
    pub fn apply(&mut self, change: AuthChange) -> Result<AuthEvent, Status> {
        match change {
            AuthChange::Enable => self.enable()?,
            AuthChange::Disable => return Ok(self.disable()),
            AuthChange::UserAdd { name, password_hash, no_password } => {
                self.add_user(name, password_hash, no_password)?;
            }
            AuthChange::UserDelete { name } => {
                self.delete_user(&name)?;
                return Ok(AuthEvent::UserRevoked(name));
            }
            AuthChange::UserChangePassword { name, password_hash } => {
                let user = self.users.get_mut(&name).ok_or(Status::UserNotFound)?;
                user.password_hash = if user.no_password { Secret::default() } else { own(&password_hash) };
                self.revision += 1;
                return Ok(AuthEvent::UserRevoked(name));
            }
            AuthChange::UserGrantRole { name, role } => self.grant_role(&name, role)?,
            AuthChange::UserRevokeRole { name, role } => self.revoke_role(&name, &role)?,
            AuthChange::RoleAdd { role } => self.add_role(role)?,
            AuthChange::RoleDelete { role } => self.delete_role(&role)?,
            AuthChange::RoleGrantPermission { role, permission } => self.grant(&role, permission)?,
            AuthChange::RoleRevokePermission { role, key, range_end } => {
                self.revoke(&role, &key, &range_end)?;
            }
        }
        Ok(AuthEvent::None)
    }

    /// AUTH-2. The revision stays: no right of anybody has changed.
    fn enable(&mut self) -> Result<(), Status> {
        if self.is_enabled {
            return Ok(());
        }
        let root = self.users.get(ROOT).ok_or(Status::RootUserNotExist)?;
        if !root.is_root() {
            return Err(Status::RootRoleNotExist);
        }
        self.is_enabled = true;
        Ok(())
    }

    fn disable(&mut self) -> AuthEvent {
        if !self.is_enabled {
            return AuthEvent::None;
        }
        self.is_enabled = false;
        self.revision += 1;
        AuthEvent::Disabled
    }

    fn add_user(&mut self, name: String, password_hash: Secret, no_password: bool) -> Result<(), Status> {
        if name.is_empty() {
            return Err(Status::UserEmpty);
        }
        if self.users.contains_key(&name) {
            return Err(Status::UserAlreadyExist);
        }
        let password_hash = if no_password { Secret::default() } else { own(&password_hash) };
        self.users.insert(name, User { password_hash, no_password, ..User::default() });
        self.revision += 1;
        Ok(())
    }

    fn delete_user(&mut self, name: &str) -> Result<(), Status> {
        if self.is_enabled && name == ROOT {
            return Err(Status::InvalidAuthMgmt);
        }
        self.users.remove(name).ok_or(Status::UserNotFound)?;
        self.revision += 1;
        Ok(())
    }

    /// A role that the user has already is no change. The root role need not be there (AUTH-2).
    fn grant_role(&mut self, name: &str, role: String) -> Result<(), Status> {
        let user = self.users.get_mut(name).ok_or(Status::UserNotFound)?;
        if role != ROOT && !self.roles.contains_key(&role) {
            return Err(Status::RoleNotFound);
        }
        if user.roles.insert(role) {
            user.refresh_rights(&self.roles);
            self.revision += 1;
        }
        Ok(())
    }

    fn revoke_role(&mut self, name: &str, role: &str) -> Result<(), Status> {
        if self.is_enabled && name == ROOT && role == ROOT {
            return Err(Status::InvalidAuthMgmt);
        }
        let user = self.users.get_mut(name).ok_or(Status::UserNotFound)?;
        if !user.roles.remove(role) {
            return Err(Status::RoleNotGranted);
        }
        user.refresh_rights(&self.roles);
        self.revision += 1;
        Ok(())
    }

    fn add_role(&mut self, role: String) -> Result<(), Status> {
        if role.is_empty() {
            return Err(Status::RoleEmpty);
        }
        if self.roles.contains_key(&role) {
            return Err(Status::RoleAlreadyExist);
        }
        self.roles.insert(role, Vec::new());
        self.revision += 1;
        Ok(())
    }

    /// Whoever holds the role loses it (AUTH-7).
    fn delete_role(&mut self, role: &str) -> Result<(), Status> {
        if self.is_enabled && role == ROOT {
            return Err(Status::InvalidAuthMgmt);
        }
        self.roles.remove(role).ok_or(Status::RoleNotFound)?;
        for user in self.users.values_mut() {
            if user.roles.remove(role) {
                user.refresh_rights(&self.roles);
            }
        }
        self.revision += 1;
        Ok(())
    }

    /// AUTH-6. Only the first permission of a key is looked at for one with the same end: as etcd has it, of
    /// several with one key all but the first are not replaced but stand twice.
    fn grant(&mut self, role: &str, permission: Option<Permission>) -> Result<(), Status> {
        let permission = permission.ok_or(Status::PermissionNotGiven)?;
        if !rights::is_legal(&permission) {
            return Err(Status::InvalidAuthMgmt);
        }
        let permissions = self.roles.get_mut(role).ok_or(Status::RoleNotFound)?;
        let first = permissions.partition_point(|known| known.key < permission.key);
        match permissions.get_mut(first) {
            Some(known) if known.key == permission.key && known.range_end == permission.range_end => {
                known.kind = permission.kind;
                self.refresh_holders(role);
            }
            _ => {
                let behind = permissions.partition_point(|known| known.key <= permission.key);
                // Not slices: they would keep the whole entry that they came in.
                let (key, range_end) = (copy(&permission.key), copy(&permission.range_end));
                let permission = Permission { key, range_end, ..permission };
                let holders = self.users.values_mut().filter(|user| user.roles.contains(role));
                holders.for_each(|user| user.rights.add(&permission));
                permissions.insert(behind, permission);
            }
        }
        self.revision += 1;
        Ok(())
    }

    fn revoke(&mut self, role: &str, key: &Bytes, range_end: &Bytes) -> Result<(), Status> {
        let permissions = self.roles.get_mut(role).ok_or(Status::RoleNotFound)?;
        let before = permissions.len();
        permissions.retain(|known| known.key != key || known.range_end != range_end);
        if permissions.len() == before {
            return Err(Status::PermissionNotGranted);
        }
        self.refresh_holders(role);
        self.revision += 1;
        Ok(())
    }

    /// A role has other permissions.
    fn refresh_holders(&mut self, role: &str) {
        for user in self.users.values_mut().filter(|user| user.roles.contains(role)) {
            user.refresh_rights(&self.roles);
        }
    }

    /// Puts back a user that a checkpoint held; its roles are there.
    pub(super) fn restore_user(
        &mut self,
        name: String,
        password_hash: Secret,
        no_password: bool,
        roles: BTreeSet<String>,
    ) {
        let mut user = User { password_hash, no_password, roles, ..User::default() };
        user.refresh_rights(&self.roles);
        self.users.insert(name, user);
    }
}

fn copy(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// In an allocation of its own.
fn own(secret: &Secret) -> Secret {
    Secret(copy(&secret.0))
}
