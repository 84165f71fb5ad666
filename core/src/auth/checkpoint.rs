//! Users and roles in a checkpoint, one record: permissions are few beside keys.
//!
//! Shape: switch, auth revision, roles with their permissions, users with hash, option and role names.

use bytes::BytesMut;

use super::Auth;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::command::{decode_permission, encode_permission};
use crate::request::Secret;

/// The record of `auth`; also what its part of State's digest is of.
pub fn encode_auth(auth: &Auth) -> BytesMut {
    let mut buffer = BytesMut::new();
    let mut e = Encoder(&mut buffer);
    e.bool(auth.is_enabled).u64(auth.revision).list_len(auth.roles.len());
    for (role, permissions) in &auth.roles {
        e.str(role).list_len(permissions.len());
        for permission in permissions {
            encode_permission(&mut e, permission);
        }
    }
    e.list_len(auth.users.len());
    for (name, user) in &auth.users {
        e.str(name).bytes(&user.password_hash.0).bool(user.no_password).list_len(user.roles.len());
        for role in &user.roles {
            e.str(role);
        }
    }
    buffer
}

/// The users and roles of a record. Errors: bytes that no writer of ours made.
pub fn decode_auth(d: &mut Decoder) -> Result<Auth, DecodeError> {
    let mut auth = Auth { is_enabled: d.bool()?, revision: d.u64()?, ..Auth::new() };
    if auth.revision == 0 {
        return Err(DecodeError("auth revisions begin with 1"));
    }
    for _ in 0..d.list_len()? {
        let (role, len) = (d.string()?, d.list_len()?);
        let permissions = (0..len).map(|_| decode_permission(d)).collect::<Result<_, _>>()?;
        auth.roles.insert(role, permissions);
    }
    for _ in 0..d.list_len()? {
        let (name, hash, no_password, len) = (d.string()?, Secret(d.bytes()?), d.bool()?, d.list_len()?);
        let roles = (0..len).map(|_| d.string()).collect::<Result<_, _>>()?;
        auth.restore_user(name, hash, no_password, roles);
    }
    Ok(auth)
}
