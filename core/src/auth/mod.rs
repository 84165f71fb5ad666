//! Users, roles and what they may do: replicated, changed by entries of the log alone.
//!
//! What a user may read and write is a union of intervals, so that a question is one look-up. It is derived from
//! the roles by the change itself, for the users that the change is about, and not in a checkpoint.
//! Sketch: a new permission costs an insertion for each holder of its role; what takes rights away makes the
//! unions of the holders anew (etcd those of all users), some milliseconds for 10,000 permissions.
//!
//! Source: AUTH-1..AUTH-10, AUTH-17..AUTH-19; etcd 3.7.1 `server/auth/store.go`, `range_perm_cache.go`.

mod backup;
mod change;
mod checkpoint;
mod rights;
mod tokens;

pub use backup::{AuthBackup, UserBackup};
pub use change::AuthEvent;
pub use checkpoint::{decode_auth, encode_auth};
pub use rights::Right;
pub use tokens::{TOKEN_PREFIX_LETTERS, Tokens, token_index, token_prefix};

use std::collections::{BTreeMap, BTreeSet};

use crate::base::KeyRange;
use crate::request::{Identity, Permission, Secret};
use crate::status::Status;
use rights::Rights;

/// The user that must be there, and hold the role of the same name, while auth is on; that role may do anything.
pub const ROOT: &str = "root";

/// Users, roles, and whether they count; part of State.
#[derive(Clone, Debug)]
pub struct Auth {
    is_enabled: bool,
    /// Rises with each effective change but that of switching on (AUTH-1).
    revision: u64,
    users: BTreeMap<String, User>,
    /// Permissions by role, sorted by key.
    roles: BTreeMap<String, Vec<Permission>>,
}

#[derive(Clone, Debug, Default)]
struct User {
    /// Empty: no password fits.
    password_hash: Secret,
    no_password: bool,
    roles: BTreeSet<String>,
    /// Derived from the roles.
    rights: Rights,
}

/// Who asks, as an entry's header or a read's moment has it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Empty: nobody.
    pub user: &'a str,
    /// 0: nobody.
    pub auth_revision: u64,
}

impl Auth {
    /// Before any change: off, at revision 1.
    pub fn new() -> Auth {
        Auth { is_enabled: false, revision: 1, users: BTreeMap::new(), roles: BTreeMap::new() }
    }

    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether anything was ever changed: nobody need keep what a fresh store has.
    pub fn is_fresh(&self) -> bool {
        !self.is_enabled && self.revision == 1
    }

