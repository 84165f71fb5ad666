//! Elections among clients: the oldest key under a name is the leader's.
//!
//! Source: ELEC-1 to ELEC-6; etcd 3.7.1 `client/v3/concurrency/election.go`.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, stream};
use holdfast_core::base::{KeyValue, LeaseId};
use holdfast_core::boundary::EventKind;
use holdfast_core::request as core;
use tonic::{Request, Response, Status};

use super::session::{Following, Prefix, Session, found, get, is_created_at, put};
use super::terms::{Terms, Until};
use crate::convert;
use crate::gate::Gate;
use crate::proto::v3electionpb as pb;
use crate::wire;

const NOT_LEADER: &str = "election: not leader";
const NO_LEADER: &str = "election: no leader";
const NO_LEADER_KEY: &str = "\"leader\" field must be provided";

/// `v3electionpb.Election`.
#[derive(Clone, Debug)]
pub struct Election {
    gate: Gate,
}

/// The leaders of one observation, and what they say.
pub type Leaders = Pin<Box<dyn Stream<Item = Result<pb::LeaderResponse, Status>> + Send>>;

impl Election {
    pub fn new(gate: Gate) -> Election {
        Election { gate }
    }

    /// What every call begins with.
    fn open<T>(&self, request: Request<T>) -> Result<(Terms, Session, T), Status> {
        let (metadata, _, message) = request.into_parts();
        let terms = Terms::check(&self.gate, &metadata)?;
        Ok((terms, Session::new(&self.gate, &metadata), message))
    }
}

#[tonic::async_trait]
impl pb::election_server::Election for Election {
    type ObserveStream = Until<Leaders>;

    async fn campaign(
        &self,
        request: Request<pb::CampaignRequest>,
    ) -> Result<Response<pb::CampaignResponse>, Status> {
        let (terms, session, message) = self.open(request)?;
        Ok(Response::new(terms.bound_call(&self.gate, campaign(&session, message)).await?))
    }

    async fn proclaim(
        &self,
        request: Request<pb::ProclaimRequest>,
    ) -> Result<Response<pb::ProclaimResponse>, Status> {
        let (terms, session, message) = self.open(request)?;
        let leader = message.leader.ok_or_else(|| Status::unknown(NO_LEADER_KEY))?;
        let call = async {
            let lease = session.lease(leader.lease).await?;
            proclaim(&session, (&leader.key, leader.rev), message.value, lease).await
        };
        let header = terms.bound_call(&self.gate, call).await?;
        let header = Some(convert::header(self.gate.identity(), header));
        Ok(Response::new(pb::ProclaimResponse { header }))
    }

