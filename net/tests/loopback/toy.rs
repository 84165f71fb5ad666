//! A node in a few lines: a sorted map, one revision a put, every watcher sees every put.
//!
//! Some keys are orders: `compacted` is refused, `hang` is never answered, `burst` makes each watcher see
//! three events of one mebibyte in one response. Of users and roles it knows what it is asked, and echoes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_core::base::{ClusterId, KeyRange, KeyValue, LeaseId, MemberId, StreamId, WaiterId, WatchId};
use holdfast_core::boundary::{Event, EventKind, StreamOp, WatchResponse};
use holdfast_core::request::{
    Alarm, AuthAnswer, AuthRequest, Credentials, Header, Member, Permission, PermissionKind, PutRequest,
    PutResponse, RangeRequest, RangeResponse, Request, Response, Secret, StatusResponse, TxnResponse,
};
use holdfast_core::status::Status;
use holdfast_net::gate::{Identity, Inbound, Inbox};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub const TERM: u64 = 7;

pub fn identity() -> Identity {
    Identity {
        cluster_id: ClusterId(100),
        member_id: MemberId(200),
        request_bytes_max: 1_572_864,
        election_timeout_ms: 20,
        wall: holdfast_net::clock::WallClock::TRUE,
    }
}

/// What came through the gate besides calls.
#[derive(Debug, PartialEq, Eq)]
pub enum Saw {
    Hanging(WaiterId),
    Abandon(WaiterId),
    Op(StreamOp),
    /// Somebody with credentials asks.
    Asked(Credentials),
}

pub type Seen = mpsc::UnboundedReceiver<Saw>;

pub fn spawn(mut inbox: Inbox) -> (JoinHandle<()>, Seen) {
    let (saw, seen) = mpsc::unbounded_channel();
    let mut toy = Toy {
        revision: 1,
        map: BTreeMap::new(),
        watchers: Vec::new(),
        outs: BTreeMap::new(),
        hanging: Vec::new(),
        saw,
    };
    let task = tokio::spawn(async move {
        while let Some(inbound) = inbox.recv().await {
            toy.take(inbound);
        }
    });
    (task, seen)
}

struct Toy {
    revision: i64,
    map: BTreeMap<Arc<[u8]>, KeyValue>,
    watchers: Vec<(StreamId, WatchId, bool)>,
    outs: BTreeMap<StreamId, mpsc::UnboundedSender<WatchResponse>>,
    /// Calls without an answer.
    hanging: Vec<oneshot::Sender<Result<Response, Status>>>,
    saw: mpsc::UnboundedSender<Saw>,
}

