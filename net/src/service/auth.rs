//! Users and roles: authentication is off, and that is all there is to say.

use holdfast_core::request as core;
use tonic::{Request, Response, Status};

use super::{ask, mismatched, service};
use crate::convert;
use crate::gate::Gate;
use crate::proto::etcdserverpb as pb;

/// Auth revision of a store whose users and roles never changed (AUTH-1).
const FIRST_AUTH_REVISION: u64 = 1;

/// `etcdserverpb.Auth`.
#[derive(Clone, Debug)]
pub struct Auth {
    gate: Gate,
}

impl Auth {
    pub fn new(gate: Gate) -> Auth {
        Auth { gate }
    }
}

service! {
    impl pb::auth_server::Auth as "Auth" for Auth;
    not_supported {
        "AuthEnable" auth_enable(pb::AuthEnableRequest) -> pb::AuthEnableResponse;
        "AuthDisable" auth_disable(pb::AuthDisableRequest) -> pb::AuthDisableResponse;
        "Authenticate" authenticate(pb::AuthenticateRequest) -> pb::AuthenticateResponse;
        "UserAdd" user_add(pb::AuthUserAddRequest) -> pb::AuthUserAddResponse;
        "UserGet" user_get(pb::AuthUserGetRequest) -> pb::AuthUserGetResponse;
        "UserList" user_list(pb::AuthUserListRequest) -> pb::AuthUserListResponse;
        "UserDelete" user_delete(pb::AuthUserDeleteRequest) -> pb::AuthUserDeleteResponse;
        "UserChangePassword" user_change_password(pb::AuthUserChangePasswordRequest)
            -> pb::AuthUserChangePasswordResponse;
        "UserGrantRole" user_grant_role(pb::AuthUserGrantRoleRequest) -> pb::AuthUserGrantRoleResponse;
        "UserRevokeRole" user_revoke_role(pb::AuthUserRevokeRoleRequest) -> pb::AuthUserRevokeRoleResponse;
        "RoleAdd" role_add(pb::AuthRoleAddRequest) -> pb::AuthRoleAddResponse;
        "RoleGet" role_get(pb::AuthRoleGetRequest) -> pb::AuthRoleGetResponse;
        "RoleList" role_list(pb::AuthRoleListRequest) -> pb::AuthRoleListResponse;
        "RoleDelete" role_delete(pb::AuthRoleDeleteRequest) -> pb::AuthRoleDeleteResponse;
        "RoleGrantPermission" role_grant_permission(pb::AuthRoleGrantPermissionRequest)
            -> pb::AuthRoleGrantPermissionResponse;
        "RoleRevokePermission" role_revoke_permission(pb::AuthRoleRevokePermissionRequest)
            -> pb::AuthRoleRevokePermissionResponse;
    }
    also {
        async fn auth_status(
            &self,
            request: Request<pb::AuthStatusRequest>,
        ) -> Result<Response<pb::AuthStatusResponse>, Status> {
            // Only for the header.
            match ask(&self.gate, request.metadata(), core::Request::Status).await? {
                core::Response::Status(status) => Ok(Response::new(pb::AuthStatusResponse {
                    header: Some(convert::header(self.gate.identity(), status.header)),
                    enabled: false,
                    auth_revision: FIRST_AUTH_REVISION,
                })),
                other => mismatched("AuthStatus", &other),
            }
        }
    }
}
