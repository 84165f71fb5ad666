//! Asks a server one call of a script about users and roles; whoever logs in keeps the token.

use std::collections::BTreeMap;

use holdfast_net::proto::etcdserverpb as pb;
use tonic::{Code, Status};

use crate::ask::{Answer, answer, ask, mask, refusal};
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
    macro_rules! unary {
        ($service:ident . $call:ident ( $body:expr )) => {
            unary!($service.$call($body), |_: &mut _| ())
        };
        ($service:ident . $call:ident ( $body:expr ), $change:expr) => {{
            let mut body = client.$service.$call(client.request($body)).await?.into_inner();
            let revision = mask(&mut body.header);
            #[allow(clippy::redundant_closure_call, reason = "one arm a call, with its own change")]
            ($change)(&mut body);
            Ok(answer(&body, revision))
        }};
    }
    match call {
        Call::Keys(_) | Call::Login(_) => unreachable!("asked by the caller"),
        Call::Enable => unary!(auth.auth_enable(pb::AuthEnableRequest {})),
        Call::Disable => unary!(auth.auth_disable(pb::AuthDisableRequest {})),
        Call::AuthStatus => unary!(auth.auth_status(pb::AuthStatusRequest {})),
        Call::UserAdd(body) => unary!(auth.user_add(body)),
        Call::UserGet(body) => unary!(auth.user_get(body)),
        Call::UserList => unary!(auth.user_list(pb::AuthUserListRequest {})),
        Call::UserDelete(body) => unary!(auth.user_delete(body)),
        Call::UserPassword(body) => unary!(auth.user_change_password(body)),
        Call::UserGrant(body) => unary!(auth.user_grant_role(body)),
        Call::UserRevoke(body) => unary!(auth.user_revoke_role(body)),
        Call::RoleAdd(body) => unary!(auth.role_add(body)),
        Call::RoleGet(body) => unary!(auth.role_get(body)),
        Call::RoleList => unary!(auth.role_list(pb::AuthRoleListRequest {})),
        Call::RoleDelete(body) => unary!(auth.role_delete(body)),
        Call::RoleGrant(body) => unary!(auth.role_grant_permission(body)),
        Call::RoleRevoke(body) => unary!(auth.role_revoke_permission(body)),
        Call::AlarmList => unary!(maintenance.alarm(pb::AlarmRequest::default())),
        Call::Defragment => unary!(maintenance.defragment(pb::DefragmentRequest {})),
        Call::Hash => {
            unary!(maintenance.hash(pb::HashRequest {}), |hash: &mut pb::HashResponse| hash.hash = 0)
        }
        // Members, sizes and indexes are the cluster's own.
        Call::MemberList { linearizable } => {
            let list = pb::MemberListRequest { linearizable };
            unary!(cluster.member_list(list), |list: &mut pb::MemberListResponse| list.members.clear())
        }
        Call::Status => {
            let asked = client.maintenance.status(client.request(pb::StatusRequest {})).await?;
            Ok(answer(&asked.into_inner().is_learner, 0))
        }
        Call::MemberRemove => unary!(cluster.member_remove(pb::MemberRemoveRequest { id: 404 })),
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
