//! The other end of a member's connection to us: its hello is judged, its messages go to the core.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use holdfast_core::base::MemberId;
use holdfast_core::peer::PeerMessage;
use prometheus::IntCounter;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::hello::{Hello, HelloError};
use super::{PeerEvent, PeerNote, Shared, members};
use crate::proto::holdfast::peer_server;
use crate::proto::holdfast::{MembersAnswer, MembersQuestion, Parcel};

/// What a member that was removed is told, and what its process then says; etcd's words.
/// Source: etcd 3.7.1 server/etcdserver/api/rafthttp/util.go (errMemberRemoved).
pub const REMOVED: &str = "the member has been permanently removed from the cluster";

/// Until the hello has to be there.
const HELLO_WITHIN: Duration = Duration::from_secs(3);

/// `holdfast.Peer`.
#[derive(Clone, Debug)]
pub struct PeerService {
    shared: Shared,
}

/// Our side of a connection: a hello, then echoes.
pub type Carried = Pin<Box<dyn Stream<Item = Result<Parcel, Status>> + Send>>;

impl PeerService {
    pub fn new(shared: Shared) -> PeerService {
        PeerService { shared }
    }

    /// Judges the first parcel. Errors: what the other end is told.
    fn greet(&self, first: Parcel) -> Result<Hello, Status> {
        let identity = &self.shared.identity;
        let refuse = |from: MemberId, error: HelloError| {
            let why = error.to_string();
            self.shared.tell(PeerEvent::Note(PeerNote::Refused { from, why: why.clone() }));
            Status::failed_precondition(why)
        };
        let hello = Hello::decode(first.hello).map_err(|error| refuse(MemberId(0), error))?;
        let checked = hello.check(identity.cluster_id, identity.member_id, None);
        checked.map_err(|error| refuse(hello.from, error))?;
        if self.shared.is_removed(hello.from) {
            let why = "it was removed from the cluster".to_owned();
            self.shared.tell(PeerEvent::Note(PeerNote::Refused { from: hello.from, why }));
            return Err(Status::failed_precondition(REMOVED));
        }
        Ok(hello)
    }
}

#[tonic::async_trait]
impl peer_server::Peer for PeerService {
    type CarryStream = Carried;

    async fn carry(&self, request: Request<Streaming<Parcel>>) -> Result<Response<Carried>, Status> {
        let mut parcels = request.into_inner();
        let first = timeout(HELLO_WITHIN, parcels.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello"))??;
        let hello = self.greet(first.ok_or_else(|| Status::invalid_argument("no hello"))?)?;
        let answer = self.shared.hello(hello.from, hello.lane);
        let from = hello.from;
        self.shared.tell(PeerEvent::Hello { from, peer_urls: hello.peer_urls });
        let received_bytes = self.shared.meters.received_bytes.with_label_values(&[&format!("{from:x}")]);
        let incoming = Incoming { shared: self.shared.clone(), from, parcels, received_bytes };
        let echoes = stream::try_unfold(incoming, |mut incoming| async move {
            let probe = incoming.next_probe().await?;
            Ok(probe.map(|probe| (Parcel { probe, ..Parcel::default() }, incoming)))
        });
        Ok(Response::new(Box::pin(stream::iter([Ok(answer)]).chain(echoes))))
    }

    async fn members(&self, _: Request<MembersQuestion>) -> Result<Response<MembersAnswer>, Status> {
        let members = members::encode(&self.shared.roster.borrow().members);
        let cluster_id = self.shared.identity.cluster_id.0;
        Ok(Response::new(MembersAnswer { cluster_id, members }))
    }
}

/// A member's messages on their way to the core.
struct Incoming {
    shared: Shared,
    from: MemberId,
    parcels: Streaming<Parcel>,
    received_bytes: IntCounter,
}

impl Incoming {
    /// Takes messages until there is a probe to be echoed; `None` at the end.
    /// Errors: what the other end is told when we end the connection.
    async fn next_probe(&mut self) -> Result<Option<u64>, Status> {
        while let Some(parcel) = self.parcels.message().await? {
            if self.shared.is_removed(self.from) {
                return Err(Status::failed_precondition(REMOVED));
            }
            for bytes in parcel.messages {
                self.received_bytes.inc_by(bytes.len() as u64);
                let room = self.shared.room(bytes.len()).await;
                let message = PeerMessage::decode(bytes).map_err(|error| {
                    let from = format!("{:x}", self.from);
                    self.shared.meters.received_failures.with_label_values(&[&from]).inc();
                    self.refuse(format!("a message cannot be read: {}", error.0))
                })?;
                self.shared.tell(PeerEvent::Message { from: self.from, message, room });
            }
            if parcel.probe > 0 {
                return Ok(Some(parcel.probe));
            }
        }
        Ok(None)
    }

    /// Ends the connection: who says what cannot be read says more of it.
    fn refuse(&self, why: String) -> Status {
        self.shared.tell(PeerEvent::Note(PeerNote::Refused { from: self.from, why: why.clone() }));
        Status::invalid_argument(why)
    }
}
