//! Users and roles as a backup has them.

use std::collections::BTreeSet;

use super::Auth;
use crate::request::{Permission, Secret};

/// What was ever changed about users and roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthBackup {
    pub is_enabled: bool,
    /// At least 1.
    pub revision: u64,
    /// Ascending by name.
    pub users: Vec<UserBackup>,
    /// Ascending by name.
    pub roles: Vec<(String, Vec<Permission>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserBackup {
    pub name: String,
    /// Empty: no password fits.
    pub password_hash: Secret,
    pub no_password: bool,
    pub roles: BTreeSet<String>,
}

impl Auth {
    /// A copy of everything but what is derived.
    pub fn backup(&self) -> AuthBackup {
        let users = self.users.iter().map(|(name, user)| UserBackup {
            name: name.clone(),
            password_hash: user.password_hash.clone(),
            no_password: user.no_password,
            roles: user.roles.clone(),
        });
        AuthBackup {
            is_enabled: self.is_enabled,
            revision: self.revision,
            users: users.collect(),
            roles: self.roles.iter().map(|(role, granted)| (role.clone(), granted.clone())).collect(),
        }
    }

    /// The users and roles of a backup; of a name that is there twice, the last counts.
    pub fn restore(backup: AuthBackup) -> Auth {
        let revision = backup.revision.max(1);
        let mut auth = Auth { is_enabled: backup.is_enabled, revision, ..Auth::new() };
        for (role, mut permissions) in backup.roles {
            permissions.sort_by(|a, b| (&a.key, &a.range_end).cmp(&(&b.key, &b.range_end)));
            auth.roles.insert(role, permissions);
        }
        for UserBackup { name, password_hash, no_password, roles } in backup.users {
            auth.restore_user(name, password_hash, no_password, roles);
        }
        auth
    }
}
