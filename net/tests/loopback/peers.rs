//! Members on real sockets: what one says the other hears, and who is let in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_core::base::{ClusterId, LogIndex, MemberId};
use holdfast_core::peer::{PeerMessage, Proposal, SnapshotPiece};
use holdfast_net::listen::{Listener, PlainHttp, Security, serve_peers, whole_body};
use holdfast_net::peer::{
    Dial, Lane, Meters, Outbox, PeerEvent, PeerIdentity, PeerNote, PeerService, Posted, REMOVED, Roster,
    Shared, Way, ask_members, dial,
};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

const CLUSTER: ClusterId = ClusterId(7);
const WITHIN: Duration = Duration::from_secs(30);

fn meters() -> Meters {
    let opts = || Opts::new("name", "help");
    let gauges = IntGaugeVec::new(opts(), &["Local", "Remote"]).expect("valid");
    let pairs = IntCounterVec::new(opts(), &["Local", "Remote"]).expect("valid");
    let counters = |label| IntCounterVec::new(opts(), &[label]).expect("valid");
    Meters {
        active: gauges,
        disconnected: pairs,
        sent_bytes: counters("To"),
        sent_failures: counters("To"),
        received_bytes: counters("From"),
        received_failures: counters("From"),
        round_trip: HistogramVec::new(HistogramOpts::new("name", "help"), &["To"]).expect("valid"),
    }
}

/// One member: what it says of itself, what it hears.
struct Peer {
    shared: Shared,
    roster: watch::Sender<Roster>,
    events: mpsc::UnboundedReceiver<PeerEvent>,
}

impl Peer {
    fn new(member: u64, cluster_id: ClusterId) -> Peer {
        let (tell, events) = mpsc::unbounded_channel();
        let (roster, watched) = watch::channel(Roster::default());
        let peer_urls = vec![format!("http://m{member}:1")];
        let identity = PeerIdentity { cluster_id, member_id: MemberId(member), peer_urls };
        Peer { shared: Shared::new(identity, watched, tell, meters(), Way::default()), roster, events }
    }

    /// Lets others in; gives the URL.
    async fn serve(&self) -> (String, JoinHandle<()>, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (close, closed) = watch::channel(false);
        let plain: PlainHttp =
            Arc::new(|_| Box::pin(async { http::Response::new(whole_body(Bytes::from_static(b"plain"))) }));
        let service = PeerService::new(self.shared.clone());
        (
            url,
            tokio::spawn(serve_peers(
                vec![(Listener::Tcp(listener), Security::Plain)],
                service,
                plain,
                closed,
            )),
            close,
        )
    }

    /// Dials another member.
    fn dial(&self, member: u64, url: &str, lane: Lane) -> (Arc<Outbox>, watch::Sender<Vec<String>>) {
        let outbox = Arc::new(Outbox::new(lane));
        let (urls, watched) = watch::channel(vec![url.to_owned()]);
        let (shared, member) = (self.shared.clone(), MemberId(member));
        tokio::spawn(dial(Dial { shared, member, urls: watched, outbox: Arc::clone(&outbox), lane }));
        (outbox, urls)
    }

