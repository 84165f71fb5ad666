//! A seeded script about users and roles: who may what changes all the time, and everybody asks for everything.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_net::proto::authpb::{Permission, UserAddOptions};
use holdfast_net::proto::etcdserverpb as pb;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::script::{Request, Script, ranges_of};

const USERS: &[&str] = &["root", "ann", "bob", "cid"];
const ROLES: &[&str] = &["root", "some", "few"];
/// Longer than bcrypt takes.
const PASSWORD_TOO_LONG_BYTES: usize = 73;
/// Permissions of a role: more of them with one key come in any order from etcd's sort.
const GRANTS_MAX: usize = 12;
/// Keys of permissions: some of those that the other script uses.
const KEYS: &[&[u8]] = &[b"", b"\0", b"a", b"aa", b"b", b"c", b"foo/", b"foo0", b"\xff"];

/// Who asks.
#[derive(Clone, Debug)]
pub enum By {
    Nobody,
    /// With the last token that this user was given; as nobody, if there is none.
    User(&'static str),
    /// With the token before that.
    Earlier(&'static str),
    /// With a token that nobody was given.
    Token(&'static str),
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Call {
    Keys(Request),
    Enable,
    Disable,
    AuthStatus,
    Login(pb::AuthenticateRequest),
    UserAdd(pb::AuthUserAddRequest),
    UserGet(pb::AuthUserGetRequest),
    UserList,
    UserDelete(pb::AuthUserDeleteRequest),
    UserPassword(pb::AuthUserChangePasswordRequest),
    UserGrant(pb::AuthUserGrantRoleRequest),
    UserRevoke(pb::AuthUserRevokeRoleRequest),
    RoleAdd(pb::AuthRoleAddRequest),
    RoleGet(pb::AuthRoleGetRequest),
    RoleList,
    RoleDelete(pb::AuthRoleDeleteRequest),
    RoleGrant(pb::AuthRoleGrantPermissionRequest),
    RoleRevoke(pb::AuthRoleRevokePermissionRequest),
    MemberList { linearizable: bool },
    MemberRemove,
    MoveLeader,
    Status,
    AlarmList,
    Defragment,
    Hash,
}

/// Draws calls. Revisions are those of the script of keys inside.
pub struct AuthScript {
    rng: ChaCha8Rng,
    pub keys: Script,
    /// What leads to users and roles that count, backwards.
    setup: Vec<Call>,
    /// By role, since it was made.
    grants: BTreeMap<String, usize>,
}

impl AuthScript {
    pub fn new(seed: u64) -> AuthScript {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mut script =
            AuthScript { rng, keys: Script::new(2 * seed), setup: Vec::new(), grants: BTreeMap::new() };
        let mut setup = Vec::new();
        for role in ROLES {
            setup.push(Call::RoleAdd(pb::AuthRoleAddRequest { name: (*role).to_owned() }));
        }
        for user in USERS {
            setup.push(Call::UserAdd(user_add(user, script.password(user))));
        }
        for (user, role) in USERS.iter().zip(ROLES) {
            let (user, role) = ((*user).to_owned(), (*role).to_owned());
            setup.push(Call::UserGrant(pb::AuthUserGrantRoleRequest { user, role }));
        }
        let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
        let perm = Some(Permission { perm_type: 2, key, range_end });
        setup.push(Call::RoleGrant(pb::AuthRoleGrantPermissionRequest { name: "some".to_owned(), perm }));
        setup.push(Call::Enable);
        setup.extend(USERS.iter().map(|user| Call::Login(login(user, &format!("{user}-0")))));
        setup.reverse();
        script.setup = setup;
        script
    }

    /// The next call and who makes it.
    pub fn draw(&mut self) -> (By, Call) {
        if let Some(call) = self.setup.pop() {
            return (By::User("root"), call);
        }
        match self.below(100) {
            0..=54 => (self.by(), Call::Keys(self.request_of_keys())),
            55..=64 => (By::Nobody, Call::Login(self.login())),
            65..=69 => (self.by(), self.operation()),
            70..=89 => (By::User("root"), self.change()),
            _ => (self.by(), self.change()),
        }
    }

    /// A user's token is void: often a login is next, with each of the words that may be right.
    pub fn on_void_token(&mut self, user: &'static str) {
        if self.setup.is_empty() && self.below(2) == 0 {
            self.setup.extend([1, 0].map(|word| Call::Login(login(user, &format!("{user}-{word}")))));
        }
    }

    fn grants_of(&self, role: &str) -> usize {
        self.grants.get(role).copied().unwrap_or_default()
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn by(&mut self) -> By {
        match self.below(20) {
            0 | 1 => By::Nobody,
            2 => By::Token(self.pick(&["nonsense", "abcdefghijklmnop.1", "", "abcdefghijklmnop.x"])),
            3 | 4 => By::Earlier(self.pick(USERS)),
            5..=7 => By::User("root"),
            _ => By::User(self.pick(USERS)),
        }
    }

    /// Not those whose answers hang on more than what was asked.
    fn request_of_keys(&mut self) -> Request {
        loop {
            let request = self.keys.draw();
            match &request {
                request if has_empty_range(request) => {}
                Request::HashKv(_) => {}
                Request::RangeStream(range) if range.sort_target != 0 => {}
                Request::Range(range) if range.sort_target != 0 => {}
                Request::Watch(create) if create.start_revision == 0 => {}
                _ => return request,
            }
        }
    }

    fn user(&mut self) -> String {
        match self.below(30) {
            0 => String::new(),
            1 => "unheard-of".to_owned(),
            _ => self.pick(USERS).to_owned(),
        }
    }

    fn role(&mut self) -> String {
        match self.below(30) {
            0 => String::new(),
            1 => "unheard-of".to_owned(),
            _ => self.pick(ROLES).to_owned(),
        }
    }

    /// One of two of a user, so that a wrong one is right later.
    fn password(&mut self, user: &str) -> String {
        match self.below(40) {
            _ if !self.setup.is_empty() => format!("{user}-0"),
            0 => String::new(),
            1 => "x".repeat(PASSWORD_TOO_LONG_BYTES),
            _ => format!("{user}-{}", usize::from(self.below(4) == 0)),
        }
    }

    fn login(&mut self) -> pb::AuthenticateRequest {
        let user = self.user();
        let password = self.password(&user);
        login(&user, &password)
    }

    fn range(&mut self) -> (Bytes, Bytes) {
        let (key, end) = (self.pick(KEYS), self.pick(KEYS));
        let end = if self.below(3) == 0 { &b""[..] } else { end };
        (Bytes::from_static(key), Bytes::from_static(end))
    }

    fn change(&mut self) -> Call {
        let (user, role) = (self.user(), self.role());
        let (key, range_end) = self.range();
        match self.below(26) {
            0..=5 if self.grants_of(&role) == GRANTS_MAX => {
                let name = role.clone();
                self.setup.push(Call::RoleAdd(pb::AuthRoleAddRequest { name }));
                self.grants.remove(&role);
                Call::RoleDelete(pb::AuthRoleDeleteRequest { role })
            }
            0..=5 => {
                *self.grants.entry(role.clone()).or_default() += 1;
                let perm_type = self.pick(&[0, 1, 2, 2, 2, 9]);
                let perm = (self.below(20) > 0).then_some(Permission { perm_type, key, range_end });
                Call::RoleGrant(pb::AuthRoleGrantPermissionRequest { name: role, perm })
            }
            6..=8 => Call::RoleRevoke(pb::AuthRoleRevokePermissionRequest { role, key, range_end }),
            9..=11 => Call::UserGrant(pb::AuthUserGrantRoleRequest { user, role }),
            12 => Call::UserRevoke(pb::AuthUserRevokeRoleRequest { name: user, role }),
            13 => Call::UserDelete(pb::AuthUserDeleteRequest { name: user }),
            14 | 15 => {
                let password = self.password(&user);
                let options = match self.below(16) {
                    0 => Some(UserAddOptions { no_password: true }),
                    1 => Some(UserAddOptions { no_password: false }),
                    _ => None,
                };
                let hashed_password = if self.below(8) == 0 { "a hash".to_owned() } else { String::new() };
                Call::UserAdd(pb::AuthUserAddRequest { name: user, password, options, hashed_password })
            }
            16 => {
                let password = self.password(&user);
                let hashed_password = String::new();
                Call::UserPassword(pb::AuthUserChangePasswordRequest {
                    name: user,
                    password,
                    hashed_password,
                })
            }
            17 if self.below(3) == 0 => Call::RoleDelete(pb::AuthRoleDeleteRequest { role }),
            17 | 18 => Call::RoleAdd(pb::AuthRoleAddRequest { name: role }),
            19 => Call::UserGet(pb::AuthUserGetRequest { name: user }),
            20 => Call::RoleGet(pb::AuthRoleGetRequest { role }),
            21 => Call::UserList,
            22 => Call::RoleList,
            23 => Call::AuthStatus,
            24 => Call::Enable,
            _ => match self.below(4) {
                0 => {
                    // Soon on again.
                    self.setup.push(Call::Login(login("root", "root-0")));
                    self.setup.push(Call::Enable);
                    Call::Disable
                }
                _ => Call::Enable,
            },
        }
    }

    fn operation(&mut self) -> Call {
        match self.below(8) {
            0 => Call::MemberList { linearizable: true },
            1 => Call::MemberList { linearizable: false },
            2 => Call::MemberRemove,
            3 => Call::MoveLeader,
            4 => Call::Status,
            5 => Call::AlarmList,
            6 => Call::Defragment,
            _ => Call::Hash,
        }
    }
}

fn login(user: &str, password: &str) -> pb::AuthenticateRequest {
    pb::AuthenticateRequest { name: user.to_owned(), password: password.to_owned() }
}

fn user_add(user: &str, password: String) -> pb::AuthUserAddRequest {
    pb::AuthUserAddRequest { name: user.to_owned(), password, ..Default::default() }
}

/// Whether some range ends at or before its key: whether etcd lets it pass hangs on the shape of its tree of intervals.
fn has_empty_range(request: &Request) -> bool {
    ranges_of(request).iter().any(|(key, end)| !end.is_empty() && *end != b"\0"[..] && end <= key)
}
