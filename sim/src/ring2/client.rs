//! A client on the simulated network: one call after the other through the generated stubs.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdfast_core::base::LeaseId;
use holdfast_core::request as core;
use holdfast_net::answers::Answer;
use holdfast_net::convert::{delete_range_request, put_request, range_request, txn_request};
use holdfast_net::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use holdfast_net::proto::etcdserverpb::request_op::Request as Op;
use holdfast_net::proto::etcdserverpb::{self as pb, kv_client::KvClient, lease_client::LeaseClient};
use holdfast_net::proto::mvccpb;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::history::{Ask, History, Keys, Seen, Told};
use crate::rng::Rng;

/// How long a client waits that asks when all is over.
const PATIENCE_AT_LAST: Duration = Duration::from_secs(5);

/// Longest pause after a call without an answer.
const PAUSE_NS: u64 = 200_000_000;

/// What all clients of one run share.
#[derive(Clone)]
pub struct Shared {
    pub history: Arc<Mutex<History>>,
    pub began: Instant,
    /// Bounds of the pause between two calls, in ns.
    pub think_ns: (u64, u64),
    pub value_bytes_max: u64,
    /// How long a client waits that is in no hurry.
    pub patience: Duration,
}

/// A member as a client knows it.
#[derive(Clone)]
pub struct Server {
    pub url: &'static str,
    /// A number of its present life that no other life of any member has.
    pub life: Arc<AtomicUsize>,
}

impl Server {
    pub fn channel(&self) -> Channel {
        Endpoint::from_static(self.url).connect_lazy()
    }

    pub fn life(&self) -> usize {
        self.life.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Writes something into the history, with the time.
    pub fn write_down<T>(&self, note: impl FnOnce(&mut History, u64) -> T) -> T {
        let now_ns = u64::try_from(self.began.elapsed().as_nanos()).expect("runs are short");
        note(&mut self.history.lock().expect("nobody panics while holding it"), now_ns)
    }
}

/// One client.
pub struct Client {
    servers: Vec<Server>,
    /// The one that is called now.
    at: usize,
    /// Whether some of its calls are given up soon.
    hurries: bool,
    /// The one that answered last.
    heard: usize,
    number: u64,
    rng: Rng,
    shared: Shared,
    channels: Vec<Channel>,
    /// Mod revisions as last seen, for guards.
    seen: BTreeMap<String, i64>,
    leases: Vec<i64>,
    written: u64,
}

type Called<T> = Option<(i64, T)>;

impl Client {
    /// One that knows these servers, and turns to one of them first.
    pub fn new(number: u64, seed: u64, shared: Shared, servers: &[Server]) -> Client {
        let mut rng = Rng::named(seed, &format!("client {number}"));
        let at = rng.below(servers.len() as u64) as usize;
        Client {
            servers: servers.to_vec(),
            at,
            hurries: true,
            heard: at,
            number,
            rng,
            shared,
            channels: servers.iter().map(Server::channel).collect(),
            seen: BTreeMap::new(),
            leases: Vec::new(),
            written: 0,
        }
    }

    /// Calls until `until`.
    pub async fn run(mut self, until: Instant) {
        while Instant::now() < until {
            let (low, high) = self.shared.think_ns;
            sleep(Duration::from_nanos(self.rng.between(low, high))).await;
            let done = match self.rng.weighted(&[30, 8, 14, 22, 8, 6, 4, 5, 3]) {
                0 => self.put().await,
                1 => self.delete().await,
                2 => self.swap().await,
                3 => self.read(false).await,
                4 => self.read(true).await,
                5 => self.grant().await,
                6 => self.put_leased().await,
                7 => self.keep_alive().await,
                _ => self.revoke().await,
            };
            if done.is_none() {
                if self.rng.chance(0.7) {
                    self.at = (self.at + 1) % self.servers.len();
                }
                sleep(Duration::from_nanos(self.rng.between(1, PAUSE_NS))).await;
            }
        }
    }

    /// From here on it is in no hurry.
    pub fn patient(mut self) -> Client {
        self.hurries = false;
        self
    }

    /// Puts some key.
    pub async fn put_something(&mut self) -> Called<()> {
        self.put().await
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channels[self.at].clone())
    }

    fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channels[self.at].clone())
    }

    async fn put(&mut self) -> Called<()> {
        let (key, value) = (self.key(), self.value());
        let sets = BTreeMap::from([(key.clone(), Some(value.clone()))]);
        let mut kv = self.kv();
        let call = |request| async move { kv.put(request).await };
        let message = put(&key, &value, 0);
        let request = core::Request::Put(put_request(message.clone()));
        let ask = (Ask::Write { sets, guarded: false }, request);
        self.call(ask, message, call, |answer| (header(answer.header), Told::Written { applied: true }, ()))
            .await
    }

    async fn delete(&mut self) -> Called<()> {
        let key = self.key();
        let sets = BTreeMap::from([(key.clone(), None)]);
        let mut kv = self.kv();
        let call = |request| async move { kv.delete_range(request).await };
        let message = pb::DeleteRangeRequest { key: key.into_bytes().into(), ..Default::default() };
        let request = core::Request::DeleteRange(delete_range_request(message.clone()));
        self.call((Ask::Write { sets, guarded: false }, request), message, call, |answer| {
            (header(answer.header), Told::Written { applied: answer.deleted > 0 }, ())
        })
        .await
    }

    /// Two keys at once if one of them is as it was last seen, else a look at it.
    async fn swap(&mut self) -> Called<()> {
        let (guard, value) = (self.key(), self.value());
        let (beside, other) = (format!("{guard}-beside"), self.value());
        let message = pb::TxnRequest {
            compare: vec![pb::Compare {
                result: CompareResult::Equal.into(),
                target: CompareTarget::Mod.into(),
                key: guard.clone().into_bytes().into(),
                range_end: Bytes::new(),
                target_union: Some(TargetUnion::ModRevision(self.seen.get(&guard).copied().unwrap_or(0))),
            }],
            success: [put(&guard, &value, 0), put(&beside, &other, 0)]
                .map(|put| pb::RequestOp { request: Some(Op::RequestPut(put)) })
                .to_vec(),
            failure: vec![pb::RequestOp { request: Some(Op::RequestRange(one(&guard))) }],
        };
        let sets = BTreeMap::from([(guard.clone(), Some(value)), (beside, Some(other))]);
        let mut kv = self.kv();
        let call = |request| async move { kv.txn(request).await };
        let request = txn_request(message.clone()).expect("it is not nested");
        let ask = (Ask::Write { sets, guarded: true }, core::Request::Txn(request));
        let done = self
            .call(ask, message, call, |answer| {
                (header(answer.header), Told::Written { applied: answer.succeeded }, answer)
            })
            .await;
        let (revision, answer) = done?;
        let found = match answer.responses.into_iter().next().and_then(|response| response.response) {
            Some(pb::response_op::Response::ResponseRange(range)) => keys(range.kvs),
            _ => Keys::new(),
        };
        let seen =
            if answer.succeeded { revision } else { found.get(&guard).map_or(0, |seen| seen.modified) };
        self.seen.insert(guard, seen);
        Some((revision, ()))
    }

    async fn read(&mut self, serializable: bool) -> Called<()> {
        let (from, to) = match self.rng.chance(0.5) {
            true => ("a".to_owned(), "z".to_owned()),
            false => {
                let key = self.key();
                (key.clone(), format!("{key}\0"))
            }
        };
        self.range(from, to, 0, serializable).await.map(|(revision, _)| (revision, ()))
    }

    /// Live keys of `from..to`, at `revision` if it is not 0.
    pub async fn range(
        &mut self,
        from: String,
        to: String,
        revision: i64,
        serializable: bool,
    ) -> Called<Keys> {
        let message = pb::RangeRequest {
            key: from.clone().into_bytes().into(),
            range_end: to.clone().into_bytes().into(),
            revision,
            serializable,
            ..Default::default()
        };
        let ask = match revision {
            0 => Ask::Read { from, to, serializable },
            _ => Ask::ReadAt { revision },
        };
        let mut kv = self.kv();
        let call = |request| async move { kv.range(request).await };
        let done = self
            .call((ask, core::Request::Range(range_request(message.clone()))), message, call, |answer| {
                let keys = keys(answer.kvs);
                (header(answer.header), Told::Read(keys.clone()), keys)
            })
            .await;
        if let Some((_, keys)) = &done {
            self.seen.extend(keys.iter().map(|(key, seen)| (key.clone(), seen.modified)));
        }
        done
    }

    async fn grant(&mut self) -> Called<()> {
        let message = pb::LeaseGrantRequest { ttl: self.rng.between(1, 6) as i64, id: 0 };
        let mut client = self.lease();
        let call = |request| async move { client.lease_grant(request).await };
        let request = core::Request::LeaseGrant(core::LeaseGrantRequest { id: LeaseId(0), ttl: message.ttl });
        let done = self
            .call((Ask::Renew { is_grant: true }, request), message, call, |answer| {
                let told = Told::Renewed { lease: answer.id, ttl_s: answer.ttl };
                (header(answer.header), told, answer.id)
            })
            .await;
        let (revision, lease) = done?;
        self.leases.push(lease);
        self.put_leased().await;
        Some((revision, ()))
    }

    /// A key that goes with the newest lease.
    async fn put_leased(&mut self) -> Called<()> {
        let lease = *self.leases.last()?;
        let value = self.value();
        let key = format!("leased-{value}");
        let sets = BTreeMap::from([(key.clone(), Some(value.clone()))]);
        let mut kv = self.kv();
        let call = |request| async move { kv.put(request).await };
        let message = put(&key, &value, lease);
        let request = core::Request::Put(put_request(message.clone()));
        let ask = (Ask::Write { sets, guarded: false }, request);
        self.call(ask, message, call, |answer| (header(answer.header), Told::Written { applied: true }, ()))
            .await
    }

    async fn keep_alive(&mut self) -> Called<()> {
        let lease = *self.leases.last()?;
        let mut client = self.lease();
        let call = |request: Request<pb::LeaseKeepAliveRequest>| async move {
            // The requests do not end while the answer is awaited.
            let requests = stream::once(ready(request.into_inner())).chain(stream::pending());
            let mut answers = client.lease_keep_alive(requests).await?.into_inner();
            let answer = answers.message().await?;
            answer.map(Response::new).ok_or_else(|| Status::unavailable("the stream ended"))
        };
        let request = core::Request::LeaseKeepAlive { id: LeaseId(lease) };
        self.call(
            (Ask::Renew { is_grant: false }, request),
            pb::LeaseKeepAliveRequest { id: lease },
            call,
            |answer| (header(answer.header), Told::Renewed { lease: answer.id, ttl_s: answer.ttl }, ()),
        )
        .await
    }

    async fn revoke(&mut self) -> Called<()> {
        let id = self.leases.pop()?;
        let mut client = self.lease();
        let call = |request| async move { client.lease_revoke(request).await };
        let request = core::Request::LeaseRevoke { id: LeaseId(id) };
        self.call((Ask::Revoke { lease: id }, request), pb::LeaseRevokeRequest { id }, call, |answer| {
            (header(answer.header), Told::Revoked, ())
        })
        .await
    }

    /// Makes one call and writes it down. Some are given up soon, by dropping them or by a deadline that the
    /// server knows of.
    async fn call<M, R, T, F>(
        &mut self,
        (ask, asked): (Ask, core::Request),
        message: M,
        call: impl FnOnce(Request<M>) -> F,
        read: impl FnOnce(R) -> (i64, Told, T),
    ) -> Called<T>
    where
        R: Answer,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut request = Request::new(message);
        let hurried = self.hurries && !matches!(ask, Ask::ReadAt { .. });
        let calm = if self.hurries { self.shared.patience } else { PATIENCE_AT_LAST };
        let mut patience = calm;
        let short = Duration::from_nanos(self.rng.log_between(10_000, 50_000_000));
        match self.rng.weighted(&[8, 1, 1]) {
            1 if hurried => patience = short,
            2 if hurried => request.set_timeout(short),
            _ => {}
        }
        let id = self.write_down(|history, now_ns| history.begin(self.number, now_ns, ask, asked));
        let life = self.life();
        let result = timeout(patience, call(request)).await;
        let has_moved = result.as_ref().is_ok_and(Result::is_ok) && self.heard != self.at;
        if has_moved {
            self.heard = self.at;
        }
        self.write_down(|history, now_ns| match result {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                let same = Some(life).filter(|life| *life == self.life());
                history.saw(id, now_ns, answer.response(), same);
                history.terms_seen.insert(answer.term());
                if has_moved {
                    history.mark("failovers");
                }
                let (revision, told, kept) = read(answer);
                history.answered(id, now_ns, revision, told);
                Some((revision, kept))
            }
            Ok(Err(status)) => {
                history.failed(id, now_ns, &format!("{:?} {}", status.code(), status.message()));
                if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) {
                    history.mark("deadlines");
                }
                None
            }
            Err(_) => {
                history.failed(id, now_ns, "given up");
                history.mark(if patience == calm { "given_up" } else { "cancelled" });
                None
            }
        })
    }

    fn write_down<T>(&self, note: impl FnOnce(&mut History, u64) -> T) -> T {
        self.shared.write_down(note)
    }

    /// The member's life that is called now.
    fn life(&self) -> usize {
        self.servers[self.at].life()
    }

    fn key(&mut self) -> String {
        format!("key{}", self.rng.below(6))
    }

    /// A value that nobody else writes.
    fn value(&mut self) -> String {
        self.written += 1;
        let padding = self.rng.log_between(1, self.shared.value_bytes_max) as usize;
        format!("{}.{}{}", self.number, self.written, "-".repeat(padding))
    }
}

fn put(key: &str, value: &str, lease: i64) -> pb::PutRequest {
    let (key, value) = (key.to_owned().into_bytes().into(), value.to_owned().into_bytes().into());
    pb::PutRequest { key, value, lease, ..Default::default() }
}

fn one(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_owned().into_bytes().into(), ..Default::default() }
}

fn header(header: Option<pb::ResponseHeader>) -> i64 {
    header.expect("every answer has a header").revision
}

fn keys(kvs: Vec<mvccpb::KeyValue>) -> Keys {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("written as text");
    let seen = |kv: &mvccpb::KeyValue| Seen {
        value: text(&kv.value),
        create: kv.create_revision,
        modified: kv.mod_revision,
        version: kv.version,
        lease: kv.lease.0,
    };
    kvs.iter().map(|kv| (text(&kv.key), seen(kv))).collect()
}
