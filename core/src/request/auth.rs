//! What clients ask about users and roles, and who they say they are.

use std::fmt;

use bytes::Bytes;

/// What must not be seen in a trace: a password, its hash, a token.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(pub Bytes);

impl Secret {
    pub fn new(text: impl Into<Bytes>) -> Secret {
        Secret(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(empty)" } else { "(secret)" })
    }
}

/// Who asks, as connection and metadata say; of no weight while auth is off (AUTH-14, AUTH-15).
/// Of several, the shell hands on the first: token, then certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    None,
    /// A token as the client sent it, without the prefix `Bearer `.
    Token(Secret),
    /// The common name of a client certificate that was verified.
    Certificate(String),
    /// A signed token that the shell has verified: whom it is for and the auth revision that stands in it.
    Signed { user: String, auth_revision: u64 },
}

/// Whom a request is made by, once its credentials have been judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    /// The revision of a signed token; `None`: that of the moment at which the request is judged.
    pub auth_revision: Option<u64>,
}

/// What a permission lets its holder do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PermissionKind {
    #[default]
    Read,
    Write,
    ReadWrite,
    /// Lets nobody do anything.
    Unknown(i32),
}

impl From<i32> for PermissionKind {
    fn from(number: i32) -> PermissionKind {
        match number {
            0 => PermissionKind::Read,
            1 => PermissionKind::Write,
            2 => PermissionKind::ReadWrite,
            n => PermissionKind::Unknown(n),
        }
    }
}

impl From<PermissionKind> for i32 {
    fn from(kind: PermissionKind) -> i32 {
        match kind {
            PermissionKind::Read => 0,
            PermissionKind::Write => 1,
            PermissionKind::ReadWrite => 2,
            PermissionKind::Unknown(n) => n,
        }
    }
}

/// A right on a range of keys; `key` and `range_end` as a client sends them (see `KeyRange::new`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    pub kind: PermissionKind,
    pub key: Bytes,
    pub range_end: Bytes,
}

/// etcd's Auth service, one variant a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthRequest {
    Enable,
    Disable,
    Status,
    Authenticate { name: String, password: Secret },
    UserAdd { name: String, password: Secret, no_password: bool },
    UserGet { name: String },
    UserList,
    UserDelete { name: String },
    UserChangePassword { name: String, password: Secret },
    UserGrantRole { name: String, role: String },
    UserRevokeRole { name: String, role: String },
    RoleAdd { role: String },
    RoleGet { role: String },
    RoleList,
    RoleDelete { role: String },
    RoleGrantPermission { role: String, permission: Option<Permission> },
    RoleRevokePermission { role: String, key: Bytes, range_end: Bytes },
}

/// What an `AuthRequest` is answered with, beside the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthAnswer {
    /// To every change.
    Done,
    Status {
        is_enabled: bool,
        auth_revision: u64,
    },
    /// Of a login: the token, and the auth revision at which the password was right.
    Token {
        token: Secret,
        auth_revision: u64,
    },
    /// Roles of a user, sorted.
    User {
        roles: Vec<String>,
    },
    /// Sorted.
    Users(Vec<String>),
    Role {
        permissions: Vec<Permission>,
    },
    /// Sorted.
    Roles(Vec<String>),
}
