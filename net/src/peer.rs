//! Members talking to each other on the peer port.
//!
//! Each member dials every other one and says its own messages there, so that two members have a connection
//! in each direction; pieces of a state for a laggard have a connection of their own, made when there are any,
//! so that they never stand before a heartbeat. A connection begins with a hello from both sides (`hello`).
//! What is to be said waits in an `Outbox` bounded by bytes: one that is full, or whose other end is not
//! there, drops what it is given, and the core hears of it. A slow peer costs the others nothing.
//!
//! Cost of a message: one push under a lock of its own, encoding and two copies on the peers' thread. What
//! gathers while a parcel is on its way leaves together in the next.

mod accept;
mod dial;
mod hello;
mod members;
mod meters;
mod outbox;
mod way;

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_core::base::{ClusterId, MemberId};
use holdfast_core::peer::PeerMessage;
use holdfast_core::request::Member;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

pub use accept::{Carried, PeerService, REMOVED};
pub use dial::{Dial, dial};
use hello::Hello;
pub use hello::PROTOCOL;
pub use members::{Answered, ask_members};
pub use meters::Meters;
pub use outbox::{Outbox, Posted};
pub use way::Way;

use crate::proto::holdfast::Parcel;

/// Received bytes that wait for the core, over all peers; above it their connections wait.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Bytes of messages of one parcel; a single larger message makes one of its own.
const PARCEL_BYTES_MAX: usize = 1 << 20;

/// Largest parcel taken: an append of one request at its limit, or the commands of one turn.
pub(crate) const RECEIVE_BYTES_MAX: usize = 512 << 20;

/// Who we are to other members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    pub cluster_id: ClusterId,
    pub member_id: MemberId,
    /// Under which others reach us: who does not know us yet learns them from our hello.
    pub peer_urls: Vec<String>,
}

/// The cluster as this member knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Ascending by id.
    pub members: Vec<Member>,
    /// Members that were removed for good.
    pub removed: BTreeSet<MemberId>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Mail,
    /// Pieces of a state for a laggard.
    Bulk,
}

impl Lane {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Mail => "mail",
            Lane::Bulk => "snapshot",
        }
    }
}

/// What connections tell the core loop.
#[derive(Debug)]
pub enum PeerEvent {
    /// A member proved itself on a new connection to us, and says where it is reached.
    Hello { from: MemberId, peer_urls: Vec<String> },
    /// It says something. Dropping `room` makes place for more.
    Message { from: MemberId, message: PeerMessage, room: OwnedSemaphorePermit },
    /// What was handed to its outbox lately did not reach it.
    Unreachable { member: MemberId },
    /// The cluster says that this member was removed.
    Removed,
    /// Worth a line in the log.
    Note(PeerNote),
}

/// What an operator may want to know of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerNote {
    /// A connection to a member holds.
    Connected { member: MemberId, url: String, lane: Lane },
    /// It broke, or the first attempt of a row failed.
    Lost { member: MemberId, url: String, lane: Lane, why: String },
    /// We refused a hello.
    Refused { from: MemberId, why: String },
    /// The other end refused ours.
    RefusedBy { member: MemberId, url: String, why: String },
    /// A real etcd answers where a member should.
    RealEtcd { member: MemberId, url: String },
}

/// What all connections of a member share.
#[derive(Clone, Debug)]
pub struct Shared {
    pub identity: Arc<PeerIdentity>,
    pub roster: watch::Receiver<Roster>,
    pub events: mpsc::UnboundedSender<PeerEvent>,
    pub meters: Meters,
    pub way: Way,
    room: Arc<Semaphore>,
}

impl Shared {
    pub fn new(
        identity: PeerIdentity,
        roster: watch::Receiver<Roster>,
        events: mpsc::UnboundedSender<PeerEvent>,
        meters: Meters,
        way: Way,
    ) -> Shared {
        let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
        Shared { identity: Arc::new(identity), roster, events, meters, way, room }
    }

    /// The parcel with which our side of a connection begins.
    fn hello(&self, to: MemberId, lane: Lane) -> Parcel {
        let PeerIdentity { cluster_id, member_id, peer_urls } = &*self.identity;
        let hello = Hello {
            protocol: PROTOCOL,
            features: 0,
            cluster_id: *cluster_id,
            from: *member_id,
            to,
            lane,
            peer_urls: peer_urls.clone(),
        };
        Parcel { hello: hello.encode(), ..Parcel::default() }
    }

    /// Tells the core loop; nobody listens when it is gone, and then this ends too.
    fn tell(&self, event: PeerEvent) {
        self.events.send(event).ok();
    }

    fn is_removed(&self, member: MemberId) -> bool {
        self.roster.borrow().removed.contains(&member)
    }

    /// Room for a message of `bytes` on its way to the core.
    async fn room(&self, bytes: usize) -> OwnedSemaphorePermit {
        let permits = u32::try_from(bytes.clamp(1, WAITING_BYTES_MAX)).expect("bounded below 4 GiB");
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        room.expect("the semaphore is never closed")
    }
}