impl Toy {
    fn take(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Call { waiter, credentials, request, reply } => {
                match self.answer_to(credentials, request) {
                    Some(result) => {
                        reply.send(result).ok();
                    }
                    None => {
                        self.hanging.push(reply);
                        self.saw.send(Saw::Hanging(waiter)).ok();
                    }
                }
            }
            Inbound::Abandon { waiter } => {
                self.saw.send(Saw::Abandon(waiter)).ok();
            }
            Inbound::OpenStream { stream, out } => {
                self.outs.insert(stream, out);
            }
            Inbound::Stream { stream, op } => {
                self.on_op(stream, &op);
                self.saw.send(Saw::Op(op)).ok();
            }
        }
    }

    fn header(&self) -> Header {
        Header { revision: self.revision, raft_term: TERM }
    }

    fn answer_to(&mut self, asker: Credentials, request: Request) -> Option<Result<Response, Status>> {
        if asker != Credentials::None {
            self.saw.send(Saw::Asked(asker)).ok();
        }
        self.answer(request)
    }

    /// `None`: never.
    fn answer(&mut self, request: Request) -> Option<Result<Response, Status>> {
        let header = self.header();
        Some(Ok(match request {
            Request::Range(range) => match &range.key[..] {
                b"compacted" => return Some(Err(Status::Compacted)),
                b"hang" => return None,
                _ => Response::Range(self.range(&range)),
            },
            Request::Put(put) => match &put.key[..] {
                b"hang" => return None,
                b"burst" => self.burst(),
                _ => Response::Put(self.put(put)),
            },
            Request::Txn(_) => Response::Txn(TxnResponse { header, succeeded: true, responses: Vec::new() }),
            Request::LeaseKeepAlive { id } => {
                Response::LeaseKeepAlive { header, id, ttl: if id.0 == 5 { 60 } else { 0 } }
            }
            Request::MemberList { .. } => {
                let member = Member { id: MemberId(200), name: "toy".into(), ..Member::default() };
                Response::MemberList { header, members: vec![member] }
            }
            Request::MemberAdd { unix_s: 0, .. } => panic!("the service brings the wall clock"),
            Request::MemberAdd { peer_urls, is_learner, .. } => {
                let member = Member { id: MemberId(9), peer_urls, is_learner, ..Member::default() };
                Response::MemberAdd { header, member: Box::new(member.clone()), members: vec![member] }
            }
            Request::MemberRemove { id: MemberId(404) } => return Some(Err(Status::MemberNotFound)),
            Request::MemberRemove { id } => {
                Response::MemberRemove { header, members: vec![Member { id, ..Member::default() }] }
            }
            Request::MemberUpdate { id, peer_urls } => {
                let member = Member { id, peer_urls, ..Member::default() };
                Response::MemberUpdate { header, members: vec![member] }
            }
            Request::MemberPromote { id } => {
                Response::MemberPromote { header, members: vec![Member { id, ..Member::default() }] }
            }
            Request::MoveLeader { target: MemberId(200) } => Response::MoveLeader,
            Request::MoveLeader { .. } => return Some(Err(Status::BadLeaderTransferee)),
            Request::AlarmList { .. } => {
                Response::AlarmList { header, alarms: vec![(MemberId(3), Alarm::NoSpace)] }
            }
            Request::Status => {
                let leader = MemberId(200);
                Response::Status(StatusResponse {
                    header,
                    leader,
                    raft_index: 9,
                    ..StatusResponse::default()
                })
            }
            Request::Defragment => Response::Defragment,
            Request::Auth(asked) => match echo(asked) {
                Ok(answer) => Response::Auth { header, answer },
                Err(status) => return Some(Err(status)),
            },
            other => panic!("the toy was not told about {other:?}"),
        }))
    }

    fn range(&self, request: &RangeRequest) -> RangeResponse {
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let found: Vec<&KeyValue> = self.map.values().filter(|kv| range.contains(&kv.key)).collect();
        let limit = if request.limit > 0 { request.limit as usize } else { usize::MAX };
        let kvs = if request.count_only {
            Vec::new()
        } else {
            found.iter().copied().take(limit).cloned().collect()
        };
        RangeResponse { header: self.header(), kvs, more: found.len() > limit, count: found.len() as i64 }
    }

    fn put(&mut self, request: PutRequest) -> PutResponse {
        self.revision += 1;
        let kv = KeyValue {
            key: Arc::from(&request.key[..]),
            value: request.value,
            create_revision: self.revision,
            mod_revision: self.revision,
            version: 1,
            lease: request.lease,
        };
        let prev_kv = self.map.insert(Arc::clone(&kv.key), kv.clone()).filter(|_| request.prev_kv);
        self.deliver(vec![Event { kind: EventKind::Put, kv, prev_kv: None }]);
        PutResponse { header: self.header(), prev_kv }
    }

    fn burst(&mut self) -> Response {
        let events = (0..3).map(|number| {
            let kv = KeyValue {
                key: Arc::from(format!("big{number}").as_bytes()),
                value: Bytes::from(vec![b'x'; 1 << 20]),
                create_revision: 2,
                mod_revision: 2,
                version: 1,
                lease: LeaseId(0),
            };
            Event { kind: EventKind::Put, kv, prev_kv: None }
        });
        self.deliver(events.collect());
        Response::Put(PutResponse { header: self.header(), prev_kv: None })
    }

    fn deliver(&self, events: Vec<Event>) {
        let events = Arc::new(events);
        for &(stream, watch_id, fragment) in &self.watchers {
            self.send(
                stream,
                WatchResponse { fragment, events: Arc::clone(&events), ..self.response(watch_id) },
            );
        }
    }

    fn on_op(&mut self, stream: StreamId, op: &StreamOp) {
        match op {
            StreamOp::Create(create) => {
                let watch_id = WatchId(self.watchers.len() as i64);
                self.watchers.push((stream, watch_id, create.fragment));
                self.send(stream, WatchResponse { created: true, ..self.response(watch_id) });
            }
            StreamOp::Cancel { watch_id } => {
                self.watchers.retain(|&(of, id, _)| (of, id) != (stream, *watch_id));
                self.send(stream, WatchResponse { canceled: true, ..self.response(*watch_id) });
            }
            StreamOp::Progress => self.send(stream, self.response(WatchId(-1))),
            StreamOp::Open { .. } | StreamOp::Credit { .. } => {}
            StreamOp::Close => {
                self.watchers.retain(|&(of, ..)| of != stream);
                self.outs.remove(&stream);
            }
        }
    }

    fn response(&self, watch_id: WatchId) -> WatchResponse {
        WatchResponse {
            revision: self.revision,
            raft_term: TERM,
            watch_id,
            created: false,
            canceled: false,
            compact_revision: 0,
            cancel_reason: "",
            fragment: false,
            events: Arc::default(),
        }
    }

    fn send(&self, stream: StreamId, response: WatchResponse) {
        self.outs[&stream].send(response).ok();
    }
}