    /// The asker that an identity is at this moment.
    pub fn asker<'a>(&self, identity: Option<&'a Identity>) -> Asker<'a> {
        match identity {
            Some(identity) => {
                Asker { user: &identity.user, auth_revision: identity.auth_revision.unwrap_or(self.revision) }
            }
            None => Asker { user: "", auth_revision: 0 },
        }
    }

    /// AUTH-17. An asker whose revision is an earlier one may have lost what it had: it has to ask again.
    pub fn check(&self, asker: Asker<'_>, range: &KeyRange, right: Right) -> Result<(), Status> {
        if !self.is_enabled {
            return Ok(());
        }
        let user = self.user_now(asker)?;
        match user.is_root() || user.rights.cover(range, right) {
            true => Ok(()),
            false => Err(Status::PermissionDenied),
        }
    }

    /// AUTH-18: without a look at the asker's revision.
    pub fn check_admin(&self, user: &str) -> Result<(), Status> {
        if !self.is_enabled {
            return Ok(());
        }
        if user.is_empty() {
            return Err(Status::UserEmpty);
        }
        match self.users.get(user).ok_or(Status::UserNotFound)?.is_root() {
            true => Ok(()),
            false => Err(Status::PermissionDenied),
        }
    }

    /// Whether anybody asks at all, while auth is on.
    pub fn check_known(&self, asker: Asker<'_>) -> Result<(), Status> {
        match self.is_enabled && asker.auth_revision == 0 {
            true => Err(Status::UserEmpty),
            false => Ok(()),
        }
    }

    /// UserGet: a user's roles, for an admin or that user (AUTH-10).
    pub fn user(&self, asker: Asker<'_>, name: &str) -> Result<Vec<String>, Status> {
        match self.check_admin(asker.user) {
            Err(status) if name != asker.user => return Err(status),
            _ => {}
        }
        let user = self.users.get(name).ok_or(Status::UserNotFound)?;
        Ok(user.roles.iter().cloned().collect())
    }

    /// UserList.
    pub fn users(&self, asker: Asker<'_>) -> Result<Vec<String>, Status> {
        self.check_admin(asker.user)?;
        Ok(self.users.keys().cloned().collect())
    }

    /// RoleGet: a role's permissions, for an admin or one who holds it (AUTH-3, AUTH-10).
    pub fn role(&self, asker: Asker<'_>, role: &str) -> Result<Vec<Permission>, Status> {
        let holds = || self.users.get(asker.user).is_some_and(|user| user.roles.contains(role));
        match self.check_admin(asker.user) {
            Err(status) if !holds() => return Err(status),
            _ => {}
        }
        let permissions = self.roles.get(role).ok_or(Status::RoleNotFound)?;
        Ok(if role == ROOT { vec![rights::everything()] } else { permissions.clone() })
    }

    /// RoleList.
    pub fn roles(&self, asker: Asker<'_>) -> Result<Vec<String>, Status> {
        self.check_admin(asker.user)?;
        Ok(self.roles.keys().cloned().collect())
    }

    /// What a password of `user` must fit, before anything is proposed (AUTH-11).
    pub fn password_hash(&self, user: &str) -> Result<&Secret, Status> {
        if !self.is_enabled {
            return Err(Status::AuthNotEnabled);
        }
        let user = self.users.get(user).ok_or(Status::AuthFailed)?;
        match user.no_password {
            true => Err(Status::NoPasswordUser),
            false => Ok(&user.password_hash),
        }
    }

    /// Judges a login in the log: its password was right at `checked_revision`. A change since may have been
    /// one of that password, so the proposer has to look again.
    pub fn check_login(&self, user: &str, checked_revision: u64) -> Result<(), Status> {
        if !self.is_enabled {
            return Err(Status::AuthNotEnabled);
        }
        match self.users.get(user) {
            Some(user) if !user.no_password => {}
            _ => return Err(Status::AuthFailed),
        }
        match checked_revision < self.revision {
            true => Err(Status::AuthOldRevision),
            false => Ok(()),
        }
    }

    /// What is granted to an asker whom `check` does not refuse as a whole; `None`: everything.
    pub(crate) fn rights(&self, asker: Asker<'_>) -> Result<Option<&Rights>, Status> {
        if !self.is_enabled || self.check_admin(asker.user).is_ok() {
            return Ok(None);
        }
        Ok(Some(&self.user_now(asker)?.rights))
    }

    /// The user that somebody is, by what is known now and no earlier.
    fn user_now(&self, asker: Asker<'_>) -> Result<&User, Status> {
        if asker.auth_revision == 0 {
            return Err(Status::UserEmpty);
        }
        if asker.auth_revision < self.revision {
            return Err(Status::AuthOldRevision);
        }
        self.users.get(asker.user).ok_or(Status::PermissionDenied)
    }
}

impl Default for Auth {
    fn default() -> Auth {
        Auth::new()
    }
}

impl User {
    fn is_root(&self) -> bool {
        self.roles.contains(ROOT)
    }

    /// Derives the user's rights. The root role need not be there, and needs no permissions.
    fn refresh_rights(&mut self, roles: &BTreeMap<String, Vec<Permission>>) {
        let permissions = self.roles.iter().filter_map(|role| roles.get(role)).flatten();
        self.rights = Rights::of(permissions);
    }
}

#[cfg(test)]
mod tests;
