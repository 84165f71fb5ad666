//! Members under the production shell as nodes of one simulated network, and who leads among them.

use std::sync::{Arc, Mutex, MutexGuard};

use madsim::net::NetSim;
use madsim::runtime::{Handle, NodeHandle};

use super::client::Server;
use super::site::{Failure, Parts, Site, ip};

/// The members' machines, their clients' machine, and the network between them.
pub struct Cluster {
    pub sites: Vec<Arc<Site>>,
    nodes: Vec<NodeHandle>,
    pub clients: NodeHandle,
    failed: Failure,
    seen: Mutex<Leaders>,
}

/// Who has led so far.
#[derive(Debug, Default)]
pub struct Leaders {
    /// Places in the order in which they began to lead.
    pub order: Vec<usize>,
    /// Who did when it was last looked.
    did: Vec<bool>,
}

impl Default for Cluster {
    fn default() -> Cluster {
        let clients = Handle::current().create_node().name("clients").ip([10, 0, 1, 99].into()).build();
        Cluster {
            sites: Vec::new(),
            nodes: Vec::new(),
            clients,
            failed: Failure::default(),
            seen: Mutex::default(),
        }
    }
}

impl Cluster {
    /// Adds a machine; its process starts at once.
    pub fn add(&mut self, parts: Parts) {
        let site = Arc::new(Site::new(parts, self.failed.clone()));
        let handle = Handle::current();
        let node = handle.create_node().name(site.name()).ip(ip(site.place));
        self.sites.push(site.clone());
        self.nodes.push(node.init(move || site.clone().run()).build());
    }

    /// Places of the first members that are members still.
    pub fn voters(&self) -> Vec<usize> {
        let is_there = |site: &&Arc<Site>| {
            site.is_first() && !site.is_removed() && !site.is_dismissed() && !site.is_wiped()
        };
        self.sites.iter().filter(is_there).map(|site| site.place).collect()
    }

    /// As clients know its members.
    pub fn servers(&self) -> Vec<Server> {
        self.sites.iter().map(|site| site.server().clone()).collect()
    }

    /// What must not have been, if it has.
    pub fn failure(&self) -> Result<(), String> {
        self.failed.lock().expect("nobody panics while holding it").take().map_or(Ok(()), Err)
    }

    /// Looks who leads; who looks seldom misses some.
    pub fn look(&self) -> MutexGuard<'_, Leaders> {
        let mut seen = self.seen.lock().expect("nobody panics while holding it");
        seen.did.resize(self.sites.len(), false);
        for site in &self.sites {
            let leads = site.leads();
            if leads && !seen.did[site.place] {
                seen.order.push(site.place);
            }
            seen.did[site.place] = leads;
        }
        seen
    }

    /// The one that believes to lead and began last.
    pub fn leader(&self) -> Option<usize> {
        self.look().leader()
    }

    /// Stops what members send in these directions.
    pub fn cut(&self, links: &[(usize, usize)]) {
        for (from, to) in links {
            NetSim::current().clog_link(self.nodes[*from].id(), self.nodes[*to].id());
        }
    }

    pub fn heal(&self, links: &[(usize, usize)]) {
        for (from, to) in links {
            NetSim::current().unclog_link(self.nodes[*from].id(), self.nodes[*to].id());
        }
    }

    /// Stops what a member answers to clients; with `questions` also what they ask.
    pub fn cut_clients(&self, place: usize, questions: bool) {
        let (member, clients) = (self.nodes[place].id(), self.clients.id());
        NetSim::current().clog_link(member, clients);
        if questions {
            NetSim::current().clog_link(clients, member);
        }
    }

    pub fn heal_clients(&self, place: usize) {
        let (member, clients) = (self.nodes[place].id(), self.clients.id());
        NetSim::current().unclog_link(member, clients);
        NetSim::current().unclog_link(clients, member);
    }

    pub fn pause(&self, place: usize) {
        Handle::current().pause(self.nodes[place].id());
    }

    pub fn resume(&self, place: usize) {
        Handle::current().resume(self.nodes[place].id());
    }

    /// Ends all cuts.
    pub fn heal_all(&self) {
        let places = 0..self.sites.len();
        let links: Vec<_> = places.clone().flat_map(|a| places.clone().map(move |b| (a, b))).collect();
        self.heal(&links);
        places.for_each(|place| self.heal_clients(place));
    }

    /// Ends all that is wrong: cuts, failing disks, processes that are down.
    pub fn calm(&self) {
        self.heal_all();
        for site in &self.sites {
            let mut disk = site.disk.lock();
            (disk.faults.sync_fails, disk.faults.stall) = (0.0, 0.0);
            drop(disk);
            if !site.is_removed() && !site.is_wiped() {
                site.start();
            }
        }
    }

    /// Equal for two runs in which all members read their clocks and wrote to their disks alike.
    pub fn digest(&self) -> u64 {
        let fold = |digest: u64, site: &Arc<Site>| {
            digest.rotate_left(7) ^ site.disk.digest() ^ site.clock.digest().rotate_left(32)
        };
        self.sites.iter().fold(0, fold)
    }
}

impl Leaders {
    pub fn leader(&self) -> Option<usize> {
        self.order.iter().rev().copied().find(|place| self.did[*place])
    }

    /// The one before the last that began to lead.
    pub fn old_leader(&self) -> Option<usize> {
        let last = self.order.last()?;
        self.order.iter().rev().copied().find(|place| place != last)
    }
}
