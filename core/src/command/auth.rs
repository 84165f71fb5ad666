//! Changes of users and roles as they stand in the log: passwords are hashed, everything else is as asked.

use bytes::Bytes;

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::request::{Permission, PermissionKind, Secret};

/// A change of the replicated users, roles and switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthChange {
    Enable,
    Disable,
    /// `password_hash` is empty without a password.
    UserAdd {
        name: String,
        password_hash: Secret,
        no_password: bool,
    },
    UserDelete {
        name: String,
    },
    /// An empty hash fits no password (AUTH-8).
    UserChangePassword {
        name: String,
        password_hash: Secret,
    },
    UserGrantRole {
        name: String,
        role: String,
    },
    UserRevokeRole {
        name: String,
        role: String,
    },
    RoleAdd {
        role: String,
    },
    RoleDelete {
        role: String,
    },
    RoleGrantPermission {
        role: String,
        permission: Option<Permission>,
    },
    RoleRevokePermission {
        role: String,
        key: Bytes,
        range_end: Bytes,
    },
}

/// Kinds on disk; they share one space with those of `Action`.
mod kind {
    pub const ENABLE: u8 = 14;
    pub const DISABLE: u8 = 15;
    pub const USER_ADD: u8 = 16;
    pub const USER_DELETE: u8 = 17;
    pub const USER_CHANGE_PASSWORD: u8 = 19;
    pub const USER_GRANT_ROLE: u8 = 20;
    pub const USER_REVOKE_ROLE: u8 = 21;
    pub const ROLE_ADD: u8 = 23;
    pub const ROLE_DELETE: u8 = 24;
    pub const ROLE_GRANT_PERMISSION: u8 = 26;
    pub const ROLE_REVOKE_PERMISSION: u8 = 27;
}

impl AuthChange {
    pub(super) fn kind(&self) -> u8 {
        match self {
            AuthChange::Enable => kind::ENABLE,
            AuthChange::Disable => kind::DISABLE,
            AuthChange::UserAdd { .. } => kind::USER_ADD,
            AuthChange::UserDelete { .. } => kind::USER_DELETE,
            AuthChange::UserChangePassword { .. } => kind::USER_CHANGE_PASSWORD,
            AuthChange::UserGrantRole { .. } => kind::USER_GRANT_ROLE,
            AuthChange::UserRevokeRole { .. } => kind::USER_REVOKE_ROLE,
            AuthChange::RoleAdd { .. } => kind::ROLE_ADD,
            AuthChange::RoleDelete { .. } => kind::ROLE_DELETE,
            AuthChange::RoleGrantPermission { .. } => kind::ROLE_GRANT_PERMISSION,
            AuthChange::RoleRevokePermission { .. } => kind::ROLE_REVOKE_PERMISSION,
        }
    }

    pub(super) fn encode(&self, e: &mut Encoder<'_>) {
        match self {
            AuthChange::Enable | AuthChange::Disable => e,
            AuthChange::UserAdd { name, password_hash, no_password } => {
                e.str(name).bytes(&password_hash.0).bool(*no_password)
            }
            AuthChange::UserDelete { name } => e.str(name),
            AuthChange::UserChangePassword { name, password_hash } => e.str(name).bytes(&password_hash.0),
            AuthChange::UserGrantRole { name, role } | AuthChange::UserRevokeRole { name, role } => {
                e.str(name).str(role)
            }
            AuthChange::RoleAdd { role } | AuthChange::RoleDelete { role } => e.str(role),
            AuthChange::RoleGrantPermission { role, permission } => {
                e.str(role).bool(permission.is_some());
                if let Some(permission) = permission {
                    encode_permission(e, permission);
                }
                e
            }
            AuthChange::RoleRevokePermission { role, key, range_end } => {
                e.str(role).bytes(key).bytes(range_end)
            }
        };
    }

    /// `None`: the kind is of no change of auth.
    pub(super) fn decode(kind: u8, d: &mut Decoder) -> Result<Option<AuthChange>, DecodeError> {
        Ok(Some(match kind {
            kind::ENABLE => AuthChange::Enable,
            kind::DISABLE => AuthChange::Disable,
            kind::USER_ADD => AuthChange::UserAdd {
                name: d.string()?,
                password_hash: Secret(d.bytes()?),
                no_password: d.bool()?,
            },
            kind::USER_DELETE => AuthChange::UserDelete { name: d.string()? },
            kind::USER_CHANGE_PASSWORD => {
                AuthChange::UserChangePassword { name: d.string()?, password_hash: Secret(d.bytes()?) }
            }
            kind::USER_GRANT_ROLE => AuthChange::UserGrantRole { name: d.string()?, role: d.string()? },
            kind::USER_REVOKE_ROLE => AuthChange::UserRevokeRole { name: d.string()?, role: d.string()? },
            kind::ROLE_ADD => AuthChange::RoleAdd { role: d.string()? },
            kind::ROLE_DELETE => AuthChange::RoleDelete { role: d.string()? },
            kind::ROLE_GRANT_PERMISSION => {
                let (role, is_given) = (d.string()?, d.bool()?);
                let permission = if is_given { Some(decode_permission(d)?) } else { None };
                AuthChange::RoleGrantPermission { role, permission }
            }
            kind::ROLE_REVOKE_PERMISSION => {
                let (role, key, range_end) = (d.string()?, d.bytes()?, d.bytes()?);
                AuthChange::RoleRevokePermission { role, key, range_end }
            }
            _ => return Ok(None),
        }))
    }
}

/// A permission in our own bytes; checkpoints share them.
pub fn encode_permission(e: &mut Encoder<'_>, permission: &Permission) {
    e.i32(permission.kind.into()).bytes(&permission.key).bytes(&permission.range_end);
}

/// The permission of `encode_permission`.
pub fn decode_permission(d: &mut Decoder) -> Result<Permission, DecodeError> {
    let kind = PermissionKind::from(d.i32()?);
    Ok(Permission { kind, key: d.bytes()?, range_end: d.bytes()? })
}