/// What is asked about users and roles, as far as an answer has room for it.
fn echo(asked: AuthRequest) -> Result<AuthAnswer, Status> {
    Ok(match asked {
        AuthRequest::Status => AuthAnswer::Status { is_enabled: true, auth_revision: 7 },
        AuthRequest::Authenticate { password, .. } if password.0.is_empty() => {
            return Err(Status::AuthFailed);
        }
        AuthRequest::Authenticate { password, .. } => AuthAnswer::Token { token: password, auth_revision: 1 },
        AuthRequest::UserGet { name } => AuthAnswer::User { roles: vec![name, "b".to_owned()] },
        AuthRequest::UserList => AuthAnswer::Users(vec!["ann".to_owned(), "bob".to_owned()]),
        AuthRequest::RoleList => AuthAnswer::Roles(vec!["some".to_owned()]),
        AuthRequest::RoleGet { role } => {
            let permission = |kind: PermissionKind, range_end: &'static str| Permission {
                kind,
                key: role.clone().into(),
                range_end: range_end.into(),
            };
            AuthAnswer::Role {
                permissions: vec![
                    permission(PermissionKind::ReadWrite, ""),
                    permission(PermissionKind::Write, "z"),
                ],
            }
        }
        change => {
            // Only what is right is done: each change as the test below asks for it.
            let wanted = changes().into_iter().any(|wanted| wanted == change);
            return if wanted { Ok(AuthAnswer::Done) } else { Err(Status::InvalidAuthMgmt) };
        }
    })
}

/// The changes that the toy takes.
fn changes() -> Vec<AuthRequest> {
    let name = || "ann".to_owned();
    let role = || "some".to_owned();
    let password = || Secret::new("word");
    let (key, range_end) = (Bytes::from_static(b"k"), Bytes::from_static(b"l"));
    let permission =
        Permission { kind: PermissionKind::Write, key: key.clone(), range_end: range_end.clone() };
    vec![
        AuthRequest::Enable,
        AuthRequest::Disable,
        AuthRequest::UserAdd { name: name(), password: password(), no_password: false },
        AuthRequest::UserAdd { name: name(), password: Secret::default(), no_password: true },
        AuthRequest::UserDelete { name: name() },
        AuthRequest::UserChangePassword { name: name(), password: password() },
        AuthRequest::UserGrantRole { name: name(), role: role() },
        AuthRequest::UserRevokeRole { name: name(), role: role() },
        AuthRequest::RoleAdd { role: role() },
        AuthRequest::RoleDelete { role: role() },
        AuthRequest::RoleGrantPermission { role: role(), permission: Some(permission) },
        AuthRequest::RoleGrantPermission { role: role(), permission: None },
        AuthRequest::RoleRevokePermission { role: role(), key, range_end },
    ]
}
