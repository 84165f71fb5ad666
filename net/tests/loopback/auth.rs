//! Users, roles and tokens on the wire.

use futures_util::stream;
use holdfast_core::boundary::StreamOp;
use holdfast_core::request::{Credentials, Secret};
use holdfast_net::proto::{authpb, etcdserverpb as pb};
use pb::auth_client::AuthClient;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::toy::{Saw, TERM};
use crate::{Port, get};

async fn client(port: &Port) -> AuthClient<Channel> {
    AuthClient::new(port.channel().await)
}

fn header() -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { cluster_id: 100, member_id: 200, revision: 1, raft_term: TERM })
}

/// The toy does nothing but what is asked in exactly the right words.
#[tokio::test]
async fn every_change_arrives_as_it_was_asked() {
    let port = Port::open().await;
    let mut auth = client(&port).await;
    let (name, role, password) = ("ann".to_owned(), "some".to_owned(), "word".to_owned());
    let (key, range_end) = (bytes::Bytes::from("k"), bytes::Bytes::from("l"));
    macro_rules! done {
        ($method:ident($message:expr) -> $response:ident) => {
            let answer = auth.$method($message).await.expect(stringify!($method)).into_inner();
            assert_eq!(answer, pb::$response { header: header() });
        };
    }
    done!(auth_enable(pb::AuthEnableRequest {}) -> AuthEnableResponse);
    done!(auth_disable(pb::AuthDisableRequest {}) -> AuthDisableResponse);
    let add = pb::AuthUserAddRequest { name: name.clone(), password: password.clone(), ..Default::default() };
    let hashed =
        pb::AuthUserAddRequest { hashed_password: "a hash of the client's".to_owned(), ..add.clone() };
    done!(user_add(add.clone()) -> AuthUserAddResponse);
    done!(user_add(hashed) -> AuthUserAddResponse);
    let options = Some(authpb::UserAddOptions { no_password: true });
    let bare = pb::AuthUserAddRequest { name: name.clone(), options, ..Default::default() };
    done!(user_add(bare) -> AuthUserAddResponse);
    done!(user_delete(pb::AuthUserDeleteRequest { name: name.clone() }) -> AuthUserDeleteResponse);
    let change = pb::AuthUserChangePasswordRequest { name: name.clone(), password, ..Default::default() };
    done!(user_change_password(change) -> AuthUserChangePasswordResponse);
    let grant = pb::AuthUserGrantRoleRequest { user: name.clone(), role: role.clone() };
    done!(user_grant_role(grant) -> AuthUserGrantRoleResponse);
    let revoke = pb::AuthUserRevokeRoleRequest { name, role: role.clone() };
    done!(user_revoke_role(revoke) -> AuthUserRevokeRoleResponse);
    done!(role_add(pb::AuthRoleAddRequest { name: role.clone() }) -> AuthRoleAddResponse);
    done!(role_delete(pb::AuthRoleDeleteRequest { role: role.clone() }) -> AuthRoleDeleteResponse);
    let perm = Some(authpb::Permission { perm_type: 1, key: key.clone(), range_end: range_end.clone() });
    let grant = pb::AuthRoleGrantPermissionRequest { name: role.clone(), perm };
    done!(role_grant_permission(grant) -> AuthRoleGrantPermissionResponse);
    let nothing = pb::AuthRoleGrantPermissionRequest { name: role.clone(), perm: None };
    done!(role_grant_permission(nothing) -> AuthRoleGrantPermissionResponse);
    let revoke = pb::AuthRoleRevokePermissionRequest { role, key, range_end };
    done!(role_revoke_permission(revoke) -> AuthRoleRevokePermissionResponse);
    let other =
        auth.role_add(pb::AuthRoleAddRequest { name: "other".to_owned() }).await.expect_err("no such");
    assert_eq!(
        (other.code(), other.message()),
        (Code::InvalidArgument, "etcdserver: invalid auth management")
    );
}

