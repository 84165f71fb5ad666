//! Users, roles and permissions.

use holdfast_net::proto::authpb;
use holdfast_net::proto::authpb::permission::Type;
use holdfast_net::proto::etcdserverpb as pb;
use prost::Message as _;

use super::cluster::header_only;
use super::{Answer, Lines, Style, Unsupported, headed, header_fields};
use crate::client::keys::prefix_end;
use crate::go::json::{self, Object};
use crate::go::quote::quoted;

/// An answer that is only a header, to a change of a user or role.
pub struct HeaderOnly {
    pub text: String,
    pub header: Option<pb::ResponseHeader>,
}

impl Answer for HeaderOnly {
    fn simple(&self, out: &mut Lines) {
        out.line(&self.text);
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(header_only(self.header.as_ref()))
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        // All such answers are one field with the same number.
        Ok(pb::AuthUserAddResponse { header: self.header }.encode_to_vec())
    }
}

/// What a revocation says; keys are bytes.
pub struct PermissionRevoked<'a> {
    pub role: &'a str,
    pub key: &'a [u8],
    pub range_end: &'a [u8],
    pub header: Option<pb::ResponseHeader>,
}

impl Answer for PermissionRevoked<'_> {
    fn simple(&self, out: &mut Lines) {
        match self.range_end {
            b"" => {
                out.raw("Permission of key ");
                out.raw(self.key);
            }
            b"\0" => {
                out.raw("Permission of range [");
                out.raw(self.key);
                out.raw(", <open ended>");
            }
            end => {
                out.raw("Permission of range [");
                out.raw(self.key);
                out.raw(", ");
                out.raw(end);
                out.raw(")");
            }
        }
        out.line(format!(" is revoked from role {}", self.role));
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        Ok(header_only(self.header.as_ref()))
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(pb::AuthRoleRevokePermissionResponse { header: self.header }.encode_to_vec())
    }
}

/// The answer does not repeat which role it was.
pub struct RoleGot<'a> {
    pub role: &'a str,
    pub answer: pb::AuthRoleGetResponse,
}

impl RoleGot<'_> {
    fn ranges(&self, out: &mut Lines, allows: Type) {
        for permission in &self.answer.perm {
            if permission.perm_type() == allows || permission.perm_type() == Type::Readwrite {
                range_line(out, permission);
            }
        }
    }
}

fn range_line(out: &mut Lines, permission: &authpb::Permission) {
    let (key, end) = (&permission.key[..], &permission.range_end[..]);
    out.raw("\t");
    if end.is_empty() {
        out.line(key);
        return;
    }
    out.raw("[");
    out.raw(key);
    if end == b"\0" {
        out.raw(", <open ended>");
    } else {
        out.raw(", ");
        out.raw(end);
        out.raw(")");
    }
    if !key.is_empty() && prefix_end(key) == end {
        out.raw(" (prefix ");
        out.raw(key);
        out.raw(")");
    }
    out.line("");
}

impl Answer for RoleGot<'_> {
    fn simple(&self, out: &mut Lines) {
        out.line(format!("Role {}", self.role));
        // Root may do everything without being granted it.
        let is_root = self.role == "root" && self.answer.perm.is_empty();
        for (title, allows) in [("KV Read:", Type::Read), ("KV Write:", Type::Write)] {
            out.line(title);
            if is_root {
                out.line("\t[, <open ended>");
            } else {
                self.ranges(out, allows);
            }
        }
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.answer.header.as_ref());
        for permission in &self.answer.perm {
            // With two blanks, as etcdctl has it.
            out.field("PermType", format!(" {}", permission.perm_type().as_str_name()));
            out.quoted("Key", &permission.key);
            out.quoted("RangeEnd", &permission.range_end);
        }
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let permissions = self.answer.perm.iter().map(|permission| {
            Object::new()
                .number("permType", permission.perm_type)
                .bytes("key", &permission.key)
                .bytes("range_end", &permission.range_end)
        });
        Ok(headed(self.answer.header.as_ref()).list("perm", permissions).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.answer.encode_to_vec())
    }
}

impl Answer for pb::AuthRoleListResponse {
    fn simple(&self, out: &mut Lines) {
        for role in &self.roles {
            out.line(role);
        }
    }

    fn fields(&self, out: &mut Lines) -> Result<(), Unsupported> {
        header_fields(out, self.header.as_ref());
        let roles: String = self.roles.iter().map(|role| format!(" {}", quoted(role.as_bytes()))).collect();
        out.line(format!("\"Roles\" :{roles}"));
        Ok(())
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let roles = self.roles.iter().map(|role| json::string(role));
        Ok(headed(self.header.as_ref()).list("roles", roles).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.encode_to_vec())
    }
}

pub struct UserGot<'a> {
    pub user: &'a str,
    pub answer: pb::AuthUserGetResponse,
}

impl Answer for UserGot<'_> {
    fn simple(&self, out: &mut Lines) {
        out.line(format!("User: {}", self.user));
        let roles: String = self.answer.roles.iter().map(|role| format!(" {role}")).collect();
        out.line(format!("Roles:{roles}"));
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let roles = self.answer.roles.iter().map(|role| json::string(role));
        Ok(headed(self.answer.header.as_ref()).list("roles", roles).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.answer.encode_to_vec())
    }
}

impl Answer for pb::AuthUserListResponse {
    fn simple(&self, out: &mut Lines) {
        for user in &self.users {
            out.line(user);
        }
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let users = self.users.iter().map(|user| json::string(user));
        Ok(headed(self.header.as_ref()).list("users", users).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.encode_to_vec())
    }
}

impl Answer for pb::AuthStatusResponse {
    fn simple(&self, out: &mut Lines) {
        out.line(format!("Authentication Status: {}", self.enabled));
        out.line(format!("AuthRevision: {}", self.auth_revision));
    }

    fn json(&self, _style: Style) -> Result<String, Unsupported> {
        let object = headed(self.header.as_ref()).flag("enabled", self.enabled);
        Ok(object.number("authRevision", self.auth_revision).to_string())
    }

    fn protobuf(&self) -> Result<Vec<u8>, Unsupported> {
        Ok(self.encode_to_vec())
    }
}
