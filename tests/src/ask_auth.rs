//! Asks a server one call of a script about users and roles; whoever logs in keeps the token.

use std::collections::BTreeMap;

use holdfast_net::proto::etcdserverpb as pb;
use tonic::{Code, Status};

use crate::ask::{Answer, answer, ask, mask, refusal, unary};
use crate::auth_script::{By, Call};
use crate::client::Client;

/// The callers of one server, with the tokens that it gave them, newest last.
pub struct Callers {
    pub client: Client,
    tokens: BTreeMap<String, Vec<String>>,
}

impl Callers {
    pub fn new(client: Client) -> Callers {
        Callers { client, tokens: BTreeMap::new() }
    }

    fn token(&self, by: &By) -> Option<String> {
        let of = |user: &str, back: usize| {
            let tokens = self.tokens.get(user)?;
            tokens.len().checked_sub(back).and_then(|place| tokens.get(place)).cloned()
        };
        match by {
            By::Nobody => None,
            By::User(user) => of(user, 1),
            By::Earlier(user) => of(user, 2),
            By::Token(token) => Some((*token).to_owned()),
        }
    }

    /// Asks and waits for the whole answer.
    pub async fn ask(&mut self, by: &By, call: Call) -> Answer {
        self.client.token = self.token(by);
        match call {
            Call::Keys(request) => ask(&mut self.client, request).await,
            Call::Login(login) => self.log_in(login).await,
            call => answered(&mut self.client, call).await.unwrap_or_else(|status| refusal(&status)),
        }
    }

    async fn log_in(&mut self, login: pb::AuthenticateRequest) -> Answer {
        let (name, request) = (login.name.clone(), self.client.request(login));
        match self.client.auth.authenticate(request).await {
            Ok(response) => {
                let mut response = response.into_inner();
                self.tokens.entry(name).or_default().push(std::mem::take(&mut response.token));
                let revision = mask(&mut response.header);
                answer(&response, revision)
            }
            Err(status) => refusal(&status),
        }
    }
}

async fn answered(client: &mut Client, call: Call) -> Result<Answer, Status> {
    match call {
        Call::Keys(_) | Call::Login(_) => unreachable!("asked by the caller"),
        Call::Enable => unary!(client.auth.auth_enable(pb::AuthEnableRequest {})),
        Call::Disable => unary!(client.auth.auth_disable(pb::AuthDisableRequest {})),
        Call::AuthStatus => unary!(client.auth.auth_status(pb::AuthStatusRequest {})),
        Call::UserAdd(body) => unary!(client.auth.user_add(body)),
        Call::UserGet(body) => unary!(client.auth.user_get(body)),
        Call::UserList => unary!(client.auth.user_list(pb::AuthUserListRequest {})),
        Call::UserDelete(body) => unary!(client.auth.user_delete(body)),
        Call::UserPassword(body) => unary!(client.auth.user_change_password(body)),
        Call::UserGrant(body) => unary!(client.auth.user_grant_role(body)),
        Call::UserRevoke(body) => unary!(client.auth.user_revoke_role(body)),
        Call::RoleAdd(body) => unary!(client.auth.role_add(body)),
        Call::RoleGet(body) => unary!(client.auth.role_get(body)),
        Call::RoleList => unary!(client.auth.role_list(pb::AuthRoleListRequest {})),
        Call::RoleDelete(body) => unary!(client.auth.role_delete(body)),
        Call::RoleGrant(body) => unary!(client.auth.role_grant_permission(body)),
        Call::RoleRevoke(body) => unary!(client.auth.role_revoke_permission(body)),
        Call::AlarmList => unary!(client.maintenance.alarm(pb::AlarmRequest::default())),
        Call::Defragment => unary!(client.maintenance.defragment(pb::DefragmentRequest {})),
        Call::Hash => {
            unary!(client.maintenance.hash(pb::HashRequest {}), |hash: &mut pb::HashResponse| hash.hash = 0)
        }
        // Members, sizes and indexes are the cluster's own.
        Call::MemberList { linearizable } => {
            let list = pb::MemberListRequest { linearizable };
            unary!(client.cluster.member_list(list), |list: &mut pb::MemberListResponse| list.members.clear())
        }
        Call::Status => {
            let asked = client.maintenance.status(client.request(pb::StatusRequest {})).await?;
            Ok(answer(&asked.into_inner().is_learner, 0))
        }
        Call::MemberRemove => unary!(client.cluster.member_remove(pb::MemberRemoveRequest { id: 404 })),
        Call::MoveLeader => {
            let request = client.request(pb::MoveLeaderRequest { target_id: 404 });
            let refused = client.maintenance.move_leader(request).await;
            match refused {
                // Which refusal of the move itself it is, is no matter here.
                Err(status) if is_of_rights(&status) => Err(status),
                other => Ok(answer(&other.is_ok(), 0)),
            }
        }
    }
}

fn is_of_rights(status: &Status) -> bool {
    status.code() == Code::PermissionDenied
        || ["user name", "auth token", "auth store"].iter().any(|words| status.message().contains(words))
}
