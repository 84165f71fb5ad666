//! Users and roles in the workload: who asks, and what is changed about them under way.

use std::collections::VecDeque;

use bytes::Bytes;
use holdfast_core::request::{
    AuthAnswer, AuthRequest, Credentials, Permission, PermissionKind, PutRequest, Request, RequestOp,
    Response, Secret, TxnRequest,
};

use crate::plan::AuthPlan;
use crate::rng::Rng;

/// Users beside root; the first one may do everything from the beginning, the others what chance brings.
const USERS: [&str; 4] = ["ann", "bob", "cid", "dot"];
const ROLES: [&str; 3] = ["all", "some", "few"];

/// Tokens that clients remember, void ones among them.
const TOKENS_MAX: usize = 6;

/// Draws who asks, and requests about users and roles; learns tokens from answers.
#[derive(Clone, Debug)]
pub struct Guests {
    plan: AuthPlan,
    rng: Rng,
    /// Ranges of permissions are made of them.
    keys: Vec<Bytes>,
    /// What leads to auth being on.
    setup: VecDeque<AuthRequest>,
    tokens: Vec<Secret>,
    /// The highest auth revision that was told.
    revision: u64,
}

impl Guests {
    pub fn new(seed: u64, plan: AuthPlan, keys: Vec<Bytes>) -> Guests {
        let rng = Rng::named(seed, "guests");
        let mut guests = Guests { plan, rng, keys, setup: VecDeque::new(), tokens: Vec::new(), revision: 1 };
        guests.setup = guests.draw_setup();
        guests
    }

    fn draw_setup(&mut self) -> VecDeque<AuthRequest> {
        let grant_role = |name: &str, role: &str| AuthRequest::UserGrantRole {
            name: name.to_owned(),
            role: role.to_owned(),
        };
        let mut setup = vec![self.add_user("root"), grant_role("root", "root")];
        for role in ROLES {
            setup.push(AuthRequest::RoleAdd { role: role.to_owned() });
        }
        setup.push(AuthRequest::RoleGrantPermission {
            role: "all".to_owned(),
            permission: Some(Permission {
                kind: PermissionKind::ReadWrite,
                key: Bytes::from_static(&[0]),
                range_end: Bytes::from_static(&[0]),
            }),
        });
        for name in USERS {
            setup.push(self.add_user(name));
        }
        setup.push(grant_role(USERS[0], "all"));
        for _ in 0..self.rng.below(5) {
            setup.push(self.grant());
        }
        if self.rng.chance(0.5) {
            // Who may write everything and read little.
            let (kind, all) = (PermissionKind::Write, Bytes::from_static(&[0]));
            let permission = Some(Permission { kind, key: all.clone(), range_end: all });
            setup.push(AuthRequest::RoleGrantPermission { role: "few".to_owned(), permission });
        }
        setup.push(grant_role(USERS[1], "some"));
        setup.push(grant_role(USERS[2], "few"));
        setup.push(AuthRequest::Enable);
        setup.into()
    }

    /// A request about users and roles with who asks it, or `None`: it is the turn of some other request.
    pub fn next_request(&mut self) -> Option<(Request, Credentials)> {
        let is_due = match self.setup.is_empty() {
            true => self.rng.chance(self.plan.share),
            // Whatever is asked before auth is on shows little of it.
            false => self.rng.chance(0.5),
        };
        if !is_due {
            return None;
        }
        if let Some(next) = self.setup.pop_front() {
            return Some((Request::Auth(next), root()));
        }
        if self.rng.chance(0.05) {
            return Some((self.showing_txn(), Credentials::Certificate(USERS[2].to_owned())));
        }
        let request = self.request();
        let is_roots = !matches!(request, AuthRequest::Authenticate { .. }) && self.rng.chance(0.8);
        let credentials = if is_roots { root() } else { self.credentials() };
        Some((Request::Auth(request), credentials))
    }

    /// A txn whose one put shows what its key had: a right to write does not cover it, however deep it stands and
    /// whether it comes to pass or not.
    fn showing_txn(&mut self) -> Request {
        let value = Bytes::from(format!("shown{:x}", self.rng.next()));
        let put = PutRequest {
            key: self.rng.pick(&self.keys).clone(),
            value,
            prev_kv: true,
            ..PutRequest::default()
        };
        let mut txn = self.branch(RequestOp::Put(put));
        for _ in 0..self.rng.below(3) {
            txn = self.branch(RequestOp::Txn(Box::new(txn)));
        }
        Request::Txn(txn)
    }

    /// A txn with one operation, which is carried out or not.
    fn branch(&mut self, op: RequestOp) -> TxnRequest {
        match self.rng.chance(0.7) {
            true => TxnRequest { success: vec![op], ..TxnRequest::default() },
            false => TxnRequest { failure: vec![op], ..TxnRequest::default() },
        }
    }

