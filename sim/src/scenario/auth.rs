//! Users and roles in a scenario: requests about them, and who asks in a step.
//!
//! `auth = { to = 0, call = "user_add", name = "ann", password = "x" }`; `by` stands beside any request and in
//! streams: `"nobody"`, `{ user = "ann" }` by her certificate, `{ user = "ann", auth_revision = 3 }` by a signed
//! token, `{ token_of = "login" }` by the token that the step of this name was given, or `{ token = "x.9" }`.

use holdfast_core::request::{AuthRequest, Credentials, Permission, PermissionKind, Request, Secret};

use super::request::{bytes, flag, read_bytes};
use super::table::{Item, Read, Table, Trouble};
use super::write::quoted;
use super::write_request::Fields;
use crate::plan::step::By;
use crate::plan::{AuthPlan, Plan};

const CALLS: [&str; 17] = [
    "enable",
    "disable",
    "status",
    "authenticate",
    "user_add",
    "user_get",
    "user_list",
    "user_delete",
    "user_change_password",
    "user_grant_role",
    "user_revoke_role",
    "role_add",
    "role_get",
    "role_list",
    "role_delete",
    "role_grant_permission",
    "role_revoke_permission",
];

/// `auth = { share = 0.2, token_ttl = "5s" }`: users and roles are part of the run, and of its workload to a
/// share.
pub fn read_auth_plan(mut t: Table, plan: &mut Plan) -> Read<()> {
    plan.auth = Some(AuthPlan { share: t.take("share").map_or(Ok(0.0), |item| item.probability())? });
    if let Some(item) = t.take("token_ttl") {
        plan.auth_token_ttl_ns = item.time_ns()?;
    }
    t.finish()
}

/// The request of a step with the key `auth`.
pub fn read_auth(t: &mut Table) -> Read<Request> {
    let call = t.need("call")?.word(&CALLS.map(|name| (name, name)))?;
    Ok(Request::Auth(match call {
        "enable" => AuthRequest::Enable,
        "disable" => AuthRequest::Disable,
        "status" => AuthRequest::Status,
        "authenticate" => AuthRequest::Authenticate { name: name(t)?, password: password(t)? },
        "user_add" => AuthRequest::UserAdd {
            name: name(t)?,
            password: password(t)?,
            no_password: flag(t, "no_password")?,
        },
        "user_get" => AuthRequest::UserGet { name: name(t)? },
        "user_list" => AuthRequest::UserList,
        "user_delete" => AuthRequest::UserDelete { name: name(t)? },
        "user_change_password" => AuthRequest::UserChangePassword { name: name(t)?, password: password(t)? },
        "user_grant_role" => AuthRequest::UserGrantRole { name: name(t)?, role: role(t)? },
        "user_revoke_role" => AuthRequest::UserRevokeRole { name: name(t)?, role: role(t)? },
        "role_add" => AuthRequest::RoleAdd { role: role(t)? },
        "role_get" => AuthRequest::RoleGet { role: role(t)? },
        "role_list" => AuthRequest::RoleList,
        "role_delete" => AuthRequest::RoleDelete { role: role(t)? },
        "role_grant_permission" => {
            let (role, kind) = (role(t)?, t.take("kind").map(|item| item.integer()).transpose()?);
            let (key, range_end) = (bytes(t, "key")?, bytes(t, "range_end")?);
            let of_kind = |kind| Permission { kind: PermissionKind::from(kind as i32), key, range_end };
            AuthRequest::RoleGrantPermission { role, permission: kind.map(of_kind) }
        }
        _ => AuthRequest::RoleRevokePermission {
            role: role(t)?,
            key: bytes(t, "key")?,
            range_end: bytes(t, "range_end")?,
        },
    }))
}

fn name(t: &mut Table) -> Read<String> {
    t.take("name").map_or(Ok(String::new()), |item| item.text())
}

fn role(t: &mut Table) -> Read<String> {
    t.take("role").map_or(Ok(String::new()), |item| item.text())
}

fn password(t: &mut Table) -> Read<Secret> {
    Ok(Secret(bytes(t, "password")?))
}

