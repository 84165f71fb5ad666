//! Auth through a whole node: logins, tokens, refusals where they are due.

use super::*;
use crate::auth::token_index;
use crate::base::WatchId;
use crate::boundary::{StreamOp, WatchCreate};
use crate::request::{AuthAnswer, AuthRequest, Permission, PermissionKind};

fn auth(request: AuthRequest) -> Request {
    Request::Auth(request)
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn user_add(name: &str, password: &str) -> Request {
    let password = Secret::new(password.to_owned());
    auth(AuthRequest::UserAdd { name: text(name), password, no_password: false })
}

fn grant_role(name: &str, role: &str) -> Request {
    auth(AuthRequest::UserGrantRole { name: text(name), role: text(role) })
}

fn range(key: &'static str) -> Request {
    Request::Range(RangeRequest { key: Bytes::from(key), ..RangeRequest::default() })
}

fn put(key: &'static str) -> Request {
    Request::Put(PutRequest { key: Bytes::from(key), ..PutRequest::default() })
}

fn login(name: &str, password: &str) -> Request {
    let password = Secret::new(password.to_owned());
    auth(AuthRequest::Authenticate { name: text(name), password })
}

fn token_of(answer: Result<Response, Status>) -> Credentials {
    match answer {
        Ok(Response::Auth { answer: AuthAnswer::Token { token, .. }, .. }) => Credentials::Token(token),
        other => panic!("{other:?}"),
    }
}

impl World {
    /// Auth is on; `u` with password `pw` may read and write key `a`.
    fn guarded() -> World {
        let mut world = World::new();
        let kind = PermissionKind::ReadWrite;
        let permission = Some(Permission { kind, key: Bytes::from("a"), range_end: Bytes::new() });
        for request in [
            user_add("root", "rootpw"),
            grant_role("root", "root"),
            user_add("u", "pw"),
            auth(AuthRequest::RoleAdd { role: text("r") }),
            auth(AuthRequest::RoleGrantPermission { role: text("r"), permission }),
            grant_role("u", "r"),
            auth(AuthRequest::Enable),
        ] {
            world.ask(request.clone()).unwrap_or_else(|status| panic!("{request:?}: {status}"));
        }
        world
    }

    fn login(&mut self, name: &str, password: &str) -> Credentials {
        token_of(self.ask(login(name, password)))
    }

    fn auth_revision(&self) -> u64 {
        self.node.state().auth.revision()
    }
}

#[test]
fn a_token_lets_its_user_do_what_its_roles_allow() {
    let mut world = World::guarded();
    let user = world.login("u", "pw");
    assert!(world.ask_as(user.clone(), put("a")).is_ok());
    assert!(world.ask_as(user.clone(), range("a")).is_ok());
    assert_eq!(world.ask_as(user.clone(), put("b")), Err(Status::PermissionDenied));
    assert_eq!(world.ask_as(user.clone(), range("b")), Err(Status::PermissionDenied));
    assert_eq!(world.ask(put("a")), Err(Status::UserEmpty));
    assert_eq!(world.ask(range("a")), Err(Status::UserEmpty));
    let root = world.login("root", "rootpw");
    assert!(world.ask_as(root.clone(), put("b")).is_ok());
    let compact = Request::Compact(CompactRequest { revision: 2, physical: false });
    assert_eq!(world.ask_as(user, compact.clone()), Err(Status::PermissionDenied));
    assert!(world.ask_as(root, compact).is_ok());
    let named = Credentials::Certificate("u".into());
    assert!(world.ask_as(named.clone(), put("a")).is_ok());
    assert_eq!(world.ask_as(named, put("b")), Err(Status::PermissionDenied));
}

#[test]
fn logins_with_the_wrong_word_fail_and_nothing_enters_the_log() {
    let mut world = World::guarded();
    let applied = world.node.state().applied;
    assert_eq!(world.ask(login("u", "x")), Err(Status::AuthFailed));
    assert_eq!(world.ask(login("nobody", "pw")), Err(Status::AuthFailed));
    assert_eq!(world.node.state().applied, applied);
    let long = "p".repeat(73);
    assert_eq!(world.ask(user_add("v", &long)), Err(Status::PasswordTooLong));
    let user = world.login("u", "pw");
    assert_eq!(world.ask_as(user, user_add("v", "pw")), Err(Status::PermissionDenied));
}

#[test]
fn a_token_names_the_entry_that_gave_it_and_garbage_is_refused() {
    let mut world = World::guarded();
    let Credentials::Token(token) = world.login("u", "pw") else { panic!("a token") };
    assert_eq!(token_index(&token), Some(world.node.state().applied));
    for text in ["", "abc", "abc.1", "abcdefghijklmnop.3"] {
        let garbage = Credentials::Token(Secret::new(text));
        assert_eq!(world.ask_as(garbage.clone(), put("a")), Err(Status::InvalidAuthToken), "{text}");
        assert_eq!(world.ask_as(garbage, auth(AuthRequest::Status)), Err(Status::InvalidAuthToken));
    }
    // Whoever logs in need not be anybody.
    let garbage = Credentials::Token(Secret::new("abc.1"));
    assert!(world.ask_as(garbage, login("u", "pw")).is_ok());
}

#[test]
fn a_token_of_an_entry_to_come_waits_for_it() {
    let mut world = World::guarded();
    let next = world.node.state().applied.0 + 2;
    let token = Credentials::Token(Secret::new(format!("abcdefghijklmnop.{next}")));
    let waiter = WaiterId(500);
    world.turn(vec![Input::Client { waiter, credentials: token, request: range("a") }]);
    assert_eq!(world.replies.get(&waiter), None);
    world.login("u", "pw");
    assert_eq!(world.replies.get(&waiter), None);
    world.login("u", "pw");
    assert_eq!(world.replies.remove(&waiter), Some(Err(Status::InvalidAuthToken)));
    let never = Credentials::Token(Secret::new("abcdefghijklmnop.99999"));
    world.turn(vec![Input::Client { waiter, credentials: never, request: range("a") }]);
    world.now = world.now.plus_ns(60_000_000_000);
    world.turn(vec![Input::Tick]);
    assert_eq!(world.replies.remove(&waiter), Some(Err(Status::InvalidAuthToken)));
}

#[test]
fn tokens_end_with_time_password_user_and_life() {
    let mut world = World::guarded();
    let root = Credentials::Certificate("root".into());
    let refused = Err(Status::InvalidAuthToken);
    let (first, second) = (world.login("u", "pw"), world.login("u", "pw"));
    world.now = world.now.plus_ns(200_000_000_000);
    assert!(world.ask_as(second.clone(), range("a")).is_ok());
    world.now = world.now.plus_ns(200_000_000_000);
    assert_eq!(world.ask_as(first, range("a")), refused);
    assert!(world.ask_as(second.clone(), range("a")).is_ok());
    let password = Secret::new("new");
    let change = auth(AuthRequest::UserChangePassword { name: text("u"), password });
    assert!(world.ask_as(root.clone(), change).is_ok());
    assert_eq!(world.ask_as(second, range("a")), refused);
    assert_eq!(world.ask(login("u", "pw")), Err(Status::AuthFailed));
    let third = world.login("u", "new");
    assert!(world.ask_as(third.clone(), range("a")).is_ok());
    let mut world = world.restart(Limits::default());
    assert_eq!(world.ask_as(third, range("a")), refused);
    let fourth = world.login("u", "new");
    assert!(world.ask_as(root.clone(), auth(AuthRequest::Disable)).is_ok());
    assert!(world.ask_as(fourth.clone(), put("b")).is_ok(), "tokens count for nothing");
    assert!(world.ask_as(root, auth(AuthRequest::Enable)).is_ok());
    assert_eq!(world.ask_as(fourth, range("a")), refused);
}

/// The password may have changed while it was being looked at.
#[test]
fn a_login_that_is_overtaken_by_a_change_looks_again() {
    let mut world = World::guarded();
    let waiter = WaiterId(500);
    let root = Credentials::Certificate("root".into());
    let mut inputs =
        vec![Input::Client { waiter, credentials: Credentials::None, request: login("u", "pw") }];
    let mut checks = 0;
    while !world.replies.contains_key(&waiter) {
        world.now = world.now.plus_ns(1_000_000);
        world.node.step(world.now, &mut inputs, &mut world.effects);
        let is_check = |effect: &Effect| matches!(effect, Effect::CheckPassword { .. });
        if world.effects.list.iter().any(is_check) {
            checks += 1;
        }
        if checks == 1 {
            // On its way into the log before the check of the old word is over.
            let request =
                auth(AuthRequest::UserChangePassword { name: text("u"), password: Secret::default() });
            inputs.push(Input::Client { waiter: WaiterId(501), credentials: root.clone(), request });
            checks += 1;
        }
        world.perform(&mut inputs);
    }
    assert_eq!(world.replies.remove(&waiter), Some(Err(Status::AuthFailed)));
    assert_eq!(checks, 3, "looked at twice");
}

#[test]
fn a_signed_token_is_old_with_the_next_change() {
    let mut world = World::guarded();
    let signed = Credentials::Signed { user: text("u"), auth_revision: world.auth_revision() };
    assert!(world.ask_as(signed.clone(), put("a")).is_ok());
    let root = Credentials::Certificate("root".into());
    assert!(world.ask_as(root, auth(AuthRequest::RoleAdd { role: text("s") })).is_ok());
    assert_eq!(world.ask_as(signed.clone(), put("a")), Err(Status::AuthOldRevision));
    assert_eq!(world.ask_as(signed, range("a")), Err(Status::AuthOldRevision));
}

#[test]
fn an_entry_proposed_before_a_change_is_refused() {
    let mut world = World::guarded();
    let client = |waiter, name: &str, request| Input::Client {
        waiter: WaiterId(waiter),
        credentials: Credentials::Certificate(text(name)),
        request,
    };
    world.turn(vec![
        client(500, "root", auth(AuthRequest::RoleAdd { role: text("s") })),
        client(501, "u", put("a")),
    ]);
    assert!(world.replies[&WaiterId(500)].is_ok());
    assert_eq!(world.replies[&WaiterId(501)], Err(Status::AuthOldRevision));
}

#[test]
fn a_watch_is_judged_as_it_is_created() {
    let mut world = World::guarded();
    let stream = StreamId(1);
    let user = world.login("u", "pw");
    let op = |op| Input::Stream { stream, op };
    let create = |key: &'static str, end: &'static str| {
        let (key, range_end) = (Bytes::from(key), Bytes::from(end));
        StreamOp::Create(WatchCreate { key, range_end, ..WatchCreate::default() })
    };
    let anonymous = Input::Stream { stream: StreamId(2), op: create("a", "") };
    let mut inputs = vec![op(StreamOp::Open { credentials: user }), anonymous];
    inputs.extend([("a", ""), ("a", "\0"), ("b", ""), ("", "")].map(|(key, end)| op(create(key, end))));
    world.turn(inputs);
    let told: Vec<_> = world.delivered.iter().map(|r| (r.watch_id, r.created, r.cancel_reason)).collect();
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    let empty = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";
    let refused = (WatchId(-1), true, denied);
    assert_eq!(told, [(WatchId(-1), true, empty), (WatchId(0), true, ""), refused, refused, refused]);
}

#[test]
fn time_to_live_shows_keys_to_those_who_may_read_them() {
    let mut world = World::guarded();
    let root = Credentials::Certificate("root".into());
    let user = Credentials::Certificate("u".into());
    let leased = |key: &'static str| {
        let put = PutRequest { key: Bytes::from(key), lease: LeaseId(7), ..PutRequest::default() };
        Request::Put(put)
    };
    let ask = |keys| Request::LeaseTimeToLive { id: LeaseId(7), keys };
    let keep_alive = Request::LeaseKeepAlive { id: LeaseId(7) };
    let grant = Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(7), ttl: 60 });
    assert_eq!(world.ask(grant.clone()), Err(Status::UserEmpty));
    assert!(world.ask_as(user.clone(), grant).is_ok());
    assert!(world.ask_as(user.clone(), leased("a")).is_ok());
    assert!(world.ask_as(user.clone(), ask(true)).is_ok());
    assert!(world.ask_as(user.clone(), keep_alive.clone()).is_ok());
    assert!(world.ask_as(root.clone(), leased("b")).is_ok());
    let denied = Err(Status::PermissionDenied);
    assert_eq!(world.ask_as(user.clone(), ask(true)), denied);
    assert_eq!(world.ask_as(user.clone(), keep_alive.clone()), denied);
    assert_eq!(world.ask_as(user.clone(), Request::LeaseLeases), denied);
    assert_eq!(world.ask_as(user.clone(), Request::LeaseRevoke { id: LeaseId(7) }), denied);
    assert_eq!(world.ask_as(user.clone(), leased("a")), denied);
    assert!(world.ask_as(user, ask(false)).is_ok());
    for request in [ask(true), ask(false), keep_alive, Request::LeaseLeases] {
        assert_eq!(world.ask(request.clone()), Err(Status::UserEmpty), "{request:?}");
    }
    assert!(world.ask_as(root, Request::LeaseRevoke { id: LeaseId(7) }).is_ok());
}

#[test]
fn leases_end_by_the_clock_whoever_may_do_what() {
    let mut world = World::guarded();
    let user = Credentials::Certificate("u".into());
    let grant = Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(7), ttl: 2 });
    assert!(world.ask_as(user.clone(), grant).is_ok());
    let put = PutRequest { key: Bytes::from("a"), lease: LeaseId(7), ..PutRequest::default() };
    assert!(world.ask_as(user, Request::Put(put)).is_ok());
    for _ in 0..4 {
        world.now = world.now.plus_ns(1_000_000_000);
        world.turn(vec![Input::Tick]);
    }
    assert!(!world.node.state().leases.exists(LeaseId(7)));
}