#[tokio::test]
async fn answers_have_all_their_fields() {
    let port = Port::open().await;
    let mut auth = client(&port).await;
    let header = header();
    let status = auth.auth_status(pb::AuthStatusRequest {}).await.expect("status").into_inner();
    assert_eq!(status, pb::AuthStatusResponse { header, enabled: true, auth_revision: 7 });
    let user =
        auth.user_get(pb::AuthUserGetRequest { name: "a".to_owned() }).await.expect("user").into_inner();
    assert_eq!(user, pb::AuthUserGetResponse { header, roles: vec!["a".to_owned(), "b".to_owned()] });
    let users = auth.user_list(pb::AuthUserListRequest {}).await.expect("users").into_inner();
    assert_eq!(users, pb::AuthUserListResponse { header, users: vec!["ann".to_owned(), "bob".to_owned()] });
    let roles = auth.role_list(pb::AuthRoleListRequest {}).await.expect("roles").into_inner();
    assert_eq!(roles, pb::AuthRoleListResponse { header, roles: vec!["some".to_owned()] });
    let role =
        auth.role_get(pb::AuthRoleGetRequest { role: "r".to_owned() }).await.expect("role").into_inner();
    let permission = |perm_type, range_end: &'static str| authpb::Permission {
        perm_type,
        key: "r".into(),
        range_end: range_end.into(),
    };
    assert_eq!(role, pb::AuthRoleGetResponse { header, perm: vec![permission(2, ""), permission(1, "z")] });
    let login =
        |password: &str| pb::AuthenticateRequest { name: "a".to_owned(), password: password.to_owned() };
    let given = auth.authenticate(login("token.1")).await.expect("a token").into_inner();
    assert_eq!(given, pb::AuthenticateResponse { header, token: "token.1".to_owned() });
    let refused = auth.authenticate(login("")).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.message(), "etcdserver: authentication failed, invalid user ID or password");
}

fn with_token<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", "Bearer t.5".parse().expect("letters"));
    request
}

/// Calls, each message of a keep-alive stream, each chunk of a stream of keys, and a watch stream before its first
/// watch.
#[tokio::test]
async fn the_token_of_a_call_comes_with_all_that_is_asked_on_it() {
    let mut port = Port::open().await;
    let asked = Saw::Asked(Credentials::Token(Secret::new("t.5")));
    let mut kv = port.kv().await;
    kv.range(with_token(get("a"))).await.expect("range");
    assert_eq!(port.seen.recv().await, Some(asked));
    let asked = || Some(Saw::Asked(Credentials::Token(Secret::new("t.5"))));
    let mut chunks = kv.range_stream(with_token(get("a"))).await.expect("stream").into_inner();
    while chunks.message().await.expect("chunks").is_some() {}
    assert_eq!(port.seen.recv().await, asked());
    let mut lease = pb::lease_client::LeaseClient::new(port.channel().await);
    let requests = stream::iter([5, 6].map(|id| pb::LeaseKeepAliveRequest { id }));
    let mut answers = lease.lease_keep_alive(with_token(requests)).await.expect("stream").into_inner();
    while answers.message().await.expect("answers").is_some() {}
    assert_eq!((port.seen.recv().await, port.seen.recv().await), (asked(), asked()));
    let create = pb::WatchCreateRequest { key: "a".into(), ..Default::default() };
    let create =
        pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) };
    let requests = with_token(stream::iter([create]));
    let mut watch = port.watch().await.watch(requests).await.expect("watch").into_inner();
    assert!(watch.message().await.expect("open").is_some_and(|answer| answer.created));
    let Some(Saw::Op(StreamOp::Open { credentials })) = port.seen.recv().await else { panic!("who it is") };
    assert_eq!(credentials, Credentials::Token(Secret::new("t.5")));
    assert!(matches!(port.seen.recv().await, Some(Saw::Op(StreamOp::Create(_)))));
}