    /// Who asks next.
    pub fn credentials(&mut self) -> Credentials {
        match self.rng.weighted(&[14, 8, 3, 5, 1, 1, 1]) {
            0 => root(),
            1 => Credentials::Certificate(USERS[0].to_owned()),
            2 => Credentials::Certificate(self.name()),
            3 => match self.tokens.is_empty() {
                true => root(),
                false => Credentials::Token(self.rng.pick(&self.tokens).clone()),
            },
            4 => Credentials::None,
            5 => self.garbage(),
            _ => {
                let auth_revision = self.revision.saturating_sub(self.rng.below(2)).max(1);
                Credentials::Signed { user: self.name(), auth_revision }
            }
        }
    }

    /// A token that nobody was given; its entry may be one to come.
    fn garbage(&mut self) -> Credentials {
        let index = self.rng.below(600);
        Credentials::Token(Secret::new(format!("abcdefghijklmnop.{index}")))
    }

    fn name(&mut self) -> String {
        (*self.rng.pick(&USERS)).to_owned()
    }

    fn role(&mut self) -> String {
        (*self.rng.pick(&ROLES)).to_owned()
    }

    /// Of one of two words, so that a wrong one is now and then right later.
    fn password(&mut self, name: &str) -> Secret {
        Secret::new(format!("{name}-{}", self.rng.below(2)))
    }

    fn add_user(&mut self, name: &str) -> AuthRequest {
        let no_password = name != "root" && self.rng.chance(0.15);
        AuthRequest::UserAdd { name: name.to_owned(), password: self.password(name), no_password }
    }

    fn permission(&mut self) -> Permission {
        let kind = *self.rng.pick(&[
            PermissionKind::Read,
            PermissionKind::Write,
            PermissionKind::ReadWrite,
            PermissionKind::ReadWrite,
            PermissionKind::Unknown(5),
        ]);
        let key = self.rng.pick(&self.keys).clone();
        let range_end = match self.rng.weighted(&[3, 2, 3, 1]) {
            0 => Bytes::new(),
            1 => Bytes::from([&key[..], &[0xff]].concat()),
            2 => self.rng.pick(&self.keys).clone(),
            _ => Bytes::from_static(&[0]),
        };
        Permission { kind, key, range_end }
    }

    fn grant(&mut self) -> AuthRequest {
        let permission = (!self.rng.chance(0.03)).then(|| self.permission());
        let role = if self.rng.chance(0.1) { self.role() } else { (*self.rng.pick(&ROLES[1..])).to_owned() };
        AuthRequest::RoleGrantPermission { role, permission }
    }

    fn request(&mut self) -> AuthRequest {
        let (name, role) = (self.name(), self.role());
        match self.rng.weighted(&[24, 12, 6, 4, 4, 2, 3, 4, 2, 1, 1, 3, 3, 2, 2, 1]) {
            0 => AuthRequest::Authenticate { password: self.password(&name), name },
            1 => self.grant(),
            2 => {
                let Permission { key, range_end, .. } = self.permission();
                AuthRequest::RoleRevokePermission { role, key, range_end }
            }
            3 => AuthRequest::UserGrantRole { name, role },
            4 => AuthRequest::UserRevokeRole { name, role },
            5 => AuthRequest::UserDelete { name },
            6 => self.add_user(&name),
            7 => {
                let is_empty = self.rng.chance(0.1);
                let password = if is_empty { Secret::default() } else { self.password(&name) };
                AuthRequest::UserChangePassword { name, password }
            }
            8 => AuthRequest::RoleAdd { role },
            9 => AuthRequest::RoleDelete { role },
            10 => {
                self.setup.push_back(AuthRequest::Enable);
                AuthRequest::Disable
            }
            11 => AuthRequest::Status,
            12 => AuthRequest::UserGet { name },
            13 => AuthRequest::RoleGet { role },
            14 => self.rng.pick(&[AuthRequest::UserList, AuthRequest::RoleList]).clone(),
            _ => {
                let (name, role) = ("root".to_owned(), "root".to_owned());
                self.rng
                    .pick(&[
                        AuthRequest::UserDelete { name: name.clone() },
                        AuthRequest::UserRevokeRole { name, role: role.clone() },
                        AuthRequest::RoleDelete { role },
                        AuthRequest::Enable,
                    ])
                    .clone()
            }
        }
    }

    /// Takes note of what an answer shows.
    pub fn learn(&mut self, response: &Response) {
        match response {
            Response::Auth { answer: AuthAnswer::Token { token, .. }, .. } => {
                self.tokens.push(token.clone());
                if self.tokens.len() > TOKENS_MAX {
                    self.tokens.remove(0);
                }
            }
            Response::Auth { answer: AuthAnswer::Status { auth_revision, .. }, .. } => {
                self.revision = self.revision.max(*auth_revision);
            }
            _ => {}
        }
    }
}

/// The certificate of root: it opens everything, whether auth is on or off.
pub fn root() -> Credentials {
    Credentials::Certificate("root".to_owned())
}
