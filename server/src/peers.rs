//! The other members as the core loop sees them: whom there is, how they are reached, what they said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_core::base::MemberId;
use holdfast_core::node::Node;
use holdfast_core::peer::PeerMessage;
use holdfast_core::request::Member;
use holdfast_net::peer::{Dial, Lane, Outbox, Posted, Roster, Shared, dial};
use tokio::sync::{mpsc, watch};

use crate::metrics::Metrics;

/// Members that said hello before our State knew of them; more are not called back.
const STRANGERS_MAX: usize = 8;

/// One other member.
struct Link {
    urls: watch::Sender<Vec<String>>,
    mail: Arc<Outbox>,
    bulk: Arc<Outbox>,
    /// State knows it; otherwise it said hello, or was named when we joined.
    is_member: bool,
}

/// The core loop's way to the other members. Dropping it ends all connections.
pub struct Peers {
    shared: Shared,
    roster: watch::Sender<Roster>,
    dials: mpsc::UnboundedSender<Dial>,
    links: BTreeMap<MemberId, Link>,
    metrics: Metrics,
}

impl Peers {
    /// `known`: members to talk to before State knows of any. Whoever has the other end of `dials` connects.
    pub fn new(
        shared: Shared,
        roster: watch::Sender<Roster>,
        dials: mpsc::UnboundedSender<Dial>,
        known: &[Member],
        metrics: Metrics,
    ) -> Peers {
        let mut peers = Peers { shared, roster, dials, links: BTreeMap::new(), metrics };
        let us = peers.shared.identity.member_id;
        for member in known.iter().filter(|member| member.id != us) {
            peers.link(member.id, member.peer_urls.clone(), false);
        }
        peers
    }

    /// `Effect::Send`. False: it was dropped, and whoever counts on it should know.
    pub fn send(&mut self, to: MemberId, message: PeerMessage) -> bool {
        let Some(link) = self.links.get(&to) else { return false };
        let is_bulk = message.is_bulk();
        let outbox = if is_bulk { &link.bulk } else { &link.mail };
        let posted = outbox.post(message);
        if posted == Posted::Full {
            self.metrics.peers.sent_failures.with_label_values(&[&format!("{to:x}")]).inc();
        }
        // Pieces are acknowledged one by one: the core misses those that are lost by itself.
        posted == Posted::Taken || is_bulk
    }

    /// `Effect::Connect`.
    pub fn connect(&mut self, member: MemberId, peer_urls: Vec<String>) {
        self.link(member, peer_urls, true);
    }

    /// `Effect::Disconnect`.
    pub fn disconnect(&mut self, member: MemberId) {
        if let Some(link) = self.links.remove(&member) {
            link.close();
            self.set_known(member, false);
        }
    }

    /// A member has connected to us: it is up, so it is tried again at once. One that State does not know yet
    /// is called back all the same: it may be the leader that brings us up to date.
    pub fn on_hello(&mut self, from: MemberId, peer_urls: Vec<String>) {
        if let Some(link) = self.links.get(&from) {
            link.mail.wake();
            return;
        }
        let strangers = self.links.values().filter(|link| !link.is_member).count();
        if strangers < STRANGERS_MAX {
            self.link(from, peer_urls, false);
        }
    }

    fn link(&mut self, member: MemberId, peer_urls: Vec<String>, is_member: bool) {
        if let Some(link) = self.links.get_mut(&member) {
            link.is_member |= is_member;
            link.urls.send_if_modified(|urls| {
                let is_new = *urls != peer_urls;
                *urls = peer_urls;
                is_new
            });
            return;
        }
        let (urls, watched) = watch::channel(peer_urls);
        let [mail, bulk] = [Lane::Mail, Lane::Bulk].map(|lane| Arc::new(Outbox::new(lane)));
        for (lane, outbox) in [(Lane::Mail, &mail), (Lane::Bulk, &bulk)] {
            let (shared, urls, outbox) = (self.shared.clone(), watched.clone(), Arc::clone(outbox));
            // A lane that is gone is on its way out, and this with it.
            self.dials.send(Dial { shared, member, urls, outbox, lane }).ok();
        }
        self.links.insert(member, Link { urls, mail, bulk, is_member });
        self.set_known(member, true);
    }

    fn set_known(&self, member: MemberId, is_known: bool) {
        let local = format!("{:x}", self.shared.identity.member_id);
        let labels: [&str; 2] = [&local, &format!("{member:x}")];
        self.metrics.known_peers.with_label_values(&labels).set(i64::from(is_known));
    }

    /// Publishes who belongs to the cluster, if that has changed; lets go of members that State dropped
    /// without a word, in a state that was received.
    pub fn follow(&mut self, node: &Node) {
        let members = &node.state().members;
        if members.iter().next().is_none() {
            // We are on our way in: what we were told stands.
            return;
        }
        let is_current = {
            let roster = self.roster.borrow();
            members.iter().eq(&roster.members) && members.removed().eq(roster.removed.iter().copied())
        };
        if is_current {
            return;
        }
        let removed: BTreeSet<MemberId> = members.removed().collect();
        let gone: Vec<MemberId> = self.links.keys().copied().filter(|id| removed.contains(id)).collect();
        for member in gone {
            self.disconnect(member);
        }
        self.roster.send_replace(Roster { members: members.iter().cloned().collect(), removed });
    }
}

impl Link {
    fn close(&self) {
        self.mail.close();
        self.bulk.close();
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.links.values().for_each(Link::close);
    }
}

/// Makes connections as they are asked for, until nobody can ask any more.
pub async fn dial_all(mut dials: mpsc::UnboundedReceiver<Dial>) {
    while let Some(next) = dials.recv().await {
        tokio::spawn(dial(next));
    }
}
