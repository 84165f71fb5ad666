//! Users, roles, and the tokens that stand for them.

use holdfast_core::request::{self as core, AuthAnswer, AuthRequest, Secret};
use tonic::{Request, Response, Status};

use super::{ask, mismatched};
use crate::convert;
use crate::gate::Gate;
use crate::proto::etcdserverpb as pb;

/// `etcdserverpb.Auth`.
#[derive(Clone, Debug)]
pub struct Auth {
    gate: Gate,
}

/// The answer of one call and its header.
type Answered = (Option<pb::ResponseHeader>, AuthAnswer);

impl Auth {
    pub fn new(gate: Gate) -> Auth {
        Auth { gate }
    }

    async fn ask<T>(
        &self,
        request: Request<T>,
        asked: impl FnOnce(T) -> AuthRequest,
    ) -> Result<Answered, Status> {
        let (metadata, _, message) = request.into_parts();
        match ask(&self.gate, &metadata, core::Request::Auth(asked(message))).await? {
            core::Response::Auth { header, answer } => {
                Ok((Some(convert::header(self.gate.identity(), header)), answer))
            }
            other => mismatched("Auth", &other),
        }
    }

    /// A change, which is answered by a header alone.
    async fn change<T>(
        &self,
        request: Request<T>,
        asked: impl FnOnce(T) -> AuthRequest,
    ) -> Result<Option<pb::ResponseHeader>, Status> {
        match self.ask(request, asked).await? {
            (header, AuthAnswer::Done) => Ok(header),
            (_, other) => unpaired(&other),
        }
    }
}

/// The node pairs each request with its own kind of answer.
fn unpaired(answer: &AuthAnswer) -> ! {
    unreachable!("another call was answered with {answer:?}")
}

/// A hash that a client sends is not looked at, as in etcd: it is the server's to make (AUTH-9).
fn user_add(message: pb::AuthUserAddRequest) -> AuthRequest {
    AuthRequest::UserAdd {
        name: message.name,
        password: Secret::new(message.password),
        no_password: message.options.is_some_and(|options| options.no_password),
    }
}

fn role_revoke_permission(message: pb::AuthRoleRevokePermissionRequest) -> AuthRequest {
    let pb::AuthRoleRevokePermissionRequest { role, key, range_end } = message;
    AuthRequest::RoleRevokePermission { role, key, range_end }
}

/// Implements the service: calls that change something by what they ask for, the others follow after `also`.
macro_rules! auth_service {
    (
        changes { $($method:ident($request:ident) -> $response:ident = $asked:expr;)* }
        also { $($rest:tt)* }
    ) => {
        #[tonic::async_trait]
        impl pb::auth_server::Auth for Auth {
            $(
                async fn $method(
                    &self,
                    request: Request<pb::$request>,
                ) -> Result<Response<pb::$response>, Status> {
                    let header = self.change(request, $asked).await?;
                    Ok(Response::new(pb::$response { header }))
                }
            )*
            $($rest)*
        }
    };
}

auth_service! {
    changes {
        auth_enable(AuthEnableRequest) -> AuthEnableResponse = |_| AuthRequest::Enable;
        auth_disable(AuthDisableRequest) -> AuthDisableResponse = |_| AuthRequest::Disable;
        user_add(AuthUserAddRequest) -> AuthUserAddResponse = user_add;
        user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse
            = |message| AuthRequest::UserDelete { name: message.name };
        user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse
            = |message| AuthRequest::UserChangePassword {
                name: message.name,
                password: Secret::new(message.password),
            };
        user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse
            = |message| AuthRequest::UserGrantRole { name: message.user, role: message.role };
        user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse
            = |message| AuthRequest::UserRevokeRole { name: message.name, role: message.role };
        role_add(AuthRoleAddRequest) -> AuthRoleAddResponse
            = |message| AuthRequest::RoleAdd { role: message.name };
        role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse
            = |message| AuthRequest::RoleDelete { role: message.role };
        role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse
            = |message| AuthRequest::RoleGrantPermission {
                role: message.name,
                permission: message.perm.map(convert::permission),
            };
        role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse
            = role_revoke_permission;
    }
    also {
        async fn auth_status(
            &self,
            request: Request<pb::AuthStatusRequest>,
        ) -> Result<Response<pb::AuthStatusResponse>, Status> {
            match self.ask(request, |_| AuthRequest::Status).await? {
                (header, AuthAnswer::Status { is_enabled: enabled, auth_revision }) => {
                    Ok(Response::new(pb::AuthStatusResponse { header, enabled, auth_revision }))
                }
                (_, other) => unpaired(&other),
            }
        }

        async fn authenticate(
            &self,
            request: Request<pb::AuthenticateRequest>,
        ) -> Result<Response<pb::AuthenticateResponse>, Status> {
            let name = request.get_ref().name.clone();
            let asked = |message: pb::AuthenticateRequest| AuthRequest::Authenticate {
                name: message.name,
                password: Secret::new(message.password),
            };
            match self.ask(request, asked).await? {
                (header, AuthAnswer::Token { token, auth_revision }) => {
                    let token = match self.gate.signed_tokens() {
                        Some(tokens) => tokens.sign(&name, auth_revision).map_err(Status::unknown)?,
                        None => {
                            String::from_utf8(token.0.into()).expect("tokens are letters and digits")
                        }
                    };
                    Ok(Response::new(pb::AuthenticateResponse { header, token }))
                }
                (_, other) => unpaired(&other),
            }
        }

        async fn user_get(
            &self,
            request: Request<pb::AuthUserGetRequest>,
        ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
            match self.ask(request, |message| AuthRequest::UserGet { name: message.name }).await? {
                (header, AuthAnswer::User { roles }) => {
                    Ok(Response::new(pb::AuthUserGetResponse { header, roles }))
                }
                (_, other) => unpaired(&other),
            }
        }

        async fn user_list(
            &self,
            request: Request<pb::AuthUserListRequest>,
        ) -> Result<Response<pb::AuthUserListResponse>, Status> {
            match self.ask(request, |_| AuthRequest::UserList).await? {
                (header, AuthAnswer::Users(users)) => {
                    Ok(Response::new(pb::AuthUserListResponse { header, users }))
                }
                (_, other) => unpaired(&other),
            }
        }

        async fn role_get(
            &self,
            request: Request<pb::AuthRoleGetRequest>,
        ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
            match self.ask(request, |message| AuthRequest::RoleGet { role: message.role }).await? {
                (header, AuthAnswer::Role { permissions }) => {
                    let perm = permissions.into_iter().map(convert::permission_message).collect();
                    Ok(Response::new(pb::AuthRoleGetResponse { header, perm }))
                }
                (_, other) => unpaired(&other),
            }
        }

        async fn role_list(
            &self,
            request: Request<pb::AuthRoleListRequest>,
        ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
            match self.ask(request, |_| AuthRequest::RoleList).await? {
                (header, AuthAnswer::Roles(roles)) => {
                    Ok(Response::new(pb::AuthRoleListResponse { header, roles }))
                }
                (_, other) => unpaired(&other),
            }
        }
    }
}