    async fn leader(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<pb::LeaderResponse>, Status> {
        let (terms, session, message) = self.open(request)?;
        let first = Prefix::of(&message.name).first_created();
        let range = terms.bound_call(&self.gate, session.range(first)).await?;
        let header = range.header;
        let kv = range.kvs.into_iter().next().ok_or_else(|| Status::unknown(NO_LEADER))?;
        Ok(Response::new(told(&self.gate, header, kv)))
    }

    async fn observe(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let (terms, session, message) = self.open(request)?;
        let prefix = Prefix::of(&message.name);
        let observer = Observer { session, prefix, following: None, untold: VecDeque::new() };
        // Whatever breaks ends the stream without a word, as in etcd.
        let leaders: Leaders = Box::pin(stream::unfold(observer, |mut observer| async move {
            let leader = observer.next().await.ok()?;
            Some((Ok(leader), observer))
        }));
        Ok(Response::new(terms.bound_standing(&self.gate, leaders)))
    }

    async fn resign(
        &self,
        request: Request<pb::ResignRequest>,
    ) -> Result<Response<pb::ResignResponse>, Status> {
        let (terms, session, message) = self.open(request)?;
        let leader = message.leader.ok_or_else(|| Status::unknown(NO_LEADER_KEY))?;
        let call = session.txn(resignation(&leader.key, leader.rev));
        let resigned = terms.bound_call(&self.gate, call).await?;
        let header = Some(convert::header(self.gate.identity(), resigned.header));
        Ok(Response::new(pb::ResignResponse { header }))
    }
}

fn told(gate: &Gate, header: core::Header, kv: KeyValue) -> pb::LeaderResponse {
    pb::LeaderResponse {
        header: Some(convert::header(gate.identity(), header)),
        kv: Some(wire::KeyValue(kv)),
    }
}

/// Stands for election and waits to be elected. A candidate that goes meanwhile resigns.
async fn campaign(session: &Session, message: pb::CampaignRequest) -> Result<pb::CampaignResponse, Status> {
    let lease = session.lease(message.lease).await?;
    let prefix = Prefix::of(&message.name);
    let key = prefix.key(lease);
    let stood = session
        .txn(core::TxnRequest {
            compare: vec![is_created_at(&key, 0)],
            success: vec![put(&key, message.value.clone(), lease)],
            failure: vec![core::RequestOp::Range(get(&key))],
        })
        .await?;
    let before = found(&stood, 0);
    let created = before.map_or(stood.header.revision, |kv| kv.create_revision);
    let candidacy = session.undo(core::Request::Txn(resignation(&key, created)));
    if before.is_some_and(|kv| kv.value != message.value) {
        proclaim(session, (&key, created), message.value, lease).await?;
    }
    if let Err(status) = session.wait_for_earlier(&prefix, created - 1).await {
        // The candidacy stays: only who goes resigns.
        candidacy.keep();
        return Err(status);
    }
    // etcd does not look whether the lease has ended meanwhile.
    let own = session.range(get(&key)).await;
    candidacy.keep();
    if own?.kvs.first().is_none_or(|kv| kv.create_revision != created) {
        return Err(Status::unknown(NOT_LEADER));
    }
    let leader = pb::LeaderKey { name: message.name, key, rev: created, lease: lease.0 };
    let header = Some(convert::header(session.gate.identity(), stood.header));
    Ok(pb::CampaignResponse { header, leader: Some(leader) })
}

/// Says something as the leader that a key of a revision stands for.
async fn proclaim(
    session: &Session,
    (key, created): (&Bytes, i64),
    value: Bytes,
    lease: LeaseId,
) -> Result<core::Header, Status> {
    let said = session
        .txn(core::TxnRequest {
            compare: vec![is_created_at(key, created)],
            success: vec![put(key, value, lease)],
            failure: Vec::new(),
        })
        .await?;
    if said.succeeded { Ok(said.header) } else { Err(Status::unknown(NOT_LEADER)) }
}

/// Takes back a candidacy, and none but this.
fn resignation(key: &Bytes, created: i64) -> core::TxnRequest {
    let delete = core::DeleteRangeRequest { key: key.clone(), ..core::DeleteRangeRequest::default() };
    core::TxnRequest {
        compare: vec![is_created_at(key, created)],
        success: vec![core::RequestOp::DeleteRange(delete)],
        failure: Vec::new(),
    }
}

/// Somebody who watches leaders come and go.
struct Observer {
    session: Session,
    prefix: Prefix,
    /// The key of the leader that was told last. `None`: who leads is not known.
    following: Option<Following>,
    untold: VecDeque<pb::LeaderResponse>,
}

impl Observer {
    async fn next(&mut self) -> Result<pb::LeaderResponse, Status> {
        loop {
            if let Some(leader) = self.untold.pop_front() {
                return Ok(leader);
            }
            let Some(following) = &mut self.following else { return self.find().await };
            let response = following.next().await?;
            let header = core::Header { revision: response.revision, raft_term: response.raft_term };
            for event in response.events.iter() {
                if event.kind == EventKind::Delete {
                    self.following = None;
                    break;
                }
                self.untold.push_back(told(&self.session.gate, header, event.kv.clone()));
            }
        }
    }

    /// The leader, or the first one to come; it is followed from here on.
    async fn find(&mut self) -> Result<pb::LeaderResponse, Status> {
        let range = self.session.range(self.prefix.first_created()).await?;
        let mut header = range.header;
        let kv = match range.kvs.into_iter().next() {
            Some(kv) => kv,
            None => {
                let (start, end) = (self.prefix.start(), self.prefix.end());
                let mut watch = self.session.watch(start, end, header.revision)?;
                loop {
                    let response = watch.next().await?;
                    let came = response.events.iter().find(|event| event.kind == EventKind::Put);
                    if let Some(event) = came {
                        // There may be later ones in the same answer.
                        header =
                            core::Header { revision: event.kv.mod_revision, raft_term: response.raft_term };
                        break event.kv.clone();
                    }
                }
            }
        };
        let key = Bytes::copy_from_slice(&kv.key);
        self.following = Some(self.session.watch(key, Bytes::new(), header.revision + 1)?);
        Ok(told(&self.session.gate, header, kv))
    }
}