    /// The first event that `wanted` makes something of.
    async fn until<T>(&mut self, wanted: impl Fn(&PeerEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the peer lives");
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(WITHIN, found).await.expect("it happens")
    }

    async fn message(&mut self) -> (MemberId, PeerMessage) {
        self.until(|event| match event {
            PeerEvent::Message { from, message, .. } => Some((*from, message.clone())),
            _ => None,
        })
        .await
    }
}

fn forward(number: u32) -> PeerMessage {
    let command = Proposal::Command(Bytes::copy_from_slice(&number.to_le_bytes()));
    PeerMessage::Forward { commands: vec![command] }
}

fn connected(event: &PeerEvent) -> Option<()> {
    matches!(event, PeerEvent::Note(PeerNote::Connected { .. })).then_some(())
}

#[tokio::test]
async fn what_is_said_is_heard_in_order_and_pieces_have_a_way_of_their_own() {
    let (one, mut two) = (Peer::new(1, CLUSTER), Peer::new(2, CLUSTER));
    let (url, _served, _close) = two.serve().await;
    let (mail, _urls) = one.dial(2, &url, Lane::Mail);
    let (bulk, _urls) = one.dial(2, &url, Lane::Bulk);
    let hello = |event: &PeerEvent| match event {
        PeerEvent::Hello { from, peer_urls } => Some((*from, peer_urls.clone())),
        _ => None,
    };
    for number in 0..1000 {
        assert_eq!(mail.post(forward(number)), Posted::Taken);
    }
    assert_eq!(two.until(hello).await, (MemberId(1), vec!["http://m1:1".to_owned()]));
    for number in 0..1000 {
        assert_eq!(two.message().await, (MemberId(1), forward(number)));
    }
    let bytes = Bytes::from(vec![7; 3 << 20]);
    let piece = SnapshotPiece { transfer: 1, number: 0, index: LogIndex(9), bytes, last: None };
    assert_eq!(bulk.post(PeerMessage::SnapshotPiece(piece.clone())), Posted::Taken);
    assert_eq!(two.until(hello).await.0, MemberId(1), "a second connection");
    assert_eq!(two.message().await, (MemberId(1), PeerMessage::SnapshotPiece(piece)));
}

#[tokio::test]
async fn a_connection_comes_back_with_the_other_end_wherever_that_is() {
    let (mut one, two) = (Peer::new(1, CLUSTER), Peer::new(2, CLUSTER));
    let (url, served, close) = two.serve().await;
    let (mail, urls) = one.dial(2, &url, Lane::Mail);
    one.until(connected).await;
    close.send_replace(true);
    served.await.expect("it ends");
    let unreachable = |event: &PeerEvent| match event {
        PeerEvent::Unreachable { member } => Some(*member),
        _ => None,
    };
    assert_eq!(one.until(unreachable).await, MemberId(2));
    let mut again = Peer::new(2, CLUSTER);
    let (url, _served, _close) = again.serve().await;
    urls.send_replace(vec![url]);
    one.until(connected).await;
    assert_eq!(mail.post(forward(5)), Posted::Taken);
    assert_eq!(again.message().await, (MemberId(1), forward(5)));
}

#[tokio::test]
async fn who_does_not_belong_here_is_refused_by_name() {
    let mut two = Peer::new(2, CLUSTER);
    let (url, _served, _close) = two.serve().await;
    let refused_by = |event: &PeerEvent| match event {
        PeerEvent::Note(PeerNote::RefusedBy { why, .. }) => Some(why.clone()),
        _ => None,
    };
    let refused = |event: &PeerEvent| match event {
        PeerEvent::Note(PeerNote::Refused { from, why }) => Some((*from, why.clone())),
        _ => None,
    };
    let mut stranger = Peer::new(1, ClusterId(8));
    let _dialled = stranger.dial(2, &url, Lane::Mail);
    let why = "cluster ID mismatch: ours is 7, theirs 8";
    assert_eq!(stranger.until(refused_by).await, why);
    assert_eq!(two.until(refused).await, (MemberId(1), why.to_owned()));

    let mut misled = Peer::new(1, CLUSTER);
    let _dialled = misled.dial(3, &url, Lane::Mail);
    assert_eq!(misled.until(refused_by).await, "member ID mismatch: expected 2, got 3");
}

#[tokio::test]
async fn a_removed_member_is_told_so_at_the_door_and_behind_it() {
    let (mut one, two) = (Peer::new(1, CLUSTER), Peer::new(2, CLUSTER));
    let (url, _served, _close) = two.serve().await;
    let (mail, _urls) = one.dial(2, &url, Lane::Mail);
    one.until(connected).await;
    two.roster.send_replace(Roster { removed: BTreeSet::from([MemberId(1)]), ..Roster::default() });
    mail.post(forward(1));
    let removed = |event: &PeerEvent| matches!(event, PeerEvent::Removed).then_some(());
    one.until(removed).await;
    let mut late = Peer::new(1, CLUSTER);
    let _dialled = late.dial(2, &url, Lane::Mail);
    late.until(removed).await;
    assert_eq!(REMOVED, "the member has been permanently removed from the cluster");
}

#[tokio::test]
async fn members_are_told_to_who_asks() {
    let two = Peer::new(2, CLUSTER);
    let member = holdfast_core::request::Member {
        id: MemberId(2),
        name: "two".to_owned(),
        ..holdfast_core::request::Member::default()
    };
    two.roster.send_replace(Roster { members: vec![member.clone()], ..Roster::default() });
    let (url, _served, _close) = two.serve().await;
    let answered = ask_members(&Way::default(), &url, WITHIN).await.expect("answered");
    assert_eq!((answered.cluster_id, answered.members), (CLUSTER, vec![member]));
    let nobody =
        ask_members(&Way::default(), "http://127.0.0.1:9", WITHIN).await.expect_err("nobody is there");
    assert!(nobody.contains("refused"), "{nobody}");
}