/// Who asks; `read_name` knows the steps before.
pub fn read_by(item: Item, read_name: impl Fn(&Item) -> Read<String>) -> Read<By> {
    if !item.is_table() {
        let is_root = item.word(&[("root", true), ("nobody", false)])?;
        return Ok(if is_root { By::Root } else { By::Is(Credentials::None) });
    }
    let mut t = item.table()?;
    let at = t.at;
    let Some(item) = t.take_one_of(&["user", "token", "token_of"])? else {
        return Err(Trouble::new(at, "`by` has a `user`, a `token` or a `token_of`"));
    };
    let by = match item.key() {
        "token" => By::Is(Credentials::Token(Secret(read_bytes(&item)?))),
        "token_of" => By::TokenOf(read_name(&item)?),
        _ => By::Is(match t.take("auth_revision") {
            Some(number) => Credentials::Signed { user: item.text()?, auth_revision: number.bits()? },
            None => Credentials::Certificate(item.text()?),
        }),
    };
    t.finish()?;
    Ok(by)
}

/// Who asks, as `read_by` reads it. `None`: it need not be said.
pub fn by(by: &By) -> Option<String> {
    let mut f = Fields::default();
    match by {
        By::Root => return None,
        By::Is(Credentials::None) => return Some(quoted("nobody")),
        By::Is(Credentials::Certificate(user)) => f.put("user", quoted(user)),
        By::Is(Credentials::Signed { user, auth_revision }) => {
            f.put("user", quoted(user));
            f.put("auth_revision", auth_revision.to_string());
        }
        By::Is(Credentials::Token(token)) => f.put("token", super::write_request::text(&token.0)),
        By::TokenOf(name) => f.put("token_of", quoted(name)),
    }
    Some(f.to_string())
}

/// The fields of a request about users and roles.
pub fn fill_auth(request: &AuthRequest, f: &mut Fields) {
    let mut call = |name: &str| f.put("call", quoted(name));
    match request {
        AuthRequest::Enable => call("enable"),
        AuthRequest::Disable => call("disable"),
        AuthRequest::Status => call("status"),
        AuthRequest::UserList => call("user_list"),
        AuthRequest::RoleList => call("role_list"),
        AuthRequest::Authenticate { .. } => call("authenticate"),
        AuthRequest::UserAdd { .. } => call("user_add"),
        AuthRequest::UserGet { .. } => call("user_get"),
        AuthRequest::UserDelete { .. } => call("user_delete"),
        AuthRequest::UserChangePassword { .. } => call("user_change_password"),
        AuthRequest::UserGrantRole { .. } => call("user_grant_role"),
        AuthRequest::UserRevokeRole { .. } => call("user_revoke_role"),
        AuthRequest::RoleAdd { .. } => call("role_add"),
        AuthRequest::RoleGet { .. } => call("role_get"),
        AuthRequest::RoleDelete { .. } => call("role_delete"),
        AuthRequest::RoleGrantPermission { .. } => call("role_grant_permission"),
        AuthRequest::RoleRevokePermission { .. } => call("role_revoke_permission"),
    }
    match request {
        AuthRequest::Enable
        | AuthRequest::Disable
        | AuthRequest::Status
        | AuthRequest::UserList
        | AuthRequest::RoleList => {}
        AuthRequest::Authenticate { name, password } | AuthRequest::UserChangePassword { name, password } => {
            f.put("name", quoted(name));
            f.bytes("password", &password.0);
        }
        AuthRequest::UserAdd { name, password, no_password } => {
            f.put("name", quoted(name));
            f.bytes("password", &password.0);
            f.flag("no_password", *no_password);
        }
        AuthRequest::UserGet { name } | AuthRequest::UserDelete { name } => f.put("name", quoted(name)),
        AuthRequest::UserGrantRole { name, role } | AuthRequest::UserRevokeRole { name, role } => {
            f.put("name", quoted(name));
            f.put("role", quoted(role));
        }
        AuthRequest::RoleAdd { role } | AuthRequest::RoleGet { role } | AuthRequest::RoleDelete { role } => {
            f.put("role", quoted(role));
        }
        AuthRequest::RoleGrantPermission { role, permission } => {
            f.put("role", quoted(role));
            if let Some(Permission { kind, key, range_end }) = permission {
                f.put("kind", i32::from(*kind).to_string());
                f.bytes("key", key);
                f.bytes("range_end", range_end);
            }
        }
        AuthRequest::RoleRevokePermission { role, key, range_end } => {
            f.put("role", quoted(role));
            f.bytes("key", key);
            f.bytes("range_end", range_end);
        }
    }
}
